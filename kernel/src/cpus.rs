//! Starting the other CPUs, all at once, and counting them in.

use crate::console::println;
use crate::{interrupts, memory, power, stacks};
use abi::{CpuId, MAX_CPUS, VirtAddr, VirtRange};
use arch::layout;
use board::{Board, Cpu, EnableMethod};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use pte::Caps;
use sched::StackSource;
use spin::Once;

/// How long a CPU may take from its start to its first thread. Emulators with more CPUs than the
/// host has need the most: two seconds were too few for four of them beside others.
const PATIENCE_NS: u64 = 10_000_000_000;

static CAPS: Once<Caps> = Once::new();
/// The stack that each CPU starts on and idles on, as its two ends.
static STACKS: [[AtomicU64; 2]; MAX_CPUS] = [const { [const { AtomicU64::new(0) }; 2] }; MAX_CPUS];

/// Why a CPU stayed off.
#[derive(Debug)]
enum StartError {
    NoStack,
    NoMethod,
    Firmware(arch::power::PsciError),
    OutOfReach,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStack => write!(f, "no memory for its stack"),
            Self::NoMethod => write!(f, "the device tree does not say how to start it"),
            Self::Firmware(error) => write!(f, "firmware refused: {error:?}"),
            Self::OutOfReach => write!(f, "its release address is not in RAM"),
        }
    }
}

/// The CPUs of the board in our numbering: the boot CPU first.
fn numbered(board: &Board) -> impl Iterator<Item = (CpuId, &Cpu)> {
    let me = arch::percpu::affinity();
    let others = board.cpus.iter().filter(move |cpu| cpu.mpidr != me);
    others.take(MAX_CPUS - 1).enumerate().map(|(n, cpu)| (CpuId(n as u16 + 1), cpu))
}

/// The memory node that each CPU belongs to, as the device tree numbers nodes.
pub(crate) fn nodes(board: &Board) -> impl Iterator<Item = (CpuId, u32)> {
    let me = arch::percpu::affinity();
    let boot = board.cpus.iter().find(|cpu| cpu.mpidr == me).map(|cpu| (CpuId(0), cpu));
    boot.into_iter().chain(numbered(board)).map(|(id, cpu)| (id, cpu.numa_node))
}

/// How many CPUs may ever run.
pub(crate) fn count(board: &Board) -> usize {
    1 + numbered(board).count()
}

/// Starts every CPU that the board enables, up to `most` in all, and waits for them. Says how many
/// run.
pub(crate) fn start(board: &Board, caps: &Caps, most: usize) -> usize {
    CAPS.call_once(|| *caps);
    let mut started = 1;
    for (id, cpu) in numbered(board) {
        if cpu.status != board::Status::Okay || started >= most {
            continue;
        }
        match start_one(id, cpu) {
            Ok(()) => started += 1,
            Err(error) => println!("# cpu {id} stays off: {error}"),
        }
    }
    let deadline = arch::timer::now_ns() + PATIENCE_NS;
    // Only what runs threads counts: whoever asks how many CPUs there are is told the same from now on.
    let running = || sched::online().iter().count();
    while running() < started && arch::timer::now_ns() < deadline {
        sched::sleep_until(arch::timer::now_ns() + 200_000);
    }
    let arrived = running();
    if arrived < started {
        println!("# {} of {started} CPUs have not come up", started - arrived);
    }
    arrived
}

fn start_one(id: CpuId, cpu: &Cpu) -> Result<(), StartError> {
    let stack = stacks::KernelStacks.alloc().ok_or(StartError::NoStack)?;
    let root = memory::kernel_root().ok_or(StartError::NoStack)?;
    STACKS[id.index()][0].store(stack.start.0, Ordering::Relaxed);
    STACKS[id.index()][1].store(stack.end.0, Ordering::Relaxed);
    let context = arch::boot::prepare_secondary(id, cpu.mpidr, stack.end, root);
    let context = context.ok_or(StartError::NoMethod)?;
    let entry = arch::boot::secondary_entry_pa();
    match cpu.enable {
        EnableMethod::Psci => {
            let conduit = power::conduit().ok_or(StartError::NoMethod)?;
            conduit.cpu_on(cpu.mpidr, entry, context.0).map_err(StartError::Firmware)
        }
        EnableMethod::SpinTable { release_addr } => {
            let slot = layout::linear(release_addr).ok_or(StartError::OutOfReach)?;
            // SAFETY: the tree says that a CPU waits for this word; the page is reserved and mapped.
            unsafe { arch::cpu_start::release(slot, entry) };
            Ok(())
        }
        EnableMethod::Unknown => Err(StartError::NoMethod),
    }
}

/// What a CPU does when it has come up: the image's second entry.
#[unsafe(no_mangle)]
extern "C" fn secondary_main(cpu: usize) -> ! {
    let [start, end] = STACKS[cpu].each_ref().map(|end| VirtAddr(end.load(Ordering::Relaxed)));
    let stack = VirtRange::new(start, end);
    let caps = CAPS.get().copied().unwrap_or(Caps::CORTEX_A72);
    if let Err(error) = arch::init_cpu(cpu, stack, &caps) {
        println!("# cpu {cpu} cannot take part: {error}");
        arch::exception::park();
    }
    if let Err(error) = interrupts::init_cpu() {
        println!("# cpu {cpu} has no interrupts: {error}");
        arch::exception::park();
    }
    if let Some(mm) = memory::mm() {
        mm.cpu_joins();
    }
    sched::enter_idle(stack)
}
