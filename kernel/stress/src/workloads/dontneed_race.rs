//! `dontneed-race`: all CPUs throw away the same memory, all or parts of it, while they write it and read
//! it.
//!
//! Hunted: the race of 2017. Two threads throw one range away; the second finds the entries empty, for
//! which the first still owes the flush, and returns: through its TLB it goes on to see, and to write,
//! memory that is not its own any more. A page would show, to the CPU that has just thrown it away, a
//! version that was finished before; or the stamp of who has its frame now.

use super::field::{BLOCK, Field};
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::VirtRange;
use core::ops::Range;
use mm::Advice;

/// The space's number in stamps.
const OURS: u8 = 9;
/// Pages that are looked at before and after.
const WATCHED: usize = 6;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?.fleeting();
    field.drive(run, watch, |cpu, rng| {
        let page = field.any(rng);
        if rng.one_in(8) {
            field.renew(run, cpu, field.own(page, cpu, rng), rng)?;
        }
        // All CPUs do this to the same few ranges: they meet.
        let block = page - page % BLOCK;
        let pages = match rng.below(4) {
            0 | 1 => block..block + BLOCK,
            2 => page..page + 1,
            _ => page..page + 1 + rng.below(field.range.pages() - page),
        };
        field.visit_all(pages.clone(), || {
            for _ in 0..rng.below(8) {
                field.write(run, cpu, field.own(page, cpu, rng))?;
                field.look(run, cpu, field.near(page, rng), rng)?;
            }
            throw_away(run, &field, cpu, pages, rng)
        })
    })
}

/// Throws pages away, and looks whether they are gone, for this CPU at once.
fn throw_away<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    pages: Range<u64>,
    rng: &mut Rng,
) -> Result<(), Failure> {
    // What is read now is in the TLB of this CPU.
    let mut watched = [const { None }; WATCHED];
    for place in &mut watched {
        let page = pages.start + rng.below(pages.end - pages.start);
        field.look(run, cpu, page, rng)?;
        *place = Some((page, field.ledger.before(page).gone()));
    }
    let range = VirtRange::new(field.at(pages.start), field.at(pages.end));
    field.space.advise(range, Advice::DontNeed)?;
    run.did(1);
    for (page, gone) in watched.into_iter().flatten() {
        let word = run.load(&field.space, cpu, field.at(page))?;
        field.judge(run, (&field.space, cpu), (page, gone), word)?;
    }
    Ok(())
}
