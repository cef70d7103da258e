//! A block is collapsed on one CPU while another does something else to it, or to its neighbour: whatever the
//! collapse comes to, the memory is what it should be and every rule holds.

use super::scene::{NEXT, RW, VA, WHOLE, config, entry, frame, page, parted, stamp, written};
use crate::common::{Untouched, machines};
use abi::{Access, Level, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::FolioPin;
use mm::mutant::Mutant;
use mm::{Advice, Denial, FaultOutcome, Hardware, Move, Space};
use std::sync::Mutex;
use stress::World;

/// What the block consists of.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind {
    /// 512 small folios.
    Pages,
    /// A few, and holes.
    Few,
    /// 512 small folios that another space has too.
    Shared,
    /// A huge folio.
    Whole,
    /// A huge folio that another space has too.
    WholeShared,
}

const KINDS: [Kind; 5] = [Kind::Pages, Kind::Few, Kind::Shared, Kind::Whole, Kind::WholeShared];

/// What the other CPU does.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Other {
    Load,
    Store,
    StoreHole,
    Get,
    Pin,
    UnmapPage,
    UnmapAll,
    Forget,
    ForgetAll,
    Free,
    Protect,
    Deny,
    Split,
    SplitFolio,
    Freeze,
    Fork,
    Move,
    MoveBack,
    Collapse,
    SplitNext,
    Shrink,
}

const OTHERS: [Other; 21] = [
    Other::Load,
    Other::Store,
    Other::StoreHole,
    Other::Get,
    Other::Pin,
    Other::UnmapPage,
    Other::UnmapAll,
    Other::Forget,
    Other::ForgetAll,
    Other::Free,
    Other::Protect,
    Other::Deny,
    Other::Split,
    Other::SplitFolio,
    Other::Freeze,
    Other::Fork,
    Other::Move,
    Other::MoveBack,
    Other::Collapse,
    Other::SplitNext,
    Other::Shrink,
];

/// The page that the other CPU is about, which was written; and one that was not if there are holes.
const HERE: u64 = 5;
const HOLE: u64 = 300;
/// What it writes.
const NEWS: u64 = 0xbeef;

/// Pages that were written before.
fn stamped(kind: Kind) -> std::ops::Range<u64> {
    if kind == Kind::Few { 0..9 } else { 0..512 }
}

struct Stage<'w> {
    world: &'w SimWorld,
    space: Space<'w, Machine>,
    sibling: Option<Space<'w, Machine>>,
    children: Mutex<Vec<Space<'w, Machine>>>,
    pin: Mutex<Option<FolioPin<'w, Machine>>>,
}

impl<'w> Stage<'w> {
    fn new(world: &'w SimWorld, kind: Kind) -> Self {
        let space = match kind {
            Kind::Whole | Kind::WholeShared => parted(world),
            _ => written(world, stamped(kind)),
        };
        // A huge page with a table that was put aside in the same place.
        world.inside(&space, &mut || world.store(&space, NEXT, 1).expect("memory"));
        assert_eq!(entry(&space, NEXT).0, Level::Pmd);
        let shares = matches!(kind, Kind::Shared | Kind::WholeShared);
        let sibling = shares.then(|| space.fork().expect("memory"));
        Self { world, space, sibling, children: Mutex::default(), pin: Mutex::default() }
    }

    fn act(&self, other: Other) {
        let Self { world, space, .. } = self;
        let here = VirtRange::from_size(page(HERE), PAGE_SIZE);
        match other {
            Other::Load => assert_eq!(world.load(space, page(HERE)), Ok(stamp(HERE))),
            Other::Store => world.store(space, page(HERE), NEWS).expect("an area"),
            Other::StoreHole => world.store(space, page(HOLE), NEWS).expect("an area"),
            Other::Get => {
                let held = space.gup(page(HERE), Access::Read).expect("an area");
                assert_eq!(world.mm().hw.peek(held.pfn().base()), stamp(HERE));
            }
            Other::Pin => {
                let pin = space.pin(page(HERE), Access::Write).expect("an area");
                world.mm().hw.poke(pin.pfn().base(), NEWS);
                *self.pin.lock().expect("no panic") = Some(pin);
            }
            Other::UnmapPage => space.unmap(here).expect("memory"),
            Other::UnmapAll => space.unmap(WHOLE).expect("memory"),
            Other::Forget => space.advise(here, Advice::DontNeed).expect("an area"),
            Other::ForgetAll => space.advise(WHOLE, Advice::DontNeed).expect("an area"),
            Other::Free => {
                space.advise(WHOLE, Advice::Free).expect("an area");
                world.mm().shrink(1);
            }
            Other::Protect => space.protect(here, Prot::Read).expect("an area"),
            Other::Deny => {
                space.protect(WHOLE, Prot::None).expect("an area");
                let denied = Err(FaultOutcome::Denied(Denial::Rights(Prot::None)));
                assert_eq!(world.load(space, page(HERE)), denied);
                space.protect(WHOLE, RW).expect("an area");
            }
            Other::Split => space.split_block(VA),
            Other::SplitFolio => drop(space.split_folio_at(page(HERE), Order::PAGE)),
            Other::Freeze => drop(space.freeze_folio_at(page(HERE))),
            Other::Fork => {
                let child = space.fork().expect("memory");
                self.children.lock().expect("no panic").push(child);
            }
            Other::Move | Other::MoveBack => {
                let to = VA + 4 * PMD_SIZE;
                let there = space.remap(WHOLE, PMD_SIZE, Move::To(to)).expect("free");
                if other == Other::MoveBack {
                    space.remap(there, PMD_SIZE, Move::To(VA)).expect("free");
                }
            }
            Other::Collapse => {
                let _ = space.collapse(VA);
            }
            Other::SplitNext => {
                // Takes the table that was put aside last, and fills it.
                space.split_block(NEXT);
                assert_eq!(world.load(space, NEXT), Ok(1));
            }
            Other::Shrink => drop(world.mm().shrink(u64::MAX)),
        }
    }

