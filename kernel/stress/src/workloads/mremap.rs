//! `mremap`: each CPU moves a parcel of memory from place to place, cuts it and lets it grow again, and
//! writes it, while the others read it wherever it is, and where it was.
//!
//! Hunted: a translation of the old place that outlives the move; a page that is lost on the way, or arrives
//! twice; a table or a huge entry that moves as a whole while somebody faults below it. The old place would
//! not be denied, or the new one would show zeros, an older version or another page's stamp.

use super::field::BLOCK;
use super::list_of;
use super::parcel::{Parcel, WINDOW, address, map};
use crate::rng::Rng;
use crate::run::{Failure, Run, WORDS};
use crate::world::World;
use abi::{Access, PAGE_SIZE, PMD_SIZE, VirtRange};
use mm::{Denial, FaultOutcome, Move, Space};

/// What else is done to the space that the parcels are in.
type Disturb<W> = fn(&Space<'_, <W as World>::Machine>, &[Parcel], &mut Rng) -> Result<(), Failure>;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    roam(run, watch, |_, _, _| Ok(()))
}

/// Has all CPUs move their parcels, and disturb them otherwise before they look.
pub(super) fn roam<W: World>(
    run: &Run<'_, W>,
    watch: &mut dyn FnMut(),
    disturb: Disturb<W>,
) -> Result<(), Failure> {
    let space = Space::new(run.mm())?;
    let count = (run.options.bytes / 2 / PMD_SIZE).clamp(1, run.options.cpus as u64);
    let parcels = list_of(count, |number| Parcel::new(&space, number, count))?;
    run.rounds(watch, |cpu, rng| {
        run.inside(&space, || {
            if let Some(own) = parcels.get(cpu) {
                for _ in 0..rng.below(8) {
                    write(run, &space, cpu, own, rng.below(BLOCK))?;
                }
                if rng.one_in(2) {
                    travel(run, &space, cpu, own, rng)?;
                }
            }
            disturb(&space, &parcels, rng)?;
            for _ in 0..8 {
                look(run, &space, cpu, &parcels[rng.below(count) as usize], rng)?;
            }
            Ok(())
        })
    })
}

/// Moves a parcel, the CPU's own, to another of its windows; some of it is lost on the way, now and then.
fn travel<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    own: &Parcel,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let place = own.place();
    let mut old = VirtRange::from_size(address(place, 0), PMD_SIZE);
    // At the same place of a block, at its start, or anywhere.
    let offset = match rng.below(3) {
        0 => old.start.0 % PMD_SIZE,
        1 => 0,
        _ => rng.below(BLOCK) * PAGE_SIZE,
    };
    let new = own.other_window(place, rng) + offset;
    let kept = match rng.below(8) {
        0 | 1 => 0,
        2 => 1 + rng.below(BLOCK),
        _ => BLOCK,
    };
    own.set_place(old.start, place + 1);
    (kept..BLOCK).for_each(|page| own.ledger.vanish(page));
    let was = address(place, rng.below(BLOCK));
    if kept == 0 {
        space.unmap(old)?;
        map(space, new)?;
    } else {
        if kept < BLOCK {
            old = space.remap(old, kept * PAGE_SIZE, Move::No)?;
        }
        space.remap(old, PMD_SIZE, Move::To(new))?;
    }
    if run.world.load(space, was).is_ok() {
        return Err(run.not_denied(space, cpu, was, Access::Read));
    }
    (kept..BLOCK).for_each(|page| own.ledger.vanished(page));
    own.set_place(new, place + 2);
    run.did(1);
    Ok(())
}

/// Checks a page of the CPU's own parcel, and writes its next version.
fn write<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    own: &Parcel,
    page: u64,
) -> Result<(), Failure> {
    let (va, before) = (address(own.place(), page), own.ledger.before(page));
    for offset in WORDS {
        let word = run.load(space, cpu, va + offset)?;
        if !before.allows(before, word, own.stamp(page, 0)) {
            return Err(run.wrong_data(space, cpu, va + offset, own.stamp(page, before.low), word));
        }
    }
    let version = own.ledger.begin(page);
    run.mark(space, cpu, va, own.stamp(page, version))?;
    own.ledger.finish(page, version);
    run.did(1);
    Ok(())
}

/// Reads a page of a parcel, or where none of it can be.
fn look<W: World>(
    run: &Run<'_, W>,
    space: &Space<'_, W::Machine>,
    cpu: usize,
    parcel: &Parcel,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let (place, page) = (parcel.place(), rng.below(BLOCK));
    let before = parcel.ledger.before(page);
    let elsewhere = rng.one_in(4);
    let va = if elsewhere {
        parcel.other_window(place, rng) + rng.below(WINDOW / PAGE_SIZE) * PAGE_SIZE
    } else {
        address(place, page)
    };
    let outcome = run.world.load(space, va);
    let after = parcel.ledger.after(page);
    let stays = place % 2 == 0 && parcel.place() == place;
    run.did(1);
    let word = match outcome {
        Err(FaultOutcome::Denied(Denial::NoArea)) if elsewhere || !stays => return Ok(()),
        Err(outcome) => return Err(run.wrong_outcome(space, cpu, va, Access::Read, Some(outcome))),
        Ok(_) if elsewhere && stays => return Err(run.not_denied(space, cpu, va, Access::Read)),
        Ok(word) => word,
    };
    let fits = if stays {
        before.allows(after, word, parcel.stamp(page, 0))
    } else {
        // It may have been here and gone, or be here again: any of its pages.
        word == 0 || parcel.has_marked(word)
    };
    let newest = parcel.stamp(page, after.next.wrapping_sub(1));
    if fits { Ok(()) } else { Err(run.wrong_data(space, cpu, va, newest, word)) }
}
