//! Bytes in, lines out: the editor of one serial line.
//!
//! Invariant: after each [`LineEditor::feed`] the terminal's last row shows the prompt and the
//! window of the text around the cursor (see [`LineEditor::room`]), unless a line has just ended.
//!
//! Context: any; the editor takes no locks and waits for nothing. It is some 5 KiB large, of which its
//! owner's stack, or the static it lives in, must be capable. Redrawing after a byte costs at most a
//! row, so a flood of input is bounded work per byte.

use crate::edit::{Edit, Effect};
use crate::history::History;
use crate::key::{Decoder, EditKey, Key};
use crate::line::Line;
use crate::paint::Painter;
use crate::tab::{Complete, Survey, list};
use crate::terminal::{Colour, Show, Terminal};
use core::fmt::{self, Write};

/// What a byte led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// Nothing for the caller to do.
    None,
    /// A line was entered; it may be empty.
    Line(&'a str),
    /// A line was entered of which `refused` characters had found no room. Running a part of a
    /// command is no good idea; what fitted can be recalled and edited.
    Overlong {
        /// The part that fitted.
        kept: &'a str,
        /// How many characters after it are lost.
        refused: usize,
    },
    /// Ctrl-C: the line was dropped.
    Interrupt,
    /// Ctrl-D on an empty line.
    EndOfInput,
}

/// Picks a line of the history, given the one shown.
type Pick = for<'a> fn(&'a mut History, &Line) -> Option<&'a Line>;

/// Edits one line after the other.
pub struct LineEditor {
    terminal: Terminal,
    prompt: &'static str,
    decoder: Decoder,
    edit: Edit,
    history: History,
    painter: Painter,
    /// The first character shown.
    first: usize,
    /// Characters that found no room since the line was last edited by hand.
    refused: usize,
    /// The bell has rung for this run of useless keys: noise is not answered with noise.
    rung: bool,
    /// The last key was a Tab that could insert nothing.
    tab_stuck: bool,
    /// The text was handed out; the next byte starts a new line.
    ended: bool,
}

impl LineEditor {
    /// An editor for `terminal`. The prompt is ASCII; its blank at the end is the caller's.
    #[inline(never)]
    pub const fn new(terminal: Terminal, prompt: &'static str) -> Self {
        Self {
            terminal,
            prompt,
            decoder: Decoder::new(),
            edit: Edit::EMPTY,
            history: History::new(),
            painter: Painter::new(),
            first: 0,
            refused: 0,
            rung: false,
            tab_stuck: false,
            ended: false,
        }
    }

    /// What the editor draws for.
    pub const fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Draws for another terminal from now on; call it between lines.
    pub const fn set_terminal(&mut self, terminal: Terminal) {
        self.terminal = terminal;
    }

    /// The text as it stands.
    pub fn text(&self) -> &str {
        self.edit.line().text()
    }

    /// The cursor, in characters from the start of the text.
    pub const fn cursor(&self) -> usize {
        self.edit.cursor()
    }

    /// Starts a new line on a row of its own: call it first, and after each event but `None`.
    #[inline(never)]
    pub fn start(&mut self, out: &mut dyn Write) {
        self.reset();
        let _ = self.redraw(out);
    }

    /// Takes the line off the screen, so that something else can be printed there. The text stays;
    /// [`LineEditor::show`] brings it back.
    #[inline(never)]
    pub fn hide(&mut self, out: &mut dyn Write) {
        let _ = match self.terminal.show() {
            Show::Ansi => out.write_str("\r\x1b[K"),
            Show::Plain => out.write_char('\n'),
            Show::Nothing => Ok(()),
        };
        self.painter.forget();
    }

    /// Draws the prompt and the line again, on an empty row.
    #[inline(never)]
    pub fn show(&mut self, out: &mut dyn Write) {
        let _ = self.redraw(out);
    }

