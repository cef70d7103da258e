//! Other rights for a range: mprotect.
//!
//! # In place
//! Rights are changed on live entries: that is no reason for break-before-make, and an entry that is
//! never invalid on the way loses no history, is never missed by whoever looks without a lock, and lets
//! other CPUs go on. One atomic step does for a huge entry what Linux does in two with a flush
//! between. All members of a contiguous set change one by one; until the flush a CPU may go by the old
//! rights or the new ones, as it may for any entry. Only a set that is cut is unfolded first.
//!
//! # What is flushed
//! What a TLB may hold and grants more than the entry now does: once, at the end, before the exclusion of
//! the range ends. Rights that were added need nothing: a CPU that has not noticed faults, and its fault
//! is found to be spurious.
//!
//! # Who may write
//! An entry becomes writable only if its page is nobody else's. What is shared stays read-only, for the
//! write fault to copy; what is not shared spares that fault.
//!
//! Corresponds to Linux's `change_protection`, `change_pte_range` and `change_huge_pmd`.

use super::blocks::Entries;
use super::{ProtectError, Space, Vma, check_range, pages_around};
use crate::entry::{Locked, TableLevel};
use crate::mutant::Mutant;
use crate::tlb::Gather;
use crate::{Hardware, Mm, Slot};
use abi::{Access, Prot, VirtRange};
use pte::{Entry, Leaf, Rights};

/// Whether a mapping that permitted `old` permits less with `new`.
fn takes_away(old: Prot, new: Prot) -> bool {
    [Access::Read, Access::Write, Access::Exec]
        .into_iter()
        .any(|access| old.allows(access) && !new.allows(access))
}

impl<H: Hardware> Space<'_, H> {
    /// Gives all of `range` the rights `prot`. When it returns, no CPU permits more than that.
    ///
    /// Context: thread, may sleep on other changes of the layout and on faults in the range.
    #[doc(alias("mprotect", "mprotect_fixup"))]
    pub fn protect(&self, range: VirtRange, prot: Prot) -> Result<(), ProtectError> {
        check_range(range).map_err(ProtectError::BadRange)?;
        let mut layout = self.core.layout.write(&self.mm.hw);
        if let Some(hole) = layout.first_hole(range) {
            return Err(ProtectError::Hole(hole));
        }
        if layout.overlaps(range).all(|area| area.prot == prot) {
            return Ok(());
        }
        let mut room = layout.room().map_err(|_| ProtectError::OutOfMemory)?;
        layout.exclude(pages_around(range));
        layout.mutate(|layout| layout.edit(range, &mut room, |area| Some(Vma { prot, ..area })));
        let mut gather = Gather::new(self.mm, &self.core.context);
        let mut blocks = self.blocks(range);
        while let Some((slot, part)) = blocks.next() {
            match self.open(slot, part) {
                Entries::Pages(table) => self.protect_entries(&mut gather, &table, part, prot),
                Entries::Huge(table) => {
                    let all = blocks.join_huge(table.table(), part);
                    self.protect_entries(&mut gather, &table, all, prot);
                }
                Entries::Nothing => {}
            }
        }
        gather.finish();
        self.done(range);
        Ok(())
    }

    /// Changes the entries of `part` in one table: pages, or huge entries all of which is meant.
    #[doc(alias("change_pte_range", "change_huge_pmd"))]
    fn protect_entries<L: TableLevel>(
        &self,
        gather: &mut Gather<'_, H>,
        table: &Locked<'_, H, L>,
        part: VirtRange,
        prot: Prot,
    ) {
        let mm = self.mm;
        let first = Slot::new(table.table(), L::LEVEL.index(part.start));
        let entries = (part.bytes() >> L::LEVEL.shift()) as usize;
        let va = |n: usize| part.start + n as u64 * L::LEVEL.span();
        let mut at = 0;
        while at < entries {
            let slot = first.ahead(at);
            let begin = at;
            at += 1;
            let leaf = match pte::decode(L::LEVEL, mm.hw.load(slot)) {
                Entry::Leaf(leaf) | Entry::ProtNone(leaf) => leaf,
                Entry::Soft(soft) => {
                    let left = if prot.allows(Access::Write) { soft } else { mm.narrowed(soft) };
                    if left != soft {
                        mm.hw.store(slot, left.encode(L::LEVEL));
                    }
                    // It does not say what it permitted otherwise.
                    gather.changed_soft(VirtRange::new(va(begin), va(at)), L::LEVEL, soft);
                    continue;
                }
                _ => continue,
            };
            let old = leaf.prot();
            at = begin + mm.protect_run(slot, leaf, entries - begin, prot);
            if leaf.is_valid() && takes_away(old, prot) && !mm.commits(Mutant::ProtectNoFlush) {
                gather.changed(VirtRange::new(va(begin), va(at)), L::LEVEL);
            }
        }
    }
}

impl<H: Hardware> Mm<H> {
    /// Gives the leaves from `slot` on, at most `most`, the rights `prot`, as long as they have the rights
    /// of `first`, which was read there. Says how many there were.
    #[doc(alias("change_pte_range", "modify_prot_start_ptes"))]
    #[inline]
    fn protect_run(&self, slot: Slot, first: Leaf, most: usize, prot: Prot) -> usize {
        let rights = Rights::of(prot);
        if self.commits(Mutant::ProtectThroughNone) {
            self.hw.store(slot, 0);
            self.hw.relax();
            self.hw.store(slot, first.word());
        }
        if !rights.is_writable() {
            // Nothing but the words is looked at.
            let clean = self.commits(Mutant::ProtectDropsDirty);
            return self.rewrite_run(slot, first, most, |leaf| {
                let new = leaf.with_rights(rights);
                if clean { new.made_clean() } else { new }
            });
        }
        self.rewrite_run(slot, first, most, |leaf| self.with_rights(leaf, rights))
    }

    /// The leaf with these rights, as far as a write may go to its page.
    #[doc(alias("pte_modify", "can_change_pte_writable"))]
    fn with_rights(&self, leaf: Leaf, rights: Rights) -> Leaf {
        let new = leaf.with_rights(rights);
        if !new.is_writable() || leaf.is_writable() || self.may_be_written(leaf) {
            return new;
        }
        new.write_protected()
    }

    /// Whether a write to what the leaf maps may go there: it is nobody else's, and nobody waits to be
    /// told of it.
    #[inline]
    fn may_be_written(&self, leaf: Leaf) -> bool {
        if leaf.is_uffd_wp() {
            return false;
        }
        if self.commits(Mutant::ProtectWritableShared) {
            return true;
        }
        if leaf.is_special() {
            return !self.shows_zeros(leaf.pfn());
        }
        self.page_is_exclusive(leaf.pfn())
    }

    /// What is left of software data when the right to write is taken away.
    fn narrowed(&self, soft: pte::Soft) -> pte::Soft {
        if self.commits(Mutant::ProtectKeepsMigrationWrite) {
            soft
        } else {
            soft.write_protected(true)
        }
    }
}
