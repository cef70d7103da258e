//! Kernel threads: per-CPU round robin with preemption, sleeping, blocking waits, and calls to other
//! CPUs. Knows CPUs, time and stacks; knows no memory management and no interrupt controller.
//!
//! | file | concern |
//! | --- | --- |
//! | `port` | the doors: the engine (registers), the port (interrupts, time), stacks, address spaces |
//! | `thread` | what a thread is and how it is named |
//! | `table` | the fixed table of threads, and lists through it |
//! | `run_queue` | one CPU's ready threads, sleepers and next timer event |
//! | `scheduler` | placement, preemption, the switch |
//! | `block`, `wait_table` | waiting and waking without losing a wake-up |
//! | `spawn` | making, joining and ending threads; a CPU's first thread |
//! | `idle` | a CPU without work: stealing, WFI |
//! | `cross_call` | a function run on other CPUs |
//! | `scope` | a function run by a thread on each of some CPUs |
//! | `stop` | silence for a dying CPU's report |
//! | `ps` | the listing |
//! | `cpu_set` | sets of CPUs |
//! | `native` | the engine over `arch`, and the kernel's one scheduler as functions |
//!
//! The same source runs on the host under an engine made of host threads, so what is tested is what
//! boots.
//!
//! # What may be called where
//! | context | may |
//! | --- | --- |
//! | thread, interrupts unmasked, no spin lock | everything |
//! | spin lock held (not one of class `Sched`), or interrupts masked | `wake`, `current`, `threads` |
//! | interrupt handler | the same, its own `on_*`, and at its end `preempt_point` |
//! | dying CPU | `stop_others`, `on_stop`, `threads`, `current`; `wake` does nothing |
//!
//! A handler that runs `wake` never switches: the woken thread gets its turn. Preemption happens at
//! `preempt_point` alone, which an interrupt reaches only where interrupts are unmasked; so a spin
//! lock's holder, or a lockless walker, is never preempted.

#![no_std]
#![deny(unsafe_code)]
#[cfg(test)]
extern crate std;

mod block;
mod cpu_set;
mod cross_call;
mod idle;
#[cfg(target_os = "none")]
mod native;
mod port;
mod ps;
mod run_queue;
mod scheduler;
mod scope;
mod spawn;
mod stop;
mod table;
mod thread;
mod wait_table;

#[cfg(test)]
mod tests;

pub use block::Waited;
pub use cpu_set::CpuSet;
pub use cross_call::Targets;
#[cfg(target_os = "none")]
pub use native::*;
pub use port::{Engine, Hooks, Port, Sgi, StackSource};
pub use ps::ThreadInfo;
pub use run_queue::SLICE_NS;
pub use scheduler::Scheduler;
pub use spawn::{JoinError, SpawnError, Spec};
pub use stop::Stopped;
pub use table::MAX_THREADS;
pub use thread::{Affinity, Entry, Fate, Name, Slot, State, ThreadId};
