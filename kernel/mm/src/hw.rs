//! The door between the memory manager and the machine.
//!
//! Everything the memory manager asks of hardware is in this file. The kernel's `arch` room
//! implements it on real registers, the host's machine implements it on a model, and both run the
//! same memory manager.
//!
//! # Two promises the implementor makes
//! * A [`Slot`]'s operations are single-copy atomic on the 64-bit descriptor, and the hardware's
//!   own updates (access flag, dirty state) come between them, never within.
//! * The barriers mean what their names say, for this CPU's earlier steps. `mm` never relies on a
//!   barrier that it did not ask for.

use crate::Levels;
use abi::{Asid, Level, Order, Pfn, PhysAddr, VirtAddr, VirtRange};
use pte::{Caps, Scope, Tlbi};
use sync::Wait;

/// Where one descriptor of a table is: the only thing that CPUs and their walkers both change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(pub PhysAddr);

impl Slot {
    /// Entry `index` of the table page `table`.
    #[inline]
    pub const fn new(table: Pfn, index: usize) -> Self {
        Self(PhysAddr(table.base().0 + 8 * index as u64))
    }

    /// The table page this slot lies in: whose lock guards it.
    #[inline]
    pub const fn table(self) -> Pfn {
        self.0.pfn()
    }

    /// Which entry of its table it is.
    #[inline]
    pub const fn index(self) -> usize {
        (self.0.0 % abi::PAGE_SIZE / 8) as usize
    }

    /// The slot `n` entries further on; the caller stays within the table.
    #[inline]
    pub const fn ahead(self, n: usize) -> Self {
        Self(PhysAddr(self.0.0 + 8 * n as u64))
    }
}

/// A machine that memory is managed for.
///
/// A handle: cheap to copy around by reference, the same for every CPU. All methods act on the CPU
/// that executes them. [`sync::Cpu`] and [`sync::Wait`] above it give identity, interrupt masking,
/// spinning and sleeping.
pub trait Hardware: Wait + Sync {
    /// What the CPUs can do: the lowest common denominator, read once at boot.
    fn caps(&self) -> &Caps;

    /// CPUs that may ever run; ids are below this.
    fn nr_cpus(&self) -> usize;

    // --- descriptors -------------------------------------------------------------------------

    /// Loads a descriptor. Later loads through the value, and later loads at all, come after it.
    fn load(&self, slot: Slot) -> u64;

    /// Stores a descriptor, after this CPU's earlier stores (release): software that reads the entry
    /// sees what the frame or table behind it was filled with. Hardware walkers are promised nothing
    /// before [`Hardware::publish`].
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn store(&self, slot: Slot, word: u64);

    /// Exchanges a descriptor in one step, so that no hardware update between is lost. Release.
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn swap(&self, slot: Slot, word: u64) -> u64;

    /// Replaces a descriptor only if it still is `old`; else tells what it is. Release.
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn compare_exchange(&self, slot: Slot, old: u64, new: u64) -> Result<(), u64>;

