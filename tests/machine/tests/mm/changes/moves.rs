//! Memory that is moved, moved together, collapsed or pinned for long, with one request for memory refused:
//! each of the heap's in turn, and each of the page allocator's. Then everything is as it was, and the same
//! again succeeds.

use super::scene::*;
use crate::common::heap::refusing_one;
use crate::common::{Untouched, machines};
use abi::{Access, Event, Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::gup::{GupError, Run};
use mm::mutant::Mutant;
use mm::{Advice, CollapseError, Destination, Huge, MigrateError, OutOfMemory, Place, Space};
use stress::World;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    /// So many folios of this kind go elsewhere.
    Move(Kind, u64),
    /// Pages become a huge page, by a copy.
    Collapse,
    /// The same where no block is free before memory was moved together.
    CollapseScattered,
    /// A huge page that is mapped by pages gets its one entry back.
    CollapseWhole,
    Compact,
    /// A pin for long of a page that is where it may not stay.
    Pin,
    /// And of so many.
    PinMany(u64),
}

const WORKS: [Work; 9] = [
    Work::Move(Kind::Small, 5),
    Work::Move(Kind::Sets, 3),
    Work::Move(Kind::Huge, 2),
    Work::Collapse,
    Work::CollapseScattered,
    Work::CollapseWhole,
    Work::Compact,
    Work::Pin,
    Work::PinMany(4),
];

/// The memory of which everything must stay as it is.
fn ours() -> VirtRange {
    pages(0, 2 * BLOCK)
}

/// Everybody else's, with free pages everywhere.
const SCATTERED: VirtAddr = VirtAddr(2 << 40);

/// Why it was not done: asks the heap for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    Batch(OutOfMemory),
    Folio(MigrateError),
    Collapse(CollapseError),
    Made(u64),
    Pin(GupError),
}

impl Work {
    fn kind(self) -> Kind {
        match self {
            Self::Move(kind, _) => kind,
            Self::CollapseWhole => Kind::Huge,
            _ => Kind::Small,
        }
    }

    fn is_pin(self) -> bool {
        matches!(self, Self::Pin | Self::PinMany(_))
    }

    fn is_scattered(self) -> bool {
        matches!(self, Self::CollapseScattered | Self::Compact)
    }

    /// A machine, for pins with page blocks in which nothing is pinned for long.
    fn world(self, config: Config) -> SimWorld {
        let movable = if self.is_pin() { 6 } else { 0 };
        world(Config { cpus: 1, pages: 4096, movable, ..config }, self.kind())
    }

    /// What it asks of the page allocator, in this order.
    fn frames(self) -> Vec<Order> {
        let each = |order, n| vec![order; n as usize];
        match self {
            Self::Move(Kind::Small, n) => each(Order::PAGE, n),
            Self::Move(Kind::Sets, n) => each(Order(4), n),
            Self::Move(Kind::Huge, n) => each(Order::PMD, n),
            Self::Collapse => vec![Order::PMD, Order::PAGE],
            Self::Pin => each(Order::PAGE, 1),
            Self::PinMany(n) => each(Order::PAGE, n),
            // What is moved together goes to pages that are free beside it.
            Self::CollapseScattered | Self::CollapseWhole | Self::Compact => Vec::new(),
        }
    }

    /// How often it asks the heap, at least.
    fn heap(self) -> usize {
        match self {
            Self::Move(..) | Self::Compact | Self::CollapseScattered => 3,
            Self::Collapse | Self::CollapseWhole => 0,
            Self::Pin => 4,
            Self::PinMany(_) => 5,
        }
    }

