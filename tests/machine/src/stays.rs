//! Which CPU ran which space under which ASID, for as long as it may have something cached from then.

use abi::Asid;
use oracle::tlb::{Cached, SpaceId};
use pte::{Target, Tlbi};
use std::collections::{BTreeSet, VecDeque};

/// Completed operations that are remembered for CPUs that have left a space.
const REMEMBERED: usize = 512;

/// One CPU's time in one space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    pub(crate) space: SpaceId,
    pub(crate) cpu: usize,
    pub(crate) asid: Asid,
    /// When it left; `None` while it is there.
    pub(crate) until: Option<u64>,
}

/// A completed operation.
#[derive(Clone, Copy)]
struct Done {
    op: Tlbi,
    issued: u64,
    /// Where it was carried out, one bit for each CPU.
    cpus: u64,
}

/// The stays of one machine.
#[derive(Default)]
pub(crate) struct Stays {
    stays: Vec<Stay>,
    done: VecDeque<Done>,
    /// Operations issued before this may have been forgotten.
    forgotten: u64,
    /// Spaces that ran at some time, in order.
    ran: BTreeSet<SpaceId>,
}

impl Stays {
    /// `cpu` begins to run `space`.
    pub(crate) fn enter(&mut self, space: SpaceId, cpu: usize, asid: Asid) {
        self.ran.insert(space);
        let same = |stay: &&mut Stay| (stay.space, stay.cpu, stay.asid) == (space, cpu, asid);
        match self.stays.iter_mut().find(same) {
            Some(stay) => stay.until = None,
            None => self.stays.push(Stay { space, cpu, asid, until: None }),
        }
    }

    /// `cpu` ends whatever it runs.
    pub(crate) fn leave(&mut self, cpu: usize, now: u64) {
        let here = |stay: &&mut Stay| stay.cpu == cpu && stay.until.is_none();
        // Its user space, and the kernel's half under that number.
        self.stays.iter_mut().filter(here).for_each(|stay| stay.until = Some(now));
    }

    /// Whether some CPU runs `space` now.
    pub(crate) fn is_running(&self, space: SpaceId) -> bool {
        self.stays.iter().any(|stay| stay.space == space && stay.until.is_none())
    }

    /// Whether any CPU ran `space` at any time.
    pub(crate) fn has_ever_run(&self, space: SpaceId) -> bool {
        self.ran.contains(&space)
    }

    /// Whether `cpu` has run `space` under `asid` at `since` or later.
    pub(crate) fn has_run(&self, space: SpaceId, cpu: usize, asid: Asid, since: u64) -> bool {
        self.stays.iter().any(|stay| {
            (stay.space, stay.cpu, stay.asid) == (space, cpu, asid)
                && stay.until.is_none_or(|until| until >= since)
        })
    }

    /// An operation issued at `issued` was carried out on `cpus`. A CPU that had left by then and lost
    /// everything has nothing any more.
    pub(crate) fn completed(&mut self, op: &Tlbi, issued: u64, cpus: u64) {
        let whole = match op.target {
            Target::All => Some(None),
            Target::Asid(asid) => Some(Some(asid)),
            Target::Va { .. } | Target::Range { .. } => None,
        };
        if let Some(asid) = whole {
            self.stays.retain(|stay| {
                let lost = cpus >> stay.cpu & 1 != 0
                    && asid.is_none_or(|asid| asid == stay.asid)
                    && stay.until.is_some_and(|until| until < issued);
                !lost
            });
            return;
        }
        if self.done.len() == REMEMBERED
            && let Some(old) = self.done.pop_front()
        {
            self.forgotten = self.forgotten.max(old.issued + 1);
        }
        self.done.push_back(Done { op: *op, issued, cpus });
    }

    /// The stays during which `cached`, there since `since`, can have been cached, with nothing known
    /// to have removed it since. Its `asid` does not count.
    pub(crate) fn holders(
        &self,
        cached: &Cached,
        since: u64,
    ) -> impl Iterator<Item = Stay> + use<'_> {
        let cached = *cached;
        let may_hold = move |stay: &&Stay| {
            stay.space == cached.space
                && stay.until.is_none_or(|until| until > since && !self.lost(stay, until, cached))
        };
        self.stays.iter().filter(may_hold).copied()
    }

    /// Whether a CPU that left at `until` has lost `cached` since. Where that is not known any more, the
    /// answer is yes.
    fn lost(&self, stay: &Stay, until: u64, cached: Cached) -> bool {
        let cached = Cached { asid: stay.asid, ..cached };
        let removed = |done: &Done| {
            done.issued > until && done.cpus >> stay.cpu & 1 != 0 && cached.is_covered(&done.op)
        };
        until < self.forgotten || self.done.iter().any(removed)
    }
}
