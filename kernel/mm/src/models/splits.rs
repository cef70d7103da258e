//! A folio that is cut into parts, against somebody who has seen the number of one of its pages in a table.

use super::machine::Machine;
use super::{Without, machine};
use crate::Mm;
use crate::frame::Flag;
use abi::{Order, Pfn};
use loom::thread;
use sync::atomic::Ordering::Relaxed;

/// Of the folio that is cut.
const ORDER: Order = Order(2);
/// What its first page is called.
const OWNER: u64 = 7 << 36 | 100;

/// A frozen folio, locked.
fn frozen(mm: &Mm<Machine>) -> Pfn {
    let folio = mm.folio_alloc(ORDER).expect("memory");
    mm.desc(folio).owner.store(OWNER, Relaxed);
    mm.desc(folio).raise(Flag::Locked);
    assert!(mm.folio_freeze(folio, 1));
    folio
}

/// Whoever gets a reference to a page gets it on the page's head, which says who maps it and stays its
/// head.
pub fn cutting_against_getting(without: Without) {
    let mm = without.boot();
    let folio = frozen(&mm);
    let getter = {
        let mm = mm.clone();
        thread::spawn(move || {
            machine::be(1);
            let page = folio + 3;
            let Some(head) = mm.folio_try_get(page, 1) else { return };
            assert_eq!(mm.frames.map().head(page), Some(head), "wrong: another's reference");
            assert_eq!(mm.desc(head).owner.load(Relaxed), OWNER + 3, "wrong: another's owner");
            mm.head_put(head, 1);
        })
    };
    mm.cut(folio, ORDER, Order::PAGE);
    getter.join().expect("no panic");
    for page in 0..ORDER.pages() {
        assert_eq!(mm.desc(folio + page).refs(), 1, "wrong: a reference too many, or too few");
        mm.head_put(folio + page, 1);
    }
}

/// Whoever has found a page in a migration entry finds its folio locked, whichever that is by now.
pub fn cutting_against_waiting(without: Without) {
    let mm = without.boot();
    let folio = frozen(&mm);
    let waiter = {
        let mm = mm.clone();
        thread::spawn(move || {
            machine::be(1);
            let head = mm.frames.map().head(folio + 2).expect("wrong: a page without a folio");
            assert!(mm.desc(head).has(Flag::Locked), "wrong: it seems unlocked");
        })
    };
    mm.cut(folio, ORDER, Order::PAGE);
    waiter.join().expect("no panic");
    (0..ORDER.pages()).for_each(|page| mm.head_put(folio + page, 1));
}

/// A waiter who comes late for a page's last life marks what is a tail by now, and is woken by the head's
/// unlocking all the same: his mark is not written over.
pub fn cutting_against_marking(without: Without) {
    let mm = without.boot();
    let folio = frozen(&mm);
    let late = {
        let mm = mm.clone();
        thread::spawn(move || {
            machine::be(1);
            let desc = mm.desc(folio + 1);
            desc.raise(Flag::Waiters);
            desc.has(Flag::Locked)
        })
    };
    mm.cut(folio, ORDER, Order::PAGE);
    let marked = mm.desc(folio + 1).unlock();
    let sleeps = late.join().expect("no panic");
    assert!(marked || !sleeps, "wrong: he sleeps and nobody knows");
    (0..ORDER.pages()).for_each(|page| mm.head_put(folio + page, 1));
}
