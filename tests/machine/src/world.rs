//! The workloads' trait on the simulated machine. Time is steps: a nanosecond each.

use crate::explore::{Schedule, Strategy};
use crate::memory::RAM;
use crate::timeline::Concern;
use crate::{Config, Known, Machine, Violation};
use abi::{Access, Level, Node, Order, PAGE_SIZE, Pfn, PhysAddr, PhysRange, VirtAddr, VirtRange};
use mm::frame::PAGE_BLOCK;
use mm::kernel_map::{KernelMap, KernelMapping};
use mm::{FaultOutcome, Frames, Hardware, MemMap, Mm, Note, PageDesc, Sanitized, Space};
use oracle::{By, Oracle, Platform, Report};
use pte::{KernelProt, MemType, Scope};
use stress::World;

/// The bytes of a cache line.
const LINE: usize = 64;

/// A machine with its memory managed: plain, or one that an oracle watches.
pub struct SimWorld<H: Hardware = Machine> {
    mm: Mm<H>,
}

/// The simulated machine, whatever is around it.
pub trait Simulated: Hardware {
    /// The machine.
    fn machine(&self) -> &Machine;

    /// What [`SimWorld::verdict`] says.
    fn verdict(&self) -> Option<String>;

    /// Makes `root`, a table of nothing, the kernel's.
    fn run_kernel(&self, root: Pfn);
}

impl Simulated for Machine {
    fn machine(&self) -> &Machine {
        self
    }

    fn verdict(&self) -> Option<String> {
        self.violation().map(|violation| violation.to_string())
    }

    fn run_kernel(&self, root: Pfn) {
        self.run_kernel(root);
    }
}

impl Simulated for Sanitized<Machine> {
    fn machine(&self) -> &Machine {
        self
    }

    /// The oracle's. What the machine itself has seen is not asked.
    fn verdict(&self) -> Option<String> {
        self.ask(|oracle| oracle.report().map(ToString::to_string)).flatten()
    }

    fn run_kernel(&self, root: Pfn) {
        let boot = By::caller(sync::Cpu::id(self));
        let machine = self.machine().clone();
        self.ask(|oracle| oracle.take_over_kernel(boot, root, &mut |slot| machine.peek(slot)));
        self.machine().run_kernel(root);
    }
}

impl SimWorld<Machine> {
    /// Boots a memory manager on a machine like `config`.
    pub fn new(config: Config) -> Self {
        Self::on(config, Machine::new(config))
    }

    /// Boots one on a machine on which `strategy` decides.
    pub fn deciding(config: Config, strategy: Box<dyn Strategy>) -> Self {
        Self::on(config, Machine::deciding(config, strategy))
    }

    /// The first rule that was broken, if any.
    pub fn violation(&self) -> Option<Violation> {
        self.mm.hw.violation()
    }
}

impl SimWorld<Sanitized<Machine>> {
    /// As [`SimWorld::new`], with an oracle in between, whose verdict counts.
    pub fn sanitized(config: Config) -> Self {
        Self::watching(config, Machine::new(config))
    }

    /// As [`SimWorld::sanitized`], under one schedule.
    pub fn sanitized_under(config: Config, schedule: &Schedule) -> Self {
        let machine = Machine::with(config, schedule.strategy(config.cpus), false);
        Self::watching(config, machine)
    }

    fn watching(config: Config, machine: Machine) -> Self {
        let (model, pages) = (Platform::Model, config.pages as usize);
        let setup = oracle::Setup::owned(config.caps, config.cpus, model, RAM, pages);
        let oracle = Some(Oracle::new(setup));
        Self::on(config, Sanitized::new(machine, oracle, |_| {}))
    }

    /// What the oracle says, if it has seen a rule broken.
    pub fn report(&self) -> Option<Report> {
        self.mm.hw.ask(|oracle| oracle.report().copied()).flatten()
    }
}

