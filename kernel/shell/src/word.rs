//! Words, quotes and `;`.
//!
//! A word is bare, or quoted as a whole, or a key whose value is quoted: `stress`, `"two words"`,
//! `run="selftest; stress all"`. Both kinds of quotes work, so that a loader that eats one kind
//! passes the other on, and one kind can stand within the other. A quote elsewhere in a word is a
//! character like any other. Nothing is unescaped, so a word is always a slice of its text.

use crate::error::QuoteError;

/// A word of a command or of the kernel command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word<'a> {
    /// What stands before the first `=`, if anything does. A word quoted as a whole has no key.
    pub key: Option<&'a str>,
    /// The rest, without its quotes.
    pub value: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token<'a> {
    Word(Word<'a>),
    /// `;` between two words.
    Semicolon,
}

/// Whether `;` ends a command or is a character like any other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Semicolons {
    Separate,
    Ordinary,
}

/// Takes a text apart. After an error it yields nothing more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Where the last token began.
    start: usize,
    semicolons: Semicolons,
}

impl<'a> Lexer<'a> {
    pub(crate) const fn new(text: &'a str, semicolons: Semicolons) -> Self {
        Self { text, at: 0, start: 0, semicolons }
    }

    /// Where the last token began and where it ended, quotes included.
    pub(crate) const fn span(&self) -> (usize, usize) {
        (self.start, self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn slice(&self, from: usize, to: usize) -> &'a str {
        // All ends are next to ASCII characters, so no character is cut.
        self.text.get(from..to).unwrap_or_default()
    }

    /// Whether a bare word ends before `byte`.
    fn ends_word(&self, byte: u8) -> bool {
        is_blank(byte) || (byte == b';' && self.semicolons == Semicolons::Separate)
    }

    /// What the quote at `open` encloses; goes on after its counterpart.
    fn quoted(&mut self, open: usize, quote: u8) -> Result<&'a str, QuoteError> {
        let rest = self.slice(open + 1, self.text.len());
        let quote_char = char::from(quote);
        let Some(len) = rest.find(quote_char) else {
            return Err(QuoteError::Unclosed { quote: quote_char, at: open });
        };
        self.at = open + 1 + len + 1;
        match self.byte(self.at) {
            Some(next) if !self.ends_word(next) => {
                Err(QuoteError::TextAfter { quote: quote_char, at: self.at })
            }
            _ => Ok(self.slice(open + 1, open + 1 + len)),
        }
    }

    fn bare(&mut self) -> Result<Word<'a>, QuoteError> {
        let start = self.at;
        let mut key = None;
        let mut value_start = start;
        while let Some(byte) = self.byte(self.at) {
            if self.ends_word(byte) {
                break;
            }
            if byte == b'=' && key.is_none() && self.at > start {
                key = Some(self.slice(start, self.at));
                value_start = self.at + 1;
                if let Some(quote @ (b'"' | b'\'')) = self.byte(value_start) {
                    return Ok(Word { key, value: self.quoted(value_start, quote)? });
                }
            }
            self.at += 1;
        }
        Ok(Word { key, value: self.slice(value_start, self.at) })
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Token<'a>, QuoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.byte(self.at).is_some_and(is_blank) {
            self.at += 1;
        }
        self.start = self.at;
        let word = match self.byte(self.at)? {
            b';' if self.semicolons == Semicolons::Separate => {
                self.at += 1;
                return Some(Ok(Token::Semicolon));
            }
            quote @ (b'"' | b'\'') => {
                self.quoted(self.at, quote).map(|value| Word { key: None, value })
            }
            _ => self.bare(),
        };
        if word.is_err() {
            self.at = self.text.len();
        }
        Some(word.map(Token::Word))
    }
}

/// Blanks, tabs, line ends and whatever else loaders leave behind, such as NUL.
pub(crate) const fn is_blank(byte: u8) -> bool {
    byte <= b' '
}

/// The words of one command or of the kernel command line; `;` is a character like any other.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(Lexer<'a>);

impl<'a> Words<'a> {
    /// The words of `text`.
    pub const fn of(text: &'a str) -> Self {
        Self(Lexer::new(text, Semicolons::Ordinary))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Result<Word<'a>, QuoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next()? {
                Ok(Token::Word(word)) => return Some(Ok(word)),
                // The lexer was told that there are none.
                Ok(Token::Semicolon) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The commands of a script, which `;` separates; empty ones are left out.
#[derive(Clone, Copy, Debug)]
pub struct Commands<'a>(Lexer<'a>);

impl<'a> Commands<'a> {
    /// The commands of `text`.
    pub const fn of(text: &'a str) -> Self {
        Self(Lexer::new(text, Semicolons::Separate))
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<&'a str, QuoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut command: Option<(usize, usize)> = None;
        while let Some(token) = self.0.next() {
            match token {
                Ok(Token::Word(_)) => {
                    let (start, end) = self.0.span();
                    command = Some((command.map_or(start, |(first, _)| first), end));
                }
                Ok(Token::Semicolon) if command.is_none() => {}
                Ok(Token::Semicolon) => break,
                Err(error) => return Some(Err(error)),
            }
        }
        command.map(|(start, end)| Ok(self.0.slice(start, end)))
    }
}
