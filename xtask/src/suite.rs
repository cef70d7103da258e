//! `make test`, `make check` and `make soak`: the steps in order, the boots side by side.

use crate::{
    board::Board,
    boots::{self, Boot},
    checks::{self, Check},
    image::{Flavour, Image},
    judge,
    launch::Serial,
    report::{Report, Verdict},
    session::{self, Outcome},
    symbols::{self, Symbols},
    trouble::{Result, Trouble},
    workspace,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// QEMUs at a time. Two, so that a machine of four CPUs is slow on a small host but never starved.
const SIDE_BY_SIDE: usize = 2;
/// Lines of serial output shown of a boot that failed.
const LAST_LINES: usize = 30;

/// Everything: host checks and tests, then every boot whose name holds `only`.
pub(crate) fn test(only: Option<&str>) -> Result<bool> {
    let mut report = Report::new();
    if only.is_none() {
        report.heading("On the host");
        run_checks(&mut report, &checks::HOST);
    }
    let mut boots = boots::all(&workspace::root())?;
    boots.retain(|boot| only.is_none_or(|only| boot.name.contains(only)));
    let wanted = |flavour| boots.iter().any(|boot| boot.image == flavour);
    let flavours =
        [Flavour::Plain, Flavour::Sanitized, Flavour::Mutants].into_iter().filter(|f| wanted(*f));
    let images: Option<Vec<_>> =
        flavours.map(|flavour| Some((flavour, build(&mut report, flavour)?))).collect();
    if let Some(images) = images {
        report.heading(&format!("In QEMU: {} boots, {SIDE_BY_SIDE} at a time", boots.len()));
        run_boots(&mut report, &images, &boots);
    }
    Ok(report.finish())
}

/// The quick part: style, lints and the house rules.
pub(crate) fn check() -> bool {
    let mut report = Report::new();
    run_checks(&mut report, &checks::STYLE);
    report.finish()
}

/// The small protocols, explored.
pub(crate) fn loom() -> bool {
    let mut report = Report::new();
    run_checks(&mut report, &[checks::LOOM]);
    report.finish()
}

/// Stresses every machine of the matrix, round after round with fresh seeds, for so long.
pub(crate) fn soak(minutes: u64, secs: u64, seed: u64) -> Result<bool> {
    let mut report = Report::new();
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let Some(image) = build(&mut report, Flavour::Plain) else { return Ok(report.finish()) };
    let images = [(Flavour::Plain, image)];
    for seed in seed.. {
        report.heading(&format!("seed {seed}"));
        let run = format!("stress all secs={secs} seed={seed}");
        let mut boots = Vec::new();
        for board in Board::all(&workspace::root())? {
            boots.extend(boots::machines(&board, &run, 120 + 20 * secs)?);
        }
        // A round is cut short by the clock, not by a failure: the others are still worth knowing.
        for pair in boots.chunks(SIDE_BY_SIDE) {
            if Instant::now() >= until {
                return Ok(report.finish());
            }
            run_boots(&mut report, &images, pair);
        }
    }
    Ok(report.finish())
}

fn run_checks(report: &mut Report, checks: &[Check]) {
    for (name, check) in checks {
        let started = Instant::now();
        let verdict = check().unwrap_or_else(|why| Verdict::fail(why.to_string()));
        report.step(name, verdict, started.elapsed());
    }
}

fn build(report: &mut Report, flavour: Flavour) -> Option<Image> {
    let started = Instant::now();
    let what = match flavour {
        Flavour::Plain => "the image",
        Flavour::Sanitized => "the image that watches itself",
        Flavour::Mutants => "the image with known bugs",
    };
    match Image::build_as(flavour) {
        Ok(image) => {
            let name = format!("{what}: {} KiB, header, W^X", image.bytes.div_ceil(1024));
            report.step(&name, Verdict::Pass(1), started.elapsed());
            Some(image)
        }
        Err(why) => {
            let verdict = Verdict::fail(why.to_string());
            report.step(what, verdict, started.elapsed());
            None
        }
    }
}

/// Boots them all, each its image, reporting each as it ends.
fn run_boots(report: &mut Report, images: &[(Flavour, Image)], boots: &[Boot]) {
    let next = AtomicUsize::new(0);
    // Symbols are read anew for each boot that needs them; one at a time, they are large.
    let reading = Mutex::new(());
    thread::scope(|scope| {
        let (done, results) = mpsc::channel();
        for _ in 0..SIDE_BY_SIDE {
            let (done, next, reading) = (done.clone(), &next, &reading);
            scope.spawn(move || {
                while let Some(boot) = boots.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let started = Instant::now();
                    let verdict = match images.iter().find(|(flavour, _)| *flavour == boot.image) {
                        Some((_, image)) => attempt(boot, image, reading)
                            .unwrap_or_else(|why| Verdict::fail(why.to_string())),
                        None => Verdict::Skip("its image was not built".into()),
                    };
                    // The receiver outlives the scope's threads.
                    let _ = done.send((boot, verdict, started.elapsed()));
                }
            });
        }
        drop(done);
        for (boot, verdict, took) in results {
            report.step(&boot.name, verdict, took);
        }
    });
}

