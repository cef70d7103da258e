//! What is issued, in which order and how much of it.

use super::stage::{KINDS, Kind, RW, Scene, VA, block, everywhere, leaf, page, pages};
use crate::common::machines;
use crate::common::races::misses;
use abi::{Asid, Event, Level, PAGE_SIZE, PMD_SIZE, Prot, VirtAddr, VirtRange};
use mm::audit::EntryRule;
use mm::mutant::Mutant;
use mm::{Huge, Place};
use pte::{AsidMatch, Caps, CostModel, Invalidation, Plan, Target, Tlbi};
use stress::{Rng, World};

fn text(error: impl ToString) -> String {
    error.to_string()
}

const CAPS: [Caps; 2] = [Caps::CORTEX_A72, Caps::MAX];

/// Always: a TLBI comes after the publication of the store that it is for, and is completed before anybody
/// relies on it.
#[test]
fn t9_a_tlbi_is_published_before_and_completed_after() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            for range in [pages(0, 1), pages(1, 1), pages(100, 100), block(0)] {
                scene.run_everywhere(space);
                // On a CPU that runs it: its walker goes on walking.
                let mut unmapped = Ok(());
                scene.world.inside(space, &mut || unmapped = space.unmap(range));
                unmapped.map_err(text)?;
                scene.wrong().map_or(Ok(()), Err)?;
            }
            Ok(())
        })
    };
    misses(scenario, &[Mutant::NoPublish, Mutant::NoComplete]);
}

/// A plan, and the leaves of `stride` in `range` that it leaves cached.
fn left(ops: &[Tlbi], range: VirtRange, stride: Level, asid: Asid) -> Option<VirtAddr> {
    let mut at = range.start.align_down(stride.span());
    while at < range.end {
        if !ops.iter().any(|op| op.covers(at, asid, stride, true, false)) {
            return Some(at);
        }
        at = at + stride.span();
    }
    None
}

/// Always: what is issued covers all that was asked for, on CPUs with ranges and without; and a level hint is
/// the level of every leaf, or none.
#[test]
fn t11_operands_cover_the_request_and_hints_are_true() {
    let (mut rng, asid) = (Rng::new(1, "plans", 0), Asid(9));
    for round in 0..3000u64 {
        let stride = if rng.one_in(3) { Level::Pmd } else { Level::Pte };
        let n = if rng.one_in(4) { 1 + rng.below(1100) } else { 1 + rng.below(64) };
        let range =
            VirtRange::from_size(VirtAddr(rng.below(1 << 35) * PAGE_SIZE), n * stride.span());
        let hint = [None, Some(Level::Pte), Some(Level::Pmd)][rng.below(3) as usize];
        let leaves = Invalidation::leaves(range, stride, AsidMatch::Only(asid));
        let asked = Invalidation { hint, ..leaves };
        for caps in CAPS {
            let ops: Vec<_> = Plan::new(&asked, &caps, &CostModel::of(&caps)).collect();
            assert_eq!(left(&ops, range, stride, asid), None, "{round}: {asked:?}");
            // Each of them is needed: the check sees what is missing.
            let without = rng.below(ops.len() as u64) as usize;
            let fewer: Vec<_> =
                ops.iter().enumerate().filter(|(n, _)| *n != without).map(|(_, op)| *op).collect();
            assert!(left(&fewer, range, stride, asid).is_some(), "{round}: {asked:?}");
        }
    }
    // What the memory manager says of its leaves is true: a CPU that reads the hint finds them.
    let scenario = |mutant| {
        everywhere(mutant, &[Kind::Huge], |scene| {
            let space = scene.space();
            scene.run_everywhere(space);
            space.split_block(VA);
            scene.run_everywhere(space);
            space.unmap(pages(0, 40)).map_err(text)
        })
    };
    misses(scenario, &[Mutant::HintTooDeep]);
}

