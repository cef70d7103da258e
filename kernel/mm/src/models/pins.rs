//! Exclusivity against pins. A page is pinned and stays exclusive, or it is shared and was not pinned;
//! never both.

use super::machine::Machine;
use super::{Mutant, Without, catches, explore, holds, machine};
use crate::entry::{At, PteLevel};
use crate::gup::Hold;
use crate::{FaultOutcome, Huge, Mm, Place, Slot, Space};
use abi::{Access, Level, PAGE_SIZE, Pfn, Prot, VirtAddr};
use loom::thread;
use loom::thread::JoinHandle;
use pte::{Entry, Leaf};
use std::sync::Arc;
use sync::mutant::Mutant as Order;

const VA: VirtAddr = VirtAddr(1 << 40);

/// A page of a space, exclusive, mapped read-only: one more look decides about a pin.
struct Page<'m> {
    mm: &'m Arc<Mm<Machine>>,
    space: Space<'m, Machine>,
    slot: Slot,
    leaf: Leaf,
}

impl<'m> Page<'m> {
    fn new(mm: &'m Arc<Mm<Machine>>) -> Self {
        let space = Space::new(mm).expect("memory");
        space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
        assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped);
        let slot = mm.find_slot(space.root(), VA, Level::Pte).expect("tables");
        let table = mm.lock::<PteLevel>(slot.table());
        let At::Present(entry) = table.at(Level::Pte.index(VA)) else { panic!("a leaf") };
        let leaf = entry.leaf().write_protected();
        let _ = entry.modify(Leaf::write_protected);
        drop(table);
        Self { mm, space, slot, leaf }
    }

    /// Somebody pins it on CPU 1; says whether the pin was kept. It is not given back.
    fn pinner(&self) -> JoinHandle<bool> {
        let (mm, core) = (self.mm.clone(), self.space.core().clone());
        thread::spawn(move || {
            machine::be(1);
            mm.hold_fast(&core, VA, Access::Read, Hold::Pin).is_some()
        })
    }

    fn folio(&self) -> Pfn {
        self.leaf.pfn()
    }

    /// Gives back what there is, once both are done.
    fn end(self, pinned: bool) {
        if pinned {
            self.mm.folio_unpin(self.folio());
        }
    }
}

/// The entry is taken out, the page is shared if nobody has pinned it, and the entry comes back.
fn sharing_against_pinning(without: Without) {
    let mm = without.boot();
    let page = Page::new(&mm);
    let pinner = page.pinner();
    let shared = {
        let table = mm.lock::<PteLevel>(page.slot.table());
        let index = Level::Pte.index(VA);
        let At::Present(entry) = table.at(index) else { panic!("a leaf") };
        let _out = entry.clear();
        let shared = mm.try_share(page.folio(), 0..1);
        let At::None(empty) = table.at(index) else { panic!("nothing") };
        empty.set(page.leaf);
        shared
    };
    let pinned = pinner.join().expect("no panic");
    assert!(!(shared && pinned), "wrong: a shared page is pinned");
    page.end(pinned);
}

/// A fork shares the page if nobody has pinned it; the entry stays.
fn forking_against_pinning(without: Without) {
    let mm = without.boot();
    let page = Page::new(&mm);
    let pinner = page.pinner();
    let shared = {
        let core = page.space.core();
        let _writing = core.write_protect.begin();
        let _table = mm.lock::<PteLevel>(page.slot.table());
        let pinning = core.pinned.load(sync::atomic::Ordering::Relaxed);
        mm.share(page.folio(), 0..1, 1, pinning)
    };
    let pinned = pinner.join().expect("no panic");
    assert!(!(shared && pinned), "wrong: a page that a fork has shared is pinned");
    if shared {
        mm.folio_unmap(page.folio(), 1);
    }
    page.end(pinned);
}

#[test]
fn a_page_is_not_shared_while_it_is_pinned() {
    holds(sharing_against_pinning);
}

#[test]
fn a_fork_does_not_share_what_is_pinned() {
    holds(forking_against_pinning);
}

#[test]
fn what_a_pin_asks_of_the_page() {
    catches(sharing_against_pinning, Without::step(Mutant::PinShared));
}

#[test]
fn the_first_fence_of_sharing() {
    catches(sharing_against_pinning, Without::step(Mutant::ShareUnfenced));
}

/// The store that brings the entry back is a release. A plain one would need the fence before it.
#[test]
fn the_second_fence_of_sharing() {
    let fence = Without::step(Mutant::SharedUnfenced);
    explore(sharing_against_pinning, fence);
    explore(sharing_against_pinning, Without { release: true, ..Without::default() });
    catches(sharing_against_pinning, Without { release: true, ..fence });
}

#[test]
fn the_pins_fence() {
    catches(sharing_against_pinning, Without::order(Order::SeqUnchangedUnfenced));
    catches(sharing_against_pinning, Without::step(Mutant::GupNoRecheck));
}

#[test]
fn what_a_pin_asks_of_forks() {
    for step in [Mutant::PinForgetsFork, Mutant::PinDuringFork, Mutant::PinUnnoted] {
        catches(forking_against_pinning, Without::step(step));
    }
    catches(forking_against_pinning, Without::order(Order::SeqUnchangedUnfenced));
    catches(forking_against_pinning, Without::order(Order::SeqBeginUnfenced));
}

/// What the explorer is told of the entry is what it says.
#[test]
fn the_page_is_mapped_read_only() {
    fn scenario(without: Without) {
        let mm = without.boot();
        let page = Page::new(&mm);
        let word = crate::Hardware::load(&mm.hw, page.slot);
        assert_eq!(pte::decode(Level::Pte, word), Entry::Leaf(page.leaf));
        assert!(!page.leaf.is_writable() && mm.is_exclusive(page.folio(), 0));
    }
    holds(scenario);
}
