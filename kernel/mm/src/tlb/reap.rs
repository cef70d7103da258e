//! Freeing tables that nobody can reach any more, with all that they map.
//!
//! A subtree is unlinked by one store and kept as it is. When its walks and translations are invalidated
//! and the lockless walkers have left, no hardware changes it any more: only now are its entries read,
//! and what each of them owned is given back.
//!
//! Context: any in which tables may be freed; no table's lock. Corresponds to Linux's `free_pgtables`, and
//! to that part of `zap_pte_range` that gives back.

use crate::frame::Freed;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Order, Pfn};
use pte::Entry;

impl<H: Hardware> Mm<H> {
    /// Frees an unreachable subtree, `table` with entries of `level` and all below it, and gives back
    /// what every leaf in it owned. Nobody, hard or soft, walks it.
    #[doc(alias = "free_pgtables")]
    pub(crate) fn reap(&self, table: Pfn, level: Level) {
        if level == Level::Pte {
            self.reap_pages(table);
        } else {
            for index in 0..ENTRIES {
                let word = self.hw.load(Slot::new(table, index));
                if word == 0 {
                    continue;
                }
                match (pte::decode(level, word), level.down()) {
                    (Entry::Table(below), Some(down)) => self.reap(below.pfn(), down),
                    (Entry::Leaf(leaf) | Entry::ProtNone(leaf), _) => self.leaf_put(leaf),
                    (Entry::Soft(soft), _) => self.soft_put(level, soft),
                    _ => {}
                }
            }
        }
        if level == Level::Pmd {
            while let Some(spare) = self.withdraw(table) {
                spare.discard(self);
            }
        }
        self.table_free(table, level);
    }

    /// Gives back what the entries of a table of pages owned, by runs of one folio.
    #[doc(alias("zap_pte_range", "free_pages_and_swap_cache"))]
    fn reap_pages(&self, table: Pfn) {
        let map = self.frames.map();
        let mut freed = Freed::new(self);
        let mut index = 0;
        while index < ENTRIES {
            let slot = Slot::new(table, index);
            let word = self.hw.load(slot);
            index += 1;
            if word == 0 {
                continue;
            }
            let first = match pte::decode(Level::Pte, word) {
                Entry::Leaf(first) | Entry::ProtNone(first) => first,
                Entry::Soft(soft) => {
                    self.soft_put(Level::Pte, soft);
                    continue;
                }
                _ => continue,
            };
            if first.is_special() {
                continue;
            }
            let Some(head) = map.head(first.pfn()) else { continue };
            let desc = map.desc(head);
            let order = desc.order();
            if order == Order::PAGE {
                freed.unmap(head, desc);
                continue;
            }
            let left = (order.pages() - (first.pfn() - head)) as usize;
            let n = self.run_of_frames(slot, first, left.min(ENTRIES + 1 - index), |_| true);
            index += n - 1;
            self.folio_unmap(head, n as u32);
        }
    }
}
