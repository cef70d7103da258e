//! Everything that changes what is mapped, against everything that holds a page: each in the middle of the
//! other, for pages, contiguous runs and huge pages.
//!
//! What is held is the page that was mapped before, or the one that is after; while nothing happens, it is
//! the one that hardware would use. In the end every count is what it should be.

use crate::common::races::{at_each_step, misses, touch, translation, world, wrong};
use abi::{Access, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Machine, SimWorld};
use mm::audit::Allow;
use mm::frame::{FolioPin, FolioRef, PIN_BIAS};
use mm::mutant::Mutant;
use mm::{Advice, Huge, Move, Place, Space};
use std::sync::Mutex;
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
/// The page that is asked for: in the middle of a run, and of a contiguous set.
const ASKED: VirtAddr = VirtAddr((1 << 40) + 5 * PAGE_SIZE);

/// What may be mapped: bytes, and advice.
const SHAPES: [(u64, Huge); 3] =
    [(8 * PAGE_SIZE, Huge::Never), (16 * PAGE_SIZE, Huge::Default), (PMD_SIZE, Huge::Default)];

/// A change of what is mapped.
struct Change {
    name: &'static str,
    /// What is pinned goes on being what the program sees.
    keeps: bool,
    /// What it leaves behind lives as long as the world.
    make: for<'a> fn(&Space<'a, Machine>, VirtRange) -> Option<Space<'a, Machine>>,
}

const CHANGES: [Change; 13] = [
    Change {
        name: "unmap all",
        keeps: false,
        make: |space, range| space.unmap(range).map(|()| None).expect("memory"),
    },
    Change {
        name: "unmap the page",
        keeps: false,
        make: |space, _| space.unmap(page_at(0)).map(|()| None).expect("memory"),
    },
    Change {
        name: "unmap its neighbour",
        keeps: true,
        make: |space, _| space.unmap(page_at(1)).map(|()| None).expect("memory"),
    },
    Change {
        name: "protect from all",
        keeps: true,
        make: |space, range| space.protect(range, Prot::None).map(|()| None).expect("memory"),
    },
    Change {
        name: "protect from writing",
        keeps: true,
        make: |space, range| space.protect(range, Prot::Read).map(|()| None).expect("memory"),
    },
    Change {
        name: "forget",
        keeps: false,
        make: |space, range| space.advise(range, Advice::DontNeed).map(|()| None).expect("mapped"),
    },
    Change {
        name: "free",
        keeps: true,
        make: |space, range| space.advise(range, Advice::Free).map(|()| None).expect("mapped"),
    },
    Change {
        name: "move away",
        keeps: false,
        make: |space, range| {
            let to = Move::To(VA + 8 * PMD_SIZE);
            space.remap(range, range.bytes(), to).map(|_| None).expect("room")
        },
    },
    Change { name: "fork", keeps: true, make: |space, _| Some(space.fork().expect("memory")) },
    Change {
        name: "split the block",
        keeps: true,
        make: |space, _| {
            space.split_block(ASKED);
            None
        },
    },
    Change {
        name: "split the folio",
        keeps: true,
        make: |space, _| {
            // Refused where somebody holds it.
            let _ = space.split_folio_at(ASKED, Order::PAGE);
            None
        },
    },
    Change {
        name: "take out and put back",
        keeps: true,
        make: |space, _| {
            drop(space.freeze_folio_at(ASKED));
            None
        },
    },
    Change {
        name: "take out, split, put back",
        keeps: true,
        make: |space, _| {
            if let Ok(frozen) = space.freeze_folio_at(ASKED) {
                space.split_block(ASKED);
                frozen.thaw();
            }
            None
        },
    },
];

/// The page `n` after the one that is asked for.
const fn page_at(n: u64) -> VirtRange {
    VirtRange::from_size(VirtAddr(ASKED.0 + n * PAGE_SIZE), PAGE_SIZE)
}

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
    let space = Space::new(world.mm()).expect("memory");
    let range = VirtRange::from_size(VA, bytes);
    space.map(Place::At(VA), bytes, Prot::ReadWrite, huge).expect("free");
    // A neighbour keeps the tables above.
    space.map(Place::At(VA + PMD_SIZE), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    touch(&space, VA + PMD_SIZE);
    space.advise(range, Advice::PopulateWrite).expect("memory");
    (space, range)
}

