//! What a CPU has worked out ahead of its program: a translation, or a fault, of an address that the
//! program comes to later. It holds, whatever happens to tables and TLBs, until the CPU synchronises its
//! context; or until another CPU's TLBI, which waits for what it removes to be used up.
//!
//! Which ones it has worked out is kept for the kernel's half only. Of the lower half it is kept what a CPU's
//! own operations have removed since it synchronised last: until then it may go by that, and nobody may
//! rely on its having lost it.
//!
//! Source: Arm ARM, "Context synchronization event", "Ordering of memory accesses from translation table
//! walks"; FEAT_ETS2. Linux `flush_cache_vmap`, `emit_pte_barriers`.

use crate::State;
use abi::{Asid, PAGE_SIZE, VirtAddr, VirtRange};
use oracle::tlb::Cached;
use pte::Tlbi;

/// How many are kept of each CPU.
const KEPT: usize = 8;

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// The page.
    pub(crate) va: VirtAddr,
    /// Its translation; `None`: there was none.
    pub(crate) found: Option<Cached>,
}

impl State {
    /// `cpu` has walked for `va`, and may come back to what it found.
    pub(crate) fn look_ahead(&mut self, cpu: usize, va: VirtAddr, found: Option<Cached>) {
        if !crate::kernel::is_kernel(va) || cpu >= self.config.cpus {
            return;
        }
        // A fault is worked out after all that precedes it, so not ahead.
        if found.is_none() && self.config.caps.ets2 {
            return;
        }
        let ahead = &mut self.cpus[cpu].ahead;
        if ahead.len() == KEPT {
            ahead.remove(0);
        }
        ahead.push(Ahead { va: va.align_down(PAGE_SIZE), found });
    }

    /// A barrier of `cpu` ended: with FEAT_ETS2, later walks come after it.
    pub(crate) fn walks_after(&mut self, cpu: usize) {
        if self.config.caps.ets2 {
            self.cpus[cpu].ahead.clear();
        }
    }

    /// The number of the user half by which a CPU may have worked out something.
    pub(crate) fn runs_ahead(&self, cpu: usize) -> Option<Asid> {
        self.cpus[cpu].user.filter(|_| cpu < self.config.cpus).map(|(_, asid)| asid)
    }

    /// An operation that `issuer` waited for was carried out on `cpus`. It waited for the others'
    /// accesses; its own may be ahead.
    pub(crate) fn forget_ahead(&mut self, issuer: usize, op: &Tlbi, cpus: u64) {
        let concerned = |va| {
            let range = op.range();
            range.is_none_or(|range| range.overlaps(&VirtRange::from_size(va, PAGE_SIZE)))
        };
        let covers = |ahead: &Ahead| {
            let held = ahead.found.is_some_and(|found| found.is_covered(op));
            held || concerned(ahead.va)
        };
        for (cpu, state) in self.cpus.iter_mut().enumerate() {
            if cpu != issuer && cpus >> cpu & 1 != 0 && !state.ahead.is_empty() {
                state.ahead.retain(|ahead| !covers(ahead));
            }
        }
    }
}
