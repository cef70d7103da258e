//! What each CPU has of its own: TPIDR_EL1 points at it.
//!
//! Invariant: from [`init_cpu`](crate::init_cpu) on, TPIDR_EL1 of a CPU holds the address of its
//! [`CpuLocal`] and never changes, and `stack_floor` belongs to the stack it runs on. The vectors
//! count on both.
//!
//! A reference to the local data may outlive the stay on the CPU: a thread that may be preempted
//! between [`this`] and the use of what it returned has the data of some CPU, no more.

use crate::exception::FRAME_BYTES;
use aarch64_cpu::registers::{MPIDR_EL1, Readable, SP_EL0, TPIDR_EL1, Writeable};
use abi::{CpuId, MAX_CPUS, VirtAddr, VirtRange};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// log2 of the largest stack: the vectors accept a stack pointer within so many bytes of the floor.
pub(crate) const STACK_SHIFT: u64 = 17;
/// Bytes of the stack that a CPU keeps for reporting that it has lost its own. Enough to format a
/// [`Death`](crate::exception::Death) in a debug build; there is no guard below it.
pub(crate) const SPARE_BYTES: u64 = 8192;

/// The data of one CPU. Two cache lines, so that neighbours are not prefetched into each other.
#[repr(C, align(128))]
pub struct CpuLocal {
    /// The lowest address at which the vectors may begin to push a frame.
    pub(crate) stack_floor: AtomicU64,
    /// The high end of the spare stack; 0 once it is in use.
    pub(crate) spare_top: AtomicU64,
    /// Written by the vectors when the stack pointer is found outside the stack.
    pub(crate) lost_vector: AtomicU64,
    pub(crate) lost_sp: AtomicU64,
    /// The stack this CPU runs on; a pair, for a context switch loads and stores it as one.
    pub(crate) stack: [AtomicU64; 2],
    id: AtomicU32,
    deaths: AtomicU32,
    mpidr: AtomicU64,
    spurious_faults: AtomicU64,
    gave_up: AtomicBool,
    online: AtomicBool,
}

impl CpuLocal {
    const fn new() -> Self {
        Self {
            stack_floor: AtomicU64::new(0),
            spare_top: AtomicU64::new(0),
            lost_vector: AtomicU64::new(0),
            lost_sp: AtomicU64::new(0),
            stack: [const { AtomicU64::new(0) }; 2],
            id: AtomicU32::new(0),
            deaths: AtomicU32::new(0),
            mpidr: AtomicU64::new(0),
            spurious_faults: AtomicU64::new(0),
            gave_up: AtomicBool::new(false),
            online: AtomicBool::new(false),
        }
    }

    /// The number of the CPU.
    #[inline]
    pub fn id(&self) -> CpuId {
        CpuId(self.id.load(Ordering::Relaxed) as u16)
    }

    /// The CPU's affinity, as PSCI and the interrupt controller name it: MPIDR_EL1 without its flags.
    pub fn affinity(&self) -> u64 {
        self.mpidr.load(Ordering::Relaxed)
    }

    /// The stack that the CPU runs on.
    pub fn stack(&self) -> VirtRange {
        let [low, high] = [0, 1].map(|i| VirtAddr(self.stack[i].load(Ordering::Relaxed)));
        VirtRange::new(low, high)
    }

    /// Whether the CPU has been set up.
    pub fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// Faults in the kernel's half that a second walk did not have.
    pub fn spurious_faults(&self) -> u64 {
        self.spurious_faults.load(Ordering::Relaxed)
    }

    pub(crate) fn count_spurious_fault(&self) {
        self.spurious_faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many deaths came before.
    pub(crate) fn count_death(&self) -> u32 {
        self.deaths.fetch_add(1, Ordering::Relaxed)
    }

    /// True once per CPU.
    pub(crate) fn is_first_last_resort(&self) -> bool {
        !self.gave_up.swap(true, Ordering::Relaxed)
    }
}

static CPUS: [CpuLocal; MAX_CPUS] = [const { CpuLocal::new() }; MAX_CPUS];

#[repr(align(16))]
struct SpareStack(UnsafeCell<[u8; SPARE_BYTES as usize]>);

// SAFETY: no reference into a spare stack is ever made; its CPU alone uses it, as a stack.
unsafe impl Sync for SpareStack {}

static SPARE_STACKS: [SpareStack; MAX_CPUS] =
    [const { SpareStack(UnsafeCell::new([0; SPARE_BYTES as usize])) }; MAX_CPUS];

/// Where the vectors may begin to push a frame onto `stack`. The part of a stack that is larger
/// than they can check is given up.
pub(crate) fn floor_of(stack: VirtRange) -> u64 {
    let reachable = stack.end.0.saturating_sub(1 << STACK_SHIFT);
    stack.start.0.max(reachable) + FRAME_BYTES
}

/// Makes the executing CPU number `cpu`, running on `stack`. Context: once per CPU, before its
/// vectors are in place. The caller has checked that `cpu` is in range.
pub(crate) fn install(cpu: CpuId, stack: VirtRange) {
    let local = &CPUS[cpu.index()];
    let spare = SPARE_STACKS[cpu.index()].0.get() as u64;
    local.id.store(cpu.0.into(), Ordering::Relaxed);
    local.mpidr.store(affinity(), Ordering::Relaxed);
    local.spare_top.store(spare + SPARE_BYTES, Ordering::Relaxed);
    local.stack_floor.store(floor_of(stack), Ordering::Relaxed);
    local.stack[0].store(stack.start.0, Ordering::Relaxed);
    local.stack[1].store(stack.end.0, Ordering::Relaxed);
    TPIDR_EL1.set(core::ptr::from_ref(local) as u64);
    SP_EL0.set(0);
}

/// Tells the others that this CPU is set up.
pub(crate) fn set_online() {
    this().online.store(true, Ordering::Release);
}

/// MPIDR_EL1's affinity fields, Aff3 to Aff0, without the flags between them.
pub fn affinity() -> u64 {
    MPIDR_EL1.get() & 0xff_00ff_ffff
}

/// The executing CPU's data. See the module's note on preemption.
#[inline]
pub fn this() -> &'static CpuLocal {
    let local = TPIDR_EL1.get() as *const CpuLocal;
    // SAFETY: `install` put the address of an element of `CPUS` there; nothing else writes it.
    unsafe { &*local }
}

/// The data of CPU `cpu`, if there can be such a CPU.
pub fn of(cpu: CpuId) -> Option<&'static CpuLocal> {
    CPUS.get(cpu.index())
}

/// The running thread, by whatever word the scheduler gave it; 0 before it gave one.
///
/// Kept in SP_EL0, which nothing else uses here: one instruction, so that a thread that is moved
/// between two instructions still reads its own word.
#[inline]
pub fn current_thread() -> usize {
    SP_EL0.get() as usize
}

/// Sets what [`current_thread`] answers on this CPU. Context: interrupts masked, around the switch.
#[inline]
pub fn set_current_thread(word: usize) {
    SP_EL0.set(word as u64);
}
