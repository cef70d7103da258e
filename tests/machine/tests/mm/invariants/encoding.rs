//! What a word of a table can be.

use super::stage::{
    KINDS, Kind, PAGES, Scene, VA, block, entry, entry_rule, everywhere, intruded, leaf, page,
    pages, try_split,
};
use crate::common::machines;
use crate::common::races::misses;
use abi::{Level, Order, PAGE_SIZE, Pfn, Prot};
use granule_machine::Machine;
use mm::audit::EntryRule;
use mm::frame::Flag;
use mm::mutant::Mutant;
use mm::{Hardware, Move, Space};
use pte::{Entry, Leaf, Soft};
use stress::{Rng, World};

/// Always: a word decodes to exactly one kind, as its deciding bits say; what no correct step makes is found
/// wherever it stands.
#[test]
fn i1_a_word_is_of_one_kind_and_a_wrong_one_is_found() {
    let mut rng = Rng::new(1, "words", 0);
    for _ in 0..200_000 {
        // Sparse words too: of a random one, all fields are in use.
        let word = rng.next() & (rng.next() | rng.next() >> rng.below(64));
        for level in [Level::Pmd, Level::Pte] {
            let (valid, kind, invalid) =
                (word & 1 != 0, word & 3, word & 1 == 0 && word >> 11 & 1 != 0);
            let fits = match pte::decode(level, word) {
                Entry::None => word == 0,
                Entry::Table(_) => level == Level::Pmd && kind == 3,
                Entry::Leaf(leaf) => {
                    valid && (level == Level::Pte) == (kind == 3) && leaf.word() == word
                }
                Entry::PresentInvalid(leaf) | Entry::ProtNone(leaf) => {
                    invalid && leaf.word() == word
                }
                Entry::Soft(soft) => kind == 0 && !invalid && soft.encode(level) == word,
                Entry::Corrupt(same) => word != 0 && same == word,
            };
            assert!(fits, "{level} {word:#x} is no {:?}", pte::decode(level, word));
        }
    }
    for (kind, wrong) in
        [(Kind::Small, [0b10, 0b01, 1 << 63]), (Kind::Huge, [0b10, 1 << 63, 1 << 2])]
    {
        for word in wrong {
            let scene = Scene::plain(kind, None);
            let (level, slot, _) = entry(scene.space(), VA);
            assert_eq!(pte::decode(level, word), Entry::Corrupt(word), "{level}");
            assert_eq!(entry_rule(scene.audit_with(slot, word)), Some(EntryRule::Corrupt));
            let reported = scene.world.violation().expect("the machine sees it too");
            assert!(reported.what.contains("no correct step"), "{reported}");
        }
    }
}

/// Always: a huge leaf and a huge migration entry name an aligned frame, and RAM.
#[test]
fn i2_a_huge_entry_names_aligned_ram() {
    for config in machines() {
        let scene = Scene::new(config, Kind::Huge, None);
        let space = scene.space();
        let (level, slot, _) = entry(space, VA);
        let leaf = leaf(space, VA).expect("mapped");
        let rule = |word| entry_rule(scene.audit_with(slot, word));
        for frames in [1, 8, 256] {
            let shifted = leaf.word() + frames * PAGE_SIZE;
            assert_eq!(rule(shifted), Some(EntryRule::Corrupt), "{frames} frames on");
            let soft = Soft::migration_of(leaf, false).encode(level) + frames * Soft::STEP;
            assert_eq!(pte::decode(level, soft), Entry::Corrupt(soft));
        }
        let nowhere = Leaf::user(Level::Pmd, Pfn(0x80_0000), Prot::Read).made_young();
        assert_eq!(rule(nowhere.word()), Some(EntryRule::NoRam));
        assert_eq!(scene.world.mm().audit().err(), None, "nothing else is wrong");
    }
}

/// Always: what takes a huge mapping's place is a migration entry or a device's; pages can also be swapped
/// out, broken, a device's alone, or marked.
#[test]
fn i3_a_pmd_holds_no_other_software_data_than_a_huge_mapping_can_become() {
    let scene = Scene::plain(Kind::Huge, None);
    let (_, slot, _) = entry(scene.space(), VA);
    for code in 0..32u64 {
        // A marker has no frame, but a remark.
        let offset = if code == 31 { 1 } else { 0x4_0200 };
        let word = code << 6 | offset << 12;
        assert!(matches!(pte::decode(Level::Pte, word), Entry::Soft(_)), "{code}");
        let huge = matches!(pte::decode(Level::Pmd, word), Entry::Soft(_));
        assert_eq!(huge, (25..=29).contains(&code), "{code}");
        let found = entry_rule(scene.audit_with(slot, word));
        assert_eq!(found == Some(EntryRule::Corrupt), !huge, "{code}: {found:?}");
    }
}

