//! Break-before-make: what a new descriptor must not be beside in any TLB is gone from all of them.
//!
//! The slot's old word is one such thing, and so is everything stale over the same addresses: what was
//! there before that, in this slot, or in a table that was here or is no more.
//!
//! Source: Arm ARM, "Using break-before-make when updating translation table entries".

use crate::State;
use crate::memory::Memory;
use crate::rules::Stored;
use crate::stale::Stale;
use abi::{Asid, Level, VirtAddr};
use oracle::tlb::{Cached, Reach};
use pte::bits::VALID;
use pte::{Caps, Change, Entry};

/// Whether a change needs the old descriptor to be invalid and flushed first.
pub(crate) fn needs_break(change: Change) -> bool {
    matches!(change, Change::BreakBeforeMake(_))
}

impl State {
    /// What must not be beside the new word is broken and flushed.
    pub(crate) fn judge_break(&mut self, change: &Stored) -> Option<String> {
        let place = change.place?;
        if change.new & VALID == 0 {
            return None;
        }
        let direct = pte::change(change.level, change.old, change.new, &self.config.caps);
        if let Change::BreakBeforeMake(reason) = direct
            && self.may_be_cached(place, change.level, change.old)
        {
            return Some(format!("break-before-make: the old one was valid ({reason:?})"));
        }
        if self.stale.is_empty() {
            return None;
        }
        let (memory, caps) = (&self.memory, &self.config.caps);
        let here = Cached {
            space: place.space,
            asid: Asid(0),
            va: place.va,
            level: change.level,
            word: change.new,
            reach: Reach::One,
        };
        let clashes = |stale: &Stale| {
            // What only a CPU's next instructions may go by is beside nothing in a TLB.
            if stale.is_flushed() {
                return false;
            }
            let stale = stale.cached();
            stale.space == place.space && stale.range().overlaps(&here.range()) && {
                let va = stale.va.max(place.va);
                let (level, word) = descend(memory, change.level, change.new, va, stale.level);
                clash(&stale, va, level, word, caps)
            }
        };
        // Nearly always nothing is stale here.
        if !self.stale.over(&here).any(clashes) {
            return None;
        }
        let cpus = &self.cpus;
        let running = |cpu: usize| cpus[cpu].asid();
        let why = format!("slot {} got a new translation", change.slot);
        let usable = self.stale.must_not_be_used(running, &why, clashes)?;
        let (cpu, cached) = (usable.cpu, usable.cached());
        Some(format!("break-before-make: the break is not complete: cpu {cpu} may have {cached}"))
    }
}

/// What translates `va` if `word` is its entry of `level`: down to `last`, or to where it ends.
fn descend(
    memory: &Memory,
    mut level: Level,
    mut word: u64,
    va: VirtAddr,
    last: Level,
) -> (Level, u64) {
    while level < last
        && let (Entry::Table(next), Some(down)) = (pte::decode(level, word), level.down())
    {
        level = down;
        let slot = next.pfn().base() + 8 * level.index(va) as u64;
        word = memory.read(slot).unwrap_or(0);
    }
    (level, word)
}

/// Whether a TLB must not have `stale` beside what `word`, the entry of `level` for `va`, gives it.
fn clash(stale: &Cached, va: VirtAddr, level: Level, word: u64, caps: &Caps) -> bool {
    let replaces =
        || level == stale.level && needs_break(pte::change(level, stale.word, word, caps));
    match pte::decode(level, word) {
        Entry::Table(_) => replaces(),
        Entry::Leaf(_) if stale.reach == Reach::Walk => replaces(),
        Entry::Leaf(_) => Cached::of(stale.space, stale.asid, va, level, word, true)
            .is_some_and(|new| stale.clashes(&new, caps)),
        _ => false,
    }
}
