//! The law's answers to shapes whose answers are known from the architecture's text: barriers, faults, TLBIs
//! and hardware's updates around one descriptor.

mod common;

use common::{test, verdicts};
use litmus::Verdict::{self, Allowed, Forbidden, Required};
use litmus::{Column, law, parse};

fn check(name: &str, initial: &str, columns: &[&str], condition: &str, want: (Verdict, Verdict)) {
    assert_eq!(verdicts(&test(initial, columns, condition)), want, "{name}");
}

/// A page that is mapped while another CPU looks: what is known about it, and by which barriers.
#[test]
fn a_new_mapping_becomes_known() {
    let initial =
        "int x=1; [PTE(x)]=(valid:0); 0:X0=(oa:PA(x)); 0:X1=PTE(x); 0:X2=f; 1:X2=f; 1:X1=x;";
    let faults = "exists (1:X3=1 /\\ fault(P1:L0,x))";
    let run = |writer: &str, reader: &str, want| {
        let writer = format!("STR X0,[X1];{writer};MOV W3,#1;STR W3,[X2]");
        let reader = format!("LDR W3,[X2];{reader};L0: LDR W4,[X1]");
        check(&format!("{writer} / {reader}"), initial, &[&writer, &reader], faults, want);
    };
    run("NOP", "DSB SY;ISB", (Allowed, Allowed));
    run("DSB SY", "NOP", (Allowed, Forbidden));
    run("DSB SY", "DSB SY", (Allowed, Forbidden));
    run("DSB SY", "DSB SY;ISB", (Forbidden, Forbidden));
    run("DMB ST", "DMB LD;ISB", (Allowed, Forbidden));
    run("DMB ST", "DSB LD;ISB", (Forbidden, Forbidden));
}

/// The CPU's own: a store of a descriptor, and what its next access finds.
#[test]
fn a_cpu_knows_its_own_mapping() {
    let initial = "int x=1; [PTE(x)]=(valid:0); 0:X0=(oa:PA(x)); 0:X1=PTE(x); 0:X2=x;";
    let run = |between: &str, want| {
        let column = format!("STR X0,[X1];{between};L0: LDR W3,[X2]");
        check(&column, initial, &[&column], "exists fault(P0:L0,x)", want);
    };
    run("NOP", (Allowed, Forbidden));
    run("DSB SY", (Allowed, Forbidden));
    run("ISB", (Allowed, Forbidden));
    run("DSB SY;ISB", (Forbidden, Forbidden));
}

/// A page is unmapped. Only a TLBI between the right barriers ends its use elsewhere.
#[test]
fn an_old_mapping_is_forgotten() {
    let initial = "int x=1; 0:X1=PTE(x); 0:X2=x; 0:X3=f; 0:X4=y; 1:X2=x; 1:X3=f; 1:X4=y;";
    let run = |flush: &str, reader: &str, want| {
        let writer = format!("STR XZR,[X1];{flush};MOV W5,#1;STR W5,[X3]");
        let reader = format!("LDR W5,[X3];{reader};L0: LDR W6,[X2]");
        let condition = "exists (1:X5=1 /\\ not fault(P1:L0,x))";
        check(&format!("{writer} / {reader}"), initial, &[&writer, &reader], condition, want);
    };
    let flush =
        |before: &str, op: &str, after: &str| format!("{before};LSR X9,X2,#12;{op};{after}");
    let all = |op: &str| flush("DSB ISH", op, "DSB ISH");
    run("DSB ISH", "DMB LD", (Allowed, Allowed));
    run(&all("TLBI VAAE1IS,X9"), "DMB LD", (Forbidden, Forbidden));
    run(&all("TLBI VAAE1IS,X9"), "NOP", (Allowed, Allowed));
    run(&all("TLBI VMALLE1IS"), "DMB LD", (Forbidden, Forbidden));
    run(&all("TLBI VAAE1,X9"), "DMB LD", (Allowed, Allowed));
    run(&flush("NOP", "TLBI VAAE1IS,X9", "DSB ISH"), "DMB LD", (Allowed, Allowed));
    run(&flush("DMB ISH", "TLBI VAAE1IS,X9", "DSB ISH"), "DMB LD", (Allowed, Allowed));
    run(&flush("DSB ISHST", "TLBI VAAE1IS,X9", "DSB ISH"), "DMB LD", (Forbidden, Forbidden));
    run(&flush("DSB LD", "TLBI VAAE1IS,X9", "DSB ISH"), "DMB LD", (Allowed, Allowed));
    run(&flush("DSB ISH", "TLBI VAAE1IS,X9", "DSB ISHST"), "DMB LD", (Allowed, Allowed));
    run(&flush("DSB ISH", "TLBI VAAE1IS,X9", "DMB ISH"), "DMB LD", (Allowed, Allowed));
    run(&flush("DSB ISH", "TLBI VAAE1IS,X9", "DSB NSH"), "DMB LD", (Allowed, Allowed));
}

