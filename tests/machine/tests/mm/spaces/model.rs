//! The reference: what each page of a space holds and permits, one by one. It knows nothing of tables,
//! huge pages, folios or TLBs.

use abi::{Access, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use mm::{AdviseError, Denial, Huge, Move, RemapError, Vma};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The word that a page is known by; shared with references and pins, which outlive the mapping.
pub(crate) type Content = Rc<Cell<u64>>;

/// What was accessed since it was mapped.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    pub(crate) content: Content,
    /// It was written: a lockless look finds it.
    pub(crate) written: bool,
    /// It was given up and not written since: it may be zeros by now, and then stays so.
    pub(crate) given_up: bool,
}

/// A page of an area.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) prot: Prot,
    pub(crate) huge: Huge,
    /// What its folio calls it, wherever it is.
    index: u64,
    pub(crate) memory: Option<Memory>,
    /// Another space may have the same frame: who wants to write gets another.
    pub(crate) shared: bool,
}

/// A space, by page number.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) pages: BTreeMap<u64, Page>,
}

fn range(first: u64, end: u64) -> VirtRange {
    VirtRange::new(VirtAddr(first << PAGE_SHIFT), VirtAddr(end << PAGE_SHIFT))
}

impl Model {
    pub(crate) fn page(&self, va: VirtAddr) -> Option<&Page> {
        self.pages.get(&va.page())
    }

    /// The word that the page at `va` is known by; not the same in every page, and moves along with it.
    pub(crate) fn word(&self, va: VirtAddr) -> u64 {
        self.page(va).map_or(0, |page| page.index % 512 * 8)
    }

    /// Whether the area lets the access through.
    pub(crate) fn permits(&self, va: VirtAddr, access: Access) -> Result<(), Denial> {
        match self.page(va) {
            None => Err(Denial::NoArea),
            Some(page) if page.prot.allows(access) => Ok(()),
            Some(page) => Err(Denial::Rights(page.prot)),
        }
    }

    /// What is there after an access that had to succeed and has; `found` is what was seen there.
    pub(crate) fn touch(&mut self, va: VirtAddr, access: Access, found: Option<u64>) -> Content {
        let page = self.pages.get_mut(&va.page()).expect("the access was permitted");
        let lost = page
            .memory
            .as_ref()
            .is_some_and(|memory| memory.given_up && memory.content.get() != 0 && found == Some(0));
        if lost {
            page.memory = None;
        }
        let memory = page.memory.get_or_insert_default();
        if access == Access::Write {
            memory.written = true;
            page.shared = false;
        }
        memory.content.clone()
    }

    /// A store that had to succeed and has.
    pub(crate) fn store(&mut self, va: VirtAddr, value: u64) {
        self.touch(va, Access::Write, None).set(value);
        let memory = self.pages.get_mut(&va.page()).and_then(|page| page.memory.as_mut());
        memory.expect("touched").given_up = false;
    }

    // --- areas -----------------------------------------------------------------------------------

    /// The areas: neighbours that differ in nothing are one.
    pub(crate) fn areas(&self) -> Vec<Vma> {
        let mut areas: Vec<Vma> = Vec::new();
        for (&number, page) in &self.pages {
            let at = range(number, number + 1);
            if let Some(last) = areas.last_mut()
                && last.range.end == at.start
                && (last.prot, last.huge) == (page.prot, page.huge)
                && last.index + last.range.pages() == page.index
            {
                last.range.end = at.end;
            } else {
                let area = Vma::anonymous(at, page.prot, page.huge);
                areas.push(Vma { index: page.index, ..area });
            }
        }
        areas
    }

    /// Some area, by any number.
    pub(crate) fn nth(&self, which: u64) -> Option<VirtRange> {
        let areas = self.areas();
        let count = areas.len() as u64;
        areas.get(which.checked_rem(count)? as usize).map(|area| area.range)
    }

    pub(crate) fn first_overlap(&self, with: VirtRange) -> Option<VirtRange> {
        self.areas().into_iter().map(|area| area.range).find(|area| area.overlaps(&with))
    }

    /// The first part of a range where nothing is.
    pub(crate) fn first_hole(&self, within: VirtRange) -> Option<VirtRange> {
        let mut free = self.numbers(within).skip_while(|number| self.pages.contains_key(number));
        let first = free.next()?;
        let next = self.pages.range(first..within.end.page()).next();
        Some(range(first, next.map_or(within.end.page(), |(number, _)| *number)))
    }

    /// The lowest free place `offset` behind a multiple of `align`.
    pub(crate) fn lowest(&self, bytes: u64, align: u64, offset: u64) -> VirtAddr {
        let ends = self.areas().into_iter().map(|area| area.range.end);
        // It begins at the bottom or where an area ends.
        ends.chain([mm::space::USER_START])
            .map(|end| VirtAddr(end.0 + (offset.wrapping_sub(end.0) & (align - 1))))
            .filter(|start| self.first_overlap(VirtRange::from_size(*start, bytes)).is_none())
            .min()
            .expect("behind the last area")
    }

