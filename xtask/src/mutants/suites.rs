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

/// The programs of tests that arm bugs on the model, from the repository's top; a suite is a module of one.
const MODEL: [&str; 2] = ["tests/machine/tests/mm", "tests/machine/tests/stress"];
/// What stands before a bug's name in the sources of a suite that arms it.
const ARMS: &str = "Mutant::";
/// The suite that tries every bug, among others: there is always one to run.
const SWEEP: &str = "workloads";
/// What it tries, and the same under the oracle: a test of each.
const SWEEPS: [(&str, &str); 2] = [
    ("every bug in every workload, model", "workloads::known_bugs_in_every_workload"),
    ("every bug in every workload, sanitizer", "sanitizer::known_bugs_in_every_workload"),
];

/// The suites that arm bugs whose name holds `only`, in words and as commands that append to `file`.
pub(super) fn arming(file: &Path, only: &str) -> Result<Vec<(&'static str, Command)>> {
    let cargo = |args: &[&str]| {
        let mut cargo = workspace::cargo("test");
        cargo.args(["--quiet", "--no-fail-fast"]).args(args);
        cargo.env(evidence::FILE, file).env(evidence::ONLY, only);
        cargo
    };
    let of_machine = ["--package", "granule-machine", "--test"];
    let sweeps = SWEEPS.map(|(what, test)| {
        let mut sweep = cargo(&of_machine);
        sweep.args(["stress", "--", "--ignored", "--exact", test]);
        (what, sweep)
    });
    let mut model = cargo(&of_machine);
    model.args(["mm", "--test", "stress", "--"]);
    // What has this in its path; a suite whose name ends alike as well. Who is silent is asked before, for longer.
    model.args(that_arm(only)?.iter().map(|suite| format!("{suite}::")));
    model.args(["--skip", "workloads_are_silent"]);
    let mut loom =
        cargo(&["--release", "--test", "loom", "-p", "granule-sync", "-p", "granule-mm"]);
    loom.env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace::target_dir().join("loom"));
    let rest = [("the model's suites", model), ("loom", loom)];
    Ok(sweeps.into_iter().chain(rest).collect())
}

/// The suites on the model that arm bugs whose name holds `only`: a file each, or a folder.
fn that_arm(only: &str) -> Result<BTreeSet<String>> {
    let mut suites = BTreeSet::from([SWEEP.to_owned()]);
    for folder in MODEL {
        for path in below(&workspace::root().join(folder))? {
            // What suites share is none.
            if let Some(name) = path.file_stem().filter(|name| *name != "common")
                && arms(&path, only)?
            {
                suites.insert(name.to_string_lossy().into_owned());
            }
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
    cargo.args(["--quiet", "--package", "granule-machine", "--test", "stress", "--"]);
    let test = "silence::workloads_are_silent_for_long";
    cargo.args(["--ignored", "--exact", "--nocapture", test]);
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
            "--test=mm",
            "--test=stress",
            "--",
            "flushes::",
            "asids::",
            "changes::",
            "entry_races::",
            "sanitizer::",
            "invariants::",
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
        let all = that_arm("").unwrap();
        // A file, and folders of files; not what only prints, nor what only listens.
        assert!(all.contains("mid_move") && all.contains("changes"), "{all:?}");
        assert!(["speed", "silence", "common"].iter().all(|name| !all.contains(*name)), "{all:?}");
        let some = that_arm("cow-counts").unwrap();
        assert_eq!(some.into_iter().collect::<Vec<_>>(), ["mid_move", "parity", SWEEP]);
    }
}