    /// Brings the memory into the state in which it begins. What comes back keeps it so.
    fn prepare<'w>(self, world: &'w SimWorld) -> (Space<'w, Machine>, Option<Space<'w, Machine>>) {
        let space = stamped(world, ours());
        let others = self.is_scattered().then(|| scatter(world));
        match self {
            Self::CollapseWhole => space.split_block(VA),
            Self::Pin | Self::PinMany(_) => {
                let frames = &world.mm().frames;
                let kept = |va| frames.is_movable_only(frame(&space, va).expect("mapped"));
                for va in each_page(pages(0, 8)) {
                    for _ in 0..4096 {
                        if kept(va) {
                            break;
                        }
                        let mut moved = [Err(MigrateError::NotMapped)];
                        space.move_pages(&[va], Destination::Anywhere, &mut moved).expect("memory");
                    }
                    assert!(kept(va), "{va} is not where no pin may stay");
                }
            }
            _ => {}
        }
        (space, others)
    }

    /// Does it.
    fn make(self, world: &SimWorld, space: &Space<'_, Machine>) -> Result<(), Refusal> {
        match self {
            Self::Move(kind, n) => {
                let (step, n) = ([1, SET, BLOCK][kind as usize], n as usize);
                let wanted: [_; 8] = std::array::from_fn(|n| page(n as u64 * step));
                let mut moved = [Err(MigrateError::NotMapped); 8];
                space
                    .move_pages(&wanted[..n], Destination::Anywhere, &mut moved)
                    .map_err(Refusal::Batch)?;
                moved[..n].iter().try_for_each(|moved| moved.map(drop)).map_err(Refusal::Folio)
            }
            Self::Collapse | Self::CollapseScattered | Self::CollapseWhole => {
                space.collapse(VA).map(drop).map_err(Refusal::Collapse)
            }
            Self::Compact => {
                let (mm, before) = (world.mm(), free_blocks(world));
                let done = mm.compact(2 - before.min(2)).map_err(Refusal::Batch)?;
                assert_eq!(free_blocks(world), before + done.made, "{done}");
                if free_blocks(world) == 2 { Ok(()) } else { Err(Refusal::Made(done.made)) }
            }
            Self::Pin => space.pin_longterm(VA, Access::Write).map(drop).map_err(Refusal::Pin),
            Self::PinMany(n) => {
                let mut runs = [Run::EMPTY; 8];
                let held = space.pin_longterm_many(VA, n, Access::Write, &mut runs);
                held.map(drop).map_err(Refusal::Pin)
            }
        }
    }
}

/// Most of memory page by page, and then two of five given back: what goes into a block is not what another
/// one has room for.
fn scatter(world: &SimWorld) -> Space<'_, Machine> {
    let mm = world.mm();
    let space = Space::new(mm).expect("memory");
    let pages = mm.frames.free_pages(&mm.hw) / 128 * 127;
    space.map(Place::At(SCATTERED), pages * PAGE_SIZE, RW, Huge::Never).expect("room");
    let all = VirtRange::from_size(SCATTERED, pages * PAGE_SIZE);
    space.advise(all, Advice::PopulateWrite).expect("memory");
    for va in each_page(all).filter(|va| va.page() % 5 < 2) {
        space.advise(VirtRange::from_size(va, PAGE_SIZE), Advice::DontNeed).expect("mapped");
    }
    space
}

/// Blocks of 2 MiB that are free.
fn free_blocks(world: &SimWorld) -> u64 {
    let frames = &world.mm().frames;
    frames.drain(&world.mm().hw);
    let free = frames.free_blocks(&world.mm().hw);
    let (least, most) = (Order::PMD.index(), Order::MAX.index());
    (least..=most).map(|order| free[order] << (order - least)).sum()
}

/// All memory but these blocks is somebody's, until it is given back.
fn hoard_all_but(world: &SimWorld, left: &[Order]) -> Vec<Pfn> {
    let mm = world.mm();
    let kept: Vec<_> = left.iter().map(|order| mm.alloc(*order).expect("memory")).collect();
    let mut hoard = Vec::new();
    for order in (0..=Order::MAX.0).rev().map(Order) {
        hoard.extend(std::iter::from_fn(|| mm.alloc(order).ok()));
    }
    kept.into_iter().for_each(|block| mm.free(block));
    hoard
}

/// What must be as it was: counted after what CPUs keep went back.
fn free(world: &SimWorld) -> (u64, u64, u64) {
    let (mm, hw) = (world.mm(), &world.mm().hw);
    (mm.frames.free_pages(hw), mm.frames.isolated_pages(hw), mm.frames.lost_pages(hw))
}

