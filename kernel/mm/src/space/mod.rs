//! Address spaces: areas, mapping, unmapping, faults.
//!
//! | file | concern |
//! | --- | --- |
//! | `core` | what a space is to everybody but its owner |
//! | `vma` | the areas as a sorted list of intervals |
//! | `zap` | taking entries out of tables |
//! | `fault` | which case a fault is, and how it ended |
//! | `anon`, `mid`, `huge` | nothing is mapped: a page, 64 KiB, 2 MiB |
//! | `zero` | memory that was only read, and the end of that |
//! | `touch` | something is mapped: what the entry lacks |
//! | `cow` | a page that must be nobody else's |
//!
//! # Who excludes whom
//! The areas are behind a [`sync::RangeLock`]. A fault claims its page for as long as it works on it: that
//! writes to its own CPU's line and to no other. Whoever changes areas (munmap, mprotect, mremap, fork)
//! waits for the claims in its range and keeps new ones out until its flush is complete; faults
//! elsewhere in the space go on. So under a claim areas stay, tables stay tables, and no flush is
//! owed by anybody but another claimant, who pays it before he releases the table's lock.
//!
//! Corresponds to Linux's `struct mm_struct`, `mm/mmap.c`, `mm/memory.c`.

mod anon;
mod core;
mod cow;
mod fault;
mod huge;
mod mid;
mod touch;
mod vma;
mod zap;
mod zero;

pub use fault::{Denial, FaultOutcome};
pub(crate) use self::core::Core;
pub use vma::{Backing, Huge, Vma};
pub(crate) use zero::ZeroPages;

use crate::frame::OutOfMemory;
use crate::mutant::Mutant;
use crate::rmap::NO_HEAP;
use crate::thp::{Override, Policy};
use crate::tlb::Context;
use crate::{Hardware, Mm};
use abi::{Asid, Event, Level, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use ::core::fmt;
use ::core::ops::Range;
use sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sync::{Arc, RangeLock, SeqCount};
pub(crate) use vma::Layout;

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

impl ::core::error::Error for MapError {}

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

impl ::core::error::Error for UnmapError {}

/// An address space: the lower half as some threads see it.
///
/// Having one means: its tables are whole, and every frame they map holds a reference for it.
#[doc(alias = "mm_struct")]
pub struct Space<'m, H: Hardware> {
    mm: &'m Mm<H>,
    core: Arc<Core>,
}

impl<'m, H: Hardware> Space<'m, H> {
    /// A space with nothing in it.
    pub fn new(mm: &'m Mm<H>) -> Result<Self, OutOfMemory> {
        let family = mm.family_new()?;
        Self::in_family(mm, family)
    }

    /// A space with nothing in it, that may come to map the folios of a family. A family left without
    /// members is ended here.
    pub(crate) fn in_family(mm: &'m Mm<H>, family: Arc<crate::rmap::Family>) -> Result<Self, OutOfMemory> {
        let made = mm.table_alloc(Level::Pgd).and_then(|root| {
            let core = Core {
                root,
                layout: RangeLock::new(mm.hazards.clone(), Layout::new()),
                context: Context::default(),
                running: AtomicU32::new(0),
                write_protect: SeqCount::new(),
                pinned: AtomicBool::new(false),
                thp: Override::none(),
                family: family.clone(),
            };
            let joined = Arc::try_new(core).map_err(|_| NO_HEAP).and_then(|core| {
                mm.family_join(&core)?;
                Ok(core)
            });
            joined.inspect_err(|_| mm.table_free(root, Level::Pgd))
        });
        let core = made.inspect_err(|_| mm.family_end_if_empty(&family))?;
        // The root is linked by a TTBR0 write, which waits for nothing.
        mm.publish(pte::Scope::InnerShareable);
        Ok(Self { mm, core })
    }

