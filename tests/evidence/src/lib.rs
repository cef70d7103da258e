//! What a suite found out about a known bug: one line each, from the suites that arm bugs to `make mutants`,
//! which makes a matrix of them.
//!
//! Programs of tests run as processes, and the tests of one side by side. Each appends whole lines to the file that [`FILE`]
//! names; without it, nothing is written. A line says who judged ([`Judge`]), which bug, the verdict, the
//! test, how long it took, and the judge's own words. Nothing here knows what is expected: a bug of which
//! no suite says anything has an empty cell.

#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::Write;
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

/// The environment's variable that names the file.
pub const FILE: &str = "GRANULE_EVIDENCE";
/// The variable that narrows what the long sweeps try: part of a bug's name.
pub const ONLY: &str = "GRANULE_EVIDENCE_ONLY";
/// The bug that a process was started for; see [`each_alone`].
const ALONE: &str = "GRANULE_EVIDENCE_ALONE";

/// Who looked for a bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Judge {
    /// The model machine, its suites' own checks included.
    Model,
    /// The oracle alone.
    Sanitizer,
    /// Every order of a small protocol's steps.
    Loom,
}

impl Judge {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Model, Self::Sanitizer, Self::Loom];

    /// Its name in a line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Sanitizer => "sanitizer",
            Self::Loom => "loom",
        }
    }
}

/// One judge's verdict on one bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Who judged.
    pub judge: Judge,
    /// The bug's name.
    pub bug: String,
    /// Whether it was noticed.
    pub caught: bool,
    /// The test, or the workload, that committed it.
    pub test: String,
    /// How long that took.
    pub took: Duration,
    /// What was said, on one line.
    pub said: String,
}

/// One line of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// There is a bug of this name, and a workload that gives it the best chance to be seen; none is named by
    /// suites that know of none.
    Known {
        /// The bug.
        bug: String,
        /// The workload, or nothing.
        home: String,
    },
    /// Somebody looked for one.
    Found(Finding),
}

/// Words on one line, between two tabs.
fn plain(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Line {
    /// As it is written, without the newline.
    pub fn encode(&self) -> String {
        match self {
            Self::Known { bug, home } => format!("known\t{bug}\t{home}"),
            Self::Found(Finding { judge, bug, caught, test, took, said }) => {
                let verdict = if *caught { "caught" } else { "hidden" };
                let (judge, said, micros) = (judge.name(), plain(said), took.as_micros());
                format!("{verdict}\t{judge}\t{bug}\t{test}\t{micros}\t{said}")
            }
        }
    }

    /// Reads one; nothing else has its form.
    pub fn decode(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["known", bug, home] => Some(Self::Known { bug: bug.into(), home: home.into() }),
            [verdict @ ("caught" | "hidden"), judge, bug, test, micros, said] => {
                let judge = Judge::ALL.into_iter().find(|known| known.name() == judge)?;
                Some(Self::Found(Finding {
                    judge,
                    bug: bug.into(),
                    caught: verdict == "caught",
                    test: test.into(),
                    took: Duration::from_micros(micros.parse().ok()?),
                    said: said.into(),
                }))
            }
            _ => None,
        }
    }
}

/// Appends a line, whole, if anybody wants it.
///
/// # Panics
/// If the file cannot be written: a matrix with silent gaps would be worse.
fn append(line: &Line) {
    let Some(path) = env::var_os(FILE) else { return };
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{}\n", line.encode()).as_bytes()));
    assert!(written.is_ok(), "{path:?}: {written:?}");
}

/// A variant's name as a command line spells it: `NoPublish` is `no-publish`.
pub fn spelled(variant: &str) -> String {
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

/// These are the names of all bugs, each with its home: see [`Line::Known`].
pub fn known<'a>(bugs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    let line = |(bug, home): (&str, &str)| Line::Known { bug: bug.into(), home: home.into() };
    bugs.into_iter().for_each(|known| append(&line(known)));
}

/// Whether the sweeps are to try this bug: all, if nobody narrows it.
pub fn is_wanted(bug: &str) -> bool {
    !env::var(ONLY).is_ok_and(|only| !holds(bug, &only))
}

/// Whether the bug's name holds one of the parts, between which there are commas.
pub fn holds(bug: &str, parts: &str) -> bool {
    parts.split(',').any(|part| bug.contains(part))
}

/// How long a process may look for one bug. Those that find nothing take seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By itself, and well.
    Well,
    /// By itself, and not well.
    Badly,
    /// Not in time. That may be the bug's doing or the host's, so it says nothing.
    Never,
}