    /// Takes the next byte from the wire.
    #[inline(never)]
    pub fn feed(&mut self, byte: u8, complete: &dyn Complete, out: &mut dyn Write) -> Event<'_> {
        if self.ended {
            self.reset();
        }
        let Some(key) = self.decoder.feed(byte) else { return Event::None };
        let tab_stuck = core::mem::replace(&mut self.tab_stuck, false);
        // Echo is a courtesy: where it fails, the line is still taken.
        match key {
            Key::Char(byte) => self.type_character(byte, out),
            Key::Edit(edit) => self.do_edit(edit, out),
            Key::Older => self.recall(History::older, out),
            Key::Newer => self.recall(|history, _| history.newer(), out),
            Key::Search => self.recall(History::search, out),
            Key::Tab => self.tab(tab_stuck, complete, out),
            Key::Clear => self.clear_screen(out),
            Key::Unknown => self.bell(out),
            Key::EndOfInput if !self.edit.line().is_empty() => self.do_edit(EditKey::Delete, out),
            Key::EndOfInput => {
                self.end("", out);
                return Event::EndOfInput;
            }
            Key::Interrupt => {
                self.edit.clear();
                self.end("^C", out);
                return Event::Interrupt;
            }
            Key::Enter => return self.enter(out),
        }
        Event::None
    }

    fn enter(&mut self, out: &mut dyn Write) -> Event<'_> {
        self.history.add(self.edit.line());
        self.end("", out);
        match self.refused {
            0 => Event::Line(self.edit.line().text()),
            refused => Event::Overlong { kept: self.edit.line().text(), refused },
        }
    }

    fn end(&mut self, mark: &str, out: &mut dyn Write) {
        self.ended = true;
        if self.terminal.show() != Show::Nothing {
            let _ = writeln!(out, "{mark}");
        }
    }

    fn reset(&mut self) {
        self.edit.clear();
        self.history.leave();
        self.painter.forget();
        self.first = 0;
        self.refused = 0;
        self.rung = false;
        self.tab_stuck = false;
        self.ended = false;
    }

    fn type_character(&mut self, byte: u8, out: &mut dyn Write) {
        // Only a full line refuses, and it stays full until somebody edits: no character finds
        // room after one that did not, so what is lost is the end and never a piece of the middle.
        if self.edit.insert(&[byte]).is_err() {
            self.refused += 1;
            return self.bell(out);
        }
        self.changed(out);
    }

    fn do_edit(&mut self, key: EditKey, out: &mut dyn Write) {
        // Whoever edits has seen the line as it is.
        self.refused = 0;
        match self.edit.apply(key) {
            Effect::Text => self.changed(out),
            Effect::Cursor => self.paint(out),
            Effect::Nothing => self.bell(out),
        }
    }

    /// The text was edited: it is no longer a line of the history.
    fn changed(&mut self, out: &mut dyn Write) {
        self.history.leave();
        self.paint(out);
    }

    /// Shows the line of the history that `pick` picks.
    fn recall(&mut self, pick: Pick, out: &mut dyn Write) {
        match pick(&mut self.history, self.edit.line()) {
            Some(line) => {
                self.edit.replace(line);
                self.refused = 0;
                self.paint(out);
            }
            None => self.bell(out),
        }
    }

    fn tab(&mut self, stuck: bool, complete: &dyn Complete, out: &mut dyn Write) {
        let survey = Survey::of(complete, self.edit.before());
        if !survey.insert.is_empty() {
            match self.edit.insert(survey.insert.bytes()) {
                Ok(()) => self.changed(out),
                Err(_) => self.bell(out),
            }
            return;
        }
        if stuck && survey.count > 1 && self.terminal.show() != Show::Nothing {
            let columns = self.terminal.columns();
            let _ = out.write_char('\n');
            let _ = list(complete, self.edit.before(), columns, out);
            let _ = self.redraw(out);
            return;
        }
        self.tab_stuck = true;
        self.bell(out);
    }

    fn clear_screen(&mut self, out: &mut dyn Write) {
        match self.terminal.show() {
            Show::Ansi => {
                let _ = out.write_str("\x1b[H\x1b[2J");
                let _ = self.redraw(out);
            }
            Show::Plain | Show::Nothing => self.bell(out),
        }
    }

    /// Rings once for a run of useless keys.
    fn bell(&mut self, out: &mut dyn Write) {
        if !self.rung && self.terminal.show() == Show::Ansi {
            let _ = out.write_char('\u{7}');
        }
        self.rung = true;
    }

    /// Characters of the text that are shown at a time; without ANSI there is no window. Free of
    /// them stay the last column, where terminals disagree about what the cursor does, and two more
    /// for `^C`.
    fn room(&self) -> usize {
        match self.terminal.show() {
            Show::Ansi => self.terminal.columns().saturating_sub(self.prompt.len() + 3).max(1),
            Show::Plain | Show::Nothing => usize::MAX,
        }
    }

    fn redraw(&mut self, out: &mut dyn Write) -> fmt::Result {
        if self.terminal.show() != Show::Nothing {
            match self.terminal.colour() {
                Colour::Off => out.write_str(self.prompt)?,
                Colour::Prompt => write!(out, "\x1b[1;32m{}\x1b[0m", self.prompt)?,
            }
        }
        self.painter.forget();
        self.paint(out);
        Ok(())
    }

    /// Brings the screen up to date. A cursor that left the window is put in its middle, so that
    /// typing past the edge does not redraw the row for each character.
    fn paint(&mut self, out: &mut dyn Write) {
        self.rung = false;
        let room = self.room();
        let (cursor, text) = (self.edit.cursor(), self.edit.line().bytes());
        if cursor < self.first || cursor - self.first > room {
            self.first = cursor.saturating_sub(room / 2);
        }
        let end = text.len().min(self.first.saturating_add(room));
        let window = &text[self.first.min(end)..end];
        let _ = self.painter.paint(&self.terminal, window, cursor - self.first, out);
    }
}
