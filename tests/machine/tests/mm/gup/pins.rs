//! Laws of pins: a pinned page is the one that the program sees, across forks and copies on write; and
//! what may come between a pin and a fork, at each step of either.

use crate::common::races::{self, at_each_step, misses, touch, translation, world, wrong};
use crate::common::{Untouched, machines};
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::FolioPin;
use mm::gup::GupError;
use mm::mutant::Mutant;
use mm::{Advice, Hardware, Huge, Place, Space};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
/// Enough for the smallest areas: the tests' own page and one more.
const SMALL: u64 = 2 * PAGE_SIZE;

/// A space with `bytes` at [`VA`], of which the first page, or the huge page, was written.
fn space(world: &SimWorld, bytes: u64) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    let huge = if bytes == PMD_SIZE { Huge::Default } else { Huge::Never };
    space.map(Place::At(VA), bytes, Prot::ReadWrite, huge).expect("free");
    touch(&space, VA);
    space
}

/// Writes of the program at [`VA`] go to the pinned page, and to no other's.
fn goes_on_showing(
    space: &Space<'_, Machine>,
    child: Option<&Space<'_, Machine>>,
    pin: &FolioPin<'_, Machine>,
) -> Result<(), String> {
    let resolve = |space: &Space<'_, Machine>, access| {
        while space.gup(VA, access).map(drop) == Err(GupError::TooMany(pin.pfn())) {}
        translation(space, VA)
    };
    let childs = child.and_then(|child| resolve(child, Access::Read));
    let seen = resolve(space, Access::Write);
    if seen != Some(pin.pfn()) {
        return Err(format!("{:?} is pinned, and the program writes to {seen:?}", pin.pfn()));
    }
    if childs == Some(pin.pfn()) {
        return Err(format!("{:?} is pinned, and another program reads it", pin.pfn()));
    }
    Ok(())
}

#[test]
fn a_pinned_page_stays_the_programs_across_a_fork() {
    for config in machines() {
        for bytes in [SMALL, PMD_SIZE] {
            for access in [Access::Read, Access::Write] {
                let world = SimWorld::new(Config { pages: 4096, ..config });
                let untouched = Untouched::new(&world);
                let parent = space(&world, bytes);
                let pin = parent.pin(VA, access).expect("memory");
                let child = parent.fork().expect("memory");
                assert_eq!(goes_on_showing(&parent, Some(&child), &pin), Ok(()));
                // Both go, and what is pinned does not.
                drop((parent, child));
                assert_eq!(world.mm().hw.peek(pin.pfn().base()), 0);
                drop(pin);
                assert_eq!(wrong(&world), None);
                untouched.check(&world);
            }
        }
    }
}

#[test]
fn a_fork_that_does_not_look_for_pins() {
    let scenario = |mutant| {
        [SMALL, PMD_SIZE].iter().find_map(|bytes| {
            let world = world(mutant);
            let parent = space(&world, *bytes);
            let pin = parent.pin(VA, Access::Write).expect("memory");
            let child = parent.fork().expect("memory");
            goes_on_showing(&parent, Some(&child), &pin).err()
        })
    };
    misses(scenario, &[Mutant::ForkIgnoresPins, Mutant::ForkIgnoresHugePins]);
}

