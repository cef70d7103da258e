//! The book of debts: a pool of them, found by page for a TLBI that names one, by frame for whoever frees
//! it, and one after the other for what names neither.
//!
//! Nothing is done when a debt is paid: that is noticed when somebody next looks at it. So a barrier costs
//! nothing however many are outstanding, and paid debts are swept out when the pool is full.

use crate::cpus::Cpus;
use crate::debt::{Debt, Links};
use crate::shadow::{DebtId, Shadow, SlotId};
use abi::{Level, VirtAddr};
use alloc::boxed::Box;

/// Chains of debts for pages.
const CHAINS: usize = 1024;

/// Debts that are not known to be paid.
pub(crate) struct Book {
    pool: Shadow<Debt>,
    /// By page: of leaves of pages. The last one: everything larger.
    chains: Box<[DebtId]>,
    first: DebtId,
    /// Never used from here on; before it, what was freed is chained by `after`.
    fresh: usize,
    free: DebtId,
    pub(crate) len: usize,
}

fn chain(level: Level, va: VirtAddr) -> usize {
    if level == Level::Pte { va.page() as usize % CHAINS } else { CHAINS }
}

impl Book {
    pub(crate) fn new(pool: Shadow<Debt>) -> Self {
        Self {
            pool,
            chains: alloc::vec![DebtId::NONE; CHAINS + 1].into_boxed_slice(),
            first: DebtId::NONE,
            fresh: 0,
            free: DebtId::NONE,
            len: 0,
        }
    }

    pub(crate) fn get(&self, id: DebtId) -> Option<&Debt> {
        self.pool.get(usize::from(id.0)).filter(|debt| debt.links.in_use)
    }

    pub(crate) fn get_mut(&mut self, id: DebtId) -> Option<&mut Debt> {
        self.pool.get_mut(usize::from(id.0)).filter(|debt| debt.links.in_use)
    }

    /// The debt `id`, if it still is one of `slot`.
    pub(crate) fn of_slot(&self, id: DebtId, slot: SlotId) -> Option<&Debt> {
        self.get(id).filter(|debt| debt.slot == slot)
    }

    fn links(&mut self, id: DebtId) -> Option<&mut Links> {
        self.pool.get_mut(usize::from(id.0)).map(|debt| &mut debt.links)
    }

    fn take(&mut self, cpus: &Cpus) -> Option<DebtId> {
        if self.free == DebtId::NONE {
            if self.fresh < self.pool.len().min(usize::from(u16::MAX)) {
                self.fresh += 1;
                return Some(DebtId(self.fresh as u16 - 1));
            }
            self.sweep(cpus);
        }
        let id = self.free;
        self.free = self.links(id)?.after;
        Some(id)
    }

    /// Takes paid debts out.
    fn sweep(&mut self, cpus: &Cpus) {
        let mut at = self.first;
        while let Some(debt) = self.get_mut(at) {
            let (id, next) = (at, debt.links.after);
            if debt.is_settled(cpus) {
                self.remove(id);
            }
            at = next;
        }
    }

    /// Adds a debt. `None`: the pool is full of unpaid ones.
    pub(crate) fn add(&mut self, debt: Debt, cpus: &Cpus) -> Option<DebtId> {
        let id = self.take(cpus)?;
        let at = chain(debt.level, debt.va);
        let links = Links {
            in_use: true,
            before: DebtId::NONE,
            after: self.first,
            page: self.chains[at],
            frame: debt.links.frame,
        };
        self.pool[usize::from(id.0)] = Debt { links, ..debt };
        if let Some(after) = self.links(self.first) {
            after.before = id;
        }
        self.first = id;
        self.chains[at] = id;
        self.len += 1;
        Some(id)
    }

    /// Takes a debt out.
    pub(crate) fn remove(&mut self, id: DebtId) {
        let Some(&Debt { level, va, links, .. }) = self.get(id) else { return };
        match self.links(links.before) {
            Some(before) => before.after = links.after,
            None => self.first = links.after,
        }
        if let Some(after) = self.links(links.after) {
            after.before = links.before;
        }
        let head = chain(level, va);
        if self.chains[head] == id {
            self.chains[head] = links.page;
        } else {
            let mut at = self.chains[head];
            while let Some(debt) = self.links(at) {
                if debt.page == id {
                    debt.page = links.page;
                    break;
                }
                at = debt.page;
            }
        }
        let free = self.free;
        if let Some(mine) = self.links(id) {
            *mine = Links { after: free, ..Links::NONE };
        }
        self.free = id;
        self.len -= 1;
    }

    /// Shows each debt to `look`, which says whether it stays.
    pub(crate) fn each(&mut self, mut look: impl FnMut(&mut Debt) -> bool) {
        let mut at = self.first;
        while let Some(debt) = self.get_mut(at) {
            let (id, next) = (at, debt.links.after);
            if !look(debt) {
                self.remove(id);
            }
            at = next;
        }
    }

    /// As [`Book::each`], for the debts that an operation on the page at `va` may be for.
    pub(crate) fn near(&mut self, va: VirtAddr, mut look: impl FnMut(&mut Debt) -> bool) {
        for head in [chain(Level::Pte, va), CHAINS] {
            let mut at = self.chains[head];
            while let Some(debt) = self.get_mut(at) {
                let (id, next) = (at, debt.links.page);
                if !look(debt) {
                    self.remove(id);
                }
                at = next;
            }
        }
    }

    /// The first unpaid debt that `wanted` accepts. Paid ones on the way are taken out.
    pub(crate) fn find(
        &mut self,
        cpus: &Cpus,
        mut wanted: impl FnMut(&mut Debt) -> bool,
    ) -> Option<DebtId> {
        let mut at = self.first;
        while let Some(debt) = self.get_mut(at) {
            let (id, next) = (at, debt.links.after);
            if debt.is_settled(cpus) {
                self.remove(id);
            } else if wanted(debt) {
                return Some(id);
            }
            at = next;
        }
        None
    }
}
