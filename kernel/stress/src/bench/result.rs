//! What a row turned out to be, per unit, and how it compares.

use super::figure::Figure;
use super::meter::{Half, Overhead, Sums, unsigned};
use super::row::{Aim, Linux, Row};
use crate::run::Failure;
use crate::world::World;
use abi::{Event, PAGE_SIZE};

/// Two halves of the rounds may differ by one part in so many; instructions only.
pub const STEADY: u64 = 50;
/// How many times fewer instructions than Linux's are promised.
pub const PROMISE: u64 = 3;

/// Where a row was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// How many CPUs did it at the same time.
    pub cpus: usize,
    /// Whether all of them in one space.
    pub shared: bool,
    /// Whether it is one of a series, by numbers of CPUs.
    pub series: bool,
}

/// A row's outcome.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The row's name.
    pub name: &'static str,
    /// What it is measured per.
    pub per: &'static str,
    /// Where.
    pub setting: Setting,
    /// What Linux takes.
    pub linux: Option<Linux>,
    /// What is wanted, once the bare work is known.
    pub aim: Option<Figure>,
    /// Why it need not keep the promise.
    pub excuse: Option<&'static str>,
    /// What lies between it and its aim.
    pub distance: Option<&'static str>,
    /// What one CPU alone takes, with preparing and cleaning up; for more than one.
    pub alone: Option<Figure>,
    /// What came of it.
    pub state: State,
}

/// What came of a row.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "a few dozen of them, for as long as a command runs")]
pub enum State {
    /// The operation does not exist yet.
    NotBuilt,
    /// It went wrong.
    Failed(Failure),
    /// It was measured.
    Measured(Measured),
}

/// Figures per unit.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Units in one window.
    pub units: u64,
    /// Units in all windows of all CPUs.
    pub counted: u64,
    /// Instructions in the windows; `None` where nothing counts them, or nothing counts those of
    /// each CPU.
    pub instructions: Option<Figure>,
    /// Instructions of all CPUs with preparing and cleaning up: for comparing numbers of CPUs.
    pub whole: Option<Figure>,
    /// Time in the windows; with several CPUs, the time of one for all that it did, but in a series as with one:
    /// there `None` where CPUs take turns.
    pub ns: Option<Figure>,
    /// Interrupts sent to other CPUs.
    pub ipis: Figure,
    /// Whether there was TLB maintenance, and all of it stayed on the CPU that issued it.
    pub is_local: bool,
    /// What the memory manager counts.
    events: [Figure; Event::COUNT],
    /// The two halves' instructions per unit, where they differ too much.
    pub unsteady: Option<[Figure; 2]>,
    /// What measuring took by itself, and was taken off.
    pub overhead: Overhead,
}

impl Measured {
    /// From the sums of both halves, overheads taken off.
    pub(super) fn new(halves: &[Half; 2], setting: Setting, overhead: Overhead) -> Self {
        let (Setting { cpus, series, .. }, [first, second]) = (setting, halves);
        let mut all = first.sums;
        all.add(&second.sums, 1);
        let units = unsigned(all.extent.units);
        let per = |sum: i64| Figure::per(unsigned(sum), units);
        let both =
            |a: Option<u64>, b: Option<u64>| a.zip(b).map(|(a, b)| Figure::per(a + b, units));
        let counted = first.own.is_some() && (cpus == 1 || first.together.is_none());
        let span = |half: &Half| half.ns.1.saturating_sub(half.ns.0) * cpus as u64;
        Self {
            units: units / unsigned(all.extent.windows).max(1),
            counted: units,
            instructions: counted.then(|| per(all.instructions)),
            whole: both(first.whole(), second.whole()),
            ns: match (cpus, series) {
                (1, _) => Some(per(all.ns)),
                (_, true) => first.together.is_none().then(|| per(all.ns)),
                _ => Some(Figure::per(span(first) + span(second), units)),
            },
            ipis: per(all.ipis),
            is_local: is_local(&all.events),
            events: all.events.map(per),
            unsteady: if counted { differ(&first.sums, &second.sums) } else { None },
            overhead,
        }
    }

    /// How often `event` happened.
    pub fn count(&self, event: Event) -> Figure {
        self.events[event as usize]
    }

