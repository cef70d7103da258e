//! What is between the braces: memory, descriptors and registers at the beginning, and what they are.

use super::error::{Error, Problem};
use super::names::{Names, Slot};
use super::token::{Cursor, Lexeme};
use super::value::Home;
use crate::instruction::Reg;
use crate::test::{Descriptor, Output, Space, ThreadId, Value, Var};
use abi::Level;
use alloc::{string::ToString, vec::Vec};

/// The most elements of a variable, which has one page.
const ELEMENTS: usize = 64;
/// The most neighbours: the pages of a contiguous set, for no more than that belongs to a group.
const NEIGHBOURS: usize = 16;
/// The most tables, and the most spaces: each space has tables for every variable.
const HOLDERS: usize = 16;

/// Threads' beginnings, and what memory's beginning is known of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beginning {
    /// Variables and descriptors of which it was said what they hold.
    variables: Vec<Var>,
    entries: Vec<Slot>,
    pub(crate) registers: Vec<(ThreadId, Reg, Value)>,
    pub(crate) spaces: Vec<(ThreadId, usize)>,
    pub(crate) preloads: Vec<(ThreadId, Var)>,
}

/// A register's name: its number and whether it is a whole one.
pub(crate) fn register(word: &str) -> Option<(Reg, bool)> {
    let upper = word.as_bytes();
    let wide = match upper.first()? {
        b'X' | b'x' => true,
        b'W' | b'w' => false,
        _ => return None,
    };
    let rest = word.get(1..)?;
    if rest.eq_ignore_ascii_case("zr") {
        return Some((Reg::ZERO, wide));
    }
    let number: u8 = rest.parse().ok()?;
    (number <= 30 && rest.bytes().all(|b| b.is_ascii_digit())).then_some((Reg(number), wide))
}

/// The bytes of a type's name.
fn width(word: &str) -> Option<u64> {
    match word {
        "int" | "int32_t" | "uint32_t" => Some(4),
        "int64_t" | "uint64_t" | "pteval_t" | "intptr_t" | "uintptr_t" => Some(8),
        _ => None,
    }
}

/// Reads everything up to the closing brace.
pub(crate) fn read(
    at: &mut Cursor<'_, '_>,
    names: &mut Names,
    beginning: &mut Beginning,
) -> Result<(), Error> {
    at.expect("{")?;
    loop {
        if at.take(";") {
            continue;
        }
        if at.take("}") {
            return Ok(());
        }
        statement(at, names, beginning)?;
        if !matches!(at.peek(), Lexeme::Sign(";" | "}")) {
            return Err(at.expected("; or }"));
        }
    }
}

fn statement(
    at: &mut Cursor<'_, '_>,
    names: &mut Names,
    beginning: &mut Beginning,
) -> Result<(), Error> {
    match (at.peek(), at.peek_at(1)) {
        (Lexeme::Word("near"), Lexeme::Word(_)) => return near(at, names),
        (Lexeme::Word("table"), Lexeme::Word(name)) => {
            at.next();
            at.next();
            if names.tables.len() == HOLDERS {
                return Err(at.error(Problem::TooMany("tables")));
            }
            unused(at, names, name)?;
            names.tables.push(name.to_string());
            return Ok(());
        }
        (Lexeme::Word("space"), Lexeme::Word(name)) => return space(at, names, name),
        _ => {}
    }
    let mut typed = None;
    if let Lexeme::Word(word) = at.peek() {
        typed = width(word);
        if typed.is_some() {
            at.next();
            while at.take("*") {
                typed = Some(8);
            }
        }
    }
    if let Lexeme::Number(thread) = at.peek() {
        return of_thread(at, names, beginning, thread as ThreadId);
    }
    let bracketed = at.take("[");
    if let Some(slot) = names.take_entry(at)? {
        if bracketed {
            at.expect("]")?;
        }
        if beginning.entries.contains(&slot) {
            return Err(at.twice("the beginning of", "a descriptor"));
        }
        beginning.entries.push(slot);
        at.expect("=")?;
        return entry(at, names, slot);
    }
    let name = at.word("a name")?;
    let var = names.variable(at, name)?;
    if let Some(width) = typed {
        names.variables[var].width = width;
    }
    if bracketed {
        at.expect("]")?;
    }
    if variable(at, names, var)? {
        if beginning.variables.contains(&var) {
            return Err(at.twice("the beginning of", name));
        }
        beginning.variables.push(var);
    }
    Ok(())
}

/// No space and no table has this name yet.
fn unused(at: &Cursor<'_, '_>, names: &Names, name: &str) -> Result<(), Error> {
    match names.holder(name) {
        Some(_) => Err(at.twice("the table or space", name)),
        None => Ok(()),
    }
}

