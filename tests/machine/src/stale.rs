//! Translations that memory no longer gives and that a CPU may still have.
//!
//! TLBs remember what the dice let them; this remembers what any TLB could. When a descriptor goes, the
//! machine notes for each CPU that ran its space meanwhile that it may be cached there, until a TLBI
//! that covers it, issued after the change could be seen, is complete. So a missing or misplaced flush
//! shows in every schedule and not only where somebody walked at the wrong moment.
//!
//! # Exact
//! A stale translation does no harm for as long as its CPU runs nothing under its ASID: an ASID that
//! was rolled over is not used before everything is flushed. What would be an error meanwhile is
//! noted, and becomes one when the CPU takes up the ASID with the translation still there.

use crate::stays::Stay;
use abi::{Asid, Level, PhysAddr, VirtAddr};
use oracle::tlb::{Cached, Keyed, RUN, Reach, Sets, SpaceId, levels};
use pte::Tlbi;
use std::collections::BTreeMap;

/// A translation that one CPU may have.
#[derive(Clone, Debug)]
pub(crate) struct Stale {
    /// With an ASID of 0, see `asid`.
    cached: Cached,
    pub(crate) asid: Asid,
    pub(crate) cpu: usize,
    /// Where its descriptor was.
    pub(crate) slot: PhysAddr,
    /// The store that took it away: of this slot, or of one above. And when.
    pub(crate) cause: (PhysAddr, u64),
    /// Since when this CPU's walkers cannot find it any more.
    visible: Option<u64>,
    /// It is in no TLB any more, and its CPU may have worked out something by it.
    flushed: bool,
    /// What has happened that it must not be used after.
    trap: Option<String>,
}

impl Keyed for Stale {
    fn cached(&self) -> &Cached {
        &self.cached
    }
}

impl Stale {
    /// Whether only what a CPU has worked out already is left of it.
    pub(crate) fn is_flushed(&self) -> bool {
        self.flushed
    }

    /// The translation, with its ASID.
    pub(crate) fn cached(&self) -> Cached {
        Cached { asid: self.asid, ..self.cached }
    }
}

/// A descriptor that was taken away, which not every walker can see yet.
#[derive(Clone, Copy, Debug)]
struct Taken {
    cached: Cached,
    slot: PhysAddr,
    cause: (PhysAddr, u64),
}

/// No ASID: [`Stale::asid`] has it.
const ANY: Asid = Asid(0);

/// What any CPU of one machine may have that memory no longer gives.
#[derive(Default)]
pub(crate) struct StaleSet {
    all: Sets<Stale>,
    /// Where those are that their CPU's walkers may still find, by the slot whose store took them away; some of them
    /// may be gone.
    waiting: BTreeMap<PhysAddr, Vec<(Level, VirtAddr)>>,
    /// How many lead to tables.
    walks: usize,
    /// What a CPU that enters its space now may still find, by the same slot.
    taken: BTreeMap<PhysAddr, Vec<Taken>>,
}

impl StaleSet {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stale> {
        self.all.iter()
    }

    /// `cached`, whose descriptor was at `slot`, was taken away by `cause`; the CPUs of `stays` may have
    /// it.
    pub(crate) fn taken(
        &mut self,
        cached: Cached,
        slot: PhysAddr,
        cause: (PhysAddr, u64),
        stays: impl Iterator<Item = Stay>,
    ) {
        let taken = Taken { cached: Cached { asid: ANY, ..cached }, slot, cause };
        self.taken.entry(cause.0).or_default().push(taken);
        for stay in stays {
            self.add(&taken, stay.cpu, stay.asid);
        }
    }

