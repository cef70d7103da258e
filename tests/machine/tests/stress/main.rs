//! What the kernel is asked for at its prompt, on the model machine: workloads, litmus tests, Linux's own tests,
//! measurements, known bugs; with the oracle and without.

mod bench;
mod common;
mod litmus;
mod parity;
mod sanitizer;
mod silence;
mod speed;
mod workloads;
mod zoo;
