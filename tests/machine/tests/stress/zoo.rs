//! What the zoo tells is true of this source: every bug has a workload, and every story its place.

use granule_machine::SimWorld;
use mm::mutant::Mutant;
use std::path::Path;
use stress::{workloads, zoo};

#[test]
fn every_bug_lives_in_a_workload() {
    let names = workloads::all::<SimWorld>().map(|workload| workload.name);
    for &mutant in Mutant::ALL {
        let habitat = zoo::habitat(mutant);
        assert!(names.contains(&habitat), "{}: {habitat} is no workload", mutant.name());
        assert_eq!(zoo::find(mutant.name()), Some(mutant));
        let said = zoo::headline(mutant);
        assert!(!said.is_empty(), "{}: nothing is said of it", mutant.name());
        assert_eq!(said.matches('(').count(), said.matches(')').count(), "{said}");
    }
    assert_eq!(zoo::find(""), None);
}

#[test]
fn no_story_is_told_twice() {
    for exhibit in zoo::exhibits() {
        let told = zoo::exhibits().filter(|other| other.mutant == exhibit.mutant).count();
        assert_eq!(told, 1, "{}", exhibit.mutant.name());
    }
}

/// The function that prevents a bug is where the story says, and asks for the bug.
#[test]
fn every_story_names_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for zoo::Exhibit { mutant, place, .. } in zoo::exhibits() {
        let text = std::fs::read_to_string(root.join(place.file)).expect(place.file);
        let head = format!("fn {}(", place.function);
        let (_, rest) = text.split_once(&head).unwrap_or_else(|| panic!("{place:?}"));
        let body = rest.split("\n    fn ").next().expect("the function");
        let asks = format!("commits(Mutant::{mutant:?})");
        assert!(body.contains(&asks), "{place:?} does not ask for {mutant:?}");
    }
}

/// What waits has a name that no bug has yet: once it has one, it waits no more.
#[test]
fn nothing_waits_that_is_here() {
    for (n, waiting) in zoo::WAITING.iter().enumerate() {
        assert_eq!(zoo::find(waiting.name), None, "{}", waiting.name);
        let twins = zoo::WAITING[..n].iter().any(|other| other.name == waiting.name);
        assert!(!twins, "{} waits twice", waiting.name);
    }
}

/// Each step is somebody's, everybody has a step, and nothing is wider than a terminal.
#[test]
fn stories_fit_the_terminal() {
    let fits = |name: &str, lanes: &[&str], steps: &[zoo::Step], text: String| {
        for lane in 0..lanes.len() {
            assert!(steps.iter().any(|&(by, _)| by == lane), "{name}: lane {lane} is idle");
        }
        assert!(steps.iter().all(|&(by, _)| by < lanes.len()), "{name}");
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{name}: too wide: {line}");
        }
    };
    for exhibit in zoo::exhibits() {
        fits(exhibit.mutant.name(), exhibit.lanes, exhibit.steps, exhibit.to_string());
    }
    for waiting in zoo::WAITING {
        fits(waiting.name, waiting.lanes, waiting.steps, waiting.to_string());
    }
}
