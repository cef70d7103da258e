//! Litmus tests of address translation.
//!
//! A litmus test is a handful of instructions on a few CPUs and a question: can it end like this? Arm's
//! architecture answers it with axioms. Here are the language of such tests, those axioms, and a catalogue:
//! one text that runs in three places, and must get one answer.
//!
//! | runs | what it is |
//! | --- | --- |
//! | the law | the axioms, over all candidate executions. It says what is allowed |
//! | machines | models of CPUs with TLBs, step by step, which reach all that is allowed and nothing else |
//! | CPUs | the kernel, which counts what happens |
//!
//! | module | concern |
//! | --- | --- |
//! | [`instruction`] | the instructions |
//! | [`test`] | a test, in names |
//! | [`layout`] | names become numbers |
//!
//! Pure, `no_std`, no `unsafe`; it allocates, and is not for the middle of an interrupt.
//!
//! Source: Arm ARM, "The Armv8 memory model", with "VMSAv8-64 translation table walks" as memory accesses.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod instruction;
pub mod law;
pub mod layout;
pub mod parse;
pub mod semantics;
pub mod test;

pub use layout::Layout;
pub use parse::parse;
pub use test::{Column, Test, Verdict};
