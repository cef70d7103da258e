//! Folios: what they count against what there is.

use super::{Allow, Broken, FolioRule, HUGE, Level, Plain, SMALL, World, world};
use crate::frame::{Counts, Flag, Kind, PIN_BIAS};
use crate::{FaultOutcome, Hardware, Huge, Place, Slot, Space};
use abi::{Access, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering::Relaxed;
use pte::{MigrationKind, Soft};

/// Where each kind of folio is mapped.
const FOLIOS: [(VirtAddr, Level); 2] = [(SMALL, Level::Pte), (HUGE, Level::Pmd)];

#[test]
fn mappings_that_are_not_there() {
    for (va, level) in FOLIOS {
        world(|world| {
            let (head, _) = world.folio(va, level);
            world.mm.folio_map(head, 1);
            world.finds_folio(head, FolioRule::Mappings(1));
        });
        world(|world| {
            // An entry that was taken out, with nothing given back.
            let (head, _) = world.folio(va, level);
            world.store(va, level, 0);
            if level == Level::Pmd {
                world.mm.withdraw(world.table(va, level)).expect("a deposit").discard(world.mm);
            }
            world.finds_folio(head, FolioRule::Mappings(0));
        });
    }
    // Each page of a split huge page counts.
    world(|world| {
        let (head, _) = world.folio(HUGE, Level::Pmd);
        world.mm.split_huge_at(world.space.core(), HUGE);
        // A whole contiguous set: of a part of one, that would be said.
        for page in 496..512 {
            world.store(HUGE + page * PAGE_SIZE, Level::Pte, 0);
        }
        world.finds_folio(head, FolioRule::Mappings(496));
    });
}

#[test]
fn pmd_mappings_that_are_not_there() {
    world(|world| {
        let (head, _) = world.folio(HUGE, Level::Pmd);
        world.mm.count_pmd_map(head);
        world.finds_folio(head, FolioRule::PmdMappings { counted: 2, found: 1 });
        world.mm.uncount_pmd_map(head);
        world.mm.uncount_pmd_map(head);
        world.finds_folio(head, FolioRule::PmdMappings { counted: 0, found: 1 });
    });
}

#[test]
fn references_that_nobody_holds() {
    for (va, level) in FOLIOS {
        world(|world| {
            let (head, desc) = world.folio(va, level);
            world.mm.folio_get(head, 1);
            world.finds_folio(head, FolioRule::References);
            assert_eq!(world.mm.audit_but(Allow::refs(1)).expect("held").held, 1);
            // Fewer than mappings: the next to be put frees what is mapped.
            desc.counts.fetch_sub(2, Relaxed);
            let broken = world.mm.audit_but(Allow::refs(9)).expect_err("too few");
            assert_eq!(broken, Broken::Folio(head, desc.counts(), FolioRule::References));
        });
    }
}

#[test]
fn a_folio_that_nobody_knows_of() {
    for order in [Order::PAGE, Order(4), Order::PMD] {
        world(|world| {
            let head = world.mm.folio_alloc(order).expect("memory");
            world.finds_folio(head, FolioRule::Lost);
            assert!(world.mm.audit_but(Allow::refs(1)).is_ok(), "somebody holds it");
            // Frozen, and never thawed.
            assert!(world.mm.folio_freeze(head, 1));
            let broken = world.mm.audit_but(Allow::refs(9)).expect_err("frozen");
            assert_eq!(broken, Broken::Folio(head, Counts::NONE, FolioRule::Lost));
        });
    }
}

#[test]
fn pins_without_references() {
    world(|world| {
        let (head, _) = world.folio(HUGE, Level::Pmd);
        world.mm.head_try_pin(head, head, 1).then_some(()).expect("mapped");
        world.mm.desc(head).counts.fetch_sub(1, Relaxed);
        world.finds_folio(head, FolioRule::Pins(1));
        world.mm.folio_get(head, 1);
        assert_eq!(world.mm.audit_but(Allow::refs(1)).expect("a pin").pins, 1);
        world.finds_folio(head, FolioRule::References);
    });
    // A small folio's pins are references, many of them.
    world(|world| {
        let (head, _) = world.folio(SMALL, Level::Pte);
        world.mm.head_try_pin(head, head, 1).then_some(()).expect("mapped");
        world.finds_folio(head, FolioRule::References);
        assert!(world.mm.audit_but(Allow::refs(PIN_BIAS.into())).is_ok());
    });
}

/// A second space of the family, with one area at `va`.
fn relative<'m>(world: &World<'m>, va: VirtAddr) -> ManuallyDrop<Space<'m, Plain>> {
    let family = world.space.core().family.clone();
    let space = Space::in_family(world.mm, family).expect("memory");
    space.map(Place::At(va), PMD_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    ManuallyDrop::new(space)
}

