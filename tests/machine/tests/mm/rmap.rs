//! Walks from folios to whoever maps them, against everything that changes who that is: forks, exits,
//! moves, unmappings, changes of rights, splits, on several CPUs at once.
//!
//! A parent space is everybody's; each CPU forks children of its own from it and from its other
//! children. All share folios, so each split and each freeze has to find entries in most of the spaces.
//! A CPU has a word of its own in each page, and a model of each child says what stands there.

use crate::common::{Untouched, machines};
use abi::{Access, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::mutant::Mutant;
use mm::thp::Policy;
use mm::{
    Advice, Destination, FaultOutcome, Hardware, Huge, MigrateError, Move, Place, Space, SplitError,
};
use std::collections::BTreeMap;
use std::sync::Mutex;
use stress::{Rng, World};

const VA: VirtAddr = VirtAddr(1 << 40);
const RW: Prot = Prot::ReadWrite;
/// The pages that are used: ends of the folio, of contiguous sets, and some between.
const PAGES: [u64; 8] = [0, 1, 15, 16, 100, 255, 256, 511];
/// Children that a CPU has at once.
const CHILDREN: usize = 3;

/// One space as its CPU knows it.
struct Child<'w> {
    space: Space<'w, Machine>,
    /// Where the 2 MiB are.
    base: VirtAddr,
    /// What the CPU's own word in each page is; 0 where none is named.
    words: BTreeMap<u64, u64>,
    /// Pages that must not be written now.
    locked: Vec<u64>,
}

/// What a CPU does to one of its children, each as often as it is listed.
#[derive(Clone, Copy, Debug)]
enum Do {
    Load,
    Store,
    Look,
    SplitEntry,
    Split,
    Freeze,
    Migrate,
    Fork,
    Exit,
    Move,
    Forget,
    Protect,
    Shrink,
}

const ALL: &[Do] = &[
    Do::Load,
    Do::Load,
    Do::Store,
    Do::Store,
    Do::Look,
    Do::SplitEntry,
    Do::Split,
    Do::Split,
    Do::Freeze,
    Do::Freeze,
    Do::Migrate,
    Do::Migrate,
    Do::Fork,
    Do::Fork,
    Do::Exit,
    Do::Move,
    Do::Move,
    Do::Forget,
    Do::Protect,
    Do::Shrink,
];

/// One CPU with its children.
struct Player<'w> {
    world: &'w SimWorld,
    cpu: u64,
    rng: Rng,
    children: Vec<Child<'w>>,
    steps: u64,
}

impl<'w> Player<'w> {
    fn at(&self, child: usize, page: u64) -> VirtAddr {
        self.children[child].base + page * PAGE_SIZE + 8 * self.cpu
    }

    fn word(&self, child: usize, page: u64) -> u64 {
        self.children[child].words.get(&page).copied().unwrap_or(0)
    }