    /// TLB maintenance of all kinds.
    pub fn tlbis(&self) -> Figure {
        TLBIS.iter().fold(Figure::default(), |sum, event| sum.plus(self.count(*event)))
    }

    /// Barriers of both kinds.
    pub fn barriers(&self) -> Figure {
        self.count(Event::DsbPublish).plus(self.count(Event::DsbComplete))
    }

    /// Bytes cleared, for tables too.
    pub fn bytes_cleared(&self) -> u64 {
        self.count(Event::PgClear).times(PAGE_SIZE)
    }

    /// Bytes copied.
    pub fn bytes_copied(&self) -> u64 {
        self.count(Event::PgCopy).times(PAGE_SIZE)
    }

    /// Table pages made and table pages freed.
    pub fn tables(&self) -> Figure {
        self.count(Event::PgTableAlloc).plus(self.count(Event::PgTableFree))
    }
}

/// All TLB maintenance, by kind.
const TLBIS: [Event; 5] =
    [Event::TlbiVaLast, Event::TlbiVa, Event::TlbiRange, Event::TlbiAsid, Event::TlbiAll];

/// Whether all TLB maintenance counted in `events`, and there is some, was local.
fn is_local(events: &[i64; Event::COUNT]) -> bool {
    let all: i64 = TLBIS.map(|event| events[event as usize]).iter().sum();
    all > 0 && all == events[Event::TlbiLocal as usize]
}

/// The halves' instructions per unit, if they differ too much.
fn differ(first: &Sums, second: &Sums) -> Option<[Figure; 2]> {
    let each = [first, second]
        .map(|half| Figure::per(unsigned(half.instructions), unsigned(half.extent.units)));
    let (less, more) = (each[0].min(each[1]), each[0].max(each[1]));
    (less.times(STEADY) < more.times(STEADY - 1)).then_some(each)
}

/// How a row compares with what is wanted of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The aim is met, and the promise kept.
    Aim,
    /// The aim is met, but the bare work in it leaves the promise out of reach, or is done badly.
    AimOnly,
    /// The promise is kept, the aim is not met.
    Promise,
    /// Neither.
    Neither,
    /// There is nothing to compare.
    Open,
}

impl Outcome {
    /// A row before it was measured.
    pub(super) fn of<W: World>(
        row: &Row<W>,
        setting: Setting,
        bare: &dyn Fn(&str) -> Figure,
    ) -> Self {
        let aim = |aim: Aim| aim.plus.plus(aim.bare.map_or(Figure::default(), bare));
        Self {
            name: row.name,
            per: row.per,
            setting,
            linux: row.linux,
            aim: row.aim.map(aim),
            excuse: row.excuse,
            distance: row.distance,
            alone: None,
            state: State::NotBuilt,
        }
    }

    /// Its figures, if it has any.
    pub fn measured(&self) -> Option<&Measured> {
        match &self.state {
            State::Measured(measured) => Some(measured),
            _ => None,
        }
    }

    /// Instructions per unit, if they were counted.
    pub fn instructions(&self) -> Option<Figure> {
        self.measured()?.instructions
    }

    /// How many times fewer instructions than Linux it takes.
    pub fn ratio(&self) -> Option<Figure> {
        Figure::whole(self.linux?.instructions).over(self.instructions()?)
    }

    /// How many times more instructions a unit takes than with one CPU, for all that is done.
    pub fn growth(&self) -> Option<Figure> {
        self.measured()?.whole?.over(self.alone?)
    }

    /// Whether it takes more than a third of Linux's instructions.
    pub fn breaks_promise(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio < Figure::whole(PROMISE))
    }

    /// How it compares.
    pub fn verdict(&self) -> Verdict {
        let Some(ours) = self.instructions() else { return Verdict::Open };
        let kept = self.ratio().map(|_| !self.breaks_promise());
        match (self.aim.map(|aim| ours <= aim), kept) {
            (Some(true), Some(false)) => Verdict::AimOnly,
            (Some(true), _) => Verdict::Aim,
            (_, Some(true)) => Verdict::Promise,
            (None, None) => Verdict::Open,
            _ => Verdict::Neither,
        }
    }
}
