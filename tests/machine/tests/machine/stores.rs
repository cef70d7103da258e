//! The machine judges changes of descriptors: each rule has a test that breaks it and a neighbour that
//! keeps it.

use crate::common::{ASID, Rig, VA, dirty, huge, page};
use abi::{Level, Order, PMD_SIZE, Pfn, Prot};
use mm::{Hardware, Note, Slot};
use pte::bits::{NG, PRESENT_INVALID, VALID};
use pte::{BbmLevel, Caps, Leaf, MigrationKind, Soft, Table};

const A72: Caps = Caps::CORTEX_A72;
const RESIZING: Caps = Caps { bbm: BbmLevel::L2NoAbort, ..Caps::MAX };

fn migration(pfn: Pfn) -> Soft {
    let kind = MigrationKind::Write;
    Soft::Migration { pfn, kind, young: true, dirty: true, uffd_wp: false }
}

/// Stores one word over another in a slot that a running CPU can reach.
fn over(caps: Caps, level: Level, old: impl Fn(&Rig) -> u64, new: impl Fn(&Rig) -> u64) -> Rig {
    let rig = Rig::new(caps);
    let slot = rig.slot(VA, level);
    let old = old(&rig);
    rig.set(slot, level, old);
    let new = new(&rig);
    rig.silent();
    rig.swap(slot, level, new);
    rig
}

#[test]
fn words_that_no_step_makes_are_caught() {
    for word in [0b10, VALID, 1 << 4, PRESENT_INVALID] {
        over(A72, Level::Pte, |_| 0, |_| word).caught("no correct step");
    }
    // Legal for a page, not for a PMD.
    let swap = Soft::Swap { device: 1, offset: 5, exclusive: false, uffd_wp: false };
    over(A72, Level::Pte, |_| 0, |_| swap.encode(Level::Pte)).silent();
    over(A72, Level::Pmd, |_| 0, |_| swap.encode(Level::Pte)).caught("no correct step");
}

#[test]
fn a_mapping_leads_to_owned_memory() {
    over(A72, Level::Pte, |_| 0, |rig| dirty(rig.page()).word()).silent();
    over(A72, Level::Pte, |_| 0, |_| dirty(Pfn(0x4_1000)).word()).caught("nobody's memory");
    let table = |rig: &Rig| dirty(rig.table(Level::Pte)).word();
    over(A72, Level::Pte, |_| 0, table).caught("nobody's memory");
    // Half of it is free.
    let half = |rig: &Rig| {
        let pfn = rig.alloc(Order::PMD);
        rig.free(pfn + 256, Order(8));
        huge(pfn).word()
    };
    over(A72, Level::Pmd, |_| 0, half).caught("nobody's memory");
    over(A72, Level::Pmd, |_| 0, |rig| migration(rig.alloc(Order::PMD)).encode(Level::Pmd))
        .silent();
    let gone = |_: &Rig| migration(Pfn(0x4_1000)).encode(Level::Pmd);
    over(A72, Level::Pmd, |_| 0, gone).caught("nobody's memory");
    // A device's memory is nobody's to count, and may be anywhere.
    let device = |_: &Rig| dirty(Pfn(0x9_0000)).special().word();
    over(A72, Level::Pte, |_| 0, device).silent();
    over(A72, Level::Pte, |_| 0, |rig| dirty(rig.page()).word() & !NG).caught("every space");
}

#[test]
fn a_link_leads_to_a_table_of_the_next_level() {
    let link = |level| move |rig: &Rig| Table::new(rig.table(level)).word();
    over(A72, Level::Pmd, |_| 0, link(Level::Pte)).silent();
    over(A72, Level::Pmd, |_| 0, link(Level::Pmd)).caught("no pte table");
    over(A72, Level::Pmd, |_| 0, |rig| Table::new(rig.page()).word()).caught("no pte table");
}

#[test]
fn a_table_has_one_place() {
    let rig = Rig::new(A72);
    let (one, other) = (rig.slot(VA, Level::Pmd), rig.slot(VA + PMD_SIZE, Level::Pmd));
    let table = Table::new(rig.table(Level::Pte)).word();
    rig.set(one, Level::Pmd, table);
    // Moved, it is not linked twice.
    rig.locked(Level::Pmd, || {
        rig.machine.swap(one, 0);
        rig.machine.store(other, table);
    });
    rig.silent();
    rig.set(one, Level::Pmd, table);
    rig.caught("links a table that slot");
}

