//! Runs of all threads that fit together.

use super::TooLarge;
use super::bbm::Breaks;
use super::candidate::{Patience, Search};
use super::event::{Effect, Event, Trace};
use super::outcome::{Outcome, Outcomes};
use super::part::{Part, Whole};
use super::set::Set;
use super::values::Values;
use crate::layout::Layout;
use crate::test::{Column, Observed, Test};
use alloc::{collections::BTreeMap, vec::Vec};

/// More ways for hardware to update descriptors unasked, beside one choice of runs, are no litmus test.
const MANY: usize = 256;

/// More steps than this, a few seconds' worth, are no litmus test.
const STEPS: u64 = 20_000_000;

/// One thread's run, with what it needs of others.
struct Choice<'a> {
    trace: &'a Trace,
    /// As it is to others: made when it is first needed. `Some(None)`: it contradicts itself.
    part: Option<Option<Part>>,
    /// What it reads, and what it writes, by the numbers of [`Combination::facts`].
    needs: Set,
    gives: Set,
}

/// The search for runs that fit together.
pub(crate) struct Combination<'a> {
    test: &'a Test,
    layout: &'a Layout,
    values: &'a Values,
    column: Column,
    threads: Vec<Vec<Choice<'a>>>,
    /// What all runs of this and the following threads might give.
    hopes: Vec<Set>,
    /// What is there at the beginning, or may come by hardware's updates that nobody asked for.
    initial: Set,
    /// Those.
    unasked: Vec<Part>,
    outcomes: Outcomes,
    /// How many more steps the search may take.
    patience: Patience<'a>,
}

/// Numbers of (place, value) facts; those beyond the set's size are not looked at ahead of time.
#[derive(Default)]
struct Facts(BTreeMap<(u64, u64), usize>);

impl Facts {
    fn set(&mut self, location: u64, value: u64) -> Set {
        let next = self.0.len();
        let number = *self.0.entry((location, value)).or_insert(next);
        if number < super::set::MOST { super::set::only(number) } else { 0 }
    }
}

