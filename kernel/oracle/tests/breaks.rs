//! Stores: what may replace what, how, and with which lock; and what a lock's release leaves.

mod common;

use abi::{Level, Pfn, Prot, VirtRange};
use common::{ALL, BLOCK, DATA, Paper, TABLES, block, huge, leaf, of_page, page};
use granule_oracle::{Miss, Rule, SlotState};
use pte::{Caps, Illegal, Leaf, MigrationKind, Reason, Soft, Table};

const RW: Prot = Prot::ReadWrite;

#[test]
fn another_frame_over_a_live_entry() {
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, RW));
    paper.store(0, page(0), leaf(BLOCK, RW));
    paper.breaks(Rule::Break(Reason::OutputAddress));
}

/// Where no CPU ever ran the space, nothing is live.
#[test]
fn another_frame_where_nobody_looked() {
    let mut paper = Paper::a72();
    paper.oracle.leave(common::by(0));
    paper.flush(0, common::everything(ALL));
    paper.store(0, page(0), leaf(DATA, RW));
    paper.store(0, page(0), leaf(BLOCK, RW));
    paper.is_silent();
}

#[test]
fn a_break_is_complete_only_after_its_flush() {
    type Steps<'a> = &'a [fn(&mut Paper)];
    let steps: [(Steps, Option<Miss>); 4] = [
        (&[], Some(Miss::Nothing)),
        (&[|p| p.publish(0, ALL), |p| p.tlbi(0, of_page(0, ALL))], Some(Miss::NotComplete(0))),
        (&[|p| p.tlbi(0, of_page(0, ALL)), |p| p.complete(0, ALL)], Some(Miss::NotPublished)),
        (&[|p| p.flush(0, of_page(0, ALL))], None),
    ];
    for (flush, miss) in steps {
        let mut paper = Paper::a72();
        paper.store(0, page(0), leaf(DATA, RW));
        paper.exchange(0, page(0), 0);
        flush.iter().for_each(|step| step(&mut paper));
        paper.store(0, page(0), leaf(BLOCK, RW));
        match miss {
            Some(miss) => paper.misses(Rule::BreakIncomplete, miss),
            None => paper.is_silent(),
        }
    }
}

/// What comes back as it was met nothing else.
#[test]
fn the_same_mapping_may_come_back_at_once() {
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, RW));
    paper.exchange(0, page(0), 0);
    paper.store(0, page(0), leaf(DATA, RW));
    paper.is_silent();
    assert_eq!(paper.oracle.outstanding(), 0);
}

#[test]
fn a_table_over_a_live_block_and_a_block_over_a_table() {
    let mut paper = Paper::a72();
    let table = Pfn(common::RAM.0 + 40);
    paper.new_table(table, Level::Pte);
    paper.publish(0, ALL);
    paper.store(0, block(1), huge(BLOCK));
    paper.store(0, block(1), Table::new(table).word());
    paper.breaks(Rule::Break(Reason::Size));
    let mut paper = Paper::a72();
    paper.store(0, block(0), huge(BLOCK));
    paper.breaks(Rule::Break(Reason::Size));
}

#[test]
fn transitions_that_no_right_step_makes() {
    let moving =
        |pfn, kind| Soft::Migration { pfn, kind, young: true, dirty: true, uffd_wp: false };
    let soft = moving(DATA, MigrationKind::Write).encode(Level::Pte);
    let invalid = Leaf::user(Level::Pte, DATA, RW).made_young().invalidated().word();
    for (old, new, illegal) in [
        (leaf(DATA, RW), soft, Illegal::MigrationOverLeaf),
        (soft, invalid, Illegal::InvalidatedNoLeaf),
        (0, invalid, Illegal::InvalidatedNoLeaf),
        (0, 0b1, Illegal::Corrupt),
    ] {
        let mut paper = Paper::a72();
        if old != 0 {
            paper.store(0, page(0), old);
        }
        paper.is_silent();
        paper.store(0, page(0), new);
        paper.breaks(Rule::Transition(illegal));
    }
}

#[test]
fn what_is_mapped_is_somebodys() {
    let mut paper = Paper::a72();
    paper.free(DATA);
    paper.store(0, page(0), leaf(DATA, RW));
    paper.breaks(Rule::MapsNobodys);
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(TABLES[0], RW));
    paper.breaks(Rule::MapsNobodys);
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, RW) & !pte::bits::NG);
    paper.breaks(Rule::GlobalUser);
}

#[test]
fn a_store_that_nobody_told_of() {
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, RW));
    paper.scribble(page(0), leaf(BLOCK, RW));
    paper.exchange(0, page(0), 0);
    paper.breaks(Rule::ForeignStore);
}

