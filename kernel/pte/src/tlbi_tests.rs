use super::*;
use proptest::prelude::*;
use std::format;

const KERNEL: VirtAddr = VirtAddr(0xffff_8000_0020_1000);
const ASID: Asid = Asid(0x1234);

fn by_va(va: VirtAddr, asid: AsidMatch, depth: Depth, hint: Option<Level>) -> Tlbi {
    Tlbi { target: Target::Va { va, asid, depth, hint }, scope: Scope::InnerShareable }
}

fn any_level() -> impl Strategy<Value = Level> {
    prop::sample::select(&Level::ALL)
}

fn any_hint() -> impl Strategy<Value = Option<Level>> {
    prop::option::of(any_level())
}

fn any_match() -> impl Strategy<Value = AsidMatch> {
    prop_oneof![
        Just(AsidMatch::Any),
        (0..4u16).prop_map(|n| AsidMatch::Only(Asid(n))),
        any::<u16>().prop_map(|n| AsidMatch::Only(Asid(n))),
    ]
}

fn any_depth() -> impl Strategy<Value = Depth> {
    prop_oneof![Just(Depth::AllLevels), Just(Depth::LastLevel)]
}

#[test]
fn upper_half_addresses_do_not_reach_the_hint() {
    let op = by_va(KERNEL, AsidMatch::Any, Depth::LastLevel, None);
    assert_eq!(op.operand(&Caps::MAX), 0x0000_0ff8_0000_0201);
    assert_eq!(op.operand(&Caps::CORTEX_A72), 0x0000_0ff8_0000_0201);
    let top = by_va(VirtAddr(u64::MAX), AsidMatch::Any, Depth::AllLevels, None);
    assert_eq!(top.operand(&Caps::MAX), 0x0000_0fff_ffff_ffff);
}

#[test]
fn hint_is_granule_and_level_and_only_where_the_cpu_reads_it() {
    let va = VirtAddr(0x0000_7fff_ffe0_0000);
    for (hint, ttl) in [
        (None, 0b0000),
        (Some(Level::Pgd), 0b0000),
        (Some(Level::Pud), 0b0101),
        (Some(Level::Pmd), 0b0110),
        (Some(Level::Pte), 0b0111),
    ] {
        let op = by_va(va, AsidMatch::Only(ASID), Depth::LastLevel, hint);
        assert_eq!(op.operand(&Caps::MAX), 0x1234_0007_ffff_fe00 | ttl << 44);
        assert_eq!(op.operand(&Caps::CORTEX_A72), 0x1234_0007_ffff_fe00);
    }
}

#[test]
fn range_operand_by_hand() {
    let target = Target::Range {
        start: KERNEL,
        scale: 2,
        num: 5,
        asid: AsidMatch::Only(ASID),
        depth: Depth::LastLevel,
        hint: Some(Level::Pmd),
    };
    let op = Tlbi { target, scope: Scope::InnerShareable };
    // ASID, TG = 01, SCALE = 10, NUM = 00101, TTL = 10, VA[48:12].
    let fields = 0x1234 << 48 | 0b01 << 46 | 0b10 << 44 | 0b00101 << 39 | 0b10 << 37;
    assert_eq!(op.operand(&Caps::MAX), fields | 0x18_0000_0201);
    assert_eq!(op.range().map(|r| r.pages()), Some(6 << 11));
}

#[test]
fn whole_operations_carry_no_more_than_an_asid() {
    let all = Tlbi { target: Target::All, scope: Scope::Local };
    assert_eq!(all.operand(&Caps::MAX), 0);
    let asid = Tlbi { target: Target::Asid(ASID), scope: Scope::Local };
    assert_eq!(asid.operand(&Caps::MAX), 0x1234_0000_0000_0000);
    assert_eq!((all.range(), asid.range()), (None, None));
}

