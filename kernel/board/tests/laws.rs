//! Corners that no machine at hand has: each test states the rule.

mod common;

use abi::{MAX_CPUS, PhysAddr};
use common::Builder;
use granule_board::{
    Block, Board, EnableMethod, Fault, Gic, MAX_DEPTH, PsciVersion, Reservation, Status,
    TokenFault, Tree, TreeError, What,
};

fn board(tree: Builder) -> Board {
    Board::parse(&tree.blob()).expect("a board")
}

fn faults(board: &Board) -> Vec<(String, Fault)> {
    board.warnings.iter().map(|warning| (warning.node.to_string(), warning.fault)).collect()
}

#[test]
fn a_header_is_believed_only_where_it_can_be_true() {
    let good = Builder::with_memory().blob();
    assert!(Board::parse(&good).is_ok());
    let parse = |index: usize, word: u32| {
        let mut bad = good.clone();
        bad[4 * index..4 * index + 4].copy_from_slice(&word.to_be_bytes());
        Board::parse(&bad).expect_err("a refusal")
    };
    let total = good.len() as u32;
    assert_eq!(Board::parse(&good[..39]).unwrap_err(), TreeError::TooShort { bytes: 39 });
    assert_eq!(parse(0, 0xedfe_0dd0), TreeError::Magic { found: 0xedfe_0dd0 });
    let given = good.len();
    assert_eq!(parse(1, total + 1), TreeError::Cut { total: total + 1, given });
    let old = TreeError::Version { version: 16, readable_as: 16 };
    assert_eq!(parse(5, 16), old);
    assert_eq!(parse(6, 18), TreeError::Version { version: 17, readable_as: 18 });
    let block_of = |error| match error {
        TreeError::Block { block, .. } => block,
        other => panic!("{other}"),
    };
    for offset in [0, 38, 41, total, u32::MAX, u32::MAX - 3] {
        assert_eq!(block_of(parse(2, offset)), Block::Structure, "{offset:#x}");
    }
    assert_eq!(block_of(parse(9, total)), Block::Structure);
    assert_eq!(block_of(parse(3, total)), Block::Strings);
    assert_eq!(block_of(parse(8, u32::MAX)), Block::Strings);
    assert_eq!(block_of(parse(4, 44)), Block::Reservations);
    let late = (total - 15) & !7;
    assert_eq!(parse(4, late), TreeError::ReservationsOpen { offset: late });
    let large = [good.clone(), vec![0; 3 << 20]].concat();
    assert!(Board::parse(&large).is_ok(), "what follows the blob does not matter");
}

