//! Where texts of tests come from: the catalogue in the image, and what the loader has put beside it.
//!
//! The latter is the initial RAM disk, which here is plain text: tests, one after the other, with a line
//! of a single dot between them. Whatever else it holds is reported as a test that cannot be read.

use crate::memory;
use ::litmus::parse::{Error, parse};
use ::litmus::{Test, catalogue};
use alloc::borrow::Cow;

/// A test's text.
pub(super) struct Text<'a> {
    pub(super) text: Cow<'a, str>,
    /// Whose it is: the catalogue's group, or where else it comes from.
    pub(super) origin: &'static str,
}

/// Where one text ends and another begins.
pub(super) const END_LINE: &str = ".";

impl Text<'_> {
    /// The name that it claims: the second word.
    pub(super) fn name(&self) -> &str {
        self.text.split_whitespace().nth(1).unwrap_or("?")
    }

    /// What it says.
    pub(super) fn test(&self) -> Result<Test, Error> {
        parse(&self.text)
    }
}

/// All of them.
fn all() -> impl Iterator<Item = Text<'static>> {
    let mut loaded = loaded().map(|text| Text { text: text.into(), origin: "loaded" });
    let mut own =
        catalogue::all().map(|entry| Text { text: entry.text.into(), origin: entry.group.name });
    core::iter::from_fn(move || next(&mut loaded, &mut own))
}

/// The next text of either. Compiled once, and not in each search.
#[inline(never)]
fn next(
    loaded: &mut dyn Iterator<Item = Text<'static>>,
    own: &mut dyn Iterator<Item = Text<'static>>,
) -> Option<Text<'static>> {
    loaded.next().or_else(|| own.next())
}

/// Those that are called so; if none is, those that come from there; else those whose names contain it.
pub(super) fn meant(filter: &str) -> impl Iterator<Item = Text<'static>> {
    let is_name = all().any(|text| text.name() == filter);
    let is_origin = all().any(|text| text.origin == filter);
    all().filter(move |text| match (is_name, is_origin) {
        (true, _) => text.name() == filter,
        (false, true) => text.origin == filter,
        (false, false) => text.name().contains(filter),
    })
}

/// The one of this name.
pub(super) fn find(name: &str) -> Option<Text<'static>> {
    all().find(|text| text.name() == name)
}

/// The texts that were loaded beside the image.
fn loaded() -> impl Iterator<Item = &'static str> {
    let bytes = memory::initrd().unwrap_or(&[]);
    // Loaders fill the last page with zeros.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let valid = |chunk: core::str::Utf8Chunk<'static>| chunk.valid();
    let mut rest = bytes[..end].utf8_chunks().next().map_or("", valid);
    core::iter::from_fn(move || {
        while !rest.is_empty() {
            let (text, after) = split(rest);
            rest = after;
            if !text.trim().is_empty() {
                return Some(text);
            }
        }
        None
    })
}

/// The text up to the next line of a dot, and what follows that.
fn split(text: &str) -> (&str, &str) {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == END_LINE {
            return (&text[..at], &text[at + line.len()..]);
        }
        at += line.len();
    }
    (text, "")
}
