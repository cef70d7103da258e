//! What is said: both call sites, what was missing, and what this platform could not have shown.

mod common;

use abi::Prot;
use common::{ALL, ASID, DATA, Paper, leaf, page};
use granule_oracle::{Miss, Platform, Rule};

#[test]
fn a_report_names_both_steps_and_what_was_missing() {
    let mut paper = Paper::a72();
    paper.enter(2, ASID);
    paper.store(0, page(3), leaf(DATA, Prot::ReadWrite));
    let changed = line!() + 1;
    paper.exchange(0, page(3), 0);
    paper.publish(0, ALL);
    paper.tlbi(0, common::of_page(3, common::LOCAL));
    paper.complete(0, common::LOCAL);
    let freed = line!() + 1;
    paper.free(DATA);
    let text = paper.to_string();
    let expected = format!(
        "sanitizer: frame-freed: a frame freed that a TLB may still reach
  entry    pte slot 0x40003018 for 0x3000 of asid 5
  was      0x00e8000040010f43 leaf 4K pfn=0x40010 rw- user nG AF dirty
  is       0x0000000000000000 none
  changed  by cpu 0 at kernel/oracle/tests/reports.rs:{changed}
  broken   by cpu 0 at kernel/oracle/tests/reports.rs:{freed}: frame 0x40010000
  missing  the TLBI was local to cpu 0
  may be in the TLB of cpu 2
  on a model: a stale translation is used when the schedule lets it be"
    );
    assert_eq!(text, expected);
}

/// What an emulator hides always, and what it may show.
#[test]
fn each_platform_says_what_it_could_have_shown() {
    let says = |miss| Platform::Emulator.could_show(Rule::FrameFreed, Some(miss)).to_string();
    assert!(says(Miss::Nothing).contains("would show only if"));
    assert!(says(Miss::NotComplete(0)).contains("could not have shown"));
    let table = Platform::Emulator.could_show(Rule::TableFreed, Some(Miss::Nothing)).to_string();
    assert!(table.contains("no walk cache"));
    // What only memory shows no TLB hides.
    let says = |platform: Platform, rule| platform.could_show(rule, None).to_string();
    assert!(says(Platform::Emulator, Rule::NoLock).contains("at that moment"));
    assert!(
        says(Platform::Hardware, Rule::TableFreed).starts_with("on hardware: shows only if a TLB")
    );
    assert!(says(Platform::Unknown, Rule::TableFreed).contains("nobody said"));
}
