//! Text into tokens, with the line of each.

use super::error::{Error, Problem};
use alloc::{string::String, string::ToString, vec::Vec};

/// One token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lexeme<'a> {
    /// A name, a keyword, an instruction.
    Word(&'a str),
    /// A number without sign.
    Number(u64),
    /// What is between quotes.
    Quoted(&'a str),
    /// Punctuation.
    Sign(&'static str),
    /// Nothing more.
    End,
}

impl core::fmt::Display for Lexeme<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Word(text) => f.write_str(text),
            Self::Quoted(text) => write!(f, "\"{text}\""),
            Self::Number(number) => write!(f, "{number}"),
            Self::Sign(sign) => f.write_str(sign),
            Self::End => f.write_str("the end"),
        }
    }
}

/// A token and its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) lexeme: Lexeme<'a>,
    pub(crate) line: usize,
}

/// Longer ones first.
const SIGNS: [&str; 21] = [
    "/\\", "\\/", "<>", "{", "}", "(", ")", "[", "]", ";", ",", "=", ":", "|", "#", "+", "-", "~",
    "*", "!", "&",
];

/// The tokens of `text`, whose first line is `line`. Comments are gone already.
pub(crate) fn tokens(text: &str, mut line: usize) -> Result<Vec<Token<'_>>, Error> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (lexeme, len) = match first {
            '\n' => {
                line += 1;
                rest = &rest[1..];
                continue;
            }
            _ if first.is_whitespace() => {
                rest = &rest[first.len_utf8()..];
                continue;
            }
            '"' => {
                let inside = &rest[1..];
                let end = inside.find(['"', '\n']).filter(|at| inside[*at..].starts_with('"'));
                let Some(end) = end else {
                    let found = "the line's end".to_string();
                    let problem = Problem::Expected { what: "a closing quote", found };
                    return Err(Error { line, problem });
                };
                (Lexeme::Quoted(&inside[..end]), end + 2)
            }
            _ if first.is_ascii_digit() => number(rest, line)?,
            _ if is_word(first) => {
                let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                (Lexeme::Word(&rest[..len]), len)
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Lexeme::Sign(sign), sign.len()),
                None => {
                    let text = String::from(first);
                    let problem = Problem::Unsupported { what: "character", text };
                    return Err(Error { line, problem });
                }
            },
        };
        tokens.push(Token { lexeme, line });
        rest = &rest[len..];
    }
    tokens.push(Token { lexeme: Lexeme::End, line });
    Ok(tokens)
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '\'' | '$')
}

fn number(text: &str, line: usize) -> Result<(Lexeme<'_>, usize), Error> {
    let len = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let digits = &text[..len];
    let parsed = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    match parsed {
        Ok(number) => Ok((Lexeme::Number(number), len)),
        Err(_) => {
            let problem = Problem::Expected { what: "a number", found: digits.to_string() };
            Err(Error { line, problem })
        }
    }
}

/// `text` with a blank for each character of a comment (`(* … *)`, which nest), but for line ends; and what
/// the comments say.
pub(crate) fn uncomment(text: &str) -> (String, Vec<String>) {
    let (mut plain, mut notes, mut note) = (String::new(), Vec::new(), String::new());
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("(*") {
            depth += 1;
            plain.push_str("  ");
            rest = &rest[2..];
        } else if depth > 0 && rest.starts_with("*)") {
            depth -= 1;
            plain.push_str("  ");
            rest = &rest[2..];
            if depth == 0 {
                keep(&mut notes, &note);
                note.clear();
            }
        } else {
            plain.push(if depth == 0 || next == '\n' { next } else { ' ' });
            if depth > 0 {
                note.push(next);
            }
            rest = &rest[next.len_utf8()..];
        }
    }
    keep(&mut notes, &note);
    (plain, notes)
}

fn keep(notes: &mut Vec<String>, note: &str) {
    let lines = note.lines().map(str::trim).filter(|line| !line.is_empty());
    notes.extend(lines.map(String::from));
}

/// Tokens, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a, 't> {
    tokens: &'t [Token<'a>],
    /// For the end, which is there even when no token is.
    line: usize,
}

