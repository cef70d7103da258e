//! `migrate-pte`: small pages, and folios of 64 KiB with the contiguous sets that map them, move to other
//! frames while all CPUs write to them and read them.
//!
//! Hunted: a store to the old frame that comes after the copy, because some TLB still led there; a copy
//! that is made of the first pages of a set only; an entry that comes back with rights or a history that
//! are not its own; memory that is given up while a migration entry stands for it, and is still seen; who
//! waits for the end of a move and is never woken. A page would show an older version than its writer has
//! finished, or what the old frame's next owner wrote; a writer would never come back; or an audit would
//! find a set that is torn.

use super::contpte::in_sets;
use super::field::Field;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::Order;

/// The space's number in stamps.
const OURS: u8 = 31;
/// Smaller folios than those of a set: what a set becomes.
const SMALLER: u64 = 4;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    in_sets(run, watch, drive)
}

fn drive<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 4, OURS)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(16) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            if rng.one_in(2) {
                // Perhaps while another CPU has taken it out and not flushed it yet.
                field.forget(own)?;
                field.look(run, cpu, own, rng)?;
            }
            if rng.one_in(16) {
                field.split_folio(own, Order(rng.below(SMALLER) as u8))?;
            }
            field.migrate(&field.space, own, rng)?;
            for _ in 0..rng.below(8) {
                field.look(run, cpu, field.near(own, rng), rng)?;
            }
            field.write(run, cpu, own)
        })
    })
}
