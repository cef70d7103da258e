//! A terminal, as far as the editor and the progress line drive one.

use std::string::String;
use std::vec::Vec;

/// Rows of text and a cursor in the last one.
pub(super) struct Vt100 {
    columns: usize,
    pub(super) rows: Vec<Vec<char>>,
    pub(super) column: usize,
    pub(super) bells: usize,
    /// Everything that was written.
    pub(super) raw: String,
    escape: Option<String>,
}

impl Vt100 {
    pub(super) fn new(columns: usize) -> Self {
        let rows = std::vec![Vec::new()];
        Self { columns, rows, column: 0, bells: 0, raw: String::new(), escape: None }
    }

    /// The row that the cursor is in, without blanks at its end.
    pub(super) fn row(&self) -> String {
        let text: String = self.rows.last().into_iter().flatten().collect();
        text.trim_end().into()
    }

    /// Row number `index`, likewise.
    pub(super) fn row_at(&self, index: usize) -> String {
        let text: String = self.rows[index].iter().collect();
        text.trim_end().into()
    }

    fn take(&mut self, character: char) {
        if let Some(mut sequence) = self.escape.take() {
            sequence.push(character);
            if sequence.len() == 1 || !character.is_ascii_alphabetic() {
                assert!(sequence.len() < 8 && sequence.starts_with('['), "{sequence:?}");
                self.escape = Some(sequence);
            } else {
                self.sequence(&sequence);
            }
            return;
        }
        let last = self.rows.len() - 1;
        match character {
            '\x1b' => self.escape = Some(String::new()),
            '\x07' => self.bells += 1,
            '\x08' => {
                assert!(self.column > 0, "backspace at the margin does nothing");
                self.column -= 1;
            }
            '\r' => self.column = 0,
            '\n' => {
                self.rows.push(Vec::new());
                self.column = 0;
            }
            ' '..='~' => {
                assert!(self.column + 1 < self.columns, "the last column is left alone");
                let row = &mut self.rows[last];
                if row.len() <= self.column {
                    row.resize(self.column + 1, ' ');
                }
                row[self.column] = character;
                self.column += 1;
            }
            other => panic!("{other:?} is nothing for a VT100"),
        }
    }

    fn sequence(&mut self, sequence: &str) {
        let (parameter, verb) = sequence[1..].split_at(sequence.len() - 2);
        let number = parameter.parse::<usize>();
        let row = self.rows.last_mut().unwrap();
        match (verb, number) {
            ("K", Err(_)) => row.truncate(self.column),
            ("J", Ok(2)) => self.rows = std::vec![Vec::new()],
            ("H", Err(_)) => self.column = 0,
            ("C", Ok(count)) => self.column += count,
            ("D", Ok(count)) => self.column = self.column.checked_sub(count).unwrap(),
            ("m", _) => {}
            _ => panic!("{sequence:?} is not expected"),
        }
        assert!(self.column < self.columns);
    }
}

impl core::fmt::Write for Vt100 {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.raw.push_str(text);
        text.chars().for_each(|character| self.take(character));
        Ok(())
    }
}
