//! `docs/invariants.md` names code, tests and known bugs. They exist, the tests arm the bugs that they are said to
//! catch, and every invariant has a test that bears its name.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use granule_tests::{house, source};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// What the page may name.
struct Names {
    /// Every word of code, in the kernel and its tests.
    words: BTreeSet<String>,
    /// Functions, of which some are tests, each with the code up to the next test.
    functions: BTreeMap<String, String>,
    /// Known bugs.
    bugs: BTreeSet<String>,
}

impl Names {
    fn read() -> Self {
        let root = house::root();
        let mut names =
            Self { words: BTreeSet::new(), functions: BTreeMap::new(), bugs: BTreeSet::new() };
        for folder in ["kernel", "tests", "xtask"] {
            names.add_folder(&root.join(folder));
        }
        for room in ["mm", "sync"] {
            names.add_bugs(
                &fs::read_to_string(root.join(format!("kernel/{room}/src/mutant.rs"))).unwrap(),
            );
        }
        names
    }

    fn add_folder(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.add_folder(&path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                self.words.extend(path.file_stem().map(|stem| stem.display().to_string()));
                self.add_code(&source::code(&fs::read_to_string(&path).unwrap()));
            }
        }
    }

    fn add_code(&mut self, code: &str) {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let words = code.split(|c| !is_name(c)).filter(|word| !word.is_empty());
        self.words.extend(words.map(str::to_owned));
        for (at, _) in code.match_indices("fn ") {
            let body = &code[at + 3..];
            let name: String = body.chars().take_while(|c| is_name(*c)).collect();
            let body = body.split("#[test]").next().unwrap_or(body);
            self.functions.entry(name).or_default().push_str(body);
        }
    }

    /// Quoted names: what a bug is armed by on a command line.
    fn add_bugs(&mut self, text: &str) {
        let quoted = text.split('"').skip(1).step_by(2);
        self.bugs.extend(quoted.map(str::to_owned));
    }

    /// Whether what a row names exists. In its last column a name with underscores is a test's.
    fn has(&self, name: &str, checks: bool) -> bool {
        if name.contains(' ') || name.starts_with('-') {
            // A command or its option.
            return true;
        }
        if name.contains('/') {
            return house::root().join(name).exists();
        }
        if name.contains('-') {
            return self.bugs.contains(name);
        }
        let last = name.rsplit("::").next().unwrap_or(name);
        let test = checks && last.contains('_');
        let start = last.trim_end_matches('*');
        let fits =
            |name: &String| if start == last { *name == last } else { name.starts_with(start) };
        let from = start.to_owned()..;
        let found = match test {
            true => self.functions.range(from).next().is_some_and(|(name, _)| fits(name)),
            false => self.words.range(from).next().is_some_and(fits),
        };
        let path = name.rsplit_once("::").map_or("", |(path, _)| path);
        found
            && path
                .split("::")
                .filter(|part| !part.is_empty())
                .all(|part| self.words.contains(part))
    }

    /// Whether one of the tests arms a bug.
    fn arms(&self, tests: &[&str], bug: &str) -> bool {
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        let variant: String = bug.split('-').map(capital).collect();
        let armed = format!("Mutant::{variant}");
        let body = |test: &&str| self.functions.get(*test);
        let mut bodies = tests.iter().filter_map(body);
        bodies.any(|body| source::lines_with(body, &armed).next().is_some())
    }
}

/// The rows of a page's tables, as cells.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    page.lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("| ---"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

/// What a cell names: all that is between backticks.
fn named(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Bugs that a cell says are caught, and not by the tests before them.
fn boasts<'a>(cell: &'a str, names: &'a Names) -> impl Iterator<Item = &'a str> {
    let parts = cell.split(';').filter_map(|part| part.split_once("caught:"));
    parts.flat_map(move |(tests, bugs)| {
        let tests: Vec<_> = named(tests).collect();
        named(bugs).filter(move |bug| !names.arms(&tests, bug))
    })
}

/// The invariants of a cell, as tests call them: `I-51b, T-19` are `i51b` and `t19`.
fn invariants(cell: &str) -> Vec<String> {
    let number = |id: &&str| {
        let rest = id.strip_prefix("I-").or_else(|| id.strip_prefix("T-"));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    cell.split(", ").filter(number).map(|id| id.to_lowercase().replace('-', "")).collect()
}

/// The invariants in whose names a test is called: its first words, as far as they are such.
fn tested(function: &str) -> impl Iterator<Item = &str> {
    let number = |word: &&str| {
        let digits = word.strip_prefix(['i', 't']).map(|rest| rest.trim_end_matches('b'));
        digits
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    function.split('_').take_while(number)
}

/// What is wrong with a page.
fn faults(page: &str, names: &Names) -> Vec<String> {
    let tests: BTreeSet<&str> = names.functions.keys().flat_map(|name| tested(name)).collect();
    let (mut found, mut listed) = (Vec::new(), BTreeSet::new());
    // What does not apply yet needs no test.
    let applies = page.split("\n## What does not apply yet").next().unwrap_or(page);
    for row in rows(applies) {
        for (at, cell) in row.iter().enumerate() {
            let checks = row.len() > 2 && at + 1 == row.len();
            let unknown = named(cell).filter(|name| !names.has(name, checks));
            found.extend(unknown.map(|name| format!("there is no {name}")));
            found.extend(boasts(cell, names).map(|bug| format!("{bug} is not caught there")));
        }
        for invariant in invariants(row[0]) {
            if !tests.contains(&*invariant) {
                found.push(format!("no test is called {invariant}_"));
            }
            listed.insert(invariant);
        }
    }
    let unlisted = tests.iter().filter(|test| !listed.contains(**test));
    found.extend(unlisted.map(|test| format!("{test} is tested, and not on the page")));
    found
}

fn page() -> String {
    fs::read_to_string(house::root().join("docs/invariants.md")).unwrap()
}

#[test]
fn what_the_page_names_exists_and_each_invariant_has_its_test() {
    let names = Names::read();
    assert!(rows(&page()).count() > 60, "the page has lost its tables");
    let faults = faults(&page(), &names);
    assert!(faults.is_empty(), "{faults:#?}");
}

// The check is checked.

#[test]
fn a_name_that_does_not_exist_is_caught() {
    let mut names = Names::read();
    names.functions.retain(|name, _| tested(name).next().is_none());
    names.add_code("fn i7_t8_all_is_well() { misses(&[Mutant::NoGrace]); }\n");
    let fault = |row: &str| faults(&format!("{row}\n"), &names);
    let good = "| I-7, T-8 | always | `Gather::leaf`, `pte::decode` | `i7_t8_all_is_well`, caught: `no-grace` |";
    assert_eq!(fault(good), [""; 0]);
    for (from, to, what) in [
        ("Gather::leaf", "Gather::leafage", "there is no Gather::leafage"),
        ("Gather::leaf", "Gatherer::leaf", "there is no Gatherer::leaf"),
        ("i7_t8_all_is_well", "i7_t8_all_was_well", "there is no i7_t8_all_was_well"),
        ("no-grace", "no-publish", "no-publish is not caught there"),
        ("I-7, T-8", "I-7, T-8, I-9", "no test is called i9_"),
        ("I-7, T-8", "I-7", "t8 is tested, and not on the page"),
    ] {
        let found = fault(&good.replace(from, to));
        assert_eq!(found.first().map(String::as_str), Some(what), "{to}");
    }
}
