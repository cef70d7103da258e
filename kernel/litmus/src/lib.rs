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
//! | [`mod@test`] | a test, in names |
//! | [`mod@parse`] | the text of a `.litmus` file |
//! | [`layout`] | names become numbers |
//! | [`semantics`] | what instructions compute |
//! | [`law`] | what is allowed |
//! | [`rename`] | one layout's numbers in terms of another's |
//! | [`spell`], [`histogram`] | final states in words, and counted |
//! | [`encode`] | instructions become words that a CPU executes |
//! | [`catalogue`] | the tests in the image |
//!
//! Pure, `no_std`, no `unsafe`; it allocates, and is not for the middle of an interrupt.
//!
//! Source: Arm ARM, "The Armv8 memory model", with "VMSAv8-64 translation table walks" as memory accesses.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod catalogue;
pub mod encode;
pub mod histogram;
pub mod instruction;
pub mod law;
pub mod layout;
pub mod parse;
pub mod rename;
pub mod semantics;
pub mod spell;
pub mod test;

pub use layout::Layout;
pub use parse::parse;
pub use test::{Column, Test, Verdict};
