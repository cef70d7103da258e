//! The machine's contiguous runs: cached by the page or by sixteen, removed by the page, and all or none
//! of a group.

use crate::common::{Rig, VA, dirty, page};
use abi::{Level, Order, PAGE_SIZE, Pfn, VirtAddr};
use granule_machine::Translation;
use mm::{Hardware, Slot};
use pte::bits::RDONLY;
use pte::{BbmLevel, Caps, Leaf, Table};

const A72: Caps = Caps::CORTEX_A72;
const RESIZING: Caps = Caps { bbm: BbmLevel::L2NoAbort, ..Caps::MAX };

/// A folio of sixteen pages.
const FOLIO: Order = Order(4);

fn member(folio: Pfn, n: u64) -> Leaf {
    dirty(folio + n).contiguous(true)
}

/// Maps a folio by a run at `VA`.
fn run(rig: &Rig) -> (Slot, Pfn) {
    let (slot, folio) = (rig.slot(VA, Level::Pte), rig.alloc(FOLIO));
    rig.locked(Level::Pte, || {
        for n in 0..16 {
            rig.machine.store(slot.ahead(n as usize), member(folio, n).word());
        }
    });
    rig.publish();
    (slot, folio)
}

/// Clears the entries of a run.
fn clear(rig: &Rig, slot: Slot, entries: impl Iterator<Item = usize>) {
    rig.locked(Level::Pte, || {
        for n in entries {
            rig.machine.swap(slot.ahead(n), 0);
        }
    });
    rig.publish();
}

fn leaves(rig: &Rig) -> Vec<Translation> {
    rig.machine.cached().into_iter().filter(|cached| cached.leaf.is_some()).collect()
}

/// Walks until page `n` is cached both ways.
fn cache_both(rig: &Rig, n: u64) {
    for _ in 0..64 {
        assert!(rig.cache(page(n)));
    }
    let of = |run| leaves(rig).iter().any(|t| t.run == run && t.range.contains(page(n)));
    assert!(of(true) && of(false), "64 walks went one way");
}

#[test]
fn a_run_is_cached_by_the_page_and_by_sixteen() {
    let rig = Rig::new(A72);
    let (_, folio) = run(&rig);
    cache_both(&rig, 5);
    for cached in leaves(&rig) {
        let (start, pages) = if cached.run { (VA, 16) } else { (page(5), 1) };
        assert_eq!((cached.range.start, cached.range.pages()), (start, pages));
        assert_eq!(cached.pfn, if cached.run { folio } else { folio + 5 });
    }
    // Through either, each page is the right one.
    rig.machine.on(1, || {
        for n in 0..16 {
            rig.machine.poke((folio + n).base(), 100 + n);
            assert_eq!(rig.machine.user_load(page(n)), Some(100 + n));
        }
    });
    rig.silent();
}

#[test]
fn an_operation_on_a_page_removes_its_entry_and_the_run() {
    let rig = Rig::new(A72);
    run(&rig);
    cache_both(&rig, 5);
    cache_both(&rig, 9);
    rig.flush(page(9));
    let left: Vec<_> = leaves(&rig).iter().map(|t| (t.run, t.range.start)).collect();
    assert_eq!(left, [(false, page(5))], "the other page's own entry is another's to remove");
    rig.flush(page(5));
    assert_eq!(leaves(&rig), []);
    rig.silent();
}

/// A run goes, and its folio is freed after a flush of some of its pages.
fn free_after(rig: &Rig, flushed: impl Iterator<Item = u64>) {
    let (slot, folio) = run(rig);
    clear(rig, slot, 0..16);
    flushed.for_each(|n| rig.flush(page(n)));
    rig.free(folio, FOLIO);
}

#[test]
fn a_run_is_flushed_page_by_page() {
    for caps in [A72, Caps::MAX] {
        let rig = Rig::new(caps);
        free_after(&rig, 0..16);
        rig.silent();
        let rig = Rig::new(caps);
        free_after(&rig, 0..1);
        rig.caught("has yet to lose leaf");
        let rig = Rig::new(caps);
        free_after(&rig, (0..16).filter(|n| *n != 13));
        rig.caught("has yet to lose leaf");
    }
}

/// After a flush of one page no CPU has the sixteen as one; the pages by themselves are no obstacle to
/// what another page becomes.
#[test]
fn what_is_left_of_a_run_is_pages() {
    for (flushed, legal) in [(Some(3), true), (None, false)] {
        let rig = Rig::new(A72);
        let (slot, folio) = run(&rig);
        clear(&rig, slot, 0..16);
        if let Some(n) = flushed {
            rig.flush(page(n));
        }
        rig.set(slot.ahead(3), Level::Pte, dirty(folio + 3).word());
        if !legal {
            rig.caught("(all sixteen)");
            continue;
        }
        rig.silent();
        rig.set(slot.ahead(4), Level::Pte, dirty(folio + 4).word());
        rig.caught("the break is not complete");
    }
}

