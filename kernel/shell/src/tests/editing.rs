//! The line equals the model's after any keys.

use super::model::{Model, Press};
use super::{Got, feed};
use crate::{HISTORY_LINES, LINE_MAX, LineEditor, Show, Terminal};
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

fn editor() -> LineEditor {
    LineEditor::new(Terminal::new(Show::Nothing), "granule> ")
}

fn entered(bytes: &[u8]) -> Vec<Got> {
    feed(&mut editor(), bytes, &mut String::new())
}

fn line(text: &str) -> Got {
    Got::Line(text.to_string())
}

proptest! {
    #[test]
    fn line_and_cursor_equal_the_model(presses in prop::collection::vec(Press::any(), 0..200)) {
        let (mut editor, mut model) = (editor(), Model::default());
        let mut previous = Press::Nonsense;
        for (press, which) in presses {
            let codes = press.codes();
            let mut code = which.get(&codes).clone();
            if previous == Press::Enter && code == b"\n" {
                // After a CR that would be the same line end.
                code = b"\r".to_vec();
            }
            previous = press;
            let lines = feed(&mut editor, &code, &mut String::new());
            let want = model.press(press);
            let lines: Vec<_> = lines.into_iter().filter(|got| *got != Got::Interrupt).collect();
            prop_assert_eq!(lines, want.into_iter().map(Got::Line).collect::<Vec<_>>());
            if press != Press::Enter && press != Press::Interrupt {
                prop_assert_eq!(editor.text(), model.text());
                prop_assert_eq!(editor.cursor(), model.left.len());
            }
        }
    }
}

#[test]
fn each_line_end_is_one_line() {
    let want = std::vec![line("a"), line("b"), line("c"), line(""), line("d")];
    assert_eq!(entered(b"a\rb\nc\r\n\r\nd\r"), want);
}

#[test]
fn crlf_cut_by_other_bytes_is_two_line_ends() {
    assert_eq!(entered(b"a\rb\n"), std::vec![line("a"), line("b")]);
    assert_eq!(entered(b"\r\x00\n"), std::vec![line(""), line("")]);
}

#[test]
fn ctrl_d_ends_input_only_on_an_empty_line() {
    assert_eq!(entered(b"\x04"), std::vec![Got::EndOfInput]);
    assert_eq!(entered(b"ab\x02\x04\r"), std::vec![line("a")]);
}

#[test]
fn ctrl_c_works_within_any_unfinished_sequence() {
    for start in
        [&b"\x1b"[..], b"\x1b[", b"\x1b[1;", b"\x1bO", b"\x1b]0;title", b"\x1bP", b"\xe2\x82"]
    {
        let mut bytes = b"abc".to_vec();
        bytes.extend_from_slice(start);
        bytes.extend_from_slice(b"\x03x\r");
        assert_eq!(entered(&bytes), std::vec![Got::Interrupt, line("x")], "{start:?}");
    }
}

#[test]
fn terminal_answers_are_no_text() {
    assert_eq!(
        entered(b"a\x1b[?62;1c\x1b[24;80R\x1b]11;rgb:00\x07\x1bP1$r0m\x1b\\b\r"),
        [line("ab")]
    );
}

#[test]
fn what_fits_is_kept_and_the_rest_is_counted() {
    let mut editor = editor();
    let mut out = String::new();
    let mut bytes = std::vec![b'x'; LINE_MAX];
    bytes.extend_from_slice(b"=50;y\r");
    let kept = "x".repeat(LINE_MAX);
    assert_eq!(feed(&mut editor, &bytes, &mut out), [Got::Overlong(kept.clone(), 5)]);
    // It can be recalled and entered; somebody has seen it.
    assert_eq!(feed(&mut editor, b"\x10\r", &mut out), [Got::Line(kept)]);
}

#[test]
fn nothing_is_put_in_after_a_hole() {
    let mut editor = editor();
    let mut out = String::new();
    feed(&mut editor, &[b'x'; LINE_MAX + 1], &mut out);
    feed(&mut editor, b"\x1b[D", &mut out);
    // A hand at the keys: the loss was seen, so the line may go on and be run.
    assert_eq!(
        feed(&mut editor, b"\x7fy\r", &mut out),
        [line(&"x".repeat(LINE_MAX - 2).chars().chain("yx".chars()).collect::<String>())]
    );
}

#[test]
fn the_last_lines_are_recalled_in_order() {
    let mut editor = editor();
    let mut out = String::new();
    for number in 0..HISTORY_LINES + 3 {
        feed(&mut editor, std::format!("line {number}\r").as_bytes(), &mut out);
    }
    for number in (3..HISTORY_LINES + 3).rev() {
        feed(&mut editor, b"\x1b[A", &mut out);
        assert_eq!(editor.text(), std::format!("line {number}"));
    }
    feed(&mut editor, b"\x1b[A", &mut out);
    assert_eq!(editor.text(), "line 3", "the oldest stays");
}

#[test]
fn empty_and_repeated_lines_are_not_remembered() {
    let mut editor = editor();
    let mut out = String::new();
    feed(&mut editor, b"old\rnew\rnew\r\rnew\r\x1b[A", &mut out);
    assert_eq!(editor.text(), "new");
    feed(&mut editor, b"\x1b[A", &mut out);
    assert_eq!(editor.text(), "old");
}

#[test]
fn a_draft_survives_a_look_at_the_history() {
    let mut editor = editor();
    let mut out = String::new();
    feed(&mut editor, b"old\rdraft\x1b[A", &mut out);
    assert_eq!(editor.text(), "old");
    feed(&mut editor, b"\x1b[B", &mut out);
    assert_eq!(editor.text(), "draft");
}

#[test]
fn search_goes_from_match_to_match() {
    let mut editor = editor();
    let mut out = String::new();
    feed(&mut editor, b"stress oom\rcpus\rstress all\rmem\rstress", &mut out);
    for want in ["stress all", "stress oom", "stress oom"] {
        feed(&mut editor, b"\x12", &mut out);
        assert_eq!(editor.text(), want);
    }
}