/// What a fork has shared is nobody's to pin: the program gets a copy of its own first, also where it may
/// only read.
#[test]
fn a_shared_page_is_copied_before_it_is_pinned() {
    let scenario = |mutant| {
        for bytes in [SMALL, PMD_SIZE] {
            for (prot, access) in [
                (Prot::ReadWrite, Access::Read),
                (Prot::ReadWrite, Access::Write),
                (Prot::Read, Access::Read),
            ] {
                let world = world(mutant);
                let parent = space(&world, bytes);
                let child = parent.fork().expect("memory");
                parent.protect(VirtRange::from_size(VA, bytes), prot).expect("memory");
                let shared = translation(&parent, VA);
                let fast = parent.pin_fast(VA, access).map(|pin| pin.pfn());
                let pin = parent.pin(VA, access).expect("memory");
                if fast.is_some() || Some(pin.pfn()) == shared {
                    return Some(format!("{:?} is shared and pinned", pin.pfn()));
                }
                assert_eq!(translation(&child, VA), shared, "the other's stays");
                parent.protect(VirtRange::from_size(VA, bytes), Prot::ReadWrite).expect("memory");
                assert_eq!(goes_on_showing(&parent, Some(&child), &pin), Ok(()));
                drop((pin, parent, child));
                assert_eq!(wrong(&world), None);
            }
        }
        None
    };
    misses(scenario, &[Mutant::PinShared]);
}

/// A reference promises less: it is had of what is shared, as it is.
#[test]
fn a_shared_page_can_be_referenced() {
    let world = world(None);
    let parent = space(&world, SMALL);
    let child = parent.fork().expect("memory");
    let both = [&parent, &child].map(|space| space.gup_fast(VA, Access::Read).expect("mapped"));
    assert_eq!(both[0].pfn(), both[1].pfn());
    assert!(parent.gup_fast(VA, Access::Write).is_none(), "it is read-only until it is copied");
    let own = parent.gup(VA, Access::Write).expect("memory");
    assert_ne!(own.pfn(), both[0].pfn());
}

/// A fork between any two steps of a pin. Either the pin was there first, and the child has a copy; or it
/// was not to be had.
#[test]
fn a_fork_within_a_pin() {
    let scenario = |mutant| {
        let each = |bytes, access| {
            at_each_step(1, |steps| {
                let world = world(mutant);
                let parent = space(&world, bytes);
                let (pin, child) = (Mutex::new(None), Mutex::new(None));
                let reached = world.intrude(
                    steps,
                    &|| *pin.lock().expect("alone") = parent.pin_fast(VA, access),
                    &|| *child.lock().expect("alone") = parent.fork().ok(),
                );
                let (pin, child) = (pin.into_inner(), child.into_inner());
                let (pin, child) = (pin.expect("alone"), child.expect("alone"));
                assert!(child.is_some(), "memory for a fork");
                let mut verdict = match &pin {
                    Some(pin) => goes_on_showing(&parent, child.as_ref(), pin),
                    None => Ok(()),
                };
                drop((pin, child, parent));
                verdict = verdict.and_then(|()| wrong(&world).map_or(Ok(()), Err));
                reached.then_some(verdict)
            })
        };
        [SMALL, PMD_SIZE]
            .iter()
            .find_map(|bytes| each(*bytes, Access::Read).or_else(|| each(*bytes, Access::Write)))
    };
    misses(scenario, &[Mutant::PinUnnoted]);
}

/// The other way round.
#[test]
fn a_pin_within_a_fork() {
    let scenario = |mutant| {
        at_each_step(7, |steps| {
            let world = world(mutant);
            let parent = space(&world, SMALL);
            let (pin, child) = (Mutex::new(None), Mutex::new(None));
            let reached = world.intrude(
                steps,
                &|| *child.lock().expect("alone") = parent.fork().ok(),
                &|| *pin.lock().expect("alone") = parent.pin_fast(VA, Access::Read),
            );
            let (pin, child) = (pin.into_inner(), child.into_inner());
            let (pin, child) = (pin.expect("alone"), child.expect("alone"));
            let verdict = match &pin {
                Some(pin) => goes_on_showing(&parent, child.as_ref(), pin),
                None => Ok(()),
            };
            reached.then_some(verdict)
        })
    };
    misses(scenario, &[Mutant::PinDuringFork]);
}