    /// Runs `body` inside one of the children.
    fn inside<R>(&self, child: usize, body: impl Fn(&Space<'w, Machine>) -> R) -> R {
        let space = &self.children[child].space;
        let mut result = None;
        self.world.inside(space, &mut || result = Some(body(space)));
        result.expect("it ran")
    }

    fn load(&self, child: usize, page: u64) {
        let at = self.at(child, page);
        let found = self.inside(child, |space| self.world.load(space, at));
        assert_eq!(found, Ok(self.word(child, page)), "page {page}");
    }

    fn store(&mut self, child: usize, page: u64) {
        let (at, value) = (self.at(child, page), self.steps);
        let stored = self.inside(child, |space| self.world.store(space, at, value));
        if self.children[child].locked.contains(&page) {
            assert!(matches!(stored, Err(FaultOutcome::Denied(_))), "{stored:?}");
        } else {
            assert_eq!(stored, Ok(()));
            self.children[child].words.insert(page, value);
        }
    }

    fn look(&self, child: usize, page: u64) {
        let at = self.at(child, page);
        let Some(folio) = self.children[child].space.gup_fast(at, Access::Read) else { return };
        let peek = || self.world.mm().hw.peek(folio.pfn().base() + 8 * self.cpu);
        assert_eq!(peek(), self.word(child, page), "page {page}");
        self.world.yield_now();
        assert_eq!(peek(), self.word(child, page), "page {page}");
    }

    fn fork(&mut self, child: usize) {
        if self.children.len() == CHILDREN {
            return;
        }
        let parent = &self.children[child];
        let Ok(space) = parent.space.fork() else { return };
        let new = Child {
            space,
            base: parent.base,
            words: parent.words.clone(),
            locked: parent.locked.clone(),
        };
        self.children.push(new);
    }

    /// Moves all of it: by a multiple of 2 MiB, or by some pages.
    fn shift(&mut self, child: usize) {
        let by = [0, 0, 1, 16, 300][self.rng.below(5) as usize];
        let to = VA + self.rng.below(8) * 2 * PMD_SIZE + by * PAGE_SIZE;
        let child = &mut self.children[child];
        let whole = |base| VirtRange::from_size(base, PMD_SIZE);
        if whole(to).overlaps(&whole(child.base)) {
            return;
        }
        for (part, pages) in parts(child) {
            let old = VirtRange::from_size(child.base + part * PAGE_SIZE, pages * PAGE_SIZE);
            let to = to + part * PAGE_SIZE;
            child.space.remap(old, old.bytes(), Move::To(to)).expect("free space");
        }
        child.base = to;
    }

    fn forget(&mut self, child: usize, page: u64) {
        let range = VirtRange::from_size(self.at(child, page).align_down(PAGE_SIZE), PAGE_SIZE);
        self.children[child].space.advise(range, Advice::DontNeed).expect("an area");
        self.children[child].words.remove(&page);
    }

    fn protect(&mut self, child: usize, page: u64) {
        let range = VirtRange::from_size(self.at(child, page).align_down(PAGE_SIZE), PAGE_SIZE);
        let child = &mut self.children[child];
        let locked = child.locked.iter().position(|&locked| locked == page);
        let prot = if locked.is_some() { RW } else { Prot::Read };
        child.space.protect(range, prot).expect("an area");
        match locked {
            Some(at) => drop(child.locked.remove(at)),
            None => child.locked.push(page),
        }
    }

    fn freeze(&mut self, child: usize, page: u64) {
        let turns = self.rng.below(4);
        let at = self.at(child, page);
        if let Ok(frozen) = self.children[child].space.freeze_folio_at(at) {
            let word = |page| self.world.mm().hw.peek(frozen.head().base() + page * PAGE_SIZE);
            let words = || (0..frozen.order().pages()).map(word).sum::<u64>();
            let before = words();
            (0..turns).for_each(|_| self.world.yield_now());
            assert_eq!(words(), before, "somebody reaches a frozen folio");
        }
    }

    /// Moves folios of several pages at once; those that somebody looks at, or works on, stay.
    fn migrate(&mut self, child: usize) {
        let n = 1 + self.rng.below(PAGES.len() as u64) as usize;
        let pages: Vec<_> = (0..n).map(|n| self.at(child, PAGES[n])).collect();
        let mut moved = vec![Err(MigrateError::NotMapped); n];
        let space = &self.children[child].space;
        space.move_pages(&pages, Destination::Anywhere, &mut moved).expect("memory");
        for moved in moved {
            assert!(
                matches!(
                    moved,
                    Ok(_)
                        | Err(MigrateError::NotMapped
                            | MigrateError::Busy { .. }
                            | MigrateError::Locked)
                ),
                "{moved:?}"
            );
        }
    }

    fn step(&mut self, what: Do) {
        self.steps += 1;
        let child = self.rng.below(self.children.len() as u64) as usize;
        let page = PAGES[self.rng.below(PAGES.len() as u64) as usize];
        match what {
            Do::Load => self.load(child, page),
            Do::Store => self.store(child, page),
            Do::Look => self.look(child, page),
            Do::SplitEntry => self.children[child].space.split_block(self.at(child, page)),
            Do::Split => {
                let order = Order([0, 2, 4, 8][self.rng.below(4) as usize]);
                let _ = self.children[child].space.split_folio_at(self.at(child, page), order);
            }
            Do::Freeze => self.freeze(child, page),
            Do::Migrate => self.migrate(child),
            Do::Fork => self.fork(child),
            Do::Exit if self.children.len() > 1 => drop(self.children.swap_remove(child)),
            Do::Exit => {}
            Do::Move => self.shift(child),
            Do::Forget => self.forget(child, page),
            Do::Protect => self.protect(child, page),
            Do::Shrink => drop(self.world.mm().shrink(self.rng.below(600))),
        }
    }
}

impl Drop for Player<'_> {
    /// What a known bug has left of the spaces is better not taken apart after a panic.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.children.drain(..).for_each(std::mem::forget);
        }
    }
}

