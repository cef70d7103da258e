//! Contiguous sets: neighbours that map one aligned run and say so, for one TLB entry together.
//!
//! Having a [`ContSet`] means that the words keep the rules: the entries are at an aligned place in
//! their table, all valid, of one address space, of counted memory; they map an aligned run, and
//! differ in nothing but history. The mark is on all of them or on none. That the run lies within
//! one folio is for the caller to know.
//!
//! A set has one history: hardware may record a use in any member. So what is read of one member is
//! completed by the others ([`ContSet::read`]), and folding or unfolding gives what any had to all.
//! What is completed so must not answer whether a member's own word needs an update: a walker that
//! keeps no history faults on that word, whatever its neighbours say.
//!
//! Whoever changes the mark on live entries clears them all first, by exchange, and flushes the page
//! of each; the words that the exchanges returned are what is folded or unfolded.
//!
//! Source: Linux `contpte_convert`, `contpte_try_fold`, `contpte_ptep_get_lockless`; Arm ARM, "The
//! Contiguous bit".

use crate::entry::{Entry, decode_in};
use crate::granule::{Granule, order, set_entries};
use crate::leaf::Leaf;
use abi::Level;
use core::fmt;

/// A rule of contiguous sets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SetRule {
    /// A set is whole, begins at a multiple of its size in the table, and is of a level that has sets.
    Place,
    /// Each member is valid. The mark means nothing in any other entry.
    Valid,
    /// Each member has the mark, or none has.
    Mark,
    /// Members belong to one address space: a change of the mark takes a moment without a mapping,
    /// which the kernel cannot stand.
    User,
    /// Members map memory that somebody counts.
    Counted,
    /// The first frame is aligned to the set, each further one follows.
    Frame,
    /// Rights and attributes are the same.
    Attributes,
}

/// Why entries are no contiguous set, or may not become one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Misfit {
    /// Which member, counted from the first.
    pub entry: usize,
    /// What it breaks.
    pub rule: SetRule,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.rule {
            SetRule::Place => "is not where a set begins",
            SetRule::Valid => "is not valid",
            SetRule::Mark => "differs from its neighbours in the contiguous mark",
            SetRule::User => "is global",
            SetRule::Counted => "maps memory that nobody counts",
            SetRule::Frame => "maps a frame out of line",
            SetRule::Attributes => "differs from its neighbours in rights or attributes",
        };
        write!(f, "entry {} of a contiguous set {what}", self.entry)
    }
}

/// Entries that are, or may be made, a contiguous set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContSet<G: Granule> {
    /// The first member, without the mark, with the history of all.
    first: Leaf<G>,
}

impl<G: Granule> ContSet<G> {
    /// How many entries of `level` make a set; 1 where there are no sets.
    #[doc(alias("CONT_PTES", "CONT_PMDS"))]
    pub const fn entries(level: Level) -> usize {
        set_entries::<G>(level)
    }

    /// The set that begins with `first` at entry `index` of its table, to be written where nothing is
    /// mapped yet.
    #[inline]
    pub fn new(index: usize, first: Leaf<G>) -> Result<Self, Misfit> {
        let level = first.level();
        let entries = Self::entries(level);
        let aligned_frame = || {
            let order = order::<G>(level).0 + entries.ilog2() as u8;
            first.pfn().is_aligned(abi::Order(order))
        };
        let rule = if entries == 1 || !index.is_multiple_of(entries) {
            SetRule::Place
        } else if !first.is_valid() {
            SetRule::Valid
        } else if first.is_global() {
            SetRule::User
        } else if first.is_special() {
            SetRule::Counted
        } else if !aligned_frame() {
            SetRule::Frame
        } else {
            return Ok(Self { first: first.contiguous(false) });
        };
        Err(Misfit { entry: 0, rule })
    }

    /// The set that the `words` of entries `index` and following, without the mark, may be made.
    #[doc(alias = "contpte_try_fold")]
    pub fn fold(level: Level, index: usize, words: &[u64]) -> Result<Self, Misfit> {
        Self::judge(level, index, words, false)
    }

    /// The set that the `words` of entries `index` and following are, all with the mark.
    ///
    /// Words that were loaded without the lock may be torn between two states: then this fails, and the
    /// reader tries again.
    #[doc(alias = "contpte_ptep_get_lockless")]
    pub fn read(level: Level, index: usize, words: &[u64]) -> Result<Self, Misfit> {
        Self::judge(level, index, words, true)
    }

    /// The set that they are; `None` if no valid entry among them has the mark. For checkers, with the
    /// table's lock held: anything else is a broken table.
    pub fn check(level: Level, index: usize, words: &[u64]) -> Result<Option<Self>, Misfit> {
        let marked = |word: &u64| match decode_in::<G>(level, *word) {
            Entry::Leaf(leaf) => leaf.is_contiguous(),
            _ => false,
        };
        if words.iter().any(marked) { Self::read(level, index, words).map(Some) } else { Ok(None) }
    }

    fn judge(level: Level, index: usize, words: &[u64], marked: bool) -> Result<Self, Misfit> {
        let misfit = |entry, rule| Misfit { entry, rule };
        let place = misfit(0, SetRule::Place);
        if words.len() != Self::entries(level) {
            return Err(place);
        }
        let mut set: Option<Self> = None;
        for (entry, &word) in words.iter().enumerate() {
            let Entry::Leaf(leaf) = decode_in::<G>(level, word) else {
                return Err(misfit(entry, SetRule::Valid));
            };
            if leaf.is_contiguous() != marked {
                return Err(misfit(entry, SetRule::Mark));
            }
            let leaf = leaf.contiguous(false);
            set = Some(match set {
                None => Self::new(index, leaf)?,
                Some(Self { first }) => {
                    let expected = first.nth(entry as u64);
                    if expected.pfn() != leaf.pfn() {
                        return Err(misfit(entry, SetRule::Frame));
                    }
                    if !expected.same_mapping(leaf) {
                        return Err(misfit(entry, SetRule::Attributes));
                    }
                    Self { first: first.absorb(leaf) }
                }
            });
        }
        set.ok_or(place)
    }

    /// The first member with the mark; the others follow it by [`Leaf::next`].
    pub const fn folded(self) -> Leaf<G> {
        self.first.contiguous(true)
    }

    /// The first member without the mark; the others follow it by [`Leaf::next`].
    pub const fn unfolded(self) -> Leaf<G> {
        self.first
    }

    /// Member `entry` as part of the set: its word, with the history of all.
    #[doc(alias = "contpte_ptep_get")]
    pub const fn member(self, entry: usize) -> Leaf<G> {
        self.folded().nth(entry as u64)
    }
}

#[cfg(test)]
#[path = "cont_tests.rs"]
mod tests;