/// A pin within a fork within a pin: the fork has looked for pins and has yet to share the page.
#[test]
fn a_fork_that_begins_and_ends_around_a_pin() {
    /// The most steps of a fork until it is done with the first page.
    const MOST: u64 = 100;
    let scenario = |mutant| {
        (1..MOST).find_map(|forks| {
            at_each_step(1, |pins| {
                let world = world(mutant);
                let parent = space(&world, SMALL);
                let (pin, child) = (Mutex::new(None), Mutex::new(None));
                let reached = world.weave(
                    [pins, forks],
                    &|| *pin.lock().expect("alone") = parent.pin_fast(VA, Access::Write),
                    &|| *child.lock().expect("alone") = parent.fork().ok(),
                );
                let (pin, child) = (pin.into_inner(), child.into_inner());
                let (pin, child) = (pin.expect("alone"), child.expect("alone"));
                let verdict = match &pin {
                    Some(pin) => goes_on_showing(&parent, child.as_ref(), pin),
                    None => Ok(()),
                };
                reached.then_some(verdict)
            })
        })
    };
    misses(scenario, &[Mutant::PinForgetsFork, Mutant::ForkNoSequence]);
}

/// The shared zeros: referenced and pinned for reading under the lock only, and counted by nobody.
#[test]
fn zeros_can_be_read_and_cost_nothing() {
    for bytes in [SMALL, PMD_SIZE] {
        let world = world(None);
        let space = Space::new(world.mm()).expect("memory");
        let huge = if bytes == PMD_SIZE { Huge::Default } else { Huge::Never };
        space.map(Place::At(VA), bytes, Prot::ReadWrite, huge).expect("free");
        let _ = space.fault(VA, Access::Read);
        let zeros = translation(&space, VA).expect("mapped");
        assert!(
            space.gup_fast(VA, Access::Read).is_none()
                && space.pin_fast(VA, Access::Read).is_none()
        );
        let pin = space.pin(VA, Access::Read).expect("zeros");
        assert_eq!(pin.pfn(), zeros);
        let audit = world.mm().audit().expect("a pin of zeros is nothing");
        assert!(audit.special > 0 && audit.held == 0);
        drop(pin);
        let folio = space.gup(VA, Access::Read).expect("zeros");
        assert_eq!(folio.pfn(), zeros);
        drop(folio);
        // For writing there is other memory.
        let own = space.pin(VA, Access::Write).expect("memory");
        assert_ne!(own.pfn(), zeros);
        assert_eq!(goes_on_showing(&space, None, &own), Ok(()));
        drop((own, space));
        assert_eq!(wrong(&world), None);
    }
}

/// Given frames are nobody's to hold, and who asks is told so, and not told to try again.
#[test]
fn given_frames_are_refused() {
    let world = world(None);
    let frame = world.mm().alloc(Order::PAGE).expect("memory");
    let space = Space::new(world.mm()).expect("memory");
    space.map_frames(Place::At(VA), frame, PAGE_SIZE, Prot::ReadWrite).expect("free");
    for access in [Access::Read, Access::Write] {
        assert!(space.gup_fast(VA, access).is_none() && space.pin_fast(VA, access).is_none());
        assert_eq!(space.gup(VA, access).map(drop), Err(GupError::Uncounted(frame)));
        assert_eq!(space.pin(VA, access).map(drop), Err(GupError::Uncounted(frame)));
    }
    drop(space);
    world.mm().free(frame);
    assert_eq!(wrong(&world), None);
}

#[test]
fn what_is_special_is_not_for_the_lockless() {
    let scenario = |mutant| {
        let world = world(mutant);
        let space = Space::new(world.mm()).expect("memory");
        space.map(Place::At(VA), SMALL, Prot::Read, Huge::Never).expect("free");
        let _ = space.fault(VA, Access::Read);
        let got = space.gup_fast(VA, Access::Read);
        let what = got.map(|folio| format!("{:?} is everybody's and is held", folio.pfn()));
        what.or_else(|| wrong(&world))
    };
    misses(scenario, &[Mutant::GupSpecial]);
}

