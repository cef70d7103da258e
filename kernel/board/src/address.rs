//! `reg`, and its way up through `ranges` to the address that a CPU uses.
//!
//! A `reg` names an address on the bus that the node sits on; each bus above may move it. On the
//! Pi, a device at bus address 0x7e20_1000 is the CPU's 0xfe20_1000.
//!
//! Source: Devicetree Specification, "reg" and "ranges"; Linux `of_translate_address`.

use crate::error::Fault;
use crate::node::Node;
use crate::value::{Cells, MAX_CELLS};
use abi::{PhysAddr, PhysRange};
use fdt::node::CellSizes;

/// The end of what a 48-bit physical address reaches: nothing beyond is believed.
pub const PHYS_LIMIT: PhysAddr = PhysAddr(1 << 48);

/// The addresses of a node on its own bus, as pairs of start and size.
pub(crate) struct Reg<'a> {
    cells: Cells<'a>,
    sizes: CellSizes,
}

impl Iterator for Reg<'_> {
    type Item = (u128, u128);

    fn next(&mut self) -> Option<(u128, u128)> {
        if self.cells.is_empty() {
            return None;
        }
        let start = self.cells.number(self.sizes.address_cells)?;
        Some((start, self.cells.number(self.sizes.size_cells)?))
    }
}

impl<'a> Node<'a> {
    /// How many cells the addresses and sizes of this node's children take.
    pub(crate) fn cell_sizes(&self) -> Result<CellSizes, Fault> {
        let default = CellSizes::default();
        let cells = |property: &'static str, default: usize| match self.property(property) {
            None => Ok(default),
            Some(found) => match self.word(property) {
                None => Err(Fault::Length { property, bytes: found.value.len() }),
                Some(cells) if cells as usize <= MAX_CELLS => Ok(cells as usize),
                Some(cells) => Err(Fault::Value { property, value: cells.into() }),
            },
        };
        Ok(CellSizes {
            address_cells: cells("#address-cells", default.address_cells)?,
            size_cells: cells("#size-cells", default.size_cells)?,
        })
    }

    /// A property made of address and size pairs on the node's own bus.
    pub(crate) fn pairs(&self, property: &'static str) -> Result<Reg<'a>, Fault> {
        let value = self.property(property).ok_or(Fault::Missing(property))?.value;
        let sizes = match self.parent() {
            Some(bus) => bus.cell_sizes()?,
            None => CellSizes::default(),
        };
        let entry = sizes.address_cells.saturating_add(sizes.size_cells).saturating_mul(4);
        match value.len().checked_rem(entry) {
            Some(0) => Ok(Reg { cells: Cells::new(value), sizes }),
            _ => Err(Fault::Length { property, bytes: value.len() }),
        }
    }

    /// Entry `index` of `reg` as the CPU sees it; never empty.
    pub(crate) fn region(&self, index: usize) -> Result<PhysRange, Fault> {
        let (start, bytes) = self.pairs("reg")?.nth(index).ok_or(Fault::Missing("reg"))?;
        if bytes == 0 {
            return Err(Fault::Value { property: "reg", value: 0 });
        }
        self.to_cpu(start, bytes)
    }

    /// Translates a range on the bus that this node sits on to the CPU's view.
    pub(crate) fn to_cpu(self, start: u128, bytes: u128) -> Result<PhysRange, Fault> {
        let mut start = start;
        let mut bus = self.parent();
        while let Some(child_side) = bus
            && let Some(parent_side) = child_side.parent()
        {
            start = cross(child_side, parent_side, start, bytes)?;
            bus = Some(parent_side);
        }
        let limit = u128::from(PHYS_LIMIT.0);
        match start.checked_add(bytes) {
            // Both ends are within the limit, so neither is cut by the conversion.
            Some(end) if end <= limit => {
                Ok(PhysRange::new(PhysAddr(start as u64), PhysAddr(end as u64)))
            }
            _ => Err(Fault::Unreachable { address: start as u64 }),
        }
    }
}

/// One bus up: `bus` translates to `above` by its `ranges`.
fn cross(bus: Node<'_>, above: Node<'_>, start: u128, bytes: u128) -> Result<u128, Fault> {
    let unreachable = Fault::Unreachable { address: start as u64 };
    let ranges = bus.property("ranges").ok_or(unreachable)?.value;
    if ranges.is_empty() {
        return Ok(start);
    }
    let (child, parent) = (bus.cell_sizes()?, above.cell_sizes()?);
    let mut cells = Cells::new(ranges);
    while !cells.is_empty() {
        let window = |cells: &mut Cells<'_>| {
            let from = cells.number(child.address_cells)?;
            let to = cells.number(parent.address_cells)?;
            Some((from, to, cells.number(child.size_cells)?))
        };
        let malformed = Fault::Length { property: "ranges", bytes: ranges.len() };
        let (from, to, size) = window(&mut cells).ok_or(malformed)?;
        let inside = start.checked_sub(from).filter(|&offset| {
            offset < size && offset.checked_add(bytes).is_some_and(|end| end <= size)
        });
        if let Some(offset) = inside {
            return to.checked_add(offset).ok_or(unreachable);
        }
    }
    Err(unreachable)
}