    /// Stores `n` descriptors from `first` on, in a table that no walker can reach: `word`, then `step`
    /// more for each. Ordered by nothing but the [`Hardware::publish`] that comes before the table is
    /// linked, and the release of the store that links it.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn fill(&self, first: Slot, n: usize, word: u64, step: u64) {
        for i in 0..n {
            self.store(first.ahead(i), word.wrapping_add(step.wrapping_mul(i as u64)));
        }
    }

    // --- frames ------------------------------------------------------------------------------

    /// Reads 8 bytes of memory that somebody holds, past all translation (the linear map).
    fn peek(&self, at: PhysAddr) -> u64;

    /// Writes 8 bytes of memory that the caller owns, past all translation (the linear map).
    fn poke(&self, at: PhysAddr, value: u64);

    /// Fills a block with zeros. The caller owns it; nothing maps it.
    fn zero(&self, pfn: Pfn, order: Order);

    /// Copies a block. The caller owns the destination and keeps writers off the source.
    fn copy(&self, from: Pfn, to: Pfn, order: Order);

    /// Makes what was stored to a block the instructions that every CPU fetches from it, and waits; this CPU's next
    /// instructions too. Another CPU needs a context synchronisation of its own. The block can be read by the
    /// linear map. Where fetches see stores at once there is nothing to do.
    #[doc(alias("flush_icache_range", "caches_clean_inval_pou"))]
    #[inline]
    fn make_executable(&self, pfn: Pfn, order: Order) {
        let _ = (pfn, order);
    }

    // --- translation -------------------------------------------------------------------------

    /// Issues one TLB maintenance operation. It is finished only after [`Hardware::complete`].
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn tlbi(&self, op: Tlbi);

    /// Makes this CPU's earlier descriptor stores visible to the walkers in `scope`: DSB ISHST (or
    /// NSHST). Owed before a TLBI, and before linking a table.
    #[doc(alias = "dsb")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn publish(&self, scope: Scope);

    /// Waits until this CPU's TLBIs in `scope`, and every access that used what they removed, are
    /// finished: one DSB ISH (or NSH). Where the CPU has the repeat-TLBI erratum it may end before that, and
    /// `mm` asks for another TLBI and another barrier.
    #[doc(alias = "dsb")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn complete(&self, scope: Scope);

    /// Makes context changes and completed maintenance visible to this CPU's next instructions: ISB.
    #[doc(alias = "isb")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn synchronize_context(&self);

    /// Makes `root` the user half of this CPU, tagged `asid`: one TTBR0 write, then ISB.
    ///
    /// Context: interrupts masked, so that the switch and the bookkeeping about it are one step.
    #[doc(alias = "cpu_do_switch_mm")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn switch_user(&self, root: Pfn, asid: Asid);

    /// Makes the user half of this CPU empty: TTBR0 points at a table of nothing, with ASID 0.
    #[doc(alias = "cpu_set_reserved_ttbr0")]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn switch_user_off(&self);

    // --- copies ---------------------------------------------------------------------------------

    /// Levels of the kernel's half of which each space walks a table of its own, with the kernel's entries in it. None
    /// where all walk one tree, as Arm's CPUs do by TTBR1; then nothing is asked about it when the program runs.
    #[doc(alias = "ARCH_PAGE_TABLE_SYNC_MASK")]
    #[inline(always)]
    fn copied(&self) -> Levels {
        Levels::NONE
    }

    /// Entries of copied levels may have been linked under the kernel's root for a part of its addresses: brings them to
    /// every copy there is. A copy that is being made has them, or is among these.
    ///
    /// Context: thread; sleeps not.
    #[doc(alias = "arch_sync_kernel_mappings")]
    #[inline]
    fn sync_kernel(&self, range: VirtRange) {
        let _ = range;
    }

    // --- for people --------------------------------------------------------------------------

    /// Tells whoever watches that something happened; the models check discipline here, the kernel
    /// compiles it away.
    #[inline]
    #[cfg_attr(feature = "sanitize", track_caller)]
    fn note(&self, note: Note) {
        let _ = note;
    }
}

/// What the memory manager tells an onlooker: the facts that no store or TLBI shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Note {
    /// The block now belongs to somebody new, who may write it at once: no translation may reach it.
    FrameAlloc(Pfn, Order),
    /// The block went back to the allocator. From here on no translation of it may be used.
    FrameFree(Pfn, Order),
    /// This page is a table from now on, with entries of this level; its slots follow the rules of
    /// [`crate::table`].
    TableAlloc(Pfn, Level),
    /// This page is no table any more; no walk cache and no lockless walker may reach it.
    TableFree(Pfn, Level),
    /// An operation on a part of the space with this root is over: no CPU can do more there than the
    /// tables say now.
    Done(Pfn, VirtRange),
    /// Kernel addresses whose old translations are nobody's to use: what a frame was mapped by there need not be
    /// flushed before the frame is freed, only before the address is mapped again.
    Quarantine(VirtRange),
    /// Nobody has a translation of the block by an address in quarantine any more.
    Unaliased(Pfn, Order),
    /// This CPU hears no other CPU's TLBI from now on, and keeps its TLB.
    CpuLeaves,
    /// It hears them again; what its TLB has is of before.
    CpuJoins,
    /// A lockless walk looks at a table at this address.
    Walk(VirtAddr),
    /// A lockless walk is about to count on the folio that it found begins here.
    Count(Pfn),
}
