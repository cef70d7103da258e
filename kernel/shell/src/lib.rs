//! The serial shell: what a person or a script says to the kernel, and how it answers.
//!
//! Nothing here knows what a command does. A command is a name, a list of typed arguments and a
//! function over a context that the kernel chooses; help, completion, error messages and the
//! replay line all come from the same list, so they cannot disagree with what is accepted.
//!
//! The input is hostile by assumption: a serial line carries noise, pastes and half a megabyte of
//! somebody's boot log. Every buffer has a fixed size that is stated where it is declared, every
//! byte is accepted or refused, and no byte sequence panics. No allocation, no locks, no clock
//! (time is passed in), no target. All output goes to a [`core::fmt::Write`] whose owner turns
//! `\n` into CR LF if the wire needs it; an output error is the owner's to notice, the editor goes
//! on without echo.
//!
//! | file | concern |
//! | --- | --- |
//! | `terminal` | what the far side can show: ANSI, plain, nothing |
//! | `key` | bytes to keys: VT100 sequences, CR LF, noise |
//! | `line`, `edit` | a line in a fixed buffer, and what keys do to it |
//! | `history` | the last lines entered |
//! | `paint` | making the screen row equal the line, with few bytes |
//! | `tab` | what Tab inserts or lists |
//! | `editor` | all of these together: bytes in, lines out |
//! | `typeahead` | bytes that arrive while a command runs |
//! | `word` | words, quotes and `;` |
//! | `value`, `arg`, `args` | typed arguments: what is declared, what was given |
//! | `command`, `complete`, `help` | the table of commands, and what is derived from it |
//! | `check` | whether a table contradicts itself |
//! | `boot_options` | the kernel command line |
//! | `error`, `suggest` | what was wrong, what was expected, what may have been meant |
//! | `progress` | one line that tells how far long work is |
//! | `columns`, `quantity` | tables; sizes, counts and times for people |
//!
//! A prompt is these parts, and a loop that waits for bytes:
//!
//! ```
//! # use granule_shell::*;
//! # use core::fmt::Write;
//! static COMMANDS: [Command<u64>; 1] = [Command {
//!     spec: Spec::new("add", "add to the sum")
//!         .args(&[Arg::place("n", Kind::NUMBER, "what to add").or("1")]),
//!     run: |sum, args, out| {
//!         *sum += args.number("n")?;
//!         Ok(writeln!(out, "{sum}")?)
//!     },
//! }];
//! static TABLE: Table<u64> = Table::new(&COMMANDS);
//!
//! let (mut sum, mut out) = (0, String::new());
//! let mut editor = LineEditor::new(Terminal::new(Show::Plain), "granule> ");
//! editor.start(&mut out);
//! for byte in *b"add 0x10\nadd x\n" {
//!     match editor.feed(byte, &TABLE, &mut out) {
//!         Event::None => continue,
//!         Event::Line(line) => drop(TABLE.run(&mut sum, line, &mut out)),
//!         Event::Overlong { refused, .. } => {
//!             writeln!(out, "{}", ShellError::Overlong { refused })?;
//!         }
//!         Event::Interrupt | Event::EndOfInput => {}
//!     }
//!     editor.start(&mut out);
//! }
//! assert_eq!(
//!     out,
//!     "granule> add 0x10\n16\n\
//!      granule> add x\nadd: n `x` is not a number; expected a number such as 8 or 0x20\n\
//!      granule> "
//! );
//! # Ok::<(), core::fmt::Error>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod arg;
mod args;
mod boot_options;
mod check;
mod columns;
mod command;
mod complete;
mod edit;
mod editor;
mod error;
mod help;
mod history;
mod key;
mod line;
mod paint;
mod progress;
mod quantity;
mod suggest;
mod tab;
mod terminal;
mod typeahead;
mod value;
mod word;

#[cfg(test)]
mod tests;

pub use arg::{Arg, Form, Kind, Need};
pub use args::{Args, MAX_ARGS};
pub use boot_options::{BootOptions, Warning};
pub use check::TableError;
pub use columns::{Column, Wrapped, columns};
pub use command::{Command, Failure, Run, Spec, Status, Table};
pub use editor::{Event, LineEditor};
pub use error::{ArgError, QuoteError, ShellError, SpecError, ValueError};
pub use history::HISTORY_LINES;
pub use line::LINE_MAX;
pub use progress::{Progress, Report};
pub use quantity::{Bytes, Clock, Count, Elapsed, ExactSize, ExactTime};
pub use tab::{Candidate, Complete, Ending, NoCompletion};
pub use terminal::{Colour, Show, Terminal};
pub use typeahead::{Arrival, TYPEAHEAD_BYTES, TypeAhead};
pub use value::Value;
pub use word::{Commands, Word, Words};