/// What freed memory is for: the next owner's store is not seen through the old mapping.
#[test]
fn a_page_is_used_again() {
    let initial = "int x=1; [PTE(y)]=(oa:PA(x)); 0:X1=PTE(x); 0:X2=x; 0:X4=y; 1:X2=x;";
    let run = |flush: &str, want| {
        let writer = format!("STR XZR,[X1];{flush};MOV W5,#2;STR W5,[X4]");
        check(flush, initial, &[&writer, "LDR W6,[X2]"], "exists 1:X6=2", want);
    };
    run("DSB ISH;LSR X9,X2,#12;TLBI VAAE1IS,X9;DSB ISH", (Forbidden, Forbidden));
    run("DSB ISH;LSR X9,X4,#12;TLBI VAAE1IS,X9;DSB ISH", (Allowed, Allowed));
    run("DSB ISH;LSR X9,X2,#12;TLBI VAAE1IS,X9;DMB ISH", (Allowed, Allowed));
}

/// Hardware's updates are atomic: none is lost to an exchange, one may be lost to a plain store.
#[test]
fn hardware_updates_are_atomic() {
    let head = "AArch64 here\nTTHM=P1:HA P1:HD\n";
    let run = |column: &str, want: &[(&str, Verdict)]| {
        for (condition, verdict) in want {
            let initial = "int x; [PTE(x)]=(db:0,dbm:1); 0:X0=(oa:PA(y)); 0:X1=PTE(x); 1:X1=x;";
            let text = common::text(initial, &[column, "MOV W2,#1;STR W2,[X1]"], condition);
            let text = text.replacen("AArch64 here\n", head, 1);
            let test = parse(&text).unwrap();
            assert_eq!(law::verdict(&test, Column::Base), Ok(*verdict), "{text}");
        }
    };
    let lost = "exists (0:X3=(oa:PA(x),db:0,dbm:1) /\\ [x]=1)";
    run("SWP X0,X3,[X1]", &[(lost, Forbidden)]);
    run("LDR X3,[X1];STR X0,[X1]", &[(lost, Allowed)]);
    run("NOP", &[("forall ([x]=1 /\\ [PTE(x)]=(db:1,dbm:1))", Required)]);
}

/// Which fault it is, and that a handler sees what was before it.
#[test]
fn faults_have_kinds_and_handlers() {
    let kinds = [("valid:0", "Translation"), ("af:0", "AccessFlag"), ("db:0", "Permission")];
    for (field, kind) in kinds {
        let initial = format!("int x; [PTE(x)]=({field}); 0:X1=x;");
        let condition = format!("forall fault(P0:L0,x,MMU:{kind})");
        check(kind, &initial, &["L0: STR W2,[X1]"], &condition, (Required, Required));
    }
    let text = "AArch64 handled\n{\n [PTE(x)]=(valid:0); 0:X1=x; 0:X2=y;\n}\n\
         P0 | P0.F ;\n\
         MOV W3,#1 | ADR X9,L1 ;\n STR W3,[X2] | MSR ELR_EL1,X9 ;\n\
         LDR W4,[X1] | LDR W5,[X2] ;\n L1: | ERET ;\n MOV W6,#7 | ;\n\
         forall (0:X5=1 /\\ 0:X6=7 /\\ 0:X9=label:\"P0:L1\")";
    assert_eq!(verdicts(&parse(text).unwrap()), (Required, Required));
}