#[test]
fn an_address_anywhere_in_a_block_removes_the_block() {
    let (any, last) = (AsidMatch::Any, Depth::LastLevel);
    let op = by_va(KERNEL + 0x1f_e000, any, last, None);
    assert!(op.covers(KERNEL, ASID, Level::Pmd, true, false));
    assert!(!op.covers(KERNEL, ASID, Level::Pte, true, false), "another page of the same 2 MiB");
    assert!(!op.covers(KERNEL - 0x20_0000, ASID, Level::Pmd, true, false), "the block before");
}

#[test]
fn global_leaves_answer_to_any_asid_but_not_to_a_flush_of_one() {
    let other = AsidMatch::Only(Asid(7));
    let op = by_va(KERNEL, other, Depth::LastLevel, None);
    assert!(op.covers(KERNEL, ASID, Level::Pte, true, true));
    assert!(!op.covers(KERNEL, ASID, Level::Pte, true, false));
    let flush = Tlbi { target: Target::Asid(ASID), scope: Scope::InnerShareable };
    assert!(!flush.covers(KERNEL, ASID, Level::Pte, true, true));
    assert!(flush.covers(KERNEL, ASID, Level::Pte, true, false));
}

#[test]
fn walks_are_tagged_even_above_global_leaves() {
    let only = |asid| by_va(KERNEL, AsidMatch::Only(asid), Depth::AllLevels, None);
    assert!(only(ASID).covers(KERNEL, ASID, Level::Pmd, false, true));
    assert!(!only(Asid(7)).covers(KERNEL, ASID, Level::Pmd, false, true));
    let any = by_va(KERNEL, AsidMatch::Any, Depth::AllLevels, None);
    assert!(any.covers(KERNEL, ASID, Level::Pmd, false, true));
    let flush = Tlbi { target: Target::Asid(ASID), scope: Scope::InnerShareable };
    assert!(flush.covers(KERNEL, ASID, Level::Pmd, false, true));
}

#[test]
fn last_level_leaves_walks_alone() {
    for hint in [None, Some(Level::Pte)] {
        let op = by_va(KERNEL, AsidMatch::Any, Depth::LastLevel, hint);
        for level in [Level::Pgd, Level::Pud, Level::Pmd] {
            assert!(!op.covers(KERNEL, ASID, level, false, false));
        }
    }
}

#[test]
fn a_wrong_hint_may_remove_nothing() {
    let leaf = |hint| by_va(KERNEL, AsidMatch::Any, Depth::AllLevels, Some(hint));
    assert!(!leaf(Level::Pte).covers(KERNEL, ASID, Level::Pmd, true, false));
    assert!(!leaf(Level::Pmd).covers(KERNEL, ASID, Level::Pte, true, false));
    assert!(leaf(Level::Pmd).covers(KERNEL, ASID, Level::Pmd, true, false));
    assert!(leaf(Level::Pte).covers(KERNEL, ASID, Level::Pmd, false, false), "a walk above");
    assert!(!leaf(Level::Pmd).covers(KERNEL, ASID, Level::Pmd, false, false), "no leaf there");
    assert!(leaf(Level::Pgd).covers(KERNEL, ASID, Level::Pte, true, false), "no hint at all");
    assert!(leaf(Level::Pgd).covers(KERNEL, ASID, Level::Pmd, false, false), "nor for walks");
}

#[test]
fn operations_read_as_an_assembler_spells_them() {
    let va = VirtAddr(0x20_0000);
    let last = by_va(va, AsidMatch::Only(Asid(5)), Depth::LastLevel, Some(Level::Pte));
    assert_eq!(format!("{last}"), "vale1is va=0x200000 asid=5 ttl=3");
    let walk = by_va(va, AsidMatch::Any, Depth::AllLevels, None);
    assert_eq!(format!("{walk}"), "vaae1is va=0x200000");
    let (start, asid, depth, hint) = (va, AsidMatch::Any, Depth::LastLevel, Some(Level::Pmd));
    let target = Target::Range { start, scale: 1, num: 7, asid, depth, hint };
    let range = Tlbi { target, scope: Scope::Local };
    assert_eq!(format!("{range}"), "rvaale1 va=0x200000 pages=512 ttl=2");
    let all = Tlbi { target: Target::All, scope: Scope::InnerShareable };
    assert_eq!(format!("{all}"), "vmalle1is");
}