    /// What a page holds in the space in which something was done.
    fn check(&self, kind: Kind, other: Other) {
        let base = if other == Other::Move { VA + 4 * PMD_SIZE } else { VA };
        self.check_space(
            &self.space,
            base,
            |n| {
                let stamped = if stamped(kind).contains(&n) { stamp(n) } else { 0 };
                match other {
                    Other::UnmapAll => None,
                    Other::UnmapPage if n == HERE => None,
                    Other::Forget if n == HERE => Some(0),
                    Other::ForgetAll => Some(0),
                    Other::Store | Other::Pin if n == HERE => Some(NEWS),
                    Other::StoreHole if n == HOLE => Some(NEWS),
                    _ => Some(stamped),
                }
            },
            other == Other::Free,
        );
        let before = |n| Some(if stamped(kind).contains(&n) { stamp(n) } else { 0 });
        for child in self.children.lock().expect("no panic").iter().chain(&self.sibling) {
            self.check_space(child, VA, before, false);
        }
        if let Some(pin) = &*self.pin.lock().expect("no panic") {
            assert_eq!(frame(&self.space, HERE), pin.pfn(), "the program sees another page");
        }
    }

    fn check_space(
        &self,
        space: &Space<'_, Machine>,
        base: abi::VirtAddr,
        expected: impl Fn(u64) -> Option<u64>,
        or_zero: bool,
    ) {
        self.world.inside(space, &mut || {
            for n in [0, 1, HERE - 1, HERE, HERE + 1, 8, 9, HOLE, 511] {
                let found = self.world.load(space, base + n * PAGE_SIZE);
                match expected(n) {
                    _ if or_zero && found == Ok(0) => {}
                    Some(value) => assert_eq!(found, Ok(value), "page {n}"),
                    None => {
                        assert_eq!(found, Err(FaultOutcome::Denied(Denial::NoArea)), "page {n}");
                    }
                }
            }
        });
    }
}

/// How the two are woven.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Weave {
    /// By the seed's dice.
    Dice,
    /// The other one comes in after so many steps of the collapse.
    After(u64),
}

/// Says whether the collapse had as many steps.
pub(crate) fn against(
    base: Config,
    kind: Kind,
    other: Other,
    weave: Weave,
    mutant: Option<Mutant>,
) -> bool {
    let world = SimWorld::new(config(base, 2));
    let untouched = Untouched::new(&world);
    world.mm().arm(mutant);
    let stage = Stage::new(&world, kind);
    let collapse = || {
        let _ = stage.space.collapse(VA);
    };
    let act = || world.inside(&stage.space, &mut || stage.act(other));
    let reached = match weave {
        Weave::After(steps) => world.intrude(steps, &collapse, &act),
        Weave::Dice => {
            let body = |cpu| {
                (0..(base.seed >> cpu) % 5).for_each(|_| world.yield_now());
                if cpu == 0 { collapse() } else { act() }
            };
            world.run(2, &body, &mut || ());
            true
        }
    };
    assert_eq!(world.violation(), None);
    let pins = u64::from(stage.pin.lock().expect("no panic").is_some());
    let allow = mm::audit::Allow::refs(pins * u64::from(mm::frame::PIN_BIAS));
    world.mm().audit_but(allow).expect("nothing is broken");
    stage.check(kind, other);
    drop(stage);
    world.mm().shrink(u64::MAX);
    untouched.check(&world);
    reached
}

#[test]
fn a_collapse_and_anything_else_come_out_right() {
    for kind in KINDS {
        for other in OTHERS {
            for seed in 1..9 {
                let base = Config { seed, ..machines()[seed as usize % 4] };
                let result =
                    std::panic::catch_unwind(|| against(base, kind, other, Weave::Dice, None));
                assert!(result.is_ok(), "{kind:?} against {other:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn anything_else_in_the_middle_of_a_collapse_comes_out_right() {
    for (n, kind) in KINDS.into_iter().enumerate() {
        for (m, other) in OTHERS.into_iter().enumerate() {
            // Not the same steps for each.
            for steps in (1 + (n * 7 + m) as u64..).step_by(1009) {
                let run = || against(machines()[m % 4], kind, other, Weave::After(steps), None);
                match std::panic::catch_unwind(run) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) => panic!("{kind:?} against {other:?} after step {steps}"),
                }
            }
        }
    }
}