/// A change that needed break-before-make is marked, one that had it is not.
#[test]
fn what_breaks_break_before_make_is_marked() {
    let initial = "int x=1; int y=2; 0:X0=(oa:PA(y)); 0:X1=PTE(x); 0:X2=x; 1:X2=x;";
    let run = |column: &str| {
        let test = test(initial, &[column, "LDR W3,[X2]"], "exists 1:X3=2");
        law::outcomes(&test, Column::Base).unwrap().is_broken()
    };
    let flush = "DSB ISH;LSR X9,X2,#12;TLBI VAAE1IS,X9;DSB ISH";
    assert!(run("STR X0,[X1]"));
    assert!(run(&format!("STR X0,[X1];{flush}")));
    assert!(run("STR XZR,[X1];DSB ISH;STR X0,[X1]"));
    assert!(!run(&format!("STR XZR,[X1];{flush};STR X0,[X1]")));
}

/// A test is refused when it is more than the law looks at.
#[test]
fn too_large_is_said() {
    let column = ["LDADD W1,W2,[X1]"; 70].join(";");
    let large = test("0:X1=x; 1:X1=x; 2:X1=x;", &[&column, &column, &column], "exists 0:X2=1");
    assert_eq!(law::verdict(&large, Column::Base), Err(law::TooLarge));
}

/// The line that tells both columns.
#[test]
fn verdicts_are_told() {
    let initial = "int x=1; [PTE(x)]=(valid:0); 0:X0=(oa:PA(x)); 0:X1=PTE(x); 0:X2=x;";
    let column = "STR X0,[X1];DSB SY;L0: LDR W3,[X2]";
    let faults = law::verdicts(&test(initial, &[column], "exists fault(P0:L0,x)")).unwrap();
    assert_eq!(faults.to_string(), "Allowed (ETS2: Forbidden)");
    let reads = law::verdicts(&test(initial, &[column], "exists 0:X3=1")).unwrap();
    assert_eq!(reads.to_string(), "Allowed");
}

/// Runs of one thread multiply, and a kernel's heap is small: the law gives up before it has used that up.
#[test]
fn many_runs_are_too_large() {
    let loads: String = (2..18).map(|nth| format!(" LDR X{nth},[X1] | ;\n")).collect();
    let start = "int64_t x; 0:X1=x; 1:X1=x; 1:X2=1;";
    let text = format!(
        "AArch64 many\n{{ {start} }}\n P0 | P1 ;\n{loads} | STR X2,[X1] ;\nexists (0:X2=1)\n"
    );
    assert!(law::outcomes(&parse(&text).unwrap(), Column::Base).is_err());
}

/// Whoever waits for the law may have enough.
#[test]
fn the_law_can_be_interrupted() {
    let (heads, stores): (Vec<_>, Vec<_>) =
        (0..8).map(|nth| (format!("P{nth}"), "STR X2,[X1]")).unzip();
    let start: String = (0..8).map(|nth| format!("{nth}:X1=x; {nth}:X2={};", nth + 1)).collect();
    let text = format!(
        "AArch64 coherence\n{{ int64_t x; {start} }}\n {} ;\n {row} ;\n {row} ;\nexists (x=1)\n",
        heads.join("|"),
        row = stores.join("|"),
    );
    let asked = core::cell::Cell::new(0);
    let goes_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 3
    };
    assert!(law::outcomes_while(&parse(&text).unwrap(), Column::Base, &goes_on).is_err());
    assert_eq!(asked.get(), 3);
}
