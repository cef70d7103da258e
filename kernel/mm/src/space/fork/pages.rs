//! Copying tables of pages, by runs of entries.
//!
//! The child's table is nobody else's until it is linked, so it is written by plain stores; the parent's is
//! locked. Small folios are counted one by one, pages of a large folio as many as lie side by side.
//!
//! Corresponds to Linux's `copy_pte_range`, `copy_present_ptes` and `copy_present_page`.

use super::Copy;
use crate::frame::OutOfMemory;
use crate::rmap::Owner;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Order, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{Entry, Leaf, Table};

impl<H: Hardware> Copy<'_, '_, H> {
    /// Copies what one table of pages maps.
    #[doc(alias = "copy_pte_range")]
    pub(super) fn pages(&mut self, slot: Slot, va: VirtAddr) -> Result<(), OutOfMemory> {
        let mm = self.mm;
        let to = self.childs_slot(va)?;
        let fresh = self.fresh()?;
        let result = match mm.lock_below(slot) {
            Some(table) => self.entries(table.table(), fresh.pfn(), va),
            None => Ok(false),
        };
        if let Ok(false) = result {
            self.fresh = Some(fresh);
        } else {
            // Also after an error: what it maps is counted, and goes when the child does.
            mm.hw.store(to, Table::new(fresh.pfn()).word());
        }
        result.map(|_| ())
    }

    /// Copies entries from one table of pages, which is locked, to another, which nobody can reach. Says
    /// whether there were any.
    #[doc(alias("copy_present_ptes", "copy_nonpresent_pte"))]
    fn entries(&mut self, from: Pfn, to: Pfn, va: VirtAddr) -> Result<bool, OutOfMemory> {
        let mm = self.mm;
        let (from, to) = (Slot::new(from, 0), Slot::new(to, 0));
        let page = |n: usize| va + n as u64 * PAGE_SIZE;
        let (mut some, mut at) = (false, 0);
        while at < ENTRIES {
            let (slot, copy, begin) = (from.ahead(at), to.ahead(at), at);
            let word = mm.hw.load(slot);
            at += 1;
            if word == 0 {
                continue;
            }
            some = true;
            match pte::decode(Level::Pte, word) {
                Entry::Leaf(leaf) | Entry::ProtNone(leaf) if leaf.is_special() => {
                    // Nobody counts it: zeros, which nobody writes, or frames that both were given.
                    mm.hw.store(copy, word);
                }
                Entry::Leaf(leaf) | Entry::ProtNone(leaf) => {
                    let (n, narrowed) = match self.small(slot, copy, leaf, ENTRIES - begin) {
                        0 => self.present(slot, copy, leaf, ENTRIES - begin)?,
                        n => (n, leaf.is_writable()),
                    };
                    at = begin + n;
                    if narrowed {
                        self.narrowed(VirtRange::new(page(begin), page(at)), Level::Pte);
                    }
                }
                Entry::Soft(soft) => {
                    mm.soft_dup(Level::Pte, soft);
                    let shared = mm.shared(soft).encode(Level::Pte);
                    mm.hw.store(slot, shared);
                    mm.hw.store(copy, shared);
                    self.gather.changed_soft(
                        VirtRange::new(page(begin), page(at)),
                        Level::Pte,
                        soft,
                    );
                }
                _ => {}
            }
        }
        Ok(some)
    }

    /// Copies entries of small folios from `slot` on, as long as they have the rights of `first`, which
    /// was read there, and can be shared; says how many.
    ///
    /// Most of what a fork copies is copied here, so it does no more than it must.
    #[inline]
    fn small(&self, slot: Slot, copy: Slot, first: Leaf, most: usize) -> usize {
        let (mm, map) = (self.mm, self.mm.frames.map());
        let mut leaf = first;
        for n in 0..most {
            match map.find(leaf.pfn()) {
                Some(desc) if desc.is_small_folio() && mm.share_small(desc, 1, self.pinning) => {}
                _ => return n,
            }
            mm.hw.store(copy.ahead(n), self.protect(slot.ahead(n), leaf).word());
            if n + 1 < most {
                match first.sibling(mm.hw.load(slot.ahead(n + 1))) {
                    Some(next) => leaf = next,
                    None => return n + 1,
                }
            }
        }
        most
    }

    /// Copies the entries of one folio from `slot` on, of which the first is `leaf`; says how many, and
    /// whether any of them permitted writing and does not any more. They need not have the same rights.
    fn present(
        &mut self,
        slot: Slot,
        copy: Slot,
        leaf: Leaf,
        most: usize,
    ) -> Result<(usize, bool), OutOfMemory> {
        let mm = self.mm;
        let Some(head) = mm.frames.map().head(leaf.pfn()) else { return Ok((1, false)) };
        let n = mm.run_length(slot, leaf, most);
        let first = leaf.pfn() - head;
        let mut narrowed = false;
        if mm.share(head, first..first + n as u64, n as u32, self.pinning) {
            for i in 0..n {
                let Some(leaf) = mm.leaf_at(slot.ahead(i)) else { continue };
                narrowed |= leaf.is_writable();
                mm.hw.store(copy.ahead(i), self.protect(slot.ahead(i), leaf).word());
            }
            return Ok((n, narrowed));
        }
        // Some of it is pinned, or was. What is the parent's alone stays so, and stays writable, also if
        // the pin goes meanwhile: a contiguous set has the same rights throughout. The child's is none,
        // for some of its members may be copies.
        for i in 0..n {
            // The rights may be others than the first one's: two areas can have parts of a folio.
            let Some(leaf) = mm.leaf_at(slot.ahead(i)) else { continue };
            let page = first + i as u64;
            let copied = if !mm.is_exclusive(head, page)
                && mm.share(head, page..page + 1, 1, self.pinning)
            {
                narrowed |= leaf.is_writable();
                self.protect(slot.ahead(i), leaf).contiguous(false)
            } else {
                mm.copy_page(head, leaf)?
            };
            mm.hw.store(copy.ahead(i), copied.word());
        }
        Ok((n, narrowed))
    }

    /// Takes the right to write from the entry in `slot`, where `leaf` was read; says what is left of it.
    #[inline]
    fn protect(&self, slot: Slot, leaf: Leaf) -> Leaf {
        let mm = self.mm;
        let was = match leaf.is_writable() {
            true => mm.rewrite(slot, leaf, |leaf| mm.protected(leaf)),
            false => leaf,
        };
        mm.write_protected(was)
    }
}

impl<H: Hardware> Mm<H> {
    /// A copy, for the child alone, of the page that `leaf` maps, which is the folio `head`'s; and the leaf
    /// that maps it.
    #[doc(alias = "copy_present_page")]
    #[cold]
    fn copy_page(&self, head: Pfn, leaf: Leaf) -> Result<Leaf, OutOfMemory> {
        let owner = Owner::from_word(self.desc(head).owner.load(Relaxed));
        let owner = Owner { index: owner.index + (leaf.pfn() - head), ..owner };
        let page = self.anon_alloc(Order::PAGE, 1, owner.word())?;
        self.copy(leaf.pfn(), page, Order::PAGE);
        Ok(Leaf::user(Level::Pte, page, leaf.prot()).made_dirty())
    }
}