/// Hardware's own updates are nobody's store.
#[test]
fn hardware_may_mark_an_entry() {
    let mut paper = Paper::new(Caps::MAX);
    let clean = Leaf::user(Level::Pte, DATA, RW).word();
    paper.store(0, page(0), clean);
    let marked = (clean | pte::bits::AF) & !pte::bits::RDONLY;
    paper.scribble(page(0), marked);
    paper.exchange(0, page(0), 0);
    paper.is_silent();
}

#[test]
fn a_plain_store_where_hardware_writes() {
    let clean = Leaf::user(Level::Pte, DATA, RW).made_young().word();
    let narrower = Leaf::user(Level::Pte, DATA, Prot::Read).made_young().word();
    for (caps, exchange, silent) in
        [(Caps::MAX, false, false), (Caps::MAX, true, true), (Caps::CORTEX_A72, false, true)]
    {
        let mut paper = Paper::new(caps);
        paper.store(0, page(0), clean);
        match exchange {
            true => drop(paper.exchange(0, page(0), narrower)),
            false => paper.store(0, page(0), narrower),
        }
        match silent {
            true => paper.is_silent(),
            false => paper.breaks(Rule::PlainStore),
        }
    }
}

#[test]
fn a_store_without_the_lock() {
    let mut paper = Paper::a72();
    paper.unlock(0);
    paper.store(0, page(0), leaf(DATA, RW));
    paper.breaks(Rule::NoLock);
}

#[test]
fn an_invalid_entry_does_not_outlive_the_lock() {
    let invalid = Leaf::user(Level::Pte, DATA, RW).made_young().made_dirty().invalidated().word();
    for (restored, released) in [(true, true), (false, true), (false, false)] {
        let mut paper = Paper::a72();
        paper.store(0, page(0), leaf(DATA, RW));
        paper.exchange(0, page(0), invalid);
        paper.flush(0, of_page(0, ALL));
        if restored {
            paper.store(0, page(0), leaf(DATA, RW));
        }
        if released {
            paper.unlock(0);
        }
        match (restored, released) {
            (false, true) => paper.breaks(Rule::InvalidOutlives),
            _ => paper.is_silent(),
        }
    }
}

/// Sixteen entries have the contiguous mark, or none has.
#[test]
fn a_contiguous_set_is_whole_when_the_lock_goes() {
    let member = |n: u64| {
        let leaf = Leaf::user(Level::Pte, BLOCK + n, RW).made_young().made_dirty();
        leaf.contiguous(true).word()
    };
    for whole in [true, false] {
        let mut paper = Paper::a72();
        for n in 0..if whole { 16 } else { 15 } {
            paper.store(0, page(n), member(n as u64));
        }
        paper.is_silent();
        paper.unlock(0);
        match whole {
            true => paper.is_silent(),
            false => paper.breaks(Rule::MixedRun),
        }
    }
}

/// What an operation took away is gone when it is over.
#[test]
fn rights_are_gone_when_the_operation_is_over() {
    let range = VirtRange::from_size(common::VA, abi::PAGE_SIZE);
    for (flushed, other) in [(true, false), (false, false), (false, true)] {
        let mut paper = Paper::a72();
        paper.store(0, page(0), leaf(DATA, RW));
        paper.store(0, page(0), leaf(DATA, Prot::Read));
        if flushed {
            paper.flush(0, of_page(0, ALL));
        }
        let elsewhere = VirtRange::from_size(common::VA + abi::PAGE_SIZE, abi::PAGE_SIZE);
        paper.done(if other { elsewhere } else { range });
        match (flushed, other) {
            (false, false) => paper.misses(Rule::DoneEarly, Miss::Nothing),
            _ => paper.is_silent(),
        }
    }
}

/// More rights owe nothing.
#[test]
fn more_rights_owe_nothing() {
    let mut paper = Paper::a72();
    paper.store(0, page(0), leaf(DATA, Prot::Read));
    paper.store(0, page(0), leaf(DATA, RW));
    assert_eq!(paper.oracle.outstanding(), 0);
    paper.is_silent();
}

#[test]
fn a_slot_goes_through_its_states() {
    let mut paper = Paper::a72();
    let expect = |paper: &mut Paper, state| {
        assert_eq!(paper.oracle.state(page(0)), Some(state));
        paper.is_silent();
    };
    expect(&mut paper, SlotState::Clean);
    paper.store(0, page(0), leaf(DATA, RW));
    expect(&mut paper, SlotState::Live);
    paper.store(0, page(0), leaf(DATA, Prot::Read));
    expect(&mut paper, SlotState::Tightened);
    paper.exchange(0, page(0), 0);
    expect(&mut paper, SlotState::Broken);
    paper.unlock(0);
    expect(&mut paper, SlotState::Deferred);
    paper.publish(0, ALL);
    paper.tlbi(0, of_page(0, ALL));
    expect(&mut paper, SlotState::Flushed);
    paper.complete(0, ALL);
    expect(&mut paper, SlotState::Clean);
}
