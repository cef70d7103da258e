//! The machine against the law on tests that nobody wrote: two CPUs, a few instructions each, of entries of
//! two levels, sets, numbers and ranges. Each must end in exactly the same ways.

use litmus::{Column, Test, law, parse::parse};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// More states than most need; a test that needs more says nothing.
const MOST: usize = 100_000;

/// Dice: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.roll(all.len())]
    }
}

/// Descriptors for `x`'s page.
const PAGES: &[&str] = &[
    "(oa:PA(x))",
    "(oa:PA(y))",
    "(oa:PA(x), valid:0)",
    "(oa:PA(x), valid:0)",
    "(oa:PA(x), db:0)",
    "(oa:PA(x), af:0)",
    "(oa:PA(y), ng:1)",
    "(oa:PA(x), cont:1)",
    "(oa:PA(x), db:0, dbm:1)",
];
/// Descriptors for the level above.
const TABLES: &[&str] = &["(table:PTE(x))", "0", "(table:t)", "(oa:PA(x), level:2)"];
/// Descriptors for `y`'s page.
const NEIGHBOURS: &[&str] = &["(oa:PA(y))", "(oa:PA(y), cont:1)", "(oa:PA(y), valid:0)"];
/// Tables and numbers.
const ROOTS: &[&str] = &["TTBR(s)"];
/// TLBIs: by the operand in X9, which is `x`'s page under some number; or without one.
const FLUSHES: &[&str] = &[
    "VAAE1IS,X9",
    "VAAE1IS,X9",
    "VAALE1IS,X9",
    "VAE1IS,X9",
    "VALE1IS,X9",
    "ASIDE1IS,X9",
    "VMALLE1IS",
    "VAAE1,X9",
    "VMALLE1",
    "RVAAE1IS,X10",
];
const OPERANDS: &[&str] =
    &["(va:x)", "(va:x, asid:0)", "(va:x, asid:1)", "(va:x, ttl:3)", "(va:x, ttl:2)", "(va:y)"];
const RANGES: &[&str] =
    &["(va:x, scale:0, num:0)", "(va:y, scale:0, num:0)", "(va:x, scale:0, num:0, ttl:3)"];
const BARRIERS: &[&str] = &[
    "DSB ISH",
    "DSB ISH",
    "DSB NSH",
    "DSB ISHST",
    "DSB ISHLD",
    "DMB SY",
    "DMB LD",
    "DMB ST",
    "ISB",
    "ISB",
];

/// One instruction; loads go to register `to`, which is looked at in the end.
fn instruction(dice: &mut Dice, to: usize, tables: bool) -> (String, bool) {
    match dice.roll(22) {
        18 => ("STR X13,[X14]".into(), false),
        19 => (format!("LDR W{to},[X15]"), true),
        20 => ("MSR TTBR0_EL1,X12".into(), false),
        16 => ("AT S1E1R,X2".into(), false),
        17 => (format!("MRS X{to},PAR_EL1"), true),
        0 | 1 => (format!("STR X{},[X1]", 4 + dice.roll(3)), false),
        2 if tables => ("STR X7,[X8]".into(), false),
        3..=5 => (format!("LDR W{to},[X2]"), true),
        6 => ("STR W11,[X2]".into(), false),
        7 => (format!("LDR X{to},[X1]"), true),
        8 => ("STR W11,[X3]".into(), false),
        9 => (format!("LDR W{to},[X3]"), true),
        10 | 11 => (format!("TLBI {}", dice.of(FLUSHES)), false),
        _ => (dice.of(BARRIERS).into(), false),
    }
}

