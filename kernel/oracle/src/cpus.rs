//! One CPU's barriers, and what it runs: by them it is known which stores walkers see and which TLBIs are
//! complete.
//!
//! A barrier costs one step whatever is outstanding: it is kept as a moment, and compared when somebody
//! asks. A store is seen by walkers once its CPU has executed a barrier for stores after it; or once any
//! CPU has, after the storing one released a lock, since what one observer has seen all have (other-multi-
//! copy atomicity). A TLBI is complete once its own CPU has executed a full barrier after it.

use crate::devices::{self, Device, MAX_DEVICES};
use crate::issue::Source;
use crate::kernel;
use crate::shadow::SlotId;
use abi::Asid;
use alloc::boxed::Box;
use pte::Scope;

/// Slots that a CPU has put into a state which its lock alone excuses; more are let pass.
const TOUCHED: usize = 24;

/// A space, and the number under which it was cached.
pub(crate) type Whose = (u32, Asid);

/// What is known of one CPU. Moments are the oracle's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuState {
    /// The space it runs, and under which ASID.
    pub(crate) user: Option<(u32, Asid)>,
    /// Its last barriers for stores: of any scope, of all CPUs.
    published: [u64; 2],
    /// Its last release of a table's lock.
    released: u64,
    /// Stores before this were released, and then some CPU executed a barrier.
    vouched: u64,
    /// TLBIs before these are complete: of any scope, of all CPUs. Its last full barriers, as a rule.
    completed: [u64; 2],
    /// When it came back: it has heard no broadcast of before.
    joined: u64,
    /// What was complete when it last synchronised its context: its next instructions go by that.
    synchronized: [u64; 2],
    /// With the repeat-TLBI erratum: its last full barriers, and those that a TLBI has come after.
    waited: [u64; 2],
    followed: [u64; 2],
    /// Its last store that made something reachable in the kernel's half.
    pub(crate) made: (u64, SlotId),
    /// Locks of tables held: of tables of tables, of tables of pages.
    pub(crate) held: [u8; 2],
    touched: [SlotId; TOUCHED],
    nr_touched: usize,
}

impl CpuState {
    pub(crate) const BLANK: Self = Self {
        user: None,
        published: [0; 2],
        released: 0,
        vouched: 0,
        completed: [0; 2],
        joined: 0,
        synchronized: [0; 2],
        waited: [0; 2],
        followed: [0; 2],
        made: (0, SlotId::NONE),
        held: [0; 2],
        touched: [SlotId::NONE; TOUCHED],
        nr_touched: 0,
    };

    /// Remembers a slot that must be in order when the lock is released: it `alone`, or the contiguous set
    /// around it, of which the first stands for all.
    pub(crate) fn touch(&mut self, slot: SlotId, alone: bool) {
        let touched = &self.touched[..self.nr_touched];
        let is_known = match alone {
            true => touched.last() == Some(&slot),
            false => touched.iter().rev().any(|other| other.run() == slot.run()),
        };
        if !self.is_full() && !is_known {
            self.touched[self.nr_touched] = slot;
            self.nr_touched += 1;
        }
    }

    /// Whether more are let pass.
    pub(crate) fn is_full(&self) -> bool {
        self.nr_touched == TOUCHED
    }

    /// Takes one of them back.
    pub(crate) fn untouch(&mut self) -> Option<SlotId> {
        self.nr_touched = self.nr_touched.checked_sub(1)?;
        Some(self.touched[self.nr_touched])
    }

    pub(crate) fn is_touched(&self) -> bool {
        self.nr_touched > 0
    }
}

/// The CPUs of a machine.
#[derive(Debug)]
pub(crate) struct Cpus {
    all: Box<[CpuState]>,
    /// A barrier may end before the TLBIs have; those that were waited for before another one are complete.
    repeats: bool,
    /// All of them, one bit each.
    everyone: u64,
    /// Those that hear no broadcast now, and those that ever did not, one bit each.
    away: u64,
    went: u64,
    /// And the devices that translate as they do.
    devices: [Device; MAX_DEVICES as usize],
    /// Those that ever did, and those of them that hear broadcasts, one bit each.
    attached: u64,
    listening: u64,
}

