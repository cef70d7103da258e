//! The catalogue: it is whole, it says what the law says, and the page about it says what it says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use litmus::catalogue::{self, Entry, GROUPS};
use litmus::{Column, Verdict, law};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The published shapes that each kind of question began with.
const CORE: [&str; 57] = [
    "coWRExpNExp",
    "I2V-UP-DSB",
    "I2V-UP-DSB-ISB",
    "coWRExpNExp+DSB-TLBI-DSB",
    "V2I",
    "V2I-load-DSB-ISB",
    "V2I-W-DSB.ST-TLBI-DSB.ISH-ISB-R",
    "V2I-W-DSB.LD-TLBI-DSB.ISH-ISB-R",
    "V2I-W-DSB.ISH-TLBI-DSB.ST-ISB-R",
    "V2I-W+R-CTRL-TLBI-DSB.ISH-ISB-R",
    "DBchange-UP-STR-DSB-ISB",
    "DBchange-UP-STR-DSB-TLBI-DSB-ISB",
    "permchange-M-shoot+DMB.ISH",
    "MP-pte",
    "MP-pte+DMBST+DMBLD",
    "D15347-M-load-DSB+DSB-ISB",
    "MP+DSB+DSB-ISB",
    "D15347-M-load-shoot+DMB.LD",
    "MP+shoot+po",
    "MP+shoot+DMBLD",
    "MP+bbm+dmbld",
    "MP+BBM+DSB-ISB+BIS",
    "WRC+shoot+DSB",
    "coRR-pte8",
    "coRR-pte8-dsb",
    "coRR-pte8-dsb-isb",
    "coRR-pte9",
    "coRRExpNExp",
    "coRRExpNExp+DSB-ISB",
    "coWR-pte",
    "VIS01-load",
    "nBBM+LDR",
    "IRIW-I2Vpte+64",
    "IRIW-V2Ipte+64",
    "IRIW-V2Vpte+64",
    "MP+dmb.st+dsb.ld-tlbi-dsb-isb",
    "MP+dmb.st+dsb.ld-tlbi-noscope-dsb-isb",
    "MP+dmb.ish+scope-tlbi.vmall-dsb.ish-isb",
    "W1",
    "LDRx-ctrl-DSB-STRptex-RO",
    "LDR-AF",
    "STR-DB",
    "STR-AF-DB",
    "LDRaf0",
    "LDRaf0-noHA",
    "STRx+LDR-STRptex+db",
    "MP+HD-DSB.ISH",
    "MP+HD-DSB.LD",
    "coRR+HA-DSB.LD",
    "TST-EL0",
    "V2I-UP-DSB-TLBI-DSB-ISB",
    "D15347-store-DSB-ISB",
    "PTE-WRC",
    "RaR-PTE",
    "coRR-pte7",
    "coRR-pte5",
    "LBNExpNExp",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What the text claims: base, ETS2.
fn claimed(entry: &Entry) -> [Verdict; 2] {
    let expected = entry.test().unwrap().expected;
    [expected.base.unwrap(), expected.ets2.unwrap()]
}

#[test]
fn verdicts_are_those_of_the_law() {
    for entry in catalogue::all() {
        let test = entry.test().unwrap();
        let found = [Column::Base, Column::Ets2].map(|column| law::verdict(&test, column).unwrap());
        assert_eq!(found, claimed(&entry), "{}: by the law, by the text", test.name);
    }
}

/// Packed, linked into the image and unpacked, a text is the file still.
#[test]
fn every_file_is_in_the_image() {
    let mut files = Vec::new();
    for folder in fs::read_dir(root().join("catalogue")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            files.push(file.unwrap().path());
        }
    }
    let entries: Vec<_> = catalogue::all().collect();
    assert_eq!(files.len(), entries.len());
    for Entry { group, text } in &entries {
        let name = text.lines().next().unwrap().strip_prefix("AArch64 ").unwrap();
        let file = root().join(format!("catalogue/{}/{name}.litmus", group.name));
        assert_eq!(&fs::read_to_string(&file).unwrap(), text, "{}", file.display());
        assert!(text.is_ascii(), "{name}: what stands for two bytes is no byte of a text");
    }
    let names: BTreeSet<_> = entries.iter().map(|entry| entry.name().to_owned()).collect();
    assert_eq!(names.len(), entries.len(), "a name is one test's");
}

#[test]
fn there_are_as_many_as_promised() {
    let of = |group: &str| catalogue::matching(group).count();
    let published = catalogue::all().filter(|entry| entry.group.published).count();
    let new = catalogue::all().count() - published;
    assert!(published >= 100 && new >= 90, "{published} published, {new} new");
    for (group, least) in [
        ("levels", 12),
        ("asid", 8),
        ("range", 6),
        ("contiguous", 6),
        ("scope", 5),
        ("at", 2),
        ("device", 2),
    ] {
        assert!(of(group) >= least, "{group}: {}", of(group));
    }
    for name in CORE {
        assert!(catalogue::find(name).is_some_and(|entry| entry.group.published), "{name}");
    }
}

#[test]
fn tests_are_found_by_name_part_and_group() {
    let names = |part| catalogue::matching(part).map(|e| e.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(catalogue::find("ROT+rel").unwrap().group.name, "levels");
    assert_eq!(catalogue::find("ROT+re"), None);
    assert_eq!(names("IRIW").len(), 3);
    assert_eq!(names("bbm").len(), catalogue::all().filter(|e| e.group.name == "bbm").count());
    assert_eq!(names("no such test"), [""; 0]);
    assert_eq!(names("").len(), catalogue::all().count());
}

/// The page's tables, one for each group.
fn tables() -> String {
    let mut page = String::new();
    for group in &GROUPS {
        let new = if group.published { "" } else { " (new)" };
        writeln!(page, "### `{}`: {}{new}\n", group.name, group.about).unwrap();
        writeln!(page, "| test | what it shows | base | ETS2 |\n| --- | --- | --- | --- |")
            .unwrap();
        for entry in catalogue::all().filter(|entry| entry.group == group) {
            let [base, ets2] = claimed(&entry);
            let about = &entry.test().unwrap().notes[0];
            writeln!(page, "| `{}` | {about} | {base:?} | {ets2:?} |", entry.name()).unwrap();
        }
        page.push('\n');
    }
    page
}

#[test]
fn the_page_lists_it() {
    let path = root().join("../../docs/litmus-catalogue.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, listed) = page.split_once("## All of them\n\n").expect("the chapter of tables");
    let tables = tables();
    assert!(listed.trim_end() == tables.trim_end(), "it should read:\n{tables}");
}
