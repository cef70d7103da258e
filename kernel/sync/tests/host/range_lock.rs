//! The range lock, step by step: who waits for whom, and for whom not.

use crate::machine::Alone;
use granule_sync::{Arc, Claim, Hazards, PAGES, RangeLock, Writer};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn lock(cpus: usize) -> RangeLock<u32> {
    RangeLock::new(Arc::try_new(Hazards::new(cpus)).unwrap(), 0)
}

/// A value that an event can drop.
type Held<T> = RefCell<Option<T>>;

fn point<'a>(lock: &'a RangeLock<u32>, page: u64) -> Option<Claim<'a, u32>> {
    lock.try_read_at(&Alone::default(), page, |_| ()).map(|(_, claim)| claim)
}

fn whole<'a>(lock: &'a RangeLock<u32>) -> Option<Claim<'a, u32>> {
    lock.try_read_whole(&Alone::default(), |_| ()).map(|(_, claim)| claim)
}

/// How many turns `work` waited while `held` was held.
fn turns_until_dropped<T>(held: T, work: impl FnOnce(&Alone<'_>)) -> u32 {
    let held: Held<T> = RefCell::new(Some(held));
    let cpu = Alone::default();
    cpu.then(|| ());
    cpu.then(|| drop(held.take()));
    work(&cpu);
    cpu.yields.get() + cpu.sleeps.get()
}

#[test]
fn a_reader_sees_the_value_and_readers_share_a_page() {
    let lock = lock(2);
    let cpu = Alone::default();
    lock.write(&cpu).mutate(|value| *value = 7);
    let (seen, _claim) = lock.read_at(&cpu, 5, |value| *value);
    assert_eq!(seen, 7);
    let (seen, _other) = lock.read_at(&cpu, 5, |value| *value);
    assert_eq!(seen, 7);
    let (seen, _all) = lock.read_whole(&cpu, |value| *value);
    assert_eq!(seen, 7);
}

#[test]
fn an_exclusion_waits_for_claims_on_its_pages_and_for_no_other() {
    let lock = lock(2);
    let exclude = |cpu: &Alone<'_>| lock.write(cpu).exclude(10..20);
    for page in [10, 15, 19] {
        assert_eq!(turns_until_dropped(point(&lock, page), exclude), 2, "page {page}");
    }
    for page in [0, 9, 20, PAGES - 1] {
        assert_eq!(turns_until_dropped(point(&lock, page), exclude), 0, "page {page}");
    }
    assert_eq!(turns_until_dropped(whole(&lock), exclude), 2);
    // A page that no number names is every page.
    for page in [PAGES, PAGES + 30, u64::MAX] {
        assert_eq!(turns_until_dropped(point(&lock, page), exclude), 2, "page {page}");
    }
}

#[test]
fn an_exclusion_of_nothing_waits_for_nobody() {
    let lock = lock(1);
    let _claim = whole(&lock);
    let cpu = Alone::default();
    let mut writer = lock.write(&cpu);
    writer.exclude(7..7);
    assert!(point(&lock, 7).is_some());
}

#[test]
fn a_change_waits_for_no_claim() {
    let lock = lock(1);
    let _claims = (point(&lock, 5), whole(&lock));
    let cpu = Alone::default();
    lock.write(&cpu).mutate(|value| *value += 1);
    assert_eq!(cpu.yields.get(), 0);
}

#[test]
fn during_a_change_nobody_comes_in_and_after_it_everybody() {
    let lock = lock(1);
    let cpu = Alone::default();
    let mut writer = lock.write(&cpu);
    writer.mutate(|_| assert!(point(&lock, 5).is_none() && whole(&lock).is_none()));
    assert!(point(&lock, 5).is_some() && whole(&lock).is_some());
}

#[test]
fn an_exclusion_keeps_out_its_pages_and_lasts_through_a_change() {
    let lock = lock(1);
    let cpu = Alone::default();
    let mut writer = lock.write(&cpu);
    writer.exclude(10..20);
    writer.mutate(|value| *value += 1);
    assert_eq!(*writer, 1);
    for page in [10, 19, PAGES] {
        assert!(point(&lock, page).is_none(), "page {page}");
    }
    assert!(whole(&lock).is_none());
    assert!(point(&lock, 9).is_some() && point(&lock, 20).is_some());
    drop(writer);
    assert!(point(&lock, 10).is_some() && whole(&lock).is_some());
}

#[test]
fn the_next_writer_begins_with_nothing_excluded() {
    let lock = lock(1);
    let cpu = Alone::default();
    let mut writer = lock.write(&cpu);
    writer.exclude(10..20);
    writer.exclude(40..50);
    drop(writer);
    let mut writer = lock.write(&cpu);
    writer.exclude(60..70);
    let open = |page| point(&lock, page).is_some();
    assert_eq!([15, 45, 65].map(open), [true, true, false]);
}

#[test]
fn two_ranges_are_kept_apart_and_a_third_is_covered() {
    let lock = lock(1);
    let cpu = Alone::default();
    let mut writer = lock.write(&cpu);
    let open = |page| point(&lock, page).is_some();
    writer.exclude(10..20);
    writer.exclude(40..50);
    assert_eq!([15, 30, 45].map(open), [false, true, false]);
    // Ranges that touch grow together.
    writer.exclude(20..25);
    writer.exclude(35..40);
    assert_eq!([9, 10, 24, 25, 34, 35, 49, 50].map(open), {
        [true, false, false, true, true, false, false, true]
    });
    writer.exclude(80..90);
    assert_eq!([15, 45, 80, 89, 90].map(open), [false, false, false, false, true]);
}

#[test]
fn writers_take_turns() {
    let lock = lock(1);
    let cpu = Alone::default();
    let writer = lock.write(&cpu);
    assert!(lock.try_write(&cpu).is_none());
    assert_eq!(turns_until_dropped(writer, |cpu| drop(lock.write(cpu))), 2);
    assert!(lock.try_write(&cpu).is_some());
}

#[test]
fn a_refused_reader_sleeps_until_the_writer_is_done() {
    let lock = lock(1);
    let writers_cpu = Alone::default();
    let mut writer = lock.write(&writers_cpu);
    writer.exclude(10..20);
    assert_eq!(turns_until_dropped(writer, |cpu| drop(lock.read_at(cpu, 15, |_| ()))), 2);
    assert_eq!(writers_cpu.wakes.get(), 1);
    // And where nobody sleeps nobody is woken.
    lock.write(&writers_cpu).exclude(10..20);
    assert_eq!(writers_cpu.wakes.get(), 1);
}

#[test]
fn the_end_of_a_change_wakes_sleepers_as_the_end_of_an_exclusion_does() {
    let lock = lock(1);
    let others = Alone::default();
    let writer: Held<Writer<'_, u32, Alone<'_>>> = RefCell::new(lock.try_write(&others));
    let with = |work: fn(&mut Writer<'_, u32, Alone<'_>>)| {
        writer.borrow_mut().iter_mut().for_each(work);
    };
    with(|writer| writer.exclude(10..20));
    let cpu = Alone::default();
    cpu.then(|| with(|writer| writer.mutate(|value| *value += 1)));
    cpu.then(|| assert_eq!(others.wakes.get(), 1));
    cpu.then(|| drop(writer.take()));
    assert_eq!(lock.read_at(&cpu, 15, |value| *value).0, 1);
    assert_eq!(others.wakes.get(), 2);
}

#[test]
fn writers_in_a_row_do_not_starve_a_reader() {
    let lock = lock(1);
    let others = Alone::default();
    let writer: Held<Writer<'_, u32, Alone<'_>>> = RefCell::new(None);
    let come_and_go = || {
        if writer.take().is_none() {
            *writer.borrow_mut() = lock.try_write(&others);
            writer.borrow_mut().iter_mut().for_each(|writer| writer.exclude(10..20));
        }
    };
    come_and_go();
    let cpu = Storming { alone: Alone::default(), waits: Cell::new(0), come_and_go: &come_and_go };
    let (_, _claim) = lock.read_at(&cpu, 15, |_| ());
    assert_eq!(cpu.waits.get(), 4, "three sleeps, and then it queues");
}

/// A machine where a writer comes or goes whenever the thread waits, and once more before a thread
/// that may go on does so: every sleeper oversleeps.
struct Storming<'a, F> {
    alone: Alone<'a>,
    waits: Cell<u32>,
    come_and_go: &'a F,
}

