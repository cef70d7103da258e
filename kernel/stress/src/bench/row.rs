//! One operation: what it is called, what others take for it, what we want, how it is measured.

use super::figure::Figure;
use super::seat::Seat;
use crate::run::Failure;
use crate::world::World;

/// Does an operation once or many times, with windows around it.
pub type Op<W> = fn(&Seat<'_, W>) -> Result<(), Failure>;

/// What Linux takes per unit: arm64 6.12 under the same emulator, on a Cortex-A72.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Linux {
    /// Instructions.
    pub instructions: u64,
    /// Nanoseconds, on some host; good for ratios among Linux's own only. 0: not measured.
    pub ns: u64,
}

/// What an operation should take at most: some of it is bare clearing or copying, which is measured
/// beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aim {
    /// The row that measures the bare work in it, if there is any.
    pub bare: Option<&'static str>,
    /// Instructions besides.
    pub plus: Figure,
}

impl Aim {
    /// So many instructions.
    pub const fn of(instructions: u64) -> Self {
        Self { bare: None, plus: Figure::whole(instructions) }
    }

    /// So many tenths of an instruction.
    pub const fn tenths(tenths: u64) -> Self {
        Self { bare: None, plus: Figure::tenths(tenths) }
    }

    /// So many instructions besides what the row `bare` takes.
    pub const fn beside(bare: &'static str, instructions: u64) -> Self {
        Self { bare: Some(bare), plus: Figure::whole(instructions) }
    }
}

/// Whether several CPUs may do it in one address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Each in a space of its own, and all in one.
    Both,
    /// Only each in its own, or the space does not matter.
    Apart,
    /// Likewise; and a row is a series: one CPU, two and four, as far as there are so many, whatever was asked for.
    Series,
}

/// A row of the table. Made by [`Row::new`] and what follows it.
pub struct Row<W: World> {
    /// What the user types, and what the baseline calls it.
    pub name: &'static str,
    /// What it is measured per.
    pub per: &'static str,
    /// Another name that picks it, with others of its kind; so does a part of it that is a kind.
    pub kind: &'static str,
    /// What Linux takes.
    pub linux: Option<Linux>,
    /// What we want.
    pub aim: Option<Aim>,
    /// One round of it; `None`: the operation does not exist yet.
    pub op: Option<Op<W>>,
    /// Rounds that are measured, an even number: two halves that must agree.
    pub rounds: u64,
    /// Where several CPUs may do it.
    pub sharing: Sharing,
    /// Why it need not be three times better than Linux.
    pub excuse: Option<&'static str>,
    /// What lies between it and its aim.
    pub distance: Option<&'static str>,
}

impl<W: World> Row<W> {
    /// Rounds of a row that does not say otherwise.
    const ROUNDS: u64 = 8;

    /// An operation that nobody can do yet.
    pub const fn new(name: &'static str, per: &'static str) -> Self {
        Self {
            name,
            per,
            kind: "",
            linux: None,
            aim: None,
            op: None,
            rounds: Self::ROUNDS,
            sharing: Sharing::Apart,
            excuse: None,
            distance: None,
        }
    }

    /// What Linux takes: instructions and nanoseconds.
    pub const fn linux(mut self, instructions: u64, ns: u64) -> Self {
        self.linux = Some(Linux { instructions, ns });
        self
    }

    /// What we want.
    pub const fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    /// How it is done, each CPU in a space of its own.
    pub const fn by(mut self, op: Op<W>) -> Self {
        self.op = Some(op);
        self
    }

    /// How it is done, also by several CPUs in one space.
    pub const fn by_all(mut self, op: Op<W>) -> Self {
        self.sharing = Sharing::Both;
        self.by(op)
    }

    /// How it is done, by one CPU, by two and by four.
    pub const fn by_series(mut self, op: Op<W>) -> Self {
        self.sharing = Sharing::Series;
        self.by(op)
    }

    /// Another name that picks it, with others of its kind.
    pub const fn of(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// Fewer or more rounds: for what is large, or small.
    pub const fn rounds(mut self, rounds: u64) -> Self {
        self.rounds = rounds;
        self
    }

    /// Why it need not be three times better than Linux.
    pub const fn excused(mut self, why: &'static str) -> Self {
        self.excuse = Some(why);
        self
    }

    /// What lies between it and its aim.
    pub const fn short_by(mut self, what: &'static str) -> Self {
        self.distance = Some(what);
        self
    }
}
