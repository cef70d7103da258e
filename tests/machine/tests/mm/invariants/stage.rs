//! Where the invariants are played: every kind of machine, memory in every size of entry, an onlooker, and a
//! verdict.

pub(crate) use crate::common::look::{entry, leaf, page as frame};
use crate::common::machines;
use crate::common::races;
use abi::{Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use granule_machine::{Config, Machine, SimWorld};
use mm::audit::{Broken, EntryRule, FolioRule};
use mm::mutant::Mutant;
use mm::thp::Policy;
use mm::{Hardware, Huge, Place, Slot, Space};
use std::panic::{AssertUnwindSafe, catch_unwind};
use stress::World;

pub(crate) const VA: VirtAddr = VirtAddr(1 << 40);
pub(crate) const RW: Prot = Prot::ReadWrite;
/// The pages of a block that are written: its ends, those of contiguous sets, and some between.
pub(crate) const PAGES: [u64; 7] = [0, 1, 15, 16, 100, 255, 511];

pub(crate) fn page(n: u64) -> VirtAddr {
    VA + n * PAGE_SIZE
}

pub(crate) fn pages(first: u64, n: u64) -> VirtRange {
    VirtRange::from_size(page(first), n * PAGE_SIZE)
}

pub(crate) fn block(n: u64) -> VirtRange {
    VirtRange::from_size(VA + n * PMD_SIZE, PMD_SIZE)
}

/// By what entries memory is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Single pages.
    Small,
    /// Contiguous sets.
    Sets,
    /// Huge pages.
    Huge,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Small, Kind::Sets, Kind::Huge];

/// A machine with two CPUs on which memory comes in one kind of entry.
pub(crate) struct Scene {
    pub(crate) world: SimWorld,
    pub(crate) kind: Kind,
}

impl Scene {
    pub(crate) fn new(config: Config, kind: Kind, mutant: Option<Mutant>) -> Self {
        Self::sized(config, kind, mutant, if kind == Kind::Huge { 4096 } else { 2048 })
    }

    /// As [`Scene::new`], with so many pages of memory.
    fn sized(config: Config, kind: Kind, mutant: Option<Mutant>, pages: u64) -> Self {
        let world = SimWorld::new(Config { cpus: 2, pages, ..config });
        let thp = &world.mm().thp;
        if kind != Kind::Huge {
            thp.set_enabled(Policy::Never);
            let sets = if kind == Kind::Sets { Policy::Always } else { Policy::Never };
            thp.set_enabled_64k(Some(sets));
        }
        world.mm().arm(mutant);
        Self { world, kind }
    }

    /// The machine that comes first.
    pub(crate) fn plain(kind: Kind, mutant: Option<Mutant>) -> Self {
        Self::new(machines()[0], kind, mutant)
    }

    /// A space with one block, of which [`PAGES`] have their number in them. It stays for ever: what a
    /// known bug has left of it is better not taken apart.
    pub(crate) fn space(&self) -> &Space<'_, Machine> {
        let space = self.empty();
        space.map(Place::At(VA), PMD_SIZE, RW, Huge::Default).expect("free");
        self.write(space, 0);
        space
    }

    /// A space without areas, for ever.
    pub(crate) fn empty(&self) -> &Space<'_, Machine> {
        kept(Space::new(self.world.mm()).expect("memory"))
    }

    /// Writes `base` and their numbers into [`PAGES`], from inside.
    pub(crate) fn write(&self, space: &Space<'_, Machine>, base: u64) {
        self.world.inside(space, &mut || {
            for n in PAGES {
                let _ = self.world.store(space, page(n), base + n);
            }
        });
    }

    /// The first of [`PAGES`] that does not have `base` and its number in it.
    pub(crate) fn misread(&self, space: &Space<'_, Machine>, base: u64) -> Option<String> {
        let mut found = None;
        self.world.inside(space, &mut || {
            for n in PAGES {
                let value = self.world.load(space, page(n));
                if value != Ok(base + n) && found.is_none() {
                    found = Some(format!("page {n} reads {value:?}"));
                }
            }
        });
        found
    }

    /// Both CPUs run the space and use its pages: either may have any translation of it.
    pub(crate) fn run_everywhere(&self, space: &Space<'_, Machine>) {
        let body = |_| {
            self.world.inside(space, &mut || {
                for n in PAGES {
                    let _ = self.world.load(space, page(n));
                }
            });
        };
        self.world.run(2, &body, &mut || ());
    }

    /// What is wrong with nothing in flight: a rule that was broken on the way, a translation that was
    /// taken away and that some CPU may have, or what an audit finds.
    pub(crate) fn wrong(&self) -> Option<String> {
        if let Some(found) = self.world.violation() {
            return Some(found.what);
        }
        if let Some(stale) = self.world.mm().hw.stale().first() {
            return Some(format!("a CPU may still use {stale:?}"));
        }
        self.world.mm().audit().err().map(|broken| broken.to_string())
    }

    /// Stores a word by hand, behind the memory manager's back; what the audit then says of it.
    pub(crate) fn audit_with(&self, slot: Slot, word: u64) -> Option<Broken> {
        let mm = self.world.mm();
        let old = mm.hw.swap(slot, word);
        let found = mm.audit().err();
        mm.hw.swap(slot, old);
        found
    }
}

