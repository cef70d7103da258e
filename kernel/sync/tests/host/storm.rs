//! The range lock under threads: what each role was promised, checked by the roles themselves.

use crate::machine::{Dice, Host};
use granule_sync::{Arc, Hazards, RangeLock};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

const CPUS: usize = 3;
const PAGES: u64 = 24;
const STEPS: u32 = if cfg!(miri) { 40 } else { 20_000 };

/// Readers in a page count up, a writer that has excluded it takes [`WRITER`] away.
type Pages = [AtomicI32; PAGES as usize];
const WRITER: i32 = -1000;

struct Storm {
    host: Host,
    /// Two numbers that are equal outside of a change.
    lock: RangeLock<(u64, u64)>,
    pages: Pages,
}

impl Storm {
    fn new() -> Self {
        let hazards = Arc::try_new(Hazards::new(CPUS)).unwrap();
        Self {
            host: Host::default(),
            lock: RangeLock::new(hazards, (0, 0)),
            pages: std::array::from_fn(|_| AtomicI32::new(0)),
        }
    }

    /// Being in a page, or in all, as a reader is.
    fn stay(&self, pages: &[AtomicI32], dice: &mut Dice) {
        for page in pages {
            // Relaxed: what keeps these counts right is the lock's own order.
            let before = page.load(Ordering::Relaxed);
            assert!(before >= 0, "a reader got into an excluded page");
            page.fetch_add(1, Ordering::Relaxed);
        }
        if dice.below(4) == 0 {
            thread::yield_now();
        }
        for page in pages {
            page.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn reader(&self, dice: &mut Dice) {
        for _ in 0..STEPS {
            // Threads migrate, also within a claim.
            Host::run_on(dice.below(CPUS as u64) as usize);
            let page = dice.below(PAGES);
            let ((one, other), mut claim) = match dice.below(8) {
                0 => self.lock.read_whole(&self.host, |pair| *pair),
                1 => match self.lock.try_read_at(&self.host, page, |pair| *pair) {
                    Some(got) => got,
                    None => continue,
                },
                2 => {
                    let got = self.lock.read_whole(&self.host, |pair| *pair);
                    self.stay(&self.pages, dice);
                    got
                }
                _ => self.lock.read_at(&self.host, page, |pair| *pair),
            };
            assert_eq!(one, other, "a lookup saw half a change");
            self.stay(std::slice::from_ref(&self.pages[page as usize]), dice);
            Host::run_on(dice.below(CPUS as u64) as usize);
            let (one, other) = claim.look(&self.host, |pair| *pair);
            assert_eq!(one, other, "a second lookup saw half a change");
        }
    }

    fn writer(&self, dice: &mut Dice) {
        for _ in 0..STEPS / 4 {
            Host::run_on(dice.below(CPUS as u64) as usize);
            let mut writer = self.lock.write(&self.host);
            let mut excluded = [false; PAGES as usize];
            for _ in 0..dice.below(4) {
                if dice.below(2) == 0 {
                    writer.mutate(|(one, other)| {
                        *one += 1;
                        thread::yield_now();
                        *other += 1;
                    });
                }
                if dice.below(4) == 0 {
                    continue;
                }
                let first = dice.below(PAGES);
                let end = first + dice.below(PAGES - first + 1);
                writer.exclude(first..end);
                for page in (first as usize..end as usize).filter(|page| !excluded[*page]) {
                    let before = self.pages[page].fetch_add(WRITER, Ordering::Relaxed);
                    assert_eq!(before, 0, "page {page} was excluded with a reader in it");
                }
                excluded[first as usize..end as usize].fill(true);
            }
            assert_eq!(writer.0, writer.1);
            for page in (0..PAGES as usize).filter(|page| excluded[*page]) {
                self.pages[page].fetch_sub(WRITER, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn nobody_is_where_another_forbids_it() {
    for seed in 0..2 {
        println!("seed {seed}");
        let storm = Storm::new();
        thread::scope(|scope| {
            for n in 0..3 {
                let storm = &storm;
                scope.spawn(move || storm.reader(&mut Dice(seed << 8 | n)));
            }
            for n in 3..5 {
                let storm = &storm;
                scope.spawn(move || storm.writer(&mut Dice(seed << 8 | n)));
            }
        });
        assert!(storm.pages.iter().all(|page| page.load(Ordering::Relaxed) == 0));
    }
}
