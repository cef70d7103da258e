//! Whether a table contradicts itself: for the test of whoever writes one.

use crate::arg::{Arg, Form, Kind, Need};
use crate::args::MAX_ARGS;
use crate::command::Table;
use crate::error::{ShellError, SpecError};
use crate::value::Value;
use core::fmt;

impl<C> Table<C> {
    /// Whether the table makes sense, each example included: for a test.
    pub fn check(&self) -> Result<(), TableError> {
        for (index, spec) in self.specs().enumerate() {
            let fault = |error| TableError::Spec { command: spec.name, error };
            check_name(spec.name).and_then(|()| check_args(spec.args)).map_err(fault)?;
            if self.specs().take(index).any(|earlier| earlier.name == spec.name) {
                return Err(fault(SpecError::Twice(spec.name)));
            }
            for example in spec.examples {
                for parsed in self.parse(example) {
                    parsed.map_err(|error| TableError::Example { command: spec.name, error })?;
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with a table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum TableError {
    /// A declaration contradicts itself.
    Spec {
        /// Whose.
        command: &'static str,
        /// How.
        error: SpecError,
    },
    /// An example would not run.
    Example {
        /// Whose.
        command: &'static str,
        /// Why.
        error: ShellError<'static>,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec { command, error } => write!(f, "{command}: {error}"),
            Self::Example { command, error } => write!(f, "an example of {command}: {error}"),
        }
    }
}

fn check_name(name: &'static str) -> Result<(), SpecError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(SpecError::Name(name));
    }
    Ok(())
}

/// Whether a list of arguments makes sense.
pub(crate) fn check_args(args: &'static [Arg]) -> Result<(), SpecError> {
    if args.len() > MAX_ARGS {
        return Err(SpecError::TooManyArgs(args.len()));
    }
    let mut optional_seen = false;
    for (index, arg) in args.iter().enumerate() {
        check_name(arg.name)?;
        if args[..index].iter().any(|earlier| earlier.name == arg.name) {
            return Err(SpecError::Twice(arg.name));
        }
        if let Kind::Number { min, max } | Kind::Size { min, max } = arg.kind
            && min > max
        {
            return Err(SpecError::Bounds(arg.name));
        }
        match arg.need {
            Need::Required if arg.form == Form::Place && optional_seen => {
                return Err(SpecError::RequiredAfterOptional(arg.name));
            }
            Need::Required => {}
            Need::Optional => optional_seen |= arg.form == Form::Place,
            Need::Default(text) => {
                optional_seen |= arg.form == Form::Place;
                Value::parse(arg.kind, text)
                    .map_err(|error| SpecError::Default(arg.name, error))?;
            }
        }
    }
    Ok(())
}
