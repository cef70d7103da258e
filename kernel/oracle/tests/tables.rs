//! Tables: linked when walkers see them whole, taken out and freed when no walk leads there any more.

mod common;

use abi::{Level, Pfn, Prot};
use common::{ALL, DATA, Paper, TABLES, block, by, everything, leaf, of_page, of_walk};
use granule_oracle::{How, Miss, Rule, SlotState};
use pte::{Caps, Table};

const NEW: Pfn = Pfn(common::RAM.0 + 40);

/// A table of pages with one page in it, linked as the second.
fn linked() -> Paper {
    let mut paper = Paper::a72();
    paper.new_table(NEW, Level::Pte);
    paper.publish(0, ALL);
    paper.store(0, block(1), Table::new(NEW).word());
    paper.store(0, NEW.base() + 8 * 3, leaf(DATA, Prot::ReadWrite));
    paper.is_silent();
    paper
}

/// The page of it that is mapped, counted from the space's first.
const PAGE: u64 = 512 + 3;

#[test]
fn a_table_is_linked_once_walkers_see_it() {
    for published in [true, false] {
        let mut paper = Paper::a72();
        paper.new_table(NEW, Level::Pte);
        if published {
            paper.publish(0, ALL);
        }
        paper.store(0, block(1), Table::new(NEW).word());
        match published {
            true => paper.is_silent(),
            false => paper.breaks(Rule::LinkUnpublished),
        }
    }
}

/// Nobody walks a space that nobody runs; who takes it up owes the barrier.
#[test]
fn a_space_is_seen_when_it_is_taken_up() {
    for published in [true, false] {
        let mut paper = Paper::a72();
        paper.oracle.leave(by(0));
        paper.new_table(NEW, Level::Pte);
        paper.store(0, block(1), Table::new(NEW).word());
        paper.is_silent();
        if published {
            paper.publish(0, ALL);
        }
        paper.enter(0, common::ASID);
        match published {
            true => paper.is_silent(),
            false => paper.breaks(Rule::LinkUnpublished),
        }
    }
}

#[test]
fn what_is_linked_is_a_table_of_the_next_level_and_linked_nowhere_else() {
    let mut paper = linked();
    paper.store(0, block(2), Table::new(NEW).word());
    paper.breaks(Rule::LinkNoTable);
    let mut paper = Paper::a72();
    paper.store(0, block(2), Table::new(DATA).word());
    paper.breaks(Rule::LinkNoTable);
    let mut paper = Paper::a72();
    paper.new_table(NEW, Level::Pmd);
    paper.publish(0, ALL);
    paper.store(0, block(2), Table::new(NEW).word());
    paper.breaks(Rule::LinkNoTable);
}

#[test]
fn taken_out_flushed_with_its_walks_and_freed() {
    for op in [of_walk(PAGE, ALL), everything(ALL)] {
        let mut paper = linked();
        paper.exchange(0, block(1), 0);
        paper.flush(0, op);
        paper.free(DATA);
        paper.free_table(NEW, Level::Pte);
        paper.is_silent();
    }
}

#[test]
fn a_flush_of_leaves_leaves_walks() {
    let mut paper = linked();
    paper.exchange(0, block(1), 0);
    paper.flush(0, of_page(PAGE, ALL));
    paper.free_table(NEW, Level::Pte);
    paper.misses(Rule::TableFreed, Miss::LastLevel);
}

#[test]
fn freed_before_the_flush_is_complete() {
    let mut paper = linked();
    paper.exchange(0, block(1), 0);
    paper.publish(0, ALL);
    paper.tlbi(0, of_walk(PAGE, ALL));
    paper.free_table(NEW, Level::Pte);
    paper.misses(Rule::TableFreed, Miss::NotComplete(0));
}

#[test]
fn freed_while_it_is_linked() {
    let mut paper = linked();
    paper.free_table(NEW, Level::Pte);
    paper.breaks(Rule::TableLinked);
    let mut paper = Paper::a72();
    paper.free_table(TABLES[0], Level::Pgd);
    paper.breaks(Rule::TableLinked);
}

/// A flush of another page of the table takes the walk, not the leaf.
#[test]
fn a_leaf_below_is_its_own_matter() {
    let mut paper = linked();
    paper.exchange(0, block(1), 0);
    paper.flush(0, of_walk(PAGE + 1, ALL));
    paper.free_table(NEW, Level::Pte);
    paper.is_silent();
    let mut paper = linked();
    paper.exchange(0, block(1), 0);
    paper.flush(0, of_walk(PAGE + 1, ALL));
    paper.free(DATA);
    paper.breaks(Rule::FrameFreed);
}

