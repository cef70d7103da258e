//! Whole address spaces against a model: two spaces that use the same addresses on one CPU, and a
//! model that knows areas, contents and rights, and nothing of tables, huge pages or TLBs.
//!
//! The adversary is the machine's TLB, which caches whatever it may. Each sequence ends with
//! everything given back.

mod common;

use abi::{Access, Event, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use common::{Untouched, machines};
use granule_machine::{Config, Machine, SimWorld};
use mm::frame::{Flag, FolioRef};
use mm::gup::GupError;
use mm::{Denial, FaultOutcome, Hardware, Huge, MapError, Place, Space};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestRunner};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use stress::World;
use sync::Cpu;

/// Pages of the window in which places are chosen: 12 MiB around a boundary of every level.
const PAGES: u64 = 3072;
const WINDOW: VirtAddr = VirtAddr((3 << 39) - PAGES / 2 * PAGE_SIZE);
/// More pages than these are not mapped in one space, so that memory never runs out here.
const MOST: u64 = 5_000;
/// References held at once.
const HELD: usize = 6;

/// Where an access goes.
#[derive(Clone, Debug)]
enum At {
    /// A page of an area.
    Area(Index, Index),
    /// A page of the window, mapped or not.
    Window(u64),
}

#[derive(Clone, Debug)]
enum Do {
    Map {
        first: u64,
        pages: u64,
        prot: Prot,
        huge: Huge,
    },
    MapAnywhere {
        pages: u64,
        prot: Prot,
        huge: Huge,
    },
    Unmap {
        first: u64,
        pages: u64,
    },
    UnmapArea(Index),
    Load(At),
    Store(At, u64),
    Gup {
        at: At,
        access: Access,
        keep: bool,
    },
    GupFast {
        at: At,
        access: Access,
    },
    /// Lets go of a reference.
    Put(Index),
    /// Ends the space and begins another.
    Renew,
    /// A new generation of ASIDs.
    RollOver,
}

#[derive(Clone, Debug)]
struct Step {
    space: usize,
    what: Do,
}

fn step() -> impl Strategy<Value = Step> {
    let at = || {
        prop_oneof![
            6 => any::<(Index, Index)>().prop_map(|(area, page)| At::Area(area, page)),
            1 => (0..PAGES).prop_map(At::Window),
        ]
    };
    let access = || select(&[Access::Read, Access::Write, Access::Exec][..]);
    let huge = || select(&[Huge::Default, Huge::Never][..]);
    let prot = || {
        prop_oneof![
            6 => Just(Prot::ReadWrite),
            1 => select(&[Prot::None, Prot::Read, Prot::ReadExec][..]),
        ]
    };
    // Whole huge pages, parts of them, and what lies across their ends.
    let first = || prop_oneof![0..PAGES, (0..PAGES / 512).prop_map(|n| n * 512)];
    let pages = || prop_oneof![1..20u64, 1..1500u64, Just(512u64), Just(1024)];
    let what = prop_oneof![
        6 => (first(), pages(), prot(), huge())
            .prop_map(|(first, pages, prot, huge)| Do::Map { first, pages, prot, huge }),
        1 => (prop_oneof![1..20u64, 512..600u64], prot(), huge())
            .prop_map(|(pages, prot, huge)| Do::MapAnywhere { pages, prot, huge }),
        4 => (first(), pages()).prop_map(|(first, pages)| Do::Unmap { first, pages }),
        2 => any::<Index>().prop_map(Do::UnmapArea),
        20 => at().prop_map(Do::Load),
        20 => (at(), any::<u64>()).prop_map(|(at, value)| Do::Store(at, value)),
        6 => (at(), access(), any::<bool>())
            .prop_map(|(at, access, keep)| Do::Gup { at, access, keep }),
        4 => (at(), access()).prop_map(|(at, access)| Do::GupFast { at, access }),
        3 => any::<Index>().prop_map(Do::Put),
        1 => Just(Do::Renew),
        1 => Just(Do::RollOver),
    ];
    (0..2usize, what).prop_map(|(space, what)| Step { space, what })
}

/// The word that a page is known by; shared with the references that outlive the mapping.
type Content = Rc<Cell<u64>>;

#[derive(Clone, Copy, PartialEq, Debug)]
struct Area {
    range: VirtRange,
    prot: Prot,
    huge: Huge,
}

