//! What is measured by one CPU, by two and by four at the same time.

use super::report::{Maybe, Met};
use super::result::{Measured, Outcome};
use abi::Event;
use core::fmt::{self, Display, Write};
use shell::{Column, columns};

/// The rows of a series, one below the other. A dash: nothing can tell.
pub(super) fn series(out: &mut dyn Write, outcomes: &[Outcome]) -> fmt::Result {
    writeln!(out, "Linux's test_vmalloc, on so many CPUs at the same time; per turn:")?;
    let heads = [
        Column::Left("case"),
        Column::Right("CPUs"),
        Column::Right("ns"),
        Column::Right("instructions"),
        Column::Right("tlbi"),
        Column::Right("publish"),
        Column::Right("complete"),
        Column::Left(""),
    ];
    columns(out, &heads, |row| {
        for outcome in outcomes.iter().filter(|outcome| outcome.setting.series) {
            let count = |count: fn(&Measured) -> _| Maybe(outcome.measured().map(count));
            let name: &dyn Display = if outcome.setting.cpus == 1 { &outcome.name } else { &"" };
            row([
                name,
                &outcome.setting.cpus,
                &Maybe(outcome.measured().and_then(|measured| measured.ns)),
                &Maybe(outcome.instructions()),
                &count(Measured::tlbis),
                &count(|measured| measured.count(Event::DsbPublish)),
                &count(|measured| measured.count(Event::DsbComplete)),
                &Met(outcome),
            ]);
        }
    })
}
