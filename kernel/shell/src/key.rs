//! Bytes to keys.
//!
//! The decoder is the state machine of a VT100 keyboard: a control character acts at once, also in
//! the middle of an escape sequence, so that noise which looks like the start of one can never
//! swallow a Ctrl-C or a line end. Unknown sequences are consumed whole and mean nothing.
//!
//! Source: ECMA-48 (control sequences), DEC VT100 user guide (keys), xterm (modified arrows).

/// What a key does to the line without looking outside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EditKey {
    Left,
    Right,
    Home,
    End,
    WordLeft,
    WordRight,
    Backspace,
    Delete,
    KillToStart,
    KillToEnd,
    KillWordLeft,
    KillWordRight,
    Transpose,
}

/// A key, whatever bytes it came as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// A printable ASCII character.
    Char(u8),
    Edit(EditKey),
    /// CR, LF or CR LF.
    Enter,
    Tab,
    /// An older line.
    Older,
    /// A newer line.
    Newer,
    /// An older line that contains what was typed.
    Search,
    /// Clear the screen.
    Clear,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    EndOfInput,
    /// A byte that means nothing here: other control characters, and all that is not ASCII.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ground,
    /// After ESC.
    Escape,
    /// After ESC O: one more byte tells the key.
    SingleShift,
    /// In ESC [ ..., with the first and the latest parameter so far.
    Control {
        first: u16,
        last: u16,
        started: bool,
    },
    /// In an OSC, DCS, SOS, PM or APC string, which terminals send as answers: skipped to its end.
    Text,
}

/// Remembers what part of a sequence has been seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder {
    state: State,
    /// The last byte was CR, so an LF now belongs to the same line end.
    after_cr: bool,
}

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self { state: State::Ground, after_cr: false }
    }

    /// Takes the next byte; `None` while a sequence is unfinished or when it meant nothing.
    pub(crate) fn feed(&mut self, byte: u8) -> Option<Key> {
        let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
        if byte == b'\n' && after_cr {
            return None;
        }
        let state = core::mem::replace(&mut self.state, State::Ground);
        match (state, byte) {
            (_, 0x1b) => {
                self.state = State::Escape;
                None
            }
            // BEL ends a string; it does not ring back.
            (State::Text, 0x07) => None,
            // DEL after ESC is Alt-Backspace, the one control character with a meaning there.
            (State::Escape, 0x7f | 0x08) => Some(Key::Edit(EditKey::KillWordLeft)),
            (_, 0x00..=0x1f | 0x7f) => control(byte),
            (State::Ground, 0x20..=0x7e) => Some(Key::Char(byte)),
            (State::Ground, _) => Some(Key::Unknown),
            (State::Text, _) => {
                self.state = State::Text;
                None
            }
            // Not ASCII within a sequence: noise, and the sequence with it.
            (_, 0x80..) => Some(Key::Unknown),
            (State::Escape, _) => self.escape(byte),
            (State::SingleShift, _) => final_byte(byte, 0, 0),
            (State::Control { first, last, started }, _) => {
                self.control_sequence(byte, first, last, started)
            }
        }
    }

    fn escape(&mut self, byte: u8) -> Option<Key> {
        match byte {
            b'[' => {
                self.state = State::Control { first: 0, last: 0, started: false };
                None
            }
            b'O' => {
                self.state = State::SingleShift;
                None
            }
            b']' | b'P' | b'X' | b'^' | b'_' => {
                self.state = State::Text;
                None
            }
            b'b' | b'B' => Some(Key::Edit(EditKey::WordLeft)),
            b'f' | b'F' => Some(Key::Edit(EditKey::WordRight)),
            b'd' | b'D' => Some(Key::Edit(EditKey::KillWordRight)),
            _ => None,
        }
    }

    fn control_sequence(&mut self, byte: u8, first: u16, last: u16, started: bool) -> Option<Key> {
        match byte {
            b'0'..=b'9' => {
                let last = last.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                let first = if started { first } else { last };
                self.state = State::Control { first, last, started };
                None
            }
            b';' => {
                self.state = State::Control { first, last: 0, started: true };
                None
            }
            // Other parameter and intermediate bytes: consumed with the sequence.
            0x20..=0x3f => {
                self.state = State::Control { first, last, started };
                None
            }
            _ => final_byte(byte, first, if started { last } else { 0 }),
        }
    }
}

/// The key of a sequence that ends in `byte`. With Ctrl or Alt held, an arrow moves by words.
fn final_byte(byte: u8, first: u16, modifier: u16) -> Option<Key> {
    // xterm sends 1 + a bit mask: shift 1, alt 2, ctrl 4.
    let by_word = modifier.saturating_sub(1) & 0b110 != 0;
    let edit = match byte {
        b'A' => return Some(Key::Older),
        b'B' => return Some(Key::Newer),
        b'C' if by_word => EditKey::WordRight,
        b'D' if by_word => EditKey::WordLeft,
        b'C' => EditKey::Right,
        b'D' => EditKey::Left,
        b'H' => EditKey::Home,
        b'F' => EditKey::End,
        b'~' => match first {
            1 | 7 => EditKey::Home,
            3 => EditKey::Delete,
            4 | 8 => EditKey::End,
            _ => return None,
        },
        _ => return None,
    };
    Some(Key::Edit(edit))
}

/// The key of a control character. NUL is what a break condition or a dying wire delivers.
const fn control(byte: u8) -> Option<Key> {
    const fn ctrl(letter: u8) -> u8 {
        letter & 0x1f
    }
    const A: u8 = ctrl(b'a');
    const B: u8 = ctrl(b'b');
    const C: u8 = ctrl(b'c');
    const D: u8 = ctrl(b'd');
    const E: u8 = ctrl(b'e');
    const F: u8 = ctrl(b'f');
    const K: u8 = ctrl(b'k');
    const L: u8 = ctrl(b'l');
    const N: u8 = ctrl(b'n');
    const P: u8 = ctrl(b'p');
    const R: u8 = ctrl(b'r');
    const T: u8 = ctrl(b't');
    const U: u8 = ctrl(b'u');
    const W: u8 = ctrl(b'w');
    Some(match byte {
        0 => return None,
        A => Key::Edit(EditKey::Home),
        B => Key::Edit(EditKey::Left),
        C => Key::Interrupt,
        D => Key::EndOfInput,
        E => Key::Edit(EditKey::End),
        F => Key::Edit(EditKey::Right),
        0x08 | 0x7f => Key::Edit(EditKey::Backspace),
        b'\t' => Key::Tab,
        b'\n' | b'\r' => Key::Enter,
        K => Key::Edit(EditKey::KillToEnd),
        L => Key::Clear,
        N => Key::Newer,
        P => Key::Older,
        R => Key::Search,
        T => Key::Edit(EditKey::Transpose),
        U => Key::Edit(EditKey::KillToStart),
        W => Key::Edit(EditKey::KillWordLeft),
        _ => Key::Unknown,
    })
}
