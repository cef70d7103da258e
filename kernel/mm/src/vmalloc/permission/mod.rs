//! Other rights for memory that `vmalloc` gave: to read only, to execute, nothing at all, and back.
//!
//! # Rules
//! * A frame has two addresses, the area's and its own in the linear map, and both go together: what may not be
//!   written in the area may not be written by its alias, and what may not be touched may be touched by neither. When
//!   a change returns, no CPU can do more than it says, by either address or by one that was given up before.
//! * What can be refused is refused before anything is changed (T-37): whether all of the part is there, by pages, and
//!   whether the linear map has each of its frames by a leaf of its own. Changing itself needs no memory (T-38).
//! * Nothing is ever both written and executed, in no TLB either: between the two lies a flush to read-only. There
//!   is no way to ask for both.
//! * In a valid descriptor only rights change; that is right in place (Arm ARM, "Using break-before-make when updating
//!   translation table entries"). Neither memory, nor its kind, nor its size, is a matter of this module, but for the
//!   linear map's blocks, see [`alias`].
//!
//! # Files
//! | file | concern |
//! | --- | --- |
//! | `alias` | the frame's own address: finding it, splitting its block, changing it |
//! | `parted` | memory that no block of the linear map has |
//! | `reset` | giving memory back whose rights were changed |
//! | `code` | memory that is executed: write, seal, run, unseal |
//!
//! Corresponds to Linux's `set_memory_ro` and its neighbours (`arch/arm64/mm/pageattr.c`), and `vm_reset_perms`.

mod alias;
mod code;
mod parted;
mod reset;

pub(super) use parted::Parted;

use super::area::{Area, Frames};
use super::ranges::Ranges;
use crate::mutant::Mutant;
use crate::{Hardware, Mm, OutOfMemory, Slot};
use abi::{ENTRIES, Level, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use core::fmt;
use pte::{KernelProt, Leaf, MemType, Scope};

/// What may be done with a page of an area. Writing and executing exclude each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// Nothing, by the linear map neither.
    #[doc(alias("set_memory_valid", "set_direct_map_invalid_noflush"))]
    None,
    /// Reading.
    #[doc(alias("set_memory_ro", "set_memory_nx"))]
    Read,
    /// Reading and writing: what `vmalloc` gives.
    #[doc(alias("set_memory_rw", "set_direct_map_default_noflush"))]
    ReadWrite,
    /// Reading and executing.
    #[doc(alias("set_memory_x", "set_memory_rox"))]
    ReadExec,
}

impl Rights {
    /// The page of `pfn` with these rights.
    fn leaf(self, pfn: Pfn) -> Leaf {
        let of = |prot| Leaf::kernel(Level::Pte, pfn, prot, MemType::Normal);
        match self {
            // Without the right to execute, an invalid leaf is one that stays.
            Self::None => of(KernelProt::Rodata).invalidated(),
            Self::Read => of(KernelProt::Rodata),
            Self::ReadWrite => of(KernelProt::Data),
            Self::ReadExec => of(KernelProt::Text),
        }
    }

    /// What the linear map lets through meanwhile: it never executes.
    const fn of_alias(self) -> Self {
        match self {
            Self::ReadExec => Self::Read,
            rights => rights,
        }
    }
}

/// Why rights stay as they were, of each page and of its alias.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PermissionError {
    /// Not whole pages of the area, or none.
    Outside(VirtRange),
    /// The area maps somebody's frames: whose they are decides what may be done with them.
    Foreign,
    /// A block of this level maps the address, or, for a page, a set of sixteen that only change as one.
    /// [`Backing::Pages`](super::Backing::Pages) is for what changes.
    Huge(VirtAddr, Level),
    /// A block of this level maps the frame in the linear map, at this address, and these CPUs cannot do
    /// with a smaller one instead while it is in use. [`Backing::Parted`](super::Backing::Parted) is for what changes
    /// wherever it runs.
    Linear(VirtAddr, Level),
    /// No page for a table of smaller leaves of the linear map.
    OutOfMemory(OutOfMemory),
}

