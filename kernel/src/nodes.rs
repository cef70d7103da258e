//! Memory nodes: which the board has, who lives where, and how much of each is kept for what moves.
//!
//! The device tree may number nodes as it likes. Ours count from 0 and have memory, in the order of the
//! tree's numbers.
//!
//! Corresponds to Linux's `of_numa_init`, and `find_zone_movable_pfns_for_nodes` for what is kept.

use crate::cpus;
use abi::{Node, PMD_SIZE, PhysAddr, PhysRange};
use board::{Board, Memory};
use mm::Frames;

/// Tells the page allocator of the board's nodes, and keeps the last `movable` bytes of each that are in
/// `free` for what moves: 2 MiB blocks, so a little less. Before anything is given to it.
pub(crate) fn place(frames: &mut Frames, board: &Board, free: &[PhysRange], movable: u64) {
    for memory in &board.memory {
        frames.place(memory.range, node(board, memory.numa_node));
    }
    for (cpu, number) in cpus::nodes(board) {
        frames.settle(cpu.index(), node(board, number));
    }
    for first in firsts(board) {
        keep(frames, board, free, first.numa_node, movable);
    }
}

/// The first memory of each node.
fn firsts(board: &Board) -> impl Iterator<Item = &Memory> {
    board.memory.iter().enumerate().filter_map(|(at, memory)| {
        let mut before = board.memory.iter().take(at);
        before.all(|before| before.numa_node != memory.numa_node).then_some(memory)
    })
}

/// Our number of the node that the tree calls `number`; a CPU's without memory lives in the first.
fn node(board: &Board, number: u32) -> Node {
    let known = firsts(board).any(|memory| memory.numa_node == number);
    let below = firsts(board).filter(|memory| memory.numa_node < number).count();
    Node(if known { below as u8 } else { 0 })
}

/// Keeps the last `bytes` of a node's free memory.
fn keep(frames: &mut Frames, board: &Board, free: &[PhysRange], number: u32, bytes: u64) {
    let mut left = bytes.next_multiple_of(PMD_SIZE);
    let mut below = PhysAddr(u64::MAX);
    while left > 0 {
        let Some(piece) = highest(board, free, number, below) else { return };
        let size = piece.bytes().min(left);
        frames.keep_movable(PhysRange::new(PhysAddr(piece.end.0 - size), piece.end));
        (left, below) = (left - size, piece.start);
    }
}

/// The node's highest run of free memory that ends no higher than `below`.
fn highest(board: &Board, free: &[PhysRange], number: u32, below: PhysAddr) -> Option<PhysRange> {
    let of_node = board.memory.iter().filter(|memory| memory.numa_node == number);
    let both = of_node.flat_map(|memory| {
        let within = move |free: &PhysRange| {
            let (start, end) = (free.start.max(memory.range.start), free.end.min(memory.range.end));
            PhysRange::new(start, end.max(start))
        };
        free.iter().map(within)
    });
    both.filter(|range| !range.is_empty() && range.end <= below).max_by_key(|range| range.end)
}
