//! The book of debts: a pool of them, found by page for a TLBI that names one, and one after the other for
//! what names none.
//!
//! Nothing is done when a debt is paid: that is noticed when somebody next looks at it. So a barrier costs
//! nothing however many are outstanding, and paid debts are swept out when the pool is full.

use crate::cpus::Cpus;
use crate::debt::{Debt, Links, Taken};
use crate::shadow::{DebtId, Shadow, SlotId};
use abi::{Level, VirtAddr};
use alloc::boxed::Box;

/// Chains of debts by page.
const CHAINS: usize = 1024;
/// Behind them, that of everything larger.
const LARGE: usize = CHAINS;
/// And that of runs of pages.
const RUNS: usize = CHAINS + 1;

/// Debts that are not known to be paid.
pub(crate) struct Book {
    pool: Shadow<Debt>,
    /// By page: of leaves of pages. Behind them, everything larger, and runs.
    pages: Box<[DebtId]>,
    first: DebtId,
    /// Never used from here on; before it, what was freed is chained by `after`.
    fresh: usize,
    free: DebtId,
    pub(crate) len: usize,
}

fn of_page(va: VirtAddr) -> usize {
    va.page() as usize % CHAINS
}

/// The chain of a debt.
fn chain(what: &Taken) -> usize {
    match (what.level, what.is_run()) {
        (Level::Pte, false) => of_page(what.va),
        (Level::Pte, true) => RUNS,
        _ => LARGE,
    }
}

impl Book {
    pub(crate) fn new(pool: Shadow<Debt>) -> Self {
        Self {
            pool,
            pages: alloc::vec![DebtId::NONE; RUNS + 1].into_boxed_slice(),
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
        self.get(id).filter(|debt| debt.what.is_of(slot))
    }

    /// Whether `slot` does not owe the debt `id`, or not any more: then that is taken out.
    pub(crate) fn is_paid(&mut self, id: DebtId, slot: SlotId, cpus: &Cpus) -> bool {
        let Some(debt) = self.get_mut(id).filter(|debt| debt.what.is_of(slot)) else { return true };
        let is_paid = debt.is_settled(cpus);
        if is_paid {
            self.remove(id);
        }
        is_paid
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

    /// Adds a debt for `what`. `None`: the pool is full of unpaid ones.
    #[inline(always)]
    pub(crate) fn add(&mut self, what: &Taken, cpus: &Cpus) -> Option<DebtId> {
        let id = self.take(cpus)?;
        let page = &mut self.pages[chain(what)];
        let links = Links { in_use: true, after: self.first, page: *page, ..Links::NONE };
        *page = id;
        let debt = &mut self.pool[usize::from(id.0)];
        debt.begin(what);
        debt.links = links;
        if let Some(after) = self.links(self.first) {
            after.before = id;
        }
        self.first = id;
        self.len += 1;
        Some(id)
    }

    /// Takes a debt out.
    pub(crate) fn remove(&mut self, id: DebtId) {
        let Some(debt) = self.get(id) else { return };
        let (Links { before, after, page, .. }, chain) = (debt.links, chain(&debt.what));
        match self.links(before) {
            Some(before) => before.after = after,
            None => self.first = after,
        }
        if let Some(after) = self.links(after) {
            after.before = before;
        }
        if self.pages[chain] == id {
            self.pages[chain] = page;
        } else {
            self.skip(self.pages[chain], id, page);
        }
        let free = self.free;
        if let Some(mine) = self.links(id) {
            *mine = Links { after: free, ..Links::NONE };
        }
        self.free = id;
        self.len -= 1;
    }

    /// Lets the one before `id` in the chain that begins `at` go on with `next`.
    fn skip(&mut self, mut at: DebtId, id: DebtId, next: DebtId) {
        while let Some(Links { page, .. }) = self.links(at) {
            if *page == id {
                *page = next;
                return;
            }
            at = *page;
        }
    }

    /// The first unpaid run at `at` or behind it in their chain, and the one behind that.
    pub(crate) fn next_run(&mut self, mut at: DebtId, cpus: &Cpus) -> Option<(DebtId, DebtId)> {
        loop {
            let debt = self.get_mut(at)?;
            let (id, next) = (at, debt.links.page);
            if !debt.is_settled(cpus) {
                return Some((id, next));
            }
            self.remove(id);
            at = next;
        }
    }

    /// Where the chain of runs begins.
    #[inline]
    pub(crate) fn first_run(&self) -> DebtId {
        self.pages[RUNS]
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
        for head in [of_page(va), LARGE, RUNS] {
            let mut at = self.pages[head];
            while let Some(debt) = self.get_mut(at) {
                let (id, next) = (at, debt.links.page);
                if !look(debt) {
                    self.remove(id);
                }
                at = next;
            }
        }
    }

    /// Of the unpaid debts that `wanted` accepts, all of which it is shown, the latest. Paid ones on the way
    /// are taken out.
    pub(crate) fn find(
        &mut self,
        cpus: &Cpus,
        mut wanted: impl FnMut(&mut Debt) -> bool,
    ) -> Option<DebtId> {
        let (mut at, mut found) = (self.first, None);
        while let Some(debt) = self.get_mut(at) {
            let (id, next) = (at, debt.links.after);
            if debt.is_settled(cpus) {
                self.remove(id);
            } else if wanted(debt) {
                let last = debt.what.last();
                if found.is_none_or(|(best, _)| best < last) {
                    found = Some((last, id));
                }
            }
            at = next;
        }
        found.map(|(_, id)| id)
    }
}
