//! Rows of small folios that reach over two blocks, and names beyond the last index.

use crate::common::machines;
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, SimWorld};
use mm::thp::Policy;
use mm::{Destination, FaultOutcome, Huge, MigrateError, Move, Place, RemapError, Space};
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;

fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

/// One CPU moves pages on both sides of a border of blocks, another moves or unmaps the second block.
fn over_the_border(seed: u64, unmaps: bool) -> Option<String> {
    let caps = machines()[seed as usize % 4].caps;
    let world = SimWorld::new(Config { caps, seed, cpus: 2, pages: 8192, ..Config::default() });
    let mm = world.mm();
    mm.thp.set_enabled(Policy::Never);
    mm.thp.set_enabled_64k(Some(Policy::Never));
    let space = Space::new(mm).expect("memory");
    space.map(Place::At(VA), 2 * PMD_SIZE, RW, Huge::Never).expect("free");
    for n in 504..520 {
        assert_eq!(space.fault(page(n), Access::Write), FaultOutcome::Mapped);
    }
    let second = VirtRange::from_size(VA + PMD_SIZE, PMD_SIZE);
    let away = VA + 8 * PMD_SIZE;
    let body = |cpu: usize| {
        if cpu == 0 {
            let pages: Vec<_> = (504..520).map(page).collect();
            for _ in 0..3 {
                let mut moved = vec![Err(MigrateError::NotMapped); pages.len()];
                space.move_pages(&pages, Destination::Anywhere, &mut moved).expect("memory");
            }
        } else {
            (0..seed % 32).for_each(|_| world.yield_now());
            if unmaps {
                space.unmap(second).expect("an area");
            } else {
                space.remap(second, PMD_SIZE, Move::To(away)).expect("free");
            }
        }
    };
    world.run(2, &body, &mut || ());
    let wrong = world
        .violation()
        .map(|found| found.what.to_string())
        .or_else(|| mm.audit().err().map(|broken| broken.to_string()));
    if wrong.is_some() {
        std::mem::forget(space);
        return wrong;
    }
    if !unmaps {
        for n in 0..8 {
            let mut at = None;
            mm.walk(space.root(), away + n * PAGE_SIZE, |_, _, entry, _| at = entry.leaf());
            if at.is_none() {
                std::mem::forget(space);
                return Some(format!("page {n} is gone"));
            }
        }
    }
    None
}

fn first(unmaps: bool) -> Option<(u64, String)> {
    (1..400).find_map(|seed| {
        let run = || over_the_border(seed, unmaps);
        std::panic::catch_unwind(run)
            .unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Some(format!("panic: {}", text.unwrap_or_default()))
            })
            .map(|wrong| (seed, wrong))
    })
}

#[test]
fn a_row_over_two_blocks_and_mremap_of_the_second() {
    assert_eq!(first(false), None);
}

#[test]
fn a_row_over_two_blocks_and_munmap_of_the_second() {
    assert_eq!(first(true), None);
}

#[test]
fn what_would_grow_beyond_the_last_name_does_not_grow() {
    let world = SimWorld::new(machines()[0]);
    let mm = world.mm();
    mm.thp.set_enabled(Policy::Never);
    mm.thp.set_enabled_64k(Some(Policy::Never));
    let space = Space::new(mm).expect("memory");
    let top = VirtRange::new(VirtAddr((1 << 48) - PAGE_SIZE), VirtAddr(1 << 48));
    space.map(Place::At(top.start), PAGE_SIZE, RW, Huge::Never).expect("free");
    let bytes = 4 * PAGE_SIZE;
    let refused = Err(RemapError::NoRoom { bytes });
    assert_eq!(space.remap(top, bytes, Move::IfNeeded), refused);
    assert_eq!(space.remap(top, bytes, Move::To(VA)), refused);
    // Moved as it is, it keeps the last name.
    space.remap(top, PAGE_SIZE, Move::To(VA)).expect("free");
    assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped);
    let mut moved = [Err(MigrateError::NotMapped)];
    space.move_pages(&[VA], Destination::Anywhere, &mut moved).expect("memory");
    assert!(moved[0].is_ok(), "{moved:?}");
}
