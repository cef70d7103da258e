//! The zoo: the known bugs ([`Mutant`]), each with the workload that it lives in, and of the famous ones the
//! story: where they were found, how they go wrong step by step, and which line of this source prevents them.
//!
//! Data only, so that hosts can test it; the prompt's `zoo` shows it and lets the bugs out.
//!
//! | file | concern |
//! | --- | --- |
//! | `exhibit` | what is told of a bug, and how it is printed |
//! | `habitat` | which workload each lives in |
//! | `unmap` | what is given back too early |
//! | `change` | what changes and leaves the old translation behind |
//! | `split` | entries of other kinds and levels: splits, migration, new tables |
//! | `alias` | kernel addresses that lead where they must not any more |
//! | `ioremap` | kernel tables that blocks take the place of |
//! | `rights` | rights of the kernel's own memory |
//! | `shown` | kernel entries that are used before all can see them |
//! | `waiting` | bugs of what is not built yet: their stories, and no run |

mod alias;
mod change;
mod exhibit;
mod habitat;
mod ioremap;
mod rights;
mod shown;
mod split;
mod unmap;
mod waiting;

pub use exhibit::{Exhibit, Place, Step, Waiting};
pub use habitat::habitat;
pub use waiting::WAITING;

use mm::mutant::Mutant;

/// Every story.
pub fn exhibits() -> impl Iterator<Item = &'static Exhibit> {
    let all = [
        unmap::EXHIBITS,
        change::EXHIBITS,
        split::EXHIBITS,
        alias::EXHIBITS,
        ioremap::EXHIBITS,
        rights::EXHIBITS,
        shown::EXHIBITS,
    ];
    all.into_iter().flatten()
}

/// The story of `mutant`, if it is told.
pub fn exhibit(mutant: Mutant) -> Option<&'static Exhibit> {
    exhibits().find(|exhibit| exhibit.mutant == mutant)
}

/// The bug of that name.
pub fn find(name: &str) -> Option<Mutant> {
    Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name)
}

/// Every known bug's name, and its habitat.
pub fn homes() -> impl Iterator<Item = (&'static str, &'static str)> {
    Mutant::ALL.iter().map(|mutant| (mutant.name(), habitat(*mutant)))
}

/// What `mutant` does wrong, in a clause: no explanation, and no year.
pub fn headline(mutant: Mutant) -> &'static str {
    let about = mutant.about();
    let ends = [". ", ": ", " ("].map(|end| about.find(end).unwrap_or(about.len()));
    let end = ends.into_iter().fold(about.len(), usize::min);
    about[..end].trim_end_matches('.')
}
