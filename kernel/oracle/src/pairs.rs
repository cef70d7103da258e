//! Pairs of words of which one may follow the other in a table of pages, whatever their addresses.
//!
//! `words` and `pte::change` judge two words. Most of what they say hangs on everything but the address, and on
//! the address only in whether both have the same. So it is said once for all that are alike. Two addresses
//! are in a pair that is right only where a page has migrated: then the valid word's is the one that counts.

use crate::Oracle;
use crate::stores::{Change, How};
use abi::Level;
use pte::bits::{ADDRESS, CONT, VALID};
use pte::{Change as Care, Entry, Soft};

/// Two words that were judged right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    old: u64,
    new: u64,
    /// The bits that must agree: all but the address, and all of them where there is nothing.
    of_old: u64,
    of_new: u64,
    how: How,
    /// Both have the same address.
    pub(crate) same: bool,
    pub(crate) facts: Facts,
}

/// What is known of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts(u8);

impl Facts {
    const CACHEABLE: u8 = 1 << 0;
    const OWES: u8 = 1 << 1;
    const NAMES_FRAME: u8 = 1 << 2;
    const LOCKS_ONLY: u8 = 1 << 3;
    const MARKED: u8 = 1 << 4;

    /// A TLB may have the old one, by its own words.
    pub(crate) const fn is_cacheable(self) -> bool {
        self.0 & Self::CACHEABLE != 0
    }

    /// To take the old one away owes a flush.
    pub(crate) const fn owes(self) -> bool {
        self.0 & Self::OWES != 0
    }

    /// The new one names a frame that must be somebody's.
    pub(crate) const fn names_frame(self) -> bool {
        self.0 & Self::NAMES_FRAME != 0
    }

    /// The new one is right under the table's lock only.
    pub(crate) const fn is_locks_only(self) -> bool {
        self.0 & Self::LOCKS_ONLY != 0
    }

    /// What the new one is, or one of the two with the contiguous mark, the lock's release looks at.
    pub(crate) const fn is_touched(self) -> bool {
        self.0 & (Self::LOCKS_ONLY | Self::MARKED) != 0
    }
}

/// What a word of a table of pages is, for a pair.
struct Word {
    care: u64,
    is_valid: bool,
    is_young: bool,
    names_frame: bool,
    locks_only: bool,
    is_migration: bool,
}

impl Word {
    /// `None`: what it is hangs on more than that.
    fn of(word: u64) -> Option<Self> {
        let blank = Self {
            care: !ADDRESS,
            is_valid: word & VALID != 0,
            is_young: false,
            names_frame: true,
            locks_only: false,
            is_migration: false,
        };
        match pte::decode(Level::Pte, word) {
            Entry::None => Some(Self { care: u64::MAX, names_frame: false, ..blank }),
            // Of a special one nobody is asked whose frame it is.
            Entry::Leaf(leaf) => {
                Some(Self { is_young: leaf.is_young(), names_frame: !leaf.is_special(), ..blank })
            }
            Entry::PresentInvalid(leaf) if !leaf.is_special() => {
                Some(Self { locks_only: true, ..blank })
            }
            Entry::Soft(Soft::Migration { .. }) => {
                Some(Self { names_frame: false, is_migration: true, ..blank })
            }
            _ => None,
        }
    }
}

impl Pair {
    /// Like nothing.
    const NONE: Self = Self {
        old: 0,
        new: 0,
        of_old: u64::MAX,
        of_new: u64::MAX,
        how: How::Fill,
        same: true,
        facts: Facts(0),
    };

    /// The pair of a change that was right, if all that are like it are.
    fn of(change: &Change, oracle: &Oracle) -> Option<Self> {
        let Change { level, old, new, how, .. } = *change;
        if level != Level::Pte || how == How::Fill {
            return None;
        }
        let (was, is) = (Word::of(old)?, Word::of(new)?);
        let same = (old ^ new) & ADDRESS == 0;
        let care = pte::change(level, old, new, &oracle.caps);
        // What hardware has written since then is in one old word and not in the next.
        let loses_history = how == How::Store && was.is_valid && oracle.history() != 0;
        // Each names another frame: all but what comes back from a migration may be wrong for that.
        let moves = was.care == is.care && !same && !(was.is_migration && is.is_valid);
        if loses_history || moves || matches!(care, Care::BreakBeforeMake(_)) {
            return None;
        }
        let is_marked = (old | new) & CONT != 0 && (was.is_valid || is.is_valid);
        let is_owing = was.is_valid && !matches!(care, Care::Free | Care::InPlace);
        let facts = [
            (was.is_young || (was.is_valid && oracle.caps.hw_af), Facts::CACHEABLE),
            (is_owing, Facts::OWES),
            (is.names_frame, Facts::NAMES_FRAME),
            (is.locks_only, Facts::LOCKS_ONLY),
            (is_marked, Facts::MARKED),
        ];
        let facts =
            facts.into_iter().filter(|(is_so, _)| *is_so).fold(0, |all, (_, one)| all | one);
        let (of_old, of_new, facts) = (was.care, is.care, Facts(facts));
        Some(Self { old, new, of_old, of_new, how, same, facts })
    }

    /// Whether a store of `new` over `old` is one like this.
    #[inline(always)]
    pub(crate) fn is_like(&self, old: u64, new: u64, how: How) -> bool {
        let differ = (old ^ self.old) & self.of_old | (new ^ self.new) & self.of_new;
        differ == 0 && how == self.how && ((old ^ new) & ADDRESS == 0) == self.same
    }
}

/// The pairs that were judged last.
pub(crate) struct Pairs([Pair; 64]);

impl Pairs {
    pub(crate) const NONE: Self = Self([Pair::NONE; 64]);

    #[inline]
    fn index(old: u64, new: u64) -> usize {
        let mix = (old & !ADDRESS) ^ (new & !ADDRESS).rotate_left(7);
        (mix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
    }

    /// What is known of the pair that a store is one of.
    #[inline]
    pub(crate) fn find(&self, old: u64, new: u64, how: How) -> Option<&Pair> {
        let pair = &self.0[Self::index(old, new)];
        pair.is_like(old, new, how).then_some(pair)
    }
}

impl Oracle {
    /// A change was right: so are others like it.
    pub(crate) fn note_pair(&mut self, change: &Change) {
        if let Some(pair) = Pair::of(change, self) {
            self.pairs.0[Pairs::index(change.old, change.new)] = pair;
        }
    }
}
