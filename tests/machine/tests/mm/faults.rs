//! What a fault gives: how much memory, of which kind, and when none at all.

use crate::common::look::{self, Size, count, is_zeros, leaf, page, size};
use crate::common::races::{at_each_step, misses};
use crate::common::{Untouched, machines};
use abi::{Access, Event, Level, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::FaultOutcome::{self, Denied};
use mm::gup::GupError;
use mm::mutant::Mutant;
use mm::thp::{Defrag, Policy};
use mm::{Advice, Denial, Hardware, Huge, Place, Space};
use pte::{Caps, DeviceAccess, Marker, Soft};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use stress::{Rng, World};

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;
/// What a contiguous set maps.
const SET: u64 = 16 * PAGE_SIZE;
const POLICIES: [Policy; 3] = [Policy::Always, Policy::Madvise, Policy::Never];
const ADVICE: [Huge; 3] = [Huge::Default, Huge::Advised, Huge::Never];

fn space(world: &SimWorld, bytes: u64, huge: Huge) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), bytes, RW, huge).expect("free");
    space
}

fn writes(space: &Space<'_, Machine>, va: VirtAddr) {
    assert_eq!(space.fault(va, Access::Write), FaultOutcome::Mapped, "{va}");
}

fn reads(space: &Space<'_, Machine>, va: VirtAddr) {
    assert_eq!(space.fault(va, Access::Read), FaultOutcome::Mapped, "{va}");
}

fn some(policies: &[Policy]) -> impl Iterator<Item = Option<Policy>> + '_ {
    policies.iter().copied().map(Some).chain([None])
}

/// Every setting, for the machine, for the space and for the area, at the three places that differ in
/// what fits: a whole huge page, 64 KiB, a page.
#[test]
fn the_largest_that_fits_and_is_permitted() {
    let world = SimWorld::new(machines()[0]);
    let thp = &world.mm().thp;
    let gives = |policy, advice| match policy {
        Policy::Always => advice != Huge::Never,
        Policy::Madvise => advice == Huge::Advised,
        Policy::Never => false,
    };
    for (enabled, of_64k) in POLICIES.iter().flat_map(|p| some(&POLICIES).map(move |q| (*p, q))) {
        thp.set_enabled(enabled);
        thp.set_enabled_64k(of_64k);
        for (own, advice) in some(&POLICIES).flat_map(|p| ADVICE.map(|advice| (p, advice))) {
            let space = space(&world, PMD_SIZE + SET + PAGE_SIZE, advice);
            space.set_thp(own);
            assert_eq!(space.thp(), own);
            let huge = gives(own.unwrap_or(enabled), advice);
            let set = gives(own.or(of_64k).unwrap_or(enabled), advice);
            let small = if set { Size::Set } else { Size::Page };
            for (offset, expected) in [
                (PMD_SIZE / 2, if huge { Size::Huge } else { small }),
                (PMD_SIZE + SET / 2, small),
                (PMD_SIZE + SET, Size::Page),
            ] {
                writes(&space, VA + offset);
                let what = format!("{enabled:?} {of_64k:?} {own:?} {advice:?} at {offset:#x}");
                assert_eq!(size(&space, VA + offset), expected, "{what}");
            }
            world.mm().audit().expect("in order");
        }
    }
    assert_eq!(world.violation(), None);
}

/// 64 KiB come only where nothing is in them yet.
#[test]
fn one_page_in_the_way_makes_all_of_them_pages() {
    let world = SimWorld::new(machines()[0]);
    let space = space(&world, 4 * SET, Huge::Advised);
    for (set, taken) in [(1, 0), (2, 7), (3, 15)] {
        // Zeros are in the way too.
        reads(&space, VA + set * SET + taken * PAGE_SIZE);
        for n in (0..16).rev() {
            writes(&space, VA + set * SET + n * PAGE_SIZE);
            assert_eq!(size(&space, VA + set * SET + n * PAGE_SIZE), Size::Page);
        }
    }
    writes(&space, VA);
    assert_eq!(size(&space, VA + 15 * PAGE_SIZE), Size::Set);
    assert_eq!(count(&world, Event::Anon64kAlloc), 1);
    world.mm().audit().expect("in order");
}

