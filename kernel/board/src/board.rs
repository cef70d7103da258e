//! The one pass that gathers everything.
//!
//! Work is bounded: of each kind of device that a board has once, only the first enabled node is
//! read; of the others no more than their list holds. Each read looks nodes up by phandle at most
//! a few times, and each look-up is one walk over the blob.

use crate::cpu::{self, Cpu, Psci};
use crate::error::{Fault, TreeError, Warning, What};
use crate::fixed::{List, Text};
use crate::gic::{self, Gic};
use crate::interrupt::{self, Interrupt};
use crate::kind::{Kind, Unique, known};
use crate::memory::{self, Memory, Reservation, Reserved};
use crate::node::Node;
use crate::pci::{self, Pcie, Smmu};
use crate::tree::Tree;
use crate::uart::{self, Stdout, Uart, UartKind};
use crate::value::Status;
use abi::{MAX_CPUS, PhysAddr, PhysRange};

/// The longest command line that is kept: Linux's limit on arm64.
pub const BOOTARGS_MAX: usize = 2048;

/// What the tree says about the board. About 10 KiB: let it live in a static.
///
/// All addresses are the CPU's, below 2^48. What is `None` or empty the tree does not have, has
/// disabled, or has got wrong; `warnings` tells the last apart.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// The maker's name of the board.
    pub model: Text<64>,
    /// What the board is compatible with, the most specific first.
    pub compatible: List<Text<48>, 4>,
    /// The number of this one board, which its firmware writes into the tree; empty if nobody did.
    pub serial_number: Text<32>,
    /// RAM: ascending, disjoint, whole pages, never empty.
    pub memory: List<Memory, 64>,
    /// Memory that is taken. Neither the initrd, nor the tree, nor the kernel is among it.
    pub reserved: List<Reserved, 64>,
    /// The command line.
    pub bootargs: Text<BOOTARGS_MAX>,
    /// The initial RAM disk, byte for byte.
    pub initrd: Option<PhysRange>,
    /// All serial ports we have a driver for, disabled ones included.
    pub uarts: List<Uart, 16>,
    /// The serial port that the tree wants as console.
    pub stdout: Option<Stdout>,
    /// The CPUs, in the order of the tree; no two have the same MPIDR.
    pub cpus: List<Cpu, MAX_CPUS>,
    /// The kinds of CPU; [`Cpu::model`] points here.
    pub cpu_models: List<Text<32>, 4>,
    /// The firmware's power interface.
    pub psci: Option<Psci>,
    /// The interrupt controller.
    pub gic: Option<Gic>,
    /// The CPUs' generic timer.
    pub timer: Option<Timer>,
    /// The blocks of a BCM2711 (or BCM2835) that are ours to drive.
    pub bcm2711: Bcm2711,
    /// The PCIe host bridge.
    pub pcie: Option<Pcie>,
    /// The SMMU.
    pub smmu: Option<Smmu>,
    /// What made no sense.
    pub warnings: List<Warning, 16>,
    /// How many warnings found no place in the list.
    pub warnings_lost: usize,
}

/// The CPUs' generic timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// The virtual timer's interrupt: the one an EL1 kernel uses.
    pub virt: Interrupt,
    /// The non-secure physical timer's interrupt.
    pub phys: Option<Interrupt>,
    /// The rate, where the tree has to correct what firmware left in CNTFRQ_EL0.
    pub clock_hz: Option<u32>,
}

/// Registers of the Broadcom blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bcm2711 {
    /// Power management: watchdog, reset and power-off.
    pub watchdog: Option<PhysRange>,
    /// Pin functions.
    pub gpio: Option<PhysRange>,
    /// Messages to the firmware.
    pub mailbox: Option<PhysRange>,
    /// The block that the mini UART is part of, with its enable bit.
    pub aux: Option<PhysRange>,
}

impl Board {
    /// A board of which nothing is known.
    pub const EMPTY: Self = Self {
        model: Text::EMPTY,
        compatible: List::empty(Text::EMPTY),
        serial_number: Text::EMPTY,
        memory: List::empty(Memory::EMPTY),
        reserved: List::empty(Reserved::EMPTY),
        bootargs: Text::EMPTY,
        initrd: None,
        uarts: List::empty(Uart::EMPTY),
        stdout: None,
        cpus: List::empty(Cpu::EMPTY),
        cpu_models: List::empty(Text::EMPTY),
        psci: None,
        gic: None,
        timer: None,
        bcm2711: Bcm2711 { watchdog: None, gpio: None, mailbox: None, aux: None },
        pcie: None,
        smmu: None,
        warnings: List::empty(Warning::EMPTY),
        warnings_lost: 0,
    };

    /// Reads the tree at the start of `dtb`.
    #[inline(never)]
    pub fn parse(dtb: &[u8]) -> Result<Self, TreeError> {
        let mut board = Self::EMPTY;
        board.fill(&Tree::new(dtb)?)?;
        Ok(board)
    }

