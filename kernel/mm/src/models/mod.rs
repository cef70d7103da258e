//! Explores the small protocols of this crate, on its own source: in which order threads may come, and
//! which stale values a load may answer; and shows of each order that they rest on that it is needed.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p granule-mm --features mutants --release --lib models
//! ```
//!
//! A scenario is a closure that is told which bugs to arm, and asserts what it was promised. [`holds`]
//! explores it as it is, [`catches`] wants it to fail with the bug.
//!
//! | file | protocol |
//! | --- | --- |
//! | `folios` | the last reference is taken away from all others, against whoever takes one without a lock |
//! | `pins` | exclusivity against pins: taken away with the entry cleared, and by a fork |
//! | `tables` | a table is filled and linked, a page is filled and mapped, against lockless readers |
//! | `asids` | a CPU goes on with its number, against a roll-over |

mod asids;
mod folios;
mod machine;
mod pins;
mod tables;

use crate::mutant::Mutant;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::string::String;

/// What is taken away in a scenario.
#[derive(Clone, Copy, Default, Debug)]
struct Without {
    /// A step of this crate's.
    step: Option<Mutant>,
    /// An order of `sync`'s.
    order: Option<sync::mutant::Mutant>,
    /// What the hardware promises of a descriptor's store.
    release: bool,
}

impl Without {
    fn step(step: Mutant) -> Self {
        Self { step: Some(step), ..Self::default() }
    }

    fn order(order: sync::mutant::Mutant) -> Self {
        Self { order: Some(order), ..Self::default() }
    }

    /// A memory manager with these bugs.
    fn boot(self) -> std::sync::Arc<crate::Mm<machine::Machine>> {
        let mm = machine::boot(self.release);
        mm.arm(self.step);
        mm
    }
}

fn explore(scenario: fn(Without), without: Without) {
    let mut builder = loom::model::Builder::new();
    // Making a space takes many steps, none of them contended.
    builder.max_branches = 100_000;
    sync::mutant::Mutant::arm(without.order);
    builder.check(move || scenario(without));
}

/// No execution of `scenario` fails.
fn holds(scenario: fn(Without)) {
    explore(scenario, Without::default());
}

/// Some execution of `scenario` fails with the bug: an assertion of its own, or two accesses to a cell
/// that nothing orders.
fn catches(scenario: fn(Without), without: Without) {
    let failed = catch_unwind(AssertUnwindSafe(|| explore(scenario, without)));
    sync::mutant::Mutant::arm(None);
    let panic = failed.expect_err("nobody missed what was taken away");
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(
        words.contains("wrong:") || words.contains("Causality violation"),
        "{without:?} failed for another reason: {words}"
    );
}
