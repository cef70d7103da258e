//! Laws of the shell. `vt100` and `model` are the other side: a terminal that interprets what the
//! editor writes, and an editor written as plainly as possible.

mod boot;
mod editing;
mod help;
mod model;
mod noise;
mod quantities;
mod report;
mod screen;
mod table;
mod tabs;
mod values;
mod vt100;

use crate::{Arg, Args, Command, Event, Failure, Kind, LineEditor, NoCompletion, Spec, Table};
use core::fmt::Write;
use std::string::{String, ToString};
use std::vec::Vec;

/// What an [`Event`] was, without its borrow.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Got {
    Line(String),
    Overlong(String, usize),
    Interrupt,
    EndOfInput,
}

/// Feeds `bytes`; returns the events other than `None`.
fn feed(editor: &mut LineEditor, bytes: &[u8], out: &mut dyn Write) -> Vec<Got> {
    let mut got = Vec::new();
    for &byte in bytes {
        match editor.feed(byte, &NoCompletion, out) {
            Event::None => {}
            Event::Line(line) => got.push(Got::Line(line.to_string())),
            Event::Overlong { kept, refused } => got.push(Got::Overlong(kept.to_string(), refused)),
            Event::Interrupt => got.push(Got::Interrupt),
            Event::EndOfInput => got.push(Got::EndOfInput),
        }
    }
    got
}

// --- a table such as the kernel has ------------------------------------------------------------

/// Remembers what was run.
#[derive(Default)]
struct Diary(Vec<String>);

static WORKLOADS: &[&str] = &["all", "fault-4k", "fault-thp", "gup-vs-unmap", "oom"];

static COMMANDS: &[Command<Diary>] = &[
    Command { spec: Spec::new("cpus", "what each CPU is and does"), run: note_cpus },
    Command {
        spec: Spec::new("pt", "walk the page tables of an address")
            .args(&[
                Arg::place("space", Kind::OneOf(&["user", "kernel"]), "whose tables"),
                Arg::place("va", Kind::Address, "what to translate"),
            ])
            .examples(&["pt kernel ffff_8000_0000_0000"]),
        run: note_pt,
    },
    Command {
        spec: Spec::new("stress", "run workloads and check each page they touch")
            .args(&[
                Arg::place("workload", Kind::OneOf(WORKLOADS), "what to run").or("all"),
                Arg::key("cpus", Kind::Number { min: 1, max: 64 }, "how many take part"),
                Arg::key("secs", Kind::Time, "how long each runs").or("5"),
                Arg::key("seed", Kind::NUMBER, "what the random choices start from").or("1"),
                Arg::key("mem", Kind::Size { min: 1 << 20, max: u64::MAX }, "memory to use"),
                Arg::key("tag", Kind::Word, "a name for the log").or(""),
                Arg::key("mode", Kind::OneOf(&["fast", "slow"]), "how to go about it").or("fast"),
                Arg::flag("verbose", "tell more"),
            ])
            .help(
                "Every page that a workload touches says whose it is, so a translation that is \
                 stale or crosses spaces is seen as wrong data.\n\nCtrl-C stops it cleanly.",
            )
            .examples(&["stress all secs=5 seed=1", "stress fault-thp cpus=4 mem=256M"]),
        run: note_stress,
    },
    Command { spec: Spec::new("fail", "fail as asked"), run: |_, _, _| Err(Failure::Failed) },
    Command { spec: Spec::new("stop", "be stopped"), run: |_, _, _| Err(Failure::Interrupted) },
];

static TABLE: Table<Diary> = Table::new(COMMANDS);

fn note_cpus(diary: &mut Diary, _: &Args<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    diary.0.push("cpus".into());
    writeln!(out, "4 CPUs")?;
    Ok(())
}

fn note_pt(diary: &mut Diary, args: &Args<'_>, _: &mut dyn Write) -> Result<(), Failure> {
    diary.0.push(std::format!("pt {} {}", args.word("space")?, args.address("va")?));
    Ok(())
}

fn note_stress(diary: &mut Diary, args: &Args<'_>, _: &mut dyn Write) -> Result<(), Failure> {
    diary.0.push(std::format!("stress {args}"));
    Ok(())
}