/// Leaves below a table may be flushed one by one.
#[test]
fn pieces_join() {
    let mut paper = linked();
    let other = Pfn(DATA.0 + 1);
    paper.alloc(other, abi::Order::PAGE);
    paper.store(0, NEW.base() + 8 * 5, leaf(other, Prot::Read));
    paper.exchange(0, block(1), 0);
    paper.publish(0, ALL);
    for page in PAGE..PAGE + 3 {
        paper.tlbi(0, of_walk(page, ALL));
    }
    paper.complete(0, ALL);
    paper.free(DATA);
    paper.free(other);
    paper.free_table(NEW, Level::Pte);
    paper.is_silent();
}

/// Two levels go with one store: the table below is walked through the one above.
#[test]
fn what_is_below_goes_with_what_is_above() {
    for (op, rule) in [
        (of_walk(PAGE, ALL), None),
        (of_page(PAGE, ALL), Some(Rule::TableFreed)),
        (of_walk(1 << 20, ALL), Some(Rule::TableFreed)),
    ] {
        let mut paper = linked();
        paper.exchange(0, TABLES[1].base(), 0);
        paper.flush(0, op);
        paper.free_table(NEW, Level::Pte);
        match rule {
            None => paper.is_silent(),
            Some(rule) => paper.breaks(rule),
        }
    }
}

#[test]
fn another_table_in_its_place_waits_for_the_flush() {
    let other = Pfn(NEW.0 + 1);
    for flushed in [true, false] {
        let mut paper = linked();
        paper.new_table(other, Level::Pte);
        paper.exchange(0, block(1), 0);
        match flushed {
            true => paper.flush(0, of_walk(PAGE, ALL)),
            false => paper.publish(0, ALL),
        }
        paper.store(0, block(1), Table::new(other).word());
        match flushed {
            true => paper.is_silent(),
            false => paper.misses(Rule::BreakIncomplete, Miss::Nothing),
        }
    }
}

#[test]
fn a_table_that_was_taken_out_is_frozen_and_then_quarantined() {
    let mut paper = linked();
    let slot = NEW.base() + 8 * 4;
    paper.exchange(0, block(1), 0);
    assert_eq!(paper.oracle.state(slot), Some(SlotState::Frozen));
    paper.flush(0, of_walk(PAGE, ALL));
    assert_eq!(paper.oracle.state(slot), Some(SlotState::Quarantined));
    let mut paper = linked();
    paper.exchange(0, block(1), 0);
    paper.store(0, slot, leaf(DATA, Prot::Read));
    paper.breaks(Rule::Frozen);
}

/// A table that moves takes what is below it along.
#[test]
fn a_table_moves() {
    let mut paper = linked();
    paper.exchange(0, block(1), 0);
    paper.store(0, block(7), Table::new(NEW).word());
    paper.flush(0, of_walk(PAGE, ALL));
    paper.exchange(0, NEW.base() + 8 * 3, 0);
    paper.flush(0, of_page(7 * 512 + 3, ALL));
    paper.free(DATA);
    paper.is_silent();
}

/// A space that nobody runs any more is given back as it stands, after one operation for all of it.
#[test]
fn a_dead_space_is_read_and_freed() {
    let mut paper = linked();
    paper.oracle.leave(by(0));
    paper.flush(0, everything(ALL));
    paper.free(DATA);
    paper.free_table(NEW, Level::Pte);
    for (level, pfn) in Level::ALL.into_iter().zip(TABLES).rev() {
        paper.free_table(pfn, level);
    }
    paper.is_silent();
}

#[test]
fn a_descriptor_is_stored_where_no_table_is() {
    let mut paper = Paper::a72();
    paper.store(0, DATA.base(), 0);
    paper.breaks(Rule::NoTable);
}

#[test]
fn a_table_is_filled_that_walkers_reach() {
    let mut paper = linked();
    paper.oracle.fill(by(0), NEW.base(), 4, leaf(DATA, Prot::Read), 0);
    paper.breaks(Rule::NoLock);
}

/// A fill is as many stores.
#[test]
fn what_a_fill_maps_is_mapped() {
    let mut paper = Paper::new(Caps::MAX);
    paper.new_table(NEW, Level::Pte);
    paper.oracle.fill(by(0), NEW.base(), 4, leaf(DATA, Prot::Read), 0);
    paper.publish(0, ALL);
    paper.store(0, block(1), Table::new(NEW).word());
    paper.oracle.store(by(0), NEW.base() + 8, leaf(DATA, Prot::Read), 0, How::Exchange);
    paper.is_silent();
    paper.free(DATA);
    paper.misses(Rule::FrameFreed, Miss::Nothing);
}
