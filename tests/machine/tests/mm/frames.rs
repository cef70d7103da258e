//! The page allocator as the rest of the memory manager sees it: owners, counters, errors, several
//! CPUs at once.

use crate::common::{Untouched, machines, owned};
use abi::{Access, Event, Node, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr};
use granule_machine::{Config, SimWorld};
use mm::frame::{IsolateError, Kind, Near};
use mm::thp::Policy;
use mm::{FaultOutcome, Hardware, Huge, OutOfMemory, Place, Space};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use stress::{Rng, World};

fn small(pages: u64) -> SimWorld {
    SimWorld::new(Config { cpus: 1, pages, ..Config::default() })
}

#[test]
fn orders_that_do_not_exist_are_refused() {
    let world = small(4096);
    let untouched = Untouched::new(&world);
    for order in [Order::MAX.0 + 1, 20, 63, 64, u8::MAX].map(Order) {
        assert_eq!(world.mm().alloc(order), Err(OutOfMemory { order }));
        assert_eq!(world.mm().alloc_zeroed(order), Err(OutOfMemory { order }));
    }
    let largest = world.mm().alloc(Order::MAX).expect("all is free");
    assert!(largest.is_aligned(Order::MAX));
    world.mm().free(largest);
    untouched.check(&world);
}

#[test]
fn running_out_is_an_error_that_changes_nothing() {
    for order in [0, 1, 4, 9, 10].map(Order) {
        let world = small(2048 + 37);
        let mm = world.mm();
        let untouched = Untouched::new(&world);
        let mut blocks = Vec::new();
        let error = loop {
            match mm.alloc(order) {
                Ok(pfn) => blocks.push(pfn),
                Err(error) => break error,
            }
        };
        assert_eq!(error, OutOfMemory { order });
        assert_eq!(blocks.len() as u64, (2048 + 37) / order.pages());
        let is_as_before = || {
            assert_eq!(mm.frames.free_pages(&mm.hw), (2048 + 37) % order.pages());
            assert_eq!(owned(mm).count(), blocks.len());
        };
        is_as_before();
        for _ in 0..3 {
            assert_eq!(mm.alloc(order), Err(error));
            is_as_before();
        }
        assert_eq!(mm.stats.total(Event::AllocFail), 4);
        // What is left is given in smaller pieces.
        let rest: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PAGE).ok()).collect();
        assert_eq!(rest.len() as u64, (2048 + 37) % order.pages());
        for pfn in blocks.into_iter().chain(rest) {
            mm.free(pfn);
        }
        untouched.check(&world);
    }
}

#[test]
fn zeroed_means_zero_whatever_was_there() {
    let world = small(1024);
    let mm = world.mm();
    for order in [0, 3, 9].map(Order) {
        let words = || (0..order.bytes()).step_by(8);
        let pfn = mm.alloc(order).expect("memory");
        for at in words() {
            mm.hw.poke(pfn.base() + at, !at);
        }
        mm.free(pfn);
        let before = mm.stats.total(Event::PgClear);
        let again = mm.alloc_zeroed(order).expect("memory");
        assert_eq!(again, pfn, "the block that was given last is the next");
        assert!(words().all(|at| mm.hw.peek(again.base() + at) == 0));
        assert_eq!(mm.stats.total(Event::PgClear) - before, order.pages());
        mm.free(again);
    }
}

#[test]
fn the_kernels_own_blocks_count_nothing_and_know_their_head() {
    let world = small(64);
    let mm = world.mm();
    let pfn = mm.alloc(Order(2)).expect("memory");
    let desc = mm.frames.map().desc(pfn);
    let is = (desc.kind(), desc.order(), desc.refs(), desc.maps());
    assert_eq!(is, (Kind::Kernel, Order(2), 0, 0));
    for page in 0..4 {
        assert_eq!(mm.frames.map().head(pfn + page), Some(pfn));
    }
    mm.free(pfn);
    assert_ne!(desc.kind(), Kind::Kernel);
}

/// A double free would give one page to two owners: it stops at once instead.
#[test]
#[should_panic(expected = "freeing frame")]
fn a_double_free_stops() {
    let world = small(64);
    let pfn = world.mm().alloc(Order::PAGE).expect("memory");
    world.mm().free(pfn);
    world.mm().free(pfn);
}

#[test]
#[should_panic(expected = "it is Tail")]
fn freeing_the_middle_of_a_block_stops() {
    let world = small(64);
    let pfn = world.mm().alloc(Order(3)).expect("memory");
    world.mm().free(pfn + 2);
}

