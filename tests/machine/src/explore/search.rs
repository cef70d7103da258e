//! Runs a scenario under one schedule after the other, until it fails.

use super::exhaustive::{Exhaustive, Tree};
use super::{Record, Schedule, Strategy, lanes, picture, shrink};
use crate::{Config, SimWorld, Told, Violation};
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use stress::World;

/// The variable that names a search and the one schedule it is to run, as a failure prints it.
const REPLAY: &str = "GRANULE_REPLAY";

/// Which schedules are tried.
#[derive(Clone, Debug)]
pub enum Search {
    /// One by dice for each seed.
    Random(Range<u64>),
    /// One by priorities for each seed. How long a run is, the first says.
    Pct {
        /// The seeds.
        seeds: Range<u64>,
        /// How many things in an order the bug is thought to need: changes of priority, and one.
        depth: u32,
    },
    /// Every one within these bounds.
    Exhaustive {
        /// How often CPUs are interrupted that could have gone on.
        preemptions: u32,
        /// How often something special happens.
        outcomes: u32,
    },
}

/// What one run showed.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was wrong.
    pub verdict: Option<Found>,
    /// Every decision that was not dull.
    pub record: Record,
    /// Steps of all CPUs.
    pub steps: u64,
    /// Moments at which another CPU could have been asked to run.
    pub turns: u64,
    /// The last events, whatever they have to do with it.
    pub history: Vec<Told>,
}

/// Something wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// The machine saw a rule broken.
    Broken(Violation),
    /// The scenario did not end as it should.
    Unlike(String),
}

impl Found {
    /// What is wrong, in words.
    pub fn what(&self) -> &str {
        match self {
            Self::Broken(violation) => &violation.what,
            Self::Unlike(what) => what,
        }
    }

    /// The words without what differs from run to run: numbers, and what they are said of.
    pub fn rule(&self) -> String {
        let what = self.what();
        let end = [" while ", " with "].iter().filter_map(|cut| what.find(cut)).min();
        let fixed = |word: &&str| !word.contains(|c: char| c.is_ascii_digit());
        let words = what[..end.unwrap_or(what.len())].split_whitespace().filter(fixed);
        words.collect::<Vec<_>>().join(" ")
    }
}

/// A failure, as it was found and as short as it could be made.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The search's name.
    pub name: String,
    /// What found it.
    pub schedule: Schedule,
    /// That run.
    pub found: Run,
    /// The shortest that breaks the same rule.
    pub shortest: Run,
    /// How many runs before that were silent.
    pub silent: u64,
}

impl Failure {
    /// What goes into the variable to see the shortest run again.
    pub fn replay(&self) -> String {
        format!("{}={}", self.name, Schedule::Exact(self.shortest.record.clone()))
    }

    /// The shortest run as a picture.
    pub fn picture(&self) -> String {
        picture::draw(&self.name, &self.shortest)
    }

    /// Writes it into the target directory's folder `explorer`. Says where.
    pub fn draw(&self) -> std::io::Result<PathBuf> {
        // The running test lies in `target/PROFILE/deps`.
        let here = std::env::current_exe()?;
        let folder = here.ancestors().nth(3).unwrap_or(&here).join("explorer");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.svg", self.name));
        std::fs::write(&path, self.picture())?;
        Ok(path)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, schedule, found, shortest, silent } = self;
        writeln!(f, "{name} fails after {silent} silent runs")?;
        write!(f, "{}", lanes::Lanes(shortest))?;
        let (many, few) = (found.record.decisions().len(), shortest.record.decisions().len());
        writeln!(f, "{few} decisions, of {many} when it was found.")?;
        match self.draw() {
            Ok(path) => writeln!(f, "Picture: {}", path.display())?,
            Err(error) => writeln!(f, "No picture: {error}")?,
        }
        if !matches!(schedule, Schedule::Exact(_)) {
            writeln!(f, "As it was found: {REPLAY}='{name}={schedule}'")?;
        }
        write!(f, "Again: {REPLAY}='{}'", self.replay())
    }
}

/// A scenario, to be run under many schedules.
pub struct Explorer<'a> {
    /// What it is called: a word.
    pub name: &'a str,
    /// The machine that it runs on; the seed does not count.
    pub config: Config,
    /// What happens there. Says what is wrong, besides what the machine sees.
    pub scenario: &'a dyn Fn(&SimWorld) -> Option<String>,
}

impl Explorer<'_> {
    /// Runs the scenario once.
    pub fn run(&self, schedule: &Schedule) -> Run {
        self.run_by(schedule.strategy(self.config.cpus))
    }

    fn run_by(&self, strategy: Box<dyn Strategy>) -> Run {
        let world = SimWorld::deciding(self.config, strategy);
        let own = catch_unwind(AssertUnwindSafe(|| (self.scenario)(&world)))
            .unwrap_or_else(|_| Some("the scenario panics".into()));
        let verdict = world.violation().map(Found::Broken).or(own.map(Found::Unlike));
        let hw = &world.mm().hw;
        Run {
            verdict,
            record: hw.record(),
            steps: hw.steps(),
            turns: hw.turns(),
            history: hw.history(),
        }
    }

    /// Runs the scenario under one schedule after the other. `Ok`: it never failed, in so many runs.
    pub fn explore(&self, search: &Search) -> Result<u64, Box<Failure>> {
        if let Some(schedule) = asked_for(self.name) {
            let run = self.run(&schedule);
            return match run.verdict {
                Some(_) => Err(Box::new(self.failure(schedule, run, 0))),
                None => Ok(1),
            };
        }
        match search {
            Search::Random(seeds) => self.each(seeds.clone().map(|seed| Schedule::Random { seed })),
            Search::Pct { seeds, depth } => {
                let length = self.run(&Schedule::Exact(Record::default())).turns;
                let one = |seed| Schedule::Pct { seed, depth: *depth, length };
                self.each(seeds.clone().map(one))
            }
            Search::Exhaustive { preemptions, outcomes } => {
                self.all(Tree::new(*preemptions, *outcomes))
            }
        }
    }

    fn each(&self, schedules: impl Iterator<Item = Schedule>) -> Result<u64, Box<Failure>> {
        let mut silent = 0;
        for schedule in schedules {
            let run = self.run(&schedule);
            if run.verdict.is_some() {
                return Err(Box::new(self.failure(schedule, run, silent)));
            }
            silent += 1;
        }
        Ok(silent)
    }

    fn all(&self, tree: Tree) -> Result<u64, Box<Failure>> {
        let tree = Arc::new(Mutex::new(tree));
        let mut silent = 0;
        while tree.lock().unwrap_or_else(PoisonError::into_inner).advance() {
            let run = self.run_by(Box::new(Exhaustive(tree.clone())));
            if run.verdict.is_some() {
                let schedule = Schedule::Exact(run.record.clone());
                return Err(Box::new(self.failure(schedule, run, silent)));
            }
            silent += 1;
        }
        Ok(silent)
    }

    fn failure(&self, schedule: Schedule, found: Run, silent: u64) -> Failure {
        let shortest = shrink::shrink(self, &found);
        Failure { name: self.name.into(), schedule, found, shortest, silent }
    }
}

/// The schedule that somebody wants to see again, if it is one of `name`.
fn asked_for(name: &str) -> Option<Schedule> {
    let text = std::env::var(REPLAY).ok()?;
    let (whose, schedule) = text.split_once('=')?;
    (whose.trim() == name).then(|| match schedule.parse() {
        Ok(schedule) => schedule,
        Err(error) => panic!("{REPLAY}: {error}"),
    })
}
