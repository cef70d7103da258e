//! Where a table is reached and by whom, remembered in its shadow while nothing of that changes.

use crate::Oracle;
use crate::shadow::SlotId;
use crate::tables::Place;
use abi::{Asid, Level, VirtAddr};

/// What is known of a table as a whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// No link, no space that runs, and nothing left under an ASID has changed since. 0: nothing is known.
    pub(crate) epoch: u64,
    /// What its first entry translates.
    pub(crate) base: VirtAddr,
    /// CPUs that may have something of the space, one bit each.
    pub(crate) holders: u64,
    /// The root that leads there. Without one no walker comes, not even one that is late.
    pub(crate) root: Option<u32>,
    /// Some CPU runs the space.
    pub(crate) is_running: bool,
}

impl Reach {
    pub(crate) const UNKNOWN: Self =
        Self { epoch: 0, base: VirtAddr(0), holders: 0, root: None, is_running: false };
}

impl Oracle {
    /// Something changed of what shadows remember of reaches.
    #[inline]
    pub(crate) fn new_epoch(&mut self) {
        self.epoch += 1;
    }

    /// What is known of a table of pages of a space; found out anew if that does not hold any more.
    #[inline]
    pub(crate) fn reach(&mut self, table: usize) -> Option<Reach> {
        let reach = self.tables[table].reach;
        if reach.epoch == self.epoch { Some(reach) } else { self.find_reach(table) }
    }

    fn find_reach(&mut self, table: usize) -> Option<Reach> {
        let shadow = &self.tables[table];
        if shadow.level != Level::Pte || shadow.is_kernels {
            return None;
        }
        let epoch = self.epoch;
        let place = self.place(SlotId::new(shadow.frame as usize, 0))?;
        let reach = match place {
            Place::Root { va, root } => Reach {
                epoch,
                base: va,
                holders: self.holders_at(place),
                root: Some(root as u32),
                is_running: self.cpus.running_space(self.tables[root].space) != 0,
            },
            Place::Loose { top, .. } if self.is_walked(top) => return None,
            Place::Loose { .. } => Reach { epoch, ..Reach::UNKNOWN },
        };
        self.tables[table].reach = reach;
        Some(reach)
    }

    /// Whether a walker that is late may be below a table that was taken out. If not, that is paid.
    fn is_walked(&mut self, top: usize) -> bool {
        let Some(id) = self.walk_debt(top) else { return false };
        let is_paid = self.book.get_mut(id).is_none_or(|debt| debt.is_settled(&self.cpus));
        if is_paid {
            self.book.remove(id);
        }
        !is_paid
    }

    /// Whether it is known that nobody can come to a table of pages any more: what it names is as good as not named.
    #[inline]
    pub(crate) fn is_left(&mut self, table: usize) -> bool {
        self.reach(table).is_some_and(|reach| reach.root.is_none())
    }

    /// The space of a root and the ASID that it ran under last.
    #[inline]
    pub(crate) fn space_of(&self, root: u32) -> (u32, Asid) {
        let root = &self.tables[root as usize];
        (root.space, root.asid.unwrap_or(Asid(0)))
    }
}
