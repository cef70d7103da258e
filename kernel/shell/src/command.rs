//! The table of commands: what each is called and takes, and running a line of them.
//!
//! Rule kept: a script is read to its end before its first command runs, so a slip in the last
//! command costs no ten minutes of the first.

use crate::arg::Arg;
use crate::args::{Args, Repeats};
use crate::error::ShellError;
use crate::help;
use crate::suggest::nearest;
use crate::word::{Commands, Words};
use core::fmt::{self, Write};

/// What a command is called and takes: all that help, completion and errors need.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spec {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) args: &'static [Arg],
    pub(crate) help: &'static str,
    pub(crate) examples: &'static [&'static str],
}

impl Spec {
    /// A command without arguments. The summary has no capital and no full stop.
    pub const fn new(name: &'static str, summary: &'static str) -> Self {
        Self { name, summary, args: &[], help: "", examples: &[] }
    }

    /// The same with arguments: those with a place in their order.
    pub const fn args(mut self, args: &'static [Arg]) -> Self {
        self.args = args;
        self
    }

    /// The same with more about it: paragraphs, which are wrapped when printed.
    pub const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    /// The same with lines that somebody could type.
    pub const fn examples(mut self, examples: &'static [&'static str]) -> Self {
        self.examples = examples;
        self
    }

    /// What it is called.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Reads arguments as this command takes them.
    pub fn parse<'a>(&'static self, words: Words<'a>) -> Result<Args<'a>, ShellError<'a>> {
        let fault = |error| ShellError::Argument { command: self, error };
        let mut args = Args::of(self.args);
        for word in words {
            args.accept(&word?, Repeats::Refuse).map_err(fault)?;
        }
        args.finish().map_err(fault)?;
        Ok(args)
    }
}

/// What the kernel does for a command.
pub type Run<C> = fn(&mut C, &Args<'_>, &mut dyn Write) -> Result<(), Failure>;

/// A command over the context `C`: what the kernel lends to all its commands.
pub struct Command<C: 'static> {
    /// What it is called and takes.
    pub spec: Spec,
    /// What it does.
    pub run: Run<C>,
}

/// Why a command did not do what was asked. It has told the user the details.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It found something wrong, or could not go on.
    Failed,
    /// It was asked for something that cannot be: a valid argument that names nothing.
    Usage,
    /// Ctrl-C.
    Interrupted,
    /// It reads an argument that its declaration does not guarantee.
    Absent {
        /// Which.
        arg: &'static str,
    },
    /// Its output could not be written.
    Output,
}

impl From<fmt::Error> for Failure {
    fn from(_: fmt::Error) -> Self {
        Self::Output
    }
}

/// How a line or a script ended: the worst of its commands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    /// All went well.
    Ok,
    /// Something failed or was interrupted.
    Failed,
    /// Something was not understood.
    Usage,
}

impl Status {
    /// The exit status of a run that ended so.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
        }
    }
}

/// All commands, in the order in which help lists them. `help` itself is always there.
pub struct Table<C: 'static> {
    commands: &'static [Command<C>],
}

#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack; there is no heap")]
pub(crate) enum Parsed<'a, C: 'static> {
    Nothing,
    Help(Option<&'static Spec>),
    Run(&'static Command<C>, Args<'a>),
}

impl<C> Table<C> {
    /// The table of these commands.
    pub const fn new(commands: &'static [Command<C>]) -> Self {
        Self { commands }
    }

    /// What each command takes, `help` last.
    pub fn specs(&self) -> impl Iterator<Item = &'static Spec> + Clone + use<C> {
        self.commands.iter().map(|command| &command.spec).chain([&help::SPEC])
    }

    /// Runs the commands of `script`, which `;` separates, and tells on `out` what is wrong with
    /// them. Nothing runs unless all is understood. After a failure the next command runs, so that
    /// a closing `poweroff` is reached; after Ctrl-C none does.
    pub fn run(&self, context: &mut C, script: &str, out: &mut dyn Write) -> Status {
        let mut status = Status::Ok;
        for parsed in self.parse(script) {
            if let Err(error) = parsed {
                status = Status::Usage;
                // Whoever cannot be told still gets the status.
                let _ = writeln!(out, "{error}");
            }
        }
        if status != Status::Ok {
            return status;
        }
        for parsed in self.parse(script) {
            let failure = match parsed {
                Ok(Parsed::Help(None)) => {
                    help::overview(self.specs(), out).err().map(Failure::from)
                }
                Ok(Parsed::Help(Some(spec))) => help::detail(spec, out).err().map(Failure::from),
                Ok(Parsed::Run(command, args)) => (command.run)(context, &args, out).err(),
                Ok(Parsed::Nothing) | Err(_) => None,
            };
            let Some(failure) = failure else { continue };
            status = status.max(match failure {
                Failure::Usage | Failure::Absent { .. } => Status::Usage,
                Failure::Failed | Failure::Interrupted | Failure::Output => Status::Failed,
            });
            match failure {
                Failure::Interrupted => break,
                Failure::Absent { arg } => {
                    let _ = writeln!(out, "the argument {arg} has no value and no default");
                }
                Failure::Failed | Failure::Usage | Failure::Output => {}
            }
        }
        status
    }

    pub(crate) fn parse<'a>(
        &self,
        script: &'a str,
    ) -> impl Iterator<Item = Result<Parsed<'a, C>, ShellError<'a>>> {
        Commands::of(script).map(|text| self.parse_command(text?))
    }

    fn parse_command<'a>(&self, text: &'a str) -> Result<Parsed<'a, C>, ShellError<'a>> {
        let mut words = Words::of(text);
        let Some(first) = words.next().transpose()? else { return Ok(Parsed::Nothing) };
        // `name=value` in the command's place is no command; it is shown as it was typed.
        let name = if first.key.is_some() { text } else { first.value };
        if name == help::SPEC.name {
            let args = help::SPEC.parse(words)?;
            return match args.maybe_word("command") {
                None => Ok(Parsed::Help(None)),
                Some(topic) => self.spec(topic).map(|spec| Parsed::Help(Some(spec))),
            };
        }
        match self.commands.iter().find(|command| command.spec.name == name) {
            Some(command) => Ok(Parsed::Run(command, command.spec.parse(words)?)),
            None => Err(self.unknown(name)),
        }
    }

    fn spec<'a>(&self, name: &'a str) -> Result<&'static Spec, ShellError<'a>> {
        self.specs().find(|spec| spec.name == name).ok_or_else(|| self.unknown(name))
    }

    fn unknown<'a>(&self, name: &'a str) -> ShellError<'a> {
        let nearest = nearest(name, self.specs().map(|spec| spec.name));
        ShellError::UnknownCommand { name, nearest }
    }
}
