//! The law's answers where no public catalogue has any: several levels, address spaces, ranges and hints,
//! contiguous sets. Each verdict is derived in `docs/litmus.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use common::{test, verdicts};
use litmus::Verdict::{self, Allowed, Forbidden};
use litmus::{Column, law};

fn check(initial: &str, columns: &[&str], condition: &str, want: Verdict) {
    let found = verdicts(&test(initial, columns, condition));
    assert_eq!(found, (want, want), "{initial}\n{columns:?}\n{condition}");
}

/// Whether the test reaches some state only by breaking break-before-make.
fn is_marked(initial: &str, columns: &[&str]) -> bool {
    law::outcomes(&test(initial, columns, "exists true"), Column::Base).unwrap().is_broken()
}

/// Shape: a table is filled, then linked.
#[test]
fn a_table_is_linked() {
    let fill = |first: &str| {
        format!(
            "table t; int x=1; int y=2; [PMD(x)]=0; [PTE(x,t)]={first}; \
             0:X0=(oa:PA(x)); 0:X1=PTE(x,t); 0:X2=(table:t); 0:X3=PMD(x);"
        )
    };
    let (empty, reused) = (fill("0"), fill("(oa:PA(y))"));
    let own = "STR X0,[X1];STR X2,[X3];DSB ISH;ISB;L0: LDR W6,[X5]";
    let own_of = |initial: &str| format!("{initial} 0:X5=x;");
    check(&own_of(&empty), &[own], "exists fault(P0:L0,x)", Forbidden);
    check(&own_of(&reused), &[own], "exists 0:X6=2", Allowed);
    let apart = own.replacen(';', ";DMB ST;", 1);
    check(&own_of(&reused), &[&apart], "exists 0:X6=2", Forbidden);
    // Another CPU: the table's old content is seen through the new link if the link is seen first.
    let other_of = |initial: &str| format!("{initial} 1:X5=x;");
    for (between, want) in [("DMB ST", Forbidden), ("DSB ISHST", Forbidden), ("NOP", Allowed)] {
        let writer = format!("STR X0,[X1];{between};STR X2,[X3]");
        check(&other_of(&reused), &[&writer, "LDR W6,[X5]"], "exists 1:X6=2", want);
        assert_eq!(is_marked(&other_of(&reused), &[&writer, "LDR W6,[X5]"]), want == Allowed);
    }
}

/// Shape: a table is taken out; its pages are read again.
#[test]
fn a_table_is_unlinked() {
    let initial = "near x y; int x=1; int y=2; 0:X1=PMD(x); 0:X2=x; 0:X3=y; 0:X8=(va:x,asid:1);";
    let run = |flush: &str, whose: char, want| {
        let from = if whose == 'x' { "X2" } else { "X3" };
        let column = format!("STR XZR,[X1];DSB ISH;{flush};DSB ISH;ISB;L0: LDR W6,[{from}]");
        check(initial, &[&column], &format!("exists not fault(P0:L0,{whose})"), want);
    };
    run("TLBI VAE1IS,X8", 'x', Forbidden);
    run("TLBI VALE1IS,X8", 'x', Allowed);
    run("TLBI VAE1IS,X8", 'y', Allowed);
    run("TLBI VMALLE1IS", 'y', Forbidden);
    run("TLBI ASIDE1IS,X8", 'x', Allowed);
}

/// Shape: a table is taken out and becomes something else, which a walker takes for descriptors.
#[test]
fn a_table_is_used_again() {
    let initial = "int x=1; int z=3; table t; [PTE(x,t)]=(oa:PA(x)); \
         0:X0=(oa:PA(z)); 0:X1=PMD(x); 0:X3=PTE(x); 0:X8=(va:x,asid:1); 1:X2=x;";
    for (op, want) in [("VAE1IS", Forbidden), ("VALE1IS", Allowed), ("VAE1", Allowed)] {
        let writer = format!("STR XZR,[X1];DSB ISH;TLBI {op},X8;DSB ISH;STR X0,[X3]");
        check(initial, &[&writer, "LDR W6,[X2]"], "exists 1:X6=3", want);
        assert_eq!(is_marked(initial, &[&writer, "LDR W6,[X2]"]), want == Allowed);
    }
}

/// Shape: a block becomes a table. One TLBI for any of its addresses removes the block.
#[test]
fn a_block_is_split() {
    let initial = "near x y; int x=1; int y=2; int z=3; [PMD(x)]=(oa:PA(x),level:2); [PTE(y)]=(oa:PA(z)); \
         0:X0=(table:PTE(x)); 0:X1=PMD(x); 0:X3=y; 0:X8=(va:x,asid:1);";
    let bbm = "STR XZR,[X1];DSB ISH;TLBI VAE1IS,X8;DSB ISH;STR X0,[X1];DSB ISH;ISB;LDR W6,[X3]";
    check(initial, &[bbm], "exists 0:X6=2", Forbidden);
    assert!(!is_marked(initial, &[bbm]));
    let direct = "STR X0,[X1];DSB ISH;ISB;LDR W6,[X3]";
    check(initial, &[direct], "exists 0:X6=2", Allowed);
    assert!(is_marked(initial, &[direct]));
}

