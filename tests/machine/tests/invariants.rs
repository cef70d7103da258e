//! Invariants by their number, where no other suite is about them: `docs/invariants.md` has the whole list.
//! Each holds as the memory manager is, and fails with the known bugs that break it.

mod races;

use abi::{Level, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::Flag;
use mm::mutant::Mutant;
use mm::{Huge, Move, Place, Space};
use pte::Entry;
use races::{at_each_step, misses, touch, translation, world, wrong};
use std::sync::Mutex;
use stress::World;

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;

fn block(n: u64) -> VirtRange {
    VirtRange::from_size(VA + n * PMD_SIZE, PMD_SIZE)
}

/// A space with one block of memory, written.
fn space(world: &SimWorld, huge: Huge) -> Space<'_, Machine> {
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), PMD_SIZE, RW, huge).expect("free");
    touch(&space, VA);
    space
}

fn entry(space: &Space<'_, Machine>, va: VirtAddr) -> Entry {
    let mut found = Entry::None;
    space.mm().walk(space.root(), va, |_, _, entry, _| found = entry);
    found
}

/// What is wrong, or nothing; what is broken is not given back.
fn verdict(
    world: &SimWorld,
    spaces: Vec<Space<'_, Machine>>,
    own: Option<String>,
) -> Option<String> {
    let found = own.or_else(|| wrong(world));
    if found.is_some() {
        spaces.into_iter().for_each(std::mem::forget);
    }
    found
}

/// A lockless reader who meets memory meets it throughout: nothing goes through an empty entry while it is
/// protected or split.
#[test]
fn i51b_a_huge_page_never_reads_as_nothing() {
    let changes: [fn(&Space<'_, Machine>); 2] = [
        |space| space.protect(block(0), Prot::Read).expect("memory"),
        |space| space.split_block(VA),
    ];
    let scenario = |mutant| {
        changes.iter().find_map(|change| {
            at_each_step(1, |steps| {
                let world = world(mutant);
                let space = space(&world, Huge::Default);
                let gone = Mutex::new(false);
                let reached = world.intrude(steps, &|| change(&space), &|| {
                    *gone.lock().expect("alone") = entry(&space, VA) == Entry::None;
                });
                let gone = gone.into_inner().expect("alone");
                let result = if gone { Err("nothing is there".to_string()) } else { Ok(()) };
                reached.then_some(result)
            })
        })
    };
    misses(scenario, &[Mutant::ProtectThroughNone]);
}

/// That memory was written is known until it goes, whatever becomes of the entry that says so.
#[test]
fn i40_what_was_written_stays_known_to_be() {
    let scenario = |mutant| {
        let world = world(mutant);
        for huge in [Huge::Never, Huge::Default] {
            let space = space(&world, huge);
            let child = space.fork().expect("memory");
            space.protect(block(0), Prot::Read).expect("memory");
            child.protect(block(0), Prot::Read).expect("memory");
            for (who, space) in [("the parent", &space), ("the child", &child)] {
                let Entry::Leaf(leaf) = entry(space, VA) else { return Some("not mapped".into()) };
                let map = world.mm().frames.map();
                let head = map.head(leaf.pfn()).expect("a folio");
                if !leaf.is_dirty() && !map.desc(head).has(Flag::Dirty) {
                    return Some(format!("{who} has forgotten it, {huge:?}"));
                }
            }
        }
        None
    };
    misses(scenario, &[Mutant::ProtectDropsDirty, Mutant::ForkDropsDirty]);
}

/// When a fork has returned, no CPU writes to what is shared.
#[test]
fn i35_after_a_fork_nobody_writes_to_what_is_shared() {
    let scenario = |mutant| {
        (1..20).find_map(|seed| {
            let world = SimWorld::new(Config { cpus: 1, pages: 4096, seed, ..Config::default() });
            world.mm().arm(mutant);
            let space = space(&world, if seed % 2 == 0 { Huge::Never } else { Huge::Default });
            let mut seen = None;
            let mut child = None;
            world.inside(&space, &mut || {
                world.store(&space, VA, 1).expect("mapped");
                child = space.fork().ok();
                world.store(&space, VA, 2).expect("mapped");
            });
            let child = child.expect("memory");
            world.inside(&child, &mut || seen = world.load(&child, VA).ok());
            let own = (seen != Some(1)).then(|| format!("the child reads {seen:?}"));
            verdict(&world, vec![child, space], own)
        })
    };
    misses(scenario, &[Mutant::ForkNoFlush, Mutant::ForkKeepsWritable]);
}

/// Each huge entry has a table put aside, wherever it goes and when it goes.
#[test]
fn i50_as_many_tables_are_put_aside_as_there_are_huge_entries() {
    let scenario = |mutant| {
        let world = world(mutant);
        let space = space(&world, Huge::Default);
        // To the end of another PMD table, and then away.
        let far = VA + Level::Pud.span() + 7 * PMD_SIZE;
        space.map(Place::At(far + PMD_SIZE), PAGE_SIZE, RW, Huge::Never).expect("free");
        touch(&space, far + PMD_SIZE);
        space.map(Place::At(block(1).start), PAGE_SIZE, RW, Huge::Never).expect("free");
        touch(&space, block(1).start);
        let moved = space.remap(block(0), PMD_SIZE, Move::To(far)).expect("free");
        if let Some(what) = wrong(&world) {
            return verdict(&world, vec![space], Some(what));
        }
        space.unmap(moved).expect("memory");
        verdict(&world, vec![space], None)
    };
    misses(scenario, &[Mutant::RemapLeavesDeposit, Mutant::ZapKeepsDeposit]);
}

/// When an operation that takes rights or memory away has returned, no CPU has them, even if another
/// thread did the clearing.
#[test]
fn t19_what_was_taken_away_is_gone_when_the_call_returns() {
    let changes: [fn(&Space<'_, Machine>); 2] = [
        |space| space.protect(block(0), Prot::Read).expect("memory"),
        |space| {
            let _ = space.remap(block(0), PMD_SIZE, Move::To(block(3).start)).expect("free");
        },
    ];
    let scenario = |mutant| {
        changes.iter().enumerate().find_map(|(which, change)| {
            (1..20).find_map(|seed| {
                let world =
                    SimWorld::new(Config { cpus: 1, pages: 4096, seed, ..Config::default() });
                world.mm().arm(mutant);
                let space = space(&world, if seed % 2 == 0 { Huge::Never } else { Huge::Default });
                let mut stored = false;
                world.inside(&space, &mut || {
                    world.store(&space, VA, 1).expect("mapped");
                    change(&space);
                    stored = world.store(&space, VA, 2).is_ok();
                });
                let own = stored.then(|| format!("a store got through after change {which}"));
                verdict(&world, vec![space], own)
            })
        })
    };
    misses(scenario, &[Mutant::ProtectNoFlush, Mutant::RemapNoFlush]);
}

/// An entry is writable only if its page is nobody else's.
#[test]
fn i20_a_writable_entry_is_of_an_exclusive_page() {
    let scenario = |mutant| {
        let world = world(mutant);
        let space = space(&world, Huge::Never);
        let child = space.fork().expect("memory");
        assert_eq!(translation(&space, VA), translation(&child, VA), "shared");
        let mut found = None;
        for member in [&space, &child] {
            member.protect(block(0), Prot::Read).expect("memory");
            member.protect(block(0), RW).expect("memory");
            found = found.or_else(|| wrong(&world));
        }
        if found.is_none() {
            touch(&child, VA);
        }
        verdict(&world, vec![child, space], found)
    };
    misses(scenario, &[Mutant::ProtectWritableShared, Mutant::CowReuseShared]);
}
