//! What keeps CPUs out of each other's way. Knows CPUs and threads; knows no memory management.
//!
//! | file | concern |
//! | --- | --- |
//! | `cpu` | the two traits that a machine (real, modelled, explored) implements for waiting |
//! | `spin_lock` | spin locks that mask interrupts, with a class each |
//! | `mutex` | the sleeping mutex |
//! | `range_lock` | the lock of an address space's layout: faults claim a page, writers a range |
//! | `hazards` | where each CPU's readers say which pages they claim |
//! | `seq_count` | a count that tells lockless readers of a writer |
//! | `arc` | shared ownership whose making can fail |
//! | `walkers` | epochs of lockless walkers: who may still be inside an unlinked table |
//! | `counters` | per-CPU event counters |
//! | `atomic`, `cell` | the atomics façade: core's, or loom's under `--cfg loom`; the same for cells |
//! | `mutant` | every order the protocols rest on, by name, so that tests can take it away |
//!
//! # Lock order
//! A lock may be taken only while no lock of the same or a later class is held ([`Class`] lists
//! them, outermost first). The host's machine checks it on each acquisition.

#![no_std]
#![deny(unsafe_code)]
extern crate alloc;
#[cfg(loom)]
extern crate std;

mod arc;
pub mod atomic;
mod cell;
mod counters;
mod cpu;
mod hazards;
pub mod mutant;
mod mutex;
mod range_lock;
mod seq_count;
mod spin_lock;
mod walkers;

pub use arc::{Arc, OutOfKernelMemory};
pub use counters::Counters;
pub use cpu::{Cpu, IrqGuard, IrqState, Wait, WaitKey};
pub use hazards::{Hazards, PAGES};
pub use mutex::{Mutex, MutexGuard};
pub use range_lock::{Claim, RangeLock, Writer};
pub use seq_count::{SeqCount, SeqSample, SeqWriting};
pub use spin_lock::{Class, SpinGuard, SpinLock};
pub use walkers::{WalkGuard, Walkers};
