use super::*;
use crate::bits::GP;
use crate::{Entry, Leaf, Rights, decode};
use proptest::prelude::*;

const PFN: Pfn = Pfn(0x4_8000);
const PROTS: [Prot; 5] = [Prot::None, Prot::Read, Prot::ReadWrite, Prot::ReadExec, Prot::Exec];
const LEAF_LEVELS: [Level; 3] = [Level::Pud, Level::Pmd, Level::Pte];

#[test]
fn user_leaf_words_by_hand() {
    // PXN | UXN | nG | AF | SH | AP[2] | AP[1] | page.
    assert_eq!(Leaf::user(Level::Pte, PFN, Prot::Read).word(), 0x0060_0000_4800_0fc3);
    assert_eq!(Leaf::user(Level::Pte, PFN, Prot::ReadExec).word(), 0x0020_0000_4800_0fc3);
    assert_eq!(Leaf::user(Level::Pte, PFN, Prot::Exec).word(), 0x0020_0000_4800_0f83);
    assert_eq!(Leaf::user(Level::Pmd, PFN, Prot::ReadWrite).word(), 0x0068_0000_4800_0fc1);
    assert_eq!(Leaf::user(Level::Pmd, PFN, Prot::None).word(), 0x0060_0000_4800_0f80);
    assert_eq!(Leaf::user(Level::Pte, PFN, Prot::None).word(), 0x0060_0000_4800_0f82);
}

#[test]
fn kernel_leaf_words_by_hand() {
    let leaf = |prot, mem| Leaf::kernel(Level::Pte, PFN, prot, mem).word();
    assert_eq!(leaf(KernelProt::Text, MemType::Normal), 0x0040_0000_4800_0783);
    assert_eq!(leaf(KernelProt::Rodata, MemType::Normal), 0x0060_0000_4800_0783);
    assert_eq!(leaf(KernelProt::Data, MemType::Normal), 0x00e8_0000_4800_0703);
    assert_eq!(leaf(KernelProt::Data, MemType::Device), 0x00e8_0000_4800_0707);
    assert_eq!(leaf(KernelProt::Data, MemType::NormalNc), 0x00e8_0000_4800_070b);
}

#[test]
fn nothing_is_executable_by_both_or_writable_and_executable() {
    for level in LEAF_LEVELS {
        for prot in [KernelProt::Text, KernelProt::Rodata, KernelProt::Data] {
            for mem in [MemType::Normal, MemType::Device, MemType::NormalNc] {
                let leaf = Leaf::kernel(level, Pfn(0), prot, mem);
                let runs = prot == KernelProt::Text && mem != MemType::Device;
                assert_eq!((leaf.is_exec(), leaf.is_kernel_exec()), (runs, runs));
                assert!(leaf.word() & UXN != 0 && leaf.is_global());
                assert!(!(leaf.is_exec() && leaf.word() & RDONLY == 0));
                assert!(!leaf.is_user() && !leaf.permits(Access::Read));
                assert_eq!(leaf.mem_type(), Some(mem));
            }
        }
        for prot in PROTS {
            let leaf = Leaf::user(level, Pfn(0), prot).made_dirty();
            let never = leaf.word() & PXN != 0 && !leaf.is_kernel_exec();
            assert!(never, "user memory is never executable at EL1");
            assert_eq!(leaf.is_exec(), matches!(prot, Prot::ReadExec | Prot::Exec));
            assert_eq!(leaf.is_user(), !matches!(prot, Prot::None | Prot::Exec), "{prot}");
            assert!(!leaf.is_global());
        }
    }
}

/// Rights worked out as bits are those given step by step, whatever the leaf says: also where no step leads.
#[test]
fn rights_as_bits_are_rights_step_by_step() {
    let bits = [VALID, NG, USER, RDONLY, WRITE, PXN, UXN, GP, CONT, DIRTY, AF, SPECIAL, UFFD_WP];
    let replaced = bits[..8].iter().sum();
    for all in 0..1_u64 << bits.len() {
        let word = (0..bits.len()).filter(|n| all >> n & 1 != 0).map(|n| bits[n]).sum::<u64>();
        let leaf = Leaf::from_raw(Level::Pte, word | PFN.0 << 12);
        for prot in PROTS {
            let other = leaf.clear(replaced).set(rights(prot));
            let other = if leaf.is_dirty() { other.made_dirty() } else { other };
            let other = if other.is_valid() { other } else { other.contiguous(false) };
            assert_eq!(leaf.with_rights(Rights::of(prot)), other, "{leaf:?} {prot}");
        }
    }
}

