//! Moving folios to other frames: what arrives there, what it costs, and that what cannot be moved has not
//! changed. The races are in `rmap`, and by step in `invariants`.

use crate::common::{Untouched, machines};
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::Flag;
use mm::mutant::Mutant;
use mm::thp::Policy;
use mm::{Destination, Huge, MigrateError, Moved, Place, Space};
use pte::Leaf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;

/// What memory comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Small,
    Sets,
    Huge,
}

const KINDS: [Kind; 3] = [Kind::Small, Kind::Sets, Kind::Huge];

fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

/// Says in what memory comes from now on.
fn set_kind(world: &SimWorld, kind: Kind) {
    let policy = |given| if given { Policy::Always } else { Policy::Never };
    world.mm().thp.set_enabled(policy(kind == Kind::Huge));
    world.mm().thp.set_enabled_64k(Some(policy(kind == Kind::Sets)));
}

/// A space with `blocks` huge pages' worth of memory, each page with its number in it.
fn stamped(world: &SimWorld, kind: Kind, blocks: u64) -> Space<'_, Machine> {
    set_kind(world, kind);
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), blocks * PMD_SIZE, RW, Huge::Default).expect("free");
    world.inside(&space, &mut || {
        for n in 0..blocks * 512 {
            world.store(&space, page(n), n).expect("mapped");
        }
    });
    space
}

fn check_stamps(world: &SimWorld, space: &Space<'_, Machine>, pages: u64) {
    world.inside(space, &mut || {
        for n in 0..pages {
            assert_eq!(world.load(space, page(n)), Ok(n));
        }
    });
}

/// The leaf that maps `va`.
fn leaf(space: &Space<'_, Machine>, va: VirtAddr) -> Leaf {
    let mut found = None;
    space.mm().walk(space.root(), va, |_, _, entry, _| found = entry.leaf());
    found.expect("mapped")
}

/// The frame of the page at `va`.
fn frame(space: &Space<'_, Machine>, va: VirtAddr) -> Pfn {
    let leaf = leaf(space, va);
    leaf.pfn() + va.0 % leaf.level().span() / PAGE_SIZE
}

fn move_all(space: &Space<'_, Machine>, pages: impl Iterator<Item = u64>) -> Vec<Moved> {
    let pages: Vec<_> = pages.map(page).collect();
    let mut moved = vec![Err(MigrateError::NotMapped); pages.len()];
    space.move_pages(&pages, Destination::Anywhere, &mut moved).expect("memory for the batch");
    moved
}

#[test]
fn what_arrives_is_what_left() {
    for config in machines() {
        for kind in KINDS {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let space = stamped(&world, kind, 1);
            // Not all pages permit the same.
            space
                .protect(abi::VirtRange::from_size(page(32), PAGE_SIZE * 16), Prot::Read)
                .expect("area");
            let before: Vec<_> = (0..512).map(|n| leaf(&space, page(n))).collect();
            let frames: Vec<_> = (0..512).map(|n| frame(&space, page(n))).collect();
            for (n, moved) in (0..512).zip(move_all(&space, 0..512)) {
                let (old, new) = (before[n as usize], leaf(&space, page(n)));
                assert_eq!(moved, Ok(frame(&space, page(n))), "{kind:?} {n}");
                assert_ne!(frames[n as usize], frame(&space, page(n)), "{kind:?} {n}");
                assert_eq!(
                    (new.level(), new.prot(), new.is_young(), new.is_dirty(), new.is_contiguous()),
                    (old.level(), old.prot(), old.is_young(), old.is_dirty(), old.is_contiguous()),
                );
            }
            world.mm().audit().expect("nothing is broken");
            check_stamps(&world, &space, 512);
            assert_eq!(world.mm().stats.total(Event::PgMigrated), 512);
            drop(space);
            untouched.check(&world);
        }
    }
}

/// A folio that children share is one folio afterwards too, for all of them.
#[test]
fn what_is_shared_stays_shared() {
    for kind in KINDS {
        let world = SimWorld::new(machines()[1]);
        let untouched = Untouched::new(&world);
        let space = stamped(&world, kind, 1);
        let child = space.fork().expect("memory");
        let grandchild = child.fork().expect("memory");
        world.inside(&child, &mut || world.store(&child, page(3), 77).expect("mapped"));
        assert!(move_all(&space, 0..512).iter().all(Result::is_ok), "{kind:?}");
        for n in [0, 15, 16, 511] {
            assert_eq!(frame(&space, page(n)), frame(&grandchild, page(n)), "{kind:?}");
            assert!(!leaf(&space, page(n)).is_writable());
        }
        world.mm().audit().expect("nothing is broken");
        check_stamps(&world, &space, 512);
        check_stamps(&world, &grandchild, 512);
        world.inside(&child, &mut || assert_eq!(world.load(&child, page(3)), Ok(77)));
        drop((space, child, grandchild));
        untouched.check(&world);
    }
}

