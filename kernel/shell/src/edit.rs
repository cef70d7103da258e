//! What keys do to a line: the text and the cursor in it, nothing about the screen.

use crate::key::EditKey;
use crate::line::{Line, Refused};

/// What became of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// The text is other than before.
    Text,
    /// Only the cursor moved.
    Cursor,
    /// There was nothing to do it to.
    Nothing,
}

/// A line under edit. Invariant: the cursor lies within the text or at its end.
#[derive(Clone, Copy)]
pub(crate) struct Edit {
    line: Line,
    cursor: usize,
}

impl Edit {
    pub(crate) const EMPTY: Self = Self { line: Line::EMPTY, cursor: 0 };

    pub(crate) const fn line(&self) -> &Line {
        &self.line
    }

    pub(crate) const fn cursor(&self) -> usize {
        self.cursor
    }

    /// The text left of the cursor.
    pub(crate) fn before(&self) -> &str {
        self.line.text().get(..self.cursor).unwrap_or_default()
    }

    pub(crate) const fn clear(&mut self) {
        *self = Self::EMPTY;
    }

    /// Replaces all the text; the cursor goes to its end.
    pub(crate) fn replace(&mut self, line: &Line) {
        self.line = *line;
        self.cursor = line.len();
    }

    /// Puts `text` at the cursor, which moves past it: all of it or nothing.
    pub(crate) fn insert(&mut self, text: &[u8]) -> Result<(), Refused> {
        self.line.insert(self.cursor, text)?;
        self.cursor += text.len();
        Ok(())
    }

    /// Does what `key` says.
    pub(crate) fn apply(&mut self, key: EditKey) -> Effect {
        let (cursor, len) = (self.cursor, self.line.len());
        match key {
            EditKey::Left => self.go(cursor.saturating_sub(1)),
            EditKey::Right => self.go((cursor + 1).min(len)),
            EditKey::Home => self.go(0),
            EditKey::End => self.go(len),
            EditKey::WordLeft => self.go(self.left_of(|byte| byte.is_ascii_alphanumeric())),
            EditKey::WordRight => self.go(self.right_of_word()),
            EditKey::Backspace => self.cut(cursor.saturating_sub(1), cursor),
            EditKey::Delete => self.cut(cursor, cursor + 1),
            EditKey::KillToStart => self.cut(0, cursor),
            EditKey::KillToEnd => self.cut(cursor, len),
            EditKey::KillWordLeft => self.cut(self.left_of(|byte| byte != b' '), cursor),
            EditKey::KillWordRight => self.cut(cursor, self.right_of_word()),
            EditKey::Transpose => self.transpose(),
        }
    }

    fn go(&mut self, to: usize) -> Effect {
        if to == self.cursor {
            return Effect::Nothing;
        }
        self.cursor = to;
        Effect::Cursor
    }

    fn cut(&mut self, from: usize, to: usize) -> Effect {
        let len = self.line.len();
        self.line.remove(from, to);
        self.cursor = from;
        if self.line.len() == len { Effect::Nothing } else { Effect::Text }
    }

    /// Where the word that ends at or before the cursor begins. Ctrl-W takes a word to be all but
    /// blanks, Alt-B letters and digits: as in readline.
    fn left_of(&self, in_word: impl Fn(u8) -> bool) -> usize {
        let before = &self.line.bytes()[..self.cursor];
        let end = before.iter().rposition(|&byte| in_word(byte)).map_or(0, |last| last + 1);
        before[..end].iter().rposition(|&byte| !in_word(byte)).map_or(0, |gap| gap + 1)
    }

    /// Where the word of letters and digits that begins at or after the cursor ends.
    fn right_of_word(&self) -> usize {
        let after = &self.line.bytes()[self.cursor..];
        let start = after.iter().position(u8::is_ascii_alphanumeric).unwrap_or(after.len());
        let word = &after[start..];
        let len = word.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(word.len());
        self.cursor + start + len
    }

    /// Exchanges the characters on both sides of the cursor, at the end the last two.
    fn transpose(&mut self) -> Effect {
        let len = self.line.len();
        if self.cursor == 0 || len < 2 {
            return Effect::Nothing;
        }
        let at = self.cursor.min(len - 1);
        self.line.swap_with_previous(at);
        self.cursor = at + 1;
        Effect::Text
    }
}
