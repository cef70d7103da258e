//! What comes before the opening brace: the name, and how the threads are set up.

use super::error::{Error, Problem};
use super::names::Names;
use crate::test::{Expected, Faults, ThreadId, Verdict};
use alloc::{string::String, string::ToString, vec::Vec};

/// Keys that public catalogues have and that say nothing about what a test is: by whom it was made, from which
/// cycle, with which sum.
const ASIDE: &[&str] =
    &["com", "cycle", "generator", "hash", "info", "orig", "prefetch", "relax", "safe", "stable"];

/// Which threads have something.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Which {
    all: bool,
    named: Vec<ThreadId>,
}

impl Which {
    pub(crate) fn has(&self, thread: ThreadId) -> bool {
        self.all || self.named.contains(&thread)
    }
}

/// What the lines before the brace say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) faults: Faults,
    pub(crate) ha: Which,
    pub(crate) hd: Which,
    pub(crate) el0: Vec<ThreadId>,
    pub(crate) devices: Vec<ThreadId>,
    pub(crate) expected: Expected,
    /// The keys so far.
    keys: Vec<String>,
}

impl Header {
    /// Reads it; and tells the rest, from the brace on, and the line of that.
    pub(crate) fn read(text: &str) -> Result<(Self, &str, usize), Error> {
        let mut header = Self {
            name: String::new(),
            faults: Faults::Fatal,
            ha: Which::default(),
            hd: Which::default(),
            el0: Vec::new(),
            devices: Vec::new(),
            expected: Expected::default(),
            keys: Vec::new(),
        };
        let mut rest = text;
        let mut line = 0;
        loop {
            line += 1;
            let here = rest.split('\n').next().unwrap_or("");
            let trimmed = here.trim();
            if trimmed.starts_with('{') {
                break;
            }
            header.line(trimmed).map_err(|problem| Error { line, problem })?;
            let Some(next) = rest.get(here.len() + 1..) else {
                let problem = Problem::Expected { what: "{", found: "the end".to_string() };
                return Err(Error { line, problem });
            };
            rest = next;
        }
        if header.name.is_empty() {
            let problem = Problem::Expected { what: "AArch64 NAME", found: "{".to_string() };
            return Err(Error { line, problem });
        }
        Ok((header, rest, line))
    }

    fn line(&mut self, line: &str) -> Result<(), Problem> {
        if line.is_empty() {
            return Ok(());
        }
        if self.name.is_empty() {
            let (architecture, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            if architecture != "AArch64" {
                return Err(unsupported("architecture", architecture));
            }
            self.name = name.trim().to_string();
            return Ok(());
        }
        // Free text stands here too, between quotes or not: a key is one word.
        let Some((key, value)) = line.split_once('=') else { return Ok(()) };
        let is_key = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let (key, written) = (key.trim().to_ascii_lowercase(), key.trim());
        if key.is_empty() || !key.chars().all(is_key) {
            return Ok(());
        }
        // Management and variants add up.
        let adds = matches!(key.as_str(), "tthm" | "variant");
        if !adds && self.keys.contains(&key) {
            return Err(Problem::Twice { what: "the key", name: written.to_string() });
        }
        let words = value.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        match key.as_str() {
            "tthm" => words.into_iter().try_for_each(|word| self.management(word))?,
            "variant" => words.into_iter().try_for_each(|word| self.variant(word))?,
            "el0" => self.el0 = threads(words)?,
            "device" => self.devices = threads(words)?,
            "base" => self.expected.base = Some(verdict(value)?),
            "ets2" => self.expected.ets2 = Some(verdict(value)?),
            aside if ASIDE.contains(&aside) => {}
            _ => return Err(unsupported("key", written)),
        }
        self.keys.push(key);
        Ok(())
    }

    /// `HA`, `P1:HD`
    fn management(&mut self, word: &str) -> Result<(), Problem> {
        let (thread, feature) = match word.split_once(':') {
            Some((thread, feature)) => {
                let known = Names::thread(thread);
                (Some(known.ok_or_else(|| unsupported("thread", thread))?), feature)
            }
            None => (None, word),
        };
        let which = match feature {
            "HA" => &mut self.ha,
            "HD" => &mut self.hd,
            _ => return Err(unsupported("hardware management", feature)),
        };
        match thread {
            Some(thread) => which.named.push(thread),
            None => which.all = true,
        }
        Ok(())
    }

    fn variant(&mut self, word: &str) -> Result<(), Problem> {
        match word.to_ascii_lowercase().as_str() {
            "vmsa" | "kvm" => {}
            "fatal" | "precise" => self.faults = Faults::Fatal,
            "handled" | "imprecise" => self.faults = Faults::Retry,
            "skip" | "faulttonext" => self.faults = Faults::Skip,
            _ => return Err(unsupported("variant", word)),
        }
        Ok(())
    }
}

fn unsupported(what: &'static str, text: &str) -> Problem {
    Problem::Unsupported { what, text: text.to_string() }
}

fn threads<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<ThreadId>, Problem> {
    let thread = |word| Names::thread(word).ok_or_else(|| unsupported("thread", word));
    words.map(thread).collect()
}

fn verdict(word: &str) -> Result<Verdict, Problem> {
    match word.trim() {
        "Allowed" => Ok(Verdict::Allowed),
        "Forbidden" => Ok(Verdict::Forbidden),
        "Required" => Ok(Verdict::Required),
        other => Err(unsupported("verdict", other)),
    }
}