/// Always: what goes from the kernel's half goes for all ASIDs: walks are cached under whichever was current.
#[test]
fn t12_kernel_ranges_are_flushed_for_all_asids() {
    let va = VirtAddr(0xffff_8000_0020_0000);
    for caps in CAPS {
        for bytes in [PAGE_SIZE, 40 * PAGE_SIZE, PMD_SIZE, 4 * PMD_SIZE] {
            let range = VirtRange::from_size(va, bytes);
            let plan = |asid| {
                let inv = Invalidation::mixed(range, asid);
                Plan::new(&inv, &caps, &CostModel::of(&caps)).collect::<Vec<_>>()
            };
            let gone = |ops: &[Tlbi], tagged| {
                // A walk above a global leaf is tagged with the number that was current.
                ops.iter().any(|op| op.covers(va, tagged, Level::Pmd, false, true))
            };
            let ops = plan(AsidMatch::Any);
            assert!((1..9).all(|n| gone(&ops, Asid(n))), "{ops:?}");
            assert!(ops.iter().all(|op| !matches!(op.target, Target::Asid(_))), "{ops:?}");
            // With the current number alone, it stays under every other one.
            let current = plan(AsidMatch::Only(Asid(7)));
            assert!(gone(&current, Asid(7)) && !gone(&current, Asid(8)), "{current:?}");
        }
    }
}

/// Always: a call takes at most so many operations as the cost model allows by address, a handful by range,
/// and otherwise one for everything.
#[test]
fn t13_a_flush_takes_a_bounded_number_of_operations() {
    let asid = AsidMatch::Only(Asid(3));
    for caps in CAPS {
        let model = CostModel::of(&caps);
        let most = if caps.tlb_range { 5 } else { model.max_ops as usize };
        let mut whole = 0;
        for n in (1..700).chain([5_000, 70_000, 1 << 21, (1 << 21) + 1, 1 << 30]) {
            let range = VirtRange::from_size(page(3), n * PAGE_SIZE);
            let inv = Invalidation::leaves(range, Level::Pte, asid);
            let ops: Vec<_> = Plan::new(&inv, &caps, &model).collect();
            assert!((1..=most).contains(&ops.len()), "{} for {n} pages", ops.len());
            whole += u32::from(ops[0].target == Target::Asid(Asid(3)));
        }
        assert!(whole > 1, "the limit was never reached");
        // A model without a limit shows what the limit is for.
        let endless = CostModel { max_ops: u32::MAX, ..model };
        let range = VirtRange::from_size(page(3), 5_000 * PAGE_SIZE);
        let inv = Invalidation::leaves(range, Level::Pte, asid);
        let ops = Plan::new(&inv, &Caps::CORTEX_A72, &endless).count();
        assert_eq!(ops, 5_000);
    }
    for config in machines() {
        for kind in KINDS {
            let scene = Scene::new(config, kind, None);
            let world = &scene.world;
            let space = scene.empty();
            space.map(Place::At(VA), 2 * PMD_SIZE, RW, Huge::Default).expect("free");
            world.inside(space, &mut || {
                for n in 0..1024 {
                    world.store(space, page(n), n).expect("memory");
                }
            });
            scene.run_everywhere(space);
            let total = || {
                [
                    Event::TlbiVa,
                    Event::TlbiVaLast,
                    Event::TlbiRange,
                    Event::TlbiAsid,
                    Event::TlbiAll,
                ]
                .map(|event| world.mm().stats.total(event))
                .iter()
                .sum::<u64>()
            };
            let before = total();
            space.protect(VirtRange::from_size(VA, 2 * PMD_SIZE), Prot::Read).expect("memory");
            let issued = total() - before;
            assert!((1..=64).contains(&issued), "{issued} for 4 MiB, {kind:?}");
        }
    }
}

/// Always: a user's leaves are its space's own, the kernel's are everybody's.
#[test]
fn t17_user_leaves_are_not_global_and_kernel_leaves_are() {
    use pte::{KernelProt, Leaf, MemType, bits::NG};
    for level in [Level::Pte, Level::Pmd] {
        for prot in [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec] {
            let user = Leaf::user(level, abi::Pfn(0x4_0000), prot);
            assert!(!user.is_valid() || user.word() & NG != 0, "{prot}");
        }
        for prot in [KernelProt::Text, KernelProt::Rodata, KernelProt::Data] {
            let kernel = Leaf::kernel(level, abi::Pfn(0x4_0000), prot, MemType::Normal);
            assert!(kernel.is_global() && kernel.word() & NG == 0, "{prot:?}");
        }
    }
    for kind in KINDS {
        let scene = Scene::plain(kind, None);
        let (_, slot, _) = super::stage::entry(scene.space(), VA);
        let global = leaf(scene.space(), VA).expect("mapped").word() & !NG;
        let found = super::stage::entry_rule(scene.audit_with(slot, global));
        assert_eq!(found, Some(EntryRule::Privileged), "{kind:?}");
        let reported = scene.world.violation().expect("the machine sees it too");
        assert!(reported.what.contains("in every space"), "{reported}");
    }
}
