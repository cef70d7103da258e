//! A list and a text of fixed capacity: what a value without an allocator is made of.

use core::fmt;
use core::ops::Deref;

/// At most `N` items, in the order they were pushed.
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T: Copy, const N: usize> List<T, N> {
    /// An empty list; `filler` stands where no item is, and is never seen.
    pub const fn empty(filler: T) -> Self {
        Self { items: [filler; N], len: 0 }
    }

    /// Appends, or gives the item back where the list is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let Some(slot) = self.items.get_mut(self.len) else { return Err(item) };
        *slot = item;
        self.len = self.len.saturating_add(1);
        Ok(())
    }

    /// Whether another push would fail.
    pub const fn is_full(&self) -> bool {
        self.len >= N
    }

    /// The items, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.items.get_mut(..self.len).unwrap_or_default()
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or_default()
    }
}

impl<'a, T, const N: usize> IntoIterator for &'a List<T, N> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// At most `N` bytes of UTF-8.
///
/// Invariant: the first `len` bytes are a whole string, because only whole characters are copied in.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    /// Nothing.
    pub const EMPTY: Self = Self { bytes: [0; N], len: 0 };

    /// As much of `text` as fits, cut between characters.
    pub fn cut_from(text: &str) -> Self {
        let mut fits = text.len().min(N);
        while !text.is_char_boundary(fits) {
            fits = fits.saturating_sub(1);
        }
        let mut new = Self::EMPTY;
        for (to, from) in new.bytes.iter_mut().zip(text.as_bytes().iter().take(fits)) {
            *to = *from;
        }
        new.len = fits;
        new
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl<const N: usize> Deref for Text<N> {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> Eq for Text<N> {}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_gives_the_item_back() {
        let mut list = List::<u8, 2>::empty(0);
        assert_eq!((list.push(1), list.push(2)), (Ok(()), Ok(())));
        assert!(list.is_full());
        assert_eq!(list.push(3), Err(3));
        assert_eq!(&*list, &[1, 2]);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(&*Text::<4>::cut_from("abc"), "abc");
        assert_eq!(&*Text::<4>::cut_from("abcdef"), "abcd");
        assert_eq!(&*Text::<4>::cut_from("abcé"), "abc");
        assert_eq!(&*Text::<0>::cut_from("é"), "");
    }
}
