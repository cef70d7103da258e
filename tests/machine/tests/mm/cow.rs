//! Copy on write: what a fork has shared is each one's own as soon as somebody writes, is copied only as
//! long as somebody shares it, and never shows one program what another has written.

use crate::common::look::{self, Size, count, leaf, lost_write, page, size};
use crate::common::races::{at_each_step, misses};
use crate::common::{Untouched, machines};
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::audit::Allow;
use mm::mutant::Mutant;
use mm::{Advice, Denial, FaultOutcome, Hardware, Huge, Move, Place, Space};
use pte::Leaf;
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;
const SET: u64 = 16 * PAGE_SIZE;

/// How the memory is mapped that a fork shares.
const SIZES: [Size; 3] = [Size::Page, Size::Set, Size::Huge];

/// A space with memory mapped by entries of this size, each page stamped with its number.
fn parent<'w>(world: &'w SimWorld, of: Size) -> Space<'w, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    let (bytes, huge) = match of {
        Size::Huge => (PMD_SIZE, Huge::Default),
        Size::Set => (SET, Huge::Default),
        _ => (SET, Huge::Never),
    };
    space.map(Place::At(VA), bytes, RW, huge).expect("free");
    world.inside(&space, &mut || {
        (0..16).for_each(|n| assert_eq!(world.store(&space, at(n), n), Ok(())));
    });
    assert_eq!(size(&space, VA), of);
    space
}

fn at(page: u64) -> VirtAddr {
    VA + page * PAGE_SIZE
}

fn write(world: &SimWorld, space: &Space<'_, Machine>, n: u64, value: u64) {
    world.inside(space, &mut || assert_eq!(world.store(space, at(n), value), Ok(())));
}

/// What the program of a space finds in its first pages.
fn contents(world: &SimWorld, space: &Space<'_, Machine>) -> Vec<u64> {
    let mut found = Vec::new();
    world.inside(space, &mut || {
        found = (0..16).map(|n| world.load(space, at(n)).expect("readable")).collect();
    });
    found
}

fn with(changes: &[(usize, u64)]) -> Vec<u64> {
    let mut all: Vec<_> = (0..16).collect();
    changes.iter().for_each(|(n, value)| all[*n] = *value);
    all
}

#[test]
fn each_one_sees_its_own_writes_only() {
    for config in machines() {
        for of in SIZES {
            let world = SimWorld::new(Config { pages: 3072, ..config });
            let untouched = Untouched::new(&world);
            let parent = parent(&world, of);
            let child = parent.fork().expect("memory");
            let grandchild = child.fork().expect("memory");
            write(&world, &parent, 3, 103);
            write(&world, &child, 4, 204);
            write(&world, &grandchild, 3, 303);
            write(&world, &grandchild, 15, 315);
            assert_eq!(contents(&world, &parent), with(&[(3, 103)]), "{of:?}");
            assert_eq!(contents(&world, &child), with(&[(4, 204)]));
            assert_eq!(contents(&world, &grandchild), with(&[(3, 303), (15, 315)]));
            assert_eq!(count(&world, Event::CowCopy), 4);
            assert_eq!(
                count(&world, Event::PgCopy),
                4,
                "a page for each write, however large it was"
            );
            for space in [&parent, &child, &grandchild] {
                assert_eq!(lost_write(space, VirtRange::from_size(VA, SET)), None);
            }
            world.mm().audit().expect("in order");
            drop((parent, child, grandchild));
            untouched.check(&world);
        }
    }
}

