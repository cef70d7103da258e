//! Litmus tests on the CPUs of this machine.
//!
//! The `litmus` room knows what a test is and what may become of it; here it is run. Its instructions
//! are assembled and executed as they are, at EL1 or EL0, on tables that are real and that the test
//! changes for real; its faults are caught and noted.
//!
//! | file | concern |
//! | --- | --- |
//! | `needs` | what a machine may lack, and what is refused |
//! | `shape` | what a test asks of memory |
//! | `ground` | a test's memory and tables |
//! | `lab` | threads on CPUs, batch after batch |
//! | `seat` | one thread at one instance |
//! | `meet` | where threads wait for each other |
//!
//! # What protects the kernel
//! A test's half of the address space maps its own pages, its own tables and its instructions, and what
//! a thread does to its own translation ends with the thread. Not protected: the kernel's half, from a
//! thread at EL1 that computes an address there; and all of memory, from a test that writes a
//! descriptor of somebody else's frame, which no name in a test gives it.

mod ground;
mod lab;
mod meet;
mod needs;
mod seat;
mod shape;

pub(crate) use ground::{Ground, GroundError};
pub(crate) use lab::{Preload, Seen, Trouble, Wanted, run};
pub(crate) use needs::lacking;
