//! Physical ranges at kernel addresses, by the largest leaves that both sides' alignment allows.
//!
//! What is mapped is somebody's who knows it: a device's registers, a frame buffer, memory that no allocator
//! has. Nothing counts it, and taking the mapping back gives only the addresses back.
//!
//! Corresponds to Linux's `ioremap_prot` and `vmap_page_range`.

use super::barriers::DeferredBarriers;
use super::leaves::{Blocked, REACH};
use super::{Area, VmallocError};
use crate::mutant::Mutant;
use crate::{Hardware, Mm};
use abi::{Level, PAGE_SIZE, PUD_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr};
use pte::{KernelProt, MemType};

/// How a physical range is accessed. Never executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Io {
    pub(super) prot: KernelProt,
    pub(super) mem: MemType,
}

impl Io {
    /// Registers: each access once, whole and in order.
    #[doc(alias("PROT_DEVICE_nGnRE", "ioremap"))]
    pub const DEVICE: Self = Self { prot: KernelProt::Data, mem: MemType::Device };
    /// Memory past the caches: loads may be speculative.
    #[doc(alias = "PROT_NORMAL_NC")]
    pub const NON_CACHED: Self = Self { prot: KernelProt::Data, mem: MemType::NormalNc };
    /// A frame buffer: stores may be gathered on their way. For Arm the same as [`Io::NON_CACHED`].
    #[doc(alias = "ioremap_wc")]
    pub const WRITE_COMBINING: Self = Self::NON_CACHED;
    /// Memory through the caches, as the allocator's.
    #[doc(alias("ioremap_cache", "MEMREMAP_WB"))]
    pub const MEMORY: Self = Self { prot: KernelProt::Data, mem: MemType::Normal };

    /// The same, to read only.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self { prot: KernelProt::Rodata, ..self }
    }
}

impl<H: Hardware> Mm<H> {
    /// Maps a physical range of whole pages.
    ///
    /// Context: may sleep; no spin lock is held.
    #[doc(alias = "ioremap_prot")]
    pub fn ioremap(&self, device: PhysRange, io: Io) -> Result<Area, VmallocError> {
        self.ioremap_chunks(&[device], io)
    }

    /// Maps several physical ranges at consecutive addresses, in their order.
    ///
    /// Context: as for [`Mm::ioremap`].
    #[cold]
    #[inline(never)]
    pub fn ioremap_chunks(&self, chunks: &[PhysRange], io: Io) -> Result<Area, VmallocError> {
        let mut bytes = 0u64;
        for chunk in chunks {
            let whole = chunk.start.is_aligned(PAGE_SIZE) && chunk.end.is_aligned(PAGE_SIZE);
            if !whole || chunk.end < chunk.start || chunk.end > REACH {
                return Err(VmallocError::Unmappable(chunk.start));
            }
            bytes = bytes.saturating_add(chunk.bytes());
        }
        let mut scope = self.defer_barriers();
        let area = self.io_area(bytes)?;
        let start = area.range().start;
        let blocks = Pieces::new(start, chunks).filter(|piece| piece.level != Level::Pte);
        self.make_way(blocks.map(|piece| (piece.va, piece.level)));
        for piece in Pieces::new(start, chunks) {
            if let Err(blocked) = scope.map_piece(piece, io) {
                self.iounmap(area);
                return Err(blocked.into());
            }
        }
        if self.commits(Mutant::IoremapNoIsb) {
            scope.leave_unsynchronized();
        } else {
            scope.owe(area.range());
        }
        Ok(area)
    }

    /// Takes back what [`Mm::ioremap`] gave. The range is its owner's as ever.
    ///
    /// Context: as for [`Mm::ioremap`].
    #[doc(alias = "vunmap")]
    pub fn iounmap(&self, area: Area) {
        self.vunmap(area);
    }

    /// Addresses that begin where the largest leaves can, or, if there is no such room, blocks of 2 MiB.
    fn io_area(&self, bytes: u64) -> Result<Area, VmallocError> {
        let round = bytes.checked_next_power_of_two().unwrap_or(PUD_SIZE);
        let align = round.clamp(PAGE_SIZE, PUD_SIZE);
        match self.area_take(bytes / PAGE_SIZE, align) {
            Err(VmallocError::NoRoom { .. }) if align > Level::Pmd.span() => {
                self.area_take(bytes / PAGE_SIZE, Level::Pmd.span())
            }
            area => area,
        }
    }
}

impl<H: Hardware> DeferredBarriers<'_, H> {
    /// Maps a piece by one leaf, or by smaller ones where a table is in the way.
    fn map_piece(&mut self, piece: Piece, io: Io) -> Result<(), Blocked> {
        let Piece { va, pfn, level, pages } = piece;
        if level == Level::Pte {
            return self.map_sets(va, pfn, pages, io.prot, io.mem);
        }
        match (self.map_block(va, pfn, level, io.prot, io.mem), level.down()) {
            (Err(Blocked::Occupied(at)), Some(down)) if at == level => {
                let part = match down {
                    Level::Pte => pages,
                    down => down.span() / PAGE_SIZE,
                };
                (0..pages).step_by(part as usize).try_for_each(|page| {
                    let va = va + page * PAGE_SIZE;
                    self.map_piece(Piece { va, pfn: pfn + page, level: down, pages: part }, io)
                })
            }
            (result, _) => result,
        }
    }
}

/// A part of a mapping: one block, or some pages.
#[derive(Clone, Copy, Debug)]
struct Piece {
    va: VirtAddr,
    pfn: Pfn,
    level: Level,
    pages: u64,
}

/// The parts of a mapping: the largest leaves that fit, and the pages between them.
struct Pieces<'a> {
    at: VirtAddr,
    chunk: PhysRange,
    rest: &'a [PhysRange],
}

impl<'a> Pieces<'a> {
    fn new(at: VirtAddr, chunks: &'a [PhysRange]) -> Self {
        Self { at, chunk: PhysRange::new(PhysAddr(0), PhysAddr(0)), rest: chunks }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        while self.chunk.is_empty() {
            let (first, rest) = self.rest.split_first()?;
            (self.chunk, self.rest) = (*first, rest);
        }
        let (va, pa, left) = (self.at, self.chunk.start, self.chunk.bytes());
        let fits = |level: &Level| {
            let span = level.span();
            span <= left && va.is_aligned(span) && pa.is_aligned(span)
        };
        let level = [Level::Pud, Level::Pmd].into_iter().find(fits).unwrap_or(Level::Pte);
        let bytes = match level {
            // As far as the next table.
            Level::Pte => left.min(Level::Pmd.span() - va.0 % Level::Pmd.span()),
            level => level.span(),
        };
        (self.at, self.chunk.start) = (va + bytes, pa + bytes);
        Some(Piece { va, pfn: pa.pfn(), level, pages: bytes / PAGE_SIZE })
    }
}