/// Reading takes nothing: everybody is shown the same zeros, small or huge, until somebody writes.
#[test]
fn reading_takes_no_memory() {
    for config in machines() {
        for huge in [Huge::Never, Huge::Advised] {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let spaces = [(); 2].map(|()| space(&world, 2 * PMD_SIZE, huge));
            let step = if huge == Huge::Never { PAGE_SIZE } else { PMD_SIZE };
            spaces.iter().for_each(|space| reads(space, VA));
            let before = world.mm().frames.free_pages(&world.mm().hw);
            spaces.iter().for_each(|space| reads(space, VA + step));
            // Not even a table, where the first one serves: a huge page has one put aside.
            let tables = if huge == Huge::Never { 0 } else { 2 };
            assert_eq!(world.mm().frames.free_pages(&world.mm().hw), before - tables);
            let shown = [page(&spaces[0], VA), page(&spaces[1], VA + step)];
            assert_eq!(shown[0], shown[1], "one for all");
            assert!(spaces.iter().all(|space| is_zeros(space, VA)));
            assert_eq!(count(&world, Event::ThpZeroPageAlloc), u64::from(huge != Huge::Never));
            // A write changes the one page, or the one huge page, of the one space.
            world.inside(&spaces[0], &mut || {
                assert_eq!(world.store(&spaces[0], VA + 8, 42), Ok(()));
                assert_eq!(world.load(&spaces[0], VA + 8), Ok(42));
                assert_eq!(world.load(&spaces[0], VA), Ok(0));
            });
            assert!(!is_zeros(&spaces[0], VA) && is_zeros(&spaces[0], VA + step));
            assert!(is_zeros(&spaces[1], VA));
            world.inside(&spaces[1], &mut || assert_eq!(world.load(&spaces[1], VA + 8), Ok(0)));
            world.mm().audit().expect("in order");
            drop(spaces);
            untouched.check(&world);
        }
    }
}

#[test]
fn without_the_huge_page_of_zeros_reading_takes_a_huge_page() {
    let world = SimWorld::new(machines()[0]);
    world.mm().thp.set_use_zero_page(false);
    let space = space(&world, PMD_SIZE, Huge::Advised);
    reads(&space, VA);
    assert_eq!((size(&space, VA), is_zeros(&space, VA)), (Size::Huge, false));
    assert_eq!(count(&world, Event::ThpZeroPageAlloc), 0);
}

/// Without 2 MiB to put in its place a huge page of zeros becomes small ones, and a page does.
#[test]
fn a_write_to_huge_zeros_makes_do_with_a_page() {
    for config in machines() {
        let world = SimWorld::new(Config { pages: 1024, ..config });
        let untouched = Untouched::new(&world);
        let space = space(&world, PMD_SIZE, Huge::Advised);
        reads(&space, VA);
        world.inside(&space, &mut || {
            assert_eq!(world.store(&space, VA + 5 * PAGE_SIZE, 7), Ok(()));
            for n in 0..512 {
                let expected = if n == 5 { 7 } else { 0 };
                assert_eq!(world.load(&space, VA + n * PAGE_SIZE), Ok(expected));
                assert_eq!(is_zeros(&space, VA + n * PAGE_SIZE), n != 5);
            }
        });
        assert_eq!(count(&world, Event::ThpFaultFallback), 1);
        assert_eq!(count(&world, Event::ThpSplitPmd), 1);
        world.mm().audit().expect("in order");
        drop(space);
        untouched.check(&world);
    }
}

/// Part of a huge page of zeros goes: the rest goes on showing them.
#[test]
fn huge_zeros_can_be_unmapped_in_part() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = space(&world, PMD_SIZE, Huge::Advised);
    reads(&space, VA);
    space.unmap(VirtRange::from_size(VA + PAGE_SIZE, 17 * PAGE_SIZE)).expect("memory");
    assert_eq!(size(&space, VA + PAGE_SIZE), Size::Nothing);
    assert!(is_zeros(&space, VA) && is_zeros(&space, VA + 18 * PAGE_SIZE));
    world.mm().audit().expect("in order");
    drop(space);
    untouched.check(&world);
}

/// What was only read is clean, and what was written is dirty, whoever records it.
#[test]
fn only_writing_makes_dirty() {
    let dirt = |mutant, config, huge| {
        let world = SimWorld::new(config);
        world.mm().arm(mutant);
        world.mm().thp.set_use_zero_page(false);
        let space = space(&world, PMD_SIZE, huge);
        reads(&space, VA);
        let read = leaf(&space, VA).expect("mapped").is_dirty();
        world.inside(&space, &mut || assert_eq!(world.store(&space, VA, 1), Ok(())));
        (read, leaf(&space, VA).expect("mapped").is_dirty())
    };
    for config in machines() {
        for huge in [Huge::Never, Huge::Advised] {
            assert_eq!(dirt(None, config, huge), (false, true), "{huge:?} on {config:?}");
        }
        let bug = Mutant::DirtyOnRead;
        let look = || dirt(Some(bug), config, Huge::Advised).0;
        assert!(evidence::model_notices(bug.name(), look), "not caught");
    }
}

