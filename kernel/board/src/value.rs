//! What the bytes of a property mean: cells, strings, a status.

use crate::token::word_at;

/// The most cells that one number may take: PCI addresses have three, a few buses four.
pub(crate) const MAX_CELLS: usize = 4;

/// A property read as big-endian words, front to back.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a>(&'a [u8]);

impl<'a> Cells<'a> {
    /// All of a property's bytes.
    pub const fn new(value: &'a [u8]) -> Self {
        Self(value)
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next word.
    pub fn word(&mut self) -> Option<u32> {
        let word = word_at(self.0, 0)?;
        self.0 = self.0.get(4..)?;
        Some(word)
    }

    /// The next number of `cells` words (at most four), most significant first. Zero words are 0.
    pub fn number(&mut self, cells: usize) -> Option<u128> {
        if cells > MAX_CELLS {
            return None;
        }
        let mut number = 0u128;
        for _ in 0..cells {
            number = number << 32 | u128::from(self.word()?);
        }
        Some(number)
    }

    /// Leaves out `cells` words.
    pub fn skip(&mut self, cells: usize) -> Option<()> {
        self.0 = self.0.get(cells.checked_mul(4)?..)?;
        Some(())
    }
}

/// A property read as strings that each end with a zero. Ends at the first that is not UTF-8 or
/// does not end.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a>(&'a [u8]);

impl<'a> Strings<'a> {
    /// All of a property's bytes.
    pub const fn new(value: &'a [u8]) -> Self {
        Self(value)
    }
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let len = self.0.iter().position(|&byte| byte == 0)?;
        let (string, rest) = self.0.split_at_checked(len)?;
        self.0 = rest.get(1..)?;
        core::str::from_utf8(string).ok()
    }
}

/// Whether a node is to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It is.
    Okay,
    /// Not now: absent, unused, or another world's.
    Disabled,
}

impl Status {
    /// From the value of `status`. Only two words mean yes; `fail`, `reserved` and whatever comes
    /// later mean that we must keep off.
    pub(crate) fn from_word(word: &str) -> Self {
        if matches!(word, "okay" | "ok") { Self::Okay } else { Self::Disabled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_many_cells_as_told() {
        let bytes = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9];
        let mut cells = Cells::new(&bytes);
        assert_eq!(cells.number(0), Some(0));
        assert_eq!(cells.number(2), Some(1 << 32 | 2));
        assert_eq!(cells.number(5), None);
        assert_eq!(cells.number(2), None, "one cell is left");
        let mut cells = Cells::new(&bytes);
        assert_eq!(cells.skip(2).and_then(|()| cells.word()), Some(3));
        assert_eq!((cells.word(), cells.is_empty()), (None, false), "an odd byte is left");
        assert_eq!(Cells::new(&bytes).skip(usize::MAX), None);
    }

    #[test]
    fn strings_end_where_they_stop_being_strings() {
        let all = |value| Strings::new(value).collect::<std::vec::Vec<_>>();
        assert_eq!(all(b"a\0bc\0"), ["a", "bc"]);
        assert_eq!(all(b"a\0open"), ["a"]);
        assert_eq!(all(b"a\0\xff\0b\0"), ["a"]);
        assert_eq!(all(b""), [""; 0]);
    }
}
