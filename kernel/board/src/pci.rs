//! The PCIe host bridge and the SMMU in front of it, where the board has them.
//!
//! Source: Linux bindings `pci/host-generic-pci.yaml`, `pci/pci-iommu.txt`,
//! `iommu/arm,smmu-v3.yaml`; the PCI bus binding to IEEE 1275, "Physical address formats".

use crate::error::{Fault, What};
use crate::fixed::List;
use crate::interrupt::{self, Interrupt};
use crate::node::Node;
use crate::tree::Tree;
use crate::value::Cells;
use abi::{PhysAddr, PhysRange};

/// A PCIe host bridge with ECAM configuration space.
#[derive(Clone, Copy, Debug)]
pub struct Pcie {
    /// Configuration space: 4 KiB a function, 1 MiB a bus.
    pub ecam: PhysRange,
    /// The first and the last bus.
    pub buses: (u8, u8),
    /// Where the CPU reaches what functions decode.
    pub windows: List<PcieWindow, 4>,
    /// How requester ids become stream ids.
    pub iommu_map: List<IommuMap, 4>,
}

/// A window from the CPU's addresses to the bus's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PcieWindow {
    /// What is behind it.
    pub kind: WindowKind,
    /// Its start on the PCI bus.
    pub pci: u64,
    /// Where the CPU sees it.
    pub cpu: PhysRange,
}

impl PcieWindow {
    const EMPTY: Self =
        Self { kind: WindowKind::Io, pci: 0, cpu: PhysRange::new(PhysAddr(0), PhysAddr(0)) };
}

/// What is behind a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WindowKind {
    /// I/O ports.
    Io,
    /// Memory for 32-bit BARs.
    Memory32,
    /// Memory for 64-bit BARs.
    Memory64,
}

/// Requester ids `rid..rid + count` use streams `stream..stream + count` of one SMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IommuMap {
    /// The first requester id (bus, device, function).
    pub rid: u32,
    /// The SMMU's phandle; see [`Smmu::phandle`].
    pub smmu: u32,
    /// The first stream id.
    pub stream: u32,
    /// How many.
    pub count: u32,
}

impl IommuMap {
    const EMPTY: Self = Self { rid: 0, smmu: 0, stream: 0, count: 0 };
}

/// An SMMU of version 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Smmu {
    /// Both register pages.
    pub registers: PhysRange,
    /// What iommu maps call it; 0 where nothing can refer to it.
    pub phandle: u32,
    /// The event queue is no longer empty.
    pub event: Option<Interrupt>,
    /// A command finished whose completion was to be signalled.
    pub command_sync: Option<Interrupt>,
    /// A global error.
    pub global_error: Option<Interrupt>,
}

pub(crate) fn read_pcie(node: Node<'_>) -> Result<Pcie, Fault> {
    let mut pcie = Pcie {
        ecam: node.region(0)?,
        buses: read_buses(node)?,
        windows: List::empty(PcieWindow::EMPTY),
        iommu_map: List::empty(IommuMap::EMPTY),
    };
    if let Some(ranges) = node.property("ranges") {
        read_windows(node, ranges.value, &mut pcie.windows)?;
    }
    if let Some(map) = node.property("iommu-map") {
        let malformed = Fault::Length { property: "iommu-map", bytes: map.value.len() };
        let mut cells = Cells::new(map.value);
        while !cells.is_empty() {
            let mut word = || cells.word().ok_or(malformed);
            let entry = IommuMap { rid: word()?, smmu: word()?, stream: word()?, count: word()? };
            keep(&mut pcie.iommu_map, entry)?;
        }
    }
    Ok(pcie)
}

fn read_buses(node: Node<'_>) -> Result<(u8, u8), Fault> {
    let property = "bus-range";
    let Some(found) = node.property(property) else { return Ok((0, 255)) };
    let malformed = Fault::Length { property, bytes: found.value.len() };
    let mut cells = Cells::new(found.value);
    let mut word = || cells.word().ok_or(malformed);
    let (first, last) = (word()?, word()?);
    match (u8::try_from(first), u8::try_from(last)) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(Fault::Value { property, value: last.into() }),
    }
}

/// PCI addresses have three cells: flags, then a 64-bit address.
fn read_windows(
    node: Node<'_>,
    ranges: &[u8],
    windows: &mut List<PcieWindow, 4>,
) -> Result<(), Fault> {
    let malformed = Fault::Length { property: "ranges", bytes: ranges.len() };
    let outer = node.parent().ok_or(Fault::Missing("reg"))?.cell_sizes()?;
    let inner = node.cell_sizes()?;
    if inner.address_cells != 3 {
        let value = inner.address_cells as u64;
        return Err(Fault::Value { property: "#address-cells", value });
    }
    let mut cells = Cells::new(ranges);
    while !cells.is_empty() {
        let flags = cells.word().ok_or(malformed)?;
        let pci = cells.number(2).ok_or(malformed)? as u64;
        let start = cells.number(outer.address_cells).ok_or(malformed)?;
        let bytes = cells.number(inner.size_cells).ok_or(malformed)?;
        let kind = match flags >> 24 & 3 {
            1 => WindowKind::Io,
            2 => WindowKind::Memory32,
            3 => WindowKind::Memory64,
            // Configuration space has no window of its own here.
            _ => continue,
        };
        keep(windows, PcieWindow { kind, pci, cpu: node.to_cpu(start, bytes)? })?;
    }
    Ok(())
}

fn keep<T: Copy, const N: usize>(list: &mut List<T, N>, item: T) -> Result<(), Fault> {
    list.push(item).map_err(|_| Fault::TooMany { what: What::PcieEntries, capacity: N })
}

pub(crate) fn read_smmu(tree: &Tree<'_>, node: Node<'_>) -> Result<Smmu, Fault> {
    Ok(Smmu {
        registers: node.region(0)?,
        phandle: node.phandle().unwrap_or_default(),
        event: interrupt::named(tree, node, "eventq")?,
        command_sync: interrupt::named(tree, node, "cmdq-sync")?,
        global_error: interrupt::named(tree, node, "gerror")?,
    })
}