/// Gives `space` a table of pages at `va`, and puts `word` there.
fn map_in(world: &World<'_>, space: &Space<'_, Plain>, va: VirtAddr, word: u64) -> Slot {
    let last = va.align_down(PMD_SIZE) + (PMD_SIZE - PAGE_SIZE);
    assert_eq!(space.fault(last, Access::Write), FaultOutcome::Mapped);
    let slot = world.mm.find_slot(space.root(), va, Level::Pte).expect("tables");
    world.mm.hw.store(slot, word);
    slot
}

#[test]
fn an_exclusive_page_that_two_spaces_map() {
    world(|world| {
        let leaf = world.leaf(SMALL, Level::Pte).write_protected();
        let other = relative(world, SMALL);
        map_in(world, &other, SMALL, leaf.word());
        world.mm.folio_map(leaf.pfn(), 1);
        world.store(SMALL, Level::Pte, leaf.word());
        world.finds_folio(leaf.pfn(), FolioRule::SharedExclusive(leaf.pfn(), 2));
        world.mm.clear_exclusive(leaf.pfn(), 0..1);
        assert_eq!(world.mm.audit().expect("in order").spaces, 2);
    });
    // One by a block, the other by a page of it.
    world(|world| {
        let leaf = world.leaf(HUGE, Level::Pmd);
        let (va, page) = (HUGE + 7 * PAGE_SIZE, leaf.pfn() + 7);
        let small = pte::Leaf::user(Level::Pte, page, Prot::Read);
        let other = relative(world, HUGE);
        map_in(world, &other, va, small.word());
        world.mm.folio_map(leaf.pfn(), 1);
        world.finds_folio(leaf.pfn(), FolioRule::SharedExclusive(page, 2));
    });
}

#[test]
fn a_migration_entry_that_is_not_alone() {
    world(|world| {
        let leaf = world.leaf(SMALL, Level::Pte).write_protected();
        world.store(SMALL, Level::Pte, leaf.word());
        world.mm.clear_exclusive(leaf.pfn(), 0..1);
        let other = relative(world, SMALL);
        let soft = |kind| {
            let pfn = leaf.pfn();
            Soft::Migration { pfn, kind, young: true, dirty: false, uffd_wp: false }
                .encode(Level::Pte)
        };
        let slot = map_in(world, &other, SMALL, soft(MigrationKind::ReadExclusive));
        let allow = Allow { refs: 1, migration: true };
        let broken = world.mm.audit_but(allow).expect_err("two entries");
        let rule = FolioRule::NotAlone(leaf.pfn(), 2);
        assert_eq!(broken, Broken::Folio(leaf.pfn(), world.mm.desc(leaf.pfn()).counts(), rule));
        world.mm.hw.store(slot, soft(MigrationKind::Read));
        assert_eq!(world.mm.audit_but(allow).expect("in order").migrations, 1);
    });
}

