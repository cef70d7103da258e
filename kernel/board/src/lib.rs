//! The device tree's façade: everything a kernel may know about its board, typed and checked.
//!
//! [`Board::parse`] reads a flattened device tree once, early in boot, into a fixed-size value that
//! borrows nothing and fits a static. [`Tree`] stays available for the curious: it walks and prints
//! the raw tree.
//!
//! # The rule kept: a tree is input, and input never stops the kernel
//! The blob comes from firmware, a loader or a command line; a panic here would be a silent board.
//! So nothing in this crate can panic on any bytes: the blob is validated as a whole before
//! anything in it is believed, and even so each read is bounds-checked and returns an `Option`.
//! Indexing, unwrapping and unchecked arithmetic are lint errors. Work is bounded by the
//! capacity of the lists times the size of the blob, so nothing loops either.
//!
//! Two kinds of failure: a [`TreeError`] where the blob cannot be trusted at all or names no
//! memory; a [`Warning`] where one node makes no sense, which costs that node only.
//!
//! # What `fdt` does here, and what it does not
//! The `fdt` crate checks the header ([`fdt::Fdt::new`]), reads the memory reservation block and
//! lends its types for properties and cell counts. Its walkers stay unused, for reasons measured
//! on the trees we boot from:
//! * `children()` and `find_node()` assert that no NOP lies between properties or children, and
//!   `all_nodes()` silently ends at one. QEMU's raspi4b overwrites the nodes of devices it lacks
//!   with NOPs, so whatever follows them would be lost (a test shows it).
//! * `chosen()`, `memory()`, `root()`, `clock_frequency()` and the cell counts unwrap; `all_nodes()`
//!   indexes a 64-deep array unchecked.
//! * `interrupts()` knows one- and two-cell specifiers only (a GIC has three) and no inherited
//!   `interrupt-parent`; `reg()` does not apply `ranges`; `memory()` sees one node of several.
//!
//! | file | concern |
//! | --- | --- |
//! | `token` | one token of the structure block |
//! | `tree`, `node` | the validated blob; its nodes and their properties |
//! | `value` | what the bytes of a property mean: cells, strings |
//! | `address` | `reg`, and its way up through `ranges` to the CPU's address |
//! | `interrupt` | specifiers, inherited parents, GIC numbers |
//! | `memory`, `cpu`, `uart`, `gic`, `pci` | what each kind of node says |
//! | `kind`, `board` | which devices matter; the one pass that gathers them |
//! | `report`, `dump` | the board in words; the tree in words |
//! | `error` | what can be wrong, with evidence |
//! | `fixed` | the fixed-capacity list and text that a board is made of |
//!
//! Context: pure functions over bytes; any context, no locks, no allocation. Reading takes about
//! 8 KiB of stack; [`Board::parse`], which returns the board by value, about 10 KiB more, where
//! [`Board::fill`] writes it in place.
//!
//! Source: the Devicetree Specification v0.4, chapters "Devicetree Properties", "Device Node
//! Requirements" and "Flattened Devicetree (DTB) Format"; Linux's binding documents by name.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

#[cfg(test)]
extern crate std;

mod address;
mod board;
mod cpu;
mod dump;
mod error;
mod fixed;
mod gic;
mod interrupt;
mod kind;
mod memory;
mod node;
mod pci;
mod report;
mod token;
mod tree;
mod uart;
mod value;

pub use address::PHYS_LIMIT;
pub use board::{BOOTARGS_MAX, Bcm2711, Board, Timer};
pub use cpu::{Conduit, Cpu, EnableMethod, Psci, PsciVersion};
pub use dump::Detail;
pub use error::{Block, Fault, TokenFault, TreeError, Warning, What};
pub use fixed::{List, Text};
pub use gic::Gic;
pub use interrupt::{Interrupt, Trigger};
pub use memory::{Memory, Reservation, Reserved};
pub use node::{Node, Nodes, Properties};
pub use pci::{IommuMap, Pcie, PcieWindow, Smmu, WindowKind};
pub use tree::{MAX_BYTES, MAX_DEPTH, Tree};
pub use uart::{Stdout, Uart, UartKind};
pub use value::{Cells, Status, Strings};
