//! Making the screen row equal the line, with few bytes.
//!
//! The painter remembers what stands on the row and writes the difference, so typing at the end
//! costs one byte and each kind of edit needs no drawing code of its own. What it remembers is
//! right as long as nobody else writes to the row; whoever does calls [`Painter::forget`] first.
//!
//! Without ANSI the same difference is made of characters, blanks and backspaces alone.

use crate::line::Line;
use crate::terminal::{Show, Terminal};
use core::fmt::{self, Write};

/// Up to this many backspaces are shorter than an escape sequence or as long.
const NEAR: usize = 4;

/// What stands on the row to the right of the prompt, and where the cursor is in it.
pub(crate) struct Painter {
    shown: Line,
    cursor: usize,
}

impl Painter {
    pub(crate) const fn new() -> Self {
        Self { shown: Line::EMPTY, cursor: 0 }
    }

    /// The row is empty again: a prompt was just written, or nothing at all.
    pub(crate) const fn forget(&mut self) {
        *self = Self::new();
    }

    /// Makes the row show `want` with the cursor before its character number `cursor`.
    pub(crate) fn paint(
        &mut self,
        terminal: &Terminal,
        want: &[u8],
        cursor: usize,
        out: &mut dyn Write,
    ) -> fmt::Result {
        if terminal.show() == Show::Nothing {
            return Ok(());
        }
        let same = self.shown.bytes().iter().zip(want).take_while(|(old, new)| old == new).count();
        let old_len = self.shown.len();
        if same < old_len || same < want.len() {
            self.go(terminal, same, out)?;
            self.shown.truncate(same);
            // Cannot be refused: what is wanted is part of a line.
            if self.shown.insert(same, &want[same..]).is_ok() {
                out.write_str(&self.shown.text()[same..])?;
            }
            self.cursor = self.shown.len();
            let rest = old_len.saturating_sub(self.shown.len());
            match (rest, terminal.show()) {
                (0, _) => {}
                (1, _) | (_, Show::Plain) => {
                    repeat(' ', rest, out)?;
                    repeat('\u{8}', rest, out)?;
                }
                _ => out.write_str("\x1b[K")?,
            }
        }
        self.go(terminal, cursor.min(self.shown.len()), out)
    }

    /// Moves the cursor within what is shown.
    fn go(&mut self, terminal: &Terminal, to: usize, out: &mut dyn Write) -> fmt::Result {
        let from = core::mem::replace(&mut self.cursor, to);
        let far = terminal.show() == Show::Ansi && from.abs_diff(to) > NEAR;
        if from == to {
            Ok(())
        } else if far && to < from {
            write!(out, "\x1b[{}D", from - to)
        } else if far {
            write!(out, "\x1b[{}C", to - from)
        } else if to < from {
            repeat('\u{8}', from - to, out)
        } else {
            // Writing again what stands there moves over it.
            out.write_str(self.shown.text().get(from..to).unwrap_or_default())
        }
    }
}

fn repeat(character: char, times: usize, out: &mut dyn Write) -> fmt::Result {
    (0..times).try_for_each(|_| out.write_char(character))
}
