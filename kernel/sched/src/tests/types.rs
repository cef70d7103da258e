//! Names and sets.

use crate::cpu_set::AtomicCpuSet;
use crate::thread::Life;
use crate::{CpuSet, Name, Sgi};
use abi::CpuId;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::string::ToString;
use std::vec::Vec;

proptest! {
    #[test]
    fn a_cpu_set_is_a_set(members in prop::collection::vec(0u16..64, 0..80), gone in 0u16..64) {
        let mut model: BTreeSet<u16> = members.iter().copied().collect();
        let set: CpuSet = members.iter().copied().map(CpuId).collect();
        prop_assert_eq!(set.len(), model.len());
        prop_assert_eq!(set.first(), model.first().copied().map(CpuId));
        model.remove(&gone);
        let set = set.without(CpuId(gone));
        prop_assert_eq!(set.iter().map(|c| c.0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
        prop_assert!(!set.contains(CpuId(gone)));
    }

    #[test]
    fn a_name_is_the_longest_prefix_that_fits(text in "\\PC{0,24}") {
        let name = Name::new(&text);
        prop_assert!(text.starts_with(name.as_str()));
        prop_assert!(name.as_str().len() <= 16);
        let next = text[name.as_str().len()..].chars().next().map_or(0, char::len_utf8);
        prop_assert!(next == 0 || name.as_str().len() + next > 16 || text.contains('\0'));
    }
}

#[test]
fn the_first_n_cpus_are_n() {
    assert_eq!(CpuSet::first_n(0), CpuSet::EMPTY);
    assert_eq!(CpuSet::first_n(3).to_string(), "0,1,2");
    assert_eq!(CpuSet::first_n(64).len(), 64);
}

#[test]
fn one_remover_gets_each_member() {
    let set = AtomicCpuSet::new();
    set.insert(CpuId(5));
    set.insert(CpuId(2));
    assert_eq!(set.remove_first(), Some(CpuId(2)));
    assert!(set.remove(CpuId(5)));
    assert!(!set.remove(CpuId(5)));
    assert_eq!(set.remove_first(), None);
}

#[test]
fn names_with_a_cpu_are_cut_not_refused() {
    assert_eq!(Name::with_cpu("idle", CpuId(63)).as_str(), "idle/63");
    assert_eq!(Name::with_cpu("unmap-shootdown", CpuId(63)).as_str(), "unmap-shootdown/");
}

#[test]
fn life_and_generation_share_a_word_without_mixing() {
    for life in [Life::Free, Life::Joinable, Life::Claimed, Life::Detached, Life::Permanent] {
        for generation in [0, 1, u32::MAX] {
            assert_eq!(Life::of_word(life.word(generation)), (generation, life));
        }
    }
}

#[test]
fn an_sgi_is_known_by_its_number() {
    for sgi in [Sgi::Reschedule, Sgi::Call, Sgi::Stop] {
        assert_eq!(Sgi::of_intid(sgi as u32), Some(sgi));
    }
    assert_eq!(Sgi::of_intid(3), None);
}