#[test]
fn zeros_that_are_counted() {
    for counts in [Counts::mapped_exclusively(1), Counts(1 | Counts::EXCLUSIVE)] {
        world(|world| {
            let zeros = world.mm.folio_alloc(Order::PMD).expect("memory");
            world.mm.desc(zeros).raise(Flag::Zero);
            assert!(world.mm.audit().is_ok(), "its one reference is the memory manager's");
            world.mm.desc(zeros).counts.store(counts.0, Relaxed);
            world.finds_folio(zeros, FolioRule::CountedZeros);
        });
    }
    world(|world| {
        let zeros = world.mm.folio_alloc(Order::PMD).expect("memory");
        world.mm.desc(zeros).raise(Flag::Zero);
        world.mm.count_pmd_map(zeros);
        world.finds_folio(zeros, FolioRule::CountedZeros);
        world.mm.uncount_pmd_map(zeros);
        world.mm.desc(zeros).counts.store(0, Relaxed);
        world.finds_folio(zeros, FolioRule::Lost);
    });
}

#[test]
fn a_tail_with_references() {
    for tail in [1, 2, 8] {
        world(|world| {
            let (head, _) = world.folio(HUGE, Level::Pmd);
            world.mm.desc(head + tail).counts.fetch_add(1, Relaxed);
            world.finds_folio(head, FolioRule::TailHeld(head + tail));
        });
    }
}

#[test]
fn a_lock_that_was_left() {
    world(|world| {
        let (head, _) = world.folio(HUGE, Level::Pmd);
        let lock = world.mm.folio_try_lock(head).expect("free");
        world.finds_folio(head, FolioRule::LeftLocked);
        drop(lock);
        assert!(world.mm.audit().is_ok());
    });
}

/// The huge page, of which one page was unmapped: it waits to be split.
fn partly_mapped(world: &World<'_>) -> Pfn {
    let head = world.leaf(HUGE, Level::Pmd).pfn();
    world.space.unmap(VirtRange::from_size(HUGE, PAGE_SIZE)).expect("memory");
    assert_eq!(world.mm.audit().expect("in order").partial, 1);
    assert_eq!(world.mm.deferred_folios(), 1);
    head
}

#[test]
fn flags_that_disagree_with_the_deferred_list() {
    let says = |partial, queued, listed| FolioRule::Deferred { partial, queued, listed };
    world(|world| {
        let head = partly_mapped(world);
        let desc = world.mm.desc(head);
        desc.lower(Flag::Queued);
        world.finds_folio(head, says(true, false, true));
        desc.raise(Flag::Queued);
        desc.lower(Flag::Partial);
        world.finds_folio(head, says(false, true, true));
    });
    world(|world| {
        let (head, desc) = world.folio(HUGE, Level::Pmd);
        desc.raise(Flag::Partial);
        desc.raise(Flag::Queued);
        world.finds_folio(head, says(true, true, false));
    });
    world(|world| {
        let (head, desc) = world.folio(SMALL, Level::Pte);
        desc.raise(Flag::Partial);
        world.finds_folio(head, says(true, false, false));
    });
}

#[test]
fn the_deferred_list_itself() {
    world(|world| {
        let head = partly_mapped(world);
        let own = world.mm.frames.map().index(head);
        // A second one, so that there is something to come round to.
        let other = world.mm.anon_alloc(Order(4), 1, 0).expect("memory");
        world.mm.note_partial(other, world.mm.desc(other).counts());
        world.mm.desc(head + 1).next.store(own, Relaxed);
        world.finds_folio(head, FolioRule::ListedTwice);
    });
    world(|world| {
        let head = partly_mapped(world);
        world.mm.desc(head).set(Kind::Kernel, Order::PMD);
        // What maps it is looked at first.
        let rest = VirtRange::new(HUGE + PAGE_SIZE, HUGE + PMD_SIZE);
        for page in 0..rest.pages() {
            world.store(rest.start + page * PAGE_SIZE, Level::Pte, 0);
        }
        world.finds_folio(head, FolioRule::ListedAfterAll(Kind::Kernel));
    });
}
