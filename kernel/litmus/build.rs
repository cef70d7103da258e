//! Packs the catalogue, which would otherwise be the largest thing in the image.
//!
//! Texts of one folder become one stream, with a zero between them. Then the two bytes that stand side by side most
//! often become one byte that no text has; and so on, until none is left. `catalogue.rs` undoes that.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=catalogue");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("catalogue");
    let mut streams = Vec::new();
    for folder in sorted(&root)? {
        let mut stream = Vec::new();
        for file in sorted(&folder)? {
            stream.extend(fs::read(file)?);
            stream.push(0);
        }
        streams.push((folder, stream));
    }
    let pairs = pack(&mut streams);
    let mut code = format!("static PAIRS: [[u8; 2]; 256] = {pairs:?};\n");
    writeln!(code, "static STREAMS: [(&str, &[u8]); {}] = [", streams.len())?;
    for (folder, stream) in &streams {
        let name = folder.file_name().unwrap_or_default();
        writeln!(code, "({name:?}, &{stream:?}),")?;
    }
    code.push_str("];\n");
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("catalogue.rs"), code)?;
    Ok(())
}

/// What is in a folder, by name.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<Result<Vec<_>, _>>()?;
    paths.sort_by(|one, other| one.file_stem().cmp(&other.file_stem()));
    Ok(paths)
}

/// Packs them, and tells which two bytes each byte stands for; the first is 0 for one that stands for itself.
fn pack(streams: &mut [(PathBuf, Vec<u8>)]) -> Vec<[u8; 2]> {
    let mut pairs: Vec<[u8; 2]> = (0..=u8::MAX).map(|byte| [0, byte]).collect();
    let used = |byte: &u8| streams.iter().any(|(_, stream)| stream.contains(byte));
    let free: Vec<u8> = (1..=u8::MAX).filter(|byte| !used(byte)).collect();
    for byte in free {
        let mut counts: HashMap<[u8; 2], usize> = HashMap::new();
        for pair in streams.iter().flat_map(|(_, stream)| stream.windows(2)) {
            if let [one, other] = *pair
                && one != 0
                && other != 0
            {
                *counts.entry([one, other]).or_default() += 1;
            }
        }
        // The smaller pair of equals, for the same image each time.
        let best =
            counts.into_iter().max_by_key(|(pair, count)| (*count, std::cmp::Reverse(*pair)));
        let Some((pair, _)) = best.filter(|(_, count)| *count > 2) else { break };
        pairs[usize::from(byte)] = pair;
        for (_, stream) in streams.iter_mut() {
            *stream = joined(stream, pair, byte);
        }
    }
    pairs
}

/// `stream` with `byte` wherever `pair` was.
fn joined(stream: &[u8], pair: [u8; 2], byte: u8) -> Vec<u8> {
    let mut rest = stream;
    let mut joined = Vec::new();
    while let [first, behind @ ..] = rest {
        if rest.starts_with(&pair) {
            joined.push(byte);
            rest = &behind[1..];
        } else {
            joined.push(*first);
            rest = behind;
        }
    }
    joined
}
