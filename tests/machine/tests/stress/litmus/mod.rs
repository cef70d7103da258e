//! Litmus tests on the machine that the memory manager runs on. Its CPUs take their steps in order and its
//! dice choose what TLBs keep, so it shows less than the law allows; what it shows, the law must allow.

mod runner;

use litmus::{Column, Test, catalogue, law, parse};
use runner::Board;
use std::collections::BTreeSet;

/// Runs of each test.
const RUNS: u64 = 400;

fn test(text: &str) -> Test {
    parse(text).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

/// Whether the machine shows what the test asks about. Whatever it shows must be allowed.
fn shows(text: &str) -> bool {
    let test = test(text);
    let board = Board::new(&test).expect("the machine can do all of it");
    let ends: BTreeSet<_> = (1..=RUNS).map(|seed| board.run(seed)).collect();
    let allowed = law::outcomes(&test, Column::Base).expect("small").states;
    for end in &ends {
        let in_law = board.as_law_has_it(end);
        assert!(allowed.contains_key(&in_law), "{}: {in_law:x?} is forbidden\n{text}", test.name);
    }
    ends.iter().any(|end| test.holds(&board.layout, end))
}

/// One CPU changes an entry, does `steps`, and tells another, which uses the page after `reader`: whether
/// what the old entry gave is seen.
fn told(name: &str, old: &str, new: &str, steps: &[&str], seen: &str) -> bool {
    let mut rows = vec!["STR X4,[X1] | LDR W6,[X7]", "LSR X9,X2,#12 | DMB LD"]
        .into_iter()
        .map(String::from)
        .collect::<Vec<_>>();
    let reads = ["L: LDR W3,[X2]"];
    for (nth, step) in steps.iter().chain(&["DMB ST", "MOV W8,#1", "STR W8,[X7]"]).enumerate() {
        rows.push(format!("{step} | {}", reads.get(nth).unwrap_or(&"")));
    }
    shows(&format!(
        "AArch64 {name}\n{{ x=1; y=2; [PTE(x)]={old}; 0:X4={new}; 0:X1=PTE(x); 0:X2=x; 0:X7=z; 1:X7=z; 1:X2=x; }}\n\
         P0 | P1 ;\n {} ;\nexists (1:X6=1 /\\ {seen})",
        rows.join(" ;\n ")
    ))
}

#[test]
fn a_stale_entry_is_shown_until_it_is_shot_down() {
    let run =
        |name, steps: &[&str]| told(name, "(oa:PA(x))", "(oa:PA(x), valid:0)", steps, "1:X3=1");
    let page = "TLBI VAAE1IS,X9";
    assert!(run("no-flush", &["DSB ISH"]));
    assert!(run("own-cpu-only", &["DSB ISH", "TLBI VAAE1,X9", "DSB ISH"]));
    assert!(run("no-wait", &["DSB ISH", page]));
    assert!(run("no-publish", &[page, "DSB ISH"]));
    assert!(run("another-asid", &["DSB ISH", "TLBI ASIDE1IS,X9", "DSB ISH"]), "it is global");
    assert!(!run("shot-down", &["DSB ISH", page, "DSB ISH"]));
    assert!(!run("all-shot-down", &["DSB ISH", "TLBI VMALLE1IS", "DSB ISH"]));
}

#[test]
fn a_new_frame_is_shown_after_a_break() {
    let run = |name, steps: &[&str]| told(name, "(oa:PA(x))", "(oa:PA(y))", steps, "1:X3=1");
    assert!(run("moved", &["DSB ISH"]));
    assert!(!run("moved-shot-down", &["DSB ISH", "TLBI VAAE1IS,X9", "DSB ISH"]));
}

#[test]
fn a_fault_is_never_remembered() {
    let run = |name, steps: &[&str]| {
        told(name, "(oa:PA(x), valid:0)", "(oa:PA(x))", steps, "fault(P1:L,x)")
    };
    assert!(!run("made", &["DSB ISH"]));
}

/// A table is taken out; the walk to it, and the leaf in it.
#[test]
fn a_walk_is_shown_until_all_levels_are_shot_down() {
    let run = |op: &str| {
        shows(&format!(
            "AArch64 unlink\n{{ x=1; 0:X0=0; 0:X1=PMD(x); 0:X2=x; 0:X7=z; 1:X7=z; 1:X2=x; }}\n P0 | P1 ;\n\
             STR X0,[X1] | LDR W6,[X7] ;\n LSR X9,X2,#12 | DMB LD ;\n DSB ISH | LDR W3,[X2] ;\n\
             {op} | ;\n DSB ISH | ;\n MOV W8,#1 | ;\n STR W8,[X7] | ;\nexists (1:X6=1 /\\ 1:X3=1)"
        ))
    };
    assert!(run("NOP"));
    assert!(run("TLBI VAALE1IS,X9"));
    assert!(!run("TLBI VAAE1IS,X9"));
}

/// One of a set is changed; another one's address still leads to where the set did.
#[test]
fn a_set_is_cached_as_one() {
    let run = |name: &str, op: &str| {
        shows(&format!(
            "AArch64 {name}\n{{ x=1; y=2; near x y; [PTE(x)]=(oa:PA(x), cont:1); [PTE(y)]=(oa:PA(y), valid:0);\n\
             0:X2=y; }}\n P0 ;\n {op} ;\n LDR W3,[X2] ;\nexists (0:X3=2)"
        ))
    };
    assert!(!run("only-one-has-the-mark", "NOP"), "nobody has walked for the other one");
}

/// What a walk has seen, no walk behind a barrier and a synchronisation misses.
#[test]
fn a_new_entry_that_was_used_stays() {
    let again = |between: &str| {
        shows(&format!(
            "AArch64 again\n{{ x=1; [PTE(x)]=(oa:PA(x), valid:0); 0:X1=x; 1:X3=PTE(x); 1:X4=(oa:PA(x)); }}\n\
             P0 | P1 ;\n LDR W2,[X1] | STR X4,[X3] ;\n {between}\
             L: LDR W5,[X1] | ;\nexists (0:X2=1 /\\ fault(P0:L,x))"
        ))
    };
    assert!(again(""), "it may have walked for the second one first");
    assert!(!again("DSB SY | ;\n ISB | ;\n "));
}

/// Hardware that finds another entry than it wanted to mark dirty walks again.
#[test]
fn a_store_meets_a_change_of_its_entry() {
    let faults = |new: &str| {
        shows(&format!(
            "AArch64 dirty\nTTHM=HA HD\n{{ [PTE(x)]=(oa:PA(x), db:0, dbm:1); 0:X1=x; 0:X2=1; 1:X3=PTE(x);\n\
             1:X4={new}; y=0; }}\n P0 | P1 ;\n STR W2,[X1] | STR X4,[X3] ;\nexists (fault(P0,x))"
        ))
    };
    assert!(!faults("(oa:PA(y), db:0, dbm:1)"));
    assert!(faults("(oa:PA(y), db:0, dbm:0)"));
}

/// Every test of the catalogue that the machine can run.
#[test]
fn what_it_shows_of_the_catalogue_is_allowed() {
    let (mut ran, mut wrong) = (0, Vec::new());
    for entry in catalogue::all() {
        let test = entry.test().expect("the catalogue's own tests read it");
        let Some(board) = Board::new(&test) else { continue };
        let allowed = law::outcomes(&test, Column::Base).expect("small");
        ran += 1;
        for seed in 1..=20 {
            let end = board.as_law_has_it(&board.run(seed));
            if !allowed.states.contains_key(&end) {
                wrong.push(format!("{} by seed {seed}: {end:x?}", test.name));
            }
        }
    }
    assert!(ran >= 100, "{ran} tests are few");
    assert!(wrong.is_empty(), "not allowed: {wrong:#?}");
}
