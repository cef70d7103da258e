//! The invariants by name: `docs/invariants.md` says of each what keeps it and which of these tests shows it.
//!
//! A test is named after what it is about, `i20_…` or `t19_…`, or several where one rule is told twice. Most
//! play on each kind of machine and with each size of entry that the rule is about; where one operation
//! comes in at the steps of another, on the plainest machine and on the newest. Each can fail: it misses a
//! known bug, or the rule broken by hand, or shows beside it what is different.
//!
//! | file | concern |
//! | --- | --- |
//! | `encoding` | what a word of a table can be |
//! | `counting` | references, mappings, pins, resident pages |
//! | `exclusive` | whose page it is |
//! | `lifetime` | what TLBs and walkers may still have |
//! | `flushing` | what is issued, in which order and how much |
//! | `asids` | the numbers of spaces |
//! | `history` | accessed and dirty |
//! | `tables` | tables and those put aside |
//! | `lockless` | references and pins without locks |
//! | `splitting` | folios that are split, and the list of those that should be |
//! | `sets` | contiguous sets |
//! | `progress` | waiting ends |
//! | `kernel` | the kernel's addresses that come and go |
//! | `stage` | where all of it is played |

mod asids;
mod counting;
mod encoding;
mod exclusive;
mod flushing;
mod history;
mod kernel;
mod lifetime;
mod lockless;
mod progress;
mod sets;
mod splitting;
mod stage;
mod tables;
