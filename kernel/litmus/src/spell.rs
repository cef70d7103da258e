//! Numbers become names again: a final state as people read it.
//!
//! The words are those of the dialect, so what is printed can be put into a condition.

use crate::layout::Layout;
use crate::test::{
    Descriptor, EntryName, FaultKind, Holder, Observed, Output, Proposition, Quantifier, Test,
};
use abi::{Level, PAGE_SIZE};
use core::fmt;
use pte::{MemType, bits, regs};

/// What is observed, by its name: `1:X0`, `[x]`, `[PTE(x)]`, `fault(P1:L0,x)`.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Of which test.
    pub test: &'a Test,
    /// What.
    pub observed: &'a Observed,
}

/// A word of a layout: `x`, `PTE(x)`, `(oa:PA(x), valid:0)`, or the number that it is.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    /// Of which test.
    pub test: &'a Test,
    /// In which layout.
    pub layout: &'a Layout,
    /// Which.
    pub word: u64,
}

fn variable(test: &Test, variable: usize) -> &str {
    test.variables.get(variable).map_or("?", |variable| &variable.name)
}

struct Entry<'a>(&'a Test, &'a EntryName);

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.1.level {
            Level::Pgd => "PGD",
            Level::Pud => "PUD",
            Level::Pmd => "PMD",
            Level::Pte => "PTE",
        };
        write!(f, "{level}({}", variable(self.0, self.1.variable))?;
        match self.1.within {
            Holder::Space(0) => {}
            Holder::Space(space) => {
                let name = self.0.spaces.get(space).map_or("?", |space| space.name.as_str());
                write!(f, ",{name}")?;
            }
            Holder::Table(table) => {
                write!(f, ",{}", self.0.tables.get(table).map_or("?", |name| name.as_str()))?;
            }
        }
        f.write_str(")")
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test = self.test;
        match self.observed {
            Observed::Register(thread, register) => write!(f, "{thread}:X{}", register.0),
            Observed::Memory(which, 0) => write!(f, "[{}]", variable(test, *which)),
            Observed::Memory(which, element) => {
                write!(f, "{}[{element}]", variable(test, *which))
            }
            Observed::Entry(id) => match test.entries.get(*id) {
                Some(entry) => write!(f, "[{}]", Entry(test, entry)),
                None => f.write_str("[?]"),
            },
            Observed::Fault(fault) => {
                write!(f, "fault(P{}", fault.thread)?;
                if let Some(place) = fault.place {
                    match test.label(fault.thread, place) {
                        Some(label) => write!(f, ":{label}")?,
                        None => write!(f, ":{place}")?,
                    }
                }
                if let Some(which) = fault.variable {
                    write!(f, ",{}", variable(test, which))?;
                }
                if let Some(entry) = fault.entry.and_then(|id| test.entries.get(id)) {
                    write!(f, ",{}", Entry(test, entry))?;
                }
                f.write_str(match fault.kind {
                    None => "",
                    Some(FaultKind::Translation) => ",MMU:Translation",
                    Some(FaultKind::AccessFlag) => ",MMU:AccessFlag",
                    Some(FaultKind::Permission) => ",MMU:Permission",
                })?;
                f.write_str(")")
            }
        }
    }
}

