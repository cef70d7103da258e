//! The oracle: a model of what translation caches may hold, which watches a memory manager and reports the
//! first step that breaks the order, with both call sites.
//!
//! It sees events and gives a verdict. An event is a descriptor store, a TLBI, a barrier, a context switch,
//! a table's lock, a frame or table that changes hands, the end of an operation. It holds no luck: not the
//! corruption that a missing flush may lead to is the report, but the step after which it could. So it
//! finds on an emulator what an emulator's TLB hides, and on hardware what shows once a month.
//!
//! # The life of a slot
//! ```text
//!                    narrow ┌───────────┐ flush, wait
//!                  ┌───────▶│ tightened │──────────────┐
//!  clean ──store──▶ live    └───────────┘              ▼
//!    ▲               │ clear ┌────────┐ TLBI ┌─────────┐ DSB
//!    │               └──────▶│ broken │─────▶│ flushed │──────▶ clean
//!    │                       └────────┘      └─────────┘
//!    └── a table taken out: its slots are frozen, and its page quarantined, until the walks are gone
//! ```
//! What is between *live* and *clean* is a [`debt::Debt`], owed to the operation that made it, one for many
//! slots side by side as long as they share their fate; it is *deferred* once that has released the table's
//! lock. [`Oracle::state`] tells where a slot stands.
//!
//! # The rules
//! [`Rule`] names them. A new translation never meets an old one (break-before-make, contiguous sets,
//! links that walkers can see whole). No frame and no table changes hands while a CPU may reach it by what
//! it has cached: the TLBI must name the right addresses, ASID, level and CPUs, come after the store was
//! published, and be waited for by who issued it. No operation is over before its flush. No ASID is
//! taken up with anything of others left under it. Only transitions that a right step can make are made,
//! under the table's lock, and not by a plain store where hardware may be writing.
//!
//! # Exact
//! Nothing is reported that the architecture forgives. A translation is feared only on CPUs that ran its
//! space since it could be found, and does no harm on one that runs something else: then it is a trap,
//! which springs when that CPU takes the ASID up again with the translation still there. Hardware's
//! accessed and dirty state come and go between stores, so words are compared without them.
//!
//! # What it does not see
//! A use of a translation: nobody tells it of accesses. Instruction caches,
//! caching by a descriptor's physical address, missing context synchronisation. Of a frame with several
//! entries in tables that die unread, only the last to map it. Pages that became tables while the pool of
//! shadows was empty, and debts while the book was full: [`Oracle::blind`] counts them.
//!
//! # Homes
//! Pure, `no_std`, and without allocation after set-up: the host's machine, the kernel's sanitizer
//! (`mm::Sanitized` feeds both), and whatever else sees the same events. Each event takes `&mut`: whoever
//! shares an oracle between CPUs puts it behind a lock, and tells of a store or a barrier after it is done,
//! and of a TLBI or a context switch before.
//!
//! | file | concern |
//! | --- | --- |
//! | `shadow`, `site` | what is remembered of slots, frames and tables; where in the program |
//! | `cpus` | barriers: which stores walkers see, which TLBIs are complete |
//! | `debt`, `cover`, `book` | what was taken away and may be cached; what was issued for it; all of them |
//! | `issue` | a TLBI, as debts look at it |
//! | `devices` | what devices may have, and how they lose it |
//! | `kernel` | the half that all CPUs share |
//! | `asids` | what is left under which number |
//! | `stores`, `words`, `owing` | a descriptor changes; which words may follow which; what is owed for it |
//! | `routine`, `reach`, `pairs` | the short way of most stores, and what it knows |
//! | `runs`, `parts` | the shortest, of many at once; one debt for all, and what parts it |
//! | `tables` | links: where a slot is reached, what leaves with a table |
//! | `flush` | barriers and TLBIs |
//! | `frames` | frames and tables change hands, operations end |
//! | `spaces` | CPUs take up spaces |
//! | `locks` | what no lock excuses any more |
//! | `verdict`, `rule`, `report`, `platform` | what is said |
//! | [`tlb`] | what a TLB may hold: the model that simulated CPUs and devices run on |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod asids;
mod book;
mod cover;
mod cpus;
mod debt;
mod devices;
mod flush;
mod frames;
mod issue;
mod kernel;
mod locks;
mod owing;
mod pairs;
mod parts;
mod platform;
mod reach;
mod report;
mod routine;
mod rule;
mod runs;
mod shadow;
mod site;
mod spaces;
mod state;
mod stores;
mod tables;
pub mod tlb;
mod verdict;
mod words;

pub use asids::AsidShadow;
pub use debt::Debt;
pub use devices::MAX_DEVICES;
pub use flush::Waits;
pub use platform::Platform;
pub use report::{Miss, Report, Step, Subject};
pub use rule::Rule;
pub use runs::Stored;
pub use shadow::{BYTES_PER_FRAME, BYTES_PER_SLOT, FrameShadow, Shadow, SlotShadow, TableShadow};
pub use site::Site;
pub use state::SlotState;
pub use stores::How;