/// One boot, and its repetition if it has one.
fn attempt(boot: &Boot, image: &Image, reading: &Mutex<()>) -> Result<Verdict> {
    if let Some(needs) = boot.needs.as_ref().filter(|needs| !needs.file.exists()) {
        return Ok(Verdict::Skip(format!("package {} is not installed", needs.package)));
    }
    let play = |extra: &[String]| {
        let mut launch = boot.launch.clone();
        launch.args.extend(extra.iter().cloned());
        let mut qemu = launch.command(&image.flat, Serial::Program)?;
        session::play(&mut qemu, &boot.acts, boot.limit)
    };
    let outcome = play(&[])?;
    let explained = explain(&outcome, image, reading)?;
    let mut against = judge::complaints(&boot.want, &outcome, &explained);
    if let Some(again) = boot.again.as_ref().filter(|_| against.is_empty()) {
        let second = play(&again.args)?;
        match (second.output == outcome.output, again.same) {
            (false, true) => against.push(first_difference(&outcome.output, &second.output)),
            (true, false) => against.push("another schedule gave the same output".into()),
            _ => {}
        }
    }
    let log = keep_log(boot, &explained)?;
    if against.is_empty() {
        return Ok(Verdict::Pass(1));
    }
    Ok(Verdict::fail(evidence(boot, &outcome, &explained, &against, &log)))
}

/// The serial output as text, its backtraces resolved if there are any.
fn explain(outcome: &Outcome, image: &Image, reading: &Mutex<()>) -> Result<String> {
    if !outcome.output.windows(3).any(|bytes| bytes == b" 0x") {
        return Ok(String::from_utf8_lossy(&outcome.output).into_owned());
    }
    // Nothing is guarded but the memory it takes: a holder that panicked left nothing broken.
    let _one_at_a_time = reading.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let symbols = Symbols::open(&image.elf, &workspace::root())?;
    let bytes = symbols::explain(&outcome.output, symbols);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where two outputs that should be one part ways.
fn first_difference(first: &[u8], second: &[u8]) -> String {
    let [a, b] = [first, second].map(String::from_utf8_lossy);
    let mut lines = a.lines().zip(b.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((at, (a, b))) => format!("line {} is not the same twice:\n    {a}\n    {b}", at + 1),
        None => format!("{} bytes the first time, {} the second", first.len(), second.len()),
    }
}

/// Keeps the output of each boot for a closer look.
fn keep_log(boot: &Boot, explained: &str) -> Result<PathBuf> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let folder = workspace::out_dir().join("boots");
    let file = folder.join(boot.name.chars().map(plain).collect::<String>() + ".log");
    fs::create_dir_all(&folder).map_err(|why| Trouble::File(folder, why))?;
    fs::write(&file, explained).map_err(|why| Trouble::File(file.clone(), why))?;
    Ok(file)
}

/// What a failed boot leaves to go by.
fn evidence(
    boot: &Boot,
    outcome: &Outcome,
    explained: &str,
    against: &[String],
    log: &Path,
) -> String {
    let lines: Vec<&str> = explained.lines().map(|line| line.trim_end_matches('\r')).collect();
    let skipped = lines.len().saturating_sub(LAST_LINES);
    let mut text = format!("after {:.1} s:\n", outcome.took.as_secs_f64());
    for complaint in against {
        text += &format!("  * {complaint}\n");
    }
    text += &format!("replay: {}\n", boot.launch.replay());
    if skipped > 0 {
        text += &format!("  | … {skipped} lines before, in {}\n", log.display());
    }
    for line in &lines[skipped..] {
        text += &format!("  | {line}\n");
    }
    for line in outcome.complaints.lines() {
        text += &format!("  qemu: {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_by_its_line() {
        let text = first_difference(b"one\ntwo\n", b"one\ntoo\n");
        assert!(text.contains("line 2") && text.contains("too"), "{text}");
        let text = first_difference(b"one\n", b"one\ntwo\n");
        assert!(text.contains("4 bytes") && text.contains('8'), "{text}");
    }
}