/// Alone again, a program writes to the memory it has, and the first write finds that out for all of a
/// large folio, or for the 64 KiB around.
#[test]
fn what_nobody_shares_any_more_is_not_copied() {
    for config in machines() {
        for of in SIZES {
            let world = SimWorld::new(Config { pages: 3072, ..config });
            let parent = parent(&world, of);
            let frames: Vec<_> = (0..16).map(|n| page(&parent, at(n))).collect();
            drop(parent.fork().expect("memory"));
            assert!(!leaf(&parent, VA).expect("mapped").is_writable());
            (0..16).for_each(|n| write(&world, &parent, n, 100 + n));
            assert_eq!((0..16).map(|n| page(&parent, at(n))).collect::<Vec<_>>(), frames);
            assert_eq!(size(&parent, VA), of, "and it is mapped as it was");
            assert_eq!((count(&world, Event::CowCopy), count(&world, Event::PgCopy)), (0, 0));
            assert_eq!(
                count(&world, Event::CowReuse),
                1,
                "{of:?}: the first write finds it out for all"
            );
            world.mm().audit().expect("in order");
        }
    }
}

/// With the first page, its neighbours become writable that are the program's own again. Not what somebody
/// holds, what another area has, or what lies beyond the 64 KiB; and a clean page stays clean.
#[test]
fn neighbours_become_writable_with_the_first() {
    let scenario = |mutant| {
        for config in machines() {
            let world = SimWorld::new(Config { pages: 1024, ..config });
            world.mm().arm(mutant);
            let space = Space::new(world.mm()).expect("memory");
            space.map(Place::At(VA), 2 * SET, RW, Huge::Never).expect("free");
            (0..32).for_each(|n| write(&world, &space, n, n));
            space.protect(VirtRange::from_size(at(12), 4 * PAGE_SIZE), Prot::Read).expect("mapped");
            drop(space.fork().expect("memory"));
            let held = space.gup(at(3), Access::Read).expect("mapped");
            write(&world, &space, 7, 7);
            let writable = |n| leaf(&space, at(n)).expect("mapped").is_writable();
            let wrong = (0..32).find(|&n| writable(n) != (n < 12 && n != 3));
            if let Some(n) = wrong {
                return Some(format!("page {n}: {}", writable(n)));
            }
            let dirty = |n| leaf(&space, at(n)).expect("mapped").is_dirty();
            assert!((0..32).all(dirty), "as they were");
            drop(held);
            assert_eq!(count(&world, Event::CowReuse), 1);
            (0..12).for_each(|n| write(&world, &space, n, n));
            assert_eq!(count(&world, Event::CowReuse), 2, "what was held is found to be free");
            world.mm().audit().expect("in order");
        }
        None
    };
    misses(scenario, &[Mutant::WriteAroundShared]);
}

/// An entry that names no memory is memory corruption, and told as that: nobody reads what is not there.
#[test]
fn an_entry_that_names_no_memory_is_refused() {
    for of in [Size::Page, Size::Huge] {
        let world = SimWorld::new(Config { pages: 3072, ..Config::default() });
        let space = parent(&world, of);
        let (level, slot, entry) = look::entry(&space, VA);
        let nowhere =
            Leaf::user(level, Pfn(1 << 30), Prot::ReadWrite).write_protected().made_young();
        let hw = &world.mm().hw;
        hw.swap(slot, nowhere.word());
        let denied = FaultOutcome::Denied(Denial::Corrupt(level, nowhere.word()));
        assert_eq!(space.fault(VA, Access::Write), denied);
        assert!(space.gup_fast(VA, Access::Read).is_none());
        assert!(space.pin_fast(VA, Access::Read).is_none());
        hw.swap(slot, entry.word(level));
        world.mm().audit().expect("as it was");
    }
}

