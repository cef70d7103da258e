//! What keeps CPUs out of each other's way. Knows CPUs and threads; knows no memory management.
//!
//! | file | concern |
//! | --- | --- |
//! | `cpu` | the two traits that a machine (real, modelled, explored) implements for waiting |
//! | `spin_lock` | spin locks that mask interrupts, with a class each |
//! | `rw_lock` | the sleeping reader-writer lock |
//! | `walkers` | epochs of lockless walkers: who may still be inside an unlinked table |
//! | `counters` | per-CPU event counters |
//! | `atomic` | the atomics façade: core's, or loom's under `--cfg loom` |
//!
//! # Lock order
//! A lock may be taken only while no lock of the same or a later class is held ([`Class`] lists
//! them, outermost first). The host's machine checks it on each acquisition.

#![no_std]
#![deny(unsafe_code)]
extern crate alloc;
#[cfg(loom)]
extern crate std;

pub mod atomic;
mod counters;
mod cpu;
mod rw_lock;
mod spin_lock;
mod walkers;

pub use counters::Counters;
pub use cpu::{Cpu, IrqGuard, IrqState, Wait, WaitKey};
pub use rw_lock::{ReadGuard, RwLock, WriteGuard};
pub use spin_lock::{Class, SpinGuard, SpinLock};
pub use walkers::{WalkGuard, Walkers};
