//! Which memory there is, and which of it is taken.
//!
//! Lists leave here in whole pages: memory rounded inwards, reservations outwards. Memory is
//! ascending and disjoint.
//!
//! Source: Devicetree Specification, "/memory node" and "/reserved-memory Node"; Linux
//! `early_init_dt_scan_memory`, `fdt_scan_reserved_mem`.

use crate::address::PHYS_LIMIT;
use crate::error::{Fault, What};
use crate::fixed::List;
use crate::node::Node;
use abi::{PAGE_SIZE, PhysAddr, PhysRange};

/// A range of RAM, in whole pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Where.
    pub range: PhysRange,
    /// The NUMA node it belongs to; 0 where the tree names none.
    pub numa_node: u32,
}

impl Memory {
    pub(crate) const EMPTY: Self = Self { range: EMPTY, numa_node: 0 };
}

/// Memory that is not free, in whole pages. Ranges may overlap each other and lie outside RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Where.
    pub range: PhysRange,
    /// By whom and how strictly.
    pub kind: Reservation,
}

impl Reserved {
    pub(crate) const EMPTY: Self = Self { range: EMPTY, kind: Reservation::Boot };
}

/// How strictly a range is reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reservation {
    /// By the memory reservation block: in use when the kernel starts.
    Boot,
    /// By a node under `/reserved-memory`: somebody's, but it may be mapped.
    Owned,
    /// The same, and it must not even be mapped: a speculative read would do harm.
    NoMap,
    /// The same, but free for movable data until its owner asks. We treat it as taken.
    Reusable,
}

const EMPTY: PhysRange = PhysRange::new(PhysAddr(0), PhysAddr(0));

/// Adds the ranges of one memory node. A range that makes no sense is left out, and the first such
/// is reported; the others count.
pub(crate) fn read_memory<const N: usize>(
    node: Node<'_>,
    memory: &mut List<Memory, N>,
) -> Result<(), Fault> {
    // A boot loader that takes some away says so here.
    let usable = "linux,usable-memory";
    let property = if node.property(usable).is_some() { usable } else { "reg" };
    let numa_node = node.word("numa-node-id").unwrap_or_default();
    let mut outcome = Ok(());
    for (start, bytes) in node.pairs(property)? {
        let added = node
            .to_cpu(start, bytes)
            .and_then(|range| add(Memory { range: inwards(range), numa_node }, memory));
        outcome = outcome.and(added);
    }
    memory.as_mut_slice().sort_unstable_by_key(|memory| memory.range.start);
    outcome
}

fn add<const N: usize>(new: Memory, memory: &mut List<Memory, N>) -> Result<(), Fault> {
    // The Pi's firmware fills the node in, and leaves empty entries behind.
    if new.range.is_empty() {
        return Ok(());
    }
    if let Some(other) = memory.iter().find(|other| other.range.overlaps(&new.range)) {
        return Err(Fault::Duplicate { value: other.range.start.0 });
    }
    let full = Fault::TooMany { what: What::MemoryRanges, capacity: N };
    memory.push(new).map_err(|_| full)
}

/// Hands each range that a child of `/reserved-memory` reserves to `keep`.
///
/// A child without `reg` asks for an allocation to be made later; it reserves nothing yet. A bus
/// that does not translate is taken to be the CPU's: a range kept in vain costs memory, a range
/// forgotten costs the machine.
pub(crate) fn read_reserved(node: Node<'_>, mut keep: impl FnMut(Reserved)) -> Result<(), Fault> {
    if node.property("reg").is_none() {
        return Ok(());
    }
    let kind = if node.property("no-map").is_some() {
        Reservation::NoMap
    } else if node.property("reusable").is_some() {
        Reservation::Reusable
    } else {
        Reservation::Owned
    };
    for (start, bytes) in node.pairs("reg")? {
        let raw = || {
            let end = start.saturating_add(bytes).min(u128::from(PHYS_LIMIT.0));
            PhysRange::new(PhysAddr(start.min(end) as u64), PhysAddr(end as u64))
        };
        let range = node.to_cpu(start, bytes).unwrap_or_else(|_| raw());
        keep(Reserved { range: outwards(range), kind });
    }
    Ok(())
}

/// The whole pages inside.
pub(crate) fn inwards(range: PhysRange) -> PhysRange {
    // Ranges end at 48 bits at most, so rounding up cannot wrap.
    PhysRange::new(range.start.align_up(PAGE_SIZE), range.end.align_down(PAGE_SIZE))
}

/// All pages touched, below the limit.
pub(crate) fn outwards(range: PhysRange) -> PhysRange {
    let end = PhysAddr(range.end.0.min(PHYS_LIMIT.0)).align_up(PAGE_SIZE);
    if range.is_empty() { EMPTY } else { PhysRange::new(range.start.align_down(PAGE_SIZE), end) }
}
