//! What a TLB may hold of a descriptor, what removes it, and what must not be beside it.

use abi::{Asid, Level, PAGE_SIZE, PMD_SIZE, Pfn, PhysAddr, Prot, VirtAddr};
use granule_oracle::tlb::{Cached, RUN, Reach, SpaceId, Tlb};
use pte::{
    AsidMatch, BbmLevel, Caps, Depth, KernelProt, Leaf, MemType, Scope, Table, Target, Tlbi,
};

const VA: VirtAddr = VirtAddr(1 << 40);
const SPACE: SpaceId = SpaceId(1);
const ASID: Asid = Asid(7);
const OTHER: Asid = Asid(8);
const SLOT: PhysAddr = PhysAddr(0x4000_0000);
const CAPS: Caps = Caps::CORTEX_A72;

fn page(pfn: u64) -> Leaf {
    Leaf::user(Level::Pte, Pfn(pfn), Prot::ReadWrite).made_dirty()
}

fn cached(word: u64, level: Level, run: bool) -> Option<Cached> {
    Cached::of(SPACE, ASID, VA, level, word, run)
}

fn op(asid: AsidMatch, depth: Depth, va: VirtAddr) -> Tlbi {
    let target = Target::Va { va, asid, depth, hint: None };
    Tlbi { target, scope: Scope::InnerShareable }
}

const MINE: AsidMatch = AsidMatch::Only(ASID);
const THEIRS: AsidMatch = AsidMatch::Only(OTHER);

#[test]
fn what_faults_is_not_kept() {
    assert_eq!(cached(0, Level::Pte, false), None);
    assert_eq!(cached(page(16).word() & !pte::bits::VALID, Level::Pte, false), None);
    assert_eq!(cached(page(16).word() & !pte::bits::AF, Level::Pte, false), None);
    let kept = cached(page(16).word(), Level::Pte, true).expect("it is valid");
    assert_eq!((kept.reach, kept.pfn(), kept.span()), (Reach::One, Pfn(16), PAGE_SIZE));
    let walk = cached(Table::new(Pfn(9)).word(), Level::Pmd, false).expect("it is a table");
    assert_eq!((walk.reach, walk.table(), walk.span()), (Reach::Walk, Some(Pfn(9)), PMD_SIZE));
}

/// A set may be kept as one, or page by page, each page from any member's descriptor.
#[test]
fn a_set_is_kept_whole_or_in_pieces() {
    let word = page(16).word() | pte::bits::CONT;
    let run = cached(word, Level::Pte, true).expect("it is valid");
    assert_eq!((run.reach, run.span()), (Reach::Run, RUN * PAGE_SIZE));
    let third = VA + 3 * PAGE_SIZE;
    let piece = run.piece(third);
    assert_eq!((piece.reach, piece.va, piece.pfn()), (Reach::One, third, Pfn(19)));
    // An operation on any member ends the whole, and only its own page's the piece.
    for (kept, goes) in [(run, true), (piece, false)] {
        assert_eq!(kept.is_covered(&op(MINE, Depth::LastLevel, VA)), goes);
        assert!(kept.is_covered(&op(MINE, Depth::LastLevel, third)));
    }
}

/// Leaves of all ASIDs go by any number; walks are of one, whatever is below.
#[test]
fn a_number_removes_what_it_tags() {
    let leaf = Leaf::kernel(Level::Pte, Pfn(16), KernelProt::Data, MemType::Normal);
    let global = cached(leaf.word(), Level::Pte, false).expect("it is valid");
    let own = cached(page(16).word(), Level::Pte, false).expect("it is valid");
    let walk = cached(Table::kernel(Pfn(9)).word(), Level::Pmd, false).expect("it is a table");
    let asid = Tlbi { target: Target::Asid(ASID), scope: Scope::InnerShareable };
    let by = |kept: Cached, asid, depth| kept.is_covered(&op(asid, depth, VA));
    assert!(global.serves(OTHER) && !own.serves(OTHER) && !walk.serves(OTHER));
    assert!(by(global, THEIRS, Depth::LastLevel) && !global.is_covered(&asid));
    assert!(!by(own, THEIRS, Depth::LastLevel) && own.is_covered(&asid));
    assert!(!by(walk, THEIRS, Depth::AllLevels) && walk.is_covered(&asid));
    assert!(by(walk, MINE, Depth::AllLevels) && !by(walk, MINE, Depth::LastLevel));
    assert!(by(walk, AsidMatch::Any, Depth::AllLevels));
}

#[test]
fn what_must_not_be_together_is_found() {
    let keep = |tlb: &mut Tlb, word, level, caps: &Caps| {
        let new = cached(word, level, true).expect("it is valid");
        tlb.insert(new, SLOT, 1, caps)
    };
    let mut tlb = Tlb::default();
    assert!(keep(&mut tlb, page(16).word(), Level::Pte, &CAPS).0);
    let (again, clash) = keep(&mut tlb, page(16).word(), Level::Pte, &CAPS);
    assert!(!again && clash.is_none(), "it is there");
    let (_, clash) = keep(&mut tlb, page(17).word(), Level::Pte, &CAPS);
    assert_eq!(clash.map(|held| held.cached.pfn()), Some(Pfn(16)), "another frame");
    // The size alone may change where the CPU promises to take one or the other.
    let huge = Leaf::user(Level::Pmd, Pfn(512), Prot::ReadWrite).made_dirty().word();
    let caps = Caps { bbm: BbmLevel::L2NoAbort, ..CAPS };
    for (caps, clashes) in [(CAPS, true), (caps, false)] {
        let mut tlb = Tlb::default();
        keep(&mut tlb, huge, Level::Pmd, &caps);
        assert_eq!(keep(&mut tlb, page(512).word(), Level::Pte, &caps).1.is_some(), clashes);
    }
}

/// What was read at a place is found by the place as well, until it goes.
#[test]
fn copies_are_found_by_their_place() {
    let mut tlb = Tlb::default();
    let kept = cached(page(16).word(), Level::Pte, false).expect("it is valid");
    tlb.insert(kept, SLOT, 1, &CAPS);
    assert_eq!(tlb.copies(SLOT).count(), 1);
    assert_eq!(tlb.copies(SLOT + 8).count(), 0);
    tlb.invalidate(&op(MINE, Depth::LastLevel, VA + PAGE_SIZE));
    assert_eq!((tlb.copies(SLOT).count(), tlb.leaves(VA, ASID).count()), (1, 1));
    tlb.invalidate(&op(MINE, Depth::LastLevel, VA));
    assert!(tlb.is_empty() && tlb.copies(SLOT).next().is_none());
}
