//! `selftest`: quick checks of every part, and Linux's own tests of memory, as KTAP.

use super::{Context, Outcome, fail};
use crate::console;
use crate::threads::Hw;
use crate::world::Kernel;
use abi::ktap::{Ktap, Verdict};
use abi::{Access, Event, Order, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr};
use alloc::vec::Vec;
use arch::{LocalCpu, uaccess};
use core::fmt::Write;
use core::sync::atomic::{AtomicU64, Ordering};

use mm::{FaultOutcome, Hardware, Huge, Mm, Place, Space};
use pte::Entry;
use sched::{Spec, Targets};
use shell::{Arg, Args, Failure, Kind};
use stress::World;

/// One check: its name, and what it found wrong.
struct Check {
    name: &'static str,
    run: fn(&Kernel) -> Result<(), &'static str>,
}

static CHECKS: [Check; 12] = [
    Check { name: "frames: blocks are disjoint, come back, and merge", run: frames },
    Check { name: "heap: grows and takes back", run: heap },
    Check { name: "kernel map: text is read-only, data never executes", run: write_xor_execute },
    Check { name: "kernel map: guard pages and null are not mapped", run: guards },
    Check { name: "faults: small pages are zero, then what was written", run: small_pages },
    Check { name: "faults: a huge page is one entry, and splits", run: huge_pages },
    Check { name: "faults: rights are enforced", run: rights },
    Check { name: "unmap: the address is gone and the memory is back", run: unmap },
    Check { name: "gup: a reference keeps the page", run: gup },
    Check { name: "threads: spawn, sleep, join", run: threads },
    Check { name: "cpus: each answers a cross-call", run: cross_calls },
    Check { name: "cpus: a remote CPU sees an unmap at once", run: remote_unmap },
];

pub(super) static ARGS: [Arg; 2] = [
    Arg::place("what", Kind::OneOf(&["parts", "mm"]), "what to check").or("parts"),
    Arg::place("filter", Kind::Word, "of `mm`, only cases in whose names this is").or(""),
];

#[inline(never)]
pub(super) fn selftest(_: &mut Context, args: &Args<'_>, mut out: &mut dyn Write) -> Outcome {
    let Some(kernel) = Kernel::new() else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    if args.word("what")? == "mm" {
        let filter = args.word("filter")?;
        let summary = parity::run(&kernel, filter, &mut out)?;
        return match summary.failed {
            _ if console::interrupted() => Err(Failure::Interrupted),
            // Nothing was shown.
            0 if summary == parity::Summary::default() => {
                Err(fail(out, format_args!("selftest: no case is called like {filter}")))
            }
            0 => Ok(()),
            _ => Err(Failure::Failed),
        };
    }
    parts(&kernel, out)
}

/// Quick checks of every part.
#[inline(never)]
pub(super) fn parts(kernel: &Kernel, mut out: &mut dyn Write) -> Outcome {
    let mut ktap = Ktap::begin(&mut out, CHECKS.len())?;
    for check in &CHECKS {
        let verdict = match (check.run)(kernel) {
            Ok(()) => Verdict::Pass,
            Err(why) => {
                ktap.note(format_args!("{why}"))?;
                Verdict::Fail
            }
        };
        ktap.case(check.name, verdict)?;
    }
    if ktap.finish()? { Ok(()) } else { Err(Failure::Failed) }
}

const NO_MEMORY: &str = "out of memory";

fn ensure(holds: bool, law: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(law) }
}

fn space(kernel: &Kernel) -> Result<Space<'_, Hw>, &'static str> {
    Space::new(kernel.mm()).map_err(|_| NO_MEMORY)
}

/// Maps private memory at `at`.
fn map(
    space: &Space<'_, Hw>,
    at: u64,
    bytes: u64,
    prot: Prot,
    huge: Huge,
) -> Result<(), &'static str> {
    space.map(Place::At(VirtAddr(at)), bytes, prot, huge).map(drop).map_err(|_| "map was refused")
}

