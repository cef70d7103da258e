//! Which words may follow which in a slot, whatever TLBs hold.

use crate::shadow::Kind;
use crate::stores::{Change, How};
use crate::tables::Place;
use crate::{Oracle, Rule};
use abi::Level;
use pte::bits::{AF, RDONLY, VALID, WRITE};
use pte::{Entry, Soft};

impl Oracle {
    /// The bits of a leaf that hardware may set or clear by itself.
    pub(crate) fn history(&self) -> u64 {
        let af = if self.caps.hw_af { AF } else { 0 };
        let dirty = if self.caps.hw_dirty { RDONLY } else { 0 };
        af | dirty
    }

    /// The new word is one that a right step makes of the old one, and leads to something.
    pub(crate) fn judge_word(&self, change: &Change) -> Option<Rule> {
        if let Err(illegal) = pte::transition(change.level, change.old, change.new) {
            // A live entry that is replaced is told of in the terms of break-before-make.
            let live = change.old & VALID != 0 && change.new & VALID != 0;
            if !live {
                return Some(Rule::Transition(illegal));
            }
        }
        match pte::decode(change.level, change.new) {
            Entry::Table(_) => self.judge_link(change),
            Entry::Leaf(leaf) if leaf.is_user() && leaf.is_global() => Some(Rule::GlobalUser),
            Entry::Leaf(leaf) | Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf) => {
                if leaf.is_special() || self.is_kernels(change) {
                    return None;
                }
                let pages = change.level.span() / abi::PAGE_SIZE;
                [leaf.pfn(), leaf.pfn() + (pages - 1)].into_iter().find_map(|pfn| {
                    let kind = self.frames[self.frame_of(pfn)?].kind;
                    matches!(kind, Kind::Free | Kind::Table).then_some(Rule::MapsNobodys)
                })
            }
            _ => None,
        }
    }

    /// What is linked is a table of the next level, here only, and walkers see all of it.
    fn judge_link(&self, change: &Change) -> Option<Rule> {
        let Entry::Table(next) = pte::decode(change.level, change.new) else { return None };
        let frame = self.frame_of(next.pfn())?;
        if matches!(self.frames[frame].kind, Kind::Data | Kind::Free) {
            return Some(Rule::LinkNoTable);
        }
        let child = &self.tables[self.table_at(frame)?];
        let elsewhere = child.parent != crate::shadow::SlotId::NONE && child.parent != change.slot;
        if Some(child.level) != change.level.down() || elsewhere {
            return Some(Rule::LinkNoTable);
        }
        // A space that nobody runs is entered later: then all of it must be visible.
        let Place::Root { root, .. } = change.place else { return None };
        if self.cpus.running_space(self.tables[root].space) == 0 {
            return None;
        }
        let unseen = self.is_unseen(change.level, change.new, change.cpu);
        unseen.then_some(Rule::LinkUnpublished)
    }

    /// Whether walkers may miss something of the table that a descriptor leads to, which `cpu` links.
    pub(crate) fn is_unseen(&self, level: Level, word: u64, cpu: u8) -> bool {
        let Some(child) = self.child(level, word) else { return false };
        let (at, filler) = self.tables[child].filled;
        !self.cpus.is_published(filler, at) && !self.cpus.is_published(cpu, at)
    }

    /// The table's lock is held, where hardware can reach the slot or the step needs it anyhow.
    pub(crate) fn judge_lock(&self, change: &Change) -> Option<Rule> {
        let Place::Root { root, .. } = change.place else { return None };
        let is_table = |word| matches!(pte::decode(change.level, word), Entry::Table(_));
        if self.is_quarantined(change) && !is_table(change.old) && !is_table(change.new) {
            // Whose addresses they are is the only one to store there.
            return None;
        }
        let running = self.cpus.running_space(self.tables[root].space) != 0;
        let held = self.cpus.get(change.cpu).held;
        let held = match self.is_kernels(change) {
            // One lock for all of its tables.
            true => held[0] | held[1] != 0,
            false => held[usize::from(change.level == Level::Pte)] != 0,
        };
        let needed =
            running || matches!(pte::decode(change.level, change.new), Entry::PresentInvalid(_));
        (needed && !held).then_some(Rule::NoLock)
    }

    /// What hardware may be writing to is not changed by a plain store, and what it wrote since software
    /// last did is not lost to one.
    pub(crate) fn judge_history(&self, change: &Change) -> Option<Rule> {
        if change.how != How::Store || self.history() == 0 || self.holders(change) == 0 {
            return None;
        }
        let Entry::Leaf(old) = pte::decode(change.level, change.old) else { return None };
        let pfn = match pte::decode(change.level, change.new) {
            Entry::Leaf(new) | Entry::PresentInvalid(new) | Entry::ProtNone(new) => new.pfn(),
            Entry::Soft(Soft::Migration { pfn, .. }) => pfn,
            _ => return None,
        };
        let sets_af = self.caps.hw_af && change.old & AF == 0;
        let sets_dirty = self.caps.hw_dirty && change.old & (WRITE | RDONLY) == WRITE | RDONLY;
        let left = self.tables[change.table].slots[change.slot.index()].word();
        let was_set = change.old & !left & AF != 0 && change.new & (AF | VALID) == VALID;
        ((sets_af || sets_dirty || was_set) && pfn == old.pfn()).then_some(Rule::PlainStore)
    }
}
