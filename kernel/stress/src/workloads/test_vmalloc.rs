//! The cases of Linux's `test_vmalloc` ([`crate::cases`]); here the first and the last word of each area are written,
//! and found again before it goes back.
//!
//! Hunted: an address that is handed out while a CPU still has what was there before; two areas that overlap; a
//! purge that returns what somebody has.

use crate::cases::{self, Ask, Case};
use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::stamp::Stamp;
use crate::world::World;
use abi::{Order, PAGE_SIZE, Pfn, VirtAddr};
use alloc::vec::Vec;
use mm::vmalloc::{Area, Backing};
use mm::{Hardware, VmallocError};
use pte::{KernelProt, MemType};

/// One CPU's turn.
struct Turn<'r, 'w, W: World> {
    run: &'r Run<'w, W>,
    cpu: usize,
    round: u64,
}

/// A workload for each case but the last, which asks for something else.
macro_rules! workloads {
    ($($name:ident: $case:ident),*) => {$(
        pub(super) fn $name<W: World>(
            run: &Run<'_, W>,
            watch: &mut dyn FnMut(),
        ) -> Result<(), Failure> {
            turns(run, watch, &cases::$case)
        }
    )*};
}

workloads! {
    fix_size: FIX_SIZE,
    full_fit: FULL_FIT,
    long_busy_list: LONG_BUSY_LIST,
    random_size: RANDOM_SIZE,
    fix_align: FIX_ALIGN,
    random_size_align: RANDOM_SIZE_ALIGN,
    align_shift: ALIGN_SHIFT,
    pcpu: PCPU
}

/// `vm_map_ram`: a page of one's own, at a kernel address for a moment, again and again.
pub(super) fn map_ram<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut()) -> Result<(), Failure> {
    run.on_cpus(watch, |cpu, _| {
        let page = run.mm().alloc(Order::PAGE)?;
        let (mut round, mut result) = (0, Ok(()));
        while result.is_ok() && run.goes_on(round) {
            result = Turn { run, cpu, round }.map_ram(page);
            round += 1;
        }
        run.mm().free(page);
        result
    })
}

fn turns<W: World>(run: &Run<'_, W>, watch: &mut dyn FnMut(), case: &Case) -> Result<(), Failure> {
    // Half of the memory at most, all CPUs together.
    let share = run.options.bytes / 2 / PAGE_SIZE / run.options.cpus as u64;
    run.on_cpus(watch, |cpu, rng| {
        let mut held = Vec::new();
        let turn = Turn { run, cpu, round: 0 };
        let mut result = turn.hold(&mut held, case.held.min(share));
        if case.is_thinned {
            let mut n = held.len() & !1;
            while n > 0 {
                n -= 2;
                // What takes its place is one that stays.
                run.mm().vfree(held.swap_remove(n));
            }
        }
        let mut round = 0;
        while result.is_ok() && run.goes_on(round) {
            let turn = Turn { run, cpu, round };
            result = (0..case.turns).try_for_each(|n| turn.take(case, round * case.turns + n, rng));
            round += 1;
        }
        let checked = held.iter().try_for_each(|area| turn.check(area));
        held.into_iter().for_each(|area| run.mm().vfree(area));
        result.and(checked)
    })
}

impl<W: World> Turn<'_, '_, W> {
    /// Maps `page`, writes by that address, and finds the word there and in the page.
    fn map_ram(&self, page: Pfn) -> Result<(), Failure> {
        let (mm, world) = (self.run.mm(), self.run.world);
        let area = match mm.vm_map_ram(&[page], KernelProt::Data, MemType::Normal) {
            Ok(area) => area,
            Err(VmallocError::OutOfMemory(_)) => {
                world.yield_now();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let va = area.range().start;
        let expected = self.stamp(va).word();
        let found = world.kernel_store(va, expected).then(|| world.kernel_load(va)).flatten();
        mm.vm_unmap_ram(area);
        self.run.did(1);
        if found != Some(expected) {
            return Err(self.wrong(va, found));
        }
        let (at, found) = (page.base(), mm.hw.peek(page.base()));
        if found == expected {
            return Ok(());
        }
        Err(Failure::WrongFrame { cpu: self.cpu, at, expected, found })
    }

    /// Areas of a page, each with its stamp, as many of `n` as there is memory for.
    fn hold(&self, held: &mut Vec<Area>, n: u64) -> Result<(), Failure> {
        for _ in 0..n {
            let Some(area) = self.area(Ask { pages: 1, align: PAGE_SIZE })? else { return Ok(()) };
            if held.try_reserve(1).is_err() {
                return self.give(area);
            }
            held.push(area);
        }
        Ok(())
    }

    /// One turn: areas that come and go.
    fn take(&self, case: &Case, turn: u64, rng: &mut Rng) -> Result<(), Failure> {
        let cpus = self.run.options.cpus as u64;
        let (mut areas, mut result) = ([None, None], Ok(()));
        for (ask, place) in case.asks(turn, cpus, rng).zip(&mut areas) {
            match self.area(ask) {
                Ok(area) => *place = area,
                Err(failure) => result = result.and(Err(failure)),
            }
        }
        for area in areas.into_iter().rev().flatten() {
            result = result.and(self.give(area));
        }
        result
    }

    /// A stamped area, or none where others have all memory.
    fn area(&self, ask: Ask) -> Result<Option<Area>, Failure> {
        let (mm, bytes) = (self.run.mm(), ask.pages * PAGE_SIZE);
        let area = match mm.vmalloc_aligned(bytes, ask.align, Backing::Pages) {
            Ok(area) => area,
            Err(VmallocError::NoRoom { .. })
                if ask.has_few_places(mm.vmalloc_space(), self.run.options.cpus) =>
            {
                return Ok(None);
            }
            Err(VmallocError::OutOfMemory(_)) => {
                self.run.world.yield_now();
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if !area.range().start.is_aligned(ask.align) {
            self.run.mm().vfree(area);
            let what = "areas that begin elsewhere than at a multiple of what was asked for";
            return Err(Failure::Count { what, expected: 0, found: 1 });
        }
        for va in Self::ends(&area) {
            if !self.run.world.kernel_store(va, self.stamp(va).word()) {
                let lost = self.wrong(va, None);
                self.run.mm().vfree(area);
                return Err(lost);
            }
        }
        Ok(Some(area))
    }

    fn give(&self, area: Area) -> Result<(), Failure> {
        let checked = self.check(&area);
        self.run.mm().vfree(area);
        self.run.did(1);
        checked
    }

    fn check(&self, area: &Area) -> Result<(), Failure> {
        Self::ends(area).into_iter().try_for_each(|va| {
            let found = self.run.world.kernel_load(va);
            if found == Some(self.stamp(va).word()) { Ok(()) } else { Err(self.wrong(va, found)) }
        })
    }

    /// The words that are written: an area's first and its last.
    fn ends(area: &Area) -> [VirtAddr; 2] {
        [area.range().start, VirtAddr(area.range().end.0 - 8)]
    }

    fn stamp(&self, va: VirtAddr) -> Stamp {
        Stamp::new(self.cpu as u8, va, self.round as u16)
    }

    fn wrong(&self, va: VirtAddr, found: Option<u64>) -> Failure {
        Failure::Kernel { cpu: self.cpu, va, expected: self.stamp(va).word(), found }
    }
}
