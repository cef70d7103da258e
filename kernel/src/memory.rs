//! From the board's ranges to a memory manager.
//!
//! 1. The ranges, less what is taken, become [`EarlyMemory`], reachable through the early linear map.
//! 2. Out of it come the final kernel tables: the image with the rights of its parts, RAM linearly,
//!    devices as devices.
//! 3. The tables are switched, and the memmap and the page allocator take over what is left.
//!
//! The image's own pages are not in the linear map: its text and constants have no writable alias.
//! The linear map's leaves are at most 2 MiB, the unit in which its rights may change later; with
//! `linear=4k` they are pages, since an emulator that lumps its large pages together hides missing
//! invalidations.

use crate::threads::{Bare, Hw};
use abi::{Level, Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtRange};
use arch::LocalCpu;
use arch::boot::{self, Handover};
use arch::layout;
use board::Board;
use core::fmt;
use mm::frame::{EarlyError, EarlyMemory};
use mm::kernel_map::{KernelMap, KernelMapError, KernelMapping};
use mm::{Hardware, MemMap, Mm, PageDesc};
use pte::{Caps, KernelProt, MemType};
use spin::Once;
use sync::{Class, SpinLock};

static MM: Once<Mm<Hw>> = Once::new();
static KERNEL_MAP: Once<SpinLock<KernelMap>> = Once::new();

/// The memory manager; `None` until the boot has made it.
pub(crate) fn mm() -> Option<&'static Mm<Hw>> {
    MM.get()
}

/// The root of the kernel's tables, for CPUs that come up.
pub(crate) fn kernel_root() -> Option<Pfn> {
    KERNEL_MAP.get().map(|map| map.lock(&LocalCpu).root())
}

/// Why there is no memory manager.
#[derive(Debug)]
pub(crate) enum MemoryError {
    /// The board's memory.
    Early(EarlyError),
    /// The early map.
    EarlyMap(boot::EarlyMapError),
    /// The final map.
    Map(KernelMapError),
    /// The board has no memory.
    None,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early(error) => write!(f, "{error}"),
            Self::EarlyMap(error) => write!(f, "early map: {error:?}"),
            Self::Map(error) => write!(f, "kernel map: {error}"),
            Self::None => write!(f, "the device tree describes no memory"),
        }
    }
}

impl From<EarlyError> for MemoryError {
    fn from(error: EarlyError) -> Self {
        Self::Early(error)
    }
}

impl From<KernelMapError> for MemoryError {
    fn from(error: KernelMapError) -> Self {
        Self::Map(error)
    }
}

/// What the boot decided about memory.
pub(crate) struct Plan {
    /// The largest leaf of the linear map.
    pub(crate) linear: Level,
    /// CPUs that may ever run.
    pub(crate) nr_cpus: usize,
    /// What all CPUs can do.
    pub(crate) caps: Caps,
    /// Bytes at the end of each node to keep for what moves.
    pub(crate) movable: u64,
    /// Whether the sanitizer is to watch.
    #[cfg(feature = "sanitize")]
    pub(crate) sanitize: bool,
}

