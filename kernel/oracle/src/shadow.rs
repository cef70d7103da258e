//! Shadow memory: sixteen bytes for each slot of a table, sixteen for each frame.
//!
//! Only pages that are tables have slot shadows: a page takes one [`TableShadow`] out of a pool when it
//! becomes a table and gives it back when it is one no more. When the pool is empty the page goes
//! unwatched, and the oracle says how many there were.
//!
//! The memory is the caller's: lent for good, as a kernel does that reserves it at boot, or owned, as a
//! host does. A shadow of zero bytes is not blank; use the `BLANK` of its type.

use crate::reach::Reach;
use crate::site::SiteId;
use abi::{ENTRIES, Level};
use alloc::boxed::Box;
use core::ops::{Deref, DerefMut};

/// Shadow memory of one kind.
pub enum Shadow<T: 'static> {
    /// Memory that somebody set aside for good.
    Lent(&'static mut [T]),
    /// Memory of the heap, taken once.
    Owned(Box<[T]>),
}

impl<T: Copy> Shadow<T> {
    /// `n` shadows from the heap, each like `blank`. Context: set-up; allocates.
    pub fn owned(blank: T, n: usize) -> Self {
        Self::Owned(alloc::vec![blank; n].into_boxed_slice())
    }
}

impl<T> Deref for Shadow<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        match self {
            Self::Lent(memory) => memory,
            Self::Owned(memory) => memory,
        }
    }
}

impl<T> DerefMut for Shadow<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Lent(memory) => memory,
            Self::Owned(memory) => memory,
        }
    }
}

/// One slot of all memory: the number of its frame, counted from the first, times 512, and its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SlotId(pub(crate) u32);

impl SlotId {
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) const fn new(frame: usize, index: usize) -> Self {
        Self((frame * ENTRIES + index) as u32)
    }

    pub(crate) const fn frame(self) -> usize {
        self.0 as usize / ENTRIES
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize % ENTRIES
    }

    /// The number of the sixteen that it would be contiguous with.
    pub(crate) const fn run(self) -> u32 {
        self.0 / 16
    }
}

/// A debt's place in the book.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DebtId(pub(crate) u16);

impl DebtId {
    pub(crate) const NONE: Self = Self(u16::MAX);
}

/// What is remembered of one slot.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SlotShadow {
    /// What software stored there last; or what that replaced, if the slot is `emptied`.
    pub(crate) held: u64,
    /// Where in the program that was.
    pub(crate) site: SiteId,
    /// What its change owes, if that is still in the book.
    pub(crate) debt: DebtId,
    /// The CPU that stored it.
    pub(crate) cpu: u8,
    /// A TLB may have what the slot gave since it was last empty, though the word by itself would not be
    /// cached: its access flag was taken away.
    pub(crate) cached: bool,
    /// There is nothing in it, and a debt for a run of entries that must know what was.
    pub(crate) emptied: bool,
    pub(crate) spare: u8,
}

impl SlotShadow {
    const BLANK: Self = Self {
        held: 0,
        site: SiteId::UNKNOWN,
        debt: DebtId::NONE,
        cpu: 0,
        cached: false,
        emptied: false,
        spare: 0,
    };

    /// What software stored there last.
    #[inline(always)]
    pub(crate) const fn word(&self) -> u64 {
        if self.emptied { 0 } else { self.held }
    }

    /// Software stores `word`.
    #[inline(always)]
    pub(crate) const fn put(&mut self, word: u64) {
        (self.held, self.emptied) = (word, false);
    }
}

/// What is remembered of one table: the slot that leads to it, and its own slots.
#[derive(Clone, Copy, Debug)]
pub struct TableShadow {
    pub(crate) level: Level,
    /// The number of its frame, counted from the first.
    pub(crate) frame: u32,
    /// The slot that leads here; of the kernel's root, the slot in its half that was stored to last.
    pub(crate) parent: SlotId,
    /// What taking it out owes.
    pub(crate) unlinked: DebtId,
    /// Of a root: which space, ever; roots are reused, these numbers are not. Else 0.
    pub(crate) space: u32,
    /// Of a root: the ASID it ran under last.
    pub(crate) asid: Option<abi::Asid>,
    /// When and by which CPU it was last written while nothing led to it.
    pub(crate) filled: (u64, u8),
    /// Slots that hold something valid.
    pub(crate) live: u16,
    /// It is one of the kernel's half.
    pub(crate) is_kernels: bool,
    pub(crate) reach: Reach,
    /// In the pool: the next that is free.
    pub(crate) next: u32,
    pub(crate) slots: [SlotShadow; ENTRIES],
}

impl TableShadow {
    /// Of no table.
    pub const BLANK: Self = Self {
        level: Level::Pte,
        frame: u32::MAX,
        parent: SlotId::NONE,
        unlinked: DebtId::NONE,
        space: 0,
        asid: None,
        filled: (0, 0),
        live: 0,
        is_kernels: false,
        reach: Reach::UNKNOWN,
        next: u32::MAX,
        slots: [SlotShadow::BLANK; ENTRIES],
    };

    /// A page of zeros is a table from now on. In place, for it is large.
    pub(crate) fn begin(&mut self, level: Level, frame: u32, space: u32, filled: (u64, u8)) {
        (self.level, self.frame, self.space, self.filled) = (level, frame, space, filled);
        (self.parent, self.unlinked, self.asid) = (SlotId::NONE, DebtId::NONE, None);
        (self.live, self.reach, self.next) = (0, Reach::UNKNOWN, u32::MAX);
        self.is_kernels = false;
        self.slots.fill(SlotShadow::BLANK);
    }
}

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nobody has said so far.
    Unknown,
    /// Somebody's memory.
    Data,
    /// The allocator's.
    Free,
    /// A table.
    Table,
}

/// What may be owed for the leaves that began at a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Owed {
    /// Nothing.
    Nothing,
    /// One debt, if that is still in the book.
    One,
    /// There may be several: the book finds them.
    Some,
}

/// What is remembered of one frame.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct FrameShadow {
    pub(crate) kind: Kind,
    /// Whether something is owed for leaves that began here.
    pub(crate) owed: Owed,
    /// Who gave or took it last.
    pub(crate) site: SiteId,
    /// Valid leaves that lead to this page alone.
    pub(crate) maps: u32,
    /// Of data: the slot that mapped it last. Of a table: its shadow.
    pub(crate) link: u32,
    /// Valid blocks that begin here.
    pub(crate) blocks: u16,
    /// The debt for a leaf that began here, if it is one.
    pub(crate) debt: DebtId,
}

impl FrameShadow {
    /// Of a frame that nobody has spoken of.
    pub const BLANK: Self = Self {
        kind: Kind::Unknown,
        owed: Owed::Nothing,
        site: SiteId::UNKNOWN,
        maps: 0,
        link: u32::MAX,
        blocks: 0,
        debt: DebtId::NONE,
    };

    /// Whether an entry leads here, or did and may not be paid for.
    pub(crate) fn is_remembered(&self) -> bool {
        self.maps | u32::from(self.blocks) != 0 || self.owed != Owed::Nothing
    }
}

/// Shadow bytes for each slot of a table.
pub const BYTES_PER_SLOT: usize = size_of::<SlotShadow>();
/// Shadow bytes for each frame.
pub const BYTES_PER_FRAME: usize = size_of::<FrameShadow>();
const _: () = assert!(BYTES_PER_SLOT == 16 && BYTES_PER_FRAME == 16);