/// CPUs that take and give all orders at once, and give what others took: no page has two owners, and
/// whoever is refused goes on.
#[test]
fn no_page_has_two_owners_on_many_cpus() {
    for seed in 1..6 {
        let world = SimWorld::new(Config { cpus: 4, pages: 3072, seed, ..Config::default() });
        let untouched = Untouched::new(&world);
        let busy = Mutex::new(HashSet::<Pfn>::new());
        let shared = Mutex::new(Vec::<(Pfn, Order)>::new());
        // A thread that found a mistake has said so; the others need not fail for its lock.
        fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
            mutex.lock().unwrap_or_else(PoisonError::into_inner)
        }
        world.run(
            4,
            &|cpu| {
                let mut rng = Rng::new(seed, "frames", cpu);
                for _ in 0..150 {
                    if rng.one_in(2) {
                        let order = Order([0, 0, 1, 4, 7, 9, 10][rng.below(7) as usize]);
                        let Ok(pfn) = world.mm().alloc(order) else { continue };
                        for page in 0..order.pages() {
                            assert!(lock(&busy).insert(pfn + page), "{pfn}: two owners");
                        }
                        lock(&shared).push((pfn, order));
                    } else {
                        let mine = {
                            let mut shared = lock(&shared);
                            let which = rng.below(shared.len() as u64) as usize;
                            if shared.is_empty() { None } else { Some(shared.swap_remove(which)) }
                        };
                        let Some((pfn, order)) = mine else { continue };
                        for page in 0..order.pages() {
                            assert!(lock(&busy).remove(&(pfn + page)));
                        }
                        world.mm().free(pfn);
                    }
                }
            },
            &mut || (),
        );
        assert_eq!(world.violation(), None);
        let left = std::mem::take(&mut *lock(&shared));
        let pages: u64 = left.iter().map(|(_, order)| order.pages()).sum();
        let mm = world.mm();
        assert_eq!(mm.frames.free_pages(&mm.hw), 3072 - pages);
        for (pfn, _) in left {
            mm.free(pfn);
        }
        untouched.check(&world);
    }
}

/// Reuse does not tear memory apart: after spaces full of small pages come and go, all of it can be
/// had in huge blocks.
#[test]
fn small_pages_leave_no_fragments() {
    for config in machines() {
        let world = SimWorld::new(Config { pages: 4096, ..config });
        let mm = world.mm();
        for round in 0..3 {
            let mut pages = Vec::new();
            while let Ok(pfn) = mm.alloc(Order::PAGE) {
                pages.push(pfn);
            }
            let mut rng = Rng::new(round, "fragments", 0);
            while !pages.is_empty() {
                let which = rng.below(pages.len() as u64) as usize;
                mm.free(pages.swap_remove(which));
            }
            // Without anybody draining the stocks by hand.
            let huge: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PMD).ok()).collect();
            assert_eq!(huge.len() as u64, 4096 * PAGE_SIZE / Order::PMD.bytes());
            huge.into_iter().for_each(|pfn| mm.free(pfn));
        }
    }
}

/// Two nodes, some of whose memory is kept for what moves.
fn nodes() -> SimWorld {
    let nodes = Config { cpus: 2, pages: 8192, nodes: 2, movable: 4, ..Config::default() };
    SimWorld::new(nodes)
}

#[test]
fn each_node_gives_its_own() {
    let world = nodes();
    let mm = world.mm();
    let untouched = Untouched::new(&world);
    assert_eq!(mm.frames.nodes(), 2);
    for node in [0, 1].map(Node) {
        assert_eq!(mm.frames.node_pages(&mm.hw, node), (4096, 4096));
        let mut blocks = Vec::new();
        while let Ok(pfn) = mm.alloc_near(Near::Exactly(node), Order(3)) {
            assert_eq!(mm.frames.node_of(pfn), node);
            assert!(!mm.frames.is_movable_only(pfn));
            blocks.push(pfn);
        }
        // Four page blocks of the last node are not for the kernel.
        let kept = if node == Node(1) { 4 * 512 } else { 0 };
        assert_eq!(blocks.len() as u64, (4096 - kept) / 8);
        let pfn = mm.alloc_near(Near::Prefer(node), Order(3)).expect("the other node has some");
        assert_ne!(mm.frames.node_of(pfn), node);
        mm.free(pfn);
        blocks.into_iter().for_each(|pfn| mm.free(pfn));
    }
    let nowhere = mm.alloc_near(Near::Exactly(Node(2)), Order::PAGE);
    assert_eq!(nowhere, Err(OutOfMemory { order: Order::PAGE }));
    untouched.check(&world);
}

/// All memory goes to a program, the kept memory first; nothing of the kernel's is ever found there.
#[test]
fn what_is_kept_is_for_programs() {
    let world = nodes();
    let mm = world.mm();
    let untouched = Untouched::new(&world);
    let space = Space::new(mm).expect("memory");
    let (at, bytes) = (VirtAddr(1 << 30), 7000 * PAGE_SIZE);
    space.map(Place::At(at), bytes, Prot::ReadWrite, Huge::Never).expect("room");
    for page in 0..7000 {
        assert_eq!(space.fault(at + page * PAGE_SIZE, Access::Write), FaultOutcome::Mapped);
    }
    let kept = |pfn: &Pfn| mm.frames.is_movable_only(*pfn);
    let of = |kind| mm.frames.map().blocks().filter(move |(_, desc)| desc.kind() == kind);
    let programs = of(Kind::Folio).map(|(pfn, _)| pfn).filter(kept).count();
    assert_eq!(programs, 4 * 512);
    assert_eq!(of(Kind::Table).map(|(pfn, _)| pfn).filter(kept).count(), 0);
    drop(space);
    untouched.check(&world);
}

