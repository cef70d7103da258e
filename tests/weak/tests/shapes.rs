//! The machine on shapes whose answers are known by argument: each in both columns, with every end.

use litmus::{Column, Test, Verdict, parse::parse};

/// More states than any of these needs.
const MOST: usize = 200_000;

fn test(text: &str) -> Test {
    parse(text).unwrap_or_else(|error| panic!("{error:?} in {text}"))
}

/// The verdicts of both columns.
fn verdicts(text: &str) -> [Verdict; 2] {
    let test = test(text);
    [Column::Base, Column::Ets2].map(|column| {
        let outcomes = weak::explore(&test, column, MOST).expect("small");
        assert!(!outcomes.cut && !outcomes.ends.is_empty(), "{}", test.name);
        outcomes.verdict(&test)
    })
}

const A: Verdict = Verdict::Allowed;
const F: Verdict = Verdict::Forbidden;

/// A CPU whose own new entry is used after these steps.
fn own(steps: &str) -> [Verdict; 2] {
    verdicts(&format!(
        "AArch64 own\n{{ [PTE(x)]=(oa:PA(x), valid:0); 0:X0=(oa:PA(x)); 0:X1=PTE(x); 0:X2=x; }}\n\
         P0 ;\n STR X0,[X1] ;\n{steps} L: LDR W3,[X2] ;\nexists (fault(P0:L,x))"
    ))
}

#[test]
fn a_new_entry_of_ones_own_is_seen_after_a_barrier_and_synchronisation() {
    assert_eq!(own(""), [A, F]);
    assert_eq!(own(" DMB SY ;\n"), [A, F]);
    assert_eq!(own(" DSB ISH ;\n"), [A, F]);
    assert_eq!(own(" ISB ;\n"), [A, F]);
    assert_eq!(own(" DSB ISH ;\n ISB ;\n"), [F, F]);
    assert_eq!(own(" DSB ISHST ;\n ISB ;\n"), [F, F]);
}

/// A CPU whose own entry is gone, and used after these steps.
fn gone(steps: &str) -> [Verdict; 2] {
    verdicts(&format!(
        "AArch64 gone\n{{ 0:X0=(oa:PA(x), valid:0); 0:X1=PTE(x); 0:X2=x; }}\n\
         P0 ;\n STR X0,[X1] ;\n LSR X9,X2,#12 ;\n{steps} L: LDR W3,[X2] ;\nexists (~fault(P0:L,x))"
    ))
}

#[test]
fn an_entry_is_gone_after_barrier_operation_barrier_synchronisation() {
    let flush = |before, op, after, sync| {
        gone(&format!(" {before} ;\n TLBI {op} ;\n {after} ;\n {sync} ;\n"))
    };
    let (page, full) = ("VAAE1IS,X9", "DSB ISH");
    assert_eq!(flush(full, page, full, "ISB"), [F, F]);
    assert_eq!(flush("DSB ISHST", page, full, "ISB"), [F, F]);
    assert_eq!(flush(full, "VAALE1IS,X9", full, "ISB"), [F, F]);
    assert_eq!(flush(full, "VMALLE1", full, "ISB"), [F, F]);
    // Each step is needed.
    assert_eq!(flush("DMB SY", page, full, "ISB"), [A, A]);
    assert_eq!(flush("DSB ISHLD", page, full, "ISB"), [A, A]);
    assert_eq!(flush(full, page, "DSB ISHST", "ISB"), [A, A]);
    assert_eq!(flush(full, page, full, "NOP"), [A, F]);
    assert_eq!(flush(full, "ASIDE1IS,X9", full, "ISB"), [A, A], "it is global");
}

/// One CPU takes a page away, shoots it down, and tells another one, which uses the page.
fn told(shoot: &str, reader: &str) -> [Verdict; 2] {
    verdicts(&format!(
        "AArch64 told\n{{ x=1; y=2; 0:X0=(oa:PA(y)); 0:X4=(oa:PA(x), valid:0); 0:X1=PTE(x); 0:X2=x;\n\
         0:X7=z; 1:X7=z; 1:X2=x; }}\n P0 | P1 ;\n STR X4,[X1] | LDR W6,[X7] ;\n LSR X9,X2,#12 | {reader} ;\n\
         DSB ISH | LDR W3,[X2] ;\n {shoot} | ;\n DSB ISH | ;\n MOV W8,#1 | ;\n STR W8,[X7] | ;\n\
         exists (1:X6=1 /\\ 1:X3=1)"
    ))
}

