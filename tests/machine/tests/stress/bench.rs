//! The kernel's benchmark on the simulated machine, where an instruction is a step: every operation
//! does what it says, gives everything back, and breaks no rule.

use abi::CpuId;
use granule_machine::{Config, SimWorld};
use pte::Caps;
use stress::World;
use stress::bench::{self, Meter, Options, Outcome, Sharing, State, Verdict};

/// Steps of the machine, one count for all CPUs.
struct Steps<'a>(&'a SimWorld);

impl Meter for Steps<'_> {
    fn instructions(&self) -> Option<u64> {
        Some(self.0.now_ns())
    }

    fn instructions_since(&self, start: u64) -> Option<u64> {
        Some(self.0.now_ns() - start)
    }

    fn instructions_together(&self) -> Option<u64> {
        Some(self.0.now_ns())
    }

    fn interrupts_sent(&self, _: CpuId) -> u64 {
        0
    }

    fn run(&self, cpus: usize, body: &(dyn Fn(usize) + Sync)) -> usize {
        self.0.run(cpus, body, &mut || {})
    }
}

/// Measures the rows that `wanted` accepts, and everything is back afterwards.
fn measure(config: Config, cpus: usize, wanted: &dyn Fn(&str) -> bool) -> Vec<Outcome> {
    let world = SimWorld::new(config).with_kernel();
    let options = Options { cpus, rounds: Some(2), bytes: 4 << 20, profile: false };
    let mut outcomes = Vec::new();
    let mut each = |outcome| outcomes.push(outcome);
    let end = bench::run(&world, &Steps(&world), options, wanted, &mut |_| true, &mut each);
    assert!(end.is_ok(), "{:?}", end.map_err(|failure| failure.to_string()));
    assert_eq!(world.violation(), None);
    outcomes
}

#[test]
fn every_built_row_is_measured_and_leaves_nothing_behind() {
    for caps in [Caps::CORTEX_A72, Caps::MAX] {
        for row in bench::all::<SimWorld>().iter().filter(|row| row.op.is_some()) {
            // Alone, so that what is left behind is this row's.
            let config = Config { cpus: 1, caps, ..Config::default() };
            let outcomes = measure(config, 1, &|name| name == row.name);
            let [Outcome { state: State::Measured(measured), .. }] = outcomes[..] else {
                panic!("{}: {:?}", row.name, outcomes.first().map(|outcome| outcome.state));
            };
            assert!(measured.units > 0, "{}", row.name);
        }
    }
}

#[test]
fn several_cpus_do_it_apart_and_in_one_space() {
    let rows = bench::all::<SimWorld>();
    let shareable = |name: &str| {
        let row = rows.iter().find(|row| row.name == name);
        row.is_some_and(|row| row.op.is_some() && row.sharing == Sharing::Both)
    };
    let config = Config { cpus: 2, ..Config::default() };
    let outcomes = measure(config, 2, &|name| shareable(name) && !name.contains("bulk"));
    assert!(!outcomes.is_empty());
    for pair in outcomes.chunks(2) {
        let [apart, together] = pair else { panic!("a row without its pair") };
        assert_eq!((apart.name, apart.setting.shared), (together.name, false));
        assert!(together.setting.shared);
        for outcome in pair {
            assert!(outcome.growth().is_some(), "{}: {:?}", outcome.name, outcome.state);
            // Windows of several CPUs overlap in the one count: nothing is claimed about them.
            assert_eq!(outcome.instructions(), None);
        }
    }
}

#[test]
fn names_are_unique_and_bare_work_is_a_row() {
    let rows = bench::all::<SimWorld>();
    for (n, row) in rows.iter().enumerate() {
        assert!(rows[..n].iter().all(|other| other.name != row.name), "{} twice", row.name);
        if let Some(bare) = row.aim.and_then(|aim| aim.bare) {
            let found = rows.iter().find(|other| other.name == bare);
            assert!(found.is_some_and(|found| found.op.is_some()), "{}: no {bare}", row.name);
        }
        assert!(row.rounds >= 2 && row.rounds.is_multiple_of(2), "{}: two halves", row.name);
    }
}

#[test]
fn two_runs_print_the_same() {
    let print = || {
        let mut text = String::new();
        let config = Config { cpus: 1, ..Config::default() };
        for outcome in measure(config, 1, &|name| name.starts_with("munmap")) {
            bench::json(&mut text, &outcome).expect("writing to a string works");
        }
        text
    };
    assert_eq!(print(), print());
}

#[test]
fn a_line_for_tools_has_every_field_in_its_place() {
    let config = Config { cpus: 1, ..Config::default() };
    let outcomes = measure(config, 1, &|name| name == "munmap_1page");
    let mut line = String::new();
    bench::json(&mut line, &outcomes[0]).expect("writing to a string works");
    let mut rest = line.as_str();
    for field in [
        "{\"op\": \"munmap_1page\", \"per\": \"call\", \"instructions\": ",
        ", \"ns\": ",
        ", \"tlbi\": {\"vale1",
        "\": 1, \"vae1",
        "}, \"dsb\": ",
        ", \"ipi\": 0, ",
        "\"bytes_cleared\": 0, \"bytes_copied\": 0, ",
        ", \"cpus\": 1, ",
        ", \"linux\": 13654, \"aim\": 1200",
        "}\n",
    ] {
        let at = rest.find(field).unwrap_or_else(|| panic!("no {field:?} in {line}"));
        rest = &rest[at + field.len()..];
    }
    assert_eq!(rest, "");
}

#[test]
fn a_row_is_judged_by_its_aim_and_then_by_the_promise() {
    let config = Config { cpus: 1, ..Config::default() };
    let [mut outcome] = measure(config, 1, &|name| name == "munmap_1page")[..] else {
        panic!("one row was asked for");
    };
    let ours = outcome.instructions().expect("steps are counted");
    outcome.aim = Some(ours);
    let no_linux = Outcome { linux: None, ..outcome };
    assert_eq!(no_linux.verdict(), Verdict::Aim);
    outcome.aim = Some(bench::Figure::whole(0));
    let linux = |instructions| Some(bench::Linux { instructions, ns: 0 });
    outcome.linux = linux(ours.times(bench::PROMISE) + 1);
    assert_eq!(outcome.verdict(), Verdict::Promise);
    assert!(!outcome.breaks_promise());
    outcome.linux = linux(ours.times(bench::PROMISE) - 2);
    assert_eq!(outcome.verdict(), Verdict::Neither);
    assert!(outcome.breaks_promise());
    outcome.aim = Some(ours);
    assert_eq!(outcome.verdict(), Verdict::AimOnly);
    outcome.state = State::NotBuilt;
    assert_eq!(outcome.verdict(), Verdict::Open);
}
