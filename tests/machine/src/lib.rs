//! A simulated machine for the memory manager's host tests: several CPUs, each with a TLB and a walk
//! cache that may remember whatever the architecture lets them.
//!
//! It implements [`mm::Hardware`], so the memory manager's own source runs on it, and
//! [`stress::World`], so the kernel's workloads do. One seed decides which CPU takes the next step
//! and what each walker sees; a failure comes back with the same seed. Or a strategy of [`explore`] does.
//!
//! # What it models
//! * A translation may be cached from the moment its descriptors are valid, by any CPU that runs the
//!   space, also for addresses nobody accessed; it may stay until a TLBI that covers it completes.
//! * Table descriptors are cached like leaves (walk caches), tagged with the ASID.
//! * A leaf with the contiguous mark may be cached by itself or for all sixteen, the others unread.
//! * A descriptor store may stay hidden from walkers until its CPU publishes it.
//! * A TLBI removes what its operand says and no more, and may be late on every CPU until its issuer
//!   completes it. A level hint counts where the CPU reads it.
//! * Hardware access flag and dirty state, where the capabilities have them: set in one step with
//!   reading the descriptor, the dirty state by stores that happen only.
//!
//! # What it reports
//! * A change of a descriptor that breaks a rule: see `rules`.
//! * A frame or table that is freed while a CPU has, *or may have*, a translation to it: see `stale`.
//! * An ASID that is taken up with another space's, or a freed frame's, translations under it.
//! * An access through a translation of memory that is free or a table; a walk that comes to what is no
//!   table; two translations of different size or place for one address.
//! * At the release of a table's lock: a present-invalid entry, a run of which some have the mark.
//! * Locks out of order; interrupt masks that do not nest; sleeping with interrupts masked; a panic, a
//!   deadlock's included.
//!
//! The first is kept, with the last steps that have to do with it. Nothing is reported that the
//! architecture forgives. That an access meets another space's memory is for the workloads to see, by
//! their stamps.
//!
//! * Without FEAT_nTLBPA a walker may take for what is at a place what it once read there, on another way.
//! * What a CPU's own TLBI removes it may go by until it synchronises its context.
//! * A CPU that is away hears no broadcast, and has its TLB still when it comes back.
//! * In the kernel's half, a translation or a fault may be worked out before the program comes to it, and
//!   holds until the context is synchronised.
//! * A device has a TLB of its own, which only commands reach.
//! * With the repeat-TLBI erratum, a barrier ends before the last operations have.
//!
//! # What it does not model
//! The weak ordering of software's own loads and stores: the litmus engine does. A table register that is
//! written without context synchronisation: here the write and the synchronisation are one step, as the
//! memory manager asks for it. Granules other than 4 KiB, of which pte has the encodings only.
//!
//! | file | concern |
//! | --- | --- |
//! | `schedule`, `coroutines` | which CPU runs: one at a time; who sleeps |
//! | `explore` | who decides that, and every other choice; searches, replays, shrinks |
//! | `memory` | RAM, what each frame is |
//! | `hidden` | which descriptor stores walkers may miss |
//! | `tables` | which pages are tables, where each is linked |
//! | `stays`, `stale` | who ran what when; what anybody may still have |
//! | `copies` | spaces with tables of their own for the kernel's half |
//! | `kernel`, `ahead` | the kernel's half; what a CPU works out ahead of its program |
//! | `device` | a device with a TLB of its own |
//! | `walker`, `access` | the hardware's walk; accesses, and the history they write |
//! | `descriptors` | software's changes of descriptors |
//! | `rules`, `breaks` | the rules they keep; break-before-make |
//! | `frames`, `locks` | frames, tables and ASIDs change hands; locks, masks, sleep |
//! | `timeline`, `story` | the last things that happened; what a report tells of them |
//! | `hardware`, `world` | the memory manager's trait; the workloads' trait |
//! | `inspect` | what a test may ask |
//! | `at_work` | whose requests of the host's heap are the model's own |

#![forbid(unsafe_code)]

