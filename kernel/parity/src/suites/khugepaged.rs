//! Small pages that become a huge one because a program asks for it: whatever is there and is not, whoever
//! else has it.

use super::{C, Form, G, P, PMD, Rows, Scene, Suite, case, order};
use crate::step::Step::{
    self, Advise, Check, Collapse, Exit, Folios, Fork, Hold, Huge as HugeEntries, Map, Migrate,
    NoCollapse, Protect, Release, Remap, Scan, SplitBlocks, SplitFolio, Write, Zeros,
};
use crate::step::{ALL, BLOCK, Part, Refused, Way, at};
use abi::{Access, Prot};
use mm::Collapsed::{Already, Copied, InPlace};
use mm::{Advice, Huge};

pub(super) const SUITE: Suite =
    Suite { name: "khugepaged", upstream: "khugepaged", rows: Rows::scenes(&SCENES) };

pub(super) const BACKGROUND: Suite =
    Suite { name: "khugepaged", upstream: "khugepaged", rows: Rows::scenes(&BACKGROUND_SCENES) };

pub(super) const FORMS: Suite = Suite {
    name: "khugepaged",
    upstream: "khugepaged",
    rows: Rows::with_forms(&[Form::Pages, Form::Mid], &FORM_SCENES),
};

/// All of the block.
const B: Part = at(0, BLOCK);
/// Memory that comes in pages, and then in huge pages.
const SMALL: Step = Map(B, Prot::ReadWrite, Huge::Never);
const WANTED: Step = Advise(P, B, Advice::Huge);
/// Memory that comes in huge pages.
const LARGE: Step = Map(B, Prot::ReadWrite, Huge::Advised);
/// Pieces of huge pages are gathered in front of this: what is there is moved away but for its first pages,
/// and back, with room for one more huge page behind it.
const FRONT: u32 = 4 * BLOCK;
const AWAY: u32 = 16 * BLOCK;
const PIECE: u16 = 128;
/// It is a huge page.
const IS_HUGE: Step = HugeEntries(P, B, 1);

/// Pieces of huge pages, gathered in front of the last, become one.
macro_rules! gathered {
    ($name:literal, $how:expr) => {
        case(
            $name,
            &[
                Map(at(FRONT, BLOCK), Prot::ReadWrite, Huge::Advised),
                Write(P, at(FRONT, BLOCK)),
                Remap(P, at(FRONT, BLOCK), PIECE, AWAY),
                Remap(P, at(AWAY, 128), 5 * PIECE, FRONT - 128),
                Write(P, at(FRONT, BLOCK)),
                Remap(P, at(FRONT - 128, 640), 2 * PIECE, AWAY),
                Remap(P, at(AWAY, 256), 6 * PIECE, FRONT - 256),
                Write(P, at(FRONT, BLOCK)),
                Remap(P, at(FRONT - 256, 768), 3 * PIECE, AWAY),
                Remap(P, at(AWAY, 384), 7 * PIECE, FRONT - 384),
                Write(P, at(FRONT, BLOCK)),
                Remap(P, at(FRONT - 384, 896), 4 * PIECE, AWAY),
                Remap(P, at(AWAY, 512), 8 * PIECE, FRONT - 512),
                Write(P, at(FRONT, BLOCK)),
                Folios(P, at(FRONT - 512, 512), PMD),
                HugeEntries(P, at(FRONT - 512, 1024), 1),
                $how,
                HugeEntries(P, at(FRONT - 512, 1024), 2),
                Check(P),
            ],
        )
    };
}

