//! Entries that are taken out together, with one fence, against pages that are held together, with one fence:
//! of each page by itself, whoever holds it is seen, or sees its entry gone.

use super::machine::Machine;
use super::{Without, machine};
use crate::entry::{At, PteLevel};
use crate::gup::{Hold, Run};
use crate::rmap::{Blocks, Extent, Owner, index_of};
use crate::tlb::Owed;
use crate::{Hardware, Huge, Mm, Place, Slot, Space};
use abi::{Access, Level, Order, PAGE_SIZE, Pfn, Prot, VirtAddr};
use loom::thread;
use loom::thread::JoinHandle;
use pte::{Entry, Leaf};
use std::sync::Arc;
use std::vec::Vec;
use sync::atomic::{Ordering, fence};

const VA: VirtAddr = VirtAddr(1 << 40);
/// Pages that are mapped one after the other.
const PAGES: usize = 2;

/// Pages of a space, nobody else's.
struct Pages<'m> {
    mm: &'m Arc<Mm<Machine>>,
    space: Space<'m, Machine>,
    first: Slot,
    owner: Owner,
    pages: [Pfn; PAGES],
}

impl<'m> Pages<'m> {
    /// Of folios of `order`.
    fn new(mm: &'m Arc<Mm<Machine>>, order: Order) -> Self {
        let space = Space::new(mm).expect("memory");
        let bytes = PAGES as u64 * PAGE_SIZE;
        space.map(Place::At(VA), bytes, Prot::ReadWrite, Huge::Never).expect("free");
        let Ok(first) = mm.make_slot(space.root(), VA, Level::Pte) else { panic!("memory") };
        let owner = Owner { family: space.core().family.id(), index: index_of(VA) };
        let mut head = None;
        let pages = core::array::from_fn(|n| {
            let owner = owner.word() + n as u64;
            let page = match head {
                Some(head) if order > Order::PAGE => head + n as u64,
                _ => mm.anon_alloc(order, 1 << order.0, owner).expect("memory"),
            };
            head.get_or_insert(page);
            mm.hw.store(first.ahead(n), Leaf::user(Level::Pte, page, Prot::ReadWrite).word());
            page
        });
        Self { mm, space, first, owner, pages }
    }

    /// Somebody asks for all of them from the one numbered `from` on, at once, on CPU 1; answers which he got. They
    /// are not given back.
    fn asker(&self, from: usize, hold: Hold) -> JoinHandle<Vec<Pfn>> {
        let (mm, core) = (self.mm.clone(), self.space.core().clone());
        thread::spawn(move || {
            machine::be(1);
            let mut runs = [Run::EMPTY; PAGES];
            let (va, pages) = (VA + from as u64 * PAGE_SIZE, (PAGES - from) as u64);
            let got = mm.hold_window(&core, va, pages, Access::Write, hold, &mut runs);
            let runs = &runs[..got.map_or(0, |got| got.runs)];
            runs.iter().flat_map(|run| run.iter()).collect()
        })
    }

    /// Whether page `n` was taken out: what stands there is a migration entry.
    fn is_out(&self, n: usize) -> bool {
        let word = self.mm.hw.load(self.first.ahead(n));
        matches!(pte::decode(Level::Pte, word), Entry::Soft(_))
    }
}

/// The row is taken out, as far as nobody has pinned its pages; who asks for them begins with the one numbered
/// `from`.
fn moving_against_pinning(without: Without, from: usize) {
    let mm = without.boot();
    let row = Pages::new(&mm, Order::PAGE);
    row.pages.iter().for_each(|page| mm.folio_get(*page, 1));
    let pinner = row.asker(from, Hold::Pin);
    let mut owed = Owed::new(&mm);
    let frame = |n: u64| row.pages[n as usize];
    mm.try_to_migrate_row(row.owner, PAGES as u64, &frame, &mut owed);
    owed.settle();
    let out: [bool; PAGES] = core::array::from_fn(|n| row.is_out(n));
    let pinned = pinner.join().expect("no panic");
    for (page, out) in row.pages.iter().zip(out) {
        assert!(!(out && pinned.contains(page)), "wrong: a page that is moved is pinned");
    }
}

/// Of small pages with names in order each is pinned and stays mapped, or it is taken out and was not pinned.
pub fn moving_a_row_against_pinning(without: Without) {
    moving_against_pinning(without, 0);
}

/// As [`moving_a_row_against_pinning`], where only the last page is asked for. Who asks for all keeps what comes
/// before the first that is gone: he is protected by that one, too.
pub fn moving_a_row_against_pinning_its_end(without: Without) {
    moving_against_pinning(without, PAGES - 1);
}

/// As [`moving_a_row_against_pinning`], of the pages of one folio.
pub fn moving_a_folio_against_pinning(without: Without) {
    let mm = without.boot();
    let row = Pages::new(&mm, Order(1));
    mm.folio_get(row.pages[0], 1);
    let pinner = row.asker(0, Hold::Pin);
    let mut owed = Owed::new(&mm);
    let extent = Extent::new(row.pages[0], PAGES as u64, row.owner);
    mm.try_to_migrate(&extent, Blocks::Keep, &mut owed);
    owed.settle();
    let out = (0..PAGES).any(|n| row.is_out(n));
    let pinned = pinner.join().expect("no panic");
    assert!(!(out && !pinned.is_empty()), "wrong: a folio that is moved is pinned");
}

/// All entries are taken out, and whoever did looks which pages nobody else holds: their content is his to throw
/// away.
pub fn discarding_a_row_against_referencing(without: Without) {
    let mm = without.boot();
    let row = Pages::new(&mm, Order::PAGE);
    let asker = row.asker(0, Hold::Reference);
    let alone = {
        let table = mm.lock::<PteLevel>(row.first.table());
        for n in 0..PAGES {
            let at = Level::Pte.index(VA) + n;
            let At::Present(entry) = table.at(at) else { panic!("a leaf") };
            let _out = entry.clear();
        }
        fence(Ordering::SeqCst);
        row.pages.map(|page| mm.desc(page).refs() == 1)
    };
    let held = asker.join().expect("no panic");
    for (page, alone) in row.pages.iter().zip(alone) {
        assert!(!(alone && held.contains(page)), "wrong: what is thrown away is held");
        mm.folio_unmap(*page, 1);
    }
}
