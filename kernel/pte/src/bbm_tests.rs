use super::*;
use crate::bits::{DIRTY, SOFTWARE, SPECIAL, VALID};
use crate::{KernelProt, Leaf, MigrationKind, Soft, Table};
use abi::{Pfn, Prot};
use proptest::prelude::*;

const A72: Caps = Caps::CORTEX_A72;
const MAX: Caps = Caps::MAX;
const RESIZING: Caps = Caps { bbm: BbmLevel::L2NoAbort, ..Caps::MAX };
const PFN: Pfn = Pfn(0x4_8000);

fn user(prot: Prot) -> Leaf {
    Leaf::user(Level::Pte, PFN, prot)
}

fn pte(old: Leaf, new: Leaf, caps: &Caps) -> Change {
    change(Level::Pte, old.word(), new.word(), caps)
}

#[test]
fn validity_decides_first() {
    let leaf = user(Prot::ReadWrite);
    let other = Leaf::user(Level::Pte, Pfn(1), Prot::ReadExec).word();
    let soft = Soft::Migration {
        pfn: PFN,
        kind: MigrationKind::Write,
        young: true,
        dirty: true,
        uffd_wp: false,
    };
    let soft = soft.encode(Level::Pte);
    assert_eq!(change(Level::Pte, 0, leaf.word(), &A72), Change::FromInvalid);
    assert_eq!(change(Level::Pte, soft, other, &A72), Change::FromInvalid);
    assert_eq!(change(Level::Pte, leaf.word(), 0, &A72), Change::ToInvalid);
    assert_eq!(pte(leaf, leaf.invalidated(), &A72), Change::ToInvalid);
    assert_eq!(pte(leaf, leaf.with_prot(Prot::None), &A72), Change::ToInvalid);
    assert_eq!(change(Level::Pte, leaf.invalidated().word(), soft, &A72), Change::Free);
}

#[test]
fn rights_may_change_in_place_and_taking_them_owes_a_flush() {
    let (r, rw, rx) = (user(Prot::Read), user(Prot::ReadWrite).made_dirty(), user(Prot::ReadExec));
    for caps in [A72, MAX] {
        assert_eq!(pte(r, rw, &caps), Change::InPlace);
        assert_eq!(pte(rw, rw.write_protected(), &caps), Change::Narrowing);
        assert_eq!(pte(r, rx, &caps), Change::InPlace);
        assert_eq!(pte(rx, r, &caps), Change::Narrowing);
        assert_eq!(pte(rw, rx, &caps), Change::Narrowing, "one right came, another went");
        assert_eq!(pte(rw, rw.made_clean(), &caps), Change::Narrowing, "or the next write is lost");
    }
}

#[test]
fn execution_by_the_kernel_is_a_right_too() {
    let kernel = |prot| Leaf::kernel(Level::Pte, PFN, prot, MemType::Normal);
    let (text, rodata) = (kernel(KernelProt::Text), kernel(KernelProt::Rodata));
    assert_eq!(pte(text, rodata, &A72), Change::Narrowing);
    assert_eq!(pte(rodata, text, &A72), Change::InPlace);
    // What EL0 can write, EL1 does not execute, whatever the bit says; what it can only read, it may.
    for (leaf, taken) in
        [(user(Prot::ReadWrite).made_dirty(), Change::Free), (user(Prot::Read), Change::Narrowing)]
    {
        assert_eq!(change(Level::Pte, leaf.word() & !PXN, leaf.word(), &A72), taken);
    }
}

#[test]
fn writable_clean_is_a_right_only_where_hardware_reads_the_bit() {
    let (r, rw) = (user(Prot::Read), user(Prot::ReadWrite));
    assert_eq!(pte(r, rw, &A72), Change::Free);
    assert_eq!(pte(rw, r, &A72), Change::Free);
    assert_eq!(pte(r, rw, &MAX), Change::InPlace);
    assert_eq!(pte(rw, r, &MAX), Change::Narrowing);
}

#[test]
fn the_access_flag_owes_nothing_and_software_bits_less() {
    let leaf = user(Prot::ReadWrite);
    assert_eq!(pte(leaf, leaf.made_old(), &A72), Change::InPlace);
    assert_eq!(pte(leaf.made_old(), leaf, &A72), Change::InPlace);
    assert_eq!(pte(leaf, leaf.special(), &A72), Change::Free);
    let word = leaf.word();
    assert_eq!(change(Level::Pte, word, word | DIRTY | SPECIAL, &MAX), Change::Free);
}

#[test]
fn other_memory_needs_a_break_even_read_only_and_old() {
    let leaf = user(Prot::Read).made_old();
    let other = Leaf::user(Level::Pte, Pfn(PFN.0 + 1), Prot::Read).made_old();
    let broken = Change::BreakBeforeMake(Reason::OutputAddress);
    for caps in [A72, RESIZING] {
        assert_eq!(pte(leaf, other, &caps), broken);
    }
}

