//! Kernel mappings that come and go: `vmalloc`, `vmap`, and what takes them back.
//!
//! # Two promises
//! Taking a mapping back clears its descriptors at once and flushes later, for many areas together. So there are
//! two promises, and they are kept by different steps:
//! * **addresses**: what is handed out is in no TLB. An area that was given up is *lazy* until a flush that began
//!   after its descriptors were seen to be clear is complete; only then its addresses are handed out again;
//! * **frames**: what an area mapped may be used for something else *at once*, with its old translations still
//!   in some TLB: to use an address that was given up is a bug, and nobody else has it. Who needs more (other
//!   rights for the frame, a device that is not coherent, execution) asks for [`Mm::unmap_aliases`]: when it
//!   returns, no CPU has a translation of what was given up before it was called.
//!
//! # Rules
//! * A mapping is published, and this CPU's context synchronised, before anybody knows its address (T-10); another
//!   CPU that learns of it by a pointer sees it. What a scope of [`Mm::defer_barriers`] maps is known at its end.
//! * Each page of the space is in a gap, or in an area that is in use, lazy, with the purge, or ready (T-25).
//! * Behind each area lies a page that is never mapped (T-28); blocks have none.
//! * Tables stay once they are linked; only blocks over empty tables take these out.
//! * Giving back needs no memory (T-38).
//!
//! The names in brackets are those of `docs/invariants.md`.
//!
//! # Files
//! | file | concern |
//! | --- | --- |
//! | `slots` | numbered places that lists and trees are made of |
//! | `tree` | pieces of address space by address |
//! | `gaps` | addresses that nobody has |
//! | `node` | a CPU's areas |
//! | `area` | from a size to addresses and back |
//! | `leaves` | descriptors in, descriptors out |
//! | `barriers` | what is owed for descriptors that went in |
//! | `block` | small mappings out of blocks: vm_map_ram, vm_unmap_ram |
//! | `memory` | areas with memory behind them: vmalloc, vmap, vfree |
//! | `io` | physical ranges that no allocator has: ioremap |
//! | `apply` | a function on each page's descriptor: apply_to_page_range |
//! | `pfn` | frames that no allocator has: vmap_pfn |
//! | `promote` | empty tables out of the way of blocks |
//! | `ranges` | what one flush has to reach |
//! | `purge` | from lazy to ready |
//! | [`permission`] | other rights for what `vmalloc` gave |
//! | `audit` | what is true when nothing is in flight |
//!
//! Corresponds to Linux's `mm/vmalloc.c`.

mod apply;
mod area;
mod audit;
mod barriers;
mod block;
mod gaps;
mod io;
mod leaves;
mod memory;
mod node;
pub mod permission;
mod pfn;
mod promote;
mod purge;
mod ranges;
mod slots;
mod tree;

pub use apply::{ApplyError, PageChange, PageFunction};
pub use area::Area;
pub use audit::AddressRule;
pub(crate) use audit::Found;
pub use barriers::DeferredBarriers;
pub use block::RamArea;
pub use io::Io;
pub use memory::Backing;

use crate::{Hardware, Mm, Note, OutOfMemory};
use abi::{PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use alloc::boxed::Box;
use alloc::vec::Vec;
use block::{Block, Blocks};
use core::fmt;
use gaps::Gaps;
use node::Node;
use permission::Parted;
use sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sync::{Class, Mutex, SpinLock};

/// Why there is no mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VmallocError {
    /// Nothing was asked for.
    Empty,
    /// An alignment that is no power of two, in bytes.
    Alignment(u64),
    /// The space has no gap of so many pages; smaller areas may fit, or some have to be given back.
    NoRoom {
        /// The pages, with their guard.
        pages: u64,
    },
    /// A physical range from here on that is not made of whole pages, or that descriptors cannot name.
    Unmappable(PhysAddr),
    /// The allocator has this frame, and who has it from there may give it back: that is mapped by what it is part of,
    /// see [`Mm::vmap`].
    Managed(Pfn),
    /// No page for memory, for a table or to remember the area: give some back.
    OutOfMemory(OutOfMemory),
}

