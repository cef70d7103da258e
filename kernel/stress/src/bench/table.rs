//! One row on all CPUs: a seat for each, parts that begin together, the sums of all.

use super::meter::{Half, Meter, Overhead};
use super::result::{Measured, Setting};
use super::row::Op;
use super::seat::Seat;
use super::{Options, WARM_UP};
use crate::run::Failure;
use crate::world::World;
use abi::{Order, VirtAddr};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use mm::{OutOfMemory, Space};
use sync::{Class, SpinLock};

/// Where seats map: the first at this address, each further one so far behind.
const FIRST_SEAT: VirtAddr = VirtAddr(1 << 40);
const SEAT_SHIFT: u32 = 34;

/// What all seats found.
#[derive(Default)]
struct Found {
    halves: Option<[Half; 2]>,
    overhead: Overhead,
    failure: Option<Failure>,
}

/// What the seats of one measurement share.
pub(super) struct Table<'a, W: World> {
    world: &'a W,
    meter: &'a dyn Meter,
    op: Op<W>,
    /// Rounds in each half.
    half: u64,
    setting: Setting,
    /// Memory for each seat.
    budget: u64,
    /// Windows are marked, and nothing is taken off.
    profile: bool,
    /// Seats that have come to the start of a part, over all parts.
    arrived: AtomicU64,
    /// One of them has failed.
    over: AtomicBool,
    found: SpinLock<Found>,
}

impl<'a, W: World> Table<'a, W> {
    /// For the rounds of `op` that `options` say, on each CPU of `setting`.
    pub(super) fn new(
        world: &'a W,
        meter: &'a dyn Meter,
        op: Op<W>,
        options: Options,
        setting: Setting,
    ) -> Self {
        let rounds = options.rounds.unwrap_or_default();
        Self {
            world,
            meter,
            op,
            half: rounds.div_ceil(2).max(1),
            setting,
            budget: options.bytes / setting.cpus as u64,
            profile: options.profile,
            arrived: AtomicU64::new(0),
            over: AtomicBool::new(false),
            found: SpinLock::new(Class::Console, Found::default()),
        }
    }

    /// Measures on all CPUs: in one space, or each in a space of its own.
    pub(super) fn measure(&self) -> Result<Measured, Failure> {
        let (mm, Setting { cpus, shared, .. }) = (self.world.mm(), self.setting);
        let mut spaces = Vec::new();
        let count = if shared { 1 } else { cpus };
        let refused = OutOfMemory { order: Order::PAGE };
        spaces.try_reserve_exact(count).map_err(|_| refused)?;
        for _ in 0..count {
            spaces.push(Space::new(mm)?);
        }
        let started = self.meter.run(cpus, &|cpu| {
            let space = &spaces[if shared { 0 } else { cpu }];
            let mut result = Ok(());
            self.world.inside(space, &mut || result = self.sit(space, cpu));
            if let Err(failure) = result {
                self.found.lock(&mm.hw).failure.get_or_insert(failure);
                self.over.store(true, Ordering::Relaxed);
            }
        });
        let found = self.found.lock(&mm.hw);
        match (found.failure, &found.halves) {
            (Some(failure), _) => Err(failure),
            (None, Some(halves)) if started == cpus => {
                Ok(Measured::new(halves, self.setting, found.overhead))
            }
            _ => Err(Failure::Threads { started }),
        }
    }

    /// One seat's share.
    fn sit(&self, space: &Space<'_, W::Machine>, cpu: usize) -> Result<(), Failure> {
        let base = FIRST_SEAT + ((cpu as u64) << SEAT_SHIFT);
        let seat = Seat::new(self.world, self.meter, space, base, self.budget);
        let overhead = if self.profile { Overhead::default() } else { seat.overhead() };
        let part = |number: u64, rounds: u64| {
            seat.take();
            seat.mark_windows(self.profile && number > 1);
            // A seat that fails says so; the others have nothing to wait for, or to add.
            let rounds = if self.meet(number) { rounds } else { 0 };
            let (own, together) = (self.meter.instructions(), self.meter.instructions_together());
            let began_ns = self.world.now_ns();
            for _ in 0..rounds {
                (self.op)(&seat)?;
            }
            let own = own.and_then(|start| self.meter.instructions_since(start));
            let together = together.zip(self.meter.instructions_together());
            let ns = (began_ns, self.world.now_ns());
            let mut sums = seat.take();
            sums.discount(&overhead);
            Ok::<_, Failure>(Half { sums, own, together, ns })
        };
        part(1, WARM_UP)?;
        let halves = [part(2, self.half)?, part(3, self.half)?];
        let mut found = self.found.lock(&self.world.mm().hw);
        found.overhead = overhead;
        found.halves = Some(match found.halves {
            None => halves,
            Some(others) => core::array::from_fn(|n| others[n].and(&halves[n])),
        });
        Ok(())
    }

    /// Waits until every seat has come to this part; `false`: one of them never will.
    fn meet(&self, part: u64) -> bool {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < part * self.setting.cpus as u64 {
            if self.over.load(Ordering::Relaxed) {
                return false;
            }
            self.world.yield_now();
        }
        true
    }
}
