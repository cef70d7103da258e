//! The audit on whole worlds: in order after each workload and after each step of long random sequences;
//! and what it costs.

use crate::common::machines;
use abi::{Access, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::audit::{Allow, Audit};
use mm::{Advice, Huge, Move, Place, Space};
use stress::{Limit, Options, Rng, World, workloads};

/// What nobody gives back: the shared zeros.
fn is_empty(audit: &Audit) -> bool {
    let Audit { folios, folio_pages, .. } = *audit;
    *audit == Audit { folios, folio_pages, ..Audit::default() } && folios <= 2
}

#[test]
fn every_workload_leaves_everything_in_order() {
    for config in machines() {
        for name in workloads::all::<SimWorld>().map(|workload| workload.name) {
            let world = SimWorld::new(Config { cpus: 3, ..config }).with_kernel();
            let options = Options { cpus: 3, limit: Limit::Rounds(3), seed: 1, bytes: 64 << 10 };
            let (mut report, mut silent) = (String::new(), |_, _, _| {});
            stress::run_all(&world, options, &|n| n == name, &mut report, &mut silent)
                .expect("writing to a string works");
            assert_eq!(world.violation(), None, "{name}");
            let audit = world.mm().audit().unwrap_or_else(|broken| panic!("{name}: {broken}"));
            assert!(is_empty(&audit), "{name}: {audit}");
        }
    }
}

/// A few pages of address space, with everything in it that there is.
const VA: VirtAddr = VirtAddr(1 << 40);
const BLOCKS: u64 = 3;

/// One random operation on one of the spaces. What is refused is refused.
fn step<'w>(world: &'w SimWorld, spaces: &mut Vec<Space<'w, Machine>>, rng: &mut Rng) -> String {
    let which = rng.below(spaces.len() as u64) as usize;
    let space = &spaces[which];
    let pages = BLOCKS * PMD_SIZE / PAGE_SIZE;
    // Small pieces, whole blocks, and what lies across.
    let first = if rng.one_in(3) { rng.below(BLOCKS) * 512 } else { rng.below(pages) };
    let bytes = match rng.below(4) {
        0 => PMD_SIZE,
        1 => 16 * PAGE_SIZE,
        _ => (1 + rng.below(40)) * PAGE_SIZE,
    };
    let range = VirtRange::from_size(VA + first * PAGE_SIZE, bytes);
    let access = if rng.one_in(2) { Access::Read } else { Access::Write };
    let prot = [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec][rng.below(4) as usize];
    let op = rng.below(16);
    match op {
        0..4 => {
            let huge = [Huge::Default, Huge::Advised, Huge::Never][rng.below(3) as usize];
            let _ = space.map(Place::At(range.start), bytes, Prot::ReadWrite, huge);
        }
        4..8 => {
            for page in 0..rng.below(20) {
                let _ = space.fault(range.start + page * PAGE_SIZE, access);
            }
        }
        8 => drop(space.unmap(range)),
        9 => drop(space.protect(range, prot)),
        10 => {
            let advice = [Advice::DontNeed, Advice::Free, Advice::PopulateRead, Advice::Huge];
            let _ = space.advise(range, advice[rng.below(4) as usize]);
        }
        11 => {
            let to = VA + rng.below(pages) * PAGE_SIZE;
            let _ = space.remap(
                range,
                bytes,
                if rng.one_in(2) { Move::To(to) } else { Move::IfNeeded },
            );
        }
        12 if spaces.len() < 4 => {
            if let Ok(child) = space.fork() {
                spaces.push(child);
            }
        }
        13 if spaces.len() > 1 => drop(spaces.swap_remove(which)),
        14 => {
            world.mm().reclaim_deferred(512);
        }
        _ => drop(space.pin(range.start, access)),
    }
    format!("operation {op} on {range}, {access}, {prot}")
}

#[test]
fn everything_is_in_order_after_each_step() {
    for (config, seed) in machines().into_iter().zip(1..) {
        let world = SimWorld::new(Config { pages: 6144, seed, ..config });
        {
            let mut spaces = vec![Space::new(world.mm()).expect("memory")];
            let mut rng = Rng::new(seed, "audit", 0);
            for n in 0..400 {
                let what = step(&world, &mut spaces, &mut rng);
                let held = world.mm().audit();
                let audit =
                    held.unwrap_or_else(|broken| panic!("seed {seed}, {n}: {what}: {broken}"));
                assert_eq!(audit.spaces, spaces.len() as u64);
                assert_eq!(world.violation(), None, "seed {seed}, {n}: {what}");
            }
        }
        assert!(is_empty(&world.mm().audit().expect("in order")));
    }
}

#[test]
fn what_somebody_holds_is_allowed_exactly() {
    let world = SimWorld::new(machines()[0]);
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), PMD_SIZE, Prot::ReadWrite, Huge::Default).expect("free");
    let held: Vec<_> = (0..3).map(|page| space.gup(VA + page * PAGE_SIZE, Access::Write)).collect();
    assert!(held.iter().all(Result::is_ok));
    assert_eq!(world.mm().audit_but(Allow::refs(3)).expect("in order").held, 3);
    assert!(world.mm().audit_but(Allow::refs(2)).is_err() && world.mm().audit().is_err());
    drop(space);
    assert!(world.mm().audit_but(Allow::refs(3)).is_ok(), "held, and mapped by nobody");
    drop(held);
    assert!(is_empty(&world.mm().audit().expect("in order")));
}

/// Only what exists is looked at: a few loads for a table's entries and a mapped page, one a free block.
#[test]
fn an_audit_costs_what_there_is() {
    let cost = |world: &SimWorld| {
        let before = world.mm().hw.steps();
        let audit = world.mm().audit().expect("in order");
        (world.mm().hw.steps() - before, audit)
    };
    let world = SimWorld::new(Config { pages: 32768, ..machines()[0] });
    assert!(cost(&world).0 < 100, "nothing to see");
    let space = Space::new(world.mm()).expect("memory");
    space.map(Place::At(VA), 8 * PMD_SIZE, Prot::ReadWrite, Huge::Default).expect("free");
    space.advise(VirtRange::from_size(VA, 8 * PMD_SIZE), Advice::PopulateWrite).expect("memory");
    let (steps, audit) = cost(&world);
    let entries = (audit.tables + audit.deposits) * 512;
    assert_eq!((audit.pmd_leaves, audit.deposits), (8, 8));
    let most = 2 * entries + 3 * audit.folio_pages + 100;
    assert!(steps < most, "{steps} steps for {entries} entries and {} pages", audit.folio_pages);
}
