//! Every rule, broken by hand in a world that is otherwise in order: the audit finds that rule broken,
//! there, and nothing else. And the other way: a world in order is found so, with everything in it.

extern crate std;

mod entries;
mod folios;
pub(crate) mod plain;
mod tables;

use super::{Allow, Audit, Broken, EntryRule, FolioRule, Seen, TableRule};
use crate::frame::PageDesc;
use crate::{FaultOutcome, Huge, Mm, OutOfMemory, Place, Slot, Space};
use abi::{Access, Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr};
use core::mem::ManuallyDrop;
use plain::Plain;
use pte::{Entry, Leaf};
use std::format;
use std::string::ToString;
use std::vec::Vec;

/// RAM of a test, in pages: three of the largest blocks.
const PAGES: u64 = 3072;

/// Pages one by one, a huge page, and pages that may only be read: each in an area of its own.
const SMALL: VirtAddr = VirtAddr(1 << 40);
const HUGE: VirtAddr = VirtAddr((1 << 40) + PMD_SIZE);
const READ: VirtAddr = VirtAddr((1 << 40) + 2 * PMD_SIZE);

/// Pages that are mapped at [`SMALL`].
const TOUCHED: u64 = 4;

/// A space with a little of everything, not left by anyone yet.
struct World<'m> {
    mm: &'m Mm<Plain>,
    /// Never given back: it may be broken.
    space: ManuallyDrop<Space<'m, Plain>>,
}

/// Runs `body` in a world that is in order.
fn world<R>(body: impl FnOnce(&World<'_>) -> R) -> R {
    let mm = plain::boot(PAGES);
    let world = World { mm: &mm, space: ManuallyDrop::new(Space::new(&mm).expect("memory")) };
    let areas = [
        (SMALL, 16 * PAGE_SIZE, Prot::ReadWrite, Huge::Never),
        (HUGE, PMD_SIZE, Prot::ReadWrite, Huge::Default),
        (READ, 16 * PAGE_SIZE, Prot::Read, Huge::Never),
    ];
    for (va, bytes, prot, huge) in areas {
        world.space.map(Place::At(va), bytes, prot, huge).expect("free");
    }
    for page in 0..TOUCHED {
        world.touch(SMALL + page * PAGE_SIZE, Access::Write);
    }
    world.touch(HUGE + 5 * PAGE_SIZE, Access::Write);
    body(&world)
}

impl World<'_> {
    fn touch(&self, va: VirtAddr, access: Access) {
        assert_eq!(self.space.fault(va, access), FaultOutcome::Mapped);
    }

    fn slot(&self, va: VirtAddr, level: Level) -> Slot {
        self.mm.find_slot(self.space.root(), va, level).expect("tables")
    }

    fn word(&self, va: VirtAddr, level: Level) -> u64 {
        use crate::Hardware;
        self.mm.hw.load(self.slot(va, level))
    }

    fn store(&self, va: VirtAddr, level: Level, word: u64) {
        use crate::Hardware;
        self.mm.hw.store(self.slot(va, level), word);
    }

    fn leaf(&self, va: VirtAddr, level: Level) -> Leaf {
        match pte::decode(level, self.word(va, level)) {
            Entry::Leaf(leaf) => leaf,
            other => panic!("{va} has {other}"),
        }
    }

    /// The descriptor of the folio mapped at `va` by a leaf of `level`.
    fn folio(&self, va: VirtAddr, level: Level) -> (Pfn, &'static PageDesc) {
        let head = self.leaf(va, level).pfn();
        (head, self.mm.desc(head))
    }

    /// The table that holds the entry of `level` for `va`.
    fn table(&self, va: VirtAddr, level: Level) -> Pfn {
        self.slot(va, level).table()
    }

    /// The entry as the audit reports it.
    fn seen(&self, va: VirtAddr, level: Level) -> Seen {
        Seen { root: self.space.root(), va, level, word: self.word(va, level) }
    }

    /// What the audit says now; its sentence is one, and names a number of the evidence.
    fn verdict(&self) -> Broken {
        let broken = self.mm.audit().expect_err("a broken rule");
        let sentence = broken.to_string();
        assert!(sentence.contains("0x") && !sentence.contains('\n'), "{sentence}");
        broken
    }

    /// The entry at `va` breaks `rule`, and is what the audit finds.
    fn finds_entry(&self, va: VirtAddr, level: Level, rule: EntryRule) {
        assert_eq!(self.verdict(), Broken::Entry(self.seen(va, level), rule));
    }

    fn finds_table(&self, table: Pfn, rule: TableRule) {
        assert_eq!(self.verdict(), Broken::Table(table, rule));
    }

    fn finds_folio(&self, head: Pfn, rule: FolioRule) {
        assert_eq!(self.verdict(), Broken::Folio(head, self.mm.desc(head).counts(), rule));
    }
}

#[test]
fn an_empty_machine_is_in_order() {
    assert_eq!(plain::boot(PAGES).audit(), Ok(Audit::default()));
}

#[test]
fn a_world_in_order_is_found_so_and_everything_in_it() {
    world(|world| {
        let free = world.mm.frames.free_pages(&world.mm.hw);
        let audit = world.mm.audit().expect("in order");
        let expected = Audit {
            spaces: 1,
            areas: 3,
            // Root, PUD, PMD and one of pages.
            tables: 4,
            deposits: 1,
            pmd_leaves: 1,
            pte_leaves: TOUCHED,
            rss: TOUCHED + 512,
            folios: TOUCHED + 1,
            folio_pages: TOUCHED + 512,
            ..Audit::default()
        };
        assert_eq!(audit, expected);
        assert_eq!(world.mm.frames.free_pages(&world.mm.hw), free, "an audit leaves nothing");
        let words = audit.to_string();
        for number in ["1 spaces", "3 areas", "4 tables", "516 pages resident", "5 folios"] {
            assert!(words.contains(number), "{words}");
        }
    });
}

#[test]
fn a_split_huge_page_is_in_order() {
    world(|world| {
        world.mm.split_huge_at(world.space.core(), HUGE);
        let audit = world.mm.audit().expect("in order");
        assert_eq!((audit.pmd_leaves, audit.pte_leaves), (0, TOUCHED + 512));
        assert_eq!((audit.tables, audit.deposits), (5, 0));
    });
}

#[test]
fn references_that_are_held_are_allowed_as_far_as_told() {
    world(|world| {
        let held: Vec<_> = [SMALL, HUGE, HUGE]
            .map(|va| world.space.gup_fast(va, Access::Read).expect("mapped"))
            .into();
        let audit = world.mm.audit_but(Allow::refs(3)).expect("in order");
        assert_eq!(audit.held, 3);
        let broken = world.mm.audit_but(Allow::refs(2)).expect_err("one more");
        assert!(matches!(broken, Broken::Folio(_, counts, FolioRule::References)
            if counts.refs() > counts.maps()));
        drop(held);
        assert!(world.mm.audit().is_ok());
    });
}

#[test]
fn an_audit_without_memory_says_that_it_made_none() {
    world(|world| {
        let mut taken = Vec::new();
        while let Ok(page) = world.mm.alloc(Order::PAGE) {
            taken.push(page);
        }
        let nothing = Broken::NotAudited(OutOfMemory { order: Order::PAGE });
        assert_eq!(world.mm.audit(), Err(nothing));
        assert!(format!("{nothing}").contains("out of memory"));
        for page in taken {
            world.mm.free(page);
        }
        assert!(world.mm.audit().is_ok());
    });
}