/// A migration entry of a space whose folio is not locked, or that nobody holds, or that it is no part of.
fn unguarded(space: &Space<'_, Machine>) -> Result<(), String> {
    let map = space.mm().frames.map();
    for n in PAGES {
        let Entry::Soft(Soft::Migration { pfn, .. }) = entry(space, page(n)).2 else { continue };
        let Some(head) = map.head(pfn) else { return Err(format!("page {n}: no folio at {pfn}")) };
        let desc = map.desc(head);
        // While it is frozen it has no references: then who froze it has locked it.
        if !desc.has(Flag::Locked) || pfn - head >= desc.order().pages() {
            return Err(format!("page {n}: nobody guards folio {head}"));
        }
    }
    Ok(())
}

/// Always: the folio of a migration entry is locked, and its frame in it; also while it is split.
#[test]
fn i4_a_migration_entry_is_of_a_locked_folio() {
    let works: [fn(&Space<'_, Machine>); 3] = [
        |space| drop(space.freeze_folio_at(VA)),
        |space| try_split(space, Order::PAGE),
        |space| try_split(space, Order(2)),
    ];
    for work in works {
        let stride = 41;
        let kinds = &[Kind::Sets, Kind::Huge];
        assert_eq!(intruded(None, kinds, stride, work, |_, space| unguarded(space)), None);
    }
    for kind in KINDS {
        let scene = Scene::plain(kind, None);
        let space = scene.space();
        assert_eq!(unguarded(space), Ok(()));
        let (level, slot, _) = entry(space, VA);
        let soft = Soft::migration_of(leaf(space, VA).expect("mapped"), true);
        scene.world.mm().hw.swap(slot, soft.encode(level));
        assert!(unguarded(space).is_err(), "{kind:?}: not noticed");
    }
}

/// Always: a leaf is present and invalid under its table's lock only, and nothing else ever becomes one.
#[test]
fn i5_an_invalid_leaf_does_not_outlive_the_lock() {
    let scenario = |mutant| {
        everywhere(mutant, &KINDS, |scene| {
            let space = scene.space();
            let frozen = space.freeze_folio_at(VA).map_err(|busy| busy.to_string())?;
            space.split_block(VA);
            frozen.thaw();
            space.protect(pages(0, 16), Prot::None).map_err(|error| error.to_string())?;
            space.split_block(VA);
            Ok(())
        })
    };
    misses(scenario, &[Mutant::SplitMigrationMkinvalid]);
    for kind in KINDS {
        let scene = Scene::plain(kind, None);
        let (_, slot, _) = entry(scene.space(), VA);
        let left = leaf(scene.space(), VA).expect("mapped").contiguous(false).invalidated();
        assert_eq!(entry_rule(scene.audit_with(slot, left.word())), Some(EntryRule::LeftInvalid));
    }
}

/// At rest: no migration entry is left, also where mappings moved while they were out.
#[test]
fn i6_no_migration_entry_is_left() {
    let scenario = |mutant| {
        let moves = |_: &Scene, space: &Space<'_, Machine>| {
            let (old, to) = (block(0), Move::To(block(4).start));
            space.remap(old, old.bytes(), to).map(drop).map_err(|error| error.to_string())
        };
        let thaws = |space: &Space<'_, Machine>| drop(space.freeze_folio_at(VA));
        intruded(mutant, &[Kind::Sets, Kind::Huge], 1, thaws, moves)
    };
    misses(scenario, &[Mutant::WalkUnclaimed]);
    let scene = Scene::plain(Kind::Huge, None);
    let space = scene.space();
    let frozen = space.freeze_folio_at(VA).expect("nobody holds it");
    let found = entry_rule(scene.world.mm().audit().err());
    assert_eq!(found, Some(EntryRule::LeftMigration));
    drop(frozen);
    assert_eq!(scene.wrong(), None);
}
