//! From a folio to the entries that map it.
//!
//! A [`Family`] is a space and all that were forked from it, however many times over: an anonymous
//! folio can be mapped by members of one family only. Its head names the family and its *index*: the
//! number of the virtual page it was born at. Every area keeps the index of its first page, and takes
//! it along when it is moved, so a walk asks each member for the areas that cover the index. No
//! entry needs to be remembered anywhere, and mapping a page writes nothing but its counts.
//!
//! # Stale names
//! A folio that nobody maps any more may outlive its family and name one that is gone, or a stranger
//! that got its number. That is harmless: a walk compares the frame of each entry that it finds.
//!
//! | file | concern |
//! | --- | --- |
//! | `mod` | families: which spaces may map a folio |
//! | `walk` | where in them it is mapped |
//! | `migrate` | taking all its mappings away for a while |
//! | `take_out` | mappings become migration entries |
//! | `put_back` | migration entries become mappings |
//! | `row` | both, for many small folios at once |
//!
//! Corresponds to Linux's `anon_vma` and `page_vma_mapped_walk`.

mod migrate;
mod put_back;
mod row;
mod take_out;
mod walk;

pub(crate) use migrate::{Blocks, Extent};
pub(crate) use walk::{Mapping, Stretch};

use crate::frame::OutOfMemory;
use crate::space::Core;
use crate::{Hardware, Mm};
use abi::{Order, PAGE_SHIFT, VirtAddr};
use alloc::vec::Vec;
use sync::{Arc, Class, Mutex, SpinLock};

/// Bits of an index: the virtual page numbers of a lower half.
const INDEX_BITS: u32 = 48 - PAGE_SHIFT;
/// One more than the last index.
pub(crate) const INDEX_END: u64 = 1 << INDEX_BITS;
/// The most families: what is left of a word.
const MOST_FAMILIES: usize = 1 << (64 - INDEX_BITS);

/// Who may map a folio, and where: a folio's `owner`.
#[doc(alias("folio->mapping", "folio->index"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    /// The family's number.
    pub(crate) family: u32,
    /// The folio's first page, as the virtual page number it had at birth.
    pub(crate) index: u64,
}

impl Owner {
    pub(crate) const fn word(self) -> u64 {
        debug_assert!(self.index < INDEX_END);
        (self.family as u64) << INDEX_BITS | self.index
    }

    pub(crate) const fn from_word(word: u64) -> Self {
        Self { family: (word >> INDEX_BITS) as u32, index: word & ((1 << INDEX_BITS) - 1) }
    }
}

/// The index of the page at `va` in an area that was never moved.
pub(crate) const fn index_of(va: VirtAddr) -> u64 {
    va.0 >> PAGE_SHIFT
}

/// Spaces related by fork.
#[doc(alias("anon_vma", "anon_vma_root"))]
pub(crate) struct Family {
    id: u32,
    /// The members that live. A walk holds this lock, so none of them goes away under it.
    members: Mutex<Vec<Arc<Core>>>,
}

impl Family {
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The members, held: none dies and none is born until the guard is dropped.
    ///
    /// Context: thread, may sleep; outermost of all locks.
    #[inline]
    pub(crate) fn members<'a, H: Hardware>(
        &'a self,
        mm: &'a Mm<H>,
    ) -> sync::MutexGuard<'a, Vec<Arc<Core>>, H> {
        self.members.lock(&mm.hw)
    }
}

/// The families of one memory manager, by number.
pub(crate) struct Families {
    slots: SpinLock<Vec<Option<Arc<Family>>>>,
}

impl Families {
    pub(crate) fn new() -> Self {
        Self { slots: SpinLock::new(Class::Family, Vec::new()) }
    }
}

/// The kernel's heap has no room for a small object.
pub(crate) const NO_HEAP: OutOfMemory = OutOfMemory { order: Order::PAGE };

impl<H: Hardware> Mm<H> {
    /// A family without members.
    pub(crate) fn family_new(&self) -> Result<Arc<Family>, OutOfMemory> {
        let mut slots = self.families.slots.lock(&self.hw);
        let free = slots.iter().position(Option::is_none);
        let id = free.unwrap_or(slots.len());
        if id >= MOST_FAMILIES || slots.try_reserve(1).is_err() {
            return Err(NO_HEAP);
        }
        let family = Family { id: id as u32, members: Mutex::new(Vec::new()) };
        let family = Arc::try_new(family).map_err(|_| NO_HEAP)?;
        match free {
            Some(at) => slots[at] = Some(family.clone()),
            None => slots.push(Some(family.clone())),
        }
        Ok(family)
    }

    /// Families there are numbers for.
    pub(crate) fn families(&self) -> usize {
        self.families.slots.lock(&self.hw).len()
    }

    /// The family of this number, if there is one now.
    pub(crate) fn family(&self, id: u32) -> Option<Arc<Family>> {
        self.families.slots.lock(&self.hw).get(id as usize)?.clone()
    }

    /// Makes `core` a member.
    pub(crate) fn family_join(&self, core: &Arc<Core>) -> Result<(), OutOfMemory> {
        let mut members = core.family.members(self);
        members.try_reserve(1).map_err(|_| NO_HEAP)?;
        members.push(core.clone());
        Ok(())
    }

    /// Ends the membership of `core`; the last member ends the family.
    pub(crate) fn family_leave(&self, core: &Arc<Core>) {
        let mut members = core.family.members(self);
        members.retain(|member| !Arc::ptr_eq(member, core));
        let last = members.is_empty();
        drop(members);
        if last {
            self.family_end(&core.family);
        }
    }

    /// Ends a family that no space could be made for.
    pub(crate) fn family_end_if_empty(&self, family: &Arc<Family>) {
        if family.members(self).is_empty() {
            self.family_end(family);
        }
    }

    fn family_end(&self, family: &Arc<Family>) {
        let ended =
            self.families.slots.lock(&self.hw).get_mut(family.id as usize).map(Option::take);
        // Outside of the lock: its memory goes back to the heap.
        drop(ended);
    }

    /// Every live space, in no particular order. For checks of the whole machine.
    ///
    /// Context: thread, may sleep. `each` runs with the family's members held.
    pub(crate) fn each_core(&self, mut each: impl FnMut(&Arc<Core>)) {
        for id in 0..self.families() {
            if let Some(family) = self.family(id as u32) {
                family.members(self).iter().for_each(&mut each);
            }
        }
    }
}
