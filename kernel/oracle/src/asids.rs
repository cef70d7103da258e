//! What CPUs may have under each ASID, whatever it is: translations of the space that runs under it, and
//! of others that did before.
//!
//! A number may be taken up by a space on a CPU only if that CPU has dropped what other spaces left there
//! under it, which nothing but an operation on the whole ASID, or on everything, does.

use crate::shadow::Shadow;
use abi::Asid;

/// What is known of one ASID.
#[derive(Clone, Copy, Debug)]
pub struct AsidShadow {
    /// The space that ran under it last.
    space: u32,
    /// CPUs that may have something of that space, one bit each.
    cpus: u64,
    /// CPUs that may have something of others.
    foreign: u64,
    /// When a CPU last stopped running it.
    left: u64,
}

impl AsidShadow {
    /// Nobody ever ran it.
    pub const BLANK: Self = Self { space: 0, cpus: 0, foreign: 0, left: 0 };
}

/// The ASIDs of a machine.
pub(crate) struct Asids {
    all: Shadow<AsidShadow>,
    /// None from here on was ever used.
    top: usize,
}

impl Asids {
    pub(crate) const fn new(all: Shadow<AsidShadow>) -> Self {
        Self { all, top: 0 }
    }

    /// CPUs that may have something of `space` under `asid`.
    pub(crate) fn holders(&self, space: u32, asid: Asid) -> u64 {
        self.all.get(usize::from(asid.0)).filter(|a| a.space == space).map_or(0, |a| a.cpus)
    }

    /// `space` has another number from now on: what is left under this one is foreign to everybody.
    pub(crate) fn abandon(&mut self, space: u32, asid: Asid) {
        if let Some(asid) = self.all.get_mut(usize::from(asid.0)).filter(|a| a.space == space) {
            asid.foreign |= asid.cpus;
            asid.cpus = 0;
        }
    }

    /// `cpu` takes up `asid` for `space`. Whether it may have something of others there.
    pub(crate) fn enter(&mut self, space: u32, asid: Asid, cpu: u8) -> bool {
        self.top = self.top.max(usize::from(asid.0) + 1);
        let Some(asid) = self.all.get_mut(usize::from(asid.0)) else { return false };
        if asid.space != space {
            asid.foreign |= asid.cpus;
            (asid.space, asid.cpus) = (space, 0);
        }
        asid.cpus |= 1 << cpu;
        asid.foreign >> cpu & 1 != 0
    }

    /// Some CPU stopped running `asid`.
    pub(crate) fn leave(&mut self, asid: Asid, now: u64) {
        if let Some(asid) = self.all.get_mut(usize::from(asid.0)) {
            asid.left = now;
        }
    }

    /// The CPUs in `done` have dropped everything under `asid`, or under all, by an operation issued at
    /// `at`. Those that `running` has may have it again.
    pub(crate) fn flushed(
        &mut self,
        asid: Option<Asid>,
        done: u64,
        at: u64,
        running: impl Fn(Asid) -> u64,
    ) {
        let which = match asid {
            Some(asid) => usize::from(asid.0)..(usize::from(asid.0) + 1).min(self.all.len()),
            None => 0..self.top.min(self.all.len()),
        };
        let first = which.start;
        let Some(range) = self.all.get_mut(which) else { return };
        for (n, shadow) in range.iter_mut().enumerate() {
            if shadow.cpus | shadow.foreign != 0 {
                let back = running(Asid((first + n) as u16));
                if shadow.left < at {
                    shadow.cpus &= !done | back;
                }
                shadow.foreign &= !done;
            }
        }
    }
}