#[test]
fn rights_are_those_asked_for() {
    for prot in PROTS {
        let leaf = Leaf::user(Level::Pte, PFN, prot);
        for access in [Access::Read, Access::Write, Access::Exec] {
            assert_eq!(leaf.permits(access), prot.allows(access), "{prot} {access}");
        }
        assert_eq!((leaf.prot(), u64::from(leaf)), (prot, leaf.word()));
        assert_eq!(Rights::of(prot).is_writable(), prot.allows(Access::Write), "{prot}");
        for other in PROTS {
            assert_eq!(leaf.with_prot(other), Leaf::user(Level::Pte, PFN, other));
            let foreign = Leaf::from_raw(Level::Pte, leaf.word() & !PXN | GP);
            assert_eq!(foreign.with_prot(other), Leaf::user(Level::Pte, PFN, other));
        }
    }
}

#[test]
fn invalidation_keeps_all_but_the_permission_to_use() {
    let leaf = Leaf::user(Level::Pmd, PFN, Prot::ReadWrite).made_dirty();
    let broken = leaf.invalidated();
    assert_eq!(broken.word(), leaf.word() & !VALID);
    assert!(broken.is_writable() && broken.is_dirty() && broken.is_young());
    assert!(![Access::Read, Access::Write, Access::Exec].into_iter().any(|a| broken.permits(a)));
    assert_eq!((broken.prot(), broken.pfn()), (Prot::ReadWrite, PFN));
    assert_eq!(broken.invalidated(), broken, "already invalid is no error");
    assert_eq!(decode(Level::Pmd, broken.word()), Entry::PresentInvalid(broken));
}

#[test]
fn execute_only_made_invalid_is_not_taken_for_no_rights() {
    let leaf = Leaf::user(Level::Pmd, PFN, Prot::Exec);
    assert_eq!(decode(Level::Pmd, leaf.word()), Entry::Leaf(leaf));
    assert!(leaf.permits(Access::Exec) && !leaf.permits(Access::Read));
    let broken = leaf.invalidated();
    assert_eq!(decode(Level::Pmd, broken.word()), Entry::PresentInvalid(broken));
    assert_eq!(broken.prot(), Prot::Exec);
}

#[test]
fn the_contiguous_mark_means_nothing_in_an_invalid_leaf_and_does_not_come_back() {
    let leaf = Leaf::user(Level::Pte, PFN, Prot::ReadWrite).contiguous(true);
    assert!(leaf.is_contiguous() && leaf.word() & CONT != 0);
    assert!(leaf.with_prot(Prot::Read).is_contiguous());
    assert!(!leaf.invalidated().is_contiguous());
    assert_eq!(leaf.invalidated().word(), leaf.word() & !VALID, "nothing else changes");
    let none = leaf.with_prot(Prot::None);
    assert!(!none.is_contiguous() && !none.with_prot(Prot::Read).is_contiguous());
}

#[test]
fn a_write_fault_on_a_machine_without_dirty_state_maps_dirty_at_once() {
    let leaf = Leaf::user(Level::Pte, PFN, Prot::ReadWrite);
    assert!(leaf.is_writable() && !leaf.is_dirty() && leaf.word() & RDONLY != 0);
    let dirty = leaf.made_dirty();
    assert!(dirty.is_dirty() && dirty.word() & RDONLY == 0);
}

