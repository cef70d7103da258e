//! The interrupt controller: which GIC, and where its register frames are.
//!
//! Source: Linux bindings `interrupt-controller/arm,gic.yaml` and `arm,gic-v3.yaml`.

use crate::error::{Fault, What};
use crate::fixed::List;
use crate::node::Node;
use abi::PhysRange;

/// Names of GICs whose programming model is version 2.
pub(crate) const V2: [&str; 4] =
    ["arm,gic-400", "arm,cortex-a15-gic", "arm,cortex-a7-gic", "arm,cortex-a9-gic"];
/// The name of version 3 and of version 4, which adds to it.
pub(crate) const V3: &str = "arm,gic-v3";

/// The interrupt controller and its frames, as the CPU sees them.
#[derive(Clone, Copy, Debug)]
pub enum Gic {
    /// Memory-mapped CPU interfaces; at most eight CPUs.
    V2 {
        /// The distributor.
        distributor: PhysRange,
        /// The CPU interface, each CPU's own at the same address.
        cpu_interface: PhysRange,
        /// The frame that turns MSI writes into shared interrupts.
        v2m: Option<PhysRange>,
    },
    /// CPU interfaces in system registers.
    V3 {
        /// The distributor.
        distributor: PhysRange,
        /// Where the redistributors are, one after the other in each region.
        redistributors: List<PhysRange, 8>,
        /// Bytes from one redistributor to the next, where they are further apart than their
        /// frames are long.
        stride: Option<u64>,
        /// The translation service for MSIs.
        its: Option<PhysRange>,
    },
}

/// Whether the node is a GIC, so that its specifiers have three cells that mean what we think.
pub(crate) fn is_gic(node: Node<'_>) -> bool {
    node.strings("compatible").any(|kind| kind == V3 || V2.contains(&kind))
}

pub(crate) fn read_v2(node: Node<'_>) -> Result<Gic, Fault> {
    Ok(Gic::V2 { distributor: node.region(0)?, cpu_interface: node.region(1)?, v2m: None })
}

pub(crate) fn read_v3(node: Node<'_>) -> Result<Gic, Fault> {
    let property = "#redistributor-regions";
    let regions = node.word(property).unwrap_or(1);
    let distributor = node.region(0)?;
    let mut redistributors = List::<_, 8>::empty(distributor);
    for region in 1..=regions {
        let full = Fault::TooMany { what: What::RedistributorRegions, capacity: 8 };
        redistributors.push(node.region(region as usize)?).map_err(|_| full)?;
    }
    if redistributors.is_empty() {
        return Err(Fault::Value { property, value: 0 });
    }
    let property = "redistributor-stride";
    let stride = match node.number(property) {
        // Two frames of 64 KiB are the least; the binding asks for a multiple of that.
        Some(value) if value == 0 || value & 0x1_ffff != 0 => {
            return Err(Fault::Value { property, value });
        }
        stride => stride,
    };
    Ok(Gic::V3 { distributor, redistributors, stride, its: None })
}
