//! Where things are in the upper half of the address space.
//!
//! ```text
//! 0xffff_0000_0000_0000  linear map     va = LINEAR_BASE + pa
//! 0xffff_8000_0000_0000  kernel image   linked here, loaded anywhere 4 KiB aligned
//! 0xffff_8000_4000_0000  the boot's view of the device tree, gone with the early tables
//! 0xffff_a000_0000_0000  kernel stacks, each with a guard page below it
//! 0xffff_b000_0000_0000  vmalloc
//! 0xffff_c000_0000_0000  device memory  va = DEVICE_BASE + pa
//! ```
//!
//! The linear map and the device window are sums, not look-ups: a driver keeps the address that it
//! got before the final tables, and nothing has to be told to anybody.
//!
//! Pure; any context.

use abi::{Level, PAGE_SIZE, PhysAddr, PhysRange, VirtAddr, VirtRange};

/// All of RAM, at a constant distance from its physical address.
pub const LINEAR_BASE: VirtAddr = VirtAddr(0xffff_0000_0000_0000);
/// Physical addresses below this have a place in the linear map.
pub const LINEAR_BYTES: u64 = 1 << 47;
/// The link address of the kernel image; `linker.ld` says the same.
pub const KIMAGE_BASE: VirtAddr = VirtAddr(0xffff_8000_0000_0000);
/// The device tree, read-only, at its offset in its page, as long as the early tables live.
pub const BOOT_DTB_BASE: VirtAddr = VirtAddr(0xffff_8000_4000_0000);
/// Kernel stacks.
pub const STACKS_BASE: VirtAddr = VirtAddr(0xffff_a000_0000_0000);
/// Kernel mappings that come and go.
pub const VMALLOC_BASE: VirtAddr = VirtAddr(0xffff_b000_0000_0000);
/// Device memory, at a constant distance from its physical address.
pub const DEVICE_BASE: VirtAddr = VirtAddr(0xffff_c000_0000_0000);
/// Physical addresses below this have a place in the device window.
pub const DEVICE_BYTES: u64 = 1 << 46;

/// The linear map.
pub const LINEAR: VirtRange = VirtRange::from_size(LINEAR_BASE, LINEAR_BYTES);
/// Where vmalloc may map.
pub const VMALLOC: VirtRange = VirtRange::new(VMALLOC_BASE, DEVICE_BASE);
/// Where stacks may lie.
pub const STACKS: VirtRange = VirtRange::new(STACKS_BASE, VMALLOC_BASE);

/// Where RAM at `pa` is in the linear map; `None` beyond its end.
#[inline]
pub const fn linear(pa: PhysAddr) -> Option<VirtAddr> {
    if pa.0 < LINEAR_BYTES { Some(VirtAddr(LINEAR_BASE.0 + pa.0)) } else { None }
}

/// The RAM behind an address in the linear map; `None` for any other address.
#[inline]
pub const fn linear_phys(va: VirtAddr) -> Option<PhysAddr> {
    match va.0.checked_sub(LINEAR_BASE.0) {
        Some(pa) if pa < LINEAR_BYTES => Some(PhysAddr(pa)),
        _ => None,
    }
}

/// Where the device registers at `pa` are, once mapped; `None` beyond the window's end.
#[inline]
pub const fn device(pa: PhysAddr) -> Option<VirtAddr> {
    if pa.0 < DEVICE_BYTES { Some(VirtAddr(DEVICE_BASE.0 + pa.0)) } else { None }
}

/// The largest leaves that tile a physical range, in order; bytes that fill no whole page are left
/// out. Right for windows whose virtual addresses are congruent to the physical ones modulo 1 GiB,
/// as both above are.
#[derive(Clone, Debug)]
pub struct Tiles {
    left: PhysRange,
}

impl Tiles {
    /// The tiles of the whole pages in `range`.
    pub const fn new(range: PhysRange) -> Self {
        // A start in the last page has no whole page after it; rounding it up must not wrap.
        let Some(end) = range.start.checked_add(PAGE_SIZE - 1) else {
            return Self { left: PhysRange::new(range.start, range.start) };
        };
        let start = end.align_down(PAGE_SIZE);
        Self { left: PhysRange::new(start, range.end.align_down(PAGE_SIZE)) }
    }
}

impl Iterator for Tiles {
    type Item = (PhysAddr, Level);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.left.start;
        let fits = |level: &Level| at.is_aligned(level.span()) && self.left.bytes() >= level.span();
        let level = [Level::Pud, Level::Pmd, Level::Pte].into_iter().find(fits)?;
        self.left.start = at + level.span();
        Some((at, level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_are_disjoint_and_in_order() {
        let linear_end = LINEAR_BASE.0 + LINEAR_BYTES;
        let order = [
            LINEAR_BASE.0,
            linear_end,
            KIMAGE_BASE.0,
            BOOT_DTB_BASE.0,
            STACKS_BASE.0,
            VMALLOC_BASE.0,
            DEVICE_BASE.0,
        ];
        assert!(order.is_sorted());
        assert_eq!(DEVICE_BASE.0.checked_add(DEVICE_BYTES - 1), Some(u64::MAX));
    }

    #[test]
    fn linear_and_back_is_the_same_frame() {
        for pa in [0, 0x4000_0000, LINEAR_BYTES - 1].map(PhysAddr) {
            assert_eq!(linear(pa).and_then(linear_phys), Some(pa));
        }
        assert_eq!(linear(PhysAddr(LINEAR_BYTES)), None);
        assert_eq!(linear_phys(KIMAGE_BASE), None);
        assert_eq!(linear_phys(VirtAddr(0x4000_0000)), None);
        assert_eq!(device(PhysAddr(DEVICE_BYTES)), None);
    }

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn range(start: u64, end: u64) -> PhysRange {
        PhysRange::new(PhysAddr(start), PhysAddr(end))
    }

    #[test]
    fn tiles_cover_every_whole_page_once_and_nothing_else() {
        let edges =
            [0, 1, 0xfff, 0x1000, 0x8_0000, MIB * 2, MIB * 3 + 5, GIB, GIB + MIB * 4, 3 * GIB + 7];
        for start in edges {
            for end in edges.into_iter().filter(|end| *end >= start) {
                let mut at = start.next_multiple_of(PAGE_SIZE);
                for (pa, level) in Tiles::new(range(start, end)) {
                    assert_eq!(pa.0, at, "{start:#x}..{end:#x}");
                    assert!(pa.is_aligned(level.span()));
                    at += level.span();
                }
                let whole = (end & !(PAGE_SIZE - 1)).max(start.next_multiple_of(PAGE_SIZE));
                assert_eq!(at, whole, "{start:#x}..{end:#x}");
            }
        }
    }

    #[test]
    fn tiles_are_as_large_as_alignment_and_length_allow() {
        let levels = |start, end| count(Tiles::new(range(start, end)));
        assert_eq!(levels(0x4000_0000, 0x10_4000_0000), (64, 0, 0));
        assert_eq!(levels(0x4000_0000, 0x4800_0000), (0, 64, 0));
        assert_eq!(levels(0x8_0000, 0x3c00_0000), (0, 479, 384));
        assert_eq!(levels(u64::MAX - 5, u64::MAX), (0, 0, 0));
    }

    fn count(tiles: Tiles) -> (usize, usize, usize) {
        tiles.fold((0, 0, 0), |(pud, pmd, pte), (_, level)| match level {
            Level::Pud => (pud + 1, pmd, pte),
            Level::Pmd => (pud, pmd + 1, pte),
            _ => (pud, pmd, pte + 1),
        })
    }
}
