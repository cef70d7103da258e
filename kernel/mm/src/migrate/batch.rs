//! A batch: folios on their way, all of them at the same step.

use super::{MigrateError, Moved};
use crate::frame::{Flag, FolioLock, FolioRef, OutOfMemory};
use crate::mutant::Mutant;
use crate::rmap::{Blocks, Extent, NO_HEAP};
use crate::tlb::Owed;
use crate::{Hardware, Mm};
use abi::{Event, Order, Pfn};
use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

/// Folios that are moved together.
#[must_use = "run() moves the folios; without it they are only locked for a while"]
pub(crate) struct Batch<'m, H: Hardware> {
    mm: &'m Mm<H>,
    moves: Vec<Move<'m, H>>,
}

/// One folio, locked, and where it goes.
struct Move<'m, H: Hardware> {
    extent: Extent,
    order: Order,
    // Given up in this order: who waits for the lock finds the folio still there.
    target: FolioRef<'m, H>,
    lock: FolioLock<'m, H>,
    _source: FolioRef<'m, H>,
    /// Where it is now, or why it stays: until it was tried, nobody asks.
    moved: Moved,
}

impl<'m, H: Hardware> Batch<'m, H> {
    /// The most folios of a batch: with all of them locked nobody should wait for long.
    pub(crate) const MOST: usize = 512;

    /// An empty batch for as many as `wanted` folios, or [`Self::MOST`].
    pub(crate) fn new(mm: &'m Mm<H>, wanted: usize) -> Result<Self, OutOfMemory> {
        let mut moves = Vec::new();
        moves.try_reserve_exact(wanted.min(Self::MOST)).map_err(|_| NO_HEAP)?;
        Ok(Self { mm, moves })
    }

    /// Takes in the folio to which `source` is the caller's only reference, and a place for it. Says which
    /// one of the batch it is; one that is in it already stays that.
    ///
    /// Context: thread; sleeps on the folio's lock only if the batch is empty.
    pub(crate) fn add(
        &mut self,
        source: FolioRef<'m, H>,
        target: impl FnOnce(Order) -> Result<FolioRef<'m, H>, OutOfMemory>,
    ) -> Result<usize, MigrateError> {
        let mm = self.mm;
        let head = source.head();
        let lock = match self.moves.is_empty() {
            true => mm.folio_lock(head),
            false => match mm.folio_try_lock(head) {
                Some(lock) => lock,
                None => return self.find(head).ok_or(MigrateError::Locked),
            },
        };
        let desc = mm.desc(head);
        if !desc.has(Flag::Anon) || desc.has(Flag::Zero) {
            return Err(MigrateError::NotAnonymous);
        }
        // Nothing is disturbed where it would be in vain.
        let (counts, order) = (desc.counts(), desc.order());
        let (refs, expected) = (counts.refs(), counts.maps() + 1);
        if refs != expected && !mm.commits(Mutant::MigrateHeld) {
            return Err(MigrateError::Busy { refs, expected });
        }
        let target = target(order)?;
        // Nobody else has it yet; who meets it in an entry finds it locked as the old one is.
        mm.desc(target.pfn()).raise(Flag::Locked);
        let extent = Extent::of(mm, &lock);
        self.moves.try_reserve(1).map_err(|_| MigrateError::OutOfMemory(NO_HEAP))?;
        self.moves.push(Move {
            extent,
            order,
            target,
            lock,
            _source: source,
            moved: Err(MigrateError::Locked),
        });
        Ok(self.moves.len() - 1)
    }

    /// Which one of the batch this folio is. Asked for those that are locked: the last one, nearly always.
    fn find(&self, head: Pfn) -> Option<usize> {
        self.moves.iter().rposition(|folio| folio.lock.head() == head)
    }

