//! Who counts what, and that it is what there is.

use super::stage::{
    KINDS, Kind, PAGES, RW, Scene, VA, block, entry, everywhere, fork_kept, frame, head, intruded,
    page, pages, try_split,
};
use crate::common::machines;
use crate::common::races::misses;
use abi::{Access, Order, PAGE_SIZE, PMD_SIZE};
use granule_machine::Machine;
use mm::audit::Allow;
use mm::frame::{Flag, Kind as Owned, PIN_BIAS};
use mm::gup::GupError;
use mm::mutant::Mutant;
use mm::{Advice, FaultOutcome, Huge, Mm, Place, Space};
use stress::World;

/// At rest: a folio's references are its entries, what is held, and pins: 1024 for a page, one for a large
/// folio.
#[test]
fn i10_references_are_entries_and_what_is_held() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let mm = scene.world.mm();
            let space = scene.space();
            let head = head(space, VA);
            let refs = || mm.frames.map().desc(head).refs();
            let alone = refs();
            if alone != mm.frames.map().desc(head).maps() {
                return Err(format!("{alone} references of nobody"));
            }
            let held = space.gup(VA, Access::Read).map_err(|error| error.to_string())?;
            let pin = space.pin(VA, Access::Write).map_err(|error| error.to_string())?;
            let small = mm.frames.map().desc(head).order() == Order::PAGE;
            let more = 1 + if small { PIN_BIAS } else { 1 };
            let exactly = refs() == alone + more && mm.pins(head) == 1;
            let audits = |n| mm.audit_but(Allow::refs(u64::from(n))).is_ok();
            if !exactly || !audits(more) || audits(more - 1) {
                return Err(format!("{} references for {alone} and {more}", refs()));
            }
            drop((held, pin));
            // A migration entry owns nothing, in one piece or in 512.
            let frozen = space.freeze_folio_at(VA).map_err(|busy| busy.to_string())?;
            space.split_block(VA);
            drop(frozen);
            let entries = if scene.kind == Kind::Huge { 512 } else { alone };
            (refs() == entries).then_some(()).ok_or(format!("{} for {entries} entries", refs()))
        })
    };
    misses(scenario, &[Mutant::SplitCountsMigration]);
}

/// At rest: mappings are entries, PMD mappings are huge entries.
#[test]
fn i11_mappings_are_entries() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let _child = super::stage::kept(space.fork().map_err(|oom| oom.to_string())?);
            let mm = scene.world.mm();
            let head = head(space, VA);
            let desc = mm.frames.map().desc(head);
            let (maps, huge) = match (scene.kind, desc.order()) {
                (Kind::Huge, _) => (2, 2),
                (_, order) => (2 * order.pages() as u32, 0),
            };
            if (desc.maps(), mm.pmd_maps(head)) != (maps, huge) {
                return Err(format!("{} mappings, {} huge", desc.maps(), mm.pmd_maps(head)));
            }
            if scene.kind == Kind::Huge {
                space.split_block(VA);
                if (desc.maps(), mm.pmd_maps(head)) != (513, 1) {
                    return Err(format!("{} mappings, {} huge", desc.maps(), mm.pmd_maps(head)));
                }
            }
            let _ = space.split_folio_at(VA, Order::PAGE);
            space.unmap(pages(1, 1)).map_err(|error| error.to_string())
        })
    };
    misses(scenario, &[Mutant::SplitKeepsMapping]);
}

/// At rest: migration entries are no references, no mappings and no pins, however they are cut.
#[test]
fn i12_migration_entries_own_nothing() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let _child = super::stage::kept(space.fork().map_err(|oom| oom.to_string())?);
            let frozen = space.freeze_folio_at(VA).map_err(|busy| busy.to_string())?;
            let (mm, head) = (scene.world.mm(), frozen.head());
            let counts = || {
                let desc = mm.frames.map().desc(head);
                (desc.refs(), desc.maps(), mm.pmd_maps(head), mm.pins(head))
            };
            let whole = counts();
            space.split_block(VA);
            let cut = counts();
            space.unmap(pages(0, 3)).map_err(|error| error.to_string())?;
            let less = counts();
            // The one is whose the work is.
            let one = (1, 0, 0, 0);
            let right = [whole, cut, less] == [one; 3];
            drop(frozen);
            right.then_some(()).ok_or(format!("whole {whole:?}, cut {cut:?}, less {less:?}"))
        })
    };
    misses(scenario, &[Mutant::SplitCountsMigration]);
}

