//! Folios that are split into smaller ones, however they are mapped: contents stay, and each part has the order
//! that was asked for.

use super::{C, Form, P, PMD, Rows, Scene, Suite, case, order};
use crate::step::Step::{
    Check, Exit, Folios, Fork, Hold, Map, Move, NoSplit, Release, SplitFolio, Unmap, Write,
};
use crate::step::{ALL, BLOCK, Way, at};
use abi::{Access, Prot};
use mm::Huge;

pub(super) const SUITE: Suite = Suite {
    name: "split",
    upstream: "split_huge_page_test",
    rows: Rows::with_forms(
        &[Form::Huge, Form::Ptes(PMD), Form::Single(PMD), Form::Moved(PMD), Form::HalfShared(PMD)],
        &SCENES,
    ),
};

pub(super) const PIECES: Suite =
    Suite { name: "split", upstream: "split_huge_page_test", rows: Rows::scenes(&PIECE_SCENES) };

#[rustfmt::skip]
const SCENES: [Scene; 10] = [
    case("to order 0", &[SplitFolio(P, 0, order(0)), Folios(P, ALL, order(0)), Check(P)]),
    case("to order 2", &[SplitFolio(P, 0, order(2)), Folios(P, ALL, order(2)), Check(P)]),
    case("to order 3", &[SplitFolio(P, 0, order(3)), Folios(P, ALL, order(3)), Check(P)]),
    case("to order 4", &[SplitFolio(P, 0, order(4)), Folios(P, ALL, order(4)), Check(P)]),
    case("to order 5", &[SplitFolio(P, 0, order(5)), Folios(P, ALL, order(5)), Check(P)]),
    case("to order 6", &[SplitFolio(P, 0, order(6)), Folios(P, ALL, order(6)), Check(P)]),
    case("to order 7", &[SplitFolio(P, 0, order(7)), Folios(P, ALL, order(7)), Check(P)]),
    case("to order 8", &[SplitFolio(P, 0, order(8)), Folios(P, ALL, order(8)), Check(P)]),
    case("shared", &[Fork(P, C), SplitFolio(C, 0, order(0)), Folios(P, ALL, order(0)), Check(P), Check(C), Exit(P), Write(C, ALL), Check(C)]),
    case("held", &[Hold(P, Way::Pin, Access::Read), NoSplit(P, 0), Check(P), Release, SplitFolio(P, 0, order(0)), Check(P)]),
];

/// Where pages of several huge pages come to lie one behind the other.
const BESIDE: u32 = 8 * BLOCK;

#[rustfmt::skip]
const PIECE_SCENES: [Scene; 2] = [
    case("pages of four huge pages, side by side", &[
        Map(at(0, 4 * BLOCK), Prot::ReadWrite, Huge::Advised), Write(P, at(0, 4 * BLOCK)),
        Move(P, at(0, 1), BESIDE), Move(P, at(BLOCK + 1, 1), BESIDE + 1),
        Move(P, at(2 * BLOCK + 2, 1), BESIDE + 2), Move(P, at(3 * BLOCK + 3, 1), BESIDE + 3),
        Folios(P, at(BESIDE, 4), PMD), Check(P),
        SplitFolio(P, BESIDE, order(0)), SplitFolio(P, BESIDE + 1, order(0)), SplitFolio(P, BESIDE + 2, order(0)), SplitFolio(P, BESIDE + 3, order(0)),
        Folios(P, at(BESIDE, 4), order(0)), Check(P),
    ]),
    case("a part of a part", &[
        Map(at(0, BLOCK), Prot::ReadWrite, Huge::Advised), Write(P, at(0, BLOCK)), SplitFolio(P, 0, order(6)), Unmap(P, at(1, 40)),
        SplitFolio(P, 70, order(3)), Folios(P, at(64, 64), order(3)), Folios(P, at(128, 64), order(6)), SplitFolio(P, 0, order(0)), Check(P),
    ]),
];
