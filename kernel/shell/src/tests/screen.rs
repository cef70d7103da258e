//! The terminal's row shows the line, and a dumb one is sent no escape sequences.

use super::model::Press;
use super::vt100::Vt100;
use super::{Got, feed};
use crate::{Colour, LineEditor, Show, Terminal};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

const PROMPT: &str = "granule> ";

fn drawn(show: Show, bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut editor = LineEditor::new(Terminal::new(show), PROMPT);
    editor.start(&mut out);
    feed(&mut editor, bytes, &mut out);
    out
}

proptest! {
    #[test]
    fn the_row_shows_prompt_text_and_cursor(
        presses in prop::collection::vec(Press::any(), 0..250),
        columns in 20..60_usize,
        ansi in any::<bool>(),
    ) {
        let show = if ansi { Show::Ansi } else { Show::Plain };
        let mut editor = LineEditor::new(Terminal::new(show).with_columns(columns), PROMPT);
        let mut screen = Vt100::new(if ansi { columns } else { 1000 });
        editor.start(&mut screen);
        for (press, which) in presses {
            let codes = press.codes();
            let code: &Vec<u8> = which.get(&codes);
            for got in feed(&mut editor, code, &mut screen) {
                prop_assert!(matches!(got, Got::Line(_) | Got::Interrupt));
                editor.start(&mut screen);
            }
            let (text, cursor) = (editor.text(), editor.cursor());
            // Which part of the text is in the window follows from where the cursor stands.
            let first = cursor - (screen.column - PROMPT.len());
            let room = if ansi { columns - PROMPT.len() - 3 } else { usize::MAX };
            let shown: String = text.chars().skip(first).take(room).collect();
            let want = std::format!("{PROMPT}{shown}");
            prop_assert_eq!(screen.row(), want.trim_end());
            prop_assert!(ansi || first == 0, "without ANSI nothing scrolls");
        }
        if !ansi {
            prop_assert!(!screen.raw.contains(['\x1b', '\x07', '\r']));
        }
    }

    #[test]
    fn hiding_and_showing_changes_nothing(text in "[a-z]{0,90}", back in 0..95_usize) {
        let mut editor = LineEditor::new(Terminal::new(Show::Ansi), PROMPT);
        let mut screen = Vt100::new(80);
        editor.start(&mut screen);
        feed(&mut editor, text.as_bytes(), &mut screen);
        feed(&mut editor, &b"\x02".repeat(back), &mut screen);
        let before = (screen.row(), screen.column);
        editor.hide(&mut screen);
        prop_assert_eq!(screen.row(), "");
        core::fmt::Write::write_str(&mut screen, "log: something\n").unwrap();
        editor.show(&mut screen);
        prop_assert_eq!((screen.row(), screen.column), before);
    }
}

#[test]
fn typing_echoes_a_byte_for_a_byte() {
    for show in [Show::Ansi, Show::Plain] {
        assert_eq!(drawn(show, b"cpus\r"), "granule> cpus\n");
    }
}

#[test]
fn a_dumb_terminal_rubs_out_with_blanks() {
    assert_eq!(drawn(Show::Plain, b"ab\x7f"), "granule> ab\x08 \x08");
    assert_eq!(drawn(Show::Plain, b"abc\x15"), "granule> abc\x08\x08\x08   \x08\x08\x08");
}

#[test]
fn nobody_is_sent_nothing() {
    assert_eq!(drawn(Show::Nothing, b"ab\x7f\x0c\t\tcpus\r\x03\x04"), "");
}

#[test]
fn interrupt_is_marked() {
    assert_eq!(drawn(Show::Plain, b"ab\x03"), "granule> ab^C\n");
}

#[test]
fn clearing_keeps_the_line() {
    let mut screen = Vt100::new(80);
    let mut editor = LineEditor::new(Terminal::new(Show::Ansi), PROMPT);
    editor.start(&mut screen);
    feed(&mut editor, b"one\rtwo\x02\x0c", &mut screen);
    assert_eq!((screen.rows.len(), screen.row().as_str()), (1, "granule> two"));
    assert_eq!(screen.column, PROMPT.len() + 2);
}

#[test]
fn colour_is_only_sent_when_asked_for_and_understood() {
    for (show, coloured) in [(Show::Ansi, true), (Show::Plain, false), (Show::Nothing, false)] {
        let terminal = Terminal::new(show).with_colour(Colour::Prompt);
        let mut out = String::new();
        LineEditor::new(terminal, PROMPT).start(&mut out);
        assert_eq!(out.contains("\x1b["), coloured, "{out:?}");
    }
    assert_eq!(drawn(Show::Ansi, b""), PROMPT);
}
