//! What the oracle says: the first broken rule, both steps that led to it with their call sites, what was
//! missing between them, and what this platform could not have shown.

use crate::platform::Platform;
use crate::rule::Rule;
use crate::site::Site;
use abi::{Asid, Level, PhysAddr, VirtAddr};
use core::fmt;

/// What would have paid a debt, and was missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// No TLBI at all.
    Nothing,
    /// There was one on this CPU, of its own scope.
    Local(u8),
    /// There was one, while a CPU that may have it was away; and that has dropped nothing since.
    Away,
    /// There was one, for another ASID.
    OtherAsid(Asid),
    /// There was one that leaves walk caches alone.
    LastLevel,
    /// There was one whose hint promises leaves of another level.
    Hint(Level),
    /// There was one, issued before walkers could see the store.
    NotPublished,
    /// There was one that this CPU has not waited for.
    NotComplete(u8),
    /// There was one that this CPU has waited for once, and it is one that has to do so twice.
    NotRepeated(u8),
    /// This CPU has waited for its own one, and not synchronised its context since.
    NotSynchronized(u8),
    /// There were some, for a part.
    Part,
    /// This device was not told.
    NotTold(u8),
    /// It was, and nobody has waited for its sync.
    NotSynced(u8),
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no TLBI for it since"),
            Self::Local(cpu) => write!(f, "the TLBI was local to cpu {cpu}"),
            Self::Away => f.write_str("the CPU was away at the TLBI, and came back with its TLB"),
            Self::OtherAsid(asid) => write!(f, "the TLBI was for asid {asid}"),
            Self::LastLevel => f.write_str("the TLBI left walk caches alone (last level only)"),
            Self::Hint(level) => {
                write!(f, "the TLBI's hint was for {level} leaves, so it may do nothing")
            }
            Self::NotPublished => {
                f.write_str("the TLBI came before a DSB that publishes the store")
            }
            Self::NotComplete(cpu) => write!(f, "no DSB on cpu {cpu} since its TLBI"),
            Self::NotRepeated(cpu) => {
                write!(f, "no second TLBI and DSB on cpu {cpu}: its first DSB may end early")
            }
            Self::NotSynchronized(cpu) => write!(f, "no ISB on cpu {cpu} since its DSB"),
            Self::Part => f.write_str("the TLBIs covered a part of it"),
            Self::NotTold(device) => write!(f, "no command to device {device}"),
            Self::NotSynced(device) => {
                write!(f, "no sync of device {device} since its command")
            }
        }
    }
}

/// A step: which CPU took it, where in the program.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// The CPU.
    pub cpu: u8,
    /// The place.
    pub site: Site,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu {} at {}", self.cpu, self.site)
    }
}

/// An entry that a report is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Where its descriptor is.
    pub slot: PhysAddr,
    /// The level of its table.
    pub level: Level,
    /// The first address that it translates, where a root leads to it.
    pub va: Option<VirtAddr>,
    /// The ASID of its space, if that ever ran.
    pub asid: Option<Asid>,
    /// What was there before the change.
    pub old: u64,
    /// What is there now.
    pub new: u64,
}

/// The first broken rule.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Which.
    pub rule: Rule,
    /// The entry.
    pub subject: Option<Subject>,
    /// Who changed it.
    pub changed: Option<Step>,
    /// Who then did what he must not.
    pub wrong: Step,
    /// To which frame, where the step was about one.
    pub frame: Option<PhysAddr>,
    /// What was missing between the two.
    pub missing: Option<Miss>,
    /// CPUs that may still have it, one bit each.
    pub cpus: u64,
    /// Devices that may, one bit each.
    pub devices: u64,
    /// Who could have shown it.
    pub platform: Platform,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sanitizer: {}: {}", self.rule.name(), self.rule)?;
        if let Some(Subject { slot, level, va, asid, old, new }) = self.subject {
            write!(f, "\n  entry    {level} slot {slot}")?;
            if let Some(va) = va {
                write!(f, " for {va}")?;
            }
            if let Some(asid) = asid {
                write!(f, " of asid {asid}")?;
            }
            write!(f, "\n  was      {old:#018x} {}", pte::decode(level, old))?;
            write!(f, "\n  is       {new:#018x} {}", pte::decode(level, new))?;
        }
        if let Some(changed) = self.changed {
            write!(f, "\n  changed  by {changed}")?;
        }
        write!(f, "\n  broken   by {}", self.wrong)?;
        if let Some(frame) = self.frame {
            write!(f, ": frame {frame}")?;
        }
        if let Some(missing) = self.missing {
            write!(f, "\n  missing  {missing}")?;
        }
        for (name, set) in [("cpu", self.cpus), ("device", self.devices)] {
            if set != 0 {
                write!(f, "\n  may be in the TLB of {name}")?;
                for n in (0..64).filter(|n| set >> n & 1 != 0) {
                    write!(f, " {n}")?;
                }
            }
        }
        write!(f, "\n  {}", self.platform.could_show(self.rule, self.missing))
    }
}
