//! Pages that are held while the spaces go on: references, which keep the memory, and pins, which keep it
//! the program's own.

use super::model::{Content, Memory};
use super::play::Play;
use super::steps::Do;
use abi::{Access, Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr};
use granule_machine::{SimWorld, Simulated};
use mm::frame::{Flag, FolioPin, FolioRef, PIN_BIAS};
use mm::gup::GupError;
use mm::{Denial, Space};
use pte::Entry;
use std::cell::Cell;
use std::rc::Rc;
use stress::World;

/// References and pins held at once.
const HELD: usize = 8;
/// A page that is held. Its memory stays, and a pin's is the program's own.
pub(crate) struct Held<'w, H: Simulated> {
    pub(crate) hold: Hold<'w, H>,
    /// Where it was mapped then, and the word that it is known by.
    page: VirtAddr,
    word: PhysAddr,
    content: Content,
    /// What may have become of a reference instead: the other space kept the frame, the program that it
    /// was taken in has another, and nobody writes this one.
    left_behind: Vec<u64>,
    writable: bool,
}

pub(crate) enum Hold<'w, H: Simulated> {
    Reference(FolioRef<'w, H>),
    Pin(FolioPin<'w, H>),
}

impl<H: Simulated> Held<'_, H> {
    fn is_of(&self, memory: &Memory) -> bool {
        Rc::ptr_eq(&memory.content, &self.content)
    }
}

impl<H: Simulated> Hold<'_, H> {
    fn pfn(&self) -> Pfn {
        match self {
            Self::Reference(folio) => folio.pfn(),
            Self::Pin(pin) => pin.pfn(),
        }
    }

    /// References that an audit finds, at most.
    pub(crate) fn refs(&self) -> u64 {
        match self {
            Self::Reference(_) => 1,
            Self::Pin(_) => u64::from(PIN_BIAS),
        }
    }
}

/// What a reference is refused with.
fn denied<T>(found: Result<T, GupError>) -> Result<T, Option<Denial>> {
    found.map_err(|error| match error {
        GupError::Denied(denial) => Some(denial),
        GupError::OutOfMemory(_) => None,
        other => panic!("{other}"),
    })
}

