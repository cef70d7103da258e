//! Contiguous sets: all sixteen or none at every moment that anybody can see, and no access or write
//! forgotten when they are made and taken apart.

use crate::common::look::{self, Size, count, leaf, lost_write, page, size};
use crate::common::races::{at_each_step, misses};
use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::{Advice, FaultOutcome, Hardware, Huge, Place, Space};
use pte::{BbmLevel, Caps};
use stress::World;

/// In the middle of a table.
const VA: VirtAddr = VirtAddr((1 << 40) + PMD_SIZE / 2);
const RW: Prot = Prot::ReadWrite;
const SET: u64 = 16 * PAGE_SIZE;

/// Those of the suite, and one that promises never to abort when it meets a set and its members.
fn all_machines() -> Vec<Config> {
    let trusted = Caps { bbm: BbmLevel::L2NoAbort, ..Caps::MAX };
    machines().into_iter().chain([Config { caps: trusted, ..machines()[0] }]).collect()
}

/// A space with `sets` sets at [`VA`], each of one folio.
fn sets(world: &SimWorld, sets: u64) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), sets * SET, RW, Huge::Default).expect("free");
    for n in 0..sets {
        assert_eq!(space.fault(VA + n * SET, Access::Write), FaultOutcome::Mapped);
    }
    space
}

fn at(page: u64) -> VirtAddr {
    VA + page * PAGE_SIZE
}

/// How each page of a range of sets is mapped.
fn sizes(space: &Space<'_, Machine>, sets: u64) -> Vec<Size> {
    (0..16 * sets).map(|page| size(space, at(page))).collect()
}

/// A range that is taken away cuts the sets at its ends, and no others, wherever it begins and ends.
#[test]
fn a_range_cuts_the_sets_at_its_ends_only() {
    for config in all_machines() {
        for (first, end) in (0..33u64).flat_map(|a| [1, 7, 16, 31].map(|n| (a, a + n))) {
            let world = SimWorld::new(Config { pages: 1024, ..config });
            let untouched = Untouched::new(&world);
            let space = sets(&world, 4);
            assert!(sizes(&space, 4).iter().all(|size| *size == Size::Set));
            world.inside(&space, &mut || {
                (0..64).for_each(|n| assert_eq!(world.store(&space, at(n), n), Ok(())));
                space.unmap(VirtRange::new(at(first), at(end))).expect("memory");
                for n in (0..64).filter(|n| !(first..end).contains(n)) {
                    assert_eq!(world.load(&space, at(n)), Ok(n));
                }
            });
            let expected = |n: u64| {
                let set = n / 16 * 16..n / 16 * 16 + 16;
                if (first..end).contains(&n) {
                    Size::Nothing
                } else if set.start < end && first < set.end {
                    Size::Page
                } else {
                    Size::Set
                }
            };
            assert_eq!(sizes(&space, 4), (0..64).map(expected).collect::<Vec<_>>());
            assert_eq!(lost_write(&space, VirtRange::from_size(VA, 4 * SET)), None);
            world.mm().audit().expect("in order");
            drop(space);
            untouched.check(&world);
        }
    }
}

/// What is done to whole sets takes none apart.
#[test]
fn what_is_done_to_all_of_a_set_leaves_it_one() {
    for config in all_machines() {
        let world = SimWorld::new(Config { pages: 1024, ..config });
        let space = sets(&world, 4);
        let whole = VirtRange::from_size(VA, 4 * SET);
        for prot in [Prot::Read, RW] {
            space.protect(whole, prot).expect("memory");
            assert!(sizes(&space, 4).iter().all(|size| *size == Size::Set), "{prot}");
        }
        space.advise(VirtRange::from_size(VA, 2 * SET), Advice::Free).expect("memory");
        assert!(sizes(&space, 4).iter().all(|size| *size == Size::Set));
        world.inside(&space, &mut || {
            (0..64).for_each(|n| assert_eq!(world.store(&space, at(n), n), Ok(())));
        });
        let child = space.fork().expect("memory");
        for space in [&space, &child] {
            assert!(sizes(space, 4).iter().all(|size| *size == Size::Set));
        }
        drop(child);
        // The first write finds that nobody shares it any more, for all sixteen.
        assert_eq!(space.fault(at(3), Access::Write), FaultOutcome::Mapped);
        assert!(leaf(&space, at(9)).expect("mapped").is_writable());
        assert_eq!(count(&world, Event::ContUnfold), 0);
        world.mm().audit().expect("in order");
        assert_eq!(world.violation(), None);
    }
}

