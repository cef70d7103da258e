//! Entries: the word, the area, the folio.

use super::{Broken, EntryRule, HUGE, READ, SMALL, TOUCHED, world};
use crate::audit::{Allow, Name};
use crate::frame::{Counts, Flag, Kind};
use crate::rmap::Owner;
use crate::space::FaultOutcome;
use abi::{Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr};
use core::sync::atomic::Ordering::Relaxed;
use pte::{Leaf, MigrationKind, Misfit, SetRule, Soft, bits};

/// An address of the small pages' table that is in no area.
const NOWHERE: VirtAddr = VirtAddr(SMALL.0 + 300 * PAGE_SIZE);

#[test]
fn a_word_that_no_step_leaves_behind() {
    for word in [0b10, bits::PRESENT_INVALID, u64::MAX] {
        world(|world| {
            world.store(SMALL, Level::Pte, word);
            world.finds_entry(SMALL, Level::Pte, EntryRule::Corrupt);
        });
    }
    // What became of a migration entry of a huge page in the Linux of 2024: the mark of a leaf that is
    // invalid for a moment.
    world(|world| {
        let (pfn, _) = world.folio(HUGE, Level::Pmd);
        let kind = MigrationKind::Read;
        let soft = Soft::Migration { pfn, kind, young: false, dirty: false, uffd_wp: false };
        let word = soft.encode(Level::Pmd) | bits::PRESENT_INVALID;
        world.store(HUGE, Level::Pmd, word);
        world.finds_entry(HUGE, Level::Pmd, EntryRule::Corrupt);
    });
}

#[test]
fn a_leaf_above_the_pmd() {
    world(|world| {
        let far = VirtAddr(SMALL.0 + (1 << 30));
        let leaf = Leaf::user(Level::Pud, Pfn(0x4_0000), Prot::Read);
        world.store(far, Level::Pud, leaf.word());
        world.finds_entry(far, Level::Pud, EntryRule::TooLarge);
    });
}

#[test]
fn a_leaf_that_was_left_invalid() {
    for (va, level) in [(HUGE, Level::Pmd), (SMALL, Level::Pte)] {
        world(|world| {
            world.store(va, level, world.leaf(va, level).invalidated().word());
            world.finds_entry(va, level, EntryRule::LeftInvalid);
        });
    }
}

#[test]
fn a_migration_entry_without_a_migration() {
    for (va, level) in [(HUGE, Level::Pmd), (SMALL, Level::Pte)] {
        world(|world| {
            let (pfn, desc) = world.folio(va, level);
            let moving = |pfn| {
                let (kind, young) = (MigrationKind::Write, true);
                Soft::Migration { pfn, kind, young, dirty: true, uffd_wp: false }.encode(level)
            };
            world.store(va, level, moving(pfn));
            world.finds_entry(va, level, EntryRule::LeftMigration);
            // Under a migration it is none: it owns no mapping, and the migrator holds a reference.
            desc.counts.fetch_sub(Counts::maps_only(1), Relaxed);
            if level == Level::Pmd {
                world.mm.uncount_pmd_map(pfn);
            }
            let allow = Allow { refs: 1, migration: true };
            let audit = world.mm.audit_but(allow).expect("in order");
            assert_eq!((audit.migrations, audit.held), (1, 1));
            assert_eq!(audit.rss, TOUCHED + 512, "what migrates is still the program's");
            if level == Level::Pmd {
                desc.set_with(Kind::Folio, Order(8), Flag::Anon as u32);
                let broken = world.mm.audit_but(allow).expect_err("no huge folio");
                let rule = EntryRule::NotWhole(pfn, Order(8));
                assert_eq!(broken, Broken::Entry(world.seen(va, level), rule));
            }
        });
    }
}

#[test]
fn a_leaf_of_the_kernels() {
    for bit in [bits::PXN, bits::NG] {
        world(|world| {
            world.store(SMALL, Level::Pte, world.word(SMALL, Level::Pte) & !bit);
            world.finds_entry(SMALL, Level::Pte, EntryRule::Privileged);
        });
    }
}

