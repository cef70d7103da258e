//! PSCI: starting CPUs, switching off, restarting. Present where the device tree has a psci node.
//!
//! Which instruction reaches the firmware differs and cannot be tried out: the wrong one is
//! undefined, or a call to a hypervisor that was left behind at boot. So the device tree's word is
//! taken. Source: Arm, "Power State Coordination Interface" (DEN0022).

use abi::PhysAddr;
use smccc::{Hvc, Smc, psci};

pub use smccc::psci::{Error as PsciError, Version as PsciVersion};

/// How firmware is called: the device tree's `method`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// Hypervisor call: we are a guest, or an emulator's firmware poses as EL2.
    Hvc,
    /// Secure monitor call: firmware is at EL3.
    Smc,
}

impl Conduit {
    /// The version that firmware speaks.
    pub fn version(self) -> Result<PsciVersion, PsciError> {
        match self {
            Self::Hvc => psci::version::<Hvc>(),
            Self::Smc => psci::version::<Smc>(),
        }
    }

    /// Starts the CPU of this affinity at `entry`, with its MMU off and `context` in x0.
    ///
    /// What the CPU reads before its caches are on must have been cleaned to the point of coherency.
    pub fn cpu_on(self, affinity: u64, entry: PhysAddr, context: u64) -> Result<(), PsciError> {
        match self {
            Self::Hvc => psci::cpu_on::<Hvc>(affinity, entry.0, context),
            Self::Smc => psci::cpu_on::<Smc>(affinity, entry.0, context),
        }
    }

    /// Switches the machine off. Returns only why it could not.
    pub fn system_off(self) -> PsciError {
        failed(match self {
            Self::Hvc => psci::system_off::<Hvc>(),
            Self::Smc => psci::system_off::<Smc>(),
        })
    }

    /// Restarts the machine. Returns only why it could not.
    pub fn system_reset(self) -> PsciError {
        failed(match self {
            Self::Hvc => psci::system_reset::<Hvc>(),
            Self::Smc => psci::system_reset::<Smc>(),
        })
    }
}

/// A call that should not have returned did.
fn failed(result: Result<(), PsciError>) -> PsciError {
    match result {
        Ok(()) => PsciError::InternalFailure,
        Err(error) => error,
    }
}
