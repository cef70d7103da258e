//! From the linked ELF to the flat image that every loader starts.
//!
//! The loaders (QEMU, U-Boot's `booti`, the Pi's firmware) take a flat `Image` with Linux's arm64
//! header; the ELF only serves debuggers and the symbolizer. What the loaders would accept silently
//! and get wrong is refused here.
//!
//! Source: Linux, `Documentation/arch/arm64/booting.rst` (the header).

use crate::{
    trouble::{Result, Trouble},
    workspace::{self, IMAGE, TARGET},
};
use object::{Object, ObjectSegment, SegmentFlags, elf};
use serde::Deserialize;
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// The largest image: what the project promises.
const MAX_BYTES: usize = 1 << 20;
/// The header's length, and where its fields lie.
const HEADER_BYTES: usize = 64;
const IMAGE_SIZE_AT: usize = 16;
const FLAGS_AT: usize = 24;
const MAGIC_AT: usize = 56;
const MAGIC: &[u8; 4] = b"ARM\x64";
/// Flags, bits 0 to 2: little-endian, 4 KiB pages.
const FLAGS_MASK: u64 = 0b111;
const FLAGS_4K_LITTLE: u64 = 0b010;

/// What is wrong with a linked image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// Not an ELF that can be read.
    Unreadable(String),
    /// Nothing in it is loaded.
    Empty,
    /// Execution starts at the image's first byte, but the ELF's entry is elsewhere.
    Entry { entry: u64, base: u64 },
    /// A segment may be written and executed.
    WritableCode { base: u64 },
    /// The magic number is not where it belongs.
    NoHeader,
    /// The header promises less memory than the file itself fills.
    ShortSize { promised: u64, bytes: usize },
    /// The header's flags say another page size or byte order.
    Flags(u64),
    /// Larger than promised.
    TooLarge { bytes: usize },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "not a readable ELF: {why}"),
            Self::Empty => write!(f, "no segment is loaded"),
            Self::Entry { entry, base } => {
                write!(f, "entry {entry:#x} is not the first byte, {base:#x}")
            }
            Self::WritableCode { base } => {
                write!(f, "the segment at {base:#x} is writable and executable")
            }
            Self::NoHeader => write!(f, "no arm64 Linux header at its start"),
            Self::ShortSize { promised, bytes } => {
                write!(f, "the header asks for {promised} bytes, the file has {bytes}")
            }
            Self::Flags(flags) => write!(f, "header flags {flags:#x}: want little-endian, 4 KiB"),
            Self::TooLarge { bytes } => write!(f, "{bytes} bytes; at most {MAX_BYTES}"),
        }
    }
}

/// What is compiled in.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Flavour {
    /// What is shipped.
    #[default]
    Plain,
    /// With the oracle that may watch it, and known bugs for it to find.
    Sanitized,
    /// With known bugs, and nobody to watch for them but the kernel itself.
    Mutants,
}

impl Flavour {
    /// The largest image: what is promised of the one that is shipped, and room for more in the other.
    const fn most(self) -> usize {
        match self {
            Self::Plain => MAX_BYTES,
            Self::Sanitized | Self::Mutants => 2 * MAX_BYTES,
        }
    }
}

/// The built kernel, in both of its shapes.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// With symbols, for people.
    pub(crate) elf: PathBuf,
    /// What is booted.
    pub(crate) flat: PathBuf,
    /// The flat file's length.
    pub(crate) bytes: usize,
}

impl Image {
    /// Where builds of a flavour go: each has its own place, so that one does not undo the other.
    fn folder(flavour: Flavour) -> PathBuf {
        match flavour {
            Flavour::Plain => workspace::target_dir(),
            Flavour::Sanitized => workspace::target_dir().join("sanitized"),
            Flavour::Mutants => workspace::target_dir().join("mutants"),
        }
    }

