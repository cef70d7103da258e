//! Tab offers what the table declares, inserts what is certain and lists the rest.

use super::vt100::Vt100;
use super::{Diary, TABLE};
use crate::{Candidate, Complete, Ending, Event, LineEditor, Show, Status, Terminal};
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

fn offered(before: &str) -> Vec<String> {
    let mut all = Vec::new();
    TABLE.candidates(before, &mut |candidate| {
        assert!(before.ends_with(&candidate.text[..candidate.typed]));
        let equals = if candidate.ending == Ending::Equals { "=" } else { "" };
        all.push(std::format!("{}{equals}", candidate.text));
    });
    all
}

fn type_into(complete: &dyn Complete, text: &str) -> (LineEditor, Vt100) {
    let mut screen = Vt100::new(40);
    let mut editor = LineEditor::new(Terminal::new(Show::Ansi).with_columns(40), "> ");
    editor.start(&mut screen);
    for byte in text.bytes() {
        assert_eq!(editor.feed(byte, complete, &mut screen), Event::None);
    }
    (editor, screen)
}

fn typed(text: &str) -> String {
    type_into(&TABLE, text).0.text().to_string()
}

#[test]
fn candidates_follow_the_place() {
    let keys = ["cpus=", "secs=", "seed=", "mem=", "tag=", "mode=", "verbose"];
    assert_eq!(offered("").len(), 6);
    assert_eq!(offered("st"), ["stress", "stop"]);
    assert_eq!(offered("cpus; st"), ["stress", "stop"]);
    assert_eq!(offered("stress oom "), keys);
    assert_eq!(offered("stress fault"), ["fault-4k", "fault-thp"]);
    assert_eq!(offered("stress oom secs=1 se"), ["seed="]);
    assert_eq!(offered("stress oom mode="), ["fast", "slow"]);
    assert_eq!(offered("stress oom verbose=o"), ["on", "off"]);
    assert_eq!(
        offered("stress mode=slow "),
        [super::WORKLOADS, &["cpus=", "secs=", "seed=", "mem=", "tag=", "verbose"]].concat()
    );
    assert_eq!(offered("help c"), ["cpus"]);
}

#[test]
fn nothing_is_offered_where_nothing_is_known() {
    for before in
        ["xyzzy ", "stress tag=", "pt kernel ", "stress tag='s", "'st", "cpus ", "stress zzz="]
    {
        assert_eq!(offered(before), Vec::<String>::new(), "{before}");
    }
}

#[test]
fn what_is_certain_is_inserted() {
    assert_eq!(typed("str\t"), "stress ");
    assert_eq!(typed("s\t"), "st", "the common start");
    assert_eq!(typed("stress fa\tt\tsec\t"), "stress fault-thp secs=");
    assert_eq!(typed("stress oom ver\t"), "stress oom verbose ");
    assert_eq!(typed("stress mode=s\t"), "stress mode=slow ");
}

#[test]
fn the_text_after_the_cursor_stays() {
    assert_eq!(typed("str all\x1b[D\x1b[D\x1b[D\x1b[D\t"), "stress  all");
}

#[test]
fn a_second_tab_lists_what_is_open() {
    let (editor, screen) = type_into(&TABLE, "stress oom s\t\t");
    assert_eq!(editor.text(), "stress oom se");
    assert_eq!(screen.rows.len(), 1, "the first Tab found the common start, the second rang");
    let (_, screen) = type_into(&TABLE, "stress oom s\t\t\t");
    let rows: Vec<String> = (0..screen.rows.len()).map(|row| screen.row_at(row)).collect();
    assert_eq!(rows, ["> stress oom se", "  secs=  seed=", "> stress oom se"]);
    let (_, screen) = type_into(&TABLE, "stress \t\t");
    let rows: Vec<String> = (0..screen.rows.len()).map(|row| screen.row_at(row)).collect();
    assert_eq!(
        rows,
        [
            "> stress",
            "  all           fault-4k",
            "  fault-thp     gup-vs-unmap",
            "  oom           cpus=",
            "  secs=         seed=",
            "  mem=          tag=",
            "  mode=         verbose",
            "> stress",
        ]
    );
}

#[test]
fn tabs_with_nothing_to_offer_only_ring() {
    let (editor, screen) = type_into(&TABLE, "xyzzy \t\t\t");
    assert_eq!((editor.text(), screen.rows.len(), screen.bells), ("xyzzy ", 1, 1));
}

/// Offers what could never be typed.
struct Hostile;

impl Complete for Hostile {
    fn candidates(&self, _: &str, offer: &mut dyn FnMut(Candidate<'_>)) {
        let long = "x".repeat(1000);
        for text in ["\x1b[2J", long.as_str(), "é"] {
            offer(Candidate { text, typed: 1, ending: Ending::Blank });
        }
    }
}

#[test]
fn untypable_candidates_are_not_typed() {
    assert_eq!(type_into(&Hostile, "a\t").0.text(), "a");
}

proptest! {
    /// Completion is made from the same table as the parser, so it never leads astray.
    #[test]
    fn whatever_tab_makes_of_a_listed_word_is_understood(
        word in prop::sample::select(super::WORKLOADS.to_vec()),
        cut in any::<prop::sample::Index>(),
    ) {
        let start = &word[..=cut.index(word.len())];
        let line = typed(&std::format!("stress {start}\t"));
        if line.ends_with(' ') {
            let status = TABLE.run(&mut Diary::default(), &line, &mut String::new());
            prop_assert_eq!(status, Status::Ok);
        } else {
            prop_assert!(offered(&line).len() > 1);
        }
    }
}
