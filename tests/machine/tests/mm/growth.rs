//! What an operation costs does not grow with the number of CPUs: the cache lines that it takes from
//! others, the locks, the operations on TLBs. Cross-calls there are none: the memory manager has no means
//! to make one.
//!
//! The memory manager's atomics, its locks and the machine's tables say where they are touched, and the
//! caches of a simple machine say which of that had to come from another CPU. CPUs take turns, each with
//! addresses of its own: what travels then is shared though nobody works on the same memory.

use abi::{Access, CpuId, Event, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::{Advice, FaultOutcome, Huge, Place, Space};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use stress::World;
use sync::Class;
use sync::atomic::{AtomicU64, Touch, watch};

const VA: VirtAddr = VirtAddr(1 << 40);
/// The bytes of a cache line.
const LINE: usize = 64;
/// Rounds before it counts: tables are made, and each CPU has been everywhere.
const WARM: u64 = 4;
/// The least number of CPUs that can be in each other's way, and more.
const FEW: usize = 2;
const MANY: [usize; 3] = [4, 16, 64];
/// No more pages than a CPU fetches for its stock at a time: so many rounds count. Of huge pages, a few.
const REFILL: u64 = 32;
const HUGE: u64 = 3;
/// What travels then: the zone's lock, the head of the block that somebody else left there, and again for
/// writing.
const REFILL_TRAVELS: u64 = 3;

/// Whose space a CPU works in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Own,
    Everybodys,
}

