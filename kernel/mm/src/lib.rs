//! The memory manager: page frames, translation tables, TLB maintenance, address spaces, faults.
//!
//! Written once against [`hw::Hardware`]; the kernel runs it on real registers, the host runs the
//! same source on a model of an adversarial machine.
//!
//! # The way of a page fault
//! vector (`arch`) → [`space::Space::fault`] claims the page, finds the area, and picks the case → one of
//! `space::{anon, mid, huge, zero, cow, touch}` takes memory from [`frame`] and stores one entry through a
//! handle of [`entry`] → return. Each arrow is one call into one file; nothing goes back up.
//!
//! # The way of an munmap
//! [`space::Space::unmap`] keeps faults out of the range and takes the areas out of the layout →
//! `space::zap` clears entries into a [`tlb::Gather`] → the gather publishes, invalidates, completes →
//! only then frames and tables go back, tables after the lockless walkers have left.
//!
//! # The way of a split
//! `thp::split_folio` locks the folio, and [`rmap`] finds its entries in every space of the family and
//! makes migration entries of them, each flush complete before its table's lock is released → the
//! references are frozen → heads are made of tails → the entries come back, and the locks are released.
//!
//! # The way of a migration
//! [`migrate`] locks a batch of folios and takes their mappings out, as a split does, but the flushes of all are
//! one, after the last table's lock was released → each is frozen, copied, and mapped anew where it is now.
//!
//! # The way of a vmalloc, and back
//! [`vmalloc`] takes addresses that are in no TLB → memory from [`frame`] block by block, each mapped as it comes → all
//! of it is published at once. Giving back clears the entries, and the frames are free; the addresses are lazy, until one
//! flush for many areas makes them ready.
//!
//! # Modules, from the bottom
//! | module | concern |
//! | --- | --- |
//! | [`hw`] | the door to the machine |
//! | [`frame`] | who owns a physical page: memmap, buddy, per-CPU lists; what a folio counts |
//! | [`table`] | table pages: linking and walking |
//! | [`Levels`] | sets of levels of tables |
//! | [`entry`] | what an entry is decides, by type, what may be done to it |
//! | [`tlb`] | making changes visible everywhere: gather, ASIDs, which CPUs are concerned |
//! | [`kernel_map`] | the kernel's own half: building it at boot, adding to it later |
//! | [`vmalloc`] | kernel mappings that come and go |
//! | [`dump`] | what trees map, in regions |
//! | [`rmap`] | from a folio to the entries that map it |
//! | [`compact`] | free 2 MiB blocks out of fragmented memory |
//! | [`thp`] | huge pages: policy, splitting their entries, splitting themselves |
//! | [`space`] | address spaces: areas, faults, and every operation on them |
//! | [`migrate`] | moving folios to other frames while they are in use |
//! | [`gup`] | references and pins of user pages, without locks where possible |
//! | [`audit`] | everything that must be true at rest, checked over all spaces and all memory |
//! | `sanitized` | a machine that is watched by the oracle; compiled in only with `sanitize` |
//! | [`mutant`] | known bugs, by name; compiled in only for the tests that must catch them |
//!
//! # Locks, outermost first
//! 1. a family's members ([`sync::Mutex`], sleeping): who walks from folios to entries;
//! 2. a space's areas, as a writer ([`sync::RangeLock`], sleeping): map, unmap, protect, remap, fork;
//! 3. a folio's lock (a sleeping bit in its descriptor): who splits it or takes its mappings out;
//! 4. a claim on pages of a space (a range lock's reader): faults, madvise, walks. Who holds one waits
//!    for none of the above;
//! 5. spin locks, in the order of [`sync::Class`]: the ASIDs, the families' registry, those of kernel addresses (a
//!    queue of blocks, a block, a CPU's areas, the gaps, parted blocks), a PMD table (two of them by address), a PTE
//!    table (likewise), a folio's bitmap, the deferred list, a CPU's page list, the zone.
//!
//! The purge of kernel addresses ([`sync::Mutex`], sleeping) is taken with none of these held; under it are spin locks.
//!
//! Lockless: [`space::Space::gup_fast`], [`Mm::walk`] and [`Mm::dump`], inside a [`sync::Walkers`] epoch, which tables
//! outlive.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(loom)]
extern crate std;

pub mod audit;
pub mod compact;
pub mod dump;
pub mod entry;
pub mod frame;
pub mod gup;
pub mod hw;
pub mod kernel_map;
mod levels;
pub mod migrate;
#[cfg(loom)]
pub mod models;
pub mod mutant;
pub mod rmap;
#[cfg(feature = "sanitize")]
mod sanitized;
pub mod space;
pub mod table;
pub mod thp;
pub mod tlb;
pub mod vmalloc;

