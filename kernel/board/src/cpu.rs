//! The CPUs, and how to start them.
//!
//! Source: Devicetree Specification, "/cpus/cpu* Node Properties"; Linux bindings `arm/cpus.yaml`
//! and `arm/psci.yaml`; Linux `of_parse_and_init_cpus`.

use crate::error::Fault;
use crate::node::Node;
use crate::value::Status;
use abi::PhysAddr;

/// The affinity fields of MPIDR_EL1.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// One CPU, in the order of the tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// The affinity fields of its MPIDR_EL1: what tells it from the others.
    pub mpidr: u64,
    /// How to start it.
    pub enable: EnableMethod,
    /// Whether it is to be started at all.
    pub status: Status,
    /// The NUMA node it belongs to; 0 where the tree names none.
    pub numa_node: u32,
    /// Which of [`crate::Board::cpu_models`] it is.
    pub model: Option<u8>,
}

impl Cpu {
    pub(crate) const EMPTY: Self = Self {
        mpidr: 0,
        enable: EnableMethod::Unknown,
        status: Status::Disabled,
        numa_node: 0,
        model: None,
    };
}

/// How a CPU is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnableMethod {
    /// The tree does not say, or says something we do not know: only the boot CPU can do with it.
    Unknown,
    /// By PSCI's CPU_ON.
    Psci,
    /// It waits in WFE for an entry address to appear in this doubleword.
    SpinTable {
        /// Where; a multiple of eight.
        release_addr: PhysAddr,
    },
}

/// The firmware's power interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Psci {
    /// The instruction that calls it.
    pub conduit: Conduit,
    /// What it speaks.
    pub version: PsciVersion,
}

/// The instruction that calls firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conduit {
    /// `hvc`: a hypervisor, or an emulator playing one, answers.
    Hvc,
    /// `smc`: EL3 answers.
    Smc,
}

/// The PSCI version that the tree promises; PSCI_VERSION tells the exact one from 0.2 on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PsciVersion {
    /// Before function ids were standard.
    V0_1 {
        /// The id of CPU_ON, where it has one.
        cpu_on: Option<u32>,
    },
    /// 0.2: standard ids.
    V0_2,
    /// 1.0 or later.
    V1_0,
}

/// Whether this is a CPU's node: the topology map and caches are `/cpus` children too.
pub(crate) fn is_cpu(node: Node<'_>) -> bool {
    node.level() == 2
        && node.parent().is_some_and(|parent| parent.name() == "cpus")
        && (node.string("device_type") == Some("cpu") || node.base_name() == "cpu")
}

/// A CPU; beside it, what is wrong with the way to start it.
pub(crate) fn read_cpu(node: Node<'_>) -> Result<(Cpu, Option<Fault>), Fault> {
    let (reg, _) = node.pairs("reg")?.next().ok_or(Fault::Missing("reg"))?;
    let mpidr = reg as u64;
    if reg & !u128::from(AFFINITY) != 0 {
        return Err(Fault::Value { property: "reg", value: mpidr });
    }
    let (enable, fault) = match read_enable(node) {
        Ok(enable) => (enable, None),
        Err(fault) => (EnableMethod::Unknown, Some(fault)),
    };
    let numa_node = node.word("numa-node-id").unwrap_or_default();
    Ok((Cpu { mpidr, enable, status: node.status(), numa_node, model: None }, fault))
}

fn read_enable(node: Node<'_>) -> Result<EnableMethod, Fault> {
    // All CPUs may share one method, stated above them.
    let shared = || node.parent().and_then(|cpus| cpus.string("enable-method"));
    match node.string("enable-method").or_else(shared) {
        None => Ok(EnableMethod::Unknown),
        Some("psci") => Ok(EnableMethod::Psci),
        Some("spin-table") => {
            let property = "cpu-release-addr";
            let value = node.number(property).ok_or(Fault::Missing(property))?;
            let release_addr = PhysAddr(value);
            let end = value.checked_add(8).filter(|&end| end <= crate::PHYS_LIMIT.0);
            match end {
                Some(_) if release_addr.is_aligned(8) => {
                    Ok(EnableMethod::SpinTable { release_addr })
                }
                _ => Err(Fault::Value { property, value }),
            }
        }
        Some(_) => Err(Fault::Words("enable-method")),
    }
}

/// The firmware's power interface.
pub(crate) fn read_psci(node: Node<'_>) -> Result<Psci, Fault> {
    let conduit = match node.string("method") {
        Some("hvc") => Conduit::Hvc,
        Some("smc") => Conduit::Smc,
        Some(_) => return Err(Fault::Words("method")),
        None => return Err(Fault::Missing("method")),
    };
    let version = if node.is_compatible(&["arm,psci-1.0"]) {
        PsciVersion::V1_0
    } else if node.is_compatible(&["arm,psci-0.2"]) {
        PsciVersion::V0_2
    } else {
        PsciVersion::V0_1 { cpu_on: node.word("cpu_on") }
    };
    Ok(Psci { conduit, version })
}
