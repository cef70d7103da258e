use super::*;
use crate::bits::{AF, CONT, DIRTY, RDONLY};
use crate::granule::{K4, K16, K64, order};
use crate::{KernelProt, MemType, Soft};
use abi::{Pfn, Prot};
use proptest::prelude::*;
use std::vec::Vec;

const LEVELS: [Level; 2] = [Level::Pmd, Level::Pte];
/// Aligned to 16 pages; by hand where larger sets need more.
const PFN: Pfn = Pfn(0x14_0010);
const LEAF: Leaf<K4> = Leaf::user(Level::Pte, PFN, Prot::ReadWrite);

/// As many leaves as a set has.
fn run<G: Granule>(first: Leaf<G>) -> Vec<Leaf<G>> {
    (0..ContSet::<G>::entries(first.level()) as u64).map(|n| first.nth(n)).collect()
}

fn words<G: Granule>(leaves: &[Leaf<G>]) -> Vec<u64> {
    leaves.iter().map(|leaf| leaf.word()).collect()
}

/// Folding [`LEAF`]'s run after `change` of member `entry`.
fn fold_with(entry: usize, change: impl Fn(Leaf<K4>) -> Leaf<K4>) -> Result<ContSet<K4>, Misfit> {
    let mut leaves = run(LEAF);
    leaves[entry] = change(leaves[entry]);
    ContSet::fold(Level::Pte, 32, &words(&leaves))
}

fn misfit(entry: usize, rule: SetRule) -> Result<ContSet<K4>, Misfit> {
    Err(Misfit { entry, rule })
}

#[test]
fn sets_have_the_size_of_their_granule() {
    assert_eq!(LEVELS.map(ContSet::<K4>::entries), [16, 16]);
    assert_eq!(LEVELS.map(ContSet::<K16>::entries), [32, 128]);
    assert_eq!(LEVELS.map(ContSet::<K64>::entries), [32, 32]);
    assert_eq!((crate::CONT_PTES, crate::CONT_PTE_ORDER.pages()), (16, 16));
}

#[test]
fn a_set_by_hand() {
    let set = ContSet::fold(Level::Pte, 0, &words(&run(LEAF))).expect("a set");
    assert_eq!(set.folded().word(), 0x0078_0001_4001_0fc3);
    assert_eq!(set.member(15).word(), 0x0078_0001_4001_ffc3);
    assert_eq!(set.unfolded(), LEAF);
    assert_eq!(ContSet::new(16, LEAF), Ok(set));
    assert_eq!(ContSet::new(16, LEAF.contiguous(true)), Ok(set), "painted at once");
}

#[test]
fn any_member_s_history_is_the_set_s() {
    let old = LEAF.made_old();
    let mut leaves = run(old);
    leaves[11] = leaves[11].made_young();
    leaves[3] = leaves[3].made_dirty();
    let set = ContSet::fold(Level::Pte, 0, &words(&leaves)).expect("a set");
    assert_eq!(set.unfolded(), LEAF.made_dirty());
    assert!(set.member(7).is_dirty() && set.member(7).is_young());
    // Hardware marks a member dirty by its own bit.
    let mut leaves = run(old.contiguous(true));
    leaves[15] = Leaf::from_raw(Level::Pte, leaves[15].word() & !RDONLY);
    let set = ContSet::<K4>::read(Level::Pte, 0, &words(&leaves)).expect("a set");
    assert_eq!(set.folded(), old.made_dirty().contiguous(true));
}

