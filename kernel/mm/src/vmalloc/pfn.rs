//! Bare frames at kernel addresses: what no allocator has, and nobody counts.
//!
//! [`Mm::vmap`] is for memory that somebody holds; a frame that the allocator has may not come in as a bare number, for
//! nothing would keep it from being given back, and given to somebody else, while it is mapped. So each frame is looked
//! up as it is mapped, and the first that is managed ends it.
//!
//! Corresponds to Linux's `vmap_pfn`, and to its check by `pfn_valid`.

use super::apply::{ApplyError, PageChange};
use super::barriers::DeferredBarriers;
use super::io::Io;
use super::{Area, VmallocError};
use crate::mutant::Mutant;
use crate::{Hardware, Mm, OutOfMemory};
use abi::{Order, PAGE_SIZE, Pfn};

impl<H: Hardware> Mm<H> {
    /// Frames that no allocator has at consecutive addresses, in their order; they stay their owner's. They go back to
    /// [`Mm::vunmap`].
    ///
    /// Context: as for [`Mm::vmalloc`].
    ///
    /// # Errors
    /// [`VmallocError::Managed`] names the first frame that the allocator has, [`VmallocError::Unmappable`] one that
    /// descriptors cannot name; then nothing stays mapped.
    pub fn vmap_pfn(&self, frames: &[Pfn], io: Io) -> Result<Area, VmallocError> {
        self.defer_barriers().vmap_pfn(frames, io)
    }

    /// Whether a frame is one that may be mapped by its bare number.
    #[doc(alias = "pfn_valid")]
    fn must_be_bare(&self, pfn: Pfn) -> Result<(), VmallocError> {
        match self.frames.map().find(pfn) {
            Some(_) if !self.commits(Mutant::VmapPfnManaged) => Err(VmallocError::Managed(pfn)),
            _ => Ok(()),
        }
    }
}

impl<H: Hardware> DeferredBarriers<'_, H> {
    /// As [`Mm::vmap_pfn`]; the addresses can be used once the scope is left.
    pub fn vmap_pfn(&mut self, frames: &[Pfn], io: Io) -> Result<Area, VmallocError> {
        let mm = self.mm;
        let area = mm.area_take(frames.len() as u64, PAGE_SIZE)?;
        let range = area.range();
        let result = self.apply_making_tables(range, &mut |va, _| {
            let pfn = frames[((va - range.start) / PAGE_SIZE) as usize];
            mm.must_be_bare(pfn)?;
            Ok(PageChange::Map(pfn, io.prot, io.mem))
        });
        match result {
            Ok(()) => {
                self.owe(range);
                Ok(area)
            }
            Err(error) => {
                mm.vunmap(area);
                Err(error.into())
            }
        }
    }
}

impl From<ApplyError<Self>> for VmallocError {
    fn from(error: ApplyError<Self>) -> Self {
        match error {
            ApplyError::Refused(_, error) => error,
            ApplyError::OutOfMemory(error) => Self::OutOfMemory(error),
            ApplyError::Unmappable(at) => Self::Unmappable(at),
            // The addresses are the caller's, whole and empty.
            _ => Self::OutOfMemory(OutOfMemory { order: Order::PAGE }),
        }
    }
}