mod storming {
    use super::Storming;
    use abi::CpuId;
    use granule_sync::{Cpu, IrqState, Wait, WaitKey};

    impl<F: Fn()> Cpu for Storming<'_, F> {
        fn id(&self) -> CpuId {
            self.alone.id()
        }
        fn irq_save(&self) -> IrqState {
            self.alone.irq_save()
        }
        fn irq_restore(&self, state: IrqState) {
            self.alone.irq_restore(state);
        }
        fn relax(&self) {
            self.alone.relax();
        }
    }

    impl<F: Fn()> Wait for Storming<'_, F> {
        fn wait(&self, _key: WaitKey, ready: &mut dyn FnMut() -> bool) {
            self.waits.set(self.waits.get() + 1);
            while !ready() {
                (self.come_and_go)();
            }
            (self.come_and_go)();
        }
        fn wake(&self, _key: WaitKey) {}
    }
}

#[test]
fn a_second_look_sees_a_change_and_waits_for_one_only() {
    let lock = lock(1);
    let cpu = Alone::default();
    let (first, mut claim) = lock.read_at(&cpu, 5, |value| *value);
    let mut writer = lock.write(&cpu);
    writer.exclude(10..20);
    writer.mutate(|value| *value += 1);
    assert_eq!((first, claim.look(&cpu, |value| *value)), (0, 1));
    drop(claim);
    writer.exclude(5..6);
}

