//! What is known of one page of memory: 32 bytes, two to a 64-byte cache line.
//!
//! What the fields mean depends on whose the page is ([`Kind`]): see [`PageDesc`]. Kind, size and flags
//! share one word, so that a block changes hands, and a part of a folio gets a head, in one store.
//!
//! Corresponds to Linux's `struct page` and `enum pageflags`.

use super::counts::Counts;
use abi::{Order, Pfn};
use sync::atomic::{AtomicU32, AtomicU64, Ordering};
use sync::{Class, SpinLock, const_fn};

/// Whose a block is.
#[doc(alias("page_type", "PageBuddy"))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Not the first page of its block; or no block's, because the allocator was never given it.
    Tail = 0,
    /// Free, in the zone.
    Free = 2,
    /// Free, in a CPU's stock.
    Stocked = 3,
    /// The kernel's: heap, stacks, the tables of its own half.
    Kernel = 4,
    /// A translation table of an address space.
    Table = 5,
    /// User memory, counted by its references and mappings ([`PageDesc::counts`]).
    Folio = 6,
}

impl Kind {
    const fn from_bits(bits: u32) -> Self {
        match bits & 0xff {
            2 => Self::Free,
            3 => Self::Stocked,
            4 => Self::Kernel,
            5 => Self::Table,
            6 => Self::Folio,
            _ => Self::Tail,
        }
    }
}

/// What the memory manager knows about one page.
///
/// | field | in a folio's head | in a folio's tails | in a table | in a free block's head |
/// | --- | --- | --- | --- | --- |
/// | `counts` | references, mappings, exclusivity ([`super::counts`]) | see [`super::folio`] | 0 | 0 |
/// | `state` | kind, order, flags | 0 | kind, order 0 | kind, order |
/// | `ptl` | guards the exclusive bitmap | - | guards its slots | - |
/// | `next` | - | first tail: the deferred list | the chain of deposited tables | the zone's list |
/// | `prev` | - | first tail: the deferred list | - | the zone's list |
/// | `owner` | who maps it: family and index ([`crate::rmap`]) | the exclusive bitmap | the chain of unlinked tables in a gather, with the level | - |
///
/// "-": nobody reads it, and it holds whatever the last owner left. A block in a CPU's stock uses
/// `state` alone; the kernel's are chained by `next` while [`crate::vmalloc`] is about to free them.
#[doc(alias("page", "compound_head"))]
#[repr(C, align(32))]
pub struct PageDesc {
    pub(crate) counts: AtomicU64,
    state: AtomicU32,
    pub(crate) ptl: SpinLock<()>,
    /// What the page block is for that this page begins ([`super::page_block`]).
    pub(super) page_block: core::sync::atomic::AtomicU16,
    pub(crate) prev: AtomicU32,
    pub(crate) next: AtomicU32,
    pub(crate) owner: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<PageDesc>() == 32);
#[cfg(not(loom))]
const _: () = {
    // SAFETY: both are 32 plain bytes without padding.
    #[expect(unsafe_code, reason = "checks, when compiled, what clearing a memmap relies on")]
    let words: [u64; 4] = unsafe { core::mem::transmute(PageDesc::blank()) };
    assert!(words[0] == 0 && words[1] == 0 && words[2] == 0 && words[3] == 0);
};

impl PageDesc {
    const_fn! {
        /// The descriptor of a page of no block. All its bytes are zero, so that a memmap is made by
        /// clearing memory.
        pub fn blank() -> Self {
            Self {
                counts: AtomicU64::new(0),
                state: AtomicU32::new(Kind::Tail as u32),
                // The class is of no account, but must be the one that is zero: a table's lock is
                // taken as what the table is.
                ptl: SpinLock::new(Class::Sched, ()),
                page_block: core::sync::atomic::AtomicU16::new(0),
                prev: AtomicU32::new(0),
                next: AtomicU32::new(0),
                owner: AtomicU64::new(0),
            }
        }
    }

