//! Laws of references to user pages: what is held stays what it was, and is never more than what the
//! program may reach.

use crate::common::{Untouched, machines, owned};
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::{FolioRef, Kind};
use mm::gup::GupError;
use mm::{Denial, Hardware, Huge, Place, Space};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use stress::{Rng, World};

const VA: VirtAddr = VirtAddr(1 << 40);

fn mapped(world: &SimWorld, bytes: u64, prot: Prot, huge: Huge) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), bytes, prot, huge).expect("free");
    space
}

/// References to the folio of a page, as its descriptor counts them.
fn refs(world: &SimWorld, folio: &FolioRef<'_, Machine>) -> u32 {
    let map = world.mm().frames.map();
    map.desc(map.head(folio.pfn()).expect("a folio")).refs()
}

#[test]
fn what_was_never_touched_is_not_found_without_a_fault() {
    for config in machines() {
        let world = SimWorld::new(config);
        let space = mapped(&world, PMD_SIZE, Prot::ReadWrite, Huge::Never);
        assert!(space.gup_fast(VA, Access::Read).is_none());
        // Reading meets everybody's zeros, which nobody counts on without the lock.
        let zeros = space.gup(VA, Access::Read).expect("memory");
        assert!(space.gup_fast(VA, Access::Read).is_none());
        let folio = space.gup(VA, Access::Write).expect("memory");
        assert_ne!(folio.pfn(), zeros.pfn());
        assert_eq!(space.gup_fast(VA, Access::Read).map(|same| same.pfn()), Some(folio.pfn()));
        assert!(space.gup_fast(VA + PAGE_SIZE, Access::Read).is_none());
    }
}

#[test]
fn a_reference_never_gives_more_than_the_area_permits() {
    for config in machines() {
        for prot in [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec] {
            let world = SimWorld::new(config);
            let space = mapped(&world, PMD_SIZE, prot, Huge::Default);
            for access in [Access::Write, Access::Read, Access::Exec] {
                let found = space.gup(VA, access).map(|folio| folio.pfn());
                if prot.allows(access) {
                    let written = prot.allows(Access::Write);
                    let fast = space.gup_fast(VA, access).map(|folio| folio.pfn());
                    assert_eq!(fast, found.ok().filter(|_| written), "{access} of {prot}");
                } else {
                    assert_eq!(found, Err(GupError::Denied(Denial::Rights(prot))));
                    assert!(space.gup_fast(VA, access).is_none(), "{access} of {prot}");
                }
            }
            let outside = space.gup(VA + PMD_SIZE, Access::Read).map(|folio| folio.pfn());
            assert_eq!(outside, Err(GupError::Denied(Denial::NoArea)));
        }
    }
}

/// Addresses that no table can have: the upper half, the ends of the halves, odd bytes.
#[test]
fn addresses_of_no_area_are_no_pages() {
    let world = SimWorld::new(machines()[0]);
    let space = mapped(&world, PAGE_SIZE, Prot::ReadWrite, Huge::Never);
    let _folio = space.gup(VA, Access::Write).expect("memory");
    for va in [0, 1, 0xfff, (1 << 48) - 1, 1 << 48, VA.0 | 0xffff << 48, u64::MAX].map(VirtAddr) {
        let denied = Err(GupError::Denied(Denial::NoArea));
        assert_eq!(space.gup(va, Access::Read).map(|folio| folio.pfn()), denied, "{va}");
    }
    // Any byte of the page names it.
    assert!(space.gup_fast(VA + 0xfff, Access::Write).is_some());
}

#[test]
fn references_are_counted_and_put_once() {
    for (huge, order) in [(Huge::Never, Order::PAGE), (Huge::Default, Order::PMD)] {
        let world = SimWorld::new(machines()[0]);
        let untouched = Untouched::new(&world);
        let space = mapped(&world, PMD_SIZE, Prot::ReadWrite, huge);
        let first = space.gup(VA, Access::Write).expect("memory");
        assert_eq!(refs(&world, &first), 2, "the entry's and ours");
        let head = world.mm().frames.map().desc(first.pfn());
        assert_eq!((head.kind(), head.order()), (Kind::Folio, order));
        let more: Vec<_> = (0..5).map(|_| space.gup_fast(VA, Access::Read)).collect();
        assert!(more.iter().all(Option::is_some));
        assert_eq!(refs(&world, &first), 7);
        drop(more);
        assert_eq!(refs(&world, &first), 2);
        drop(space);
        assert_eq!(refs(&world, &first), 1, "the space's reference went with it");
        assert_eq!(owned(world.mm()).count(), 1, "what is held, and no table");
        drop(first);
        untouched.check(&world);
    }
}

