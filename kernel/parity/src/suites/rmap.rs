//! A folio that three generations map is found from any of them in all.

use super::{C, Form, G, P, PMD, Rows, Scene, Suite, case, order};
use crate::step::Step::{Check, Exit, Fork, FreezeAndThaw, Migrate, Move, Protect, Unmap, Write};
use crate::step::{ALL, BLOCK, at};
use abi::Prot;

pub(super) const SUITE: Suite = Suite {
    name: "rmap",
    upstream: "rmap",
    rows: Rows::with_forms(
        &[
            Form::Pages,
            Form::Mid,
            Form::Huge,
            Form::Ptes(order(4)),
            Form::Ptes(PMD),
            Form::Moved(PMD),
        ],
        &SCENES,
    ),
};

#[rustfmt::skip]
const SCENES: [Scene; 10] = [
    case("from the oldest", &[Fork(P, C), Fork(C, G), FreezeAndThaw(P, ALL), Check(P), Check(C), Check(G)]),
    case("from the youngest", &[Fork(P, C), Fork(C, G), FreezeAndThaw(G, ALL), Check(P), Check(C), Check(G)]),
    case("moved, from the oldest", &[Fork(P, C), Fork(C, G), Migrate(P, ALL), Check(P), Check(C), Check(G)]),
    case("moved, from the one in between", &[Fork(P, C), Fork(C, G), Migrate(C, ALL), Check(P), Check(C), Check(G)]),
    case("moved, from the youngest", &[Fork(P, C), Fork(C, G), Migrate(G, ALL), Check(P), Check(C), Check(G), Write(C, ALL), Check(P), Check(G)]),
    case("moved, and one has a copy", &[Fork(P, C), Fork(C, G), Write(C, ALL), Migrate(G, ALL), Check(P), Check(C), Check(G)]),
    case("one in between has a copy", &[Fork(P, C), Fork(C, G), Write(C, at(1, 2)), FreezeAndThaw(P, ALL), FreezeAndThaw(C, ALL), Check(P), Check(C), Check(G)]),
    case("one in between is gone", &[Fork(P, C), Fork(C, G), Exit(C), FreezeAndThaw(P, ALL), Check(P), Check(G)]),
    case("one has it elsewhere", &[Fork(P, C), Fork(C, G), Move(C, at(0, 2), 9 * BLOCK + 7), FreezeAndThaw(P, ALL), Check(P), Check(C), Check(G)]),
    case("one has a part, one no rights", &[Fork(P, C), Fork(C, G), Unmap(C, at(0, 1)), Protect(G, ALL, Prot::None), FreezeAndThaw(P, ALL), Check(P), Check(C), Protect(G, ALL, Prot::Read), Check(G)]),
];
