//! The text of tests: what is read, what is named as unsupported, and that nothing makes the parser panic.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use litmus::instruction::{Instruction, Kind, Named, Op, Reg, Source, Width};
use litmus::parse::{Error, Problem};
use litmus::test::{Faults, Holder, Observed, Output, Quantifier, Value};
use litmus::{Column, Layout, Test, Verdict, law, parse};

/// Something of everything.
const WHOLE: &str = r#"AArch64 whole
(* what it is about, (* nested *)
   on two lines *)
Stray line of text
TTHM=P0:HA P0:HD
EL0=P1
Variant=vmsa,imprecise
Base=Allowed
ETS2=Forbidden
{
 int x=1; int64_t y; uint32_t z[3]={1,2};
 near x y;
 table t;
 space s=(asid:0x2);
 pte_x=(oa:phy_x, af:0);
 [PMD(x)]=(table:t);
 [PTE(y,t)]=(oa:PA(x), valid:0, attrs:device);
 [PTE(x,s)]=0;
 0:X1=x; 0:X2=PTE(x); 0:X3=-1; 0:X4=(va:x, asid:1, ttl:3); 0:X5=TTBR(s,asid:7); int64_t 0:X6;
 1:X1=z[1]; 1:X9=label:"P1:L1"; 1:TTBR0=s; 1:preload=x y;
}
 P0              | P1                   | P1.F           ;
 MOV W0,#0x10    | L0: LDR W1,[X1]      | ADR X9,L1      ;
 STR W0,[X1]     | CMP W1,#3            | MSR ELR_EL1,X9 ;
 dsb ish         | CSET W2,NE           | ERET           ;
 TLBI VAE1IS,X4  | B.EQ L1              |                ;
                 | LDR W3,[X1,W2,SXTW]  |                ;
                 | L1:                  |                ;
locations [1:X3; z[2]; [PTE(y,t)]; fault(P1:L0,x);]
~exists (1:X1=2 /\ not (x=1 \/ [PMD(x)]=(table:t)) /\ Fault(P1,pte_x,MMU:Permission) /\ 0:X1<>0:X2)
"#;

fn error(text: &str) -> Error {
    parse(text).unwrap_err()
}

#[test]
fn everything_is_read() {
    let test: Test = parse(WHOLE).unwrap();
    assert_eq!((test.name.as_str(), test.faults), ("whole", Faults::Retry));
    assert_eq!(test.notes, ["what it is about,  nested", "on two lines"]);
    assert_eq!(test.expected.base, Some(Verdict::Allowed));
    assert_eq!(test.expected.ets2, Some(Verdict::Forbidden));
    let widths: Vec<_> = test.variables.iter().map(|v| (v.name.as_str(), v.width)).collect();
    assert_eq!(widths, [("x", 4), ("y", 8), ("z", 4)]);
    assert_eq!(test.variables[2].initial, [1, 2, 0].map(Value::Number));
    assert_eq!(test.variables[0].group, test.variables[1].group);
    assert!(!test.initial[0].af);
    let find = |level, within| {
        let is = |e: &&litmus::test::EntryName| (e.level, e.within) == (level, within);
        test.entries.iter().position(|entry| is(&entry)).unwrap()
    };
    let upper = find(abi::Level::Pmd, Holder::Space(0));
    assert_eq!(test.initial[upper].output, Output::Next(Holder::Table(0)));
    assert_eq!(test.initial[find(abi::Level::Pte, Holder::Space(1))].output, Output::None);
    let [first, second] = test.threads.as_slice() else { panic!("two threads") };
    assert_eq!((first.ha, first.hd, first.el0), (true, true, false));
    assert_eq!((second.ha, second.el0, second.space), (false, true, 1));
    assert_eq!(second.preload, [0, 1]);
    let constant = Instruction::Constant { width: Width::W, to: Reg(0), value: 16 };
    assert_eq!(first.code[0], constant);
    assert!(matches!(first.code[2], Instruction::Dsb(_, Kind::Full)));
    let named = Named::Va { asid: true, last: false };
    assert!(matches!(first.code[3], Instruction::Tlbi { op, .. } if op.named == named));
    let compared = Source::Immediate(3);
    assert!(matches!(second.code[1], Instruction::Compute { op: Op::Sub, right, flags: true, .. }
        if right == compared));
    assert_eq!(second.handler, Some(6));
    assert_eq!(second.code[5], Instruction::Stop);
    assert_eq!(
        second.code[3],
        Instruction::BranchIf { when: litmus::instruction::Flags::Equal, to: 5 }
    );
    assert_eq!(second.registers[1], (Reg(9), Value::Label(1, 5)));
    assert_eq!(test.observed.len(), 10);
    assert_eq!(test.observed[1], Observed::Memory(2, 2));
    assert_eq!(test.condition.quantifier, Quantifier::NotExists);
    assert!(law::outcomes(&test, Column::Base).is_ok());
}

