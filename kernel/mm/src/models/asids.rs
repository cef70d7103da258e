//! A CPU that goes on with the number it has, against a roll-over on another.

use super::{Without, machine};
use crate::tlb::Context;
use loom::thread;
use std::sync::Arc;

/// CPU 1 enters its space again while CPU 0 begins a new generation and enters another space. Then both
/// run, under different numbers; and if CPU 1's is of the new generation, it has dropped what it
/// had cached.
pub fn going_on_against_a_rollover(without: Without) {
    let mm = without.boot();
    let (ours, theirs) = (Arc::new(Context::default()), Context::default());
    machine::be(1);
    let first = mm.activate_asid(&ours);
    machine::be(0);
    let (before, dropped) = (mm.asids.generation(), mm.hw.dropped(1));
    let goer = {
        let (mm, ours) = (mm.clone(), ours.clone());
        thread::spawn(move || {
            machine::be(1);
            mm.activate_asid(&ours)
        })
    };
    mm.limit_asids(Some(4));
    let other = mm.activate_asid(&theirs);
    let asid = goer.join().expect("no panic");
    assert_ne!(asid, other, "wrong: two spaces run under one number");
    assert_eq!(mm.asids.generation(), before + 1);
    // Entered once more, the space is of the new generation for certain.
    machine::be(1);
    let last = mm.activate_asid(&ours);
    assert_ne!(last, other, "wrong: two spaces have one number");
    assert_eq!((first, asid), (last, last), "wrong: who goes on has another number");
    assert!(mm.hw.dropped(1) > dropped, "wrong: a new generation among the old one's translations");
    machine::be(0);
}
