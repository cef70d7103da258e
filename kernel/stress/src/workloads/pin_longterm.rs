//! `pin-longterm`: each CPU keeps a few pages pinned, turn after turn, as a device does to which they were
//! given for good; and all CPUs migrate, compact, split, collapse, protect, fork, write and throw away the
//! memory that they are in: small pages, contiguous sets, huge pages, zeros.
//!
//! Hunted: a pin that parts from its address, because what is pinned was moved, copied for the program or
//! shared with a child, or because it was everybody's zeros all along; a pin in memory that is kept for what
//! moves; a pinned page that is given to somebody else when its address forgets it; a pin that is over and
//! keeps its folio in place all the same. What is written through the mapping would not be seen in the frame,
//! or what a device writes there would not be seen through the mapping; the tables would say another frame,
//! or a frame that is forgotten would change; or nothing would move at the end.

use super::contpte::{in_sets, want};
use super::field::{BLOCK, Field, migrate};
use super::snapshot::Snapshot;
use crate::failure::Refusal;
use crate::rng::Rng;
use crate::run::{Failure, Run, WORDS, keep_walk};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Access, Order, PAGE_SIZE, Pfn, Prot, VirtRange};
use alloc::vec::Vec;
use mm::frame::FolioPin;
use mm::gup::{self, GupError};
use mm::{CollapseError, Hardware, MigrateError};

/// The space's number in stamps.
const OURS: u8 = 38;
/// Pages that a CPU keeps pinned.
const KEPT: usize = 4;
/// Pages that are pinned together, at most.
const MANY: usize = 24;
/// How often a page is tried to be moved once nobody holds it: who works in the background may.
const TRIES: u32 = 1000;

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    in_sets(run, watch, drive)
}

fn drive<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    // Small, for each fork is of all of it.
    let field = Field::new(run, run.options.bytes / 8, OURS)?;
    run.on_cpus(watch, |cpu, rng| {
        let mut kept = Vec::new();
        let mut round = 0;
        while run.goes_on(round) {
            let own = field.own(field.any(rng), cpu, rng);
            if rng.one_in(8) {
                want(&run.mm().thp, rng.one_in(2));
                run.inside(&field.space, || field.renew(run, cpu, own, rng))?;
            }
            let kept = &mut kept;
            run.inside(&field.space, || {
                field.visit(own, || turn(run, &field, cpu, own, kept, rng))?;
                check_all(run, &field, cpu, kept)
            })?;
            if rng.one_in(4) {
                field.visit(own, || fork(run, &field, cpu, own, kept, rng))?;
            }
            round += 1;
        }
        Ok(())
    })?;
    all_move_again(run, &field)
}

/// A page of a CPU's own that it has pinned.
struct Kept<'m, H: Hardware> {
    page: u64,
    pin: FolioPin<'m, H>,
    writes: bool,
    /// How often its content had been thrown away: once more, and the pin is all that has the frame.
    era: u16,
    /// Then, what it was first seen to hold.
    left: Option<[u64; WORDS.len()]>,
}

impl<H: Hardware> Kept<'_, H> {
    /// While it is mapped, the pinned frame is the page: either shows what the other was given. Afterwards it is
    /// as it was. The caller visits its block.
    fn check<W: World<Machine = H>>(
        &mut self,
        run: &Run<'_, W>,
        field: &Field<'_, H>,
        cpu: usize,
    ) -> Result<(), Failure> {
        let (page, frame) = (self.page, self.pin.pfn());
        if field.ledger.before(page).era() == self.era {
            field.write(run, cpu, page)?;
            field.look_behind(run, cpu, page, frame)?;
            if self.writes {
                field.write_behind(run, cpu, page, frame)?;
            }
            return stays(run, field, cpu, (page, self.era), frame);
        }
        // The last version that was written to it, whichever that was, or zeros.
        let found = words(run, frame);
        let known = Stamp::read(found[0]).map_or(0, |last| field.stamp(page, last.version).word());
        let left = *self.left.get_or_insert([known; WORDS.len()]);
        for ((offset, expected), found) in WORDS.into_iter().zip(left).zip(found) {
            if found != expected {
                let at = frame.base() + offset;
                return Err(Failure::WrongFrame { cpu, at, expected, found });
            }
        }
        Ok(())
    }
}

/// What a frame's words hold.
fn words<W: World>(run: &Run<'_, W>, frame: Pfn) -> [u64; WORDS.len()] {
    WORDS.map(|offset| run.mm().hw.peek(frame.base() + offset))
}

/// A pinned page cannot be moved, is mapped where it was pinned, and where it may be; unless its content has
/// been thrown away, since it was so often, and with it the mapping.
fn stays<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    (page, era): (u64, u16),
    frame: Pfn,
) -> Result<(), Failure> {
    let (mm, va) = (run.mm(), field.at(page));
    let moved = migrate(&field.space, &[va])?[0].is_ok();
    let mut mapped = None;
    mm.walk(field.space.root(), va, |level, _, entry, _| {
        mapped = entry.leaf().map(|leaf| leaf.pfn() + va.0 % level.span() / PAGE_SIZE);
    });
    let what = if moved {
        "a page that is pinned for long was moved"
    } else if mapped.is_some_and(|mapped| mapped != frame) {
        "another page than the one that is pinned for long"
    } else if mm.frames.is_movable_only(frame) {
        "a page that is pinned for long where memory is kept for what moves"
    } else {
        return Ok(());
    };
    let walk = keep_walk(&field.space, va);
    if field.ledger.after(page).era() != era {
        return Ok(());
    }
    Err(Failure::WrongEntry { cpu, va, what, walk })
}