pub use frame::{Frames, MemMap, OutOfMemory, PageDesc};
pub use hw::{Hardware, Note, Slot};
pub use levels::Levels;
pub use migrate::{Destination, MigrateError, Moved};
#[cfg(feature = "sanitize")]
pub use sanitized::Sanitized;
pub use space::{
    Advice, AdviseError, Denial, FaultOutcome, Huge, MapError, Move, Place, ProtectError,
    RemapError, Space, UnmapError, Vma,
};
pub use thp::{CollapseError, Collapsed, Frozen, SplitError};
pub use vmalloc::VmallocError;

use abi::Event;
use mutant::Mutant;
use pte::CostModel;
use sync::atomic::{Ordering, fence};
use sync::{Arc, Counters, Hazards, Walkers};

/// One machine's memory, managed.
pub struct Mm<H: Hardware> {
    /// The machine.
    pub hw: H,
    /// Who owns which page.
    pub frames: Frames,
    /// Address-space identifiers.
    pub asids: tlb::Asids,
    /// Who walks tables without locks.
    pub walkers: Walkers,
    /// What happened how often.
    pub stats: Counters,
    /// When a broad TLB flush is cheaper than many narrow ones.
    pub cost: CostModel,
    pub(crate) hazards: Arc<Hazards>,
    /// Who gets huge pages.
    pub thp: thp::Thp,
    pub(crate) families: rmap::Families,
    pub(crate) deferred: thp::Deferred,
    pub(crate) demand: compact::Demand,
    pub(crate) background: thp::Background,
    pub(crate) zero: space::ZeroPages,
    pub(crate) vmalloc: vmalloc::Vmalloc,
    pub(crate) mutants: mutant::Armed,
}

impl<H: Hardware> Mm<H> {
    /// Manages the memory that `map` describes; it has no free memory until
    /// [`Frames::add`] gives it some. Allocates what each CPU needs, once, at boot.
    pub fn new(hw: H, map: MemMap) -> Self {
        let (nr_cpus, asid_bits) = (hw.nr_cpus(), hw.caps().asid_bits);
        let cost = CostModel::of(hw.caps());
        let Ok(hazards) = Arc::try_new(Hazards::new(nr_cpus)) else {
            panic!("no memory for the boot");
        };
        Self {
            hw,
            frames: Frames::new(map, nr_cpus),
            asids: tlb::Asids::new(asid_bits, nr_cpus),
            walkers: Walkers::new(nr_cpus),
            stats: Counters::at_zero(),
            cost,
            hazards,
            thp: thp::Thp::new(),
            families: rmap::Families::new(),
            deferred: thp::Deferred::new(),
            demand: compact::Demand::new(),
            background: thp::Background::new(),
            zero: space::ZeroPages::new(),
            vmalloc: vmalloc::Vmalloc::closed(nr_cpus),
            mutants: mutant::Armed::none(),
        }
    }

    /// Counts `n` of `event` for this CPU.
    #[inline]
    pub fn count(&self, event: Event, n: u64) {
        self.stats.add(self.hw.id(), event, n);
    }

    /// Whether the known bug `mutant` is to be committed here; `false`, at compile time, but in
    /// builds with the `mutants` feature.
    #[inline(always)]
    pub(crate) fn commits(&self, mutant: Mutant) -> bool {
        self.mutants.is_armed(mutant)
    }

    /// A full fence: of two CPUs that each store, fence and load what the other stores, at least one
    /// sees the other's store. Taken away by `without`.
    #[inline(always)]
    pub(crate) fn fence(&self, without: Mutant) {
        if !self.commits(without) {
            fence(Ordering::SeqCst);
        }
    }

    /// Where a known bug puts the fence of several steps: behind the first of them.
    #[inline(always)]
    pub(crate) fn fence_first(&self, early: Mutant) {
        if self.commits(early) {
            fence(Ordering::SeqCst);
        }
    }

    /// `needed`. Taken away by `without`.
    #[inline(always)]
    pub(crate) fn order(&self, needed: Ordering, without: Mutant) -> Ordering {
        if self.commits(without) { Ordering::Relaxed } else { needed }
    }

    /// Arms a known bug, or disarms all.
    #[cfg(any(feature = "mutants", loom))]
    pub fn arm(&self, mutant: Option<Mutant>) {
        self.mutants.arm(mutant);
    }
}
