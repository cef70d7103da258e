//! `thp-split`: huge entries are split into small ones while all CPUs write to their memory, read it, and
//! walk their tables.
//!
//! Hunted: a small and a huge translation of one address at the same time; a store that goes through
//! the old translation after the new entries were made from the old one; an entry that is nothing for a
//! moment, so that who looks then sees no memory where there is some; a table that is linked before it is
//! filled. A page would show an older version than its writer has finished, zeros, or a neighbour's
//! stamp; or a walk would end with nothing.

use super::field::Field;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::Level;
use pte::Entry;

/// The space's number in stamps.
const OURS: u8 = 5;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            // Sometimes the first that happens to the block, sometimes after others were here.
            if rng.one_in(2) {
                field.space.split_block(field.at(field.near(own, rng)));
            }
            for _ in 0..rng.below(16) {
                let page = field.near(own, rng);
                field.look(run, cpu, page, rng)?;
                never_nothing(run, &field, cpu, page)?;
            }
            field.write(run, cpu, own)
        })
    })
}

/// Walks to a page of a block that is being visited and was written: its huge entry may be of any kind
/// but nothing.
fn never_nothing<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    page: u64,
) -> Result<(), Failure> {
    let (va, mut walk, mut nothing) = (field.at(page), [0; 4], false);
    run.mm().walk(field.space.root(), va, |level, _, entry, word| {
        walk[level as usize] = word;
        nothing |= level == Level::Pmd && entry == Entry::None;
    });
    if nothing && field.was_written(page) {
        let what = "nothing, where there is memory";
        return Err(Failure::WrongEntry { cpu, va, what, walk });
    }
    Ok(())
}