impl Cpus {
    pub(crate) fn new(nr: usize, repeats: bool) -> Self {
        assert!(nr <= 64, "a mask has a bit for each CPU");
        let devices = [Device::NONE; MAX_DEVICES as usize];
        Self {
            all: alloc::vec![CpuState::BLANK; nr].into_boxed_slice(),
            repeats,
            everyone: u64::MAX >> (64 - nr.max(1)),
            away: 0,
            went: 0,
            devices,
            attached: 0,
            listening: 0,
        }
    }

    pub(crate) fn get(&self, cpu: u8) -> &CpuState {
        &self.all[usize::from(cpu)]
    }

    pub(crate) fn get_mut(&mut self, cpu: u8) -> &mut CpuState {
        &mut self.all[usize::from(cpu)]
    }

    pub(crate) fn ids(&self) -> core::ops::Range<u8> {
        0..self.all.len() as u8
    }

    /// The CPUs that run something under `asid` now, one bit each.
    pub(crate) fn running(&self, asid: Asid) -> u64 {
        let here = |(_, cpu): &(usize, &CpuState)| cpu.user.is_some_and(|(_, now)| now == asid);
        self.all.iter().enumerate().filter(here).fold(0, |set, (n, _)| set | 1 << n)
    }

    /// The CPUs and devices that run `space` now, one bit each.
    pub(crate) fn running_space(&self, space: u32) -> u64 {
        if space == kernel::SPACE {
            return self.everyone;
        }
        let here = |(_, cpu): &(usize, &CpuState)| cpu.user.is_some_and(|(now, _)| now == space);
        let cpus = self.all.iter().enumerate().filter(here).fold(0, |set, (n, _)| set | 1 << n);
        cpus | self.devices_that(|device| device.runs(space))
    }

    /// Who could use a translation of `space` that was made under `asid`.
    pub(crate) fn users(&self, space: u32, asid: Asid) -> u64 {
        if space == kernel::SPACE {
            return self.everyone;
        }
        self.running(asid) | self.devices_that(|device| device.runs(space))
    }

    /// The devices of which `is_so` is true, one bit each.
    #[inline]
    pub(crate) fn devices_that(&self, is_so: impl Fn(&Device) -> bool) -> u64 {
        if self.attached == 0 {
            return 0;
        }
        let found = (0..MAX_DEVICES).zip(&self.devices).filter(|(_, device)| is_so(device));
        found.fold(0, |set, (n, _)| set | devices::bit(n))
    }

    pub(crate) fn device(&self, device: u8) -> Option<&Device> {
        self.devices.get(usize::from(device))
    }

    pub(crate) fn device_mut(&mut self, device: u8) -> Option<&mut Device> {
        self.devices.get_mut(usize::from(device))
    }

    /// A device takes up a space. `None` if its bit is a CPU's, or it has none.
    pub(crate) fn attach(&mut self, device: u8, listens: bool) -> Option<&mut Device> {
        let bit = devices::bit(device);
        let state =
            self.devices.get_mut(usize::from(device)).filter(|_| bit & self.everyone == 0)?;
        self.attached |= bit;
        self.listening = if listens { self.listening | bit } else { self.listening & !bit };
        Some(state)
    }

    /// Whom an operation that was issued at `at` reaches, one bit each.
    pub(crate) fn reached(&self, source: Source, at: u64) -> u64 {
        match source {
            Source::Tlbi { cpu, scope: Scope::Local } => 1 << cpu,
            Source::Tlbi { scope: Scope::InnerShareable, .. } => {
                (self.everyone & !self.deaf(at)) | self.listening
            }
            Source::Command { device, .. } => devices::bit(device),
        }
    }

    /// The CPUs that have not heard a broadcast of `at`, one bit each.
    fn deaf(&self, at: u64) -> u64 {
        if self.went == 0 {
            return 0;
        }
        let late = |(_, cpu): &(usize, &CpuState)| cpu.joined > at;
        let late = self.all.iter().enumerate().filter(late);
        late.fold(self.away, |set, (n, _)| set | 1 << n)
    }

    /// A CPU hears no broadcasts from now on.
    pub(crate) fn leaves(&mut self, cpu: u8) {
        self.away |= 1 << cpu;
        self.went |= 1 << cpu;
    }

    /// A CPU hears them again.
    pub(crate) fn joins(&mut self, cpu: u8, now: u64) {
        self.away &= !(1 << cpu);
        self.all[usize::from(cpu)].joined = now;
    }

