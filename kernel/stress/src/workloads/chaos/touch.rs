//! Reading and writing where each access may be denied; holding pages; copies of a whole space.

use super::{Player, is_usual};
use crate::rng::Rng;
use crate::run::{Failure, WORDS};
use crate::workloads::ledger::Entry;
use crate::workloads::snapshot::Snapshot;
use crate::world::World;
use abi::{Access, Pfn, VirtAddr};
use mm::gup::GupError;
use mm::{Denial, FaultOutcome, Hardware};

impl<W: World> Player<'_, '_, W> {
    /// The outcome's value, if there is one; no failure, where it may end so.
    fn usual<T>(
        &self,
        (va, access): (VirtAddr, Access),
        outcome: Result<T, FaultOutcome>,
    ) -> Result<Option<T>, Failure> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(outcome) if is_usual(outcome) => Ok(None),
            Err(outcome) => {
                let (space, outcome) = (&self.field.space, Some(outcome));
                Err(self.run.wrong_outcome(space, self.cpu, va, access, outcome))
            }
        }
    }

    fn judge(&self, page: u64, before: Entry, word: u64) -> Result<(), Failure> {
        self.field.judge(self.run, (&self.field.space, self.cpu), (page, before), word)
    }

    /// Reads any page.
    pub(super) fn read(&self, rng: &mut Rng) -> Result<(), Failure> {
        let page = self.field.any(rng);
        let before = self.field.ledger.before(page);
        let va = self.field.at(page) + WORDS[rng.below(WORDS.len() as u64) as usize];
        let outcome = self.run.world.load(&self.field.space, va);
        match self.usual((va, Access::Read), outcome)? {
            Some(word) => self.judge(page, before, word),
            None => Ok(()),
        }
    }

    /// Writes the next version of a page of the CPU's own, as far as that goes.
    pub(super) fn write(&self, rng: &mut Rng) -> Result<(), Failure> {
        let (field, world) = (self.field, self.run.world);
        let page = field.own(field.any(rng), self.cpu, rng);
        let version = field.ledger.begin(page);
        let word = field.stamp(page, version).word();
        for va in WORDS.map(|offset| field.at(page) + offset) {
            let outcome = world.store(&field.space, va, word);
            if self.usual((va, Access::Write), outcome)?.is_none() {
                return Ok(());
            }
        }
        field.ledger.finish(page, version);
        let before = field.ledger.before(page);
        let outcome = world.load(&field.space, field.at(page));
        match self.usual((field.at(page), Access::Read), outcome)? {
            Some(word) => self.judge(page, before, word),
            None => Ok(()),
        }
    }

    /// Holds a page for a while. What is in it stays, whatever becomes of the mapping, but for what its
    /// writer writes.
    pub(super) fn hold(&self, rng: &mut Rng) -> Result<(), Failure> {
        let field = self.field;
        let (page, space) = (field.any(rng), &field.space);
        let (va, before) = (field.at(page), field.ledger.before(page));
        let access = if rng.one_in(2) { Access::Write } else { Access::Read };
        match rng.below(5) {
            0 => match space.gup_fast(va, access) {
                Some(folio) => self.look_behind(page, before, folio.pfn(), rng),
                None => Ok(()),
            },
            1 => match space.pin_fast(va, access) {
                Some(pin) => self.look_behind(page, before, pin.pfn(), rng),
                None => Ok(()),
            },
            2 => match space.gup(va, access) {
                Ok(folio) => self.look_behind(page, before, folio.pfn(), rng),
                Err(error) => usual_refusal(error),
            },
            3 => match space.pin(va, access) {
                Ok(pin) => self.look_behind(page, before, pin.pfn(), rng),
                Err(error) => usual_refusal(error),
            },
            _ => match space.pin_longterm(va, access) {
                Ok(pin) => self.look_behind(page, before, pin.pfn(), rng),
                // Others hold it where no long pin may be.
                Err(GupError::Unmovable(_)) => Ok(()),
                Err(error) => usual_refusal(error),
            },
        }
    }

    fn look_behind(
        &self,
        page: u64,
        before: Entry,
        frame: Pfn,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let look = || WORDS.map(|offset| self.run.mm().hw.peek(frame.base() + offset));
        let first = look();
        first.into_iter().try_for_each(|word| self.judge(page, before, word))?;
        for _ in 0..rng.below(8) {
            self.run.world.yield_now();
        }
        for (word, first) in look().into_iter().zip(first) {
            // No longer mapped it keeps what it had; else it is as any other page.
            if word != first {
                self.judge(page, before, word)?;
            }
        }
        Ok(())
    }

    /// Looks at a copy of the space.
    pub(super) fn fork(&self, rng: &mut Rng) -> Result<(), Failure> {
        let (run, field) = (self.run, self.field);
        let own = field.own(field.any(rng), self.cpu, rng);
        let mut snapshot = Snapshot::begin(field, own, rng);
        // Without memory there is no copy.
        let Ok(copy) = field.space.fork() else { return Ok(()) };
        snapshot.end(field);
        run.inside(&copy, || snapshot.check(run, field, &copy, self.cpu))?;
        if rng.one_in(2) {
            self.play(rng)?;
        }
        run.inside(&copy, || snapshot.check(run, field, &copy, self.cpu))
    }
}

/// Nothing, where a page may be refused so.
fn usual_refusal(error: GupError) -> Result<(), Failure> {
    match error {
        GupError::Denied(Denial::NoArea | Denial::Rights(_)) | GupError::OutOfMemory(_) => Ok(()),
        error => Err(error.into()),
    }
}
