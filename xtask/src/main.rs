//! The host's side of granule: builds the image, runs it in QEMU, tests it, explains its crashes.
//!
//! The Makefile's verbs end here; nothing here is needed to understand the kernel.
//!
//! | file | concern |
//! | --- | --- |
//! | `workspace` | where things are, and Cargo |
//! | `image` | from the ELF to the checked flat image |
//! | `board`, `matrix` | boards as data, and the machines worth testing |
//! | `launch` | QEMU's command line |
//! | `run` | a person at the serial line |
//! | `session` | a program at the serial line |
//! | `symbols` | backtraces in words |
//! | `ktap`, `judge` | what a boot's output and status say |
//! | `bench`, `profile` | what operations cost, and where |
//! | `mutants` | who catches which known bug |
//! | `boots`, `checks`, `suite`, `report` | `make test` |

#![forbid(unsafe_code)]

mod bench;
mod board;
mod boots;
mod checks;
mod image;
mod judge;
mod ktap;
mod launch;
mod litmus;
mod matrix;
mod mutants;
mod profile;
mod report;
mod run;
mod session;
mod stillclock;
mod suite;
mod symbols;
mod trouble;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use trouble::Result;

/// Builds, runs and tests granule. `make help` lists the usual ways in.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Boot the image: the tour, or what RUN says
    Run(run::Pick),
    /// Boot straight to the prompt
    Shell(run::Pick),
    /// Check and test everything, on the host and in QEMU
    Test {
        /// Only the boots whose name holds this, and no host tests
        #[arg(long, env = "ONLY")]
        only: Option<String>,
    },
    /// Formatting, lints, and what each room may hold
    Check,
    /// Explore every interleaving of the small lock-free protocols
    Loom,
    /// Build the flat image, and what goes on each real board's boot medium
    Image,
    /// Stress every machine of the matrix, with fresh seeds, for a long time
    Soak {
        #[arg(long, env = "MINUTES", default_value_t = 60)]
        minutes: u64,
        /// Seconds of stress per boot
        #[arg(long, env = "SECS", default_value_t = 10)]
        secs: u64,
        /// The first round's seed
        #[arg(long, env = "SEED", default_value_t = 1)]
        seed: u64,
    },
    /// Measure what the memory manager's operations cost, in exact instructions
    Bench(bench::Pick),
    /// Commit every known bug, and print who catches it
    Mutants(mutants::Pick),
    /// Run each workload without a bug for long: nobody may be alarmed
    Silent {
        /// Steps of each workload
        #[arg(long, env = "STEPS", default_value_t = mutants::STEPS)]
        steps: u64,
        /// The first seed
        #[arg(long, env = "SEED", default_value_t = 1)]
        seed: u64,
        /// How schedules are chosen: random, pct or exhaustive
        #[arg(long, env = "STRATEGY", default_value = "random")]
        strategy: String,
    },
    /// Change the pure code in every small way, and print which changes no test notices
    Survivors {
        /// Only this file
        #[arg(long, env = "ONLY", default_value = "")]
        only: String,
    },
    /// Explain the backtraces in a serial log on standard input
    Symbolize,
    /// Compile the boards' device trees
    Dtb,
}

fn main() -> ExitCode {
    match act(Args::parse().verb) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("granule: {why}");
            ExitCode::FAILURE
        }
    }
}

fn act(verb: Verb) -> Result<ExitCode> {
    let passed = |ok| if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match verb {
        Verb::Run(pick) => run::run(&pick),
        Verb::Shell(pick) => run::shell(&pick),
        Verb::Test { only } => {
            suite::test(only.as_deref().filter(|only| !only.is_empty())).map(passed)
        }
        Verb::Check => Ok(passed(suite::check())),
        Verb::Loom => Ok(passed(suite::loom())),
        Verb::Image => run::image().map(|()| ExitCode::SUCCESS),
        Verb::Soak { minutes, secs, seed } => suite::soak(minutes, secs, seed).map(passed),
        Verb::Bench(pick) => bench::bench(&pick).map(passed),
        Verb::Mutants(pick) => mutants::mutants(&pick).map(passed),
        Verb::Silent { steps, seed, strategy } => {
            mutants::silent(steps, seed, &strategy).map(passed)
        }
        Verb::Survivors { only } => mutants::survivors(&only).map(passed),
        Verb::Symbolize => run::symbolize().map(|()| ExitCode::SUCCESS),
        Verb::Dtb => checks::write_device_trees().map(|()| ExitCode::SUCCESS),
    }
}
