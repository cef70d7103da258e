//! `litmus`: litmus tests of translation, on these CPUs.

mod law;
mod read;
mod report;
mod texts;

use super::{Context, Outcome, fail};
use crate::litmus::{Preload, Wanted};
use crate::world::Kernel;
use ::litmus::Column;
use abi::ktap::Ktap;
use core::fmt::Write;
use report::Report;
use shell::{Arg, Args, Failure, Kind, columns};
use texts::Text;

pub(super) static ARGS: [Arg; 5] = [
    Arg::place("what", Kind::OneOf(&["list", "show", "run", "read"]), "what to do").or("list"),
    Arg::place("name", Kind::Word, "the test, or its group; else only names that contain this")
        .optional(),
    Arg::key(
        "runs",
        Kind::Number { min: 1, max: 1 << 40 },
        "runs of each test, at least: they come in batches",
    )
    .or("2000"),
    Arg::key(
        "preload",
        Kind::OneOf(&["none", "self", "all", "random"]),
        "what TLBs hold before: nothing, a thread's own variables, all, or some",
    )
    .or("random"),
    Arg::key("seed", Kind::NUMBER, "decides what is left to chance").or("1"),
];

pub(super) fn litmus(context: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let name = args.maybe_word("name").unwrap_or("");
    match args.word("what")? {
        "list" => list(name, out),
        "show" => show(name, out),
        "read" => read(context, args, out),
        _ => run(name, args, out),
    }
}

fn list(filter: &str, out: &mut dyn Write) -> Outcome {
    let headings = ["test", "base", "ETS2", "from", "about"].map(shell::Column::Left);
    columns(out, &headings, |row| {
        for text in texts::meant(filter) {
            match text.test() {
                Ok(test) => {
                    let about = test.notes.first().map_or("", |note| note.as_str());
                    // To ask the law would take seconds for some.
                    let said = |verdict: Option<_>| match verdict {
                        None => "not stated",
                        some => law::word(some),
                    };
                    let (base, ets2) = (said(test.expected.base), said(test.expected.ets2));
                    row([&text.name(), &base, &ets2, &text.origin, &about]);
                }
                Err(why) => row([&text.name(), &"", &"", &text.origin, &why]),
            }
        }
    })?;
    Ok(writeln!(out, "`litmus show` shows a test, `litmus run` runs those whose names match")?)
}

fn show(name: &str, out: &mut dyn Write) -> Outcome {
    let Some(text) = texts::find(name) else {
        return Err(fail(out, format_args!("litmus: which test? `litmus list` names them")));
    };
    writeln!(out, "{}", text.text.trim_end())?;
    match text.test() {
        Ok(test) => {
            let column = crate::boot::caps().map_or(Column::Base, law::column_of);
            Ok(writeln!(out, "# {}", law::Law::of(&test, column))?)
        }
        Err(why) => Err(fail(out, format_args!("{}: {why}", text.name()))),
    }
}

fn run(filter: &str, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let planned = texts::meant(filter).count();
    if planned == 0 {
        return Err(fail(out, format_args!("litmus: no test is called like {filter}")));
    }
    run_texts(&mut texts::meant(filter), planned, args, out)
}

fn read(context: &Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    if context.scripted {
        return Err(fail(out, format_args!("litmus: a script has nobody to read from")));
    }
    let text = read::text(out)?;
    let mut texts = core::iter::once(Text { text: text.into(), origin: "here" });
    run_texts(&mut texts, 1, args, out)
}

fn run_texts<'a>(
    texts: &mut dyn Iterator<Item = Text<'a>>,
    planned: usize,
    args: &Args<'_>,
    mut out: &mut dyn Write,
) -> Outcome {
    let Some(kernel) = Kernel::new() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let wanted = wanted(args)?;
    let mut report = Report::default();
    let mut ktap = Ktap::begin(&mut out, planned)?;
    if !wanted.runs.is_multiple_of(report::INSTANCES as u64) {
        ktap.note(format_args!(
            "runs come in batches of up to {}: of each test {} or a few more",
            report::INSTANCES,
            wanted.runs
        ))?;
    }
    for text in texts {
        let name = text.name();
        match text.test() {
            Ok(test) => report.run(&kernel, &test, wanted, &mut ktap)?,
            Err(why) => report.unreadable(name, &why, &mut ktap)?,
        }
        if crate::console::interrupted() {
            return Err(Failure::Interrupted);
        }
    }
    report.summary(&mut ktap)?;
    if ktap.finish()? { Ok(()) } else { Err(Failure::Failed) }
}

fn wanted(args: &Args<'_>) -> Result<Wanted, Failure> {
    let preload = match args.word("preload")? {
        "none" => Preload::None,
        "self" => Preload::Own,
        "all" => Preload::All,
        _ => Preload::Random,
    };
    Ok(Wanted { runs: args.number("runs")?, preload, seed: args.number("seed")? })
}
