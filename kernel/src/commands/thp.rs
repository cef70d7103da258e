//! `thp`: who gets huge pages, and what the background makes of small ones.

use super::{Context, Outcome, fail};
use crate::{background, memory};
use core::fmt::Write;
use mm::thp::Policy;
use shell::{Arg, Args, Kind};

const POLICIES: [(&str, Policy); 3] =
    [("always", Policy::Always), ("madvise", Policy::Madvise), ("never", Policy::Never)];
const COUNT: Kind = Kind::Number { min: 0, max: u32::MAX as u64 };

pub(super) static ARGS: [Arg; 7] = [
    Arg::key("enabled", Kind::OneOf(&["always", "madvise", "never"]), "where").optional(),
    Arg::key("background", Kind::OneOf(&["on", "off"]), "collapse unasked").optional(),
    Arg::key("max_none", COUNT, "entries that may be empty").optional(),
    Arg::key("max_shared", COUNT, "pages that may be shared").optional(),
    Arg::key("pages", COUNT, "entries between two sleeps").optional(),
    Arg::key("sleep", COUNT, "ms between two looks").optional(),
    Arg::key("alloc_sleep", COUNT, "ms when there was no memory").optional(),
];

/// Sets what is named, and shows all.
pub(super) fn thp(_: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let Some(mm) = memory::mm() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let (thp, limits) = (&mm.thp, &mm.thp.collapse);
    for (name, policy) in POLICIES {
        if args.maybe_word("enabled") == Some(name) {
            thp.set_enabled(policy);
        }
    }
    let number = |name| args.maybe_number(name).map(|number| number as u32);
    number("max_none").into_iter().for_each(|n| limits.set_max_none(n));
    number("max_shared").into_iter().for_each(|n| limits.set_max_shared(n));
    number("pages").into_iter().for_each(|n| limits.set_pages_to_scan(n));
    number("sleep").into_iter().for_each(|n| limits.set_scan_sleep_ms(n));
    number("alloc_sleep").into_iter().for_each(|n| limits.set_alloc_sleep_ms(n));
    if let Some(word) = args.maybe_word("background")
        && background::switch(word == "on").is_err()
    {
        return Err(fail(out, format_args!("no memory for a thread")));
    }
    let enabled = POLICIES.iter().find(|(_, policy)| *policy == thp.enabled());
    let on = if background::is_on() { "on" } else { "off" };
    writeln!(out, "enabled={} background={on}", enabled.map_or("", |(name, _)| name))?;
    writeln!(out, "max_none={} max_shared={}", limits.max_none(), limits.max_shared())?;
    let (pages, sleep) = (limits.pages_to_scan(), limits.scan_sleep_ms());
    writeln!(out, "pages={pages} sleep={sleep} alloc_sleep={}", limits.alloc_sleep_ms())?;
    Ok(())
}
