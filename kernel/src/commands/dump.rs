//! `ptdump`: trees in regions, and whether anything in them is both written and executed.

use super::memory::demonstration;
use super::{Context, Outcome, fail};
use crate::memory;
use ::shell::{Arg, Args, Kind};
use abi::{Level, Pfn};
use core::fmt::Write;
use mm::dump::{Half, Region};

pub(super) static ARGS: [Arg; 2] = [
    Arg::place("space", Kind::OneOf(&["kernel", "user"]), "which half").optional(),
    Arg::place("only", Kind::OneOf(&["check"]), "only what is wrong").optional(),
];

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

#[cold]
#[inline(never)]
fn dump<H: mm::Hardware>(
    mm: &mm::Mm<H>,
    root: Pfn,
    half: Half,
    all: bool,
    out: &mut dyn Write,
) -> Outcome {
    let mut written = Ok(());
    let totals = mm.dump(root, half, &mut |region: &Region| {
        let broken = region.breaks_wx();
        if (all || broken) && written.is_ok() {
            let mark = if broken { "  W^X!" } else { "" };
            written = writeln!(out, "{region}{mark}");
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
