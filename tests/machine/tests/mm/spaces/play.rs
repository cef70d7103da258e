//! A sequence, played on the memory manager and on the model, step by step.

use super::held::{Held, mapped};
use super::model::Model;
use super::steps::{At, Do, Goal, SPACES, Setting, Step, WINDOW};
use abi::{Access, Order, PAGE_SIZE, PMD_SIZE, Pfn, VirtAddr, VirtRange};
use granule_machine::{SimWorld, Simulated};
use mm::audit::{Allow, Broken};
use mm::{
    Advice, AdviseError, CollapseError, Denial, Destination, FaultOutcome, Huge, MapError,
    MigrateError, Move, OutOfMemory, Place, RemapError, Space, SplitError,
};
use std::mem::forget;
use stress::World;

/// More pages than these are not mapped in one space, so that memory runs out only where it is taken.
const MOST: u64 = 3_000;
/// Steps between two audits.
const AUDIT: usize = 64;

/// Spaces, their models, what is held and what is hoarded.
pub(crate) struct Play<'w, H: Simulated> {
    pub(crate) world: &'w SimWorld<H>,
    pub(crate) spaces: Vec<Space<'w, H>>,
    pub(crate) models: Vec<Model>,
    pub(crate) held: Vec<Held<'w, H>>,
    hoard: Vec<Pfn>,
    /// The space that the CPU runs.
    current: Option<usize>,
    steps: usize,
}

/// What a fault is refused with.
fn refused<T>(found: Result<T, FaultOutcome>) -> Result<T, Option<Denial>> {
    found.map_err(|outcome| match outcome {
        FaultOutcome::Denied(denial) => Some(denial),
        FaultOutcome::OutOfMemory(_) => None,
        resolved => panic!("{resolved:?} is no refusal"),
    })
}

impl<'w, H: Simulated> Play<'w, H> {
    pub(crate) fn new(world: &'w SimWorld<H>) -> Self {
        let spaces = (0..SPACES).map(|_| Space::new(world.mm()).expect("memory")).collect();
        let models = (0..SPACES).map(|_| Model::default()).collect();
        let (held, hoard) = (Vec::new(), Vec::new());
        Self { world, spaces, models, held, hoard, current: None, steps: 0 }
    }

