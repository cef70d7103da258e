//! The table of programs: one column a thread, one more for a thread's handler of faults.

use super::error::{Error, Problem};
use super::instruction;
use super::names::Names;
use super::token::{Cursor, Lexeme, Token};
use crate::instruction::Instruction;
use crate::test::ThreadId;
use alloc::{string::String, string::ToString, vec::Vec};

/// Far above any test; each event of an execution must find a place in a set of 128.
const THREADS: usize = 8;

/// A cell that holds an instruction.
#[derive(Clone, Debug)]
struct Cell<'a, 't> {
    tokens: &'t [Token<'a>],
}

/// One column of the table.
#[derive(Clone, Debug, Default)]
struct Column<'a, 't> {
    cells: Vec<Cell<'a, 't>>,
    /// Labels, and before which cell they stand.
    labels: Vec<(String, usize)>,
}

/// A thread's program and where its handler begins.
pub(crate) type Program = (Vec<Instruction>, Option<usize>);

/// Whose columns there are, in their order.
fn heads(at: &mut Cursor<'_, '_>) -> Result<Vec<(ThreadId, bool)>, Error> {
    let mut heads: Vec<(ThreadId, bool)> = Vec::new();
    loop {
        let word = at.word("a thread's name")?;
        let (name, handler) = match word.strip_suffix(".F") {
            Some(name) => (name, true),
            None => (word, false),
        };
        let thread = name.strip_prefix('P').and_then(|number| number.parse().ok());
        let thread = thread.ok_or_else(|| at.expected("a thread's name"))?;
        let new = heads.iter().filter(|(_, handler)| !*handler).count();
        if (!handler && thread != new) || (handler && heads.contains(&(thread, true))) {
            return Err(at.unsupported("order of threads", word));
        }
        heads.push((thread, handler));
        if heads.len() > 2 * THREADS {
            return Err(at.error(Problem::TooMany("threads")));
        }
        if !at.take("|") {
            at.expect(";")?;
            break;
        }
    }
    let threads = heads.iter().filter(|(_, handler)| !*handler).count();
    if threads > THREADS {
        return Err(at.error(Problem::TooMany("threads")));
    }
    match heads.iter().find(|(thread, _)| *thread >= threads) {
        Some((thread, _)) => Err(at.unknown("thread", &thread.to_string())),
        None => Ok(heads),
    }
}

/// Whether the programs are over: what follows is about the end.
pub(crate) fn is_over(at: &Cursor<'_, '_>) -> bool {
    match at.peek() {
        Lexeme::Word(word) => {
            ["locations", "exists", "forall", "filter"].contains(&word)
                || word == "not" && at.peek_at(1) == Lexeme::Word("exists")
        }
        Lexeme::Sign("~") | Lexeme::End => true,
        _ => false,
    }
}

/// Reads the table. Labels become known before any instruction is read.
pub(crate) fn read<'a, 't>(
    at: &mut Cursor<'a, 't>,
    names: &mut Names,
) -> Result<Vec<Program>, Error> {
    let heads = heads(at)?;
    let mut columns: Vec<Column<'a, 't>> = alloc::vec![Column::default(); heads.len()];
    while !is_over(at) {
        row(at, &mut columns)?;
    }
    let mut programs = Vec::new();
    for thread in 0..heads.iter().filter(|(_, handler)| !*handler).count() {
        let find = |wanted| heads.iter().position(|head| *head == wanted);
        let main = find((thread, false)).map(|nth| &columns[nth]);
        let handler = find((thread, true)).map(|nth| &columns[nth]);
        let Some(main) = main else { continue };
        let start = main.cells.len() + 1;
        let moved = handler.iter().flat_map(|column| &column.labels);
        let moved = moved.map(|(label, before)| (label.clone(), start + before));
        let known =
            |(label, _): &&(String, usize)| main.labels.iter().any(|(other, _)| other == label);
        if let Some((label, _)) = handler.iter().flat_map(|column| &column.labels).find(known) {
            return Err(at.twice("the label", label.as_str()));
        }
        let labels: Vec<_> = main.labels.iter().cloned().chain(moved).collect();
        let mut code = assemble(main, &labels)?;
        if let Some(handler) = handler {
            code.extend(assemble(handler, &labels)?);
        }
        programs.push((code, handler.map(|_| start)));
        names.labels.push(labels);
    }
    Ok(programs)
}

fn row<'a, 't>(at: &mut Cursor<'a, 't>, columns: &mut [Column<'a, 't>]) -> Result<(), Error> {
    let mut nth = 0;
    loop {
        let (mut tokens, stop) = at.until(&["|", ";"]);
        let Some(column) = columns.get_mut(nth) else {
            return Err(at.error(Problem::TooMany("columns")));
        };
        while let [Token { lexeme: Lexeme::Word(label), .. }, colon, rest @ ..] = tokens {
            if colon.lexeme != Lexeme::Sign(":") {
                break;
            }
            if column.labels.iter().any(|(known, _)| known == label) {
                return Err(at.twice("the label", *label));
            }
            column.labels.push((label.to_string(), column.cells.len()));
            tokens = rest;
        }
        if !tokens.is_empty() {
            column.cells.push(Cell { tokens });
        }
        nth += 1;
        match stop {
            Lexeme::Sign("|") => {}
            Lexeme::Sign(_) => return Ok(()),
            _ => return Err(at.expected("; at a row's end")),
        }
    }
}

fn assemble(
    column: &Column<'_, '_>,
    labels: &[(String, usize)],
) -> Result<Vec<Instruction>, Error> {
    let mut code = Vec::new();
    for cell in &column.cells {
        code.push(instruction::read(&mut Cursor::new(cell.tokens), labels)?);
    }
    code.push(Instruction::Stop);
    Ok(code)
}
