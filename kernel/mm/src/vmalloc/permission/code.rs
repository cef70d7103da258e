//! Memory that is executed: written, sealed, run, unsealed, and written again or given back.
//!
//! What was stored by a CPU is in its data cache; what is fetched comes from another cache, which may have what was
//! there before. So between the last store and the first fetch lie a clean of the one to where both meet, an
//! invalidation of the other, and barriers; it is done while the memory can neither be written nor executed.
//!
//! Source: Arm ARM, "Synchronization and coherency issues between data and instruction accesses", "Concurrent modification
//! and execution of instructions". Linux `flush_icache_range`, `set_memory_rox`.

use super::{PermissionError, Rights};
use crate::vmalloc::area::Area;
use crate::{Hardware, Mm};
use abi::{Order, VirtRange};

impl<H: Hardware> Mm<H> {
    /// What was written to an area is code from now on: executed and not written. As [`Mm::set_memory`].
    #[doc(alias("set_memory_rox", "execmem_make_temp_rw"))]
    pub fn seal(&self, area: &mut Area) -> Result<(), PermissionError> {
        let all = area.range();
        self.set_memory(area, all, Rights::ReadExec)
    }

    /// An area is memory again, to read and write. Nobody is executing it. As [`Mm::set_memory`].
    pub fn unseal(&self, area: &mut Area) -> Result<(), PermissionError> {
        let all = area.range();
        self.set_memory(area, all, Rights::ReadWrite)
    }

    /// This CPU goes by code that another has sealed: to be called between learning of it and running it. What the CPU
    /// has fetched before, of other code that was at the same address, it forgets.
    ///
    /// Context: any.
    #[doc(alias = "kick_all_cpus_sync")]
    #[inline]
    pub fn meet_code(&self) {
        self.hw.synchronize_context();
    }

    /// The pages of a part hold instructions, which are to be fetched as they are now. They can be read, by the
    /// linear map too.
    pub(super) fn make_executable(&self, part: VirtRange) {
        self.each_page(part, |_, _, leaf| self.hw.make_executable(leaf.pfn(), Order::PAGE));
    }
}
