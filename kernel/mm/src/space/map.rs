//! Making areas, and taking them away with what is mapped there.
//!
//! Corresponds to Linux's `do_mmap`, `remap_pfn_range` and `do_munmap`.

use super::layout::{Layout, Room};
use super::{Huge, MapError, Space, USER_START, UnmapError, Vma, check_range, pages_around};
use crate::Hardware;
use crate::entry::{At, PteLevel};
use crate::mutant::Mutant;
use crate::table::Stop;
use crate::tlb::Gather;
use abi::{Level, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use pte::Leaf;
use sync::Writer;

/// Frame numbers are below this: those that a descriptor has room for.
const MOST_FRAMES: u64 = 1 << (48 - PAGE_SHIFT);

/// Where a mapping shall go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Wherever there is room; aligned to 2 MiB when it is at least that large.
    Anywhere,
    /// Exactly here, in free space.
    At(VirtAddr),
}

impl<H: Hardware> Space<'_, H> {
    /// Reserves `bytes` of address space with rights `prot`; memory comes with the first touch.
    ///
    /// Context: thread, may sleep on other changes of the layout. Corresponds to
    /// `mmap(MAP_ANONYMOUS | MAP_PRIVATE)`.
    #[doc(alias("mmap", "do_mmap"))]
    pub fn map(
        &self,
        place: Place,
        bytes: u64,
        prot: Prot,
        huge: Huge,
    ) -> Result<VirtRange, MapError> {
        let mut layout = self.core.layout.write(&self.mm.hw);
        self.add_area(&mut layout, place, bytes, |range| Vma::anonymous(range, prot, huge))
    }

    /// Maps given frames, `bytes` from `first` on, with rights `prot`. They are normal memory or behave
    /// like it, and nobody counts who uses them: whoever gives them keeps them until they are unmapped,
    /// which is when [`Space::unmap`] of the range returns, or the space is gone.
    ///
    /// Context: as for [`Space::map`]. Corresponds to `remap_pfn_range`.
    #[doc(alias("remap_pfn_range", "VM_PFNMAP"))]
    pub fn map_frames(
        &self,
        place: Place,
        first: Pfn,
        bytes: u64,
        prot: Prot,
    ) -> Result<VirtRange, MapError> {
        let pages = bytes >> PAGE_SHIFT;
        if first.0.checked_add(pages).is_none_or(|end| end > MOST_FRAMES) {
            return Err(MapError::BadFrames { first, pages });
        }
        let mut layout = self.core.layout.write(&self.mm.hw);
        let range = self.add_area(&mut layout, place, bytes, |range| Vma::frames(range, prot))?;
        layout.exclude(pages_around(range));
        if self.fill_with_frames(range, first, prot).is_ok() {
            return Ok(range);
        }
        layout.mutate(|layout| layout.edit(range, &mut Room::none(), |_| None));
        self.zap(range, layout.gap_around(range));
        Err(MapError::OutOfMemory)
    }

    fn fill_with_frames(&self, range: VirtRange, first: Pfn, prot: Prot) -> Result<(), Stop> {
        let mm = self.mm;
        let mut va = range.start;
        while va < range.end {
            let slot = mm.make_slot(self.core.root, va, Level::Pte)?;
            let table = mm.lock::<PteLevel>(slot.table());
            let end = range.end.min((va + 1).align_up(PMD_SIZE));
            while va < end {
                let pfn = first + ((va.0 - range.start.0) >> PAGE_SHIFT);
                if let At::None(empty) = table.at(Level::Pte.index(va)) {
                    empty.set(Leaf::user(Level::Pte, pfn, prot).special());
                }
                va = va + PAGE_SIZE;
            }
        }
        Ok(())
    }

    /// Finds the place of a new area and adds it.
    fn add_area(
        &self,
        layout: &mut Writer<'_, Layout, H>,
        place: Place,
        bytes: u64,
        area: impl FnOnce(VirtRange) -> Vma,
    ) -> Result<VirtRange, MapError> {
        let start = if let Place::At(start) = place { start } else { USER_START };
        let asked = VirtRange::from_size(start, bytes);
        check_range(asked).map_err(MapError::BadRange)?;
        let gap = match place {
            Place::At(_) => {
                if let Some(by) = layout.first_overlap(asked) {
                    return Err(MapError::Occupied { wanted: asked, by: by.range });
                }
                None
            }
            Place::Anywhere => {
                let align = if bytes >= PMD_SIZE { PMD_SIZE } else { PAGE_SIZE };
                Some(layout.find_gap(bytes, align, 0).ok_or(MapError::NoRoom { bytes })?)
            }
        };
        let mut room = layout.room().map_err(|_| MapError::OutOfMemory)?;
        let range = gap.map_or(asked, |gap| VirtRange::from_size(gap.start(), bytes));
        layout.mutate(|layout| layout.insert(area(range), gap, &mut room));
        Ok(range)
    }

    /// Takes away whatever is mapped in `range`. When it returns, no CPU can reach the memory
    /// through it any more, and the memory has gone back.
    ///
    /// Context: thread, may sleep on other changes of the layout and on faults in the range.
    /// Corresponds to `munmap`: a range with nothing in it is no error.
    #[doc(alias("munmap", "do_munmap"))]
    pub fn unmap(&self, range: VirtRange) -> Result<(), UnmapError> {
        check_range(range).map_err(UnmapError::BadRange)?;
        let mut layout = self.core.layout.write(&self.mm.hw);
        if layout.first_overlap(range).is_none() {
            return Ok(());
        }
        let mut room = layout.room().map_err(|_| UnmapError::OutOfMemory)?;
        layout.exclude(pages_around(range));
        layout.mutate(|layout| layout.edit(range, &mut room, |_| None));
        let mut gather = Gather::new(self.mm, &self.core.context);
        self.zap_into(&mut gather, range, layout.gap_around(range));
        if self.mm.commits(Mutant::UnmapReleasesEarly) {
            drop(layout);
        }
        gather.finish();
        self.done(range);
        Ok(())
    }
}