/// One CPU takes a set apart while another uses it: what the other does succeeds, and is remembered.
#[test]
fn taking_a_set_apart_loses_nothing() {
    let scenario = |mutant| {
        for config in all_machines() {
            let lost = at_each_step(1, |steps| {
                let world = SimWorld::new(Config { cpus: 2, pages: 1024, ..config });
                world.mm().arm(mutant);
                let space = sets(&world, 1);
                let whole = VirtRange::from_size(VA, SET);
                // Old and clean, so that there is something to record.
                space.advise(whole, Advice::Free).expect("memory");
                let frames: Vec<_> = (0..16).filter_map(|n| page(&space, at(n))).collect();
                frames.iter().for_each(|pfn| world.mm().hw.forget_writes(*pfn));
                let cuts = || space.unmap(VirtRange::from_size(at(5), PAGE_SIZE)).expect("memory");
                let uses = || {
                    world.inside(&space, &mut || {
                        for n in [0, 4, 6, 15] {
                            // Twice: now and then through what the TLB has of another member.
                            for value in [1, n] {
                                assert_eq!(world.store(&space, at(n), value), Ok(()));
                            }
                        }
                    });
                };
                if !world.intrude(steps, &cuts, &uses) {
                    return None;
                }
                let found = world.violation().map(|violation| violation.what);
                let lost = lost_write(&space, whole).map(|va| format!("{va} is clean"));
                let broken = world.mm().audit().err().map(|broken| broken.to_string());
                Some(found.or(lost).or(broken).map_or(Ok(()), Err))
            });
            if lost.is_some() {
                return lost;
            }
        }
        None
    };
    misses(scenario, &[Mutant::ContNoBreak, Mutant::ContOwnHistory]);
}

/// A CPU that records no history itself shares tables with something that does (an SMMU, another
/// CPU): what that has recorded in one member must not keep a fault of another from being resolved.
#[test]
fn a_fault_is_judged_by_the_words_own_history() {
    let turns = |mutant, access| {
        let world = SimWorld::new(Config { cpus: 1, pages: 1024, ..Config::default() });
        world.mm().arm(mutant);
        let space = sets(&world, 1);
        space.advise(VirtRange::from_size(VA, SET), Advice::Free).expect("memory");
        let hw = &world.mm().hw;
        let (_, slot, entry) = look::entry(&space, at(7));
        let used = entry.leaf().expect("mapped").made_young().made_dirty();
        hw.store(slot, used.word());
        let mut turns = 0;
        world.inside(&space, &mut || {
            let done = || match access {
                Access::Write => hw.user_store(at(2), 1),
                _ => hw.user_load(at(2)).is_some(),
            };
            while !done() && turns < 10 {
                let _ = space.fault(at(2), access);
                turns += 1;
            }
        });
        turns
    };
    for access in [Access::Read, Access::Write] {
        // A second one only if the walker was late: nobody waits for it to see what was added.
        assert!(turns(None, access) <= 2, "{access}");
        let bug = Mutant::ContGatheredNoop;
        let look = || turns(Some(bug), access) == 10;
        assert!(evidence::model_notices(bug.name(), look), "{access}: not caught");
    }
}

/// A set that has no history costs one fault for reading and one for writing, at most, whichever member
/// comes first: the others have theirs from it.
#[test]
fn a_set_has_one_history() {
    for config in machines() {
        for first in 0..16 {
            let world = SimWorld::new(Config { pages: 1024, ..config });
            let space = sets(&world, 1);
            space.advise(VirtRange::from_size(VA, SET), Advice::Free).expect("memory");
            let resolved = || count(&world, Event::PgFault) - count(&world, Event::PgFaultSpurious);
            let before = resolved();
            world.inside(&space, &mut || {
                for n in (first..16).chain(0..first) {
                    assert!(world.load(&space, at(n)).is_ok());
                }
                for n in (first..16).chain(0..first) {
                    assert_eq!(world.store(&space, at(n), n), Ok(()));
                }
            });
            // A walker that finds a member without the access flag may leave its dirty state to us.
            let caps = config.caps;
            let owed = u64::from(!caps.hw_af) + 1;
            assert!(resolved() - before <= owed, "{first} on {caps:?}");
            assert_eq!(size(&space, at(first)), Size::Set);
        }
    }
}

