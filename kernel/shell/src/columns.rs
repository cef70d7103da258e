//! Text in columns and paragraphs, without storing it.
//!
//! A table is printed by walking its rows twice: once to measure, once to write. Rows of live
//! counters may change between the walks, which at worst shifts a cell.

use core::fmt::{self, Display, Write};

/// Counts characters.
struct Measure(usize);

impl Write for Measure {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.chars().count();
        Ok(())
    }
}

/// Columns that `value` takes up when printed.
pub(crate) fn width(value: &dyn Display) -> usize {
    let mut measure = Measure(0);
    // A value that fails to print is as wide as what it managed.
    let _ = write!(measure, "{value}");
    measure.0
}

/// A column's heading, and the side its cells keep to.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Text: flush left.
    Left(&'static str),
    /// Numbers: flush right.
    Right(&'static str),
}

impl Column {
    const fn heading(&self) -> &&'static str {
        match self {
            Self::Left(heading) | Self::Right(heading) => heading,
        }
    }
}

/// Prints a table: a row of headings unless all are empty, then what `rows` gives to its argument,
/// each row indented by two blanks. `rows` runs twice.
///
/// ```
/// # use granule_shell::{Column, columns};
/// let mut out = String::new();
/// columns(&mut out, &[Column::Left("name"), Column::Right("pages")], |row| {
///     row([&"kernel", &512]);
///     row([&"stack", &4]);
/// })?;
/// assert_eq!(out, "  name    pages\n  kernel    512\n  stack       4\n");
/// # Ok::<(), core::fmt::Error>(())
/// ```
pub fn columns<const N: usize>(
    out: &mut dyn Write,
    columns: &[Column; N],
    mut rows: impl FnMut(&mut dyn FnMut([&dyn Display; N])),
) -> fmt::Result {
    lay_out(out, columns, &mut [0; N], &mut |row| rows(&mut |cells| row(&cells)))
}

/// What is done with the cells of each row.
type EachRow<'a> = &'a mut dyn FnMut(&[&dyn Display]);

/// [`columns`], compiled once for all tables.
fn lay_out(
    out: &mut dyn Write,
    columns: &[Column],
    widths: &mut [usize],
    rows: &mut dyn FnMut(EachRow<'_>),
) -> fmt::Result {
    for (width, column) in widths.iter_mut().zip(columns) {
        *width = column.heading().chars().count();
    }
    let headed = widths.iter().any(|&width| width > 0);
    rows(&mut |cells| {
        for (widest, cell) in widths.iter_mut().zip(cells) {
            *widest = width(cell).max(*widest);
        }
    });
    let mut result = Ok(());
    if headed {
        print_row(
            out,
            columns,
            widths,
            &mut columns.iter().map(|column| column.heading() as &dyn Display),
        )?;
    }
    rows(&mut |cells| {
        let cells = &mut cells.iter().copied();
        result = result.and_then(|()| print_row(out, columns, widths, cells));
    });
    result
}

fn print_row(
    out: &mut dyn Write,
    columns: &[Column],
    widths: &[usize],
    cells: &mut dyn Iterator<Item = &dyn Display>,
) -> fmt::Result {
    // Blanks owed before the next text, so that no row ends in blanks.
    let mut owed = 2;
    for ((column, &widest), cell) in columns.iter().zip(widths).zip(cells) {
        let used = width(cell);
        let missing = widest.saturating_sub(used);
        let (before, after) = match column {
            Column::Left(_) => (0, missing),
            Column::Right(_) => (missing, 0),
        };
        if used > 0 {
            write!(out, "{:lead$}{cell}", "", lead = owed + before)?;
            owed = 0;
        } else {
            owed += before;
        }
        owed += after + 2;
    }
    out.write_char('\n')
}

/// Bytes of a word that are held back until it is known where it goes.
const LONGEST_WORD: usize = 64;

/// Breaks text at blanks so that no row is longer than it need be.
///
/// A no-break space is a blank at which no row ends. Words longer than the buffer of 64 bytes, and words longer than a row, stand as they are.
pub struct Wrapped<'a> {
    out: &'a mut dyn Write,
    columns: usize,
    indent: usize,
    /// The word that is being written, until it is known where it goes.
    word: [u8; LONGEST_WORD],
    word_len: usize,
    /// Columns used in this row.
    used: usize,
    /// A blank is due before the next word.
    blank: bool,
}

impl<'a> Wrapped<'a> {
    /// Writes to `out`, which stands `used` columns into a row; later rows start with `indent`
    /// blanks.
    pub fn new(out: &'a mut dyn Write, columns: usize, indent: usize, used: usize) -> Self {
        Self { out, columns, indent, word: [0; LONGEST_WORD], word_len: 0, used, blank: false }
    }

    /// Writes the last word and ends the row.
    pub fn finish(mut self) -> fmt::Result {
        self.flush()?;
        self.out.write_char('\n')
    }

    /// Writes the word where it fits.
    fn flush(&mut self) -> fmt::Result {
        let word = core::str::from_utf8(&self.word[..self.word_len]).unwrap_or("?");
        let long = word.chars().count();
        if long == 0 {
            return Ok(());
        }
        if self.used == 0 {
            write!(self.out, "{:indent$}", "", indent = self.indent)?;
            self.used = self.indent;
        } else if self.blank && self.used + 1 + long > self.columns {
            write!(self.out, "\n{:indent$}", "", indent = self.indent)?;
            self.used = self.indent;
        } else if self.blank {
            self.out.write_char(' ')?;
            self.used += 1;
        }
        self.out.write_str(word)?;
        self.used += long;
        self.word_len = 0;
        self.blank = false;
        Ok(())
    }

    fn push(&mut self, character: char) -> fmt::Result {
        let size = character.len_utf8();
        if self.word_len + size > LONGEST_WORD {
            self.flush()?;
        }
        let room = &mut self.word[self.word_len..self.word_len + size];
        character.encode_utf8(room);
        self.word_len += size;
        Ok(())
    }
}

impl Write for Wrapped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                ' ' => {
                    self.flush()?;
                    self.blank = self.used > 0;
                }
                '\n' => {
                    self.flush()?;
                    self.out.write_char('\n')?;
                    self.used = 0;
                    self.blank = false;
                }
                '\u{a0}' => self.push(' ')?,
                _ => self.push(character)?,
            }
        }
        Ok(())
    }
}