/// Runs a check inside a space.
fn inside(
    kernel: &Kernel,
    space: &Space<'_, Hw>,
    mut check: impl FnMut() -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let mut result = Ok(());
    kernel.inside(space, &mut || result = check());
    result
}

fn frames(kernel: &Kernel) -> Result<(), &'static str> {
    let mm: &Mm<Hw> = kernel.mm();
    let before = mm.frames.free_pages(&LocalCpu);
    let mut taken = Vec::new();
    for order in (0..=Order::MAX.0).map(Order).cycle().take(64) {
        taken.try_reserve(1).map_err(|_| NO_MEMORY)?;
        let pfn = mm.alloc(order).map_err(|_| NO_MEMORY)?;
        ensure(pfn.is_aligned(order), "a block is not aligned to its size")?;
        let mark = pfn.0 << 8 | u64::from(order.0);
        mm.hw.poke(pfn.base(), mark);
        mm.hw.poke(pfn.base() + (order.bytes() - 8), mark);
        taken.push((pfn, order, mark));
    }
    let intact = taken.iter().all(|&(pfn, order, mark)| {
        let last = pfn.base() + (order.bytes() - 8);
        mm.hw.peek(pfn.base()) == mark && mm.hw.peek(last) == mark
    });
    taken.iter().for_each(|&(pfn, ..)| mm.free(pfn));
    ensure(intact, "two blocks overlap")?;
    mm.frames.drain(&LocalCpu);
    // The heap may have grown for the list.
    let grown = Order::PMD.pages();
    let after = mm.frames.free_pages(&LocalCpu);
    ensure(after == before || after + grown == before, "pages were lost")
}

fn heap(_: &Kernel) -> Result<(), &'static str> {
    let mut blocks = Vec::new();
    for size in [16, 4096, 100_000, 1 << 20] {
        let mut block: Vec<u8> = Vec::new();
        block.try_reserve_exact(size).map_err(|_| NO_MEMORY)?;
        block.resize(size, size as u8);
        blocks.try_reserve(1).map_err(|_| NO_MEMORY)?;
        blocks.push(block);
    }
    let intact = blocks.iter().all(|block| block.iter().all(|&byte| byte == block.len() as u8));
    ensure(intact, "two allocations overlap")
}

/// The leaf that maps a kernel address.
fn kernel_leaf(kernel: &Kernel, va: VirtAddr) -> Option<pte::Leaf> {
    let mut leaf = None;
    kernel.mm().walk(crate::memory::kernel_root()?, va, |_, _, entry, _| {
        if let Entry::Leaf(found) = entry {
            leaf = Some(found);
        }
    });
    leaf
}

fn write_xor_execute(kernel: &Kernel) -> Result<(), &'static str> {
    let sections = arch::boot::sections();
    let permits = arch::at::permits;
    ensure(permits(sections.text.start, Access::Read), "text cannot be read")?;
    ensure(!permits(sections.text.start, Access::Write), "text can be written")?;
    ensure(!permits(sections.rodata.start, Access::Write), "constants can be written")?;
    ensure(permits(sections.data.start, Access::Write), "data cannot be written")?;
    let executes = |va| kernel_leaf(kernel, va).is_some_and(pte::Leaf::is_kernel_exec);
    ensure(executes(sections.text.start), "text does not execute")?;
    ensure(!executes(sections.rodata.start), "constants execute")?;
    ensure(!executes(sections.data.start), "data executes")?;
    let image = arch::boot::image_phys(sections.text.start);
    let alias = arch::layout::linear(image).ok_or("the image is out of reach")?;
    ensure(uaccess::probe_u64(alias).is_none(), "the image has a second mapping")
}

fn guards(_: &Kernel) -> Result<(), &'static str> {
    let stack = arch::boot::sections().boot_stack;
    ensure(uaccess::probe_u64(stack.start).is_some(), "the boot stack is not mapped")?;
    ensure(uaccess::probe_u64(stack.start - 8).is_none(), "the boot stack has no guard")?;
    ensure(uaccess::probe_u64(VirtAddr(0)).is_none(), "null is mapped")
}

