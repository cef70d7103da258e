//! Sets of CPUs: one word, as a value and as something that all CPUs may change.

use abi::{CpuId, MAX_CPUS};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

const _: () = assert!(MAX_CPUS <= 64, "a set of CPUs is one word");

/// Some CPUs.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuSet(u64);

impl CpuSet {
    /// Nobody.
    pub const EMPTY: Self = Self(0);

    /// One CPU.
    pub const fn only(cpu: CpuId) -> Self {
        Self(1 << cpu.0)
    }

    /// The first `nr_cpus` CPUs.
    pub const fn first_n(nr_cpus: usize) -> Self {
        Self(if nr_cpus >= 64 { u64::MAX } else { (1 << nr_cpus) - 1 })
    }

    /// With `cpu` in it.
    pub const fn with(self, cpu: CpuId) -> Self {
        Self(self.0 | 1 << cpu.0)
    }

    /// Without `cpu`.
    pub const fn without(self, cpu: CpuId) -> Self {
        Self(self.0 & !(1 << cpu.0))
    }

    /// Those that are in both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `cpu` is in it.
    pub const fn contains(self, cpu: CpuId) -> bool {
        self.0 & 1 << cpu.0 != 0
    }

    /// Whether nobody is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many are in it.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The one with the lowest id.
    pub fn first(self) -> Option<CpuId> {
        self.iter().next()
    }

    /// Its members, lowest id first.
    pub fn iter(self) -> impl Iterator<Item = CpuId> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let lowest = left.trailing_zeros() as u16;
            left &= left - 1;
            Some(CpuId(lowest))
        })
    }
}

impl FromIterator<CpuId> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        cpus.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, cpu) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(",")?;
            }
            write!(f, "{cpu}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

/// A set that CPUs enter and leave by themselves.
///
/// Every change is sequentially consistent: the set of idle CPUs is one side of a Dekker pair (see
/// `idle`), and none of these are on a path where the difference could be measured.
pub(crate) struct AtomicCpuSet(AtomicU64);

impl AtomicCpuSet {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn load(&self) -> CpuSet {
        CpuSet(self.0.load(Ordering::SeqCst))
    }

    pub(crate) fn store(&self, set: CpuSet) {
        self.0.store(set.0, Ordering::SeqCst);
    }

    pub(crate) fn insert(&self, cpu: CpuId) {
        self.0.fetch_or(1 << cpu.0, Ordering::SeqCst);
    }

    /// Takes `cpu` out; tells whether this call did it.
    pub(crate) fn remove(&self, cpu: CpuId) -> bool {
        self.0.fetch_and(!(1 << cpu.0), Ordering::SeqCst) & 1 << cpu.0 != 0
    }

    /// Takes out the member with the lowest id.
    pub(crate) fn remove_first(&self) -> Option<CpuId> {
        loop {
            let first = self.load().first()?;
            if self.remove(first) {
                return Some(first);
            }
        }
    }
}
