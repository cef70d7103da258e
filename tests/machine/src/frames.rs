//! Frames and tables change hands: what leaves its owner must not be in any TLB that is in use, and who
//! takes up an ASID must not find anything under it that is not its own.

use crate::memory::Use;
use crate::stale::Stale;
use crate::timeline::{Concern, What};
use crate::{CpuState, State};
use abi::{Asid, Level, Order, PAGE_SIZE, Pfn, VirtAddr};
use oracle::tlb::Cached;
use oracle::tlb::Held;
use pte::{Entry, Leaf};

impl State {
    /// A block goes to somebody.
    pub(crate) fn frame_alloc(&mut self, cpu: usize, pfn: Pfn, order: Order) {
        self.memory.set_use(pfn, order, Use::Data);
        self.timeline.add(self.step, cpu, What::Frame { pfn, order, owned: true });
    }

    /// A block leaves its owner.
    pub(crate) fn frame_free(&mut self, cpu: usize, pfn: Pfn, order: Order) {
        self.timeline.add(self.step, cpu, What::Frame { pfn, order, owned: false });
        // Who uses a kernel address that was given up is wrong, whoever has the frame.
        let quarantine = self.tables.quarantine();
        let kernel = self.tables.kernel();
        let pages = order.pages();
        let may_be_parted = |cached: &Cached| {
            cached.level == Level::Pmd
                && Some(cached.space) == kernel
                && cached.leads_into(pfn, pages)
        };
        let stale = self.stale.iter().map(Stale::cached).filter(may_be_parted);
        let parted: Vec<_> = stale.filter(|cached| self.is_parted(cached, pfn, order)).collect();
        let leads = |cached: &Cached| {
            cached.leads_into(pfn, pages) && !quarantine.has(cached) && !parted.contains(cached)
        };
        let what = format!("frame {pfn} (order {}) freed", order.0);
        self.must_not_be_cached(cpu, Concern::frames(pfn, order), &what, leads);
        self.memory.set_use(pfn, order, Use::Free);
    }

    /// Whether pages that say the same have come in the place of a leaf of 2 MiB of the kernel's, as far as it leads to the
    /// frames that are freed: who has the leaf still has nothing that memory does not give.
    fn is_parted(&self, cached: &Cached, pfn: Pfn, order: Order) -> bool {
        let Some(leaf) = cached.leaf() else { return false };
        let first = leaf.pfn();
        let frames = (pfn.0..pfn.0 + order.pages()).map(Pfn);
        let mut led_to = frames.filter(|pfn| cached.leads_into(*pfn, 1)).map(|pfn| pfn - first);
        led_to.all(|n| {
            let found = self.kernel_leaf(cached.va + n * PAGE_SIZE);
            found.is_some_and(|found| found.same_mapping(leaf.piece(n)))
        })
    }

    /// The leaf that the kernel's tables have for an address.
    fn kernel_leaf(&self, va: VirtAddr) -> Option<Leaf> {
        let (mut table, mut level) = (self.tables.kernel_root()?, Level::Pgd);
        loop {
            let word = self.memory.read(table.base() + 8 * level.index(va) as u64)?;
            match pte::decode(level, word) {
                Entry::Table(next) => (table, level) = (next.pfn(), level.down()?),
                Entry::Leaf(leaf) => return Some(leaf),
                _ => return None,
            }
        }
    }

    /// No CPU has a translation of the block by a kernel address in quarantine.
    pub(crate) fn unaliased(&mut self, cpu: usize, pfn: Pfn, order: Order) {
        let concern = Concern::frames(pfn, order);
        let quarantine = self.tables.quarantine();
        let is_alias =
            |cached: &Cached| cached.leads_into(pfn, order.pages()) && quarantine.has(cached);
        let found = self.stale.iter().find(|stale| is_alias(&stale.cached()));
        if let Some((other, cached)) = found.map(|stale| (stale.cpu, stale.cached())) {
            let what =
                format!("{pfn} is to have no alias while cpu {other} has yet to lose {cached}");
            self.violate(cpu, &concern.and(&cached), what);
        }
    }

    /// A page becomes a table.
    pub(crate) fn table_alloc(&mut self, cpu: usize, pfn: Pfn, level: Level) {
        self.memory.set_use(pfn, Order::PAGE, Use::Table(level));
        self.tables.add(pfn, level);
        if level == Level::Pgd {
            self.copy_for(pfn);
        }
        self.timeline.add(self.step, cpu, What::Table { pfn, level, is_table: true });
    }

