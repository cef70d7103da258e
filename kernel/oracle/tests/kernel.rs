//! The kernel's half: global leaves, walks under any ASID, mappings that must be seen when they are given out.

mod common;

use common::Paper;
use common::trace::{Row, judge};
use granule_oracle::Miss;
use pte::Caps;

const ROWS: &[Row] = &[
    ("what was there is known", "kernel; kmap 0 B", "break-before-make"),
    ("a mapping, seen before it is given out", "kernel; kmap 1 B; dsb.st; kdone", "silent"),
    ("one that is not", "kernel; kmap 1 B; kdone", "kernel-unseen"),
    ("a barrier for the CPU itself", "kernel; kmap 1 B; dsb.st.nsh; kdone", "kernel-unseen"),
    ("a barrier for loads", "kernel; kmap 1 B; dsb.ld; kdone", "kernel-unseen"),
    (
        "the second of two was forgotten",
        "kernel; kmap 1 B; dsb.st; kmap 2 C; kdone",
        "kernel-unseen",
    ),
    ("another is over meanwhile", "kernel; kmap 1 B; kdone 2; dsb.st; kdone 1", "silent"),
    ("only the last is asked about", "kernel; kmap 1 B; kmap 2 C; kdone 1", "silent"),
    ("just that one is given out", "kernel; kmap 1 B; kdone 1", "kernel-unseen"),
    ("so is what a new table leads to", "kernel; take T; klink 1 T; kdone 513", "kernel-unseen"),
    ("without its lock", "kernel; unlock; kmap 1 B", "no-lock"),
    ("a new table", "kernel; take T; klink 1 T; dsb.st; kdone", "silent"),
    (
        "free pages are mapped there",
        "free B; kernel; kmap 1 B; dsb.st; kdone; take B; free B",
        "silent",
    ),
    ("flushed for all ASIDs", "kernel; kclear 0; dsb.st; ktlbi 0; dsb; free A", "silent"),
    (
        "flushed for one: a global leaf goes",
        "kernel; kclear 0; dsb.st; ktlbi.only 0; dsb; free A",
        "silent",
    ),
    ("not flushed", "kernel; kclear 0; free A", "frame-freed"),
    (
        "an ASID is flushed: a global leaf stays",
        "kernel; kclear 0; dsb.st; tlbi.asid; dsb; free A",
        "frame-freed",
    ),
    (
        "flushed on one CPU, though nobody runs a space",
        "kernel; kclear 0; dsb.st; ktlbi.nsh 0; dsb; free A",
        "frame-freed",
    ),
    (
        "the same page of a space is flushed",
        "kernel; kclear 0; dsb.st; tlbi 0; dsb; free A",
        "frame-freed",
    ),
    ("another alias before the flush", "kernel; kclear 0; kmap 0 B", "break-incomplete"),
    (
        "another alias after it",
        "kernel; kclear 0; dsb.st; ktlbi 0; dsb; kmap 0 B; dsb.st; kdone",
        "silent",
    ),
    ("fewer rights, not flushed", "kernel; kmap 0 A ro; dsb.st; kdone", "done-early"),
    ("fewer rights, flushed", "kernel; kmap 0 A ro; dsb.st; ktlbi 0; dsb; kdone", "silent"),
    ("fewer rights are no matter of whose page it is", "kernel; kmap 0 A ro; free A", "silent"),
    (
        "a table goes, for all ASIDs",
        "kernel; kunlink 0; dsb.st; ktlbi.walk 0; dsb; kfree",
        "silent",
    ),
    (
        "a table goes, for the one that runs",
        "kernel; kunlink 0; dsb.st; ktlbi.walk.only 0; dsb; kfree",
        "table-freed",
    ),
    (
        "a table goes, with its leaves only",
        "kernel; kunlink 0; dsb.st; ktlbi 0; dsb; kfree",
        "table-freed",
    ),
    (
        "a table goes before the flush",
        "kernel; kunlink 0; kfree; dsb.st; ktlbi.walk 0; dsb",
        "table-freed",
    ),
    ("a table goes that is linked", "kernel; kfree", "table-linked"),
    ("everything is flushed", "kernel; kunlink 0; dsb.st; tlbi.all; dsb; kfree; free A", "silent"),
    (
        "spaces come and go",
        "kernel; leave; enter; map 0 B; clear 0; dsb.st; tlbi 0; dsb; free B",
        "silent",
    ),
];

#[test]
fn the_kernels_half_is_watched() {
    judge(Caps::CORTEX_A72, ROWS);
    judge(Caps::MAX, ROWS);
}

/// Everybody may have what is global, whatever runs.
#[test]
fn a_report_names_all_cpus() {
    let mut paper = Paper::for_traces(Caps::CORTEX_A72);
    paper.play("kernel; leave; kclear 0; dsb.st; tlbi.asid; dsb; free A");
    let report = paper.oracle.report().expect("a report");
    assert_eq!((report.cpus, report.missing), (0b111, Some(Miss::OtherAsid(common::ASID))));
}
