//! Thread stacks: 32 KiB each in a window of 64 KiB, so that below each lies a guard of 32 KiB that
//! nothing maps. A stack, once mapped, stays mapped and goes to the next thread that needs one.

use crate::memory;
use abi::{Level, Order, VirtAddr, VirtRange};
use alloc::vec::Vec;
use arch::LocalCpu;
use arch::layout::STACKS;

use mm::kernel_map::KernelMapping;
use pte::{KernelProt, MemType};
use sched::StackSource;
use sync::{Class, SpinLock};

/// 32 KiB.
const ORDER: Order = Order(3);
/// The distance of two stacks: as much again for the guard.
const WINDOW: u64 = 2 * ORDER.bytes();

struct Pool {
    /// Stacks that nobody uses, by the address of their window.
    free: Vec<VirtAddr>,
    /// Windows ever used.
    windows: u64,
}

static POOL: SpinLock<Pool> = SpinLock::new(Class::Image, Pool { free: Vec::new(), windows: 0 });

/// Where the scheduler gets its stacks.
pub(crate) struct KernelStacks;

/// The stack in a window: its upper half.
const fn stack_in(window: VirtAddr) -> VirtRange {
    VirtRange::new(VirtAddr(window.0 + WINDOW - ORDER.bytes()), VirtAddr(window.0 + WINDOW))
}

impl StackSource for KernelStacks {
    fn alloc(&self) -> Option<VirtRange> {
        let window = {
            let mut pool = POOL.lock(&LocalCpu);
            if let Some(window) = pool.free.pop() {
                return Some(stack_in(window));
            }
            // Room to give it back to, so that giving back cannot fail.
            let windows = pool.windows as usize + 1;
            let len = pool.free.len();
            pool.free.try_reserve(windows - len).ok()?;
            pool.windows += 1;
            STACKS.start + (pool.windows - 1) * WINDOW
        };
        let stack = stack_in(window);
        let made = make(stack);
        if made.is_none() {
            // Give the window back where no later one was opened meanwhile; else only addresses are
            // lost.
            let mut pool = POOL.lock(&LocalCpu);
            if STACKS.start + (pool.windows - 1) * WINDOW == window {
                pool.windows -= 1;
            }
        }
        made
    }

    fn free(&self, stack: VirtRange) {
        let window = VirtAddr(stack.end.0 - WINDOW);
        // `alloc` has reserved the room.
        POOL.lock(&LocalCpu).free.push(window);
    }
}

/// Puts memory behind the addresses of a stack.
fn make(stack: VirtRange) -> Option<VirtRange> {
    let mm = memory::mm()?;
    let block = mm.alloc(ORDER).ok()?;
    let (prot, mem, largest) = (KernelProt::Data, MemType::Normal, Level::Pte);
    let mapping = KernelMapping { range: stack, to: block.base(), prot, mem, largest };
    if memory::map(&mapping).is_ok() {
        return Some(stack);
    }
    // One table translates a whole window, so a failure comes before the first entry.
    mm.free(block);
    None
}