/// A folio that is mapped by pages and of which some are gone is found to be nobody else's all the same,
/// and one of which somebody else has a page is not.
#[test]
fn parts_of_a_folio_are_counted() {
    for gone in [0..5u64, 3..4, 9..16] {
        let world = SimWorld::new(Config { pages: 1024, ..machines()[0] });
        let parent = parent(&world, Size::Set);
        let child = parent.fork().expect("memory");
        // As many mappings are left as the folio has pages, but not by one space.
        child.unmap(VirtRange::new(at(gone.end - gone.start), at(16))).expect("memory");
        parent.unmap(VirtRange::new(at(gone.start), at(gone.end))).expect("memory");
        let kept = (0..16).find(|n| !gone.contains(n)).expect("one is left");
        let before = page(&parent, at(kept));
        write(&world, &parent, kept, 100);
        assert_ne!(page(&parent, at(kept)), before, "the child has part of the folio");
        drop(child);
        let kept = (0..16).rfind(|n| !gone.contains(n)).expect("one is left");
        let before = page(&parent, at(kept));
        write(&world, &parent, kept, 100);
        assert_eq!(page(&parent, at(kept)), before, "nobody has");
        world.mm().audit().expect("in order");
        assert_eq!(world.violation(), None);
    }
}

/// A reference that somebody holds is reason enough to copy.
#[test]
fn what_somebody_holds_is_copied() {
    for of in SIZES {
        let world = SimWorld::new(Config { pages: 3072, ..machines()[0] });
        let parent = parent(&world, of);
        drop(parent.fork().expect("memory"));
        let held = parent.gup(VA, Access::Read).expect("mapped");
        write(&world, &parent, 0, 100);
        assert_ne!(page(&parent, VA), Some(held.pfn()), "{of:?}");
        drop(held);
        world.mm().audit().expect("in order");
    }
}

/// Moved to where its pages lie in two tables, a folio is not looked for in both: it is copied, which is
/// right, if not cheap.
#[test]
fn a_folio_across_two_tables_is_copied() {
    let world = SimWorld::new(Config { pages: 3072, ..machines()[0] });
    let parent = parent(&world, Size::Set);
    let to = VirtAddr(1 << 41) + (PMD_SIZE - SET / 2);
    parent.remap(VirtRange::from_size(VA, SET), SET, Move::To(to)).expect("memory");
    drop(parent.fork().expect("memory"));
    world.inside(&parent, &mut || {
        for n in 0..16 {
            assert_eq!(world.load(&parent, to + n * PAGE_SIZE), Ok(n));
            assert_eq!(world.store(&parent, to + n * PAGE_SIZE, 100 + n), Ok(()));
        }
        (0..16).for_each(|n| assert_eq!(world.load(&parent, to + n * PAGE_SIZE), Ok(100 + n)));
    });
    world.mm().audit().expect("in order");
    assert_eq!(world.violation(), None);
}

/// Parent and child write to the same page at the same time: each finds what it wrote, and nothing else.
#[test]
fn writes_on_both_sides_at_once() {
    let scenario = |mutant| {
        for of in SIZES {
            let wrong = at_each_step(if of == Size::Huge { 17 } else { 3 }, |steps| {
                let world = SimWorld::new(Config { cpus: 2, pages: 3072, ..Config::default() });
                world.mm().arm(mutant);
                let parent = parent(&world, of);
                let child = parent.fork().expect("memory");
                let writer = |space: &Space<'_, Machine>, value: u64| {
                    world.inside(space, &mut || {
                        for n in [2, 3] {
                            assert_eq!(world.load(space, at(n)), Ok(n));
                            assert_eq!(world.store(space, at(n), value + n), Ok(()));
                        }
                    });
                };
                let all = world.intrude(steps, &|| writer(&parent, 100), &|| writer(&child, 200));
                if !all {
                    return None;
                }
                if let Some(violation) = world.violation() {
                    return Some(Err(violation.what));
                }
                for (space, value) in [(&parent, 100), (&child, 200)] {
                    let found = contents(&world, space);
                    if found != with(&[(2, value + 2), (3, value + 3)]) {
                        return Some(Err(format!("{of:?}: {found:?} where {value} was written")));
                    }
                }
                Some(world.mm().audit().map(drop).map_err(|broken| broken.to_string()))
            });
            if wrong.is_some() {
                return wrong;
            }
        }
        None
    };
    use Mutant::{CowReuseShared, ReplaceNoFlush, ReplaceSetBeforeFlush};
    misses(scenario, &[CowReuseShared, ReplaceNoFlush, ReplaceSetBeforeFlush]);
}