#[test]
fn operations_are_counted_by_kind_wherever_they_act() {
    let leaf = by_va(KERNEL, AsidMatch::Any, Depth::LastLevel, None);
    let walk = by_va(KERNEL, AsidMatch::Any, Depth::AllLevels, None);
    assert_eq!((leaf.event(), walk.event()), (Event::TlbiVaLast, Event::TlbiVa));
    assert_eq!(Tlbi { scope: Scope::Local, ..leaf }.event(), Event::TlbiVaLast);
    let whole = [Target::All, Target::Asid(ASID)];
    let events = whole.map(|target| Tlbi { target, scope: Scope::InnerShareable }.event());
    assert_eq!(events, [Event::TlbiAll, Event::TlbiAsid]);
}

proptest! {
    #[test]
    fn by_va_operand_holds_each_field_in_its_place(
        va in any::<u64>(), asid in any_match(), depth in any_depth(), hint in any_hint(),
    ) {
        let operand = by_va(VirtAddr(va), asid, depth, hint).operand(&Caps::MAX);
        prop_assert_eq!(operand & 0xfff_ffff_ffff, va >> 12 & 0xfff_ffff_ffff);
        let tag = match asid { AsidMatch::Any => 0, AsidMatch::Only(asid) => asid.0 };
        prop_assert_eq!(operand >> 48, u64::from(tag));
        let ttl = match hint { None | Some(Level::Pgd) => 0, Some(level) => 4 + level as u64 };
        prop_assert_eq!(operand >> 44 & 0xf, ttl);
    }

    #[test]
    fn range_operand_holds_each_field_in_its_place(
        start in any::<u64>(), scale in 0..4u8, num in 0..32u8, asid in any_match(),
        depth in any_depth(), hint in any_hint(),
    ) {
        let target = Target::Range { start: VirtAddr(start), scale, num, asid, depth, hint };
        let operand = Tlbi { target, scope: Scope::InnerShareable }.operand(&Caps::MAX);
        prop_assert_eq!(operand & 0x1f_ffff_ffff, start >> 12 & 0x1f_ffff_ffff);
        prop_assert_eq!(operand >> 37 & 3, hint.map_or(0, |level| level as u64));
        prop_assert_eq!(operand >> 39 & 31, u64::from(num));
        prop_assert_eq!(operand >> 44 & 3, u64::from(scale));
        prop_assert_eq!(operand >> 46 & 3, 1);
        let tag = match asid { AsidMatch::Any => 0, AsidMatch::Only(asid) => asid.0 };
        prop_assert_eq!(operand >> 48, u64::from(tag));
    }

    // A range operation is as good as one by-VA operation on each of its pages, and no better.
    #[test]
    fn range_covers_what_its_pages_cover(
        first in 0..1u64 << 20, scale in 0..2u8, num in 0..32u8, asid in any_match(),
        depth in any_depth(), hint in any_hint(), entry in 0..1u64 << 21, tag in 0..4u16,
        level in any_level(), is_leaf in any::<bool>(), global in any::<bool>(),
    ) {
        let start = VirtAddr(first << 12);
        let target = Target::Range { start, scale, num, asid, depth, hint };
        let range = Tlbi { target, scope: Scope::InnerShareable };
        let (entry, tag) = (VirtAddr(entry << 12), Asid(tag));
        let pages = (u64::from(num) + 1) << (5 * scale + 1);
        let by_page = (0..pages).any(|n| {
            let op = by_va(start + (n << 12), asid, depth, hint);
            op.covers(entry, tag, level, is_leaf, global)
        });
        prop_assert_eq!(range.covers(entry, tag, level, is_leaf, global), by_page);
    }

    #[test]
    fn flush_of_everything_covers_everything(
        va in any::<u64>(), tag in any::<u16>(), level in any_level(), is_leaf in any::<bool>(),
        global in any::<bool>(),
    ) {
        let op = Tlbi { target: Target::All, scope: Scope::InnerShareable };
        prop_assert!(op.covers(VirtAddr(va), Asid(tag), level, is_leaf, global));
    }
}