    /// Makes a space, or none, the one that the CPU runs.
    fn run(&mut self, next: Option<usize>) {
        if next != self.current {
            let _irqs = self.world.mm().hw.mask_irqs();
            if let Some(current) = self.current {
                self.spaces[current].leave();
            }
            if let Some(next) = next {
                self.spaces[next].enter();
            }
            self.current = next;
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.run(Some(step.space));
        self.act(step.space, &step.what);
        self.check(step);
    }

    fn act(&mut self, n: usize, what: &Do) {
        match what {
            Do::Map(..) | Do::MapAnywhere(..) | Do::Unmap(_) => self.lay_out(n, what),
            Do::Protect(..) | Do::Remap(..) | Do::Advise(..) => self.change(n, what),
            Do::Load(_) | Do::Store(..) | Do::Fault(..) => self.access(n, what),
            Do::Gup(..) | Do::GupFast(..) => self.hold(n, what),
            Do::Pin(..) | Do::PinFast(..) | Do::PinLong(..) => self.hold(n, what),
            Do::WritePinned(..) | Do::Put(_) => self.use_held(what),
            Do::Frozen(at, meanwhile) => self.frozen(n, *at, meanwhile),
            Do::Fork(into) => self.fork(n, *into),
            Do::Migrate(pages) => self.migrate(n, pages),
            _ => self.act_on_memory(n, what),
        }
    }

    /// A refusal for want of memory is right where there is none.
    fn scarce(&self) -> bool {
        !self.hoard.is_empty()
    }

    pub(crate) fn out_of_memory(&self) {
        assert!(self.scarce(), "out of memory while there is enough");
    }

    // --- areas -----------------------------------------------------------------------------------

    fn lay_out(&mut self, n: usize, what: &Do) {
        let (space, model) = (&self.spaces[n], &mut self.models[n]);
        let (place, pages, prot, huge) = match *what {
            Do::Map(first, pages, prot, huge) => {
                (Place::At(WINDOW + first * PAGE_SIZE), pages, prot, huge)
            }
            Do::MapAnywhere(pages, prot, huge) => (Place::Anywhere, pages, prot, huge),
            Do::Unmap(part) => {
                if let Some(gone) = part.of(model) {
                    assert_eq!(space.unmap(gone), Ok(()));
                    model.unmap(gone);
                }
                return;
            }
            _ => return,
        };
        if model.pages.len() as u64 + pages > MOST {
            return;
        }
        let bytes = pages * PAGE_SIZE;
        let align = if bytes >= PMD_SIZE { PMD_SIZE } else { PAGE_SIZE };
        let start = match place {
            Place::At(start) => start,
            Place::Anywhere => model.lowest(bytes, align, 0),
        };
        let range = VirtRange::from_size(start, bytes);
        let expected = match model.first_overlap(range) {
            Some(by) => Err(MapError::Occupied { wanted: range, by }),
            None => Ok(range),
        };
        assert_eq!(space.map(place, bytes, prot, huge), expected);
        if expected.is_ok() {
            model.map(range, prot, huge);
        }
    }

    fn change(&mut self, n: usize, what: &Do) {
        let (space, model) = (&self.spaces[n], &mut self.models[n]);
        match *what {
            Do::Protect(part, prot) => {
                let Some(part) = part.of(model) else { return };
                let hole = model.first_hole(part);
                let expected = hole.map_or(Ok(()), |hole| Err(mm::ProtectError::Hole(hole)));
                assert_eq!(space.protect(part, prot), expected);
                if expected.is_ok() {
                    model.each(part, |page| page.prot = prot);
                }
            }
            Do::Remap(part, pages, goal) => {
                let Some(old) = part.of(model) else { return };
                if model.pages.len() as u64 + pages > MOST {
                    return;
                }
                let to = match goal {
                    Goal::Stay => Move::No,
                    Goal::IfNeeded => Move::IfNeeded,
                    Goal::To(page) => Move::To(WINDOW + page * PAGE_SIZE),
                };
                match space.remap(old, pages * PAGE_SIZE, to) {
                    Err(RemapError::OutOfMemory) => self.out_of_memory(),
                    found => assert_eq!(found, model.remap(old, pages * PAGE_SIZE, to)),
                }
            }
            Do::Advise(part, advice) => {
                let Some(part) = part.of(model) else { return };
                let expected = match advice {
                    Advice::PopulateRead => model.populated(part, Access::Read),
                    Advice::PopulateWrite => model.populated(part, Access::Write),
                    _ => model.hole_told(part),
                };
                match space.advise(part, advice) {
                    Err(AdviseError::OutOfMemory(..)) => self.out_of_memory(),
                    Err(AdviseError::Apart(_, CollapseError::OutOfMemory(_))) => {
                        self.out_of_memory();
                    }
                    // What it may and may not come to is known in detail elsewhere.
                    found if advice == Advice::Collapse => {
                        assert!(matches!(found, Ok(()) | Err(AdviseError::Apart(..))), "{found:?}");
                    }
                    found => assert_eq!(found, expected),
                }
                let model = &mut self.models[n];
                model.each(part, |page| match advice {
                    Advice::Huge => page.huge = Huge::Advised,
                    Advice::NoHuge => page.huge = Huge::Never,
                    Advice::DontNeed => (page.memory, page.shared) = (None, false),
                    Advice::Free => {
                        if let Some(memory) = &mut page.memory {
                            memory.given_up = true;
                        }
                    }
                    // Content stays as it is.
                    Advice::PopulateRead | Advice::PopulateWrite | Advice::Collapse => {}
                });
            }
            _ => {}
        }
    }

    fn fork(&mut self, n: usize, into: usize) {
        let child = self.spaces[n].fork();
        // Also a fork that failed may have taken from pages that they are the parent's alone.
        let childs = self.models[n].fork();
        self.leave_behind(n);
        let Ok(child) = child else { return self.out_of_memory() };
        if into != n {
            self.spaces[into] = child;
            self.models[into] = childs;
            return;
        }
        // The parent goes, and the child takes its place.
        self.run(None);
        self.spaces[n] = child;
        self.models[n] = childs;
    }

    /// Does something while no mapping of a folio is there.
    fn frozen(&mut self, n: usize, at: At, meanwhile: &Do) {
        let Some(va) = at.of(&self.models[n]) else { return };
        match self.spaces[n].freeze_folio_at(va) {
            Ok(frozen) => {
                self.act(n, meanwhile);
                frozen.thaw();
            }
            Err(refusal) => self.check_split_refusal(refusal),
        }
    }

    /// Moves folios to other frames: what nobody holds moves, and what is held stays.
    fn migrate(&mut self, n: usize, pages: &[At]) {
        let (space, model) = (&self.spaces[n], &self.models[n]);
        let pages: Vec<_> = pages.iter().filter_map(|at| at.of(model)).collect();
        let held: Vec<_> = pages.iter().map(|page| self.held_at(n, *page)).collect();
        let mut moved = vec![Err(MigrateError::NotMapped); pages.len()];
        if space.move_pages(&pages, Destination::Anywhere, &mut moved).is_err() {
            return self.out_of_memory();
        }
        for ((page, held), moved) in pages.iter().zip(held).zip(&moved) {
            let there = model.page(*page).and_then(|page| page.memory.as_ref());
            let written = there.is_some_and(|memory| memory.written && !memory.given_up);
            match moved {
                Ok(frame) => {
                    assert!(!held, "{page} is held and was moved");
                    assert_eq!(mapped(space, *page), Some(*frame), "{page}");
                }
                Err(MigrateError::NotMapped | MigrateError::NotAnonymous) => {
                    assert!(!written, "{page} was written and is nobody's");
                }
                Err(MigrateError::Busy { .. }) => {
                    assert!(!self.held.is_empty(), "{page} is busy, and nobody holds anything");
                }
                Err(MigrateError::OutOfMemory(oom)) => {
                    // There need not be another huge page.
                    assert!(oom.order > Order::PAGE || self.scarce(), "{oom}");
                }
                Err(MigrateError::Locked) => panic!("{page} is locked, and nobody is at work"),
            }
        }
    }

    fn check_split_refusal(&self, refusal: SplitError) {
        match refusal {
            SplitError::Busy { .. } => {
                assert!(!self.held.is_empty(), "{refusal}, and nobody holds anything");
            }
            SplitError::Locked => panic!("{refusal}, and nobody is at work"),
            SplitError::NotMapped | SplitError::BadOrder { .. } | SplitError::NotAnonymous => {}
        }
    }

    // --- contents --------------------------------------------------------------------------------

    fn access(&mut self, n: usize, what: &Do) {
        let (space, model) = (&self.spaces[n], &mut self.models[n]);
        let (Do::Load(at) | Do::Store(at, _) | Do::Fault(at, _)) = *what else { return };
        let Some(page) = at.of(model) else { return };
        let access = match *what {
            Do::Load(_) => Access::Read,
            Do::Store(..) => Access::Write,
            Do::Fault(_, access) => access,
            _ => return,
        };
        let word = page + model.word(page);
        let found = match *what {
            Do::Load(_) => self.world.load(space, word).map(Some),
            Do::Store(_, value) => self.world.store(space, word, value).map(|()| None),
            _ => match space.fault(page, access) {
                FaultOutcome::Mapped | FaultOutcome::Spurious => Ok(None),
                stop => Err(stop),
            },
        };
        match (refused(found), model.permits(page, access)) {
            (Ok(found), Ok(())) => {
                let content = model.touch(page, access, found);
                assert!(found.is_none_or(|found| found == content.get()), "{found:x?} at {page}");
                if let Do::Store(_, value) = *what {
                    model.store(page, value);
                }
            }
            (Err(None), Ok(())) => self.out_of_memory(),
            (found, expected) => {
                assert_eq!(found.map(drop), expected.map_err(Some), "{access} of {page}");
            }
        }
    }

    // --- memory ----------------------------------------------------------------------------------

    fn act_on_memory(&mut self, n: usize, what: &Do) {
        let mm = self.world.mm();
        match *what {
            Do::SplitBlock(at) => {
                if let Some(va) = at.of(&self.models[n]) {
                    self.spaces[n].split_block(va);
                }
            }
            Do::Collapse(at) => {
                // What it may come to, and what not, is known in detail elsewhere.
                if let Some(va) = at.of(&self.models[n])
                    && let Err(CollapseError::OutOfMemory(_)) = self.spaces[n].collapse(va)
                {
                    self.out_of_memory();
                }
            }
            Do::Crumble(at) => {
                // There are few huge pages, and fewer that are in pieces and otherwise as they were.
                if let Some(va) = at.of(&self.models[n]) {
                    self.spaces[n].split_block(va);
                    let _ = self.spaces[n].collapse(va);
                }
            }
            Do::SplitFolio(at, order) => {
                if let Some(va) = at.of(&self.models[n])
                    && let Err(refusal) = self.spaces[n].split_folio_at(va, order)
                {
                    self.check_split_refusal(refusal);
                }
            }
            Do::Renew => {
                let Ok(new) = Space::new(mm) else { return self.out_of_memory() };
                self.run(None);
                self.spaces[n] = new;
                self.models[n] = Model::default();
            }
            Do::Set(setting) => match setting {
                Setting::Enabled(policy) => mm.thp.set_enabled(policy),
                Setting::Enabled64k(policy) => mm.thp.set_enabled_64k(policy),
                Setting::Defrag(defrag) => mm.thp.set_defrag(defrag),
                Setting::UseZeroPage(on) => mm.thp.set_use_zero_page(on),
                Setting::OfSpace(policy) => self.spaces[n].set_thp(policy),
            },
            Do::ReclaimLazy(pages) => drop(mm.reclaim_lazy(pages)),
            Do::ReclaimDeferred(pages) => drop(mm.shrink(pages)),
            Do::Compact(blocks) => {
                let done = mm.compact(blocks).expect("the host has memory for the work");
                assert!(done.made <= blocks, "{done}");
                assert_eq!(mm.frames.isolated_pages(&mm.hw), 0, "{done}");
            }
            Do::RollOver => {
                mm.limit_asids(Some(4));
            }
            Do::Hoard(left) => self.hoard_all_but(left),
            Do::Release => self.hoard.drain(..).for_each(|pfn| mm.free(pfn)),
            _ => {}
        }
    }

    fn hoard_all_but(&mut self, left: u64) {
        let mm = self.world.mm();
        let before = self.hoard.len();
        for order in (0..=Order::MAX.0).rev().map(Order) {
            self.hoard.extend(std::iter::from_fn(|| mm.alloc(order).ok()));
        }
        // The last ones are the smallest.
        for _ in 0..left {
            if self.hoard.len() > before.max(1) {
                mm.free(self.hoard.pop().expect("not empty"));
            }
        }
    }

    // --- checks ----------------------------------------------------------------------------------

    fn check(&mut self, step: &Step) {
        assert_eq!(self.world.verdict(), None, "after {step:?}");
        if step.what.changes_areas() {
            let mut areas = Vec::new();
            self.spaces[step.space].each_area(|area| areas.push(*area));
            assert_eq!(areas, self.models[step.space].areas(), "after {step:?}");
        }
        self.check_held();
        self.steps += 1;
        if self.steps.is_multiple_of(AUDIT) {
            self.audit();
        }
    }

    fn audit(&self) {
        let mm = self.world.mm();
        let refs = self.held.iter().map(|held| held.hold.refs()).sum();
        match mm.audit_but(Allow::refs(refs)) {
            Ok(_) => {}
            Err(Broken::NotAudited(OutOfMemory { .. })) => self.out_of_memory(),
            Err(broken) => panic!("{broken}"),
        }
        self.check_pins();
    }

    /// Every page that was accessed still has its content.
    fn check_contents(&mut self) {
        for n in 0..SPACES {
            let touched = self.models[n]
                .pages
                .iter()
                .filter(|(_, page)| page.memory.is_some() && page.prot.allows(Access::Read));
            let touched: Vec<_> = touched.map(|(number, _)| *number).collect();
            for number in touched {
                let page = VirtAddr(number * PAGE_SIZE);
                let folio = self.spaces[n].gup(page, Access::Read).expect("mapped and permitted");
                let word = folio.pfn().base() + self.models[n].word(page);
                let found = self.world.mm().hw.peek(word);
                let content = self.models[n].touch(page, Access::Read, Some(found));
                assert_eq!(found, content.get(), "{page}");
            }
        }
    }

    /// Checks all that there is, and gives it back.
    pub(crate) fn end(mut self) {
        self.act_on_memory(0, &Do::Release);
        self.check_contents();
        self.audit();
        self.run(None);
        self.spaces.clear();
        self.check_held();
    }
}

impl<H: Simulated> Drop for Play<'_, H> {
    /// Also when a check has failed: the sequence is to be tried again, shortened. What is broken cannot
    /// be given back.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.spaces.drain(..).for_each(forget);
            self.held.drain(..).for_each(forget);
        }
    }
}
