//! Explores every interleaving, and every stale value that a load may answer, of the protocols in
//! this crate; and shows of each order that they rest on that it is needed.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p granule-sync --release --test loom
//! ```
//!
//! A scenario is a closure that asserts what it was promised: by assertions of its own; by cells,
//! whose accesses loom wants ordered; and by ending, for loom reports a thread that sleeps for ever.
//! [`holds`] explores it as it is. [`catches`] arms one [`Mutant`] and wants it to fail.
//!
//! Where there are three threads, or one of them goes in twice, loom explores every choice of stale
//! values but only interleavings with up to [`Bound`] preemptions: no bug here needs more than two.
#![cfg(loom)]

#[path = "loom/arc.rs"]
mod arc;
#[path = "loom/machine.rs"]
mod machine;
#[path = "loom/mutex.rs"]
mod mutex;
#[path = "loom/range_lock.rs"]
mod range_lock;
#[path = "loom/rw_lock.rs"]
mod rw_lock;
#[path = "loom/seq_count.rs"]
mod seq_count;
#[path = "loom/walkers.rs"]
mod walkers;

use granule_sync::mutant::Mutant;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many times a thread may be preempted in one execution; `None`: as often as it likes.
type Bound = Option<usize>;

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

/// With `mutant` some execution of `scenario` fails.
fn catches(mutant: Mutant, bound: Bound, scenario: fn()) {
    Mutant::arm(Some(mutant));
    let outcome = catch_unwind(AssertUnwindSafe(|| explore(bound, scenario)));
    Mutant::arm(None);
    assert!(outcome.is_err(), "{mutant:?} went unnoticed");
}

/// What catches which mutant: the one list, so that none can be forgotten.
fn scenario_for(mutant: Mutant) -> (Bound, fn()) {
    use Mutant as M;
    match mutant {
        M::ClaimUnfenced | M::ExcludeUnfenced | M::ScanRelaxed | M::ClaimEndRelaxed => {
            (None, range_lock::a_fault_against_an_munmap)
        }
        M::LineNotedLate => (None, range_lock::a_fault_against_an_munmap),
        M::MutateUnfenced | M::LookupEndRelaxed | M::UnmarkRelaxed | M::GateLoadRelaxed => {
            (None, range_lock::a_lookup_against_a_change)
        }
        M::SleepUnfenced | M::WakeUnfenced | M::ReopenRelaxed => {
            (None, range_lock::a_fault_against_an_munmap)
        }
        M::AnnounceRelaxed => (None, range_lock::a_fault_beside_an_exclusion),
        M::SpanLoadRelaxed | M::SpanStoreRelaxed => (None, range_lock::a_fault_against_two_munmaps),
        M::WalkUnfenced | M::SynchronizeUnfenced | M::WalkEndRelaxed | M::SynchronizeRelaxed => {
            (None, walkers::a_walk_against_a_free)
        }
        M::SeqBeginUnfenced | M::SeqUnchangedUnfenced => (None, seq_count::a_pin_against_a_fork),
        M::SeqEndRelaxed | M::SeqReadRelaxed => (None, seq_count::a_pin_after_a_fork),
        M::ArcDropRelaxed | M::ArcLastUnfenced => (None, arc::the_last_owner_drops),
        M::MutexLockRelaxed | M::MutexUnlockRelaxed => (None, mutex::two_count),
        M::MutexTicketRelaxed => (Some(2), mutex::three_count),
        M::ReadLockRelaxed | M::WriteLockRelaxed => (None, rw_lock::a_reader_and_a_writer),
        M::ReadUnlockRelaxed | M::WriteUnlockRelaxed => (None, rw_lock::a_reader_and_a_writer),
    }
}

/// One test per mutant, so that they run side by side and fail by name.
macro_rules! each_is_caught {
    ($($name:ident: $mutant:ident,)*) => {
        mod without {
            $(#[test] fn $name() {
                let mutant = granule_sync::mutant::Mutant::$mutant;
                let (bound, scenario) = super::scenario_for(mutant);
                super::catches(mutant, bound, scenario);
            })*
        }

        #[test]
        fn every_mutant_has_its_test() {
            let tested = [$(Mutant::$mutant,)*];
            let missing = Mutant::ALL.iter().find(|mutant| !tested.contains(mutant));
            assert_eq!(missing, None);
        }
    };
}

each_is_caught! {
    the_claims_fence: ClaimUnfenced,
    the_lines_note_in_time: LineNotedLate,
    the_gates_acquire: GateLoadRelaxed,
    the_spans_acquire: SpanLoadRelaxed,
    the_spans_release: SpanStoreRelaxed,
    the_lookups_end: LookupEndRelaxed,
    the_claims_end: ClaimEndRelaxed,
    the_scans_acquire: ScanRelaxed,
    the_exclusions_fence: ExcludeUnfenced,
    the_announcements_release: AnnounceRelaxed,
    the_changes_fence: MutateUnfenced,
    the_changes_end: UnmarkRelaxed,
    the_exclusions_end: ReopenRelaxed,
    the_sleepers_fence: SleepUnfenced,
    the_wakers_fence: WakeUnfenced,
    the_walks_fence: WalkUnfenced,
    the_reclaimers_fence: SynchronizeUnfenced,
    the_walks_end: WalkEndRelaxed,
    the_reclaimers_acquire: SynchronizeRelaxed,
    the_forks_fence: SeqBeginUnfenced,
    the_pins_fence: SeqUnchangedUnfenced,
    the_forks_end: SeqEndRelaxed,
    the_samples_acquire: SeqReadRelaxed,
    the_owners_release: ArcDropRelaxed,
    the_last_owners_acquire: ArcLastUnfenced,
    the_mutexs_acquire: MutexLockRelaxed,
    the_tickets_acquire: MutexTicketRelaxed,
    the_mutexs_release: MutexUnlockRelaxed,
    the_readers_acquire: ReadLockRelaxed,
    the_writers_acquire: WriteLockRelaxed,
    the_readers_release: ReadUnlockRelaxed,
    the_writers_release: WriteUnlockRelaxed,
}
