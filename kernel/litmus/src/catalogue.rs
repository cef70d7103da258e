//! granule's own tests, in the image.
//!
//! Each is a file of `catalogue/GROUP/NAME.litmus`; a new file is a new test. Shapes that the field has published bear
//! its names, and the verdicts that it has published; the others, of which no public catalogue has any, are derived in
//! `docs/litmus-catalogue.md`.
//!
//! The texts are packed by `build.rs`, and unpacked one group at a time: all of them take about a millisecond.

use crate::parse::{Error, parse};
use crate::test::Test;
use alloc::{string::String, vec::Vec};

include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

/// Tests of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name, which is the folder's.
    pub name: &'static str,
    /// What its tests are about.
    pub about: &'static str,
    /// Whether the field has published their shapes.
    pub published: bool,
}

const fn published(name: &'static str, about: &'static str) -> Group {
    Group { name, about, published: true }
}

const fn new(name: &'static str, about: &'static str) -> Group {
    Group { name, about, published: false }
}

/// All groups, in the order in which tests are listed.
pub static GROUPS: [Group; 14] = [
    published("access", "who may access what"),
    published("one", "one CPU changes an entry and uses it"),
    published("two", "one CPU changes an entry, and another one uses it"),
    published("bbm", "break before make"),
    published("many", "three and four CPUs"),
    published("hardware", "access flags and dirty state that hardware sets"),
    new("reuse", "a page changes hands: the question behind all others"),
    new("levels", "tables are linked, unlinked, split, collapsed"),
    new("asid", "address spaces and their numbers"),
    new("range", "TLBIs of ranges, and what they are told of levels"),
    new("contiguous", "contiguous sets"),
    new("scope", "whose TLBs, and who waits for them"),
    new("at", "translations that are asked for"),
    new("device", "devices behind an SMMU"),
];

/// A test's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which group it is of.
    pub group: &'static Group,
    /// The file.
    pub text: String,
}

impl Entry {
    /// The name, which is the text's second word.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.split_whitespace().nth(1).unwrap_or_default()
    }

    /// The test itself.
    pub fn test(&self) -> Result<Test, Error> {
        parse(&self.text)
    }
}

/// All tests, group by group, each by name.
pub fn all() -> impl Iterator<Item = Entry> {
    GROUPS.iter().flat_map(|group| {
        let texts = unpacked(stream(group));
        texts.into_iter().map(move |text| Entry { group, text })
    })
}

/// The test of this name.
#[must_use]
pub fn find(name: &str) -> Option<Entry> {
    all().find(|entry| entry.name() == name)
}

/// The tests whose names contain `part`; all of a group, if `part` is its name.
pub fn matching(part: &str) -> impl Iterator<Item = Entry> {
    let exact = GROUPS.iter().any(|group| group.name == part);
    all().filter(
        move |entry| {
            if exact { entry.group.name == part } else { entry.name().contains(part) }
        },
    )
}

/// A group's packed texts.
fn stream(group: &Group) -> &'static [u8] {
    STREAMS.iter().find(|(name, _)| *name == group.name).map_or(&[], |(_, stream)| stream)
}

/// The texts of a stream.
fn unpacked(stream: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut text = String::new();
    let mut open = Vec::new();
    for byte in stream {
        if *byte == 0 {
            texts.push(core::mem::take(&mut text));
            continue;
        }
        open.push(*byte);
        while let Some(byte) = open.pop() {
            match PAIRS[usize::from(byte)] {
                [0, itself] => text.push(itself.into()),
                [first, second] => open.extend([second, first]),
            }
        }
    }
    texts
}
