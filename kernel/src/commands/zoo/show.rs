//! What is told of the bugs.

use super::super::{Outcome, fail};
use core::fmt::{self, Write};
use mm::mutant::Mutant;
use shell::{Column, columns};
use stress::zoo;

/// The bugs whose names contain `filter`.
pub(super) fn list(filter: &str, out: &mut dyn Write) -> Outcome {
    let waiting = zoo::WAITING.iter().map(|waiting| waiting.name);
    let mut names = Mutant::ALL.iter().map(|mutant| mutant.name()).chain(waiting);
    if !names.any(|name| name.contains(filter)) {
        return Err(fail(out, format_args!("zoo: no bug is called like {filter}")));
    }
    let headings = [Column::Left("bug"), Column::Left("seen in"), Column::Left("what it does")];
    columns(out, &headings, |row| {
        for &mutant in Mutant::ALL.iter().filter(|mutant| mutant.name().contains(filter)) {
            row([&mutant.name(), &zoo::habitat(mutant), &zoo::headline(mutant)]);
        }
        for waiting in zoo::WAITING.iter().filter(|waiting| waiting.name.contains(filter)) {
            row([&waiting.name, &"(waiting)", &waiting.about]);
        }
    })?;
    writeln!(
        out,
        "`zoo show` tells the story of some, `zoo run` lets any one out that is not waiting"
    )?;
    Ok(())
}

/// All about one.
pub(super) fn show(mutant: Mutant, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{}: {}", mutant.name(), mutant.about())?;
    match zoo::exhibit(mutant) {
        Some(exhibit) => writeln!(out, "{exhibit}")?,
        None => writeln!(out, "not told as a story; the source asks for it by Mutant::{mutant:?}")?,
    }
    writeln!(out, "seen in\n  stress {}", zoo::habitat(mutant))
}

/// All about one that cannot be let out yet.
pub(super) fn show_waiting(waiting: &zoo::Waiting, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{}: {}", waiting.name, waiting.about)?;
    writeln!(out, "{waiting}")
}
