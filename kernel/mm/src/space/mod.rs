//! Address spaces: areas, mapping, unmapping, faults.
//!
//! | file | concern |
//! | --- | --- |
//! | `core` | what a space is to everybody but its owner |
//! | `vma` | one area |
//! | `layout` | the areas as a sorted list of intervals |
//! | `error` | why a change was refused |
//! | `map` | making areas and taking them away: mmap, munmap |
//! | `blocks` | going over the tables of a range |
//! | `zap` | taking entries out of tables |
//! | `protect` | other rights: mprotect |
//! | `remap` | other addresses or sizes: mremap |
//! | `advise` | what a program says of its memory: madvise |
//! | `lazy` | memory that may be dropped when it is short: MADV_FREE |
//! | `fork` | a second space that begins as the first one is |
//! | `fault`, `outcome` | which case a fault is, and how it ended |
//! | `anon`, `mid`, `huge` | nothing is mapped: a page, 64 KiB, 2 MiB |
//! | `zero` | memory that was only read, and the end of that |
//! | `touch` | something is mapped: what the entry lacks |
//! | `cow`, `reuse` | a page that must be nobody else's, and whether it is |
//! | `populate` | faults for many pages at once, without the faults |
//!
//! # Who excludes whom
//! The areas are behind a [`sync::RangeLock`]. A fault claims its page for as long as it works on it: that
//! writes to its own CPU's line and to no other. Whoever changes areas (munmap, mprotect, mremap, fork)
//! waits for the claims in its range and keeps new ones out until its flush is complete; faults
//! elsewhere in the space go on. So under a claim areas stay, tables stay tables, and no flush is
//! owed by anybody but another claimant, who pays it before he releases the table's lock.
//!
//! What is excluded is whole blocks of 2 MiB, and a claim of one page holds for its block: so whoever
//! holds one may work on the block's table, as faults with larger folios and madvise do.
//!
//! # What every change keeps
//! 1. Everything that can fail comes before the first change: memory for the areas' list, the new
//!    place's tables. A refusal says that nothing was changed, and means it.
//! 2. The list of areas is held against look-ups only while it is rewritten; allocating for it and
//!    freeing what it no longer needs come before and after.
//! 3. One flush, of no more than what a TLB may hold and must not, before the exclusion ends.
//!
//! Corresponds to Linux's `struct mm_struct`, `mm/mmap.c`, `mm/memory.c`.

mod advise;
mod anon;
mod blocks;
mod core;
mod cow;
mod error;
mod fault;
mod fork;
mod huge;
mod layout;
mod lazy;
mod map;
mod mid;
mod outcome;
mod populate;
mod protect;
mod remap;
mod reuse;
mod touch;
mod vma;
mod zap;
mod zero;

pub(crate) use self::core::Core;
pub use advise::Advice;
pub use error::{AdviseError, MapError, ProtectError, RemapError, UnmapError};
pub(crate) use layout::Layout;
pub use map::Place;
pub use outcome::{Denial, FaultOutcome};
pub use remap::Move;
pub use vma::{Backing, Huge, Vma};
pub(crate) use zero::ZeroPages;

use crate::frame::OutOfMemory;
use crate::mutant::Mutant;
use crate::rmap::NO_HEAP;
use crate::thp::{Override, Policy};
use crate::tlb::Context;
use crate::{Hardware, Mm, Note};
use ::core::ops::Range;
use abi::{Asid, Event, Level, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use sync::atomic::{AtomicBool, AtomicU32, Ordering};
use sync::{Arc, RangeLock, SeqCount};

/// The lowest address that may be mapped: what lies below catches null pointers.
pub const USER_START: VirtAddr = VirtAddr(0x1_0000);
/// The end of the lower half.
pub const USER_END: VirtAddr = VirtAddr(1 << 48);

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
    pub(crate) fn in_family(
        mm: &'m Mm<H>,
        family: Arc<crate::rmap::Family>,
    ) -> Result<Self, OutOfMemory> {
        let made = mm.table_alloc(Level::Pgd).and_then(|root| {
            let core = Core {
                root,
                layout: RangeLock::new(mm.hazards.clone(), Layout::new()),
                context: Context::default(),
                running: AtomicU32::new(0),
                write_protect: SeqCount::new(),
                pinned: AtomicBool::new(false),
                lazy: AtomicBool::new(false),
                thp: Override::none(),
                guests: AtomicU32::new(0),
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

    /// Tells whoever watches that an operation on `range` is over: what it took away, no CPU has. Before
    /// others may follow, so with the range excluded or the table's lock held.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn done(&self, range: VirtRange) {
        self.mm.hw.note(Note::Done(self.core.root, range));
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
        if self.mm.commits(Mutant::RolloverFlushLate) {
            self.mm.pay_generation();
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

    /// Each area in address order: `each` must not touch memory of the space.
    pub fn each_area(&self, mut each: impl FnMut(&Vma)) {
        let each = |layout: &Layout| layout.iter().for_each(&mut each);
        let ((), _claim) = self.core.layout.read_whole(&self.mm.hw, each);
    }
}

/// The pages whose tables a change of `range` may take away: all that share a 2 MiB block with it.
pub(crate) fn pages_around(range: VirtRange) -> Range<u64> {
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
        self.mm.await_guests(&self.core);
        // No CPU runs it, so no walker makes new translations: what is cached goes with one
        // operation, and then nothing reaches the tables or what they map.
        let _flushed = self.mm.flush_space(&self.core.context);
        // Lockless walkers hold a reference to the space; none can be inside.
        self.mm.reap(self.core.root, Level::Pgd);
    }
}

#[cfg(test)]
mod tests;
