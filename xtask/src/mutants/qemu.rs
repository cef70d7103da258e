//! QEMU's columns: the image with the known bugs, booted for each of them on each CPU.
//!
//! A bug has a machine of its own from the reset on: what it has spoiled cannot be laid at the next one's
//! door, and one that dies or hangs takes nothing with it. The image is built once, and nobody watches but
//! the kernel: its workloads' results, its assertions, whether it ends.

use super::table::{Cell, Matrix, Row, column};
use crate::{
    board::{Board, Choices},
    boots::Want,
    image::{Flavour, Image},
    judge,
    launch::{Launch, Serial},
    session::{self, Outcome},
    trouble::Result,
    workspace,
};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The CPUs of the columns.
const CPUS: [&str; 2] = ["cortex-a72", "max"];
/// QEMUs at a time.
const SIDE_BY_SIDE: usize = 2;
/// How long the boots without a bug may take.
const LIMIT: Duration = Duration::from_secs(180);
/// How many times as long as they took a boot with one may. What the host is busy with besides slows both.
const PATIENCE: u32 = 2;

/// The columns' boots of every bug that a memory manager can commit; whether all went as planned. Where the
/// image is not silent without a bug, the columns say nothing and stay empty; so does the cell of a boot that
/// does not say that it armed its bug.
pub(super) fn boot_each(matrix: &mut Matrix) -> Result<bool> {
    let image = Image::build_as(Flavour::Mutants)?;
    let (began, everything) = (Instant::now(), "stress all secs=300ms seed=1");
    for cpu in CPUS {
        if let Cell::Caught { said, .. } = boot(&image, cpu, None, everything, LIMIT)? {
            eprintln!("without any bug {cpu} says: {said}; QEMU's columns are left out");
            return Ok(false);
        }
    }
    // With every workload, one CPU after the other: several times as long as a boot that ends.
    let limit = PATIENCE * began.elapsed();
    let wanted: Vec<_> = matrix.rows.iter().filter(|row| row.is_in_the_manager()).collect();
    let jobs: Vec<_> = wanted.iter().flat_map(|row| CPUS.map(|cpu| (*row, cpu))).collect();
    eprintln!("QEMU: {} boots, {SIDE_BY_SIDE} at a time …", jobs.len());
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((row, cpu)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let cell = boot(&image, cpu, Some(&row.bug), &commands(row), limit);
            // A vector that somebody panicked over still holds whole results.
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((row.bug.clone(), *cpu, cell));
        }
    };
    thread::scope(|scope| (0..SIDE_BY_SIDE).for_each(|_| drop(scope.spawn(work))));
    let mut whole = true;
    for (bug, cpu, cell) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let cell = cell?;
        if cell == Cell::Untried {
            eprintln!("{cpu} did not arm {bug}");
            whole = false;
        }
        matrix.set(&bug, if cpu == CPUS[0] { column::A72 } else { column::MAX }, cell);
    }
    Ok(whole)
}

/// The workload that the bug is at home in.
fn commands(row: &Row) -> String {
    let home = if row.home.is_empty() { "chaos" } else { &row.home };
    format!("stress {home} secs=1 seed=1")
}

/// One boot, judged by the kernel's own checks.
fn boot(
    image: &Image,
    cpu: &str,
    bug: Option<&str>,
    commands: &str,
    limit: Duration,
) -> Result<Cell> {
    let choices = Choices::from([("cpu".into(), cpu.into())]);
    let mut launch = Launch::new(Board::load(&workspace::root(), "virt")?, &choices)?;
    launch.run = Some(commands.into());
    launch.words.extend(bug.map(|bug| format!("mutant={bug}")));
    let outcome = session::play(&mut launch.command(&image.flat, Serial::Program)?, &[], limit)?;
    let text = String::from_utf8_lossy(&outcome.output);
    if bug.is_some_and(|bug| !text.lines().any(|line| says_armed(line, bug))) {
        // Its last words, for whoever wonders.
        eprint!("{text}{}", outcome.complaints);
        return Ok(Cell::Untried);
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
    let want = Want { ktap: true, ..Want::default() };
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
