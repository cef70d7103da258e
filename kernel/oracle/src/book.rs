//! The book of debts: a pool of them, found by page for a TLBI that names one, and one after the other for
//! what names none.
//!
//! Nothing is done when a debt is paid: that is noticed when somebody next looks at it. So a barrier costs
//! nothing however many are outstanding, and paid debts are swept out when the pool is full.
//!
//! What the kernel's half owes is in lists of its own: of addresses that are given up there tens of thousands of pages
//! wait for one flush, and nothing that is done for a space is for them.

use crate::cpus::Cpus;
use crate::debt::{Debt, Links, Taken};
use crate::shadow::{DebtId, Shadow, SlotId};
use abi::{Level, PAGE_SIZE, VirtAddr, VirtRange};
use alloc::boxed::Box;

/// Chains of debts by page.
const CHAINS: usize = 1024;
/// Behind them, that of everything larger.
const LARGE: usize = CHAINS;
/// And that of runs of pages.
const RUNS: usize = CHAINS + 1;

/// Whose debts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Half {
    /// Of spaces.
    User,
    /// Of the kernel's half.
    Kernel,
}

impl Half {
    const BOTH: [Self; 2] = [Self::User, Self::Kernel];

    pub(crate) const fn of(va: VirtAddr) -> Self {
        if va.0 >> 63 == 0 { Self::User } else { Self::Kernel }
    }
}

/// The debts of one half.
struct List {
    /// By page: of leaves of pages. Behind them, everything larger, and runs.
    pages: Box<[DebtId]>,
    first: DebtId,
}

/// Debts that are not known to be paid.
pub(crate) struct Book {
    pool: Shadow<Debt>,
    halves: [List; 2],
    /// Never used from here on; before it, what was freed is chained by `after`.
    fresh: usize,
    free: DebtId,
    pub(crate) len: usize,
    /// Of the kernel's half, how many a frame is found by: few, since who frees one does not wait for what is lazy.
    of_kernel_frames: usize,
    /// What had come to pass when paid debts were last swept out.
    swept: u64,
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

/// Whether it is one of the kernel's half that a frame owes.
fn is_kernel_frames(what: &Taken) -> bool {
    Half::of(what.va) == Half::Kernel && what.frame != u32::MAX
}

impl Book {
    pub(crate) fn new(pool: Shadow<Debt>) -> Self {
        Self {
            pool,
            halves: Half::BOTH.map(|_| List {
                pages: alloc::vec![DebtId::NONE; RUNS + 1].into_boxed_slice(),
                first: DebtId::NONE,
            }),
            fresh: 0,
            free: DebtId::NONE,
            len: 0,
            of_kernel_frames: 0,
            swept: u64::MAX,
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
            // A pool full of debts that wait for one flush is not looked through for each that comes.
            let progress = cpus.progress();
            if progress != self.swept {
                self.swept = progress;
                self.sweep(cpus);
            }
        }
        let id = self.free;
        self.free = self.links(id)?.after;
        Some(id)
    }

    /// Takes paid debts out.
    fn sweep(&mut self, cpus: &Cpus) {
        for half in Half::BOTH {
            self.each(half, |debt| !debt.is_settled(cpus));
        }
    }

    /// Adds a debt for `what`. `None`: the pool is full of unpaid ones.
    #[inline(always)]
    pub(crate) fn add(&mut self, what: &Taken, cpus: &Cpus) -> Option<DebtId> {
        let id = self.take(cpus)?;
        let list = &mut self.halves[Half::of(what.va) as usize];
        let page = &mut list.pages[chain(what)];
        let links = Links { in_use: true, after: list.first, page: *page, ..Links::NONE };
        *page = id;
        let after = core::mem::replace(&mut list.first, id);
        let debt = &mut self.pool[usize::from(id.0)];
        debt.begin(what);
        debt.links = links;
        if let Some(after) = self.links(after) {
            after.before = id;
        }
        self.len += 1;
        self.of_kernel_frames += usize::from(is_kernel_frames(what));
        Some(id)
    }

