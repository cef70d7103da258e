//! Addresses, frame numbers, orders and ranges.

use core::fmt;
use core::ops::{Add, Sub};

/// log2 of the size of a page, and of the translation granule.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page: 4 KiB.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// log2 of what a PMD leaf maps.
pub const PMD_SHIFT: u32 = 21;
/// Bytes that a PMD leaf maps: 2 MiB.
pub const PMD_SIZE: u64 = 1 << PMD_SHIFT;
/// log2 of what a PUD leaf maps.
pub const PUD_SHIFT: u32 = 30;
/// Bytes that a PUD leaf maps: 1 GiB.
pub const PUD_SIZE: u64 = 1 << PUD_SHIFT;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Rounded down to a multiple of `align`, a power of two.
            pub const fn align_down(self, align: u64) -> Self {
                Self(self.0 & !(align - 1))
            }

            /// Rounded up to a multiple of `align`, a power of two; wraps at the end of the space.
            pub const fn align_up(self, align: u64) -> Self {
                Self(self.0.wrapping_add(align - 1) & !(align - 1))
            }

            /// Whether this is a multiple of `align`, a power of two.
            pub const fn is_aligned(self, align: u64) -> bool {
                self.0 & (align - 1) == 0
            }

            /// The sum, or `None` where it would wrap.
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl Add<u64> for $name {
            type Output = Self;
            fn add(self, bytes: u64) -> Self {
                Self(self.0 + bytes)
            }
        }

        impl Sub<u64> for $name {
            type Output = Self;
            fn sub(self, bytes: u64) -> Self {
                Self(self.0 - bytes)
            }
        }

        impl Sub for $name {
            type Output = u64;
            fn sub(self, other: Self) -> u64 {
                self.0 - other.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// A byte of physical memory or of a device, as the bus sees it.
    PhysAddr
}
address! {
    /// A byte as a program names it, in the lower (user) or upper (kernel) half.
    VirtAddr
}

impl PhysAddr {
    /// The frame this byte lies in.
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 >> PAGE_SHIFT)
    }
}

impl VirtAddr {
    /// The number of the page this byte lies in.
    pub const fn page(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
}

/// A page frame number: which 4 KiB of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Pfn(pub u64);

impl Pfn {
    /// The first byte of the frame.
    pub const fn base(self) -> PhysAddr {
        PhysAddr(self.0 << PAGE_SHIFT)
    }

    /// Whether a block of `order` may start here.
    pub const fn is_aligned(self, order: Order) -> bool {
        self.0 & (order.pages() - 1) == 0
    }

    /// The start of the aligned block of `order` that contains this frame.
    pub const fn align_down(self, order: Order) -> Self {
        Self(self.0 & !(order.pages() - 1))
    }
}

impl Add<u64> for Pfn {
    type Output = Self;
    fn add(self, pages: u64) -> Self {
        Self(self.0 + pages)
    }
}

impl Sub for Pfn {
    type Output = u64;
    fn sub(self, other: Self) -> u64 {
        self.0 - other.0
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pfn({:#x})", self.0)
    }
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The size of a block of memory as a power of two of pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Order(pub u8);

impl Order {
    /// One page.
    pub const PAGE: Self = Self(0);
    /// What a PMD leaf maps: 512 pages.
    pub const PMD: Self = Self(9);
    /// The largest block the page allocator hands out: 1024 pages, 4 MiB.
    pub const MAX: Self = Self(10);
    /// How many orders there are.
    pub const COUNT: usize = Self::MAX.0 as usize + 1;

    /// Pages in a block of this order.
    pub const fn pages(self) -> u64 {
        1 << self.0
    }

    /// Bytes in a block of this order.
    pub const fn bytes(self) -> u64 {
        PAGE_SIZE << self.0
    }

    /// The order as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

macro_rules! range {
    ($(#[$doc:meta])* $name:ident, $addr:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name {
            /// The first byte inside.
            pub start: $addr,
            /// The first byte past the end.
            pub end: $addr,
        }

        impl $name {
            /// From `start` up to, not including, `end`. An `end` below `start` gives an empty range.
            pub const fn new(start: $addr, end: $addr) -> Self {
                let end = if end.0 < start.0 { start } else { end };
                Self { start, end }
            }

            /// `bytes` from `start` on; cut off where the address would wrap.
            pub const fn from_size(start: $addr, bytes: u64) -> Self {
                Self { start, end: $addr(start.0.saturating_add(bytes)) }
            }

            /// How many bytes it covers.
            pub const fn bytes(&self) -> u64 {
                self.end.0 - self.start.0
            }

            /// How many whole pages it covers.
            pub const fn pages(&self) -> u64 {
                self.bytes() >> PAGE_SHIFT
            }

            /// Whether it covers nothing.
            pub const fn is_empty(&self) -> bool {
                self.end.0 <= self.start.0
            }

            /// Whether `addr` lies inside.
            pub const fn contains(&self, addr: $addr) -> bool {
                self.start.0 <= addr.0 && addr.0 < self.end.0
            }

            /// Whether all of `other` lies inside.
            pub const fn covers(&self, other: &Self) -> bool {
                self.start.0 <= other.start.0 && other.end.0 <= self.end.0
            }

            /// What both have in common; empty where nothing is.
            pub const fn intersect(&self, other: &Self) -> Self {
                let start = if self.start.0 > other.start.0 { self.start } else { other.start };
                let end = if self.end.0 < other.end.0 { self.end } else { other.end };
                Self::new(start, end)
            }

            /// Whether the two share a byte.
            pub const fn overlaps(&self, other: &Self) -> bool {
                !self.intersect(other).is_empty()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}..{:#x}", self.start.0, self.end.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}..{:#x}", self.start.0, self.end.0)
            }
        }
    };
}

range! {
    /// A half-open range of physical addresses.
    PhysRange, PhysAddr
}
range! {
    /// A half-open range of virtual addresses.
    VirtRange, VirtAddr
}
