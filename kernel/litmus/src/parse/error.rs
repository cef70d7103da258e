//! What is wrong with a text, and where.

use alloc::string::String;
use core::fmt;

/// Why a text is no test for granule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// What about it.
    pub problem: Problem,
}

/// What can be wrong with a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// It means something that granule has no model of.
    Unsupported {
        /// What kind of thing: "instruction", "variant".
        what: &'static str,
        /// As it is written.
        text: String,
    },
    /// Something else should be here.
    Expected {
        /// What.
        what: &'static str,
        /// What is there.
        found: String,
    },
    /// A name that nothing has.
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A name that two have, or something that is said two times.
    Twice {
        /// What.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More of something than granule handles.
    TooMany(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.problem {
            Problem::Unsupported { what, text } => write!(f, "unsupported {what}: {text}"),
            Problem::Expected { what, found } => write!(f, "expected {what}, found {found}"),
            Problem::Unknown { what, name } => write!(f, "no {what} is named {name}"),
            Problem::Twice { what, name } => write!(f, "{what} {name} is there twice"),
            Problem::TooMany(what) => write!(f, "too many {what}"),
        }
    }
}

impl core::error::Error for Error {}