    /// Reads a tree into an empty board, where it lies: for a static, and a small stack.
    ///
    /// After an error the board holds what was read until then.
    #[inline(never)]
    pub fn fill(&mut self, tree: &Tree<'_>) -> Result<(), TreeError> {
        for range in tree.reservations() {
            self.reserve(Reserved { range: memory::outwards(range), kind: Reservation::Boot })?;
        }
        let aliases = tree.node_at("/aliases");
        let chosen = tree.node_at("/chosen");
        let stdout = chosen.and_then(|chosen| uart::stdout(tree, chosen));
        if let Some(chosen) = chosen {
            self.read_chosen(chosen);
        }
        let mut seen = 0u32;
        for node in tree.nodes() {
            self.read_place(node)?;
            match node.strings("compatible").find_map(known) {
                Some(Kind::Uart(kind)) => {
                    let index = self.uarts.len();
                    self.read_uart(tree, aliases, node, kind);
                    let is_new = self.uarts.len() > index;
                    if let Some((_, baud)) = stdout.filter(|&(stdout, _)| is_new && stdout == node)
                    {
                        self.stdout = Some(Stdout { uart: index, baud });
                    }
                }
                Some(Kind::Unique(unique)) if node.is_enabled() => {
                    let bit = 1u32 << (unique as u8 & 31);
                    if seen & bit == 0 {
                        seen |= bit;
                        self.read_unique(tree, node, unique).unwrap_or_else(|fault| {
                            self.warn(node, fault);
                        });
                    }
                }
                Some(Kind::Unique(_)) | None => {}
            }
        }
        if self.memory.is_empty() { Err(TreeError::NoMemory) } else { Ok(()) }
    }

    /// Whether the board says it is compatible with `name`.
    pub fn is_compatible(&self, name: &str) -> bool {
        self.compatible.iter().any(|kind| kind.as_str() == name)
    }

    /// The serial port to use: the one the tree wants, else the first enabled one.
    pub fn console(&self) -> Option<&Uart> {
        let is_enabled = |uart: &&Uart| uart.status == Status::Okay;
        let wanted = self.stdout.and_then(|stdout| self.uarts.get(stdout.uart));
        wanted.filter(is_enabled).or_else(|| self.uarts.iter().find(is_enabled))
    }

    /// Bytes of RAM, reserved ones included.
    pub fn memory_bytes(&self) -> u64 {
        // Disjoint ranges below 2^48: the sum cannot overflow.
        self.memory.iter().fold(0, |sum, memory| sum.saturating_add(memory.range.bytes()))
    }

    /// What is known by its place in the tree: the root, memory, reservations and CPUs.
    fn read_place(&mut self, node: Node<'_>) -> Result<(), TreeError> {
        let Some(parent) = node.parent() else {
            self.read_root(node);
            return Ok(());
        };
        let is_memory = || node.string("device_type") == Some("memory");
        if node.level() == 1 && is_memory() && node.is_enabled() {
            memory::read_memory(node, &mut self.memory).unwrap_or_else(|fault| {
                self.warn(node, fault);
            });
        } else if node.level() == 2 && parent.name() == "reserved-memory" && node.is_enabled() {
            let mut kept = Ok(());
            let read = memory::read_reserved(node, |range| kept = kept.and(self.reserve(range)));
            kept?;
            read.unwrap_or_else(|fault| self.warn(node, fault));
        } else if cpu::is_cpu(node) {
            self.read_cpu(node).unwrap_or_else(|fault| self.warn(node, fault));
        }
        Ok(())
    }

    fn read_root(&mut self, root: Node<'_>) {
        self.model = Text::cut_from(root.string("model").unwrap_or_default());
        self.serial_number = Text::cut_from(root.string("serial-number").unwrap_or_default());
        for kind in root.strings("compatible") {
            if self.compatible.push(Text::cut_from(kind)).is_err() {
                break;
            }
        }
    }

    fn read_chosen(&mut self, chosen: Node<'_>) {
        if chosen.property("bootargs").is_some() {
            match chosen.string("bootargs") {
                Some(bootargs) => {
                    self.bootargs = Text::cut_from(bootargs);
                    if bootargs.len() > self.bootargs.len() {
                        let capacity = BOOTARGS_MAX;
                        self.warn(chosen, Fault::TooMany { what: What::BootargsBytes, capacity });
                    }
                }
                None => self.warn(chosen, Fault::Words("bootargs")),
            }
        }
        let (start, end) = ("linux,initrd-start", "linux,initrd-end");
        if chosen.property(start).is_some() || chosen.property(end).is_some() {
            match (chosen.number(start), chosen.number(end)) {
                (Some(from), Some(to)) if from < to && to <= crate::PHYS_LIMIT.0 => {
                    self.initrd = Some(PhysRange::new(PhysAddr(from), PhysAddr(to)));
                }
                // Some loaders write an empty range where there is none.
                (Some(from), Some(to)) if from == to => {}
                (_, Some(value)) => self.warn(chosen, Fault::Value { property: end, value }),
                (_, None) => self.warn(chosen, Fault::Missing(end)),
            }
        }
    }