    /// All CPUs, one bit each.
    pub(crate) const fn everyone(&self) -> u64 {
        self.everyone
    }

    /// A barrier for stores.
    pub(crate) fn publish(&mut self, cpu: u8, scope: Scope, now: u64) {
        let here = &mut self.all[usize::from(cpu)].published;
        here[0] = now;
        if scope == Scope::InnerShareable {
            here[1] = now;
            for other in &mut self.all {
                other.vouched = other.released;
            }
        }
    }

    /// A full barrier.
    pub(crate) fn complete(&mut self, cpu: u8, scope: Scope, now: u64) {
        self.publish(cpu, scope, now);
        let here = &mut self.all[usize::from(cpu)];
        for wide in 0..=usize::from(scope == Scope::InnerShareable) {
            here.completed[wide] = if self.repeats { here.followed[wide] } else { now };
            here.waited[wide] = now;
        }
    }

    /// A TLBI was issued: what was waited for before it is complete once it was waited for too.
    pub(crate) fn followed(&mut self, cpu: u8, scope: Scope) {
        let here = &mut self.all[usize::from(cpu)];
        for wide in 0..=usize::from(scope == Scope::InnerShareable) {
            here.followed[wide] = here.waited[wide];
        }
    }

    /// Whether `cpu` has waited for its operations since `at`, though not in the way that its CPU needs.
    pub(crate) fn has_waited_once(&self, cpu: u8, scope: Scope, at: u64) -> bool {
        self.repeats && self.get(cpu).waited[usize::from(scope == Scope::InnerShareable)] > at
    }

    /// A context synchronisation.
    pub(crate) fn synchronize(&mut self, cpu: u8) {
        let here = &mut self.all[usize::from(cpu)];
        here.synchronized = here.completed;
    }

    /// Whether the CPU that issued an operation at `at` may still go by what it removed: it runs `whose`, has
    /// worked out translations ahead of its program, and not synchronised its context since.
    pub(crate) fn is_ahead(&self, source: Source, at: u64, whose: Whose) -> Option<u8> {
        let Source::Tlbi { cpu, scope } = source else { return None };
        let here = self.get(cpu);
        let is_late = here.synchronized[usize::from(scope == Scope::InnerShareable)] <= at;
        let runs = || whose.0 == kernel::SPACE || here.user.is_some_and(|(_, now)| now == whose.1);
        (is_late && runs()).then_some(cpu)
    }

    /// A table's lock was released.
    pub(crate) fn release(&mut self, cpu: u8, now: u64) {
        self.all[usize::from(cpu)].released = now;
    }

    /// Whether `cpu` has released a table's lock since `at`.
    pub(crate) fn has_released(&self, cpu: u8, at: u64) -> bool {
        self.get(cpu).released > at
    }

    /// Whether no walker can miss what `cpu` stored at `at`.
    pub(crate) fn is_published(&self, cpu: u8, at: u64) -> bool {
        let cpu = self.get(cpu);
        cpu.published[1] > at || cpu.vouched > at
    }

    /// Whether the walkers of `walker` cannot miss what `cpu` stored at `at`.
    pub(crate) fn is_published_to(&self, walker: u8, cpu: u8, at: u64) -> bool {
        self.is_published(cpu, at) || (walker == cpu && self.get(cpu).published[0] > at)
    }

    /// Differs whenever something has come to pass that pays debts: a barrier of somebody's, or a device's.
    pub(crate) fn progress(&self) -> u64 {
        let of = |cpu: &CpuState| {
            let all = cpu.completed.iter().chain(&cpu.synchronized);
            all.fold(cpu.joined, |sum, moment| sum.wrapping_add(*moment))
        };
        let cpus = self.all.iter().map(of);
        let devices = self.devices.iter().map(|device| device.synced);
        cpus.chain(devices).fold(0, u64::wrapping_add)
    }

    /// Whether an operation that was issued at `at` is complete, as far as it was to reach.
    pub(crate) fn is_complete(&self, source: Source, at: u64) -> bool {
        match source {
            Source::Tlbi { cpu, scope } => {
                self.get(cpu).completed[usize::from(scope == Scope::InnerShareable)] > at
            }
            Source::Command { device, .. } => self.device(device).is_some_and(|it| it.synced > at),
        }
    }
}
