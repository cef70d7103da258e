//! What the prompt offers. One file for each kind of question; the table is here.

mod bench;
mod crash;
mod dump;
mod litmus;
mod machine;
mod memory;
mod selftest;
mod stress;
mod thp;
mod tour;
pub(crate) mod zoo;

use ::shell::{Arg, Command, Failure, Kind, Spec, Table, Terminal};
use core::fmt::Write;

/// What the kernel lends to its commands.
pub(crate) struct Context {
    /// What progress lines may look like.
    pub(crate) terminal: Terminal,
    /// Whether the commands come from the kernel's command line: then nobody is there to answer.
    pub(crate) scripted: bool,
}

impl Context {
    pub(crate) const fn new(terminal: Terminal, scripted: bool) -> Self {
        Self { terminal, scripted }
    }
}

/// What a command answers.
type Outcome = Result<(), Failure>;

/// A problem in words, and the failure.
fn fail(out: &mut dyn Write, why: core::fmt::Arguments<'_>) -> Failure {
    match writeln!(out, "{why}") {
        Ok(()) => Failure::Failed,
        Err(error) => error.into(),
    }
}

/// Every command.
pub(crate) static TABLE: Table<Context> = Table::new(&COMMANDS);

static COMMANDS: [Command<Context>; 21] = [
    Command {
        spec: Spec::new("cpus", "the CPUs: who they are, what they can do"),
        run: machine::cpus,
    },
    Command {
        spec: Spec::new("mem", "memory: how much, whose, in which pieces"),
        run: memory::mem,
    },
    Command {
        spec: Spec::new("compact", "make free 2 MiB blocks out of fragmented memory"),
        run: memory::compact,
    },
    Command {
        spec: Spec::new("vmstat", "every counter, under Linux's names")
            .args(&[Arg::place("filter", Kind::Word, "only names that contain this").optional()])
            .examples(&["vmstat tlb"]),
        run: memory::vmstat,
    },
    Command {
        spec: Spec::new("thp", "huge pages: who gets them, and what is made of small ones")
            .args(&thp::ARGS)
            .examples(&["thp", "thp background=on sleep=100", "thp max_none=0"]),
        run: thp::thp,
    },
    Command { spec: Spec::new("ps", "the threads"), run: machine::ps },
    Command {
        spec: Spec::new("dt", "the device tree")
            .args(&[
                Arg::place("filter", Kind::Word, "a path, or a part of a node's name").optional()
            ])
            .examples(&["dt /memory", "dt pl011"]),
        run: machine::dt,
    },
    Command {
        spec: Spec::new("pt", "walk the translation tables, each level decoded")
            .args(&[
                Arg::place("space", Kind::OneOf(&["kernel", "user"]), "which half").required(),
                Arg::place("va", Kind::Address, "the address").required(),
            ])
            .help("`user` walks a demonstration space with one huge and one small page.")
            .examples(&["pt kernel 0xffff_8000_0000_0000", "pt user 0x200000"]),
        run: memory::pt,
    },
    Command {
        spec: Spec::new("ptdump", "what the translation tables map, by regions")
            .args(&dump::ARGS)
            .help(
                "A region is neighbouring leaves of one size and the same rights. Fails if any is both \
                 written and executed; `check` prints no others. `user` dumps the space that `pt` walks.",
            )
            .examples(&["ptdump", "ptdump kernel check"]),
        run: dump::ptdump,
    },
    Command { spec: Spec::new("log", "what was printed, from the ring"), run: machine::log },
    Command {
        spec: Spec::new("stress", "the workloads, verified")
            .args(&stress::ARGS)
            .help(
                "Prints KTAP. Without a name, or with `all`, runs every workload. `list` lists \
                 them. Ctrl-C ends a run cleanly.",
            )
            .examples(&["stress", "stress unmap-shootdown cpus=4 secs=10 seed=7"]),
        run: stress::stress,
    },
    Command {
        spec: Spec::new("bench", "what the operations cost, beside Linux")
            .args(&bench::ARGS)
            .help(
                "Instructions are exact where the emulator counts them (`make bench`), and missing \
                 where nothing does. `list` lists the operations. Ctrl-C ends it after a row.",
            )
            .examples(&["bench", "bench munmap json", "bench fault cpus=4"]),
        run: bench::bench,
    },
    Command {
        spec: Spec::new("litmus", "litmus tests of translation, on these CPUs")
            .args(&litmus::ARGS)
            .help(
                "`run` runs every test, or those whose names match: its instructions as they are, on \
                 real tables, with histograms in the field's form, and fails where a CPU does what the \
                 architecture forbids. `read` takes a test's text from the line. `make run LITMUS=FILE` \
                 brings more tests.",
            )
            .examples(&["litmus list", "litmus show coWR-pte", "litmus run MP runs=10000"]),
        run: litmus::litmus,
    },
    Command {
        spec: Spec::new("selftest", "quick checks of every part")
            .args(&selftest::ARGS)
            .help("With `mm`, Linux's own tests of anonymous memory, as tables: one line a case.")
            .examples(&["selftest", "selftest mm", "selftest mm cow"]),
        run: selftest::selftest,
    },
    Command { spec: Spec::new("tour", "show what this is"), run: tour::tour },
    Command {
        spec: Spec::new("zoo", "the known bugs: see them go wrong, and be caught")
            .args(&zoo::ARGS)
            .help(
                "`run` shows that a bug's workload is silent, lets the bug out, and ends with the \
                 report of whoever catches it; after that only a reboot is safe. Images of \
                 `make run SANITIZE=1` have them.",
            )
            .examples(&["zoo list fork", "zoo show tables-last-level", "zoo run unmap-local-tlbi"]),
        run: zoo::zoo,
    },
    Command {
        spec: Spec::new("crash", "die in a chosen way, to see the report").args(&[Arg::place(
            "how",
            Kind::OneOf(&crash::WAYS),
            "the way",
        )
        .required()]),
        run: crash::crash,
    },
    Command {
        spec: Spec::new("echo", "print words").args(&[Arg::place(
            "text",
            Kind::Word,
            "what to print",
        )
        .optional()]),
        run: |_, args, out| Ok(writeln!(out, "{}", args.maybe_word("text").unwrap_or(""))?),
    },
    Command {
        spec: Spec::new("uptime", "the time since the counter began"),
        run: |_, _, out| {
            let now = core::time::Duration::from_nanos(arch::timer::now_ns());
            Ok(writeln!(out, "{}", ::shell::Elapsed(now))?)
        },
    },
    Command {
        spec: Spec::new("poweroff", "end the run; its status is 0"),
        run: |_, _, _| crate::power::off(0),
    },
    Command {
        spec: Spec::new("reboot", "start the machine again"),
        run: |_, _, _| crate::power::reset(),
    },
];