#[test]
fn attributes_need_a_break() {
    let kernel = |mem| Leaf::kernel(Level::Pte, PFN, KernelProt::Data, mem);
    let (normal, device) = (kernel(MemType::Normal), kernel(MemType::Device));
    let uncached = kernel(MemType::NormalNc);
    let breaks = |reason| Change::BreakBeforeMake(reason);
    assert_eq!(pte(normal, device, &RESIZING), breaks(Reason::MemoryType));
    assert_eq!(pte(normal, uncached, &RESIZING), breaks(Reason::Cacheability));
    assert_eq!(pte(uncached, device, &RESIZING), breaks(Reason::MemoryType));
    let unshared = normal.word() & !SH;
    assert_eq!(
        change(Level::Pte, normal.word(), unshared, &RESIZING),
        breaks(Reason::Shareability)
    );
}

/// A page that is guarded permits fewer landings. Of the overlay, and of nT in a block, nobody knows what it
/// takes away.
#[test]
fn a_guard_narrows_and_what_has_no_direction_is_flushed_both_ways() {
    let code = user(Prot::ReadExec).word();
    let pte = |old, new| change(Level::Pte, old, new, &A72);
    assert_eq!(pte(code, code | GP), Change::Narrowing);
    assert_eq!(pte(code | GP, code), Change::InPlace);
    assert_eq!(pte(code | GP, code & !AF | GP), Change::InPlace, "guarded before and after");
    for bit in 59..=62 {
        assert_eq!(pte(code, code | 1 << bit), Change::Narrowing, "bit {bit}");
        assert_eq!(pte(code | 1 << bit, code), Change::Narrowing, "bit {bit}");
    }
    let block = Leaf::user(Level::Pmd, PFN, Prot::Read).word();
    for (old, new) in [(block, block | NT), (block | NT, block)] {
        assert_eq!(change(Level::Pmd, old, new, &A72), Change::Narrowing);
    }
}

#[test]
fn global_may_become_local_but_not_the_other_way() {
    let global = Leaf::kernel(Level::Pte, PFN, KernelProt::Data, MemType::Normal).word();
    assert_eq!(change(Level::Pte, global, global | NG, &A72), Change::Narrowing);
    assert_eq!(
        change(Level::Pte, global | NG, global, &A72),
        Change::BreakBeforeMake(Reason::Global)
    );
}

#[test]
fn sizes_change_directly_only_without_conflict_aborts() {
    let block = Leaf::user(Level::Pmd, PFN, Prot::ReadWrite).word();
    let table = Table::new(Pfn(0x77)).word();
    for bbm in [BbmLevel::L0, BbmLevel::L1, BbmLevel::L2] {
        let caps = Caps { bbm, ..MAX };
        let broken = Change::BreakBeforeMake(Reason::Size);
        assert_eq!(change(Level::Pmd, block, table, &caps), broken);
        assert_eq!(change(Level::Pmd, table, block, &caps), broken);
        let leaf = user(Prot::Read);
        let broken = Change::BreakBeforeMake(Reason::Contiguous);
        assert_eq!(pte(leaf, leaf.contiguous(true), &caps), broken);
        assert_eq!(pte(leaf.contiguous(true), leaf, &caps), broken);
    }
    assert_eq!(change(Level::Pmd, block, table, &RESIZING), Change::Narrowing);
    assert_eq!(change(Level::Pmd, table, block, &RESIZING), Change::Narrowing);
    let leaf = user(Prot::Read);
    assert_eq!(pte(leaf, leaf.contiguous(true), &RESIZING), Change::Narrowing);
}

#[test]
fn a_change_of_size_permits_nothing_else_in_the_same_step() {
    let leaf = user(Prot::ReadWrite);
    let joined = leaf.contiguous(true);
    let broken = Change::BreakBeforeMake(Reason::Contiguous);
    for other in [joined.write_protected(), joined.made_dirty(), joined.with_prot(Prot::ReadExec)] {
        assert_eq!(pte(leaf, other, &RESIZING), broken);
        assert_eq!(pte(other, leaf, &RESIZING), broken);
    }
    for other in [joined.made_old(), joined.special()] {
        assert_eq!(pte(leaf, other, &RESIZING), Change::Narrowing);
    }
}

#[test]
fn the_kernel_changes_no_member_of_a_set_and_users_do() {
    let member = user(Prot::ReadWrite).made_dirty().contiguous(true);
    assert_eq!(pte(member, member.write_protected(), &A72), Change::Narrowing);
    assert_eq!(pte(member, member.made_old(), &A72), Change::InPlace);
    let kernel = Leaf::kernel(Level::Pte, PFN, KernelProt::Data, MemType::Normal);
    let set = kernel.contiguous(true);
    for caps in [A72, RESIZING] {
        let broken = Change::BreakBeforeMake(Reason::Contiguous);
        assert_eq!(pte(set, set.write_protected(), &caps), broken);
        assert_eq!(pte(set, set.made_old(), &caps), broken);
        assert_eq!(pte(set, set.special(), &caps), Change::Free);
        assert_eq!(pte(kernel, kernel.write_protected(), &caps), Change::Narrowing);
    }
}