/// Zeros that are mapped like somebody's memory: the audit sees it.
#[test]
fn huge_zeros_that_somebody_counts_are_caught() {
    let world = SimWorld::new(machines()[0]);
    world.mm().arm(Some(Mutant::HugeZeroNotSpecial));
    let space = space(&world, PMD_SIZE, Huge::Advised);
    reads(&space, VA);
    let look = || world.mm().audit().err().map(|broken| broken.to_string());
    let broken = evidence::model(Mutant::HugeZeroNotSpecial.name(), look).expect("not caught");
    println!("huge-zero-not-special: {broken}");
    // Unmapping it would give back what was never counted.
    std::mem::forget(space);
}

/// A write puts memory in place of zeros that other CPUs have in their TLBs: once it is made, each of
/// them reads it.
#[test]
fn a_write_to_zeros_is_seen_by_all() {
    let scenario = |mutant: Option<Mutant>, huge, seed| {
        let world = SimWorld::new(Config { seed, ..Config::default() });
        world.mm().arm(mutant);
        let space = space(&world, PMD_SIZE, huge);
        reads(&space, VA);
        let (written, stale) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let body = |cpu: usize| {
            world.inside(&space, &mut || {
                if cpu == 0 {
                    (0..seed % 11).for_each(|_| world.yield_now());
                    assert_eq!(world.store(&space, VA, 42), Ok(()));
                    written.store(1, SeqCst);
                }
                let mut last = 0;
                while last == 0 && world.violation().is_none() {
                    last = written.load(SeqCst);
                    let found = world.load(&space, VA).expect("readable");
                    if last == 1 && found != 42 {
                        stale.fetch_add(1, SeqCst);
                    }
                }
            });
        };
        world.run(3, &body, &mut || {});
        let what = world.violation().map(|violation| violation.what);
        what.or_else(|| (stale.into_inner() > 0).then(|| "zeros read after the write".into()))
    };
    for huge in [Huge::Never, Huge::Advised] {
        for seed in 0..40 {
            assert_eq!(scenario(None, huge, seed), None, "{huge:?} seed {seed}");
        }
        for bug in [Mutant::ReplaceNoFlush, Mutant::ReplaceSetBeforeFlush] {
            let look = || (0..40).find_map(|seed| scenario(Some(bug), huge, seed));
            let caught = evidence::model(bug.name(), look);
            println!("{} {huge:?}: {}", bug.name(), caught.expect("not caught"));
        }
    }
}

/// Every CPU writes to every page, in an order of its own, while the settings change: no page is mapped
/// twice, so no write is lost.
#[test]
fn faults_of_all_sizes_meet_in_one_block() {
    for (n, config) in machines().into_iter().enumerate() {
        for seed in 0..6 {
            let world = SimWorld::new(Config { cpus: 3, seed, ..config });
            let untouched = Untouched::new(&world);
            let space = space(&world, PMD_SIZE + 3 * SET + PAGE_SIZE, Huge::Default);
            let pages = (0..40).chain(500..512 + 3 * 16 + 1);
            let pages: Vec<_> = pages.map(|n| VA + n * PAGE_SIZE).collect();
            let body = |cpu: usize| {
                let mut rng = Rng::new(seed, "faults", cpu);
                world.inside(&space, &mut || {
                    let mut order = pages.clone();
                    while !order.is_empty() && world.violation().is_none() {
                        let va = order.swap_remove(rng.below(order.len() as u64) as usize);
                        world.mm().thp.set_enabled(POLICIES[rng.below(3) as usize]);
                        world.mm().thp.set_enabled_64k(Some(POLICIES[rng.below(3) as usize]));
                        if rng.one_in(2) {
                            let other = pages[rng.below(pages.len() as u64) as usize];
                            assert!(world.load(&space, other).is_ok());
                        }
                        assert_eq!(world.store(&space, va + 8 * cpu as u64, va.0), Ok(()));
                    }
                });
            };
            world.run(3, &body, &mut || {});
            assert_eq!(world.violation(), None, "machine {n} seed {seed}");
            world.inside(&space, &mut || {
                for (va, cpu) in pages.iter().flat_map(|va| (0..3).map(move |cpu| (*va, cpu))) {
                    assert_eq!(world.load(&space, va + 8 * cpu), Ok(va.0), "{va} of cpu {cpu}");
                }
            });
            assert_eq!(look::lost_write(&space, VirtRange::from_size(VA, PMD_SIZE)), None);
            world.mm().audit().expect("in order");
            drop(space);
            untouched.check(&world);
        }
    }
}

