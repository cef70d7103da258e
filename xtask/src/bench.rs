//! `make bench`: what the memory manager's operations cost, measured where instructions are exact,
//! and whether that is as good as promised.
//!
//! The kernel measures and prints (`bench … json` at its prompt); here the machine is started that
//! Linux was measured on, the figures are kept for tools, and the promise is judged.

use crate::{
    board::{Board, Choices},
    image::{self, Image},
    launch::{Launch, Serial},
    profile,
    session::{self, Outcome},
    trouble::{Result, Trouble},
    workspace,
};
use clap::Args;
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};

/// One instruction is one nanosecond of virtual time, and idle time is skipped.
pub(crate) const EXACT: [&str; 2] = ["-icount", "shift=0,sleep=off"];
/// How many times fewer instructions than Linux are promised.
const PROMISE: f64 = 3.0;
/// Whose rows are to be had by numbers of CPUs; which of them; and up to how many CPUs.
const SERIES: [&str; 2] = ["vmalloc", "test_vmalloc"];
const SERIES_CPUS: &str = "4";
/// Room for a gibibyte in use and the tables for it.
const MEMORY: &str = "8G";
/// All rows take half a minute with one CPU, and a few times that with many.
const LIMIT: Duration = Duration::from_secs(1200);

/// What may be chosen, by option or by the Makefile's variables.
#[derive(Args, Clone)]
pub(crate) struct Pick {
    /// Only this operation, or those whose names contain this
    #[arg(long, env = "ONLY")]
    only: Option<String>,
    /// How many CPUs do it at the same time
    #[arg(long, env = "CPUS")]
    cpus: Option<String>,
    /// CPU model; Linux's figures are of the default, cortex-a72
    #[arg(long, env = "CPU")]
    cpu: Option<String>,
    /// Rounds of each operation instead of its own number
    #[arg(long, env = "RUNS")]
    runs: Option<String>,
    /// Where the instructions of the chosen operation are executed, function by function
    #[arg(long, env = "PROFILE")]
    profile: Option<String>,
}

/// What a line of the kernel's says, as far as it is judged here.
#[derive(Deserialize)]
struct Row {
    op: String,
    instructions: Option<f64>,
    linux: Option<f64>,
    excuse: Option<String>,
    failed: Option<String>,
    unsteady: Option<[f64; 2]>,
}

impl Pick {
    /// A variable that was given and says something.
    fn given(value: &Option<String>) -> Option<&str> {
        value.as_deref().filter(|value| !value.is_empty())
    }

    /// Whether some of it is to be had by numbers of CPUs.
    fn is_series(&self) -> bool {
        Self::given(&self.only).is_some_and(|only| SERIES.contains(&only))
    }

    /// The same by one CPU, two and four at the same time: no instruction is counted there, but time is time.
    fn launch_in_parallel(&self) -> Result<Launch> {
        let cpus = Some(Self::given(&self.cpus).unwrap_or(SERIES_CPUS).into());
        let [_, only] = SERIES.map(String::from);
        let mut launch = Self { only: Some(only), cpus, ..self.clone() }.launch()?;
        launch.args.clear();
        Ok(launch)
    }

    /// The machine, and what it is to do.
    fn launch(&self) -> Result<Launch> {
        let mut choices = Choices::from([("mem".into(), MEMORY.into())]);
        choices.insert("cpus".into(), Self::given(&self.cpus).unwrap_or("1").into());
        if let Some(cpu) = Self::given(&self.cpu) {
            choices.insert("cpu".into(), cpu.into());
        }
        let mut launch = Launch::new(Board::load(&workspace::root(), "virt")?, &choices)?;
        launch.args = EXACT.map(String::from).to_vec();
        let mut run = format!("bench {}", Self::given(&self.only).unwrap_or_default());
        run += &format!(" cpus={}", Self::given(&self.cpus).unwrap_or("1"));
        if let Some(runs) = Self::given(&self.runs) {
            run += &format!(" runs={runs}");
        }
        launch.run = Some(run + " json");
        Ok(launch)
    }
}

/// Measures, prints the tables, keeps the figures; whether every row keeps the promise.
pub(crate) fn bench(pick: &Pick) -> Result<bool> {
    let mut launch = pick.launch()?;
    let image = Image::build()?;
    eprintln!("{}: {}; this takes a while", launch.board.title, launch.summary());
    if Pick::given(&pick.profile).is_some() {
        return profile::profile(&mut launch, &image);
    }
    let outcome = play(&launch, &image)?;
    let text = String::from_utf8_lossy(&outcome.output);
    let (lines, rest) = sort(&text);
    println!("{rest}");
    if outcome.status != Some(0) && lines.is_empty() {
        eprintln!("the machine failed; replay: {}", launch.replay());
        return Ok(false);
    }
    if pick.is_series() {
        in_parallel(&pick.launch_in_parallel()?, &image)?;
    }
    let file = keep(&lines)?;
    let against = complaints(&lines)?;
    for complaint in &against {
        println!("{complaint}");
    }
    println!("{} rows, of which {} fail; {}", lines.len(), against.len(), file.display());
    Ok(against.is_empty() && outcome.status == Some(0))
}

