//! The text of a test. See `docs/litmus.md` for the dialect.
//!
//! Texts come from anywhere, by hand and from files: none makes this panic, and what it does not understand
//! it names, with the line, and never guesses.

mod code;
mod condition;
mod error;
mod header;
mod initial;
mod instruction;
mod names;
mod operands;
mod tlbi;
mod token;
mod value;

pub use error::{Error, Problem};

use crate::test::{Descriptor, EntryName, Holder, Observed, Proposition, Test, Thread, Value};
use abi::Level;
use alloc::vec::Vec;
use code::Program;
use condition::Reader;
use header::Header;
use initial::Beginning;
use names::Names;
use token::{Cursor, tokens, uncomment};

/// The longest text, in bytes: far above any test, and little beside the heap of a kernel.
const LONGEST: usize = 64 << 10;

/// Reads a test.
pub fn parse(text: &str) -> Result<Test, Error> {
    if text.len() > LONGEST {
        return Err(Error { line: 1, problem: Problem::TooMany("characters") });
    }
    let (plain, notes) = uncomment(text);
    let (header, rest, line) = Header::read(&plain)?;
    let tokens = tokens(rest, line)?;
    let mut at = Cursor::new(&tokens);
    let (mut names, mut beginning) = (Names::new(), Beginning::default());
    let mut initial = at.block()?;
    // First, since registers may hold the addresses of labels.
    let programs = code::read(&mut at, &mut names)?;
    initial::read(&mut initial, &mut names, &mut beginning)?;
    let mut reader = Reader { names: &mut names, threads: programs.len(), observed: Vec::new() };
    reader.locations(&mut at)?;
    let condition = reader.condition(&mut at)?;
    if !at.is_over() {
        return Err(at.expected("the end"));
    }
    let observed = reader.observed;
    let threads = threads(&header, programs, &mut names, beginning, &at)?;
    let mut test = Test {
        name: header.name,
        notes,
        faults: header.faults,
        variables: names.variables,
        tables: names.tables,
        spaces: names.spaces,
        entries: Vec::new(),
        initial: names.leaves,
        threads,
        observed,
        condition,
        expected: header.expected,
    };
    add_entries(&mut test, names.others);
    settle(&mut test);
    Ok(test)
}

fn threads(
    header: &Header,
    programs: Vec<Program>,
    names: &mut Names,
    beginning: Beginning,
    at: &Cursor<'_, '_>,
) -> Result<Vec<Thread>, Error> {
    let mut threads = Vec::new();
    for (nth, (code, handler)) in programs.into_iter().enumerate() {
        let labels = core::mem::take(&mut names.labels[nth]);
        let of = |list: &[usize]| list.contains(&nth);
        threads.push(Thread {
            code,
            handler,
            labels,
            registers: Vec::new(),
            el0: of(&header.el0),
            ha: header.ha.has(nth) || header.hd.has(nth),
            hd: header.hd.has(nth),
            space: 0,
            preload: Vec::new(),
            device: of(&header.devices),
        });
    }
    let unknown = |thread: usize| at.unknown("thread", &alloc::format!("{thread}"));
    for (thread, reg, value) in beginning.registers {
        threads.get_mut(thread).ok_or_else(|| unknown(thread))?.registers.push((reg, value));
    }
    for (thread, space) in beginning.spaces {
        threads.get_mut(thread).ok_or_else(|| unknown(thread))?.space = space;
    }
    for (thread, var) in beginning.preloads {
        threads.get_mut(thread).ok_or_else(|| unknown(thread))?.preload.push(var);
    }
    Ok(threads)
}

/// Numbers the descriptors: those of the first space's pages first.
fn add_entries(test: &mut Test, others: Vec<(EntryName, Option<Descriptor>)>) {
    let within = Holder::Space(0);
    for variable in 0..test.variables.len() {
        test.entries.push(EntryName { variable, level: Level::Pte, within });
    }
    for (entry, initial) in others {
        test.entries.push(entry);
        test.initial.push(initial.unwrap_or(Names::usual(entry)));
    }
}

/// Gives descriptors their final numbers, everywhere.
fn settle(test: &mut Test) {
    let variables = test.variables.len();
    let value = |value: &mut Value| {
        if let Value::Entry(id) = value {
            *id = names::settle(*id, variables);
        }
    };
    let registers = test.threads.iter_mut().flat_map(|thread| &mut thread.registers);
    registers.for_each(|(_, content)| value(content));
    let elements = test.variables.iter_mut().flat_map(|variable| &mut variable.initial);
    elements.for_each(value);
    for observed in &mut test.observed {
        match observed {
            Observed::Entry(id) => *id = names::settle(*id, variables),
            Observed::Fault(fault) => {
                fault.entry = fault.entry.map(|id| names::settle(id, variables));
            }
            _ => {}
        }
    }
    settle_in(&mut test.condition.proposition, &value);
}

fn settle_in(proposition: &mut Proposition, value: &dyn Fn(&mut Value)) {
    match proposition {
        Proposition::Equals(_, content) => value(content),
        Proposition::Same(..) => {}
        Proposition::Not(inside) => settle_in(inside, value),
        Proposition::All(list) | Proposition::Any(list) => {
            list.iter_mut().for_each(|inside| settle_in(inside, value));
        }
    }
}