#[test]
fn something_where_no_area_is() {
    world(|world| {
        world.store(NOWHERE, Level::Pte, world.word(SMALL, Level::Pte));
        world.finds_entry(NOWHERE, Level::Pte, EntryRule::Outside);
    });
    world(|world| {
        let swap = Soft::Swap { device: 0, offset: 7, exclusive: false, uffd_wp: false };
        world.store(NOWHERE, Level::Pte, swap.encode(Level::Pte));
        world.finds_entry(NOWHERE, Level::Pte, EntryRule::Outside);
        world.store(NOWHERE, Level::Pte, 0);
        world.store(SMALL + 9 * PAGE_SIZE, Level::Pte, swap.encode(Level::Pte));
        assert_eq!(world.mm.audit().expect("in order").soft, 1);
    });
    // A huge leaf must lie in one area whole.
    world(|world| {
        let va = HUGE + 2 * PMD_SIZE;
        world.store(va, Level::Pmd, world.word(HUGE, Level::Pmd));
        world.finds_entry(va, Level::Pmd, EntryRule::Outside);
    });
}

#[test]
fn more_rights_than_the_area() {
    for prot in [Prot::ReadWrite, Prot::ReadExec] {
        world(|world| {
            assert_eq!(world.space.fault_unshare(READ), FaultOutcome::Mapped);
            let pfn = world.folio(READ, Level::Pte).0;
            world.store(READ, Level::Pte, Leaf::user(Level::Pte, pfn, prot).word());
            world.finds_entry(READ, Level::Pte, EntryRule::Rights(Prot::Read));
            world.store(READ, Level::Pte, Leaf::user(Level::Pte, pfn, Prot::None).word());
            assert_eq!(world.mm.audit().expect("less is fine").prot_none, 1);
        });
    }
}

#[test]
fn a_page_outside_of_memory() {
    world(|world| {
        let beyond = world.mm.frames.map().range().end.pfn();
        let leaf = Leaf::user(Level::Pte, beyond, Prot::Read);
        world.store(SMALL, Level::Pte, leaf.word());
        world.finds_entry(SMALL, Level::Pte, EntryRule::NoRam);
    });
}

#[test]
fn a_page_that_is_no_folios() {
    world(|world| {
        // Not one page: the audit's own scratch would be the next to get it.
        let page = world.mm.alloc(Order(4)).expect("memory");
        let map = |pfn| {
            let leaf = Leaf::user(Level::Pte, pfn, Prot::Read);
            world.store(SMALL, Level::Pte, leaf.word());
        };
        map(page);
        world.finds_entry(SMALL, Level::Pte, EntryRule::NoFolio(Kind::Kernel));
        map(world.table(SMALL, Level::Pte));
        world.finds_entry(SMALL, Level::Pte, EntryRule::NoFolio(Kind::Table));
        world.mm.free(page);
        map(page);
        world.finds_entry(SMALL, Level::Pte, EntryRule::NoFolio(Kind::Free));
    });
}

#[test]
fn a_huge_leaf_of_something_smaller() {
    world(|world| {
        let (head, desc) = world.folio(HUGE, Level::Pmd);
        desc.set_with(Kind::Folio, Order(8), Flag::Anon as u32);
        world.finds_entry(HUGE, Level::Pmd, EntryRule::NotWhole(head, Order(8)));
    });
}

#[test]
fn a_folio_that_a_walk_would_not_find_here() {
    world(|world| {
        for (va, level) in [(SMALL + PAGE_SIZE, Level::Pte), (HUGE, Level::Pmd)] {
            let (_, desc) = world.folio(va, level);
            let right = Owner::from_word(desc.owner.load(Relaxed));
            for wrong in [
                Owner { index: right.index + 1, ..right },
                Owner { family: right.family + 1, ..right },
            ] {
                desc.owner.store(wrong.word(), Relaxed);
                let (called, expected) = (Name::from(wrong), Name::from(right));
                world.finds_entry(va, level, EntryRule::Unfindable { called, expected });
            }
            desc.owner.store(right.word(), Relaxed);
        }
    });
}