/// Puts what one CPU has where the test finds it.
fn keep<T>(place: &Mutex<T>, value: T) {
    *place.lock().expect("alone") = value;
}

/// What happened in one world.
struct Run<'a> {
    world: &'a SimWorld,
    space: Space<'a, Machine>,
    range: VirtRange,
    held: Option<Held<'a>>,
    other: Option<Space<'a, Machine>>,
}

impl Run<'_> {
    /// Nothing is wrong while something is held, nor after; and what is pinned is what the program sees,
    /// if the change keeps it.
    fn settle(self, keeps: bool) -> Result<(), String> {
        let Self { world, space, range, held, other } = self;
        let refs = if held.is_some() { u64::from(PIN_BIAS) } else { 0 };
        if let Err(broken) = world.mm().audit_but(Allow::refs(refs)) {
            return Err(format!("while it is held: {broken}"));
        }
        if let (Some(Held::Pin(pin)), true) = (&held, keeps) {
            // The neighbour may be gone.
            let _ = space.protect(page_at(0).intersect(&range), Prot::ReadWrite);
            let seen = space.gup(ASKED, Access::Write).map(|folio| folio.pfn());
            if seen != Ok(pin.pfn()) {
                return Err(format!("{:?} is pinned, and the program has {seen:?}", pin.pfn()));
            }
        }
        drop((held, space, other));
        wrong(world).map_or(Ok(()), Err)
    }
}

/// Tries `one` with every shape, change and question, until something is wrong.
fn everything(one: impl Fn((u64, Huge), &Change, Ask) -> Option<String>) -> Option<String> {
    for shape in SHAPES {
        for change in &CHANGES {
            for (how, ask) in ASKS {
                if let Some(what) = one(shape, change, ask) {
                    return Some(format!("{how}, {}, {shape:?}: {what}", change.name));
                }
            }
        }
    }
    None
}

#[test]
fn changes_in_the_middle_of_asking() {
    let scenario = |mutant| {
        everything(|shape, change, ask| {
            at_each_step(1, |steps| {
                let world = world(mutant);
                let (space, range) = space(&world, shape);
                let before = translation(&space, ASKED);
                let (held, other) = (Mutex::new(None), Mutex::new(None));
                let reached = world.intrude(steps, &|| keep(&held, ask(&space)), &|| {
                    keep(&other, (change.make)(&space, range));
                });
                let held = held.into_inner().expect("alone");
                let other = other.into_inner().expect("alone");
                let got = held.as_ref().map(Held::pfn);
                let after = translation(&space, ASKED);
                if got.is_some() && got != before && got != after {
                    return Some(Err(format!("{got:?}, neither {before:?} nor {after:?}")));
                }
                let verdict = Run { world: &world, space, range, held, other }.settle(change.keeps);
                reached.then_some(verdict)
            })
        })
    };
    misses(scenario, &[Mutant::PinUnnoted, Mutant::ForkIgnoresHugePins]);
}

#[test]
fn asking_in_the_middle_of_changes() {
    let scenario = |mutant| {
        everything(|shape, change, ask| {
            at_each_step(29, |steps| {
                let world = world(mutant);
                let (space, range) = space(&world, shape);
                let seen = Mutex::new((None, None, None));
                let other = Mutex::new(None);
                let reached =
                    world.intrude(steps, &|| keep(&other, (change.make)(&space, range)), &|| {
                        let before = translation(&space, ASKED);
                        let held = ask(&space);
                        keep(&seen, (before, held, translation(&space, ASKED)));
                    });
                let (before, held, after) = seen.into_inner().expect("alone");
                let other = other.into_inner().expect("alone");
                let got = held.as_ref().map(Held::pfn);
                // Nothing happens while the change stands still.
                assert_eq!(before, after);
                if got.is_some() && got != before {
                    return Some(Err(format!("{got:?} where a program would get {before:?}")));
                }
                let verdict = Run { world: &world, space, range, held, other }.settle(change.keeps);
                reached.then_some(verdict)
            })
        })
    };
    let mutants = [Mutant::GupTrustsPresent, Mutant::GupProtNone, Mutant::ForkNoSequence];
    misses(scenario, &mutants);
}
