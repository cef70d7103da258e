//! What watching costs: nanoseconds an event on this host, and bytes a slot. Printed, with a limit only on
//! the bytes: time is the host's.

mod common;

use abi::{Level, Order, Pfn, Prot};
use common::{ALL, Paper, everything, leaf, of_page, page};
use granule_oracle::{BYTES_PER_FRAME, BYTES_PER_SLOT, Debt, TableShadow};
use std::time::Instant;

/// Frames that the entries of a table map.
const FRAMES: Pfn = Pfn(common::RAM.0 + 1024);

fn paper() -> Paper {
    let mut paper = Paper::a72();
    (0..512).for_each(|n| paper.alloc(FRAMES + n, Order::PAGE));
    paper
}

/// Nanoseconds that this thread has run, where the host counts them apart from those it waited.
fn ran() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok()
}

/// Runs `body`, says what one of the events that it counts cost.
fn measure(what: &str, mut body: impl FnMut(&mut Paper) -> u64) {
    let mut paper = paper();
    let (start, wall, mut events) = (ran(), Instant::now(), 0);
    while events < 1_000_000 {
        events += body(&mut paper);
    }
    let wall = wall.elapsed().as_nanos() as u64;
    let ns = start.zip(ran()).map_or(wall, |(start, end)| end - start) as f64 / events as f64;
    paper.is_silent();
    println!("{what}: {ns:.1} ns an event");
}

/// Maps and unmaps `n` pages, flushed one by one, and gives their frames back.
fn cycle(paper: &mut Paper, n: usize) -> u64 {
    for at in 0..n {
        paper.store(0, page(at), leaf(FRAMES + at as u64, Prot::ReadWrite));
    }
    for at in 0..n {
        paper.exchange(0, page(at), 0);
    }
    paper.publish(0, ALL);
    for at in 0..n {
        paper.tlbi(0, of_page(at as u64, ALL));
    }
    paper.complete(0, ALL);
    for at in 0..n {
        paper.free(FRAMES + at as u64);
    }
    for at in 0..n {
        paper.alloc(FRAMES + at as u64, Order::PAGE);
    }
    (5 * n + 2) as u64
}

#[test]
fn an_event_costs_so_much() {
    for n in [1, 64, 512] {
        measure(&format!("map, clear, flush each, free, take: {n} pages"), |paper| cycle(paper, n));
    }
    measure("512 cleared, flushed with one operation, freed", |paper| {
        for at in 0..512 {
            paper.store(0, page(at), leaf(FRAMES + at as u64, Prot::ReadWrite));
        }
        for at in 0..512 {
            paper.exchange(0, page(at), 0);
        }
        paper.flush(0, everything(ALL));
        for at in 0..512 {
            paper.free(FRAMES + at);
            paper.alloc(FRAMES + at, Order::PAGE);
        }
        4 * 512 + 3
    });
    measure("the same, told together", |paper| {
        paper.run(0, (0..512).map(|at| (page(at), leaf(FRAMES + at as u64, Prot::ReadWrite))));
        paper.run(0, (0..512).map(|at| (page(at), 0)));
        paper.flush(0, everything(ALL));
        for at in 0..512 {
            paper.free(FRAMES + at);
            paper.alloc(FRAMES + at, Order::PAGE);
        }
        4 * 512 + 3
    });
    measure("only the stores of it", |paper| {
        paper.run(0, (0..512).map(|at| (page(at), leaf(FRAMES + at as u64, Prot::ReadWrite))));
        paper.run(0, (0..512).map(|at| (page(at), 0)));
        paper.flush(0, everything(ALL));
        2 * 512
    });
    measure("a barrier with 512 debts outstanding", |paper| {
        if paper.oracle.outstanding() == 0 {
            for at in 0..512 {
                paper.store(0, page(at), leaf(FRAMES + at as u64, Prot::ReadWrite));
                paper.exchange(0, page(at), 0);
            }
        }
        for _ in 0..1000 {
            paper.complete(0, ALL);
        }
        1000
    });
}

#[test]
fn a_slot_takes_sixteen_bytes() {
    assert_eq!((BYTES_PER_SLOT, BYTES_PER_FRAME), (16, 16));
    let head = size_of::<TableShadow>() - 512 * BYTES_PER_SLOT;
    println!("a table: {head} bytes and {BYTES_PER_SLOT} a slot; a frame: {BYTES_PER_FRAME};");
    println!("a debt: {} bytes", size_of::<Debt>());
    assert!(head <= 96);
    assert_eq!(Level::ALL.len(), 4);
}
