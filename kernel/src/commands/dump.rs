//! `ptdump`: trees in regions, and whether anything in them is both written and executed.

use super::memory::demonstration;
use super::{Context, Outcome, fail};
use crate::memory;
use ::shell::{Arg, Args, Kind};
use abi::{Level, Pfn, VirtAddr};
use arch::layout;
use core::fmt::{self, Write};
use mm::dump::{Half, Region};

pub(super) static ARGS: [Arg; 2] = [
    Arg::place("space", Kind::OneOf(&["kernel", "user"]), "which half").optional(),
    Arg::place("only", Kind::OneOf(&["check"]), "only what is wrong").optional(),
];

/// What lies where in the kernel's half, by its first address.
const PARTS: [(VirtAddr, &str); 5] = [
    (layout::LINEAR_BASE, "linear map"),
    (layout::KIMAGE_BASE, "image"),
    (layout::STACKS_BASE, "stacks"),
    (layout::VMALLOC_BASE, "vmalloc"),
    (layout::DEVICE_BASE, "devices"),
];

/// The part that an address lies in; the user half has none.
fn part(va: VirtAddr) -> Option<&'static str> {
    PARTS.iter().rev().find(|(start, _)| va >= *start).map(|(_, name)| *name)
}

pub(super) fn ptdump(_: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let (Some(mm), Some(root)) = (memory::mm(), memory::kernel_root()) else {
        return Err(fail(out, format_args!("memory is not managed yet")));
    };
    let all = args.maybe_word("only").is_none();
    if args.maybe_word("space") != Some("user") {
        return dump(mm, root, Half::Kernel, all, out);
    }
    let space = demonstration(mm).map_err(|why| fail(out, format_args!("{why}")))?;
    dump(mm, space.root(), Half::User, all, out)
}

/// A line for a region, below the name of the part that it begins.
fn tell(region: &Region, told: &mut Option<&'static str>, out: &mut dyn Write) -> fmt::Result {
    let part = part(region.start);
    if let Some(name) = part.filter(|_| part != *told) {
        writeln!(out, "{name}:")?;
        *told = part;
    }
    let mark = if region.breaks_wx() { "  W^X!" } else { "" };
    writeln!(out, "{region}{mark}")
}

#[cold]
#[inline(never)]
fn dump<H: mm::Hardware>(
    mm: &mm::Mm<H>,
    root: Pfn,
    half: Half,
    all: bool,
    out: &mut dyn Write,
) -> Outcome {
    let (mut written, mut told) = (Ok(()), None);
    let totals = mm.dump(root, half, &mut |region: &Region| {
        if (all || region.breaks_wx()) && written.is_ok() {
            written = tell(region, &mut told, out);
        }
    });
    written?;
    write!(out, "{} regions, {} MiB:", totals.regions, totals.bytes() >> 20)?;
    for (level, size) in [(Level::Pud, "1G"), (Level::Pmd, "2M"), (Level::Pte, "4K")] {
        write!(out, " {} by {size}", totals.leaves[level as usize])?;
    }
    writeln!(out)?;
    match totals.broken {
        0 => Ok(()),
        n => Err(fail(out, format_args!("{n} regions are both written and executed"))),
    }
}