    fn numbers(&self, within: VirtRange) -> std::ops::Range<u64> {
        within.start.page()..within.end.page()
    }

    // --- changes ---------------------------------------------------------------------------------

    pub(crate) fn map(&mut self, at: VirtRange, prot: Prot, huge: Huge) {
        for index in self.numbers(at) {
            let page = Page { prot, huge, index, memory: None, shared: false };
            self.pages.insert(index, page);
        }
    }

    pub(crate) fn unmap(&mut self, gone: VirtRange) {
        self.pages.retain(|number, _| !(gone.start.page()..gone.end.page()).contains(number));
    }

    pub(crate) fn each(&mut self, within: VirtRange, change: impl FnMut(&mut Page)) {
        let numbers = self.numbers(within);
        self.pages.range_mut(numbers).map(|(_, page)| page).for_each(change);
    }

    /// Where a remap leads, or why it is refused.
    pub(crate) fn remap(
        &mut self,
        old: VirtRange,
        bytes: u64,
        to: Move,
    ) -> Result<VirtRange, RemapError> {
        let area = match self.areas().into_iter().find(|area| area.range.contains(old.start)) {
            Some(area) if area.range.covers(&old) => area,
            found => {
                return Err(match (self.first_hole(old), found) {
                    (Some(hole), _) => RemapError::Hole(hole),
                    (None, Some(first)) => RemapError::Border { at: first.range.end },
                    (None, None) => unreachable!("no hole and nothing mapped"),
                });
            }
        };
        let occupied = |wanted| match self.first_overlap(wanted) {
            Some(by) => Err(RemapError::Occupied { wanted, by }),
            None => Ok(()),
        };
        let stays = VirtRange::from_size(old.start, bytes);
        let new = match to {
            Move::To(start) => {
                let new = VirtRange::from_size(start, bytes);
                if new.overlaps(&old) {
                    return Err(RemapError::Overlap { old, new });
                }
                occupied(new)?;
                new
            }
            _ if bytes <= old.bytes() => stays,
            _ => match (occupied(VirtRange::new(old.end, stays.end)), to) {
                (Ok(()), _) => stays,
                (Err(refusal), Move::No) => return Err(refusal),
                (Err(_), _) => {
                    // Where tables and huge pages can move whole.
                    let start = self.lowest(bytes, PMD_SIZE, old.start.0 % PMD_SIZE);
                    VirtRange::from_size(start, bytes)
                }
            },
        };
        self.shift(old, new, &area);
        Ok(new)
    }

    /// Pages go to their new places; what is behind is cut off or is more of the same area.
    fn shift(&mut self, old: VirtRange, new: VirtRange, area: &Vma) {
        let moved: Vec<_> = self.numbers(old).map(|number| self.pages.remove(&number)).collect();
        let first = area.index_at(old.start);
        let mut moved = moved.into_iter();
        for (n, number) in self.numbers(new).enumerate() {
            let page = moved.next().flatten().unwrap_or(Page {
                prot: area.prot,
                huge: area.huge,
                index: first + n as u64,
                memory: None,
                shared: false,
            });
            self.pages.insert(number, page);
        }
    }

    /// What is told of a range that has holes.
    pub(crate) fn hole_told(&self, within: VirtRange) -> Result<(), AdviseError> {
        self.first_hole(within).map_or(Ok(()), |hole| Err(AdviseError::Hole(hole)))
    }

    /// How making a range accessible ends, if there is memory.
    pub(crate) fn populated(&self, within: VirtRange, access: Access) -> Result<(), AdviseError> {
        let mut hole = Ok(());
        for number in self.numbers(within) {
            let va = VirtAddr(number << PAGE_SHIFT);
            match self.permits(va, access) {
                Ok(()) => {}
                Err(Denial::NoArea) if hole.is_ok() => {
                    hole = Err(AdviseError::Hole(VirtRange::from_size(va, PAGE_SIZE)));
                }
                Err(Denial::NoArea) => {}
                Err(_) => return Err(AdviseError::Denied(va)),
            }
        }
        hole
    }

    /// A space that begins as this one is. From here on, each page is each one's own, but for what
    /// `stays` with this one.
    pub(crate) fn fork(&mut self) -> Self {
        let pages = self.pages.iter_mut().map(|(number, page)| {
            page.shared = true;
            let mut copy = page.clone();
            if let Some(memory) = &mut copy.memory {
                memory.content = Rc::new(Cell::new(memory.content.get()));
            }
            (*number, copy)
        });
        Self { pages: pages.collect() }
    }
}
