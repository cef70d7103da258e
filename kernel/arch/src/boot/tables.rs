//! The early tables after `tables.s` made them: extended for as long as they live, then replaced.
//!
//! The pages come from a pool in the image, `__early_tables_start` to `__early_tables_end`, 64 of
//! them. The early code takes at most 25 (identity map 8; image of 16 MiB 11; device tree 3; early
//! console 3). A range of RAM takes at most 4 and mostly 1, for the linear map uses leaves of 1 GiB
//! where it can: 64 GiB in one piece, 1 GiB aligned, need a single page.
//!
//! Invariant: every entry goes from empty to valid once and never changes again, so nothing here
//! owes a TLBI. Context: the boot CPU, before any other runs.
//!
//! Source: Arm ARM, "Translation table format descriptors"; Linux, `create_pgd_mapping`, `fixmap.c`.

use super::handover::{boot_handover, image_start};
use super::sections::{address, image_phys};
use crate::layout::{self, KIMAGE_BASE, Tiles};
use aarch64_cpu::asm::barrier;
use aarch64_cpu::registers::{DAIF, TTBR0_EL1};
use abi::{Level, PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};
use core::fmt;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use pte::{Entry, KernelProt, Leaf, MemType, Table, decode};
use tock_registers::interfaces::{Readable, Writeable};

/// Why an early mapping was not made. What was mapped before the failure stays mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EarlyMapError {
    /// The pool of early tables ran out at this address.
    OutOfTables(VirtAddr),
    /// Something else is mapped at this address.
    Occupied(VirtAddr),
    /// The window has no place for this physical address.
    OutOfReach(PhysAddr),
    /// The final tables are in place; mappings are the memory manager's business now.
    Retired,
}

impl fmt::Display for EarlyMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfTables(va) => write!(f, "no early table left to map {va}"),
            Self::Occupied(va) => write!(f, "{va} is mapped already"),
            Self::OutOfReach(pa) => write!(f, "{pa} is beyond the window"),
            Self::Retired => f.write_str("the early tables are gone"),
        }
    }
}

/// The root of the identity map: what TTBR0 holds while a CPU turns its MMU on.
static IDENTITY_ROOT: AtomicU64 = AtomicU64::new(0);
/// The early kernel root; 0 once it is retired.
static KERNEL_ROOT: AtomicU64 = AtomicU64::new(0);
/// The first pool page past the identity map's.
static RETIRABLE: AtomicU64 = AtomicU64::new(0);
/// The next free pool page.
static NEXT: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    safe static __early_tables_end: u8;
    safe static __empty_table: u8;
    /// In `tables.s`; runs only at its physical address.
    safe static boot_switch_kernel_root: u8;
}

/// Takes over what the assembly built.
pub(super) fn adopt(identity_root: PhysAddr, kernel_root: PhysAddr, next: PhysAddr) {
    IDENTITY_ROOT.store(identity_root.0, Relaxed);
    KERNEL_ROOT.store(kernel_root.0, Relaxed);
    // `tables.s` finishes the identity map before it takes the kernel's root.
    RETIRABLE.store(kernel_root.0, Relaxed);
    NEXT.store(next.0, Relaxed);
}

/// Extends the early tables by a linear map of `ranges`: from then on RAM at `pa` is at
/// [`layout::linear`]`(pa)`, readable and writable. Excludes nothing by itself: the caller leaves
/// out what must have no cacheable alias. Bytes that fill no whole page are left out.
pub fn map_linear(ranges: &[PhysRange]) -> Result<(), EarlyMapError> {
    for range in ranges {
        for (pa, level) in Tiles::new(*range) {
            let va = layout::linear(pa).ok_or(EarlyMapError::OutOfReach(pa))?;
            insert(va, Leaf::kernel(level, pa.pfn(), KernelProt::Data, MemType::Normal))?;
        }
    }
    settle();
    Ok(())
}

/// Maps the pages of device registers that `bytes` from `pa` touch, and returns where `pa` is: at
/// [`layout::device`]`(pa)`, which the final tables keep. Mapping a page twice is no error.
pub fn map_device_early(pa: PhysAddr, bytes: u64) -> Result<VirtAddr, EarlyMapError> {
    let out_of_reach = EarlyMapError::OutOfReach(pa);
    let end = pa.checked_add(bytes).and_then(|end| end.checked_add(PAGE_SIZE - 1));
    let end = end.ok_or(out_of_reach)?.align_down(PAGE_SIZE);
    let mut page = pa.align_down(PAGE_SIZE);
    while page < end {
        let va = layout::device(page).ok_or(out_of_reach)?;
        let leaf = Leaf::kernel(Level::Pte, page.pfn(), KernelProt::Data, MemType::Device);
        insert(va, leaf)?;
        page = page + PAGE_SIZE;
    }
    settle();
    layout::device(pa).ok_or(out_of_reach)
}

/// The device tree, read-only. Gone with the early tables: keep a copy, not the slice (see
/// [`install_kernel_root`]).
pub fn dtb() -> &'static [u8] {
    let handover = boot_handover();
    let start = layout::BOOT_DTB_BASE + (handover.dtb.0 & (PAGE_SIZE - 1));
    let bytes = handover.dtb_bytes as usize;
    // SAFETY: `tables.s` mapped exactly these bytes, read-only; nobody writes the memory behind
    // them, because the boot protocol gives it to the kernel and the kernel has yet to find its
    // RAM. Whoever retires the mapping has promised that no slice is left.
    unsafe {
        core::slice::from_raw_parts(core::ptr::with_exposed_provenance(start.0 as usize), bytes)
    }
}

