//! A line of text in a fixed buffer.

/// Bytes in the longest line that can be typed.
pub const LINE_MAX: usize = 256;

/// The text was longer than the room left, or not printable ASCII; nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused;

/// Printable ASCII, so one byte is one character is one column: at most [`LINE_MAX`] of them.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    bytes: [u8; LINE_MAX],
    len: usize,
}

impl Line {
    pub(crate) const EMPTY: Self = Self { bytes: [0; LINE_MAX], len: 0 };

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn text(&self) -> &str {
        // ASCII by the invariant, so the empty default is never taken.
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Puts `text` before byte `at`: all of it or nothing.
    pub(crate) fn insert(&mut self, at: usize, text: &[u8]) -> Result<(), Refused> {
        let printable = text.iter().all(|byte| (0x20..=0x7e).contains(byte));
        if !printable || text.len() > LINE_MAX - self.len || at > self.len {
            return Err(Refused);
        }
        self.bytes.copy_within(at..self.len, at + text.len());
        self.bytes[at..at + text.len()].copy_from_slice(text);
        self.len += text.len();
        Ok(())
    }

    /// Takes out the bytes from `from` up to, not including, `to`; parts past the end do not count.
    pub(crate) fn remove(&mut self, from: usize, to: usize) {
        let to = to.min(self.len);
        let from = from.min(to);
        self.bytes.copy_within(to..self.len, from);
        self.len -= to - from;
    }

    /// Exchanges the characters at `at` and before it; the caller has checked that both exist.
    pub(crate) fn swap_with_previous(&mut self, at: usize) {
        if 0 < at && at < self.len {
            self.bytes.swap(at - 1, at);
        }
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}
