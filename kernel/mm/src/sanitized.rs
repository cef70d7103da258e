//! A machine that is watched: [`Hardware`] for any hardware, which tells an oracle of each step.
//!
//! # In which order
//! A store, a barrier and the end of a user half are told after they are done, a TLBI and the beginning of
//! a user half before. So whatever an oracle takes for true is true: what it takes for stored is, what it
//! takes for flushed was asked for after what it takes for visible. Software's stores to one table come
//! one after the other, under its lock, and are told under it; hardware's own writes are told by nobody,
//! and the oracle compares words without them.
//!
//! A plain store is made as an exchange here, to learn what it replaces. Where that hides a bug, because
//! hardware wrote in between, the oracle still sees a plain store.
//!
//! Only builds with the `sanitize` feature have it; there, `None` for an oracle is a machine that is not
//! watched.

mod untold;

use crate::{Hardware, Levels, Note, Slot};
use abi::{Asid, CpuId, Level, Order, Pfn, PhysAddr, VirtRange};
use alloc::boxed::Box;
use core::ops::Deref;
use oracle::{By, How, Oracle, Report, Site};
use pte::{Caps, Scope, Tlbi};
use sync::atomic::{AtomicBool, Ordering};
use sync::{Class, Cpu, IrqState, SpinLock, Wait, WaitKey};
use untold::Untold;

/// Hardware, and perhaps an oracle that watches it.
pub struct Sanitized<H> {
    hardware: H,
    oracle: Option<SpinLock<Oracle>>,
    /// For each CPU.
    untold: Box<[Untold]>,
    /// Who is told of the first broken rule, once. Interrupts are masked, and no lock of the oracle's held.
    tell: fn(&Report),
    told: AtomicBool,
}

/// The CPU as the oracle's own lock sees it: that one is nobody's to watch.
struct Unwatched<'a, H>(&'a H);

impl<H: Cpu> Cpu for Unwatched<'_, H> {
    fn id(&self) -> CpuId {
        self.0.id()
    }
    fn irq_save(&self) -> IrqState {
        self.0.irq_save()
    }
    fn irq_restore(&self, state: IrqState) {
        self.0.irq_restore(state);
    }
    fn relax(&self) {
        self.0.relax();
    }
}

/// The same CPU, with its interrupts masked already.
struct Masked<'a, H>(&'a H);

impl<H: Cpu> Cpu for Masked<'_, H> {
    fn id(&self) -> CpuId {
        self.0.id()
    }
    fn irq_save(&self) -> IrqState {
        IrqState(0)
    }
    fn irq_restore(&self, _: IrqState) {}
    fn relax(&self) {
        self.0.relax();
    }
}

impl<H: Hardware> Sanitized<H> {
    /// `hardware`, watched by `oracle`; `tell` hears of the first broken rule.
    pub fn new(hardware: H, oracle: Option<Oracle>, tell: fn(&Report)) -> Self {
        let oracle = oracle.map(|oracle| SpinLock::new(Class::Console, oracle));
        let untold = (0..hardware.nr_cpus()).map(|_| Untold::none()).collect();
        Self { hardware, oracle, untold, tell, told: AtomicBool::new(false) }
    }

    /// The hardware itself, whose steps nobody hears of.
    pub const fn hardware(&self) -> &H {
        &self.hardware
    }

    /// Asks the oracle, if there is one. Context: any.
    pub fn ask<R>(&self, question: impl FnOnce(&mut Oracle) -> R) -> Option<R> {
        let cpu = Unwatched(&self.hardware);
        Some(question(&mut self.oracle.as_ref()?.lock(&cpu)))
    }

    /// Tells the oracle of a step taken at `site`.
    #[inline]
    fn event(&self, site: Site, event: impl FnOnce(&mut Oracle, By)) {
        let Some(oracle) = &self.oracle else { return };
        let cpu = Unwatched(&self.hardware);
        // First the lock, whose holder stays on its CPU.
        let mut oracle = oracle.lock(&cpu);
        let by = By { cpu: cpu.id().0 as u8, site };
        self.untold(&cpu).tell(&mut oracle, &Masked(&self.hardware));
        event(&mut oracle, by);
        if oracle.report().is_some() {
            let report = oracle.report().copied();
            drop(oracle);
            self.tell_once(report);
        }
    }

