//! Commands get what was typed, and whoever typed something else is told what.

use super::{COMMANDS, Diary, TABLE};
use crate::{
    Arg, Args, BootOptions, Command, Failure, Kind, Spec, SpecError, Status, Table, TableError,
};
use core::fmt::Write;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// What was run, what was printed, how it ended.
fn run(script: &str) -> (Vec<String>, String, Status) {
    let (mut diary, mut out) = (Diary::default(), String::new());
    let status = TABLE.run(&mut diary, script, &mut out);
    (diary.0, out, status)
}

/// The message for something that must not run.
fn refused(script: &str) -> String {
    let (ran, out, status) = run(script);
    assert_eq!((ran, status), (Vec::new(), Status::Usage), "{script}");
    out.strip_suffix('\n').unwrap().to_string()
}

#[test]
fn the_table_makes_sense() {
    TABLE.check().unwrap();
}

#[test]
fn defaults_fill_what_was_not_given() {
    let (ran, _, status) = run("stress");
    assert_eq!(ran, ["stress all secs=5s seed=1 tag=\"\" mode=fast"]);
    assert_eq!(status, Status::Ok);
}

#[test]
fn given_values_arrive() {
    let (ran, ..) = run("stress oom cpus=0x4 mem=256M verbose secs=1m30s 'tag'");
    assert_eq!(ran, Vec::<String>::new(), "a second word has no place");
    let (ran, ..) = run("stress oom cpus=0x4 mem=256M verbose secs=1m30s tag='a; b'");
    assert_eq!(ran, ["stress oom cpus=4 secs=90s seed=1 mem=256M tag=\"a; b\" mode=fast verbose"]);
    let (ran, ..) = run("pt kernel ffff_8000_0000_0000; pt va=0x10 space=user");
    assert_eq!(ran, ["pt kernel 0xffff800000000000", "pt user 0x10"]);
}

#[test]
fn messages_say_what_is_wrong_and_what_was_expected() {
    let cases = [
        ("strss all", "strss: no such command (did you mean stress?)"),
        ("xyzzy", "xyzzy: no such command; type help for the list"),
        ("cpus=4", "cpus=4: no such command (did you mean cpus?)"),
        ("help strss", "strss: no such command (did you mean stress?)"),
        (
            "stress al",
            "stress: workload `al` is unknown (did you mean all?); expected one of all, fault-4k, fault-thp, gup-vs-unmap, oom",
        ),
        ("stress all sec=5", "stress: there is no sec= (did you mean secs=?)"),
        ("pt kernel 0 level=3", "pt: there is no level="),
        (
            "stress zzz=1",
            "stress: there is no zzz=; expected cpus=<number>, secs=<time>, seed=<number>, mem=<size>, tag=<word>, mode=fast|slow, verbose",
        ),
        (
            "stress all secs=abc",
            "stress: secs `abc` is not a time; expected a time such as 5, 500ms or 1m30s",
        ),
        ("stress all cpus=65", "stress: cpus `65` is too large; expected a number from 1 to 64"),
        ("stress all cpus=0", "stress: cpus `0` is too small; expected a number from 1 to 64"),
        ("stress all mem=4K", "stress: mem `4K` is too small; expected a size of 1M or more"),
        (
            "stress all seed=99999999999999999999",
            "stress: seed `99999999999999999999` is larger than 64 bits; expected a number such as 8 or 0x20",
        ),
        (
            "stress all verbose=maybe",
            "stress: verbose `maybe` is neither on nor off; expected on or off",
        ),
        ("stress all secs", "stress: secs needs a value: write secs=<time>"),
        ("stress all verbos", "stress: `verbos` is one word too many (did you mean verbose?)"),
        ("stress all seed=1 seed=2", "stress: seed is given twice"),
        (
            "pt kernel",
            "pt: <va> is missing (what to translate): expected an address such as 0xffff_8000_0008_0000",
        ),
        (
            "pt kernel xyz",
            "pt: va `xyz` is not an address; expected an address such as 0xffff_8000_0008_0000",
        ),
        ("cpus all", "cpus: `all` is one word too many"),
        ("stress tag=\"open", "the quote \" at character 12 is never closed"),
        ("stress tag='a'b", "a blank is missing at character 15, after the quote '"),
    ];
    for (script, message) in cases {
        assert_eq!(refused(script), message, "{script}");
    }
}

#[test]
fn nothing_runs_unless_all_is_understood() {
    let message = refused("cpus; strss all; pt kernel");
    assert_eq!(message.lines().count(), 2, "each mistake is told: {message}");
    assert_eq!(run("cpus; stress all tag='oops").0, Vec::<String>::new());
}

#[test]
fn after_a_failure_the_script_goes_on_and_after_ctrl_c_it_does_not() {
    let (ran, _, status) = run("fail; cpus");
    assert_eq!((ran, status), (std::vec!["cpus".to_string()], Status::Failed));
    let (ran, _, status) = run("cpus; stop; cpus");
    assert_eq!((ran, status), (std::vec!["cpus".to_string()], Status::Failed));
}