#[test]
fn each_rule_is_asked_of_each_member() {
    use SetRule::{Attributes, Counted, Frame, Mark, User, Valid};
    for entry in 0..16 {
        let next = (entry + 1) % 16;
        assert_eq!(fold_with(entry, Leaf::invalidated), misfit(entry, Valid));
        assert_eq!(fold_with(entry, |leaf| leaf.with_prot(Prot::None)), misfit(entry, Valid));
        assert_eq!(fold_with(entry, |leaf| leaf.contiguous(true)), misfit(entry, Mark));
        // The first sets the measure: what is wrong with it shows in the second.
        let other = if entry == 0 { next } else { entry };
        assert_eq!(fold_with(entry, |leaf| leaf.with_prot(Prot::Read)), misfit(other, Attributes));
        let skipped = fold_with(entry, Leaf::next);
        assert_eq!(skipped, misfit(entry, Frame));
        let special = fold_with(entry, Leaf::special);
        assert_eq!(special, misfit(entry, if entry == 0 { Counted } else { Attributes }));
        assert!(fold_with(entry, |leaf| leaf.made_dirty().made_old()).is_ok());
    }
    let kernel = Leaf::<K4>::kernel(Level::Pte, PFN, KernelProt::Data, MemType::Normal);
    assert_eq!(ContSet::fold(Level::Pte, 0, &words(&run(kernel))), misfit(0, User));
    assert_eq!(ContSet::fold(Level::Pte, 0, &words(&run(LEAF.special()))), misfit(0, Counted));
}

#[test]
fn a_set_has_its_place_and_its_frames() {
    let all = words(&run(LEAF));
    let place = misfit(0, SetRule::Place);
    for index in [1, 8, 15, 17] {
        assert_eq!(ContSet::fold(Level::Pte, index, &all), place);
        assert_eq!(ContSet::new(index, LEAF), place);
    }
    assert_eq!(ContSet::fold(Level::Pte, 0, &all[..15]), place);
    assert_eq!(ContSet::fold(Level::Pte, 0, &[]), place);
    assert!(ContSet::<K4>::fold(Level::Pte, 496, &all).is_ok());
    let gigantic = Leaf::<K4>::user(Level::Pud, Pfn(0), Prot::Read);
    assert_eq!(ContSet::fold(Level::Pud, 0, &[gigantic.word()]), place, "no sets of that size");
    for frames in [1, 8, 15] {
        let crooked = Leaf::user(Level::Pte, PFN + frames, Prot::Read);
        assert_eq!(ContSet::new(0, crooked), misfit(0, SetRule::Frame));
    }
    // In a table of PMDs the frame is aligned to sixteen blocks.
    let block = |n: u64| Leaf::<K4>::user(Level::Pmd, Pfn(n << 9), Prot::Read);
    assert!(ContSet::new(0, block(16)).is_ok() && ContSet::new(0, block(8)).is_err());
}

#[test]
fn all_of_a_set_have_the_mark_or_none() {
    let (loose, set) = (words(&run(LEAF)), words(&run(LEAF.contiguous(true))));
    assert_eq!(ContSet::<K4>::check(Level::Pte, 0, &loose), Ok(None));
    assert_eq!(ContSet::check(Level::Pte, 0, &set), ContSet::new(0, LEAF).map(Some));
    assert_eq!(ContSet::read(Level::Pte, 0, &loose), misfit(0, SetRule::Mark));
    for entry in 0..16 {
        let mut torn = set.clone();
        torn[entry] = loose[entry];
        let found = ContSet::<K4>::check(Level::Pte, 0, &torn);
        assert_eq!(found, Err(Misfit { entry, rule: SetRule::Mark }));
        let mut torn = set.clone();
        torn[entry] = 0;
        let found = ContSet::<K4>::check(Level::Pte, 0, &torn);
        assert_eq!(found, Err(Misfit { entry, rule: SetRule::Valid }));
    }
}

// What is no valid entry has other things in the place of the mark.
#[test]
fn the_mark_is_read_in_valid_entries_only() {
    let check = |words: &[u64]| ContSet::<K4>::check(Level::Pte, 0, words);
    let set = run(LEAF.contiguous(true));
    let broken: Vec<u64> = set.iter().map(|leaf| leaf.invalidated().word()).collect();
    assert!(broken.iter().all(|word| word & CONT != 0));
    assert_eq!(check(&broken), Ok(None));
    let swap = Soft::Swap { device: 1, offset: 1 << 40, exclusive: false, uffd_wp: false };
    let swapped = [swap.encode(Level::Pte); 16];
    assert!(swapped[0] & CONT != 0);
    assert_eq!(check(&swapped), Ok(None));
    assert_eq!(check(&[CONT; 16]), Ok(None), "corrupt, which is another check's to report");
    assert_eq!(check(&[]), Ok(None));
}