#[test]
fn who_is_told_of_a_shootdown_does_not_use_what_it_removed() {
    let page = "TLBI VAAE1IS,X9";
    assert_eq!(told(page, "DMB ISHLD"), [F, F]);
    assert_eq!(told(page, "DSB ISH"), [F, F]);
    // Without an order the load came first.
    assert_eq!(told(page, "NOP"), [A, A]);
    assert_eq!(told("TLBI VAAE1,X9", "DMB ISHLD"), [A, A], "it stays on its CPU");
    assert_eq!(told("NOP", "DSB ISH"), [A, A]);
}

/// A page's owner reads through it, while it is taken away and given to somebody who writes.
#[test]
fn a_page_that_was_shot_down_is_free_for_others() {
    let reuse = |shoot: &str| {
        verdicts(&format!(
            "AArch64 reuse\n{{ 0:X4=(oa:PA(x), valid:0); 0:X1=PTE(x); 0:X2=x; [PTE(y)]=(oa:PA(x)); 0:X5=y;\n\
             1:X2=x; }}\n P0 | P1 ;\n STR X4,[X1] | LDR W3,[X2] ;\n LSR X9,X2,#12 | ;\n DSB ISH | ;\n\
             {shoot} | ;\n DSB ISH | ;\n MOV W8,#7 | ;\n STR W8,[X5] | ;\n exists (1:X3=7)"
        ))
    };
    assert_eq!(reuse("TLBI VAAE1IS,X9"), [F, F]);
    assert_eq!(reuse("TLBI VAAE1,X9"), [A, A]);
    assert_eq!(reuse("NOP"), [A, A]);
}

/// A table is taken out: its walk, and the leaf in it, by one operation of all levels, not of the last.
#[test]
fn a_table_goes_by_all_levels() {
    let unlink = |op: &str| {
        verdicts(&format!(
            "AArch64 unlink\n{{ x=1; 0:X0=0; 0:X1=PMD(x); 0:X2=x; }}\n P0 ;\n STR X0,[X1] ;\n\
             LSR X9,X2,#12 ;\n DSB ISH ;\n TLBI {op},X9 ;\n DSB ISH ;\n ISB ;\n\
             L: LDR W3,[X2] ;\n exists (~fault(P0:L,x))"
        ))
    };
    assert_eq!(unlink("VAAE1IS"), [F, F]);
    assert_eq!(unlink("VAALE1IS"), [A, A]);
}

/// What a plain memory model says is said here too: translation aside, this is Arm's.
#[test]
fn data_alone() {
    let shape = |p0: [&str; 3], p1: [&str; 3], end: &str| {
        let rows: String = (0..3).map(|n| format!(" {} | {} ;\n", p0[n], p1[n])).collect();
        verdicts(&format!(
            "AArch64 data\n{{ 0:X1=x; 0:X2=y; 1:X1=x; 1:X2=y; 0:X0=1; 1:X0=1; }}\n P0 | P1 ;\n{rows}exists ({end})"
        ))
    };
    let mp = |write, read| {
        shape(
            ["STR W0,[X1]", write, "STR W0,[X2]"],
            ["LDR W3,[X2]", read, "LDR W4,[X1]"],
            "1:X3=1 /\\ 1:X4=0",
        )
    };
    assert_eq!(mp("NOP", "NOP"), [A, A]);
    assert_eq!(mp("DMB ST", "NOP"), [A, A]);
    assert_eq!(mp("DMB ST", "DMB LD"), [F, F]);
    let sb = |fence| {
        shape(
            ["STR W0,[X1]", fence, "LDR W3,[X2]"],
            ["STR W0,[X2]", fence, "LDR W4,[X1]"],
            "0:X3=0 /\\ 1:X4=0",
        )
    };
    assert_eq!(sb("NOP"), [A, A]);
    assert_eq!(sb("DMB SY"), [F, F]);
    let lb = |fence| {
        shape(
            ["LDR W3,[X1]", fence, "STR W0,[X2]"],
            ["LDR W4,[X2]", fence, "STR W0,[X1]"],
            "0:X3=1 /\\ 1:X4=1",
        )
    };
    assert_eq!(lb("NOP"), [A, A]);
    assert_eq!(lb("DMB LD"), [F, F]);
}

/// What is more than the machine is willing to look at is said, not passed.
#[test]
fn too_much_is_reported() {
    let test = test(
        "AArch64 any\n{ 0:X1=x; 1:X1=x; }\n P0 | P1 ;\n LDR W0,[X1] | LDR W0,[X1] ;\nexists (0:X0=0)",
    );
    let refused = weak::explore(&test, Column::Base, 2).expect_err("more than two states");
    assert_eq!(refused.to_string(), "not explored: too many states");
}