impl<H: Simulated> Play<'_, H> {
    /// Takes a reference or a pin.
    pub(crate) fn hold(&mut self, n: usize, what: &Do) {
        let (space, model) = (&self.spaces[n], &mut self.models[n]);
        let (Do::Gup(at, access)
        | Do::GupFast(at, access)
        | Do::Pin(at, access)
        | Do::PinFast(at, access)
        | Do::PinLong(at, access)) = *what
        else {
            return;
        };
        let Some(page) = at.of(model) else { return };
        let permitted = model.permits(page, access);
        let found = match what {
            Do::Gup(..) => denied(space.gup(page, access)).map(Hold::Reference),
            Do::Pin(..) => denied(space.pin(page, access)).map(Hold::Pin),
            Do::PinLong(..) => {
                let found = space.pin_longterm(page, access);
                match &found {
                    Ok(pin) => {
                        let may_stay = !self.world.mm().frames.is_movable_only(pin.pfn());
                        assert!(may_stay || shows_zeros(self.world, pin.pfn()), "{page}");
                    }
                    Err(GupError::Unmovable(_)) => {
                        assert!(!self.held.is_empty(), "{page}: nobody holds anything");
                        return;
                    }
                    // There need not be another huge page.
                    Err(GupError::OutOfMemory(oom)) if oom.order > Order::PAGE => return,
                    Err(_) => {}
                }
                denied(found).map(Hold::Pin)
            }
            Do::GupFast(..) => {
                let there = model.page(page).and_then(|page| page.memory.as_ref());
                let there = there.is_some_and(|memory| memory.written && !memory.given_up);
                match space.gup_fast(page, access) {
                    Some(folio) => Ok(Hold::Reference(folio)),
                    None => {
                        let must = there && permitted.is_ok() && access == Access::Read;
                        assert!(!must, "{page} is there and nobody changes it");
                        return;
                    }
                }
            }
            _ => match space.pin_fast(page, access) {
                Some(pin) => Ok(Hold::Pin(pin)),
                None => return,
            },
        };
        match (found, permitted) {
            (Ok(hold), Ok(())) => {
                let word = hold.pfn().base() + model.word(page);
                let value = self.world.mm().hw.peek(word);
                let zeros = shows_zeros(self.world, hold.pfn());
                let own = matches!(hold, Hold::Pin(_)) && !zeros;
                let attached = model.touch(page, access, Some(value));
                assert_eq!(value, attached.get(), "{access} of {page}");
                let entry = model.pages.get_mut(&page.page()).expect("permitted");
                // A pin is of a page that nobody else has.
                entry.shared &= !own;
                let left_behind = if entry.shared { vec![value] } else { Vec::new() };
                // Everybody's zeros stay zeros, whatever is written to the page later.
                let content = if zeros { Rc::new(Cell::new(0)) } else { attached };
                let writable = own && access == Access::Write;
                self.held.push(Held { hold, page, word, content, left_behind, writable });
                if self.held.len() > HELD {
                    self.held.swap_remove(0);
                }
            }
            (Err(None), Ok(())) => self.out_of_memory(),
            (found, expected) => {
                assert_eq!(found.map(drop), expected.map_err(Some), "{access} of {page}");
            }
        }
    }

    /// Whether the page that is mapped there is held.
    pub(crate) fn held_at(&self, n: usize, page: VirtAddr) -> bool {
        let frame = mapped(&self.spaces[n], page);
        self.held.iter().any(|held| Some(held.hold.pfn()) == frame)
    }

    pub(crate) fn use_held(&mut self, what: &Do) {
        match *what {
            Do::WritePinned(which, value) => {
                let writable = self.held.iter().filter(|held| held.writable);
                if let Some(held) = writable.cycle().nth(which as usize) {
                    self.world.mm().hw.poke(held.word, value);
                    held.content.set(value);
                }
            }
            Do::Put(which) => {
                if let Some(which) = (which as usize).checked_rem(self.held.len()) {
                    drop(self.held.swap_remove(which));
                }
            }
            _ => {}
        }
    }

    /// A space was forked: who has a reference to a page of it may be left with the one that the child
    /// keeps. Pinned pages stay.
    pub(crate) fn leave_behind(&mut self, n: usize) {
        for held in self.held.iter_mut().filter(|held| matches!(held.hold, Hold::Reference(_))) {
            let mut pages = self.models[n].pages.values();
            if pages.any(|page| page.memory.as_ref().is_some_and(|memory| held.is_of(memory))) {
                held.left_behind.push(held.content.get());
            }
        }
    }

    /// Who holds a page has its content; who has pinned it has what is mapped.
    pub(crate) fn check_held(&self) {
        for held in &self.held {
            let found = self.world.mm().hw.peek(held.word);
            let right = found == held.content.get() || held.left_behind.contains(&found);
            assert!(right, "{found:#x} in the page of {} that is held", held.page);
        }
    }

    /// A page that is pinned and was not unmapped is the one that is mapped.
    pub(crate) fn check_pins(&self) {
        for held in self.held.iter().filter(|held| matches!(held.hold, Hold::Pin(_))) {
            for (space, model) in self.spaces.iter().zip(&self.models) {
                let mut pages = model.pages.iter();
                let there =
                    pages.find(|(_, page)| page.memory.as_ref().is_some_and(|m| held.is_of(m)));
                if let Some((number, page)) = there
                    && let Some(mapped) = mapped(space, VirtAddr(number * PAGE_SIZE))
                {
                    assert_eq!(mapped, held.hold.pfn(), "pinned at {}, {}", held.page, page.prot);
                }
            }
        }
    }
}

fn shows_zeros<H: Simulated>(world: &SimWorld<H>, page: Pfn) -> bool {
    let map = world.mm().frames.map();
    map.head(page).is_some_and(|head| map.desc(head).has(Flag::Zero))
}

/// The page that is mapped at `va`, with whatever rights.
pub(crate) fn mapped<H: Simulated>(space: &Space<'_, H>, va: VirtAddr) -> Option<Pfn> {
    let mut found = None;
    space.mm().walk(space.root(), va, |level: Level, _, entry, _| {
        if let Entry::Leaf(leaf) | Entry::ProtNone(leaf) = entry {
            found = Some(leaf.pfn() + va.0 % level.span() / PAGE_SIZE);
        }
    });
    found
}