/// The 2 MiB in pieces that are one area each: where rights change, areas end.
fn parts(child: &Child<'_>) -> Vec<(u64, u64)> {
    let mut cuts: Vec<u64> = child.locked.iter().flat_map(|&page| [page, page + 1]).collect();
    cuts.extend([0, 512]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts.windows(2).map(|cut| (cut[0], cut[1] - cut[0])).collect()
}

/// Says what went wrong.
fn storm(config: Config, mix: &[Do], mutant: Option<Mutant>) -> Option<String> {
    let body = || storm_in(config, mix, mutant);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Some(format!("panic: {}", text.unwrap_or_default()))
    })
}

fn storm_in(config: Config, mix: &[Do], mutant: Option<Mutant>) -> Option<String> {
    let world = SimWorld::new(config);
    let mm = world.mm();
    mm.arm(mutant);
    let untouched = Untouched::new(&world);
    let parent = Space::new(mm).expect("memory");
    parent.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
    world.inside(&parent, &mut || world.store(&parent, VA + 64, 1).expect("mapped"));
    let players = Mutex::new(Vec::new());
    let body = |cpu: usize| {
        let space = parent.fork().expect("memory");
        let first = Child { space, base: VA, words: BTreeMap::new(), locked: Vec::new() };
        let (rng, children) = (Rng::new(config.seed, "family", cpu), vec![first]);
        let mut player = Player { world: &world, cpu: cpu as u64, rng, children, steps: 0 };
        while player.steps < 40 && world.violation().is_none() {
            let what = player.rng.below(mix.len() as u64) as usize;
            player.step(mix[what]);
        }
        players.lock().expect("nobody panics with it").push(player);
    };
    world.run(config.cpus, &body, &mut || ());
    let violation =
        || world.violation().map(|found| format!("step {}: {}", found.step, found.what));
    let broken = || mm.audit().err().map(|broken| broken.to_string());
    if let Some(found) = violation().or_else(broken) {
        return Some(found);
    }
    // Nobody is in the way of a split any more.
    for page in PAGES {
        match parent.split_folio_at(VA + page * PAGE_SIZE, Order::PAGE) {
            Ok(()) | Err(SplitError::BadOrder { has: Order::PAGE, .. }) => {}
            Err(error) => return Some(format!("at rest, page {page}: {error}")),
        }
    }
    for player in players.lock().expect("nobody panics with it").drain(..) {
        for child in 0..player.children.len() {
            PAGES.into_iter().for_each(|page| player.load(child, page));
        }
    }
    drop(parent);
    if let Some(found) = violation().or_else(broken) {
        return Some(found);
    }
    mm.shrink(u64::MAX);
    untouched.check(&world);
    None
}

fn config(seed: u64) -> Config {
    let caps = machines()[seed as usize % 4].caps;
    Config { caps, seed, cpus: 3, pages: 8192, ..Config::default() }
}

