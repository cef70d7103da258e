//! Where an operation is measured: a CPU, an address space with room, and a clock to start and stop.

use super::meter::{Extent, Meter, Overhead, Sums};
use crate::run::{Failure, keep_walk};
use crate::world::World;
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Pfn, Prot, VirtAddr, VirtRange};
use core::cell::Cell;
use core::hint::black_box;
use mm::{FaultOutcome, Huge, Mm, Place, Space};
use sync::Cpu;

/// Windows around nothing, and the turns in each where there is a loop, to find the overhead.
const EMPTY_WINDOWS: u64 = 64;
const EMPTY_TURNS: u64 = 256;

/// One CPU's place in a measurement. The calling thread is bound to the CPU and inside the space.
///
/// An operation prepares what it needs, opens windows around what is to be measured, and cleans up;
/// that is one round, and there are many of them.
pub struct Seat<'a, W: World> {
    /// The machine.
    pub world: &'a W,
    /// The space to work in.
    pub space: &'a Space<'a, W::Machine>,
    /// The first address that this seat may map at: nobody else does so within 16 GiB.
    pub base: VirtAddr,
    /// Memory that this seat may use.
    budget: u64,
    meter: &'a dyn Meter,
    /// Whether windows are marked for somebody outside.
    marks: Cell<bool>,
    sums: Cell<Sums>,
}

/// What was counted before a window.
struct Before {
    events: [u64; Event::COUNT],
    ipis: u64,
    ns: u64,
}

impl<'a, W: World> Seat<'a, W> {
    pub(super) fn new(
        world: &'a W,
        meter: &'a dyn Meter,
        space: &'a Space<'a, W::Machine>,
        base: VirtAddr,
        budget: u64,
    ) -> Self {
        Self {
            world,
            space,
            base,
            budget,
            meter,
            marks: Cell::new(false),
            sums: Cell::new(Sums::ZERO),
        }
    }