#[test]
fn a_writable_leaf_of_a_page_that_is_not_exclusive() {
    for (va, level) in [(SMALL, Level::Pte), (HUGE, Level::Pmd)] {
        world(|world| {
            let (head, desc) = world.folio(va, level);
            world.mm.clear_exclusive(head, 0..desc.order().pages());
            world.finds_entry(va, level, EntryRule::SharedWritable);
            let leaf = world.leaf(va, level).write_protected();
            world.store(va, level, leaf.word());
            assert!(world.mm.audit().is_ok(), "read-only is fine");
        });
    }
    // One page of many.
    world(|world| {
        let (head, _) = world.folio(HUGE, Level::Pmd);
        world.mm.split_huge_at(world.space.core(), HUGE);
        world.mm.clear_exclusive(head, 77..78);
        world.finds_entry(HUGE + 77 * PAGE_SIZE, Level::Pte, EntryRule::SharedWritable);
    });
}

#[test]
fn zeros_that_everybody_shares() {
    world(|world| {
        let (head, desc) = world.folio(SMALL, Level::Pte);
        let read = Leaf::user(Level::Pte, head, Prot::Read);
        world.store(SMALL, Level::Pte, read.special().word());
        world.finds_entry(SMALL, Level::Pte, EntryRule::Special);
        desc.raise(Flag::Zero);
        desc.counts.store(Counts::held(1).0, Relaxed);
        assert_eq!(world.mm.audit().expect("in order").special, 1);
        world.store(SMALL, Level::Pte, read.word());
        world.finds_entry(SMALL, Level::Pte, EntryRule::NotSpecial);
        let write = Leaf::user(Level::Pte, head, Prot::ReadWrite);
        world.store(SMALL, Level::Pte, write.special().word());
        world.finds_entry(SMALL, Level::Pte, EntryRule::WritableZeros);
    });
}

#[test]
fn a_contiguous_set_of_one() {
    world(|world| {
        let leaf = world.leaf(SMALL, Level::Pte).contiguous(true);
        world.store(SMALL, Level::Pte, leaf.word());
        let broken = world.verdict();
        let Broken::Entry(at, EntryRule::TornSet(misfit)) = broken else { panic!("{broken}") };
        assert_eq!(at, world.seen(SMALL, Level::Pte));
        assert!(matches!(misfit.rule, SetRule::Frame | SetRule::Mark), "{misfit}");
    });
}

/// Sixteen pages that are one run: in one folio they may be a set, in two they may not.
#[test]
fn a_contiguous_set_over_two_folios() {
    world(|world| {
        let va = SMALL;
        let owner = |page| {
            let first = Owner::from_word(world.folio(SMALL, Level::Pte).1.owner.load(Relaxed));
            Owner { index: first.index + page, ..first }.word()
        };
        let owners = [owner(0), owner(8)];
        for page in 0..TOUCHED {
            let (head, _) = world.folio(va + page * PAGE_SIZE, Level::Pte);
            world.store(va + page * PAGE_SIZE, Level::Pte, 0);
            world.mm.folio_unmap(head, 1);
        }
        let run = world.mm.anon_alloc(Order(4), 16, owners[0]).expect("memory");
        for page in 0..16 {
            let leaf = Leaf::user(Level::Pte, run + page, Prot::ReadWrite).contiguous(true);
            world.store(va + page * PAGE_SIZE, Level::Pte, leaf.word());
        }
        assert_eq!(world.mm.audit().expect("in order").contiguous, 16);
        // A member without the mark.
        let third = va + 2 * PAGE_SIZE;
        let word = world.word(third, Level::Pte);
        world.store(third, Level::Pte, word & !bits::CONT);
        let misfit = Misfit { entry: 2, rule: SetRule::Mark };
        world.finds_entry(va, Level::Pte, EntryRule::TornSet(misfit));
        world.store(third, Level::Pte, word);
        for (half, owner) in [(run, owners[0]), (run + 8, owners[1])] {
            let desc = world.mm.desc(half);
            desc.own(Kind::Folio, Order(3), Flag::Anon as u32, Counts::mapped_exclusively(8));
            desc.owner.store(owner, Relaxed);
        }
        world.finds_entry(va, Level::Pte, EntryRule::SetOfFolios);
    });
}