#[test]
fn a_structure_is_believed_only_as_a_whole() {
    let fault = |tree: Builder| match Tree::new(&tree.raw()).err() {
        Some(TreeError::Token { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let open = Builder::new;
    assert_eq!(fault(open()), TokenFault::Cut);
    assert_eq!(fault(open().token(9)), TokenFault::EarlyFinish { depth: 1 });
    assert_eq!(fault(Builder::default().token(9)), TokenFault::EarlyFinish { depth: 0 });
    assert_eq!(fault(open().end().end()), TokenFault::StrayEnd);
    assert_eq!(fault(open().end().begin("x")), TokenFault::SecondRoot);
    assert_eq!(fault(open().token(5)), TokenFault::Unknown(5));
    assert_eq!(fault(open().begin("")), TokenFault::NodeName);
    assert_eq!(fault(open().begin("a/b")), TokenFault::NodeName);
    assert_eq!(fault(open().begin("a b")), TokenFault::NodeName);
    assert_eq!(fault(Builder::default().begin("root")), TokenFault::NodeName);
    assert_eq!(fault(open().begin("a").end().flag("late")), TokenFault::StrayProperty);
    assert_eq!(fault(Builder::default().flag("early")), TokenFault::StrayProperty);
    let unnamed = open().token(3).token(0).token(9999);
    assert_eq!(fault(unnamed), TokenFault::PropertyName { offset: 9999 });
    let mut unclosed = open().flag("name");
    unclosed.strings.pop();
    assert!(matches!(fault(unclosed), TokenFault::PropertyName { .. }));
    let nested = |depth| (1..depth).fold(open(), |tree, _| tree.begin("n"));
    let closed = (1..=MAX_DEPTH).fold(nested(MAX_DEPTH), |tree, _| tree.end());
    assert!(Tree::new(&closed.token(9).raw()).is_ok());
    assert_eq!(fault(nested(MAX_DEPTH + 1)), TokenFault::TooDeep);
}

#[test]
fn memory_is_whole_pages_ascending_and_disjoint() {
    let tree = Builder::new()
        .memory(0x9000_0000, 0x1000_0800)
        .memory(0x4000_0800, 0x1000_0000)
        .memory(0x4800_0000, 0x1000_0000)
        .memory(0x7000_0000, 0x800)
        .memory(u64::MAX - 0xfff, 0x1000);
    let board = board(tree);
    let ranges: Vec<_> = board.memory.iter().map(|memory| memory.range.to_string()).collect();
    assert_eq!(ranges, ["0x40001000..0x50000000", "0x90000000..0xa0000000"]);
    let far = u64::MAX - 0xfff;
    let wanted = [
        ("memory@48000000".into(), Fault::Duplicate { value: 0x4000_1000 }),
        (format!("memory@{far:x}"), Fault::Unreachable { address: far }),
    ];
    assert_eq!(faults(&board), wanted);
}

#[test]
fn a_board_without_memory_is_none() {
    let disabled = Builder::new()
        .begin("memory@0")
        .text("device_type", "memory")
        .text("status", "disabled")
        .numbers("reg", &[0, 1 << 30])
        .end();
    assert_eq!(Board::parse(&disabled.blob()).unwrap_err(), TreeError::NoMemory);
    assert_eq!(Board::parse(&Builder::new().blob()).unwrap_err(), TreeError::NoMemory);
}

#[test]
fn reservations_round_outwards_and_are_never_forgotten() {
    let child = |tree: Builder, name: &str, flag: &str, start| {
        tree.begin(name).flag(flag).numbers("reg", &[start, 0x10]).end()
    };
    let tree = Builder::with_memory().reserve(0x4000_0fff, 2).begin("reserved-memory");
    let tree = tree.cells("#address-cells", &[2]).cells("#size-cells", &[2]);
    // Without `ranges` the bus reaches no CPU; a reservation counts all the same.
    let tree = child(tree, "a", "no-map", 0x5000_0800);
    let tree = child(tree, "b", "reusable", 0x5100_0000);
    let tree = child(tree, "c", "other", 0x5200_0000);
    let reserved = board(tree.end()).reserved;
    let wanted = [
        ("0x40000000..0x40002000", Reservation::Boot),
        ("0x50000000..0x50001000", Reservation::NoMap),
        ("0x51000000..0x51001000", Reservation::Reusable),
        ("0x52000000..0x52001000", Reservation::Owned),
    ];
    let found: Vec<_> = reserved.iter().map(|r| (r.range.to_string(), r.kind)).collect();
    assert_eq!(found, wanted.map(|(range, kind)| (range.to_owned(), kind)));

    let many = |count| {
        let start = |n: u64| 0x4000_0000 + (n << 13);
        (0..count).fold(Builder::with_memory(), |tree, n| tree.reserve(start(n), 0x1000)).blob()
    };
    assert_eq!(Board::parse(&many(64)).expect("a board").reserved.len(), 64);
    let error = Board::parse(&many(65)).unwrap_err();
    assert_eq!(error, TreeError::TooManyReservations { capacity: 64 });
}

#[test]
fn addresses_climb_through_every_bus() {
    let uart = |tree: Builder, at: u32| {
        tree.begin("uart").text("compatible", "arm,pl011").cells("reg", &[at, 0x1000]).end()
    };
    let bus = |tree: Builder, name: &str, ranges: &[u32]| {
        let tree = tree.begin(name).cells("#address-cells", &[1]).cells("#size-cells", &[1]);
        tree.cells("ranges", ranges)
    };
    // The outer bus moves 0x1000_0000 up by 4 GiB, the inner one 0 to 0x1000_0000 of the outer.
    let outer = [0x1000_0000, 1, 0x1000_0000, 0x0100_0000];
    let inner = [0, 0x1000_0000, 0x2000, 0x10_0000, 0x1080_0000, 0x1000];
    let tree = bus(bus(Builder::with_memory(), "outer", &outer), "inner", &inner);
    let tree = [0x1000, 0x10_0000, 0x10_0800, 0x5000].into_iter().fold(tree, uart).end().end();
    // Without ranges, nothing gets out.
    let closed = tree.begin("closed").cells("#address-cells", &[1]).cells("#size-cells", &[1]);
    let board = board(uart(closed, 0x900_0000).end());
    let found: Vec<_> = board.uarts.iter().map(|uart| uart.registers.start.0).collect();
    assert_eq!(found, [0x1_1000_1000, 0x1_1080_0000]);
    let faults: Vec<_> = board.warnings.iter().map(|warning| warning.fault).collect();
    let wanted = [0x10_0800, 0x5000, 0x900_0000].map(|address| Fault::Unreachable { address });
    assert_eq!(faults, wanted, "half outside, outside, closed");
}

#[test]
fn interrupts_find_their_controller() {
    let uart = |tree: Builder, at: u64| {
        tree.begin("uart").text("compatible", "arm,pl011").numbers("reg", &[at << 12, 0x1000])
    };
    let tree = Builder::new().with_gic().memory(0x4000_0000, 1 << 30);
    let tree = uart(tree, 1).cells("interrupts", &[0, 7, 4]).end();
    let tree = uart(tree, 2).cells("interrupts-extended", &[1, 0, 8, 1, 1, 0, 9, 1]).end();
    let tree = uart(tree, 3).cells("interrupt-parent", &[9]).cells("interrupts", &[1]).end();
    let tree = uart(tree, 4).cells("interrupts", &[0, 988, 4]).end();
    let tree = uart(tree, 5).cells("interrupts", &[0, 7]).end();
    let tree = uart(tree, 6).cells("interrupts-extended", &[2, 5]).end();
    let tree = tree.begin("pic").cells("phandle", &[2]).cells("#interrupt-cells", &[1]).end();
    let board = board(uart(tree, 7).end());
    let intids: Vec<_> = board.uarts.iter().map(|u| u.interrupt.map(|i| i.intid)).collect();
    assert_eq!(intids, [Some(39), Some(40), None, None, None, None, None]);
    let faults: Vec<_> = board.warnings.iter().map(|warning| warning.fault).collect();
    let wanted = [
        Fault::Phandle(9),
        Fault::Value { property: "interrupts", value: 988 },
        Fault::Length { property: "interrupts", bytes: 8 },
        Fault::ForeignController { phandle: 2 },
    ];
    assert_eq!(faults, wanted);
}

#[test]
fn stdout_follows_paths_and_aliases_and_drops_options() {
    let tree = |stdout: &str, status: &str| {
        let uart = |tree: Builder, name: &str, at| {
            let tree = tree.begin(name).text("compatible", "arm,pl011");
            tree.numbers("reg", &[at, 0x1000])
        };
        let tree = Builder::with_memory().begin("aliases").text("serial1", "/bus/uart@2000");
        let tree = tree.text("bus", "/bus").text("loop", "loop").end();
        let tree = tree.begin("chosen").text("stdout-path", stdout).end().begin("bus");
        let tree = tree.cells("#address-cells", &[2]).cells("#size-cells", &[2]).flag("ranges");
        let tree = uart(tree, "uart@1000", 0x1000).end();
        let board = board(uart(tree, "uart@2000", 0x2000).text("status", status).end().end());
        let start = board.console().expect("a console").registers.start.0;
        (board.stdout.map(|stdout| (stdout.uart, stdout.baud)), start)
    };
    for path in ["serial1", "/bus/uart@2000", "bus/uart@2000"] {
        assert_eq!(tree(path, "okay"), (Some((1, None)), 0x2000), "{path}");
    }
    assert_eq!(tree("serial1:115200n8", "ok"), (Some((1, Some(115_200))), 0x2000));
    assert_eq!(tree("serial1:", "okay").0, Some((1, None)));
    assert_eq!(tree("serial1:99999999999n8", "okay").0, Some((1, None)));
    assert_eq!(tree("/bus/uart", "okay"), (Some((0, None)), 0x1000), "the first of that name");
    assert_eq!(tree("serial1", "disabled"), (Some((1, None)), 0x1000), "disabled: another one");
    for path in ["serial7", "/bus/uart@3000", "loop", "", "/", "/bus", ":", "bus/", "/uart@2000"] {
        assert_eq!(tree(path, "okay"), (None, 0x1000), "{path}");
    }
}

#[test]
fn cpus_say_how_they_start() {
    let cpu = |tree: Builder, mpidr: u64| tree.begin("cpu").numbers("reg", &[mpidr]);
    let tree = Builder::with_memory().begin("psci").text("compatible", "arm,psci");
    let tree = tree.text("method", "smc").cells("cpu_on", &[0x95c1_ba60]).end().begin("cpus");
    let tree = tree.cells("#address-cells", &[2]).cells("#size-cells", &[0]);
    let tree = tree.text("enable-method", "psci");
    let tree = cpu(tree, 0x1_0000_0203).text("status", "fail").end();
    let spin = |tree: Builder| tree.text("enable-method", "spin-table");
    let tree = spin(cpu(tree, 1)).numbers("cpu-release-addr", &[0xd8]).end();
    let tree = spin(cpu(tree, 2)).cells("cpu-release-addr", &[0xdc]).end();
    let tree = spin(cpu(tree, 3)).end();
    let tree = cpu(tree, 4).text("enable-method", "magic").end();
    let tree = cpu(cpu(tree, 1).end(), 0x0100_0000).end();
    let board = board(tree.begin("cpu-map").end().end());
    let slot = EnableMethod::SpinTable { release_addr: PhysAddr(0xd8) };
    let unknown = EnableMethod::Unknown;
    let found: Vec<_> = board.cpus.iter().map(|cpu| (cpu.mpidr, cpu.enable)).collect();
    let psci = (0x1_0000_0203, EnableMethod::Psci);
    assert_eq!(found, [psci, (1, slot), (2, unknown), (3, unknown), (4, unknown)]);
    assert_eq!(board.cpus[0].status, Status::Disabled);
    let faults: Vec<_> = board.warnings.iter().map(|warning| warning.fault).collect();
    let wanted = [
        Fault::Value { property: "cpu-release-addr", value: 0xdc },
        Fault::Missing("cpu-release-addr"),
        Fault::Words("enable-method"),
        Fault::Duplicate { value: 1 },
        Fault::Value { property: "reg", value: 0x0100_0000 },
    ];
    assert_eq!(faults, wanted);
    let version = PsciVersion::V0_1 { cpu_on: Some(0x95c1_ba60) };
    assert_eq!(board.psci.map(|psci| psci.version), Some(version));
}

#[test]
fn more_than_fits_is_said_and_not_kept() {
    let tree = Builder::with_memory().begin("cpus").cells("#size-cells", &[0]);
    let cpu = |tree: Builder, n: u64| tree.begin("cpu").numbers("reg", &[n]).end();
    let tree = (0..70).fold(tree, cpu).end();
    let tree = tree.begin("chosen").text("bootargs", &"é".repeat(1025)).end();
    let board = board(tree);
    assert_eq!((board.cpus.len(), board.bootargs.len()), (MAX_CPUS, 2048));
    let bytes = Fault::TooMany { what: What::BootargsBytes, capacity: 2048 };
    let cpus = Fault::TooMany { what: What::Cpus, capacity: MAX_CPUS };
    let faults = faults(&board);
    assert_eq!(faults[0], ("chosen".to_owned(), bytes));
    assert!(faults[1..].iter().all(|(_, fault)| *fault == cpus));
    assert_eq!((faults.len(), board.warnings_lost), (7, 0));
}

#[test]
fn redistributors_may_lie_in_several_regions() {
    let gic = |regions: &[u32], stride: &[u64], reg: &[u64]| {
        let tree = Builder::with_memory().begin("gic").text("compatible", "arm,gic-v3");
        let tree = tree.cells("#redistributor-regions", regions);
        board(tree.numbers("redistributor-stride", stride).numbers("reg", reg).end())
    };
    let reg = [0x800_0000, 0x1_0000, 0x80a_0000, 0x10_0000, 0x40_0000_0000, 0x20_0000];
    let Some(Gic::V3 { redistributors, stride, .. }) = gic(&[2], &[0x4_0000], &reg).gic else {
        panic!("no GICv3")
    };
    let starts: Vec<_> = redistributors.iter().map(|region| region.start.0).collect();
    assert_eq!((starts, stride), (vec![0x80a_0000, 0x40_0000_0000], Some(0x4_0000)));
    let fault = |regions: u32, stride: u64| gic(&[regions], &[stride], &reg).warnings[0].fault;
    assert_eq!(fault(3, 0x4_0000), Fault::Missing("reg"));
    assert_eq!(fault(u32::MAX, 0x4_0000), Fault::Missing("reg"));
    let property = "#redistributor-regions";
    assert_eq!(fault(0, 0x4_0000), Fault::Value { property, value: 0 });
    let property = "redistributor-stride";
    assert_eq!(fault(1, 0), Fault::Value { property, value: 0 });
}

#[test]
fn a_disabled_bus_disables_what_is_on_it() {
    let tree = Builder::with_memory().begin("bus").text("status", "disabled");
    let tree = tree.cells("#address-cells", &[2]).cells("#size-cells", &[2]).flag("ranges");
    let tree = tree.begin("gic").text("compatible", "arm,gic-400");
    let tree = tree.numbers("reg", &[0x1000, 0x1000, 0x2000, 0x1000]).end();
    let tree = tree.begin("uart").text("compatible", "arm,pl011").numbers("reg", &[0x9000, 0x1000]);
    let board = board(tree.end().end());
    assert!(board.gic.is_none() && board.console().is_none());
    assert_eq!(board.uarts[0].status, Status::Disabled);
}