    fn add(&mut self, taken: &Taken, cpu: usize, asid: Asid) {
        let Taken { cached, slot, cause } = *taken;
        let same = |stale: &&mut Stale| {
            stale.cached == cached && (stale.asid, stale.cpu, stale.slot) == (asid, cpu, slot)
        };
        let known = self.all.near_mut(cached.level, cached.va).iter_mut().find(same);
        if let Some(known) = known {
            let waits_there = known.visible.take().is_none() && known.cause.0 == cause.0;
            known.cause = cause;
            known.flushed = false;
            if !waits_there {
                self.waiting.entry(cause.0).or_default().push((cached.level, cached.va));
            }
            return;
        }
        self.waiting.entry(cause.0).or_default().push((cached.level, cached.va));
        self.walks += usize::from(cached.reach == Reach::Walk);
        self.all.push(Stale {
            cached,
            asid,
            cpu,
            slot,
            cause,
            visible: None,
            flushed: false,
            trap: None,
        });
    }

    /// A CPU enters a space: what its walkers can still find there, it may have too. `hides` says which
    /// stores it may miss.
    pub(crate) fn enter(
        &mut self,
        space: SpaceId,
        cpu: usize,
        asid: Asid,
        hides: impl Fn(usize, PhysAddr, u64) -> bool,
    ) {
        let found = |taken: &&Taken| {
            taken.cached.space == space && hides(cpu, taken.cause.0, taken.cause.1)
        };
        let found: Vec<_> = self.taken.values().flatten().filter(found).copied().collect();
        found.iter().for_each(|taken| self.add(taken, cpu, asid));
    }

    /// Stores to `slot` can be seen now, or some to any: `hides` says which still cannot, by which CPU.
    pub(crate) fn published(
        &mut self,
        now: u64,
        cpus: usize,
        slot: Option<PhysAddr>,
        hides: impl Fn(usize, PhysAddr, u64) -> bool,
    ) {
        let Self { all, waiting, taken, .. } = self;
        let mut settle = |at: PhysAddr, waiting: &mut Vec<(Level, VirtAddr)>| {
            waiting.retain(|(level, va)| {
                let mut waits = false;
                let near = all.near_mut(*level, *va).iter_mut();
                for stale in near.filter(|s| s.visible.is_none() && s.cause.0 == at) {
                    if hides(stale.cpu, at, stale.cause.1) {
                        waits = true;
                    } else {
                        stale.visible = Some(now);
                    }
                }
                waits
            });
            !waiting.is_empty()
        };
        let settle_taken = |taken: &mut Vec<Taken>| {
            let is_hidden =
                |cause: (PhysAddr, u64)| (0..cpus).any(|cpu| hides(cpu, cause.0, cause.1));
            taken.retain(|taken| is_hidden(taken.cause));
            !taken.is_empty()
        };
        match slot {
            None => {
                taken.retain(|_, taken| settle_taken(taken));
                waiting.retain(|at, waiting| settle(*at, waiting));
            }
            Some(slot) => {
                if taken.get_mut(&slot).is_some_and(|taken| !settle_taken(taken)) {
                    taken.remove(&slot);
                }
                if waiting.get_mut(&slot).is_some_and(|waiting| !settle(slot, waiting)) {
                    waiting.remove(&slot);
                }
            }
        }
    }

