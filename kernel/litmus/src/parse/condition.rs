//! What is looked at in the end, and the question about it.

use super::error::{Error, Problem};
use super::initial::{home, register};
use super::names::Names;
use super::token::{Cursor, Lexeme};
use super::value::Home;
use crate::test::{
    Condition, Fault, FaultKind, Observed, ObservedId, Proposition, Quantifier, ThreadId,
};
use alloc::{boxed::Box, vec::Vec};

/// Nesting beyond this is nobody's condition, and must not use up the stack.
const DEEP: usize = 64;

/// Reads what comes after the programs.
pub(crate) struct Reader<'n> {
    pub(crate) names: &'n mut Names,
    pub(crate) threads: usize,
    pub(crate) observed: Vec<Observed>,
}

impl Reader<'_> {
    /// `locations [ … ]`, if there is one.
    pub(crate) fn locations(&mut self, at: &mut Cursor<'_, '_>) -> Result<(), Error> {
        if !at.take_word("locations") {
            return Ok(());
        }
        at.expect("[")?;
        loop {
            if at.take(";") || at.take(",") {
                continue;
            }
            if at.take("]") {
                return Ok(());
            }
            self.place(at)?;
        }
    }

    /// The question; none at all is one whose answer is always yes.
    pub(crate) fn condition(&mut self, at: &mut Cursor<'_, '_>) -> Result<Condition, Error> {
        if at.is_over() {
            let (quantifier, nothing) = (Quantifier::ForAll, Proposition::All(Vec::new()));
            return Ok(Condition { quantifier, proposition: nothing });
        }
        let negated = at.take("~") || at.take_word("not");
        let quantifier = match (negated, at.word("exists or forall")?) {
            (false, "exists") => Quantifier::Exists,
            (true, "exists") => Quantifier::NotExists,
            (false, "forall") => Quantifier::ForAll,
            (_, other) => return Err(at.unsupported("quantifier", other)),
        };
        Ok(Condition { quantifier, proposition: self.any(at, 0)? })
    }

    fn any(&mut self, at: &mut Cursor<'_, '_>, depth: usize) -> Result<Proposition, Error> {
        if depth > DEEP {
            return Err(at.error(Problem::TooMany("parentheses")));
        }
        let mut list = alloc::vec![self.all(at, depth)?];
        while at.take("\\/") {
            list.push(self.all(at, depth)?);
        }
        Ok(one(list, Proposition::Any))
    }

    fn all(&mut self, at: &mut Cursor<'_, '_>, depth: usize) -> Result<Proposition, Error> {
        let mut list = alloc::vec![self.single(at, depth)?];
        while at.take("/\\") {
            list.push(self.single(at, depth)?);
        }
        Ok(one(list, Proposition::All))
    }

    fn single(&mut self, at: &mut Cursor<'_, '_>, depth: usize) -> Result<Proposition, Error> {
        let mut negated = false;
        while at.take("~") || at.take_word("not") {
            negated = !negated;
        }
        let plain = if at.take("(") {
            let inside = self.any(at, depth + 1)?;
            at.expect(")")?;
            inside
        } else if at.take_word("true") {
            Proposition::All(Vec::new())
        } else if at.take_word("false") {
            Proposition::Any(Vec::new())
        } else {
            self.atom(at)?
        };
        Ok(if negated { Proposition::Not(Box::new(plain)) } else { plain })
    }

    fn atom(&mut self, at: &mut Cursor<'_, '_>) -> Result<Proposition, Error> {
        let (place, home) = self.place(at)?;
        if let Observed::Fault(_) = self.observed[place] {
            return Ok(Proposition::Equals(place, crate::test::Value::Number(1)));
        }
        let differs = at.take("<>");
        if !differs {
            at.expect("=")?;
        }
        let equal = if matches!((at.peek(), at.peek_at(1)), (Lexeme::Number(_), Lexeme::Sign(":")))
        {
            let (other, _) = self.place(at)?;
            Proposition::Same(place, other)
        } else {
            Proposition::Equals(place, self.names.value(at, home)?)
        };
        Ok(if differs { Proposition::Not(Box::new(equal)) } else { equal })
    }

    fn add(&mut self, observed: Observed) -> ObservedId {
        match self.observed.iter().position(|other| *other == observed) {
            Some(id) => id,
            None => {
                self.observed.push(observed);
                self.observed.len() - 1
            }
        }
    }

    /// Something to look at, and what a descriptor there is about.
    fn place(&mut self, at: &mut Cursor<'_, '_>) -> Result<(ObservedId, Home), Error> {
        let thread = match (at.peek(), at.peek_at(1)) {
            (Lexeme::Number(thread), _) => Some(thread as ThreadId),
            (Lexeme::Word(word), Lexeme::Sign(":")) => Names::thread(word),
            _ => None,
        };
        if let Some(thread) = thread {
            at.next();
            at.expect(":")?;
            let thread = self.thread(at, thread)?;
            let word = at.word("a register")?;
            let Some((reg, _)) = register(word) else {
                return Err(at.unsupported("register", word));
            };
            return Ok((self.add(Observed::Register(thread, reg)), None));
        }
        if at.take_word("fault") {
            let fault = self.fault(at)?;
            return Ok((self.add(Observed::Fault(fault)), None));
        }
        let bracketed = at.take("[");
        let found = if let Some(slot) = self.names.take_entry(at)? {
            (self.add(Observed::Entry(slot.id())), home(self.names, slot))
        } else {
            let name = at.word("a location")?;
            let var = self.names.variable(at, name)?;
            let mut element = 0;
            if at.take("[") {
                element = at.number("an index")? as usize;
                at.expect("]")?;
            }
            if element >= self.names.variables[var].initial.len() {
                return Err(at.unknown("element", name));
            }
            (self.add(Observed::Memory(var, element)), None)
        };
        if bracketed {
            at.expect("]")?;
        }
        Ok(found)
    }

    fn thread(&self, at: &Cursor<'_, '_>, thread: ThreadId) -> Result<ThreadId, Error> {
        if thread < self.threads {
            Ok(thread)
        } else {
            Err(at.unknown("thread", &alloc::format!("{thread}")))
        }
    }

    /// `(P0:L0,x,MMU:Translation)`, of which only the thread must be there.
    fn fault(&mut self, at: &mut Cursor<'_, '_>) -> Result<Fault, Error> {
        at.expect("(")?;
        let word = at.word("a thread")?;
        let thread = Names::thread(word).ok_or_else(|| at.expected("a thread"))?;
        let thread = self.thread(at, thread)?;
        let mut fault = Fault { thread, place: None, variable: None, entry: None, kind: None };
        if at.take(":") {
            let label = at.word("a label")?;
            fault.place = Some(self.names.label(at, thread, label)?);
        }
        while at.take(",") {
            if at.take_word("MMU") {
                at.expect(":")?;
                let word = at.word("a kind of fault")?;
                fault.kind = Some(match word {
                    "Translation" => FaultKind::Translation,
                    "AccessFlag" => FaultKind::AccessFlag,
                    "Permission" => FaultKind::Permission,
                    _ => return Err(at.unsupported("kind of fault", word)),
                });
            } else if let Some(slot) = self.names.take_entry(at)? {
                // Only at EL0, where no access to any descriptor succeeds.
                fault.entry = Some(slot.id());
            } else {
                let name = at.word("a variable")?;
                fault.variable = Some(self.names.variable(at, name)?);
            }
        }
        at.expect(")")?;
        Ok(fault)
    }
}

/// A list of one is that one.
fn one(mut list: Vec<Proposition>, many: fn(Vec<Proposition>) -> Proposition) -> Proposition {
    match (list.len(), list.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            list.push(last);
            many(list)
        }
        (_, None) => many(list),
    }
}
