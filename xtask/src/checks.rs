//! The steps of `make test` that boot nothing: style, lints, host tests, device trees.

use crate::{
    board::Board,
    report::Verdict,
    trouble::{Result, Trouble},
    workspace::{self, IMAGE, TARGET, cargo},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// A named step.
pub(crate) type Check = (&'static str, fn() -> Result<Verdict>);

/// What `make check` does: quick enough for every save.
pub(crate) const STYLE: [Check; 4] = [
    ("rustfmt", fmt),
    ("clippy, host", clippy_host),
    ("clippy, target", clippy_target),
    ("the rooms: layering and what each may hold", rooms),
];

/// What `make test` does before it boots.
pub(crate) const HOST: [Check; 6] = [
    ("rustfmt", fmt),
    ("clippy, host", clippy_host),
    ("clippy, target", clippy_target),
    ("host tests", host_tests),
    LOOM,
    ("device trees are compiled from their sources", device_trees),
];

/// The lock-free protocols, every order of their steps that the memory model permits.
pub(crate) const LOOM: Check = ("loom: every interleaving of the small protocols", loom);

fn fmt() -> Result<Verdict> {
    judged(cargo("fmt").args(["--all", "--check"]))
}

/// The CPU's room is linted where its code is: most of it the host does not see.
fn clippy_host() -> Result<Verdict> {
    let mut clippy = cargo("clippy");
    on_host(&mut clippy).args(["--exclude", "granule-arch", "--all-targets"]);
    judged(clippy.args(["--", "-D", "warnings"]))
}

/// The image and with it every room, as the target sees them.
fn clippy_target() -> Result<Verdict> {
    let mut clippy = cargo("clippy");
    clippy.args(["--quiet", "--package", IMAGE, "--target", TARGET]);
    judged(clippy.args(["--", "-D", "warnings"]))
}

fn host_tests() -> Result<Verdict> {
    tested(on_host(&mut cargo("test")).arg("--no-fail-fast"))
}

/// Its own directory: with another configuration nothing built is of use to the rest.
fn loom() -> Result<Verdict> {
    let mut test = cargo("test");
    test.env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace::target_dir().join("loom"));
    test.args(["--quiet", "--release", "--test", "loom"]);
    tested(test.args(["--package", "granule-sync", "--package", "granule-mm"]))
}

fn rooms() -> Result<Verdict> {
    let mut test = cargo("test");
    test.args(["--quiet", "--package", "granule-tests"]);
    tested(test.args(["--test", "layering", "--test", "unsafe_rooms"]))
}

/// Every crate that the host can build.
fn on_host(cargo: &mut Command) -> &mut Command {
    cargo.args(["--quiet", "--workspace", "--exclude", IMAGE])
}

/// Runs a command, its output kept: whether it succeeded, and all it said.
fn run(command: &mut Command) -> Result<(bool, String)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().map_err(|why| Trouble::Start(program, why))?;
    let text = [done.stdout, done.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    Ok((done.status.success(), text.concat()))
}

/// A command that is one test by itself.
fn judged(command: &mut Command) -> Result<Verdict> {
    let (ok, text) = run(command)?;
    Ok(if ok { Verdict::Pass(1) } else { Verdict::fail(text) })
}

/// A `cargo test`, whose tests are counted.
fn tested(command: &mut Command) -> Result<Verdict> {
    let (ok, text) = run(command)?;
    let (passed, failed) = counted(&text);
    Ok(if ok && passed > 0 {
        Verdict::Pass(passed)
    } else {
        Verdict::Fail { passed, failed, evidence: failing_part(&text) }
    })
}

/// The sums of libtest's `test result:` lines.
fn counted(text: &str) -> (usize, usize) {
    let number = |line: &str, what: &str| {
        let before = line.split(what).next()?;
        before.rsplit([' ', '.']).next()?.parse::<usize>().ok()
    };
    let results = text.lines().filter(|line| line.starts_with("test result:"));
    results.fold((0, 0), |(passed, failed), line| {
        let add = |what| number(line, what).unwrap_or(0);
        (passed + add(" passed"), failed + add(" failed"))
    })
}

/// The output without the lines of dots and of success.
fn failing_part(text: &str) -> String {
    let dull = |line: &&str| {
        let line = line.trim();
        !(line.is_empty() || line.starts_with("running ") || line.starts_with("test result: ok"))
    };
    let dots = |line: &&str| !line.chars().all(|c| c == '.') && !line.ends_with("... ok");
    text.lines().filter(dull).filter(dots).map(|line| line.to_owned() + "\n").collect()
}

/// Each board's committed tree is what its source compiles to.
fn device_trees() -> Result<Verdict> {
    let mut compared = 0;
    for board in Board::all(&workspace::root())? {
        let (Some(dts), Some(dtb)) = (&board.qemu.dts, board.dtb()) else { continue };
        let Some(compiled) = compile(&board.folder.join(dts))? else {
            return Ok(Verdict::Skip("dtc is not installed (device-tree-compiler)".into()));
        };
        let committed = fs::read(&dtb).map_err(|why| Trouble::File(dtb.clone(), why))?;
        if committed != compiled {
            let what = format!("{} is not {dts} compiled: make dtb", dtb.display());
            return Ok(Verdict::fail(what));
        }
        compared += 1;
    }
    Ok(Verdict::Pass(compared))
}

/// Compiles every board's tree; what `make dtb` does.
pub(crate) fn write_device_trees() -> Result<()> {
    for board in Board::all(&workspace::root())? {
        let (Some(dts), Some(dtb)) = (&board.qemu.dts, board.dtb()) else { continue };
        let source = board.folder.join(dts);
        let compiled = compile(&source)?.ok_or_else(|| Trouble::Failed("dtc".into()))?;
        fs::write(&dtb, compiled).map_err(|why| Trouble::File(dtb, why))?;
    }
    Ok(())
}

/// The tree that a source describes; `None` without a compiler for it.
fn compile(dts: &Path) -> Result<Option<Vec<u8>>> {
    let mut dtc = Command::new("dtc");
    dtc.args(["--quiet", "-I", "dts", "-O", "dtb"]).arg(dts).stdin(Stdio::null());
    match dtc.output() {
        Ok(done) if done.status.success() => Ok(Some(done.stdout)),
        Ok(done) => {
            let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            Err(Trouble::Failed(format!("dtc {} ({why})", dts.display())))
        }
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 3 tests\n...\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
        running 2 tests\ntest b ... FAILED\nevidence\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n";

    #[test]
    fn results_add_up_over_the_crates() {
        assert_eq!(counted(OUTPUT), (4, 1));
        assert_eq!(counted("error: could not compile"), (0, 0));
    }

    #[test]
    fn only_what_failed_is_shown() {
        let shown = failing_part(OUTPUT);
        assert!(shown.starts_with("test b ... FAILED\nevidence\n"), "{shown}");
        assert!(!shown.contains("3 passed"), "{shown}");
    }

    #[test]
    fn a_test_run_without_tests_is_no_pass() {
        let verdict = tested(&mut Command::new("true")).unwrap();
        assert!(matches!(verdict, Verdict::Fail { .. }));
    }
}
