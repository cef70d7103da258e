//! The machine's access flag and dirty state: who writes them, to what, and what software may lose.

use crate::common::{Rig, VA, dirty};
use abi::{Level, Prot};
use mm::{Hardware, Slot};
use pte::bits::{AF, DIRTY, RDONLY, VALID};
use pte::{Caps, Entry, Leaf};

const A72: Caps = Caps::CORTEX_A72;
const AF_ONLY: Caps = Caps { hw_af: true, ..A72 };

fn clean(rig: &Rig) -> Leaf {
    Leaf::user(Level::Pte, rig.page(), Prot::ReadWrite)
}

fn word(rig: &Rig, slot: Slot) -> u64 {
    rig.machine.peek(slot.0)
}

fn store(rig: &Rig) -> bool {
    rig.machine.on(1, || rig.machine.user_store(VA, 1))
}

#[test]
fn a_walk_sets_the_access_flag_where_hardware_does() {
    for (caps, sets) in [(A72, false), (AF_ONLY, true), (Caps::MAX, true)] {
        let rig = Rig::new(caps);
        let old = clean(&rig).made_old();
        let slot = rig.map(VA, old);
        // Nobody accesses it.
        assert_eq!(rig.cache(VA), sets);
        assert_eq!(word(&rig, slot), if sets { old.word() | AF } else { old.word() });
        assert_eq!(rig.machine.on(1, || rig.machine.user_load(VA)).is_some(), sets);
        rig.silent();
    }
}

#[test]
fn a_store_and_nothing_else_makes_dirty() {
    for (caps, sets) in [(A72, false), (AF_ONLY, false), (Caps::MAX, true)] {
        let rig = Rig::new(caps);
        let leaf = clean(&rig);
        let slot = rig.map(VA, leaf);
        for _ in 0..20 {
            assert!(rig.cache(VA));
            assert!(rig.machine.on(1, || rig.machine.user_load(VA)).is_some());
        }
        assert_eq!(word(&rig, slot), leaf.word());
        assert!(!rig.machine.wrote(leaf.pfn()));
        assert_eq!(store(&rig), sets);
        assert_eq!(rig.machine.wrote(leaf.pfn()), sets);
        let after = word(&rig, slot);
        assert_eq!(after, if sets { leaf.word() & !RDONLY } else { leaf.word() });
        assert_eq!(after & DIRTY, 0, "that bit is software's");
        rig.machine.forget_writes(leaf.pfn());
        assert!(!rig.machine.wrote(leaf.pfn()));
        rig.silent();
    }
}

/// A stale writable and clean translation does not write to a descriptor that has become something
/// else: the store faults.
#[test]
fn a_stale_translation_makes_nothing_dirty() {
    let after = |change: &dyn Fn(&Rig, Leaf) -> u64, permits: bool| {
        let rig = Rig::new(Caps::MAX);
        let leaf = clean(&rig);
        let slot = rig.map(VA, leaf);
        assert!(rig.cache(VA));
        let changed = change(&rig, leaf);
        rig.locked(Level::Pte, || {
            rig.machine.swap(slot, changed);
            for _ in 0..20 {
                assert_eq!(store(&rig), permits);
            }
            let now = if permits { changed & !RDONLY } else { changed };
            assert_eq!(word(&rig, slot), now);
            rig.publish();
            rig.flush(VA);
            rig.machine.swap(slot, leaf.word());
        });
        rig.silent();
    };
    after(&|_, leaf| leaf.word(), true);
    after(&|_, leaf| leaf.invalidated().word(), false);
    after(&|_, leaf| leaf.with_prot(Prot::None).word(), false);
    after(&|_, leaf| leaf.write_protected().word(), false);
    after(&|_, _| 0, false);
}

/// Software reads, hardware writes, software stores what it made of what it read.
#[test]
fn a_plain_store_loses_what_hardware_wrote() {
    let lost = "a plain store loses";
    let modify = |exchange: bool, new: &dyn Fn(u64) -> u64| {
        let rig = Rig::new(Caps::MAX);
        let slot = rig.map(VA, clean(&rig));
        rig.locked(Level::Pte, || {
            let read = rig.machine.load(slot);
            assert!(store(&rig));
            let new = new(read);
            if exchange {
                rig.machine.swap(slot, new);
            } else {
                rig.machine.store(slot, new);
            }
        });
        rig
    };
    let read_only = |word: u64| match pte::decode(Level::Pte, word) {
        Entry::Leaf(leaf) => leaf.write_protected().word(),
        other => panic!("{other}"),
    };
    modify(false, &read_only).caught(lost);
    modify(true, &read_only).silent();
    // What is thrown away needs no history.
    modify(false, &|_| 0).silent();
    // What is dirty anyhow loses nothing.
    modify(false, &|word| (word & !RDONLY) | DIRTY).silent();
    // What somebody has read since is known.
    let rig = Rig::new(Caps::MAX);
    let slot = rig.map(VA, clean(&rig));
    assert!(store(&rig));
    rig.locked(Level::Pte, || {
        let read = rig.machine.load(slot);
        rig.machine.store(slot, read | RDONLY);
    });
    rig.silent();
    // The access flag is history too.
    let rig = Rig::new(AF_ONLY);
    let old = dirty(rig.page()).made_old();
    let slot = rig.map(VA, old);
    assert!(rig.cache(VA));
    rig.locked(Level::Pte, || rig.machine.store(slot, old.write_protected().word()));
    rig.caught(lost);
}

/// Where hardware writes nothing, plain stores lose nothing.
#[test]
fn a_plain_store_is_enough_where_hardware_does_not_write() {
    let rig = Rig::new(A72);
    let leaf = dirty(rig.page());
    let slot = rig.map(VA, leaf);
    assert!(store(&rig));
    rig.locked(Level::Pte, || {
        rig.machine.store(slot, leaf.write_protected().word());
        assert!(store(&rig) || word(&rig, slot) & VALID != 0);
    });
    rig.silent();
}
