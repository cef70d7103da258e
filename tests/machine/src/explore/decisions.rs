//! The machine's side of a strategy: asks it, counts where each question came up, keeps the answers.

use super::{Decision, Moment, Place, Question, Record, Strategy, Taken, Why};
use crate::coroutines::{current_cpu, takes_part};
use stress::Rng;

/// Who decides in one machine, and what was decided.
pub(crate) struct Decisions {
    strategy: Box<dyn Strategy>,
    /// By CPU: steps taken, and questions asked in the last.
    places: Vec<(u32, u32)>,
    /// How often it was asked who runs next.
    turns: u64,
    /// `None`: nobody wants to know. A seed says it all, in less memory.
    record: Option<Record>,
}

impl Decisions {
    pub(crate) fn new(cpus: usize, strategy: Box<dyn Strategy>, recorded: bool) -> Self {
        let record = recorded.then(Record::default);
        Self { strategy, places: vec![(0, 0); cpus], turns: 0, record }
    }

    /// `cpu` takes a step.
    pub(crate) fn begin(&mut self, cpu: usize) {
        let (own, nth) = &mut self.places[cpu];
        (*own, *nth) = (own.wrapping_add(1), 0);
    }

    /// Who runs next.
    pub(crate) fn next(&mut self, cpu: usize, why: Why, ready: u64, step: u64) -> usize {
        self.turns += 1;
        let place = Place { cpu, own: self.places[cpu].0 };
        let at = Moment { place, why, ready, step };
        let next = self.strategy.next(&at);
        if let Some(record) = &mut self.record
            && next != at.dull()
        {
            record.push(Decision { place, taken: Taken::Cpu(next as u32) });
        }
        next
    }

    /// Which of so many outcomes happens; 0 is the dull one.
    pub(crate) fn outcome(&mut self, options: u64, mut luck: impl FnMut(&mut Rng) -> u64) -> u64 {
        let cpu = current_cpu();
        let (own, nth) = self.places[cpu];
        let place = Place { cpu, own };
        let at = Question { place, nth, options, scheduled: takes_part() };
        let value = self.strategy.outcome(&at, &mut luck);
        debug_assert!(value < options.max(1), "{value} of {options}");
        if options > 1 {
            self.places[cpu].1 = nth + 1;
            if let Some(record) = &mut self.record
                && value != 0
            {
                record.push(Decision { place, taken: Taken::Outcome { nth, value } });
            }
        }
        value
    }

    pub(crate) fn tempted(&mut self, cpu: usize) {
        self.strategy.tempted(cpu);
    }

    /// How often it was asked who runs next.
    pub(crate) fn turns(&self) -> u64 {
        self.turns
    }

    /// What was decided, if it is recorded.
    pub(crate) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }
}
