//! The interrupt controller's events to their handlers.

use crate::{console, threads};
use abi::{CpuId, VirtRange};
use arch::exception::TrapFrame;
use arch::{LocalCpu, layout, percpu};
use board::{Board, Trigger as BoardTrigger};
use core::fmt;
use drivers::gic::{Gic, GicError, IntId, Trigger};
use spin::Once;
use sync::{Class, SpinLock};

static GIC: Once<Gic> = Once::new();
/// Serialises changes of shared interrupts.
static SETUP: SpinLock<()> = SpinLock::new(Class::Console, ());
static RECEIVE: Once<IntId> = Once::new();

/// Why there are no interrupts.
#[derive(Debug)]
pub(crate) enum InterruptError {
    /// The tree has no GIC that we know.
    NoController,
    /// Registers that are beyond the device window.
    OutOfReach,
    /// What the driver says.
    Gic(GicError),
}

impl fmt::Display for InterruptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoController => write!(f, "the device tree has no GICv2 or GICv3"),
            Self::OutOfReach => write!(f, "the GIC's registers lie beyond the device window"),
            Self::Gic(error) => write!(f, "GIC: {error:?}"),
        }
    }
}

impl From<GicError> for InterruptError {
    fn from(error: GicError) -> Self {
        Self::Gic(error)
    }
}

/// Brings the controller up, for all CPUs and for this one. Its registers are mapped.
pub(crate) fn init(board: &Board) -> Result<(), InterruptError> {
    let at = |range: abi::PhysRange| {
        layout::device(range.start)
            .map(|va| VirtRange::from_size(va, range.bytes()))
            .ok_or(InterruptError::OutOfReach)
    };
    let gic = match board.gic.as_ref().ok_or(InterruptError::NoController)? {
        board::Gic::V2 { distributor, cpu_interface, .. } => {
            // SAFETY: both blocks are the GIC's, says the tree, mapped as device for good, and no
            // other driver has them.
            unsafe { Gic::v2(at(*distributor)?.start, at(*cpu_interface)?.start) }
        }
        board::Gic::V3 { distributor, redistributors, stride, .. } => {
            let mut regions = [VirtRange::new(abi::VirtAddr(0), abi::VirtAddr(0)); 8];
            for (place, range) in regions.iter_mut().zip(redistributors.iter()) {
                *place = at(*range)?;
            }
            let regions = &regions[..redistributors.len().min(8)];
            // SAFETY: as above.
            unsafe { Gic::v3(at(*distributor)?.start, regions, *stride) }?
        }
    };
    let gic = GIC.call_once(|| gic);
    gic.init_distributor()?;
    init_cpu()
}

/// Brings this CPU's part up: SGIs and its timer.
pub(crate) fn init_cpu() -> Result<(), InterruptError> {
    let gic = GIC.get().ok_or(InterruptError::NoController)?;
    let cpu = percpu::this();
    let _setup = SETUP.lock(&LocalCpu);
    gic.init_cpu(cpu.id(), cpu.affinity())?;
    gic.enable(IntId::VIRTUAL_TIMER, Trigger::Level, cpu.id())?;
    Ok(())
}

/// Lets the console's receiver interrupt CPU 0.
pub(crate) fn enable_receive(interrupt: board::Interrupt) -> Result<(), InterruptError> {
    let gic = GIC.get().ok_or(InterruptError::NoController)?;
    let id = IntId::from_number(interrupt.intid).ok_or(InterruptError::NoController)?;
    let trigger = match interrupt.trigger {
        BoardTrigger::EdgeRising | BoardTrigger::EdgeFalling => Trigger::Edge,
        BoardTrigger::LevelHigh | BoardTrigger::LevelLow | BoardTrigger::Unspecified => {
            Trigger::Level
        }
    };
    RECEIVE.call_once(|| id);
    let _setup = SETUP.lock(&LocalCpu);
    Ok(gic.enable(id, trigger, CpuId(0))?)
}

/// Sends an SGI to a CPU that runs. Context: any; takes no lock. What the SGI is about is stored before.
pub(crate) fn send(to: CpuId, sgi: u8) {
    if let Some(gic) = GIC.get() {
        arch::barrier::publish(pte::Scope::InnerShareable);
        // A CPU that is not there cannot be interrupted.
        let _ = gic.send_sgi(to, sgi);
    }
}

/// The hook of the vectors. Context: interrupts masked, on the interrupted thread's stack.
pub(crate) fn on_interrupt(_frame: &mut TrapFrame) {
    let Some(gic) = GIC.get() else { return };
    while let Some(active) = gic.ack() {
        let id = active.id();
        match id {
            IntId::Sgi(sgi) => {
                gic.eoi(active);
                threads::on_sgi(sgi);
                continue;
            }
            IntId::VIRTUAL_TIMER => sched::on_tick(),
            _ if RECEIVE.get() == Some(&id) => console::on_receive(),
            // Nothing else was enabled.
            _ => {}
        }
        gic.eoi(active);
    }
    sched::preempt_point();
}
