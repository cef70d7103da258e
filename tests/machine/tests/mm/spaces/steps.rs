//! What can be done to spaces, written as the calls that it is.

use abi::{Access, Order, PAGE_SIZE, Prot, VirtAddr, VirtRange};
use mm::thp::{Defrag, Policy};
use mm::{Advice, Huge};
use proptest::prelude::*;
use proptest::sample::select;
use std::fmt;

use super::model::Model;

/// Pages of the window in which places are chosen: 12 MiB around a boundary of every level.
pub(crate) const PAGES: u64 = 3072;
pub(crate) const WINDOW: VirtAddr = VirtAddr((3 << 39) - PAGES / 2 * PAGE_SIZE);
/// How many spaces there are at a time.
pub(crate) const SPACES: usize = 3;

/// One page.
#[derive(Clone, Copy)]
pub(crate) enum At {
    /// Of the window, mapped or not.
    Page(u64),
    /// Of an area; both numbers by remainder.
    Area(u64, u64),
}

/// Some pages.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// From a page of the window on, so many.
    Pages(u64, u64),
    /// All of an area.
    Area(u64),
    /// Of an area, from one of its pages on, so many, as far as it has them.
    In(u64, u64, u64),
}

/// Where a remap goes.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    Stay,
    IfNeeded,
    /// A page of the window.
    To(u64),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Setting {
    Enabled(Policy),
    Enabled64k(Option<Policy>),
    Defrag(Defrag),
    UseZeroPage(bool),
    OfSpace(Option<Policy>),
}

#[derive(Clone)]
pub(crate) enum Do {
    Map(u64, u64, Prot, Huge),
    MapAnywhere(u64, Prot, Huge),
    Unmap(Part),
    Protect(Part, Prot),
    Remap(Part, u64, Goal),
    Advise(Part, Advice),
    Load(At),
    Store(At, u64),
    Fault(At, Access),
    Gup(At, Access),
    GupFast(At, Access),
    Pin(At, Access),
    PinFast(At, Access),
    /// Pins for as long as somebody likes, in memory where that may be.
    PinLong(At, Access),
    /// A device writes to what is pinned for that.
    WritePinned(u64, u64),
    /// Lets go of a reference or a pin.
    Put(u64),
    SplitBlock(At),
    Collapse(At),
    Crumble(At),
    SplitFolio(At, Order),
    /// Moves the folios that are there to other frames, with one flush.
    Migrate(Vec<At>),
    /// Makes up to so many 2 MiB blocks of what is scattered.
    Compact(u64),
    /// What is done while migration entries are in the place of a folio's mappings.
    Frozen(At, Box<Do>),
    Fork(usize),
    /// Ends the space and begins another.
    Renew,
    Set(Setting),
    ReclaimLazy(u64),
    ReclaimDeferred(u64),
    /// A new generation of ASIDs.
    RollOver,
    /// Somebody takes all memory but so many pages.
    Hoard(u64),
    /// And gives it back.
    Release,
}

/// A step in one of the spaces.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) space: usize,
    pub(crate) what: Do,
}

impl At {
    pub(crate) fn of(self, model: &Model) -> Option<VirtAddr> {
        match self {
            Self::Page(page) => Some(WINDOW + page * PAGE_SIZE),
            Self::Area(which, page) => {
                let area = model.nth(which)?;
                Some(area.start + page % area.pages() * PAGE_SIZE)
            }
        }
    }
}

impl Part {
    pub(crate) fn of(self, model: &Model) -> Option<VirtRange> {
        match self {
            Self::Pages(first, pages) => {
                Some(VirtRange::from_size(WINDOW + first * PAGE_SIZE, pages * PAGE_SIZE))
            }
            Self::Area(which) => model.nth(which),
            Self::In(which, first, pages) => {
                let area = model.nth(which)?;
                let start = area.start + first % area.pages() * PAGE_SIZE;
                let end = area.end.min(start + pages * PAGE_SIZE);
                Some(VirtRange::new(start, end))
            }
        }
    }
}

impl Do {
    /// Whether it may change areas.
    pub(crate) fn changes_areas(&self) -> bool {
        match self {
            Self::Frozen(_, meanwhile) => meanwhile.changes_areas(),
            Self::Map(..) | Self::MapAnywhere(..) | Self::Unmap(..) | Self::Protect(..) => true,
            Self::Remap(..) | Self::Advise(..) | Self::Fork(..) | Self::Renew => true,
            _ => false,
        }
    }
}

// --- choosing ------------------------------------------------------------------------------------

fn at() -> impl Strategy<Value = At> {
    prop_oneof![
        8 => (0..8u64, 0..PAGES).prop_map(|(area, page)| At::Area(area, page)),
        // Few places, which therefore meet each other.
        8 => (0..8u64, 0..20u64).prop_map(|(area, page)| At::Area(area, page)),
        1 => (0..PAGES).prop_map(At::Page),
    ]
}

