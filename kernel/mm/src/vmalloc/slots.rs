//! Slots that stay where they are, by number: for what comes and goes, and is kept on lists meanwhile.
//!
//! A slot is used, or waits for the next use; whoever has one may keep it on a list of his. Memory is taken only
//! when slots are made ([`Slots::reserve`]); what happens to them later cannot fail.

use crate::OutOfMemory;
use abi::Order;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A slot's number; [`NONE`] is none.
pub(super) type SlotId = u32;
/// No slot.
pub(super) const NONE: SlotId = u32::MAX;

/// How many a chunk holds: no heap has to find room for all of them in one place.
const CHUNK: usize = 1024;

/// What is in it, and the slot behind it on whatever list it is on.
#[derive(Clone, Copy, Debug)]
struct Slot<T> {
    value: T,
    behind: SlotId,
}

/// All slots of an owner.
#[derive(Debug)]
pub(super) struct Slots<T> {
    /// They stay where they are.
    chunks: Vec<Box<[Slot<T>; CHUNK]>>,
    /// Those that wait, one leading to the next.
    unused: SlotId,
    /// How many of those there are.
    spare: usize,
}

impl<T: Copy + Default> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), unused: NONE, spare: 0 }
    }

    /// Makes sure that `slots` more can be taken.
    #[inline]
    pub(super) fn reserve(&mut self, slots: usize) -> Result<(), OutOfMemory> {
        while self.spare < slots {
            self.grow()?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Result<(), OutOfMemory> {
        let none = OutOfMemory { order: Order(4) };
        self.chunks.try_reserve(1).map_err(|_| none)?;
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(CHUNK).map_err(|_| none)?;
        let first = (self.chunks.len() * CHUNK) as SlotId;
        for behind in (first + 1..first + CHUNK as SlotId).chain([self.unused]) {
            chunk.push(Slot { value: T::default(), behind });
        }
        self.chunks.push(chunk.into_boxed_slice().try_into().map_err(|_| none)?);
        self.unused = first;
        self.spare += CHUNK;
        Ok(())
    }

    /// A slot for `value`, on no list; there is one if it was reserved.
    pub(super) fn take(&mut self, value: T) -> Option<SlotId> {
        let id = self.unused;
        if id == NONE {
            return None;
        }
        self.unused = self.behind(id);
        self.spare -= 1;
        *self.at_mut(id) = value;
        Some(id)
    }

    /// A slot waits for the next use. It is on no list.
    pub(super) fn give(&mut self, id: SlotId) {
        *self.at_mut(id) = T::default();
        self.unused = self.chain(id, self.unused);
        self.spare += 1;
    }

    /// What is in a slot.
    #[inline]
    pub(super) fn at(&self, id: SlotId) -> &T {
        &self.slot(id).value
    }

    #[inline]
    pub(super) fn at_mut(&mut self, id: SlotId) -> &mut T {
        &mut self.slot_mut(id).value
    }

    #[inline]
    fn slot(&self, id: SlotId) -> &Slot<T> {
        &self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    #[inline]
    fn slot_mut(&mut self, id: SlotId) -> &mut Slot<T> {
        &mut self.chunks[id as usize / CHUNK][id as usize % CHUNK]
    }

    /// Puts a slot that is on no list in front of `list`: the list's new head.
    #[inline]
    pub(super) fn chain(&mut self, id: SlotId, list: SlotId) -> SlotId {
        self.slot_mut(id).behind = list;
        id
    }

    /// The slot behind one that is on a list.
    #[inline]
    pub(super) fn behind(&self, id: SlotId) -> SlotId {
        self.slot(id).behind
    }

    /// What is in each slot, in those that wait too: nothing but the default there.
    pub(super) fn each(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|slot| &slot.value))
    }
}
