//! The `fdt` crate beside our own walk: an oracle where it can be one, and the reason for the walk
//! where it cannot. Should a later version of the crate fail the second test, the walk can go.

mod common;

use common::{Builder, golden, golden_trees};
use fdt::Fdt;
use granule_board::{Board, Tree};

type Listing = Vec<(String, Vec<(String, Vec<u8>)>)>;

fn ours(dtb: &[u8]) -> Listing {
    let list = Tree::new(dtb).expect("a tree").nodes().map(|node| {
        let properties = node.properties().map(|p| (p.name.to_owned(), p.value.to_vec()));
        (node.name().to_owned(), properties.collect())
    });
    list.collect()
}

fn theirs(dtb: &[u8]) -> Listing {
    let fdt = Fdt::new(dtb).expect("a tree");
    let list = fdt.all_nodes().map(|node| {
        let properties = node.properties().map(|p| (p.name.to_owned(), p.value.to_vec()));
        (node.name.to_owned(), properties.collect())
    });
    list.collect()
}

#[test]
fn both_walks_read_the_same_where_no_nops_are() {
    for (name, dtb) in golden_trees() {
        if name != "raspi4b-qemu" {
            assert_eq!(ours(&dtb), theirs(&dtb), "{name}");
        }
    }
}

#[test]
fn the_crates_walk_ends_at_nops_and_ours_does_not() {
    let dtb = golden("raspi4b-qemu");
    let (ours, theirs) = (ours(&dtb), theirs(&dtb));
    assert!(theirs.len() < ours.len(), "{} nodes, {} nodes", theirs.len(), ours.len());
    assert_eq!(ours[..theirs.len()], theirs);
    assert!(ours.iter().any(|(name, _)| name == "scb"), "the node after the first NOPs");
}

#[test]
fn nops_anywhere_change_nothing() {
    let tree = |nop: fn(Builder) -> Builder| {
        let tree = nop(Builder::default());
        let tree = nop(tree.begin("").cells("#address-cells", &[2]));
        let tree = nop(nop(tree).cells("#size-cells", &[2]));
        let tree = nop(tree.text("model", "m").begin("memory@0").text("device_type", "memory"));
        let tree = nop(tree.numbers("reg", &[0, 0x8000_0000]));
        nop(nop(nop(tree.end()).begin("chosen")).text("bootargs", "x").end()).blob()
    };
    let (plain, noppy) = (tree(|tree| tree), tree(Builder::nop));
    assert_eq!(ours(&plain), ours(&noppy));
    let report = |dtb: &[u8]| Board::parse(dtb).expect("a board").to_string();
    assert_eq!(report(&plain), report(&noppy));
}