/// The root of a table that maps nothing: what TTBR0 holds, with ASID 0, where there is no user.
pub fn empty_root() -> Pfn {
    image_phys(address(&__empty_table)).pfn()
}

/// The root of the identity map, which stays for the CPUs to come.
pub fn identity_root() -> Pfn {
    PhysAddr(IDENTITY_ROOT.load(Relaxed)).pfn()
}

/// The early tables that nothing uses after [`install_kernel_root`]: part of `Sections::data`, to be
/// given to the page allocator if somebody cares for a quarter of a MiB.
pub fn retired_tables() -> PhysRange {
    let end = image_phys(address(&__early_tables_end));
    PhysRange::new(PhysAddr(RETIRABLE.load(Relaxed)), end)
}

/// Replaces the early tables: the kernel half becomes `root`, the user half becomes empty.
///
/// All of the kernel half changes at once, from the early code's pages in the identity map, with
/// nothing valid in between: early and final leaves may differ in size, and that is a
/// break-before-make case.
///
/// # Safety
/// * `root` maps the image at its addresses with rights that it can run with, the current stack, and
///   all else that this CPU touches from here on; its tables are written and visible to walkers.
/// * No slice from [`dtb`] is used after this.
/// * No other CPU is up. The vectors are not the early code's (they need the identity map).
#[doc(alias = "cpu_replace_ttbr1")]
pub unsafe fn install_kernel_root(root: Pfn) {
    let daif = DAIF.get();
    DAIF.write(DAIF::D::Masked + DAIF::A::Masked + DAIF::I::Masked + DAIF::F::Masked);
    set_user_root(identity_root());
    let switch = image_phys(address(&boot_switch_kernel_root)).0 as usize;
    // SAFETY: the function is in the identity map, which TTBR0 now holds, has this signature, and
    // uses no memory. With the roots passed it does what our caller has vouched for.
    unsafe {
        let switch: extern "C" fn(u64, u64) = core::mem::transmute(switch);
        switch(root.base().0, empty_root().base().0);
    }
    set_user_root(empty_root());
    KERNEL_ROOT.store(0, Relaxed);
    DAIF.set(daif);
}

/// Makes `root` the user half with ASID 0, on this CPU, and forgets what the half was before.
fn set_user_root(root: Pfn) {
    TTBR0_EL1.set(root.base().0);
    barrier::isb(barrier::SY);
    // SAFETY: dropping translations is always allowed; those in use are walked again.
    unsafe { core::arch::asm!("tlbi vmalle1", options(nostack, preserves_flags)) };
    barrier::dsb(barrier::NSH);
    barrier::isb(barrier::SY);
}

/// New kernel translations are used right away: the stores reach the walkers, and no instruction
/// that was fetched before runs on an older view.
fn settle() {
    barrier::dsb(barrier::ISHST);
    barrier::isb(barrier::SY);
}

/// A descriptor of an early table. The pool is part of the image, so it has an address there.
fn slot(table: PhysAddr, index: usize) -> &'static AtomicU64 {
    let va = KIMAGE_BASE + (table - image_start()) + 8 * index as u64;
    // SAFETY: tables come from the pool only, which the image maps read-write for good, and indices
    // from `Level::index`. All access to the pool while tables live is atomic, bar its clearing.
    unsafe { &*core::ptr::with_exposed_provenance(va.0 as usize) }
}

/// Puts a leaf into the early tables, at the level it is made for.
fn insert(va: VirtAddr, leaf: Leaf) -> Result<(), EarlyMapError> {
    let mut table = PhysAddr(KERNEL_ROOT.load(Relaxed));
    if table.0 == 0 {
        return Err(EarlyMapError::Retired);
    }
    let above = Level::ALL.into_iter().take_while(|level| *level < leaf.level());
    let found = above.into_iter().try_for_each(|level| {
        let slot = slot(table, level.index(va));
        let next = match decode(level, slot.load(Relaxed)) {
            Entry::Table(next) => Ok(next.pfn()),
            Entry::None => link_new_table(slot).ok_or(EarlyMapError::OutOfTables(va)),
            _ => Err(EarlyMapError::Occupied(va)),
        };
        match next {
            Ok(pfn) => {
                table = pfn.base();
                ControlFlow::Continue(())
            }
            Err(why) => ControlFlow::Break(why),
        }
    });
    if let ControlFlow::Break(why) = found {
        return Err(why);
    }
    let slot = slot(table, leaf.level().index(va));
    match slot.load(Relaxed) {
        0 => slot.store(leaf.word(), Relaxed),
        word if word == leaf.word() => {}
        _ => return Err(EarlyMapError::Occupied(va)),
    }
    Ok(())
}

/// Takes a page from the pool, clears it, and links it; `None` if the pool is empty.
fn link_new_table(slot: &AtomicU64) -> Option<Pfn> {
    let page = PhysAddr(NEXT.load(Relaxed));
    if page >= image_phys(address(&__early_tables_end)) {
        return None;
    }
    NEXT.store(page.0 + PAGE_SIZE, Relaxed);
    for index in 0..abi::ENTRIES {
        self::slot(page, index).store(0, Relaxed);
    }
    // A walker that sees the link sees the zeros.
    barrier::dsb(barrier::ISHST);
    slot.store(Table::kernel(page.pfn()).word(), Relaxed);
    Some(page.pfn())
}
