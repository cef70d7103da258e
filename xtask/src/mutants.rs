//! `make mutants`: who catches which known bug, found out by committing each of them now.
//!
//! The suites that arm bugs say what they saw, line by line ([`evidence`]); QEMU's columns are boots of an
//! image with the bugs compiled in and nobody watching but the kernel itself. Nothing that is printed is
//! remembered from an earlier run, and no cell is filled by what somebody expects.

mod table;

use crate::{
    board::{Board, Choices},
    image::{self, Flavour, Image},
    judge,
    launch::{Launch, Serial},
    session::{self, Outcome},
    trouble::{Result, Trouble},
    workspace,
};
use clap::Args;
use evidence::Line;
use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use table::{Cell, Matrix};

/// The CPUs of QEMU's columns, in their order.
const CPUS: [&str; 2] = ["cortex-a72", "max"];
/// QEMUs at a time.
const SIDE_BY_SIDE: usize = 2;
/// A boot that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(90);
/// What is tried where no workload is known to commit a bug, and without any bug.
const EVERYTHING: &str = "stress all secs=300ms seed=1";

/// What may be chosen, by option or by the Makefile's variables.
#[derive(Args)]
pub(crate) struct Pick {
    /// Only the bugs whose name holds this
    #[arg(long, env = "ONLY", default_value = "")]
    only: String,
    /// `no`: leave QEMU's columns empty
    #[arg(long, env = "QEMU", default_value = "yes")]
    qemu: String,
}

/// Commits every bug, prints the matrix; whether each was caught by somebody.
pub(crate) fn mutants(pick: &Pick) -> Result<bool> {
    let file = workspace::out_dir().join("evidence.txt");
    // Left over from another run, it would answer in this one's name.
    image::write_if_changed(&file, b"")?;
    let mut whole = true;
    for (what, mut suite) in suites(&file, &pick.only) {
        eprintln!("{what} …");
        let output = suite.output().map_err(|why| Trouble::Start("cargo".into(), why))?;
        if !output.status.success() {
            // Failing tests name themselves; a suite that did not compile says why.
            print!("{}", String::from_utf8_lossy(&output.stdout));
            eprint!("{}", String::from_utf8_lossy(&output.stderr));
            eprintln!("{what}: failed; cells may be missing");
            whole = false;
        }
    }
    let text = fs::read_to_string(&file).map_err(|why| Trouble::File(file.clone(), why))?;
    let lines: Option<Vec<Line>> = text.lines().map(Line::decode).collect();
    let lines = lines.ok_or_else(|| Trouble::Failed(format!("reading {}", file.display())))?;
    let mut matrix = Matrix::new(lines, &pick.only);
    if pick.qemu != "no" {
        whole &= boot_each(&mut matrix)?;
    }
    let json = workspace::out_dir().join("mutants.json");
    image::write_if_changed(&json, matrix.json().as_bytes())?;
    println!("{matrix}{}", json.display());
    Ok(whole && matrix.rows.iter().all(table::Row::is_caught) && !matrix.rows.is_empty())
}

/// The suites that arm bugs, in words and as commands that append to `file`.
fn suites(file: &Path, only: &str) -> [(&'static str, Command); 3] {
    let cargo = |args: &[&str]| {
        let mut cargo = workspace::cargo("test");
        cargo.args(["--quiet", "--no-fail-fast"]).args(args);
        cargo.env(evidence::FILE, file).env(evidence::ONLY, only);
        cargo
    };
    let sweeps = ["--package", "granule-machine", "--test", "workloads", "--test", "sanitizer"];
    let ignored = ["--", "--ignored", "--exact", "known_bugs_in_every_workload"];
    let mut loom =
        cargo(&["--release", "--test", "loom", "-p", "granule-sync", "-p", "granule-mm"]);
    loom.env("RUSTFLAGS", "--cfg loom")
        .env("CARGO_TARGET_DIR", workspace::target_dir().join("loom"));
    [
        (
            "every bug in every workload, model and sanitizer",
            cargo(&[&sweeps[..], &ignored].concat()),
        ),
        ("the model's suites", cargo(&["--package", "granule-machine", "--tests"])),
        ("loom", loom),
    ]
}

/// Fills QEMU's columns; whether the image is silent without a bug, without which they say nothing.
fn boot_each(matrix: &mut Matrix) -> Result<bool> {
    let image = Image::build_as(Flavour::Mutants)?;
    for cpu in CPUS {
        if let Cell::Caught { said, .. } = boot(&image, cpu, None, EVERYTHING)? {
            eprintln!("without any bug {cpu} says: {said}; QEMU's columns are left out");
            return Ok(false);
        }
    }
    let wanted: Vec<_> = matrix.rows.iter().filter(|row| row.is_in_the_manager()).collect();
    let jobs: Vec<_> = wanted.iter().flat_map(|row| CPUS.map(|cpu| (*row, cpu))).collect();
    eprintln!("QEMU: {} boots, {SIDE_BY_SIDE} at a time …", jobs.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((row, cpu)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cell = boot(&image, cpu, Some(&row.bug), &commands(row));
                    // A vector that somebody panicked over still holds whole results.
                    let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    done.push((row.bug.clone(), *cpu, cell));
                }
            });
        }
    });
    for (bug, cpu, cell) in done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        matrix.set(&bug, if cpu == CPUS[0] { table::A72 } else { table::MAX }, cell?);
    }
    Ok(true)
}

