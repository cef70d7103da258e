//! The rules for changing a descriptor. Each change is judged when it is made, by what the slot held and
//! by what the machine knows of TLBs and locks.
//!
//! * The new word is one that decodes, and what it leads to is there: a table of the next level that is
//!   linked nowhere else and whose contents can be seen, or memory that somebody owns.
//! * Nothing but a present mapping becomes present-invalid, and only under the table's lock.
//! * A valid descriptor that may be cached is replaced by one that must not be beside it in TLBs (pte's
//!   `change` says which) only after it was made invalid and flushed.
//! * What the walkers of a running space can reach is changed under its table's lock only.
//! * What hardware wrote and nobody has read is not lost to a plain store.
//!
//! A space that no CPU has run yet, such as a fork's child, is its maker's: there, only the first two
//! rules hold.
//!
//! Source: Arm ARM, "Using break-before-make when updating translation table entries"; Linux's
//! `pmdp_invalidate`, `ptep_set_access_flags`, `__pte_alloc`.

use crate::State;
use crate::breaks::needs_break;
use crate::memory::Use;
use crate::stale::Stale;
use crate::tables::{Place, Unseen};
use abi::{ENTRIES, Level, PAGE_SIZE, Pfn, PhysAddr};
use oracle::tlb::SpaceId;
use pte::bits::VALID;
use pte::{Change, Entry, Soft};
use sync::Class;

/// How software changes a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// A plain store: nobody knows what was there.
    Store,
    /// A swap or a compare-exchange.
    Exchange,
    /// One of many plain stores to a table that nobody can reach.
    Fill,
}

/// A change of a descriptor.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) cpu: usize,
    pub(crate) slot: PhysAddr,
    pub(crate) level: Level,
    pub(crate) old: u64,
    pub(crate) new: u64,
    pub(crate) how: How,
    /// Where the slot is reached; `None`: no root leads to it.
    pub(crate) place: Option<Place>,
}

impl Stored {
    pub(crate) fn was(&self) -> Entry {
        pte::decode(self.level, self.old)
    }

    pub(crate) fn is(&self) -> Entry {
        pte::decode(self.level, self.new)
    }
}

/// Whether a lock of `class` is one of a table with entries of `level`.
pub(crate) fn guards(class: Class, level: Level) -> bool {
    let of_pages = matches!(class, Class::PteTable | Class::PteTable2);
    let of_tables = matches!(class, Class::PmdTable | Class::PmdTable2);
    if level == Level::Pte { of_pages } else { of_tables }
}

impl State {
    /// The first rule that the change breaks, in words.
    pub(crate) fn judge(&mut self, change: &Stored) -> Option<String> {
        self.judge_word(change)
            .or_else(|| judge_invalid(change))
            .or_else(|| self.judge_lock(change))
            .or_else(|| self.judge_history(change))
            .or_else(|| self.judge_break(change))
    }