mod access;
mod ahead;
mod at_work;
mod breaks;
mod copies;
mod coroutines;
mod descriptors;
mod device;
pub mod explore;
mod frames;
mod hardware;
mod hidden;
mod inspect;
mod kernel;
mod locks;
mod memory;
mod rules;
mod schedule;
mod stale;
mod stays;
mod story;
mod tables;
mod timeline;
mod walker;
mod world;

pub use at_work::is_at_work;
pub use inspect::Translation;
pub use kernel::Known;
pub use story::{Story, Told};
pub use world::{SimWorld, Simulated};

use abi::{Asid, Level, MAX_CPUS, Pfn, PhysAddr, VirtAddr};
use at_work::AtWork;
use explore::Strategy;
use mm::Levels;
use oracle::tlb::Tlb;
use pte::Caps;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use sync::Class;
use timeline::Concern;

/// What the simulated machine is like.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What its CPUs can do.
    pub caps: Caps,
    /// How many there are.
    pub cpus: usize,
    /// RAM, in pages.
    pub pages: u64,
    /// Memory nodes: that many parts of RAM, each of whole page blocks but the last. CPUs live in them by
    /// turns.
    pub nodes: u64,
    /// Page blocks at the end of RAM that are kept for what moves.
    pub movable: u64,
    /// Pages of RAM behind those, which no allocator has.
    pub bare: u64,
    /// Each space has the kernel's first-level entries in a table of its own, as on x86, and walks that. Arm's CPUs
    /// do not: this is for the protocol that keeps copies like what they are copies of.
    pub copied: bool,
    /// What decides every schedule and every choice of the hardware.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            caps: Caps::CORTEX_A72,
            cpus: 3,
            pages: 8192,
            nodes: 1,
            movable: 0,
            bare: 0,
            copied: false,
            seed: 1,
        }
    }
}

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// The CPU whose step showed it.
    pub cpu: usize,
    /// How many steps the machine had taken.
    pub step: u64,
    /// What is wrong, in words.
    pub what: String,
    /// What led to it.
    pub story: Story,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: cpu {}: {}", self.step, self.cpu, self.what)?;
        self.story.before.iter().try_for_each(|event| write!(f, "\n  {event}"))?;
        self.story.missing.iter().try_for_each(|step| write!(f, "\n  missing: {step}"))
    }
}

/// One simulated CPU.
#[derive(Default)]
pub(crate) struct CpuState {
    pub(crate) tlb: Tlb,
    /// The user table and its ASID; `None` while there is no user half.
    pub(crate) user: Option<(Pfn, Asid)>,
    /// It hears no broadcast.
    pub(crate) away: bool,
    /// Translations, and faults, that the CPU has worked out ahead of its program.
    pub(crate) ahead: Vec<ahead::Ahead>,
    /// Its own operations that are complete, and when they were issued: it has not synchronised its context
    /// since.
    pub(crate) unsynchronized: Vec<(pte::Tlbi, u64)>,
    /// TLBIs issued here and not yet completed.
    pub(crate) issued: Vec<Issued>,
    /// TLBIs whose barrier has ended, and may have ended too early (an erratum).
    pub(crate) doubtful: Vec<Issued>,
    /// Spin locks held, in the order of taking.
    pub(crate) locks: Vec<Class>,
    pub(crate) masked: u64,
    /// The last exchange that was refused: where, what was wanted and found, how often in a row.
    pub(crate) refused: (PhysAddr, (u64, u64), u32),
    /// Slots that must be in order when the locks held are released.
    pub(crate) touched: Vec<PhysAddr>,
}

impl CpuState {
    /// The ASID that translations are used under. An empty user half has the number 0.
    pub(crate) fn asid(&self) -> Asid {
        self.user.map_or(Asid(0), |(_, asid)| asid)
    }
}

/// A TLBI on its way: every CPU carries it out once, at some moment before its issuer's barrier ends.
#[derive(Clone, Copy)]
pub(crate) struct Issued {
    pub(crate) op: pte::Tlbi,
    /// When, by the machine's clock.
    pub(crate) at: u64,
    /// The CPUs that are to carry it out, one bit each.
    pub(crate) cpus: u64,
    /// Those that have not.
    pub(crate) owed: u64,
}