#[rustfmt::skip]
const SCENES: [Scene; 20] = [
    case("every page", &[SMALL, Write(P, B), WANTED, Collapse(P, 0, Copied), IS_HUGE, Check(P), Write(P, B), Check(P)]),
    case("no page", &[LARGE, NoCollapse(P, 0, Refused::Empty)]),
    case("one page", &[SMALL, Write(P, at(0, 1)), WANTED, Collapse(P, 0, Copied), IS_HUGE, Check(P), Zeros(P, at(1, BLOCK - 1))]),
    case("one page in the middle", &[SMALL, Write(P, at(77, 1)), WANTED, Collapse(P, 77, Copied), IS_HUGE, Check(P), Zeros(P, at(0, 77))]),
    case("half of the pages", &[SMALL, Write(P, at(0, BLOCK / 2)), WANTED, Collapse(P, 0, Copied), IS_HUGE, Check(P), Zeros(P, at(BLOCK / 2, BLOCK / 2))]),
    case("some pages, some zeros, some nothing", &[SMALL, Write(P, at(0, 9)), Zeros(P, at(9, 100)), WANTED, Collapse(P, 0, Copied), IS_HUGE, Check(P), Zeros(P, at(109, 100))]),
    case("one page of a huge page", &[LARGE, Write(P, B), Advise(P, at(1, BLOCK - 1), Advice::DontNeed), Collapse(P, 0, Copied), IS_HUGE, Check(P)]),
    case("all pages of a huge page", &[LARGE, Write(P, B), SplitBlocks(P, B), HugeEntries(P, B, 0), Collapse(P, 0, InPlace), IS_HUGE, Check(P)]),
    case("all pages of a huge page but one", &[LARGE, Write(P, B), Advise(P, at(3, 1), Advice::DontNeed), Write(P, at(3, 1)), Collapse(P, 0, Copied), IS_HUGE, Check(P)]),
    gathered!("pages of four huge pages", Collapse(P, FRONT - 512, Copied)),
    case("a child's, who has written one more", &[SMALL, Write(P, at(0, 1)), WANTED, Fork(P, C), Write(C, at(1, 1)), Collapse(C, 0, Copied), HugeEntries(C, B, 1), HugeEntries(P, B, 0), Check(C), Check(P), Exit(C), Write(P, B), Check(P)]),
    case("a child's, of a huge page", &[LARGE, Write(P, B), Fork(P, C), SplitBlocks(C, B), Collapse(C, 0, InPlace), HugeEntries(C, B, 1), IS_HUGE, Check(C), Check(P), Write(C, B), Check(P)]),
    case("a child's, of a huge page, one page written", &[LARGE, Write(P, B), Fork(P, C), Write(C, at(5, 1)), Collapse(C, 0, Copied), HugeEntries(C, B, 1), IS_HUGE, Check(C), Check(P)]),
    case("a child's, half of it shared", &[LARGE, Write(P, B), Fork(P, C), Write(C, at(0, BLOCK / 2)), Collapse(C, 0, Copied), HugeEntries(C, B, 1), Check(C), Check(P), Exit(P), Check(C)]),
    case("a huge page", &[LARGE, Write(P, B), Collapse(P, 0, Already), IS_HUGE, Check(P)]),
    case("where no huge pages are wanted", &[SMALL, Write(P, B), NoCollapse(P, 0, Refused::Unwanted), Check(P)]),
    case("where the area ends before", &[Map(at(0, BLOCK - 1), Prot::ReadWrite, Huge::Advised), Write(P, at(0, 9)), NoCollapse(P, 0, Refused::NoArea), Check(P)]),
    case("where two areas are", &[SMALL, Write(P, B), WANTED, Protect(P, at(0, 9), Prot::Read), NoCollapse(P, 0, Refused::NoArea), Check(P), Protect(P, at(0, 9), Prot::ReadWrite), Collapse(P, 0, Copied), Check(P)]),
    case("three generations, one after the other", &[SMALL, Write(P, B), WANTED, Fork(P, C), Fork(C, G), Collapse(C, 0, Copied), Check(P), Check(G), Collapse(G, 0, Copied), Collapse(P, 0, Copied), Check(P), Check(C), Check(G)]),
    case("a huge page that was split into pages", &[LARGE, Write(P, B), SplitFolio(P, 0, order(0)), Collapse(P, 0, Copied), IS_HUGE, Check(P)]),
];

/// The background, with its limits as they are at first.
const SCAN: Step = Scan(511, 256);
const NOT_HUGE: Step = HugeEntries(P, B, 0);

#[rustfmt::skip]
const BACKGROUND_SCENES: [Scene; 10] = [
    case("every page, in the background", &[SMALL, Write(P, B), WANTED, SCAN, IS_HUGE, Check(P), Write(P, B), Check(P)]),
    case("no page, in the background", &[LARGE, SCAN, NOT_HUGE]),
    case("one page, in the background", &[SMALL, Write(P, at(0, 1)), WANTED, SCAN, IS_HUGE, Check(P), Zeros(P, at(1, BLOCK - 1))]),
    case("one page too few, in the background", &[SMALL, Write(P, at(0, 256)), WANTED, Scan(255, 256), NOT_HUGE, Write(P, at(256, 1)), Check(P)]),
    case("just as many as must be, in the background", &[SMALL, Write(P, at(0, 257)), WANTED, Scan(255, 256), IS_HUGE, Check(P)]),
    case("one page of a huge page, in the background", &[LARGE, Write(P, B), Advise(P, at(1, BLOCK - 1), Advice::DontNeed), SCAN, IS_HUGE, Check(P)]),
    case("all pages of a huge page, in the background", &[LARGE, Write(P, B), SplitBlocks(P, B), NOT_HUGE, SCAN, IS_HUGE, Check(P)]),
    gathered!("pages of four huge pages, in the background", SCAN),
    case("a child's, who has written one more, in the background", &[SMALL, Write(P, at(0, 1)), WANTED, Fork(P, C), Write(C, at(1, 1)), SCAN, HugeEntries(C, B, 1), Check(C), Check(P)]),
    case("a child's, more or fewer shared, in the background", &[LARGE, Write(P, B), Fork(P, C), Write(C, at(0, 1)), SCAN, HugeEntries(C, B, 0), Scan(511, 511), HugeEntries(C, B, 1), Check(C), Check(P)]),
];

#[rustfmt::skip]
const FORM_SCENES: [Scene; 5] = [
    case("and split, and again", &[WANTED, Collapse(P, 0, Copied), SplitBlocks(P, B), Collapse(P, 0, InPlace), SplitFolio(P, 0, order(4)), Collapse(P, 0, Copied), IS_HUGE, Check(P)]),
    case("and moved, and forked", &[WANTED, Collapse(P, 0, Copied), Migrate(P, ALL), Fork(P, C), Write(C, ALL), Check(P), Check(C)]),
    case("pinned", &[WANTED, Hold(P, Way::Pin, Access::Write), NoCollapse(P, 0, Refused::Busy), Check(P), Release, Collapse(P, 0, Copied), IS_HUGE, Check(P)]),
    case("referenced", &[WANTED, Hold(P, Way::GetFast, Access::Read), NoCollapse(P, 0, Refused::Busy), Check(P), Release, Collapse(P, 0, Copied), IS_HUGE, Check(P)]),
    case("read only", &[WANTED, Protect(P, B, Prot::Read), Collapse(P, 0, Copied), IS_HUGE, Check(P), Protect(P, B, Prot::ReadWrite), Write(P, B), Check(P)]),
];