/// A page block that is emptied while others work: nothing of it is given, and all of it is back afterwards.
#[test]
fn an_isolated_page_block_is_given_to_nobody() {
    for seed in 1..4 {
        let world = SimWorld::new(Config { cpus: 3, pages: 4096, seed, ..Config::default() });
        let mm = world.mm();
        let untouched = Untouched::new(&world);
        let block = mm.frames.map().range().start.pfn() + 2 * 512;
        // What was taken last: it is freed, and taken again, in the page block that is isolated next.
        let last = AtomicU64::new(block.0);
        // That page block, and for which time it is isolated; 0 while none is.
        let closed = AtomicU64::new(0);
        world.run(
            3,
            &|cpu| {
                let mut rng = Rng::new(seed, "isolate", cpu);
                let mut mine = Vec::new();
                let times = if cpu == 0 { 60 } else { 1000 };
                for time in 1..times {
                    if cpu == 0 {
                        let theirs = Pfn(last.load(Ordering::SeqCst));
                        let isolated = mm.isolate(theirs).expect("nobody else isolates");
                        let first = isolated.first();
                        closed.store(time << 48 | first.0, Ordering::SeqCst);
                        assert_eq!(mm.isolate(first + 7).err(), Some(IsolateError::Busy));
                        for _ in 0..20 {
                            world.yield_now();
                        }
                        let seen = mm.frames.survey(first);
                        assert_eq!(seen.free + seen.stocked + seen.unmovable, 512);
                        closed.store(0, Ordering::SeqCst);
                    } else if rng.one_in(2) {
                        let order = Order([0, 0, 1, 4, 9, 10][rng.below(6) as usize]);
                        let before = closed.load(Ordering::SeqCst);
                        let Ok(pfn) = mm.alloc(order) else { continue };
                        mine.push(pfn);
                        last.store(pfn.0, Ordering::SeqCst);
                        // Isolated all the while.
                        if before != 0 && before == closed.load(Ordering::SeqCst) {
                            let first = Pfn(before & ((1 << 48) - 1));
                            let apart = pfn + order.pages() <= first || first + 512 <= pfn;
                            assert!(apart, "{pfn} of {order:?} was taken, seed {seed}");
                        }
                    } else if !mine.is_empty() {
                        mm.free(mine.swap_remove(rng.below(mine.len() as u64) as usize));
                    }
                }
                mine.into_iter().for_each(|pfn| mm.free(pfn));
            },
            &mut || (),
        );
        assert_eq!(world.violation(), None);
        untouched.check(&world);
        // Nothing was left behind that would keep the largest blocks from being whole.
        mm.frames.drain(&mm.hw);
        assert_eq!(mm.frames.free_blocks(&mm.hw)[Order::MAX.index()], 4);
        let isolated = mm.isolate(block).expect("nobody else isolates");
        assert_eq!(mm.frames.survey(block).free, 512);
        let given: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PAGE).ok()).collect();
        assert_eq!(given.len(), 4096 - 512);
        drop(isolated);
        mm.free(mm.alloc(Order::PMD).expect("it is back"));
        given.into_iter().for_each(|pfn| mm.free(pfn));
        untouched.check(&world);
    }
}

/// The tables of several huge pages are fetched together, out of a stock that is watched just then.
#[test]
fn a_fork_of_huge_pages_while_a_page_block_is_isolated() {
    for config in machines() {
        let world = SimWorld::new(Config { pages: 8192, ..config });
        let (mm, untouched) = (world.mm(), Untouched::new(&world));
        mm.thp.set_enabled(Policy::Always);
        let (va, blocks) = (VirtAddr(1 << 40), 4);
        let space = Space::new(mm).expect("memory");
        space.map(Place::At(va), blocks * PMD_SIZE, Prot::ReadWrite, Huge::Default).expect("free");
        for n in 0..blocks {
            assert_eq!(space.fault(va + n * PMD_SIZE, Access::Write), FaultOutcome::Mapped);
        }
        let other = mm.alloc(Order::PMD).expect("memory");
        let isolated = mm.isolate(other).expect("nobody else isolates");
        let child = space.fork().expect("memory");
        assert_eq!(child.fault(va, Access::Write), FaultOutcome::Mapped);
        drop((child, isolated, space));
        mm.free(other);
        assert_eq!(world.violation(), None);
        untouched.check(&world);
    }
}