impl Word<'_> {
    /// The word as a descriptor of a variable's frame, if it is one.
    fn descriptor(&self) -> Option<Descriptor> {
        let at = |page: &crate::layout::Page| page.frame.0 == self.word & bits::ADDRESS;
        let which = self.layout.pages.iter().position(at)?;
        let has = |bit: u64| self.word & bit != 0;
        let memory = match (self.word & bits::ATTR) >> bits::ATTR_SHIFT {
            regs::MAIR_NORMAL => MemType::Normal,
            regs::MAIR_DEVICE => MemType::Device,
            _ => MemType::NormalNc,
        };
        let descriptor = Descriptor {
            output: Output::Frame(which),
            of: None,
            level: if has(bits::TYPE) { Level::Pte } else { Level::Pmd },
            valid: has(bits::VALID),
            af: has(bits::AF),
            db: !has(bits::RDONLY),
            dbm: has(bits::WRITE),
            el0: has(bits::USER),
            ng: has(bits::NG),
            cont: has(bits::CONT),
            memory,
        };
        (self.layout.word(&descriptor) == self.word).then_some(descriptor)
    }
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (test, layout, word) = (self.test, self.layout, self.word);
        for (page, variable) in layout.pages.iter().zip(&test.variables) {
            match word.wrapping_sub(page.va.0) {
                0 => return f.write_str(&variable.name),
                inside @ 1..PAGE_SIZE => return write!(f, "{}+{inside}", variable.name),
                _ => {}
            }
        }
        for (id, entry) in test.entries.iter().enumerate() {
            if word != 0 && layout.entry_address(test, id) == word {
                return write!(f, "{}", Entry(test, entry));
            }
        }
        for (thread, column) in test.threads.iter().enumerate() {
            for (label, place) in &column.labels {
                if layout.label(thread, *place) == word {
                    return write!(f, "label:\"P{thread}:{label}\"");
                }
            }
        }
        let Some(descriptor) = self.descriptor() else {
            // Numbers of a test are small; what is not is bits.
            return if word < 1 << 32 { write!(f, "{word}") } else { write!(f, "{word:#x}") };
        };
        let Output::Frame(which) = descriptor.output else { return Ok(()) };
        write!(f, "(oa:PA({})", variable(test, which))?;
        let plain = Descriptor::page(which);
        let fields = [
            ("valid", descriptor.valid, plain.valid),
            ("af", descriptor.af, plain.af),
            ("db", descriptor.db, plain.db),
            ("dbm", descriptor.dbm, plain.dbm),
            ("el0", descriptor.el0, plain.el0),
            ("ng", descriptor.ng, plain.ng),
            ("cont", descriptor.cont, plain.cont),
        ];
        for (name, is, usual) in fields {
            if is != usual {
                write!(f, ", {name}:{}", u8::from(is))?;
            }
        }
        match descriptor.memory {
            MemType::Normal => {}
            MemType::Device => f.write_str(", attrs:device")?,
            MemType::NormalNc => f.write_str(", attrs:nc")?,
        }
        if descriptor.level != Level::Pte {
            write!(f, ", level:{}", descriptor.level as u8)?;
        }
        f.write_str(")")
    }
}

/// A test's question: `exists (1:X0=1 /\ fault(P1:L0,x))`.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Whose.
    pub test: &'a Test,
    /// What its numbers are.
    pub layout: &'a Layout,
}

impl Question<'_> {
    fn part(&self, part: &Proposition, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test = self.test;
        let place = |id: usize| test.observed.get(id).map(|observed| Place { test, observed });
        match part {
            Proposition::Equals(at, value) => {
                let Some(place) = place(*at) else { return f.write_str("?") };
                let word = self.layout.value(test, value);
                match place.observed {
                    Observed::Fault(_) if word == 0 => write!(f, "~{place}"),
                    Observed::Fault(_) => write!(f, "{place}"),
                    _ => write!(f, "{place}={}", Word { test, layout: self.layout, word }),
                }
            }
            Proposition::Same(one, other) => match (place(*one), place(*other)) {
                (Some(one), Some(other)) => write!(f, "{one}={other}"),
                _ => f.write_str("?"),
            },
            Proposition::Not(inner) => {
                let fault = |id: &usize| matches!(test.observed.get(*id), Some(Observed::Fault(_)));
                let short = matches!(&**inner, Proposition::Equals(id, _) if fault(id));
                f.write_str(if short { "~" } else { "not (" })?;
                self.part(inner, f)?;
                f.write_str(if short { "" } else { ")" })
            }
            Proposition::All(parts) if parts.is_empty() => f.write_str("true"),
            Proposition::Any(parts) if parts.is_empty() => f.write_str("false"),
            Proposition::All(parts) => self.parts(parts, " /\\ ", f),
            Proposition::Any(parts) => self.parts(parts, " \\/ ", f),
        }
    }

    fn parts(&self, parts: &[Proposition], by: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, part) in parts.iter().enumerate() {
            f.write_str(if nth == 0 { "" } else { by })?;
            let inner = matches!(part, Proposition::All(_) | Proposition::Any(_));
            f.write_str(if inner { "(" } else { "" })?;
            self.part(part, f)?;
            f.write_str(if inner { ")" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.test.condition.quantifier {
            Quantifier::Exists => "exists (",
            Quantifier::NotExists => "~exists (",
            Quantifier::ForAll => "forall (",
        })?;
        self.part(&self.test.condition.proposition, f)?;
        f.write_str(")")
    }
}
