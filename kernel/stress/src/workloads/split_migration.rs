//! `split-migration`: huge migration entries, set by hand, are split while lockless readers look at them:
//! GUP-fast, and a walker that believes of an entry that is present that there is a page.
//!
//! Hunted: the bug of arm64 until 2024. A split that invalidates before it looks what it has makes of a
//! migration entry, for a moment, something that passes for a mapping, of a frame whose number is made of
//! its other bits. The walker would see a present entry, or GUP-fast would return a page, while all
//! mappings of the block are taken away; or a page would not show what it held before.

use super::field::{BLOCK, Field};
use super::list_of;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::{Access, Order};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering, fence};
use mm::SplitError;

/// The space's number in stamps.
const OURS: u8 = 8;

/// How often each block was frozen and thawed: odd while it certainly is frozen.
pub(super) struct Frosts(Vec<AtomicU32>);

impl Frosts {
    pub(super) fn new(blocks: u64) -> Result<Self, Failure> {
        Ok(Self(list_of(blocks, |_| Ok(AtomicU32::new(0)))?))
    }

    fn of(&self, page: u64) -> &AtomicU32 {
        &self.0[(page / BLOCK) as usize]
    }
}

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    let frosts = Frosts::new(field.range.pages() / BLOCK)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(4) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            // A frozen block is for lockless readers: who touches it sleeps.
            if frosts.of(own).load(Ordering::SeqCst) % 2 == 1 && rng.below(8) > 0 {
                return look_at_frozen(run, &field, &frosts, cpu, own, rng);
            }
            field.write(run, cpu, own)?;
            freeze_and_split(run, &field, &frosts, cpu, own, rng)?;
            field.look(run, cpu, field.near(own, rng), rng)?;
            field.write(run, cpu, own)
        })
    })
}

/// Takes all mappings of a block away, splits what is left in their place, and gives them back.
pub(super) fn freeze_and_split<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    frosts: &Frosts,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let frozen = match field.space.freeze_folio_at(field.at(own)) {
        Ok(frozen) => frozen,
        // Another CPU has frozen it.
        Err(SplitError::NotMapped) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if run.mm().frames.map().desc(frozen.head()).order() < Order::PMD {
        // There was no huge page to be had: this is not all of the block.
        return Ok(());
    }
    let frost = frosts.of(own);
    frost.fetch_add(1, Ordering::SeqCst);
    let mut result = look_at_frozen(run, field, frosts, cpu, own, rng);
    for _ in 0..rng.below(16) {
        run.world.yield_now();
    }
    field.space.split_block(field.at(field.near(own, rng)));
    for _ in 0..rng.below(4) {
        result = result.and_then(|()| look_at_frozen(run, field, frosts, cpu, own, rng));
        run.world.yield_now();
    }
    frost.fetch_add(1, Ordering::SeqCst);
    frozen.thaw();
    result
}

/// Looks at a block as readers without locks do. What they found counts if the block was frozen all the
/// time.
pub(super) fn look_at_frozen<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    frosts: &Frosts,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let frost = frosts.of(own);
    let before = frost.load(Ordering::SeqCst);
    for _ in 0..8 {
        let va = field.at(field.near(own, rng));
        let (mut walk, mut present) = ([0; 4], false);
        run.mm().walk(field.space.root(), va, |level, _, entry, word| {
            walk[level as usize] = word;
            present |= entry.is_present();
        });
        let held = field.space.gup_fast(va, Access::Read).is_some();
        fence(Ordering::SeqCst);
        if before.is_multiple_of(2) || frost.load(Ordering::SeqCst) != before {
            break;
        }
        run.did(1);
        let what = match (present, held) {
            (true, _) => "a mapping, where a migration entry is",
            (false, true) => "GUP-fast found a page, where a migration entry is",
            (false, false) => continue,
        };
        return Err(Failure::WrongEntry { cpu, va, what, walk });
    }
    Ok(())
}
