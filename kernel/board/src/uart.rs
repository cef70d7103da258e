//! Serial ports: which there are, and which is the console.
//!
//! Source: Linux bindings `serial/pl011.yaml`, `serial/brcm,bcm2835-aux-uart.yaml`; Devicetree
//! Specification, "/chosen Node".

use crate::error::Fault;
use crate::interrupt::{self, Interrupt};
use crate::node::Node;
use crate::tree::Tree;
use crate::value::{Cells, Status};
use abi::{PhysAddr, PhysRange};

/// A serial port we have a driver for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Uart {
    /// Which driver.
    pub kind: UartKind,
    /// Its registers, as the CPU sees them.
    pub registers: PhysRange,
    /// Its interrupt, where it has one at the GIC.
    pub interrupt: Option<Interrupt>,
    /// The rate of its clock in Hz, where the tree states one. On the Pi a clock controller makes
    /// it, whose rate only the firmware knows.
    pub clock_hz: Option<u32>,
    /// Whether it is to be used.
    pub status: Status,
    /// N where the tree calls it `serialN`.
    pub alias: Option<u8>,
}

impl Uart {
    pub(crate) const EMPTY: Self = Self {
        kind: UartKind::Pl011,
        registers: PhysRange::new(PhysAddr(0), PhysAddr(0)),
        interrupt: None,
        clock_hz: None,
        status: Status::Disabled,
        alias: None,
    };
}

/// Which serial port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UartKind {
    /// Arm's PL011.
    Pl011,
    /// The Broadcom auxiliary port, 8250-like, clocked by the core clock.
    MiniUart,
}

/// What `/chosen` says about the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stdout {
    /// The index of the console in [`crate::Board::uarts`].
    pub uart: usize,
    /// The rate it asks for, as in `serial0:115200n8`.
    pub baud: Option<u32>,
}

pub(crate) fn read_uart(
    tree: &Tree<'_>,
    aliases: Option<Node<'_>>,
    node: Node<'_>,
    kind: UartKind,
) -> Result<(Uart, Option<Fault>), Fault> {
    let registers = node.region(0)?;
    let (interrupt, fault) = match interrupt::nth(tree, node, 0) {
        Ok(interrupt) => (interrupt, None),
        // A console that must be polled is still a console.
        Err(fault) => (None, Some(fault)),
    };
    let status = if node.is_enabled() { Status::Okay } else { Status::Disabled };
    let alias = aliases.and_then(|aliases| serial_number(aliases, node));
    let clock_hz = clock_hz(tree, node);
    Ok((Uart { kind, registers, interrupt, clock_hz, status, alias }, fault))
}

/// N of the alias `serialN` that names this node.
fn serial_number(aliases: Node<'_>, node: Node<'_>) -> Option<u8> {
    let named = |name: &str| aliases.string(name).is_some_and(|path| node.is_at(path));
    let mut names = aliases.properties().filter(|alias| named(alias.name));
    names.find_map(|alias| alias.name.strip_prefix("serial")?.parse().ok())
}

/// The rate of a port's first clock, if it is one that cannot change.
fn clock_hz(tree: &Tree<'_>, node: Node<'_>) -> Option<u32> {
    if let Some(hz) = node.word("clock-frequency") {
        return Some(hz).filter(|&hz| hz > 0);
    }
    let phandle = Cells::new(node.property("clocks")?.value).word()?;
    let clock = tree.by_phandle(phandle)?;
    let is_fixed = clock.is_compatible(&["fixed-clock"]);
    clock.word("clock-frequency").filter(|&hz| is_fixed && hz > 0)
}

/// The node that is to be the console, and the rate asked for.
pub(crate) fn stdout<'a>(tree: &Tree<'a>, chosen: Node<'a>) -> Option<(Node<'a>, Option<u32>)> {
    // The second name is what older boot loaders write.
    let value = chosen.string("stdout-path").or_else(|| chosen.string("linux,stdout-path"))?;
    let (path, options) = value.split_once(':').unwrap_or((value, ""));
    let digits = options.find(|c: char| !c.is_ascii_digit()).unwrap_or(options.len());
    let baud = options.get(..digits).and_then(|digits| digits.parse().ok());
    Some((tree.node_at(path)?, baud.filter(|&baud| baud > 0)))
}