    /// The new word is legal and leads to something.
    fn judge_word(&self, change: &Stored) -> Option<String> {
        match change.is() {
            Entry::Corrupt(_) => Some("no correct step makes this word".into()),
            Entry::Table(table) => self.judge_link(change, table.pfn()),
            Entry::Leaf(leaf) if leaf.is_user() && leaf.is_global() => {
                Some("a user's mapping that holds in every space".into())
            }
            // The kernel maps devices, tables and what is nobody's.
            Entry::Leaf(leaf) if leaf.is_global() => None,
            Entry::Leaf(leaf) | Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf)
                if !leaf.is_special() =>
            {
                self.judge_frames(leaf.pfn(), change.level.span() / PAGE_SIZE)
            }
            Entry::Soft(Soft::Migration { pfn, .. }) => self.judge_frames(pfn, 1),
            _ => None,
        }
    }

    fn judge_frames(&self, first: Pfn, pages: u64) -> Option<String> {
        let mut frames = (0..pages).map(|n| (first + n, self.memory.use_of(first + n)));
        let (pfn, found) = frames.find(|(_, found)| *found != Some(Use::Data))?;
        Some(format!("names frame {pfn}, which is nobody's memory: {found:?}"))
    }

    /// What is linked is a table, here only, and walkers see all of it.
    fn judge_link(&self, change: &Stored, table: Pfn) -> Option<String> {
        let below = change.level.down()?;
        let found = self.memory.use_of(table);
        if found != Some(Use::Table(below)) {
            return Some(format!("links what is no {below} table: {found:?}"));
        }
        if let Some(other) = self.tables.parent(&self.memory, table)
            && other != change.slot
        {
            return Some(format!("links a table that slot {other} links"));
        }
        let running = change.place.is_some_and(|place| self.stays.is_running(place.space));
        let slots = (0..ENTRIES as u64).map(|n| table.base() + 8 * n);
        let cpus = 0..self.cpus.len();
        // Of a table that has served other addresses, a walker may miss what was added to a mapping.
        let same_memory = |old: u64, new: u64| {
            let leaf = |word| pte::decode(below, word).leaf();
            let widened = leaf(old).zip(leaf(new)).is_some_and(|(old, new)| old.pfn() == new.pfn());
            widened && !needs_break(pte::change(below, old, new, &self.config.caps))
        };
        let missed = slots.clone().find(|slot| {
            let new = self.memory.read(*slot).unwrap_or(0);
            let mut olds = cpus.clone().flat_map(|cpu| self.hidden.olds(cpu, *slot));
            olds.any(|old| old & VALID != 0 && !same_memory(old, new))
        });
        if let Some(slot) = missed.filter(|_| running) {
            return Some(format!("links a table whose slot {slot} walkers may not see as it is"));
        }
        if let Some(why) = change.place.and_then(|place| self.judge_copies(table, place.space)) {
            return Some(why);
        }
        slots.step_by(16).find_map(|slot| self.judge_run(below, slot))
    }

    /// No walker takes an old copy of one of its slots for what is there: one that it made on another
    /// way, and that nobody has flushed. Who runs the space now can walk there; who comes to it later drops
    /// first what is left from before a roll-over, or from before he was away.
    fn judge_copies(&self, table: Pfn, space: SpaceId) -> Option<String> {
        if self.config.caps.ntlbpa || self.stale.is_empty() {
            return None;
        }
        let root = self.tables.root(space);
        let runs = |cpu: usize| self.cpus[cpu].user.is_some_and(|(user, _)| user == root);
        let differs = |stale: &&Stale| {
            let now = self.memory.read(stale.slot).unwrap_or(0);
            let (level, old) = (stale.cached().level, stale.cached().word);
            let kept = old == now
                || matches!(
                    pte::change(level, old, now, &self.config.caps),
                    Change::Free | Change::InPlace
                );
            stale.slot.pfn() == table && !kept && runs(stale.cpu)
        };
        let stale = self.stale.iter().find(differs)?;
        let (cpu, slot, cached) = (stale.cpu, stale.slot, stale.cached());
        Some(format!(
            "links a table of which cpu {cpu} may still have slot {slot} as it was: {cached}"
        ))
    }

    /// Sixteen entries, of which `slot` is the first, have the contiguous mark all or none, and then
    /// agree in all but their history.
    pub(crate) fn judge_run(&self, level: Level, slot: PhysAddr) -> Option<String> {
        use pte::bits::{ADDRESS, AF, DIRTY, RDONLY, WRITE};
        let words = || (0..16).map(|n| self.memory.read(slot + 8 * n).unwrap_or(0));
        let marked = |word: u64| matches!(pte::decode(level, word), Entry::Leaf(leaf) if leaf.is_contiguous());
        let one = words().find(|word| marked(*word))?;
        let shape = |word: u64| {
            let dirty = if word & WRITE != 0 { RDONLY | DIRTY } else { DIRTY };
            word & !(ADDRESS | AF | dirty)
        };
        let first = words().next()? & ADDRESS;
        let mixed = words().zip(0..).find(|&(word, n)| {
            let address = first + n * level.span();
            !marked(word) || shape(word) != shape(one) || word & ADDRESS != address
        });
        if let Some((word, n)) = mixed {
            let (one, word) = (pte::decode(level, one), pte::decode(level, word));
            return Some(format!(
                "the run at slot {slot} is mixed: {one}, but entry {n} is {word}"
            ));
        }
        let aligned = first & (16 * level.span() - 1) == 0;
        (!aligned).then(|| format!("the run at slot {slot} is not aligned: {first:#x}"))
    }

    /// The table's lock is held, where hardware can reach the slot or the step needs it anyhow.
    fn judge_lock(&self, change: &Stored) -> Option<String> {
        let place = change.place.filter(|place| Some(place.space) != self.tables.kernel())?;
        let running = self.stays.is_running(place.space);
        if change.how == How::Fill {
            return running.then(|| "a table is filled that walkers can reach".into());
        }
        let held = self.cpus[change.cpu].locks.iter().any(|&class| guards(class, change.level));
        let needed = running || matches!(change.is(), Entry::PresentInvalid(_));
        (needed && !held).then(|| "the table's lock is not held".into())
    }

    /// What hardware noted of the same memory is not lost.
    fn judge_history(&self, change: &Stored) -> Option<String> {
        let unseen = self.tables.unseen(change.slot);
        if change.how == How::Exchange || unseen == Unseen::default() {
            return None;
        }
        let Entry::Leaf(old) = change.was() else { return None };
        let (pfn, young, dirty) = match change.is() {
            Entry::Leaf(new) | Entry::PresentInvalid(new) | Entry::ProtNone(new) => {
                (new.pfn(), new.is_young(), new.is_dirty())
            }
            Entry::Soft(Soft::Migration { pfn, young, dirty, .. }) => (pfn, young, dirty),
            _ => return None,
        };
        let lost = (unseen.young && !young) || (unseen.dirty && !dirty);
        (lost && pfn == old.pfn()).then(|| "a plain store loses what hardware wrote".into())
    }
}

/// Only what is present becomes present-invalid, and stays what it is.
fn judge_invalid(change: &Stored) -> Option<String> {
    let Entry::PresentInvalid(new) = change.is() else { return None };
    match change.was().leaf() {
        Some(old) if old.pfn() == new.pfn() => None,
        _ => Some("what is not present becomes present-invalid".into()),
    }
}
