//! Devices with TLBs of their own: what was taken away is gone when they have lost it too.

mod common;

use common::Paper;
use common::trace::{Row, judge};
use granule_oracle::Miss;
use pte::Caps;

const ROWS: &[Row] = &[
    (
        "CPUs are flushed, the device is not told",
        "attach; map 0 A; clear 0; dsb.st; tlbi 0; dsb; free A",
        "frame-freed",
    ),
    ("it is told", "attach; map 0 A; clear 0; dsb.st; tlbi 0; dsb; cmd 0; sync; free A", "silent"),
    (
        "told before CPUs are",
        "attach; map 0 A; clear 0; dsb.st; cmd 0; sync; tlbi 0; dsb; free A",
        "silent",
    ),
    (
        "it is told, CPUs are not",
        "attach; map 0 A; clear 0; dsb.st; cmd 0; sync; free A",
        "frame-freed",
    ),
    (
        "told, and nobody waits",
        "attach; map 0 A; clear 0; dsb.st; tlbi 0; dsb; cmd 0; free A",
        "frame-freed",
    ),
    (
        "told before it can see the store",
        "attach; map 0 A; clear 0; cmd 0; sync; dsb; tlbi 0; dsb; free A",
        "frame-freed",
    ),
    (
        "told of another number",
        "attach; map 0 A; clear 0; dsb; tlbi 0; dsb; cmd.other 0; sync; free A",
        "frame-freed",
    ),
    (
        "told of another page",
        "attach; map 0 A; clear 0; dsb; tlbi 0; dsb; cmd 1; sync; free A",
        "frame-freed",
    ),
    (
        "told to forget the space",
        "attach; map 0 A; clear 0; dsb; tlbi 0; dsb; cmd.asid; sync; free A",
        "silent",
    ),
    (
        "a barrier is no sync",
        "attach; map 0 A; clear 0; dsb; tlbi 0; cmd 0; dsb; free A",
        "frame-freed",
    ),
    (
        "a sync is no barrier",
        "attach; map 0 A; clear 0; dsb; tlbi 0; cmd 0; sync; free A",
        "frame-freed",
    ),
    (
        "it listens to broadcasts",
        "attach.listens; map 0 A; clear 0; dsb; tlbi 0; dsb; free A",
        "silent",
    ),
    (
        "it listens, and CPUs flush themselves",
        "attach.listens; map 0 A; clear 0; dsb; tlbi.nsh 0; dsb.nsh; free A",
        "frame-freed",
    ),
    (
        "copy on write: told after the new entry",
        "attach; map 0 A ro; clear 0; dsb; tlbi 0; dsb; map 0 B",
        "break-incomplete",
    ),
    (
        "copy on write: told in between",
        "attach; map 0 A ro; clear 0; dsb; tlbi 0; dsb; cmd 0; sync; map 0 B",
        "silent",
    ),
    (
        "rights taken from CPUs only",
        "attach; map 0 A; map 0 A ro; dsb; tlbi 0; dsb; done",
        "done-early",
    ),
    (
        "rights taken from both",
        "attach; map 0 A; map 0 A ro; dsb; tlbi 0; dsb; cmd 0; sync; done",
        "silent",
    ),
    (
        "a table is freed that it may walk",
        "table T; dsb.st; link 1 T; attach; unlink 1; dsb; tlbi.walk 512; dsb; release T",
        "table-freed",
    ),
    (
        "of a table it forgets leaves only",
        "table T; dsb.st; link 1 T; attach; unlink 1; dsb; tlbi.walk 512; dsb; cmd 512; sync; release T",
        "table-freed",
    ),
    (
        "of a table it forgets walks too",
        "table T; dsb.st; link 1 T; attach; unlink 1; dsb; tlbi.walk 512; dsb; cmd.walk 512; sync; release T",
        "silent",
    ),
    ("nobody runs the space but the device", "attach; leave; unlock; map 0 A", "no-lock"),
    ("it was never there", "map 0 A; clear 0; dsb; tlbi 0; dsb; free A; attach", "silent"),
    (
        "it leaves with a translation, and comes back",
        "attach; map 0 A; detach; clear 0; dsb; tlbi 0; dsb; free A; attach",
        "asid-trap",
    ),
    (
        "it leaves, forgets, and comes back",
        "attach; map 0 A; detach; clear 0; dsb; tlbi 0; dsb; cmd.all; sync; free A; attach",
        "silent",
    ),
    ("its number goes to another space", "attach; detach; twin; attach.twin", "asid-stale"),
    ("its number is flushed first", "attach; detach; cmd.asid; sync; twin; attach.twin", "silent"),
    ("it sees all of what it is given", "leave; table T; link 1 T; attach", "link-unpublished"),
];

#[test]
fn devices_are_owed_as_cpus_are() {
    judge(Caps::CORTEX_A72, ROWS);
}

#[test]
fn a_report_names_the_device() {
    let told = |steps: &str| {
        let mut paper = Paper::for_traces(Caps::CORTEX_A72);
        paper.play(steps);
        let report = *paper.oracle.report().expect("a report");
        (report.missing, report.cpus, report.devices, paper.to_string())
    };
    let (miss, cpus, devices, text) = told("attach; map 0 A; clear 0; dsb; tlbi 0; dsb; free A");
    assert_eq!((miss, cpus, devices), (Some(Miss::NotTold(0)), 0, 1), "{text}");
    assert!(text.contains("\n  may be in the TLB of device 0\n"), "{text}");
    let (miss, ..) = told("attach; map 0 A; clear 0; dsb; tlbi 0; dsb; cmd 0; free A");
    assert_eq!(miss, Some(Miss::NotSynced(0)));
}
