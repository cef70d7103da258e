//! The book of debts: a pool of them, found by page for a TLBI that names one, by frame for whoever frees
//! it, and one after the other for what names neither.
//!
//! Nothing is done when a debt is paid: that is noticed when somebody next looks at it. So a barrier costs
//! nothing however many are outstanding, and paid debts are swept out when the pool is full.

use crate::cpus::Cpus;
use crate::debt::{Debt, Links, Taken};
use crate::shadow::{DebtId, Shadow, SlotId};
use abi::{Level, VirtAddr};
use alloc::boxed::Box;

/// Chains of debts by page, and by frame.
const CHAINS: usize = 1024;

/// Debts that are not known to be paid.
pub(crate) struct Book {
    pool: Shadow<Debt>,
    /// By page: of leaves of pages. The last one: everything larger.
    pages: Box<[DebtId]>,
    /// By the first frame, those that lead to one.
    frames: Box<[DebtId]>,
    first: DebtId,
    /// Never used from here on; before it, what was freed is chained by `after`.
    fresh: usize,
    free: DebtId,
    pub(crate) len: usize,
}

fn of_page(level: Level, va: VirtAddr) -> usize {
    if level == Level::Pte { va.page() as usize % CHAINS } else { CHAINS }
}

fn of_frame(frame: u32) -> Option<usize> {
    (frame != u32::MAX).then_some(frame as usize % CHAINS)
}

/// The field of a debt that a chain goes on with.
type Next = fn(&mut Links) -> &mut DebtId;

impl Book {
    pub(crate) fn new(pool: Shadow<Debt>) -> Self {
        Self {
            pool,
            pages: alloc::vec![DebtId::NONE; CHAINS + 1].into_boxed_slice(),
            frames: alloc::vec![DebtId::NONE; CHAINS].into_boxed_slice(),
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
        self.get(id).filter(|debt| debt.what.slot == slot)
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
        let page = &mut self.pages[of_page(what.level, what.va)];
        let mut links = Links { in_use: true, after: self.first, page: *page, ..Links::NONE };
        *page = id;
        if let Some(frame) = of_frame(what.frame) {
            links.frame = core::mem::replace(&mut self.frames[frame], id);
        }
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
        let (Links { before, after, page, frame, .. }, what) = (debt.links, &debt.what);
        let (of_page, of_frame) = (of_page(what.level, what.va), of_frame(what.frame));
        match self.links(before) {
            Some(before) => before.after = after,
            None => self.first = after,
        }
        if let Some(after) = self.links(after) {
            after.before = before;
        }
        if self.pages[of_page] == id {
            self.pages[of_page] = page;
        } else {
            self.skip(self.pages[of_page], id, page, |links| &mut links.page);
        }
        match of_frame {
            Some(head) if self.frames[head] == id => self.frames[head] = frame,
            Some(head) => self.skip(self.frames[head], id, frame, |links| &mut links.frame),
            None => {}
        }
        let free = self.free;
        if let Some(mine) = self.links(id) {
            *mine = Links { after: free, ..Links::NONE };
        }
        self.free = id;
        self.len -= 1;
    }

    /// Lets the one before `id` in the chain that begins `at` go on with `next`.
    fn skip(&mut self, mut at: DebtId, id: DebtId, next: DebtId, field: Next) {
        while let Some(links) = self.links(at) {
            let link = field(links);
            if *link == id {
                *link = next;
                return;
            }
            at = *link;
        }
    }

    /// The next debt after `id`, or the first of all, for a leaf that began with `frame`.
    pub(crate) fn on_frame(&self, frame: usize, id: Option<DebtId>) -> Option<DebtId> {
        let mut at = match id {
            Some(id) => self.get(id)?.links.frame,
            None => self.frames[of_frame(frame as u32)?],
        };
        loop {
            let debt = self.get(at)?;
            if debt.what.frame as usize == frame {
                return Some(at);
            }
            at = debt.links.frame;
        }
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
        for head in [of_page(Level::Pte, va), CHAINS] {
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
