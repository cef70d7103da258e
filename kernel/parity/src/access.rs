//! What programs do: writes, and looks by all CPUs.

use crate::stage::{Known, Stage, va};
use crate::step::{Part, Who};
use abi::{Access, VirtAddr};
use core::slice::from_ref;
use mm::{FaultOutcome, Space};
use stress::{Failure, Stamp, World, keep_walk};
use sync::{Class, SpinLock};

impl<'w, W: World> Stage<'w, '_, W> {
    /// Writes something new to each page. Afterwards every CPU may have the first and the last in its TLB:
    /// what is changed next, it must forget.
    pub(crate) fn write(&mut self, who: Who, part: Part) -> Result<(), Failure> {
        let pages = self.pages(part);
        self.renew(who, &pages)?;
        let space = self.space(who)?;
        self.inside(space, || {
            self.known(who, &pages).iter().try_for_each(|&(page, word)| {
                let stored = self.world.store(space, va(page), word);
                stored.map_err(|end| unexpected(space, 0, va(page), Access::Write, Some(end)))
            })
        })?;
        let known = self.known(who, &pages);
        let ends = [known.first(), known.last()];
        self.on_cpus(&|cpu| {
            ends.into_iter().flatten().try_for_each(|end| self.look(space, cpu, from_ref(end)))
        })
    }

    /// Reads each page for the first time: zeros, which are known from now on.
    pub(crate) fn zeros(&mut self, who: Who, part: Part) -> Result<(), Failure> {
        let pages = self.pages(part);
        self.renew(who, &pages)?;
        self.clear(who, &pages);
        self.look(self.space(who)?, 0, self.known(who, &pages))
    }

    /// Every CPU finds what is known, at the same time.
    pub(crate) fn check(&self, who: Who) -> Result<(), Failure> {
        let space = self.space(who)?;
        let known = self.known(who, &(0..u32::MAX));
        self.on_cpus(&|cpu| self.look(space, cpu, known))
    }

    /// Every CPU runs `one`, at the same time; the first failure is all's.
    pub(crate) fn on_cpus(
        &self,
        one: &(dyn Fn(usize) -> Result<(), Failure> + Sync),
    ) -> Result<(), Failure> {
        let wrong = SpinLock::new(Class::Console, None);
        let hw = &self.world.mm().hw;
        let cpus = self.world.cpus();
        let run = |cpu| {
            if let Err(failure) = one(cpu) {
                wrong.lock(hw).get_or_insert(failure);
            }
        };
        let started = self.world.run(cpus, &run, &mut || {});
        match *wrong.lock(hw) {
            Some(failure) => Err(failure),
            None if started < cpus => Err(Failure::Threads { started }),
            None => Ok(()),
        }
    }

    /// One CPU finds what is known.
    pub(crate) fn look(
        &self,
        space: &Space<'w, W::Machine>,
        cpu: usize,
        known: &[Known],
    ) -> Result<(), Failure> {
        self.inside(space, || {
            known.iter().try_for_each(|&(page, word)| {
                let va = va(page);
                let found = self.world.load(space, va);
                let found =
                    found.map_err(|end| unexpected(space, cpu, va, Access::Read, Some(end)))?;
                match Stamp::read(word) {
                    _ if found == word => Ok(()),
                    Some(expected) => {
                        let walk = keep_walk(space, va);
                        Err(Failure::WrongData { cpu, va, expected, found, walk })
                    }
                    None => Err(wrong_entry(space, va, "it should show zeros")),
                }
            })
        })
    }

    /// The first of these pages may not be accessed so, by any CPU.
    pub(crate) fn denied(&self, who: Who, access: Access, part: Part) -> Result<(), Failure> {
        let (space, va) = (self.space(who)?, va(part.from));
        self.on_cpus(&|cpu| {
            self.inside(space, || {
                let outcome = match access {
                    Access::Write => self.world.store(space, va, 0),
                    _ => self.world.load(space, va).map(drop),
                };
                match outcome {
                    Err(FaultOutcome::Denied(_)) => Ok(()),
                    other => Err(unexpected(space, cpu, va, access, other.err())),
                }
            })
        })
    }

    /// Runs `body` with `space` as the calling thread's.
    fn inside(
        &self,
        space: &Space<'w, W::Machine>,
        mut body: impl FnMut() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut result = Ok(());
        self.world.inside(space, &mut || result = body());
        result
    }
}

/// An access ended as it must not.
fn unexpected<H: mm::Hardware>(
    space: &Space<'_, H>,
    cpu: usize,
    va: VirtAddr,
    access: Access,
    outcome: Option<FaultOutcome>,
) -> Failure {
    Failure::WrongOutcome { cpu, va, access, outcome, walk: keep_walk(space, va) }
}

/// The tables say what they must not.
pub(crate) fn wrong_entry<H: mm::Hardware>(
    space: &Space<'_, H>,
    va: VirtAddr,
    what: &'static str,
) -> Failure {
    Failure::WrongEntry { cpu: 0, va, what, walk: keep_walk(space, va) }
}
