//! The walk: every entry that maps a folio, one stretch of one table at a time.
//!
//! # Who waits for whom
//! A walk holds the family's members, and of one member after the other a claim on the pages that it
//! looks at; its caller holds the folio's lock. From the outside in:
//!
//! folio lock → members of the family → claim → locks of tables
//!
//! A claim waits for whoever excludes its pages (munmap, mprotect, mremap, fork). So **who holds a
//! layout's writer never waits for a folio's lock or for the members of a family**: a fork joins its
//! child to the family before it excludes anything, an exit leaves the family first and excludes
//! nothing, and a decision that needs a folio's lock under a writer or a claim only tries it.
//!
//! # Why no entry is missed
//! * *A mapping that moves:* mremap excludes both its ranges, so a walk finds the entry at one of
//!   them, and the area's index goes along with it. A look without the claim could see each of the two
//!   places while the entry is at the other.
//! * *A mapping that is copied:* a child joins before its parent's entries are copied, and the copy is
//!   made while the parent's pages are excluded. Members are visited in the order of joining, the
//!   parent first: if the copy came before the parent was visited, the child has entry and area by the
//!   time it is visited; if it came after, what was copied is what the walk has left in the parent.
//! * *A mapping that is being changed* by a holder of a claim alone (a fault, a split): it is done under the
//!   table's lock. The walk takes that lock wherever there is a table, and believes no entry that it
//!   has only peeked at.
//! * *A mapping that is new:* pages of a folio that is locked and anonymous get no further mappings but by
//!   fork and by whoever restores what was taken out.
//!
//! A stale name is harmless: what an entry maps is compared, frame by frame.
//!
//! # Who else will have folios
//! An anonymous folio's owner is a family and an index. A folio of a file will name the file and an
//! index in it, a page merged by KSM a list of such names: another search for areas, then the same
//! stretches. The folio's flags say how its owner word is to be read.
//!
//! Corresponds to Linux's `rmap_walk_anon` and `page_vma_mapped_walk`.

use super::Owner;
use crate::entry::{At, Locked, PmdLevel, PteLevel};
use crate::mutant::Mutant;
use crate::space::{Core, Layout, USER_END, Vma};
use crate::{Hardware, Mm};
use abi::{Level, PAGE_SHIFT, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use core::ops::{ControlFlow, Range};
use pte::Entry;
use sync::Arc;

/// Pages of a block.
const BLOCK: u64 = PMD_SIZE >> PAGE_SHIFT;

/// Where one area may map pages of a folio within one 2 MiB block. Its space's tables stay as long as
/// this is lent.
pub(crate) struct Stretch<'w> {
    /// The space.
    pub(crate) core: &'w Arc<Core>,
    /// What the area permits.
    pub(crate) prot: Prot,
    /// The addresses.
    pub(crate) range: VirtRange,
    /// Which page of the folio would be at the first of them.
    pub(crate) first: u64,
}

impl Stretch<'_> {
    /// Entries of the table of pages that translate it.
    pub(crate) fn slots(&self) -> Range<usize> {
        let first = Level::Pte.index(self.range.start);
        first..first + self.range.pages() as usize
    }

    /// The frame that a huge entry here has if it maps the folio.
    pub(crate) fn huge_frame(&self, head: Pfn) -> Option<Pfn> {
        let before = Level::Pte.index(self.range.start) as u64;
        (head.0 + self.first).checked_sub(before).map(Pfn)
    }
}