impl fmt::Display for VmallocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a mapping of nothing"),
            Self::Alignment(align) => write!(f, "{align} bytes are no alignment"),
            Self::NoRoom { pages } => write!(f, "no gap of {pages} pages among kernel addresses"),
            Self::Unmappable(at) => write!(f, "no whole pages of memory from {at} on"),
            Self::Managed(pfn) => write!(f, "{pfn} is memory of the allocator's"),
            Self::OutOfMemory(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for VmallocError {}

impl From<OutOfMemory> for VmallocError {
    fn from(error: OutOfMemory) -> Self {
        Self::OutOfMemory(error)
    }
}

/// The kernel addresses that mappings come from.
pub(crate) struct Vmalloc {
    /// The kernel's root table.
    root: Pfn,
    /// All of the space; empty until it is opened.
    space: VirtRange,
    /// Where all memory is mapped a second time; empty until that is known.
    linear: VirtRange,
    /// One a CPU.
    nodes: Box<[SpinLock<Node>]>,
    gaps: SpinLock<Gaps>,
    blocks: Blocks,
    /// One purge at a time.
    #[doc(alias = "vmap_purge_lock")]
    purge: Mutex<()>,
    /// Memory that the linear map has by pages, for areas whose rights change.
    parted: SpinLock<Parted>,
    /// Table pages linked since the space was opened, less those that were taken out.
    tables: AtomicU64,
    /// Scopes that have linked a table which not all copies of the kernel's upper tables lead to yet.
    uncopied: AtomicU32,
    /// Pages of lazy areas.
    #[doc(alias = "vmap_lazy_nr")]
    lazy: AtomicU64,
    /// Full flushes of the kernel's half that were begun, and the last begun of those that are complete.
    begun: AtomicU64,
    complete: AtomicU64,
}

impl Vmalloc {
    /// No space, for up to so many CPUs.
    pub(crate) fn closed(nr_cpus: usize) -> Self {
        let none = VirtRange::new(VirtAddr(0), VirtAddr(0));
        let nodes: Vec<_> =
            (0..nr_cpus).map(|_| SpinLock::new(Class::VmallocNode, Node::new())).collect();
        Self {
            root: Pfn(0),
            space: none,
            linear: none,
            nodes: nodes.into_boxed_slice(),
            gaps: SpinLock::new(Class::VmallocGaps, Gaps::none()),
            blocks: Blocks::none(nr_cpus),
            purge: Mutex::new(()),
            parted: SpinLock::new(Class::VmallocParted, Parted::none()),
            tables: AtomicU64::new(0),
            uncopied: AtomicU32::new(0),
            lazy: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            complete: AtomicU64::new(0),
        }
    }

    /// The addresses of `pages` pages from page number `start` on.
    const fn range(start: u64, pages: u64) -> VirtRange {
        VirtRange::from_size(VirtAddr(start * PAGE_SIZE), pages * PAGE_SIZE)
    }
}

impl<H: Hardware> Mm<H> {
    /// Opens `space` for mappings under the kernel's root table `root`; until then there is room for none.
    /// Nothing is mapped there, and nobody else maps anything there. Both ends are multiples of 2 MiB.
    ///
    /// Context: the boot, once.
    pub fn open_vmalloc(&mut self, root: Pfn, space: VirtRange) -> Result<(), OutOfMemory> {
        let vmalloc = &mut self.vmalloc;
        (vmalloc.root, vmalloc.space) = (root, space);
        vmalloc.gaps.lock(&self.hw).open(space.start.0 / PAGE_SIZE, space.pages())?;
        self.hw.note(Note::Quarantine(space));
        Ok(())
    }

    /// Areas in use, and their pages, guards included; of blocks only the pages in use count.
    #[doc(alias = "nr_vmalloc_pages")]
    pub fn vmalloc_in_use(&self) -> (u64, u64) {
        let each = self.vmalloc.nodes.iter().map(|node| node.lock(&self.hw).in_use());
        let all = each.fold((0, 0), |sum, node| (sum.0 + node.0, sum.1 + node.1));
        let (blocks, unused) = self.vmalloc.blocks.unused(&self.hw);
        (all.0.saturating_sub(blocks), all.1.saturating_sub(unused))
    }

    /// All addresses of the space; none before it is opened.
    pub const fn vmalloc_space(&self) -> VirtRange {
        self.vmalloc.space
    }

    /// The kernel's root table, once the space is opened.
    pub const fn vmalloc_root(&self) -> Pfn {
        self.vmalloc.root
    }

    /// Table pages that mappings have needed since the space was opened; they stay, unless blocks take their
    /// place.
    pub fn vmalloc_tables(&self) -> u64 {
        self.vmalloc.tables.load(Ordering::Relaxed)
    }
}
