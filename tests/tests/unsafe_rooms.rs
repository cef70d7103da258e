//! `unsafe` is confined: to the rooms that touch the machine, and to named files where a lock or a
//! frame is made sound. A file that joins the list is a decision, made here in sight of all.

use granule_tests::house::{self, Source};

/// Rooms that talk to hardware.
const ROOMS: &[&str] = &["arch", "drivers"];

/// Files of other rooms, and what only they do.
const FILES: &[(&str, &str, &str)] = &[
    ("sync", "arc.rs", "shared ownership is made sound here"),
    ("sync", "mutex.rs", "a lock is where shared mutability is made sound"),
    ("sync", "range_lock.rs", "a lock is where shared mutability is made sound"),
    ("sync", "range_lock/writer.rs", "the one place that changes what a range lock guards"),
    ("sched", "port.rs", "the contract of a context switch cannot be a type"),
    ("sched", "scheduler.rs", "the one place that switches"),
    ("sched", "native.rs", "the switch itself, on the real CPU"),
    ("sched", "cross_call.rs", "lends a closure to CPUs that are waited for"),
    ("sched", "scope.rs", "lends a closure to threads that are joined"),
    ("sched", "tests/host.rs", "an engine of host threads fulfils the switch's contract"),
    ("sched", "tests/recorder.rs", "an engine that only records fulfils it too"),
    ("mm", "frame/page.rs", "checks, when compiled, that a blank descriptor is all zeros"),
    ("kernel", "boot.rs", "the entry by name; the console's driver trusts the tree's address"),
    ("kernel", "cpus.rs", "the entry by name; a spin table's word is the tree's promise"),
    ("kernel", "interrupts.rs", "the drivers' constructors trust the board's addresses"),
    ("kernel", "power.rs", "the watchdog's driver trusts the board's address"),
    ("kernel", "sanitizer.rs", "memory set aside at boot becomes shadows"),
    ("kernel", "heap.rs", "a global allocator is an unsafe trait"),
    ("kernel", "memory.rs", "early memory is handed over before an allocator owns it"),
    ("kernel", "threads.rs", "a thread's space is a word to the scheduler"),
    ("kernel", "world.rs", "lends a job to a thread that is joined"),
    ("kernel", "litmus/seat.rs", "runs instructions that are data"),
    ("kernel", "commands/crash.rs", "dies on purpose"),
];

/// Rooms whose front page forbids it outright, so that the compiler says no as well.
const FORBIDDEN: &[&str] = &["abi", "pte", "oracle", "litmus", "shell", "stress", "board"];

fn permitted(source: &Source) -> bool {
    let file = FILES.iter().any(|(room, path, _)| *room == source.room && *path == source.path);
    file || ROOMS.contains(&&*source.room)
}

fn outside(sources: &[Source]) -> Vec<String> {
    sources.iter().filter(|source| !permitted(source)).flat_map(|s| s.uses_of("unsafe")).collect()
}

#[test]
fn unsafe_stays_in_its_rooms() {
    let found = outside(&house::sources(&house::root()).unwrap());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn rooms_without_it_forbid_it() {
    let sources = house::sources(&house::root()).unwrap();
    for room in FORBIDDEN {
        let front = sources.iter().find(|s| s.room == *room && s.path == "lib.rs");
        let front = front.unwrap_or_else(|| panic!("{room} has no front page"));
        assert!(front.code.contains("#![forbid(unsafe_code)]"), "{room}/lib.rs does not forbid it");
    }
}

#[test]
fn every_permitted_file_exists_and_needs_its_permission() {
    let sources = house::sources(&house::root()).unwrap();
    for (room, path, _) in FILES {
        let file = sources.iter().find(|s| s.room == *room && s.path == *path);
        let uses = file.map(|file| file.uses_of("unsafe").len());
        assert!(uses > Some(0), "{room}/{path} needs no permission: take it off the list");
    }
}

// The check is checked.

#[test]
fn it_is_caught_in_mm_and_let_pass_in_arch() {
    let code = "fn f() { unsafe { g() } }";
    assert_eq!(outside(&[Source::new("mm", "f.rs", code)]), ["mm/f.rs:1: unsafe"]);
    assert_eq!(outside(&[Source::new("arch", "f.rs", code)]), [""; 0]);
    assert_eq!(outside(&[Source::new("sync", "other.rs", code)]).len(), 1);
}

#[test]
fn the_lint_that_forbids_it_and_prose_about_it_are_no_uses() {
    let code = "#![forbid(unsafe_code)]\n// unsafe\n/// unsafe\nfn f() {}";
    assert_eq!(outside(&[Source::new("mm", "lib.rs", code)]), [""; 0]);
}