/// A page is cleared and becomes a table: walkers must see the zeros before they see the link.
#[test]
fn a_table_is_seen_before_its_link() {
    for publish in [true, false] {
        let rig = Rig::new(A72);
        let slot = rig.slot(VA, Level::Pmd);
        let page = rig.page();
        rig.machine.poke(page.base() + 8 * 3, dirty(rig.page()).word());
        rig.machine.zero(page, Order::PAGE);
        rig.machine.note(Note::TableAlloc(page, Level::Pte));
        if publish {
            rig.publish();
        }
        rig.set(slot, Level::Pmd, Table::new(page).word());
        if publish { rig.silent() } else { rig.caught("walkers may not see") }
    }
}

#[test]
fn only_what_is_present_becomes_invalid() {
    let block = |rig: &Rig| huge(rig.alloc(Order::PMD));
    let invalid = |rig: &Rig| block(rig).invalidated().word();
    let legal = |old: fn(Leaf) -> Leaf| {
        let rig = Rig::new(A72);
        let slot = rig.slot(VA, Level::Pmd);
        let leaf = block(&rig);
        rig.set(slot, Level::Pmd, old(leaf).word());
        rig.locked(Level::Pmd, || {
            rig.machine.swap(slot, leaf.invalidated().word());
            rig.publish();
            rig.flush(VA);
            rig.machine.store(slot, leaf.word());
        });
        rig.silent();
    };
    legal(|leaf| leaf);
    legal(|leaf| leaf.with_prot(Prot::None));
    let not_present = "what is not present";
    over(A72, Level::Pmd, |_| 0, invalid).caught(not_present);
    over(A72, Level::Pmd, |rig| migration(rig.alloc(Order::PMD)).encode(Level::Pmd), invalid)
        .caught(not_present);
    over(A72, Level::Pmd, |rig| Table::new(rig.table(Level::Pte)).word(), invalid)
        .caught(not_present);
    over(A72, Level::Pmd, |rig| block(rig).word(), invalid).caught(not_present);
}

#[test]
fn an_invalid_entry_does_not_outlive_the_lock() {
    let rig = Rig::new(A72);
    let slot = rig.slot(VA, Level::Pmd);
    let leaf = huge(rig.alloc(Order::PMD));
    rig.set(slot, Level::Pmd, leaf.word());
    rig.silent();
    rig.swap(slot, Level::Pmd, leaf.invalidated().word());
    rig.caught("outlives the lock");
    // What permits nothing, and stays, may.
    let rig = Rig::new(A72);
    let leaf = dirty(rig.page());
    let slot = rig.map(VA, leaf);
    rig.swap(slot, Level::Pte, leaf.with_prot(Prot::None).word());
    rig.silent();
}

#[test]
fn a_live_slot_changes_under_its_tables_lock() {
    let store = |held: Option<Level>, running: bool| {
        let rig = Rig::new(A72);
        let slot = rig.slot(VA, Level::Pte);
        let word = dirty(rig.page()).word();
        if !running {
            rig.leave(1);
        }
        match held {
            Some(level) => rig.locked(level, || rig.machine.store(slot, word)),
            None => rig.machine.store(slot, word),
        }
        rig
    };
    store(Some(Level::Pte), true).silent();
    store(None, true).caught("lock is not held");
    store(Some(Level::Pmd), true).caught("lock is not held");
    // Nobody runs the space: it may be one that is torn down.
    store(None, false).silent();
    // A table that is linked nowhere is its maker's.
    let rig = Rig::new(A72);
    rig.machine.store(Slot::new(rig.table(Level::Pte), 5), dirty(rig.page()).word());
    rig.silent();
}

