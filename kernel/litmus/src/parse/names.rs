//! The names of a test while its text is read: a name is known from its first mention on.

use super::error::Error;
use super::token::{Cursor, Lexeme};
use crate::test::{
    Descriptor, EntryId, EntryName, Holder, Output, Space, ThreadId, Value, Var, Variable,
};
use abi::Level;
use alloc::{string::String, string::ToString, vec::Vec};

/// Bounds for texts that nobody means: far above any test.
const MOST: usize = 64;

/// What has been named so far.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) variables: Vec<Variable>,
    pub(crate) tables: Vec<String>,
    pub(crate) spaces: Vec<Space>,
    /// Entries other than `PTE(v)` of the first space, which are put in front in the end.
    pub(crate) others: Vec<(EntryName, Option<Descriptor>)>,
    /// The `PTE(v)` of the first space.
    pub(crate) leaves: Vec<Descriptor>,
    /// Each thread's labels.
    pub(crate) labels: Vec<Vec<(String, usize)>>,
}

/// An entry while its final number is not known: the number of variables may still grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    Leaf(Var),
    Other(usize),
}

impl Slot {
    /// Numbers of others begin above those of all variables there may be.
    pub(crate) const fn id(self) -> EntryId {
        match self {
            Self::Leaf(var) => var,
            Self::Other(nth) => MOST + nth,
        }
    }
}

/// The final number of the entry that was `id` while the text was read.
pub(crate) fn settle(id: EntryId, variables: usize) -> EntryId {
    if id >= MOST { id - MOST + variables } else { id }
}

impl Names {
    pub(crate) fn new() -> Self {
        Self {
            variables: Vec::new(),
            tables: Vec::new(),
            spaces: alloc::vec![Space { name: "init".into(), asid: 1 }],
            others: Vec::new(),
            leaves: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// The variable of this name, new if need be: 64 bits of zero in a group of its own.
    pub(crate) fn variable(&mut self, at: &Cursor<'_, '_>, name: &str) -> Result<Var, Error> {
        if let Some(var) = self.variables.iter().position(|variable| variable.name == name) {
            return Ok(var);
        }
        let var = self.variables.len();
        if var == MOST {
            return Err(at.error(super::Problem::TooMany("variables")));
        }
        let initial = alloc::vec![Value::Number(0)];
        self.variables.push(Variable { name: name.to_string(), width: 8, initial, group: var });
        self.leaves.push(Descriptor::page(var));
        Ok(var)
    }

    /// A space or a table by its name.
    pub(crate) fn holder(&self, name: &str) -> Option<Holder> {
        let space = self.spaces.iter().position(|space| space.name == name).map(Holder::Space);
        space.or_else(|| self.tables.iter().position(|table| table == name).map(Holder::Table))
    }

    pub(crate) fn entry(&mut self, at: &Cursor<'_, '_>, entry: EntryName) -> Result<Slot, Error> {
        if entry.level == Level::Pte && entry.within == Holder::Space(0) {
            return Ok(Slot::Leaf(entry.variable));
        }
        if let Some(nth) = self.others.iter().position(|(other, _)| *other == entry) {
            return Ok(Slot::Other(nth));
        }
        if self.others.len() == MOST {
            return Err(at.error(super::Problem::TooMany("descriptors")));
        }
        self.others.push((entry, None));
        Ok(Slot::Other(self.others.len() - 1))
    }

    /// What an entry holds when nobody says anything about it.
    pub(crate) fn usual(entry: EntryName) -> Descriptor {
        let output = match (entry.within, entry.level) {
            (Holder::Space(_), Level::Pte) => Output::Frame(entry.variable),
            (Holder::Space(space), _) => Output::Next(Holder::Space(space)),
            (Holder::Table(_), _) => Output::None,
        };
        Descriptor { output, level: entry.level, ..Descriptor::page(entry.variable) }
    }

    /// `P1:L0`'s place.
    pub(crate) fn label(
        &self,
        at: &Cursor<'_, '_>,
        thread: ThreadId,
        name: &str,
    ) -> Result<usize, Error> {
        let labels = self.labels.get(thread);
        let found = labels.and_then(|labels| labels.iter().find(|(label, _)| label == name));
        found.map(|(_, place)| *place).ok_or_else(|| at.unknown("label", name))
    }

    /// `PTE(x)`, `PMD(x)`, `PTE(x,t)`, `pte_x` if that is next.
    pub(crate) fn take_entry(&mut self, at: &mut Cursor<'_, '_>) -> Result<Option<Slot>, Error> {
        let Lexeme::Word(word) = at.peek() else { return Ok(None) };
        if let Some(name) = word.strip_prefix("pte_") {
            let variable = self.variable(at, name)?;
            at.next();
            return Ok(Some(Slot::Leaf(variable)));
        }
        let level = match word {
            "PTE" | "TTD" => Level::Pte,
            "PMD" => Level::Pmd,
            "PUD" => Level::Pud,
            "PGD" => Level::Pgd,
            _ => return Ok(None),
        };
        at.next();
        at.expect("(")?;
        let name = at.word("a variable")?;
        let variable = self.variable(at, name)?;
        let within = if at.take(",") {
            let name = at.word("a table or space")?;
            self.holder(name).ok_or_else(|| at.unknown("table or space", name))?
        } else {
            Holder::Space(0)
        };
        at.expect(")")?;
        let level = if matches!(within, Holder::Table(_)) && level != Level::Pte {
            return Err(at.unsupported("level of a table's entry", word));
        } else {
            level
        };
        self.entry(at, EntryName { variable, level, within }).map(Some)
    }

    /// `PA(x)`, `phy_x` if that is next.
    pub(crate) fn take_frame(&mut self, at: &mut Cursor<'_, '_>) -> Result<Option<Var>, Error> {
        let Lexeme::Word(word) = at.peek() else { return Ok(None) };
        if let Some(name) = word.strip_prefix("phy_") {
            let variable = self.variable(at, name)?;
            at.next();
            return Ok(Some(variable));
        }
        if word != "PA" {
            return Ok(None);
        }
        at.next();
        at.expect("(")?;
        let name = at.word("a variable")?;
        let variable = self.variable(at, name)?;
        at.expect(")")?;
        Ok(Some(variable))
    }

    /// `P1`'s number, `1` too.
    pub(crate) fn thread(word: &str) -> Option<ThreadId> {
        word.strip_prefix('P').unwrap_or(word).parse().ok()
    }
}