#[test]
fn a_mark_changes_by_break_and_make() {
    let marks = |caps, on: bool, flush: bool| {
        let rig = Rig::new(caps);
        let (slot, folio) = (rig.slot(VA, Level::Pte), rig.alloc(FOLIO));
        let fill = |on: bool| {
            rig.locked(Level::Pte, || {
                for n in 0..16u64 {
                    let leaf = dirty(folio + n).contiguous(on);
                    rig.machine.store(slot.ahead(n as usize), leaf.word());
                }
            });
            rig.publish();
        };
        fill(!on);
        clear(&rig, slot, 0..16);
        if flush {
            (0..16).for_each(|n| rig.flush(page(n)));
        }
        fill(on);
        rig
    };
    for on in [true, false] {
        marks(A72, on, true).silent();
        marks(A72, on, false).caught("the break is not complete");
        marks(Caps::MAX, on, false).caught("the break is not complete");
        // With the flush left out where the CPU permits it.
        marks(RESIZING, on, false).silent();
    }
    // Not even there without a break at all, where conflicts abort.
    let rig = Rig::new(Caps::MAX);
    let (slot, folio) = run(&rig);
    rig.locked(Level::Pte, || rig.machine.swap(slot, dirty(folio).word()));
    rig.caught("break-before-make: the old one was valid (Contiguous)");
}

#[test]
fn a_group_has_the_mark_in_all_entries_or_in_none() {
    let touch = |change: &dyn Fn(&Rig, Slot, Pfn)| {
        let rig = Rig::new(A72);
        let (slot, folio) = run(&rig);
        rig.silent();
        rig.locked(Level::Pte, || change(&rig, slot, folio));
        rig
    };
    let swap = |rig: &Rig, slot: Slot, n: usize, leaf: Leaf| {
        rig.machine.swap(slot.ahead(n), leaf.word());
    };
    // One is cleared, and the rest left as it is.
    touch(&|rig, slot, _| rig.machine.store(slot.ahead(7), 0)).caught("is mixed");
    // Rights change for all or for none.
    touch(&|rig, slot, folio| swap(rig, slot, 7, member(folio, 7).write_protected()))
        .caught("is mixed");
    touch(&|rig, slot, folio| {
        (0..16).for_each(|n| swap(rig, slot, n, member(folio, n as u64).write_protected()));
    })
    .silent();
    // History may differ from one to the next.
    touch(&|rig, slot, folio| swap(rig, slot, 7, member(folio, 7).made_old())).silent();
    touch(&|rig, slot, folio| swap(rig, slot, 7, member(folio, 7).made_clean())).silent();
}

#[test]
fn a_group_is_one_aligned_folio() {
    let fill = |offset: u64, swapped: bool| {
        let rig = Rig::new(A72);
        let (slot, folio) = (rig.slot(VA, Level::Pte), rig.alloc(Order(5)));
        rig.locked(Level::Pte, || {
            for n in 0..16 {
                let other = if swapped { n ^ 1 } else { n };
                let leaf = member(folio + offset, other);
                rig.machine.store(slot.ahead(n as usize), leaf.word());
            }
        });
        rig
    };
    fill(0, false).silent();
    fill(16, false).silent();
    fill(1, false).caught("is not aligned");
    fill(0, true).caught("is mixed");
}

/// In a table that is linked with its entries, too.
#[test]
fn a_group_is_judged_when_its_table_is_linked() {
    for last in [16, 15] {
        let rig = Rig::new(A72);
        let slot = rig.slot(VA, Level::Pmd);
        let (table, folio) = (rig.table(Level::Pte), rig.alloc(FOLIO));
        for n in 0..last {
            rig.machine.store(Slot::new(table, 32 + n as usize), member(folio, n).word());
        }
        rig.publish();
        rig.set(slot, Level::Pmd, Table::new(table).word());
        if last == 16 { rig.silent() } else { rig.caught("is mixed") }
    }
}

/// A walker that meets the mark takes the fifteen others for granted, so it reports those that lack it,
/// however they came about.
#[test]
fn a_walk_reports_a_mixed_group() {
    let rig = Rig::new(A72);
    let (slot, _) = run(&rig);
    rig.cache(page(2));
    rig.silent();
    // Memory is corrupted.
    rig.machine.poke(slot.ahead(11).0, 0);
    rig.cache(page(2));
    rig.caught("walked: the run at slot");
    // While somebody changes tables, a group may be between two states.
    let rig = Rig::new(A72);
    let (slot, _) = run(&rig);
    rig.locked(Level::Pte, || {
        rig.machine.poke(slot.ahead(11).0, 0);
        rig.cache(page(2));
    });
    rig.silent();
}

/// Hardware notes a write through a run in any of its entries.
#[test]
fn a_write_makes_some_entry_of_a_run_dirty() {
    let rig = Rig::new(Caps::MAX);
    let (slot, folio) = (rig.slot(VA, Level::Pte), rig.alloc(FOLIO));
    rig.locked(Level::Pte, || {
        for n in 0..16 {
            let clean = member(folio, n).made_clean();
            rig.machine.store(slot.ahead(n as usize), clean.word());
        }
    });
    rig.publish();
    let mut marked = [0; 16];
    for _ in 0..200 {
        let at = VirtAddr(page(6).0 + 8);
        assert!(rig.machine.on(1, || rig.machine.user_store(at, 1)));
        rig.locked(Level::Pte, || {
            for (n, marked) in marked.iter_mut().enumerate() {
                let word = rig.machine.load(slot.ahead(n));
                if word & RDONLY == 0 {
                    *marked += 1;
                    rig.machine.swap(slot.ahead(n), word | RDONLY);
                }
            }
        });
        rig.publish();
        (0..16).for_each(|n| rig.flush(VA + n * PAGE_SIZE));
        assert!(rig.machine.wrote(folio + 6));
    }
    assert!(marked.iter().sum::<u32>() >= 200, "each write left a mark: {marked:?}");
    assert!(marked.iter().filter(|n| **n > 0).count() > 8, "not always its own: {marked:?}");
    rig.silent();
}