    fn read_cpu(&mut self, node: Node<'_>) -> Result<(), Fault> {
        let full = Fault::TooMany { what: What::Cpus, capacity: MAX_CPUS };
        if self.cpus.is_full() {
            return Err(full);
        }
        let (mut cpu, fault) = cpu::read_cpu(node)?;
        if self.cpus.iter().any(|other| other.mpidr == cpu.mpidr) {
            return Err(Fault::Duplicate { value: cpu.mpidr });
        }
        if let Some(fault) = fault {
            self.warn(node, fault);
        }
        if let Some(model) = node.string("compatible") {
            let model = Text::cut_from(model);
            let known = self.cpu_models.iter().position(|known| *known == model);
            let next = self.cpu_models.len();
            let index = known.or_else(|| self.cpu_models.push(model).ok().map(|()| next));
            cpu.model = index.and_then(|index| u8::try_from(index).ok());
        }
        self.cpus.push(cpu).map_err(|_| full)
    }

    fn read_uart(
        &mut self,
        tree: &Tree<'_>,
        aliases: Option<Node<'_>>,
        node: Node<'_>,
        kind: UartKind,
    ) {
        let full = Fault::TooMany { what: What::Uarts, capacity: 16 };
        let read = if self.uarts.is_full() {
            Err(full)
        } else {
            uart::read_uart(tree, aliases, node, kind)
        };
        let fault = match read {
            Ok((uart, fault)) => fault.or(self.uarts.push(uart).err().map(|_| full)),
            Err(fault) => Some(fault),
        };
        if let Some(fault) = fault {
            self.warn(node, fault);
        }
    }

    fn read_unique(
        &mut self,
        tree: &Tree<'_>,
        node: Node<'_>,
        unique: Unique,
    ) -> Result<(), Fault> {
        let region = || node.region(0).map(Some);
        match unique {
            Unique::Psci => self.psci = Some(cpu::read_psci(node)?),
            Unique::GicV2 => self.gic = Some(gic::read_v2(node)?),
            Unique::GicV3 => self.gic = Some(gic::read_v3(node)?),
            // The frames below are children of their GIC, so it has been read already.
            Unique::GicV2m => {
                if let Some(Gic::V2 { v2m, .. }) = &mut self.gic {
                    *v2m = region()?;
                }
            }
            Unique::GicIts => {
                if let Some(Gic::V3 { its, .. }) = &mut self.gic {
                    *its = region()?;
                }
            }
            Unique::Timer => self.timer = Some(read_timer(tree, node)?),
            Unique::Watchdog => self.bcm2711.watchdog = region()?,
            Unique::Gpio => self.bcm2711.gpio = region()?,
            Unique::Mailbox => self.bcm2711.mailbox = region()?,
            Unique::Aux => self.bcm2711.aux = region()?,
            Unique::Pcie => self.pcie = Some(pci::read_pcie(node)?),
            Unique::Smmu => self.smmu = Some(pci::read_smmu(tree, node)?),
        }
        Ok(())
    }

    fn reserve(&mut self, range: Reserved) -> Result<(), TreeError> {
        if range.range.is_empty() || self.reserved.contains(&range) {
            return Ok(());
        }
        let full = TreeError::TooManyReservations { capacity: 64 };
        self.reserved.push(range).map_err(|_| full)
    }

    fn warn(&mut self, node: Node<'_>, fault: Fault) {
        let warning = Warning { node: Text::cut_from(node.name()), fault };
        if self.warnings.push(warning).is_err() {
            self.warnings_lost = self.warnings_lost.saturating_add(1);
        }
    }
}

/// The timer's interrupts come in a fixed order (secure, physical, virtual, hypervisor) unless
/// they are named.
///
/// Source: Linux binding `timer/arm,arch_timer.yaml`.
fn read_timer(tree: &Tree<'_>, node: Node<'_>) -> Result<Timer, Fault> {
    let is_named = node.property("interrupt-names").is_some();
    let find = |name, index| match is_named {
        true => interrupt::named(tree, node, name),
        false => interrupt::nth(tree, node, index),
    };
    let virt = find("virt", 2)?.ok_or(Fault::Missing("interrupts"))?;
    if !virt.is_private() {
        return Err(Fault::Value { property: "interrupts", value: virt.intid.into() });
    }
    Ok(Timer { virt, phys: find("phys", 1)?, clock_hz: node.word("clock-frequency") })
}
