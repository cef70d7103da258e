//! Kernel addresses that CPUs let each other read.

use crate::rng::Rng;
use crate::run::{Failure, Run};
use crate::world::World;
use abi::VirtAddr;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

/// One notice for each CPU.
pub(super) struct Board(Vec<Notice>);

/// Where a CPU lets others read, the word they find there (0: any), and how many are at it.
#[derive(Default)]
struct Notice {
    at: AtomicU64,
    word: AtomicU64,
    readers: AtomicU32,
}

impl Board {
    /// An empty board for the CPUs of a run.
    pub(super) fn new<W: World>(run: &Run<'_, W>) -> Result<Self, Failure> {
        super::list_of(run.options.cpus as u64, |_| Ok(Notice::default())).map(Self)
    }

    /// Others may read at `va` from now on, where nothing but `word` is, if that is not 0. The CPU's notice is
    /// withdrawn before it unmaps the address or writes there.
    pub(super) fn show(&self, cpu: usize, va: VirtAddr, word: u64) {
        self.0[cpu].word.store(word, SeqCst);
        self.0[cpu].at.store(va.0, SeqCst);
    }

    /// Whether others may read at `va`.
    pub(super) fn shows(&self, cpu: usize, va: VirtAddr) -> bool {
        self.0[cpu].at.load(SeqCst) == va.0
    }

    /// Nobody reads any more where this CPU let them.
    pub(super) fn withdraw<W: World>(&self, run: &Run<'_, W>, cpu: usize) {
        self.0[cpu].at.store(0, SeqCst);
        while self.0[cpu].readers.load(SeqCst) > 0 {
            run.world.yield_now();
        }
    }

    /// Reads where some CPU lets one.
    pub(super) fn visit<W: World>(
        &self,
        run: &Run<'_, W>,
        cpu: usize,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        let notice = &self.0[rng.below(self.0.len() as u64) as usize];
        notice.readers.fetch_add(1, SeqCst);
        let va = VirtAddr(notice.at.load(SeqCst));
        let expected = notice.word.load(SeqCst);
        let found = if va.0 == 0 { Some(expected) } else { run.world.kernel_load(va) };
        notice.readers.fetch_sub(1, SeqCst);
        match found {
            Some(found) if expected == 0 || found == expected => Ok(()),
            found => Err(Failure::Kernel { cpu, va, expected, found }),
        }
    }
}
