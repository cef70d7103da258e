//! The thread table: a fixed number of slots, so that a spawn can fail but the table cannot move,
//! and the lists that run through it.

use crate::thread::{Life, Slot, Thread, ThreadId};
use abi::MAX_CPUS;
use core::sync::atomic::{AtomicU16, AtomicU64, Ordering};

/// The most threads there can be, idle threads of absent CPUs included.
pub const MAX_THREADS: usize = 1024;

const WORDS: usize = MAX_THREADS / 64;

/// All threads.
pub(crate) struct Table {
    threads: [Thread; MAX_THREADS],
    /// For run queues, sleepers and the list of the dead: a thread is in one of them at most.
    pub(crate) run_links: Links,
    /// For wait buckets: a thread that sleeps with a deadline is in two lists.
    pub(crate) wait_links: Links,
    /// A bit per slot: taken.
    taken: [AtomicU64; WORDS],
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self {
            threads: [const { Thread::blank() }; MAX_THREADS],
            run_links: Links::new(),
            wait_links: Links::new(),
            taken: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    pub(crate) fn thread(&self, slot: Slot) -> &Thread {
        &self.threads[slot.index()]
    }

    /// The thread that `id` names, if it still exists.
    pub(crate) fn lookup(&self, id: ThreadId) -> Option<(&Thread, Life)> {
        let thread = self.threads.get(usize::from(id.slot))?;
        match Life::of_word(thread.life.load(Ordering::Acquire)) {
            (_, Life::Free) => None,
            (generation, life) if generation == id.generation => Some((thread, life)),
            _ => None,
        }
    }

    /// Takes the free slot with the lowest number that is not an idle thread's.
    pub(crate) fn claim(&self) -> Option<Slot> {
        for (n, word) in self.taken.iter().enumerate().skip(MAX_CPUS / 64) {
            let mut seen = word.load(Ordering::Relaxed);
            while seen != u64::MAX {
                let bit = seen.trailing_ones();
                let with = seen | 1 << bit;
                // Acquire: what the last owner did to the record was before its release.
                match word.compare_exchange(seen, with, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Some(Slot((64 * n) as u16 + bit as u16)),
                    Err(now) => seen = now,
                }
            }
        }
        None
    }

    /// Gives the claimed slot, whose record is complete, a name.
    pub(crate) fn publish(&self, slot: Slot, life: Life) -> ThreadId {
        let word = &self.thread(slot).life;
        let generation = Life::of_word(word.load(Ordering::Relaxed)).0.wrapping_add(1);
        word.store(life.word(generation), Ordering::Release);
        ThreadId { slot: slot.0, generation }
    }

    /// Makes names of the slot's thread stale, and the slot free.
    pub(crate) fn release(&self, slot: Slot) {
        let word = &self.thread(slot).life;
        let (generation, _) = Life::of_word(word.load(Ordering::Relaxed));
        word.store(Life::Free.word(generation), Ordering::Release);
        self.taken[slot.index() / 64].fetch_and(!(1 << (slot.index() % 64)), Ordering::Release);
    }

    /// The name of the thread in `slot`, if there is one.
    pub(crate) fn id(&self, slot: Slot) -> Option<ThreadId> {
        match Life::of_word(self.thread(slot).life.load(Ordering::Acquire)) {
            (_, Life::Free) => None,
            (generation, _) => Some(ThreadId { slot: slot.0, generation }),
        }
    }
}

/// The end of a list: an idle thread's slot, and those are in none. Zero, as all of a scheduler is at first.
const END: u16 = 0;
const _: () = assert!(Slot(END).is_idle() && MAX_CPUS.is_multiple_of(64));

/// One link per thread. A thread is in at most one list of the same links at a time; the list's lock
/// guards the links of its members.
pub(crate) struct Links([AtomicU16; MAX_THREADS]);

impl Links {
    pub(crate) const fn new() -> Self {
        Self([const { AtomicU16::new(END) }; MAX_THREADS])
    }

    // Relaxed throughout: the list's lock orders them.
    fn next(&self, slot: u16) -> u16 {
        self.0[usize::from(slot)].load(Ordering::Relaxed)
    }

    fn set_next(&self, slot: u16, next: u16) {
        self.0[usize::from(slot)].store(next, Ordering::Relaxed);
    }
}

/// A list of threads, singly linked: lists are short, and removal from the middle is rare.
pub(crate) struct List {
    head: u16,
    tail: u16,
    len: u16,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self { head: END, tail: END, len: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn first(&self) -> Option<Slot> {
        (self.head != END).then_some(Slot(self.head))
    }

    pub(crate) fn push_back(&mut self, links: &Links, slot: Slot) {
        debug_assert!(!slot.is_idle(), "an idle thread is in no list");
        links.set_next(slot.0, END);
        if self.tail == END {
            self.head = slot.0;
        } else {
            links.set_next(self.tail, slot.0);
        }
        self.tail = slot.0;
        self.len += 1;
    }

    /// Puts `slot` before the first member that `is_later` names, or at the end.
    pub(crate) fn insert_before(
        &mut self,
        links: &Links,
        slot: Slot,
        is_later: impl Fn(Slot) -> bool,
    ) {
        let (before, after) = self.seek(links, is_later);
        links.set_next(slot.0, after);
        if after == END {
            self.tail = slot.0;
        }
        if before == END {
            self.head = slot.0;
        } else {
            links.set_next(before, slot.0);
        }
        self.len += 1;
    }

    pub(crate) fn pop_front(&mut self, links: &Links) -> Option<Slot> {
        self.remove_first(links, |_| true)
    }

    /// Takes out the first member that `is_wanted` names.
    pub(crate) fn remove_first(
        &mut self,
        links: &Links,
        is_wanted: impl Fn(Slot) -> bool,
    ) -> Option<Slot> {
        let (before, found) = self.seek(links, is_wanted);
        if found == END {
            return None;
        }
        let after = links.next(found);
        if before == END {
            self.head = after;
        } else {
            links.set_next(before, after);
        }
        if self.tail == found {
            self.tail = before;
        }
        links.set_next(found, END);
        self.len -= 1;
        Some(Slot(found))
    }

    /// The first member that `matches`, and the one before it.
    fn seek(&self, links: &Links, matches: impl Fn(Slot) -> bool) -> (u16, u16) {
        let (mut before, mut at) = (END, self.head);
        while at != END && !matches(Slot(at)) {
            (before, at) = (at, links.next(at));
        }
        (before, at)
    }
}