#[test]
fn names_become_numbers() {
    let test = parse(WHOLE).unwrap();
    let layout = Layout::law(&test);
    let value = |thread: usize, reg| {
        let registers = &test.threads[thread].registers;
        let found = registers.iter().find(|(other, _)| *other == Reg(reg));
        found.map(|(_, value)| layout.value(&test, value)).unwrap()
    };
    let (x, y) = (layout.pages[0], layout.pages[1]);
    assert_eq!(y.va - x.va, abi::PAGE_SIZE);
    assert_eq!(y.frame - x.frame, abi::PAGE_SIZE);
    assert_eq!(value(0, 1), x.va.0);
    assert_eq!(value(0, 3), u64::MAX);
    assert_eq!(value(0, 4), 1 << 48 | 0b0111 << 44 | x.va.page());
    assert_eq!(value(0, 5), 7 << 48 | layout.root(1).unwrap().0);
    assert_eq!(value(1, 1), layout.pages[2].va.0 + 4);
    // Each word has a place of its own, and each table a page.
    let memory = layout.memory(&test);
    assert!(memory.windows(2).all(|pair| pair[0].at < pair[1].at));
    let mut tables: Vec<_> = layout.tables.iter().map(|table| table.at).collect();
    tables.sort_unstable();
    tables.dedup();
    assert_eq!(tables.len(), layout.tables.len());
}

#[test]
fn what_is_unsupported_is_named() {
    let with = |from: &str, to: &str| error(&WHOLE.replacen(from, to, 1));
    let unsupported = |what, text: &str| Problem::Unsupported { what, text: text.into() };
    let unknown = |what, name: &str| Problem::Unknown { what, name: name.into() };
    let cases = [
        ("dsb ish", "LDP X1,X2,[X3]", unsupported("instruction", "LDP")),
        ("VAE1IS", "IPAS2E1IS", unsupported("TLBI", "IPAS2E1IS")),
        ("vmsa,", "memtag,", unsupported("variant", "memtag")),
        ("AArch64", "RISCV", unsupported("architecture", "RISCV")),
        ("valid:0", "contents:0", unsupported("field of a descriptor", "contents")),
        ("B.EQ L1", "B.EQ L9", unknown("label", "L9")),
        ("1:X3;", "5:X3;", unknown("thread", "5")),
        ("MMU:Permission", "MMU:Alignment", unsupported("kind of fault", "Alignment")),
        ("ELR_EL1", "VBAR_EL1", unsupported("system register", "VBAR_EL1")),
    ];
    for (from, to, problem) in cases {
        assert_eq!(with(from, to).problem, problem, "{from} became {to}");
    }
    let line = WHOLE.lines().position(|line| line.contains("dsb ish")).unwrap() + 1;
    assert_eq!(with("dsb ish", "LDP X1,X2,[X3]").line, line);
    let shown = "line 25: unsupported instruction: LDP";
    assert_eq!(with("dsb ish", "LDP X1,X2,[X3]").to_string(), shown);
}

