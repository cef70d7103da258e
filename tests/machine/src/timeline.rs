//! The last things that happened, for a report to find those that matter.

use abi::{Asid, Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtRange};
use oracle::tlb::Cached;
use pte::{Scope, Tlbi};
use std::fmt;

/// How many events are kept.
const KEPT: usize = 1024;
/// How many of them a report tells.
const TOLD: usize = 24;

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// Software changed a descriptor; the address is the first that it translates.
    Stored { slot: PhysAddr, range: Option<VirtRange>, level: Level, old: u64, new: u64 },
    /// Hardware added to a descriptor's history.
    Marked { slot: PhysAddr, level: Level, old: u64, new: u64 },
    /// A TLB took a descriptor in.
    Cached(Cached),
    /// A TLBI was issued.
    Issued(Tlbi),
    /// A barrier for stores.
    Published(Scope),
    /// A barrier for TLBIs.
    Completed(Scope),
    /// A context synchronisation.
    Synchronized,
    /// A CPU hears broadcasts, or none from now on.
    Hears(bool),
    /// A space was entered; `None`: left.
    Runs(Option<(Pfn, Asid)>),
    /// A block changed hands.
    Frame { pfn: Pfn, order: Order, owned: bool },
    /// A page became a table, or ceased to be one.
    Table { pfn: Pfn, level: Level, is_table: bool },
}

/// What a report is about. What has nothing to do with it is not told.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Concern {
    pub(crate) slot: Option<PhysAddr>,
    pub(crate) frames: Option<(Pfn, Order)>,
    pub(crate) range: Option<VirtRange>,
    pub(crate) asid: Option<Asid>,
    /// The translation that somebody has and should not.
    pub(crate) cached: Option<Cached>,
}

impl Concern {
    pub(crate) fn slot(slot: PhysAddr, range: Option<VirtRange>) -> Self {
        Self { slot: Some(slot), range, ..Self::default() }
    }

    pub(crate) fn frames(pfn: Pfn, order: Order) -> Self {
        Self { frames: Some((pfn, order)), ..Self::default() }
    }

    /// With the addresses that `cached` translates, and its ASID.
    pub(crate) fn and(self, cached: &Cached) -> Self {
        let (range, asid) = (Some(cached.range()), Some(cached.asid));
        Self { range, asid, cached: Some(*cached), ..self }
    }

    fn is_of_frames(&self, pfn: Pfn, pages: u64) -> bool {
        self.frames.is_some_and(|(first, order)| {
            pfn.0 < first.0 + order.pages() && first.0 < pfn.0 + pages
        })
    }

    fn is_of_range(&self, range: &VirtRange) -> bool {
        self.range.is_some_and(|mine| mine.overlaps(range))
    }

    fn is_of_word(&self, level: Level, word: u64) -> bool {
        let leaf = pte::decode(level, word).leaf();
        leaf.is_some_and(|leaf| self.is_of_frames(leaf.pfn(), level.span() / PAGE_SIZE))
    }

    fn is_of(&self, what: &What) -> bool {
        match what {
            What::Stored { slot, range, level, old, new } => {
                self.slot == Some(*slot)
                    || range.is_some_and(|range| self.is_of_range(&range))
                    || self.is_of_word(*level, *old)
                    || self.is_of_word(*level, *new)
            }
            What::Marked { slot, level, new, .. } => {
                self.slot == Some(*slot) || self.is_of_word(*level, *new)
            }
            What::Cached(cached) => {
                self.is_of_range(&cached.range()) || self.is_of_word(cached.level, cached.word)
            }
            What::Issued(op) => op.range().is_none_or(|range| self.is_of_range(&range)),
            What::Frame { pfn, order, .. } => self.is_of_frames(*pfn, order.pages()),
            What::Table { pfn, .. } => {
                self.slot.is_some_and(|slot| slot.pfn() == *pfn) || self.is_of_frames(*pfn, 1)
            }
            What::Hears(_) => true,
            What::Runs(Some((_, asid))) => self.asid == Some(*asid),
            // These are told for what came before them.
            What::Published(_) | What::Completed(_) | What::Synchronized | What::Runs(None) => {
                false
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) step: u64,
    pub(crate) cpu: usize,
    pub(crate) what: What,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = |level, word| pte::decode(level, word);
        match self.what {
            What::Stored { slot, range, level, old, new } => {
                write!(f, "{level} slot {slot}")?;
                if let Some(range) = range {
                    write!(f, " for {}", range.start)?;
                }
                write!(f, ": {} -> {}", entry(level, old), entry(level, new))
            }
            What::Marked { slot, level, old, new } => {
                let (old, new) = (entry(level, old), entry(level, new));
                write!(f, "hardware, {level} slot {slot}: {old} -> {new}")
            }
            What::Cached(cached) => write!(f, "caches {cached}"),
            What::Issued(op) => write!(f, "tlbi {op}"),
            What::Published(scope) => {
                write!(f, "makes its stores visible (DSB {}ST)", domain(scope))
            }
            What::Completed(scope) => write!(f, "waits for its TLBIs (DSB {})", domain(scope)),
            What::Hears(true) => f.write_str("hears TLBIs again"),
            What::Hears(false) => f.write_str("hears no TLBI of others"),
            What::Synchronized => f.write_str("synchronises its context (ISB)"),
            What::Runs(Some((root, asid))) => write!(f, "runs root {root} under asid {asid}"),
            What::Runs(None) => write!(f, "runs no user space"),
            What::Frame { pfn, order, owned } => {
                let how = if owned { "allocated" } else { "freed" };
                write!(f, "frame {pfn} (order {}) {how}", order.0)
            }
            What::Table { pfn, level, is_table } => {
                let how = if is_table { "is a" } else { "is no more a" };
                write!(f, "page {pfn} {how} {level} table")
            }
        }
    }
}

/// The operand of a barrier.
const fn domain(scope: Scope) -> &'static str {
    match scope {
        Scope::Local => "NSH",
        Scope::InnerShareable => "ISH",
    }
}

/// The last events.
pub(crate) struct Timeline {
    ring: Vec<Event>,
    next: usize,
}

impl Timeline {
    pub(crate) fn new() -> Self {
        Self { ring: Vec::with_capacity(KEPT), next: 0 }
    }

    pub(crate) fn add(&mut self, step: u64, cpu: usize, what: What) {
        let event = Event { step, cpu, what };
        if self.ring.len() < KEPT {
            self.ring.push(event);
        } else {
            self.ring[self.next] = event;
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// All that is kept, oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        older.iter().chain(newer)
    }

    /// The last events that have to do with `concern`, oldest first. Of the barriers, those that a told
    /// store or operation of their CPU came before.
    pub(crate) fn concerning(&self, concern: &Concern) -> Vec<&Event> {
        let (mut stored, mut issued) = (0u64, 0u64);
        let mut told: Vec<_> = self
            .iter()
            .filter(|event| {
                let cpu = 1 << event.cpu;
                let is_of = concern.is_of(&event.what);
                match event.what {
                    What::Stored { .. } if is_of => stored |= cpu,
                    What::Issued(_) if is_of => issued |= cpu,
                    What::Published(_) => return take(&mut stored, cpu),
                    What::Completed(_) => return take(&mut issued, cpu),
                    _ => {}
                }
                is_of
            })
            .collect();
        let first = told.len().saturating_sub(TOLD);
        told.drain(..first);
        told
    }
}

/// Clears a bit and says whether it was set.
fn take(bits: &mut u64, bit: u64) -> bool {
    let was = *bits & bit != 0;
    *bits &= !bit;
    was
}