/// The workloads that were seen to commit a bug in this run; all, if none was.
fn commands(row: &table::Row) -> String {
    let each = |name: &String| format!("{name} secs=2 seed=1");
    match row.workloads.is_empty() {
        true => EVERYTHING.into(),
        false => row.workloads.iter().map(each).collect::<Vec<_>>().join("; "),
    }
}

/// One boot, judged by the kernel's own checks: its workloads' results, its assertions, its end.
fn boot(image: &Image, cpu: &str, bug: Option<&str>, commands: &str) -> Result<Cell> {
    let choices = Choices::from([("cpu".into(), cpu.into())]);
    let mut launch = Launch::new(Board::load(&workspace::root(), "virt")?, &choices)?;
    launch.run = Some(commands.into());
    launch.words.extend(bug.map(|bug| format!("mutant={bug}")));
    let outcome = session::play(&mut launch.command(&image.flat, Serial::Program)?, &[], LIMIT)?;
    let text = String::from_utf8_lossy(&outcome.output);
    if let Some(bug) = bug.filter(|bug| !text.lines().any(|line| says_armed(line, bug))) {
        return Err(Trouble::Failed(format!("arming {bug} on {cpu}")));
    }
    Ok(match complaint(&outcome, &text) {
        Some(said) => Cell::Caught { by: commands.into(), said, took: outcome.took },
        None => Cell::Hidden { tries: 1 },
    })
}

/// The kernel's own word that it will commit the bug.
fn says_armed(line: &str, bug: &str) -> bool {
    line.trim_end() == format!("# mutant: {bug}")
}

/// What speaks against a boot, in a line: a panic's words before a failed case's before the bare status.
fn complaint(outcome: &Outcome, text: &str) -> Option<String> {
    let want = crate::boots::Want { ktap: true, ..Default::default() };
    let against = judge::complaints(&want, outcome, text);
    let first = against.first()?;
    let panic = text.lines().find(|line| line.contains("panic")).map(str::trim);
    let failed = text.lines().find_map(|line| line.strip_prefix("# ")?.split_once(" failed: "));
    let failed = failed.map(|(workload, why)| format!("{workload}: {}", why.trim_end()));
    Some(panic.map(String::from).or(failed).unwrap_or_else(|| first.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: i32) -> Outcome {
        Outcome {
            output: Vec::new(),
            complaints: String::new(),
            status: Some(status),
            awaited: None,
            hung: false,
            left: false,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn only_the_bug_that_was_asked_for_counts_as_armed() {
        assert!(says_armed("# mutant: no-publish\r", "no-publish"));
        assert!(!says_armed("# mutant: no-publish is none\r", "no-publish"));
        assert!(!says_armed("# mutant: no-publish\r", "no-grace"));
    }

    #[test]
    fn a_boot_is_caught_by_its_loudest_words() {
        let good = "KTAP version 1\r\n1..1\r\nok 1 cow\r\n";
        assert_eq!(complaint(&ended(0), good), None);
        let bad = "KTAP version 1\r\n1..1\r\n# cow failed: page 7\r\nnot ok 1 cow\r\n";
        assert_eq!(complaint(&ended(1), bad).as_deref(), Some("cow: page 7"));
        let bare = "KTAP version 1\r\n1..1\r\nok 1 cow\r\n";
        assert_eq!(complaint(&ended(3), bare).as_deref(), Some("ended with status 3"));
        let died = "KTAP version 1\r\n1..1\r\nkernel panic: freeing 1\r\n";
        assert_eq!(complaint(&ended(1), died).as_deref(), Some("kernel panic: freeing 1"));
        let hung = Outcome { hung: true, status: None, ..ended(0) };
        assert!(complaint(&hung, good).is_some_and(|said| said.contains("in time")));
    }
}