/// What a space must look like.
#[derive(Default)]
struct Model {
    /// By start.
    areas: BTreeMap<VirtAddr, Area>,
    /// Pages that were accessed since they were mapped.
    touched: BTreeMap<VirtAddr, Content>,
    /// Those of them that were written, or found for writing: no other has the memory.
    written: BTreeSet<VirtAddr>,
}

impl Model {
    fn area(&self, va: VirtAddr) -> Option<Area> {
        self.areas.values().find(|area| area.range.contains(va)).copied()
    }

    fn first_overlap(&self, range: VirtRange) -> Option<VirtRange> {
        self.areas.values().map(|area| area.range).find(|other| other.overlaps(&range))
    }

    fn pages(&self) -> u64 {
        self.areas.values().map(|area| area.range.pages()).sum()
    }

    fn nth(&self, which: &Index) -> Option<Area> {
        if self.areas.is_empty() {
            return None;
        }
        self.areas.values().nth(which.index(self.areas.len())).copied()
    }

    /// Neighbours that differ in nothing are one area.
    fn add(&mut self, mut area: Area) {
        let like = |other: &Area| (other.prot, other.huge) == (area.prot, area.huge);
        let before = self.areas.range(..area.range.start).next_back().map(|(_, before)| *before);
        if let Some(before) = before.filter(|b| b.range.end == area.range.start && like(b)) {
            area.range.start = before.range.start;
        }
        if let Some(behind) = self.areas.get(&area.range.end).copied().filter(like) {
            self.areas.remove(&behind.range.start);
            area.range.end = behind.range.end;
        }
        self.areas.insert(area.range.start, area);
    }

    fn remove(&mut self, gone: VirtRange) {
        for area in std::mem::take(&mut self.areas).into_values() {
            let before = VirtRange::new(area.range.start, area.range.end.min(gone.start));
            let after = VirtRange::new(area.range.start.max(gone.end), area.range.end);
            for range in [before, after] {
                if !range.is_empty() {
                    self.add(Area { range, ..area });
                }
            }
        }
        self.touched.retain(|va, _| !gone.contains(*va));
        self.written.retain(|va| !gone.contains(*va));
    }

    /// The lowest place that is free.
    fn lowest(&self, bytes: u64) -> VirtAddr {
        let align = if bytes >= 512 * PAGE_SIZE { 512 * PAGE_SIZE } else { PAGE_SIZE };
        let ends = self.areas.values().map(|area| area.range.end);
        // The lowest place begins at the bottom or where an area ends.
        ends.chain([VirtAddr(0x1_0000)])
            .map(|end| end.align_up(align))
            .filter(|start| self.first_overlap(VirtRange::from_size(*start, bytes)).is_none())
            .min()
            .expect("behind the last area")
    }

    /// The page's content after an access that had to succeed, or how the access had to fail.
    fn touch(&mut self, va: VirtAddr, access: Access) -> Result<Content, FaultOutcome> {
        let Some(area) = self.area(va) else {
            return Err(FaultOutcome::Denied(Denial::NoArea));
        };
        if !area.prot.allows(access) {
            return Err(FaultOutcome::Denied(Denial::Rights(area.prot)));
        }
        let page = va.align_down(PAGE_SIZE);
        if access == Access::Write {
            self.written.insert(page);
        }
        Ok(self.touched.entry(page).or_default().clone())
    }
}

/// Two spaces, their models, and what is held.
struct Play<'w> {
    world: &'w SimWorld,
    spaces: Vec<Space<'w, Machine>>,
    models: [Model; 2],
    held: Vec<(FolioRef<'w, Machine>, VirtAddr, Content)>,
    /// The space that the CPU runs.
    current: Option<usize>,
}

/// The word of the page that the model knows; not the same in every page.
fn word_of(page: VirtAddr) -> u64 {
    page.page() % 512 * 8
}

impl<'w> Play<'w> {
    fn new(world: &'w SimWorld) -> Self {
        let space = || Space::new(world.mm()).expect("memory");
        let spaces = vec![space(), space()];
        Self { world, spaces, models: Default::default(), held: Vec::new(), current: None }
    }

    /// Makes a space, or none, the one that the CPU runs.
    fn run(&mut self, next: Option<usize>) {
        if next != self.current {
            self.masked(|| {
                if let Some(current) = self.current {
                    self.spaces[current].leave();
                }
                if let Some(next) = next {
                    self.spaces[next].enter();
                }
            });
            self.current = next;
        }
    }