/// Looks at all that is kept, but for blocks that are being renewed.
fn check_all<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    kept: &mut [Kept<'_, W::Machine>],
) -> Result<(), Failure> {
    kept.iter_mut().try_for_each(|kept| field.visit(kept.page, || kept.check(run, field, cpu)))
}

/// What was pinned, if it could be: not where others hold what would have to move first, or memory is short.
fn had<T>(pinned: Result<T, GupError>) -> Result<Option<T>, Failure> {
    match pinned {
        Ok(pinned) => Ok(Some(pinned)),
        Err(GupError::Unmovable(_) | GupError::OutOfMemory(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One turn in a block: gives a pin back or takes one, and disturbs.
fn turn<'m, W: World>(
    run: &Run<'m, W>,
    field: &Field<'m, W::Machine>,
    cpu: usize,
    own: u64,
    kept: &mut Vec<Kept<'m, W::Machine>>,
    rng: &mut Rng,
) -> Result<(), Failure> {
    field.write(run, cpu, own)?;
    if rng.one_in(2) {
        if kept.len() == KEPT {
            kept.swap_remove(rng.below(KEPT as u64) as usize);
        }
        if rng.one_in(3) {
            // What is pinned then is zeros, or nothing yet.
            field.forget(own)?;
            if rng.one_in(2) {
                field.look(run, cpu, own, rng)?;
            }
        }
        let access = if rng.one_in(2) { Access::Write } else { Access::Read };
        if kept.try_reserve(1).is_ok()
            && let Some(pin) = had(field.space.pin_longterm(field.at(own), access))?
        {
            let (era, writes) = (field.ledger.before(own).era(), access == Access::Write);
            let mut new = Kept { page: own, pin, writes, era, left: None };
            new.check(run, field, cpu)?;
            kept.push(new);
        }
    }
    if rng.one_in(2) {
        return disturb(run, field, cpu, own, rng);
    }
    pin_many(run, field, cpu, own, rng)
}

/// Pins pages in a row to read, whoever writes them, and sees them go on being written.
#[inline(never)]
fn pin_many<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let first = field.near(own, rng);
    let pages = (1 + rng.below(MANY as u64)).min(BLOCK - first % BLOCK);
    let mut before = [field.ledger.before(first); MANY];
    for (before, page) in before.iter_mut().zip(first..first + pages) {
        *before = field.ledger.before(page);
    }
    let mut room = [gup::Run::EMPTY; MANY];
    let pinned = field.space.pin_longterm_many(field.at(first), pages, Access::Read, &mut room);
    let Some(held) = had(pinned)? else { return Ok(()) };
    disturb(run, field, cpu, own, rng)?;
    for ((page, before), frame) in (first..).zip(before).zip(held.iter()) {
        let now = field.ledger.before(page);
        let found = words(run, frame);
        // Thrown away on the way it is another page, or was never this one.
        if before.zero || field.ledger.after(page).era() != before.era() {
            continue;
        }
        for word in found {
            field.judge(run, (&field.space, cpu), (page, now), word)?;
        }
        stays(run, field, cpu, (page, before.era()), frame)?;
    }
    Ok(())
}

/// Does something to a block that should not concern what is pinned there.
fn disturb<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let (space, near) = (&field.space, field.near(own, rng));
    match rng.below(8) {
        0 => space.split_block(field.at(near)),
        1 => field.split_folio(near, Order(4 * rng.below(2) as u8))?,
        2 => match field.collapse(near) {
            // Of part of the block the rights are others just now.
            Err(Failure::Refused(Refusal::Collapse(CollapseError::NoArea(_)))) => {}
            collapsed => collapsed?,
        },
        3 => field.forget(own)?,
        4 => {
            let page = VirtRange::from_size(field.at(own), PAGE_SIZE);
            space.protect(page, Prot::Read)?;
            if run.world.store(space, page.start, 0).is_ok() {
                return Err(run.not_denied(space, cpu, page.start, Access::Write));
            }
            space.protect(page, Prot::ReadWrite)?;
        }
        5 if rng.one_in(4) => {
            run.mm().compact(1)?;
        }
        _ => field.migrate(space, near, rng)?,
    }
    Ok(())
}

/// Forks: the child sees nothing of what is written then, before the mapping or behind it.
fn fork<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    kept: &mut [Kept<'_, W::Machine>],
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut snapshot = Snapshot::begin(field, own, rng);
    let child = field.space.fork()?;
    snapshot.end(field);
    run.inside(&field.space, || {
        field.write(run, cpu, own)?;
        check_all(run, field, cpu, kept)
    })?;
    run.inside(&child, || snapshot.check(run, field, &child, cpu))
}

/// Nobody holds anything any more, so pages move that were pinned.
fn all_move_again<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
) -> Result<(), Failure> {
    for page in (0..field.range.pages()).step_by(7) {
        let held = |moved| matches!(moved, Err(MigrateError::Busy { .. } | MigrateError::Locked));
        let mut tries = 0;
        while held(migrate(&field.space, &[field.at(page)])?[0]) {
            tries += 1;
            if tries == TRIES {
                let (va, what) =
                    (field.at(page), "a page that nobody pins any more cannot be moved");
                let walk = keep_walk(&field.space, va);
                return Err(Failure::WrongEntry { cpu: 0, va, what, walk });
            }
            run.world.yield_now();
        }
    }
    Ok(())
}
