//! What was wrong, what was expected, and what may have been meant.
//!
//! Errors carry what a message needs, not the message; Display makes the message.

use crate::arg::{Arg, Form, Kind};
use crate::command::Spec;
use crate::line::LINE_MAX;
use core::fmt::{self, Display, Formatter};

/// Quotes that do not match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuoteError {
    /// The quote at byte `at` is never closed.
    Unclosed {
        /// Which kind.
        quote: char,
        /// Where it opens.
        at: usize,
    },
    /// Something follows a closing quote without a blank between.
    TextAfter {
        /// Which kind.
        quote: char,
        /// Where the text begins.
        at: usize,
    },
}

impl Display for QuoteError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed { quote, at } => {
                write!(f, "the quote {quote} at character {} is never closed", at + 1)
            }
            Self::TextAfter { quote, at } => {
                write!(f, "a blank is missing at character {}, after the quote {quote}", at + 1)
            }
        }
    }
}

/// Why a text is no value of the kind that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueError {
    /// Something else than digits, a prefix `0x` and a suffix K, M, G or T.
    NotANumber,
    /// It does not fit in 64 bits.
    TooLarge,
    /// A number, but not one of those allowed.
    OutOfRange {
        /// What was given.
        number: u64,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// Something else than hexadecimal digits.
    NotAnAddress,
    /// Something else than numbers with units of time.
    NotATime,
    /// Not in the list.
    NotListed {
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// Neither `on` nor `off`.
    NotASwitch,
}

impl Display for ValueError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => f.write_str("not a number"),
            Self::TooLarge => f.write_str("larger than 64 bits"),
            Self::OutOfRange { number, min, .. } if number < min => f.write_str("too small"),
            Self::OutOfRange { .. } => f.write_str("too large"),
            Self::NotAnAddress => f.write_str("not an address"),
            Self::NotATime => f.write_str("not a time"),
            Self::NotListed { nearest } => {
                f.write_str("unknown")?;
                did_you_mean(*nearest, "", f)
            }
            Self::NotASwitch => f.write_str("neither on nor off"),
        }
    }
}

/// What is wrong with one argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArgError<'a> {
    /// No argument is called `key`.
    UnknownKey {
        /// What was given.
        key: &'a str,
        /// What there is.
        declared: &'static [Arg],
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// All places are taken.
    ExtraWord {
        /// What was given.
        word: &'a str,
        /// The argument of that name, whose value is missing.
        key: Option<&'static Arg>,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// A required argument was not given.
    Missing {
        /// Which.
        arg: &'static Arg,
    },
    /// An argument was given twice.
    Repeated {
        /// Which.
        arg: &'static Arg,
    },
    /// The value is not of the argument's kind.
    BadValue {
        /// Which argument.
        arg: &'static Arg,
        /// What was given.
        text: &'a str,
        /// What is wrong with it.
        error: ValueError,
    },
}

/// More names than this would drown what was wrong.
const SPELT_OUT: usize = 12;

impl Display for ArgError<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey { key, declared, nearest } => {
                write!(f, "there is no {key}=")?;
                match nearest {
                    Some(_) => did_you_mean(*nearest, "=", f),
                    None => accepted_keys(declared, f),
                }
            }
            Self::ExtraWord { key: Some(arg), .. } => {
                write!(f, "{} needs a value: write {arg}", arg.name)
            }
            Self::ExtraWord { word, key: None, nearest } => {
                write!(f, "`{word}` is one word too many")?;
                did_you_mean(*nearest, "", f)
            }
            Self::Missing { arg } => {
                write!(f, "{arg} is missing ({}): expected {}", arg.summary, arg.kind)
            }
            Self::Repeated { arg } => write!(f, "{} is given twice", arg.name),
            Self::BadValue { arg, text, error } => {
                write!(f, "{} `{text}` is {error}; ", arg.name)?;
                match arg.kind {
                    Kind::OneOf(names) if names.len() > SPELT_OUT => {
                        write!(f, "expected one of {} names, which help and Tab list", names.len())
                    }
                    kind => write!(f, "expected {kind}"),
                }
            }
        }
    }
}

fn accepted_keys(declared: &[Arg], f: &mut Formatter<'_>) -> fmt::Result {
    let mut lead = "; expected ";
    for arg in declared.iter().filter(|arg| arg.form == Form::Key) {
        write!(f, "{lead}{arg}")?;
        lead = ", ";
    }
    Ok(())
}

fn did_you_mean(nearest: Option<&str>, suffix: &str, f: &mut Formatter<'_>) -> fmt::Result {
    match nearest {
        Some(name) => write!(f, " (did you mean {name}{suffix}?)"),
        None => Ok(()),
    }
}

/// Why a line cannot be run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ShellError<'a> {
    /// No command has this name.
    UnknownCommand {
        /// What was given.
        name: &'a str,
        /// What may have been meant.
        nearest: Option<&'static str>,
    },
    /// An argument is wrong.
    Argument {
        /// Of which command.
        command: &'static Spec,
        /// What is wrong.
        error: ArgError<'a>,
    },
    /// The quotes do not match.
    Quotes(QuoteError),
    /// The line was cut off: see [`crate::Event::Overlong`].
    Overlong {
        /// Characters that found no room.
        refused: usize,
    },
}

impl Display for ShellError<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownCommand { name, nearest } => {
                write!(f, "{name}: no such command")?;
                match nearest {
                    Some(_) => did_you_mean(*nearest, "", f),
                    None => f.write_str("; type help for the list"),
                }
            }
            Self::Argument { command, error } => write!(f, "{}: {error}", command.name),
            Self::Quotes(error) => write!(f, "{error}"),
            Self::Overlong { refused } => {
                write!(f, "the line is {refused} characters too long, of at most {LINE_MAX}; ")?;
                f.write_str("nothing was run, and the arrow up recalls what was kept")
            }
        }
    }
}

impl From<QuoteError> for ShellError<'_> {
    fn from(error: QuoteError) -> Self {
        Self::Quotes(error)
    }
}

/// A table of commands or arguments that contradicts itself: found by tests, not by users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpecError {
    /// Two commands, or two arguments of one command, have this name.
    Twice(&'static str),
    /// Names are non-empty, of ASCII letters, digits, `-`, `_` and `.`.
    Name(&'static str),
    /// More arguments than fit: how many.
    TooManyArgs(usize),
    /// A required place comes after one that may be left out, so it cannot be reached.
    RequiredAfterOptional(&'static str),
    /// A default that its own kind refuses.
    Default(&'static str, ValueError),
    /// Bounds that admit nothing.
    Bounds(&'static str),
}

impl Display for SpecError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(name) => write!(f, "{name} is declared twice"),
            Self::Name(name) => write!(f, "`{name}` is no name"),
            Self::TooManyArgs(count) => {
                write!(f, "{count} arguments, of at most {}", crate::MAX_ARGS)
            }
            Self::RequiredAfterOptional(name) => write!(f, "<{name}> can never be reached"),
            Self::Default(name, error) => write!(f, "the default of {name} is {error}"),
            Self::Bounds(name) => write!(f, "no value is within the bounds of {name}"),
        }
    }
}
