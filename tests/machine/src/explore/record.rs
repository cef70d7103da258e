//! What was decided in a run, as data and as text.
//!
//! `0:12>1` says that after CPU 0's twelfth step CPU 1 runs; `1:7.2=5` that of CPU 1's seventh step the
//! third question is answered with the sixth outcome. What is not said is dull.

use super::Place;
use std::fmt;
use std::str::FromStr;

/// In place of a question's number: who runs.
pub(super) const RUN: u32 = u32::MAX;

/// What was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// This CPU runs.
    Cpu(u32),
    /// An outcome of one of the step's questions.
    Outcome {
        /// Which question.
        nth: u32,
        /// Which outcome; never 0.
        value: u64,
    },
}

/// A decision that was not dull.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Where.
    pub place: Place,
    /// What.
    pub taken: Taken,
}

impl Decision {
    pub(super) fn key(&self) -> (Place, u32) {
        match self.taken {
            Taken::Cpu(_) => (self.place, RUN),
            Taken::Outcome { nth, .. } => (self.place, nth),
        }
    }

    pub(super) fn value(&self) -> u64 {
        match self.taken {
            Taken::Cpu(cpu) => cpu.into(),
            Taken::Outcome { value, .. } => value,
        }
    }
}

/// Every decision of a run that was not dull, in the order in which they were taken.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Record(Vec<Decision>);

impl Record {
    /// The decisions.
    pub fn decisions(&self) -> &[Decision] {
        &self.0
    }

    pub(super) fn push(&mut self, decision: Decision) {
        self.0.push(decision);
    }

    /// Without those from `first` up to `end`.
    pub(super) fn without(&self, first: usize, end: usize) -> Self {
        Self([&self.0[..first], &self.0[end.min(self.0.len())..]].concat())
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { cpu, own } = self.place;
        match self.taken {
            Taken::Cpu(next) => write!(f, "{cpu}:{own}>{next}"),
            Taken::Outcome { nth, value } => write!(f, "{cpu}:{own}.{nth}={value}"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, decision) in self.0.iter().enumerate() {
            write!(f, "{}{decision}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Decision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (cpu, rest) = text.split_once(':')?;
            let cpu = cpu.parse().ok()?;
            if let Some((own, next)) = rest.split_once('>') {
                let place = Place { cpu, own: own.parse().ok()? };
                return Some(Self { place, taken: Taken::Cpu(next.parse().ok()?) });
            }
            let (own, rest) = rest.split_once('.')?;
            let (nth, value) = rest.split_once('=')?;
            let place = Place { cpu, own: own.parse().ok()? };
            let (nth, value) = (nth.parse().ok()?, value.parse().ok()?);
            Some(Self { place, taken: Taken::Outcome { nth, value } })
        };
        parse().ok_or_else(|| format!("no decision: {text:?}"))
    }
}

impl FromStr for Record {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}
