//! `zoo`: the known bugs. Images that have none of them say how to get one that has.

#[cfg(all(feature = "sanitize", feature = "mutants"))]
mod run;
#[cfg(all(feature = "sanitize", feature = "mutants"))]
mod show;

use super::{Context, Outcome};
use core::fmt::Write;
use shell::{Arg, Args, Kind};

#[cfg(all(feature = "sanitize", feature = "mutants"))]
pub(crate) use run::caught;

pub(super) static ARGS: [Arg; 4] = [
    Arg::place("what", Kind::OneOf(&["list", "show", "run"]), "what to do").or("list"),
    Arg::place("name", Kind::Word, "the bug; for `list`, only names that contain this").optional(),
    Arg::key("secs", Kind::Time, "how long it may stay unseen").or("5"),
    Arg::key("seed", Kind::NUMBER, "decides every random choice").or("1"),
];

#[cfg(all(feature = "sanitize", feature = "mutants"))]
pub(super) fn zoo(context: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let name = args.maybe_word("name");
    let what = args.word("what")?;
    if what == "list" {
        return show::list(name.unwrap_or(""), out);
    }
    if let Some(waiting) = stress::zoo::WAITING.iter().find(|waiting| Some(waiting.name) == name) {
        return match what {
            "show" => Ok(show::show_waiting(waiting, out)?),
            _ => Err(super::fail(out, format_args!("zoo: waits for {}", waiting.waits_for))),
        };
    }
    let Some(name) = name else {
        return Err(super::fail(out, format_args!("zoo: which bug? `zoo list` names them")));
    };
    let Some(mutant) = stress::zoo::find(name) else {
        let why = format_args!("zoo: no bug is called {name}; `zoo list` names them");
        return Err(super::fail(out, why));
    };
    match what {
        "show" => Ok(show::show(mutant, out)?),
        _ => run::run(context, mutant, args, out),
    }
}

#[cfg(not(all(feature = "sanitize", feature = "mutants")))]
pub(super) fn zoo(_: &mut Context, _: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let why = format_args!(
        "zoo: this image has no known bugs; `make shell SANITIZE=1` boots one that has"
    );
    Err(super::fail(out, why))
}