    fn masked(&self, body: impl FnOnce()) {
        let _irqs = self.world.mm().hw.mask_irqs();
        body();
    }

    fn step(&mut self, step: &Step) {
        self.run(Some(step.space));
        let (space, model) = (&self.spaces[step.space], &mut self.models[step.space]);
        match &step.what {
            Do::Map { first, pages, prot, huge } => {
                let start = WINDOW + first * PAGE_SIZE;
                let bytes = pages * PAGE_SIZE;
                if model.pages() + pages > MOST {
                    return;
                }
                let range = VirtRange::from_size(start, bytes);
                let expected = match model.first_overlap(range) {
                    Some(by) => Err(MapError::Occupied { wanted: range, by }),
                    None => Ok(range),
                };
                assert_eq!(space.map(Place::At(start), bytes, *prot, *huge), expected);
                if expected.is_ok() {
                    model.add(Area { range, prot: *prot, huge: *huge });
                }
            }
            Do::MapAnywhere { pages, prot, huge } => {
                let bytes = pages * PAGE_SIZE;
                if model.pages() + pages > MOST {
                    return;
                }
                let range = VirtRange::from_size(model.lowest(bytes), bytes);
                assert_eq!(space.map(Place::Anywhere, bytes, *prot, *huge), Ok(range));
                model.add(Area { range, prot: *prot, huge: *huge });
            }
            Do::Unmap { first, pages } => {
                let range = VirtRange::from_size(WINDOW + first * PAGE_SIZE, pages * PAGE_SIZE);
                assert_eq!(space.unmap(range), Ok(()));
                model.remove(range);
            }
            Do::UnmapArea(which) => {
                let Some(area) = model.nth(which) else { return };
                assert_eq!(space.unmap(area.range), Ok(()));
                model.remove(area.range);
            }
            Do::Load(at) => {
                let Some(page) = place(model, at) else { return };
                let expected = model.touch(page, Access::Read).map(|content| content.get());
                assert_eq!(self.world.load(space, page + word_of(page)), expected, "{page}");
            }
            Do::Store(at, value) => {
                let Some(page) = place(model, at) else { return };
                let expected = model.touch(page, Access::Write).map(|content| content.set(*value));
                let done = self.world.store(space, page + word_of(page), *value);
                assert_eq!(done, expected, "{page}");
            }
            Do::Gup { at, access, keep } => {
                let Some(page) = place(model, at) else { return };
                match (space.gup(page, *access), model.touch(page, *access)) {
                    (Ok(folio), Ok(content)) => {
                        // Everybody's zeros stay zeros, whatever is written to the page later.
                        let zeros = shows_zeros(self.world, &folio);
                        let content = if zeros { Content::default() } else { content };
                        self.held.push((folio, page, content));
                        self.check_held();
                        if !keep || self.held.len() > HELD {
                            self.held.pop();
                        }
                    }
                    (found, expected) => {
                        assert_eq!(found.err(), expected.err().map(refused), "{access} of {page}");
                    }
                }
            }
            Do::GupFast { at, access } => {
                let Some(page) = place(model, at) else { return };
                let found = space.gup_fast(page, *access);
                let area = model.area(page);
                let permitted = area.is_some_and(|area| area.prot.allows(*access));
                // What was only read may be everybody's zeros, which are not found without the lock.
                if permitted && model.written.contains(&page) {
                    assert!(found.is_some(), "{page} is there and nobody changes it");
                }
                if let Some(folio) = found {
                    assert!(permitted, "{access} of {page} is not permitted");
                    let content = model.touched.get(&page).map_or(0, |content| content.get());
                    assert_eq!(peek(self.world, &folio, page), content);
                }
            }
            Do::Put(which) => {
                if !self.held.is_empty() {
                    drop(self.held.swap_remove(which.index(self.held.len())));
                }
            }
            Do::Renew => {
                let new = Space::new(self.world.mm()).expect("memory");
                self.run(None);
                self.spaces[step.space] = new;
                self.models[step.space] = Model::default();
            }
            Do::RollOver => {
                self.world.mm().limit_asids(Some(4));
            }
        }
        self.check(step);
    }