    /// Whose block this page starts, or that it starts none.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_bits(self.state.load(Ordering::Acquire))
    }

    /// Whose block this page starts, and how large it is, by one reading.
    #[inline]
    pub(super) fn kind_and_order(&self) -> (Kind, Order) {
        let state = self.state.load(Ordering::Acquire);
        (Kind::from_bits(state), Order((state >> 8) as u8))
    }

    /// Whether this page starts a free block of the zone, of just this size.
    #[inline]
    pub(super) fn is_free(&self, order: Order) -> bool {
        let state = self.state.load(Ordering::Acquire);
        state & BLOCK == Kind::Free as u32 | u32::from(order.0) << 8
    }

    /// The size of the block that this page starts.
    #[inline]
    pub fn order(&self) -> Order {
        Order((self.state.load(Ordering::Relaxed) >> 8) as u8)
    }

    /// Whether this page by itself is a block of `kind`'s.
    #[inline]
    pub(super) fn is_page_of(&self, kind: Kind) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        state & BLOCK == kind as u32 | u32::from(Order::PAGE.0) << 8
    }

    /// Whether this page is a folio by itself.
    #[inline]
    pub(crate) fn is_small_folio(&self) -> bool {
        self.state.load(Ordering::Relaxed) & BLOCK == SMALL_FOLIO
    }

    /// As [`PageDesc::is_small_folio`], and neither the shared zeros nor given up: nothing but its counts has
    /// to change when somebody lets it go.
    #[inline]
    pub(crate) fn is_plain_small_folio(&self) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        state & (BLOCK | Flag::Zero as u32 | Flag::Lazy as u32) == SMALL_FOLIO
    }

    /// Whether this is the head of a folio that contains the page `behind` pages further on.
    #[inline]
    pub(crate) fn is_folio_with(&self, behind: u64) -> bool {
        let state = self.state.load(Ordering::Acquire);
        state & 0xff == Kind::Folio as u32 && behind >> (state >> 8 & 0xff) == 0
    }

    /// What a folio's head counts, as it is right now.
    #[inline]
    pub fn counts(&self) -> Counts {
        Counts(self.counts.load(Ordering::Relaxed))
    }

    /// References to this folio, as they are right now.
    #[doc(alias = "folio_ref_count")]
    pub fn refs(&self) -> u32 {
        self.counts().refs()
    }

    /// Entries that map pages of this folio, as they are right now: one for a PMD, one for each PTE.
    #[doc(alias("folio_mapcount", "folio_large_mapcount"))]
    pub fn maps(&self) -> u32 {
        self.counts().maps()
    }

    /// Whether the flag is set.
    #[inline]
    pub fn has(&self, flag: Flag) -> bool {
        self.state.load(Ordering::Acquire) & flag as u32 != 0
    }

    /// Sets the flag; says whether it was set before. Acquire and release, as a lock needs.
    #[inline]
    pub(crate) fn raise(&self, flag: Flag) -> bool {
        self.state.fetch_or(flag as u32, Ordering::AcqRel) & flag as u32 != 0
    }

    /// Clears the flag; says whether it was set before.
    #[inline]
    pub(crate) fn lower(&self, flag: Flag) -> bool {
        self.state.fetch_and(!(flag as u32), Ordering::AcqRel) & flag as u32 != 0
    }

    /// Releases the folio's lock; says whether somebody sleeps until it is free.
    #[inline]
    pub(crate) fn unlock(&self) -> bool {
        // In one step with the mark of the sleepers: who marks himself later finds the lock free.
        let down = Flag::Locked as u32 | Flag::Waiters as u32;
        self.state.fetch_and(!down, Ordering::AcqRel) & Flag::Waiters as u32 != 0
    }

    /// Says what the block is; all flags are down afterwards.
    #[inline]
    pub(crate) fn set(&self, kind: Kind, order: Order) {
        self.set_with(kind, order, 0);
    }

    /// Says what the block is, with these flags up and all others down.
    #[inline]
    pub(crate) fn set_with(&self, kind: Kind, order: Order, flags: u32) {
        self.state.store(kind as u32 | u32::from(order.0) << 8 | flags, Ordering::Release);
    }

    /// The flags that are up, to hand on to the parts of a folio that is split.
    pub(crate) fn flags(&self) -> u32 {
        self.state.load(Ordering::Relaxed) & FLAGS
    }

    /// Whether this folio of one page is dirty, by one reading; `None` if it is none.
    #[inline]
    pub(crate) fn small_folio_is_dirty(&self) -> Option<bool> {
        let state = self.state.load(Ordering::Acquire);
        (state & BLOCK == SMALL_FOLIO).then_some(state & Flag::Dirty as u32 != 0)
    }

    /// Makes a tail the head of a block of its own, whose kind, size and flags appear in one step. The mark
    /// of a waiter who comes late for the page's last life stays, so that he is woken.
    #[doc(alias = "clear_compound_head")]
    pub(crate) fn become_head(&self, kind: Kind, order: Order, flags: u32) {
        let state = kind as u32 | u32::from(order.0) << 8 | flags;
        self.state.fetch_or(state, Ordering::Release);
    }

    /// Cuts the block of a head down from one order to a smaller. Flags stay, also those that others
    /// raise at the same moment.
    pub(crate) fn cut_down(&self, from: Order, to: Order) {
        self.state.fetch_sub(u32::from(from.0 - to.0) << 8, Ordering::Release);
    }

    /// Turns a taken block into `kind`'s, with what it counts from the beginning.
    #[inline]
    pub(crate) fn own(&self, kind: Kind, order: Order, flags: u32, counts: Counts) {
        self.set_with(kind, order, flags);
        // Last, and with release: a lockless walker that gets a reference sees the rest.
        self.counts.store(counts.0, Ordering::Release);
    }

    /// Turns `kind`'s block into nobody's, and says how large it is.
    ///
    /// # Panics
    /// When the block is not `kind`'s: a double free, or the wrong block. Going on would hand one
    /// page to two owners.
    #[inline]
    pub(crate) fn disown(&self, pfn: Pfn, kind: Kind) -> Order {
        let state = self.state.load(Ordering::Relaxed);
        if state & 0xff != kind as u32 {
            wrong_owner(pfn, kind, Kind::from_bits(state));
        }
        Order((state >> 8) as u8)
    }
}

