//! One function on many CPUs, as threads: for workloads, which want to sleep, fault and be preempted
//! while they run, as a cross-call must not.

use crate::cpu_set::CpuSet;
use crate::port::Engine;
use crate::scheduler::Scheduler;
use crate::spawn::{SpawnError, Spec};
use crate::thread::{Affinity, Fate, Name, Slot};
use abi::{CpuId, MAX_CPUS};

struct Share<'a> {
    function: &'a (dyn Fn(CpuId) + Sync),
    cpu: CpuId,
}

impl<E: Engine> Scheduler<E> {
    /// Runs `function` in one thread on each of `cpus`, bound there and called `name/cpu`, and
    /// returns when all have returned. Either all run or, with an error, none.
    ///
    /// Context: as [`Scheduler::spawn`].
    pub fn run_on(
        &self,
        cpus: CpuSet,
        name: &str,
        function: &(dyn Fn(CpuId) + Sync),
    ) -> Result<(), SpawnError> {
        let shares: [Share<'_>; MAX_CPUS] =
            core::array::from_fn(|n| Share { function, cpu: CpuId(n as u16) });
        let mut slots = [None; MAX_CPUS];
        for cpu in cpus.iter() {
            let spec = Spec {
                name: Name::with_cpu(name, cpu),
                affinity: Affinity::Cpu(cpu),
                fate: Fate::Joined,
            };
            let argument = core::ptr::from_ref(&shares[cpu.index()]) as usize;
            match self.make(spec, (run_share, argument)) {
                Ok(slot) => slots[cpu.index()] = Some(slot),
                Err(error) => {
                    slots.iter().flatten().for_each(|slot| self.unmake(*slot));
                    return Err(error);
                }
            }
        }
        let ids = slots.map(|slot: Option<Slot>| slot.map(|slot| self.start(slot, Fate::Joined)));
        for id in ids.into_iter().flatten() {
            let result = self.join(id);
            debug_assert!(result.is_ok(), "nobody else knows the name: {result:?}");
        }
        Ok(())
    }
}

#[expect(unsafe_code, reason = "a thread's argument is a word")]
fn run_share(argument: usize) -> usize {
    // SAFETY: `run_on` made the word from one of its shares, which it keeps until it has joined the
    // thread that executes this.
    let share = unsafe { &*(argument as *const Share<'_>) };
    (share.function)(share.cpu);
    0
}
