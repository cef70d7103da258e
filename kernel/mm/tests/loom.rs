//! Explores the small protocols of the memory manager: in which order their steps may come, and which stale
//! values a load may answer; and shows of each order that they rest on that it is needed.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p granule-mm --release --test loom
//! ```
//!
//! The scenarios are the crate's own ([`models`]). [`holds`] explores one as it is, [`catches`] wants it
//! to fail without something.
#![cfg(loom)]

use evidence::Judge;
use granule_mm::models::{self, Without};
use granule_mm::mutant::Mutant;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use sync::mutant::Mutant as Order;

type Scenario = fn(Without);

thread_local! {
    /// How often a CPU may be overtaken in one execution; `None`: as often as there are steps.
    static PREEMPTIONS: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Explores what `body` does by the executions in which CPUs overtake each other at few places: scenarios of many
/// entries have too many steps for all of them, and these few show what each order is needed for.
fn seldom_overtaken(body: impl FnOnce()) {
    PREEMPTIONS.set(Some(3));
    body();
    PREEMPTIONS.set(None);
}

fn explore(scenario: Scenario, without: Without, order: Option<Order>) {
    let mut builder = loom::model::Builder::new();
    // Making a space takes many steps, none of them contended.
    builder.max_branches = 100_000;
    builder.preemption_bound = PREEMPTIONS.get();
    Order::arm(order);
    builder.check(move || scenario(without));
}

/// No execution of `scenario` fails.
fn holds(scenario: Scenario, without: Without) {
    explore(scenario, without, None);
}

/// Some execution of `scenario` fails, by an assertion of its own or by two accesses to a cell that nothing
/// orders; says which.
fn catches(scenario: Scenario, without: Without, order: Option<Order>) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| explore(scenario, without, order)));
    Order::arm(None);
    let panic = failed.expect_err("nobody missed what was taken away");
    let words = panic.downcast_ref::<String>().map(String::as_str);
    let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
    let expected = words.contains("wrong:") || words.contains("Causality violation");
    assert!(expected, "{without:?}, {order:?} failed for another reason: {words}");
    words.lines().next().unwrap_or_default().into()
}

fn misses_step(scenario: Scenario, step: Mutant) {
    let look = || Some(catches(scenario, Without::step(step), None));
    evidence::tried(Judge::Loom, step.name(), look, String::clone);
}

/// No execution of `scenario` fails without this step alone.
fn spares_step(scenario: Scenario, step: Mutant) {
    let look = || {
        holds(scenario, Without::step(step));
        None
    };
    evidence::tried(Judge::Loom, step.name(), look, String::clone);
}

fn misses_order(scenario: Scenario, order: Order) {
    let look = || Some(catches(scenario, Without::default(), Some(order)));
    let name = evidence::spelled(&format!("{order:?}"));
    evidence::tried(Judge::Loom, &name, look, String::clone);
}

#[test]
fn the_known_bugs_are_named() {
    evidence::known(Mutant::ALL.iter().map(|mutant| (mutant.name(), "")));
}

#[test]
fn everything_holds_as_it_is() {
    let scenarios: [Scenario; 14] = [
        models::freezing_against_getting,
        models::cutting_against_getting,
        models::cutting_against_waiting,
        models::cutting_against_marking,
        models::sharing_a_page,
        models::sharing_a_large_folio,
        models::forking_against_pinning,
        models::discarding_against_referencing,
        models::reclaiming_against_writing,
        models::linking_against_walking,
        models::faulting_against_reading,
        models::going_on_against_a_rollover,
        models::reusing_against_walking,
        models::checking_against_pinning,
    ];
    for scenario in scenarios {
        holds(scenario, Without::default());
    }
}

#[test]
fn rows_hold_as_they_are() {
    let scenarios: [Scenario; 4] = [
        models::moving_a_row_against_pinning,
        models::moving_a_row_against_pinning_its_end,
        models::moving_a_folio_against_pinning,
        models::discarding_a_row_against_referencing,
    ];
    seldom_overtaken(|| scenarios.iter().for_each(|scenario| holds(*scenario, Without::default())));
}

// --- a folio is frozen, or somebody holds it -----------------------------------------------------------

#[test]
fn the_thaws_release() {
    misses_step(models::freezing_against_getting, Mutant::UnfreezeRelaxed);
}

#[test]
fn the_freezes_acquire() {
    misses_step(models::freezing_against_getting, Mutant::FreezeRelaxed);
}

#[test]
fn the_references_fence() {
    misses_step(models::discarding_against_referencing, Mutant::GupUnfenced);
}

/// Who gives a page back that he held to write to it has taken the mark away, and reclaim sees both or none.
#[test]
fn the_references_are_read_before_the_mark() {
    misses_step(models::reclaiming_against_writing, Mutant::LazyMarkFirst);
    misses_step(models::reclaiming_against_writing, Mutant::HoldForgetsWrite);
    misses_step(models::reclaiming_against_writing, Mutant::GupUnfenced);
}

