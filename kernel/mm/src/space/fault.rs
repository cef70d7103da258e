//! A page fault: whether the area permits it, which case it is, and how it ended.
//!
//! # The way
//! [`Space::fault`] → the area → what the PMD entry is → one case, one file:
//!
//! | the entry is | the fault | file |
//! | --- | --- | --- |
//! | nothing | needs memory of its own: 2 MiB, else 64 KiB, else a page | `huge`, `mid`, `anon` |
//! | nothing | reads only: shared zeros | `zero` |
//! | a mapping | lacks the accessed or dirty state, or rights that the area gives | `touch` |
//! | a mapping, read-only | writes, or must not share: in place if nobody shares it, else a copy | `cow` |
//! | of zeros | writes: memory instead | `zero` |
//! | software data | waits for a migration, or is denied | `touch` |
//!
//! The page is claimed throughout, so areas stay and tables stay tables; what an entry is, is
//! decided under its table's lock. Who holds a claim waits for nobody: a case that must wait, or that
//! wants memory to be made, says so ([`Stop`]), and that is done when the claim is dropped.
//!
//! Corresponds to Linux's `handle_mm_fault` and `handle_pte_fault`.

use super::outcome::{Denial, FaultOutcome};
use super::{Layout, Space, USER_END, Vma};
use crate::frame::{Effort, OutOfMemory};
use crate::mutant::Mutant;
use crate::rmap::Owner;
use crate::{Hardware, Slot, table};
use abi::{Access, Event, Level, Order, PAGE_SHIFT, Pfn, VirtAddr};
use pte::{Entry, Leaf};

/// Pages that are made free at least where one was missing: a fault may want tables as well, and the next
/// one comes soon.
#[doc(alias = "SWAP_CLUSTER_MAX")]
const AT_ONCE: u64 = 32;

/// How a case ended the fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The entry permits the access now.
    Mapped,
    /// The entry is not what the case was for, or lacks nothing: the access finds out.
    Spurious,
}

/// Why a case could not end the fault while the page was claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// There is not enough memory free.
    OutOfMemory(OutOfMemory),
    /// The program may not do this.
    Denied(Denial),
    /// The folio that begins here is being moved or split, by the holder of its lock.
    Wait(Pfn),
}

impl From<OutOfMemory> for Stop {
    fn from(oom: OutOfMemory) -> Self {
        Self::OutOfMemory(oom)
    }
}

impl From<table::Stop> for Stop {
    fn from(stop: table::Stop) -> Self {
        match stop {
            table::Stop::OutOfMemory(oom) => Self::OutOfMemory(oom),
            table::Stop::NotTable(level, word) => Self::Denied(Denial::Corrupt(level, word)),
        }
    }
}

/// What a case has come to. It fits two registers.
pub(super) type Resolved = Result<Ended, Stop>;

const _: () = assert!(size_of::<Resolved>() == 16);

/// One fault, as the cases see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The area, as long as the page is claimed.
    pub(super) vma: Vma,
    pub(super) va: VirtAddr,
    pub(super) access: Access,
    /// It must end with a page that no other space has, though it reads only.
    #[doc(alias = "FAULT_FLAG_UNSHARE")]
    pub(super) unshare: bool,
    /// All has been done to make memory free: a smaller folio must do, or none.
    pub(super) last: bool,
}

impl Request {
    /// Whether shared memory will not do.
    #[inline]
    pub(super) fn wants_own(&self) -> bool {
        self.unshare || self.access == Access::Write
    }

    /// How hard to try for memory while a table's lock is held: what takes longer waits for the second
    /// attempt.
    #[inline]
    pub(super) fn effort(&self) -> Effort {
        if self.last { Effort::Full } else { Effort::Light }
    }
}

