//! Free 2 MiB blocks out of fragmented memory: how many there are, what is left alone, who asks for them.

use crate::common::{Untouched, machines};
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::compact::Compacted;
use mm::frame::PAGE_BLOCK;
use mm::mutant::Mutant;
use mm::thp::Defrag;
use mm::{Advice, FaultOutcome, Hardware, Huge, Place, Space};
use std::sync::atomic::{AtomicBool, Ordering};
use stress::{Rng, World};

const VA: VirtAddr = VirtAddr(1 << 40);
/// Where a huge page is asked for.
const ELSEWHERE: VirtAddr = VirtAddr(2 << 40);
const PAGES: u64 = 8192;

fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

fn free(world: &SimWorld) -> u64 {
    world.mm().frames.free_pages(&world.mm().hw)
}

/// Free pages in blocks of 2 MiB and more.
fn huge(world: &SimWorld) -> u64 {
    world.mm().frames.drain(&world.mm().hw);
    let blocks = world.mm().frames.free_blocks(&world.mm().hw);
    (Order::PMD.0..=Order::MAX.0).map(|order| blocks[order as usize] << order).sum()
}

/// All of memory in one space, page by page, then so many of a hundred given back, anywhere. Says which
/// pages are left; each has its number in it.
fn fragment<'w>(world: &'w SimWorld, gone: u64, seed: u64) -> (Space<'w, Machine>, Vec<u64>) {
    let space = Space::new(world.mm()).expect("memory");
    // The rest is for tables.
    let pages = free(world) / 128 * 127;
    space.map(Place::At(VA), pages * PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("room");
    for n in 0..pages {
        assert_eq!(space.fault(page(n), Access::Write), FaultOutcome::Mapped);
    }
    let mut rng = Rng::new(seed, "fragment", 0);
    let mut left: Vec<_> = (0..pages).collect();
    for _ in 0..pages * gone / 100 {
        let n = left.swap_remove(rng.below(left.len() as u64) as usize);
        let range = VirtRange::from_size(page(n), PAGE_SIZE);
        space.advise(range, Advice::DontNeed).expect("mapped");
    }
    for n in &left {
        world.mm().hw.poke(frame(&space, *n).base(), *n);
    }
    (space, left)
}

/// The frame of a page.
fn frame(space: &Space<'_, Machine>, n: u64) -> Pfn {
    let mut found = None;
    space.mm().walk(space.root(), page(n), |_, _, entry, _| found = entry.leaf());
    found.expect("mapped").pfn()
}

fn check(world: &SimWorld, space: &Space<'_, Machine>, left: &[u64]) {
    for n in left {
        assert_eq!(world.mm().hw.peek(frame(space, *n).base()), *n, "page {n}");
    }
    assert_eq!(world.verdict(), None);
    assert_eq!(world.mm().frames.isolated_pages(&world.mm().hw), 0);
}

#[test]
fn nearly_all_that_is_free_becomes_huge() {
    for (config, seed) in machines().into_iter().zip(1..) {
        let world = SimWorld::new(Config { pages: PAGES, ..config });
        let untouched = Untouched::new(&world);
        let (space, left) = fragment(&world, 25, seed);
        let before = free(&world);
        assert_eq!(huge(&world), 0, "it is fragmented");
        let done = world.mm().compact(u64::MAX).expect("memory for the work");
        assert_eq!(free(&world), before);
        // But for a part of one block, and what is free beside the tables.
        assert!(
            huge(&world) + 512 + theirs(&world) > before,
            "{} of {before}: {done}",
            huge(&world)
        );
        assert_eq!(world.mm().stats.total(Event::CompactBlock), done.made);
        // No page is moved twice, and none that need not be.
        assert!(done.moved <= before * 3, "{done}");
        assert_eq!(done.busy, 0);
        check(&world, &space, &left);
        // There is nothing left to do.
        let again = world.mm().compact(u64::MAX).expect("memory for the work");
        assert_eq!(again, Compacted::default());
        drop(space);
        untouched.check(&world);
    }
}

/// Free pages of page blocks in which something does not move.
fn theirs(world: &SimWorld) -> u64 {
    let blocks = (0..PAGES / 512).map(|n| world.mm().frames.map().range().start.pfn() + n * 512);
    let seen = blocks.map(|block| world.mm().frames.survey(block));
    seen.filter(|seen| seen.unmovable > 0).map(|seen| seen.free).sum()
}

/// Fragmented to pages, and three quarters in use.
#[test]
fn of_much_memory_nine_tenths_become_huge() {
    let world = SimWorld::new(Config { pages: 8 * PAGES, cpus: 1, ..Config::default() });
    let (space, left) = fragment(&world, 25, 9);
    let before = free(&world);
    assert_eq!(huge(&world), 0);
    let done = world.mm().compact(u64::MAX).expect("memory for the work");
    assert!(huge(&world) * 10 >= before * 9, "{} of {before}: {done}", huge(&world));
    check(&world, &space, &left);
}

#[test]
fn no_more_than_is_wanted() {
    let world = SimWorld::new(Config { pages: PAGES, cpus: 1, ..Config::default() });
    let (_space, _) = fragment(&world, 50, 7);
    let before = huge(&world);
    let done = world.mm().compact(2).expect("memory for the work");
    assert_eq!((done.made, huge(&world) - before), (2, 2 * PAGE_BLOCK.pages()));
}

/// Each node's blocks are made of its own memory.
#[test]
fn pages_stay_in_their_node() {
    let config = Config { pages: PAGES, cpus: 2, nodes: 2, movable: 3, ..Config::default() };
    let world = SimWorld::new(config);
    let mm = world.mm();
    let (space, left) = fragment(&world, 40, 3);
    let nodes = || left.iter().map(|n| mm.frames.node_of(frame(&space, *n))).collect::<Vec<_>>();
    let before = nodes();
    let done = mm.compact(u64::MAX).expect("memory for the work");
    assert!(done.made >= 5, "{done}");
    assert_eq!(nodes(), before);
    check(&world, &space, &left);
}

/// A page block with a pinned page is left as it is, and the pin shows what it showed.
#[test]
fn pinned_pages_stay() {
    let world = SimWorld::new(Config { pages: PAGES, cpus: 1, ..Config::default() });
    let untouched = Untouched::new(&world);
    let (space, left) = fragment(&world, 60, 5);
    let pinned: Vec<_> = left.iter().step_by(40).copied().collect();
    let pins: Vec<_> =
        pinned.iter().map(|n| space.pin(page(*n), Access::Write).expect("mapped")).collect();
    let spoilt: Vec<_> = pins.iter().map(|pin| pin.pfn().align_down(PAGE_BLOCK)).collect();
    let surveys = |blocks: &[Pfn]| blocks.iter().map(|at| world.mm().frames.survey(*at)).collect();
    let before: Vec<_> = surveys(&spoilt);
    let done = world.mm().compact(u64::MAX).expect("memory for the work");
    assert!(done.busy > 0, "{done}");
    for (pin, n) in pins.iter().zip(&pinned) {
        assert_eq!(frame(&space, *n), pin.pfn());
    }
    // They may have been filled, but none was emptied.
    let after: Vec<_> = surveys(&spoilt);
    assert!(before.iter().zip(&after).all(|(before, after)| after.movable >= before.movable));
    check(&world, &space, &left);
    drop(pins);
    let done = world.mm().compact(u64::MAX).expect("memory for the work");
    assert!(done.made > 0 && done.busy == 0, "{done}");
    check(&world, &space, &left);
    drop(space);
    untouched.check(&world);
}

/// Who holds a folio's lock may want memory himself, or wait for who does: so a compaction waits for nobody's.
/// Another CPU locks the folio that is to be moved first, at each moment until it is too late for that, moves
/// memory together himself, and keeps the lock until the compaction is over.
#[test]
fn nobody_waits_for_who_has_locked_a_folio() {
    for steps in 1.. {
        let world = SimWorld::new(Config { pages: 2048, cpus: 2, ..Config::default() });
        let untouched = Untouched::new(&world);
        let (space, left) = fragment(&world, 60, 7);
        let first = left.iter().min_by_key(|n| order_of_work(&world, frame(&space, **n)));
        let first = page(*first.expect("some are left"));
        let (done, in_time) = (AtomicBool::new(false), AtomicBool::new(false));
        let compacts = || {
            world.mm().compact(1).expect("memory for the work");
            done.store(true, Ordering::SeqCst);
        };
        let locks = || {
            let frozen = space.freeze_folio_at(first);
            in_time.store(frozen.is_ok() && !done.load(Ordering::SeqCst), Ordering::SeqCst);
            world.mm().compact(1).expect("memory for the work");
            let turns = (0..100).take_while(|_| !done.load(Ordering::SeqCst));
            assert!(turns.map(|_| world.yield_now()).count() < 100, "after step {steps} it waits");
            drop(frozen);
        };
        assert!(world.intrude(steps, &compacts, &locks));
        check(&world, &space, &left);
        drop(space);
        untouched.check(&world);
        if !in_time.into_inner() {
            assert!(steps > 5, "a scenario of {steps} steps shows nothing");
            break;
        }
    }
}

/// Where in a compaction's order of work a page lies: the emptiest page block first, from its beginning on.
fn order_of_work(world: &SimWorld, page: Pfn) -> (bool, u64, Pfn) {
    let seen = world.mm().frames.survey(page.align_down(PAGE_BLOCK));
    (seen.unmovable > 0, seen.movable, page)
}

/// What becomes of a fault that would like a huge page where none is free: whether it gets one.
fn fault_huge(space: &Space<'_, Machine>, advice: Huge) -> bool {
    let given = || space.mm().stats.total(Event::ThpFaultAlloc);
    space.map(Place::At(ELSEWHERE), PMD_SIZE, Prot::ReadWrite, advice).expect("room");
    let before = given();
    assert_eq!(space.fault(ELSEWHERE, Access::Write), FaultOutcome::Mapped);
    given() > before
}

#[test]
fn faults_compact_as_the_settings_want_it() {
    for (defrag, advice, expected) in [
        (Defrag::Always, Huge::Default, true),
        (Defrag::Madvise, Huge::Advised, true),
        (Defrag::Madvise, Huge::Default, false),
        (Defrag::Defer, Huge::Advised, false),
        (Defrag::Never, Huge::Advised, false),
    ] {
        let world = SimWorld::new(Config { pages: PAGES, cpus: 1, ..Config::default() });
        let untouched = Untouched::new(&world);
        let (space, left) = fragment(&world, 50, 11);
        assert_eq!(huge(&world), 0);
        world.mm().thp.set_defrag(defrag);
        assert_eq!(fault_huge(&space, advice), expected, "{defrag:?} {advice:?}");
        check(&world, &space, &left);
        drop(space);
        let stalls = world.mm().stats.total(Event::CompactStall);
        assert_eq!(stalls, u64::from(expected));
        untouched.check(&world);
    }
}

/// Where faults do not wait, the thread in the background is woken, and the next one finds a block.
#[test]
fn the_thread_works_when_it_is_wanted() {
    let world = SimWorld::new(Config { pages: PAGES, cpus: 2, ..Config::default() });
    let untouched = Untouched::new(&world);
    let ended = AtomicBool::new(false);
    let (space, left) = fragment(&world, 50, 11);
    assert_eq!(huge(&world), 0);
    world.mm().thp.set_defrag(Defrag::Defer);
    world.run(
        2,
        &|cpu| {
            if cpu == 1 {
                let ended = || ended.load(Ordering::Acquire);
                while !ended() {
                    world.mm().compact_when_wanted(&ended);
                }
                return;
            }
            assert!(!fault_huge(&space, Huge::Default));
            while world.mm().stats.total(Event::CompactBlock) == 0 {
                world.yield_now();
            }
            ended.store(true, Ordering::Release);
            world.mm().compact_look_up();
        },
        &mut || (),
    );
    assert_eq!(world.mm().stats.total(Event::CompactDaemonWake), 1);
    check(&world, &space, &left);
    drop(space);
    untouched.check(&world);
}

/// What the workload does, with the bugs that live there.
#[test]
fn the_workload_sees_what_is_lost() {
    for mutant in [None, Some(Mutant::CompactKeepsRest), Some(Mutant::CompactLeavesIsolated)] {
        for seed in 1..4 {
            let world = SimWorld::new(Config { seed, ..Config::default() });
            world.mm().arm(mutant);
            let limit = stress::Limit::Rounds(12);
            let options = stress::Options { cpus: 3, limit, seed, bytes: 64 << 10 };
            let mut report = String::new();
            let only = |name: &str| name == "compact";
            let ran = stress::run_all(&world, options, &only, &mut report, &mut |_, _, _| {});
            let failed = ran.expect("writing to a string works").failed > 0;
            assert_eq!(failed, mutant.is_some(), "{mutant:?} seed {seed}: {report}");
        }
    }
}

/// What was taken to move to and not needed, and what was isolated, is given back: else free memory is
/// lost.
#[test]
fn nothing_is_kept() {
    for mutant in [None, Some(Mutant::CompactKeepsRest), Some(Mutant::CompactLeavesIsolated)] {
        let world = SimWorld::new(Config { pages: PAGES, cpus: 1, ..Config::default() });
        let mm = world.mm();
        mm.arm(mutant);
        let (_space, _) = fragment(&world, 50, 1);
        let before = free(&world);
        mm.compact(2).expect("memory for the work");
        let (lost, isolated) = (before - free(&world), mm.frames.isolated_pages(&mm.hw));
        assert_eq!(mm.frames.lost_pages(&mm.hw), lost);
        assert_eq!(lost > 0, mutant == Some(Mutant::CompactKeepsRest));
        assert_eq!(isolated > 0, mutant == Some(Mutant::CompactLeavesIsolated));
    }
}