/// The table that says what a stretch maps, locked.
pub(crate) enum Mapping<'m, H: Hardware> {
    /// One huge entry, or software's data about one.
    Huge(Locked<'m, H, PmdLevel>),
    /// Small ones.
    Pages(Locked<'m, H, PteLevel>),
}

impl<H: Hardware> Mm<H> {
    /// Shows `visit` each stretch where pages of the folio called `owner` may be mapped, until it has
    /// seen enough.
    ///
    /// Context: thread, may sleep; no claim and no layout's writer is held, nor any spin lock.
    #[doc(alias = "rmap_walk_anon")]
    pub(crate) fn rmap_walk(
        &self,
        owner: Owner,
        pages: u64,
        mut visit: impl FnMut(&Stretch<'_>) -> ControlFlow<()>,
    ) {
        let Some(family) = self.family(owner.family) else { return };
        let members = family.members(self);
        for n in 0..members.len() {
            let core = match self.commits(Mutant::WalkChildrenFirst) {
                true => &members[members.len() - 1 - n],
                false => &members[n],
            };
            if self.walk_member(core, owner.index, pages, &mut visit).is_break() {
                return;
            }
        }
    }

    /// The stretches of one space.
    fn walk_member(
        &self,
        core: &Arc<Core>,
        index: u64,
        pages: u64,
        visit: &mut impl FnMut(&Stretch<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let start = VirtAddr(0);
        // Nobody excludes page 0.
        let page = |page| if self.commits(Mutant::WalkUnclaimed) { 0 } else { page };
        // A folio that never moved lies within one block, and who changes a block excludes all of it: a
        // claim on its first page holds them off, and disturbs nobody elsewhere. One with names in two
        // blocks was made where an area had moved: it is there and in that space's children, whose
        // layouts are moved like their parent's, and in no other.
        let is_at_home = index / BLOCK == (index + pages - 1) / BLOCK;
        let unmoved = |layout: &Layout| {
            if layout.is_moved() {
                return None;
            }
            Some(if is_at_home { search(layout, index, pages, start) } else { None })
        };
        let (found, claim) = core.layout.read_at(&self.hw, page(index), unmoved);
        let (mut found, mut claim) = match found {
            Some(found) => (found, claim),
            None => {
                drop(claim);
                let anywhere = |layout: &Layout| search(layout, index, pages, start);
                core.layout.read_at(&self.hw, page(sync::PAGES), anywhere)
            }
        };
        while let Some((area, range)) = found {
            let mut at = range.start;
            while at < range.end {
                let end = (at + 1).align_up(PMD_SIZE).min(range.end);
                let first = area.index_at(at) - index;
                let range = VirtRange::new(at, end);
                visit(&Stretch { core, prot: area.prot, range, first })?;
                at = end;
            }
            found = claim.look(&self.hw, |layout| search(layout, index, pages, range.end));
        }
        ControlFlow::Continue(())
    }

    /// What maps `va` in `core`: the huge entry, or the table of small ones; `None` where there is
    /// nothing. Whoever is changing it is waited for, and never overlooked.
    #[doc(alias = "page_vma_mapped_walk")]
    pub(crate) fn lock_mapping(&self, core: &Core, va: VirtAddr) -> Option<Mapping<'_, H>> {
        let slot = self.find_slot(core.root, va, Level::Pmd)?;
        if self.commits(Mutant::WalkPeeks)
            && let Entry::PresentInvalid(_) = pte::decode(Level::Pmd, self.hw.load(slot))
        {
            return None;
        }
        loop {
            if let Some(table) = self.lock_below(slot) {
                return Some(Mapping::Pages(table));
            }
            let table = self.lock::<PmdLevel>(slot.table());
            match table.at(Level::Pmd.index(va)) {
                At::None(_) | At::Corrupt(_) => return None,
                At::Present(_) | At::Soft(_) => {}
                // It was split a moment ago.
                At::Table(_) => continue,
            }
            return Some(Mapping::Huge(table));
        }
    }
}

/// The first area from `from` on where pages `index` to `index + pages` may be, and where they are.
#[doc(alias = "anon_vma_interval_tree_foreach")]
fn search(layout: &Layout, index: u64, pages: u64, from: VirtAddr) -> Option<(Vma, VirtRange)> {
    let (from, end) = if layout.is_moved() {
        (from, USER_END)
    } else {
        let home = VirtRange::from_size(VirtAddr(index << PAGE_SHIFT), pages << PAGE_SHIFT);
        (from.max(home.start), home.end)
    };
    layout.iter_from(from).take_while(|area| area.range.start < end).find_map(|area| {
        let found = area.addresses_of(index, pages);
        let rest = VirtRange::new(found.start.max(from), found.end);
        (!rest.is_empty()).then_some((*area, rest))
    })
}