#[test]
fn families_are_walked_whole() {
    for seed in 1..17 {
        assert_eq!(storm(config(seed), ALL, None), None, "seed {seed}");
    }
}

/// Whether the bug is noticed in a storm of these.
fn is_caught(mutant: Mutant, mix: &[Do], seeds: u64) -> bool {
    let look = || (1..seeds).any(|seed| storm(config(seed), mix, Some(mutant)).is_some());
    evidence::model_notices(mutant.name(), look)
}

#[test]
fn a_walk_without_claims_is_caught() {
    let mix = &[Do::Move, Do::Move, Do::Freeze];
    assert!(is_caught(Mutant::WalkUnclaimed, mix, 100));
}

/// One CPU takes a folio's mappings away and gives them back while another forks the space that is at the
/// beginning of the family. Says whether an entry was forgotten.
fn forked_while_frozen(seed: u64, mutant: Option<Mutant>) -> bool {
    let world = SimWorld::new(Config { cpus: 2, ..config(seed) });
    let mm = world.mm();
    mm.thp.set_enabled(Policy::Never);
    mm.thp.set_enabled_64k(Some(Policy::Always));
    let parent = Space::new(mm).expect("memory");
    parent.map(Place::At(VA), 16 * PAGE_SIZE, RW, Huge::Default).expect("free");
    assert_eq!(parent.fault(VA, Access::Write), FaultOutcome::Mapped);
    // What a fork copies before it comes to the folio: so it is on its way when mappings come back.
    let before = VirtRange::from_size(VA - PMD_SIZE, (seed % 64 + 1) * PAGE_SIZE);
    parent.map(Place::At(before.start), before.bytes(), RW, Huge::Never).expect("free");
    for page in (0..before.pages()).map(|n| before.start + n * PAGE_SIZE) {
        assert_eq!(parent.fault(page, Access::Write), FaultOutcome::Mapped);
    }
    let siblings: Vec<_> = (0..4).map(|_| parent.fork().expect("memory")).collect();
    mm.arm(mutant);
    let children = Mutex::new(Vec::new());
    let body = |cpu| {
        for _ in 0..8 {
            if cpu == 0 {
                drop(parent.freeze_folio_at(VA));
            } else {
                children.lock().expect("no panic").push(parent.fork().expect("memory"));
            }
        }
    };
    world.run(2, &body, &mut || ());
    let wrong = world.violation().is_some() || mm.audit().is_err();
    mm.arm(None);
    drop((siblings, children));
    wrong
}

#[test]
fn a_walk_from_children_to_parents_is_caught() {
    assert_eq!((1..20).find(|&seed| forked_while_frozen(seed, None)), None);
    let bug = Mutant::WalkChildrenFirst;
    let look = || (1..300).any(|seed| forked_while_frozen(seed, Some(bug)));
    assert!(evidence::model_notices(bug.name(), look));
}

#[test]
fn a_flush_after_the_lock_is_caught() {
    let mix = &[Do::Store, Do::Store, Do::Forget, Do::Migrate, Do::Migrate];
    assert!(is_caught(Mutant::TakeOutFlushLate, mix, 200));
}

#[test]
fn a_migration_of_what_is_held_is_caught() {
    let mix = &[Do::Store, Do::Look, Do::Migrate];
    assert!(is_caught(Mutant::MigrateHeld, mix, 200));
}

#[test]
fn a_flush_of_one_space_of_several_is_caught() {
    let mix = &[Do::Load, Do::Store, Do::Fork, Do::Migrate];
    assert!(is_caught(Mutant::OwedFirstOnly, mix, 200));
}

/// Others come between a migration's entries and its flush.
#[test]
fn migration_entries_taken_for_not_cached_are_caught() {
    let mix = &[Do::Store, Do::Store, Do::Forget, Do::Forget, Do::Move, Do::Migrate, Do::Freeze];
    assert!(is_caught(Mutant::MigrationNotCached, mix, 200));
}