fn first() -> impl Strategy<Value = u64> {
    // Whole huge pages, contiguous sets, and what lies across their ends.
    prop_oneof![
        0..PAGES,
        (0..PAGES / 512).prop_map(|n| n * 512),
        (0..PAGES / 16).prop_map(|n| n * 16),
    ]
}

fn pages() -> impl Strategy<Value = u64> {
    prop_oneof![1..20u64, 1..700u64, Just(16u64), Just(512u64), Just(1024)]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        2 => (first(), pages()).prop_map(|(first, pages)| Part::Pages(first, pages)),
        1 => (0..8u64).prop_map(Part::Area),
        4 => (0..8u64, first(), pages()).prop_map(|(area, first, pages)| Part::In(area, first, pages)),
    ]
}

fn prot() -> impl Strategy<Value = Prot> {
    prop_oneof![
        6 => Just(Prot::ReadWrite),
        2 => select(&[Prot::None, Prot::Read, Prot::ReadExec, Prot::Exec][..]),
    ]
}

fn huge() -> impl Strategy<Value = Huge> {
    select(&[Huge::Default, Huge::Default, Huge::Advised, Huge::Never][..])
}

fn goal() -> impl Strategy<Value = Goal> {
    prop_oneof![
        1 => Just(Goal::Stay),
        2 => Just(Goal::IfNeeded),
        4 => first().prop_map(Goal::To),
    ]
}

fn setting() -> impl Strategy<Value = Setting> {
    let policy = || select(&[Policy::Always, Policy::Always, Policy::Madvise, Policy::Never][..]);
    let maybe = move || prop_oneof![2 => Just(None), 1 => policy().prop_map(Some)];
    let defrag = [Defrag::Always, Defrag::Defer, Defrag::Madvise, Defrag::Never];
    prop_oneof![
        policy().prop_map(Setting::Enabled),
        maybe().prop_map(Setting::Enabled64k),
        select(defrag.to_vec()).prop_map(Setting::Defrag),
        any::<bool>().prop_map(Setting::UseZeroPage),
        maybe().prop_map(Setting::OfSpace),
    ]
}

/// What nobody who makes the memory wait for itself does: it may be done while mappings are frozen.
fn changes() -> impl Strategy<Value = Do> {
    let advice = [Advice::Huge, Advice::NoHuge, Advice::DontNeed, Advice::Free];
    prop_oneof![
        3 => part().prop_map(Do::Unmap),
        4 => (part(), prot()).prop_map(|(part, prot)| Do::Protect(part, prot)),
        4 => (part(), pages(), goal()).prop_map(|(part, pages, to)| Do::Remap(part, pages, to)),
        4 => (part(), select(advice.to_vec())).prop_map(|(part, advice)| Do::Advise(part, advice)),
        2 => (0..SPACES).prop_map(Do::Fork),
        1 => at().prop_map(Do::SplitBlock),
        1 => part().prop_map(|part| Do::Advise(part, Advice::Collapse)),
        1 => at().prop_map(Do::Collapse),
        1 => (1..4u64).prop_map(Do::Compact),
    ]
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let read_or_write = || select(&[Access::Read, Access::Write][..]);
    let access = || select(&[Access::Read, Access::Write, Access::Exec][..]);
    let order = || select(&[0, 0, 2, 4, 8][..]).prop_map(Order);
    let frozen = (at(), changes()).prop_map(|(at, change)| Do::Frozen(at, Box::new(change)));
    let populate = [Advice::PopulateRead, Advice::PopulateWrite];
    let what = prop_oneof![
        8 => (first(), pages(), prot(), huge())
            .prop_map(|(first, pages, prot, huge)| Do::Map(first, pages, prot, huge)),
        1 => (prop_oneof![1..20u64, 512..600u64], prot(), huge())
            .prop_map(|(pages, prot, huge)| Do::MapAnywhere(pages, prot, huge)),
        12 => changes(),
        2 => (part(), select(populate.to_vec())).prop_map(|(part, advice)| Do::Advise(part, advice)),
        16 => at().prop_map(Do::Load),
        24 => (at(), 1..u64::MAX).prop_map(|(at, value)| Do::Store(at, value)),
        2 => (at(), access()).prop_map(|(at, access)| Do::Fault(at, access)),
        3 => (at(), access()).prop_map(|(at, access)| Do::Gup(at, access)),
        3 => (at(), access()).prop_map(|(at, access)| Do::GupFast(at, access)),
        3 => (at(), read_or_write()).prop_map(|(at, access)| Do::Pin(at, access)),
        2 => (at(), read_or_write()).prop_map(|(at, access)| Do::PinFast(at, access)),
        2 => (at(), read_or_write()).prop_map(|(at, access)| Do::PinLong(at, access)),
        2 => (0..8u64, 1..u64::MAX).prop_map(|(which, value)| Do::WritePinned(which, value)),
        6 => (0..8u64).prop_map(Do::Put),
        2 => at().prop_map(Do::SplitBlock),
        8 => at().prop_map(Do::Collapse),
        4 => at().prop_map(Do::Crumble),
        3 => (at(), order()).prop_map(|(at, order)| Do::SplitFolio(at, order)),
        6 => prop::collection::vec(at(), 1..12).prop_map(Do::Migrate),
        3 => frozen,
        1 => Just(Do::Renew),
        1 => setting().prop_map(Do::Set),
        1 => (1..600u64).prop_map(Do::ReclaimLazy),
        1 => (1..600u64).prop_map(Do::ReclaimDeferred),
        1 => Just(Do::RollOver),
        1 => (0..24u64).prop_map(Do::Hoard),
        2 => Just(Do::Release),
    ];
    (0..SPACES, what).prop_map(|(space, what)| Step { space, what })
}