type Step = fn(&Space<'_, Machine>, VirtAddr);

/// An operation on the page at an address, and what comes before it.
struct Op {
    name: &'static str,
    huge: Huge,
    before: Step,
    run: Step,
}

const fn small(name: &'static str, before: Step, run: Step) -> Op {
    Op { name, huge: Huge::Never, before, run }
}

fn write(space: &Space<'_, Machine>, va: VirtAddr) {
    assert_eq!(space.fault(va, Access::Write), FaultOutcome::Mapped);
}

fn read(space: &Space<'_, Machine>, va: VirtAddr) {
    assert_eq!(space.fault(va, Access::Read), FaultOutcome::Mapped);
}

fn advise(space: &Space<'_, Machine>, va: VirtAddr, bytes: u64, advice: Advice) {
    space.advise(VirtRange::from_size(va, bytes), advice).expect("memory");
}

const FAULTS: [Op; 4] = [
    small("a first write", |_, _| {}, write),
    small("a first read", |_, _| {}, read),
    small("a write to zeros", read, write),
    Op {
        name: "a huge page",
        huge: Huge::Default,
        before: |space, va| advise(space, va, PMD_SIZE, Advice::DontNeed),
        run: write,
    },
];

/// Without the layout's exclusion.
const CLAIMS: [Op; 5] = [
    small("GUP-fast", write, |space, va| drop(space.gup_fast(va, Access::Read).expect("mapped"))),
    small("a pin", write, |space, va| drop(space.pin(va, Access::Write).expect("mapped"))),
    small("DONTNEED", write, |space, va| advise(space, va, PAGE_SIZE, Advice::DontNeed)),
    small("a second FREE", write, |space, va| advise(space, va, PAGE_SIZE, Advice::Free)),
    Op {
        name: "a split",
        huge: Huge::Default,
        before: |space, va| {
            space.unmap(VirtRange::from_size(va, PMD_SIZE)).expect("memory");
            space.map(Place::At(va), PMD_SIZE, Prot::ReadWrite, Huge::Default).expect("free");
            write(space, va);
        },
        run: |space, va| space.split_block(va),
    },
];

const WRITERS: [Op; 2] = [
    small("munmap", write, |space, va| {
        space.unmap(VirtRange::from_size(va, PAGE_SIZE)).expect("memory");
    }),
    small("mprotect", write, |space, va| {
        space.protect(VirtRange::from_size(va, PAGE_SIZE), Prot::Read).expect("memory");
    }),
];

/// Who has each line, one bit for each CPU; one alone since it wrote there.
#[derive(Default)]
struct Caches(BTreeMap<usize, u64>);

impl Caches {
    /// Does what `cpu` did, and keeps of it what had to come from another CPU.
    fn travels(&mut self, cpu: usize, touched: Vec<Touch>) -> Vec<Touch> {
        let mut come = touched;
        come.retain(|touch| {
            let has = self.0.entry(touch.address / LINE).or_insert(1 << cpu);
            let before = *has;
            *has = if touch.writes { 1 << cpu } else { before | 1 << cpu };
            if touch.writes { before != 1 << cpu } else { before >> cpu & 1 == 0 }
        });
        come
    }
}

const CLASSES: [Class; 11] = [
    Class::Asid,
    Class::Family,
    Class::PmdTable,
    Class::PmdTable2,
    Class::PteTable,
    Class::PteTable2,
    Class::Folio,
    Class::DeferredSplit,
    Class::PageList,
    Class::Zone,
    Class::Heap,
];

/// What one call came to.
struct Call {
    locks: [u64; CLASSES.len()],
    events: Vec<u64>,
    travels: Vec<Touch>,
}

impl Call {
    /// Whether it went to the zone for a stock of pages.
    fn refills(&self) -> bool {
        CLASSES.iter().zip(self.locks).any(|(class, taken)| *class == Class::Zone && taken > 0)
    }
}

/// Runs an operation on all CPUs in turn, again and again.
fn calls(op: &Op, cpus: usize, whose: Whose) -> Vec<Call> {
    let world = SimWorld::new(Config { cpus, pages: 1 << 16, ..Config::default() });
    let (mm, hw) = (world.mm(), &world.mm().hw);
    let spaces: Vec<_> = (0..if whose == Whose::Own { cpus } else { 1 })
        .map(|_| {
            let space = Space::new(mm).expect("memory");
            let bytes = cpus as u64 * PMD_SIZE;
            space.map(Place::At(VA), bytes, Prot::ReadWrite, op.huge).expect("free");
            space
        })
        .collect();
    let (mut caches, mut calls) = (Caches::default(), Vec::new());
    let taken = || CLASSES.map(|class| hw.locks_taken(class));
    let mut turn = |round, cpu: usize| {
        let space = &spaces[cpu % spaces.len()];
        let page = if op.huge == Huge::Never { round } else { 0 };
        let va = VA + cpu as u64 * PMD_SIZE + page * PAGE_SIZE;
        caches.travels(cpu, watch(|| (op.before)(space, va)));
        // Each counts what it does itself.
        let counted = || mm.stats.of(CpuId(cpu as u16));
        let (locks, events) = (taken(), counted());
        let touched = watch(|| (op.run)(space, va));
        let (now, travels) = (taken(), caches.travels(cpu, touched));
        let locks = core::array::from_fn(|n| now[n] - locks[n]);
        let events = counted().into_iter().zip(events).map(|(now, before)| now - before).collect();
        if round >= WARM {
            calls.push(Call { locks, events, travels });
        }
    };
    let rounds = if op.huge == Huge::Never { REFILL } else { HUGE };
    for round in 0..WARM + rounds {
        for cpu in 0..cpus {
            let inside = || world.inside(&spaces[cpu % spaces.len()], &mut || turn(round, cpu));
            hw.on(cpu, inside);
        }
    }
    drop(spaces);
    assert_eq!(world.violation(), None);
    calls
}

/// Each operation in every setting.
fn each<'a>(ops: impl IntoIterator<Item = &'a Op>, check: impl Fn(&str, usize, Whose, Vec<Call>)) {
    for op in ops {
        for whose in [Whose::Own, Whose::Everybodys] {
            for cpus in [FEW].into_iter().chain(MANY) {
                let setting = format!("{}, {cpus} CPUs, {whose:?}", op.name);
                check(&setting, cpus, whose, calls(op, cpus, whose));
            }
        }
    }
}