/// The rule that an entry breaks, if that is what was found.
pub(crate) fn entry_rule(broken: Option<Broken>) -> Option<EntryRule> {
    match broken? {
        Broken::Entry(_, rule) => Some(rule),
        _ => None,
    }
}

/// The rule that a folio breaks, if that is what was found.
pub(crate) fn folio_rule(broken: Option<Broken>) -> Option<FolioRule> {
    match broken? {
        Broken::Folio(_, _, rule) => Some(rule),
        _ => None,
    }
}

/// A space that stays for ever.
pub(crate) fn kept(space: Space<'_, Machine>) -> &Space<'_, Machine> {
    Box::leak(Box::new(space))
}

/// The head of the folio behind `va`.
pub(crate) fn head(space: &Space<'_, Machine>, va: VirtAddr) -> Pfn {
    space.mm().frames.map().head(frame(space, va).expect("mapped")).expect("a folio")
}

/// What `play` says on its own, or the machine or the audit afterwards, or that it panicked.
pub(crate) fn judged(
    scene: &Scene,
    play: impl FnOnce(&Scene) -> Result<(), String>,
) -> Option<String> {
    let said = catch_unwind(AssertUnwindSafe(|| play(scene))).unwrap_or_else(|panic| {
        Err(format!("panic: {}", panic.downcast_ref::<String>().cloned().unwrap_or_default()))
    });
    scene.world.violation().map(|found| found.what).or(said.err()).or_else(|| scene.wrong())
}

/// Plays on each kind of machine, with memory of each of `kinds`; the first thing that is wrong.
pub(crate) fn everywhere(
    mutant: Option<Mutant>,
    kinds: &[Kind],
    play: impl Fn(&Scene) -> Result<(), String>,
) -> Option<String> {
    machines().into_iter().find_map(|config| {
        kinds.iter().find_map(|&kind| {
            let scene = Scene::new(config, kind, mutant);
            judged(&scene, &play).map(|what| format!("{kind:?} on {:?}: {what}", config.caps))
        })
    })
}

/// Plays with memory of each of `kinds` on the plainest machine and on the newest, with `intrusion` on the
/// other CPU after each `stride`th step of `work`; `after` looks when both are done.
pub(crate) fn intruded(
    mutant: Option<Mutant>,
    kinds: &[Kind],
    stride: usize,
    work: impl Fn(&Space<'_, Machine>) + Sync,
    intrusion: impl Fn(&Scene, &Space<'_, Machine>) -> Result<(), String> + Sync,
) -> Option<String> {
    machines()[..2].iter().find_map(|&config| {
        kinds.iter().find_map(|&kind| {
            races::at_each_step(stride, |steps| {
                // A memmap is never given back: many small machines.
                let pages = if kind == Kind::Huge { 2048 } else { 640 };
                let scene = Scene::sized(config, kind, mutant, pages);
                let reached = std::sync::atomic::AtomicBool::new(false);
                let found = judged(&scene, |scene| {
                    let space = scene.space();
                    let seen = std::sync::Mutex::new(Ok(()));
                    let went = scene.world.intrude(steps, &|| work(space), &|| {
                        *seen.lock().expect("alone") = intrusion(scene, space);
                    });
                    reached.store(went, std::sync::atomic::Ordering::Relaxed);
                    seen.into_inner().expect("alone")
                });
                match found {
                    Some(what) => Some(Err(what)),
                    None => reached.into_inner().then_some(Ok(())),
                }
            })
            .map(|what| format!("{kind:?}: {what}"))
        })
    })
}

/// Splits the folio at [`VA`], if it can be.
pub(crate) fn try_split(space: &Space<'_, Machine>, order: Order) {
    let _ = space.split_folio_at(VA, order);
}

/// Forks, if there is memory; the child stays.
pub(crate) fn fork_kept(space: &Space<'_, Machine>) {
    let _ = space.fork().map(kept);
}