/// One entry holds one reference on a huge folio; split, 512 entries hold one each; unmapping gives
/// back one for each.
#[test]
fn a_split_huge_page_has_a_reference_for_each_entry() {
    let world = SimWorld::new(machines()[0]);
    let untouched = Untouched::new(&world);
    let space = mapped(&world, PMD_SIZE, Prot::ReadWrite, Huge::Default);
    let page = 77;
    let folio = space.gup(VA + page * PAGE_SIZE, Access::Write).expect("memory");
    assert_eq!(refs(&world, &folio), 2);
    assert!(folio.pfn() == world.mm().frames.map().head(folio.pfn()).expect("a folio") + page);
    space.unmap(VirtRange::from_size(VA, PAGE_SIZE)).expect("memory");
    assert_eq!(refs(&world, &folio), 1 + 511);
    space.unmap(VirtRange::from_size(VA + 2 * PAGE_SIZE, 100 * PAGE_SIZE)).expect("memory");
    assert_eq!(refs(&world, &folio), 1 + 411);
    assert!(space.gup_fast(VA + page * PAGE_SIZE, Access::Read).is_none());
    // The page between is the same memory as before.
    let next = space.gup_fast(VA + PAGE_SIZE, Access::Write).expect("mapped");
    assert_eq!(next.pfn() + (page - 1), folio.pfn());
    drop(next);
    space.unmap(VirtRange::from_size(VA, PMD_SIZE)).expect("memory");
    assert_eq!(refs(&world, &folio), 1);
    // All 2 MiB stay for as long as one page of them is held.
    let left: Vec<_> = owned(world.mm()).map(|(_, desc)| (desc.kind(), desc.order())).collect();
    assert!(
        left.contains(&(Kind::Folio, Order::PMD)) && left.contains(&(Kind::Table, Order::PAGE))
    );
    assert_eq!(left.len(), 2, "the folio and the root table");
    drop((folio, space));
    untouched.check(&world);
}

/// What is held is not reused, whatever becomes of the mapping.
#[test]
fn held_memory_keeps_its_content() {
    for config in machines() {
        for huge in [Huge::Never, Huge::Default] {
            let world = SimWorld::new(config);
            let untouched = Untouched::new(&world);
            let space = mapped(&world, PMD_SIZE, Prot::ReadWrite, huge);
            let mut folios = Vec::new();
            world.inside(&space, &mut || {
                for page in [0, 5, 511] {
                    let va = VA + page * PAGE_SIZE;
                    world.store(&space, va, page + 1).expect("mapped");
                    folios.push((space.gup(va, Access::Read).expect("mapped"), page + 1));
                }
                space.unmap(VirtRange::from_size(VA, PMD_SIZE)).expect("memory");
                // Whoever gets new memory gets other memory, and zeros.
                space.map(Place::At(VA), PMD_SIZE, Prot::ReadWrite, huge).expect("free");
                for page in 0..512 {
                    let va = VA + page * PAGE_SIZE;
                    assert_eq!(world.load(&space, va), Ok(0));
                    world.store(&space, va, 99).expect("mapped");
                }
            });
            drop(space);
            for (folio, content) in &folios {
                assert_eq!(world.mm().hw.peek(folio.pfn().base()), *content);
                assert_eq!(refs(&world, folio), if huge == Huge::Default { 3 } else { 1 });
            }
            drop(folios);
            untouched.check(&world);
        }
    }
}

#[test]
fn a_fault_for_a_reference_can_run_out_of_memory() {
    let world = SimWorld::new(Config { pages: 16, ..machines()[0] });
    let untouched = Untouched::new(&world);
    let space = mapped(&world, 64 * PAGE_SIZE, Prot::ReadWrite, Huge::Default);
    let mut held = Vec::new();
    let error = loop {
        match space.gup(VA + held.len() as u64 * PAGE_SIZE, Access::Write) {
            Ok(folio) => held.push(folio),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, GupError::OutOfMemory(oom) if oom.order == Order::PAGE));
    assert_eq!(held.len(), 16 - 4, "four tables and the rest");
    // Nothing comes back while it is held, and everything when it is not.
    space.unmap(VirtRange::from_size(VA, 64 * PAGE_SIZE)).expect("memory");
    assert_eq!(world.mm().frames.free_pages(&world.mm().hw), 3, "the tables but the root");
    drop(held);
    drop(space);
    untouched.check(&world);
}

/// One CPU maps, stamps and unmaps; others take references without locks. Whatever they get carries
/// a stamp of that page, and keeps it for as long as they hold it.
#[test]
fn references_against_unmaps_on_other_cpus() {
    const PAGES: u64 = 3;
    for seed in 1..9 {
        let caps = machines()[seed as usize % 4].caps;
        let world = SimWorld::new(Config { caps, seed, ..Config::default() });
        let untouched = Untouched::new(&world);
        let space = Space::new(world.mm()).expect("memory");
        let got = AtomicU64::new(0);
        let area = VirtRange::from_size(VA, PAGES * PAGE_SIZE);
        world.run(
            3,
            &|cpu| {
                let mut rng = Rng::new(seed, "references", cpu);
                for round in 1..40 {
                    if cpu == 0 {
                        space
                            .map(Place::At(VA), area.bytes(), Prot::ReadWrite, Huge::Never)
                            .expect("free");
                        world.inside(&space, &mut || {
                            for page in 0..PAGES {
                                let va = VA + page * PAGE_SIZE;
                                world.store(&space, va, (round << 8) | (page + 1)).expect("mapped");
                            }
                        });
                        space.unmap(area).expect("memory");
                        continue;
                    }
                    let page = rng.below(PAGES);
                    let Some(folio) = space.gup_fast(VA + page * PAGE_SIZE, Access::Read) else {
                        world.yield_now();
                        continue;
                    };
                    let read = || world.mm().hw.peek(folio.pfn().base());
                    let stamp = read();
                    // Zero until the first store; then one stamp, for good.
                    assert!(stamp == 0 || stamp & 0xff == page + 1, "{stamp:#x} in page {page}");
                    for _ in 0..rng.below(6) {
                        world.yield_now();
                        let now = read();
                        assert!(now == stamp || (stamp == 0 && now & 0xff == page + 1));
                    }
                    got.fetch_add(1, SeqCst);
                }
            },
            &mut || (),
        );
        assert!(got.load(SeqCst) > 0, "seed {seed}: no reference was ever had");
        assert!(world.mm().stats.total(Event::GupFast) >= got.load(SeqCst));
        drop(space);
        untouched.check(&world);
    }
}
