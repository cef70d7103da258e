//! What the law says of a test, and what this machine can show of it.

use crate::boot;
use crate::platform::{self, Nature};
use ::litmus::law::{self, Outcomes};
use ::litmus::test::{Column, Test, Verdict};
use core::fmt;
use pte::Caps;

/// The rules that CPUs are held to.
pub(super) const fn column_of(caps: &Caps) -> Column {
    if caps.ets2 { Column::Ets2 } else { Column::Base }
}

/// A verdict as it is printed.
pub(super) const fn word(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Allowed) => "allowed",
        Some(Verdict::Forbidden) => "forbidden",
        Some(Verdict::Required) => "required",
        None => "unknown",
    }
}

/// What the law says of one test.
pub(super) struct Law {
    base: Option<Verdict>,
    ets2: Option<Verdict>,
    column: Column,
    allowed: Option<Outcomes>,
    /// What its text says, in this machine's column.
    claimed: Option<Verdict>,
}

impl Law {
    /// Asks it about the column of this machine; about the other one if the test's text does not say.
    pub(super) fn of(test: &Test, column: Column) -> Self {
        // Both answers take seconds for the largest tests, more where the CPUs are emulated.
        let goes_on = || !crate::console::interrupted();
        let outcomes = law::outcomes_while(test, column, &goes_on).ok();
        let answer = outcomes.as_ref().map(|outcomes| outcomes.verdict(test));
        let other = |other, said: Option<Verdict>| match answer {
            Some(_) if column == other => answer,
            _ => said.or_else(|| {
                // Too large in one column is too large in the other.
                let other = law::outcomes_while(test, other, &goes_on);
                answer.and(other.ok()).map(|outcomes| outcomes.verdict(test))
            }),
        };
        Self {
            base: other(Column::Base, test.expected.base),
            ets2: other(Column::Ets2, test.expected.ets2),
            claimed: if column == Column::Base { test.expected.base } else { test.expected.ets2 },
            column,
            // A test in which a thread only ever faults again has no final state.
            allowed: outcomes.filter(|outcomes| !outcomes.states.is_empty()),
        }
    }

    /// The answer that this machine must agree with.
    pub(super) const fn here(&self) -> Option<Verdict> {
        match self.column {
            Column::Base => self.base,
            Column::Ets2 | Column::Ets3 => self.ets2,
        }
    }

    /// All final states that it allows; `None` for tests that are too large for it.
    pub(super) const fn allowed(&self) -> Option<&Outcomes> {
        self.allowed.as_ref()
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = match self.column {
            Column::Base => "base",
            Column::Ets2 | Column::Ets3 => "ETS2",
        };
        write!(f, "law: base {}, ETS2 {}; here {column}", word(self.base), word(self.ets2))?;
        if self.claimed.is_some_and(|claimed| Some(claimed) != self.here()) {
            write!(f, "; its text claims {}", word(self.claimed))?;
        }
        if self.allowed.as_ref().is_some_and(Outcomes::is_broken) {
            f.write_str("; it breaks break-before-make")?;
        }
        Ok(())
    }
}

/// What the platform could show, in a sentence.
pub(super) fn strength() -> &'static str {
    match boot::board().map(platform::nature) {
        Some(Nature::Emulated) => {
            "platform: an emulator. Its TLBs hold stale leaves, but no walks, ASIDs or level hints, and fill \
             on use alone; stores are seen late at most by their neighbour's loads"
        }
        Some(Nature::Real) => "platform: CPUs. What they did not show, they may show another day",
        Some(Nature::Unknown) | None => "platform: nobody said whether these CPUs are emulated",
    }
}
