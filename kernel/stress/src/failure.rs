//! What can go wrong in a run, with the evidence.

use crate::stamp::{Content, Stamp};
use abi::{Access, Event, Level, PhysAddr, VirtAddr};
use core::fmt;
use mm::audit::Broken;
use mm::gup::GupError;
use mm::vmalloc::permission::PermissionError;
use mm::{
    AdviseError, CollapseError, FaultOutcome, MapError, MigrateError, OutOfMemory, ProtectError,
    RemapError, Space, SplitError, UnmapError, VmallocError,
};

/// The descriptors on the way to an address, from the root; zero where the walk had ended.
pub type Walk = [u64; 4];

/// The way to `va`, as it is now.
pub fn keep_walk<H: mm::Hardware>(space: &Space<'_, H>, va: VirtAddr) -> Walk {
    let mut kept = Walk::default();
    space.mm().walk(space.root(), va, |level, _, _, word| kept[level as usize] = word);
    kept
}

/// What went wrong first.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// A page held what it must not hold.
    WrongData {
        /// Who read.
        cpu: usize,
        /// Where.
        va: VirtAddr,
        /// What should have been there.
        expected: Stamp,
        /// What was there.
        found: u64,
        /// The tables, right afterwards.
        walk: Walk,
    },
    /// An access that had to succeed did not, or the reverse.
    WrongOutcome {
        /// Who tried.
        cpu: usize,
        /// Where.
        va: VirtAddr,
        /// What was tried.
        access: Access,
        /// How it ended; `None`: it succeeded.
        outcome: Option<FaultOutcome>,
        /// The tables, right afterwards.
        walk: Walk,
    },
    /// The tables said what they must not say at that moment.
    WrongEntry {
        /// Who looked.
        cpu: usize,
        /// Where.
        va: VirtAddr,
        /// What is wrong about it.
        what: &'static str,
        /// What was seen.
        walk: Walk,
    },
    /// Memory that was nobody else's was written.
    WrongFrame {
        /// Who had it.
        cpu: usize,
        /// Where it is.
        at: PhysAddr,
        /// What was written there.
        expected: u64,
        /// What was there.
        found: u64,
    },
    /// An operation was refused that had to work.
    Refused(Refusal),
    /// There was less memory than the workload was told to use.
    Memory(OutOfMemory),
    /// Not every CPU's thread could be started.
    Threads {
        /// How many were.
        started: usize,
    },
    /// A workload's own count did not come out.
    Count {
        /// Of what.
        what: &'static str,
        /// What it should be.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// What a workload is for did not happen, in however many operations.
    Idle {
        /// What.
        event: Event,
        /// How many.
        operations: u64,
    },
    /// A kernel address that is mapped faults, or does not show what was written there.
    Kernel {
        /// Who looked.
        cpu: usize,
        /// Where.
        va: VirtAddr,
        /// What was written there, or was to be.
        expected: u64,
        /// What was there; `None` where reading faulted, or writing did.
        found: Option<u64>,
    },
    /// Pages that were not given back.
    Leak {
        /// What they are.
        what: &'static str,
        /// How many there were before.
        before: u64,
        /// How many there are now.
        after: u64,
    },
    /// A rule of the memory manager did not hold at rest.
    Broken(Broken),
}

impl Failure {
    /// The walk that was kept, step by step.
    pub(crate) fn walk(&self) -> impl Iterator<Item = (Level, usize, u64)> {
        let (va, walk) = match self {
            Self::WrongData { va, walk, .. }
            | Self::WrongOutcome { va, walk, .. }
            | Self::WrongEntry { va, walk, .. } => (*va, *walk),
            _ => (VirtAddr(0), Walk::default()),
        };
        let ended = walk.iter().take_while(|word| **word != 0).count();
        let steps = if walk[0] == 0 { 0 } else { (ended + 1).min(walk.len()) };
        (0..steps).map(move |n| (Level::ALL[n], Level::ALL[n].index(va), walk[n]))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongData { cpu, va, expected, found, .. } => {
                write!(f, "cpu {cpu} read {va}: expected {expected}, found {}", Content(*found))
            }
            Self::WrongOutcome { cpu, va, access, outcome: Some(outcome), .. } => {
                write!(f, "cpu {cpu}: {access} of {va} had to succeed: {outcome:?}")
            }
            Self::WrongOutcome { cpu, va, access, outcome: None, .. } => {
                write!(f, "cpu {cpu}: {access} of {va} had to be denied and succeeded")
            }
            Self::WrongEntry { cpu, va, what, .. } => {
                write!(f, "cpu {cpu} looked at the tables for {va}: {what}")
            }
            Self::WrongFrame { cpu, at, expected, found } => {
                let (expected, found) = (Content(*expected), Content(*found));
                write!(f, "cpu {cpu} owns {at}: expected {expected}, found {found}")
            }
            Self::Kernel { cpu, va, expected, found } => {
                write!(f, "cpu {cpu} at kernel address {va}: expected {}, ", Content(*expected))?;
                match found {
                    Some(found) => write!(f, "found {}", Content(*found)),
                    None => f.write_str("and it faults"),
                }
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Memory(error) => write!(f, "{error}; use a smaller mem="),
            Self::Threads { started } => {
                write!(f, "only {started} threads could be started; use fewer cpus=")
            }
            Self::Count { what, expected, found } => {
                write!(f, "{what}: expected {expected}, found {found}")
            }
            Self::Idle { event, operations } => {
                write!(
                    f,
                    "{}: never in {operations} operations, so nothing was shown",
                    event.name()
                )
            }
            Self::Leak { what, before, after } => {
                write!(f, "leak: {before} pages of {what} before, {after} after")
            }
            Self::Broken(broken) => write!(f, "at rest, {broken}"),
        }
    }
}

macro_rules! refusals {
    ($($variant:ident($error:ty) => $what:literal,)*) => {
        /// An operation's error, whichever operation it was.
        #[derive(Clone, Copy, Debug)]
        pub enum Refusal {
            $(#[doc = concat!("Of the ", $what, ".")] $variant($error),)*
        }

        impl fmt::Display for Refusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(error) => write!(f, concat!($what, " failed: {}"), error),)*
                }
            }
        }

        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Refused(Refusal::$variant(error))
            }
        })*
    };
}

refusals! {
    Map(MapError) => "mapping",
    Unmap(UnmapError) => "unmapping",
    Protect(ProtectError) => "changing rights",
    Remap(RemapError) => "moving",
    Advise(AdviseError) => "advising",
    Split(SplitError) => "splitting",
    Migrate(MigrateError) => "migrating",
    Collapse(CollapseError) => "collapsing",
    Gup(GupError) => "holding a page",
    Vmalloc(VmallocError) => "a kernel mapping",
    Permission(PermissionError) => "changing rights of kernel memory",
}

impl From<OutOfMemory> for Failure {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}