/// Builds everything; afterwards [`mm`] answers, and the early tables are gone.
pub(crate) fn init(handover: &Handover, board: &Board, plan: &Plan) -> Result<(), MemoryError> {
    // What is free, and what is mapped linearly: some 4 KiB, for which the boot's stack is large enough.
    let (mut free, mut mapped) = (EarlyMemory::new(), EarlyMemory::new());
    for memory in &board.memory {
        free.add(memory.range)?;
    }
    let dtb = PhysRange::from_size(handover.dtb, handover.dtb_bytes);
    // Page 0 is where spin tables and their code live; and no pointer to it is ever meant.
    let page_zero = PhysRange::new(PhysAddr(0), PhysAddr(PAGE_SIZE));
    let reserved = board.reserved.iter().map(|reserved| reserved.range);
    for range in reserved.chain(board.initrd).chain([handover.image, dtb, page_zero]) {
        free.reserve(range)?;
    }
    // What is mapped linearly: all RAM but the image and what must not be mapped.
    for memory in &board.memory {
        mapped.add(memory.range)?;
    }
    let no_map = board.reserved.iter().filter(|r| r.kind == board::Reservation::NoMap);
    for range in no_map.map(|reserved| reserved.range).chain([handover.image]) {
        mapped.reserve(range)?;
    }
    boot::map_linear(mapped.ranges()).map_err(MemoryError::EarlyMap)?;

    let hw = Bare::new(plan.caps, plan.nr_cpus);
    let span = span_of(free.ranges()).ok_or(MemoryError::None)?;
    let memory = free.take(span.pages() * size_of::<PageDesc>() as u64, PAGE_SIZE)?;
    choose_clearing(memory.start);
    let memmap = make_memmap(&hw, memory, span);

    let mut table = || {
        let page = free.take(PAGE_SIZE, PAGE_SIZE).ok()?.start.pfn();
        hw.zero(page, Order::PAGE);
        Some(page)
    };
    let root = table().ok_or(KernelMapError::OutOfMemory)?;
    let mut map = KernelMap::new(root);
    for mapping in image_mappings() {
        map.map(&hw, &mapping, &mut table)?;
    }
    for range in mapped.ranges() {
        map.map(&hw, &linear_mapping(*range, plan.linear), &mut table)?;
    }
    each_device(board, &mut |range| map_device(&mut map, &hw, range, &mut table))?;
    // SAFETY: `root` maps the image with the rights of its parts, the boot stack with it, RAM and the
    // devices; `map` published it. The device tree is read through the linear map from here on. The
    // vectors are the kernel's, and no other CPU is up.
    unsafe { boot::install_kernel_root(root) };

    #[cfg(feature = "sanitize")]
    let platform = plan.sanitize.then(|| crate::sanitizer::platform(board));
    #[cfg(feature = "sanitize")]
    let hw = crate::sanitizer::watch(hw, platform, span, root, &mut free)?;
    let mut mm = Mm::new(hw, memmap);
    crate::nodes::place(&mut mm.frames, board, free.ranges(), plan.movable);
    mm.open_vmalloc(root, layout::VMALLOC).map_err(|_| KernelMapError::OutOfMemory)?;
    mm.know_linear(layout::LINEAR);
    let mm = MM.call_once(|| mm);
    for range in free.ranges() {
        mm.frames.add(&LocalCpu, *range);
    }
    KERNEL_MAP.call_once(|| SpinLock::new(Class::PmdTable, map));
    Ok(())
}

/// Starts the thread that makes free huge blocks when faults would like some and do not wait for them.
pub(crate) fn start_compaction() -> Result<(), sched::SpawnError> {
    fn compact(_: usize) -> usize {
        while let Some(mm) = mm() {
            mm.compact_when_wanted(&|| false);
        }
        0
    }
    sched::spawn(sched::Spec::new("kcompactd").detached(), compact, 0).map(drop)
}

/// The device tree, through the linear map.
pub(crate) fn device_tree(handover: &Handover) -> Option<&'static [u8]> {
    let start = layout::linear(handover.dtb)?.0 as usize;
    // SAFETY: the tree's pages are RAM, reserved for good, mapped linearly, and nobody writes them.
    Some(unsafe {
        core::slice::from_raw_parts(
            core::ptr::with_exposed_provenance(start),
            handover.dtb_bytes as usize,
        )
    })
}

/// The initial RAM disk, through the linear map: whatever the loader has put there. `None` where there is
/// none, or none in RAM.
pub(crate) fn initrd() -> Option<&'static [u8]> {
    let board = crate::boot::board()?;
    let range = board.initrd?;
    let inside =
        |memory: &board::Memory| memory.range.start <= range.start && range.end <= memory.range.end;
    board.memory.iter().find(|memory| inside(memory))?;
    let start = layout::linear(range.start)?.0 as usize;
    // SAFETY: the pages are RAM, reserved for good, mapped linearly, and nobody writes them.
    Some(unsafe {
        core::slice::from_raw_parts(
            core::ptr::with_exposed_provenance(start),
            range.bytes() as usize,
        )
    })
}

/// The smallest range that contains all of `ranges`, its start aligned to the largest block.
fn span_of(ranges: &[PhysRange]) -> Option<PhysRange> {
    let start = ranges.iter().map(|range| range.start).min()?;
    let end = ranges.iter().map(|range| range.end).max()?;
    Some(PhysRange::new(start.align_down(Order::MAX.bytes()), end))
}