#[test]
fn what_must_not_be_together_is_broken_first() {
    let page = |rig: &Rig| dirty(rig.page()).word();
    let block = |rig: &Rig| huge(rig.alloc(Order::PMD)).word();
    let table = |rig: &Rig| Table::new(rig.table(Level::Pte)).word();
    let broken = "break-before-make";
    for caps in [A72, Caps::MAX] {
        over(caps, Level::Pte, page, page).caught(broken);
        over(caps, Level::Pmd, block, table).caught(broken);
        over(caps, Level::Pmd, table, block).caught(broken);
        over(caps, Level::Pmd, table, table).caught(broken);
        // Rights and history change in place.
        let rig = Rig::new(caps);
        let leaf = dirty(rig.page());
        let slot = rig.map(VA, leaf);
        for other in [leaf.write_protected(), leaf, leaf.made_old(), leaf.made_clean(), leaf] {
            rig.swap(slot, Level::Pte, other.word());
        }
        rig.silent();
    }
    // Where sizes may change directly they do, but not the memory.
    over(RESIZING, Level::Pmd, block, table).silent();
    over(RESIZING, Level::Pte, page, page).caught(broken);
    // Nobody can have what is linked nowhere.
    let rig = Rig::new(A72);
    let slot = Slot::new(rig.table(Level::Pte), 5);
    rig.machine.store(slot, dirty(rig.page()).word());
    rig.machine.store(slot, dirty(rig.page()).word());
    rig.silent();
}

/// A fork writes its child's tables as it likes: no walker comes there before the child first runs.
#[test]
fn a_space_that_never_ran_is_its_makers() {
    for ran in [false, true] {
        let rig = Rig::new(A72);
        let root = if ran { rig.root } else { rig.table(Level::Pgd) };
        let mut table = root;
        for level in [Level::Pgd, Level::Pud, Level::Pmd] {
            let page = rig.page();
            rig.machine.poke(page.base() + 8, huge(rig.alloc(Order::PMD)).word());
            rig.machine.zero(page, Order::PAGE);
            let below = level.down().expect("above the last");
            rig.machine.note(Note::TableAlloc(page, below));
            rig.machine.store(Slot::new(table, level.index(VA)), Table::new(page).word());
            table = page;
        }
        let folio = rig.alloc(Order(4));
        let first = Slot::new(table, Level::Pte.index(VA));
        rig.machine.fill(first, 16, dirty(folio).contiguous(true).word(), 4096);
        rig.machine.store(first, dirty(rig.page()).word());
        rig.locked(Level::Pte, || ());
        rig.publish();
        if ran { rig.caught("pgd slot") } else { rig.silent() }
    }
}

/// Clears a mapping and makes another one, with some of the steps between.
fn make_again(caps: Caps, between: impl Fn(&Rig), same: bool) -> Rig {
    let rig = Rig::new(caps);
    let leaf = dirty(rig.page());
    let slot = rig.map(VA, leaf);
    rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
    between(&rig);
    let next = if same { leaf } else { dirty(rig.page()) };
    rig.set(slot, Level::Pte, next.word());
    rig
}

#[test]
fn a_break_is_complete_before_the_make() {
    let incomplete = "the break is not complete: cpu 1";
    for caps in [A72, Caps::MAX, RESIZING] {
        let whole = |rig: &Rig| {
            rig.publish();
            rig.flush(VA);
        };
        make_again(caps, whole, false).silent();
        make_again(caps, |_| (), false).caught(incomplete);
        make_again(caps, |rig| rig.publish(), false).caught(incomplete);
        make_again(caps, |rig| rig.flush(VA), false).caught(incomplete);
        make_again(caps, |rig| (rig.publish(), rig.flush(page(1))).1, false).caught(incomplete);
        let unfinished = |rig: &Rig| {
            rig.publish();
            rig.issue(crate::common::leaf_at(VA, None));
        };
        make_again(caps, unfinished, false).caught(incomplete);
        // The same mapping may come back at any time.
        make_again(caps, |_| (), true).silent();
        // Nobody ran the space while the old one was there.
        let rig = Rig::new(caps);
        rig.leave(1);
        let slot = rig.slot(VA, Level::Pte);
        rig.set(slot, Level::Pte, dirty(rig.page()).word());
        rig.set(slot, Level::Pte, 0);
        rig.set(slot, Level::Pte, dirty(rig.page()).word());
        rig.enter(1);
        rig.silent();
    }
}

