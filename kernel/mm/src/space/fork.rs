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
//! | file | concern |
//! | --- | --- |
//! | `fork` | the order of it all, and the areas |
//! | `huge` | copying huge entries |
//! | `pages` | copying tables of pages |
//!
//! Corresponds to Linux's `dup_mmap` and `copy_page_range`.

mod huge;
mod pages;

use super::layout::Layout;
use super::{Space, USER_END, USER_START, pages_around};
use crate::entry::{Fresh, Spares};
use crate::frame::OutOfMemory;
use crate::mutant::Mutant;
use crate::rmap::NO_HEAP;
use crate::table::Stop;
use crate::tlb::Gather;
use crate::{Hardware, Mm, Slot};
use abi::{Level, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use core::sync::atomic::Ordering::Relaxed;
use pte::{Entry, Leaf, Scope, Soft};
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
        if mm.commits(Mutant::ForkFlushLate) {
            drop(ours);
        }
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
    #[inline]
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

    /// A table of pages for the child: the one that was not needed, or a new one.
    fn fresh(&mut self) -> Result<Fresh, OutOfMemory> {
        match self.fresh.take() {
            Some(fresh) => Ok(fresh),
            None => self.mm.fresh_table(),
        }
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
}
