//! What can go wrong on the host's side, each with what a person needs to put it right.

use crate::image::Flaw;
use std::{fmt, io, path::PathBuf};

/// Why a verb of the host tool could not do its work.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// A program could not be started.
    Start(String, io::Error),
    /// A program that had to succeed did not; it has said why itself.
    Failed(String),
    /// A data file of the repository does not say what it should.
    Data(PathBuf, toml::de::Error),
    /// No folder of `boards/` has this name; these have one.
    NoBoard(String, Vec<String>),
    /// The board leaves no choice in this.
    NoAxis { board: String, axis: String },
    /// The board has this axis, but not this value.
    NoValue { board: String, axis: String, value: String, values: Vec<String> },
    /// A folder holds no litmus test.
    NoTests(PathBuf),
    /// The kernel command line has no way to quote this.
    Quote(String),
    /// The linked image is not what the loaders expect.
    Image(PathBuf, Flaw),
    /// The image's debug information cannot be read.
    Symbols(PathBuf, String),
}

/// The result of every fallible step here.
pub(crate) type Result<T> = std::result::Result<T, Trouble>;

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Start(program, why) if why.kind() == io::ErrorKind::NotFound => {
                write!(f, "{program} is not installed; `make setup` says how to get it")
            }
            Self::Start(program, why) => write!(f, "cannot start {program}: {why}"),
            Self::Failed(what) => write!(f, "{what} failed"),
            Self::Data(path, why) => write!(f, "{}: {why}", path.display()),
            Self::NoBoard(name, boards) => {
                write!(f, "no board '{name}'; BOARD= may be {}", boards.join(", "))
            }
            Self::NoAxis { board, axis } => {
                write!(f, "{board} leaves no choice of {}", axis.to_uppercase())
            }
            Self::NoValue { board, axis, value, values } => write!(
                f,
                "{board} cannot have {}={value}; it may be {}",
                axis.to_uppercase(),
                values.join(", ")
            ),
            Self::NoTests(folder) => write!(f, "{}: no *.litmus here", folder.display()),
            Self::Quote(run) => write!(f, "RUN may hold no double quote: {run}"),
            Self::Image(path, flaw) => write!(f, "{}: {flaw}", path.display()),
            Self::Symbols(path, why) => write!(f, "{}: no symbols: {why}", path.display()),
        }
    }
}