#[test]
fn misfits_in_words() {
    let error = fold_with(3, Leaf::invalidated).expect_err("invalid");
    assert_eq!(std::format!("{error}"), "entry 3 of a contiguous set is not valid");
}

/// A run that may be folded, of any history per member; then one bit of one member flipped.
fn flip_one<G: Granule>(
    level: Level,
    (prot, history, entry, bit): (Prot, u64, usize, u32),
) -> Result<(), TestCaseError> {
    let order = order::<G>(level).0 + ContSet::<G>::entries(level).ilog2() as u8;
    let first = Leaf::<G>::user(level, Pfn(5 << order), prot);
    let mut leaves = run(first);
    for (n, leaf) in leaves.iter_mut().enumerate() {
        let used = history.rotate_right(n as u32);
        *leaf = if used & 1 != 0 { *leaf } else { leaf.made_old() };
        *leaf = if used & 2 != 0 { leaf.made_dirty() } else { *leaf };
    }
    let set = ContSet::fold(level, leaves.len(), &words(&leaves));
    let merged = leaves.iter().fold(first.made_old(), |sum, leaf| sum.absorb(*leaf));
    prop_assert_eq!(set.map(ContSet::unfolded), Ok(merged));

    // Folding and unfolding and folding again.
    let set = set.expect("a set");
    let folded = words(&run(set.folded()));
    prop_assert!(folded.iter().all(|word| word & CONT != 0));
    prop_assert_eq!(ContSet::read(level, 0, &folded), Ok(set));
    prop_assert_eq!(ContSet::check(level, 0, &folded), Ok(Some(set)));
    prop_assert_eq!(ContSet::fold(level, 0, &words(&run(set.unfolded()))), Ok(set));
    prop_assert_eq!(folded.last().copied(), Some(set.member(folded.len() - 1).word()));

    let entry = entry % leaves.len();
    let mut flipped = words(&leaves);
    flipped[entry] ^= 1 << bit;
    let is_history = AF | DIRTY | if first.is_writable() { RDONLY } else { 0 };
    let still = ContSet::<G>::fold(level, 0, &flipped);
    prop_assert_eq!(still.is_ok(), 1u64 << bit & is_history != 0, "{:?}", still);
    if let Err(Misfit { entry: found, .. }) = still {
        // What is wrong with the first alone may show in the second.
        prop_assert!(found == entry || (entry == 0 && found == 1));
    }
    let mut flipped = folded;
    flipped[entry] ^= 1 << bit;
    let still = ContSet::<G>::check(level, 0, &flipped);
    prop_assert_eq!(still.is_ok(), 1u64 << bit & is_history != 0, "{:?}", still);
    Ok(())
}

fn any_case() -> impl Strategy<Value = (Prot, u64, usize, u32)> {
    let prots = [Prot::Read, Prot::ReadWrite, Prot::ReadExec, Prot::Exec];
    (prop::sample::select(prots.to_vec()), any::<u64>(), 0..128usize, 0..64u32)
}

proptest! {
    #[test]
    fn every_bit_of_every_member_counts_4k(
        level in prop::sample::select(&LEVELS), case in any_case(),
    ) {
        flip_one::<K4>(level, case)?;
    }

    #[test]
    fn every_bit_of_every_member_counts_16k(
        level in prop::sample::select(&LEVELS), case in any_case(),
    ) {
        flip_one::<K16>(level, case)?;
    }

    #[test]
    fn every_bit_of_every_member_counts_64k(
        level in prop::sample::select(&LEVELS), case in any_case(),
    ) {
        flip_one::<K64>(level, case)?;
    }
}