/// Where all RAM is mapped, on machines that do: as in the kernel.
const LINEAR: VirtRange = VirtRange::from_size(VirtAddr(0xffff_0000_0000_0000), 1 << 47);
/// Where the kernel's mappings are that come and go.
const VMALLOC: VirtRange = VirtRange::from_size(VirtAddr(0xffff_b000_0000_0000), 4 << 30);
/// The same where spaces have copies of the first level: of that, many entries.
const VMALLOC_WIDE: VirtRange = VirtRange::from_size(VMALLOC.start, 64 << 39);

impl<H: Simulated> SimWorld<H> {
    /// The first rule that was broken, in words, as whoever judges this world saw it.
    pub fn verdict(&self) -> Option<String> {
        self.mm.hw.verdict()
    }

    fn on(config: Config, machine: H) -> Self {
        let descs: Vec<_> = (0..=config.pages).map(|_| PageDesc::blank()).collect();
        // The memmap lives as long as the program, in the kernel as here. It begins with a cache line,
        // in the kernel as here: tests see which descriptors share one.
        let skipped = usize::from(descs.as_ptr().addr() % LINE != 0);
        let map = MemMap::new(RAM, &descs.leak()[skipped..][..config.pages as usize]);
        let mut mm = Mm::new(machine, map);
        let ram = PhysRange::new(RAM.base(), (RAM + config.pages).base());
        place(&mut mm.frames, config, ram);
        mm.frames.add(&mm.hw, ram);
        Self { mm }
    }

    /// As [`SimWorld::open_vmalloc`], with all RAM mapped linearly too: the first `pages` of it by pages, the rest
    /// by blocks of 2 MiB.
    ///
    /// # Panics
    /// When there is no memory for it.
    pub fn open_linear(&mut self, pages: u64) {
        self.open_kernel(Some(pages));
    }

    /// Gives the kernel a half of its own: a root, and addresses for mappings that come and go. As in the
    /// kernel it is there to stay.
    ///
    /// # Panics
    /// When there is no memory for it.
    pub fn with_kernel(mut self) -> Self {
        self.open_vmalloc();
        self
    }

    /// As [`SimWorld::with_kernel`].
    ///
    /// # Panics
    /// As there.
    pub fn open_vmalloc(&mut self) {
        self.open_kernel(None);
    }

    fn open_kernel(&mut self, linear: Option<u64>) {
        let root = self.mm.alloc_zeroed(Order::PAGE).expect("memory for a table");
        self.mm.hw.machine().note(Note::TableAlloc(root, Level::Pgd));
        if let Some(pages) = linear {
            self.map_linear(root, pages);
        }
        self.mm.hw.publish(Scope::InnerShareable);
        self.mm.hw.run_kernel(root);
        let space = if self.mm.hw.copied().is_empty() { VMALLOC } else { VMALLOC_WIDE };
        self.mm.open_vmalloc(root, space).expect("memory for a gap");
    }
}

impl<H: Simulated> SimWorld<H> {
    /// Maps all RAM under a root that nobody runs yet, so many pages of it by pages.
    fn map_linear(&mut self, root: Pfn, pages: u64) {
        let ram = self.mm.frames.map().range();
        let parted = ram.start + pages.min(ram.pages()) * PAGE_SIZE;
        let parts = [
            (PhysRange::new(ram.start, parted), Level::Pte),
            (PhysRange::new(parted, ram.end), Level::Pmd),
        ];
        let (mm, machine, mut tables) = (&self.mm, self.mm.hw.machine(), 0);
        // RAM lies below one PMD table.
        let mut table = || {
            let page = mm.alloc_zeroed(Order::PAGE).ok()?;
            let level = [Level::Pud, Level::Pmd].get(tables).copied().unwrap_or(Level::Pte);
            machine.note(Note::TableAlloc(page, level));
            tables += 1;
            Some(page)
        };
        let mut map = KernelMap::new(root);
        for (to, largest) in parts {
            let range = VirtRange::from_size(LINEAR.start + to.start.0, to.bytes());
            let (prot, mem) = (KernelProt::Data, MemType::Normal);
            let mapping = KernelMapping { range, to: to.start, prot, mem, largest };
            map.map(machine, &mapping, &mut table).expect("memory for tables");
        }
        self.mm.know_linear(LINEAR);
    }
}