/// Two of one name, and what is said two times: whoever reads on would have to guess which is meant.
#[test]
fn what_is_there_twice_is_named() {
    let twice = |what, name: &str| Problem::Twice { what, name: name.into() };
    let cases = [
        ("table t;", "table t; table t;", twice("the table or space", "t")),
        ("table t;", "table init;", twice("the table or space", "init")),
        ("space s=(asid:0x2);", "space t=(asid:2);", twice("the table or space", "t")),
        ("int64_t y;", "int64_t y=1; y=2;", twice("the beginning of", "y")),
        (" pte_x=", " [PTE(x)]=0; pte_x=", twice("the beginning of", "a descriptor")),
        ("0:X2=PTE(x);", "0:X2=1; 0:W2=2;", twice("the beginning of", "W2")),
        ("1:TTBR0=s;", "1:TTBR0=s; 1:TTBR0=init;", twice("the beginning of", "TTBR0")),
        ("| CMP W1,#3 ", "| L0: CMP W1,#3 ", twice("the label", "L0")),
        ("| ADR X9,L1 ", "| L1: ADR X9,L1 ", twice("the label", "L1")),
        ("EL0=P1", "EL0=P1\nel0=P0", twice("the key", "el0")),
        ("Base=Allowed", "Base=Allowed\nBase=Forbidden", twice("the key", "Base")),
    ];
    for (from, to, problem) in cases {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from}");
        assert_eq!(error(&text).problem, problem, "{from} became {to}");
    }
    // A declaration, and then what it holds; a name of both threads; the same register of both.
    for (from, to) in [
        ("int64_t y;", "int64_t y; y=2;"),
        (" MOV W0,#0x10    |", " L1: MOV W0,#0x10 |"),
        ("1:X1=z[1];", "1:X1=z[1]; 1:X2=1;"),
        ("EL0=P1", "EL0=P1\nVariant=vmsa"),
    ] {
        let text = WHOLE.replacen(from, to, 1);
        assert_ne!(text, WHOLE, "{from}");
        assert!(parse(&text).is_ok(), "{from} became {to}");
    }
}

/// A key that is misspelled must not be passed over: the test would be another one. Free text is none.
#[test]
fn keys_of_the_header_are_known() {
    let with = |line: &str| WHOLE.replacen("Stray line of text", line, 1);
    for (line, key) in
        [("EL1=P0", "EL1"), ("Bases = Allowed", "Bases"), ("variants=vmsa", "variants")]
    {
        let problem = Problem::Unsupported { what: "key", text: key.into() };
        let wrong = error(&with(line));
        assert_eq!((wrong.line, wrong.problem), (4, problem), "{line}");
    }
    for line in ["Hash=0123abcd", "Orig=Rfe TLBI", "\"x=1 of P0\"", "where x = 1, still", "= 3"] {
        assert!(parse(&with(line)).is_ok(), "{line}");
    }
}

/// Texts with pieces lost, doubled, swapped and made up: each is a test or an error.
#[test]
fn mangled_texts_do_not_panic() {
    let mut seed = 0x5eed_1234_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let pieces: Vec<&str> = WHOLE.split_inclusive([' ', ';', '|', '(', ',', '\n']).collect();
    let strange =
        ["(*", "*)", "\"", "{", "}", "é", "99999999999999999999", "-", "P7.F", "~", "[", "0:"];
    let mut read = 0;
    for round in 0..5_000 {
        let mut text: Vec<&str> = pieces.clone();
        for _ in 0..=random(4) {
            let (at, other) = (random(text.len()), random(text.len()));
            match random(4) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, text[other]),
                2 => text.swap(at, other),
                _ => text.insert(at, strange[random(strange.len())]),
            }
        }
        let text: String = text.concat();
        // Some of those that are tests still, the law must bear as well.
        let ask = read < 200;
        let outcome = std::panic::catch_unwind(|| {
            parse(&text).map(|test| ask && law::verdict(&test, Column::Ets2).is_ok()).is_ok()
        });
        assert!(outcome.is_ok(), "round {round} panics: {text}");
        read += usize::from(outcome.unwrap());
    }
    assert!(read > 100, "some are still tests: {read}");
    let heads = WHOLE.find(" P0  ").unwrap();
    for end in 0..WHOLE.len() {
        assert!(parse(&WHOLE[..end]).is_err() || end > heads, "cut at {end}");
    }
}