    /// What this CPU has not told yet. Interrupts are masked.
    #[inline]
    fn untold(&self, cpu: &impl Cpu) -> &Untold {
        &self.untold[usize::from(cpu.id().0)]
    }

    /// Tells it of a store, or keeps that for later.
    #[inline]
    fn stored(&self, site: Site, slot: Slot, old: u64, new: u64, how: How) {
        if self.oracle.is_none() {
            return;
        }
        let _here = self.hardware.mask_irqs();
        let cpu = Masked(&self.hardware);
        if !self.untold(&cpu).keep(site, slot, old, new, how, &cpu) {
            self.store_now(site, slot, old, new, how);
        }
    }

    /// Whether a store links a table. The lock is held: nobody else links one there.
    #[inline]
    fn is_link(&self, slot: Slot, new: u64) -> bool {
        let _here = self.hardware.mask_irqs();
        let cpu = Masked(&self.hardware);
        self.untold(&cpu).is_link(new, &cpu) && self.hardware.peek(slot.0) == 0
    }

    #[inline(never)]
    fn store_now(&self, site: Site, slot: Slot, old: u64, new: u64, how: How) {
        self.event(site, |oracle, by| oracle.store(by, slot.0, old, new, how));
    }

    /// A lock of a table with entries of `level` is about to be taken.
    #[inline(never)]
    fn lock_table(&self, level: Level) {
        if self.oracle.is_some() {
            let cpu = Unwatched(&self.hardware);
            self.event(Site::Unknown, |oracle, by| oracle.lock(by, level));
            self.untold(&cpu).lock(level, &cpu);
        }
    }

    /// One is about to be released.
    #[inline(never)]
    fn unlock_table(&self, level: Level) {
        if self.oracle.is_some() {
            let cpu = Unwatched(&self.hardware);
            self.untold(&cpu).unlock(level, &cpu);
            self.event(Site::Unknown, |oracle, by| oracle.unlock(by, level));
        }
    }

    #[cold]
    fn tell_once(&self, report: Option<Report>) {
        if let Some(report) = report
            && !self.told.swap(true, Ordering::Relaxed)
        {
            (self.tell)(&report);
        }
    }
}

impl<H> Deref for Sanitized<H> {
    type Target = H;
    fn deref(&self) -> &H {
        &self.hardware
    }
}

/// The level of the tables that locks of `class` guard, as far as locks tell them apart.
fn guarded(class: Class) -> Option<Level> {
    match class {
        Class::PteTable | Class::PteTable2 => Some(Level::Pte),
        Class::PmdTable | Class::PmdTable2 => Some(Level::Pmd),
        _ => None,
    }
}

impl<H: Hardware> Cpu for Sanitized<H> {
    fn id(&self) -> CpuId {
        self.hardware.id()
    }

    fn irq_save(&self) -> IrqState {
        self.hardware.irq_save()
    }

    fn irq_restore(&self, state: IrqState) {
        self.hardware.irq_restore(state);
    }

    fn relax(&self) {
        self.hardware.relax();
    }

    fn lock_wanted(&self, class: Class) {
        self.hardware.lock_wanted(class);
        if let Some(level) = guarded(class) {
            self.lock_table(level);
        }
    }

    fn lock_tried(&self, class: Class) {
        self.hardware.lock_tried(class);
        if let Some(level) = guarded(class) {
            self.lock_table(level);
        }
    }

    fn lock_dropped(&self, class: Class) {
        if let Some(level) = guarded(class) {
            self.unlock_table(level);
        }
        self.hardware.lock_dropped(class);
    }
}

impl<H: Hardware> Wait for Sanitized<H> {
    fn wait(&self, key: WaitKey, ready: &mut dyn FnMut() -> bool) {
        self.hardware.wait(key, ready);
    }

    fn wake(&self, key: WaitKey) {
        self.hardware.wake(key);
    }

    fn yield_now(&self) {
        self.hardware.yield_now();
    }
}

impl<H: Hardware> Hardware for Sanitized<H> {
    fn caps(&self) -> &Caps {
        self.hardware.caps()
    }

    fn nr_cpus(&self) -> usize {
        self.hardware.nr_cpus()
    }

    #[inline]
    fn load(&self, slot: Slot) -> u64 {
        self.hardware.load(slot)
    }

