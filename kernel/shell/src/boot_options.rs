//! The kernel command line, which a loader wrote: `run="selftest; stress all secs=5" linear=4k`.
//!
//! Loaders put words of their own there, and old scripts options that are gone, so what is not
//! known is worth a warning and no more. Only quotes that do not match are an error: nobody can
//! tell what was meant by anything after them.
//!
//! As on Linux, an option may be quoted as a whole, `"run=stress all"`, and of an option that is
//! given twice the last one counts.
//!
//! Source: Linux, `next_arg` and `parse_args` (the accepted forms).

use crate::arg::{Arg, Kind};
use crate::args::{Args, Repeats};
use crate::check::check_args;
use crate::error::{ArgError, QuoteError, SpecError, ValueError};
use crate::word::{Word, Words};
use core::fmt::{self, Display, Formatter};

/// The options that were given, and what was not understood.
#[derive(Clone, Copy, Debug)]
pub struct BootOptions<'a> {
    text: &'a str,
    declared: &'static [Arg],
    args: Args<'a>,
}

impl<'a> BootOptions<'a> {
    /// Reads `text` for the options `declared`, which are keys and flags.
    pub fn parse(text: &'a str, declared: &'static [Arg]) -> Result<Self, QuoteError> {
        let mut args = Args::of(declared);
        for word in Words::of(text) {
            // What is wrong is found again, and told, by `warnings`.
            let _ = accept(&mut args, word?);
        }
        // Options are optional; a wrong default is found by `check`.
        let _ = args.finish();
        Ok(Self { text, declared, args })
    }

    /// The values, defaults included.
    pub const fn args(&self) -> &Args<'a> {
        &self.args
    }

    /// What was not understood and therefore ignored, in order.
    pub fn warnings(&self) -> impl Iterator<Item = Warning<'a>> + use<'a> {
        let mut args = Args::of(self.declared);
        // `parse` has seen that the quotes match.
        Words::of(self.text).flatten().filter_map(move |word| accept(&mut args, word).err())
    }

    /// Whether a list of options makes sense: for a test.
    #[inline(never)]
    pub fn check(declared: &'static [Arg]) -> Result<(), SpecError> {
        check_args(declared)
    }
}

fn accept<'a>(args: &mut Args<'a>, word: Word<'a>) -> Result<(), Warning<'a>> {
    let word = match (word.key, word.value.split_once('=')) {
        // Quoted as a whole.
        (None, Some((key, value))) if !key.is_empty() => Word { key: Some(key), value },
        _ => word,
    };
    let name = word.key.unwrap_or(word.value);
    args.accept(&word, Repeats::TakeLast).map_err(|error| match error {
        ArgError::BadValue { arg, text, error } => Warning::Value { arg, text, error },
        ArgError::ExtraWord { key: Some(arg), .. } => Warning::NoValue { arg },
        ArgError::UnknownKey { nearest, .. } | ArgError::ExtraWord { nearest, .. } => {
            Warning::Unknown { name, nearest }
        }
        // Neither is reported for words that are taken one by one, the last one counting.
        ArgError::Missing { arg } | ArgError::Repeated { arg } => Warning::NoValue { arg },
    })
}

/// A word of the kernel command line that was ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning<'a> {
    /// No option is called so.
    Unknown {
        /// What was given, without its value.
        name: &'a str,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// The option needs a value and has none.
    NoValue {
        /// Which option.
        arg: &'static Arg,
    },
    /// The option does not take this value.
    Value {
        /// Which option.
        arg: &'static Arg,
        /// What was given.
        text: &'a str,
        /// What is wrong with it.
        error: ValueError,
    },
}

impl Display for Warning<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("kernel command line: ")?;
        match self {
            Self::Unknown { name, nearest: None } => write!(f, "unknown option `{name}` ignored"),
            Self::Unknown { name, nearest: Some(nearest) } => {
                write!(f, "unknown option `{name}` ignored (did you mean {nearest}?)")
            }
            Self::NoValue { arg } => write!(f, "{} without a value ignored: write {arg}", arg.name),
            Self::Value { arg, text, .. } if arg.kind == Kind::Flag => {
                write!(f, "{}={text} ignored: write {}, or =on, =off", arg.name, arg.name)
            }
            Self::Value { arg, text, error } => {
                write!(f, "{}={text} ignored: {error}; expected {}", arg.name, arg.kind)
            }
        }
    }
}
