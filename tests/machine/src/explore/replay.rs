//! What a record says, and dull where it says nothing.

use super::record::RUN;
use super::{Moment, Place, Question, Record, Strategy};
use std::collections::HashMap;
use stress::Rng;

/// A recorded schedule. Where decisions were left out, others may come up at their place, or ask for what
/// is not possible there: those are dull too.
pub(crate) struct Replay(HashMap<(Place, u32), u64>);

impl Replay {
    pub(crate) fn new(record: &Record) -> Self {
        Self(record.decisions().iter().map(|decision| (decision.key(), decision.value())).collect())
    }
}

impl Strategy for Replay {
    fn next(&mut self, at: &Moment) -> usize {
        let next = self.0.get(&(at.place, RUN)).map_or(at.dull(), |next| *next as usize);
        if next < 64 && at.ready >> next & 1 != 0 || next == at.place.cpu {
            next
        } else {
            at.dull()
        }
    }

    fn outcome(&mut self, at: &Question, _: &mut dyn FnMut(&mut Rng) -> u64) -> u64 {
        if at.options <= 1 {
            return 0;
        }
        let value = self.0.get(&(at.place, at.nth)).copied();
        value.filter(|value| *value < at.options).unwrap_or(0)
    }
}