    /// The memory manager it belongs to.
    pub fn mm(&self) -> &'m Mm<H> {
        self.mm
    }

    /// The root table, for walks by people and models.
    pub fn root(&self) -> Pfn {
        self.core.root
    }

    /// The ASID that its translations carry now, if it ever ran.
    pub fn asid(&self) -> Option<Asid> {
        self.mm.asid(&self.core.context)
    }

    /// What TLBs know it by.
    pub fn context(&self) -> &Context {
        &self.core.context
    }

    /// Whether it gets huge pages, whatever the settings say; `None`: they decide. Areas may still
    /// refuse.
    #[doc(alias("PR_SET_THP_DISABLE", "PR_GET_THP_DISABLE"))]
    pub fn thp(&self) -> Option<Policy> {
        self.core.thp.get()
    }

    /// Says whether it gets huge pages from the next fault on, whatever the settings say; `None`: they
    /// decide. Huge pages that are there stay.
    #[doc(alias = "PR_SET_THP_DISABLE")]
    pub fn set_thp(&self, policy: Option<Policy>) {
        self.core.thp.set(policy);
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Makes this the current user space of this CPU. Pairs with [`Space::leave`].
    ///
    /// Context: interrupts masked, and the thread that enters stays responsible for leaving: a
    /// scheduler's switch, or a CPU-bound model.
    #[doc(alias = "switch_mm")]
    pub fn enter(&self) {
        self.core.running.fetch_add(1, Ordering::Relaxed);
        let asid = self.mm.activate_asid(&self.core.context);
        self.mm.hw.switch_user(self.core.root, asid);
        if self.mm.commits(Mutant::CpuNotedLate) {
            self.core.context.ran.fetch_or(1 << self.mm.hw.id().index(), Ordering::SeqCst);
        }
        self.mm.count(Event::SpaceSwitch, 1);
    }

    /// Leaves this CPU without a user space.
    ///
    /// Context: interrupts masked, on the CPU that entered.
    pub fn leave(&self) {
        self.mm.hw.switch_user_off();
        self.core.running.fetch_sub(1, Ordering::Release);
    }

    /// Reserves `bytes` of address space with rights `prot`; memory comes with the first touch.
    ///
    /// Context: thread, may sleep on other changes of the layout. Corresponds to
    /// `mmap(MAP_ANONYMOUS | MAP_PRIVATE)`.
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
        let mut layout = self.core.layout.write(&self.mm.hw);
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
        layout
            .mutate(|layout| layout.insert(Vma::anonymous(range, prot, huge)))
            .map_err(|_| MapError::OutOfMemory)?;
        Ok(range)
    }

    /// Takes away whatever is mapped in `range`. When it returns, no CPU can reach the memory
    /// through it any more, and the memory has gone back.
    ///
    /// Context: thread, may sleep on other changes of the layout and on faults in the range.
    /// Corresponds to `munmap`: a range with nothing in it is no error.
    #[doc(alias("munmap", "do_munmap"))]
    pub fn unmap(&self, range: VirtRange) -> Result<(), UnmapError> {
        check_range(range).map_err(UnmapError::BadRange)?;
        let mut layout = self.core.layout.write(&self.mm.hw);
        layout.exclude(pages_around(range));
        let gap = layout.mutate(|layout| layout.remove(range));
        let Some(gap) = gap.map_err(|_| UnmapError::OutOfMemory)? else {
            return Ok(());
        };
        self.zap(range, gap);
        Ok(())
    }

    /// Each area in address order: `each` must not touch memory of the space.
    pub fn each_area(&self, mut each: impl FnMut(&Vma)) {
        let each = |layout: &Layout| layout.iter().for_each(&mut each);
        let ((), _claim) = self.core.layout.read_whole(&self.mm.hw, each);
    }
}

/// The pages whose tables a change of `range` may take away: all that share a 2 MiB block with it.
fn pages_around(range: VirtRange) -> Range<u64> {
    let start = range.start.align_down(PMD_SIZE);
    let end = range.end.align_up(PMD_SIZE);
    start.0 >> PAGE_SHIFT..end.0 >> PAGE_SHIFT
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
        let running = self.core.running.load(Ordering::Acquire);
        assert!(running == 0, "a running address space was dropped");
        // From here on nobody finds it from a folio, and nobody who did is still inside.
        self.mm.family_leave(&self.core);
        // No CPU runs it, so no walker makes new translations: what is cached goes with one
        // operation, and then nothing reaches the tables or what they map.
        let _flushed = self.mm.forget_space(&self.core.context);
        // Lockless walkers hold a reference to the space; none can be inside.
        self.mm.reap(self.core.root, Level::Pgd);
    }
}

#[cfg(test)]
mod tests;
