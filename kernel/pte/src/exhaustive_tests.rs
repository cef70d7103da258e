//! Every setting of the bits that decide, judged once more by bit numbers alone.

use super::*;
use crate::granule::{K16, K64};
use std::collections::BTreeMap;

/// Bits that decide what a word is: all below the frame, the ends of address fields and of payloads in
/// each granule, nT, and the permission bits.
const DECIDING: [u32; 22] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 44, 46, 48, 49, 51, 54, 62];

/// Bits 32 and 30: a frame that is aligned to every leaf, as an output address and as a payload.
const FRAME: u64 = 0x1_4000_0000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    None,
    Table,
    Leaf,
    Invalid,
    ProtNone,
    Soft,
    Corrupt,
}

fn found<G: Granule>(entry: Entry<G>) -> Kind {
    match entry {
        Entry::None => Kind::None,
        Entry::Table(_) => Kind::Table,
        Entry::Leaf(_) => Kind::Leaf,
        Entry::PresentInvalid(_) => Kind::Invalid,
        Entry::ProtNone(_) => Kind::ProtNone,
        Entry::Soft(_) => Kind::Soft,
        Entry::Corrupt(_) => Kind::Corrupt,
    }
}

/// Numbers of a granule: log2 of a page and of what leaves map from the PUD down, 0 where there are
/// none; whether the PGD exists.
struct Numbers {
    page: u32,
    leaf: [u32; 4],
    pgd: bool,
}

const N4: Numbers = Numbers { page: 12, leaf: [0, 30, 21, 12], pgd: true };
const N16: Numbers = Numbers { page: 14, leaf: [0, 0, 25, 14], pgd: true };
const N64: Numbers = Numbers { page: 16, leaf: [0, 0, 29, 16], pgd: false };

fn expected(numbers: &Numbers, level: Level, word: u64) -> Kind {
    let bit = |n: u32| word >> n & 1 == 1;
    let field = |high: u32, low: u32| word << (63 - high) >> (63 - high + low);
    let small = level == Level::Pte;
    let or_corrupt = |holds, kind| if holds { kind } else { Kind::Corrupt };
    if word == 0 {
        return Kind::None;
    }
    if bit(0) && bit(1) && !small {
        let exists = level != Level::Pgd || numbers.pgd;
        // Bits 11 to 2 are attributes or ignored; the pointer is aligned to a page.
        let aligned = word << 16 >> 16 & ((1 << numbers.page) - 1) < 1 << 12;
        return or_corrupt(exists && aligned && field(49, 48) == 0, Kind::Table);
    }
    let maps = numbers.leaf[level as usize];
    let mut below = if maps == 0 { 0 } else { word & ((1 << maps) - 1) & !0xfff };
    if !small {
        below &= !(1 << 16);
    }
    let leaf = maps != 0 && bit(1) == small && below == 0 && field(49, 48) == 0;
    if bit(0) {
        return or_corrupt(leaf && field(9, 8) != 0b01, Kind::Leaf);
    }
    if bit(11) {
        let ours = field(9, 8) == 0b11 && (bit(7) || bit(51));
        let kind = if !bit(6) && bit(54) { Kind::ProtNone } else { Kind::Invalid };
        return or_corrupt(leaf && ours, kind);
    }
    let frame_bits = 48 - numbers.page;
    let (code, payload) = (field(10, 6), field(61, 12));
    let frame = payload & ((1 << frame_bits) - 1);
    let pmd = numbers.leaf[2] - numbers.page;
    let aligned = frame & ((1 << pmd) - 1) == 0;
    let holds = match code {
        // Swap: any payload but 0, and both flags.
        0..=23 => small && payload != 0,
        // Poison: a frame and no flag.
        24 => small && payload == frame && !bit(2) && !bit(3),
        // Migration: a frame, two bits more, and userfaultfd's mark.
        25..=27 => (small || aligned) && payload >> (frame_bits + 2) == 0 && !bit(2),
        28..=29 => (small || aligned) && payload == frame && !bit(2),
        30 => small && payload == frame && !bit(2),
        _ => small && payload < 8 && !bit(2) && !bit(3),
    };
    let level_has_soft = matches!(level, Level::Pmd | Level::Pte);
    let zero = field(1, 0) == 0 && field(5, 4) == 0 && field(63, 62) == 0;
    or_corrupt(holds && level_has_soft && zero, Kind::Soft)
}

/// Judges all settings at one level; how many of each kind there were.
fn judge<G: Granule>(numbers: &Numbers, level: Level) -> BTreeMap<Kind, u32> {
    let mut count = BTreeMap::new();
    for setting in 0..1u64 << DECIDING.len() {
        // Bit n of the setting goes to bit DECIDING[n]; the lowest twelve are in place.
        let high = DECIDING.iter().enumerate().skip(12);
        let spread = high.fold(setting & 0xfff, |word, (n, bit)| word | (setting >> n & 1) << bit);
        for word in [spread, spread | FRAME] {
            let entry = decode_in::<G>(level, word);
            let kind = found(entry);
            if kind != expected(numbers, level, word) || entry.word(level) != word {
                panic!("{level} {word:#x}: {entry:?}, not {:?}", expected(numbers, level, word));
            }
            *count.entry(kind).or_default() += 1;
        }
    }
    count
}

#[test]
fn every_setting_of_the_deciding_bits_4k() {
    for level in Level::ALL {
        let kinds = judge::<K4>(&N4, level);
        assert_eq!(kinds.contains_key(&Kind::Table), level != Level::Pte);
        assert_eq!(kinds.contains_key(&Kind::Soft), level >= Level::Pmd);
        assert_eq!(kinds.contains_key(&Kind::ProtNone), level >= Level::Pud);
        assert_eq!(kinds.contains_key(&Kind::Invalid), level >= Level::Pud);
    }
}

#[test]
fn every_setting_of_the_deciding_bits_16k() {
    for level in [Level::Pud, Level::Pmd, Level::Pte] {
        let kinds = judge::<K16>(&N16, level);
        assert_eq!(kinds.contains_key(&Kind::Leaf), level != Level::Pud);
    }
}

#[test]
fn every_setting_of_the_deciding_bits_64k() {
    for level in Level::ALL {
        let kinds = judge::<K64>(&N64, level);
        assert_eq!(kinds.contains_key(&Kind::Table), matches!(level, Level::Pud | Level::Pmd));
    }
}
