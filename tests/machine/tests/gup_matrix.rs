//! Everything that changes what is mapped, against everything that holds a page: each in the middle of the
//! other, for pages, contiguous runs and huge pages.
//!
//! What is held is the page that was mapped before, or the one that is after; while nothing happens, it is
//! the one that hardware would use. In the end every count is what it should be.

mod races;

use abi::{Access, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Machine, SimWorld};
use mm::audit::Allow;
use mm::frame::{FolioPin, FolioRef};
use mm::{Advice, Huge, Move, Place, Space};
use races::{at_each_step, translation, world, wrong};
use std::sync::Mutex;

const VA: VirtAddr = VirtAddr(1 << 40);
/// The page that is asked for: in the middle of a run, and of a contiguous set.
const ASKED: VirtAddr = VirtAddr((1 << 40) + 5 * PAGE_SIZE);

/// What may be mapped: bytes, and advice.
const SHAPES: [(u64, Huge); 3] =
    [(8 * PAGE_SIZE, Huge::Never), (16 * PAGE_SIZE, Huge::Default), (PMD_SIZE, Huge::Default)];

/// A change of what is mapped. What it may leave behind lives as long as the world.
type Change = for<'a> fn(&Space<'a, Machine>, VirtRange) -> Option<Space<'a, Machine>>;

const CHANGES: [(&str, Change); 9] = [
    ("unmap all", |space, range| space.unmap(range).map(|()| None).expect("memory")),
    ("unmap the page", |space, _| {
        space.unmap(VirtRange::from_size(ASKED, PAGE_SIZE)).map(|()| None).expect("memory")
    }),
    ("unmap its neighbour", |space, _| {
        let next = VirtRange::from_size(ASKED + PAGE_SIZE, PAGE_SIZE);
        space.unmap(next).map(|()| None).expect("memory")
    }),
    ("protect from all", |space, range| {
        space.protect(range, Prot::None).map(|()| None).expect("memory")
    }),
    ("protect from writing", |space, range| {
        space.protect(range, Prot::Read).map(|()| None).expect("memory")
    }),
    ("forget", |space, range| {
        space.advise(range, Advice::DontNeed).map(|()| None).expect("mapped")
    }),
    ("free", |space, range| space.advise(range, Advice::Free).map(|()| None).expect("mapped")),
    ("move away", |space, range| {
        let to = Move::To(VA + 8 * PMD_SIZE);
        space.remap(range, range.bytes(), to).map(|_| None).expect("room")
    }),
    ("fork", |space, _| Some(space.fork().expect("memory"))),
];

/// What is asked for.
type Ask = for<'a> fn(&Space<'a, Machine>) -> Option<Held<'a>>;

/// What was had.
enum Held<'a> {
    Reference(FolioRef<'a, Machine>),
    Pin(FolioPin<'a, Machine>),
}

impl Held<'_> {
    fn pfn(&self) -> Pfn {
        match self {
            Self::Reference(folio) => folio.pfn(),
            Self::Pin(pin) => pin.pfn(),
        }
    }
}

const ASKS: [(&str, Ask); 4] = [
    ("a reference to read", |space| space.gup_fast(ASKED, Access::Read).map(Held::Reference)),
    ("a reference to write", |space| space.gup_fast(ASKED, Access::Write).map(Held::Reference)),
    ("a pin to read", |space| space.pin_fast(ASKED, Access::Read).map(Held::Pin)),
    ("a pin to write", |space| space.pin_fast(ASKED, Access::Write).map(Held::Pin)),
];

fn space(world: &SimWorld, (bytes, huge): (u64, Huge)) -> (Space<'_, Machine>, VirtRange) {
    use stress::World;
    let space = Space::new(world.mm()).expect("memory");
    let range = VirtRange::from_size(VA, bytes);
    space.map(Place::At(VA), bytes, Prot::ReadWrite, huge).expect("free");
    // A neighbour keeps the tables above.
    space.map(Place::At(VA + PMD_SIZE), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    space.advise(range, Advice::PopulateWrite).expect("memory");
    (space, range)
}

/// Nothing is wrong while something is held, and nothing after.
fn settle(
    world: &SimWorld,
    held: Option<Held<'_>>,
    spaces: [Option<Space<'_, Machine>>; 2],
) -> Result<(), String> {
    use stress::World;
    let refs = if held.is_some() { u64::from(mm::frame::PIN_BIAS) } else { 0 };
    if let Err(broken) = world.mm().audit_but(Allow::refs(refs)) {
        return Err(format!("while it is held: {broken}"));
    }
    drop(held);
    drop(spaces);
    wrong(world).map_or(Ok(()), Err)
}

#[test]
fn changes_in_the_middle_of_asking() {
    for shape in SHAPES {
        for (what, change) in CHANGES {
            for (how, ask) in ASKS {
                let found = at_each_step(1, |steps| {
                    let world = world(None);
                    let (space, range) = space(&world, shape);
                    let before = translation(&space, ASKED);
                    let (held, other) = (Mutex::new(None), Mutex::new(None));
                    let reached = world.intrude(
                        steps,
                        &|| *held.lock().expect("alone") = ask(&space),
                        &|| *other.lock().expect("alone") = change(&space, range),
                    );
                    let held = held.into_inner().expect("alone");
                    let got = held.as_ref().map(Held::pfn);
                    let after = translation(&space, ASKED);
                    if got.is_some() && got != before && got != after {
                        return Some(Err(format!("{got:?}, neither {before:?} nor {after:?}")));
                    }
                    let other = other.into_inner().expect("alone");
                    let verdict = settle(&world, held, [Some(space), other]);
                    reached.then_some(verdict)
                });
                assert_eq!(found, None, "{how}, {what}, {shape:?}");
            }
        }
    }
}

#[test]
fn asking_in_the_middle_of_changes() {
    for shape in SHAPES {
        for (what, change) in CHANGES {
            for (how, ask) in ASKS {
                let found = at_each_step(29, |steps| {
                    let world = world(None);
                    let (space, range) = space(&world, shape);
                    let seen = Mutex::new((None, None, None));
                    let other = Mutex::new(None);
                    let reached = world.intrude(
                        steps,
                        &|| *other.lock().expect("alone") = change(&space, range),
                        &|| {
                            let before = translation(&space, ASKED);
                            let held = ask(&space);
                            *seen.lock().expect("alone") =
                                (before, held, translation(&space, ASKED));
                        },
                    );
                    let (before, held, after) = seen.into_inner().expect("alone");
                    let got = held.as_ref().map(Held::pfn);
                    // Nothing happens while the change stands still.
                    assert_eq!(before, after);
                    if got.is_some() && got != before {
                        return Some(Err(format!("{got:?} where a program would get {before:?}")));
                    }
                    let other = other.into_inner().expect("alone");
                    let verdict = settle(&world, held, [Some(space), other]);
                    reached.then_some(verdict)
                });
                assert_eq!(found, None, "{how}, {what}, {shape:?}");
            }
        }
    }
}