impl fmt::Display for PermissionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(range) => {
                write!(f, "{} to {} is no part of the area by pages", range.start, range.end)
            }
            Self::Foreign => f.write_str("the frames of the area are somebody else's"),
            Self::Huge(va, level) => write!(f, "a {level} block maps {va}"),
            Self::Linear(va, level) => {
                write!(f, "a {level} block of the linear map, at {va}, cannot be split in use")
            }
            Self::OutOfMemory(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for PermissionError {}

/// What the pages of a part may do before it is changed.
#[derive(Default)]
struct Before {
    is_written: bool,
    is_executed: bool,
    is_closed: bool,
}

impl<H: Hardware> Mm<H> {
    /// Gives `part` of an area of pages other rights. When it returns, they hold on every CPU, by the frames'
    /// addresses in the linear map too. After an error everything is as it was.
    ///
    /// What is to be executed is made the instructions that CPUs fetch; see [`Mm::meet_code`] for who runs
    /// them elsewhere.
    ///
    /// Context: may sleep; no spin lock is held. Nobody uses the part in a way that is being taken away.
    #[doc(alias = "change_memory_common")]
    #[cold]
    pub fn set_memory(
        &self,
        area: &mut Area,
        part: VirtRange,
        rights: Rights,
    ) -> Result<(), PermissionError> {
        let before = self.may_change(area, part)?;
        match self.part_aliases(part) {
            Err(error) if !self.commits(Mutant::AliasErrorDropped) => return Err(error),
            _ if area.frames == Frames::Own => area.frames = Frames::Changed,
            _ => {}
        }
        let through_read = match rights {
            Rights::ReadWrite => before.is_executed,
            // Whoever makes instructions of it reads it.
            Rights::ReadExec => before.is_written || before.is_closed,
            _ => false,
        };
        if through_read {
            self.change(part, Rights::Read);
        }
        if rights == Rights::ReadExec && !self.commits(Mutant::ExecStaleIcache) {
            self.make_executable(part);
        }
        self.change(part, rights);
        Ok(())
    }

    /// Whether all of the part is there, by pages; and what may be done with it.
    fn may_change(&self, area: &Area, part: VirtRange) -> Result<Before, PermissionError> {
        let inside = area.range().start <= part.start && part.end <= area.range().end;
        let is_aligned = part.start.is_aligned(PAGE_SIZE) && part.end.is_aligned(PAGE_SIZE);
        if part.is_empty() || !inside || !is_aligned {
            return Err(PermissionError::Outside(part));
        }
        if area.frames == Frames::Foreign {
            return Err(PermissionError::Foreign);
        }
        let mut at = part.start;
        while at < part.end {
            match self.leaf_slot(at) {
                Ok((_, Level::Pte)) => at = at.align_down(Level::Pmd.span()) + Level::Pmd.span(),
                Ok((_, level)) => return Err(PermissionError::Huge(at, level)),
                Err(_) => return Err(PermissionError::Outside(part)),
            }
        }
        let (mut before, mut odd) = (Before::default(), None);
        let mut pages = 0;
        self.each_page(part, |va, _, leaf| {
            pages += 1;
            before.is_closed |= !leaf.is_valid();
            before.is_written |= leaf.is_valid() && leaf.is_writable();
            before.is_executed |= leaf.is_valid() && leaf.is_kernel_exec();
            if leaf.is_contiguous() || leaf.mem_type() != Some(MemType::Normal) {
                odd = odd.or(Some(va));
            }
        });
        match odd {
            // Of sixteen that go as one, one cannot change.
            Some(va) => Err(PermissionError::Huge(va, Level::Pte)),
            None if pages < part.bytes() / PAGE_SIZE => Err(PermissionError::Outside(part)),
            None => Ok(before),
        }
    }

    /// Changes what can be changed: the aliases, then the part; one flush for both, and for what is lazy.
    fn change(&self, part: VirtRange, rights: Rights) {
        let mut reach = Ranges::new();
        self.each_page(part, |_, _, leaf| {
            if let Some(alias) = self.set_alias(leaf.pfn(), rights.of_alias()) {
                reach.add(alias);
            }
        });
        self.each_page(part, |_, slot, leaf| {
            self.hw.store(slot, rights.leaf(leaf.pfn()).word());
        });
        reach.add(part);
        self.unmap_aliases_and(&mut reach);
    }

    /// What this CPU has stored can be used: by walkers, and by its own next instructions.
    fn make_visible(&self) {
        self.publish(Scope::InnerShareable);
        self.hw.synchronize_context();
    }

    /// Each page that is mapped in a part where no blocks are, whatever may be done with it.
    fn each_page(&self, part: VirtRange, mut see: impl FnMut(VirtAddr, Slot, Leaf)) {
        let mut at = part.start;
        while at < part.end {
            let Ok((first, Level::Pte)) = self.leaf_slot(at) else {
                at = at.align_down(Level::Pmd.span()) + Level::Pmd.span();
                continue;
            };
            let run = ((part.end - at) / PAGE_SIZE).min((ENTRIES - first.index()) as u64);
            for n in 0..run {
                let slot = first.ahead(n as usize);
                if let Some(leaf) = pte::decode(Level::Pte, self.hw.load(slot)).mapping() {
                    see(at + n * PAGE_SIZE, slot, leaf);
                }
            }
            at = at + run * PAGE_SIZE;
        }
    }
}
