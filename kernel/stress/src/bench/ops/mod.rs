//! The operations, one file for each part of the memory manager. Each function is one round: prepare,
//! measure, clean up. What they leave behind for the next round is nothing.

pub(super) mod advise;
pub(super) mod bare;
pub(super) mod collapse;
pub(super) mod fault;
pub(super) mod fork;
pub(super) mod frames;
pub(super) mod gup;
pub(super) mod migrate;
pub(super) mod protect;
pub(super) mod split;
pub(super) mod test_vmalloc;
pub(super) mod unmap;
pub(super) mod vmalloc;
pub(super) mod vmalloc_counts;
