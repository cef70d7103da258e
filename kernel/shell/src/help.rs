//! `help` and `help <command>`, made from what the commands declare.

use crate::arg::{Arg, Form, Kind, Need};
use crate::columns::{Column, Wrapped, columns, width};
use crate::command::Spec;
use core::fmt::{self, Write};

/// What `help` itself takes.
pub(crate) static SPEC: Spec = Spec::new("help", "list the commands, or explain one")
    .args(&[Arg::place("command", Kind::Word, "what to explain").optional()])
    .examples(&["help"]);

/// Rows are wrapped to this, whatever the terminal: logs are read elsewhere.
const COLUMNS: usize = 80;

/// One row for each command.
pub(crate) fn overview(
    specs: impl Iterator<Item = &'static Spec> + Clone,
    out: &mut dyn Write,
) -> fmt::Result {
    columns(out, &[Column::Left(""), Column::Left("")], |row| {
        for spec in specs.clone() {
            row([&spec.name, &spec.summary]);
        }
    })?;
    out.write_str(concat!(
        "\nhelp <command> tells what it takes and shows examples. Tab completes, the arrows\n",
        "recall and edit, Ctrl-R searches, Ctrl-C stops a command, `;` puts several in a\n",
        "line.\n",
    ))
}

/// All about one command.
pub(crate) fn detail(spec: &Spec, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{} - {}\n", spec.name, spec.summary)?;
    usage(spec, out)?;
    if !spec.args.is_empty() {
        out.write_char('\n')?;
        let left = spec.args.iter().map(|arg| width(arg)).max().unwrap_or(0);
        for arg in spec.args {
            describe(arg, left, out)?;
        }
    }
    if !spec.help.is_empty() {
        out.write_char('\n')?;
        let mut text = Wrapped::new(out, COLUMNS, 0, 0);
        text.write_str(spec.help)?;
        text.finish()?;
    }
    if !spec.examples.is_empty() {
        out.write_str("\nexamples:\n")?;
        for example in spec.examples {
            writeln!(out, "  {example}")?;
        }
    }
    Ok(())
}

/// `usage: stress <workload> [secs=<time>]`, wrapped between arguments.
fn usage(spec: &Spec, out: &mut dyn Write) -> fmt::Result {
    let lead = "usage: ";
    write!(out, "{lead}{}", spec.name)?;
    let start = lead.len() + spec.name.len();
    let mut row = Wrapped::new(out, COLUMNS, start + 1, start);
    for arg in spec.args {
        match arg.need {
            Need::Required => write!(row, " {arg}")?,
            Need::Optional | Need::Default(_) => write!(row, " [{arg}]")?,
        }
    }
    row.finish()
}

/// The argument, what it is for, what may stand for it, and what is taken without it.
fn describe(arg: &Arg, left: usize, out: &mut dyn Write) -> fmt::Result {
    let pad = left.saturating_sub(width(arg)) + 2;
    write!(out, "  {arg}{:pad$}", "")?;
    let start = left + 4;
    let mut row = Wrapped::new(out, COLUMNS, start, start);
    write!(row, "{}", arg.summary)?;
    match arg.kind {
        Kind::Flag | Kind::Word => {}
        kind => write!(row, ": {kind}")?,
    }
    match arg.need {
        Need::Default("") => {}
        Need::Default(text) => write!(row, " (default\u{a0}{text})")?,
        Need::Required if arg.form == Form::Key => row.write_str(" (required)")?,
        Need::Required | Need::Optional => {}
    }
    row.finish()
}
