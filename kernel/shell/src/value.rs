//! The value of an argument: read from a word, and printed so that it reads back the same.

use crate::arg::Kind;
use crate::error::ValueError;
use crate::suggest::nearest;
use core::time::Duration;

/// A value that its [`Kind`] admits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// Of a number, a size or an address.
    Number(u64),
    /// Of a time.
    Time(Duration),
    /// Of a word, or of a name from a list.
    Word(&'a str),
    /// Of a flag.
    Flag(bool),
}

impl<'a> Value<'a> {
    /// Reads `text` as `kind` asks.
    pub fn parse(kind: Kind, text: &'a str) -> Result<Self, ValueError> {
        match kind {
            Kind::Number { min, max } | Kind::Size { min, max } => {
                let number = number(text)?;
                if number < min || number > max {
                    return Err(ValueError::OutOfRange { number, min, max });
                }
                Ok(Self::Number(number))
            }
            Kind::Address => address(text).map(Self::Number),
            Kind::Time => time(text).map(Self::Time),
            Kind::Word => Ok(Self::Word(text)),
            Kind::OneOf(names) => match names.iter().find(|&&name| name == text) {
                Some(name) => Ok(Self::Word(name)),
                None => {
                    Err(ValueError::NotListed { nearest: nearest(text, names.iter().copied()) })
                }
            },
            Kind::Flag => match text {
                "on" => Ok(Self::Flag(true)),
                "off" => Ok(Self::Flag(false)),
                _ => Err(ValueError::NotASwitch),
            },
        }
    }
}

/// Digits in `radix`, with `_` allowed between them.
fn digits(text: &str, radix: u32) -> Result<u128, ValueError> {
    let valid = |byte: u8| byte == b'_' || char::from(byte).is_digit(radix);
    if !text.bytes().all(valid) || text.starts_with('_') || text.ends_with('_') || text.is_empty() {
        return Err(ValueError::NotANumber);
    }
    text.chars().filter_map(|digit| digit.to_digit(radix)).try_fold(0_u128, |sum, digit| {
        sum.checked_mul(u128::from(radix))
            .and_then(|sum| sum.checked_add(u128::from(digit)))
            .ok_or(ValueError::TooLarge)
    })
}

/// `8`, `0x20`, `64M`, `64MiB`, `1_000`: decimal or hexadecimal, with a suffix of powers of 1024.
fn number(text: &str) -> Result<u64, ValueError> {
    const SUFFIXES: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];
    let plain = text.strip_suffix("iB").unwrap_or(text);
    let mut shift = 0;
    let mut head = plain;
    for (suffix, suffix_shift) in SUFFIXES {
        if let Some(rest) = plain.strip_suffix([suffix, suffix.to_ascii_lowercase()]) {
            (head, shift) = (rest, suffix_shift);
        }
    }
    if shift == 0 && plain.len() < text.len() {
        return Err(ValueError::NotANumber);
    }
    let (radix, head) = match hexadecimal(head) {
        Some(rest) => (16, rest),
        None => (10, head),
    };
    let scaled = digits(head, radix)?.checked_mul(1 << shift).ok_or(ValueError::TooLarge)?;
    u64::try_from(scaled).map_err(|_| ValueError::TooLarge)
}

/// Hexadecimal, with or without `0x`: nobody types an address in decimal.
fn address(text: &str) -> Result<u64, ValueError> {
    let number = digits(hexadecimal(text).unwrap_or(text), 16).map_err(|error| match error {
        ValueError::NotANumber => ValueError::NotAnAddress,
        other => other,
    })?;
    u64::try_from(number).map_err(|_| ValueError::TooLarge)
}

fn hexadecimal(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// `5`, `5s`, `1.5s`, `500ms`, `1m30s`: without a unit, seconds.
fn time(text: &str) -> Result<Duration, ValueError> {
    const SECOND: u128 = 1_000_000_000;
    let mut rest = text;
    let mut nanos = 0_u128;
    loop {
        let number_len =
            rest.find(|digit: char| !digit.is_ascii_digit() && digit != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_len);
        let unit_len =
            tail.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let size = match unit {
            "" if number.len() == text.len() => SECOND,
            "h" => 3600 * SECOND,
            "m" | "min" => 60 * SECOND,
            "s" => SECOND,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return Err(ValueError::NotATime),
        };
        nanos = fraction(number, size)?.checked_add(nanos).ok_or(ValueError::TooLarge)?;
        if tail.is_empty() {
            break;
        }
        rest = tail;
    }
    let secs = u64::try_from(nanos / SECOND).map_err(|_| ValueError::TooLarge)?;
    // Below 10^9, so it fits.
    Ok(Duration::new(secs, (nanos % SECOND) as u32))
}

/// `number`, with up to nine decimals, times `size`; below a nanosecond it is cut off.
fn fraction(number: &str, size: u128) -> Result<u128, ValueError> {
    let not_a_time = |error| match error {
        ValueError::NotANumber => ValueError::NotATime,
        other => other,
    };
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.len() > 9 {
        return Err(ValueError::NotATime);
    }
    let whole = digits(whole, 10).map_err(not_a_time)?;
    let parts = digits(decimals, 10).map_err(not_a_time)?;
    let scale = 10_u128.pow(decimals.len() as u32);
    whole.checked_mul(size).map(|whole| whole + parts * size / scale).ok_or(ValueError::TooLarge)
}
