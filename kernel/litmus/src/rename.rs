//! One layout's numbers in terms of another's.
//!
//! Many instances of a test run side by side, each with pages, tables and frames of its own; and the
//! law has its own again. A word that one of them ended with is compared and counted as the word that it
//! would be elsewhere: same page, same entry, same frame, and all other bits as they are.

use crate::layout::{Layout, Page};
use crate::test::{EntryName, Holder, Test};
use abi::{Level, PAGE_SHIFT, PAGE_SIZE};
use alloc::vec::Vec;
use pte::bits::ADDRESS;

/// The way from one layout to another.
#[derive(Clone, Debug)]
pub struct Renaming {
    /// Addresses of entries, as instructions reach them: their places in a table differ.
    entries: Vec<(u64, u64)>,
    /// Addresses of whole pages: data, code.
    addresses: Vec<(u64, u64)>,
    /// Numbers of pages: what a TLBI's operand holds.
    numbers: Vec<(u64, u64)>,
    /// What descriptors and TTBR0_EL1 hold: frames, blocks, tables.
    outputs: Vec<(u64, u64)>,
}

/// The low bits of a TLBI's operand that hold a page's number.
const NUMBER: u64 = (1 << 44) - 1;

impl Renaming {
    /// The way from the words of `from` to those of `to`, both layouts of `test`.
    #[must_use]
    #[inline(never)]
    pub fn new(test: &Test, from: &Layout, to: &Layout) -> Self {
        let mut way = Self {
            entries: Vec::new(),
            addresses: Vec::new(),
            numbers: Vec::new(),
            outputs: Vec::new(),
        };
        for (old, new) in from.pages.iter().zip(&to.pages) {
            way.page(old, new);
        }
        for (old, new) in from.code.iter().zip(&to.code) {
            way.addresses.push((*old, *new));
        }
        let spaces = (0..test.spaces.len()).map(Holder::Space);
        for holder in spaces.chain((0..test.tables.len()).map(Holder::Table)) {
            for variable in 0..test.variables.len() {
                for level in Level::ALL {
                    let entry = EntryName { variable, level, within: holder };
                    let linear = |layout: &Layout| {
                        layout.entry(entry).map(|at| at.0.wrapping_add(layout.linear))
                    };
                    if let (Some(old), Some(new)) = (linear(from), linear(to)) {
                        way.entries.push((old, new));
                    }
                    let old = from.table(holder, level, variable);
                    if let (Some(old), Some(new)) = (old, to.table(holder, level, variable)) {
                        way.outputs.push((old.0, new.0));
                    }
                }
            }
        }
        way
    }

    fn page(&mut self, old: &Page, new: &Page) {
        self.addresses.push((old.va.0, new.va.0));
        self.numbers.push((old.va.0 >> PAGE_SHIFT, new.va.0 >> PAGE_SHIFT));
        self.outputs.push((old.frame.0, new.frame.0));
    }

    /// `word`, as it is called there. What names nothing keeps its name.
    #[must_use]
    #[inline(never)]
    pub fn word(&self, word: u64) -> u64 {
        let find = |list: &[(u64, u64)], what: u64| {
            list.iter().find(|(old, _)| *old == what).map(|(_, new)| *new)
        };
        if let Some(new) = find(&self.entries, word) {
            return new;
        }
        let within = word & (PAGE_SIZE - 1);
        if let Some(new) = find(&self.addresses, word - within) {
            return new | within;
        }
        if let Some(new) = find(&self.numbers, word & NUMBER) {
            return word & !NUMBER | new;
        }
        for span in [Level::Pte, Level::Pmd, Level::Pud].map(Level::span) {
            let block = |frame: u64| frame & !(span - 1) & ADDRESS;
            let same = |(old, _): &&(u64, u64)| block(*old) == word & ADDRESS && block(*old) != 0;
            if let Some((_, new)) = self.outputs.iter().find(same) {
                return word & !ADDRESS | block(*new);
            }
        }
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::{
        Condition, Descriptor, EntryName, Expected, Faults, Operand, Proposition, Quantifier,
        Space, Value, Variable,
    };
    use abi::{PhysAddr, VirtAddr};
    use std::{string::ToString, vec, vec::Vec};

    fn variable(name: &str, group: usize) -> Variable {
        Variable { name: name.to_string(), width: 4, initial: vec![Value::Number(0)], group }
    }

    fn test() -> Test {
        let within = Holder::Space(0);
        let entries: Vec<_> =
            (0..2).map(|variable| EntryName { variable, level: Level::Pte, within }).collect();
        Test {
            name: "T".to_string(),
            notes: vec![],
            faults: Faults::Fatal,
            variables: vec![variable("x", 0), variable("y", 1)],
            tables: vec![],
            spaces: vec![Space { name: "s".to_string(), asid: 1 }],
            initial: vec![Descriptor::page(0), Descriptor::page(1)],
            entries,
            threads: vec![],
            observed: vec![],
            condition: Condition {
                quantifier: Quantifier::Exists,
                proposition: Proposition::All(vec![]),
            },
            expected: Expected::default(),
        }
    }

    /// Another place for everything, with a block's offset within as in the law's.
    fn elsewhere(test: &Test) -> Layout {
        let mut layout = Layout::law(test);
        for page in &mut layout.pages {
            page.va = VirtAddr(page.va.0 + 3 * Level::Pgd.span() + 0x5000);
            page.frame = PhysAddr((page.frame.0 & 0xffff_ffff) + 0x40_0000_5000);
        }
        layout.tables.clear();
        let mut next = 0x4000_0000;
        layout.add_tables(test, &mut || {
            next += PAGE_SIZE;
            PhysAddr(next)
        });
        layout.linear = 0x6000_0000_0000;
        layout
    }

    #[test]
    fn every_name_keeps_its_name() {
        let test = test();
        let (law, there) = (Layout::law(&test), elsewhere(&test));
        let way = Renaming::new(&test, &there, &law);
        let block = Descriptor { level: Level::Pmd, ..Descriptor::page(1) };
        let closed = Descriptor { valid: false, af: false, db: false, ..Descriptor::page(0) };
        let operand = Operand { va: Some(1), plus: 0, asid: 7, ttl: 3, range: None };
        let values = [
            Value::Address(0, 4),
            Value::Address(1, 0),
            Value::Frame(1),
            Value::Entry(0),
            Value::Entry(1),
            Value::Descriptor(Descriptor::page(0)),
            Value::Descriptor(block),
            Value::Descriptor(closed),
            Value::Root(0, Some(3)),
            Value::Operand(operand),
            Value::Number(0),
            Value::Number(1),
            Value::Number(0xfff),
            Value::Number(u64::MAX),
        ];
        for value in values {
            let (old, new) = (there.value(&test, &value), law.value(&test, &value));
            assert_eq!(way.word(old), new, "{value:?}: {old:#x}");
        }
    }
}
