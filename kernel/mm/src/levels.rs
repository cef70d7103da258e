//! Sets of levels: of which tables a walk has changed an entry.

use abi::Level;

/// Some of the levels of a tree of tables.
#[doc(alias = "pgtbl_mod_mask")]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Levels(u8);

impl Levels {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// One of them.
    pub const fn only(level: Level) -> Self {
        Self(1 << level as u8)
    }

    /// These, and `level`.
    #[must_use]
    pub const fn with(self, level: Level) -> Self {
        Self(self.0 | Self::only(level).0)
    }

    /// Whether `level` is one of them.
    pub const fn has(self, level: Level) -> bool {
        self.0 & Self::only(level).0 != 0
    }

    /// Whether any level is in both.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_told_apart() {
        for level in Level::ALL {
            let only = Levels::only(level);
            for other in Level::ALL {
                assert_eq!(only.has(other), level == other);
                assert_eq!(only.meets(Levels::only(other)), level == other);
                assert!(only.with(other).has(other) && only.with(other).has(level));
            }
            assert!(!only.is_empty() && !only.meets(Levels::NONE));
        }
        assert!(Levels::NONE.is_empty() && Levels::default() == Levels::NONE);
    }
}