/// Two CPUs of one space write to a shared page: one copy is made, and both writes are in it.
#[test]
fn two_writers_of_one_space_get_one_page() {
    for of in SIZES {
        let wrong = at_each_step(if of == Size::Huge { 17 } else { 2 }, |steps| {
            let world = SimWorld::new(Config { cpus: 2, pages: 3072, ..Config::default() });
            let parent = parent(&world, of);
            let child = parent.fork().expect("memory");
            let writer = |word: u64| {
                world.inside(&parent, &mut || {
                    assert_eq!(world.store(&parent, at(7) + word, word), Ok(()));
                });
            };
            if !world.intrude(steps, &|| writer(8), &|| writer(16)) {
                return None;
            }
            world.inside(&parent, &mut || {
                for (word, expected) in [(0, 7), (8, 8), (16, 16)] {
                    assert_eq!(world.load(&parent, at(7) + word), Ok(expected));
                }
            });
            assert_eq!(contents(&world, &child), with(&[]));
            assert_eq!(count(&world, Event::CowCopy), 1);
            let found = world.violation().map(|violation| violation.what);
            Some(found.map_or(Ok(()), Err))
        });
        assert_eq!(wrong, None, "{of:?}");
    }
}

/// The child goes while the parent writes: whether a copy was needed or not, nothing is lost or leaked.
#[test]
fn a_sharer_goes_at_any_moment() {
    for of in SIZES {
        let wrong = at_each_step(if of == Size::Huge { 23 } else { 3 }, |steps| {
            let world = SimWorld::new(Config { cpus: 2, pages: 3072, ..Config::default() });
            let untouched = Untouched::new(&world);
            let parent = parent(&world, of);
            let child = std::sync::Mutex::new(Some(parent.fork().expect("memory")));
            let writes = || write(&world, &parent, 5, 105);
            let goes = || drop(child.lock().expect("one at a time").take());
            if !world.intrude(steps, &writes, &goes) {
                return None;
            }
            assert_eq!(contents(&world, &parent), with(&[(5, 105)]));
            let broken = world.mm().audit().map(drop).map_err(|broken| broken.to_string());
            drop((parent, child));
            untouched.check(&world);
            Some(broken)
        });
        assert_eq!(wrong, None, "{of:?}");
    }
}

/// No memory for the copy: the fault says so, everything is as it was, and later it succeeds.
#[test]
fn without_memory_for_a_copy_nothing_is_changed() {
    for of in SIZES {
        let world = SimWorld::new(Config { pages: 3072, ..machines()[0] });
        let parent = parent(&world, of);
        let child = parent.fork().expect("memory");
        let mut hoard = Vec::new();
        while let Ok(pfn) = world.mm().alloc(Order::PAGE) {
            hoard.push(pfn);
        }
        let before = page(&parent, VA);
        let refused = parent.fault(VA, Access::Write);
        assert!(matches!(refused, FaultOutcome::OutOfMemory(_)), "{refused:?}");
        assert_eq!(page(&parent, VA), before);
        assert!(!leaf(&parent, VA).expect("mapped").is_writable());
        hoard.into_iter().for_each(|pfn| world.mm().free(pfn));
        write(&world, &parent, 0, 100);
        assert_eq!(contents(&world, &parent), with(&[(0, 100)]));
        assert_eq!(contents(&world, &child), with(&[]));
        world.mm().audit().expect("in order");
    }
}

