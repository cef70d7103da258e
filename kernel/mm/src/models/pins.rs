//! Exclusivity against pins. A page is pinned and stays exclusive, or it is shared and was not pinned;
//! never both.

use super::machine::Machine;
use super::{Mutant, Without, catches, explore, holds, machine};
use crate::entry::{At, PteLevel};
use crate::gup::Hold;
use crate::rmap::{Owner, index_of};
use crate::{Hardware, Huge, Mm, Place, Slot, Space};
use abi::{Access, Level, Order, PAGE_SIZE, Pfn, Prot, VirtAddr};
use loom::thread;
use loom::thread::JoinHandle;
use pte::Leaf;
use std::sync::Arc;
use sync::atomic::{Ordering, fence};
use sync::mutant::Mutant as Bug;

const VA: VirtAddr = VirtAddr(1 << 40);

/// A page of a space, exclusive, mapped read-only: one more look decides about a pin.
struct Page<'m> {
    mm: &'m Arc<Mm<Machine>>,
    space: Space<'m, Machine>,
    slot: Slot,
    leaf: Leaf,
}

impl<'m> Page<'m> {
    /// The first page of a folio of `order`.
    fn new(mm: &'m Arc<Mm<Machine>>, order: Order) -> Self {
        let space = Space::new(mm).expect("memory");
        space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
        let Ok(slot) = mm.make_slot(space.root(), VA, Level::Pte) else { panic!("memory") };
        let owner = Owner { family: space.core().family.id(), index: index_of(VA) };
        let pfn = mm.anon_alloc(order, 1, owner.word()).expect("memory");
        let leaf = Leaf::user(Level::Pte, pfn, Prot::ReadWrite).write_protected();
        mm.hw.store(slot, leaf.word());
        Self { mm, space, slot, leaf }
    }

    /// Somebody asks for it on CPU 1; says whether he got it. It is not given back.
    fn asker(&self, hold: Hold) -> JoinHandle<bool> {
        let (mm, core) = (self.mm.clone(), self.space.core().clone());
        thread::spawn(move || {
            machine::be(1);
            mm.hold_fast(&core, VA, Access::Read, hold).is_some()
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
fn sharing_against_pinning(without: Without, order: Order) {
    let mm = without.boot();
    let page = Page::new(&mm, order);
    let pinner = page.asker(Hold::Pin);
    let table = mm.lock::<PteLevel>(page.slot.table());
    let At::Present(entry) = table.at(Level::Pte.index(VA)) else { panic!("a leaf") };
    let _out = entry.clear();
    let shared = mm.try_share(page.folio(), 0..order.pages());
    // Not through the table: of the accesses to a word loom tries other orders for the last one alone,
    // and a look before the store would be that.
    mm.hw.store(page.slot, page.leaf.word());
    drop(table);
    let pinned = pinner.join().expect("no panic");
    assert!(!(shared && pinned), "wrong: a shared page is pinned");
    page.end(pinned);
}

fn sharing_a_page(without: Without) {
    sharing_against_pinning(without, Order::PAGE);
}

fn sharing_a_large_folio(without: Without) {
    sharing_against_pinning(without, Order(2));
}

/// A fork shares the page if nobody has pinned it; the entry stays.
fn forking_against_pinning(without: Without) {
    let mm = without.boot();
    let page = Page::new(&mm, Order::PAGE);
    let pinner = page.asker(Hold::Pin);
    let shared = {
        let core = page.space.core();
        let _writing = core.write_protect.begin();
        let _table = mm.lock::<PteLevel>(page.slot.table());
        let pinning = core.pinned.load(Ordering::Relaxed);
        mm.share(page.folio(), 0..1, 1, pinning)
    };
    let pinned = pinner.join().expect("no panic");
    assert!(!(shared && pinned), "wrong: a page that a fork has shared is pinned");
    if shared {
        mm.folio_unmap(page.folio(), 1);
    }
    page.end(pinned);
}

/// The entry is taken out, and whoever did looks whether somebody else holds the page: if not, its content
/// is his to throw away.
fn discarding_against_referencing(without: Without) {
    let mm = without.boot();
    let page = Page::new(&mm, Order::PAGE);
    let asker = page.asker(Hold::Reference);
    let alone = {
        let table = mm.lock::<PteLevel>(page.slot.table());
        let At::Present(entry) = table.at(Level::Pte.index(VA)) else { panic!("a leaf") };
        let _out = entry.clear();
        fence(Ordering::SeqCst);
        mm.desc(page.folio()).refs() == 1
    };
    let held = asker.join().expect("no panic");
    assert!(!(alone && held), "wrong: what is thrown away is held");
    mm.folio_unmap(page.folio(), 1);
    if held {
        mm.folio_put(page.folio(), 1);
    }
}

#[test]
fn a_page_is_not_shared_while_it_is_pinned() {
    holds(sharing_a_page);
    holds(sharing_a_large_folio);
}

#[test]
fn a_fork_does_not_share_what_is_pinned() {
    holds(forking_against_pinning);
}

#[test]
fn what_is_held_is_not_thrown_away() {
    holds(discarding_against_referencing);
}

#[test]
fn the_references_fence() {
    catches(discarding_against_referencing, Without::step(Mutant::GupUnfenced));
}

#[test]
fn what_a_pin_asks_of_the_page() {
    catches(sharing_a_page, Without::step(Mutant::PinShared));
    catches(sharing_a_large_folio, Without::step(Mutant::PinShared));
}

#[test]
fn the_first_fence_of_sharing() {
    catches(sharing_a_page, Without::step(Mutant::ShareUnfenced));
    catches(sharing_a_large_folio, Without::step(Mutant::ShareUnfenced));
}

/// The store that brings the entry back is a release. A plain one would need the fence before it.
#[test]
fn the_second_fence_of_sharing() {
    let fence = Without::step(Mutant::SharedUnfenced);
    explore(sharing_a_page, fence);
    explore(sharing_a_page, Without { release: true, ..Without::default() });
    catches(sharing_a_page, Without { release: true, ..fence });
}

#[test]
fn the_pins_fence() {
    for scenario in [sharing_a_page, sharing_a_large_folio] {
        catches(scenario, Without::order(Bug::SeqUnchangedUnfenced));
        catches(scenario, Without::step(Mutant::GupNoRecheck));
    }
}

#[test]
fn what_a_pin_asks_of_forks() {
    for step in [Mutant::PinForgetsFork, Mutant::PinDuringFork, Mutant::PinUnnoted] {
        catches(forking_against_pinning, Without::step(step));
    }
    catches(forking_against_pinning, Without::order(Bug::SeqUnchangedUnfenced));
    catches(forking_against_pinning, Without::order(Bug::SeqBeginUnfenced));
}