/// What the settings say about trying hard: whether blocks that another CPU keeps are fetched.
#[test]
fn how_hard_a_fault_tries_is_a_setting() {
    let all = [Defrag::Always, Defrag::Defer, Defrag::Madvise, Defrag::Never];
    for (defrag, huge) in all.iter().flat_map(|d| [Huge::Default, Huge::Advised].map(|h| (*d, h))) {
        let world = SimWorld::new(Config { cpus: 2, pages: 1024 + 512, ..Config::default() });
        let mm = world.mm();
        mm.thp.set_defrag(defrag);
        let space = space(&world, PMD_SIZE, huge);
        let turn = AtomicUsize::new(0);
        let body = |cpu: usize| {
            if cpu == 1 {
                // One huge block is this CPU's, and everything else is cut up.
                let block = mm.alloc(Order::PMD).expect("memory");
                let mut pages = Vec::new();
                while let Ok(pfn) = mm.alloc(Order::PAGE) {
                    pages.push(pfn);
                }
                pages.iter().step_by(2).for_each(|pfn| mm.free(*pfn));
                mm.free(block);
                turn.store(1, SeqCst);
                return;
            }
            while turn.load(SeqCst) == 0 {
                world.yield_now();
            }
            writes(&space, VA);
        };
        world.run(2, &body, &mut || {});
        assert_eq!(world.violation(), None);
        let hard = defrag == Defrag::Always || defrag == Defrag::Madvise && huge == Huge::Advised;
        let expected = if hard { Size::Huge } else { Size::Page };
        assert_eq!(size(&space, VA), expected, "{defrag:?} {huge:?}");
        assert_eq!(count(&world, Event::ThpFaultFallback), u64::from(!hard));
    }
}

/// Memory that folios hold and nobody maps is found before a fault is refused: they are split.
#[test]
fn a_fault_gets_at_what_folios_hold_for_nobody() {
    for config in machines() {
        let world = SimWorld::new(Config { pages: 448, ..config });
        let untouched = Untouched::new(&world);
        let space = space(&world, 512 * PAGE_SIZE, Huge::Default);
        let va = |n: u64| VA + n * PAGE_SIZE;
        world.inside(&space, &mut || {
            let filled =
                (0..512).take_while(|n| world.store(&space, va(*n), n + 1).is_ok()).count();
            assert_eq!(filled, 444, "all but four tables");
            assert_eq!(size(&space, va(16)), Size::Set);
            // The second half of one folio goes, and its memory stays the folio's.
            space.unmap(VirtRange::new(va(24), va(32))).expect("memory");
            assert_eq!(world.mm().deferred_folios(), 1);
            for n in 0..8 {
                assert_eq!(world.store(&space, va(500 + n), n), Ok(()), "page {n}");
            }
            assert!(world.store(&space, va(509), 1).is_err());
            assert_eq!(world.mm().deferred_folios(), 0);
            for n in (0..24).chain(32..filled as u64) {
                assert_eq!(world.load(&space, va(n)), Ok(n + 1));
            }
        });
        // An audit needs a page of its own.
        space.unmap(VirtRange::from_size(VA, SET)).expect("memory");
        world.mm().audit().expect("in order");
        drop(space);
        untouched.check(&world);
    }
}

/// Who faults on a huge page that is being moved waits until it is back.
#[test]
fn a_fault_waits_for_the_end_of_a_migration() {
    let mut waited = 0;
    for seed in 0..30 {
        for access in [Access::Read, Access::Write] {
            let world = SimWorld::new(Config { cpus: 2, seed, ..Config::default() });
            let space = space(&world, PMD_SIZE, Huge::Advised);
            world.inside(&space, &mut || assert_eq!(world.store(&space, VA, 42), Ok(())));
            let frozen = AtomicUsize::new(0);
            let body = |cpu: usize| {
                if cpu == 0 {
                    let block = space.freeze_folio_at(VA).expect("nobody pins it");
                    frozen.store(1, SeqCst);
                    (0..seed).for_each(|_| world.yield_now());
                    if seed % 3 == 0 {
                        space.split_block(VA);
                    }
                    (0..seed).for_each(|_| world.yield_now());
                    frozen.store(2, SeqCst);
                    block.thaw();
                    return;
                }
                while frozen.load(SeqCst) == 0 {
                    world.yield_now();
                }
                world.inside(&space, &mut || {
                    let done = match access {
                        Access::Write => world.store(&space, VA, 43),
                        _ => world.load(&space, VA).map(|found| assert_eq!(found, 42)),
                    };
                    assert_eq!((done, frozen.load(SeqCst)), (Ok(()), 2), "it did not wait");
                });
            };
            world.run(2, &body, &mut || {});
            assert_eq!(world.violation(), None, "{access} seed {seed}");
            waited += count(&world, Event::MigrationWait);
            world.mm().audit().expect("in order");
        }
    }
    assert!(waited > 20, "{waited} waits");
}

