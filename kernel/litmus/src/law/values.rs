//! Which values a place in memory may ever hold.
//!
//! Threads are run by themselves, each read taking any value that some run of some thread writes there. That
//! is more than can be; which of the runs fit together is found later. What no run writes is a constant.

use super::TooLarge;
use super::walk::context_location;
use crate::layout::{Layout, Word};
use crate::test::{Test, Value};
use alloc::{collections::BTreeMap, vec::Vec};
use pte::bits;

/// More values than this in one place are nobody's test.
const MANY: usize = 48;

/// What each place may hold.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    initial: BTreeMap<u64, u64>,
    /// Of places that are written, everything that is: the initial value first.
    changing: BTreeMap<u64, Vec<u64>>,
    tables: Vec<u64>,
    linear: u64,
}

impl Values {
    pub(crate) fn new(test: &Test, layout: &Layout) -> Self {
        let initial = |word: Word| (word.at.0, word.value);
        let memory = layout.memory(test).into_iter().map(initial);
        let contexts = test.threads.iter().enumerate().map(|(nth, thread)| {
            (context_location(nth), layout.value(test, &Value::Root(thread.space, None)))
        });
        Self {
            initial: memory.chain(contexts).collect(),
            changing: BTreeMap::new(),
            tables: layout.tables.iter().map(|table| table.at.0).collect(),
            linear: layout.linear,
        }
    }

    /// What is there at the beginning.
    pub(crate) fn initial(&self, location: u64) -> u64 {
        self.initial.get(&location).copied().unwrap_or(0)
    }

    /// Whether anything is ever written there.
    pub(crate) fn changes(&self, location: u64) -> bool {
        self.changing.contains_key(&location)
    }

    /// What may be read there.
    pub(crate) fn of(&self, location: u64) -> Vec<u64> {
        let only = || alloc::vec![self.initial(location)];
        self.changing.get(&location).cloned().unwrap_or_else(only)
    }

    /// Learns of a write, and tells whether it is news; or that it is one too many.
    pub(crate) fn learn(&mut self, location: u64, value: u64) -> Result<bool, TooLarge> {
        let initial = self.initial(location);
        let fresh = !self.changes(location);
        let values = self.changing.entry(location).or_insert_with(|| alloc::vec![initial]);
        if values.contains(&value) {
            return Ok(fresh);
        }
        values.push(value);
        if values.len() > MANY { Err(TooLarge) } else { Ok(true) }
    }

    /// Whether a descriptor that never changes leads to this table.
    pub(crate) fn leads_to(&self, table: u64) -> bool {
        self.descriptors().into_iter().any(|(location, word)| {
            let link = bits::VALID | bits::TYPE;
            !self.changes(location) && word & link == link && word & bits::ADDRESS == table
        })
    }

    /// Every word that tables hold at the beginning, and where.
    pub(crate) fn descriptors(&self) -> Vec<(u64, u64)> {
        let all = self.initial.iter().map(|(location, word)| (*location, *word));
        all.filter(|(location, _)| self.is_descriptor(*location)).collect()
    }

    /// The physical address behind a linear one that is in a table, or `None`.
    pub(crate) fn table_word(&self, address: u64) -> Option<u64> {
        let physical = address.wrapping_sub(self.linear);
        self.is_descriptor(physical).then_some(physical)
    }

    /// Whether a table holds the word of this physical address.
    pub(crate) fn is_descriptor(&self, physical: u64) -> bool {
        self.tables.contains(&(physical & !(abi::PAGE_SIZE - 1)))
    }
}