/// `x`, `x=1`, `x[2]`, `x[2]={1,2}`. Whether it was said what it holds.
fn variable(at: &mut Cursor<'_, '_>, names: &mut Names, var: Var) -> Result<bool, Error> {
    if at.take("[") {
        let elements = at.number("a size")?;
        if elements == 0 || elements > ELEMENTS as u64 {
            return Err(at.unsupported("size of an array", elements.to_string()));
        }
        at.expect("]")?;
        names.variables[var].initial = alloc::vec![Value::Number(0); elements as usize];
    }
    if !at.take("=") {
        return Ok(false);
    }
    if !at.take("{") {
        names.variables[var].initial[0] = names.value(at, None)?;
        return Ok(true);
    }
    let mut values = Vec::new();
    loop {
        values.push(names.value(at, None)?);
        if values.len() > ELEMENTS {
            return Err(at.error(Problem::TooMany("elements")));
        }
        if !at.take(",") {
            break;
        }
    }
    at.expect("}")?;
    let room = names.variables[var].initial.len().max(values.len());
    values.resize(room, Value::Number(0));
    names.variables[var].initial = values;
    Ok(true)
}

/// `[PTE(x)]=…`
fn entry(at: &mut Cursor<'_, '_>, names: &mut Names, slot: Slot) -> Result<(), Error> {
    let home = home(names, slot);
    let descriptor = match names.value(at, home)? {
        Value::Descriptor(descriptor) => descriptor,
        Value::Number(0) => {
            let page = Descriptor::page(home.map_or(0, |(var, _)| var));
            Descriptor { output: Output::None, ..page }
        }
        _ => return Err(at.expected("a descriptor")),
    };
    let (variable, level) = home.unwrap_or((0, Level::Pte));
    let mut descriptor = Descriptor { of: descriptor.of.or(Some(variable)), ..descriptor };
    if let Output::Next(_) = descriptor.output {
        (descriptor.of, descriptor.level) = (Some(variable), level);
    }
    match slot {
        Slot::Leaf(var) => names.leaves[var] = descriptor,
        Slot::Other(nth) => names.others[nth].1 = Some(descriptor),
    }
    Ok(())
}

/// What a descriptor in this place is about.
pub(crate) fn home(names: &Names, slot: Slot) -> Home {
    match slot {
        Slot::Leaf(var) => Some((var, Level::Pte)),
        Slot::Other(nth) => names.others.get(nth).map(|(entry, _)| (entry.variable, entry.level)),
    }
}

/// `0:X1=…`, `0:TTBR0=s`, `0:preload=x y`.
fn of_thread(
    at: &mut Cursor<'_, '_>,
    names: &mut Names,
    beginning: &mut Beginning,
    thread: ThreadId,
) -> Result<(), Error> {
    at.next();
    at.expect(":")?;
    let word = at.word("a register")?;
    if word == "preload" {
        at.expect("=")?;
        while let Lexeme::Word(name) = at.peek() {
            let var = names.variable(at, name)?;
            at.next();
            beginning.preloads.push((thread, var));
        }
        return Ok(());
    }
    if word.eq_ignore_ascii_case("TTBR0") {
        at.expect("=")?;
        let space = names.space(at)?;
        if beginning.spaces.iter().any(|(other, _)| *other == thread) {
            return Err(at.twice("the beginning of", word));
        }
        beginning.spaces.push((thread, space));
        return Ok(());
    }
    let Some((reg, _)) = register(word) else { return Err(at.unsupported("register", word)) };
    // A register's type alone says nothing.
    if at.take("=") {
        let value = names.value(at, None)?;
        if beginning.registers.iter().any(|(t, r, _)| (*t, *r) == (thread, reg)) {
            return Err(at.twice("the beginning of", word));
        }
        beginning.registers.push((thread, reg, value));
    }
    Ok(())
}

/// `near x y z`
fn near(at: &mut Cursor<'_, '_>, names: &mut Names) -> Result<(), Error> {
    at.next();
    let mut group = None;
    while let Lexeme::Word(name) = at.peek() {
        let var = names.variable(at, name)?;
        at.next();
        let group = *group.get_or_insert(names.variables[var].group);
        names.variables[var].group = group;
        let members = names.variables.iter().filter(|variable| variable.group == group);
        if members.count() > NEIGHBOURS {
            return Err(at.error(Problem::TooMany("neighbours")));
        }
    }
    Ok(())
}

/// `space s=(asid:2)`
fn space(at: &mut Cursor<'_, '_>, names: &mut Names, name: &str) -> Result<(), Error> {
    at.next();
    at.next();
    at.expect("=")?;
    let asid = match names.value(at, None)? {
        Value::Operand(operand) if operand.va.is_none() => operand.asid,
        _ => return Err(at.expected("(asid:N)")),
    };
    if names.spaces.len() == HOLDERS {
        return Err(at.error(Problem::TooMany("spaces")));
    }
    unused(at, names, name)?;
    names.spaces.push(Space { name: name.to_string(), asid });
    Ok(())
}