fn small_pages(kernel: &Kernel) -> Result<(), &'static str> {
    let space = space(kernel)?;
    map(&space, 1 << 30, 64 * PAGE_SIZE, Prot::ReadWrite, Huge::Never)?;
    inside(kernel, &space, || {
        for page in 0..64 {
            let va = VirtAddr((1 << 30) + page * PAGE_SIZE);
            ensure(kernel.load(&space, va) == Ok(0), "a new page is not zero")?;
            kernel.store(&space, va, page + 1).map_err(|_| "a store was refused")?;
        }
        for page in 0..64 {
            let va = VirtAddr((1 << 30) + page * PAGE_SIZE);
            ensure(kernel.load(&space, va) == Ok(page + 1), "a page lost what was written")?;
        }
        Ok(())
    })
}

fn huge_pages(kernel: &Kernel) -> Result<(), &'static str> {
    let space = space(kernel)?;
    let start = VirtAddr(1 << 30);
    map(&space, start.0, PMD_SIZE, Prot::ReadWrite, Huge::Default)?;
    let splits = kernel.mm().stats.total(Event::ThpSplitPmd);
    inside(kernel, &space, || {
        kernel.store(&space, start, 1).map_err(|_| "a store was refused")?;
        kernel.store(&space, start + (PMD_SIZE - 8), 2).map_err(|_| "a store was refused")?;
        let mut leaf = None;
        kernel.mm().walk(space.root(), start, |_, _, entry, _| leaf = entry.leaf());
        ensure(leaf.is_some_and(|leaf| leaf.order() == Order::PMD), "no huge entry")?;
        let hole = abi::VirtRange::from_size(start + PAGE_SIZE, PAGE_SIZE);
        space.unmap(hole).map_err(|_| "a hole was refused")?;
        ensure(kernel.load(&space, start) == Ok(1), "the split lost data")?;
        let last = kernel.load(&space, start + (PMD_SIZE - 8));
        ensure(last == Ok(2), "the split lost data at the end")?;
        ensure(kernel.load(&space, hole.start).is_err(), "the hole is still mapped")
    })?;
    ensure(kernel.mm().stats.total(Event::ThpSplitPmd) == splits + 1, "nothing was split")
}

fn rights(kernel: &Kernel) -> Result<(), &'static str> {
    let space = space(kernel)?;
    let (read, none) = (VirtAddr(1 << 30), VirtAddr(1 << 31));
    map(&space, read.0, PAGE_SIZE, Prot::Read, Huge::Never)?;
    map(&space, none.0, PAGE_SIZE, Prot::None, Huge::Never)?;
    inside(kernel, &space, || {
        let denied = |result| matches!(result, Err(FaultOutcome::Denied(_)));
        ensure(kernel.load(&space, read) == Ok(0), "a read was refused")?;
        ensure(denied(kernel.store(&space, read, 1)), "a read-only page was written")?;
        ensure(denied(kernel.load(&space, none).map(drop)), "a page without rights was read")?;
        let nowhere = VirtAddr(1 << 32);
        ensure(denied(kernel.load(&space, nowhere).map(drop)), "an unmapped page was read")
    })
}

fn unmap(kernel: &Kernel) -> Result<(), &'static str> {
    let space = space(kernel)?;
    let free = || kernel.mm().frames.free_pages(&LocalCpu);
    let start = VirtAddr(1 << 30);
    inside(kernel, &space, || {
        let before = free();
        map(&space, start.0, 32 * PAGE_SIZE, Prot::ReadWrite, Huge::Never)?;
        for page in 0..32 {
            let va = start + page * PAGE_SIZE;
            kernel.store(&space, va, 7).map_err(|_| "a store was refused")?;
        }
        let range = abi::VirtRange::from_size(start, 32 * PAGE_SIZE);
        space.unmap(range).map_err(|_| "unmap was refused")?;
        ensure(kernel.load(&space, start).is_err(), "the address is still there")?;
        let after = free();
        // The list of areas may have taken the heap's next block.
        ensure(after == before || after + Order::PMD.pages() == before, "pages were lost")
    })
}