/// For a batch, huge pages or small ones, whatever its size: one barrier before and one after its flush.
#[test]
fn a_batch_is_flushed_once() {
    for config in machines() {
        for (kind, blocks) in [(Kind::Small, 1), (Kind::Sets, 1), (Kind::Huge, 8)] {
            let world = SimWorld::new(Config { pages: 16384, ..config });
            let space = stamped(&world, kind, blocks);
            let counts = |event| world.mm().stats.total(event);
            let barriers = || (counts(Event::DsbPublish), counts(Event::DsbComplete));
            let (published, completed) = barriers();
            let step = if kind == Kind::Huge { 512 } else { 1 };
            let moved = move_all(&space, (0..blocks * 512).step_by(step));
            assert!(moved.iter().all(Result::is_ok));
            assert_eq!(barriers(), (published + 1, completed + 1), "{kind:?}");
            check_stamps(&world, &space, blocks * 512);
        }
    }
}

/// What is pinned, or held, or no folio, stays as it is, with the reason; the rest of the batch moves.
#[test]
fn what_is_held_stays() {
    for kind in KINDS {
        let world = SimWorld::new(machines()[0]);
        let untouched = Untouched::new(&world);
        let space = stamped(&world, kind, 2);
        let nothing = page(3 * 512);
        let pinned = space.pin(page(5), Access::Write).expect("mapped");
        let held = space.gup(page(600), Access::Read).expect("mapped");
        let frames = [frame(&space, page(5)), frame(&space, page(600))];
        let words = [leaf(&space, page(5)).word(), leaf(&space, page(600)).word()];
        let wanted = [page(5), page(600), nothing, VirtAddr(1 << 50)];
        let mut moved = [Ok(Pfn(0)); 4];
        space.move_pages(&wanted, Destination::Anywhere, &mut moved).expect("memory");
        assert!(moved[..2].iter().all(|moved| matches!(moved, Err(MigrateError::Busy { .. }))));
        assert_eq!(moved[2..], [Err(MigrateError::NotMapped); 2]);
        assert_eq!(frames, [frame(&space, page(5)), frame(&space, page(600))]);
        assert_eq!(words, [leaf(&space, page(5)).word(), leaf(&space, page(600)).word()]);
        assert_eq!((pinned.pfn(), held.pfn()), (frames[0], frames[1]));
        drop((pinned, held));
        assert!(move_all(&space, [5, 600].into_iter()).iter().all(Result::is_ok), "{kind:?}");
        check_stamps(&world, &space, 1024);
        world.mm().audit().expect("nothing is broken");
        drop(space);
        untouched.check(&world);
    }
}

/// How somebody has a page in hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Grip {
    Reference,
    Lock,
    Pin,
}

/// One CPU has page 600 in hand while another moves what is wanted. Says what was moved, and how often the
/// first one had a turn before the other was done; it lets go after a few.
fn moved_meanwhile(kind: Kind, wanted: &[VirtAddr], grip: Grip) -> (Vec<Moved>, u64) {
    const TURNS: u64 = 4;
    let world = SimWorld::new(Config { cpus: 2, ..machines()[0] });
    let untouched = Untouched::new(&world);
    let space = stamped(&world, kind, 2);
    let (began, done, turns) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let moved = Mutex::new(vec![Err(MigrateError::NotMapped); wanted.len()]);
    let moves = || {
        while !began.load(SeqCst) {
            world.yield_now();
        }
        let mut moved = moved.lock().expect("no panic");
        space.move_pages(wanted, Destination::Anywhere, &mut moved).expect("memory");
        done.store(true, SeqCst);
    };
    let holds = || {
        let taken = (
            (grip == Grip::Reference).then(|| space.gup(page(600), Access::Read).expect("mapped")),
            (grip == Grip::Lock)
                .then(|| space.freeze_folio_at(page(600)).expect("nobody holds it")),
            (grip == Grip::Pin).then(|| space.pin(page(600), Access::Write).expect("mapped")),
        );
        began.store(true, SeqCst);
        world.yield_now();
        while !done.load(SeqCst) && turns.fetch_add(1, SeqCst) < TURNS {
            world.yield_now();
        }
        drop(taken);
    };
    // Nobody is interrupted: the other one runs when one waits.
    world.weave([0, 0], &moves, &holds);
    let moved = moved.into_inner().expect("no panic");
    for (va, moved) in wanted.iter().zip(&moved) {
        assert!(moved.is_err() || *moved == Ok(frame(&space, *va)), "{kind:?} {va}");
    }
    check_stamps(&world, &space, 1024);
    world.mm().audit().expect("nothing is broken");
    drop(space);
    untouched.check(&world);
    (moved, turns.into_inner())
}

