//! Frames are found in a stream however it is cut, and this very program explains itself.

use super::*;
use std::env;

#[inline(never)]
fn landmark() -> usize {
    std::hint::black_box(7)
}

#[test]
fn a_frame_is_a_number_and_sixteen_digits_and_nothing_else() {
    let frame = Some(Frame { number: 3, pc: 0xffff_8000_0000_1234 });
    assert_eq!(Frame::parse("  #3 0xffff800000001234"), frame);
    for other in ["#3 0x1234", "#x 0xffff800000001234", "# 1 text", "#3 0xffff800000001234 in f"] {
        assert_eq!(Frame::parse(other), None, "{other}");
    }
}

#[test]
fn a_return_address_is_looked_up_at_its_call() {
    assert_eq!(Frame { number: 0, pc: 0x1000 }.lookup(), 0x1000);
    assert_eq!(Frame { number: 1, pc: 0x1000 }.lookup(), 0xffc);
}

#[test]
fn output_without_frames_passes_unchanged_however_it_is_cut() {
    let text = b"granule> \x1b[Kpt kernel 0x40\r\n# note\r\n#4 0xzz\nend";
    for cut in 1..text.len() {
        let mut explainer = Explainer::new(Vec::new(), None);
        explainer.feed(&text[..cut]).unwrap();
        explainer.feed(&text[cut..]).unwrap();
        assert_eq!(explainer.out, text);
    }
}

#[test]
fn a_frame_of_this_program_gets_its_function() {
    // Position-independent: the file's address is the running one less where it was loaded; the
    // distance between two symbols is the same in both, so one known symbol places the other.
    let exe = env::current_exe().unwrap();
    let symbols = Symbols::open(&exe, &crate::workspace::root()).unwrap();
    let bytes = std::fs::read(&exe).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let landmark_at = {
        use object::{Object, ObjectSymbol};
        let named = |s: &object::Symbol<'_, '_>| s.name().is_ok_and(|n| n.contains("landmark"));
        file.symbols().find(named).unwrap().address()
    };
    let line = format!("  #0 {landmark_at:#018x}\r\n");
    let text = String::from_utf8(explain(line.as_bytes(), symbols)).unwrap();
    assert_eq!(landmark(), 7);
    assert!(text.contains("landmark at xtask/src/symbols/tests.rs:"), "{text}");
    assert!(text.ends_with("\r\n"), "{text:?}");
}
