//! What a command declares about its arguments, and how that reads in help and errors.

use crate::quantity::ExactSize;
use core::fmt::{self, Display, Formatter};

/// What may stand for an argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A number within bounds, both included.
    Number {
        /// The smallest that is accepted.
        min: u64,
        /// The largest that is accepted.
        max: u64,
    },
    /// A number of bytes within bounds, both included. Reads as a number does, prints as `64M`.
    Size {
        /// The smallest that is accepted.
        min: u64,
        /// The largest that is accepted.
        max: u64,
    },
    /// An address, in hexadecimal.
    Address,
    /// A time; without a unit, seconds.
    Time,
    /// A name from a list.
    OneOf(&'static [&'static str]),
    /// Any text.
    Word,
    /// Given or not.
    Flag,
}

impl Kind {
    /// Any number.
    pub const NUMBER: Self = Self::Number { min: 0, max: u64::MAX };
    /// Any size.
    pub const SIZE: Self = Self::Size { min: 0, max: u64::MAX };
}

/// Describes what is expected, for errors: `a number from 1 to 64`.
impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Number { min: 0, max: u64::MAX } => f.write_str("a number such as 8 or 0x20"),
            Self::Number { min, max: u64::MAX } => write!(f, "a number of {min} or more"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Size { min: 0, max: u64::MAX } => f.write_str("a size such as 64M or 0x1000"),
            Self::Size { min, max: u64::MAX } => write!(f, "a size of {} or more", ExactSize(min)),
            Self::Size { min, max } => {
                write!(f, "a size from {} to {}", ExactSize(min), ExactSize(max))
            }
            Self::Address => f.write_str("an address such as 0xffff_8000_0008_0000"),
            Self::Time => f.write_str("a time such as 5, 500ms or 1m30s"),
            Self::OneOf(names) => {
                f.write_str(if names.len() > 1 { "one of " } else { "" })?;
                list(names, ", ", f)
            }
            Self::Word => f.write_str("a word"),
            Self::Flag => f.write_str("on or off"),
        }
    }
}

fn list(names: &[&str], between: &str, f: &mut Formatter<'_>) -> fmt::Result {
    for (index, name) in names.iter().enumerate() {
        let lead = if index == 0 { "" } else { between };
        write!(f, "{lead}{name}")?;
    }
    Ok(())
}

/// How an argument is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// By its place among the words. `name=value` works too.
    Place,
    /// As `name=value`; a flag by its name alone.
    Key,
}

/// What happens where an argument is not given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// The command cannot run without it.
    Required,
    /// The command does without it.
    Optional,
    /// This text is taken.
    Default(&'static str),
}

/// An argument of a command, or an option of the kernel command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arg {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) kind: Kind,
    pub(crate) need: Need,
    pub(crate) summary: &'static str,
}

impl Arg {
    /// An argument known by its place; required.
    pub const fn place(name: &'static str, kind: Kind, summary: &'static str) -> Self {
        Self { name, form: Form::Place, kind, need: Need::Required, summary }
    }

    /// A `name=value` argument; optional.
    pub const fn key(name: &'static str, kind: Kind, summary: &'static str) -> Self {
        Self { name, form: Form::Key, kind, need: Need::Optional, summary }
    }

    /// A word that is given or not.
    pub const fn flag(name: &'static str, summary: &'static str) -> Self {
        Self { name, form: Form::Key, kind: Kind::Flag, need: Need::Optional, summary }
    }

    /// The same, and the command does without it.
    pub const fn optional(mut self) -> Self {
        self.need = Need::Optional;
        self
    }

    /// The same, and the command cannot do without it.
    pub const fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    /// The same, and `text` is taken where it is not given.
    pub const fn or(mut self, text: &'static str) -> Self {
        self.need = Need::Default(text);
        self
    }

    /// Its name.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// How it is written on the command line: `<workload>`, `secs=<time>`, `mode=fast|slow`, `quiet`.
impl Display for Arg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        /// A list longer than this is named instead of spelt out.
        const SPELT_OUT: usize = 24;
        let placeholder = match self.kind {
            Kind::Flag => return f.write_str(self.name),
            _ if self.form == Form::Place => return write!(f, "<{}>", self.name),
            Kind::OneOf(names)
                if names.iter().map(|name| name.len() + 1).sum::<usize>() > SPELT_OUT =>
            {
                "name"
            }
            Kind::OneOf(names) => {
                write!(f, "{}=", self.name)?;
                return list(names, "|", f);
            }
            Kind::Number { .. } => "number",
            Kind::Size { .. } => "size",
            Kind::Address => "address",
            Kind::Time => "time",
            Kind::Word => "word",
        };
        write!(f, "{}=<{placeholder}>", self.name)
    }
}
