//! A board as data: `boards/<name>/board.toml`. The folder's existence makes the board.
//!
//! What a launch may choose is an *axis*: CPU model, number of CPUs, memory. An axis says how each
//! of its values is spelt on QEMU's command line or the kernel's, so nothing here knows what a GIC
//! is. The first value is the default; the test matrix covers them all.

use crate::trouble::{Result, Trouble};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A value for each axis named.
pub(crate) type Choices = BTreeMap<String, String>;

/// One machine that the image runs on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Board {
    /// What BOARD= says; the folder's name.
    #[serde(skip)]
    pub(crate) name: String,
    /// The folder.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// What the machine is, for people.
    pub(crate) title: String,
    /// How QEMU becomes one.
    pub(crate) qemu: Qemu,
    /// What may be chosen.
    #[serde(default)]
    pub(crate) axis: BTreeMap<String, Axis>,
    /// Files, besides the image, that a real board's boot medium needs.
    #[serde(default)]
    pub(crate) medium: Option<Medium>,
}

/// The fixed part of the command line.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Qemu {
    /// `-M`'s first word.
    pub(crate) machine: String,
    /// What follows it, always.
    #[serde(default)]
    pub(crate) options: Vec<String>,
    /// Further arguments, always.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// The device tree's source in the board's folder, where QEMU brings none of its own. The
    /// compiled tree lies beside it, so that a user needs no compiler for it.
    pub(crate) dts: Option<String>,
}

/// What a real board boots from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Medium {
    /// The name that the board's firmware loads the image under.
    pub(crate) image: String,
    /// Files of the board's folder that go with it.
    pub(crate) files: Vec<String>,
}

/// One thing that a launch may choose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axis {
    /// The values that the tests cover; the first is the default.
    pub(crate) values: Vec<String>,
    /// Other values are passed on as well: QEMU knows whether they make sense.
    #[serde(default)]
    pub(crate) open: bool,
    /// A `-M` option, `{}` standing for the value.
    pub(crate) machine: Option<String>,
    /// An argument of QEMU's.
    pub(crate) arg: Option<String>,
    /// Of an axis that is a number of things: arguments of QEMU's for each of them, `{}` standing for which
    /// it is, from 0 on, and `{mem}` for its share of the memory.
    pub(crate) each: Option<String>,
    /// A word of the kernel command line.
    pub(crate) append: Option<String>,
    /// Values that are spelt otherwise there; those spelt empty are left out.
    #[serde(default)]
    pub(crate) spelling: BTreeMap<String, String>,
}

impl Axis {
    /// `template` with `value` in its place; `None` if either is absent.
    fn fill(&self, template: Option<&String>, value: &str) -> Option<String> {
        let spelt = self.spelling.get(value).map_or(value, String::as_str);
        template.filter(|_| !spelt.is_empty()).map(|t| t.replace("{}", spelt))
    }

    /// The arguments for each of as many things as `value` says, that share `memory`.
    fn fill_each(&self, value: &str, memory: Option<u64>) -> Option<String> {
        let (each, count) = (self.each.as_ref()?, self.fill(Some(&"{}".into()), value)?);
        let count: u64 = count.parse().ok()?;
        let share = (memory? >> 20) / count.max(1);
        let fill =
            |n: u64| each.replace("{mem}", &format!("{share}M")).replace("{}", &n.to_string());
        Some((0..count).map(fill).collect::<Vec<_>>().join(" "))
    }
}

/// Where on the command lines an axis speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// After `-M machine,`.
    Machine,
    /// An argument with its value, blank between.
    Arg,
    /// A word for the kernel.
    Append,
}

impl Board {
    /// Reads the board `name`.
    pub(crate) fn load(root: &Path, name: &str) -> Result<Self> {
        let folder = root.join("boards").join(name);
        let file = folder.join("board.toml");
        let Ok(text) = fs::read_to_string(&file) else {
            return Err(Trouble::NoBoard(name.into(), names(root)?));
        };
        let board: Self = toml::from_str(&text).map_err(|why| Trouble::Data(file, why))?;
        Ok(Self { name: name.into(), folder, ..board })
    }

    /// Every board, by name.
    pub(crate) fn all(root: &Path) -> Result<Vec<Self>> {
        names(root)?.iter().map(|name| Self::load(root, name)).collect()
    }

    /// A value for every axis: what is `wanted`, else the default. Refuses what cannot be.
    pub(crate) fn pick(&self, wanted: &Choices) -> Result<Choices> {
        for (axis, value) in wanted {
            let board = || self.name.clone();
            let Some(known) = self.axis.get(axis) else {
                return Err(Trouble::NoAxis { board: board(), axis: axis.clone() });
            };
            if !known.open && !known.values.contains(value) {
                return Err(Trouble::NoValue {
                    board: board(),
                    axis: axis.clone(),
                    value: value.clone(),
                    values: known.values.clone(),
                });
            }
        }
        let default = |axis: &Axis| axis.values.first().cloned().unwrap_or_default();
        Ok(self
            .axis
            .iter()
            .map(|(name, axis)| (name.clone(), wanted.get(name).cloned().unwrap_or(default(axis))))
            .collect())
    }

    /// What the choices say in one place of the command lines.
    pub(crate) fn spell(&self, choices: &Choices, place: Place) -> Vec<String> {
        let memory = choices.get("mem").and_then(|size| bytes(size));
        let spell = |(name, axis): (&String, &Axis)| {
            let value = choices.get(name)?;
            match place {
                Place::Machine => axis.fill(axis.machine.as_ref(), value),
                Place::Arg if axis.each.is_some() => axis.fill_each(value, memory),
                Place::Arg => axis.fill(axis.arg.as_ref(), value),
                Place::Append => axis.fill(axis.append.as_ref(), value),
            }
        };
        self.axis.iter().filter_map(spell).collect()
    }

    /// The choices as the Makefile's variables, for a line that repeats a launch.
    pub(crate) fn variables(&self, choices: &Choices) -> String {
        let mut line = format!("BOARD={}", self.name);
        for (axis, value) in choices {
            line += &format!(" {}={value}", axis.to_uppercase());
        }
        line
    }

    /// The compiled device tree, where the board brings one.
    pub(crate) fn dtb(&self) -> Option<PathBuf> {
        Some(self.folder.join(self.qemu.dts.as_ref()?).with_extension("dtb"))
    }
}

/// What QEMU takes a size to be: MiB where no unit is named.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let shift = match size[digits.len()..].to_ascii_uppercase().as_str() {
        "K" => 10,
        "" | "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_shl(shift)
}

/// The folders of `boards/` that describe one.
fn names(root: &Path) -> Result<Vec<String>> {
    let boards = root.join("boards");
    let entries = fs::read_dir(&boards).map_err(|why| Trouble::File(boards, why))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            entry
                .path()
                .join("board.toml")
                .exists()
                .then(|| entry.file_name().into_string().ok())?
        })
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests;