/// A test's text.
fn text(seed: u64) -> String {
    let dice = &mut Dice(seed);
    let hardware = dice.of(&["", "", "", "TTHM=HA\n", "TTHM=HA HD\n"]);
    let mut text = format!(
        "AArch64 random-{seed}\n{hardware}{{\n x=1; y=2; z=0; near x y; table t; space s=(asid:2);\n"
    );
    let _ = writeln!(text, " [PTE(x)]={}; [PTE(x,t)]={};", dice.of(PAGES), dice.of(PAGES));
    let _ = writeln!(text, " [PTE(x,s)]={}; [PTE(y)]={};", dice.of(PAGES), dice.of(NEIGHBOURS));
    // The law lets hardware set the access flag of a descriptor that no walk comes to; the machine does not.
    let tables = hardware.is_empty();
    if tables && dice.roll(4) == 0 {
        let _ = writeln!(text, " [PMD(x)]={};", dice.of(TABLES));
    }
    let lengths = [1 + dice.roll(5), 1 + dice.roll(4)];
    let mut looked_at = Vec::new();
    let mut columns = Vec::new();
    for (thread, length) in lengths.into_iter().enumerate() {
        let pages: Vec<_> = (4..7).map(|n| format!("{thread}:X{n}={};", dice.of(PAGES))).collect();
        let _ = writeln!(
            text,
            " {thread}:X1=PTE(x); {thread}:X2=x; {thread}:X3=z; {} {thread}:X7={}; {thread}:X8=PMD(x);\n \
             {thread}:X9={}; {thread}:X10={}; {thread}:X11={}; {thread}:X12={}; {thread}:X13={};\n \
             {thread}:X14=PTE(y); {thread}:X15=y;",
            pages.join(" "),
            dice.of(TABLES),
            dice.of(OPERANDS),
            dice.of(RANGES),
            7 + thread,
            dice.of(ROOTS),
            dice.of(NEIGHBOURS)
        );
        let mut column = Vec::new();
        for nth in 0..length {
            let (instruction, loads) = instruction(dice, 20 + nth, tables);
            if loads {
                looked_at.push(format!("{thread}:X{};", 20 + nth));
            }
            column.push(instruction);
        }
        columns.push(column);
    }
    text += "}\n P0 | P1 ;\n";
    for row in 0..lengths[0].max(lengths[1]) {
        let cell = |thread: usize| columns[thread].get(row).map_or("", String::as_str);
        let _ = writeln!(text, " {} | {} ;", cell(0), cell(1));
    }
    let _ = writeln!(
        text,
        "locations [{} x; y; [PTE(x)]; fault(P0,x); fault(P1,x);]\nexists (x=0)",
        looked_at.concat()
    );
    text
}

/// What the one has and the other has not; `None` where either gives up.
fn difference(test: &Test, column: Column) -> Option<[Vec<Vec<u64>>; 2]> {
    let machine = weak::explore(test, column, MOST).ok()?;
    let law: BTreeSet<_> = law::outcomes(test, column).ok()?.states.into_keys().collect();
    let only =
        |one: &BTreeSet<Vec<u64>>, other: &BTreeSet<_>| one.difference(other).cloned().collect();
    Some([only(&machine.ends, &law), only(&law, &machine.ends)])
}

/// `FIRST` and `TESTS` in the environment choose other seeds: the first one, and how many.
#[test]
fn the_machine_reaches_what_the_law_allows_and_nothing_else() {
    let var = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (first, many) = (var("FIRST").unwrap_or(1), var("TESTS").unwrap_or(300));
    let (mut compared, mut wrong) = (0, 0);
    for seed in first..first + many {
        let text = text(seed);
        let test = parse(&text).unwrap_or_else(|error| panic!("{error:?} in\n{text}"));
        for column in [Column::Base, Column::Ets2] {
            let Some([machine, law]) = difference(&test, column) else { continue };
            compared += 1;
            if !machine.is_empty() || !law.is_empty() {
                println!(
                    "{column:?}: only the machine {machine:x?}, only the law {law:x?}\n{text}"
                );
                wrong += 1;
            }
        }
    }
    println!("{compared} compared");
    assert_eq!(wrong, 0, "tests that end in other ways, above");
    assert!(compared > many, "too many were too large: {compared} of {}", 2 * many);
}
