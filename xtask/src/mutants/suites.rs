//! What is run on the host: suites that arm bugs, workloads without one, and bugs that nobody thought of.

use crate::{
    trouble::{Result, Trouble},
    workspace,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The model's suites, from the repository's top.
const MODEL: &str = "tests/machine/tests";
/// What stands before a bug's name in the sources of a suite that arms it.
const ARMS: &str = "Mutant::";
/// The suite that tries every bug, among others: there is always one to run.
const SWEEP: &str = "workloads";

/// The suites that arm bugs whose name holds `only`, in words and as commands that append to `file`.
pub(super) fn arming(file: &Path, only: &str) -> Result<[(&'static str, Command); 3]> {
    let cargo = |args: &[&str]| {
        let mut cargo = workspace::cargo("test");
        cargo.args(["--quiet", "--no-fail-fast"]).args(args);
        cargo.env(evidence::FILE, file).env(evidence::ONLY, only);
        cargo
    };
    let sweeps = ["--package", "granule-machine", "--test", "workloads", "--test", "sanitizer"];
    let ignored = ["--", "--ignored", "--exact", "known_bugs_in_every_workload"];
    let mut model = cargo(&["--package", "granule-machine"]);
    for suite in that_arm(&workspace::root().join(MODEL), only)? {
        model.args(["--test", &suite]);
    }
    let mut loom =
        cargo(&["--release", "--test", "loom", "-p", "granule-sync", "-p", "granule-mm"]);
    loom.env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace::target_dir().join("loom"));
    Ok([
        (
            "every bug in every workload, model and sanitizer",
            cargo(&[&sweeps[..], &ignored].concat()),
        ),
        ("the model's suites", model),
        ("loom", loom),
    ])
}

/// The suites of a folder that arm bugs whose name holds `only`: one file each, or a folder.
fn that_arm(folder: &Path, only: &str) -> Result<BTreeSet<String>> {
    let mut suites = BTreeSet::from([SWEEP.to_owned()]);
    for path in below(folder)? {
        let is_suite = path.is_file() || path.join("main.rs").exists();
        if let Some(name) = path.file_stem().filter(|_| is_suite)
            && arms(&path, only)?
        {
            suites.insert(name.to_string_lossy().into_owned());
        }
    }
    Ok(suites)
}

/// Whether a source, or one in a folder, arms a bug whose name holds one of `only`.
fn arms(path: &Path, only: &str) -> Result<bool> {
    if path.is_file() {
        let text = fs::read_to_string(path).map_err(|why| Trouble::File(path.into(), why))?;
        let is_name = |c: &char| c.is_alphanumeric();
        let name = |behind: &str| behind.chars().take_while(is_name).collect::<String>();
        let mut armed = text.split(ARMS).skip(1).map(|behind| evidence::spelled(&name(behind)));
        return Ok(armed.any(|bug| evidence::holds(&bug, only)));
    }
    for path in below(path)? {
        if arms(&path, only)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is in a folder.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let trouble = |why| Trouble::File(folder.into(), why);
    let entries = fs::read_dir(folder).map_err(trouble)?;
    entries.map(|entry| Ok(entry.map_err(trouble)?.path())).collect()
}

/// Each workload for so many steps on the model, the oracle over it, under schedules chosen by `strategy`: whether
/// all was silent.
pub(crate) fn silent(steps: u64, seed: u64, strategy: &str) -> Result<bool> {
    let mut cargo = workspace::cargo("test");
    cargo.args(["--quiet", "--package", "granule-machine", "--test", "silence"]);
    cargo.args(["--", "--ignored", "--exact", "--nocapture", "workloads_are_silent_for_long"]);
    cargo.env("STRATEGY", strategy);
    cargo.env("STEPS", steps.to_string()).env("SEED", seed.to_string());
    ended(&mut cargo)
}

/// Code that is changed in every small way: its folder, whose tests must notice, and which of them.
const CHANGED: [(&str, &str, &[&str]); 2] = [
    ("kernel/pte/src/", "granule-pte", &["--lib"]),
    (
        "kernel/mm/src/tlb/",
        "granule-machine",
        &[
            "--test=flushes",
            "--test=asids",
            "--test=changes",
            "--test=entry_races",
            "--test=sanitizer",
            "--test=invariants",
        ],
    ),
];

/// Bugs that nobody thought of, made by changing one operator or one result after the other, in all the code or
/// in one file: whether tests notice all that `.cargo/mutants.toml` does not excuse.
pub(crate) fn survivors(only: &str) -> Result<bool> {
    let mut noticed = true;
    for (folder, package, tests) in
        CHANGED.iter().filter(|part| only.is_empty() || only.starts_with(part.0))
    {
        let all = format!("{folder}*.rs");
        let out = workspace::out_dir().join("survivors").join(package);
        fs::create_dir_all(&out).map_err(|why| Trouble::File(out.clone(), why))?;
        let mut cargo = workspace::cargo("mutants");
        cargo.args(["--no-shuffle", "--file", if only.is_empty() { &all } else { only }]);
        cargo.args(["--test-package", package, "--output"]).arg(out).arg("--").args(*tests);
        // Its copies of the tree build in places of their own.
        cargo.env_remove("CARGO_TARGET_DIR");
        noticed &= ended(&mut cargo)?;
    }
    Ok(noticed)
}

/// Whether a command that speaks for itself ended well.
fn ended(command: &mut Command) -> Result<bool> {
    let status = command.status().map_err(|why| Trouble::Start("cargo".into(), why))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_that_arm_a_bug_are_found_and_no_others() {
        let folder = workspace::root().join(MODEL);
        let all = that_arm(&folder, "").unwrap();
        // A file, and a folder of files; not what only prints, nor what suites share.
        assert!(all.contains("gup_races") && all.contains("changes"), "{all:?}");
        assert!(!all.contains("machine_turns") && !all.contains("races"), "{all:?}");
        let some = that_arm(&folder, "cow-counts").unwrap();
        assert_eq!(some.into_iter().collect::<Vec<_>>(), ["mid_move", "parity", SWEEP]);
    }
}