#[test]
fn an_area_of_given_frames_has_no_others() {
    let world = SimWorld::new(machines()[0]);
    let space = Space::new(world.mm()).expect("memory");
    let frames = world.mm().alloc(Order(1)).expect("memory");
    space.map_frames(Place::At(VA), frames, 2 * PAGE_SIZE, RW).expect("free");
    for access in [Access::Read, Access::Write, Access::Write] {
        assert!(!matches!(space.fault(VA, access), Denied(_)));
    }
    assert_eq!(page(&space, VA), Some(frames));
    let (level, slot, _) = look::entry(&space, VA);
    assert_eq!(level, Level::Pte);
    // Taken away by hand: nothing comes in its place.
    world.mm().hw.store(slot, 0);
    assert_eq!(space.fault(VA, Access::Read), Denied(Denial::NoFrame));
    drop(space);
    world.mm().free(frames);
}

/// What software has put in place of a page is told by name, and stays.
#[test]
fn what_is_no_mapping_is_denied_by_name() {
    let world = SimWorld::new(machines()[0]);
    let space = space(&world, PMD_SIZE, Huge::Never);
    reads(&space, VA);
    let slot = look::entry(&space, VA).1.ahead(1);
    let pfn = world.mm().alloc(Order::PAGE).expect("memory");
    let (device, uffd_wp) = (DeviceAccess::Write, false);
    let marker = |guard, poisoned, uffd_wp| Soft::Marker(Marker { guard, poisoned, uffd_wp });
    let swap = Soft::Swap { device: 3, offset: 77, exclusive: true, uffd_wp };
    let corrupt = |soft: Soft| Denial::Corrupt(Level::Pte, soft.encode(Level::Pte));
    for (soft, denial) in [
        (marker(true, false, false), Denial::Guard),
        (marker(false, true, false), Denial::Poisoned),
        (Soft::HwPoison { pfn }, Denial::Poisoned),
        (Soft::DevicePrivate { pfn, access: device, uffd_wp }, Denial::Device),
        (Soft::DeviceExclusive { pfn, uffd_wp }, Denial::Device),
        (swap, corrupt(swap)),
        (marker(false, false, true), corrupt(marker(false, false, true))),
    ] {
        let word = soft.encode(Level::Pte);
        world.mm().hw.store(slot, word);
        for access in [Access::Read, Access::Write] {
            let outcome = space.fault(VA + PAGE_SIZE, access);
            assert_eq!(outcome, Denied(denial), "{access} of {soft:?}");
            assert_eq!(space.gup(VA + PAGE_SIZE, access).err(), Some(GupError::Denied(denial)));
        }
        assert_eq!(world.mm().hw.load(slot), word);
    }
    world.mm().hw.store(slot, 0);
    world.mm().free(pfn);
}

/// Hardware marks an entry dirty while a fault marks it accessed: neither is lost.
#[test]
fn hardware_and_software_write_history_together() {
    let scenario = |mutant| {
        for huge in [Huge::Never, Huge::Advised] {
            let lost = at_each_step(1, |steps| {
                let caps = Caps::MAX;
                let world = SimWorld::new(Config { cpus: 2, caps, ..Config::default() });
                world.mm().arm(mutant);
                let space = space(&world, PMD_SIZE, huge);
                writes(&space, VA);
                // Given up, it is old and clean.
                let all = VirtRange::from_size(VA, size(&space, VA).bytes());
                space.advise(all, Advice::Free).expect("memory");
                world.mm().hw.forget_writes(page(&space, VA).expect("mapped"));
                let faults = || assert!(!matches!(space.fault(VA, Access::Read), Denied(_)));
                let stores = || {
                    world.inside(&space, &mut || {
                        assert_eq!(world.store(&space, VA, 1), Ok(()));
                    });
                };
                if !world.intrude(steps, &faults, &stores) {
                    return None;
                }
                let found = world.violation().map(|violation| violation.what);
                let lost = look::lost_write(&space, all).map(|va| format!("{va} is clean"));
                Some(found.or(lost).map_or(Ok(()), Err))
            });
            if lost.is_some() {
                return lost;
            }
        }
        None
    };
    misses(scenario, &[Mutant::UpdateNotAtomic]);
}
