//! The kernel's scheduler: the engine over the `arch` room, and the one instance.

use crate::block::Waited;
use crate::cpu_set::CpuSet;
use crate::cross_call::Targets;
use crate::port::{Engine, Hooks};
use crate::ps::ThreadInfo;
use crate::scheduler::Scheduler;
use crate::spawn::{JoinError, SpawnError, Spec};
use crate::stop::Stopped;
use crate::table::MAX_THREADS;
use crate::thread::{Entry, Slot, ThreadId};
use abi::{CpuId, VirtRange};
use arch::LocalCpu;
use arch::context::{self, Context};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use sync::{Cpu, IrqState, WaitKey};

/// The executing CPU, switched for real.
#[derive(Debug)]
pub struct Native;

/// Where a thread that does not run goes on. Beside the table, which the host builds too.
struct Saved(UnsafeCell<MaybeUninit<Context>>);

// SAFETY: a slot's context is accessed by its maker before the slot is in a run queue, and then by
// the CPU that switches to or from it; the scheduler's locks and `on_cpu` make them take turns.
#[expect(unsafe_code, reason = "a context is written by assembly, under the scheduler's rules")]
unsafe impl Sync for Saved {}

static CONTEXTS: [Saved; MAX_THREADS] =
    [const { Saved(UnsafeCell::new(MaybeUninit::uninit())) }; MAX_THREADS];

static SCHEDULER: Scheduler<Native> = Scheduler::new(Native);

fn set_context(slot: Slot, context: Context) {
    let saved = CONTEXTS[slot.index()].0.get();
    // SAFETY: the slot is claimed and not in any queue: nobody else accesses its context.
    #[expect(unsafe_code, reason = "see `Saved`")]
    unsafe {
        (*saved).write(context);
    }
}

extern "C" fn first_switch(slot: usize) -> ! {
    SCHEDULER.thread_main(Slot(slot as u16))
}

impl Cpu for Native {
    #[inline]
    fn id(&self) -> CpuId {
        LocalCpu.id()
    }

    #[inline]
    fn irq_save(&self) -> IrqState {
        LocalCpu.irq_save()
    }

    #[inline]
    fn irq_restore(&self, state: IrqState) {
        LocalCpu.irq_restore(state);
    }

    #[inline]
    fn relax(&self) {
        LocalCpu.relax();
    }
}

impl Engine for Native {
    #[inline]
    fn unmask(&self) {
        arch::irq::unmask();
    }

    #[inline]
    fn mask(&self) {
        arch::irq::mask();
    }

    #[inline]
    fn wait_for_interrupt(&self) {
        arch::irq::wait();
    }

    fn prepare(&self, slot: Slot, stack: VirtRange) {
        set_context(slot, Context::new(stack, first_switch, slot.index()));
    }

    fn adopt(&self, slot: Slot, stack: VirtRange) {
        set_context(slot, Context::running(stack));
        arch::percpu::set_current_thread(word_of(slot));
    }

    #[inline]
    fn running(&self) -> Option<Slot> {
        let word = arch::percpu::current_thread();
        word.checked_sub(1).map(|index| Slot(index as u16))
    }

    #[expect(unsafe_code, reason = "the contract of a context switch cannot be a type")]
    unsafe fn switch(&self, from: Slot, to: Slot) {
        let from = CONTEXTS[from.index()].0.get().cast::<Context>();
        arch::percpu::set_current_thread(word_of(to));
        let to = CONTEXTS[to.index()].0.get().cast::<Context>();
        // SAFETY: the caller's promise, which is the same; both contexts were initialised when
        // their slots became threads.
        unsafe { context::switch(from, to) };
    }
}

/// A thread as `arch` and the panic report know it: its number plus one; 0 is no thread.
fn word_of(slot: Slot) -> usize {
    slot.index() + 1
}

/// The kernel's threads, as the machine's way to wait.
#[derive(Debug)]
pub struct KernelThreads;

impl arch::Threads for KernelThreads {
    fn wait(key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        SCHEDULER.wait(key, ready);
    }

    fn wake(key: WaitKey) {
        SCHEDULER.wake(key);
    }

    fn yield_now() {
        SCHEDULER.yield_now();
    }
}

// Never inlined, though small: each is called from many places, and what it stands for is not small.
macro_rules! face {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        #[doc = concat!("[`Scheduler::", stringify!($name), "`], of the kernel's scheduler.")]
        #[inline(never)]
        pub fn $name($($arg: $type),*) -> $result {
            SCHEDULER.$name($($arg),*)
        }
    )*};
}

/// [`Scheduler::space`], of the kernel's scheduler: what every fault asks first.
#[inline]
pub fn space() -> usize {
    SCHEDULER.space()
}

face! {
    init(hooks: Hooks) -> ();
    adopt_boot_thread(stack: VirtRange) -> Result<ThreadId, SpawnError>;
    enter_idle(stack: VirtRange) -> !;
    online() -> CpuSet;
    spawn(spec: Spec, entry: Entry, argument: usize) -> Result<ThreadId, SpawnError>;
    run_on(cpus: CpuSet, name: &str, function: &(dyn Fn(CpuId) + Sync)) -> Result<(), SpawnError>;
    join(id: ThreadId) -> Result<usize, JoinError>;
    exit(result: usize) -> !;
    current() -> Option<ThreadId>;
    set_space(new: usize) -> usize;
    yield_now() -> ();
    sleep_until(deadline_ns: u64) -> ();
    wait(key: WaitKey, ready: &mut dyn FnMut() -> bool) -> ();
    wait_until(key: WaitKey, deadline_ns: u64, ready: &mut dyn FnMut() -> bool) -> Waited;
    wake(key: WaitKey) -> ();
    threads() -> impl Iterator<Item = ThreadInfo>;
    cross_call(targets: Targets, function: &(dyn Fn(CpuId) + Sync)) -> ();
    interrupts_sent(cpu: CpuId) -> u64;
    stop_others(bound_ns: u64) -> Stopped;
    on_tick() -> ();
    on_irq_reschedule() -> ();
    on_cross_call() -> ();
    on_stop() -> !;
    preempt_point() -> ();
}
