//! Address spaces: areas, mapping, unmapping, faults.
//!
//! | file | concern |
//! | --- | --- |
//! | `vma` | the areas as a sorted list of intervals |
//! | `zap` | taking entries out of tables |
//! | `fault` | which case a fault is; rights that only the entry lacks |
//! | `small` | the case of a 4 KiB page |
//! | `huge` | the case of a 2 MiB page; splitting one |
//!
//! Corresponds to Linux's `struct mm_struct`, `mm/mmap.c`, `mm/memory.c`.

mod fault;
mod huge;
mod small;
mod vma;
mod zap;

pub use fault::{Denial, FaultOutcome};
pub use vma::{Huge, Vma};

use crate::frame::OutOfMemory;
use crate::{Hardware, Mm};
use abi::{Asid, Event, Level, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sync::RwLock;
use vma::Layout;

/// The lowest address that may be mapped: what lies below catches null pointers.
pub const USER_START: VirtAddr = VirtAddr(0x1_0000);
/// The end of the lower half.
pub const USER_END: VirtAddr = VirtAddr(1 << 48);

/// Where a mapping shall go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Wherever there is room; aligned to 2 MiB when it is at least that large.
    Anywhere,
    /// Exactly here, in free space.
    At(VirtAddr),
}

/// Why a mapping was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// The size is zero or the range is not made of whole pages of the lower half.
    BadRange(VirtRange),
    /// Something is mapped there; unmap it first or choose another place.
    Occupied {
        /// What was asked for.
        wanted: VirtRange,
        /// The first area in the way.
        by: VirtRange,
    },
    /// No gap is large enough.
    NoRoom {
        /// How much was asked for.
        bytes: u64,
    },
    /// The kernel has no memory to remember one more area.
    OutOfMemory,
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => {
                write!(
                    f,
                    "{range} is not a non-empty range of whole pages between {USER_START} and {USER_END}"
                )
            }
            Self::Occupied { wanted, by } => write!(f, "{wanted} is occupied by {by}"),
            Self::NoRoom { bytes } => {
                write!(f, "no gap of {} KiB in the address space", bytes >> 10)
            }
            Self::OutOfMemory => write!(f, "no kernel memory for one more area"),
        }
    }
}

impl core::error::Error for MapError {}

/// Why an unmapping was refused. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnmapError {
    /// The range is empty or not made of whole pages of the lower half.
    BadRange(VirtRange),
    /// The range lies inside an area, and the kernel has no memory to remember two halves.
    OutOfMemory,
}

impl fmt::Display for UnmapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRange(range) => MapError::BadRange(*range).fmt(f),
            Self::OutOfMemory => MapError::OutOfMemory.fmt(f),
        }
    }
}

impl core::error::Error for UnmapError {}

/// An address space: the lower half as some threads see it.
///
/// Having one means: its tables are whole, and every frame they map holds a reference for it.
#[doc(alias = "mm_struct")]
pub struct Space<'m, H: Hardware> {
    mm: &'m Mm<H>,
    root: Pfn,
    layout: RwLock<Layout>,
    /// The ASID with its generation; see `tlb::asid`.
    context: AtomicU64,
    /// CPUs that run this space now.
    running: AtomicU32,
}

impl<'m, H: Hardware> Space<'m, H> {
    /// A space with nothing in it.
    pub fn new(mm: &'m Mm<H>) -> Result<Self, OutOfMemory> {
        let root = mm.table_alloc(Level::Pgd)?;
        // The root is linked by a TTBR0 write, which waits for nothing.
        mm.publish(pte::Scope::InnerShareable);
        Ok(Self {
            mm,
            root,
            layout: RwLock::new(Layout::new()),
            context: AtomicU64::new(0),
            running: AtomicU32::new(0),
        })
    }

