//! The real board files, and how a choice is spelt.

use super::*;
use crate::workspace;

fn virt() -> Board {
    Board::load(&workspace::root(), "virt").unwrap()
}

fn choices(pairs: &[(&str, &str)]) -> Choices {
    pairs.iter().map(|(axis, value)| ((*axis).into(), (*value).into())).collect()
}

#[test]
fn every_board_file_is_readable_and_every_axis_has_a_default() {
    for board in Board::all(&workspace::root()).unwrap() {
        let picked = board.pick(&Choices::new()).unwrap();
        assert_eq!(picked.len(), board.axis.len());
        assert!(picked.values().all(|value| !value.is_empty()), "{}", board.name);
    }
}

#[test]
fn a_choice_reaches_the_command_line_in_its_own_spelling() {
    let board = virt();
    let picked = board.pick(&choices(&[("el", "2"), ("gic", "2"), ("linear", "4k")])).unwrap();
    let machine = board.spell(&picked, Place::Machine);
    assert!(machine.contains(&"virtualization=on".into()), "{machine:?}");
    assert!(machine.contains(&"gic-version=2".into()), "{machine:?}");
    assert_eq!(board.spell(&picked, Place::Append), ["linear=4k"]);
}

#[test]
fn a_value_spelt_empty_is_left_out() {
    let board = virt();
    let picked = board.pick(&Choices::new()).unwrap();
    assert_eq!(board.spell(&picked, Place::Append), [""; 0]);
}

#[test]
fn an_open_axis_takes_what_the_tests_do_not_cover() {
    assert_eq!(virt().pick(&choices(&[("cpus", "7")])).unwrap()["cpus"], "7");
}

#[test]
fn a_closed_axis_and_an_unknown_one_are_refused_with_what_may_be() {
    let refused = virt().pick(&choices(&[("gic", "5")]));
    assert!(matches!(refused, Err(Trouble::NoValue { values, .. }) if values == ["3", "2"]));
    let refused = virt().pick(&choices(&[("flavour", "sweet")]));
    assert!(matches!(refused, Err(Trouble::NoAxis { axis, .. }) if axis == "flavour"));
}

#[test]
fn an_unknown_board_is_told_the_known_ones() {
    let refused = Board::load(&workspace::root(), "vitr");
    assert!(matches!(refused, Err(Trouble::NoBoard(_, names)) if names.contains(&"virt".into())));
}

#[test]
fn nodes_share_the_memory() {
    let board = virt();
    let args = |pairs: &[(&str, &str)]| {
        board.spell(&board.pick(&choices(pairs)).unwrap(), Place::Arg).join(" ")
    };
    assert!(!args(&[]).contains("numa"), "one node is what QEMU makes by itself");
    let two = args(&[("nodes", "2"), ("mem", "1G")]);
    for node in ["0", "1"] {
        let memory = format!("-object memory-backend-ram,id=node{node},size=512M");
        assert!(two.contains(&memory), "{two}");
        assert!(two.contains(&format!("-numa node,nodeid={node},memdev=node{node}")), "{two}");
    }
    assert!(args(&[("nodes", "2"), ("mem", "256")]).contains("size=128M"), "MiB without a unit");
}
