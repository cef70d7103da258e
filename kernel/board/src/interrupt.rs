//! Interrupts: who the controller is, and what its specifier says.
//!
//! Source: Devicetree Specification, "Interrupts and Interrupt Mapping"; Linux bindings
//! `interrupt-controller/arm,gic.yaml` and `arm,gic-v3.yaml`; GIC architecture specification,
//! "INTIDs". Maps (`interrupt-map`) are not followed: only PCI has them.

use crate::error::Fault;
use crate::gic;
use crate::node::Node;
use crate::tree::Tree;
use crate::value::Cells;
use core::fmt;

/// An interrupt as the GIC numbers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupt {
    /// The number in the GIC's registers: 16 to 31 are private to each CPU, from 32 on shared.
    pub intid: u32,
    /// What the line does to ask for attention.
    pub trigger: Trigger,
}

/// How an interrupt line asks for attention.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// The tree leaves it to whoever set the controller up.
    Unspecified,
    /// It rises.
    EdgeRising,
    /// It falls.
    EdgeFalling,
    /// It is high.
    LevelHigh,
    /// It is low.
    LevelLow,
}

impl Interrupt {
    /// Whether each CPU has its own.
    pub const fn is_private(&self) -> bool {
        self.intid < 32 || (self.intid >= 1056 && self.intid < 1120)
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_private() { "PPI" } else { "SPI" };
        write!(f, "{} ({kind}, {:?})", self.intid, self.trigger)
    }
}

/// Interrupt `index` of a node; `None` where it has not so many.
pub(crate) fn nth(
    tree: &Tree<'_>,
    node: Node<'_>,
    index: usize,
) -> Result<Option<Interrupt>, Fault> {
    if let Some(property) = node.property("interrupts-extended") {
        return extended(tree, property.value, index);
    }
    let Some(property) = node.property("interrupts") else { return Ok(None) };
    let controller = parent(tree, node)?;
    let cells = specifier_cells(controller)?;
    let mut specifiers = Cells::new(property.value);
    let malformed = Fault::Length { property: "interrupts", bytes: property.value.len() };
    if specifiers.skip(cells.saturating_mul(index)).is_none() || specifiers.is_empty() {
        return Ok(None);
    }
    decode(controller, &mut specifiers, cells, malformed).map(Some)
}

/// The interrupt that `interrupt-names` calls `name`.
pub(crate) fn named(
    tree: &Tree<'_>,
    node: Node<'_>,
    name: &str,
) -> Result<Option<Interrupt>, Fault> {
    // A limit, because finding entry N of an extended list is work for each of the N.
    match node.strings("interrupt-names").take(16).position(|found| found == name) {
        Some(index) => nth(tree, node, index),
        None => Ok(None),
    }
}

/// Entry `index` of `interrupts-extended`: each names its own controller.
fn extended(tree: &Tree<'_>, value: &[u8], index: usize) -> Result<Option<Interrupt>, Fault> {
    let malformed = Fault::Length { property: "interrupts-extended", bytes: value.len() };
    let mut entries = Cells::new(value);
    for at in 0..=index {
        if entries.is_empty() {
            return Ok(None);
        }
        let phandle = entries.word().ok_or(malformed)?;
        let controller = tree.by_phandle(phandle).ok_or(Fault::Phandle(phandle))?;
        let cells = specifier_cells(controller)?;
        if at == index {
            return decode(controller, &mut entries, cells, malformed).map(Some);
        }
        entries.skip(cells).ok_or(malformed)?;
    }
    Ok(None)
}

/// Who a node's interrupts go to: the `interrupt-parent` of the nearest ancestor that has one,
/// unless a controller lies nearer.
fn parent<'a>(tree: &Tree<'a>, node: Node<'a>) -> Result<Node<'a>, Fault> {
    for at in node.ancestry() {
        if at != node && at.property("#interrupt-cells").is_some() {
            return Ok(at);
        }
        if let Some(phandle) = at.word("interrupt-parent") {
            return tree.by_phandle(phandle).ok_or(Fault::Phandle(phandle));
        }
    }
    Err(Fault::Missing("interrupt-parent"))
}

fn specifier_cells(controller: Node<'_>) -> Result<usize, Fault> {
    match controller.word("#interrupt-cells") {
        // More cells than any binding has would only be a way to skip far.
        Some(cells @ 1..=8) => Ok(cells as usize),
        Some(cells) => Err(Fault::Value { property: "#interrupt-cells", value: cells.into() }),
        None => Err(Fault::Missing("#interrupt-cells")),
    }
}

/// A GIC's specifier: kind, number, flags; GICv3 may add a fourth cell about partitions.
fn decode(
    controller: Node<'_>,
    cells: &mut Cells<'_>,
    count: usize,
    malformed: Fault,
) -> Result<Interrupt, Fault> {
    if count < 3 || !gic::is_gic(controller) {
        return Err(Fault::ForeignController { phandle: controller.phandle().unwrap_or_default() });
    }
    let mut word = || cells.word().ok_or(malformed);
    let (kind, number, flags) = (word()?, word()?, word()?);
    let value = Fault::Value { property: "interrupts", value: number.into() };
    let (base, limit) = match kind {
        0 => (32, 988),
        1 => (16, 16),
        2 => (4096, 1024),
        3 => (1056, 64),
        _ => return Err(Fault::Value { property: "interrupts", value: kind.into() }),
    };
    let intid = number.checked_add(base).filter(|_| number < limit).ok_or(value)?;
    let trigger = match flags & 0xf {
        0 => Trigger::Unspecified,
        1 => Trigger::EdgeRising,
        2 => Trigger::EdgeFalling,
        4 => Trigger::LevelHigh,
        8 => Trigger::LevelLow,
        _ => return Err(Fault::Value { property: "interrupts", value: flags.into() }),
    };
    Ok(Interrupt { intid, trigger })
}