#[test]
fn empty_scripts_are_fine() {
    for script in ["", " ", ";", " ;; ; ", "\t\r\n\0"] {
        assert_eq!(run(script), (Vec::new(), String::new(), Status::Ok));
    }
}

#[test]
fn statuses_are_exit_codes() {
    assert_eq!([Status::Ok, Status::Failed, Status::Usage].map(Status::code), [0, 1, 2]);
}

#[test]
fn reading_what_was_not_declared_is_told() {
    static WRONG: [Command<()>; 1] = [Command {
        spec: Spec::new("wrong", "read what is not there"),
        run: |(), args, _| args.number("nr_pages").map(drop),
    }];
    let mut out = String::new();
    assert_eq!(Table::new(&WRONG).run(&mut (), "wrong", &mut out), Status::Usage);
    assert_eq!(out, "the argument nr_pages has no value and no default\n");
}

#[test]
fn tables_that_contradict_themselves_are_found() {
    fn nop((): &mut (), _: &Args<'_>, _: &mut dyn Write) -> Result<(), Failure> {
        Ok(())
    }
    const A: Arg = Arg::place("a", Kind::Word, "");
    static CASES: [(&[Arg], SpecError); 6] = [
        (&[A, A], SpecError::Twice("a")),
        (&[A.optional(), Arg::place("b", Kind::Word, "")], SpecError::RequiredAfterOptional("b")),
        (
            &[Arg::key("n", Kind::NUMBER, "").or("x")],
            SpecError::Default("n", crate::ValueError::NotANumber),
        ),
        (&[Arg::key("n", Kind::Number { min: 2, max: 1 }, "")], SpecError::Bounds("n")),
        (&[Arg::key("a b", Kind::Word, "")], SpecError::Name("a b")),
        (&[A; 17], SpecError::TooManyArgs(17)),
    ];
    for (args, error) in &CASES {
        assert_eq!(BootOptions::check(args), Err(*error));
    }
    static TWICE: [Command<()>; 2] = [
        Command { spec: Spec::new("x", ""), run: nop },
        Command { spec: Spec::new("x", ""), run: nop },
    ];
    let twice = TableError::Spec { command: "x", error: SpecError::Twice("x") };
    assert_eq!(Table::new(&TWICE).check(), Err(twice));
    static EXAMPLE: [Command<()>; 1] =
        [Command { spec: Spec::new("x", "").examples(&["x y=1"]), run: nop }];
    assert!(matches!(Table::new(&EXAMPLE).check(), Err(TableError::Example { .. })));
}

proptest! {
    /// The replay line: what a command prints of its arguments gives the same arguments again.
    #[test]
    fn printed_arguments_read_back_the_same(
        workload in prop::sample::select(super::WORKLOADS.to_vec()),
        cpus in prop::option::of(1..=64_u64),
        millis in any::<u32>(),
        seed in any::<u64>(),
        mem in prop::option::of((1_u64 << 20)..),
        // Each lacks one kind of quotes: no word with both can be typed.
        tag in "[ -&(-~]{0,12}|[ !#-~]{0,12}",
        verbose in any::<bool>(),
    ) {
        let quote = if tag.contains('"') { '\'' } else { '"' };
        let mut line = std::format!("{workload} secs={millis}ms seed={seed:#x} tag={quote}{tag}{quote}");
        cpus.iter().for_each(|cpus| write!(line, " cpus={cpus}").unwrap());
        mem.iter().for_each(|mem| write!(line, " mem={mem}").unwrap());
        line.push_str(if verbose { " verbose" } else { "" });
        let spec = &COMMANDS[2].spec;
        let first = spec.parse(crate::Words::of(&line)).unwrap();
        prop_assert_eq!(first.maybe_word("tag"), Some(tag.as_str()));
        let printed = first.to_string();
        let again = spec.parse(crate::Words::of(&printed)).unwrap();
        for name in ["workload", "cpus", "secs", "seed", "mem", "tag", "mode", "verbose"] {
            prop_assert_eq!(first.value(name), again.value(name), "{} in {}", name, printed);
        }
        // As part of a script, too: no blank, quote or semicolon breaks out.
        let (ran, out, status) = run(&std::format!("cpus; stress {printed}; cpus"));
        prop_assert_eq!((ran.len(), status), (3, Status::Ok), "{}", out);
    }
}

#[test]
fn words_by_place_that_look_like_keys_read_back_the_same() {
    static SPEC: Spec = Spec::new("dt", "show a node").args(&[Arg::place("path", Kind::Word, "")]);
    for typed in ["'a=b'", "path=a=b", "'a b=\"c\"'", "\"path=x\"", "''", "path='a;'", "it's"] {
        let first = SPEC.parse(crate::Words::of(typed)).unwrap();
        let printed = first.to_string();
        let again = SPEC.parse(crate::Words::of(&printed)).unwrap();
        assert_eq!(first.value("path"), again.value("path"), "{typed} printed {printed}");
    }
}

#[test]
fn a_drawn_seed_gets_into_the_replay_line() {
    let spec = &COMMANDS[2].spec;
    let args = spec.parse(crate::Words::of("oom")).unwrap().with_number("seed", 77);
    assert_eq!(args.to_string(), "oom secs=5s seed=77 tag=\"\" mode=fast");
}
