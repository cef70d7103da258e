//! The granule image: boot flow and composition.
//!
//! Everything that knows something is in a crate of its own; this is where they meet. About in the
//! order of the boot:
//!
//! | file | concern |
//! | --- | --- |
//! | `boot` | the flow from the first Rust to the prompt |
//! | `console` | one serial line for all: output, the log, input |
//! | `platform` | a machine, or an imitation of one |
//! | `memory` | from the board's ranges to a memory manager |
//! | `nodes` | memory nodes, and what of them is kept for what moves |
//! | `sanitizer` | the oracle over this kernel's memory manager, in images that have it |
//! | `heap` | the kernel heap, fed by the page allocator |
//! | `exceptions` | faults to their space, deaths to a report |
//! | `interrupts` | the interrupt controller's events to their handlers |
//! | `threads` | the scheduler over this machine |
//! | `stacks` | thread stacks with guard pages |
//! | `cpus` | starting the others |
//! | `litmus` | litmus tests on this machine's CPUs |
//! | `background` | the thread that makes huge pages of small ones |
//! | `world` | the workloads' view of this kernel |
//! | `commands` | what the prompt offers |
//! | `prompt` | the prompt, and scripts |
//! | `power` | the end of a run |

#![cfg_attr(target_os = "none", no_std, no_main)]
#![cfg_attr(not(target_os = "none"), allow(unused))]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod background;
#[cfg(target_os = "none")]
mod boot;
#[cfg(target_os = "none")]
mod commands;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod cpus;
#[cfg(target_os = "none")]
mod exceptions;
#[cfg(target_os = "none")]
mod heap;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod litmus;
#[cfg(target_os = "none")]
mod memory;
#[cfg(target_os = "none")]
mod nodes;
#[cfg(target_os = "none")]
mod platform;
#[cfg(target_os = "none")]
mod power;
#[cfg(target_os = "none")]
mod prompt;
#[cfg(all(target_os = "none", feature = "sanitize"))]
mod sanitizer;
#[cfg(target_os = "none")]
mod stacks;
#[cfg(target_os = "none")]
mod threads;
#[cfg(target_os = "none")]
mod world;

/// The image is built for the machine; on the host there is nothing to run.
#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this program is a kernel; `make run` boots it");
}
