//! aarch64: everything that is done with an instruction that Rust has no word for.
//!
//! Knows no board and no policy, allocates nothing, and calls nothing above it except through hooks
//! that were registered at boot ([`exception::Handlers`], `machine::Threads`). It implements the
//! memory manager's hardware trait; it is not part of the memory manager.
//!
//! | module | concern |
//! | --- | --- |
//! | `boot` | from the first instruction to Rust at its linked address, on each CPU |
//! | `layout` | where things are in the upper half |
//! | `init` | setting up the executing CPU |
//! | `caps` | what a CPU can do, and whether it fits the others |
//! | `percpu` | what each CPU has of its own |
//! | `exception` | vectors, faults, deaths |
//! | `uaccess` | accesses that may fail |
//! | `backtrace` | who called whom |
//! | `context` | switching between threads |
//! | `irq` | masks and waiting |
//! | `barrier`, `tlbi`, `cache`, `at` | one family of instructions each |
//! | `frames` | clearing and copying pages |
//! | `code` | running what was written a moment ago |
//! | `litmus` | running a few instructions that are data |
//! | `machine` | the memory manager's hardware trait |
//! | `timer`, `pmu` | time and counting |
//! | `power`, `cpu_start`, `semihosting` | firmware, or what stands in for it |
//!
//! On the host only what is pure is compiled: decoding, arithmetic, the backtrace's walk. The
//! condition is `target_os`, not `target_arch`, for there are aarch64 hosts too.

#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(target_os = "none")]
pub mod at;
pub mod backtrace;
#[cfg(target_os = "none")]
pub mod barrier;
#[cfg(target_os = "none")]
pub mod boot;
#[cfg(target_os = "none")]
pub mod cache;
pub mod caps;
#[cfg(target_os = "none")]
pub mod code;
#[cfg(target_os = "none")]
pub mod context;
#[cfg(target_os = "none")]
pub mod cpu_start;
pub mod exception;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub mod init;
#[cfg(target_os = "none")]
pub mod irq;
pub mod layout;
#[cfg(target_os = "none")]
pub mod litmus;
#[cfg(target_os = "none")]
pub mod machine;
#[cfg(target_os = "none")]
pub mod percpu;
#[cfg(target_os = "none")]
pub mod pmu;
#[cfg(target_os = "none")]
pub mod power;
#[cfg(target_os = "none")]
pub mod semihosting;
pub mod timer;
#[cfg(target_os = "none")]
pub mod tlbi;
#[cfg(target_os = "none")]
pub mod uaccess;

#[cfg(target_os = "none")]
pub use init::{CpuError, control_translation, init_cpu};
#[cfg(target_os = "none")]
pub use machine::{LocalCpu, Machine, Threads};