impl<'a> Combination<'a> {
    pub(crate) fn new(
        test: &'a Test,
        layout: &'a Layout,
        values: &'a Values,
        column: Column,
        traces: &'a [Vec<Trace>],
        goes_on: &'a dyn Fn() -> bool,
    ) -> Self {
        let (mut facts, mut initial) = (Facts::default(), 0);
        let mut unasked = Vec::new();
        let mut choice = |trace: &'a Trace| {
            let (mut needs, mut gives) = (0, 0);
            for event in &trace.events {
                let fact = facts.set(event.location, event.value);
                if event.is_read() {
                    needs |= fact;
                }
                if event.is_write() {
                    gives |= fact;
                }
                if matches!(event.effect, Effect::Write { .. }) {
                    unasked.push((event.location, event.value));
                }
                initial |= facts.set(event.location, values.initial(event.location));
            }
            Choice { trace, part: None, needs, gives }
        };
        let threads: Vec<Vec<_>> =
            traces.iter().map(|runs| runs.iter().map(&mut choice).collect()).collect();
        for (location, word) in values.descriptors() {
            unasked.push((location, word));
        }
        unasked.sort_unstable();
        unasked.dedup();
        let mut parts = Vec::new();
        for (location, word) in unasked {
            if let Some(part) = Part::spontaneous(test, values, location, word) {
                for own in &part.events {
                    initial |= facts.set(own.location, own.value);
                }
                parts.push(part);
            }
        }
        let unasked = parts;
        let mut hopes = alloc::vec![0; threads.len() + 1];
        for (nth, runs) in threads.iter().enumerate().rev() {
            hopes[nth] = runs.iter().fold(hopes[nth + 1], |set, run| set | run.gives);
        }
        let (outcomes, patience) = (Outcomes::default(), Patience::new(STEPS, goes_on));
        Self { test, layout, values, column, threads, hopes, initial, unasked, outcomes, patience }
    }

    /// All outcomes.
    pub(crate) fn run(mut self) -> Result<Outcomes, TooLarge> {
        let given = self.initial;
        self.choose(&mut Vec::new(), 0, given)?;
        Ok(self.outcomes)
    }

    fn choose(&mut self, chosen: &mut Vec<usize>, needs: Set, gives: Set) -> Result<(), TooLarge> {
        let thread = chosen.len();
        if needs & !(gives | self.hopes[thread]) != 0 {
            return Ok(());
        }
        if thread == self.threads.len() {
            return self.solve(chosen);
        }
        for nth in 0..self.threads[thread].len() {
            let run = &self.threads[thread][nth];
            let (needs, gives) = (needs | run.needs, gives | run.gives);
            if needs & !(gives | self.hopes[thread + 1]) != 0 {
                continue;
            }
            chosen.push(nth);
            self.choose(chosen, needs, gives)?;
            chosen.pop();
        }
        Ok(())
    }

    /// Makes the parts of what is chosen. `false`: one contradicts itself.
    fn prepare(&mut self, chosen: &[usize]) -> bool {
        for (runs, nth) in self.threads.iter_mut().zip(chosen) {
            let run = &mut runs[*nth];
            if run.part.is_none() {
                run.part = Some(Part::of(run.trace, self.column));
            }
            if matches!(run.part, Some(None)) {
                return false;
            }
        }
        true
    }

    fn solve(&mut self, chosen: &[usize]) -> Result<(), TooLarge> {
        if !self.patience.goes_on() {
            return Err(TooLarge);
        }
        if !self.prepare(chosen) {
            return Ok(());
        }
        // What memory holds in the end is not decided yet; whatever else is observed, is.
        let settled = !self.observes_memory();
        if settled && self.outcomes.is_clean(&self.registers(chosen)) {
            return Ok(());
        }
        let updates = self.updates(chosen);
        let times = |many: usize, (_, count): &(usize, usize)| many.saturating_mul(count + 1);
        let many = updates.iter().fold(1, times);
        if many > MANY {
            return Err(TooLarge);
        }
        for nth in 0..many {
            let parts = self.threads.iter().zip(chosen);
            let parts = parts.filter_map(|(runs, nth)| runs[*nth].part.as_ref()?.as_ref());
            let mut rest = nth;
            let mut extra = Vec::new();
            for (part, count) in &updates {
                extra.extend(core::iter::repeat_n(&self.unasked[*part], rest % (count + 1)));
                rest /= count + 1;
            }
            let whole = Whole::of(parts.chain(extra.iter().copied())).ok_or(TooLarge)?;
            let search = Search::new(self.test, &whole, self.values, &self.patience);
            let registers = self.registers(chosen);
            let mut found = Outcomes::default();
            search.run(&mut |candidate, order| {
                let outcome = self.with_memory(&registers, &search, candidate);
                if self.outcomes.is_clean(&outcome) || found.is_clean(&outcome) {
                    return settled;
                }
                if let Some(order) = search.invalidate(candidate, order) {
                    let (search, chosen, order) = (&search, candidate, &order);
                    let (layout, values) = (self.layout, self.values);
                    let broken = Breaks { search, chosen, order, layout, values }.any();
                    found.add(outcome, broken);
                    return settled && !broken;
                }
                false
            });
            if self.patience.is_over() {
                return Err(TooLarge);
            }
            self.outcomes.join(found);
        }
        Ok(())
    }

    /// Hardware's updates that nobody asked for, and how often each may happen at most: once for each time
    /// that its word is written, and once for the beginning.
    fn updates(&self, chosen: &[usize]) -> Vec<(usize, usize)> {
        let runs = self.threads.iter().zip(chosen).map(|(runs, nth)| runs[*nth].trace);
        let writes: Vec<&Event> = runs
            .flat_map(|trace| &trace.events)
            .filter(|event| matches!(event.effect, Effect::Write { .. }))
            .collect();
        let count = |part: &Part| {
            let Some(read) = part.events.first() else { return 0 };
            let same =
                |write: &&&Event| (write.location, write.value) == (read.location, read.value);
            let initial = self.values.initial(read.location) == read.value;
            writes.iter().filter(same).count() + usize::from(initial)
        };
        let all = self.unasked.iter().map(count).enumerate();
        all.filter(|(_, count)| *count > 0).collect()
    }

    fn observes_memory(&self) -> bool {
        let memory = |observed: &Observed| self.layout.place(self.test, observed).is_some();
        self.test.observed.iter().any(memory)
    }

    /// The outcome but for memory.
    fn registers(&self, chosen: &[usize]) -> Outcome {
        let trace = |thread: usize| self.threads[thread][chosen[thread]].trace;
        let value = |observed: &Observed| match *observed {
            Observed::Register(thread, reg) => trace(thread).registers.read(reg),
            Observed::Fault(fault) => {
                trace(fault.thread).faults.iter().any(|other| fault.is(other)).into()
            }
            Observed::Memory(..) | Observed::Entry(_) => 0,
        };
        self.test.observed.iter().map(value).collect()
    }

    fn with_memory(
        &self,
        registers: &Outcome,
        search: &Search<'_>,
        candidate: &super::candidate::Chosen,
    ) -> Outcome {
        let mut outcome = registers.clone();
        for (value, observed) in outcome.iter_mut().zip(&self.test.observed) {
            if let Some((at, _)) = self.layout.place(self.test, observed) {
                *value = search.last(candidate, at.0).unwrap_or(self.values.initial(at.0));
            }
        }
        outcome
    }
}
