//! The workloads' trait on the simulated machine. Time is steps: a nanosecond each.

use crate::memory::RAM;
use crate::timeline::Concern;
use crate::{Config, Machine, Violation};
use abi::{Access, PhysRange, VirtAddr};
use mm::{FaultOutcome, Hardware, MemMap, Mm, PageDesc, Space};
use stress::World;
use sync::Cpu;

/// The bytes of a cache line.
const LINE: usize = 64;

/// A machine with its memory managed.
pub struct SimWorld {
    mm: Mm<Machine>,
}

impl SimWorld {
    /// Boots a memory manager on a machine like `config`.
    pub fn new(config: Config) -> Self {
        let machine = Machine::new(config);
        let descs: Vec<_> = (0..=config.pages).map(|_| PageDesc::blank()).collect();
        // The memmap lives as long as the program, in the kernel as here. It begins with a cache line,
        // in the kernel as here: tests see which descriptors share one.
        let skipped = usize::from(descs.as_ptr().addr() % LINE != 0);
        let map = MemMap::new(RAM, &descs.leak()[skipped..][..config.pages as usize]);
        let mm = Mm::new(machine, map);
        let ram = PhysRange::new(RAM.base(), (RAM + config.pages).base());
        mm.frames.add(&mm.hw, ram);
        Self { mm }
    }

    /// The first rule that was broken, if any.
    pub fn violation(&self) -> Option<Violation> {
        self.mm.hw.violation()
    }
}

impl SimWorld {
    /// Lets CPU 0 take `steps` steps of `work`, then CPU 1 do all of `intrusion` (or as much as it can
    /// without waiting for CPU 0), then CPU 0 the rest. Says whether `work` had as many steps: with
    /// one more each time, until it has not, every place to intrude is tried.
    pub fn intrude(
        &self,
        steps: u64,
        work: &(dyn Fn() + Sync),
        intrusion: &(dyn Fn() + Sync),
    ) -> bool {
        self.weave([steps, 0], work, intrusion)
    }

    /// As [`SimWorld::intrude`], where the intrusion too is left after so many steps, until `work` is
    /// done. Says whether both had as many.
    pub fn weave(
        &self,
        steps: [u64; 2],
        work: &(dyn Fn() + Sync),
        intrusion: &(dyn Fn() + Sync),
    ) -> bool {
        self.mm.hw.state().turn.plan(Some(steps));
        let body = |cpu| if cpu == 0 { work() } else { intrusion() };
        self.run(2, &body, &mut || {});
        self.mm.hw.state().turn.plan(None)
    }

    fn access(
        &self,
        space: &Space<'_, Machine>,
        va: VirtAddr,
        store: Option<u64>,
    ) -> Result<u64, FaultOutcome> {
        loop {
            self.mm.hw.step();
            if let Some(value) = self.mm.hw.user_access(va, store) {
                return Ok(value);
            }
            let access = if store.is_some() { Access::Write } else { Access::Read };
            match space.fault(va, access) {
                FaultOutcome::Mapped | FaultOutcome::Spurious => self.mm.hw.relax(),
                stop => return Err(stop),
            }
        }
    }
}

impl World for SimWorld {
    type Machine = Machine;

    fn mm(&self) -> &Mm<Machine> {
        &self.mm
    }

    fn cpus(&self) -> usize {
        self.mm.hw.nr_cpus()
    }

    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync), watch: &mut dyn FnMut()) -> usize {
        for (cpu, ended) in self.mm.hw.schedule(cpus, body).into_iter().enumerate() {
            if let Err(panic) = ended {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("without a message");
                let what = format!("panic: {text}");
                self.mm.hw.state().violate(cpu, &Concern::default(), what);
            }
        }
        watch();
        cpus
    }

    fn inside(&self, space: &Space<'_, Machine>, body: &mut dyn FnMut()) {
        /// Leaves also when the body panics: a space that some CPU runs could never be dropped.
        struct Inside<'a>(&'a Space<'a, Machine>);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                let _irqs = self.0.mm().hw.mask_irqs();
                self.0.leave();
            }
        }
        {
            let _irqs = self.mm.hw.mask_irqs();
            space.enter();
        }
        let _inside = Inside(space);
        body();
    }

    fn load(&self, space: &Space<'_, Machine>, va: VirtAddr) -> Result<u64, FaultOutcome> {
        self.access(space, va, None)
    }

    fn store(
        &self,
        space: &Space<'_, Machine>,
        va: VirtAddr,
        value: u64,
    ) -> Result<(), FaultOutcome> {
        self.access(space, va, Some(value)).map(drop)
    }

    fn yield_now(&self) {
        self.mm.hw.relax();
    }

    fn now_ns(&self) -> u64 {
        self.mm.hw.steps()
    }

    fn interrupted(&self) -> bool {
        self.violation().is_some()
    }
}
