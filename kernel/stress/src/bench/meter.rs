//! What is counted, and the window in which it is counted.

use super::figure::Figure;
use abi::{CpuId, Event};

/// What can be known of a machine besides what its memory manager counts.
pub trait Meter: Sync {
    /// Instructions that the executing CPU has retired since some moment before; `None` where
    /// nothing counts them. Only [`Meter::instructions_since`] takes differences: the counter may be
    /// narrow.
    fn instructions(&self) -> Option<u64>;

    /// Instructions retired since [`Meter::instructions`] answered `start` on the same CPU.
    fn instructions_since(&self, start: u64) -> Option<u64>;

    /// Instructions that all CPUs together have retired since some moment before, the same whoever
    /// asks; `None` where each CPU counts its own. An emulator that counts exactly runs one CPU
    /// after the other and has one count for all, so what one CPU counts between two moments is not
    /// what it did.
    fn instructions_together(&self) -> Option<u64>;

    /// Interrupts that `cpu` has sent to other CPUs, whatever for.
    fn interrupts_sent(&self, cpu: CpuId) -> u64;

    /// A window begins, or has ended: for whoever watches the machine from outside.
    fn mark(&self, begin: bool) {
        let _ = begin;
    }

    /// Runs `body(n)` for each `n` below `cpus`, each bound to a CPU of its own, and waits for all.
    /// Nothing else runs meanwhile, a watcher neither: it would be measured. Returns how many ran.
    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync)) -> usize;
}

/// How many windows a quantity was measured in, and how many turns of a loop were in them.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Extent {
    /// What the operation counts itself in: pages, calls.
    pub(super) units: i64,
    pub(super) windows: i64,
    pub(super) turns: i64,
}

/// Sums over windows. Signed, since a row may be what one operation takes more than another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    pub(super) extent: Extent,
    pub(super) instructions: i64,
    pub(super) ns: i64,
    pub(super) ipis: i64,
    pub(super) events: [i64; Event::COUNT],
}

impl Sums {
    pub(super) const ZERO: Self = Self {
        extent: Extent { units: 0, windows: 0, turns: 0 },
        instructions: 0,
        ns: 0,
        ipis: 0,
        events: [0; Event::COUNT],
    };

    /// Adds `other`, `sign` times.
    pub(super) fn add(&mut self, other: &Self, sign: i64) {
        self.extent.units += sign * other.extent.units;
        self.extent.windows += sign * other.extent.windows;
        self.extent.turns += sign * other.extent.turns;
        self.instructions += sign * other.instructions;
        self.ns += sign * other.ns;
        self.ipis += sign * other.ipis;
        for (sum, more) in self.events.iter_mut().zip(&other.events) {
            *sum += sign * more;
        }
    }

    /// Takes out what the measuring itself took.
    pub(super) fn discount(&mut self, bare: &Overhead) {
        let Extent { windows, turns, .. } = self.extent;
        self.instructions -= bare.instructions(windows, turns);
        self.ns -= bare.ns(windows, turns);
    }
}

/// Half of the rounds: what was in the windows, and the whole of it with preparing and cleaning up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half {
    pub(super) sums: Sums,
    /// Instructions that the CPUs counted, each its own.
    pub(super) own: Option<u64>,
    /// The common count when the first began and when the last had done.
    pub(super) together: Option<(u64, u64)>,
    /// The time, likewise.
    pub(super) ns: (u64, u64),
}

impl Half {
    /// Of several CPUs.
    pub(super) fn and(&self, other: &Self) -> Self {
        let span = |a: (u64, u64), b: (u64, u64)| (a.0.min(b.0), a.1.max(b.1));
        let mut sums = self.sums;
        sums.add(&other.sums, 1);
        Self {
            sums,
            own: self.own.zip(other.own).map(|(a, b)| a + b),
            together: self.together.zip(other.together).map(|(a, b)| span(a, b)),
            ns: span(self.ns, other.ns),
        }
    }

    /// All instructions of all CPUs from the beginning to the end.
    pub(super) fn whole(&self) -> Option<u64> {
        self.together.map(|(began, ended)| ended.saturating_sub(began)).or(self.own)
    }
}

/// What measuring takes by itself: found out with windows around nothing.
#[derive(Clone, Copy, Default, Debug)]
pub struct Overhead {
    /// Instructions of an empty window.
    pub window: Figure,
    /// Instructions of an empty turn.
    pub turn: Figure,
    window_ns: Figure,
    turn_ns: Figure,
}

impl Overhead {
    /// From windows around nothing, and windows around loops around nothing.
    pub(super) fn of(windows: &Sums, loops: &Sums) -> Self {
        let per = |sum: i64, n: i64| Figure::per(unsigned(sum), unsigned(n));
        let mut bare = Self {
            window: per(windows.instructions, windows.extent.windows),
            window_ns: per(windows.ns, windows.extent.windows),
            ..Self::default()
        };
        let mut loops = *loops;
        let turns = loops.extent.turns;
        loops.extent.turns = 0;
        loops.discount(&bare);
        bare.turn = per(loops.instructions, turns);
        bare.turn_ns = per(loops.ns, turns);
        bare
    }

    fn instructions(&self, windows: i64, turns: i64) -> i64 {
        of_both((self.window, windows), (self.turn, turns))
    }

    fn ns(&self, windows: i64, turns: i64) -> i64 {
        of_both((self.window_ns, windows), (self.turn_ns, turns))
    }
}

/// The sum of two figures, each taken so many times.
fn of_both(windows: (Figure, i64), turns: (Figure, i64)) -> i64 {
    let times = |(figure, n): (Figure, i64)| n.signum() * figure.times(n.unsigned_abs()) as i64;
    times(windows) + times(turns)
}

/// A sum that is not negative but for what was measured inexactly.
pub(super) fn unsigned(sum: i64) -> u64 {
    sum.max(0) as u64
}