// --- showing -------------------------------------------------------------------------------------

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(page) => write!(f, "page({page})"),
            Self::Area(which, page) => write!(f, "area({which}).page({page})"),
        }
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages(first, pages) => write!(f, "pages({first}, {pages})"),
            Self::Area(which) => write!(f, "area({which})"),
            Self::In(which, first, pages) => write!(f, "area({which}).part({first}, {pages})"),
        }
    }
}

impl fmt::Debug for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stay => write!(f, "Move::No"),
            Self::IfNeeded => write!(f, "Move::IfNeeded"),
            Self::To(page) => write!(f, "Move::To(page({page}))"),
        }
    }
}

impl fmt::Debug for Do {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(first, pages, prot, huge) => {
                write!(f, "map(page({first}), {pages}, {prot:?}, Huge::{huge:?})")
            }
            Self::MapAnywhere(pages, prot, huge) => {
                write!(f, "map(Place::Anywhere, {pages}, {prot:?}, Huge::{huge:?})")
            }
            Self::Unmap(part) => write!(f, "unmap({part:?})"),
            Self::Protect(part, prot) => write!(f, "protect({part:?}, {prot:?})"),
            Self::Remap(part, pages, to) => write!(f, "remap({part:?}, {pages}, {to:?})"),
            Self::Advise(part, advice) => write!(f, "advise({part:?}, Advice::{advice:?})"),
            Self::Load(at) => write!(f, "load({at:?})"),
            Self::Store(at, value) => write!(f, "store({at:?}, {value:#x})"),
            Self::Fault(at, access) => write!(f, "fault({at:?}, {access:?})"),
            Self::Gup(at, access) => write!(f, "gup({at:?}, {access:?})"),
            Self::GupFast(at, access) => write!(f, "gup_fast({at:?}, {access:?})"),
            Self::Pin(at, access) => write!(f, "pin({at:?}, {access:?})"),
            Self::PinFast(at, access) => write!(f, "pin_fast({at:?}, {access:?})"),
            Self::PinLong(at, access) => write!(f, "pin_longterm({at:?}, {access:?})"),
            Self::WritePinned(which, value) => write!(f, "held({which}).write({value:#x})"),
            Self::Put(which) => write!(f, "held({which}).put()"),
            Self::SplitBlock(at) => write!(f, "split_block({at:?})"),
            Self::Collapse(at) => write!(f, "collapse({at:?})"),
            Self::Crumble(at) => write!(f, "split_block({at:?}); collapse({at:?})"),
            Self::SplitFolio(at, order) => write!(f, "split_folio_at({at:?}, Order({}))", order.0),
            Self::Migrate(pages) => write!(f, "move_pages({pages:?})"),
            Self::Compact(blocks) => write!(f, "compact({blocks})"),
            Self::Frozen(at, meanwhile) => {
                write!(f, "freeze_folio_at({at:?}).during({meanwhile:?})")
            }
            Self::Fork(into) => write!(f, "fork() /* to {} */", name(*into)),
            Self::Renew => write!(f, "renew()"),
            Self::Set(setting) => write!(f, "set({setting:?})"),
            Self::ReclaimLazy(pages) => write!(f, "reclaim_lazy({pages})"),
            Self::ReclaimDeferred(pages) => write!(f, "reclaim_deferred({pages})"),
            Self::RollOver => write!(f, "roll_over()"),
            Self::Hoard(left) => write!(f, "hoard_all_but({left})"),
            Self::Release => write!(f, "release_hoard()"),
        }
    }
}

fn name(space: usize) -> char {
    (b'a' + space as u8) as char
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:?};", name(self.space), self.what)
    }
}
