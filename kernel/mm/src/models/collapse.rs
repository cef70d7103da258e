//! A table is taken out to be another's, or to have its pages copied, against lockless readers.

use super::{Without, machine};
use crate::gup::Hold;
use crate::rmap::{Owner, index_of};
use crate::{Hardware, Huge, Mm, Place, Slot, Space};
use abi::{Access, Level, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use loom::thread;
use machine::Machine;
use pte::{Entry, Leaf};
use std::sync::Arc;

const VA: VirtAddr = VirtAddr(1 << 40);
const BLOCK: VirtRange = VirtRange::from_size(VA, PMD_SIZE);

/// A space with one page, nobody else's, and what maps it.
fn with_a_page(mm: &Arc<Mm<Machine>>) -> (Space<'_, Machine>, Leaf) {
    let space = Space::new(mm).expect("memory");
    space.map(Place::At(VA), PAGE_SIZE, Prot::ReadWrite, Huge::Never).expect("free");
    let Ok(slot) = mm.make_slot(space.root(), VA, Level::Pte) else { panic!("memory") };
    let owner = Owner { family: space.core().family.id(), index: index_of(VA) };
    let pfn = mm.anon_alloc(Order::PAGE, 1, owner.word()).expect("memory");
    let leaf = Leaf::user(Level::Pte, pfn, Prot::ReadWrite);
    mm.hw.store(slot, leaf.word());
    (space, leaf)
}

/// The table is filled for other addresses at once; whoever walks meanwhile finds what it was, or no table.
pub fn reusing_against_walking(without: Without) {
    let mm = without.boot();
    let (space, leaf) = with_a_page(&mm);
    let walker = {
        let (mm, root) = (mm.clone(), space.root());
        thread::spawn(move || {
            machine::be(1);
            let mut last = None;
            mm.walk(root, VA, |level, _, entry, _| last = Some((level, entry)));
            last
        })
    };
    let taken = mm.take_table(space.core(), BLOCK).expect("a table").expect("of pages");
    mm.hw.fill(Slot::new(taken.pfn(), 0), 1, leaf.nth(1).word(), 0);
    let last = walker.join().expect("no panic");
    let old = [(Level::Pmd, Entry::None), (Level::Pte, Entry::Leaf(leaf))];
    assert!(last.is_some_and(|last| old.contains(&last)), "wrong: another's table is walked");
}

/// The pages of the table are copied if nobody holds them; whoever pins one meanwhile would go on with the
/// old one.
pub fn checking_against_pinning(without: Without) {
    let mm = without.boot();
    let (space, leaf) = with_a_page(&mm);
    let pinner = {
        let (mm, core) = (mm.clone(), space.core().clone());
        thread::spawn(move || {
            machine::be(1);
            mm.hold_fast(&core, VA, Access::Write, Hold::Pin).is_some()
        })
    };
    let taken = mm.take_table(space.core(), BLOCK).expect("a table").expect("of pages");
    let free = mm.check_taken(BLOCK, &taken).is_ok();
    let pinned = pinner.join().expect("no panic");
    assert!(!(free && pinned), "wrong: a page that is copied is pinned");
    if pinned {
        mm.folio_unpin(leaf.pfn());
    }
}