    /// The space has the model's areas, and what is held has kept its content.
    fn check(&self, step: &Step) {
        assert_eq!(self.world.violation(), None, "after {step:?}");
        let mut areas = Vec::new();
        self.spaces[step.space].each_area(|vma| {
            areas.push(Area { range: vma.range, prot: vma.prot, huge: vma.huge });
        });
        let expected: Vec<_> = self.models[step.space].areas.values().copied().collect();
        assert_eq!(areas, expected, "after {step:?}");
        self.check_held();
    }

    fn check_held(&self) {
        for (folio, page, content) in &self.held {
            assert_eq!(peek(self.world, folio, *page), content.get(), "held page of {page}");
        }
    }

    /// Every page that was touched still has its content, mapped as it is by now.
    fn check_contents(&self) {
        for (space, model) in self.spaces.iter().zip(&self.models) {
            for (page, content) in &model.touched {
                let written = model.written.contains(page);
                let folio = if written { space.gup_fast(*page, Access::Read) } else { None };
                assert!(folio.is_some() || !written, "written and not unmapped");
                let folio = folio.or_else(|| space.gup(*page, Access::Read).ok());
                let folio = folio.expect("touched and not unmapped");
                assert_eq!(peek(self.world, &folio, *page), content.get(), "{page}");
            }
        }
    }

    fn end(mut self) {
        self.check_contents();
        self.run(None);
        self.spaces.clear();
        self.check_held();
    }
}

impl Drop for Play<'_> {
    /// Also when a check has failed: the sequence is to be tried again, shortened.
    fn drop(&mut self) {
        self.run(None);
    }
}

/// The word that a page is known by, past all translation.
fn peek(world: &SimWorld, folio: &FolioRef<'_, Machine>, page: VirtAddr) -> u64 {
    world.mm().hw.peek(folio.pfn().base() + word_of(page))
}

fn shows_zeros(world: &SimWorld, folio: &FolioRef<'_, Machine>) -> bool {
    world.mm().frames.map().desc(folio.head()).has(Flag::Zero)
}

fn place(model: &Model, at: &At) -> Option<VirtAddr> {
    match at {
        At::Area(area, page) => {
            let range = model.nth(area)?.range;
            Some(range.start + page.index(range.pages() as usize) as u64 * PAGE_SIZE)
        }
        At::Window(page) => Some(WINDOW + page * PAGE_SIZE),
    }
}

/// Plays a sequence to its end and says how often each event occurred.
fn play(config: Config, steps: &[Step]) -> impl Fn(Event) -> u64 {
    let world = SimWorld::new(Config { pages: 16_384, ..config });
    let untouched = Untouched::new(&world);
    let mut play = Play::new(&world);
    for step in steps {
        play.step(step);
    }
    play.end();
    untouched.check(&world);
    move |event| world.mm().stats.total(event)
}

/// The same sequences each time; a failing one is made shorter for a minute.
fn sequences(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        max_shrink_time: 60_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(sequences(48))]

    #[test]
    fn short_sequences_agree_with_the_model(
        machine in 0..4usize,
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..100),
    ) {
        let _ = play(Config { seed, ..machines()[machine] }, &steps);
    }
}

fn long_sequence(machine: usize) {
    let steps = proptest::collection::vec(step(), 10_000);
    let result = TestRunner::new(sequences(1)).run(&steps, |steps| {
        let count = play(machines()[machine], &steps);
        // A sequence that never came to these has tested less than it says.
        for event in [
            Event::ThpFaultAlloc,
            Event::ThpSplitPmd,
            Event::PgFaultDenied,
            Event::GupFast,
            Event::GupSlow,
            Event::AsidRollover,
            Event::TlbiAsid,
            Event::TlbiVa,
            Event::TlbiVaLast,
        ] {
            assert!(count(event) > 20, "{}: {}", event.name(), count(event));
        }
        assert_eq!(count(Event::TlbiRange) > 20, machines()[machine].caps.tlb_range);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_plain_armv8() {
    long_sequence(0);
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_all_features() {
    long_sequence(1);
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_few_asids() {
    long_sequence(2);
}

#[test]
fn ten_thousand_steps_agree_with_the_model_on_a_hardware_access_flag() {
    long_sequence(3);
}

/// How a reference is refused where a fault ends so.
fn refused(outcome: FaultOutcome) -> GupError {
    match outcome {
        FaultOutcome::Denied(denial) => GupError::Denied(denial),
        FaultOutcome::OutOfMemory(oom) => GupError::OutOfMemory(oom),
        resolved => panic!("{resolved:?} is no refusal"),
    }
}
