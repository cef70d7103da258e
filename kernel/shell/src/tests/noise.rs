//! No bytes do harm, and buffers keep their bounds.

use super::vt100::Vt100;
use super::{Diary, Got, TABLE, feed};
use crate::{
    Arrival, Commands, Event, LINE_MAX, LineEditor, Show, TYPEAHEAD_BYTES, Terminal, TypeAhead,
    Words,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::string::String;
use std::vec::Vec;

/// Bytes of the kinds that matter, control characters and sequence starts more than their share.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let sequence =
        prop::sample::select(std::vec![&b"\x1b["[..], b"\x1bO", b"\x1b]", b"stress ", b"\t\t"]);
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| std::vec![byte]),
        (0..32_u8).prop_map(|byte| std::vec![byte]),
        (b' '..=b'~').prop_map(|byte| std::vec![byte]),
        sequence.prop_map(<[u8]>::to_vec),
    ];
    prop::collection::vec(piece, 0..400).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_leave_a_sound_editor(bytes in noise(), columns in 0..100_usize, show in 0..3) {
        let show = [Show::Ansi, Show::Plain, Show::Nothing][show as usize];
        let terminal = Terminal::new(show).with_columns(columns);
        let mut editor = LineEditor::new(terminal, "granule> ");
        // Without ANSI, rows may be as long as they like.
        let mut screen = Vt100::new(if show == Show::Ansi { terminal.columns() } else { 10_000 });
        editor.start(&mut screen);
        for byte in bytes {
            match editor.feed(byte, &TABLE, &mut screen) {
                Event::None => {}
                Event::Line(line) | Event::Overlong { kept: line, .. } => {
                    prop_assert!(line.len() <= LINE_MAX);
                    prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
                    TABLE.run(&mut Diary::default(), line, &mut String::new());
                    editor.start(&mut screen);
                }
                Event::Interrupt | Event::EndOfInput => editor.start(&mut screen),
            }
            prop_assert!(editor.cursor() <= editor.text().len());
            prop_assert!(editor.text().len() <= LINE_MAX);
        }
        if show == Show::Nothing {
            prop_assert_eq!(screen.raw, "");
        }
        // Whatever state the noise left behind, two keys and a line get through.
        let mut out = String::new();
        let got = feed(&mut editor, b"\x03cpus\r", &mut out);
        prop_assert_eq!(got, std::vec![Got::Interrupt, Got::Line("cpus".into())]);
    }

    #[test]
    fn any_text_can_be_taken_apart(text in any::<String>()) {
        for word in Words::of(&text).flatten() {
            prop_assert!(text.contains(word.value));
        }
        for command in Commands::of(&text).flatten() {
            prop_assert!(!command.is_empty());
            prop_assert!(text.contains(command));
        }
        TABLE.run(&mut Diary::default(), &text, &mut String::new());
    }

    #[test]
    fn type_ahead_keeps_the_first_bytes_since_the_last_ctrl_c(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
        let mut queue = TypeAhead::new();
        let mut model: VecDeque<u8> = VecDeque::new();
        // Often enough to fill it and go round; few of them Ctrl-C, which empties it.
        for (place, &byte) in bytes.repeat(10).iter().enumerate() {
            let byte = if byte == 3 && place % 64 > 0 { 4 } else { byte };
            let want = if byte == 3 {
                model.clear();
                Arrival::Interrupt
            } else if model.len() < TYPEAHEAD_BYTES {
                model.push_back(byte);
                Arrival::Kept
            } else {
                Arrival::Dropped
            };
            prop_assert_eq!(queue.offer(byte), want);
            // Now and then somebody reads.
            if byte % 5 == 0 && !model.is_empty() {
                prop_assert_eq!(queue.take(), model.pop_front());
            }
        }
        let rest: VecDeque<u8> = core::iter::from_fn(|| queue.take()).collect();
        prop_assert_eq!(rest, model);
    }
}

#[test]
fn noise_is_not_answered_with_noise() {
    let mut screen = Vt100::new(80);
    let mut editor = LineEditor::new(Terminal::new(Show::Ansi), "> ");
    editor.start(&mut screen);
    feed(&mut editor, &[0xff; 5000], &mut screen);
    assert_eq!(screen.bells, 1);
    feed(&mut editor, b"a\xff\xff", &mut screen);
    assert_eq!(screen.bells, 2, "once more after a key of use");
}

#[test]
fn a_paste_costs_few_bytes_of_echo() {
    let mut screen = Vt100::new(80);
    let mut editor = LineEditor::new(Terminal::new(Show::Ansi), "granule> ");
    editor.start(&mut screen);
    feed(&mut editor, &[b'x'; 20_000], &mut screen);
    // The row scrolls by half a window: each character is drawn some two times on average.
    assert!(screen.raw.len() < 3 * LINE_MAX, "{}", screen.raw.len());
}

#[test]
fn a_flood_of_lines_is_a_line_each() {
    let mut editor = LineEditor::new(Terminal::new(Show::Plain), "");
    let flood = b"cpus\r\n".repeat(1000);
    let got = feed(&mut editor, &flood, &mut String::new());
    assert_eq!(got.len(), 1000);
    assert!(got.iter().all(|got| *got == Got::Line("cpus".into())));
    assert!(size_of::<LineEditor>() < 6 << 10, "it says 5 KiB");
}
