//! One token of the structure block, read with every bound checked.
//!
//! Source: Devicetree Specification, "Lexical structure" of the structure block.

use crate::error::TokenFault;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const FINISH: u32 = 9;

/// What stands at one place of the structure block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Token<'a> {
    /// A node begins: its name without the closing zero.
    Begin(&'a [u8]),
    /// The innermost open node ends.
    End,
    /// A property of the innermost open node.
    Property {
        /// Where in the strings block its name starts.
        name_offset: u32,
        /// Its bytes.
        value: &'a [u8],
    },
    /// Nothing; whoever edits a tree in place leaves these behind.
    Nop,
    /// The tree ends.
    Finish,
}

/// The big-endian word at `at`.
pub(crate) fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

/// Reads the token at `at` (a multiple of four) and tells where the next one is.
pub(crate) fn token_at(structure: &[u8], at: usize) -> Result<(Token<'_>, usize), TokenFault> {
    // The block is at most MAX_BYTES long and `at` within it, but a property's length is not: hence
    // the checked sums. A sum that fails is a token that runs out of the block.
    read(structure, at).ok_or(TokenFault::Cut)?
}

fn read(structure: &[u8], at: usize) -> Option<Result<(Token<'_>, usize), TokenFault>> {
    let word = word_at(structure, at)?;
    let body = at.checked_add(4)?;
    Some(Ok(match word {
        BEGIN_NODE => {
            let rest = structure.get(body..)?;
            let len = rest.iter().position(|&byte| byte == 0)?;
            let next = body.checked_add(padded(len.checked_add(1)?)?)?;
            structure.get(body..next)?;
            (Token::Begin(rest.get(..len)?), next)
        }
        END_NODE => (Token::End, body),
        PROPERTY => {
            let len = usize::try_from(word_at(structure, body)?).ok()?;
            let name_offset = word_at(structure, body.checked_add(4)?)?;
            let start = body.checked_add(8)?;
            let value = structure.get(start..start.checked_add(len)?)?;
            let next = start.checked_add(padded(len)?)?;
            structure.get(start..next)?;
            (Token::Property { name_offset, value }, next)
        }
        NOP => (Token::Nop, body),
        FINISH => (Token::Finish, body),
        other => return Some(Err(TokenFault::Unknown(other))),
    }))
}

/// Rounded up to a multiple of four.
fn padded(bytes: usize) -> Option<usize> {
    Some(bytes.checked_add(3)? & !3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[u32]) -> std::vec::Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn tokens_know_where_the_next_one_is() {
        let block = words(&[1, 0x6162_6300, 3, 5, 7, 0x1122_3344, 0x5500_0000, 4, 2, 9]);
        let (token, next) = token_at(&block, 0).unwrap();
        assert_eq!((token, next), (Token::Begin(b"abc"), 8));
        let (token, next) = token_at(&block, next).unwrap();
        let value = &[0x11, 0x22, 0x33, 0x44, 0x55];
        assert_eq!((token, next), (Token::Property { name_offset: 7, value }, 28));
        assert_eq!(token_at(&block, 28), Ok((Token::Nop, 32)));
        assert_eq!(token_at(&block, 32), Ok((Token::End, 36)));
        assert_eq!(token_at(&block, 36), Ok((Token::Finish, 40)));
        assert_eq!(token_at(&block, 40), Err(TokenFault::Cut));
    }

    #[test]
    fn lengths_that_overflow_are_cuts() {
        for len in [u32::MAX, u32::MAX - 3, 0x7fff_ffff, 8] {
            assert_eq!(token_at(&words(&[3, len, 0, 0]), 0), Err(TokenFault::Cut), "{len:#x}");
        }
        assert_eq!(token_at(&words(&[1, 0x6162_6364]), 0), Err(TokenFault::Cut));
        assert_eq!(token_at(&words(&[9]), usize::MAX - 2), Err(TokenFault::Cut));
        assert_eq!(token_at(&words(&[7]), 0), Err(TokenFault::Unknown(7)));
    }
}