    /// The memory manager it belongs to.
    pub fn mm(&self) -> &'m Mm<H> {
        self.mm
    }

    /// The root table, for walks by people and models.
    pub fn root(&self) -> Pfn {
        self.root
    }

    /// The ASID that its translations carry now, if it ever ran.
    pub fn asid(&self) -> Option<Asid> {
        self.mm.asid(&self.context)
    }

    /// Makes this the current user space of this CPU. Pairs with [`Space::leave`].
    ///
    /// Context: interrupts masked, and the thread that enters stays responsible for leaving: a
    /// scheduler's switch, or a CPU-bound model.
    #[doc(alias = "switch_mm")]
    pub fn enter(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let asid = self.mm.activate_asid(&self.context);
        self.mm.hw.switch_user(self.root, asid);
        self.mm.count(Event::SpaceSwitch, 1);
    }

    /// Leaves this CPU without a user space.
    ///
    /// Context: interrupts masked, on the CPU that entered.
    pub fn leave(&self) {
        self.mm.hw.switch_user_off();
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// Reserves `bytes` of address space with rights `prot`; memory comes with the first touch.
    ///
    /// Context: thread, may sleep on the layout lock. Corresponds to `mmap(MAP_ANONYMOUS |
    /// MAP_PRIVATE)`.
    #[doc(alias("mmap", "do_mmap"))]
    pub fn map(
        &self,
        place: Place,
        bytes: u64,
        prot: Prot,
        huge: Huge,
    ) -> Result<VirtRange, MapError> {
        let asked = match place {
            Place::At(start) => VirtRange::from_size(start, bytes),
            Place::Anywhere => VirtRange::from_size(USER_START, bytes),
        };
        check_range(asked).map_err(MapError::BadRange)?;
        let mut layout = self.layout.write(&self.mm.hw);
        let range = match place {
            Place::At(_) => asked,
            Place::Anywhere => {
                let align = if bytes >= PMD_SIZE { PMD_SIZE } else { PAGE_SIZE };
                let start = layout.find_gap(bytes, align).ok_or(MapError::NoRoom { bytes })?;
                VirtRange::from_size(start, bytes)
            }
        };
        if let Some(by) = layout.first_overlap(range) {
            return Err(MapError::Occupied { wanted: range, by: by.range });
        }
        layout.insert(Vma { range, prot, huge }).map_err(|_| MapError::OutOfMemory)?;
        Ok(range)
    }

    /// Takes away whatever is mapped in `range`. When it returns, no CPU can reach the memory
    /// through it any more, and the memory has gone back.
    ///
    /// Context: thread, may sleep on the layout lock; holds it across the flush. Corresponds to
    /// `munmap`: a range with nothing in it is no error.
    #[doc(alias("munmap", "do_munmap"))]
    pub fn unmap(&self, range: VirtRange) -> Result<(), UnmapError> {
        check_range(range).map_err(UnmapError::BadRange)?;
        let mut layout = self.layout.write(&self.mm.hw);
        let Some(gap) = layout.remove(range).map_err(|_| UnmapError::OutOfMemory)? else {
            return Ok(());
        };
        self.zap(range, gap);
        Ok(())
    }

    /// Each area in address order, under the layout lock: `each` must not touch memory of the space.
    pub fn each_area(&self, mut each: impl FnMut(&Vma)) {
        self.layout.read(&self.mm.hw).iter().for_each(&mut each);
    }
}

/// Whole pages of the lower half, at least one.
fn check_range(range: VirtRange) -> Result<(), VirtRange> {
    let whole = range.start.is_aligned(PAGE_SIZE) && range.end.is_aligned(PAGE_SIZE);
    let inside = range.start >= USER_START && range.end <= USER_END;
    if whole && inside && !range.is_empty() { Ok(()) } else { Err(range) }
}

impl<H: Hardware> Drop for Space<'_, H> {
    /// Gives everything back. Corresponds to Linux's `exit_mmap`.
    ///
    /// # Panics
    /// When a CPU still runs the space: freeing its tables under the walker's feet would be worse.
    fn drop(&mut self) {
        assert!(self.running.load(Ordering::Acquire) == 0, "a running address space was dropped");
        // No CPU runs it, so no walker makes new translations: what is cached goes with one
        // operation, and then nothing reaches the tables or what they map.
        self.mm.forget_space(self.asid());
        // Lockless walkers hold a reference to the space; none can be inside.
        self.mm.reap(self.root, Level::Pgd);
    }
}

#[cfg(test)]
mod tests;