fn gup(kernel: &Kernel) -> Result<(), &'static str> {
    let space = space(kernel)?;
    let va = VirtAddr(1 << 30);
    map(&space, va.0, PAGE_SIZE, Prot::ReadWrite, Huge::Never)?;
    inside(kernel, &space, || {
        kernel.store(&space, va, 42).map_err(|_| "a store was refused")?;
        let page = space.gup_fast(va, Access::Write).ok_or("no reference to a mapped page")?;
        let range = abi::VirtRange::from_size(va, PAGE_SIZE);
        space.unmap(range).map_err(|_| "unmap was refused")?;
        let word = kernel.mm().hw.peek(page.pfn().base());
        ensure(word == 42, "a referenced page was reused")?;
        ensure(space.gup_fast(va, Access::Read).is_none(), "a reference to nothing")
    })
}

fn threads(_: &Kernel) -> Result<(), &'static str> {
    let now = arch::timer::now_ns;
    fn nap(argument: usize) -> usize {
        sched::sleep_until(arch::timer::now_ns() + 1_000_000);
        argument + 1
    }
    let before = now();
    let ids: [_; 4] = core::array::from_fn(|n| sched::spawn(Spec::new("nap"), nap, n));
    for (n, id) in ids.into_iter().enumerate() {
        let id = id.map_err(|_| "a thread could not be made")?;
        ensure(sched::join(id) == Ok(n + 1), "a thread's result was lost")?;
        ensure(sched::join(id).is_err(), "a thread could be joined twice")?;
    }
    ensure(now() - before >= 1_000_000, "nobody slept")
}

fn cross_calls(_: &Kernel) -> Result<(), &'static str> {
    let answered = AtomicU64::new(0);
    let here = sched::current().map(|_| ());
    sched::cross_call(Targets::Others, &|cpu| {
        answered.fetch_or(1 << cpu.0, Ordering::Relaxed);
    });
    let expected = sched::online().iter().count() - 1;
    ensure(here.is_some(), "the caller is no thread")?;
    ensure(answered.load(Ordering::Relaxed).count_ones() as usize == expected, "a CPU is silent")
}

fn remote_unmap(kernel: &Kernel) -> Result<(), &'static str> {
    let Some(other) = sched::online().iter().nth(1) else { return Ok(()) };
    let space = space(kernel)?;
    let va = VirtAddr(1 << 30);
    map(&space, va.0, PAGE_SIZE, Prot::ReadWrite, Huge::Never)?;
    // The other CPU loads until this is 1.
    let stage = AtomicU64::new(0);
    let refused = AtomicU64::new(0);
    let stale = AtomicU64::new(0);
    let loads = AtomicU64::new(0);
    let both = sched::CpuSet::only(other).with(abi::CpuId(0));
    let run = sched::run_on(both, "remote", &|cpu| {
        kernel.inside(&space, &mut || {
            if cpu == other {
                while stage.load(Ordering::Acquire) == 0 {
                    if kernel.load(&space, va).is_ok() {
                        loads.fetch_add(1, Ordering::Relaxed);
                    }
                    sched::yield_now();
                }
                stale.store(u64::from(kernel.load(&space, va).is_ok()), Ordering::Relaxed);
            } else {
                while loads.load(Ordering::Relaxed) < 10 {
                    sched::yield_now();
                }
                let gone = space.unmap(abi::VirtRange::from_size(va, PAGE_SIZE)).is_ok();
                refused.store(u64::from(!gone), Ordering::Relaxed);
                stage.store(1, Ordering::Release);
            }
        });
    });
    ensure(run.is_ok(), "threads could not be made")?;
    ensure(refused.load(Ordering::Relaxed) == 0, "unmap was refused")?;
    ensure(stale.load(Ordering::Relaxed) == 0, "a stale translation was used")
}
