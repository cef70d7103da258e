//! A block of memory on its travels through a space: where it is, and what each page of it may show.

use super::field::BLOCK;
use super::ledger::Ledger;
use crate::rng::Rng;
use crate::run::Failure;
use crate::stamp::Stamp;
use abi::{PAGE_SIZE, PMD_SIZE, Prot, VirtAddr};
use core::sync::atomic::{AtomicU64, Ordering, fence};
use mm::{Advice, Hardware, Huge, Place, Space};

/// The first parcel's first window.
const START: VirtAddr = VirtAddr(1 << 36);
/// Places of a parcel, each with room for it at any offset.
const WINDOWS: u64 = 3;
/// The size of such a place.
pub(super) const WINDOW: u64 = 2 * PMD_SIZE;

/// A block of memory on its travels.
pub(super) struct Parcel {
    number: u64,
    /// How many parcels there are: their windows take turns.
    parcels: u64,
    /// What its pages may show.
    pub(super) ledger: Ledger,
    /// Its address; in the low bits, the moves so far, odd while one is under way.
    place: AtomicU64,
}

/// Set in a parcel's address word: the bits that no address of a page has.
const MOVES: u64 = PAGE_SIZE - 1;

impl Parcel {
    /// Parcel `number` of so many, mapped in its first window.
    pub(super) fn new<H: Hardware>(
        space: &Space<'_, H>,
        number: u64,
        parcels: u64,
    ) -> Result<Self, Failure> {
        let place = AtomicU64::new((START + number * WINDOW).0);
        let parcel = Self { number, parcels, ledger: Ledger::new(BLOCK)?, place };
        map(space, parcel.window(0))?;
        Ok(parcel)
    }

    /// The place of one of its windows.
    fn window(&self, n: u64) -> VirtAddr {
        START + (n * self.parcels + self.number) * WINDOW
    }

    /// A window that it is not in, seen from `place`.
    pub(super) fn other_window(&self, place: u64, rng: &mut Rng) -> VirtAddr {
        let here = (VirtAddr(place) - START) / WINDOW / self.parcels;
        self.window((here + 1 + rng.below(WINDOWS - 1)) % WINDOWS)
    }

    /// Where it is, as one word.
    pub(super) fn place(&self) -> u64 {
        fence(Ordering::SeqCst);
        self.place.load(Ordering::SeqCst)
    }

    /// Says where it is, or that it is under way.
    pub(super) fn set_place(&self, address: VirtAddr, moves: u64) {
        self.place.store(address.0 | moves & MOVES, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// How a version of a page is marked, wherever it is.
    pub(super) fn stamp(&self, page: u64, version: u16) -> Stamp {
        Stamp::new(self.number as u8, VirtAddr(page * PAGE_SIZE), version)
    }

    /// Whether that is the mark of one of its pages.
    pub(super) fn has_marked(&self, word: u64) -> bool {
        Stamp::read(word).is_some_and(|found| found.space == self.number as u8)
    }
}

/// Maps fresh memory for a parcel, huge where it can be.
pub(super) fn map<H: Hardware>(space: &Space<'_, H>, start: VirtAddr) -> Result<(), Failure> {
    let range = space.map(Place::At(start), PMD_SIZE, Prot::ReadWrite, Huge::Advised)?;
    Ok(space.advise(range, Advice::PopulateWrite)?)
}

/// The address of a page of a parcel at `place`.
pub(super) fn address(place: u64, page: u64) -> VirtAddr {
    VirtAddr(place & !MOVES) + page * PAGE_SIZE
}
