//! The editor as plainly as possible: a string, a cursor, lists.

use crate::{HISTORY_LINES, LINE_MAX};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Press {
    Char(char),
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
    KillBlankWord,
    KillWordRight,
    Transpose,
    Older,
    Newer,
    Search,
    Enter,
    Interrupt,
    Nonsense,
}

use Press::*;

impl Press {
    /// All byte sequences that mean this key.
    pub(super) fn codes(self) -> Vec<Vec<u8>> {
        let codes: &[&[u8]] = match self {
            Char(character) => return std::vec![std::vec![character as u8]],
            Left => &[b"\x02", b"\x1b[D", b"\x1bOD", b"\x1b[1D"],
            Right => &[b"\x06", b"\x1b[C", b"\x1bOC"],
            Home => &[b"\x01", b"\x1b[H", b"\x1b[1~", b"\x1b[7~", b"\x1bOH"],
            End => &[b"\x05", b"\x1b[F", b"\x1b[4~", b"\x1b[8~", b"\x1bOF"],
            WordLeft => &[b"\x1bb", b"\x1b[1;5D", b"\x1b[1;3D"],
            WordRight => &[b"\x1bf", b"\x1b[1;5C", b"\x1b[1;3C"],
            Backspace => &[b"\x7f", b"\x08"],
            Delete => &[b"\x1b[3~"],
            KillToStart => &[b"\x15"],
            KillToEnd => &[b"\x0b"],
            KillBlankWord => &[b"\x17", b"\x1b\x7f"],
            KillWordRight => &[b"\x1bd"],
            Transpose => &[b"\x14"],
            Older => &[b"\x10", b"\x1b[A", b"\x1bOA"],
            Newer => &[b"\x0e", b"\x1b[B", b"\x1bOB"],
            Search => &[b"\x12"],
            Enter => &[b"\r", b"\n", b"\r\n"],
            Interrupt => &[b"\x03"],
            Nonsense => &[b"\xff", b"\xc3\xa9", b"\x1b[99~", b"\x1b[?1;2c", b"\x00", b"\x1bq"],
        };
        codes.iter().map(|code| code.to_vec()).collect()
    }

    /// Any key, typing most often, and which of its codes to send.
    pub(super) fn any() -> impl Strategy<Value = (Self, prop::sample::Index)> {
        let typed =
            prop::char::ranges(std::vec!['a'..='d', ' '..=' ', '-'..='-'].into()).prop_map(Char);
        let others = prop::sample::select(std::vec![
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
            KillBlankWord,
            KillWordRight,
            Transpose,
            Older,
            Newer,
            Search,
            Enter,
            Interrupt,
            Nonsense,
        ]);
        (prop_oneof![2 => typed, 1 => others], any::<prop::sample::Index>())
    }
}

/// What the editor should hold.
#[derive(Default)]
pub(super) struct Model {
    pub(super) left: Vec<char>,
    /// In reverse: its last character is next to the cursor.
    right: Vec<char>,
    /// Oldest first.
    pub(super) history: Vec<String>,
    recalled: Option<usize>,
    draft: String,
}

impl Model {
    pub(super) fn text(&self) -> String {
        self.left.iter().chain(self.right.iter().rev()).collect()
    }

    fn set(&mut self, text: &str) {
        self.left = text.chars().collect();
        self.right.clear();
    }

    /// Does what the key says; returns a line that was entered.
    pub(super) fn press(&mut self, press: Press) -> Option<String> {
        let text = self.text();
        match press {
            Char(character) if text.len() < LINE_MAX => self.left.push(character),
            Char(_) | Nonsense => {}
            Left => self.right.extend(self.left.pop()),
            Right => self.left.extend(self.right.pop()),
            Home => while self.step_left() {},
            End => while self.step_right() {},
            WordLeft => {
                while self.left.last().is_some_and(|c| !c.is_alphanumeric()) && self.step_left() {}
                while self.left.last().is_some_and(|c| c.is_alphanumeric()) && self.step_left() {}
            }
            WordRight => {
                while self.right.last().is_some_and(|c| !c.is_alphanumeric()) && self.step_right() {
                }
                while self.right.last().is_some_and(|c| c.is_alphanumeric()) && self.step_right() {}
            }
            Backspace => drop(self.left.pop()),
            Delete => drop(self.right.pop()),
            KillToStart => self.left.clear(),
            KillToEnd => self.right.clear(),
            KillBlankWord => {
                while self.left.last() == Some(&' ') {
                    self.left.pop();
                }
                while self.left.last().is_some_and(|&c| c != ' ') {
                    self.left.pop();
                }
            }
            KillWordRight => {
                while self.right.last().is_some_and(|c| !c.is_alphanumeric()) {
                    self.right.pop();
                }
                while self.right.last().is_some_and(|c| c.is_alphanumeric()) {
                    self.right.pop();
                }
            }
            Transpose => {
                if !self.left.is_empty() && text.len() > 1 {
                    let second = match self.right.pop() {
                        Some(second) => second,
                        None => self.left.pop().unwrap(),
                    };
                    let first = self.left.pop().unwrap();
                    self.left.extend([second, first]);
                    // An edit, also where both are the same.
                    self.recalled = None;
                }
            }
            Older => self.recall(self.recalled.map_or(0, |age| age + 1)),
            Newer => match self.recalled {
                None => {}
                Some(0) => {
                    self.recalled = None;
                    let draft = self.draft.clone();
                    self.set(&draft);
                }
                Some(age) => self.recall(age - 1),
            },
            Search => {
                let wanted =
                    if self.recalled.is_some() { self.draft.clone() } else { text.clone() };
                let from = self.recalled.map_or(0, |age| age + 1);
                let mut ages = from..self.history.len().min(HISTORY_LINES);
                let found = ages.find(|&age| self.back(age).unwrap().contains(&wanted));
                if let Some(age) = found {
                    self.recall(age);
                }
            }
            Enter | Interrupt => {
                self.set("");
                self.recalled = None;
                if press == Enter {
                    if !text.is_empty() && self.history.last() != Some(&text) {
                        self.history.push(text.clone());
                    }
                    return Some(text);
                }
            }
        }
        let moved_only = matches!(press, Older | Newer | Search);
        if !moved_only && self.text() != text {
            self.recalled = None;
        }
        None
    }

    fn back(&self, age: usize) -> Option<String> {
        let remembered = self.history.len().min(HISTORY_LINES);
        (age < remembered).then(|| self.history[self.history.len() - 1 - age].clone())
    }

    fn recall(&mut self, age: usize) {
        let Some(line) = self.back(age) else { return };
        if self.recalled.is_none() {
            self.draft = self.text();
        }
        self.recalled = Some(age);
        self.set(&line);
    }

    fn step_left(&mut self) -> bool {
        let character = self.left.pop();
        self.right.extend(character);
        character.is_some()
    }

    fn step_right(&mut self) -> bool {
        let character = self.right.pop();
        self.left.extend(character);
        character.is_some()
    }
}
