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
    })?;
    writeln!(out, "`zoo show` tells the story of some, `zoo run` lets any one out")
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
