//! Every kind of huge entry is split on one CPU while another does something else to the same 2 MiB: at
//! the end the memory is what it should be, and every rule holds.

use super::huge::{RW, VA, entry, page, stamped};
use crate::common::{Untouched, machines};
use abi::{Access, Level, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::{Advice, Denial, FaultOutcome, Frozen, Huge, Move, Place, Space};
use pte::Entry;
use std::sync::Mutex;
use stress::World;

/// What the entry is that is split.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    /// Nobody else's.
    Own,
    /// Mapped in another space too, read-only.
    Shared,
    /// Nobody else's, and without any right.
    NoRights,
    /// Zeros that everybody shares.
    Zeros,
    /// Taken away for the moment.
    Migration,
    /// Taken away, of memory that another space has too.
    SharedMigration,
}

const KINDS: [Kind; 6] =
    [Kind::Own, Kind::Shared, Kind::NoRights, Kind::Zeros, Kind::Migration, Kind::SharedMigration];

/// What the other CPU does.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Other {
    Load,
    Store,
    Get,
    Pin,
    UnmapPage,
    UnmapAll,
    Forget,
    Protect,
    Unprotect,
    Split,
    SplitFolio,
    Freeze,
    Fork,
    Move,
    Exit,
}

const OTHERS: [Other; 15] = [
    Other::Load,
    Other::Store,
    Other::Get,
    Other::Pin,
    Other::UnmapPage,
    Other::UnmapAll,
    Other::Forget,
    Other::Protect,
    Other::Unprotect,
    Other::Split,
    Other::SplitFolio,
    Other::Freeze,
    Other::Fork,
    Other::Move,
    Other::Exit,
];

const WHOLE: VirtRange = VirtRange::from_size(VA, PMD_SIZE);

/// The page that the other CPU is about.
const HERE: u64 = 100;

fn against(config: Config, kind: Kind, other: Other) {
    let world = SimWorld::new(config);
    let mm = world.mm();
    let untouched = Untouched::new(&world);
    let space = if kind == Kind::Zeros {
        let space = Space::new(mm).expect("memory");
        space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
        assert_eq!(space.fault(VA, Access::Read), FaultOutcome::Mapped);
        space
    } else {
        stamped(&world)
    };
    let shares = matches!(kind, Kind::Shared | Kind::SharedMigration);
    let sibling = Mutex::new(shares.then(|| space.fork().expect("memory")));
    let children: Mutex<Vec<Space<'_, Machine>>> = Mutex::new(Vec::new());
    if kind == Kind::NoRights {
        space.protect(WHOLE, Prot::None).expect("an area");
    }
    let freezes = matches!(kind, Kind::Migration | Kind::SharedMigration);
    let frozen: Mutex<Option<Frozen<'_, Machine>>> =
        Mutex::new(freezes.then(|| space.freeze_folio_at(VA).expect("nobody holds it")));
    assert_eq!(entry(&space, VA).0, Level::Pmd);
    let rights = if kind == Kind::NoRights { Prot::None } else { RW };
    let word = if kind == Kind::Zeros { 0 } else { HERE };
    let denied = Err(FaultOutcome::Denied(Denial::Rights(Prot::None)));
    let act = || match other {
        Other::Load => {
            let expected = if rights == RW { Ok(word) } else { denied };
            assert_eq!(world.load(&space, page(HERE)), expected);
        }
        Other::Store => {
            let stored = world.store(&space, page(HERE), word + 1);
            assert_eq!(stored.is_ok(), rights == RW);
        }
        Other::Get => drop(space.gup(page(HERE), Access::Read)),
        Other::Pin => drop(space.pin(page(HERE), Access::Write)),
        Other::UnmapPage => {
            space.unmap(VirtRange::from_size(page(HERE), PAGE_SIZE)).expect("memory");
        }
        Other::UnmapAll => space.unmap(WHOLE).expect("memory"),
        Other::Forget => {
            let page = VirtRange::from_size(page(HERE), PAGE_SIZE);
            space.advise(page, Advice::DontNeed).expect("an area");
        }
        Other::Protect => {
            let page = VirtRange::from_size(page(HERE), PAGE_SIZE);
            space.protect(page, Prot::Read).expect("an area");
        }
        Other::Unprotect => space.protect(WHOLE, RW).expect("an area"),
        Other::Split => space.split_block(VA),
        Other::SplitFolio => drop(space.split_folio_at(page(HERE), Order::PAGE)),
        Other::Freeze => drop(space.freeze_folio_at(page(HERE))),
        Other::Fork => children.lock().expect("no panic").push(space.fork().expect("memory")),
        Other::Move => {
            space.remap(WHOLE, PMD_SIZE, Move::To(VA + 4 * PMD_SIZE)).expect("free");
        }
        Other::Exit => drop(sibling.lock().expect("no panic").take()),
    };
    let body = |cpu| {
        (0..(config.seed >> cpu) % 5).for_each(|_| world.yield_now());
        if cpu == 0 {
            space.split_block(VA);
            drop(frozen.lock().expect("no panic").take());
        } else {
            world.inside(&space, &mut || act());
        }
    };
    world.run(2, &body, &mut || ());
    assert_eq!(world.violation(), None);
    mm.audit().expect("nothing is broken");
    check(&world, &space, kind, other);
    for child in children.into_inner().expect("no panic") {
        check(&world, &child, kind, Other::Fork);
    }
    if let Some(sibling) = sibling.into_inner().expect("no panic") {
        check(&world, &sibling, kind, Other::Get);
    }
    drop(space);
    untouched.check(&world);
}

/// All of the 2 MiB is what it was, but for what the other CPU did.
fn check(world: &SimWorld, space: &Space<'_, Machine>, kind: Kind, other: Other) {
    if other == Other::UnmapAll {
        return assert!(matches!(entry(space, VA).1, Entry::None));
    }
    let base = if other == Other::Move { VA + 4 * PMD_SIZE } else { VA };
    let readable = kind != Kind::NoRights || matches!(other, Other::Protect | Other::Unprotect);
    world.inside(space, &mut || {
        for n in [0, 1, HERE - 1, HERE, HERE + 1, 511] {
            let found = world.load(space, base + n * PAGE_SIZE);
            let word = match other {
                _ if n == HERE && other == Other::UnmapPage => {
                    assert_eq!(found, Err(FaultOutcome::Denied(Denial::NoArea)));
                    continue;
                }
                _ if !readable
                    || (other == Other::Protect && n != HERE && kind == Kind::NoRights) =>
                {
                    assert!(found.is_err(), "page {n}: {found:?}");
                    continue;
                }
                Other::Forget if n == HERE => 0,
                Other::Store if n == HERE && kind == Kind::Zeros => 1,
                Other::Store if n == HERE => n + 1,
                _ if kind == Kind::Zeros => 0,
                _ => n,
            };
            assert_eq!(found, Ok(word), "page {n}");
        }
    });
}

#[test]
fn a_split_and_anything_else_come_out_right() {
    for kind in KINDS {
        for other in OTHERS {
            for seed in 1..9 {
                let caps = machines()[seed as usize % 4].caps;
                let config = Config { caps, seed, cpus: 2, pages: 4096, ..Config::default() };
                let result = std::panic::catch_unwind(|| against(config, kind, other));
                assert!(result.is_ok(), "{kind:?} against {other:?}, seed {seed}");
            }
        }
    }
}
