//! `chaos`: everything at once. All CPUs map, unmap, protect, advise, move, migrate, fork, split, freeze, pin
//! and touch the same few spaces at random, and one of them takes nearly all memory away now and then.
//!
//! Hunted: what the other workloads do not meet because each does one thing. So little can be said of what
//! a page must hold at a given moment, but never anything else than zeros, or its own stamp in a version
//! that its writer has begun, and none older than the last he finished; what is held stays as it is; what
//! was moved arrives; and memory that is hoarded is nobody else's.
//!
//! | file | concern |
//! | --- | --- |
//! | `touch` | reading and writing where that may be denied; pins; copies |
//! | `change` | areas, rights, advice, splits, moves from address to address and from frame to frame |

mod change;
mod touch;

use super::field::Field;
use super::hoard::Hoard;
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::{Order, PAGE_SIZE, PMD_SIZE};
use core::sync::atomic::{AtomicBool, Ordering};
use mm::{Denial, FaultOutcome};

/// The first space's number in stamps.
const OURS: u8 = 20;
/// Shared spaces, all of them with memory at the same addresses.
const SPACES: usize = 3;
/// With less memory nothing would happen but refusals.
const LEAST_BYTES: u64 = 8 * PMD_SIZE;
/// Pages that a hoarder leaves, at least.
const LEFT_PAGES: u64 = 32;

/// One CPU in one of the spaces.
struct Player<'a, 'm, W: World> {
    run: &'a Run<'m, W>,
    field: &'a Field<'m, W::Machine>,
    cpu: usize,
}

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let bytes = run.options.bytes.max(LEAST_BYTES);
    // Memory beyond what is worked on is set aside, so that running out takes no time.
    let surplus = Hoard::all_but(run.mm(), bytes / PAGE_SIZE, Order::MAX)?;
    let field = |n: usize| Field::new(run, bytes / 8, OURS + n as u8).map(Field::fleeting);
    let fields: [Field<'_, W::Machine>; SPACES] = [field(0)?, field(1)?, field(2)?];
    let hoarding = AtomicBool::new(false);
    run.rounds(watch, |cpu, rng| {
        let field = &fields[rng.below(SPACES as u64) as usize];
        let player = Player { run, field, cpu };
        match rng.below(16) {
            0 | 1 => player.fork(rng),
            2 => {
                run.mm().shrink(rng.below(1024));
                run.mm().reclaim_lazy(rng.below(64));
                Ok(())
            }
            3 if rng.one_in(4) && !hoarding.swap(true, Ordering::Relaxed) => {
                let result = hoard(run, cpu, &fields, rng);
                hoarding.store(false, Ordering::Relaxed);
                result
            }
            _ => player.play(rng),
        }
    })?;
    drop(surplus);
    Ok(())
}

/// Takes nearly all memory for a while, in pieces of one size.
fn hoard<W: World>(
    run: &Run<'_, W>,
    cpu: usize,
    fields: &[Field<'_, W::Machine>],
    rng: &mut Rng,
) -> Result<(), Failure> {
    let order = [Order::MAX, Order::PMD, Order(4), Order::PAGE][rng.below(4) as usize];
    // The kernel's own memory may not suffice to remember it all.
    let Ok(hoard) = Hoard::all_but(run.mm(), LEFT_PAGES + rng.below(1024), order) else {
        return Ok(());
    };
    hoard.mark();
    for field in fields {
        Player { run, field, cpu }.play(rng)?;
    }
    let Some((at, expected, found)) = hoard.disturbed() else { return Ok(()) };
    Err(Failure::WrongFrame { cpu, at, expected, found })
}

impl<W: World> Player<'_, '_, W> {
    /// A few moves, inside the space.
    fn play(&self, rng: &mut Rng) -> Result<(), Failure> {
        self.run.inside(&self.field.space, || {
            for _ in 0..rng.below(16) {
                match rng.below(32) {
                    0..=9 => self.write(rng)?,
                    10..=11 => self.migrate(rng)?,
                    12..=18 => self.read(rng)?,
                    19..=21 => self.hold(rng)?,
                    22..=25 => self.change_area(rng)?,
                    26..=27 => self.advise(rng)?,
                    28..=29 => self.split(rng)?,
                    30 => self.freeze(rng)?,
                    _ => self.travel(rng)?,
                }
                self.run.did(1);
            }
            Ok(())
        })
    }
}

/// Whether an access may end so where areas come and go and memory is short.
const fn is_usual(outcome: FaultOutcome) -> bool {
    matches!(
        outcome,
        FaultOutcome::Denied(Denial::NoArea | Denial::Rights(_)) | FaultOutcome::OutOfMemory(_)
    )
}
