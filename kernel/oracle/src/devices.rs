//! Secondary TLBs: devices that translate by the tables of a space, as CPUs do.
//!
//! A device walks the tables by itself, and keeps what it found under a number of its own choice. A CPU's TLBI
//! does not reach it, unless it listens. It is told by commands, and has lost what they name once a sync
//! behind them is done. So whatever was taken away is owed by it too: the frame, the table and the end of an
//! operation wait for both.
//!
//! In masks of CPUs a device is a bit from the top. Corresponds to Linux's
//! `arch_invalidate_secondary_tlbs` of an SMMU, and to its commands `CMD_TLBI_NH_*` and `CMD_SYNC`.

use crate::book::Half;
use crate::debt::Debt;
use crate::issue::{Issue, Source};
use crate::{By, Oracle, Rule};
use abi::{Asid, Level, Pfn};
use pte::{Scope, Target, Tlbi};

/// Devices that can be told apart.
pub const MAX_DEVICES: u8 = 4;
/// Spaces that a device may have kept something of since it left them; more are forgotten.
const KEPT: usize = 8;

/// A device that translates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    /// The space it runs, and under which number.
    pub(crate) user: Option<(u32, Asid)>,
    /// What it may have something left of.
    kept: [Option<(u32, Asid)>; KEPT],
    /// A whole number, or everything, that it was told to forget and has not yet.
    told: Option<Option<Asid>>,
    /// Its last sync.
    pub(crate) synced: u64,
}

impl Device {
    pub(crate) const NONE: Self = Self { user: None, kept: [None; KEPT], told: None, synced: 0 };

    /// Whether it may have something of `space`.
    pub(crate) fn holds(&self, space: u32) -> bool {
        self.runs(space) || self.kept.iter().flatten().any(|kept| kept.0 == space)
    }

    /// Whether it translates by the tables of `space` now.
    pub(crate) fn runs(&self, space: u32) -> bool {
        self.user.is_some_and(|(now, _)| now == space)
    }

    fn keep(&mut self, left: (u32, Asid)) {
        if !self.kept.contains(&Some(left)) {
            self.kept.rotate_right(1);
            self.kept[0] = Some(left);
        }
    }

    fn forget(&mut self, asid: Option<Asid>) {
        let goes = |kept: &(u32, Asid)| asid.is_none_or(|asid| asid == kept.1);
        for kept in &mut self.kept {
            *kept = kept.filter(|kept| !goes(kept));
        }
    }
}

/// The bit of a device in a mask of CPUs.
pub(crate) const fn bit(device: u8) -> u64 {
    1 << 63 >> device
}

impl Oracle {
    /// A device is about to translate by the tables at `root`, under `asid` of its own numbers. If it `listens`,
    pub fn attach(&mut self, by: By, device: u8, root: Pfn, asid: Asid, listens: bool) {
        self.detach(device);
        if self.report.is_some() {
            return;
        }
        self.tick();
        let table = self.frame_of(root).and_then(|frame| self.table_at(frame));
        let Some(table) = table.filter(|&table| self.tables[table].level == Level::Pgd) else {
            return self.broken(Rule::RootNoTable, by, None, None);
        };
        let crate::TableShadow { space, filled: (at, filler), .. } = &self.tables[table];
        let (space, at, filler) = (*space, *at, *filler);
        let slot = Some(crate::shadow::SlotId::new(self.tables[table].frame as usize, 0));
        if !self.cpus.is_published(filler, at) && !self.cpus.is_published(by.cpu, at) {
            return self.broken(Rule::LinkUnpublished, by, None, slot);
        }
        let Some(state) = self.cpus.attach(device, listens) else { return };
        if state.kept.iter().flatten().any(|kept| kept.1 == asid && kept.0 != space) {
            return self.broken(Rule::AsidStale, by, None, None);
        }
        state.user = Some((space, asid));
        self.new_epoch();
        let sprung = |debt: &mut Debt| {
            debt.what.space == space && debt.is_trap && debt.what.left & bit(device) != 0
        };
        let trap = self.book.find(Half::User, &self.cpus, sprung);
        if let Some(debt) = trap.and_then(|id| self.book.get(id)).copied() {
            self.unpaid(&debt, bit(device), Rule::AsidTrap, by, None);
        }
    }

    /// A device translates no more. What it has kept it keeps.
    pub fn detach(&mut self, device: u8) {
        self.tick();
        if let Some(state) = self.cpus.device_mut(device)
            && let Some(left) = state.user.take()
        {
            state.keep(left);
            self.new_epoch();
        }
    }

    /// A CPU is about to tell a device to forget what `target` names, in the device's own numbers.
    pub fn command(&mut self, by: By, device: u8, target: Target) {
        if self.report.is_some() {
            return;
        }
        let at = self.tick();
        let op = Tlbi { target, scope: Scope::InnerShareable };
        if let Some(state) = self.cpus.device_mut(device) {
            match target {
                Target::All => state.told = Some(None),
                Target::Asid(asid) if state.told != Some(None) => {
                    state.told = Some(Some(asid));
                }
                _ => {}
            }
        }
        let issue = Issue::new(op, Source::Command { device, cpu: by.cpu }, at);
        self.issue(&issue);
    }

    /// A device is done with all that it was told before: somebody has waited for its sync.
    pub fn sync(&mut self, device: u8) {
        let now = self.tick();
        if let Some(state) = self.cpus.device_mut(device) {
            state.synced = now;
            if let Some(asid) = state.told.take() {
                state.forget(asid);
                self.new_epoch();
            }
        }
    }
}
