//! Litmus tests for the kernel to read: beside the image, as its initial RAM disk.
//!
//! What the kernel takes is plain text, tests one after the other with a line of a dot between. A file
//! of that form is passed on as it is, and a single `.litmus` file is of that form.

use crate::{
    trouble::{Result, Trouble},
    workspace,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The end of the names of litmus tests' files.
const EXTENSION: &str = "litmus";
/// What stands between two of them.
const BETWEEN: &str = ".\n";

/// The arguments by which QEMU loads the tests at `path`: a file, or all that a folder holds, in the order
/// of their names.
pub(crate) fn arguments(path: &Path) -> Result<[String; 2]> {
    let file = if path.is_dir() { gather(path)? } else { path.to_owned() };
    if let Err(why) = fs::metadata(&file) {
        return Err(Trouble::File(file, why));
    }
    Ok(["-initrd".into(), file.display().to_string()])
}

/// Puts all tests of a folder into one file.
fn gather(folder: &Path) -> Result<PathBuf> {
    let trouble = |path: &Path| {
        let path = path.to_owned();
        |why| Trouble::File(path, why)
    };
    let entries = fs::read_dir(folder).map_err(trouble(folder))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Trouble::NoTests(folder.to_owned()));
    }
    let texts = files.iter().map(|file| fs::read(file).map_err(trouble(file)));
    let all = join(texts.collect::<Result<Vec<_>>>()?);
    let gathered = workspace::out_dir().join("tests.litmus");
    fs::create_dir_all(workspace::out_dir()).map_err(trouble(&gathered))?;
    fs::write(&gathered, all).map_err(trouble(&gathered))?;
    Ok(gathered)
}

/// Texts, each ended by a line of a dot. What they hold is the kernel's to judge.
fn join(texts: Vec<Vec<u8>>) -> Vec<u8> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(&text);
        if text.last() != Some(&b'\n') {
            all.push(b'\n');
        }
        all.extend(BETWEEN.as_bytes());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_ends_with_a_line_of_a_dot() {
        let all = join(vec![b"a\n".to_vec(), b"b".to_vec(), Vec::new()]);
        assert_eq!(all, b"a\n.\nb\n.\n\n.\n");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let missing = Path::new("no/such.litmus");
        assert!(matches!(arguments(missing), Err(Trouble::File(path, _)) if path == missing));
    }
}