    /// Moves the folios and empties the batch. Tells `done` of each, in the order in which they came, where
    /// its first page is now, or why it stays.
    ///
    /// Context: as [`Mm::rmap_walk`]; the folios' locks are held by the batch.
    #[doc(alias("migrate_pages_batch", "migrate_folios_move"))]
    pub(crate) fn run(&mut self, mut done: impl FnMut(Moved)) {
        let mm = self.mm;
        let mut owed = Owed::new(mm);
        self.rows().for_each(|row| take_out(mm, row, &mut owed));
        let late = mm.commits(Mutant::TakeOutFlushLate);
        if !late {
            owed.settle();
        }
        self.moves.iter_mut().for_each(|folio| folio.moved = folio.copy(mm));
        self.rows().for_each(|row| put_back(mm, row));
        for folio in &self.moves {
            mm.folio_unlock(mm.desc(folio.target.pfn()));
            done(folio.moved);
        }
        self.moves.clear();
        if late {
            owed.settle();
        }
    }

    /// The folios in order: small ones together whose names follow each other, every other one alone.
    fn rows(&self) -> impl Iterator<Item = &[Move<'m, H>]> {
        self.moves.chunk_by(Move::is_followed_by)
    }
}

/// Makes migration entries of what maps a row.
#[doc(alias = "migrate_folio_unmap")]
fn take_out<H: Hardware>(mm: &Mm<H>, row: &[Move<'_, H>], owed: &mut Owed<'_, H>) {
    match row {
        [folio] => mm.try_to_migrate(&folio.extent, Blocks::Keep, owed),
        row => {
            let frame = |n: u64| row[n as usize].lock.head();
            mm.try_to_migrate_row(row[0].extent.owner(), row.len() as u64, &frame, owed);
        }
    }
}

/// Makes mappings of them, of where each of the row is now.
fn put_back<H: Hardware>(mm: &Mm<H>, row: &[Move<'_, H>]) {
    let place = |folio: &Move<'_, H>| {
        let was = folio.lock.head();
        (was, folio.moved.unwrap_or(was))
    };
    match row {
        [folio] => mm.remove_migration(&folio.extent, place(folio).1),
        row => {
            let places = |n: u64| place(&row[n as usize]);
            mm.remove_migration_row(row[0].extent.owner(), row.len() as u64, &places);
        }
    }
}

impl<H: Hardware> Move<'_, H> {
    /// Whether both are small, and `next` is called what comes after this one.
    fn is_followed_by(&self, next: &Self) -> bool {
        self.order == Order::PAGE
            && next.order == Order::PAGE
            && self.extent.owner().word() + 1 == next.extent.owner().word()
    }

    /// Copies the folio, whose mappings are gone everywhere, if nobody else holds it.
    #[doc(alias("migrate_folio_move", "folio_migrate_mapping"))]
    fn copy(&self, mm: &Mm<H>) -> Moved {
        let (from, to) = (self.lock.head(), self.target.pfn());
        if let Err(counts) = mm.folio_freeze_alone(from, Mutant::MigrateHeld) {
            mm.count(Event::PgMigrateFail, self.order.pages());
            return Err(MigrateError::Busy { refs: counts.refs(), expected: 1 });
        }
        self.become_target(mm, from, to);
        mm.count(Event::PgMigrated, self.order.pages());
        Ok(to)
    }

    /// Makes the new folio what the old one is, which is frozen; then the old one is only the caller's.
    #[doc(alias("folio_migrate_copy", "folio_migrate_flags"))]
    fn become_target(&self, mm: &Mm<H>, from: Pfn, to: Pfn) {
        let (old, new) = (mm.desc(from), mm.desc(to));
        mm.copy(from, to, self.order);
        new.owner.store(old.owner.load(Relaxed), Relaxed);
        for flag in [Flag::Anon, Flag::Dirty, Flag::Lazy] {
            if old.has(flag) && !(flag == Flag::Dirty && mm.commits(Mutant::MigrateForgetsDirt)) {
                new.raise(flag);
            }
        }
        mm.folio_unfreeze(old);
    }
}