/// Every folio that has fewer references than mappings, as it is right now.
fn overmapped(mm: &Mm<Machine>) -> Result<(), String> {
    let mut folios = mm.frames.map().blocks().filter(|(_, desc)| desc.kind() == Owned::Folio);
    let found = folios.find(|(_, desc)| {
        let counts = desc.counts();
        counts.refs() < counts.maps()
    });
    found.map_or(Ok(()), |(head, desc)| Err(format!("folio {head}: {}", desc.counts())))
}

/// Always: a folio has at least as many references as mappings, at each step of whatever maps or unmaps.
#[test]
fn i13_references_are_never_fewer_than_mappings() {
    let works: [fn(&Space<'_, Machine>); 3] = [
        |space| space.unmap(pages(1, 200)).expect("memory"),
        |space| fork_kept(space),
        |space| try_split(space, Order::PAGE),
    ];
    let scenario = |mutant| {
        works.iter().find_map(|work| {
            intruded(mutant, &[Kind::Sets, Kind::Huge], 17, work, |scene, _| {
                overmapped(scene.world.mm())
            })
        })
    };
    misses(scenario, &[Mutant::SplitKeepsMapping]);
}

/// Always: no count begins anew. Whoever pins and never unpins is refused in the end.
#[test]
fn i14_counts_end_before_they_begin_anew() {
    let scenario = |mutant| {
        let scene = Scene::plain(Kind::Small, mutant);
        let space = scene.space();
        let most = (1 << 30) / u64::from(PIN_BIAS);
        let pins = (0..=most)
            .take_while(|_| space.pin_fast(VA, Access::Write).map(std::mem::forget).is_some());
        let pinned = pins.count() as u64;
        let refused = matches!(space.pin(VA, Access::Write), Err(GupError::TooMany(_)))
            && matches!(space.gup(VA, Access::Write), Err(GupError::TooMany(_)));
        let head = head(space, VA);
        let desc = scene.world.mm().frames.map().desc(head);
        let sane = u64::from(scene.world.mm().pins(head)) == pinned && desc.refs() > desc.maps();
        (pinned > most || !refused || !sane).then(|| format!("{pinned} pins, and no refusal"))
    };
    misses(scenario, &[Mutant::RefsUnlimited]);
}

/// Always: zeros that everybody shares are not counted, and nobody's alone.
#[test]
fn i15_shared_zeros_are_never_counted() {
    let scenario = |mutant| {
        everywhere(mutant, &[Kind::Small, Kind::Huge], |scene| {
            let (mm, space) = (scene.world.mm(), scene.empty());
            space
                .map(Place::At(VA), PMD_SIZE, RW, Huge::Default)
                .map_err(|error| error.to_string())?;
            let read = |n| space.fault(page(n), Access::Read) == FaultOutcome::Mapped;
            if !read(0) || (scene.kind == Kind::Small && !read(1)) {
                return Err("no zeros".into());
            }
            let _child = super::stage::kept(space.fork().map_err(|oom| oom.to_string())?);
            let zeros = head(space, VA);
            let desc = mm.frames.map().desc(zeros);
            let uncounted =
                || (desc.refs(), desc.maps(), desc.counts().is_exclusive()) == (1, 0, false);
            let fast = space.gup_fast(VA, Access::Read).is_some();
            let pin = space.pin(VA, Access::Read).map_err(|error| error.to_string())?;
            if fast || !desc.has(Flag::Zero) || !uncounted() {
                return Err(format!("zeros {zeros}: {}", desc.counts()));
            }
            drop(pin);
            // Cut, written, protected and unmapped, they stay uncounted.
            scene.world.inside(space, &mut || {
                let _ = scene.world.store(space, page(1), 1);
            });
            space.split_block(VA);
            space.protect(block(0), abi::Prot::Read).map_err(|error| error.to_string())?;
            space.unmap(pages(0, 1)).map_err(|error| error.to_string())?;
            uncounted().then_some(()).ok_or(format!("zeros {zeros}: {}", desc.counts()))
        })
    };
    misses(scenario, &[Mutant::HugeZeroNotSpecial, Mutant::GupSpecial]);
}

/// A page that a program would reach though its folio has no references.
fn reached(space: &Space<'_, Machine>) -> Result<(), String> {
    let map = space.mm().frames.map();
    for n in PAGES {
        let found = entry(space, page(n)).2.leaf().is_some();
        let Some(pfn) = found.then(|| frame(space, page(n))).flatten() else { continue };
        let head = map.head(pfn).unwrap_or(pfn);
        let desc = map.desc(head);
        if desc.kind() != Owned::Folio || desc.refs() == 0 {
            return Err(format!(
                "page {n} maps {pfn}, which is {:?}, {}",
                desc.kind(),
                desc.counts()
            ));
        }
    }
    Ok(())
}

/// Always: what has no references nothing maps, and nobody finds.
#[test]
fn i16_without_references_nothing_maps_it() {
    let works: [fn(&Space<'_, Machine>); 2] =
        [|space| try_split(space, Order(2)), |space| space.unmap(block(0)).expect("memory")];
    for work in works {
        let kinds = &[Kind::Small, Kind::Huge];
        assert_eq!(intruded(None, kinds, 29, work, |_, space| reached(space)), None);
    }
    // Frozen means that nobody else holds it: with a reference it is refused.
    let scenario = |mutant| {
        everywhere(mutant, &[Kind::Sets, Kind::Huge], |scene| {
            let space = scene.space();
            let held = space.gup(page(9), Access::Read).map_err(|error| error.to_string())?;
            let split = space.split_folio_at(VA, Order::PAGE);
            let refused = split.is_err();
            if refused {
                drop(held);
            } else {
                std::mem::forget(held);
            }
            refused.then_some(()).ok_or("a folio was taken apart that somebody holds".into())
        })
    };
    misses(scenario, &[Mutant::SplitHeld]);
}

/// At rest: resident pages are those that entries name. They are counted by scanning, so what a program
/// does to its memory shows at once, and zeros do not count.
#[test]
fn i17_resident_pages_are_those_that_entries_name() {
    for config in machines() {
        for kind in KINDS {
            let scene = Scene::new(config, kind, None);
            let mm = scene.world.mm();
            let rss = || mm.audit().expect("in order").rss;
            let space = scene.space();
            // Seven pages, as sets 0, 1, 6, 15 and 31, or all.
            let all = [7, 5 * 16, 512][kind as usize];
            assert_eq!(rss(), all, "{kind:?}");
            let child = space.fork().expect("memory");
            assert_eq!(rss(), 2 * all, "{kind:?}: in both");
            drop(child);
            let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
            let migrating = Allow { migration: true, ..Allow::refs(1) };
            assert_eq!(
                mm.audit_but(migrating).expect("in order").rss,
                all,
                "on its way is resident"
            );
            drop(frozen);
            space.advise(pages(1, 1), Advice::DontNeed).expect("an area");
            assert_eq!(rss(), all - 1);
            space.map(Place::At(VA + 8 * PMD_SIZE), PAGE_SIZE, RW, Huge::Never).expect("free");
            assert_eq!(space.fault(VA + 8 * PMD_SIZE, Access::Read), FaultOutcome::Mapped);
            assert_eq!(rss(), all - 1, "zeros are nobody's");
            // An entry that is lost is a page that is not resident, and counted all the same.
            let (_, slot, _) = entry(space, page(100));
            assert!(scene.audit_with(slot, 0).is_some(), "a page is lost, and nobody notices");
        }
    }
}
