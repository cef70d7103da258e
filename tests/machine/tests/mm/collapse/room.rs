//! No block of 2 MiB is free, and enough of memory is: who may moves it together first.

use super::scene::{check, config, is_own, written};
use crate::common::{Untouched, machines};
use abi::{Access, Event, Order, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Machine, SimWorld};
use mm::thp::Scanned;
use mm::{Advice, CollapseError, Collapsed, FaultOutcome, Huge, Place, Space};
use stress::World;

/// Where the memory is that lies in everybody's way.
const ELSEWHERE: VirtAddr = VirtAddr(2 << 40);

/// All of memory in one space, page by page, and then every second page given back: half is free, and
/// nothing of it in one piece.
fn scatter(world: &SimWorld) -> Space<'_, Machine> {
    let mm = world.mm();
    let space = Space::new(mm).expect("memory");
    let pages = mm.frames.free_pages(&mm.hw) / 128 * 127;
    space.map(Place::At(ELSEWHERE), pages * PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("room");
    let page = |n| ELSEWHERE + n * PAGE_SIZE;
    for n in 0..pages {
        assert_eq!(space.fault(page(n), Access::Write), FaultOutcome::Mapped);
    }
    for n in (0..pages).step_by(2) {
        let one = VirtRange::from_size(page(n), PAGE_SIZE);
        space.advise(one, Advice::DontNeed).expect("mapped");
    }
    mm.frames.drain(&mm.hw);
    let blocks = mm.frames.free_blocks(&mm.hw);
    assert!(blocks[Order::PMD.index()..].iter().all(|n| *n == 0), "{blocks:?}");
    space
}

/// In such memory.
fn on_scattered(scenario: impl Fn(&SimWorld, &Space<'_, Machine>)) {
    for base in machines() {
        let world = SimWorld::new(config(base, 1));
        let untouched = Untouched::new(&world);
        let space = written(&world, 0..300);
        let scattered = scatter(&world);
        scenario(&world, &space);
        check(&world, &space, 0..300);
        world.mm().audit().expect("nothing is broken");
        drop((space, scattered));
        world.mm().shrink(u64::MAX);
        untouched.check(&world);
    }
}

fn stalls(world: &SimWorld) -> u64 {
    world.mm().stats.total(Event::CompactStall)
}

#[test]
fn a_program_that_asks_gets_one() {
    on_scattered(|world, space| {
        // What faults do is another setting.
        world.mm().thp.set_defrag(mm::thp::Defrag::Never);
        world.mm().thp.collapse.set_defrag(0);
        assert_eq!(space.collapse(super::scene::VA), Ok(Collapsed::Copied));
        assert_eq!((stalls(world), world.mm().stats.total(Event::CompactSuccess)), (1, 1));
        assert!(is_own(space));
    });
}

#[test]
fn the_background_gets_one_if_its_limits_let_it() {
    on_scattered(|world, _| {
        let scan = || world.mm().collapse_scan(1 << 20);
        world.mm().thp.collapse.set_defrag(0);
        let refused = scan();
        assert!(refused.out_of_memory && refused.collapsed == 0 && stalls(world) == 0);
        world.mm().thp.collapse.set_defrag(1);
        // The block has had its turn.
        assert!(matches!(scan(), Scanned { round: true, .. }));
        assert!(scan().collapsed > 0 && stalls(world) > 0);
    });
}

/// What does not move holds every block down: that is found out once, and then told.
#[test]
fn nobody_gets_one_where_nothing_moves() {
    let world = SimWorld::new(config(machines()[0], 1));
    let (mm, space) = (world.mm(), written(&world, 0..300));
    let pages: Vec<_> = std::iter::from_fn(|| mm.alloc(Order::PAGE).ok()).collect();
    pages.iter().step_by(2).for_each(|page| mm.free(*page));
    let oom = Err(CollapseError::OutOfMemory(mm::OutOfMemory { order: Order::PMD }));
    assert_eq!(space.collapse(super::scene::VA), oom);
    assert_eq!(mm.stats.total(Event::CompactFail), 1);
    check(&world, &space, 0..300);
    mm.audit().expect("nothing is broken");
    pages.iter().skip(1).step_by(2).for_each(|page| mm.free(*page));
}