#[test]
fn order_is_what_the_level_maps() {
    let order = |level| Leaf::user(level, Pfn(0), Prot::Read).order();
    assert_eq!(order(Level::Pte), Order::PAGE);
    assert_eq!(order(Level::Pmd), Order::PMD);
    assert_eq!(order(Level::Pud).bytes(), 1 << 30);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    WriteProtect,
    MakeWritable,
    MakeDirty,
    MakeClean,
    MakeYoung,
    MakeOld,
    Protect(Prot),
    UffdProtect,
    /// What a store does where hardware manages dirty state.
    HardwareWrite,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::WriteProtect),
        Just(Step::MakeWritable),
        Just(Step::MakeDirty),
        Just(Step::MakeClean),
        Just(Step::MakeYoung),
        Just(Step::MakeOld),
        prop::sample::select(&PROTS).prop_map(Step::Protect),
        Just(Step::UffdProtect),
        Just(Step::HardwareWrite),
    ]
}

proptest! {
    // The bits follow a model that knows only "writable", "dirty" and "young".
    #[test]
    fn no_sequence_of_steps_loses_dirt_or_leaves_the_four_states(
        level in prop::sample::select(&LEAF_LEVELS), steps in prop::collection::vec(any_step(), 1..40),
    ) {
        let pfn = Pfn(5 << 18);
        let mut leaf = Leaf::user(level, pfn, Prot::ReadWrite);
        let (mut writable, mut dirty, mut young, mut valid) = (true, false, true, true);
        for step in steps {
            match step {
                Step::WriteProtect => { leaf = leaf.write_protected(); writable = false; }
                Step::MakeWritable => { leaf = leaf.made_writable(); writable = true; }
                Step::MakeDirty => { leaf = leaf.made_dirty(); dirty = true; }
                Step::MakeClean => { leaf = leaf.made_clean(); dirty = false; }
                Step::MakeYoung => { leaf = leaf.made_young(); young = true; }
                Step::MakeOld => { leaf = leaf.made_old(); young = false; }
                Step::Protect(prot) => {
                    leaf = leaf.with_prot(prot);
                    (writable, valid) = (prot == Prot::ReadWrite, prot != Prot::None);
                }
                Step::UffdProtect => { leaf = leaf.uffd_protected(); writable = false; }
                Step::HardwareWrite if valid && writable => {
                    leaf = Leaf::from_raw(level, leaf.word() & !RDONLY);
                    dirty = true;
                }
                Step::HardwareWrite => {}
            }
            prop_assert_eq!(leaf.is_writable(), writable);
            prop_assert_eq!(leaf.is_dirty(), dirty);
            prop_assert_eq!(leaf.is_young(), young);
            prop_assert_eq!(leaf.is_valid(), valid);
            prop_assert_eq!(leaf.word() & RDONLY == 0, writable && dirty);
            prop_assert_eq!(leaf.pfn(), pfn);
        }
    }

    #[test]
    fn leaves_decode_to_themselves(
        level in prop::sample::select(&LEAF_LEVELS), prot in prop::sample::select(&PROTS),
        frame in 0..1u64 << 18, special in any::<bool>(), contiguous in any::<bool>(),
        steps in prop::collection::vec(any_step(), 0..4),
    ) {
        let per_leaf = level.span() >> 12;
        let pfn = Pfn((frame * per_leaf) & 0xf_ffff_ffff);
        let mut leaf = Leaf::user(level, pfn, prot).contiguous(contiguous);
        for step in steps {
            leaf = match step {
                Step::MakeDirty => leaf.made_dirty(),
                Step::MakeOld => leaf.made_old(),
                Step::UffdProtect => leaf.uffd_protected(),
                _ => leaf.write_protected(),
            };
        }
        if special { leaf = leaf.special(); }
        let expected = if prot == Prot::None { Entry::ProtNone(leaf) } else { Entry::Leaf(leaf) };
        prop_assert_eq!(decode(level, leaf.word()), expected);
        prop_assert_eq!((leaf.pfn(), leaf.level()), (pfn, level));
        let marked = contiguous && prot != Prot::None;
        prop_assert_eq!((leaf.is_special(), leaf.is_contiguous()), (special, marked));
        let broken = leaf.invalidated();
        prop_assert_eq!(decode(level, broken.word()).leaf(), Some(broken));
        prop_assert_eq!((broken.revalidated(), leaf.revalidated()), (leaf, leaf));
    }
}
