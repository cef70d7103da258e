//! The blocks of a field: splitting them, and making them new.

use super::{BLOCK, CLOSED, Field};
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::{Access, Order, PAGE_SIZE, Prot, VirtRange};
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};
use mm::{Advice, CollapseError, Hardware, Huge, Place, SplitError};

impl<H: Hardware> Field<'_, H> {
    /// Splits the folio of a page into parts of `order`, if nothing is in the way of that just now.
    pub(crate) fn split_folio(&self, page: u64, order: Order) -> Result<(), Failure> {
        match self.space.split_folio_at(self.at(page), order) {
            // Another CPU holds it.
            Ok(()) | Err(SplitError::Busy { .. } | SplitError::Locked) => Ok(()),
            // Its mapping is taken away for a while, by another CPU; or it shows everybody's zeros.
            Err(SplitError::NotMapped) => Ok(()),
            // It is no larger.
            Err(SplitError::BadOrder { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the block of a page a huge page, if nothing is in the way of that just now.
    pub(crate) fn collapse(&self, page: u64) -> Result<(), Failure> {
        match self.space.collapse(self.at(page)) {
            // Another CPU holds something of it, or takes a mapping away for a while.
            Ok(_) | Err(CollapseError::Busy { .. } | CollapseError::Locked(_)) => Ok(()),
            Err(CollapseError::NoMemory(..) | CollapseError::OutOfMemory(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Throws the content of a page away, of which nobody sees anything then.
    pub(crate) fn forget(&self, page: u64) -> Result<(), Failure> {
        self.ledger.vanish(page);
        self.space.advise(VirtRange::from_size(self.at(page), PAGE_SIZE), Advice::DontNeed)?;
        self.ledger.vanished(page);
        Ok(())
    }

    /// Runs `body`, during which the block of `page` is not renewed; not at all if it is just now.
    pub(crate) fn visit(
        &self,
        page: u64,
        body: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.visit_all(page..page + 1, body)
    }

    /// The same, for all blocks of some pages.
    pub(crate) fn visit_all(
        &self,
        pages: Range<u64>,
        body: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (first, end) = (pages.start / BLOCK, pages.end.div_ceil(BLOCK));
        let visitors = &self.visitors[first as usize..end as usize];
        let entered = enter(visitors);
        let result = if entered == visitors.len() { body() } else { Ok(()) };
        leave(&visitors[..entered]);
        result
    }

    /// Makes the block of `page` new, if nobody is in it: `page`, which is `cpu`'s, is written first.
    pub(crate) fn renew<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        page: u64,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let visitors = &self.visitors[(page / BLOCK) as usize];
        if visitors.compare_exchange(0, CLOSED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Ok(());
        }
        let block = self.block_of(page);
        self.space.unmap(block)?;
        if run.world.load(&self.space, self.at(page)).is_ok() {
            return Err(run.not_denied(&self.space, cpu, self.at(page), Access::Read));
        }
        self.space.map(Place::At(block.start), block.bytes(), Prot::ReadWrite, Huge::Advised)?;
        let first = page - page % BLOCK;
        for page in first..first + BLOCK {
            self.ledger.vanish(page);
            self.ledger.vanished(page);
        }
        // Sometimes all zeros at first.
        if rng.one_in(4) {
            self.look(run, cpu, self.near(page, rng), rng)?;
        }
        self.put(run, cpu, page)?;
        visitors.store(0, Ordering::Release);
        Ok(())
    }

    /// Runs `turn` on all CPUs, inside the space, again and again.
    pub(crate) fn drive<W: World<Machine = H>>(
        &self,
        run: &Run<'_, W>,
        watch: &mut dyn FnMut(),
        turn: impl Fn(usize, &mut Rng) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure> {
        run.rounds(watch, |cpu, rng| run.inside(&self.space, || turn(cpu, rng)))
    }
}

/// Enters blocks up to the first closed one; how many.
#[inline(never)]
fn enter(visitors: &[AtomicU32]) -> usize {
    let enter = |n: u32| (n != CLOSED).then(|| n + 1);
    let is_open =
        |n: &&AtomicU32| n.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter).is_ok();
    visitors.iter().take_while(is_open).count()
}

#[inline(never)]
fn leave(entered: &[AtomicU32]) {
    for visitors in entered {
        visitors.fetch_sub(1, Ordering::Release);
    }
}