// --- a folio is cut, and each part is whole -----------------------------------------------------------

#[test]
fn the_old_head_is_thawed_last() {
    misses_step(models::cutting_against_getting, Mutant::SplitHeadFirst);
}

#[test]
fn the_owner_is_there_before_the_references() {
    misses_step(models::cutting_against_getting, Mutant::SplitOwnerLate);
}

#[test]
fn the_flags_come_with_the_head() {
    misses_step(models::cutting_against_waiting, Mutant::SplitFlagsLate);
}

// --- a page is shared, or somebody has pinned it -------------------------------------------------------

#[test]
fn the_fence_of_sharing() {
    misses_step(models::sharing_a_page, Mutant::ShareUnfenced);
    misses_step(models::sharing_a_large_folio, Mutant::ShareUnfenced);
}

/// The store that brings the entry back is a release, in place of Linux's second fence.
#[test]
fn the_entry_comes_back_after_its_page_is_shared() {
    catches(models::sharing_a_page, Without::release(), None);
}

#[test]
fn the_pins_fence_and_second_look() {
    for scenario in [models::sharing_a_page, models::sharing_a_large_folio] {
        misses_order(scenario, Order::SeqUnchangedUnfenced);
        misses_step(scenario, Mutant::GupNoRecheck);
        misses_step(scenario, Mutant::PinShared);
    }
}

#[test]
fn what_pins_and_forks_ask_of_each_other() {
    let scenario = models::forking_against_pinning;
    for step in [Mutant::PinForgetsFork, Mutant::PinDuringFork, Mutant::PinUnnoted] {
        misses_step(scenario, step);
    }
    for order in [Order::SeqUnchangedUnfenced, Order::SeqBeginUnfenced] {
        misses_order(scenario, order);
    }
}

// --- many entries, one fence ----------------------------------------------------------------------------

/// One fence after the last of a row's entries was made invalid, and one after the last of a window's pages was
/// counted; and then each entry is looked at again.
#[test]
fn one_fence_for_a_row_and_one_for_a_window() {
    let rows = [models::moving_a_row_against_pinning, models::moving_a_folio_against_pinning];
    seldom_overtaken(|| {
        for scenario in rows {
            misses_step(scenario, Mutant::ShareUnfenced);
            misses_step(scenario, Mutant::GupNoRecheck);
            misses_order(scenario, Order::SeqUnchangedUnfenced);
        }
        misses_step(models::moving_a_row_against_pinning_its_end, Mutant::RowFencedFirst);
        misses_step(models::moving_a_row_against_pinning, Mutant::WindowFencedFirst);
        // Who asks for all of a row is protected by its first page.
        spares_step(models::moving_a_row_against_pinning, Mutant::RowFencedFirst);
    });
}

#[test]
fn one_fence_for_a_window_of_references() {
    seldom_overtaken(|| {
        for step in [Mutant::GupUnfenced, Mutant::WindowFencedFirst, Mutant::GupNoRecheck] {
            misses_step(models::discarding_a_row_against_referencing, step);
        }
    });
}

// --- what is published is whole ------------------------------------------------------------------------

/// The store that links a table is a release, and a barrier comes before it, for walkers. Software would
/// do with either.
#[test]
fn the_links_release_or_the_barrier() {
    let barrier = Without::step(Mutant::LinkBeforeZero);
    spares_step(models::linking_against_walking, Mutant::LinkBeforeZero);
    holds(models::linking_against_walking, Without::release());
    catches(models::linking_against_walking, Without { release: true, ..barrier }, None);
}

#[test]
fn the_mappings_release() {
    catches(models::faulting_against_reading, Without::release(), None);
}

// --- one number, one space ------------------------------------------------------------------------------

#[test]
fn what_a_rollover_must_not_forget() {
    for step in [Mutant::RolloverForgetsActive, Mutant::RolloverNoFlush] {
        misses_step(models::going_on_against_a_rollover, step);
    }
}

// --- a table is taken out ----------------------------------------------------------------------------------

/// The wait for walkers, with both its fences, before the table is another's.
#[test]
fn walkers_have_left_a_table_that_is_reused() {
    misses_step(models::reusing_against_walking, Mutant::CollapseNoGrace);
    for order in [Order::WalkUnfenced, Order::SynchronizeUnfenced] {
        misses_order(models::reusing_against_walking, order);
    }
}

/// First the table is taken out, then its pages are looked at; whoever walked before is waited for, and who
/// comes later finds nothing. The second look of a pin is a second defence.
#[test]
fn pins_are_seen_once_the_table_is_gone() {
    misses_step(models::checking_against_pinning, Mutant::CollapsePinsFirst);
    misses_step(models::checking_against_pinning, Mutant::CollapseNoGrace);
    spares_step(models::checking_against_pinning, Mutant::GupNoTableRecheck);
}