/// A page that a device reads must be the program's own, also where the program may only read it; and it
/// stays the one page when the program writes again.
#[test]
fn a_pin_for_reading_unshares() {
    for of in SIZES {
        for prot in [Prot::Read, RW] {
            let world = SimWorld::new(Config { pages: 3072, ..machines()[1] });
            let parent = parent(&world, of);
            let child = parent.fork().expect("memory");
            let whole = VirtRange::from_size(VA, SET.max(of.bytes()));
            parent.protect(whole, prot).expect("memory");
            let pin = parent.pin(at(6), Access::Read).expect("memory");
            assert_eq!(page(&parent, at(6)), Some(pin.pfn()));
            assert_ne!(page(&child, at(6)), Some(pin.pfn()), "{of:?} {prot}");
            assert_eq!(contents(&world, &parent), with(&[]));
            parent.protect(whole, RW).expect("memory");
            write(&world, &parent, 6, 106);
            write(&world, &child, 6, 206);
            assert_eq!(page(&parent, at(6)), Some(pin.pfn()), "a write does not part them");
            assert_eq!(contents(&world, &parent), with(&[(6, 106)]));
            drop(pin);
            world.mm().audit().expect("in order");
        }
    }
}

/// Pinned pages of a folio stay the parent's across a fork while the others are shared: rights and
/// writes afterwards find each page as it is, and no contiguous set is half one thing, half the other.
#[test]
fn some_pages_of_a_set_are_shared_and_some_are_not() {
    for config in machines() {
        let world = SimWorld::new(Config { pages: 3072, ..config });
        let parent = parent(&world, Size::Set);
        let pin = parent.pin(at(6), Access::Write).expect("memory");
        let child = parent.fork().expect("memory");
        let audit = || world.mm().audit_but(Allow::refs(1)).map(drop);
        assert_eq!(audit(), Ok(()));
        let whole = VirtRange::from_size(VA, SET);
        for prot in [Prot::Read, Prot::None, RW] {
            for space in [&parent, &child] {
                space.protect(whole, prot).expect("memory");
            }
            assert_eq!(audit(), Ok(()), "{prot}");
        }
        (0..16).for_each(|n| write(&world, &parent, n, 100 + n));
        assert_eq!(page(&parent, at(6)), Some(pin.pfn()));
        assert_eq!(contents(&world, &child), with(&[]));
        drop((pin, child));
        (0..16).for_each(|n| write(&world, &parent, n, 200 + n));
        world.mm().audit().expect("in order");
        assert_eq!(world.violation(), None);
    }
}

/// Rights are taken away, or shared, while hardware records the first write since the entry was made clean: at
/// whichever moment it comes, somebody knows of it.
#[test]
fn a_first_write_is_recorded_whatever_changes_the_entry() {
    for forks in [false, true] {
        let scenario = |mutant| {
            at_each_step(if forks { 3 } else { 1 }, |steps| {
                let world = SimWorld::new(Config { cpus: 2, pages: 1024, ..machines()[1] });
                world.mm().arm(mutant);
                let space = Space::new(world.mm()).expect("memory");
                let range = VirtRange::from_size(VA, PAGE_SIZE);
                space.map(Place::At(VA), PAGE_SIZE, RW, Huge::Never).expect("free");
                write(&world, &space, 0, 1);
                // Clean, and used since.
                space.advise(range, Advice::Free).expect("mapped");
                world.inside(&space, &mut || assert_eq!(world.load(&space, VA), Ok(1)));
                world.mm().hw.forget_writes(page(&space, VA).expect("mapped"));
                let changes = || match forks {
                    true => drop(space.fork().expect("memory")),
                    false => space.protect(range, Prot::Read).expect("memory"),
                };
                let writes = || {
                    world.inside(&space, &mut || {
                        let _ = world.store(&space, VA, 2);
                    });
                };
                if !world.intrude(steps, &changes, &writes) {
                    return None;
                }
                let lost = lost_write(&space, range).map(|_| "a write is lost".into());
                Some(lost.or(world.violation().map(|found| found.what)).map_or(Ok(()), Err))
            })
        };
        misses(scenario, &[Mutant::RewriteNotAtomic]);
    }
}
