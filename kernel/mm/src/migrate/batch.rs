//! A batch: folios on their way, all of them at the same step.

use super::{MigrateError, Moved};
use crate::frame::{Flag, FolioRef, OutOfMemory};
use crate::mutant::Mutant;
use crate::rmap::{Blocks, Extent, NO_HEAP, Owner};
use crate::tlb::Owed;
use crate::{Hardware, Mm};
use abi::{Event, Order, Pfn};
use alloc::vec::Vec;
use core::mem::forget;
use core::sync::atomic::Ordering::Relaxed;

/// Folios that are moved together.
#[must_use = "run() moves the folios; without it they are only locked for a while"]
pub(crate) struct Batch<'m, H: Hardware> {
    mm: &'m Mm<H>,
    moves: Vec<Move>,
}

/// One folio and where it goes: both locked, and a reference to each, which the batch gives up.
struct Move {
    from: Pfn,
    to: Pfn,
    /// What the folio is called.
    owner: u64,
    order: Order,
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
    /// Context: thread; sleeps on the folio's lock, but only if the batch is empty, and if `waits`: whoever
    /// may hold a folio's lock himself must not.
    pub(crate) fn add(
        &mut self,
        source: FolioRef<'m, H>,
        waits: bool,
        target: impl FnOnce(Order) -> Result<FolioRef<'m, H>, OutOfMemory>,
    ) -> Result<usize, MigrateError> {
        let mm = self.mm;
        let head = source.head();
        let lock = match waits && self.moves.is_empty() {
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
        self.moves.try_reserve(1).map_err(|_| MigrateError::OutOfMemory(NO_HEAP))?;
        let target = target(order)?;
        let (from, to, owner) = (head, target.pfn(), desc.owner.load(Relaxed));
        // Nobody else has it yet; who meets it in an entry finds it locked as the old one is.
        mm.desc(to).raise(Flag::Locked);
        self.moves.push(Move { from, to, owner, order, moved: Err(MigrateError::Locked) });
        // From here on they are the batch's.
        forget((target, lock, source));
        Ok(self.moves.len() - 1)
    }

    /// Which one of the batch this folio is. Asked for those that are locked: the last one, nearly always.
    fn find(&self, head: Pfn) -> Option<usize> {
        self.moves.iter().rposition(|folio| folio.from == head)
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
        self.moves.iter().for_each(|folio| done(folio.moved));
        self.release();
        if late {
            owed.settle();
        }
    }

    /// Gives up locks and references: the old frames of what was moved, and the new ones of what was not,
    /// are freed.
    fn release(&mut self) {
        let mm = self.mm;
        for folio in self.moves.drain(..) {
            for head in [folio.to, folio.from] {
                mm.folio_unlock(mm.desc(head));
                mm.head_put(head, 1);
            }
        }
    }

    /// The folios in order: small ones together whose names follow each other, every other one alone.
    fn rows(&self) -> impl Iterator<Item = &[Move]> {
        self.moves.chunk_by(Move::is_followed_by)
    }
}

impl<H: Hardware> Drop for Batch<'_, H> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Makes migration entries of what maps a row.
#[doc(alias = "migrate_folio_unmap")]
fn take_out<H: Hardware>(mm: &Mm<H>, row: &[Move], owed: &mut Owed<'_, H>) {
    match row {
        [folio] => mm.try_to_migrate(&folio.extent(), Blocks::Keep, owed),
        row => {
            let frame = |n: u64| row[n as usize].from;
            mm.try_to_migrate_row(Owner::from_word(row[0].owner), row.len() as u64, &frame, owed);
        }
    }
}

/// Makes mappings of them, of where each of the row is now.
fn put_back<H: Hardware>(mm: &Mm<H>, row: &[Move]) {
    match row {
        [folio] => mm.remove_migration(&folio.extent(), folio.now()),
        row => {
            let places = |n: u64| (row[n as usize].from, row[n as usize].now());
            mm.remove_migration_row(Owner::from_word(row[0].owner), row.len() as u64, &places);
        }
    }
}

impl Move {
    fn extent(&self) -> Extent {
        Extent::new(self.from, self.order.pages(), Owner::from_word(self.owner))
    }

    /// Where it is.
    fn now(&self) -> Pfn {
        self.moved.unwrap_or(self.from)
    }

    /// Whether both are small, and `next` is called what comes after this one.
    fn is_followed_by(&self, next: &Self) -> bool {
        // A walk of what never moved claims the block of the first page alone.
        let one_block = !next.owner.is_multiple_of(Order::PMD.pages());
        self.order == Order::PAGE
            && next.order == Order::PAGE
            && one_block
            && self.owner + 1 == next.owner
    }

    /// Copies the folio, whose mappings are gone everywhere, if nobody else holds it.
    #[doc(alias("migrate_folio_move", "folio_migrate_mapping"))]
    fn copy<H: Hardware>(&self, mm: &Mm<H>) -> Moved {
        if let Err(counts) = mm.folio_freeze_alone(self.from, Mutant::MigrateHeld) {
            mm.count(Event::PgMigrateFail, self.order.pages());
            return Err(MigrateError::Busy { refs: counts.refs(), expected: 1 });
        }
        let (old, new) = (mm.desc(self.from), mm.desc(self.to));
        mm.copy(self.from, self.to, self.order);
        new.owner.store(self.owner, Relaxed);
        for flag in [Flag::Anon, Flag::Dirty, Flag::Lazy] {
            if old.has(flag) && !(flag == Flag::Dirty && mm.commits(Mutant::MigrateForgetsDirt)) {
                new.raise(flag);
            }
        }
        // From here on it is only the batch's.
        mm.folio_unfreeze(old);
        mm.count(Event::PgMigrated, self.order.pages());
        Ok(self.to)
    }
}
