//! Backtraces in words: from program counters in the serial output to function, file and line.
//!
//! The kernel prints a frame as `  #N 0xffff8000........` and knows no names; they are in the ELF.
//! Serial output passes through byte for byte and at once, so that a prompt feels like one; only a
//! frame's line gets its meaning appended, before the line ends.

use crate::trouble::{Result, Trouble};
use std::{
    io::{self, Write},
    path::Path,
};

/// The names in one ELF.
pub(crate) struct Symbols {
    loader: addr2line::Loader,
    root: String,
}

impl Symbols {
    /// Reads the debug information; source paths are shown from `root`.
    pub(crate) fn open(elf: &Path, root: &Path) -> Result<Self> {
        let loader = addr2line::Loader::new(elf)
            .map_err(|why| Trouble::Symbols(elf.into(), why.to_string()))?;
        Ok(Self { loader, root: format!("{}/", root.display()) })
    }

    /// ` in function at file:line`, with the functions it was inlined into.
    fn explain(&self, frame: Frame) -> Option<String> {
        let mut frames = self.loader.find_frames(frame.lookup()).ok()?;
        let mut text = String::new();
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|f| f.demangle().ok());
            let name = name.as_deref().map(without_hash);
            text += if text.is_empty() { " in " } else { ", inlined in " };
            text += name.unwrap_or("?");
            if let Some(place) = frame.location
                && let Some(file) = place.file
            {
                text += &format!(" at {}:{}", self.shorten(file), place.line.unwrap_or(0));
            }
        }
        if text.is_empty() {
            let symbol = self.loader.find_symbol(frame.lookup())?;
            text = format!(" in {}", without_hash(symbol));
        }
        Some(text)
    }

    /// The functions that `pc` is in, innermost first; all but the last are inlined.
    pub(crate) fn places(&self, pc: u64) -> Vec<Place> {
        let mut places = Vec::new();
        let Ok(mut frames) = self.loader.find_frames(pc) else { return places };
        while let Ok(Some(frame)) = frames.next() {
            let name = frame.function.as_ref().and_then(|f| f.demangle().ok());
            let Some(location) = frame.location else { continue };
            places.push(Place {
                function: name.as_deref().map_or("?", without_hash).to_owned(),
                file: location.file.map_or("?", |file| self.shorten(file)).to_owned(),
                line: location.line.unwrap_or(0),
            });
        }
        places
    }

    /// The function as it was linked that `pc` is in: its name, and where it begins.
    pub(crate) fn linked(&self, pc: u64) -> Option<(String, u64)> {
        let symbol = self.loader.find_symbol_info(pc)?;
        let name = addr2line::demangle_auto(symbol.name().into(), None);
        Some((without_hash(&name).to_owned(), symbol.address()))
    }

    /// A path as a reader names it: from the repository's top, or from its crate's folder.
    fn shorten<'a>(&self, file: &'a str) -> &'a str {
        if let Some(inside) = file.strip_prefix(&self.root) {
            return inside;
        }
        for (mark, keep) in [("/library/", "/library/".len()), ("/registry/src/", 0)] {
            if let Some(at) = file.find(mark) {
                let rest = &file[at + keep..];
                return if keep > 0 { rest } else { after_index(&rest[mark.len()..]) };
            }
        }
        file
    }
}

/// Drops the folder that Cargo names after the registry.
fn after_index(path: &str) -> &str {
    path.split_once('/').map_or(path, |(_, rest)| rest)
}

/// Drops the `::h0123…` of Rust's older mangling.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((head, hash)) if hash.len() == 16 => head,
        _ => name,
    }
}

/// Where in the sources an instruction comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// A line of a backtrace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Frame {
    number: u32,
    pc: u64,
}

impl Frame {
    /// `#N 0x…`, blanks before, nothing after.
    fn parse(line: &str) -> Option<Self> {
        let (number, pc) = line.trim().strip_prefix('#')?.split_once(" 0x")?;
        (pc.len() == 16).then_some(())?;
        Some(Self { number: number.parse().ok()?, pc: u64::from_str_radix(pc, 16).ok()? })
    }

    /// Frame 0 is where the CPU was; the others are return addresses, whose call comes before.
    fn lookup(self) -> u64 {
        if self.number == 0 { self.pc } else { self.pc.wrapping_sub(4) }
    }
}

/// Longest line that may be a frame; longer ones are passed on unread.
const LINE_MAX: usize = 64;

/// Passes serial output on and explains backtraces on the way.
pub(crate) struct Explainer<W> {
    out: W,
    line: Vec<u8>,
    symbols: Option<Symbols>,
}

impl<W: Write> Explainer<W> {
    /// Without symbols it only passes on.
    pub(crate) fn new(out: W, symbols: Option<Symbols>) -> Self {
        Self { out, line: Vec::new(), symbols }
    }

    /// Passes on what has come.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        for &byte in bytes {
            if byte == b'\r' || byte == b'\n' {
                self.explain_line()?;
                self.line.clear();
            } else if self.line.len() <= LINE_MAX {
                self.line.push(byte);
            }
            self.out.write_all(&[byte])?;
        }
        self.out.flush()
    }

    fn explain_line(&mut self) -> io::Result<()> {
        let Some(symbols) = &self.symbols else { return Ok(()) };
        let frame = std::str::from_utf8(&self.line).ok().and_then(Frame::parse);
        match frame.and_then(|frame| symbols.explain(frame)) {
            Some(text) => self.out.write_all(text.as_bytes()),
            None => Ok(()),
        }
    }
}

/// The whole of an output, explained.
pub(crate) fn explain(output: &[u8], symbols: Symbols) -> Vec<u8> {
    let mut explainer = Explainer::new(Vec::new(), Some(symbols));
    // A vector takes every write.
    let _ = explainer.feed(output);
    explainer.out
}

#[cfg(test)]
mod tests;