/// Cuts RAM into nodes, and keeps of it what is to be kept.
fn place(frames: &mut Frames, config: Config, ram: PhysRange) {
    let share = (config.pages / config.nodes).next_multiple_of(PAGE_BLOCK.pages());
    for node in 0..config.nodes {
        let from = RAM + (node * share).min(config.pages);
        frames.place(PhysRange::new(from.base(), ram.end), Node(node as u8));
    }
    for cpu in 0..config.cpus {
        frames.settle(cpu, Node((cpu as u64 % config.nodes) as u8));
    }
    let kept = (config.movable * PAGE_BLOCK.bytes()).min(ram.bytes());
    frames.keep_movable(PhysRange::new(PhysAddr(ram.end.0 - kept), ram.end));
}

impl<H: Simulated> SimWorld<H> {
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
        self.mm.hw.machine().state().turn.plan(Some(steps));
        let body = |cpu| if cpu == 0 { work() } else { intrusion() };
        self.run(2, &body, &mut || {});
        self.mm.hw.machine().state().turn.plan(None)
    }

    fn access(
        &self,
        space: &Space<'_, H>,
        va: VirtAddr,
        store: Option<u64>,
    ) -> Result<u64, FaultOutcome> {
        loop {
            self.mm.hw.machine().step();
            if let Some(value) = self.mm.hw.machine().user_access(va, store) {
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

impl<H: Simulated> World for SimWorld<H> {
    type Machine = H;

    fn mm(&self) -> &Mm<H> {
        &self.mm
    }

    fn cpus(&self) -> usize {
        self.mm.hw.nr_cpus()
    }

    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync), watch: &mut dyn FnMut()) -> usize {
        for (cpu, ended) in self.mm.hw.machine().schedule(cpus, body).into_iter().enumerate() {
            if let Err(panic) = ended {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("without a message");
                let what = format!("panic: {text}");
                self.mm.hw.machine().state().violate(cpu, &Concern::default(), what);
            }
        }
        watch();
        cpus
    }

    fn inside(&self, space: &Space<'_, H>, body: &mut dyn FnMut()) {
        /// Leaves also when the body panics: a space that some CPU runs could never be dropped.
        struct Inside<'a, H: Hardware>(&'a Space<'a, H>);
        impl<H: Hardware> Drop for Inside<'_, H> {
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

    fn load(&self, space: &Space<'_, H>, va: VirtAddr) -> Result<u64, FaultOutcome> {
        self.access(space, va, None)
    }

    fn store(&self, space: &Space<'_, H>, va: VirtAddr, value: u64) -> Result<(), FaultOutcome> {
        self.access(space, va, Some(value)).map(drop)
    }

    fn bare_frames(&self) -> PhysRange {
        let config = self.mm.hw.machine().state().config;
        PhysRange::from_size((RAM + config.pages).base(), config.bare * PAGE_SIZE)
    }

    fn kernel_load(&self, va: VirtAddr) -> Option<u64> {
        self.mm.hw.machine().kernel_load(va, Known::ByPointer)
    }

    fn kernel_store(&self, va: VirtAddr, value: u64) -> bool {
        self.mm.hw.machine().kernel_store(va, Known::ByPointer, value)
    }

    fn kernel_try(&self, va: VirtAddr, store: Option<u64>) -> Option<u64> {
        self.mm.hw.machine().step();
        match store {
            None => self.mm.hw.machine().kernel_load(va, Known::Perhaps),
            Some(value) => {
                self.mm.hw.machine().kernel_store(va, Known::Perhaps, value).then_some(value)
            }
        }
    }

    fn kernel_call(&self, va: VirtAddr) -> Option<u64> {
        self.mm.hw.machine().step();
        let word = self.mm.hw.machine().kernel_fetch(va, Known::ByPointer)?;
        let is_code = word & !(0xffff << 5) == 0xd65f_03c0_5280_0000;
        is_code.then_some(word >> 5 & 0xffff)
    }

    fn yield_now(&self) {
        self.mm.hw.relax();
    }

    fn now_ns(&self) -> u64 {
        self.mm.hw.machine().steps()
    }

    fn interrupted(&self) -> bool {
        self.mm.hw.verdict().is_some()
    }
}
