//! A schedule as text: what a failure prints and `GRANULE_REPLAY` takes.

use super::pct::Pct;
use super::replay::Replay;
use super::{Random, Record, Strategy};
use std::fmt;
use std::str::FromStr;

/// One schedule, by what it takes to have it again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// `random@SEED`.
    Random {
        /// What decides.
        seed: u64,
    },
    /// `pct@SEED/DEPTH/LENGTH`.
    Pct {
        /// What decides.
        seed: u64,
        /// How many things in an order the bug is thought to need.
        depth: u32,
        /// About how many turns a run has.
        length: u64,
    },
    /// `exact@RECORD`.
    Exact(Record),
}

impl Schedule {
    /// Who takes its decisions on `cpus` CPUs.
    pub fn strategy(&self, cpus: usize) -> Box<dyn Strategy> {
        match self {
            Self::Random { seed } => Box::new(Random::new(cpus, *seed)),
            Self::Pct { seed, depth, length } => Box::new(Pct::new(cpus, *seed, *depth, *length)),
            Self::Exact(record) => Box::new(Replay::new(record)),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random { seed } => write!(f, "random@{seed}"),
            Self::Pct { seed, depth, length } => write!(f, "pct@{seed}/{depth}/{length}"),
            Self::Exact(record) => write!(f, "exact@{record}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("no schedule: {text:?}");
        let (kind, rest) = text.trim().split_once('@').ok_or_else(wrong)?;
        match kind {
            "random" => Ok(Self::Random { seed: rest.parse().map_err(|_| wrong())? }),
            "pct" => {
                let parts: Vec<_> = rest.split('/').map(str::parse).collect();
                let [Ok(seed), Ok(depth), Ok(length)] = parts[..] else { return Err(wrong()) };
                let depth = u32::try_from(depth).map_err(|_| wrong())?;
                Ok(Self::Pct { seed, depth, length })
            }
            "exact" => rest.parse().map(Self::Exact),
            _ => Err(wrong()),
        }
    }
}
