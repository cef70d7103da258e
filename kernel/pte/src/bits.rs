//! The one table of bit positions.
//!
//! A descriptor word has four layouts: a leaf, a table pointer, a present-invalid leaf (a leaf whose
//! bit 11 changed its meaning) and a soft entry. Each layout lists its fields once more in a
//! constant that fails to compile where two of them share a bit.
//!
//! Masks of addresses and frame numbers are those of the 4 KiB granule; [`Granule`] has them for each.
//!
//! Source: Arm ARM, "VMSAv8-64 Table descriptor format", "VMSAv8-64 Block descriptor and Page
//! descriptor formats"; the places of the software bits are Linux's (`pgtable-prot.h`).

use crate::granule::{self, Granule, K4, K16, K64};
use abi::Level;

/// The mask of bits `high` down to `low`.
pub(crate) const fn field(high: u32, low: u32) -> u64 {
    (u64::MAX >> (63 - high)) & (u64::MAX << low)
}

/// The union of fields that no two of which overlap.
const fn disjoint(fields: &[u64]) -> u64 {
    let mut union = 0;
    let mut i = 0;
    while i < fields.len() {
        assert!(union & fields[i] == 0, "two fields of one layout share a bit");
        union |= fields[i];
        i += 1;
    }
    union
}

/// Hardware may use the descriptor. While 0, every other bit is software's.
pub const VALID: u64 = field(0, 0);
/// Table rather than block; always 1 in a page descriptor.
pub const TYPE: u64 = field(1, 1);
/// Which attribute byte of MAIR_EL1 applies.
pub const ATTR: u64 = field(4, 2);
/// Where [`ATTR`] begins.
pub const ATTR_SHIFT: u32 = 2;
/// AP\[1\]: unprivileged access.
pub const USER: u64 = field(6, 6);
/// AP\[2\]: no writes.
pub const RDONLY: u64 = field(7, 7);
/// Shareability.
pub const SH: u64 = field(9, 8);
/// Inner shareable.
pub const SH_INNER: u64 = 0b11 << 8;
/// Accessed since it was last cleared; while 0 the leaf is not cached in TLBs.
pub const AF: u64 = field(10, 10);
/// Not global: the translation belongs to one ASID.
pub const NG: u64 = field(11, 11);
/// Present-invalid, while [`VALID`] is 0: software says mapped, hardware faults.
pub const PRESENT_INVALID: u64 = NG;
/// Output address or next table.
pub const ADDRESS: u64 = K4::ADDRESS;
/// All that is output address in a page descriptor of any granule, of 48 bits or more.
pub const ADDRESS_ANY: u64 = field(49, 12);
/// Block descriptors only: do not cache while a size change is under way (FEAT_BBM level 1).
pub const NT: u64 = field(16, 16);
/// Above the address; zero without 52-bit addresses.
pub const ADDRESS_HIGH: u64 = field(49, 48);
/// Guarded page: indirect branches must land on BTI.
pub const GP: u64 = field(50, 50);
/// Dirty-bit modifier, which is also the software "writable".
pub const WRITE: u64 = field(51, 51);
/// Sixteen neighbours map one aligned run.
pub const CONT: u64 = field(52, 52);
/// Not executable at EL1.
pub const PXN: u64 = field(53, 53);
/// Not executable at EL0.
pub const UXN: u64 = field(54, 54);
/// Software: written since it was last cleaned.
pub const DIRTY: u64 = field(55, 55);
/// Software: the folio behind it is nobody's to count (the zero page, a device).
pub const SPECIAL: u64 = field(56, 56);
/// Software: userfaultfd write-protects it.
pub const UFFD_WP: u64 = field(58, 58);
/// Software bits with no meaning yet.
pub const SPARE: u64 = field(63, 63) | field(57, 57);
/// Hardware attributes that stay zero here: permission overlay index, AttrIndx\[3\].
pub const OVERLAY: u64 = field(62, 59);

/// Table descriptors only: nothing below is executable at EL1.
pub const PXN_TABLE: u64 = field(59, 59);
/// Table descriptors only: nothing below is executable at EL0.
pub const UXN_TABLE: u64 = field(60, 60);
/// Table descriptors only: access limits on everything below.
pub const AP_TABLE: u64 = field(62, 61);

/// Soft entry: an exclusive swap entry.
pub const SOFT_EXCLUSIVE: u64 = field(2, 2);
/// Soft entry: userfaultfd write-protects what comes back.
pub const SOFT_UFFD_WP: u64 = field(3, 3);
/// Soft entry: the kind.
pub const SOFT_TYPE: u64 = field(10, 6);
/// Where [`SOFT_TYPE`] begins.
pub const SOFT_TYPE_SHIFT: u32 = 6;
/// Soft entry: the payload, 50 bits.
pub const SOFT_OFFSET: u64 = field(61, 12);
/// Where [`SOFT_OFFSET`] begins.
pub const SOFT_OFFSET_SHIFT: u32 = 12;
/// Soft entry with a frame number: the leaf it replaced was accessed.
pub const SOFT_YOUNG: u64 = K4::SOFT_YOUNG;
/// Soft entry with a frame number: the leaf it replaced was dirty.
pub const SOFT_DIRTY: u64 = K4::SOFT_DIRTY;

/// Bits that hardware ignores in a leaf: a change of these alone owes nothing to anybody.
pub const SOFTWARE: u64 = disjoint(&[DIRTY, SPECIAL, UFFD_WP, SPARE]);

/// Every field of a leaf. Bit 5 (NS) is left over: it means nothing outside Secure state.
pub const LEAF: u64 = disjoint(&[
    VALID,
    TYPE,
    ATTR,
    USER,
    RDONLY,
    SH,
    AF,
    NG,
    ADDRESS,
    ADDRESS_HIGH,
    GP,
    WRITE,
    CONT,
    PXN,
    UXN,
    SOFTWARE,
    OVERLAY,
]);

/// Every field of a table pointer that is not ignored.
pub const TABLE: u64 = disjoint(&[VALID, TYPE, AF, ADDRESS, PXN_TABLE, UXN_TABLE, AP_TABLE]);

/// Every field of a soft entry, and the two bits that must be 0 to make it one.
pub const SOFT: u64 =
    disjoint(&[VALID, TYPE, SOFT_EXCLUSIVE, SOFT_UFFD_WP, SOFT_TYPE, PRESENT_INVALID, SOFT_OFFSET]);

/// A frame number in a soft entry, with the two bits of history above it.
pub const SOFT_PFN: u64 = soft_pfn::<K4>();

const fn soft_pfn<G: Granule>() -> u64 {
    disjoint(&[G::SOFT_PFN, G::SOFT_YOUNG, G::SOFT_DIRTY])
}

const _: () = assert!(LEAF == !field(5, 5), "the leaf layout accounts for every bit but NS");
const _: () = assert!(
    (soft_pfn::<K4>() | soft_pfn::<K16>() | soft_pfn::<K64>()) & !SOFT_OFFSET == 0,
    "history lies inside the payload"
);
const _: () = assert!(SOFT & !field(61, 0) == 0, "a soft entry uses no bit above the payload");
const _: () = assert!(NT & ADDRESS == NT, "nT takes an address bit that blocks do not need");

/// The address bits of a leaf of `level`: those above what it maps.
pub const fn leaf_address(level: Level) -> u64 {
    granule::leaf_address::<K4>(level)
}