/// A reference or a lock is waited for; so all of it moves, each folio once.
#[test]
fn what_is_held_for_a_moment_is_moved_after_all() {
    for kind in KINDS {
        // Not the first of the batch, and one of them by two of its pages.
        let wanted = [5, 600, 601, 40, 600].map(page);
        for grip in [Grip::Reference, Grip::Lock] {
            let (moved, turns) = moved_meanwhile(kind, &wanted, grip);
            assert!(moved.iter().all(Result::is_ok), "{kind:?} {grip:?}: {moved:?}");
            assert!(turns > 1, "{kind:?} {grip:?}: nobody waited");
        }
    }
}

/// A pin is not for a moment: it is told at once.
#[test]
fn nobody_waits_for_a_pin() {
    for kind in KINDS {
        let wanted = [5, 600].map(page);
        let (moved, turns) = moved_meanwhile(kind, &wanted, Grip::Pin);
        assert!(moved[0].is_ok() && matches!(moved[1], Err(MigrateError::Busy { .. })), "{kind:?}");
        assert_eq!(turns, 0, "{kind:?}: waited");
    }
}

/// Zeros that everybody shares are nobody's to move.
#[test]
fn zeros_stay() {
    for kind in KINDS {
        let world = SimWorld::new(machines()[0]);
        set_kind(&world, kind);
        let space = Space::new(world.mm()).expect("memory");
        space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
        world.inside(&space, &mut || assert_eq!(world.load(&space, VA), Ok(0)));
        let moved = move_all(&space, 0..1);
        assert!(
            moved == [Err(MigrateError::NotMapped)] || moved == [Err(MigrateError::NotAnonymous)]
        );
    }
}

/// Without memory for some, those stay, and nothing is lost; each allocation fails once.
#[test]
fn without_memory_folios_stay_where_they_are() {
    for kind in KINDS {
        let world = SimWorld::new(machines()[1]);
        let untouched = Untouched::new(&world);
        let space = stamped(&world, kind, 1);
        let mm = world.mm();
        // All but a few pages are somebody else's.
        let few: Vec<_> = (0..40).map(|_| mm.alloc(Order::PAGE).expect("memory")).collect();
        let mut hoard = Vec::new();
        for order in (0..=Order::MAX.0).rev().map(Order) {
            while let Ok(block) = mm.alloc(order) {
                hoard.push(block);
            }
        }
        few.into_iter().for_each(|block| mm.free(block));
        let moved = move_all(&space, 0..512);
        let refused = |moved: &Moved| matches!(moved, Err(MigrateError::OutOfMemory(_)));
        assert!(moved.iter().any(refused), "{kind:?}");
        assert!(moved.iter().all(|moved| moved.is_ok() || refused(moved)), "{kind:?}");
        check_stamps(&world, &space, 512);
        mm.audit().expect("nothing is broken");
        hoard.drain(..).for_each(|block| mm.free(block));
        assert!(move_all(&space, 0..512).iter().all(Result::is_ok), "{kind:?}");
        check_stamps(&world, &space, 512);
        drop(space);
        untouched.check(&world);
    }
}

/// A folio that is mapped in part is so where it goes, and is split there when memory is short.
#[test]
fn a_folio_mapped_in_part_moves_with_its_rest() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = stamped(&world, Kind::Huge, 1);
    space.unmap(abi::VirtRange::from_size(page(16), 400 * PAGE_SIZE)).expect("an area");
    assert!(move_all(&space, 0..1)[0].is_ok());
    let head = world.mm().frames.map().head(frame(&space, VA)).expect("a folio");
    assert!(world.mm().frames.map().desc(head).has(Flag::Queued));
    world.mm().audit().expect("nothing is broken");
    assert!(world.mm().shrink(u64::MAX) >= 400);
    check_stamps(&world, &space, 16);
    drop(space);
    untouched.check(&world);
}

#[test]
fn a_folio_that_forgets_that_it_was_written_is_caught() {
    let forgets = |mutant| {
        let world = SimWorld::new(machines()[0]);
        world.mm().arm(mutant);
        let space = Box::leak(Box::new(stamped(Box::leak(Box::new(world)), Kind::Small, 1)));
        let _ = move_all(space, 0..1);
        let desc = space.mm().frames.map().desc(frame(space, VA));
        !leaf(space, VA).is_dirty() && !desc.has(Flag::Dirty)
    };
    assert!(!forgets(None));
    let bug = Mutant::MigrateForgetsDirt;
    assert!(evidence::model_notices(bug.name(), || forgets(Some(bug))));
}
