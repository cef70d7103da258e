//! A second space that begins as the first one is: fork.
//!
//! Areas and tables are copied, memory is not: what was one space's alone becomes shared, read-only in
//! both, and is copied by whoever writes first. A pinned page stays the parent's, and the child gets its
//! copy at once, because the device that works on the page must see what the parent sees.
//!
//! # Who must not notice
//! * *Faults and other changes of the parent* are kept out: all of it is excluded until the end.
//! * *Walks from folios* find the child, which joins its family before anything else, because whoever
//!   holds a family's members may wait for claims. The child is excluded too, so such a walk waits at
//!   its door and then finds areas and entries complete. Neither lock is ever wanted by somebody who
//!   holds the other.
//! * *Lockless pins* in the parent are told by `write_protect` that what they pinned may be shared by
//!   now, and give it back.
//! * *The parent's own CPUs* may write through what their TLBs hold until the one flush at the end. The
//!   child runs nowhere before that.
//! * *Hardware and everybody else* cannot reach the child's tables before [`Space::fork`] returns it, so
//!   they are written without locks and barriers, but for one that publishes all of them.
//!
//! # When memory runs out
//! The child, as far as it came, is torn down like any space. The parent may be left read-only where
//! it was writable, with pages that are nobody else's again: a write fault finds that out. It is
//! flushed in this case too, or a later fork would take what is read-only for flushed.
//!
//! Corresponds to Linux's `dup_mmap`, `copy_page_range`, `copy_present_ptes` and `copy_huge_pmd`.

use super::layout::Layout;
use super::{Space, USER_END, USER_START, pages_around};
use crate::entry::{At, Fresh, Locked, PmdLevel, Spares};
use crate::frame::OutOfMemory;
use crate::mutant::Mutant;
use crate::rmap::{NO_HEAP, Owner};
use crate::table::Stop;
use crate::tlb::Gather;
use crate::{Hardware, Mm, Slot};
use abi::{ENTRIES, Level, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{Entry, Leaf, Scope, Soft, Table};
use sync::PAGES;

impl<H: Hardware> Space<'_, H> {
    /// A space that has the same areas and sees the same content, which from then on is each one's own.
    /// Nothing of this space is changed as far as its program can see, also if there is no memory.
    ///
    /// Context: thread, may sleep on changes of the layout and on faults anywhere in the space.
    #[doc(alias("dup_mm", "dup_mmap", "copy_page_range"))]
    pub fn fork(&self) -> Result<Self, OutOfMemory> {
        let child = Self::in_family(self.mm, self.core.family.clone())?;
        self.copy_to(&child)?;
        Ok(child)
    }

    fn copy_to(&self, child: &Self) -> Result<(), OutOfMemory> {
        let mm = self.mm;
        let mut ours = self.core.layout.write(&mm.hw);
        let areas = ours.try_clone().map_err(|_| NO_HEAP)?;
        let mut theirs = child.core.layout.write(&mm.hw);
        theirs.exclude(0..PAGES);
        theirs.mutate(|layout| *layout = areas);
        ours.exclude(0..PAGES);
        let write_protecting =
            (!mm.commits(Mutant::ForkNoSequence)).then(|| self.core.write_protect.begin());
        let mut gather = Gather::new(mm, &self.core.context);
        let mut copy = Copy {
            mm,
            parent: self,
            child: child.core.root,
            table: None,
            fresh: None,
            spares: Spares::none(),
            gather: &mut gather,
            pinning: self.core.pinned.load(Relaxed) && !mm.commits(Mutant::ForkIgnoresPins),
        };
        let result = copy.areas(&ours);
        drop(write_protecting);
        copy.discard_unused();
        // What the child has becomes visible to walkers, and then the parent's write protection holds.
        mm.publish(Scope::InnerShareable);
        gather.finish();
        self.done(VirtRange::new(USER_START, USER_END));
        result
    }
}