    /// Where the last build left it.
    fn paths(flavour: Flavour) -> (PathBuf, PathBuf) {
        let elf = Self::folder(flavour).join(TARGET).join("release/granule");
        let flat = match flavour {
            Flavour::Plain => "granule.img",
            Flavour::Sanitized => "granule-sanitized.img",
            Flavour::Mutants => "granule-mutants.img",
        };
        (elf, workspace::out_dir().join(flat))
    }

    /// Builds the kernel and makes the flat image.
    pub(crate) fn build() -> Result<Self> {
        Self::build_as(Flavour::Plain)
    }

    /// As [`Image::build`], with what the flavour asks for.
    pub(crate) fn build_as(flavour: Flavour) -> Result<Self> {
        let mut cargo = workspace::cargo("build");
        cargo.args(["--quiet", "--release", "--package", IMAGE, "--target", TARGET]);
        // Flags in the environment would replace those of .cargo/config.toml, which the image needs.
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        match flavour {
            Flavour::Plain => &mut cargo,
            Flavour::Sanitized => cargo.args(["--features", "sanitize,mutants"]),
            Flavour::Mutants => cargo.args(["--features", "mutants"]),
        };
        workspace::succeed(cargo.arg("--target-dir").arg(Self::folder(flavour)))?;
        let (elf, flat) = Self::paths(flavour);
        let linked = fs::read(&elf).map_err(|why| Trouble::File(elf.clone(), why))?;
        let bytes =
            flatten(&linked, flavour.most()).map_err(|flaw| Trouble::Image(elf.clone(), flaw))?;
        write_if_changed(&flat, &bytes)?;
        Ok(Self { elf, flat, bytes: bytes.len() })
    }

    /// The symbols' file of the last build, whether or not it is current.
    pub(crate) fn last_elf() -> PathBuf {
        Self::paths(Flavour::Plain).0
    }
}

/// Writes a file and its folder. One that already says this is left alone: a QEMU may be reading it.
pub(crate) fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let at = |why| Trouble::File(path.into(), why);
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(at)?;
    fs::write(path, bytes).map_err(at)
}

/// The bytes as they lie in memory from the first loaded one, checked.
fn flatten(linked: &[u8], most: usize) -> std::result::Result<Vec<u8>, Flaw> {
    let unreadable = |why: object::Error| Flaw::Unreadable(why.to_string());
    let file = object::File::parse(linked).map_err(unreadable)?;
    let base = file.segments().filter(|s| s.size() > 0).map(|s| s.address()).min();
    let base = base.ok_or(Flaw::Empty)?;
    let mut flat = Vec::new();
    for segment in file.segments() {
        let both = elf::PF_W | elf::PF_X;
        if let SegmentFlags::Elf { p_flags, .. } = segment.flags()
            && p_flags & both == both
        {
            return Err(Flaw::WritableCode { base: segment.address() });
        }
        let data = segment.data().map_err(unreadable)?;
        let start = (segment.address() - base) as usize;
        if !data.is_empty() {
            // A load address far away would make a file of zeros; name the size, don't allocate it.
            let end = start.saturating_add(data.len());
            if end > most {
                return Err(Flaw::TooLarge { bytes: end });
            }
            flat.resize(flat.len().max(end), 0);
            flat[start..end].copy_from_slice(data);
        }
    }
    if file.entry() != base {
        return Err(Flaw::Entry { entry: file.entry(), base });
    }
    check_header(&flat)?;
    Ok(flat)
}

/// Whether the loaders will do what is meant.
fn check_header(flat: &[u8]) -> std::result::Result<(), Flaw> {
    if flat.len() < HEADER_BYTES || &flat[MAGIC_AT..MAGIC_AT + 4] != MAGIC {
        return Err(Flaw::NoHeader);
    }
    let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| flat[at + i]));
    let promised = field(IMAGE_SIZE_AT);
    if promised < flat.len() as u64 {
        return Err(Flaw::ShortSize { promised, bytes: flat.len() });
    }
    let flags = field(FLAGS_AT);
    if flags & FLAGS_MASK != FLAGS_4K_LITTLE {
        return Err(Flaw::Flags(flags));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
