//! A room uses only rooms above it, and holds only what its kind may hold.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use granule_tests::house::{self, Room, Source};
use std::fs;

/// A word, and the rooms that must not contain it, with the reason.
struct Ban {
    word: &'static str,
    rooms: &'static [&'static str],
    because: &'static str,
}

/// Rooms that are the same on every machine.
const PORTABLE: &[&str] =
    &["abi", "pte", "oracle", "litmus", "mm", "smmu", "board", "shell", "stress", "parity"];
/// Everything but the home of assembly.
const NOT_ARCH: &[&str] = &[
    "abi", "pte", "sync", "oracle", "litmus", "mm", "smmu", "sched", "drivers", "board", "shell",
    "stress", "parity", "kernel",
];
/// The memory manager and its client.
const MM: &[&str] = &["mm", "smmu"];

const BANS: &[Ban] = &[
    Ban { word: "asm!", rooms: NOT_ARCH, because: "assembly lives in arch" },
    Ban { word: "global_asm!", rooms: NOT_ARCH, because: "assembly lives in arch" },
    Ban { word: "naked_asm!", rooms: NOT_ARCH, because: "assembly lives in arch" },
    Ban { word: "target_arch", rooms: PORTABLE, because: "the machine is a trait, not a cfg" },
    Ban { word: "read_volatile", rooms: PORTABLE, because: "device memory belongs to drivers" },
    Ban { word: "write_volatile", rooms: PORTABLE, because: "device memory belongs to drivers" },
    Ban { word: "raspi4b", rooms: MM, because: "no board is known by name here" },
    Ban { word: "bcm2711", rooms: MM, because: "no board is known by name here" },
    Ban {
        word: "spin_loop",
        rooms: &house::ORDER,
        because: "it is isb on aarch64, at which single-threaded emulation never hands over",
    },
];

/// Files that may all the same, and why.
const EXCEPTIONS: &[(&str, &str, &str, &str)] = &[
    ("asm!", "drivers", "mmio.rs", "device accesses need barriers of their own kind"),
    ("asm!", "drivers", "gic/icc.rs", "GICv3's CPU interface is a set of system registers"),
];

fn excepted(ban: &Ban, source: &Source) -> bool {
    let same = |(word, room, path, _): &(&str, &str, &str, &str)| {
        *word == ban.word && *room == source.room && *path == source.path
    };
    EXCEPTIONS.iter().any(same)
}

fn violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for ban in BANS {
        let bound = |source: &&Source| ban.rooms.contains(&&*source.room) && !excepted(ban, source);
        for source in sources.iter().filter(bound) {
            found
                .extend(source.uses_of(ban.word).iter().map(|at| format!("{at}: {}", ban.because)));
        }
    }
    found
}

fn rooms() -> Vec<Room> {
    let read = |path| Room::read(&fs::read_to_string(path).unwrap()).unwrap();
    house::manifests(&house::root()).unwrap().iter().map(read).collect()
}

#[test]
fn no_room_reaches_down() {
    let rooms = rooms();
    assert!(rooms.iter().any(|room| room.name == "kernel" && room.uses.contains(&"mm".into())));
    let wrong: Vec<String> = rooms.iter().flat_map(Room::reaches).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_kernel_crate_has_its_place_in_the_order() {
    let outside = ["machine", "weak", "evidence", "tests", "xtask", "stillclock", "hotspots"];
    for room in rooms() {
        let known = house::ORDER.contains(&&*room.name) || outside.contains(&&*room.name);
        assert!(known, "{} has no place in house::ORDER", room.name);
    }
}

#[test]
fn no_room_holds_what_it_may_not() {
    let sources = house::sources(&house::root()).unwrap();
    assert!(sources.iter().any(|source| source.room == "mm"), "no sources were read");
    let found = violations(&sources);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_exception_is_still_needed() {
    let sources = house::sources(&house::root()).unwrap();
    for (word, room, path, _) in EXCEPTIONS {
        let file = sources.iter().find(|s| s.room == *room && s.path == *path);
        let uses = file.map(|file| file.uses_of(word).len());
        assert!(uses > Some(0), "{room}/{path} has no {word}: take it off the list");
    }
}

// The checks are checked: each kind of violation, made here, is found.

fn room(manifest: &str) -> Vec<String> {
    Room::read(manifest).unwrap().reaches()
}

#[test]
fn an_upward_call_is_caught() {
    let wrong = room("[package]\nname = 'granule-pte'\n[dependencies]\nmm.workspace = true\n");
    assert_eq!(wrong, ["pte uses, further down, mm"]);
}

#[test]
fn a_renamed_or_target_specific_dependency_hides_nothing() {
    let renamed = "[package]\nname = 'granule-abi'\n[dependencies]\n\
                   x = { package = 'granule-sync', path = '..' }\n";
    assert_eq!(room(renamed), ["abi uses, further down, sync"]);
    let target = "[package]\nname = 'granule-mm'\n\
                  [target.'cfg(unix)'.dependencies]\narch.workspace = true\n";
    assert_eq!(room(target), ["mm uses, further down, arch"]);
    let tests = "[package]\nname = 'granule-mm'\n[dev-dependencies]\nstress.workspace = true\n";
    assert_eq!(room(tests), ["mm tests with stress"]);
}

#[test]
fn a_room_that_knows_the_cpu_or_needs_the_host_is_caught() {
    let shell = "[package]\nname = 'granule-shell'\n[dependencies]\narch.workspace = true\n";
    assert_eq!(room(shell), ["shell need not know arch"]);
    let mm = "[package]\nname = 'granule-mm'\n[dependencies]\nmachine.workspace = true\n";
    assert_eq!(room(mm), ["mm uses the host's machine"]);
}

#[test]
fn a_dependency_upwards_is_fine() {
    let mm = "[package]\nname = 'granule-mm'\n[dependencies]\npte.workspace = true\n\
              [dev-dependencies]\nmachine.workspace = true\nproptest.workspace = true\n";
    assert_eq!(room(mm), [""; 0]);
}

#[test]
fn every_ban_catches_its_word_in_code_and_not_in_prose() {
    for ban in BANS {
        for room in ban.rooms {
            let code = format!("fn f() {{ {} }}\n", ban.word);
            assert_eq!(violations(&[Source::new(room, "f.rs", &code)]).len(), 1, "{}", ban.word);
            let prose = format!("// {}\nconst X: &str = \"{}\";\n", ban.word, ban.word);
            assert_eq!(violations(&[Source::new(room, "f.rs", &prose)]), [""; 0]);
        }
    }
}