/// A fork at work.
struct Copy<'a, 'm, H: Hardware> {
    mm: &'m Mm<H>,
    parent: &'a Space<'m, H>,
    /// The child's root table.
    child: Pfn,
    /// The child's PMD table that was used last, with the first address that it serves.
    table: Option<(VirtAddr, Pfn)>,
    /// A table of pages for the child that was not needed yet, all zeros.
    fresh: Option<Fresh>,
    /// Tables to put aside with the child's huge entries.
    spares: Spares,
    /// What the parent's TLBs must forget.
    gather: &'a mut Gather<'m, H>,
    /// Whether pages of the parent may be pinned.
    pinning: bool,
}

impl<H: Hardware> Copy<'_, '_, H> {
    /// Copies all that is mapped: everything is in some area.
    fn areas(&mut self, layout: &Layout) -> Result<(), OutOfMemory> {
        let mut done = VirtAddr(0);
        for area in layout.iter() {
            let blocks = pages_around(area.range);
            let [start, end] = [blocks.start, blocks.end].map(|page| VirtAddr(page * PAGE_SIZE));
            // Two areas may share a block, which is copied whole.
            let mut blocks = self.parent.blocks(VirtRange::new(start.max(done), end));
            while let Some((slot, block)) = blocks.next() {
                match pte::decode(Level::Pmd, self.mm.hw.load(slot)) {
                    Entry::Table(_) => self.pages(slot, block.start)?,
                    _ => self.huge(slot, blocks.join_huge(slot.table(), block))?,
                }
            }
            done = end;
        }
        Ok(())
    }

    fn discard_unused(&mut self) {
        if let Some(fresh) = self.fresh.take() {
            fresh.discard(self.mm);
        }
        self.spares.discard(self.mm);
    }

    /// The child's PMD slot for `va`.
    fn childs_slot(&mut self, va: VirtAddr) -> Result<Slot, OutOfMemory> {
        let base = va.align_down(Level::Pud.span());
        let table = match self.table {
            Some((serves, table)) if serves == base => table,
            _ => match self.mm.make_slot(self.child, va, Level::Pmd) {
                Ok(slot) => slot.table(),
                Err(Stop::OutOfMemory(oom)) => return Err(oom),
                // The child has no leaves but those made here.
                Err(Stop::NotTable(..)) => return Err(NO_HEAP),
            },
        };
        self.table = Some((base, table));
        Ok(Slot::new(table, Level::Pmd.index(va)))
    }

    fn fresh(&mut self) -> Result<Fresh, OutOfMemory> {
        match self.fresh.take() {
            Some(fresh) => Ok(fresh),
            None => self.mm.fresh_table(),
        }
    }

    // --- huge entries ----------------------------------------------------------------------------

    /// Copies the huge entries that serve `range`, from `slot` on in one table, or the software data in
    /// their places; each gets a deposited table of its own.
    #[doc(alias = "copy_huge_pmd")]
    fn huge(&mut self, slot: Slot, range: VirtRange) -> Result<(), OutOfMemory> {
        let mm = self.mm;
        let all = (range.bytes() / PMD_SIZE) as usize;
        let va = |n: usize| range.start + n as u64 * PMD_SIZE;
        let mut at = 0;
        while at < all {
            let to = self.childs_slot(va(at))?;
            let (begin, end) = (at, at + self.spares.fetch(mm, all - at)?);
            let table = mm.lock::<PmdLevel>(slot.table());
            while at < end && self.huge_entry(&table, va(at), to.ahead(at - begin)) {
                at += 1;
            }
            drop(table);
            if at < end {
                // Somebody relies on some of it: page by page.
                mm.split_huge_at(&self.parent.core, va(at));
                self.pages(slot.ahead(at), va(at))?;
                at += 1;
            }
        }
        Ok(())
    }