/// Nothing so deep or so long that the parser gives up in an ugly way.
#[test]
fn excess_is_refused() {
    let deep = WHOLE.replace("~exists (", &format!("~exists {}", "(".repeat(10_000)));
    assert_eq!(error(&deep).problem, Problem::TooMany("parentheses"));
    let many: String = (0..100).map(|n| format!("int v{n};")).collect();
    assert_eq!(error(&WHOLE.replace("table t;", &many)).problem, Problem::TooMany("variables"));
    let elements = WHOLE.replace("z[3]", "z[1000000000]");
    assert!(matches!(error(&elements).problem, Problem::Unsupported { .. }));
}

/// A text with this between its braces.
fn beginning(initial: &str) -> Result<Test, Error> {
    parse(&format!("AArch64 bounds\n{{\n{initial}\n}}\n P0 ;\n NOP ;\nexists (true)\n"))
}

fn too_many(initial: &str) -> &'static str {
    match beginning(initial).unwrap_err().problem {
        Problem::TooMany(what) => what,
        other => panic!("{other:?}"),
    }
}

/// What a machine gives a test is counted in pages: whatever would not fit, it would write elsewhere.
#[test]
fn nothing_goes_beyond_its_pages() {
    let list = |count: usize| format!("int64_t x={{{}}};", vec!["1"; count].join(","));
    assert!(beginning(&list(64)).is_ok());
    assert_eq!(too_many(&list(65)), "elements");
    let near = |count: usize| {
        let names: Vec<_> = (0..count).map(|nth| format!("x{nth}")).collect();
        format!("near {};", names.join(" "))
    };
    assert!(beginning(&near(16)).is_ok());
    assert_eq!(too_many(&near(17)), "neighbours");
    // A group grows by a second line, too.
    assert_eq!(too_many(&format!("{} near x0 y;", near(16))), "neighbours");
    let many =
        |what: &str| (0..17).map(|nth| what.replace('?', &nth.to_string())).collect::<String>();
    assert_eq!(too_many(&many("table t?;")), "tables");
    assert_eq!(too_many(&many("space s?=(asid:?);")), "spaces");
    assert!(beginning("int64_t x; 0:X1=x+4088;").is_ok());
    for address in ["x+4096", "x+0xffff800000000000", "x[512]", "x[0x1fffffffffffffff]"] {
        let error = beginning(&format!("int64_t x; 0:X1={address};")).unwrap_err();
        assert_eq!(error.to_string(), "line 3: unsupported address: beyond its variable's page");
    }
}

/// A number that does not fit its field is not cut to another one.
#[test]
fn fields_hold_what_they_say() {
    assert!(beginning("0:X1=(va:x, asid:65535, ttl:3);").is_ok());
    for field in [
        "va:x, asid:65536",
        "va:x, ttl:4",
        "va:x, scale:4, num:0",
        "va:x, scale:0, num:32",
        "va:x+0x100000000",
        "asid:65536",
    ] {
        let error = beginning(&format!("0:X1=({field});")).unwrap_err();
        assert!(matches!(error.problem, Problem::Unsupported { .. }), "{field}: {error}");
    }
    let space = beginning("space s=(asid:1); 0:X1=TTBR(s,asid:65536);").unwrap_err();
    assert!(matches!(space.problem, Problem::Unsupported { .. }), "{space}");
}

/// Files come from anywhere, into a small heap.
#[test]
fn large_texts_are_refused_unread() {
    let semicolons = ";".repeat(10 << 20);
    assert_eq!(too_many(&semicolons), "characters");
    let heads: Vec<_> = (0..5000).map(|nth| format!("P{nth}.F")).collect();
    let text = format!("AArch64 heads\n{{ }}\n {} ;\nexists (true)\n", heads.join("|"));
    assert_eq!(error(&text).problem, Problem::TooMany("threads"));
}
