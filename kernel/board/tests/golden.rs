//! What we make of the trees of real machines, against texts that a person has read.
//!
//! `BLESS=1 cargo test -p granule-board` writes the texts anew; `tests/golden/dt/generate.sh` makes
//! the trees.

mod common;

use board::{Board, Detail, EnableMethod, Gic, Tree, UartKind};
use common::{Builder, golden, golden_dir, golden_trees};
use granule_board as board;

fn compare(file: &str, found: &str) {
    let path = golden_dir().join(file);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, found).expect("a writable golden text");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{file} differs; BLESS=1 accepts it");
}

#[test]
fn boards_read_as_their_golden_texts() {
    for (name, dtb) in golden_trees() {
        let board = Board::parse(&dtb).unwrap_or_else(|error| panic!("{name}: {error}"));
        compare(&format!("{name}.txt"), &board.to_string());
    }
}

#[test]
fn trees_print_as_their_golden_texts() {
    let dump = |name: &str, filter, detail| {
        let dtb = golden(name);
        let mut out = String::new();
        let selected = Tree::new(&dtb).expect("a tree").dump(&mut out, filter, detail);
        (selected.expect("a string takes all"), out)
    };
    let (selected, whole) = dump("rpi4", "", Detail::Properties);
    assert_eq!(selected, 1);
    compare("rpi4.dump.txt", &whole);
    let (selected, names) = dump("virt-smmuv3", "", Detail::Names);
    assert_eq!(selected, 1);
    compare("virt-smmuv3.names.txt", &names);
    let (selected, uarts) = dump("rpi4", "serial@", Detail::Names);
    assert_eq!(selected, 3);
    let wanted = "/soc/serial@7e201000\n  bluetooth\n/soc/serial@7e201400\n/soc/serial@7e215040\n";
    assert_eq!(uarts, wanted);
    assert_eq!(dump("rpi4", "/cpus/l2-cache0/", Detail::Names).1, "/cpus/l2-cache0\n");
    assert_eq!(dump("rpi4", "arm,gic-400", Detail::Names).0, 1);
    assert_eq!(dump("rpi4", "/nothing", Detail::Properties), (0, String::new()));
}

/// The firmware of a board writes that board's number into its tree. No emulator has one to write.
#[test]
fn only_a_board_that_exists_has_a_number() {
    for (name, dtb) in golden_trees().into_iter().filter(|(name, _)| name != "rpi4") {
        let board = Board::parse(&dtb).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&*board.serial_number, "", "{name}");
    }
    let tree =
        Builder::default().begin("").cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    let tree = tree.text("serial-number", "10000000abcdef01").begin("memory@0");
    let tree = tree.text("device_type", "memory").numbers("reg", &[0, 0x8000_0000]).end();
    let board = Board::parse(&tree.blob()).expect("a board");
    assert_eq!(&*board.serial_number, "10000000abcdef01");
}

/// The golden texts could be blessed without being read; these facts are the machines' manuals'.
#[test]
fn the_pi_is_where_its_manual_says() {
    let board = Board::parse(&golden("rpi4")).expect("the Pi's tree");
    let console = board.console().expect("a console");
    assert_eq!((console.kind, console.registers.start.0), (UartKind::MiniUart, 0xfe21_5040));
    assert_eq!(console.interrupt.expect("an interrupt").intid, 32 + 93);
    assert_eq!(board.stdout.and_then(|stdout| stdout.baud), Some(115_200));
    assert_eq!(board.uarts[0].registers.start.0, 0xfe20_1000);
    let Some(Gic::V2 { distributor, cpu_interface, .. }) = board.gic else { panic!("no GICv2") };
    assert_eq!((distributor.start.0, cpu_interface.start.0), (0xff84_1000, 0xff84_2000));
    assert_eq!(board.bcm2711.watchdog.expect("a watchdog").start.0, 0xfe10_0000);
    assert_eq!(board.bcm2711.mailbox.expect("a mailbox").start.0, 0xfe00_b880);
    assert_eq!(board.timer.expect("a timer").virt.intid, 27);
    let slots: Vec<_> = board.cpus.iter().map(|cpu| cpu.enable).collect();
    let slot = |at| EnableMethod::SpinTable { release_addr: abi::PhysAddr(at) };
    assert_eq!(slots, [slot(0xd8), slot(0xe0), slot(0xe8), slot(0xf0)]);
    assert_eq!(board.psci, None);
    assert!(board.is_compatible("brcm,bcm2711"));
}

#[test]
fn qemus_nops_hide_nothing_but_what_they_cover() {
    let on_qemu = Board::parse(&golden("raspi4b-qemu")).expect("QEMU's tree");
    let pi = Board::parse(&golden("rpi4")).expect("the Pi's tree");
    assert_eq!(&*on_qemu.uarts, &*pi.uarts);
    assert_eq!(&*on_qemu.cpus, &*pi.cpus);
    assert_eq!(on_qemu.bcm2711, pi.bcm2711);
    assert_eq!((&*on_qemu.bootargs, on_qemu.memory_bytes()), ("selftest", 960 << 20));
}

#[test]
fn no_golden_tree_leaves_a_warning() {
    for (name, dtb) in golden_trees() {
        let board = Board::parse(&dtb).expect("a board");
        // QEMU's 128 CPUs are more than the kernel's arrays hold: the one thing to be told.
        let expected = if name == "virt-gicv3-128cpu" { 64 } else { 0 };
        assert_eq!(board.warnings.len() + board.warnings_lost, expected, "{name}");
    }
}

#[test]
fn a_board_fits_a_static() {
    let bytes = size_of::<Board>();
    assert!(bytes <= 12 << 10, "{bytes} bytes");
}