    /// Copies one huge entry to `to`. Not if a pin forbids that its memory be shared.
    #[inline]
    fn huge_entry(&mut self, table: &Locked<'_, H, PmdLevel>, va: VirtAddr, to: Slot) -> bool {
        let mm = self.mm;
        let word = match table.at(Level::Pmd.index(va)) {
            At::Present(entry) => {
                let leaf = entry.leaf();
                if !self.share_huge(leaf) {
                    return false;
                }
                let mut copy = leaf;
                if leaf.is_writable() && !leaf.is_special() {
                    copy = entry.modify(|leaf| mm.protected(leaf));
                    copy = copy.write_protected();
                    self.narrowed(VirtRange::from_size(va, PMD_SIZE), Level::Pmd);
                }
                copy.word()
            }
            At::Soft(entry) => {
                mm.soft_dup(Level::Pmd, entry.soft());
                let shared = mm.shared(entry.soft());
                entry.replace(shared);
                shared.encode(Level::Pmd)
            }
            At::None(_) | At::Table(_) | At::Corrupt(_) => return true,
        };
        mm.hw.store(to, word);
        if let Some(spare) = self.spares.pop() {
            mm.deposit(to.table(), spare);
        }
        true
    }

    /// Counts one more huge entry, and makes the folio shared, unless a pin forbids it.
    fn share_huge(&self, leaf: Leaf) -> bool {
        let mm = self.mm;
        if leaf.is_special() {
            return true;
        }
        // A huge leaf maps a whole folio.
        let head = leaf.pfn();
        let Some(desc) = mm.frames.map().find(head) else { return true };
        let pinning = self.pinning && !mm.commits(Mutant::ForkIgnoresHugePins);
        let shared = mm.share_whole(head, desc, 1, pinning);
        if shared {
            mm.count_pmd_map(head);
        }
        shared
    }

    // --- tables of pages -------------------------------------------------------------------------

    /// Copies what one table of pages maps.
    #[doc(alias = "copy_pte_range")]
    fn pages(&mut self, slot: Slot, va: VirtAddr) -> Result<(), OutOfMemory> {
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

    /// The parent's entries of `range` permitted writing and do not any more.
    #[inline]
    fn narrowed(&mut self, range: VirtRange, level: Level) {
        if !self.mm.commits(Mutant::ForkNoFlush) {
            self.gather.changed(range, level);
        }
    }
}

impl<H: Hardware> Mm<H> {
    /// What a fork leaves of a leaf in the parent.
    #[inline]
    fn protected(&self, leaf: Leaf) -> Leaf {
        if self.commits(Mutant::ForkKeepsWritable) { leaf } else { self.write_protected(leaf) }
    }

    /// The leaf without the right to write, its history kept.
    #[inline]
    fn write_protected(&self, leaf: Leaf) -> Leaf {
        let clean = self.commits(Mutant::ForkDropsDirty);
        if clean { leaf.made_clean().write_protected() } else { leaf.write_protected() }
    }

    /// What a fork leaves of software data, in both spaces.
    fn shared(&self, soft: Soft) -> Soft {
        if self.commits(Mutant::ForkKeepsMigrationWrite) { soft } else { soft.shared() }
    }

    /// A copy, for the child alone, of the page that `leaf` maps, which is the folio `head`'s; and the leaf
    /// that maps it.
    #[doc(alias = "copy_present_page")]
    #[cold]
    fn copy_page(&self, head: Pfn, leaf: Leaf) -> Result<Leaf, OutOfMemory> {
        let owner = Owner::from_word(self.desc(head).owner.load(Relaxed));
        let owner = Owner { index: owner.index + (leaf.pfn() - head), ..owner };
        let page = self.anon_alloc(Order::PAGE, 1, owner.word())?;
        self.copy(leaf.pfn(), page, Order::PAGE);
        let prot: Prot = leaf.prot();
        Ok(Leaf::user(Level::Pte, page, prot).made_dirty())
    }
}
