//! One line that tells how far long work is.
//!
//! On an ANSI terminal the line is redrawn in place; elsewhere a line is written now and then, as
//! a KTAP diagnostic, so that a log stays readable and a parser passes over it. Time is passed in,
//! so the same work prints the same lines on a machine whose time is replayed.
//!
//! Rule kept: between two calls the cursor stands at the start of a row or behind a progress line
//! that [`Progress::hide`] removes, so whoever wants to print something else calls that first.

use crate::quantity::Clock;
use crate::terminal::{Show, Terminal};
use core::fmt::{self, Display, Write};
use core::time::Duration;

/// How far the work is.
pub struct Report<'a> {
    /// What is being done.
    pub label: &'a str,
    /// How much of `total` is done.
    pub done: u64,
    /// All of it; 0 where nobody knows.
    pub total: u64,
    /// A rate or remark.
    pub note: &'a dyn Display,
}

/// Draws reports, but not too often.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    terminal: Terminal,
    started: Duration,
    /// The least time between two lines.
    gap: Duration,
    /// When the next line may be drawn.
    due: Duration,
    drawn: bool,
}

impl Progress {
    /// Redrawn so often, motion is seen and a 115200 baud line is not noticeably slowed.
    const REDRAW_GAP: Duration = Duration::from_millis(200);
    /// A line in a log.
    const LINE_GAP: Duration = Duration::from_secs(5);
    /// Characters between the brackets.
    const BAR: u64 = 20;

    /// For work that starts at `now`: at most five redraws a second, or a line every five seconds,
    /// the first after five.
    pub const fn new(terminal: &Terminal, now: Duration) -> Self {
        let gap = match terminal.show() {
            Show::Ansi => Self::REDRAW_GAP,
            Show::Plain | Show::Nothing => Self::LINE_GAP,
        };
        Self { terminal: *terminal, started: now, gap: Duration::ZERO, due: now, drawn: false }
            .with_gap(gap)
    }

    /// The same with another least time between two lines.
    pub const fn with_gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self.due = match self.terminal.show() {
            // A redrawn line is wanted at once; work shorter than the gap needs no line in a log.
            Show::Ansi => self.started,
            Show::Plain | Show::Nothing => self.started.saturating_add(gap),
        };
        self
    }

    /// Whether a report at `now` would be drawn: to spare the work of making one.
    pub fn is_due(&self, now: Duration) -> bool {
        self.terminal.show() != Show::Nothing && now >= self.due
    }

    /// Draws `report` if it is time.
    #[inline(never)]
    pub fn update(
        &mut self,
        now: Duration,
        report: &Report<'_>,
        out: &mut dyn Write,
    ) -> fmt::Result {
        if !self.is_due(now) {
            return Ok(());
        }
        self.due = now.saturating_add(self.gap);
        let elapsed = now.saturating_sub(self.started);
        // The last column stays free: some terminals wrap when it is written.
        let mut row = Clip { out, left: self.terminal.columns() - 1 };
        match self.terminal.show() {
            Show::Ansi => {
                row.out.write_char('\r')?;
                self.drawn = true;
                draw(&mut row, report, elapsed)?;
                row.out.write_str("\x1b[K")
            }
            Show::Plain => {
                row.write_str("# ")?;
                draw(&mut row, report, elapsed)?;
                row.out.write_char('\n')
            }
            Show::Nothing => Ok(()),
        }
    }

    /// Takes the line off the screen; the next report brings it back.
    #[inline(never)]
    pub fn hide(&mut self, out: &mut dyn Write) -> fmt::Result {
        if core::mem::replace(&mut self.drawn, false) {
            out.write_str("\r\x1b[K")?;
        }
        Ok(())
    }

    /// Ends the work: the line goes, and what is printed next starts a row.
    #[inline(never)]
    pub fn finish(mut self, out: &mut dyn Write) -> fmt::Result {
        self.hide(out)
    }
}

/// `fault-4k  [#########...........]  47%  0:02  1.25M faults/s`
fn draw(row: &mut Clip<'_>, report: &Report<'_>, elapsed: Duration) -> fmt::Result {
    row.write_str(report.label)?;
    if report.total > 0 {
        let done = u128::from(report.done.min(report.total));
        let part = |of: u64| (done * u128::from(of) / u128::from(report.total)) as u64;
        let bar = part(Progress::BAR);
        row.write_str("  [")?;
        (0..Progress::BAR).try_for_each(|at| row.write_char(if at < bar { '#' } else { '.' }))?;
        write!(row, "] {:>3}%", part(100))?;
    }
    write!(row, "  {}", Clock(elapsed))?;
    // Without a note, no blanks.
    if crate::columns::width(report.note) > 0 {
        write!(row, "  {}", report.note)?;
    }
    Ok(())
}

/// Writes what fits in a row. Line ends and other controls become blanks: it stays one row.
struct Clip<'a> {
    out: &'a mut dyn Write,
    left: usize,
}

impl Write for Clip<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars().take(self.left) {
            self.left -= 1;
            self.out.write_char(if character.is_control() { ' ' } else { character })?;
        }
        Ok(())
    }
}
