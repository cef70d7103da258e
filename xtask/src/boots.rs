//! The boots of `make test`: the matrix of the boards, and the special cases of `boots.toml`.

use crate::{
    board::{Board, Choices},
    image::Flavour,
    launch::Launch,
    litmus, matrix,
    session::Act,
    trouble::{Result, Trouble},
};
use serde::Deserialize;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// The data file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    matrix: Matrix,
    boot: Vec<Special>,
}

/// What every machine of the matrix does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Matrix {
    run: String,
    limit_secs: u64,
}

/// A boot with a purpose of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Special {
    name: String,
    #[serde(default = "virt")]
    board: String,
    #[serde(default)]
    image: Flavour,
    #[serde(default)]
    on: Choices,
    run: Option<String>,
    #[serde(default)]
    words: Vec<String>,
    #[serde(default = "yes")]
    semihosting: bool,
    #[serde(default = "yes")]
    direct: bool,
    #[serde(default)]
    args: Vec<String>,
    /// Litmus tests for the kernel: a file or folder of the repository.
    litmus: Option<PathBuf>,
    needs: Option<Needs>,
    #[serde(default)]
    talk: Vec<Said>,
    #[serde(default)]
    want: Want,
    again: Option<Again>,
    #[serde(default = "a_minute")]
    limit_secs: u64,
}

/// A file that must be on this machine, and how one comes by it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Needs {
    pub(crate) file: PathBuf,
    pub(crate) package: String,
}

/// One act, as data.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Said {
    Await(String),
    Send(String),
    /// So many bytes of every value, always the same.
    Garbage(usize),
    Settle,
    Leave,
}

/// What a boot must show.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Want {
    /// It must end with a failing status, and KTAP is not looked at.
    pub(crate) failure: bool,
    /// The output holds results, and all of them passed.
    pub(crate) ktap: bool,
    /// A backtrace whose frames resolve to this text, among others.
    pub(crate) backtrace: Option<String>,
    /// Text that must appear.
    pub(crate) text: Vec<String>,
    /// Text that must not.
    pub(crate) never: Vec<String>,
}

/// Booting once more.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Again {
    /// What changes on QEMU's command line; nothing: the same boot.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Whether the output must be the same to the byte, or must not.
    pub(crate) same: bool,
}

/// One boot to be judged.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) name: String,
    pub(crate) image: Flavour,
    pub(crate) launch: Launch,
    pub(crate) acts: Vec<Act>,
    pub(crate) want: Want,
    pub(crate) again: Option<Again>,
    pub(crate) needs: Option<Needs>,
    pub(crate) limit: Duration,
}

fn virt() -> String {
    "virt".into()
}

const fn yes() -> bool {
    true
}

const fn a_minute() -> u64 {
    60
}

/// Every boot of `make test`, in order.
pub(crate) fn all(root: &Path) -> Result<Vec<Boot>> {
    let file = read(root)?;
    let mut boots = Vec::new();
    for board in Board::all(root)? {
        boots.extend(machines(&board, &file.matrix.run, file.matrix.limit_secs)?);
    }
    for special in file.boot {
        boots.push(special.boot(root)?);
    }
    Ok(boots)
}

/// The machines of a board's matrix, all doing the same.
pub(crate) fn machines(board: &Board, run: &str, limit_secs: u64) -> Result<Vec<Boot>> {
    let boot = |choices: Choices| {
        let mut launch = Launch::new(board.clone(), &choices)?;
        launch.run = Some(run.into());
        Ok(Boot {
            name: format!("{}: {}", board.name, launch.summary()),
            image: Flavour::Plain,
            launch,
            acts: Vec::new(),
            want: Want { ktap: true, ..Want::default() },
            again: None,
            needs: None,
            limit: Duration::from_secs(limit_secs),
        })
    };
    matrix::pairwise(board).into_iter().map(boot).collect()
}

fn read(root: &Path) -> Result<File> {
    let path = root.join("xtask/boots.toml");
    let text = fs::read_to_string(&path).map_err(|why| Trouble::File(path.clone(), why))?;
    toml::from_str(&text).map_err(|why| Trouble::Data(path, why))
}

impl Special {
    fn boot(self, root: &Path) -> Result<Boot> {
        let board = Board::load(root, &self.board)?;
        let mut args = self.args;
        if let Some(path) = &self.litmus {
            args.extend(litmus::arguments(&root.join(path))?);
        }
        let launch = Launch {
            run: self.run,
            words: self.words,
            semihosting: self.semihosting,
            direct: self.direct,
            args,
            ..Launch::new(board, &self.on)?
        };
        Ok(Boot {
            name: format!("{}: {}", self.board, self.name),
            image: self.image,
            launch,
            acts: self.talk.into_iter().map(Act::from).collect(),
            want: self.want,
            again: self.again,
            needs: self.needs,
            limit: Duration::from_secs(self.limit_secs),
        })
    }
}

impl From<Said> for Act {
    fn from(said: Said) -> Self {
        match said {
            Said::Await(text) => Self::Await(text),
            Said::Send(text) => Self::Send(text.into_bytes()),
            Said::Garbage(len) => Self::Send(garbage(len)),
            Said::Settle => Self::Settle,
            Said::Leave => Self::Leave,
        }
    }
}

/// Bytes in no order that a line editor could like. A multiplicative generator (Knuth's MMIX).
fn garbage(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;
    use std::collections::BTreeSet;

    #[test]
    fn the_data_file_makes_boots_with_names_of_their_own() {
        let boots = all(&workspace::root()).unwrap();
        let names: BTreeSet<_> = boots.iter().map(|boot| &boot.name).collect();
        assert_eq!(names.len(), boots.len());
    }

    #[test]
    fn every_boot_has_a_way_to_fail() {
        for boot in all(&workspace::root()).unwrap() {
            let Want { failure, ktap, backtrace, text, never } = boot.want;
            let looks = failure || ktap || backtrace.is_some() || !text.is_empty();
            assert!(looks || !never.is_empty() || boot.again.is_some(), "{}", boot.name);
        }
    }

    #[test]
    fn garbage_has_every_byte_value_and_is_always_the_same() {
        let bytes = garbage(8192);
        assert_eq!(bytes.iter().collect::<BTreeSet<_>>().len(), 256);
        assert_eq!(bytes, garbage(8192));
    }
}
