//! `mem`, `vmstat`, `pt`.

use super::{Context, Outcome, fail};
use crate::{boot, heap, memory};
use abi::{Access, Event, Node, Order, PAGE_SHIFT, PMD_SIZE, Prot, VirtAddr};
use arch::LocalCpu;
use core::fmt::Write;
use mm::frame::Kind;
use mm::{FaultOutcome, Frames, Huge, Place, Space};
use shell::{Args, Bytes, Column, Failure, columns};

pub(super) fn mem(_: &mut Context, _: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let (Some(mm), Some(board)) = (memory::mm(), boot::board()) else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    writeln!(out, "RAM, by the device tree:")?;
    for memory in &board.memory {
        let (range, node) = (memory.range, memory.numa_node);
        writeln!(out, "  {range} {} node {node}", Bytes(range.bytes()))?;
    }
    for reserved in &board.reserved {
        writeln!(out, "  {} reserved ({:?})", reserved.range, reserved.kind)?;
    }
    let bytes = |pages: u64| Bytes(pages << PAGE_SHIFT);
    let managed = mm.frames.managed_pages(&LocalCpu);
    let free = mm.frames.free_pages(&LocalCpu);
    let stocked = mm.frames.stocked_pages(&LocalCpu);
    let all = [managed, free, stocked].map(bytes);
    writeln!(out, "managed {}, free {}, of which CPUs have {} in stock", all[0], all[1], all[2])?;
    let mut used = [("folios", 0), ("tables", 0), ("kernel", 0)];
    for (_, desc) in mm.frames.map().blocks() {
        match desc.kind() {
            Kind::Folio => used[0].1 += desc.order().pages(),
            Kind::Table => used[1].1 += desc.order().pages(),
            Kind::Kernel => used[2].1 += desc.order().pages(),
            _ => {}
        }
    }
    for (what, pages) in used {
        writeln!(out, "  {what} {}", bytes(pages))?;
    }
    let ((areas, mapped), (blocks, _)) = (mm.vmalloc_in_use(), mm.vmap_blocks());
    let (mapped, tables) = (bytes(mapped), bytes(mm.vmalloc_tables()));
    writeln!(
        out,
        "kernel mappings {mapped}, in {areas} areas and {blocks} blocks; their tables {tables}"
    )?;
    let (in_use, total) = heap::usage();
    writeln!(out, "heap {} of {}", Bytes(in_use as u64), Bytes(total as u64))?;
    for node in (0..mm.frames.nodes()).map(|node| Node(node as u8)) {
        free_blocks(&mm.frames, node, out)?;
    }
    Ok(())
}

pub(super) fn compact(_: &mut Context, _: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let Some(mm) = memory::mm() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    match mm.compact(u64::MAX) {
        Ok(done) => Ok(writeln!(out, "{done}")?),
        Err(error) => Err(fail(out, format_args!("{error}"))),
    }
}

/// A node's free blocks, by order: what Linux shows as `/proc/buddyinfo`.
fn free_blocks(frames: &Frames, node: Node, out: &mut dyn Write) -> Outcome {
    let bytes = |pages: u64| Bytes(pages << PAGE_SHIFT);
    let (managed, free) = frames.node_pages(&LocalCpu, node);
    let (managed, free) = (bytes(managed), bytes(free));
    writeln!(
        out,
        "node {node}: managed {managed}, free {free}, what CPUs have in stock not counted:"
    )?;
    let blocks = frames.node_blocks(&LocalCpu, node);
    let heads = [Column::Right("order"), Column::Right("size"), Column::Right("blocks")];
    columns(out, &heads, |row| {
        for (order, count) in blocks.iter().enumerate() {
            row([&order, &Bytes(Order(order as u8).bytes()), count]);
        }
    })?;
    Ok(())
}

pub(super) fn vmstat(_: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let Some(mm) = memory::mm() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let filter = args.maybe_word("filter").unwrap_or("");
    let free = mm.frames.free_pages(&LocalCpu);
    let mut found = false;
    if "nr_free_pages".contains(filter) {
        found = true;
        writeln!(out, "nr_free_pages {free}")?;
    }
    for &event in Event::ALL.iter().filter(|event| event.name().contains(filter)) {
        found = true;
        writeln!(out, "{} {}", event.name(), mm.stats.total(event))?;
    }
    if !found {
        return Err(fail(
            out,
            format_args!("no counter matches `{filter}`; `vmstat` prints them all"),
        ));
    }
    Ok(())
}

pub(super) fn pt(_: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let va = args.address("va")?;
    let (Some(mm), Some(root)) = (memory::mm(), memory::kernel_root()) else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let upper = va >= VirtAddr(0xffff << 48);
    match (args.word("space")?, upper) {
        ("kernel", true) => walk(mm, root, va, out),
        ("user", false) if va.0 >> 48 == 0 => {
            let space = demonstration(mm).map_err(|why| fail(out, format_args!("{why}")))?;
            walk(mm, space.root(), va, out)
        }
        ("kernel", _) => {
            writeln!(out, "{va} is not in the kernel's half, which begins at 0xffff000000000000")?;
            Err(Failure::Usage)
        }
        _ => {
            writeln!(out, "{va} is not in the user half, which ends below 0x1000000000000")?;
            Err(Failure::Usage)
        }
    }
}

fn walk<H: mm::Hardware>(
    mm: &mm::Mm<H>,
    root: abi::Pfn,
    va: VirtAddr,
    out: &mut dyn Write,
) -> Outcome {
    // Collected first: walkers hold up whoever frees tables, and a serial line is slow.
    let mut steps = [None; 4];
    mm.walk(root, va, |level, slot, _, word| steps[level as usize] = Some((level, slot, word)));
    writeln!(out, "{va} under table {root}:")?;
    for (level, slot, word) in steps.into_iter().flatten() {
        let (index, entry) = (level.index(va), pte::decode(level, word));
        writeln!(out, "  {level}[{index}] at {}: {word:#018x} {entry}", slot.0)?;
    }
    Ok(())
}

/// A space with a huge page at 2 MiB and a small one right behind it.
pub(super) fn demonstration<H: mm::Hardware>(mm: &mm::Mm<H>) -> Result<Space<'_, H>, &'static str> {
    const NO_MEMORY: &str = "no memory for a demonstration space";
    let space = Space::new(mm).map_err(|_| NO_MEMORY)?;
    let huge = VirtAddr(PMD_SIZE);
    let small = VirtAddr(2 * PMD_SIZE);
    for (at, bytes, advice) in [(huge, PMD_SIZE, Huge::Default), (small, 0x1000, Huge::Never)] {
        space.map(Place::At(at), bytes, Prot::ReadWrite, advice).map_err(|_| NO_MEMORY)?;
        if let FaultOutcome::OutOfMemory(_) = space.fault(at, Access::Write) {
            return Err(NO_MEMORY);
        }
    }
    Ok(space)
}
