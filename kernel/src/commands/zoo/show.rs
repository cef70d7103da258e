//! What is told of the bugs.

use core::fmt::{self, Write};
use mm::mutant::Mutant;
use shell::{Column, columns};
use stress::zoo;

/// The bugs whose names contain `filter`.
pub(super) fn list(filter: &str, out: &mut dyn Write) -> fmt::Result {
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
    )
}

/// All about one.
pub(super) fn show(mutant: Mutant, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{}: {}", mutant.name(), mutant.about())?;
    match zoo::exhibit(mutant) {
        Some(exhibit) => writeln!(out, "{exhibit}")?,
        None => writeln!(out, "its story is not told here; its places ask for Mutant::{mutant:?}")?,
    }
    writeln!(out, "seen in\n  stress {}", zoo::habitat(mutant))
}

/// All about one that cannot be let out yet.
pub(super) fn show_waiting(waiting: &zoo::Waiting, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{}: {}", waiting.name, waiting.about)?;
    writeln!(out, "{waiting}")
}
