//! The arguments that were given, and how a command gets at them.

use crate::arg::{Arg, Form, Kind, Need};
use crate::command::Failure;
use crate::error::ArgError;
use crate::quantity::{ExactSize, ExactTime};
use crate::suggest::nearest;
use crate::value::Value;
use crate::word::{Word, is_blank};
use abi::VirtAddr;
use core::fmt::{self, Display, Formatter};
use core::time::Duration;

/// Arguments that one command may declare.
pub const MAX_ARGS: usize = 16;

/// Whether the same argument may be given twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repeats {
    Refuse,
    /// The last one counts, as on Linux's command line, where loaders append.
    TakeLast,
}

/// The arguments of one call. Each value is of the kind its argument declares.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    declared: &'static [Arg],
    values: [Option<Value<'a>>; MAX_ARGS],
}

impl<'a> Args<'a> {
    pub(crate) const fn of(declared: &'static [Arg]) -> Self {
        Self { declared, values: [None; MAX_ARGS] }
    }

    // --- taking words ------------------------------------------------------------------------

    /// Takes one word as the argument that it names or whose place it has.
    pub(crate) fn accept(&mut self, word: &Word<'a>, repeats: Repeats) -> Result<(), ArgError<'a>> {
        let index = match word.key {
            Some(key) => self.index(key).ok_or_else(|| ArgError::UnknownKey {
                key,
                declared: self.declared,
                nearest: nearest(key, self.declared.iter().map(|arg| arg.name)),
            })?,
            None => match self.index(word.value) {
                Some(index) if self.declared[index].kind == Kind::Flag => {
                    return self.put(index, Value::Flag(true), repeats);
                }
                _ => self.next_place().ok_or_else(|| self.extra(word.value))?,
            },
        };
        let arg = &self.declared[index];
        let value = Value::parse(arg.kind, word.value).map_err(|error| ArgError::BadValue {
            arg,
            text: word.value,
            error,
        })?;
        self.put(index, value, repeats)
    }

    /// Puts defaults where nothing was given, and demands the rest.
    pub(crate) fn finish(&mut self) -> Result<(), ArgError<'a>> {
        for (arg, value) in self.declared.iter().zip(&mut self.values) {
            match arg.need {
                _ if value.is_some() => {}
                Need::Optional => {}
                Need::Required => return Err(ArgError::Missing { arg }),
                Need::Default(text) => match Value::parse(arg.kind, text) {
                    Ok(default) => *value = Some(default),
                    Err(error) => return Err(ArgError::BadValue { arg, text, error }),
                },
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        index: usize,
        value: Value<'a>,
        repeats: Repeats,
    ) -> Result<(), ArgError<'a>> {
        let slot = &mut self.values[index];
        if slot.is_some() && repeats == Repeats::Refuse {
            return Err(ArgError::Repeated { arg: &self.declared[index] });
        }
        *slot = Some(value);
        Ok(())
    }

    fn extra(&self, word: &'a str) -> ArgError<'a> {
        ArgError::ExtraWord {
            word,
            key: self.declared.iter().find(|arg| arg.name == word),
            nearest: nearest(word, self.declared.iter().map(|arg| arg.name)),
        }
    }

    /// The number of the argument called `name`; below [`MAX_ARGS`].
    fn index(&self, name: &str) -> Option<usize> {
        self.declared.iter().take(MAX_ARGS).position(|arg| arg.name == name)
    }

    /// The first place that is not taken.
    fn next_place(&self) -> Option<usize> {
        let mut places = self.declared.iter().zip(&self.values);
        places.position(|(arg, value)| arg.form == Form::Place && value.is_none())
    }

    // --- for completion ----------------------------------------------------------------------

    pub(crate) fn next_place_arg(&self) -> Option<&'static Arg> {
        self.next_place().map(|index| &self.declared[index])
    }

    /// The keys and flags that were not given.
    pub(crate) fn open_keys(&self) -> impl Iterator<Item = &'static Arg> {
        let all = self.declared.iter().zip(self.values);
        all.filter(|(arg, value)| arg.form == Form::Key && value.is_none()).map(|(arg, _)| arg)
    }

