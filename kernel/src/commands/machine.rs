//! `cpus`, `ps`, `dt`, `log`.

use super::{Context, Outcome, fail};
use crate::{boot, console};
use abi::{CpuId, MAX_CPUS};
use board::{Detail, Tree};
use core::fmt::Write;
use core::time::Duration;
use shell::{Args, Column, Elapsed, columns};

pub(super) fn cpus(_: &mut Context, _: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let Some(board) = boot::board() else { return Err(fail(out, format_args!("no board"))) };
    let online = || {
        (0..MAX_CPUS as u16)
            .filter_map(|n| arch::percpu::of(CpuId(n)))
            .filter(|cpu| cpu.is_online())
    };
    let heads = [
        Column::Right("cpu"),
        Column::Right("mpidr"),
        Column::Left("kind"),
        Column::Right("late walks"),
    ];
    columns(out, &heads, |row| {
        for cpu in online() {
            let described = board.cpus.iter().find(|other| other.mpidr == cpu.affinity());
            let model = described.and_then(|cpu| board.cpu_models.get(usize::from(cpu.model?)));
            let model = model.map_or("unknown", |model| model.as_str());
            let affinity = cpu.affinity();
            row([&cpu.id(), &format_args!("{affinity:#x}"), &model, &cpu.spurious_faults()]);
        }
    })?;
    let (up, all) = (online().count(), board.cpus.len());
    writeln!(out, "{up} of {all} CPUs run. All of them can do:")?;
    if let Some(caps) = boot::caps() {
        let has = |yes: bool| if yes { "yes" } else { "no" };
        writeln!(
            out,
            "  ASIDs of {} bits, physical addresses of {}",
            caps.asid_bits, caps.pa_bits
        )?;
        writeln!(out, "  TLBI by range {}, level hints {}", has(caps.tlb_range), has(caps.ttl))?;
        let (af, dirty) = (has(caps.hw_af), has(caps.hw_dirty));
        writeln!(out, "  hardware access flag {af}, dirty state {dirty}")?;
        writeln!(out, "  break-before-make level {:?}, ETS2 {}", caps.bbm, has(caps.ets2))?;
    }
    Ok(())
}

pub(super) fn ps(_: &mut Context, _: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let heads = [
        Column::Right("id"),
        Column::Left("name"),
        Column::Right("cpu"),
        Column::Left("state"),
        Column::Right("run"),
        Column::Right("switches"),
    ];
    columns(out, &heads, |row| {
        for thread in sched::threads() {
            row([
                &thread.id.number(),
                &thread.name.as_str(),
                &thread.cpu,
                &thread.state.word(),
                &Elapsed(Duration::from_nanos(thread.run_ns)),
                &thread.switches,
            ]);
        }
    })?;
    Ok(())
}

pub(super) fn dt(_: &mut Context, args: &Args<'_>, out: &mut dyn Write) -> Outcome {
    let filter = args.maybe_word("filter").unwrap_or("");
    let Some(tree) = boot::device_tree() else {
        return Err(fail(out, format_args!("the device tree is gone")));
    };
    match Tree::new(tree) {
        Ok(tree) => match tree.dump(out, filter, Detail::Properties)? {
            0 => Err(fail(out, format_args!("no node matches `{filter}`; `dt` prints them all"))),
            _ => Ok(()),
        },
        Err(error) => Err(fail(out, format_args!("{error}"))),
    }
}

pub(super) fn log(_: &mut Context, _: &Args<'_>, out: &mut dyn Write) -> Outcome {
    Ok(console::print_log(out)?)
}