#[test]
fn a_full_cpu_borrows_its_neighbours_slots_and_a_full_machine_waits() {
    let lock = lock(2);
    let mut claims: Vec<_> = std::iter::from_fn(|| point(&lock, 5)).collect();
    assert_eq!(claims.len(), 16);
    // Those on the neighbour's line count as well.
    claims.drain(..15);
    assert_eq!(turns_until_dropped(claims, |cpu| lock.write(cpu).exclude(5..6)), 2);

    let claims: Vec<_> = std::iter::from_fn(|| point(&lock, 5)).collect();
    let claims = RefCell::new(claims);
    let cpu = Alone::default();
    cpu.then(|| drop(claims.borrow_mut().pop()));
    let (_, _claim) = lock.read_at(&cpu, 5, |_| ());
    assert_eq!(cpu.yields.get(), 1);
}

#[test]
fn an_unknown_cpu_claims_all_the_same() {
    let lock = lock(1);
    let cpu = Alone::default();
    cpu.cpu.set(900);
    let (_, claim) = lock.read_at(&cpu, 5, |_| ());
    assert_eq!(turns_until_dropped(claim, |cpu| lock.write(cpu).exclude(5..6)), 2);
}

#[test]
fn locks_that_share_hazards_do_not_wait_for_one_another() {
    let hazards = Arc::try_new(Hazards::new(1)).unwrap();
    let [one, other] = [(); 2].map(|()| RangeLock::new(hazards.clone(), 0));
    let cpu = Alone::default();
    let _claims = (point(&one, 5), whole(&one));
    other.write(&cpu).exclude(0..PAGES);
    assert_eq!(cpu.yields.get(), 0);
}

#[test]
fn a_lookup_that_panics_gives_its_claim_back() {
    let lock = lock(1);
    let cpu = Alone::default();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let _ = lock.read_at(&cpu, 5, |_| panic!("in the lookup"));
    }));
    assert!(outcome.is_err());
    let mut writer = lock.write(&cpu);
    writer.mutate(|value| *value += 1);
    writer.exclude(5..6);
}

#[test]
fn a_second_look_that_panics_leaves_the_claim() {
    let lock = lock(1);
    let cpu = Alone::default();
    let (_, mut claim) = lock.read_at(&cpu, 5, |_| ());
    let look = AssertUnwindSafe(|| claim.look(&cpu, |_| panic!("in the lookup")));
    assert!(catch_unwind(look).is_err());
    lock.write(&cpu).mutate(|value| *value += 1);
    assert_eq!(turns_until_dropped(claim, |cpu| lock.write(cpu).exclude(5..6)), 2);
}

#[test]
fn a_change_that_panics_lets_readers_in_again() {
    let lock = lock(1);
    let cpu = Alone::default();
    let mut writer = lock.write(&cpu);
    writer.exclude(10..20);
    let change = AssertUnwindSafe(|| writer.mutate(|_| panic!("in the change")));
    assert!(catch_unwind(change).is_err());
    assert!(point(&lock, 5).is_some());
    assert!(point(&lock, 15).is_none(), "the exclusion goes on");
    drop(writer);
    assert!(point(&lock, 15).is_some());
}

#[test]
fn a_lock_that_nobody_shares_opens_without_waiting() {
    let mut lock = lock(1);
    *lock.get_mut() += 1;
    assert_eq!(lock.read_whole(&Alone::default(), |value| *value).0, 1);
}
