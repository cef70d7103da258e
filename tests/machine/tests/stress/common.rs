//! How long a workload is run, and where a known bug is looked for.

use granule_machine::SimWorld;
use mm::mutant::Mutant;
use pte::Caps;
use stress::{workloads, zoo};

/// How many rounds of a workload are enough: each fork of a whole block takes as long as some workloads do in all.
pub(crate) fn rounds(name: &str) -> u64 {
    if name == "migrate-vs-fork" { 4 } else { 20 }
}

/// The CPUs on which workloads commit a bug: without the newer features and with them, and those whose
/// erratum it is about.
pub(crate) fn cpus_for(bug: &str) -> [Caps; 2] {
    let repeat_tlbi = bug == Mutant::TlbiNotRepeated.name();
    [Caps::CORTEX_A72, Caps::MAX].map(|caps| Caps { repeat_tlbi, ..caps })
}

/// Steps after which a sweep begins no other workload: a second of them.
const SWEEP: u64 = 1_000_000;

/// Looks for a bug in the workload where it is at home, then in the mix of all of them, then in the others, the
/// home's neighbours sooner; on either machine. `look` runs a workload and says how many steps that took, and
/// what was found.
pub(crate) fn sweep<T>(
    bug: &str,
    mut look: impl FnMut(&'static str, Caps) -> (u64, Option<T>),
) -> Option<(&'static str, T)> {
    let home = zoo::find(bug).map_or("", zoo::habitat);
    let mut names = workloads::all::<SimWorld>().map(|workload| workload.name);
    let at = names.iter().position(|name| *name == home).unwrap_or(0);
    names.rotate_left(at);
    names[1..].sort_by_key(|name| *name != "chaos");
    let mut taken = 0;
    for (name, caps) in names.into_iter().flat_map(|name| cpus_for(bug).map(|caps| (name, caps))) {
        if taken >= SWEEP {
            break;
        }
        let (steps, found) = look(name, caps);
        if let Some(found) = found {
            return Some((name, found));
        }
        taken += steps;
    }
    None
}
