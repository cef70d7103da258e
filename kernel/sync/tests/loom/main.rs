//! Explores every interleaving, and every stale value that a load may answer, of the protocols in
//! this crate; and shows of each order that they rest on that it is needed.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p granule-sync --release --test loom
//! ```
//!
//! A scenario is a closure that asserts what it was promised: by assertions of its own; by cells,
//! whose accesses loom wants ordered; and by ending, for loom reports threads that all sleep.
//! [`holds`] explores it as it is. [`catches`] arms one [`Mutant`] and wants it to fail, for the
//! reason that the mutant's own line in `each_is_caught!` gives.
//!
//! Most scenarios have two threads and are explored whole. Those with three are explored up to the
//! number of preemptions that they name; every choice of stale values is still made.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod arc;
mod machine;
mod mutex;
mod range_lock;
mod seq_count;
mod walkers;

use evidence::Judge;
use granule_sync::mutant::Mutant;
use std::env;
use std::process::Command;
use std::time::Instant;

/// How many times threads may be preempted in one execution; `None`: as often as they like.
type Bound = Option<usize>;

/// How loom says that a scenario failed.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    /// Two accesses to a cell that nothing orders.
    Race,
    /// Every thread waits.
    Asleep,
    /// An assertion of the scenario's own, which says so.
    Wrong,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Race => "Causality violation",
            Self::Asleep => "deadlock",
            Self::Wrong => "wrong:",
        }
    }
}

fn explore(bound: Bound, scenario: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.check(scenario);
}

/// No execution of `scenario` fails.
fn holds(bound: Bound, scenario: fn()) {
    Mutant::arm(None);
    explore(bound, scenario);
}

/// With `mutant` some execution of `scenario` fails, and fails so. `test` is the calling test: it is
/// run once more in a process of its own, for some failures abort.
fn catches(test: &str, mutant: Mutant, verdict: Verdict, bound: Bound, scenario: fn()) {
    const INSIDE: &str = "GRANULE_LOOM_INSIDE";
    if env::var_os(INSIDE).is_some() {
        Mutant::arm(Some(mutant));
        return explore(bound, scenario);
    }
    let mut inside = Command::new(env::current_exe().unwrap());
    inside.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").env("RUST_BACKTRACE", "0");
    let started = Instant::now();
    let output = inside.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{mutant:?} went unnoticed");
    assert!(said.contains(verdict.words()), "{mutant:?} failed, but not by {verdict:?}: {said}");
    let (bug, took) = (evidence::spelled(&format!("{mutant:?}")), started.elapsed());
    evidence::note(Judge::Loom, &bug, test, Some(verdict.words()), took);
}

/// What catches which mutant: one test each, so that they run side by side and fail by name.
macro_rules! each_is_caught {
    ($($name:ident: $mutant:ident is $verdict:ident in $module:ident::$scenario:ident, $bound:expr;)*) => {
        mod without {
            use super::{Mutant, Verdict, catches};

            $(#[test] fn $name() {
                let test = concat!("without::", stringify!($name));
                let verdict = Verdict::$verdict;
                catches(test, Mutant::$mutant, verdict, $bound, crate::$module::$scenario);
            })*
        }

        #[test]
        fn every_mutant_has_its_test() {
            let tested = [$(Mutant::$mutant,)*];
            let missing = Mutant::ALL.iter().find(|mutant| !tested.contains(mutant));
            assert_eq!(missing, None);
            for mutant in Mutant::ALL {
                evidence::known([(&*evidence::spelled(&format!("{mutant:?}")), "")]);
            }
        }
    };
}

each_is_caught! {
    the_claims_fence: ClaimUnfenced is Race in range_lock::a_fault_against_an_munmap, None;
    the_lines_note_in_time: LineNotedLate is Race in range_lock::a_fault_against_an_munmap, None;
    the_claims_end: ClaimEndRelaxed is Race in range_lock::a_fault_against_an_munmap, None;
    the_scans_acquire: ScanRelaxed is Race in range_lock::a_fault_against_an_munmap, None;
    the_exclusions_fence: ExcludeUnfenced is Race in range_lock::a_fault_against_an_munmap, None;
    the_exclusions_end: ReopenRelaxed is Race in range_lock::a_fault_against_an_munmap, None;
    the_sleepers_fence: SleepUnfenced is Asleep in range_lock::a_fault_against_an_munmap, None;
    the_wakers_fence: WakeUnfenced is Asleep in range_lock::a_fault_against_an_munmap, None;
    the_gates_acquire: GateLoadRelaxed is Race in range_lock::a_lookup_against_a_change, None;
    the_lookups_end: LookupEndRelaxed is Race in range_lock::a_lookup_against_a_change, None;
    the_changes_fence: MutateUnfenced is Race in range_lock::a_lookup_against_a_change, None;
    the_changes_end: UnmarkRelaxed is Race in range_lock::a_lookup_against_a_change, None;
    the_announcements_release: AnnounceRelaxed is Race in range_lock::a_fault_beside_an_exclusion, None;
    the_spans_acquire: SpanLoadRelaxed is Race in range_lock::a_fault_against_two_munmaps, None;
    the_spans_release: SpanStoreRelaxed is Race in range_lock::a_fault_against_two_munmaps, None;

    the_walks_fence: WalkUnfenced is Race in walkers::a_walk_against_a_free, None;
    the_reclaimers_fence: SynchronizeUnfenced is Race in walkers::a_walk_against_a_free, None;
    the_walks_end: WalkEndRelaxed is Race in walkers::a_walk_against_a_free, None;
    the_reclaimers_acquire: SynchronizeRelaxed is Race in walkers::a_walk_against_a_free, None;

    the_forks_fence: SeqBeginUnfenced is Wrong in seq_count::a_pin_against_a_fork, None;
    the_pins_fence: SeqUnchangedUnfenced is Wrong in seq_count::a_pin_against_a_fork, None;
    the_forks_end: SeqEndRelaxed is Wrong in seq_count::a_pin_against_a_fork, None;
    the_samples_acquire: SeqReadRelaxed is Wrong in seq_count::a_pin_against_a_fork, None;

    the_owners_release: ArcDropRelaxed is Race in arc::the_last_owner_drops, None;
    the_last_owners_acquire: ArcLastUnfenced is Race in arc::the_last_owner_drops, None;

    the_mutexs_acquire: MutexLockRelaxed is Race in mutex::two_count, None;
    the_mutexs_release: MutexUnlockRelaxed is Race in mutex::two_count, None;
    the_tickets_acquire: MutexTicketRelaxed is Race in mutex::two_count_restlessly, None;

}