    fn store(&self, slot: Slot, word: u64) {
        let site = Site::here();
        if self.oracle.is_none() {
            return self.hardware.store(slot, word);
        }
        if self.is_link(slot, word) {
            self.store_now(site, slot, 0, word, How::Store);
            return self.hardware.store(slot, word);
        }
        let old = self.hardware.swap(slot, word);
        self.stored(site, slot, old, word, How::Store);
    }

    fn swap(&self, slot: Slot, word: u64) -> u64 {
        let site = Site::here();
        let old = self.hardware.swap(slot, word);
        self.stored(site, slot, old, word, How::Exchange);
        old
    }

    fn compare_exchange(&self, slot: Slot, old: u64, new: u64) -> Result<(), u64> {
        let site = Site::here();
        self.hardware.compare_exchange(slot, old, new)?;
        self.stored(site, slot, old, new, How::Exchange);
        Ok(())
    }

    fn fill(&self, first: Slot, n: usize, word: u64, step: u64) {
        let site = Site::here();
        self.hardware.fill(first, n, word, step);
        self.event(site, |oracle, by| oracle.fill(by, first.0, n, word, step));
    }

    fn peek(&self, at: PhysAddr) -> u64 {
        self.hardware.peek(at)
    }

    fn poke(&self, at: PhysAddr, value: u64) {
        self.hardware.poke(at, value);
    }

    fn zero(&self, pfn: Pfn, order: Order) {
        self.hardware.zero(pfn, order);
    }

    fn copy(&self, from: Pfn, to: Pfn, order: Order) {
        self.hardware.copy(from, to, order);
    }

    fn make_executable(&self, pfn: Pfn, order: Order) {
        self.hardware.make_executable(pfn, order);
    }

    fn tlbi(&self, op: Tlbi) {
        self.event(Site::here(), |oracle, by| oracle.tlbi(by, op));
        self.hardware.tlbi(op);
    }

    fn publish(&self, scope: Scope) {
        let site = Site::here();
        // Who is preempted in between has executed it where he was: nothing is said for elsewhere.
        let _here = self.hardware.mask_irqs();
        self.hardware.publish(scope);
        self.event(site, |oracle, by| oracle.publish(by, scope));
    }

    fn complete(&self, scope: Scope) {
        let site = Site::here();
        let _here = self.hardware.mask_irqs();
        self.hardware.complete(scope);
        self.event(site, |oracle, by| oracle.complete(by, scope));
    }

    fn synchronize_context(&self) {
        let site = Site::here();
        let _here = self.hardware.mask_irqs();
        self.hardware.synchronize_context();
        self.event(site, |oracle, by| oracle.synchronize(by));
    }

    fn switch_user(&self, root: Pfn, asid: Asid) {
        self.event(Site::here(), |oracle, by| oracle.enter(by, root, asid));
        self.hardware.switch_user(root, asid);
    }

    fn switch_user_off(&self) {
        let site = Site::here();
        self.hardware.switch_user_off();
        self.event(site, |oracle, by| oracle.leave(by));
    }

    fn copied(&self) -> Levels {
        self.hardware.copied()
    }

    fn sync_kernel(&self, range: VirtRange) {
        self.hardware.sync_kernel(range);
    }

    fn note(&self, note: Note) {
        let site = Site::here();
        match note {
            Note::FrameAlloc(pfn, order) => {
                self.event(site, |oracle, by| oracle.frame_alloc(by, pfn, order));
            }
            Note::FrameFree(pfn, order) => {
                self.event(site, |oracle, by| oracle.frame_free(by, pfn, order));
            }
            Note::TableAlloc(pfn, level) => {
                self.event(site, |oracle, by| oracle.table_alloc(by, pfn, level));
            }
            Note::TableFree(pfn, level) => {
                self.event(site, |oracle, by| oracle.table_free(by, pfn, level));
            }
            Note::Done(root, range) => {
                self.event(site, |oracle, by| oracle.done(by, root, range));
            }
            Note::Quarantine(range) => self.event(site, |oracle, _| oracle.quarantine(range)),
            Note::Unaliased(pfn, order) => {
                self.event(site, |oracle, by| oracle.unaliased(by, pfn, order));
            }
            Note::CpuLeaves => self.event(site, |oracle, by| oracle.cpu_leaves(by)),
            Note::CpuJoins => self.event(site, |oracle, by| oracle.cpu_joins(by)),
            Note::Walk(_) | Note::Count(_) => {}
        }
        self.hardware.note(note);
    }
}
