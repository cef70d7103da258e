//! The waiting tools on the host: step by step on one thread, and in storms of threads.
//!
//! Also under Miri, whose scheduler and weak memory find other executions than the host's:
//!
//! ```text
//! cargo +nightly miri test -p granule-sync --test host
//! ```
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod arc;
mod machine;
mod mutex;
mod range_lock;
mod spin_lock;
mod storm;
