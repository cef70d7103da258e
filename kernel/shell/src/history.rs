//! The last lines entered, and walking among them.

use crate::line::Line;

/// Lines that are remembered.
pub const HISTORY_LINES: usize = 16;

/// A ring of lines, 4 KiB: when it is full, the oldest goes.
///
/// While a line of it is shown unedited, that line's age is known here, and so is the draft that
/// stood there before. An edit makes a draft of what is shown: [`History::leave`].
pub(crate) struct History {
    lines: [Line; HISTORY_LINES],
    /// Where the next line goes.
    next: usize,
    len: usize,
    /// The age of the line that is shown.
    shown: Option<usize>,
    draft: Line,
}

impl History {
    pub(crate) const fn new() -> Self {
        let lines = [Line::EMPTY; HISTORY_LINES];
        Self { lines, next: 0, len: 0, shown: None, draft: Line::EMPTY }
    }

    /// Remembers `line`, unless it is empty or just a repetition of the newest one.
    pub(crate) fn add(&mut self, line: &Line) {
        if line.is_empty() || self.back(0) == Some(line) {
            return;
        }
        self.lines[self.next] = *line;
        self.next = (self.next + 1) % HISTORY_LINES;
        self.len = (self.len + 1).min(HISTORY_LINES);
    }

    /// What is shown is no longer a line of the history.
    pub(crate) const fn leave(&mut self) {
        self.shown = None;
    }

    /// The line before the one shown, which is `current`.
    pub(crate) fn older(&mut self, current: &Line) -> Option<&Line> {
        self.show(self.shown.map_or(0, |age| age + 1), current)
    }

    /// The line after the one shown: after the newest, the draft.
    pub(crate) fn newer(&mut self) -> Option<&Line> {
        let age = self.shown?;
        self.shown = age.checked_sub(1);
        match self.shown {
            Some(age) => self.back(age),
            None => Some(&self.draft),
        }
    }

    /// The next older line that contains the draft.
    pub(crate) fn search(&mut self, current: &Line) -> Option<&Line> {
        let (from, wanted) = match self.shown {
            Some(age) => (age + 1, &self.draft),
            None => (0, current),
        };
        let contains = |line: &Line| line.text().contains(wanted.text());
        let age = (from..self.len).find(|&age| self.back(age).is_some_and(contains))?;
        self.show(age, current)
    }

    fn show(&mut self, age: usize, current: &Line) -> Option<&Line> {
        if age >= self.len {
            return None;
        }
        if self.shown.is_none() {
            self.draft = *current;
        }
        self.shown = Some(age);
        self.back(age)
    }

    /// The line `age` before the newest.
    fn back(&self, age: usize) -> Option<&Line> {
        if age >= self.len {
            return None;
        }
        self.lines.get((self.next + HISTORY_LINES - 1 - age) % HISTORY_LINES)
    }
}
