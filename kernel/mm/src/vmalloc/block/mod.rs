//! Small mappings that come and go quickly: `vm_map_ram` and `vm_unmap_ram`.
//!
//! An area of its own for a few pages costs a tree, a list and a flush. So a CPU takes the addresses of 1024 pages
//! at once, a *block*, and hands them out from the front, in pieces of a power of two. Pieces that come back are
//! *dirty*: cleared, perhaps cached, and not handed out again. A block of which everything is dirty gives its
//! addresses back as any area does, and there they are flushed. The tables of a block's leaves are linked when it
//! is made, so mapping a piece walks nothing and needs no memory; neither does taking it back.
//!
//! # Rules
//! The first six are those of Linux's series of 2023, the next two of the year after.
//! * [`Mm::unmap_aliases`] visits *every* block. Only blocks with room are in a CPU's queue, and one that is used up
//!   has dirty pieces as well as any. So there is an index of all of them.
//! * One walk: a block is purged, or what is dirty in it is taken. With two walks, first for the ranges and then to
//!   purge, a block is flushed as a range and once more as an area.
//! * What was taken to be flushed is forgotten, else each later flush repeats it. And as whoever comes next finds
//!   nothing then, collecting and flushing are under one lock, held until the flush is complete.
//! * That a block has no room is seen without its lock; who sees room looks again when he has it.
//! * So what is read without a lock is atomic: how much is free, how much is dirty.
//! * A block of which nothing is used, but not all was handed out, is purged only when less than a quarter of it
//!   would be lost, or when addresses have run out. Purged whenever it could be, a CPU that maps and unmaps one
//!   page would use a block for each flush.
//! * The queue that a purged block leaves is its owner's. Which slot its address falls to in some table says
//!   nothing about that.
//! * A block is whole before it is in the index: its owner is known to whoever finds it.
//! * A block that is all dirty becomes lazy, never free at once: what came back after the last flush is in TLBs.
//! * It is lazy *before* it leaves the index. In between a flush would find it in neither place, and others'
//!   pieces of it, given up long ago, stayed cached.
//! * A block lives as long as somebody uses it: each piece owns a share of it, so nobody looks it up.
//! * The pages of pieces follow each other without guards, and so do blocks.
//!
//! # Files
//! | file | concern |
//! | --- | --- |
//! | `state` | one block: what is free, used, dirty |
//! | `queue` | each CPU's blocks with room, and all blocks |
//! | `map` | pieces handed out and taken back |
//! | `collect` | what an alias flush has to reach |
//!
//! Corresponds to Linux's `struct vmap_block` and its users in `mm/vmalloc.c`.
//!
//! [`Mm::unmap_aliases`]: crate::Mm::unmap_aliases

mod collect;
mod map;
mod queue;
mod state;
#[cfg(all(test, not(loom)))]
mod tests;

pub(super) use collect::{ANY, MOSTLY_USED};
pub use map::RamArea;
pub(super) use queue::Blocks;
pub(super) use state::{Block, PAGES};