impl<H: Hardware> Space<'_, H> {
    /// Resolves a fault at `va`, or says why not.
    ///
    /// Context: thread (or an exception taken from one), may sleep on whoever changes the area, and on
    /// the lock of a folio that is being moved. Corresponds to Linux's `handle_mm_fault`.
    #[doc(alias("handle_mm_fault", "do_page_fault"))]
    #[inline]
    pub fn fault(&self, va: VirtAddr, access: Access) -> FaultOutcome {
        self.fault_as(va, access, false)
    }

    /// Sees to it that reading `va` meets memory that no other space has: what a pin for reading needs,
    /// so that a later write by the program does not part it from the pin.
    ///
    /// Context: as for [`Space::fault`].
    #[doc(alias("FAULT_FLAG_UNSHARE", "gup_must_unshare"))]
    pub(crate) fn fault_unshare(&self, va: VirtAddr) -> FaultOutcome {
        self.fault_as(va, Access::Read, true)
    }

    #[inline]
    fn fault_as(&self, va: VirtAddr, access: Access, unshare: bool) -> FaultOutcome {
        match self.attempt(va, access, unshare, false) {
            Ok(Ended::Mapped) => FaultOutcome::Mapped,
            Ok(Ended::Spurious) => self.spurious(),
            Err(stop) => self.recover(stop, va, access, unshare),
        }
    }

    #[cold]
    fn spurious(&self) -> FaultOutcome {
        self.mm.count(Event::PgFaultSpurious, 1);
        FaultOutcome::Spurious
    }

    /// Nothing is claimed any more: waits, or makes memory and tries once again.
    #[cold]
    pub(super) fn recover(
        &self,
        stop: Stop,
        va: VirtAddr,
        access: Access,
        unshare: bool,
    ) -> FaultOutcome {
        let mm = self.mm;
        let mut stop = stop;
        if let Stop::OutOfMemory(oom) = stop {
            let wanted = oom.order.pages().max(AT_ONCE);
            if oom.order == Order::PAGE || !mm.compact_directly() {
                match mm.commits(Mutant::FaultKeepsLazy) {
                    true => mm.reclaim_deferred(wanted),
                    false => mm.shrink(wanted),
                };
            }
            match self.attempt(va, access, unshare, true) {
                Ok(Ended::Mapped) => return FaultOutcome::Mapped,
                Ok(Ended::Spurious) => return self.spurious(),
                Err(again) => stop = again,
            }
        }
        match stop {
            Stop::OutOfMemory(oom) => FaultOutcome::OutOfMemory(oom),
            Stop::Denied(denial) => {
                mm.count(Event::PgFaultDenied, 1);
                FaultOutcome::Denied(denial)
            }
            Stop::Wait(head) => {
                mm.count(Event::MigrationWait, 1);
                mm.folio_wait_unlocked(head);
                self.spurious()
            }
        }
    }

    /// Finds the area and asks it. The page stays claimed until the entry is stored.
    ///
    /// From here to the stored entry of a page the way is one function, without a call but to the page
    /// allocator: what it consists of is called from here only.
    #[inline(never)]
    fn attempt(&self, va: VirtAddr, access: Access, unshare: bool, last: bool) -> Resolved {
        // A second attempt is the same fault.
        self.mm.count(Event::PgFault, u64::from(!last));
        if va >= USER_END {
            return Err(Stop::Denied(Denial::NoArea));
        }
        let request = |layout: &Layout| {
            let vma = layout.find(va).ok_or(Denial::NoArea)?;
            if !vma.prot.allows(access) {
                return Err(Denial::Rights(vma.prot));
            }
            // Field by field: of a copy as a whole, the padding too is copied, byte by byte.
            let Vma { range, prot, huge, backing, index } = *vma;
            let vma = Vma { range, prot, huge, backing, index };
            Ok(Request { vma, va, access, unshare, last })
        };
        let page = va.0 >> PAGE_SHIFT;
        let (request, _claim) = self.core.layout.read_at(&self.mm.hw, page, request);
        match request {
            Ok(request) => self.resolve(&request),
            Err(denial) => Err(Stop::Denied(denial)),
        }
    }

    /// Picks the case, by what the PMD entry says.
    #[doc(alias("__handle_mm_fault", "handle_pte_fault"))]
    #[inline]
    fn resolve(&self, fault: &Request) -> Resolved {
        let mm = self.mm;
        let pmd = mm.make_slot(self.core.root, fault.va, Level::Pmd)?;
        let table = match pte::decode(Level::Pmd, mm.hw.load(pmd)) {
            Entry::Table(table) => table.pfn(),
            Entry::None => match self.fault_empty_pmd(fault, pmd)? {
                Ok(table) => table,
                Err(ended) => return Ok(ended),
            },
            _ => return self.fault_huge_mapped(fault, pmd),
        };
        self.fault_page(fault, table)
    }

    /// Nothing is there for 2 MiB around: a huge page ends the fault, or here is a table for smaller
    /// ones.
    pub(super) fn fault_empty_pmd(
        &self,
        fault: &Request,
        pmd: Slot,
    ) -> Result<Result<Pfn, Ended>, Stop> {
        if let Some(ended) = self.fault_huge(fault, pmd)? {
            return Ok(Err(ended));
        }
        match self.mm.make_table(pmd, Level::Pmd) {
            Ok(table) => Ok(Ok(table)),
            // Another CPU has put a huge page there: it may do.
            Err(table::Stop::NotTable(..)) => Ok(Err(Ended::Spurious)),
            Err(stop) => Err(stop.into()),
        }
    }

    /// Who maps the folio that begins at `va`.
    #[inline]
    pub(super) fn owner(&self, vma: &Vma, va: VirtAddr) -> u64 {
        Owner { family: self.core.family.id(), index: vma.index_at(va) }.word()
    }

    /// The leaf for memory that the fault was given, as it is after the access.
    #[inline]
    pub(super) fn first_leaf(&self, fault: &Request, level: Level, pfn: Pfn) -> Leaf {
        self.touched(Leaf::user(level, pfn, fault.vma.prot), fault.access)
    }

    /// A leaf as it is after an access through it.
    #[inline]
    pub(super) fn touched(&self, leaf: Leaf, access: Access) -> Leaf {
        let bug = self.mm.commits(Mutant::DirtyOnRead);
        touched(leaf, if bug { Access::Write } else { access })
    }
}

/// A leaf as it is after an access through it.
#[inline]
pub(super) fn touched(leaf: Leaf, access: Access) -> Leaf {
    let young = leaf.made_young();
    if access == Access::Write { young.made_dirty() } else { young }
}
