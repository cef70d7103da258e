//! What a copy of a space must show: what some pages held when it was made by a fork.

use super::field::Field;
use super::ledger::Entry;
use crate::rng::Rng;
use crate::run::{Failure, Run, WORDS};
use crate::stamp::Stamp;
use crate::world::World;
use mm::{FaultOutcome, Hardware, Space};

/// Pages of one block that are looked at.
const PAGES: usize = 8;

/// A page, and what a copy of it may show.
#[derive(Clone, Copy)]
struct Sample {
    page: u64,
    /// What the page might show before the fork.
    before: Entry,
    /// And when the fork was made.
    after: Entry,
    /// What the copy has shown.
    found: [Option<u64>; WORDS.len()],
}

/// Some pages of a field.
pub(super) struct Snapshot([Option<Sample>; PAGES]);

impl Snapshot {
    /// Before the fork: `own`, and others near to it.
    pub(super) fn begin<H: Hardware>(field: &Field<'_, H>, own: u64, rng: &mut Rng) -> Self {
        Self(core::array::from_fn(|n| {
            let page = if n == 0 { own } else { field.near(own, rng) };
            let before = field.ledger.before(page);
            Some(Sample { page, before, after: before, found: [None; WORDS.len()] })
        }))
    }

    /// After the fork.
    pub(super) fn end<H: Hardware>(&mut self, field: &Field<'_, H>) {
        for sample in self.0.iter_mut().flatten() {
            sample.after = field.ledger.after(sample.page);
        }
    }

    /// The copy of the page shows something else by now.
    pub(super) fn forget(&mut self, page: u64) {
        for place in &mut self.0 {
            if place.is_some_and(|sample| sample.page == page) {
                *place = None;
            }
        }
    }

    /// Looks at the pages in a copy, which the calling thread is inside of. What is found once stays.
    pub(super) fn check<W: World>(
        &mut self,
        run: &Run<'_, W>,
        field: &Field<'_, W::Machine>,
        copy: &Space<'_, W::Machine>,
        cpu: usize,
    ) -> Result<(), Failure> {
        for Sample { page, before, after, found } in self.0.iter_mut().flatten() {
            let stamp = |version| field.stamp(*page, version);
            for (found, offset) in found.iter_mut().zip(WORDS) {
                let va = field.at(*page) + offset;
                let word = match run.world.load(copy, va) {
                    Ok(word) => word,
                    // Where areas come and go, so they do in a copy; but what was there stays.
                    Err(FaultOutcome::Denied(_) | FaultOutcome::OutOfMemory(_))
                        if field.is_fleeting() && found.is_none() =>
                    {
                        continue;
                    }
                    Err(outcome) => {
                        let (access, outcome) = (abi::Access::Read, Some(outcome));
                        return Err(run.wrong_outcome(copy, cpu, va, access, outcome));
                    }
                };
                let first = *found.get_or_insert(word);
                if word != first || !field.allows(*page, (*before, *after), word) {
                    let newest = stamp(after.next.wrapping_sub(1));
                    let expected = Stamp::read(first).filter(|_| word != first).unwrap_or(newest);
                    return Err(run.wrong_data(copy, cpu, va, expected, word));
                }
            }
            run.did(1);
        }
        Ok(())
    }
}
