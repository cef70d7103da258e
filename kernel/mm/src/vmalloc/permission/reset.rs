//! Giving memory back whose rights were changed.
//!
//! The next owner of a frame reads and writes it, by its address in the linear map and at once; and what the last one
//! executed must not be executed any more when another writes there. So both addresses are closed, one flush reaches both
//! (and what is lazy), as ranges and not as the hull around them, which would be everything; the linear map is opened
//! again, and only then the frame goes back.
//!
//! Corresponds to Linux's `vm_reset_perms`.

use super::Rights;
use crate::mutant::Mutant;
use crate::vmalloc::area::Area;
use crate::vmalloc::ranges::Ranges;
use crate::{Hardware, Mm, Note};
use abi::{PAGE_SIZE, VirtRange};
use pte::Leaf;

/// Whether a page is as `vmalloc` gave it: by itself, or in a set, of which none can change alone.
fn is_plain(leaf: Leaf) -> bool {
    leaf.is_valid() && leaf.contiguous(false).same_mapping(Rights::ReadWrite.leaf(leaf.pfn()))
}

impl<H: Hardware> Mm<H> {
    /// Makes the frames of an area such that they can be anybody's: no CPU has a translation of a page whose rights
    /// were other than to read and to write, and in the linear map they are these. Needs no memory.
    #[doc(alias = "vm_reset_perms")]
    #[cold]
    #[inline(never)]
    pub(in crate::vmalloc) fn reset_rights(&self, area: &Area) {
        let range = area.range();
        let (mut reach, mut is_any) = (Ranges::new(), false);
        self.each_page(range, |va, slot, leaf| {
            if is_plain(leaf) {
                return;
            }
            is_any = true;
            let alias = self.set_alias(leaf.pfn(), Rights::None);
            self.hw.store(slot, Rights::None.leaf(leaf.pfn()).word());
            reach.add(VirtRange::from_size(va, PAGE_SIZE));
            let is_last = va + PAGE_SIZE == range.end;
            if let Some(alias) = alias.filter(|_| !(is_last && self.commits(Mutant::VmapHullShort)))
            {
                reach.add(alias);
            }
        });
        if !is_any {
            return;
        }
        self.unmap_aliases_and(&mut reach);
        let closed = |leaf: Leaf| self.linear_address(leaf.pfn()).filter(|_| !is_plain(leaf));
        self.each_page(range, |_, _, leaf| {
            if let Some(alias) = closed(leaf) {
                let page = VirtRange::from_size(alias, PAGE_SIZE);
                self.hw.note(Note::Done(self.vmalloc.root, page));
            }
        });
        self.each_page(range, |_, _, leaf| {
            if closed(leaf).is_some() {
                self.set_alias(leaf.pfn(), Rights::ReadWrite);
            }
        });
        self.make_visible();
    }
}