/// What is wrong after a refusal, or after none.
fn harm(world: &SimWorld, space: &Space<'_, Machine>, before: (u64, u64, u64)) -> Option<String> {
    if let Some(wrong) = wrong(world) {
        return Some(wrong);
    }
    let counts = |event| world.mm().stats.total(event);
    if counts(Event::PinAcquired) != counts(Event::PinReleased) {
        return Some("something is pinned".into());
    }
    if free(world) != before {
        return Some(format!("{:?} free, isolated, lost; it was {before:?}", free(world)));
    }
    let mut found = None;
    world.inside(space, &mut || {
        let other = each_page(ours()).find(|va| world.load(space, *va) != Ok(stamp(*va)));
        found = other.map(|va| format!("the content of {va} is another"));
    });
    found
}

/// Refuses the heap's request after so many others. `None`: there are not as many.
fn without_heap(
    config: Config,
    work: Work,
    before: usize,
    mutant: Option<Mutant>,
) -> Option<Result<(), String>> {
    let world = work.world(config);
    let (space, others) = work.prepare(&world);
    world.mm().arm(mutant);
    let was = free(&world);
    let (result, refused) = refusing_one(before, || work.make(&world, &space));
    if !refused {
        return None;
    }
    let what = format!("request {before} of {work:?} refused: {result:?}");
    if let Some(harm) = harm(&world, &space, was) {
        // What is broken cannot be given back.
        std::mem::forget((space, others));
        return Some(Err(format!("{what}: {harm}")));
    }
    world.mm().arm(None);
    // The refusal was told, or it was done by another way.
    let again = work.make(&world, &space);
    Some(if result.is_ok() { Ok(()) } else { again.map_err(|why| format!("{what}, then {why:?}")) })
}

#[test]
fn a_refusal_of_the_heap_changes_nothing() {
    for (n, work) in WORKS.into_iter().enumerate() {
        let config = machines()[n % 2];
        let refusals = (0..).map_while(|before| without_heap(config, work, before, None));
        let refusals: Vec<_> = refusals.collect();
        assert!(refusals.iter().all(Result::is_ok), "{refusals:#?}");
        assert!(refusals.len() >= work.heap(), "{work:?} asked {} times", refusals.len());
        println!("{work:?}: {} requests", refusals.len());
    }
}

#[test]
fn a_refusal_of_a_frame_changes_nothing() {
    for (n, work) in WORKS.into_iter().filter(|work| !work.is_scattered()).enumerate() {
        let wanted = work.frames();
        for given in 0..=wanted.len() {
            let config = machines()[n % 2];
            let world = work.world(config);
            let untouched = Untouched::new(&world);
            let (space, others) = work.prepare(&world);
            // Somebody who has it too is none the wiser.
            let child = (!work.is_pin()).then(|| space.fork().expect("memory"));
            let was = free(&world);
            let hoard = hoard_all_but(&world, &wanted[..given]);
            let result = work.make(&world, &space);
            hoard.into_iter().for_each(|block| world.mm().free(block));
            let what = format!("{work:?} given {given} of {wanted:?}: {result:?}");
            assert_eq!(result.is_ok(), given == wanted.len(), "{what}");
            if result.is_err() {
                assert_eq!(harm(&world, &space, was), None, "{what}");
                assert_eq!(work.make(&world, &space), Ok(()), "{what}");
            }
            check(&world, &space, ours(), stamp);
            if let Some(child) = &child {
                check(&world, child, ours(), stamp);
            }
            sound(&world);
            drop((child, space, others));
            untouched.check(&world);
        }
    }
}

/// What was taken to move to is given back on the way out too.
#[test]
fn what_a_refusal_keeps_is_noticed() {
    let bug = Mutant::CompactKeepsRest;
    let look = || {
        (0..)
            .map_while(|n| without_heap(machines()[0], Work::Compact, n, Some(bug)))
            .find_map(Result::err)
    };
    println!("{}: {}", bug.name(), evidence::model(bug.name(), look).expect("not noticed"));
}