/// Finds out which way of clearing memory is fastest here, on the page at `scratch`.
fn choose_clearing(scratch: PhysAddr) {
    let va = layout::LINEAR_BASE.0 + scratch.0;
    // SAFETY: the page was taken for descriptors, is mapped, and nobody has used it yet.
    unsafe { arch::frames::choose(va, PAGE_SIZE) };
}

/// Descriptors for all of `span`, in `memory`.
fn make_memmap<H: Hardware>(hw: &H, memory: PhysRange, span: PhysRange) -> MemMap {
    for page in 0..memory.pages() {
        hw.zero(memory.start.pfn() + page, Order::PAGE);
    }
    let start = layout::LINEAR_BASE.0 + memory.start.0;
    let first: *const PageDesc = core::ptr::with_exposed_provenance(start as usize);
    // SAFETY: the memory was taken for so many descriptors, is page-aligned, mapped and known to
    // nobody else, and is never given back; all its bytes are zero, which is `PageDesc::blank`.
    let descs = unsafe { core::slice::from_raw_parts(first, span.pages() as usize) };
    MemMap::new(span.start.pfn(), descs)
}

fn image_mappings() -> [KernelMapping; 4] {
    let sections = boot::sections();
    let part = |range: VirtRange, prot| KernelMapping {
        range,
        to: boot::image_phys(range.start),
        prot,
        mem: MemType::Normal,
        largest: Level::Pte,
    };
    [
        part(sections.text, KernelProt::Text),
        part(sections.rodata, KernelProt::Rodata),
        part(sections.data, KernelProt::Data),
        part(sections.boot_stack, KernelProt::Data),
    ]
}

fn linear_mapping(range: PhysRange, largest: Level) -> KernelMapping {
    KernelMapping {
        range: VirtRange::from_size(layout::LINEAR_BASE + range.start.0, range.bytes()),
        to: range.start,
        prot: KernelProt::Data,
        mem: MemType::Normal,
        largest,
    }
}

/// Every register block that this kernel drives.
fn each_device<E>(
    board: &Board,
    each: &mut dyn FnMut(PhysRange) -> Result<(), E>,
) -> Result<(), E> {
    match &board.gic {
        Some(board::Gic::V2 { distributor, cpu_interface, .. }) => {
            each(*distributor)?;
            each(*cpu_interface)?;
        }
        Some(board::Gic::V3 { distributor, redistributors, .. }) => {
            each(*distributor)?;
            redistributors.iter().copied().try_for_each(&mut *each)?;
        }
        None => {}
    }
    board.uarts.iter().map(|uart| uart.registers).try_for_each(&mut *each)?;
    let bcm = &board.bcm2711;
    [bcm.watchdog, bcm.gpio, bcm.mailbox].into_iter().flatten().try_for_each(each)
}

fn map_device<H: Hardware>(
    map: &mut KernelMap,
    hw: &H,
    range: PhysRange,
    table: &mut dyn FnMut() -> Option<Pfn>,
) -> Result<(), KernelMapError> {
    let start = range.start.align_down(PAGE_SIZE);
    let end = range.end.align_up(PAGE_SIZE);
    // Page by page: blocks of registers share pages, and a page that is there is there.
    for page in (start.0..end.0).step_by(PAGE_SIZE as usize).map(PhysAddr) {
        let Some(va) = layout::device(page) else { continue };
        let mapping = KernelMapping {
            range: VirtRange::from_size(va, PAGE_SIZE),
            to: page,
            prot: KernelProt::Data,
            mem: MemType::Device,
            largest: Level::Pte,
        };
        match map.map(hw, &mapping, table) {
            Ok(()) | Err(KernelMapError::Occupied(..)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Adds a mapping to the running kernel. Context: thread.
pub(crate) fn map(mapping: &KernelMapping) -> Result<(), KernelMapError> {
    let (Some(mm), Some(map)) = (MM.get(), KERNEL_MAP.get()) else {
        return Err(KernelMapError::OutOfMemory);
    };
    let mut table = || mm.alloc_zeroed(Order::PAGE).ok();
    map.lock(&mm.hw).map(&mm.hw, mapping, &mut table)
}
