//! Exclusivity against pins. A page is pinned and stays exclusive, or it is shared and was not pinned;
//! never both.

use super::machine::Machine;
use super::{Without, machine};
use crate::entry::{At, PteLevel};
use crate::frame::{Flag, FolioRef};
use crate::gup::Hold;
use crate::rmap::{Owner, index_of};
use crate::{Hardware, Huge, Mm, Place, Slot, Space};
use abi::{Access, Level, Order, PAGE_SIZE, Pfn, Prot, VirtAddr};
use loom::thread;
use loom::thread::JoinHandle;
use pte::Leaf;
use std::sync::Arc;
use sync::atomic::{Ordering, fence};

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

/// The entry is taken out, its folio is shared if nobody has pinned it, and the entry comes back.
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

/// The entry of a page is taken out, the page is shared if nobody has pinned it, and the entry comes back.
pub fn sharing_a_page(without: Without) {
    sharing_against_pinning(without, Order::PAGE);
}

/// As [`sharing_a_page`], of a large folio, whose pins are counted apart.
pub fn sharing_a_large_folio(without: Without) {
    sharing_against_pinning(without, Order(2));
}

/// A fork shares the page if nobody has pinned it; the entry stays.
pub fn forking_against_pinning(without: Without) {
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
pub fn discarding_against_referencing(without: Without) {
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
        mm.head_put(page.folio(), 1);
    }
}

/// A page was given up. Somebody holds it to write to it and lets go, while reclaim takes the entry out and
/// looks whether it is still given up, and nobody's else: if so, its content is thrown away.
pub fn reclaiming_against_writing(without: Without) {
    let mm = without.boot();
    let page = Page::new(&mm, Order::PAGE);
    let leaf = page.leaf.made_writable();
    mm.hw.store(page.slot, leaf.word());
    mm.desc(page.folio()).raise(Flag::Lazy);
    let (theirs, core) = (mm.clone(), page.space.core().clone());
    let writer = thread::spawn(move || {
        machine::be(1);
        let found = theirs.hold_fast(&core, VA, Access::Write, Hold::Reference);
        found.map(|page| drop(FolioRef::adopt(&theirs, page).for_writing(true))).is_some()
    });
    let taken = {
        let table = mm.lock::<PteLevel>(page.slot.table());
        let At::Present(entry) = table.at(Level::Pte.index(VA)) else { panic!("a leaf") };
        let _out = entry.clear();
        fence(Ordering::SeqCst);
        mm.is_given_up(leaf, 1)
    };
    let written = writer.join().expect("no panic");
    assert!(!(taken && written), "wrong: what was written is thrown away");
    mm.folio_unmap(page.folio(), 1);
}
