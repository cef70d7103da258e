//! A simulated machine for the memory manager's host tests: several CPUs, each with a TLB and a walk
//! cache that may remember whatever the architecture lets them.
//!
//! It implements [`mm::Hardware`], so the memory manager's own source runs on it, and
//! [`stress::World`], so the kernel's workloads do. One seed decides which CPU takes the next step
//! and what each walker sees; a failure comes back with the same seed.
//!
//! # What it models
//! * A translation may be cached from the moment its descriptors are valid, by any CPU that runs the
//!   space, also for addresses nobody accessed; it may stay until a TLBI that covers it completes.
//! * Table descriptors are cached like leaves (walk caches), tagged with the ASID.
//! * A descriptor store may stay hidden from walkers until its CPU publishes it.
//! * A TLBI removes what its operand says and no more, and may be late on every CPU until its issuer
//!   completes it.
//! * Hardware access flag and dirty state, where the capabilities have them.
//!
//! # What it reports
//! A frame that is freed while a translation of it is cached; a table that is freed while a walk
//! cache points to it; software that looks at a slot of a page that is no table; an access through a
//! translation of memory that is free or a table; two translations of different size or place for one
//! address; locks out of order; interrupt masks that do not nest; sleeping with interrupts masked; a
//! panic, a deadlock's included. The first is kept. That an access meets another space's memory is
//! for the workloads to see, by their stamps.
//!
//! # What it does not model yet
//! Caching by a descriptor's physical address, context synchronisation (a missing ISB), the
//! weak ordering of software's own loads and stores, kernel mappings, devices.
//!
//! | file | concern |
//! | --- | --- |
//! | `baton` | which CPU runs: one thread at a time, by seed |
//! | `memory` | RAM, what each frame is, what walkers may still see |
//! | `tlb` | one CPU's cached translations |
//! | `walker` | the hardware's walk; accesses |
//! | `hardware` | the memory manager's trait |
//! | `world` | the workloads' trait |

#![forbid(unsafe_code)]

mod baton;
mod hardware;
mod memory;
mod tlb;
mod walker;
mod world;

pub use world::SimWorld;

use abi::{Asid, MAX_CPUS, Pfn, VirtAddr};
use memory::Memory;
use pte::Caps;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sync::Class;
use tlb::Tlb;

/// What the simulated machine is like.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What its CPUs can do.
    pub caps: Caps,
    /// How many there are.
    pub cpus: usize,
    /// RAM, in pages.
    pub pages: u64,
    /// What decides every schedule and every choice of the hardware.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { caps: Caps::CORTEX_A72, cpus: 3, pages: 8192, seed: 1 }
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
}

/// One simulated CPU.
pub(crate) struct CpuState {
    pub(crate) tlb: Tlb,
    /// The user table and its ASID; `None` while there is no user half.
    pub(crate) user: Option<(Pfn, Asid)>,
    /// TLBIs issued here and not yet completed.
    pub(crate) issued: Vec<Issued>,
    /// Spin locks held, in the order of taking.
    pub(crate) locks: Vec<Class>,
    pub(crate) masked: u64,
}

/// A TLBI on its way: every CPU carries it out once, at some moment before its issuer's barrier ends.
#[derive(Clone, Copy)]
pub(crate) struct Issued {
    pub(crate) op: pte::Tlbi,
    /// The CPUs that have not carried it out, one bit each.
    pub(crate) owed: u64,
}

/// Everything that changes.
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) memory: Memory,
    pub(crate) cpus: Vec<CpuState>,
    /// Addresses worth a speculative walk.
    pub(crate) recent: Vec<VirtAddr>,
    pub(crate) rng: stress::Rng,
    pub(crate) step: u64,
    pub(crate) violation: Option<Violation>,
}

impl State {
    /// Keeps the first violation.
    pub(crate) fn violate(&mut self, cpu: usize, what: String) {
        let step = self.step;
        self.violation.get_or_insert(Violation { cpu, step, what });
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
    pub(crate) state: Mutex<State>,
    pub(crate) baton: baton::Baton,
}

impl Machine {
    /// A machine with empty memory; its CPUs run when somebody uses it.
    pub fn new(config: Config) -> Self {
        assert!((1..=MAX_CPUS).contains(&config.cpus));
        let cpu = || CpuState {
            tlb: Tlb::default(),
            user: None,
            issued: Vec::new(),
            locks: Vec::new(),
            masked: 0,
        };
        let state = State {
            config,
            memory: Memory::new(config.pages),
            cpus: (0..config.cpus).map(|_| cpu()).collect(),
            recent: Vec::new(),
            rng: stress::Rng::new(config.seed, "machine", 0),
            step: 0,
            violation: None,
        };
        let baton = baton::Baton::new(config.cpus, config.seed);
        let inner = Inner { caps: config.caps, cpus: config.cpus, state: Mutex::new(state), baton };
        Self { inner: Arc::new(inner) }
    }

    /// The first rule that was broken, if any.
    pub fn violation(&self) -> Option<Violation> {
        self.state().violation.clone()
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.state().step
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// A thread that panicked has been reported; what it left is as good as a real crash leaves.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The CPU that the calling thread is.
    pub(crate) fn me(&self) -> usize {
        baton::current_cpu()
    }

    /// Between two steps of this CPU: lets the adversary act and perhaps another CPU run.
    pub(crate) fn step(&self) {
        {
            let mut state = self.state();
            state.step += 1;
            state.speculate();
        }
        self.inner.baton.maybe_hand_over();
    }
}