/// A fault takes nothing from others, in one space as in many; but a stock of pages, at a time.
#[test]
fn a_fault_takes_no_line_from_another_cpu() {
    each(&FAULTS, |setting, _, _, calls| {
        let n = calls.len() as u64;
        let (refills, others): (Vec<_>, Vec<_>) = calls.into_iter().partition(Call::refills);
        assert!(refills.len() as u64 <= n / REFILL, "{setting}: {} refills", refills.len());
        for call in others {
            assert!(call.travels.is_empty(), "{setting}: {:#?}", call.travels);
        }
        for call in refills {
            let travels = call.travels;
            assert!(travels.len() as u64 <= REFILL_TRAVELS, "{setting}: {travels:#?}");
        }
    });
}

/// Nor does what only claims its pages; but a space's word that something of it was given up is said each
/// time.
#[test]
fn a_claim_takes_no_line_from_another_cpu() {
    each(&CLAIMS, |setting, _, whose, calls| {
        let said = usize::from(whose == Whose::Everybodys && setting.contains("FREE"));
        for call in calls {
            assert!(call.travels.len() <= said, "{setting}: {:#?}", call.travels);
        }
    });
}

/// Who excludes others writes the space's two lines that keep writers apart and readers out, and
/// reads one line of each CPU that has readers in this space: that, and nothing else, grows.
#[test]
fn a_writer_takes_the_lines_of_its_space_alone() {
    each(&WRITERS, |setting, cpus, whose, calls| {
        let (written, read) = if whose == Whose::Own { (0, 0) } else { (2, cpus - 1) };
        for call in calls {
            let writes = call.travels.iter().filter(|touch| touch.writes).count();
            let found = (writes, call.travels.len() - writes);
            assert!(found.0 <= written && found.1 <= read, "{setting}: {:#?}", call.travels);
        }
    });
}

/// A call takes as many locks of each class on 64 CPUs as on two, and as many operations of each kind.
#[test]
fn locks_and_operations_do_not_grow() {
    let fork = small("a fork", write, |space, _| drop(space.fork().expect("memory")));
    for op in FAULTS.iter().chain(&CLAIMS).chain(&WRITERS).chain([&fork]) {
        for whose in [Whose::Own, Whose::Everybodys] {
            // What a space of all holds grows with them, and a fork with what it holds.
            if whose == Whose::Everybodys && op.name == fork.name {
                continue;
            }
            let costs = |cpus| {
                let each: Vec<_> = calls(op, cpus, whose);
                let sum = |of: &dyn Fn(&Call) -> u64| each.iter().map(of).sum::<u64>();
                let locks = (0..CLASSES.len()).map(|n| sum(&|call| call.locks[n]));
                let events = (0..Event::COUNT).map(|n| sum(&|call| call.events[n]));
                locks.chain(events).collect::<Vec<_>>()
            };
            let few = costs(FEW);
            for cpus in MANY {
                let fair: Vec<_> = few.iter().map(|n| n * cpus as u64 / FEW as u64).collect();
                assert_eq!(costs(cpus), fair, "{}, {cpus} CPUs, {whose:?}", op.name);
            }
        }
    }
}

/// What the others rest on: a word that all write is found, and one that all read which one writes.
#[test]
fn a_shared_word_is_seen() {
    static SHARED: AtomicU64 = AtomicU64::new(0);
    fn count(_: &Space<'_, Machine>, _: VirtAddr) {
        SHARED.fetch_add(1, Relaxed);
    }
    fn look(_: &Space<'_, Machine>, va: VirtAddr) {
        if va < VA + PMD_SIZE {
            SHARED.store(1, Relaxed);
        } else {
            SHARED.load(Relaxed);
        }
    }
    each(
        [&small("a count", |_, _| {}, count), &small("a look", |_, _| {}, look)],
        |setting, _, _, calls| {
            assert!(calls.iter().all(|call| call.travels.len() == 1), "{setting}");
        },
    );
}
