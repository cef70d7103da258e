//! `thp`: who gets huge pages, and what the background makes of small ones.

use super::{Context, Outcome, fail};
use crate::{background, memory};
use core::fmt::Write;
use mm::thp::{Limits, Policy};
use shell::{Arg, Args, Kind};

const POLICIES: [(&str, Policy); 3] =
    [("always", Policy::Always), ("madvise", Policy::Madvise), ("never", Policy::Never)];
const COUNT: Kind = Kind::Number { min: 0, max: u32::MAX as u64 };

pub(super) static ARGS: [Arg; 8] = [
    Arg::key("enabled", Kind::OneOf(&["always", "madvise", "never"]), "where").optional(),
    Arg::key("background", Kind::OneOf(&["on", "off"]), "collapse unasked").optional(),
    Arg::key("max_none", COUNT, "entries that may be empty").optional(),
    Arg::key("max_shared", COUNT, "pages that may be shared").optional(),
    Arg::key("pages", COUNT, "entries between two sleeps").optional(),
    Arg::key("sleep", COUNT, "ms between two looks").optional(),
    Arg::key("alloc_sleep", COUNT, "ms when there was no memory").optional(),
    Arg::key("defrag", COUNT, "moves memory together for it").optional(),
];

/// A limit: what it is called, how it is read, how it is set.
type Limit = (&'static str, fn(&Limits) -> u32, fn(&Limits, u32));

static LIMITS: [Limit; 6] = [
    ("max_none", Limits::max_none, Limits::set_max_none),
    ("max_shared", Limits::max_shared, Limits::set_max_shared),
    ("pages", Limits::pages_to_scan, Limits::set_pages_to_scan),
    ("sleep", Limits::scan_sleep_ms, Limits::set_scan_sleep_ms),
    ("alloc_sleep", Limits::alloc_sleep_ms, Limits::set_alloc_sleep_ms),
    ("defrag", Limits::defrag, Limits::set_defrag),
];

/// Sets what is named, and shows all.
pub(super) fn thp(_: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let Some(mm) = memory::mm() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    if let Some(word) = args.maybe_word("enabled") {
        let named = POLICIES.iter().filter(|(name, _)| *name == word);
        named.for_each(|(_, policy)| mm.thp.set_enabled(*policy));
    }
    if let Some(word) = args.maybe_word("background")
        && background::switch(word == "on").is_err()
    {
        return Err(fail(out, format_args!("no memory for a thread")));
    }
    let enabled = mm.thp.enabled() as usize;
    let on = if background::is_on() { "on" } else { "off" };
    write!(out, "enabled={} background={on}", POLICIES[enabled].0)?;
    for (name, limit, set) in &LIMITS {
        if let Some(n) = args.maybe_number(name) {
            set(&mm.thp.collapse, n as u32);
        }
        write!(out, " {name}={}", limit(&mm.thp.collapse))?;
    }
    writeln!(out)?;
    Ok(())
}