/// A leaf without the access flag is not cached, so there is nothing to break.
#[test]
fn what_causes_a_fault_is_not_cached() {
    for (caps, cached) in [(A72, false), (Caps::MAX, true)] {
        let rig = Rig::new(caps);
        let old = dirty(rig.page()).made_old();
        let slot = rig.map(VA, old);
        // Where hardware sets the flag, a walk has done so by itself.
        assert_eq!(rig.cache(VA), cached);
        rig.swap(slot, Level::Pte, 0);
        rig.set(slot, Level::Pte, dirty(rig.page()).word());
        if cached { rig.caught("cpu 1 may have") } else { rig.silent() }
    }
    // It was young once.
    let rig = Rig::new(A72);
    let young = dirty(rig.page());
    let slot = rig.map(VA, young);
    rig.swap(slot, Level::Pte, young.made_old().word());
    rig.swap(slot, Level::Pte, 0);
    rig.set(slot, Level::Pte, dirty(rig.page()).word());
    rig.caught("cpu 1 may have");
}

/// A table goes and a block comes, or another table: leaves below and the walk itself must be gone.
#[test]
fn a_table_is_broken_with_all_below_it() {
    let collapse = |flush: &dyn Fn(&Rig), new: &dyn Fn(&Rig) -> u64| {
        let rig = Rig::new(A72);
        let pmd = rig.slot(VA, Level::Pmd);
        rig.map(VA, dirty(rig.page()));
        rig.map(page(9), dirty(rig.page()));
        rig.swap(pmd, Level::Pmd, 0);
        flush(&rig);
        let new = new(&rig);
        rig.set(pmd, Level::Pmd, new);
        rig
    };
    let block = |rig: &Rig| huge(rig.alloc(Order::PMD)).word();
    let both = |rig: &Rig| {
        rig.flush_walks(VA);
        rig.flush_walks(page(9));
    };
    collapse(&both, &block).silent();
    collapse(&|rig| rig.flush_walks(VA), &block).caught("may have leaf 4K");
    let leaves = |rig: &Rig| {
        rig.flush(VA);
        rig.flush(page(9));
    };
    collapse(&leaves, &block).caught("may have");
    // The leaves go first and come back by the walk that is still there.
    let wrong_order = |rig: &Rig| {
        rig.flush(page(9));
        rig.flush_walks(VA);
    };
    collapse(&wrong_order, &block).caught("may have leaf 4K");
    // Another table with nothing in it clashes with the walk alone.
    let table = |rig: &Rig| Table::new(rig.table(Level::Pte)).word();
    collapse(&|rig| rig.flush_walks(VA), &table).silent();
    collapse(&leaves, &table).caught("may have table");
    // And with other pages, with the leaves as well.
    let other = |rig: &Rig| {
        let table = rig.table(Level::Pte);
        rig.machine.store(Slot::new(table, 9), dirty(rig.page()).word());
        rig.publish();
        Table::new(table).word()
    };
    collapse(&|rig| rig.flush_walks(VA), &other).caught("may have leaf 4K");
    collapse(&both, &other).silent();
}

/// The CPU has left and owes a flush before it comes back: then nothing was wrong.
#[test]
fn what_cannot_be_used_is_no_conflict_until_it_can() {
    for flush in [true, false] {
        let rig = Rig::new(A72);
        let slot = rig.map(VA, dirty(rig.page()));
        rig.leave(1);
        rig.swap(slot, Level::Pte, 0);
        rig.set(slot, Level::Pte, dirty(rig.page()).word());
        rig.silent();
        if flush {
            rig.machine.on(1, || {
                rig.machine
                    .tlbi(pte::Tlbi { target: pte::Target::Asid(ASID), scope: pte::Scope::Local });
                rig.machine.complete(pte::Scope::Local);
            });
        }
        rig.enter(1);
        if flush { rig.silent() } else { rig.caught("got a new translation") }
    }
}

/// With two tables of a level locked, what is in one of them is in order when both are released.
#[test]
fn what_is_locked_twice_is_judged_when_both_are_released() {
    use sync::{Class, Cpu};
    for restored in [true, false] {
        let rig = Rig::new(A72);
        let slot = rig.slot(VA, Level::Pmd);
        let leaf = huge(rig.alloc(Order::PMD));
        rig.set(slot, Level::Pmd, leaf.word());
        rig.machine.lock_wanted(Class::PmdTable);
        rig.machine.lock_wanted(Class::PmdTable2);
        rig.machine.swap(slot, leaf.invalidated().word());
        rig.machine.lock_dropped(Class::PmdTable2);
        rig.silent();
        if restored {
            rig.machine.store(slot, leaf.word());
        }
        rig.machine.lock_dropped(Class::PmdTable);
        if restored {
            rig.silent();
        } else {
            rig.caught("outlives the lock");
        }
    }
}
