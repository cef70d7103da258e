//! The main job: workloads that would notice a stale or crossed translation.
//!
//! Every page a workload writes carries stamps that say whose it is: space, page, version. Whoever
//! reads one knows what it must find, so a translation that outlived its frame, or that belongs to
//! another space, shows as wrong data, with the walk printed beside it. After each workload every
//! frame and table must be back, and an audit of all tables and the whole memmap, once before the
//! workload lets go of its spaces and once after, must find every rule kept.
//!
//! Workloads are written over the memory manager's public face and the [`World`] trait; the booted
//! kernel and the host's models run the same source. One file each in `workloads`; to add one, write
//! the file and name it in [`workloads::all`].
//!
//! | file | concern |
//! | --- | --- |
//! | `world` | what a workload needs besides memory management: CPUs, time, accesses |
//! | `run` | one run: options, deadline, verified accesses, the audit at its end |
//! | `failure` | what can go wrong, with the evidence |
//! | `rng` | random numbers: a seed decides them all |
//! | `stamp` | what a page's words say |
//! | `report` | KTAP, counters, the replay line, the leak check |
//! | `bench` | what the operations cost: a table of its own, in its own folder |
//! | `cases` | the sizes of Linux's vmalloc test, for workloads and `bench` |
//! | `workloads` | what is done, one file each |
//! | `zoo` | the known bugs that they show, with their stories |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bench;
mod cases;
mod failure;
mod report;
mod rng;
mod run;
mod stamp;
pub mod workloads;
mod world;
pub mod zoo;

pub use failure::{Failure, Refusal, Walk, keep_walk};
pub use report::{Census, Summary, explain, run_all};
pub use rng::Rng;
pub use run::{Limit, Options, Run};
pub use stamp::Stamp;
pub use workloads::Workload;
pub use world::World;