#[cold]
#[inline(never)]
fn wrong_owner(pfn: Pfn, kind: Kind, was: Kind) -> ! {
    panic!("freeing frame {pfn} as {kind:?}, but it is {was:?}")
}

/// What is true of a folio besides its counts. In the upper half of `state`.
#[doc(alias = "page-flags")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Flag {
    /// Somebody holds the folio's lock.
    #[doc(alias = "PG_locked")]
    Locked = 1 << 16,
    /// Somebody sleeps until the lock is free.
    #[doc(alias = "PG_waiters")]
    Waiters = 1 << 17,
    /// Written through a mapping that is gone or was made clean.
    #[doc(alias = "PG_dirty")]
    Dirty = 1 << 18,
    /// Anonymous memory; `owner` names family and index.
    #[doc(alias = "PAGE_MAPPING_ANON")]
    Anon = 1 << 19,
    /// Some of its pages are mapped and some are not.
    #[doc(alias = "PG_partially_mapped")]
    Partial = 1 << 20,
    /// On the list of folios to be split when memory is short.
    Queued = 1 << 21,
    /// Zeros that everybody shares: nobody counts its mappings.
    #[doc(alias("huge_zero_folio", "zero_page"))]
    Zero = 1 << 22,
    /// The program has given it up; unless written since, it may be taken away.
    #[doc(alias = "PG_swapbacked")]
    Lazy = 1 << 23,
}

/// Kind and order, in the lower half of `state`.
const BLOCK: u32 = 0xffff;
/// What they are of a folio by itself.
const SMALL_FOLIO: u32 = Kind::Folio as u32 | (Order::PAGE.0 as u32) << 8;
/// All bits that flags may take.
const FLAGS: u32 = !BLOCK;