#[test]
fn another_table_needs_a_break_and_its_limits_do_not() {
    let table = Table::kernel(PFN).word();
    let pmd = |new| change(Level::Pmd, table, new, &RESIZING);
    assert_eq!(pmd(Table::kernel(Pfn(1)).word()), Change::BreakBeforeMake(Reason::NextTable));
    assert_eq!(pmd(table | PXN_TABLE), Change::Narrowing);
    assert_eq!(pmd(table & !UXN_TABLE), Change::InPlace);
    assert_eq!(pmd(table & !AF), Change::InPlace);
    assert_eq!(pmd(table | 1 << 57), Change::Free);
}

#[test]
fn each_limit_of_a_table_narrows_what_is_below() {
    let table = Table::new(PFN).word() & !PXN_TABLE;
    for bit in 0..64 {
        let limited = table ^ 1 << bit;
        let there = change(Level::Pmd, table, limited, &A72);
        match bit {
            // No execution at EL1, none at EL0, no access for EL0, no writes.
            59..=62 => {
                assert_eq!(there, Change::Narrowing, "bit {bit}");
                assert_eq!(change(Level::Pmd, limited, table, &A72), Change::InPlace, "bit {bit}");
            }
            12..=49 => assert_eq!(there, Change::BreakBeforeMake(Reason::NextTable), "bit {bit}"),
            10 => assert_eq!(there, Change::InPlace, "the access flag"),
            0 => assert_eq!(there, Change::ToInvalid),
            1 => assert_eq!(there, Change::BreakBeforeMake(Reason::Size)),
            _ => assert_eq!(there, Change::Free, "bit {bit}"),
        }
    }
}

/// The formal rule in its own words: both cacheable, and a difference in type, shareability,
/// cacheability, or address.
fn formal_rule_demands_a_break(old: u64, new: u64) -> bool {
    let differs = |high: u32, low: u32| {
        let cut = |word: u64| word << (63 - high) >> (63 - high + low);
        cut(old) != cut(new)
    };
    differs(4, 2) || differs(9, 8) || differs(49, 12)
}

fn any_valid() -> impl Strategy<Value = u64> {
    let base = Leaf::user(Level::Pte, PFN, Prot::ReadWrite).word();
    let flips = prop::collection::vec(0..64u32, 0..4);
    flips.prop_map(move |bits| bits.into_iter().fold(base, |word, bit| word ^ 1 << bit) | VALID)
}

fn any_caps() -> impl Strategy<Value = Caps> {
    prop::sample::select(&[A72, MAX, RESIZING][..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn whatever_the_formal_rule_breaks_is_broken(
        old in any_valid(), new in any_valid(), caps in any_caps(),
    ) {
        let judged = change(Level::Pte, old, new, &caps);
        if formal_rule_demands_a_break(old, new) {
            prop_assert!(matches!(judged, Change::BreakBeforeMake(_)), "{:?}", judged);
        } else if let Change::BreakBeforeMake(reason) = judged {
            prop_assert!(matches!(reason, Reason::Contiguous | Reason::Global));
        }
    }

    #[test]
    fn nothing_is_free_but_software_bits(old in any_valid(), new in any_valid(), caps in any_caps()) {
        let free = change(Level::Pte, old, new, &caps) == Change::Free;
        // Bit 1 is fixed in a page, bit 5 ignored.
        let visible = (old ^ new) & !(SOFTWARE | 0b10 | 1 << 5);
        if visible == 0 {
            prop_assert!(free);
        }
        if free {
            // DBM means nothing where hardware does not read it or the leaf is writable anyhow;
            // PXN means nothing on what EL0 can write.
            prop_assert_eq!(visible & !(WRITE | PXN), 0);
        }
    }

    #[test]
    fn what_came_for_free_or_by_widening_goes_by_narrowing(
        old in any_valid(), new in any_valid(), caps in any_caps(),
    ) {
        let (there, back) = (change(Level::Pte, old, new, &caps), change(Level::Pte, new, old, &caps));
        let gained = rights(new, &caps) & !rights(old, &caps) != 0;
        if there == Change::InPlace && gained {
            prop_assert_eq!(back, Change::Narrowing);
        }
        prop_assert_eq!(there == Change::Free, back == Change::Free);
    }

    #[test]
    fn every_pair_of_words_is_judged(
        level in prop::sample::select(&Level::ALL), old in any::<u64>(), new in any::<u64>(),
        caps in any_caps(),
    ) {
        let judged = change(level, old, new, &caps);
        let expected = match (old & 1, new & 1) {
            (0, 0) => judged == Change::Free,
            (0, _) => judged == Change::FromInvalid,
            (_, 0) => judged == Change::ToInvalid,
            _ => !matches!(judged, Change::FromInvalid | Change::ToInvalid),
        };
        prop_assert!(expected, "{:?}", judged);
        prop_assert_eq!(change(level, old, old, &caps), Change::Free);
    }
}