    /// The memory manager.
    pub fn mm(&self) -> &'a Mm<W::Machine> {
        self.world.mm()
    }

    /// As many of `wanted` bytes as memory allows, in whole blocks of 2 MiB; at least one.
    pub fn afford(&self, wanted: u64) -> u64 {
        wanted.min(self.budget / PMD_SIZE * PMD_SIZE).max(PMD_SIZE)
    }

    // --- windows -----------------------------------------------------------------------------

    /// Measures `body`, which does `units` of what the operation counts itself in.
    pub fn time<T>(&self, units: u64, body: impl FnOnce() -> T) -> T {
        self.window(Extent { units: units as i64, windows: 1, turns: 0 }, 1, body)
    }

    /// Measures `n` turns of `body`, a unit each. What the loop takes is not counted.
    pub fn time_each(
        &self,
        n: u64,
        body: impl FnMut(u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let extent = Extent { units: n as i64, windows: 1, turns: n as i64 };
        self.window(extent, 1, || each(n, body))
    }

    /// As [`Seat::time_each`], where a turn does `units` of what the operation counts itself in.
    pub fn time_units(
        &self,
        n: u64,
        units: u64,
        body: impl FnMut(u64) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let extent = Extent { units: (n * units) as i64, windows: 1, turns: n as i64 };
        self.window(extent, 1, || each(n, body))
    }

    /// Measures `body` and takes it off: what an operation would have done anyway.
    pub fn time_less<T>(&self, body: impl FnOnce() -> T) -> T {
        self.window(Extent { units: 0, windows: 1, turns: 0 }, -1, body)
    }

    /// Never inlined, so that every window has the same instructions around its body.
    #[inline(never)]
    fn window<T>(&self, extent: Extent, sign: i64, body: impl FnOnce() -> T) -> T {
        let before = self.open();
        let start = self.meter.instructions();
        let result = body();
        let instructions = start.and_then(|start| self.meter.instructions_since(start));
        self.close(&before, instructions, extent, sign);
        result
    }

    /// What there was before a window.
    #[inline(never)]
    fn open(&self) -> Before {
        let (events, ipis) = self.counts();
        self.mark(true);
        Before { events, ipis, ns: self.world.now_ns() }
    }

    /// Adds what there is after a window, or takes it off.
    #[inline(never)]
    fn close(&self, before: &Before, instructions: Option<u64>, extent: Extent, sign: i64) {
        let ns = self.world.now_ns() - before.ns;
        self.mark(false);
        let (events, ipis) = self.counts();
        let took = Sums {
            extent,
            instructions: instructions.unwrap_or(0) as i64,
            ns: ns as i64,
            ipis: ipis.wrapping_sub(before.ipis) as i64,
            events: core::array::from_fn(|n| events[n].wrapping_sub(before.events[n]) as i64),
        };
        let mut sums = self.sums.get();
        sums.add(&took, sign);
        self.sums.set(sums);
    }

    /// From now on windows are marked for somebody outside, or not.
    pub(super) fn mark_windows(&self, marks: bool) {
        self.marks.set(marks);
    }

    fn mark(&self, begin: bool) {
        if self.marks.get() {
            self.meter.mark(begin);
        }
    }

    /// What this CPU has counted so far.
    fn counts(&self) -> ([u64; Event::COUNT], u64) {
        let (mm, cpu) = (self.mm(), self.mm().hw.id());
        (mm.stats.of(cpu), self.meter.interrupts_sent(cpu))
    }

    /// What was measured since the last time.
    pub(super) fn take(&self) -> Sums {
        self.sums.replace(Sums::ZERO)
    }

    /// What measuring takes by itself, here and now.
    pub(super) fn overhead(&self) -> Overhead {
        self.take();
        for _ in 0..EMPTY_WINDOWS {
            self.time(0, || ());
        }
        let windows = self.take();
        for _ in 0..EMPTY_WINDOWS {
            // A loop around nothing cannot fail.
            let _ = self.time_each(EMPTY_TURNS, |_| Ok(()));
        }
        Overhead::of(&windows, &self.take())
    }

    // --- what operations are made of ---------------------------------------------------------

    /// Maps `bytes` at the seat's `offset`.
    #[inline]
    pub fn map(&self, offset: u64, bytes: u64, huge: Huge) -> Result<VirtRange, Failure> {
        let place = Place::At(self.base + offset);
        Ok(self.space.map(place, bytes, Prot::ReadWrite, huge)?)
    }

    /// Unmaps all of `range`.
    #[inline]
    pub fn unmap(&self, range: VirtRange) -> Result<(), Failure> {
        Ok(self.space.unmap(range)?)
    }

    /// Writes to `va` through the CPU's translation: an exception where nothing is mapped yet.
    #[inline]
    pub fn store(&self, va: VirtAddr) -> Result<(), Failure> {
        match self.world.store(self.space, va, va.0) {
            Ok(()) => Ok(()),
            Err(outcome) => Err(self.refused(va, Access::Write, outcome)),
        }
    }

    /// Reads from `va`, likewise.
    #[inline]
    pub fn load(&self, va: VirtAddr) -> Result<(), Failure> {
        match self.world.load(self.space, va) {
            Ok(_) => Ok(()),
            Err(outcome) => Err(self.refused(va, Access::Read, outcome)),
        }
    }

    /// Resolves a write fault at `va` without there having been one.
    #[inline]
    pub fn fault(&self, va: VirtAddr) -> Result<(), Failure> {
        match self.space.fault(va, Access::Write) {
            FaultOutcome::Mapped | FaultOutcome::Spurious => Ok(()),
            outcome => Err(self.refused(va, Access::Write, outcome)),
        }
    }

    /// Maps `bytes` at the seat's `offset` and gives it all its memory, in folios of `step` bytes.
    pub fn filled(
        &self,
        offset: u64,
        bytes: u64,
        huge: Huge,
        step: u64,
    ) -> Result<VirtRange, Failure> {
        let range = self.map(offset, bytes, huge)?;
        each(bytes / step, |n| self.fault(range.start + n * step))?;
        Ok(range)
    }

    /// Takes a block that nothing maps.
    #[inline]
    pub fn block(&self, order: Order) -> Result<Pfn, Failure> {
        Ok(self.mm().alloc(order)?)
    }

    /// Gives such a block back.
    pub fn give(&self, block: Pfn) {
        self.mm().free(block);
    }

    #[cold]
    fn refused(&self, va: VirtAddr, access: Access, outcome: FaultOutcome) -> Failure {
        let (cpu, walk) = (self.mm().hw.id().index(), keep_walk(self.space, va));
        Failure::WrongOutcome { cpu, va, access, outcome: Some(outcome), walk }
    }
}

/// The addresses of `range`, `step` bytes apart.
pub(super) fn at(range: VirtRange, n: u64, step: u64) -> VirtAddr {
    debug_assert!(n * step < range.bytes() && step >= PAGE_SIZE);
    range.start + n * step
}

/// The loop that [`Seat::overhead`] knows the cost of: the same source, so that it is the same code.
#[inline(always)]
fn each(n: u64, mut body: impl FnMut(u64) -> Result<(), Failure>) -> Result<(), Failure> {
    for turn in 0..n {
        body(black_box(turn))?;
    }
    Ok(())
}
