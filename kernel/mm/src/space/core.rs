//! What a space is to everybody but its owner: reached from folios by [`crate::rmap`], from checks of
//! the whole machine, and kept as long as one of them looks.

use super::Layout;
use crate::rmap::Family;
use crate::thp::Override;
use crate::tlb::Context;
use abi::Pfn;
use sync::atomic::{AtomicBool, AtomicU32};
use sync::{Arc, RangeLock, SeqCount};

/// An address space without the handle that owns it.
#[doc(alias = "mm_struct")]
pub(crate) struct Core {
    /// The root table.
    pub(crate) root: Pfn,
    /// The areas. Faults and walks claim the pages they work on; whoever changes areas or takes tables
    /// away waits for those in the range.
    #[doc(alias("mmap_lock", "vm_lock"))]
    pub(crate) layout: RangeLock<Layout>,
    /// What TLBs know it by.
    pub(crate) context: Context,
    /// CPUs that run it now.
    pub(crate) running: AtomicU32,
    /// Odd while a fork makes its pages shared: a lockless pin in between does not count.
    #[doc(alias = "write_protect_seq")]
    pub(crate) write_protect: SeqCount,
    /// Whether anybody ever pinned a page of it.
    #[doc(alias = "MMF_HAS_PINNED")]
    pub(crate) pinned: AtomicBool,
    /// Whether some of its memory was given up and may be taken away; see `lazy`.
    pub(crate) lazy: AtomicBool,
    /// Which huge pages it gets, where that is not left to the settings.
    #[doc(alias("PR_SET_THP_DISABLE", "MMF_DISABLE_THP_COMPLETELY"))]
    pub(crate) thp: Override,
    /// Who works on it without owning it or being found by its family: it is not taken apart meanwhile.
    #[doc(alias("mm_users", "mmget"))]
    pub(crate) guests: AtomicU32,
    /// Who may map its folios.
    pub(crate) family: Arc<Family>,
}
