//! The devices: each driver knows one block of registers and nothing about who uses it.
//!
//! A driver is made from the address at which its registers are mapped, by an `unsafe fn new` that
//! states what that address must be. What it may not know: the device tree, the CPU's page tables
//! or caches (a device that reads memory is handed closures for cache maintenance), who prints.
//!
//! # Rules kept
//! * **No wait without an end.** Every loop on a status bit counts its turns and then returns an
//!   error: a device that is absent, unclocked or wedged costs milliseconds, never the boot.
//! * **No lock, no allocation, no atomic read-modify-write.** Drivers work before the MMU is on and
//!   in a panic. Where two CPUs must not interleave, the method says so and the caller locks.
//! * Registers are read and written through `tock-registers`, one volatile access each.
//!
//! | file | concern |
//! | --- | --- |
//! | `mmio` | a typed register block at an address, barriers, bounded waits |
//! | `uart` | PL011 and mini UART behind one `Uart` |
//! | `bcm2711` | the Raspberry Pi 4's pins, firmware mailbox, reset and power-off |
//! | `gic` | interrupt controllers: GICv2 and GICv3 behind one `Gic` |

#![no_std]

#[cfg(test)]
extern crate std;

pub mod bcm2711;
pub mod gic;
mod mmio;
#[cfg(test)]
mod ram;
pub mod uart;
