//! Trees that nobody should make: cut, corrupted, rebuilt wrongly. Reading them must come to an end,
//! without a panic, and whatever it returns must keep the promises of [`Board`]'s fields.
//!
//! The generator is seeded with a constant: the same trees every time.

mod common;

use common::{Builder, golden_trees};
use granule_board::{Board, Detail, EnableMethod, Gic, MAX_DEPTH, PHYS_LIMIT, Tree, TreeError};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::Cell;

/// One change to a blob.
#[derive(Clone, Debug)]
enum Mutation {
    /// The bytes end early, and the header may or may not know.
    Cut { at: Index, header_knows: bool },
    /// One bit is the other one.
    Bit { at: Index, bit: u8 },
    /// One word of the blob, the header included, is another.
    Word { at: Index, word: u32 },
    /// One word of the structure block is another: tokens, lengths, names, values.
    Structure { at: Index, word: u32 },
    /// The bytes of one property are changed in place, so that the structure stays valid.
    Value { property: Index, at: Index, word: u32 },
    /// One property gets a value of another length.
    Resize { property: Index, bytes: usize, fill: u8 },
    /// Some words of the structure block are gone.
    Remove { at: Index, words: usize },
    /// Some words of the structure block come twice.
    Repeat { at: Index, words: usize },
    /// Words are put between.
    Insert { at: Index, words: Vec<u32> },
}

/// Words that are likely to hurt: tokens, limits, sizes, and addresses with an end beyond the end.
fn word() -> impl Strategy<Value = u32> {
    let nasty = vec![
        0,
        1,
        2,
        3,
        4,
        5,
        8,
        9,
        16,
        17,
        64,
        0x28,
        0xff,
        0x1000,
        0x8000,
        0xffff,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_f000,
        0xffff_fffc,
        u32::MAX,
    ];
    prop_oneof![3 => select(nasty), 1 => any::<u32>()]
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    prop_oneof![
        1 => (at(), any::<bool>())
            .prop_map(|(at, header_knows)| Mutation::Cut { at, header_knows }),
        1 => (at(), 0u8..8).prop_map(|(at, bit)| Mutation::Bit { at, bit }),
        1 => (at(), word()).prop_map(|(at, word)| Mutation::Word { at, word }),
        2 => (at(), word()).prop_map(|(at, word)| Mutation::Structure { at, word }),
        6 => (at(), at(), word())
            .prop_map(|(property, at, word)| Mutation::Value { property, at, word }),
        4 => (at(), 0usize..64, any::<u8>())
            .prop_map(|(property, bytes, fill)| Mutation::Resize { property, bytes, fill }),
        1 => (at(), 1usize..40).prop_map(|(at, words)| Mutation::Remove { at, words }),
        1 => (at(), 1usize..40).prop_map(|(at, words)| Mutation::Repeat { at, words }),
        1 => (at(), vec(word(), 1..6)).prop_map(|(at, words)| Mutation::Insert { at, words }),
    ]
}

/// Where the properties of a structure block are: the offset of the length word, and the length.
/// Stops at the first token that is none.
fn properties(structure: &[u8]) -> Vec<(usize, usize)> {
    let word = |at: usize| {
        let bytes = structure.get(at..at.checked_add(4)?)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
    };
    let (mut at, mut found) = (0, Vec::new());
    while let Some(token) = word(at) {
        at += 4;
        match token {
            1 => {
                let len = structure[at..].iter().position(|&byte| byte == 0);
                at += len.map_or(usize::MAX / 2, |len| (len + 1).next_multiple_of(4));
            }
            2 | 4 => {}
            3 => {
                let len = word(at).unwrap_or(usize::MAX / 4);
                if at + 8 + len > structure.len() {
                    break;
                }
                found.push((at, len));
                at += 8 + len.next_multiple_of(4);
            }
            _ => break,
        }
    }
    found
}

fn set_word(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&word.to_be_bytes());
    }
}

/// Changes the structure block and puts the blob together again.
fn rebuilt(dtb: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // An earlier mutation may have left a header that points nowhere: then the blob stays as it is.
    let Some(mut parts) = Builder::dissect(dtb) else { return dtb.to_vec() };
    change(&mut parts.structure);
    parts.raw()
}

