//! `move-pages`: batches of addresses, as a program hands them in: pages of small folios and large ones,
//! the same one twice, holes, and zeros that everybody shares; of each the answer is checked.
//!
//! Hunted: an answer at the wrong place of the list; a folio that is moved twice in one batch, or locked
//! twice and never released; zeros that get a frame of their own, or a new place for everybody; a failure
//! of one that is another's. An answer would be one that cannot be, the batch would not end, or a page
//! would not show what its writer has finished.

use super::field::{BATCH, BLOCK, Field, migrate};
use crate::rng::Rng;
use crate::run::{Failure, Run, keep_walk};
use crate::world::World;
use abi::{Order, PAGE_SIZE, Prot, VirtAddr};
use mm::{Advice, Hardware, Huge, MigrateError, Moved, Place};

/// The space's number in stamps.
const OURS: u8 = 33;
/// Where there are zeros and nothing else; below and above there is nothing.
const ZEROS: VirtAddr = VirtAddr(3 << 38);
/// How many pages of them.
const PAGES: u64 = 16;

/// What is at an address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Hole,
    Zeros,
    /// A page that nobody throws away now, and that was written.
    Written,
    /// Whatever others have just made of it.
    Anything,
}

pub(super) fn run<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    let field = Field::new(run, run.options.bytes / 2, OURS)?;
    let zeros = field.space.map(Place::At(ZEROS), PAGES * PAGE_SIZE, Prot::Read, Huge::Never)?;
    field.space.advise(zeros, Advice::PopulateRead)?;
    field.drive(run, watch, |cpu, rng| {
        let own = field.own(field.any(rng), cpu, rng);
        if rng.one_in(8) {
            field.renew(run, cpu, own, rng)?;
        }
        field.visit(own, || {
            field.write(run, cpu, own)?;
            if rng.one_in(4) {
                let order = Order(rng.below(u64::from(Order::PMD.0)) as u8);
                field.split_folio(field.near(own, rng), order)?;
            }
            move_some(run, &field, cpu, own, rng)?;
            field.look(run, cpu, field.near(own, rng), rng)?;
            field.write(run, cpu, own)
        })
    })
}

/// Moves a batch, and looks at the answers.
fn move_some<W: World>(
    run: &Run<'_, W>,
    field: &Field<'_, W::Machine>,
    cpu: usize,
    own: u64,
    rng: &mut Rng,
) -> Result<(), Failure> {
    let mut pages = [field.at(own); BATCH];
    let mut there = [There::Written; BATCH];
    for n in 1..BATCH {
        (pages[n], there[n]) = match rng.below(8) {
            // Once more.
            0 => (pages[rng.below(n as u64) as usize], There::Anything),
            1 => (ZEROS - (1 + rng.below(BLOCK)) * PAGE_SIZE, There::Hole),
            2 => (ZEROS + rng.below(PAGES) * PAGE_SIZE, There::Zeros),
            3 => (field.at(field.any(rng)), There::Anything),
            _ => near(field, own, rng),
        };
    }
    let moved = migrate(&field.space, &pages)?;
    for n in 0..BATCH {
        let twin = (0..n).find(|&twin| pages[twin] == pages[n] && moved[twin].is_ok());
        let what = match (wrong(there[n], moved[n]), twin) {
            (Some(what), _) => what,
            // One that is tried again may have been moved by others in between; where there are none it is moved
            // once.
            (None, Some(twin))
                if run.options.cpus == 1 && moved[n].is_ok() && moved[n] != moved[twin] =>
            {
                "one page was moved to two places"
            }
            _ => continue,
        };
        let walk = keep_walk(&field.space, pages[n]);
        return Err(Failure::WrongEntry { cpu, va: pages[n], what, walk });
    }
    run.did(BATCH as u64);
    Ok(())
}

/// A page of the same block, and what is known of it.
fn near<H: Hardware>(field: &Field<'_, H>, own: u64, rng: &mut Rng) -> (VirtAddr, There) {
    let page = field.near(own, rng);
    let there = if field.was_written(page) { There::Written } else { There::Anything };
    (field.at(page), there)
}

/// What is wrong about the answer, if anything is.
const fn wrong(there: There, moved: Moved) -> Option<&'static str> {
    match (there, moved) {
        (There::Hole, Err(MigrateError::NotMapped)) => None,
        (There::Hole, _) => Some("a hole was found mapped"),
        // A page of zeros is no folio, a huge one is nobody's.
        (There::Zeros, Err(MigrateError::NotMapped | MigrateError::NotAnonymous)) => None,
        (There::Zeros, _) => Some("everybody's zeros were found to be somebody's"),
        (There::Written, Err(MigrateError::NotAnonymous)) => {
            Some("what was written was found to be nobody's")
        }
        _ => None,
    }
}