/// Shape: another space is switched to; whose translations are left.
#[test]
fn a_context_is_switched() {
    let initial = |first: &str| {
        format!(
            "space s=(asid:2); int x=1; int y=2; [PTE(x)]=(oa:PA(x){first}); [PTE(x,s)]=(oa:PA(y),ng:1); \
             0:X1=TTBR(s); 0:X2=x; 0:X3=(asid:1); 0:X4=TTBR(s,asid:1);"
        )
    };
    let (own, global) = (initial(",ng:1"), initial(""));
    let old = "exists 0:X6=1";
    let run = |initial: &str, column: &str, want| check(initial, &[column], old, want);
    run(&own, "MSR TTBR0_EL1,X1;LDR W6,[X2]", Allowed);
    run(&own, "MSR TTBR0_EL1,X1;ISB;LDR W6,[X2]", Forbidden);
    run(&global, "MSR TTBR0_EL1,X1;ISB;LDR W6,[X2]", Allowed);
    // The same number again.
    run(&own, "MSR TTBR0_EL1,X4;ISB;LDR W6,[X2]", Allowed);
    run(&own, "MSR TTBR0_EL1,X4;ISB;TLBI ASIDE1,X3;DSB NSH;ISB;LDR W6,[X2]", Forbidden);
    run(&own, "TLBI ASIDE1,X3;DSB NSH;ISB;MSR TTBR0_EL1,X4;ISB;LDR W6,[X2]", Allowed);
    // By way of a space that has nothing.
    let reserved = format!("{own} space r=(asid:0); [PGD(x,r)]=0; 0:X7=TTBR(r);");
    let swap = "MSR TTBR0_EL1,X7;ISB;TLBI ASIDE1,X3;DSB NSH;ISB;MSR TTBR0_EL1,X4;ISB;LDR W6,[X2]";
    run(&reserved, swap, Forbidden);
}

/// Shape: a page is unmapped with a TLBI that names the right or the wrong thing.
#[test]
fn a_tlbi_covers_what_it_names() {
    let run = |fields: &str, op: &str, operand: &str, want| {
        let initial = format!(
            "near a x b; int x=1; [PTE(x)]=(oa:PA(x){fields}); int a; int b; \
             0:X1=PTE(x); 0:X2=x; 0:X3={operand};"
        );
        let column = format!("STR XZR,[X1];DSB ISH;TLBI {op},X3;DSB ISH;ISB;L0: LDR W6,[X2]");
        check(&initial, &[&column], "exists not fault(P0:L0,x)", want);
    };
    run(",ng:1", "VAE1IS", "(va:x,asid:1)", Forbidden);
    run(",ng:1", "VAE1IS", "(va:x,asid:2)", Allowed);
    run("", "VAE1IS", "(va:x,asid:2)", Forbidden);
    run(",ng:1", "ASIDE1IS", "(asid:1)", Forbidden);
    run("", "ASIDE1IS", "(asid:1)", Allowed);
    for (ttl, want) in [(1, Allowed), (2, Allowed), (3, Forbidden)] {
        run("", "VAE1IS", &format!("(va:x,ttl:{ttl})"), want);
        run("", "RVAE1IS", &format!("(va:x,scale:0,num:0,ttl:{ttl})"), want);
    }
    // Ranges are of two pages here: a and x, x and b, b and its neighbour.
    run("", "RVAAE1IS", "(va:a,scale:0,num:0)", Forbidden);
    run("", "RVAAE1IS", "(va:x,scale:0,num:0)", Forbidden);
    run("", "RVAAE1IS", "(va:b,scale:0,num:0)", Allowed);
}

/// Shape: a contiguous set. Any member's descriptor may serve any member's page.
#[test]
fn a_set_is_one_translation_or_many() {
    let initial = "near x y; int x=1; int y=2; [PTE(x)]=(oa:PA(x),cont:1); [PTE(y)]=(oa:PA(y),cont:1); \
         0:X1=PTE(x); 0:X2=x; 0:X3=y; 0:X4=PTE(y);";
    let run = |stores: &str, from: &str, whose: &str, want| {
        let flush = "DSB ISH;LSR X9,X2,#12;TLBI VAAE1IS,X9;DSB ISH;ISB";
        let column = format!("{stores};{flush};L0: LDR W6,[{from}]");
        check(initial, &[&column], &format!("exists not fault(P0:L0,{whose})"), want);
    };
    run("STR XZR,[X1]", "X2", "x", Allowed);
    run("STR XZR,[X1];STR XZR,[X4]", "X2", "x", Forbidden);
    run("STR XZR,[X1];STR XZR,[X4]", "X3", "y", Allowed);
}

/// Shape: `AT`, whose result needs a context synchronization to be read.
#[test]
fn a_translation_is_asked_for() {
    let initial = "int x=1; [PTE(x)]=0; 0:X0=(oa:PA(x)); 0:X1=PTE(x); 0:X2=x; 0:X3=PA(x);";
    let run = |between: &str, after: &str, condition: &str, want| {
        let column = format!("STR X0,[X1];DSB ISH;{between};AT S1E1R,X2;{after};MRS X6,PAR_EL1");
        check(initial, &[&column], condition, want);
    };
    run("ISB", "ISB", "exists not 0:X6=PA(x)", Forbidden);
    run("ISB", "NOP", "exists 0:X6=0", Allowed);
}

/// A device does not hear the CPUs' TLBIs.
#[test]
fn a_device_keeps_its_translations() {
    let initial = "int x=1; 0:X1=PTE(x); 0:X2=x; 0:X3=f; 1:X2=x; 1:X3=f;";
    let writer =
        "STR XZR,[X1];DSB ISH;LSR X9,X2,#12;TLBI VAAE1IS,X9;DSB ISH;MOV W5,#1;STLR W5,[X3]";
    let columns = [writer, "LDAR W5,[X3];DSB SY;ISB;L0: LDR W6,[X2]"];
    let condition = "exists (1:X5=1 /\\ not fault(P1:L0,x))";
    check(initial, &columns, condition, Forbidden);
    let text = common::text(initial, &columns, condition);
    let device = text.replacen("here\n", "here\nDevice=P1\n", 1);
    let device = litmus::parse(&device).unwrap();
    assert_eq!(verdicts(&device), (Allowed, Allowed));
}
