//! Spin locks and their classes.

use crate::machine::Alone;
use granule_sync::{Class, SpinLock};

#[test]
fn two_tables_of_one_level_are_locked_as_first_and_second() {
    let cpu = Alone::default();
    let [one, other] = [(); 2].map(|()| SpinLock::new(Class::PmdTable, ()));
    let [below, beside] = [(); 2].map(|()| SpinLock::new(Class::PteTable, ()));
    let _one = one.lock(&cpu);
    let _other = other.lock_as(&cpu, Class::PmdTable2);
    let _below = below.lock(&cpu);
    let _beside = beside.lock_as(&cpu, Class::PteTable2);
    let order = [Class::PmdTable, Class::PmdTable2, Class::PteTable, Class::PteTable2];
    assert_eq!(*cpu.held.borrow(), order);
    assert_eq!(*cpu.disorder.borrow(), []);
}

#[test]
fn a_lock_out_of_order_may_be_tried_and_counts_from_then_on() {
    let cpu = Alone::default();
    let [pte, folio, zone] =
        [Class::PteTable, Class::Folio, Class::Zone].map(|class| SpinLock::new(class, ()));
    {
        let _folio = folio.lock(&cpu);
        let _pte = pte.try_lock(&cpu).unwrap();
        assert_eq!(*cpu.held.borrow(), [Class::Folio, Class::PteTable]);
        drop(zone.lock(&cpu));
    }
    assert_eq!(*cpu.held.borrow(), []);
}

#[test]
fn a_lock_out_of_order_is_noticed_where_it_is_waited_for() {
    let cpu = Alone::default();
    let [pte, folio] = [Class::PteTable, Class::Folio].map(|class| SpinLock::new(class, ()));
    let _folio = folio.lock(&cpu);
    drop(pte.try_lock(&cpu));
    assert_eq!(*cpu.disorder.borrow(), []);
    drop(pte.lock(&cpu));
    assert_eq!(*cpu.disorder.borrow(), [(Class::PteTable, Class::Folio)]);
}

#[test]
fn a_try_that_fails_leaves_nothing_behind() {
    let cpu = Alone::default();
    let lock = SpinLock::new(Class::Folio, 1);
    let guard = lock.lock(&cpu);
    assert!(lock.try_lock(&cpu).is_none());
    assert_eq!(*cpu.held.borrow(), [Class::Folio]);
    drop(guard);
    *lock.try_lock(&cpu).unwrap() += 1;
    assert_eq!(*lock.lock(&cpu), 2);
}
