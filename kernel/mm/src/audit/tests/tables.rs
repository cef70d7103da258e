//! Tables: what leads where, and what is put aside.

use super::{EntryRule, HUGE, READ, SMALL, TableRule, world};
use crate::frame::Kind;
use crate::{Hardware, Slot};
use abi::{Level, Order};
use core::sync::atomic::Ordering::Relaxed;
use pte::Table;

#[test]
fn a_root_that_is_somebody_elses() {
    world(|world| {
        let root = world.space.root();
        world.mm.desc(root).set(Kind::Kernel, Order::PAGE);
        world.finds_table(root, TableRule::NoTable(Kind::Kernel));
    });
}

#[test]
fn a_table_that_is_somebody_elses() {
    for (kind, level) in [(Kind::Free, Level::Pmd), (Kind::Folio, Level::Pud)] {
        world(|world| {
            let below = level.down().expect("tables");
            world.mm.desc(world.table(SMALL, below)).set(kind, Order::PAGE);
            let va = SMALL.align_down(level.span());
            world.finds_entry(va, level, EntryRule::NoTable(kind));
        });
    }
}

#[test]
fn a_table_outside_of_memory() {
    world(|world| {
        let beyond = world.mm.frames.map().range().end.pfn();
        world.store(SMALL, Level::Pmd, Table::new(beyond).word());
        world.finds_entry(SMALL, Level::Pmd, EntryRule::NoRam);
    });
}

#[test]
fn a_table_with_two_ways_to_it() {
    world(|world| {
        let table = world.table(SMALL, Level::Pte);
        world.store(READ, Level::Pmd, Table::new(table).word());
        world.finds_entry(READ, Level::Pmd, EntryRule::SecondWay(table));
    });
}

#[test]
fn a_table_that_is_linked_and_put_aside() {
    world(|world| {
        let (table, used) = (world.table(SMALL, Level::Pmd), world.table(SMALL, Level::Pte));
        world.mm.desc(table).next.store(world.mm.frames.map().index(used), Relaxed);
        world.finds_table(used, TableRule::SecondWay);
    });
}

#[test]
fn tables_put_aside_in_a_circle() {
    world(|world| {
        let table = world.table(HUGE, Level::Pmd);
        let spare = world.mm.desc(table).next.load(Relaxed);
        let spare_pfn = world.mm.frames.map().pfn(spare);
        world.mm.desc(spare_pfn).next.store(spare, Relaxed);
        world.finds_table(spare_pfn, TableRule::SecondWay);
    });
}

#[test]
fn a_table_that_nothing_leads_to() {
    world(|world| {
        let lost = world.mm.table_alloc(Level::Pte).expect("memory");
        world.finds_table(lost, TableRule::Lost);
    });
    world(|world| {
        let table = world.table(READ, Level::Pmd);
        let fresh = world.mm.fresh_table().expect("memory");
        let lost = fresh.pfn();
        world.mm.hw.store(Slot::new(table, Level::Pmd.index(READ)), Table::new(lost).word());
        assert!(world.mm.audit().is_ok(), "an empty table that is linked");
        world.store(READ, Level::Pmd, 0);
        world.finds_table(lost, TableRule::Lost);
    });
}

#[test]
fn as_many_tables_put_aside_as_huge_entries() {
    world(|world| {
        let table = world.table(HUGE, Level::Pmd);
        let spare = world.mm.withdraw(table).expect("a deposit");
        world.finds_table(table, TableRule::Deposits { huge: 1, spare: 0 });
        world.mm.deposit(table, spare);
        assert!(world.mm.audit().is_ok());
        world.mm.deposit(table, world.mm.spare_table().expect("memory"));
        world.finds_table(table, TableRule::Deposits { huge: 1, spare: 2 });
    });
}

#[test]
fn something_else_put_aside() {
    world(|world| {
        let table = world.table(HUGE, Level::Pmd);
        let page = world.mm.alloc(Order::PAGE).expect("memory");
        world.mm.desc(table).next.store(world.mm.frames.map().index(page), Relaxed);
        world.finds_table(table, TableRule::NoSpare(page));
    });
}
