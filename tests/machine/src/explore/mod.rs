//! The explorer: one scenario under many schedules, and of a failure the shortest.
//!
//! Everything that the machine leaves open is a *decision*: which CPU runs next, and which of the
//! outcomes that the architecture permits happens. A [`Strategy`] takes them, one at a time, and 0 is
//! always the dull one: the same CPU goes on, nothing special happens. So a run is what differs from
//! dull, its [`Record`]; it can be played again, and cut shorter.
//!
//! | file | concern |
//! | --- | --- |
//! | `decisions` | the machine's side: asks, counts, records |
//! | `record` | what was decided, and its text |
//! | `random` | dice, and a stall now and then |
//! | `pct` | priorities, with a few places where they change |
//! | `exhaustive` | every schedule within a bound |
//! | `replay` | what a record says |
//! | `text` | a schedule, by what it takes to have it again |
//! | `search` | runs a scenario until it fails |
//! | `shrink` | leaves out what a failure does not need |
//! | `lanes`, `picture` | tells it, CPU by CPU, as text and as SVG |
//!
//! A failure's last line goes into `GRANULE_REPLAY`: the search of that name then runs this one
//! schedule.

pub(crate) mod decisions;
mod exhaustive;
mod lanes;
mod pct;
mod picture;
mod random;
mod record;
mod replay;
mod search;
mod shrink;
mod text;

pub use record::{Decision, Record, Taken};
pub use search::{Explorer, Failure, Found, Run, Search};
pub use text::Schedule;

pub(crate) use random::Random;

use stress::Rng;

/// Where a run is, for one CPU: after so many of its own steps. What other CPUs do does not shift it, so
/// a decision keeps its place while others are left out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The CPU that takes the step.
    pub cpu: usize,
    /// How many it has taken.
    pub own: u32,
}

/// Why it is asked who runs next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The CPU has taken a step and can go on.
    Step,
    /// It waits for something that only another can do, and asks again and again.
    Spin,
    /// It cannot go on, or must not.
    Stop,
}

/// A moment at which another CPU may run.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Where.
    pub place: Place,
    /// Why it is asked.
    pub why: Why,
    /// The other CPUs that could run, one bit each.
    pub ready: u64,
    /// Steps of all CPUs so far.
    pub step: u64,
}

impl Moment {
    /// The dull answer: the same CPU, or the next that can.
    pub fn dull(&self) -> usize {
        if self.why == Why::Step || self.ready == 0 {
            return self.place.cpu;
        }
        let after = self.ready.checked_shr(self.place.cpu as u32 + 1).unwrap_or(0);
        match after {
            0 => self.ready.trailing_zeros() as usize,
            _ => self.place.cpu + 1 + after.trailing_zeros() as usize,
        }
    }
}

/// Something that the architecture leaves open.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Where.
    pub place: Place,
    /// Which of this step's.
    pub nth: u32,
    /// How many outcomes there are.
    pub options: u64,
    /// Whether CPUs run side by side now, and not one by itself.
    pub scheduled: bool,
}

/// Takes a run's decisions.
pub trait Strategy: Send {
    /// The CPU that runs next: one of those that are ready or, unless `at.why` is [`Why::Stop`], the
    /// same.
    fn next(&mut self, at: &Moment) -> usize;

    /// Which of the outcomes happens. `luck` answers with dice, by the odds that
    /// suit the question.
    fn outcome(&mut self, at: &Question, luck: &mut dyn FnMut(&mut Rng) -> u64) -> u64;

    /// CPU `cpu` begins something that takes a few steps and that others must not disturb.
    fn tempted(&mut self, _cpu: usize) {}
}
