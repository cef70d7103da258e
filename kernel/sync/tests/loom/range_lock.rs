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
        Arc::new(Self::in_hazards(granule_sync::Arc::try_new(Hazards::new(cpus)).unwrap()))
    }

    fn in_hazards(hazards: granule_sync::Arc<Hazards>) -> Self {
        Self { layout: RangeLock::new(hazards, 0), entry: UnsafeCell::new(0) }
    }

    fn fault(&self, cpu: &Here) {
        let (_area, _claim) = self.layout.read_at(cpu, PAGE, |area| *area);
        self.use_entry();
    }

    fn fault_read(&self, cpu: &Here) {
        let (_area, _claim) = self.layout.read_at(cpu, PAGE, |area| *area);
        self.entry.with(|_| ());
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

/// A reader that is admitted past a range, after another writer's change.
pub(super) fn a_fault_beside_an_exclusion() {
    let here = Here::boot();
    let space = Space::new(3);
    let reader = on(here.on(1), &space, |space, cpu| {
        let _ = space.layout.try_read_at(cpu, PAGE, |area| *area);
    });
    let mmap = on(here.on(2), &space, |space, cpu| {
        space.layout.write(cpu).mutate(|area| *area += 1);
    });
    mmap.join().unwrap();
    space.layout.write(&here).exclude(WITHOUT);
    reader.join().unwrap();
}

/// A reader may see the first one's gate with the second one's ranges.
pub(super) fn a_fault_against_two_munmaps() {
    let here = Here::boot();
    let space = Space::new(3);
    let reader = on(here.on(1), &space, |space, cpu| {
        if let Some((_, _claim)) = space.layout.try_read_at(cpu, PAGE, |_| ()) {
            space.use_entry();
        }
    });
    on(here.on(2), &space, Space::munmap).join().unwrap();
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

/// A reader is refused by one writer, and may be again by the next: it must come in all the same.
fn a_patient_fault() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, Space::fault);
    space.munmap(&here);
    space.munmap(&here);
    reader.join().unwrap();
}

fn two_faults_and_an_munmap() {
    let here = Here::boot();
    let space = Space::new(3);
    let one = on(here.on(1), &space, Space::fault_read);
    let other = on(here.on(2), &space, Space::fault_read);
    space.munmap(&here);
    one.join().unwrap();
    other.join().unwrap();
}

/// Both claim on one CPU, with one slot: the later one claims on the other CPU, or waits.
fn two_faults_on_a_cpu_and_a_change() {
    let here = Here::boot();
    let space = Space::new(2);
    let one = on(here.on(1), &space, Space::fault_read);
    let other = on(here.on(1), &space, Space::fault_read);
    space.layout.write(&here).mutate(|area| *area += 1);
    one.join().unwrap();
    other.join().unwrap();
}

/// The slot in which a fault's claim was goes to a reader of another lock, which then hides the end
/// of the first claim from the writer.
fn a_stranger_in_the_slot() {
    let here = Here::boot();
    let hazards = granule_sync::Arc::try_new(Hazards::new(1)).unwrap();
    let space = Arc::new(Space::in_hazards(hazards.clone()));
    let stranger = Arc::new(RangeLock::new(hazards, ()));
    let reader = on(here.on(0), &space, Space::fault);
    let other = {
        let (there, stranger) = (here.on(0), stranger.clone());
        thread::spawn(move || drop(stranger.try_read_at(&there, PAGE, |()| ())))
    };
    space.munmap(&here);
    reader.join().unwrap();
    other.join().unwrap();
}

fn a_whole_reader_against_an_munmap() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, |space, cpu| {
        let (_, _claim) = space.layout.read_whole(cpu, |_| ());
        space.use_entry();
    });
    space.munmap(&here);
    reader.join().unwrap();
}

/// A move: two ranges, of which the second holds the page.
fn a_fault_against_an_mremap() {
    let here = Here::boot();
    let space = Space::new(2);
    let reader = on(here.on(1), &space, Space::fault);
    {
        let mut writer = space.layout.write(&here);
        writer.exclude(WITHOUT);
        writer.exclude(WITH);
        space.use_entry();
    }
    reader.join().unwrap();
}

#[test]
fn a_reader_refused_twice_comes_in() {
    holds(Some(6), a_patient_fault);
}

#[test]
fn readers_share_and_a_writer_waits_for_both() {
    holds(Some(3), two_faults_and_an_munmap);
}

#[test]
fn readers_of_one_cpu_find_room() {
    holds(Some(3), two_faults_on_a_cpu_and_a_change);
}

#[test]
fn a_reused_slot_hides_nothing() {
    holds(Some(5), a_stranger_in_the_slot);
}

#[test]
fn a_claim_on_all_keeps_out_each_exclusion() {
    holds(None, a_whole_reader_against_an_munmap);
}

#[test]
fn a_second_range_excludes_as_well() {
    holds(None, a_fault_against_an_mremap);
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
