//! The range lock. In these builds a CPU has one slot, and a reader queues with the writers after
//! its first sleep.

use super::holds;
use super::machine::Here;
use granule_sync::{Hazards, RangeLock};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// The page that readers fault on, and ranges with and without it.
const PAGE: u64 = 5;
const WITH: std::ops::Range<u64> = 0..10;
const WITHOUT: std::ops::Range<u64> = 20..30;

/// A layout of one number, and what the entry of [`PAGE`] says.
struct Space {
    layout: RangeLock<u32>,
    entry: UnsafeCell<u32>,
}

// SAFETY: the entry is used under a claim on its page, or under its exclusion; loom checks it.
unsafe impl Sync for Space {}

impl Space {
    fn new(cpus: usize) -> Arc<Self> {
        let hazards = granule_sync::Arc::try_new(Hazards::new(cpus)).unwrap();
        Arc::new(Self { layout: RangeLock::new(hazards, 0), entry: UnsafeCell::new(0) })
    }

    fn fault(&self, cpu: &Here) {
        let (_area, _claim) = self.layout.read_at(cpu, PAGE, |area| *area);
        self.use_entry();
    }

    fn munmap(&self, cpu: &Here) {
        let mut writer = self.layout.write(cpu);
        writer.exclude(WITH);
        self.use_entry();
    }

    fn use_entry(&self) {
        self.entry.with_mut(|_| ());
    }
}

fn on(cpu: Here, space: &Arc<Space>, work: fn(&Space, &Here)) -> thread::JoinHandle<()> {
    let space = space.clone();
    thread::spawn(move || work(&space, &cpu))
}

/// A reader with a claim, a writer with an exclusion, and one entry for one of them at a time.
pub(super) fn a_fault_against_an_munmap() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, Space::fault);
    space.munmap(&here);
    reader.join().unwrap();
}

pub(super) fn a_lookup_against_a_change() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, |space, cpu| {
        let (_, _claim) = space.layout.read_at(cpu, PAGE, |area| assert!(*area < 2));
    });
    space.layout.write(&here).mutate(|area| *area += 1);
    reader.join().unwrap();
}

/// A reader that is admitted past somebody else's range, after a change.
pub(super) fn a_fault_beside_an_exclusion() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, |space, cpu| {
        let _ = space.layout.try_read_at(cpu, PAGE, |area| *area);
    });
    let mut writer = space.layout.write(&here);
    writer.mutate(|area| *area += 1);
    writer.exclude(WITHOUT);
    drop(writer);
    reader.join().unwrap();
}

/// A reader may see the first one's gate with the second one's ranges.
pub(super) fn a_fault_against_two_munmaps() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, |space, cpu| {
        if let Some((_, _claim)) = space.layout.try_read_at(cpu, PAGE, |_| ()) {
            space.use_entry();
        }
    });
    space.munmap(&here);
    space.layout.write(&here).exclude(WITHOUT);
    reader.join().unwrap();
}

fn a_second_look_against_a_change() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, |space, cpu| {
        if let Some((first, mut claim)) = space.layout.try_read_whole(cpu, |area| *area) {
            assert!(claim.look(cpu, |area| *area) >= first);
        }
    });
    space.layout.write(&here).mutate(|area| *area += 1);
    reader.join().unwrap();
}

#[test]
fn a_claim_and_an_exclusion_do_not_meet() {
    holds(None, a_fault_against_an_munmap);
}

#[test]
fn a_lookup_and_a_change_do_not_meet() {
    holds(None, a_lookup_against_a_change);
}

#[test]
fn a_reader_beside_an_exclusion_sees_earlier_changes() {
    holds(None, a_fault_beside_an_exclusion);
}

#[test]
fn ranges_of_two_writers_are_not_mixed_up() {
    holds(None, a_fault_against_two_munmaps);
}

#[test]
fn a_second_look_and_a_change_do_not_meet() {
    holds(None, a_second_look_against_a_change);
}