/// The mark in an entry that is not valid means nothing (in Linux it was believed until 2025): its
/// neighbours stay what they are.
#[test]
fn the_mark_of_an_invalid_entry_means_nothing() {
    let world = SimWorld::new(Config { cpus: 1, pages: 1024, ..Config::default() });
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), SET, RW, Huge::Never).expect("free");
    (3..6).for_each(|n| assert_eq!(space.fault(at(n), Access::Write), FaultOutcome::Mapped));
    let leaves = || (0..16).map(|n| leaf(&space, at(n))).collect::<Vec<_>>();
    let before = leaves();
    let (_, slot, entry) = look::entry(&space, at(4));
    let none = entry.leaf().expect("mapped").with_prot(Prot::None).contiguous(true);
    // Once it is mended by a fault, once it is taken away.
    world.mm().hw.store(slot, none.word());
    assert_eq!(space.fault(at(4), Access::Write), FaultOutcome::Mapped);
    assert_eq!(leaves(), before);
    world.mm().hw.store(slot, none.word());
    space.unmap(VirtRange::from_size(at(4), PAGE_SIZE)).expect("memory");
    let after = leaves();
    assert!((0..16).all(|n| if n == 4 { after[n].is_none() } else { after[n] == before[n] }));
    assert_eq!(count(&world, Event::ContUnfold), 0);
}

/// Rights taken from all of a set and given back to part of it, and the rest unmapped: whatever the
/// order, a mark is never on fewer than sixteen.
#[test]
fn a_set_without_rights_can_be_cut() {
    for config in all_machines() {
        for cut in [1, 8, 15] {
            let world = SimWorld::new(Config { pages: 1024, ..config });
            let space = sets(&world, 2);
            space.protect(VirtRange::from_size(VA, 2 * SET), Prot::None).expect("memory");
            world.mm().audit().expect("in order");
            space.unmap(VirtRange::from_size(at(0), cut * PAGE_SIZE)).expect("memory");
            space.protect(VirtRange::new(at(cut), at(16 + cut)), RW).expect("memory");
            world.mm().audit().expect("in order");
            assert_eq!(world.violation(), None, "cut {cut}");
            world.inside(&space, &mut || {
                (cut..16 + cut).for_each(|n| assert_eq!(world.store(&space, at(n), n), Ok(())));
            });
            assert_eq!(size(&space, at(cut)), Size::Page);
            assert_eq!(leaf(&space, at(16 + cut)).map(|leaf| leaf.level()), Some(Level::Pte));
        }
    }
}

/// Sixteen entries that come back one by one are a set again with the last of them, with what each has
/// recorded; while one is missing, or out of line, they are not.
#[test]
fn the_last_of_sixteen_makes_them_a_set() {
    for config in all_machines() {
        for missing in [None, Some(2), Some(14)] {
            let world = SimWorld::new(Config { pages: 1024, ..config });
            let space = sets(&world, 1);
            let all = VirtRange::from_size(VA, SET);
            space.protect(all, Prot::None).expect("memory");
            let without: Vec<_> = (0..16).map(|n| look::entry(&space, at(n))).collect();
            space.protect(all, RW).expect("memory");
            // As if somebody had taken the rights of the pages and left those of the area.
            for (_, slot, entry) in without {
                world.mm().hw.swap(slot, entry.word(Level::Pte));
            }
            if let Some(n) = missing {
                space.unmap(VirtRange::from_size(at(n), PAGE_SIZE)).expect("memory");
            }
            for n in (0..16).filter(|n| missing != Some(*n)) {
                assert_eq!(space.fault(at(n), Access::Write), FaultOutcome::Mapped);
                let expected = if n == 15 && missing.is_none() { Size::Set } else { Size::Page };
                assert_eq!(size(&space, at(n)), expected);
            }
            assert_eq!(size(&space, VA) == Size::Set, missing.is_none());
            assert_eq!(count(&world, Event::ContFold), u64::from(missing.is_none()));
            world.mm().audit().expect("in order");
        }
    }
}