/// What takes how long on CPUs that run at the same time: shown, and not judged.
fn in_parallel(launch: &Launch, image: &Image) -> Result<()> {
    eprintln!("{}: {}; now in parallel", launch.board.title, launch.summary());
    let outcome = play(launch, image)?;
    println!("\n{}", sort(&String::from_utf8_lossy(&outcome.output)).1);
    Ok(())
}

/// One run to its end.
pub(crate) fn play(launch: &Launch, image: &Image) -> Result<Outcome> {
    let outcome = session::play(&mut launch.command(&image.flat, Serial::Program)?, &[], LIMIT)?;
    if !outcome.complaints.is_empty() {
        eprint!("{}", outcome.complaints);
    }
    Ok(outcome)
}

/// The lines for tools; and what came after them, which is for people. Without any, everything.
fn sort(text: &str) -> (Vec<&str>, String) {
    let all: Vec<_> = text.lines().map(str::trim_end).collect();
    let lines: Vec<_> = all.iter().copied().filter(|line| line.starts_with("{\"op\"")).collect();
    let first = all.iter().rposition(|line| line.starts_with("{\"op\"")).map_or(0, |at| at + 1);
    (lines, all[first..].join("\n"))
}

/// Keeps the figures as one JSON array, an object a line.
fn keep(lines: &[&str]) -> Result<PathBuf> {
    let file = workspace::out_dir().join("bench.json");
    image::write_if_changed(&file, format!("[\n{}\n]\n", lines.join(",\n")).as_bytes())?;
    Ok(file)
}

/// What speaks against each row that does not keep the promise, or could not be measured.
fn complaints(lines: &[&str]) -> Result<Vec<String>> {
    let mut against = Vec::new();
    for line in lines {
        let row: Row = serde_json::from_str(line)
            .map_err(|why| Trouble::Failed(format!("reading {line:?} ({why})")))?;
        against.extend(row.complaint().map(|why| format!("{}: {why}", row.op)));
    }
    Ok(against)
}

impl Row {
    fn complaint(&self) -> Option<String> {
        if let Some(why) = &self.failed {
            return Some(why.clone());
        }
        if let Some([first, second]) = self.unsteady {
            return Some(format!("not steady: {first} in one half, {second} in the other"));
        }
        let (ours, linux) = (self.instructions?, self.linux?);
        let worse = ours * PROMISE > linux && self.excuse.is_none();
        worse.then(|| format!("{ours:.0} is {:.2} times fewer than {linux}", linux / ours))
    }
}

/// A path as an argument of a QEMU option that is itself a list: commas are doubled.
pub(crate) fn quoted(path: &std::path::Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"op": "a", "instructions": 10, "linux": 40}"#;

    #[test]
    fn lines_for_tools_are_taken_out() {
        let text = format!("boot\r\n{GOOD}\r\n{GOOD}\r\nTable\r\n  a 10\r\n");
        let (lines, rest) = sort(&text);
        assert_eq!(lines, [GOOD, GOOD]);
        assert_eq!(rest, "Table\n  a 10");
    }

    #[test]
    fn an_output_without_figures_is_shown_whole() {
        assert_eq!(sort("boot\npanic\n"), (vec![], "boot\npanic".into()));
    }

    #[test]
    fn a_row_that_breaks_the_promise_fails_unless_it_is_excused() {
        let bad = r#"{"op": "b", "instructions": 20, "linux": 40}"#;
        let excused = r#"{"op": "c", "instructions": 20, "linux": 40, "excuse": "x"}"#;
        let missing = r#"{"op": "d", "linux": 40, "missing": "not built yet"}"#;
        let failed = r#"{"op": "e", "failed": "out of memory"}"#;
        let unsteady = r#"{"op": "f", "instructions": 1, "unsteady": [1, 2]}"#;
        let against = complaints(&[GOOD, bad, excused, missing, failed, unsteady]).unwrap();
        let rows: Vec<_> = against.iter().map(|why| &why[..1]).collect();
        assert_eq!(rows, ["b", "e", "f"], "{against:?}");
    }

    #[test]
    fn a_line_that_is_no_json_is_named() {
        assert!(complaints(&["{\"op\""]).is_err());
    }

    #[test]
    fn instructions_are_counted_on_one_cpu_and_time_on_four() {
        let only = Some("vmalloc".into());
        let pick = Pick { only, cpus: None, cpu: None, runs: None, profile: None };
        let (exact, parallel) = (pick.launch().unwrap(), pick.launch_in_parallel().unwrap());
        assert!(pick.is_series());
        assert_eq!((&*exact.choices["cpus"], &*parallel.choices["cpus"]), ("1", "4"));
        assert_eq!(exact.args, EXACT);
        assert_eq!(exact.run.as_deref(), Some("bench vmalloc cpus=1 json"));
        assert!(parallel.args.is_empty());
        assert_eq!(parallel.run.as_deref(), Some("bench test_vmalloc cpus=4 json"));
    }

    #[test]
    fn the_machine_is_the_one_that_linux_ran_on() {
        let pick =
            Pick { only: Some("munmap".into()), cpus: None, cpu: None, runs: None, profile: None };
        let launch = pick.launch().unwrap();
        assert_eq!(launch.run.as_deref(), Some("bench munmap cpus=1 json"));
        assert_eq!(launch.choices["cpu"], "cortex-a72");
        assert_eq!(launch.args, EXACT);
    }
}