    /// An operation issued at `issued` has been carried out on `cpus`. What it covers is gone, but for
    /// what a walker could find again after it: `walking` says whether the CPU has run the space under
    /// its ASID since it was issued, `resident` whether the descriptor is still where it was. Of what `ahead`
    /// says the CPU keeps what it has worked out.
    pub(crate) fn completed(
        &mut self,
        op: &Tlbi,
        issued: u64,
        cpus: u64,
        walking: impl Fn(&Stale) -> bool,
        resident: impl Fn(&Stale) -> bool,
        ahead: impl Fn(&Stale) -> bool,
    ) {
        if self.all.is_empty() {
            return;
        }
        let covered = |stale: &Stale| {
            cpus >> stale.cpu & 1 != 0
                && stale.cached().is_covered(op)
                && (stale.visible.is_some_and(|visible| visible <= issued) || !walking(stale))
        };
        let mut walks = 0;
        let mut drop_it = |stale: &mut Stale| {
            if ahead(stale) {
                stale.flushed = true;
                return true;
            }
            walks += usize::from(stale.cached.reach == Reach::Walk);
            false
        };
        if self.walks > 0 {
            self.all.retain_near(op, levels(Reach::Walk), |stale| {
                stale.cached.reach != Reach::Walk || !covered(stale) || drop_it(stale)
            });
        }
        let left = |stale: &&Stale| stale.cached.reach == Reach::Walk;
        let left: Vec<_> = match self.walks {
            0 => Vec::new(),
            _ => self.all.iter().filter(left).map(|walk| (walk.cpu, walk.cached())).collect(),
        };
        // A table that was unlinked with its leaves in it leads to them until the walk is gone as well.
        let found_again = |stale: &Stale| {
            let above = |(cpu, walk): &(usize, Cached)| {
                *cpu == stale.cpu
                    && (walk.space, walk.asid) == (stale.cached.space, stale.asid)
                    && walk.translates(stale.cached.va)
            };
            left.iter().any(above) && walking(stale) && resident(stale)
        };
        self.all.retain_near(op, levels(Reach::One), |stale| {
            if stale.cached.reach == Reach::Walk || !covered(stale) || found_again(stale) {
                return true;
            }
            if stale.cached.reach == Reach::Run {
                // Sixteen as one are gone; the page by itself goes with an operation of its own.
                stale.cached = alone(stale);
                return !stale.cached().is_covered(op) || drop_it(stale);
            }
            drop_it(stale)
        });
        self.walks -= walks;
    }

    /// What is stale in the space of `new` and has addresses in common with it.
    pub(crate) fn over(&self, new: &Cached) -> impl Iterator<Item = &Stale> {
        let (new, any) = (*new, !self.all.is_empty());
        let overlaps = move |stale: &&Stale| {
            stale.cached.space == new.space && stale.cached.range().overlaps(&new.range())
        };
        // What is smaller lies in many sets.
        let as_large = Level::ALL.into_iter().filter(move |level| any && *level <= new.level);
        let smaller = (any && new.level < Level::Pte).then(|| self.all.iter());
        let smaller = smaller.into_iter().flatten().filter(move |s| s.cached.level > new.level);
        let near = move |level| {
            let near = self.all.near(level, new.va).iter();
            near.filter(move |stale| stale.cached.level == level)
        };
        as_large.flat_map(near).chain(smaller).filter(overlaps)
    }

    /// Springs or sets a trap for all that `caught` describes: it must not be used from now on. Says
    /// which one can be used, because its CPU runs its ASID.
    pub(crate) fn must_not_be_used(
        &mut self,
        running: impl Fn(usize) -> Asid,
        why: &str,
        caught: impl Fn(&Stale) -> bool,
    ) -> Option<Stale> {
        let mut usable = None;
        for stale in self.all.iter_mut().filter(|stale| caught(stale)) {
            if stale.cached().serves(running(stale.cpu)) {
                usable.get_or_insert_with(|| stale.clone());
            } else {
                stale.trap.get_or_insert_with(|| why.into());
            }
        }
        usable
    }

    /// A trap that `cpu` walks into by taking up `asid`.
    pub(crate) fn trap(&self, cpu: usize, asid: Asid) -> Option<(&Stale, &str)> {
        let here = |stale: &&Stale| stale.cpu == cpu && stale.asid == asid;
        self.all.iter().filter(here).find_map(|stale| Some((stale, stale.trap.as_deref()?)))
    }
}

/// The page of a run whose descriptor it was.
fn alone(stale: &Stale) -> Cached {
    let member = stale.slot.0 / 8 % RUN;
    let va = stale.cached.va + member * stale.cached.level.span();
    Cached { va, reach: Reach::One, ..stale.cached }
}