fn mutate(dtb: Vec<u8>, mutation: &Mutation) -> Vec<u8> {
    let words = |bytes: &[u8]| (bytes.len() / 4).max(1);
    let mut new = dtb;
    match mutation {
        Mutation::Cut { at, header_knows } => {
            new.truncate(at.index(new.len().max(1)));
            let bytes = new.len() as u32;
            if *header_knows {
                set_word(&mut new, 4, bytes);
            }
        }
        Mutation::Bit { at, bit } => {
            let at = at.index(new.len().max(1));
            if let Some(byte) = new.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Mutation::Word { at, word } => {
            let at = 4 * at.index(words(&new));
            set_word(&mut new, at, *word);
        }
        Mutation::Structure { at, word } => {
            return rebuilt(&new, |block| {
                let at = 4 * at.index(words(block));
                set_word(block, at, *word);
            });
        }
        Mutation::Value { property, at, word } => {
            return rebuilt(&new, |block| {
                let found = properties(block);
                if let Some(&(start, len)) = found.get(property.index(found.len().max(1)))
                    && len >= 4
                {
                    set_word(block, start + 8 + 4 * at.index(len / 4), *word);
                }
            });
        }
        Mutation::Resize { property, bytes, fill } => {
            return rebuilt(&new, |block| {
                let found = properties(block);
                if let Some(&(start, len)) = found.get(property.index(found.len().max(1))) {
                    let old = start + 8..start + 8 + len.next_multiple_of(4);
                    let mut value = block[start + 8..start + 8 + len.min(*bytes)].to_vec();
                    value.resize(*bytes, *fill);
                    value.resize(bytes.next_multiple_of(4), 0);
                    block.splice(old, value);
                    set_word(block, start, *bytes as u32);
                }
            });
        }
        Mutation::Remove { at, words: count } => {
            return rebuilt(&new, |block| {
                let start = 4 * at.index(words(block));
                let end = (start + 4 * count).min(block.len());
                block.drain(start.min(end)..end);
            });
        }
        Mutation::Repeat { at, words: count } => {
            return rebuilt(&new, |block| {
                let start = 4 * at.index(words(block));
                let end = (start + 4 * count).min(block.len());
                let again = block[start.min(end)..end].to_vec();
                block.splice(start..start, again);
            });
        }
        Mutation::Insert { at, words: inserted } => {
            return rebuilt(&new, |block| {
                let start = 4 * at.index(words(block));
                block.splice(start..start, inserted.iter().flat_map(|word| word.to_be_bytes()));
            });
        }
    }
    new
}

/// What the fields of a board promise, whatever the tree was.
fn check(board: &Board) {
    assert!(!board.memory.is_empty());
    let page = |at: abi::PhysAddr| at.is_aligned(abi::PAGE_SIZE) && at <= PHYS_LIMIT;
    for memory in &board.memory {
        let range = memory.range;
        assert!(!range.is_empty() && page(range.start) && page(range.end), "{range}");
    }
    let disjoint = |pair: &[granule_board::Memory]| pair[0].range.end <= pair[1].range.start;
    assert!(board.memory.windows(2).all(disjoint), "{:?}", board.memory);
    for reserved in &board.reserved {
        let range = reserved.range;
        assert!(!range.is_empty() && page(range.start) && page(range.end), "{range}");
    }
    let device = |range: abi::PhysRange| {
        assert!(!range.is_empty() && range.end <= PHYS_LIMIT, "{range}");
    };
    board.uarts.iter().for_each(|uart| device(uart.registers));
    if let Some(stdout) = board.stdout {
        assert!(stdout.uart < board.uarts.len());
    }
    board.initrd.into_iter().for_each(device);
    for (index, cpu) in board.cpus.iter().enumerate() {
        assert_eq!(cpu.mpidr & !0xff_00ff_ffff, 0);
        assert!(board.cpus[..index].iter().all(|other| other.mpidr != cpu.mpidr));
        assert!(cpu.model.is_none_or(|model| usize::from(model) < board.cpu_models.len()));
        if let EnableMethod::SpinTable { release_addr } = cpu.enable {
            assert!(release_addr.is_aligned(8) && release_addr < PHYS_LIMIT);
        }
    }
    match board.gic {
        None => {}
        Some(Gic::V2 { distributor, cpu_interface, v2m }) => {
            [Some(distributor), Some(cpu_interface), v2m].into_iter().flatten().for_each(device);
        }
        Some(Gic::V3 { distributor, redistributors, stride, its }) => {
            [Some(distributor), its].into_iter().flatten().for_each(device);
            assert!(!redistributors.is_empty());
            redistributors.iter().copied().for_each(device);
            assert_ne!(stride, Some(0));
        }
    }
    if let Some(timer) = board.timer {
        assert!(timer.virt.is_private());
    }
    let blocks = board.bcm2711;
    let blocks = [blocks.watchdog, blocks.gpio, blocks.mailbox, blocks.aux];
    blocks.into_iter().flatten().for_each(device);
    if let Some(pcie) = board.pcie {
        device(pcie.ecam);
        assert!(pcie.buses.0 <= pcie.buses.1);
        pcie.windows.iter().for_each(|window| assert!(window.cpu.end <= PHYS_LIMIT));
    }
    board.smmu.iter().for_each(|smmu| device(smmu.registers));
}

/// Reads and checks; says whether the structure and the board were accepted.
fn read(dtb: &[u8]) -> (bool, bool) {
    let Ok(tree) = Tree::new(dtb) else { return (false, false) };
    let mut board = Board::EMPTY;
    match board.fill(&tree) {
        Ok(()) => {
            check(&board);
            (true, true)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            (true, false)
        }
    }
}

/// Printing must not panic either, and must be bounded: hardly more than the blob has to say.
fn print(dtb: &[u8]) {
    let Ok(tree) = Tree::new(dtb) else { return };
    assert!(tree.nodes().all(|node| node.level() < MAX_DEPTH));
    let mut out = String::new();
    tree.dump(&mut out, "", Detail::Properties).expect("a string takes all");
    assert!(out.len() < 64 * dtb.len(), "{} bytes of {}", out.len(), dtb.len());
    if let Ok(board) = Board::parse(dtb) {
        assert!(board.to_string().contains("memory: "));
    }
}

#[test]
fn mutated_trees_end_in_a_board_or_an_error() {
    const TREES: u32 = 24_000;
    // The largest tree says nothing that the one with 64 CPUs does not, and is slow.
    let trees: Vec<_> =
        golden_trees().into_iter().filter(|(name, _)| name != "virt-gicv3-128cpu").collect();
    let config = Config { cases: TREES, failure_persistence: None, ..Config::default() };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let (all, trees_read, boards_read) = (Cell::new(0u32), Cell::new(0u32), Cell::new(0u32));
    let case = (any::<Index>(), vec(mutation(), 1..4));
    let outcome = runner.run(&case, |(tree, mutations)| {
        let (_, dtb) = tree.get(&trees);
        let mutant = mutations.iter().fold(dtb.clone(), mutate);
        let (tree, board) = read(&mutant);
        all.set(all.get() + 1);
        if all.get().is_multiple_of(16) {
            print(&mutant);
        }
        trees_read.set(trees_read.get() + u32::from(tree));
        boards_read.set(boards_read.get() + u32::from(board));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    // The generator must reach all three ends often, or it would prove little.
    let (all, trees, boards) = (all.get(), trees_read.get(), boards_read.get());
    assert!(all >= TREES && all - trees > TREES / 10, "{all} {trees} {boards}");
    assert!(trees - boards > TREES / 200 && boards > TREES / 4, "{all} {trees} {boards}");
}

#[test]
fn every_cut_is_noticed() {
    let (_, dtb) = golden_trees().into_iter().find(|(name, _)| name == "rpi4").expect("a tree");
    for bytes in 0..dtb.len() {
        assert!(Board::parse(&dtb[..bytes]).is_err(), "{bytes} of {}", dtb.len());
        let mut known = dtb[..bytes].to_vec();
        set_word(&mut known, 4, bytes as u32);
        read(&known);
    }
}

#[test]
fn a_wide_tree_takes_bounded_time() {
    // Thousands of UARTs, CPUs and timers whose interrupts lead nowhere, each look-up a walk over
    // more than a megabyte.
    let mut tree = Builder::new().cells("interrupt-parent", &[77]).memory(0x4000_0000, 1 << 30);
    tree = tree.begin("cpus").cells("#size-cells", &[0]).cells("#address-cells", &[2]);
    for cpu in 0..8000u64 {
        tree = tree.begin("cpu").numbers("reg", &[cpu]).end();
    }
    tree = tree.end();
    for at in 0..8000u64 {
        tree = tree.begin("u").text("compatible", "arm,pl011").numbers("reg", &[at << 12, 4096]);
        tree = tree.cells("interrupts", &[0, 1, 4]).end();
        tree = tree.begin("t").text("compatible", "arm,armv8-timer");
        tree = tree.cells("interrupts", &[1; 9]).end();
    }
    let wide = tree.clone().blob();
    assert!(wide.len() > 1 << 20, "{}", wide.len());
    let board = Board::parse(&wide).expect("a board");
    assert_eq!((board.uarts.len(), board.cpus.len(), board.warnings.len()), (16, 64, 16));
    // One for each UART and each CPU too many; one only for all timers, because one was looked at.
    assert_eq!(16 + board.warnings_lost, 8000 + 8000 - 64 + 1);
    let large = tree.begin("padding").bytes("zeros", &[0; 1 << 20]).end().blob();
    assert_eq!(
        Board::parse(&large).unwrap_err(),
        TreeError::TooLarge { total: large.len() as u32 }
    );
}