/// Looks for each bug in a process of its own, which a bug may end: this test binary once more, with the
/// arguments that it has; as many at a time as there are cores. Of those that ended otherwise than well `died` is
/// told.
pub fn each_alone<'a>(
    bugs: impl IntoIterator<Item = (&'a str, &'a str)>,
    look: impl Fn(&str),
    died: impl Fn(&str, End, Duration) + Sync,
) {
    if let Ok(bug) = env::var(ALONE) {
        return look(&bug);
    }
    let bugs: Vec<_> = bugs.into_iter().collect();
    known(bugs.iter().copied());
    let wanted: Vec<_> = bugs.iter().map(|(bug, _)| *bug).filter(|bug| is_wanted(bug)).collect();
    let binary = env::current_exe().expect("this process has a file");
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&bug) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let started = Instant::now();
            let mut alone = Command::new(&binary);
            alone.args(env::args_os().skip(1)).env(ALONE, bug);
            alone.stdout(Stdio::null()).stderr(Stdio::null());
            let end = end(&mut alone, PATIENCE);
            if end != End::Well {
                died(bug, end, started.elapsed());
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
}

/// Starts a process and says how it ends.
fn end(command: &mut Command, patience: Duration) -> End {
    let mut child = command.spawn().expect("it can be started again");
    let until = Instant::now() + patience;
    loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) if status.success() => return End::Well,
            Some(_) => return End::Badly,
            None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            None => {
                // It may have ended in this very moment.
                let _ = child.kill();
                let _ = child.wait();
                return End::Never;
            }
        }
    }
}

/// The test that this thread runs.
fn test() -> String {
    let binary = env::current_exe().ok();
    let program =
        binary.as_ref().and_then(|path| path.file_stem()?.to_str()).unwrap_or("a program");
    // Cargo puts a hash behind the name.
    let program = program.rsplit_once('-').map_or(program, |(program, _)| program);
    format!("{program}::{}", thread::current().name().unwrap_or("main"))
}

/// Passes on what `look` says of `bug`, and notes it as the running test's finding.
pub fn tried<T>(
    judge: Judge,
    bug: &str,
    look: impl FnOnce() -> Option<T>,
    words: impl Fn(&T) -> String,
) -> Option<T> {
    let started = Instant::now();
    let found = look();
    let said = found.as_ref().map(words);
    note(judge, bug, &test(), said.as_deref(), started.elapsed());
    found
}

/// The model's suites: `look` commits `bug` and says what is wrong.
pub fn model(bug: &str, look: impl FnOnce() -> Option<String>) -> Option<String> {
    tried(Judge::Model, bug, look, String::clone)
}

/// As [`model`], of a check that only knows whether.
pub fn model_notices(bug: &str, look: impl FnOnce() -> bool) -> bool {
    let words = || "the test's own check fails".to_owned();
    model(bug, || look().then(words)).is_some()
}

/// Notes a verdict: what was said of a bug, or that nothing was.
pub fn note(judge: Judge, bug: &str, test: &str, said: Option<&str>, took: Duration) {
    let (bug, test) = (bug.to_owned(), plain(test));
    let (caught, said) = (said.is_some(), said.unwrap_or_default().into());
    append(&Line::Found(Finding { judge, bug, caught, test, took, said }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(caught: bool, said: &str) -> Line {
        Line::Found(Finding {
            judge: Judge::Sanitizer,
            bug: "no-publish".into(),
            caught,
            test: "fault-4k".into(),
            took: Duration::from_micros(1500),
            said: said.into(),
        })
    }

    #[test]
    fn a_line_comes_back_as_it_was() {
        let known = Line::Known { bug: "no-publish".into(), home: "cow".into() };
        let homeless = Line::Known { bug: "walk-unfenced".into(), home: String::new() };
        for line in [known, homeless, finding(true, "frame-freed"), finding(false, "")] {
            assert_eq!(Line::decode(&line.encode()), Some(line));
        }
    }

    #[test]
    fn words_of_many_lines_take_one() {
        let line = finding(true, "frame-freed\n  by\tcpu 1\n").encode();
        assert!(!line.contains('\n'));
        assert_eq!(Line::decode(&line), Some(finding(true, "frame-freed by cpu 1")));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in
            ["", "known", "known\tx", "caught\tmodel\tx", "caught\tnobody\tx\tt\t1\ts", "ok 1 x"]
        {
            assert_eq!(Line::decode(line), None, "{line:?}");
        }
        assert_eq!(Line::decode("caught\tmodel\tx\tt\tsoon\ts"), None);
    }

    #[test]
    fn how_a_process_ends_is_told() {
        let shell = |script: &str| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]);
            end(&mut shell, Duration::from_millis(300))
        };
        assert_eq!(shell("true"), End::Well);
        assert_eq!(shell("exit 3"), End::Badly);
        assert_eq!(shell("exec sleep 600"), End::Never);
    }

    #[test]
    fn a_variant_is_spelled_as_on_a_command_line() {
        assert_eq!(spelled("NoPublish"), "no-publish");
        assert_eq!(spelled("Peek"), "peek");
    }

    #[test]
    fn a_test_is_named_with_its_program() {
        assert!(test().ends_with("::tests::a_test_is_named_with_its_program"), "{}", test());
    }
}