use abi::{Asid, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use alloc::boxed::Box;
use book::Book;
use cpus::Cpus;
use flush::Broad;
use pairs::Pairs;
use pte::Caps;
use shadow::SlotId;
use site::Sites;

/// What an oracle is about, and the memory it works in.
pub struct Setup {
    /// What the CPUs can do.
    pub caps: Caps,
    /// How many CPUs may ever run.
    pub cpus: usize,
    /// Where it watches.
    pub platform: Platform,
    /// The first frame that is watched.
    pub first: Pfn,
    /// One for each frame from there on.
    pub frames: Shadow<FrameShadow>,
    /// One for each page that may be a table at the same time.
    pub tables: Shadow<TableShadow>,
    /// Debts that may be outstanding at the same time; at most 65534 are used.
    pub debts: Shadow<Debt>,
    /// One for each ASID.
    pub asids: Shadow<AsidShadow>,
}

impl Setup {
    /// All of it on the heap, for `frames` frames from `first` on. Context: set-up; allocates.
    pub fn owned(caps: Caps, cpus: usize, platform: Platform, first: Pfn, frames: usize) -> Self {
        Self {
            caps,
            cpus,
            platform,
            first,
            frames: Shadow::owned(FrameShadow::BLANK, frames),
            tables: Shadow::owned(TableShadow::BLANK, (frames / 16).clamp(64, 4096)),
            debts: Shadow::owned(Debt::BLANK, (frames / 4).clamp(1024, 8192)),
            asids: Shadow::owned(AsidShadow::BLANK, 1 << caps.asid_bits),
        }
    }
}

/// Who takes a step.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// The CPU.
    pub cpu: u8,
    /// The place in the program.
    pub site: Site,
}

impl By {
    /// The caller, on `cpu`.
    #[track_caller]
    pub fn caller(cpu: abi::CpuId) -> Self {
        Self { cpu: cpu.0 as u8, site: Site::here() }
    }
}

/// What went unwatched for lack of shadow memory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Blind {
    /// Pages that became tables.
    pub tables: u64,
    /// Translations that were taken away.
    pub debts: u64,
}

/// What TLBs may hold, and what was done about it.
pub struct Oracle {
    caps: Caps,
    platform: Platform,
    first: Pfn,
    frames: Shadow<FrameShadow>,
    tables: Shadow<TableShadow>,
    /// The first free table shadow; beyond the chain, those never used.
    free_table: u32,
    fresh_table: u32,
    book: Book,
    asids: asids::Asids,
    cpus: Cpus,
    broad: Box<[Broad]>,
    /// The last operation on a whole ASID, and when it was issued.
    by_asid: Option<(Asid, u64)>,
    sites: Sites,
    pairs: Box<Pairs>,
    /// No store goes the short way.
    is_thorough: bool,
    /// What shadows remember of reaches is true while this is the same.
    epoch: u64,
    /// Which came first: each event is a moment of its own.
    clock: u64,
    /// Spaces that there ever were.
    spaces: u32,
    blind: Blind,
    /// Kernel addresses whose mappings may go before their frames do; at first none.
    quarantine: VirtRange,
    report: Option<Report>,
}

impl Oracle {
    /// An oracle that has seen nothing.
    ///
    /// # Panics
    /// With more CPUs than bits of a mask.
    pub fn new(setup: Setup) -> Self {
        Self {
            caps: setup.caps,
            platform: setup.platform,
            first: setup.first,
            frames: setup.frames,
            tables: setup.tables,
            free_table: u32::MAX,
            fresh_table: 0,
            book: Book::new(setup.debts),
            asids: asids::Asids::new(setup.asids),
            cpus: Cpus::new(setup.cpus, setup.caps.repeat_tlbi),
            broad: alloc::vec![Broad::NONE; setup.cpus].into_boxed_slice(),
            by_asid: None,
            sites: Sites::new(),
            pairs: Box::new(Pairs::NONE),
            is_thorough: false,
            epoch: 1,
            clock: 0,
            spaces: 0,
            quarantine: VirtRange::new(VirtAddr(0), VirtAddr(0)),
            blind: Blind::default(),
            report: None,
        }
    }

    /// The same, which judges every store anew: slower, and no wiser. For tests of the short way.
    #[must_use]
    pub fn thorough(mut self) -> Self {
        self.is_thorough = true;
        self
    }

    /// The first broken rule, if any. After it, nothing is judged any more.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// What went unwatched.
    pub fn blind(&self) -> Blind {
        self.blind
    }

    /// Debts that are not known to be paid.
    pub fn outstanding(&self) -> usize {
        self.book.len
    }

    /// Steps seen.
    pub fn steps(&self) -> u64 {
        self.clock
    }

    /// A moment later than all before.
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The number of a frame that is watched.
    #[inline]
    fn frame_of(&self, pfn: Pfn) -> Option<usize> {
        let at = pfn.0.checked_sub(self.first.0)? as usize;
        (at < self.frames.len()).then_some(at)
    }

    fn address(&self, slot: SlotId) -> PhysAddr {
        let page = (self.first.0 + slot.frame() as u64) * PAGE_SIZE;
        PhysAddr(page + 8 * slot.index() as u64)
    }
}
