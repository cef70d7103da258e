//! Operands: registers, numbers, addresses, labels.

use super::error::Error;
use super::initial::register;
use super::token::{Cursor, Lexeme};
use crate::instruction::{Flags, Place, Reg, Source, Width};
use alloc::string::String;

/// The rest of an instruction's text, and the labels that it may name.
pub(super) struct Operands<'a, 't, 'c> {
    pub(super) at: &'c mut Cursor<'a, 't>,
    pub(super) labels: &'c [(String, usize)],
}

impl Operands<'_, '_, '_> {
    pub(super) fn comma(&mut self) -> Result<(), Error> {
        self.at.expect(",")
    }

    pub(super) fn register(&mut self) -> Result<(Reg, Width), Error> {
        let found = match self.at.peek() {
            Lexeme::Word(word) => register(word),
            _ => None,
        };
        let Some((reg, wide)) = found else { return Err(self.at.expected("a register")) };
        self.at.next();
        Ok((reg, if wide { Width::X } else { Width::W }))
    }

    pub(super) fn immediate(&mut self) -> Result<Option<u64>, Error> {
        let marked = self.at.take("#");
        let negative = self.at.take("-");
        match self.at.peek() {
            Lexeme::Number(number) => {
                self.at.next();
                Ok(Some(if negative { number.wrapping_neg() } else { number }))
            }
            _ if marked || negative => Err(self.at.expected("a number")),
            _ => Ok(None),
        }
    }

    /// The last operand: a number, or a register that may be extended.
    pub(super) fn source(&mut self) -> Result<Source, Error> {
        if let Some(number) = self.immediate()? {
            return Ok(Source::Immediate(number));
        }
        let (from, width) = self.register()?;
        if !self.at.take(",") {
            return Ok(match width {
                Width::X => Source::Register(from),
                Width::W => Source::Extended { from, signed: false },
            });
        }
        let how = self.at.word("an extension")?;
        match how.to_ascii_uppercase().as_str() {
            "SXTW" => Ok(Source::Extended { from, signed: true }),
            "UXTW" => Ok(Source::Extended { from, signed: false }),
            _ => Err(self.at.unsupported("extension", how)),
        }
    }

    /// `[X1]`, `[X1,#8]`, `[X1,X2]`, `[X1,W2,SXTW]`
    pub(super) fn address(&mut self) -> Result<(Reg, Source), Error> {
        self.at.expect("[")?;
        let (base, _) = self.register()?;
        let offset = if self.at.take(",") { self.source()? } else { Source::Immediate(0) };
        self.at.expect("]")?;
        Ok((base, offset))
    }

    pub(super) fn plain_address(&mut self) -> Result<Reg, Error> {
        match self.address()? {
            (base, Source::Immediate(0)) => Ok(base),
            _ => Err(self.at.unsupported("addressing", "an offset here")),
        }
    }

    pub(super) fn flags(&mut self) -> Result<Flags, Error> {
        let word = self.at.word("a condition")?;
        flags(word).ok_or_else(|| self.at.unsupported("condition", word))
    }

    pub(super) fn label(&mut self) -> Result<Place, Error> {
        let name = self.at.word("a label")?;
        let found = self.labels.iter().find(|(label, _)| label == name);
        found.map(|(_, place)| *place).ok_or_else(|| self.at.unknown("label", name))
    }
}

/// A condition's name.
pub(super) fn flags(word: &str) -> Option<Flags> {
    match word.to_ascii_uppercase().as_str() {
        "EQ" => Some(Flags::Equal),
        "NE" => Some(Flags::NotEqual),
        _ => None,
    }
}
