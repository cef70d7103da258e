//! What is published is whole: a table with its entries, a page with its content.

use super::{Without, machine};
use crate::entry::{At, PmdLevel};
use crate::gup::Hold;
use crate::{FaultOutcome, Hardware, Huge, Place, Slot, Space};
use abi::{Access, Level, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr};
use loom::thread;
use pte::{Entry, Leaf};

/// A place with tables down to the PMD's, and one next to it that makes them.
const VA: VirtAddr = VirtAddr(1 << 40);
const NEXT: VirtAddr = VirtAddr((1 << 40) + PMD_SIZE);

/// What memory holds that nobody has cleared.
const LITTER: u64 = 0x1177e4;

/// A table is filled and linked, as a split does it; whoever walks meanwhile finds no table, or a full
/// one.
pub fn linking_against_walking(without: Without) {
    let mm = without.boot();
    let space = Space::new(&mm).expect("memory");
    let Ok(_) = mm.make_slot(space.root(), VA, Level::Pmd) else { panic!("memory") };
    let pmd = mm.find_slot(space.root(), VA, Level::Pmd).expect("tables");
    mm.hw.store(pmd, 0);
    let page = mm.folio_alloc(Order::PAGE).expect("memory");
    let leaf = Leaf::user(Level::Pte, page, Prot::Read);
    let fresh = mm.fresh_table().expect("memory");
    // Seen as empty by whoever sees the table's last owner's end.
    mm.hw.store(Slot::new(fresh.pfn(), 0), 0);
    let walker = {
        let (mm, root) = (mm.clone(), space.root());
        thread::spawn(move || {
            machine::be(1);
            let mut last = None;
            mm.walk(root, VA, |level, _, entry, _| last = Some((level, entry)));
            last
        })
    };
    {
        let table = mm.lock::<PmdLevel>(pmd.table());
        let At::None(empty) = table.at(Level::Pmd.index(VA)) else { panic!("nothing") };
        fresh.fill(&mm, 0, 1, leaf.word(), 0);
        empty.link(fresh);
    }
    let last = walker.join().expect("no panic");
    let whole = [(Level::Pmd, Entry::None), (Level::Pte, Entry::Leaf(leaf))];
    assert!(last.is_some_and(|last| whole.contains(&last)), "wrong: a table without its entries");
    let table = mm.lock::<PmdLevel>(pmd.table());
    let At::Table(linked) = table.at(Level::Pmd.index(VA)) else { panic!("a table") };
    let gone = linked.unlink();
    drop(table);
    mm.table_free(gone.pfn(), Level::Pte);
    mm.head_put(page, 1);
}

/// A fault clears a page and maps it; whoever finds it meanwhile finds it clear.
pub fn faulting_against_reading(without: Without) {
    let mm = without.boot();
    let space = Space::new(&mm).expect("memory");
    space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    space.map(Place::At(NEXT), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    let Ok(table) = mm.make_slot(space.root(), VA, Level::Pte) else { panic!("memory") };
    mm.hw.store(table, 0);
    // The page that the fault will get, as its last owner left it.
    let page = mm.folio_alloc(Order::PAGE).expect("memory");
    mm.hw.poke(page.base(), LITTER);
    mm.head_put(page, 1);
    let reader = {
        let (mm, core) = (mm.clone(), space.core().clone());
        thread::spawn(move || {
            machine::be(1);
            let found = mm.hold_fast(&core, VA, Access::Read, Hold::Reference)?;
            let word = mm.hw.peek(found.base());
            mm.head_put(found, 1);
            Some((found, word))
        })
    };
    assert_eq!(space.fault(VA, Access::Write), FaultOutcome::Mapped);
    if let Some((found, word)) = reader.join().expect("no panic") {
        assert_eq!(found, page, "the scenario's own page");
        assert_ne!(word, LITTER, "wrong: a page with what its last owner left");
    }
}