/// Everything that changes.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) memory: memory::Memory,
    pub(crate) hidden: hidden::Hidden,
    pub(crate) tables: tables::Tables,
    pub(crate) copies: copies::Copies,
    pub(crate) stays: stays::Stays,
    pub(crate) stale: stale::StaleSet,
    pub(crate) cpus: Vec<CpuState>,
    /// Addresses worth a speculative walk.
    pub(crate) recent: Vec<VirtAddr>,
    pub(crate) decisions: explore::decisions::Decisions,
    pub(crate) turn: schedule::Turn,
    /// Steps taken; time, to the workloads.
    pub(crate) step: u64,
    /// Which came first, among what happens in one step as well.
    clock: u64,
    pub(crate) timeline: timeline::Timeline,
    pub(crate) violation: Option<Violation>,
    /// How often locks were taken, by class.
    pub(crate) taken: BTreeMap<Class, u64>,
}

impl State {
    /// A moment later than all before.
    pub(crate) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Keeps the first violation. What a dying CPU leaves undone is not one.
    pub(crate) fn violate(&mut self, cpu: usize, concern: &Concern, what: String) {
        if self.violation.is_none() && !std::thread::panicking() {
            let story = Story::of(&self.timeline, concern);
            self.violation = Some(Violation { cpu, step: self.step, what, story });
        }
    }
}

/// A handle on a simulated machine.
#[derive(Clone)]
pub struct Machine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) caps: Caps,
    pub(crate) cpus: usize,
    pub(crate) copied: Levels,
    state: Mutex<State>,
}

impl Machine {
    /// A machine with empty memory; its CPUs run when somebody uses it. Its seed decides everything.
    pub fn new(config: Config) -> Self {
        Self::with(config, Box::new(explore::Random::new(config.cpus, config.seed)), false)
    }

    /// A machine on which `strategy` decides, and what it decides is recorded.
    pub fn deciding(config: Config, strategy: Box<dyn Strategy>) -> Self {
        Self::with(config, strategy, true)
    }

    pub(crate) fn with(config: Config, strategy: Box<dyn Strategy>, recorded: bool) -> Self {
        assert!((1..=MAX_CPUS).contains(&config.cpus));
        let state = State {
            config,
            memory: memory::Memory::new(config.pages + config.bare),
            hidden: hidden::Hidden::new(config.cpus),
            tables: tables::Tables::new(config.pages),
            copies: copies::Copies::default(),
            stays: stays::Stays::default(),
            stale: stale::StaleSet::default(),
            cpus: (0..config.cpus).map(|_| CpuState::default()).collect(),
            recent: Vec::new(),
            decisions: explore::decisions::Decisions::new(config.cpus, strategy, recorded),
            turn: schedule::Turn::new(config.cpus),
            step: 0,
            clock: 0,
            timeline: timeline::Timeline::new(),
            violation: None,
            taken: BTreeMap::new(),
        };
        let copied = if config.copied { Levels::only(Level::Pgd) } else { Levels::NONE };
        let (caps, cpus) = (config.caps, config.cpus);
        let inner = Inner { caps, cpus, copied, state: Mutex::new(state) };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// A CPU that panicked has been reported; what it left is as good as a real crash leaves.
    pub(crate) fn state(&self) -> AtWork<'_> {
        AtWork::on(self.inner.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The CPU that the calling thread is.
    pub(crate) fn me(&self) -> usize {
        coroutines::current_cpu()
    }

    /// Between two steps of this CPU: lets the adversary act and perhaps another CPU run.
    pub(crate) fn step(&self) {
        let cpu = self.me();
        let go = {
            let mut state = self.state();
            let state = &mut *state;
            state.step += 1;
            state.decisions.begin(cpu);
            state.speculate();
            state.turn.stepped(cpu, &mut state.decisions)
        };
        self.go(go, "cannot go on");
    }

    /// This CPU has nothing left to do.
    pub(crate) fn ends(&self, cpu: usize) {
        let mut state = self.state();
        let state = &mut *state;
        state.decisions.begin(cpu);
        state.turn.ends(cpu, &mut state.decisions);
    }
}