    /// A table leaves its owner.
    pub(crate) fn table_free(&mut self, cpu: usize, pfn: Pfn, level: Level) {
        self.timeline.add(self.step, cpu, What::Table { pfn, level, is_table: false });
        let concern = Concern::frames(pfn, Order::PAGE);
        let place = self.tables.place(&self.memory, pfn.base());
        if let Some(place) = place
            && self.stays.is_running(place.space)
        {
            let what = format!("{level} table {pfn} freed while a running space has it linked");
            self.violate(cpu, &concern, what);
        }
        let what = format!("{level} table {pfn} freed");
        self.must_not_be_cached(cpu, concern, &what, |cached| cached.table() == Some(pfn));
        self.tables.remove(pfn);
        self.drop_copy(pfn);
    }

    /// From now on nobody may use what `leads` there. Where a CPU could, that is a violation; where a
    /// CPU runs something else meanwhile, it is one if it comes back with the translation.
    fn must_not_be_cached(
        &mut self,
        me: usize,
        concern: Concern,
        what: &str,
        leads: impl Fn(&Cached) -> bool,
    ) {
        let now = self.step.max(1);
        let kernel = self.tables.kernel();
        let mut usable: Option<(usize, Held)> = None;
        for (cpu, state) in self.cpus.iter_mut().enumerate() {
            let running = state.asid();
            // The kernel's own mappings may outlive an owner; what they no longer give is stale.
            let leads = |held: &&mut Held| leads(&held.cached) && Some(held.cached.space) != kernel;
            for held in state.tlb.iter_mut().filter(leads) {
                if held.cached.serves(running) {
                    usable.get_or_insert((cpu, *held));
                } else if held.freed == 0 {
                    held.freed = now;
                }
            }
        }
        if let Some((cpu, Held { cached, since, .. })) = usable {
            let what = format!("{what} while cpu {cpu} has {cached} since step {since}");
            self.violate(me, &concern.and(&cached), what);
        }
        if self.stale.is_empty() {
            return;
        }
        let cpus = &self.cpus;
        let running = |cpu: usize| cpus[cpu].asid();
        let leads = |stale: &Stale| leads(&stale.cached());
        let why = format!("{what} at step {now}");
        if let Some(stale) = self.stale.must_not_be_used(running, &why, leads) {
            let (cpu, cached) = (stale.cpu, stale.cached());
            let what = format!("{what} while cpu {cpu} has yet to lose {cached}");
            self.violate(me, &concern.and(&cached), what);
        }
    }

    /// `cpu` takes up a space under an ASID.
    pub(crate) fn enter(&mut self, cpu: usize, root: Pfn, asid: Asid) {
        let space = self.tables.space(root);
        if space.is_none() {
            let what = format!("cpu {cpu} runs {root}, which is no root");
            self.violate(cpu, &Concern::frames(root, Order::PAGE), what);
        }
        // A device's numbers are its own.
        let devices = self.config.cpus;
        let twin = |(other, state): &(usize, &CpuState)| {
            ![cpu, devices].contains(other)
                && matches!(state.user, Some((r, a)) if r != root && a == asid)
        };
        if let Some((other, _)) = self.cpus.iter().enumerate().find(twin) {
            let what = format!(
                "asid {asid} taken up for root {root} while cpu {other} runs another space under it"
            );
            self.violate(cpu, &Concern::default(), what);
        }
        let now = self.tick();
        self.synchronize(cpu);
        self.stays.leave(cpu, now);
        self.timeline.add(self.step, cpu, What::Runs(Some((root, asid))));
        self.cpus[cpu].user = Some((root, asid));
        let kernel = self.tables.kernel();
        let wrong = |held: &&Held| {
            let foreign = space.is_some() && ![space, kernel].contains(&Some(held.cached.space));
            held.cached.asid == asid && (held.freed != 0 || foreign)
        };
        let held = self.cpus[cpu].tlb.iter().find(wrong).copied();
        if let Some(Held { cached, since, freed, .. }) = held {
            let why = match freed {
                0 => "it is another space's".into(),
                step => format!("what it leads to was freed at step {step}"),
            };
            let what = format!("asid {asid} taken up with {cached}, cached at step {since}: {why}");
            self.violate(cpu, &Concern::default().and(&cached), what);
        }
        let trap = self.stale.trap(cpu, asid);
        if let Some((cached, why)) = trap.map(|(stale, why)| (stale.cached(), why.to_owned())) {
            let what = format!("asid {asid} taken up with {cached} perhaps still cached: {why}");
            self.violate(cpu, &Concern::default().and(&cached), what);
        }
        if let Some(space) = space {
            self.stays.enter(space, cpu, asid);
            let hides = |cpu, slot, at| self.hidden.hides(cpu, slot, at);
            self.stale.enter(space, cpu, asid, hides);
        }
        self.enter_kernel(cpu, asid);
    }

    /// `cpu` runs no space.
    pub(crate) fn leave(&mut self, cpu: usize) {
        let now = self.tick();
        self.synchronize(cpu);
        self.stays.leave(cpu, now);
        self.cpus[cpu].user = None;
        self.enter_kernel(cpu, Asid(0));
        self.timeline.add(self.step, cpu, What::Runs(None));
    }
}
