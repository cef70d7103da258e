//! The cases that Linux's vmalloc is measured with (`lib/test_vmalloc.c`), under the same names and with the same
//! sizes: the workloads check what they are given, and `bench` counts what that takes.

use crate::rng::Rng;
use abi::{PAGE_SIZE, VirtRange};

/// A case: what is held throughout, and what a turn asks for and gives back.
pub(crate) struct Case {
    /// Areas of a page held throughout, as far as memory goes.
    pub(crate) held: u64,
    /// Every second one of them is given back before the turns begin.
    pub(crate) is_thinned: bool,
    /// The turns of one round.
    pub(crate) turns: u64,
    asks: fn(u64, u64, &mut Rng) -> [Ask; 2],
}

/// An area that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) pages: u64,
    /// In bytes.
    pub(crate) align: u64,
}

impl Ask {
    /// Whether so many CPUs may have all places of `space` with this alignment: each one in use, and one that is
    /// lazy. Then, and only then, there may be none.
    pub(crate) fn has_few_places(self, space: VirtRange, cpus: usize) -> bool {
        space.bytes() / self.align <= 2 * cpus as u64
    }
}

/// So many pages, anywhere.
const fn pages(pages: u64) -> Ask {
    Ask { pages, align: PAGE_SIZE }
}

/// A turn of one area only.
const fn one(ask: Ask) -> [Ask; 2] {
    [ask, pages(0)]
}

impl Case {
    /// Turn after turn alike, with nothing else there.
    const fn of(asks: fn(u64, u64, &mut Rng) -> [Ask; 2]) -> Self {
        Self { held: 0, is_thinned: false, turns: 1, asks }
    }

    /// What turn number `turn` asks for, in this order, where there are so many CPUs; it is given back in the other.
    pub(crate) fn asks(
        &self,
        turn: u64,
        cpus: u64,
        rng: &mut Rng,
    ) -> impl Iterator<Item = Ask> + use<> {
        (self.asks)(turn, cpus, rng).into_iter().filter(|ask| ask.pages > 0)
    }
}

/// `fix_size_alloc`: a page.
pub(crate) const FIX_SIZE: Case = Case::of(|_, _, _| one(pages(1)));

/// `full_fit_alloc`: a page, where a gap of just a page lies between any two.
pub(crate) const FULL_FIT: Case = Case { held: 16_384, is_thinned: true, ..FIX_SIZE };

/// `long_busy_list_alloc`: 100 pages and a page, beside 15 000 others.
pub(crate) const LONG_BUSY_LIST: Case =
    Case { held: 15_000, ..Case::of(|_, _, _| [pages(100), pages(1)]) };

/// `random_size_alloc`: 1 to 100 pages.
pub(crate) const RANDOM_SIZE: Case = Case::of(|_, _, rng| one(pages(1 + rng.below(100))));

/// `fix_align_alloc`: 5 pages at a multiple of 32 KiB.
pub(crate) const FIX_ALIGN: Case = Case::of(|_, _, _| one(Ask { pages: 5, align: 32 << 10 }));

/// `random_size_align_alloc`: 1 to 10 pages at a multiple of up to 4 MiB.
pub(crate) const RANDOM_SIZE_ALIGN: Case = Case::of(|_, _, rng| {
    let pages = 1 + rng.below(10);
    one(Ask { pages, align: 1 << rng.below(23) })
});

/// `align_shift_alloc`: a page at every power of two. Beyond the space there is none, and that is said.
pub(crate) const ALIGN_SHIFT: Case = Case {
    turns: u64::BITS as u64,
    ..Case::of(|turn, _, _| one(Ask { pages: 1, align: 1 << (turn % u64::BITS as u64) }))
};

/// `pcpu_alloc`: a share for each CPU, of 1 to 1024 bytes, at a multiple of up to 2 KiB from the area's start.
pub(crate) const PCPU: Case = Case::of(|_, cpus, rng| {
    let (bytes, align) = (1 + rng.below(PAGE_SIZE / 4), 2u64 << rng.below(11));
    one(pages((bytes.next_multiple_of(align) * cpus).div_ceil(PAGE_SIZE)))
});
