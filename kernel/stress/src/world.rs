//! What a workload needs besides memory management.

use abi::{PhysAddr, PhysRange, VirtAddr};
use mm::{FaultOutcome, Hardware, Mm, Space};

/// Where workloads run: the kernel, or a model of a machine.
pub trait World: Sync {
    /// The machine under the memory manager.
    type Machine: Hardware;

    /// The memory manager.
    fn mm(&self) -> &Mm<Self::Machine>;

    /// CPUs that can run something now.
    fn cpus(&self) -> usize;

    /// Runs `body(n)` for each `n` below `cpus`, each bound to its own CPU, and waits for all of
    /// them. Meanwhile calls `watch` now and then, from the calling thread.
    ///
    /// Returns how many of them could be started: fewer where there was no memory for a thread.
    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync), watch: &mut dyn FnMut()) -> usize;

    /// Runs `body` with `space` as the calling thread's user space.
    fn inside(&self, space: &Space<'_, Self::Machine>, body: &mut dyn FnMut());

    /// Loads 8 bytes at an address of `space`, which the calling thread is inside of, through the
    /// CPU's translation; faults are resolved. The outcome on failure is the one that ended it.
    fn load(&self, space: &Space<'_, Self::Machine>, va: VirtAddr) -> Result<u64, FaultOutcome>;

    /// Stores 8 bytes, likewise.
    fn store(
        &self,
        space: &Space<'_, Self::Machine>,
        va: VirtAddr,
        value: u64,
    ) -> Result<(), FaultOutcome>;

    /// Memory that no allocator has and that a workload may use as it likes; none, where there is none.
    fn bare_frames(&self) -> PhysRange {
        PhysRange::new(PhysAddr(0), PhysAddr(0))
    }

    /// Loads 8 bytes at a kernel address that `mm` has mapped for the caller, through the CPU's translation; `None`
    /// where that faults.
    fn kernel_load(&self, va: VirtAddr) -> Option<u64>;

    /// Stores 8 bytes, likewise; whether it did not fault.
    fn kernel_store(&self, va: VirtAddr, value: u64) -> bool;

    /// Loads 8 bytes at a kernel address where mappings come and go, or stores them, if the CPU's translation permits
    /// it: what was loaded or stored. There may be nothing, or not that right: `None` where that faults.
    fn kernel_try(&self, va: VirtAddr, store: Option<u64>) -> Option<u64>;

    /// Calls the two instructions `mov w0, #n` and `ret` at a kernel address where mappings come and go, which nobody
    /// changes or takes away meanwhile: what they return. `None` where something else is there, or nothing.
    fn kernel_call(&self, va: VirtAddr) -> Option<u64>;

    /// Lets other threads run.
    fn yield_now(&self);

    /// Nanoseconds since some moment before.
    fn now_ns(&self) -> u64;

    /// Whether somebody wants the run to end early.
    fn interrupted(&self) -> bool;
}
