//! A device with a TLB of its own: it translates by the tables of a space it is attached to, as an SMMU
//! does for it, and is deaf to what CPUs broadcast. What it holds goes by commands, which it carries out
//! some time before the next synchronisation is over.
//!
//! To the rest of the machine it is one more observer, behind the last CPU: what it may hold counts where a
//! frame or table changes hands.
//!
//! Source: Arm SMMUv3, "Command queue", "CMD_SYNC"; Linux `mmu_notifier_ops`, `arm_smmu_mm_arch_invalidate_secondary_tlbs`.

use crate::access::Met;
use crate::{CpuState, Machine, State};
use abi::{Asid, Pfn, VirtAddr};
use pte::{Scope, Target, Tlbi};

impl State {
    /// The device's place among the observers, once one was attached.
    fn device(&self) -> Option<usize> {
        (self.cpus.len() > self.config.cpus).then_some(self.config.cpus)
    }
}

impl Machine {
    /// Attaches the device to the space with this root, under a number of the device's own.
    pub fn attach_device(&self, root: Pfn, asid: Asid) {
        self.step();
        let mut state = self.state();
        if state.device().is_none() {
            assert!(state.config.cpus < abi::MAX_CPUS, "no room for a device");
            state.cpus.push(CpuState::default());
            state.hidden.joined();
        }
        let device = state.config.cpus;
        state.enter(device, root, asid);
    }

    /// Detaches it: it walks no more. What it holds goes by commands, as before.
    pub fn detach_device(&self) {
        self.step();
        let mut state = self.state();
        if let Some(device) = state.device() {
            state.leave(device);
        }
    }

    /// Puts a command into its queue: to forget what `target` names.
    #[doc(alias = "CMD_TLBI_NH_VA")]
    pub fn command(&self, target: Target) {
        self.step();
        let mut state = self.state();
        let state = &mut *state;
        let Some(device) = state.device() else { return };
        let op = Tlbi { target, scope: Scope::Local };
        state.timeline.add(state.step, device, crate::timeline::What::Issued(op));
        state.issue_to(device, op, 1 << device);
    }

    /// Waits until it has carried out all commands before.
    #[doc(alias = "CMD_SYNC")]
    pub fn synchronize_device(&self) {
        self.step();
        let mut state = self.state();
        let state = &mut *state;
        let Some(device) = state.device() else { return };
        state.timeline.add(state.step, device, crate::timeline::What::Completed(Scope::Local));
        state.complete(device, Scope::Local);
    }

    /// The device reads; `None`: there is no translation, and it gives up.
    pub fn device_load(&self, va: VirtAddr) -> Option<u64> {
        self.device_access(va, None)
    }

    /// The device writes; whether it could.
    #[must_use = "a write that finds no translation has written nothing"]
    pub fn device_store(&self, va: VirtAddr, value: u64) -> bool {
        self.device_access(va, Some(value)).is_some()
    }

    fn device_access(&self, va: VirtAddr, store: Option<u64>) -> Option<u64> {
        self.step();
        let mut state = self.state();
        let device = state.device()?;
        match state.access(device, va, store) {
            Met::Done(value) => Some(value),
            Met::Fault => None,
        }
    }
}
