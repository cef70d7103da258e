//! Linux's own memory management tests, as far as they concern anonymous memory: tables of cases, in a small
//! language, and one player for all of them.
//!
//! What these tests try was learnt over decades, from bugs. Which cases there are is taken from them; what is
//! here is a row of data for each: the form that memory has, what is done with it, what must be so. The
//! player knows what every page of every space must hold, lets all CPUs look, holds pages past the tables
//! and compares, audits the memory manager, and sees that everything was given back.
//!
//! The booted kernel runs them at its prompt (`selftest mm`), the host on the machine that keeps every
//! stale translation that it may: the same source. `docs/parity.md` has the account: for each of Linux's
//! tests, which rows cover it, and what does not apply here, and why.
//!
//! Rule: a row says what happens, never how it is checked; a case is one line.
//!
//! | file | concern |
//! | --- | --- |
//! | `step` | the language: what a row can say |
//! | `form` | the forms that memory has before a case begins |
//! | `suite` | tables, and the cases that they make |
//! | `suites` | the tables, a file for each of Linux's tests |
//! | `law` | what holds of every entry, at each level |
//! | `stage` | one case being played: spaces, and what is known of their pages |
//! | `act` | playing a step |
//! | `access`, `hold`, `shape` | what programs see; what others hold; what the tables say |
//! | `migrate`, `collapse` | moving folios to other frames; making them huge |
//! | `report` | plays the cases that are wanted, as KTAP |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod access;
mod act;
mod collapse;
mod form;
mod hold;
mod law;
mod migrate;
mod report;
mod shape;
mod stage;
mod step;
mod suite;
mod suites;

pub use report::{Summary, run};
pub use suites::{Count, counts};