    // --- for commands ------------------------------------------------------------------------

    /// What was given for `name`, or its default.
    #[inline(never)]
    pub fn value(&self, name: &str) -> Option<Value<'a>> {
        self.values[self.index(name)?]
    }

    /// The number, size or address called `name`; `None` where none was given.
    pub fn maybe_number(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(Value::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// The time called `name`; `None` where none was given.
    pub fn maybe_time(&self, name: &str) -> Option<Duration> {
        match self.value(name) {
            Some(Value::Time(time)) => Some(time),
            _ => None,
        }
    }

    /// The word or listed name called `name`; `None` where none was given.
    pub fn maybe_word(&self, name: &str) -> Option<&'a str> {
        match self.value(name) {
            Some(Value::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// Whether the flag called `name` was given.
    pub fn flag(&self, name: &str) -> bool {
        self.value(name) == Some(Value::Flag(true))
    }

    /// The number or size called `name`, which is required or has a default.
    pub fn number(&self, name: &'static str) -> Result<u64, Failure> {
        self.maybe_number(name).ok_or(Failure::Absent { arg: name })
    }

    /// The address called `name`, which is required or has a default.
    pub fn address(&self, name: &'static str) -> Result<VirtAddr, Failure> {
        self.number(name).map(VirtAddr)
    }

    /// The time called `name`, which is required or has a default.
    pub fn time(&self, name: &'static str) -> Result<Duration, Failure> {
        self.maybe_time(name).ok_or(Failure::Absent { arg: name })
    }

    /// The word or listed name called `name`, which is required or has a default.
    pub fn word(&self, name: &'static str) -> Result<&'a str, Failure> {
        self.maybe_word(name).ok_or(Failure::Absent { arg: name })
    }

    /// The same with `number` for `name`: for a replay line that tells a seed which was drawn.
    pub fn with_number(mut self, name: &str, number: u64) -> Self {
        if let Some(index) = self.index(name) {
            self.values[index] = Some(Value::Number(number));
        }
        self
    }
}

/// Prints the arguments, defaults included, so that the same words give the same values again.
impl Display for Args<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (arg, value) in self.declared.iter().zip(&self.values) {
            let Some(value) = value else { continue };
            f.write_str(between)?;
            between = " ";
            print(arg, value, f)?;
        }
        Ok(())
    }
}

fn print(arg: &Arg, value: &Value<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let by_place = arg.form == Form::Place
        && match value {
            // Such a word would be taken for a key.
            Value::Word(word) => is_bare(word) && !word.contains('='),
            _ => true,
        };
    match value {
        Value::Flag(true) => return f.write_str(arg.name),
        Value::Flag(false) => return write!(f, "{}=off", arg.name),
        _ if by_place => {}
        _ => write!(f, "{}=", arg.name)?,
    }
    match (value, arg.kind) {
        (Value::Number(number), Kind::Size { .. }) => write!(f, "{}", ExactSize(*number)),
        (Value::Number(number), Kind::Address) => write!(f, "{number:#x}"),
        (Value::Number(number), _) => write!(f, "{number}"),
        (Value::Time(time), _) => write!(f, "{}", ExactTime(*time)),
        (Value::Word(word), _) if is_bare(word) => f.write_str(word),
        // A word that needs quotes came in quotes, so it lacks one kind.
        (Value::Word(word), _) if word.contains('"') => write!(f, "'{word}'"),
        (Value::Word(word), _) => write!(f, "\"{word}\""),
        (Value::Flag(_), _) => Ok(()),
    }
}

/// Whether a value reads back as itself without quotes.
fn is_bare(word: &str) -> bool {
    let quoted = word.starts_with(['"', '\'']);
    !quoted && !word.is_empty() && !word.bytes().any(|byte| is_blank(byte) || byte == b';')
}