    /// Takes a debt out.
    pub(crate) fn remove(&mut self, id: DebtId) {
        let Some(debt) = self.get(id) else { return };
        let (Links { before, after, page, .. }, chain) = (debt.links, chain(&debt.what));
        let (half, of_frames) = (Half::of(debt.what.va) as usize, is_kernel_frames(&debt.what));
        match self.links(before) {
            Some(before) => before.after = after,
            None => self.halves[half].first = after,
        }
        if let Some(after) = self.links(after) {
            after.before = before;
        }
        let pages = &mut self.halves[half].pages;
        if pages[chain] == id {
            pages[chain] = page;
        } else {
            let first = pages[chain];
            self.skip(first, id, page);
        }
        let free = self.free;
        if let Some(mine) = self.links(id) {
            *mine = Links { after: free, ..Links::NONE };
        }
        self.free = id;
        self.len -= 1;
        self.of_kernel_frames -= usize::from(of_frames);
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

    /// Whether some frame is owed something of the kernel's half.
    pub(crate) const fn kernel_owes_frames(&self) -> bool {
        self.of_kernel_frames > 0
    }

    /// Where the chain of runs begins. The kernel's half has none.
    #[inline]
    pub(crate) fn first_run(&self) -> DebtId {
        self.halves[Half::User as usize].pages[RUNS]
    }

    /// Shows each debt of a half to `look`, which says whether it stays.
    pub(crate) fn each(&mut self, half: Half, mut look: impl FnMut(&mut Debt) -> bool) {
        let first = self.halves[half as usize].first;
        self.follow(first, |links| links.after, |_, debt| look(debt));
    }

    /// As [`Book::each`], for the debts that an operation on the page at `va` may be for.
    pub(crate) fn near(&mut self, va: VirtAddr, mut look: impl FnMut(&mut Debt) -> bool) {
        for chain in [of_page(va), LARGE, RUNS] {
            let first = self.halves[Half::of(va) as usize].pages[chain];
            self.follow(first, |links| links.page, |_, debt| look(debt));
        }
    }

    /// Shows the debts from `at` on to `look`, which says whether each stays.
    #[inline(always)]
    fn follow(
        &mut self,
        mut at: DebtId,
        next: impl Fn(&Links) -> DebtId,
        mut look: impl FnMut(DebtId, &mut Debt) -> bool,
    ) {
        while let Some(debt) = self.get_mut(at) {
            let (id, next) = (at, next(&debt.links));
            if !look(id, debt) {
                self.remove(id);
            }
            at = next;
        }
    }

    /// Of the unpaid debts of a half that `wanted` accepts, all of which it is shown, the latest. Paid ones on the
    /// way are taken out.
    pub(crate) fn find(
        &mut self,
        half: Half,
        cpus: &Cpus,
        mut wanted: impl FnMut(&mut Debt) -> bool,
    ) -> Option<DebtId> {
        let (first, mut found) = (self.halves[half as usize].first, None);
        let look = |id, debt: &mut Debt| keep_latest(&mut found, (id, debt), cpus, &mut wanted);
        self.follow(first, |links| links.after, look);
        found.map(|(_, id)| id)
    }

    /// As [`Book::find`], of those that share an address with `range`.
    pub(crate) fn find_in(
        &mut self,
        range: VirtRange,
        cpus: &Cpus,
        mut wanted: impl FnMut(&mut Debt) -> bool,
    ) -> Option<DebtId> {
        let half = Half::of(range.start);
        let mut wanted = |debt: &mut Debt| range.overlaps(&debt.range()) && wanted(debt);
        if range.pages() >= CHAINS as u64 {
            return self.find(half, cpus, wanted);
        }
        let mut found = None;
        let pages = (0..range.pages()).map(|page| of_page(range.start + page * PAGE_SIZE));
        for chain in pages.chain([LARGE, RUNS]) {
            let first = self.halves[half as usize].pages[chain];
            let look = |id, debt: &mut Debt| keep_latest(&mut found, (id, debt), cpus, &mut wanted);
            self.follow(first, |links| links.page, look);
        }
        found.map(|(_, id)| id)
    }
}

/// Takes note of a debt that is `wanted`, if it is the latest so far; whether it is unpaid.
#[inline(always)]
fn keep_latest(
    found: &mut Option<(u64, DebtId)>,
    (id, debt): (DebtId, &mut Debt),
    cpus: &Cpus,
    wanted: &mut impl FnMut(&mut Debt) -> bool,
) -> bool {
    if debt.is_settled(cpus) {
        return false;
    }
    if wanted(debt) {
        let last = debt.what.last();
        if found.is_none_or(|(best, _)| best < last) {
            *found = Some((last, id));
        }
    }
    true
}