impl<'a, 't> Cursor<'a, 't> {
    pub(crate) fn new(tokens: &'t [Token<'a>]) -> Self {
        Self { tokens, line: tokens.first().map_or(0, |token| token.line) }
    }

    /// The next token, which stays.
    pub(crate) fn peek(&self) -> Lexeme<'a> {
        self.tokens.first().map_or(Lexeme::End, |token| token.lexeme)
    }

    /// The one after `n` others.
    pub(crate) fn peek_at(&self, n: usize) -> Lexeme<'a> {
        self.tokens.get(n).map_or(Lexeme::End, |token| token.lexeme)
    }

    pub(crate) fn line(&self) -> usize {
        self.tokens.first().map_or(self.line, |token| token.line)
    }

    pub(crate) fn next(&mut self) -> Lexeme<'a> {
        match self.tokens.split_first() {
            Some((token, rest)) => {
                (self.tokens, self.line) = (rest, token.line);
                token.lexeme
            }
            None => Lexeme::End,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.peek() == Lexeme::End
    }

    /// Takes `sign` if it is next.
    pub(crate) fn take(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Lexeme::Sign(next) if next == sign);
        if there {
            self.next();
        }
        there
    }

    /// Takes the keyword if it is next, however its letters are written.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let there = matches!(self.peek(), Lexeme::Word(next) if next.eq_ignore_ascii_case(word));
        if there {
            self.next();
        }
        there
    }

    pub(crate) fn expect(&mut self, sign: &'static str) -> Result<(), Error> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(sign)) }
    }

    pub(crate) fn word(&mut self, what: &'static str) -> Result<&'a str, Error> {
        match self.peek() {
            Lexeme::Word(word) => {
                self.next();
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, Error> {
        match self.peek() {
            Lexeme::Number(number) => {
                self.next();
                Ok(number)
            }
            _ => Err(self.expected(what)),
        }
    }

    /// A number of a field that has no room for more than `most`.
    pub(crate) fn number_up_to(&mut self, most: u64, what: &'static str) -> Result<u64, Error> {
        match self.peek() {
            Lexeme::Number(number) if number > most => {
                Err(self.unsupported(what, number.to_string()))
            }
            _ => self.number(what),
        }
    }

    /// The error that the next token is, where `what` should be.
    pub(crate) fn expected(&self, what: &'static str) -> Error {
        self.error(Problem::Expected { what, found: self.peek().to_string() })
    }

    /// The error that the next token is, for what it means.
    pub(crate) fn unsupported(&self, what: &'static str, text: impl Into<String>) -> Error {
        self.error(Problem::Unsupported { what, text: text.into() })
    }

    pub(crate) fn unknown(&self, what: &'static str, name: &str) -> Error {
        self.error(Problem::Unknown { what, name: name.into() })
    }

    pub(crate) fn twice(&self, what: &'static str, name: impl Into<String>) -> Error {
        self.error(Problem::Twice { what, name: name.into() })
    }

    pub(crate) fn error(&self, problem: Problem) -> Error {
        Error { line: self.line(), problem }
    }

    /// Everything before the next `stop`, which is taken as well, or before the end.
    pub(crate) fn until(&mut self, stops: &[&str]) -> (&'t [Token<'a>], Lexeme<'a>) {
        let stop = |token: &Token<'_>| match token.lexeme {
            Lexeme::Sign(sign) => stops.contains(&sign),
            Lexeme::End => true,
            _ => false,
        };
        let at = self.tokens.iter().position(stop).unwrap_or(self.tokens.len());
        let (before, rest) = self.tokens.split_at(at);
        self.tokens = rest;
        (before, self.next())
    }

    /// What is between braces, both included; the rest stays.
    pub(crate) fn block(&mut self) -> Result<Self, Error> {
        let mut depth = 0_usize;
        for (nth, token) in self.tokens.iter().enumerate() {
            match token.lexeme {
                Lexeme::Sign("{") => depth += 1,
                Lexeme::Sign("}") => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                let (block, rest) = self.tokens.split_at(nth + 1);
                *self = Self { tokens: rest, line: token.line };
                return Ok(Self::new(block));
            }
        }
        Err(self.expected("} after the initial state"))
    }
}