/// Pins and forks at the same time, on CPUs of their own. Who has a pin writes past all tables, as a device
/// does, and the program reads what was written; who has not does not disturb.
#[test]
fn pins_against_forks_on_other_cpus() {
    let storm = |seed| {
        let caps = machines()[seed as usize % 4].caps;
        let world = SimWorld::new(Config { caps, seed, pages: 4096, ..Config::default() });
        let parent = space(&world, SMALL);
        let (kept, wrong) = (AtomicU64::new(0), Mutex::new(None));
        let body = |cpu: usize| {
            for round in 1..30_u64 {
                if cpu == 0 {
                    let child = parent.fork().expect("memory");
                    (0..round % 3).for_each(|_| world.yield_now());
                    drop(child);
                    continue;
                }
                // One page each, so that nobody else writes there.
                let va = VA + (cpu as u64 - 1) * PAGE_SIZE;
                let access = if round.is_multiple_of(2) { Access::Read } else { Access::Write };
                let Ok(pin) = parent.pin(va, access) else { return };
                let value = round << 8 | cpu as u64;
                world.mm().hw.poke(pin.pfn().base(), value);
                (0..round % 5).for_each(|_| world.yield_now());
                let seen = parent.gup(va, Access::Read).map(|folio| folio.pfn());
                if seen != Ok(pin.pfn()) {
                    let words = format!("{:?} is pinned, and the program has {seen:?}", pin.pfn());
                    wrong.lock().expect("no panic").get_or_insert(words);
                }
                kept.fetch_add(1, SeqCst);
            }
        };
        world.run(3, &body, &mut || ());
        drop(parent);
        let found = wrong.into_inner().expect("no panic").or_else(|| races::wrong(&world));
        (found, kept.into_inner())
    };
    for seed in 1..9 {
        let (found, kept) = storm(seed);
        assert_eq!(found, None, "seed {seed}");
        assert_eq!(kept, 2 * 29, "seed {seed}");
    }
}

/// The program has given its memory up, and before it is taken a device writes there: it stays.
#[test]
fn what_was_written_past_the_tables_is_kept() {
    /// What the device writes.
    const VALUE: u64 = 0x1234;
    let holds: [fn(&Space<'_, Machine>) -> Pfn; 2] = [
        |space| {
            space.gup(VA, Access::Write).map(|folio| write(space, folio.pfn())).expect("mapped")
        },
        |space| space.pin(VA, Access::Write).map(|pin| write(space, pin.pfn())).expect("mapped"),
    ];
    fn write(space: &Space<'_, Machine>, page: Pfn) -> Pfn {
        space.mm().hw.poke(page.base(), VALUE);
        page
    }
    let scenario = |mutant| {
        holds.iter().find_map(|hold| {
            let world = world(mutant);
            let space = space(&world, SMALL);
            let range = VirtRange::from_size(VA, SMALL);
            space.advise(range, Advice::Free).expect("mapped");
            let page = hold(&space);
            let taken = world.mm().reclaim_lazy(16);
            let found = translation(&space, VA);
            let lost = taken != 0 || found != Some(page);
            lost.then(|| format!("{taken} pages taken, and the program has {found:?} for {page:?}"))
        })
    };
    misses(scenario, &[Mutant::HoldForgetsWrite]);
}

/// Every pin that was taken was given back, also those that came to nothing.
#[test]
fn pins_are_counted_both_ways() {
    let world = world(None);
    let parent = space(&world, SMALL);
    let pins: Vec<_> = (0..5).map(|_| parent.pin(VA, Access::Write).expect("memory")).collect();
    let of = |event| world.mm().stats.total(event);
    assert_eq!((of(Event::PinAcquired), of(Event::PinReleased)), (5, 0));
    drop(pins);
    assert_eq!((of(Event::PinAcquired), of(Event::PinReleased)), (5, 5));
}
