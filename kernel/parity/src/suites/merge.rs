//! Areas that are no different any more become one, whatever of them was written, and whoever else has it; areas
//! that differ stay apart.

use super::{C, P, Rows, Scene, Suite, case};
use crate::step::Step::{
    self, Advise, Areas, Check, Denied, Exit, Fork, Map, Move, Protect, Unmap, Write,
};
use crate::step::{Part, at};
use abi::{Access, Prot};
use mm::{Advice, Huge};

pub(super) const SUITE: Suite =
    Suite { name: "merge", upstream: "merge", rows: Rows::scenes(&SCENES) };

const LEFT: Part = at(0, 5);
const RIGHT: Part = at(5, 5);
const BOTH: Part = at(0, 10);
const AWAY: u32 = 100;

const fn area(part: Part) -> Step {
    Map(part, Prot::ReadWrite, Huge::Never)
}
const fn ro(part: Part) -> Step {
    Protect(P, part, Prot::Read)
}
const fn rw(part: Part) -> Step {
    Protect(P, part, Prot::ReadWrite)
}
/// Moves five pages.
const fn go(from: u32, to: u32) -> Step {
    Move(P, at(from, 5), to)
}

#[rustfmt::skip]
const SCENES: [Scene; 27] = [
    case("rights, neither written", &[area(BOTH), ro(LEFT), Areas(P, 2), rw(LEFT), Areas(P, 1), Write(P, BOTH), Check(P)]),
    case("rights, left written", &[area(BOTH), Write(P, LEFT), ro(RIGHT), Areas(P, 2), rw(RIGHT), Areas(P, 1), Write(P, RIGHT), Check(P)]),
    case("rights, right written", &[area(BOTH), Write(P, RIGHT), ro(LEFT), Areas(P, 2), rw(LEFT), Areas(P, 1), Write(P, LEFT), Check(P)]),
    case("rights, both written", &[area(BOTH), Write(P, BOTH), ro(LEFT), Denied(P, Access::Write, LEFT), Areas(P, 2), rw(LEFT), Areas(P, 1), Check(P)]),
    case("rights, the middle", &[area(BOTH), Write(P, BOTH), ro(at(3, 4)), Denied(P, Access::Write, at(3, 1)), Areas(P, 3), rw(at(3, 4)), Areas(P, 1), Check(P)]),
    case("rights, the outer two", &[area(BOTH), Write(P, BOTH), ro(at(3, 4)), ro(at(0, 3)), Areas(P, 2), ro(at(7, 3)), Areas(P, 1), Check(P)]),
    case("rights, written while apart", &[area(BOTH), ro(LEFT), Write(P, RIGHT), rw(LEFT), Areas(P, 1), Write(P, LEFT), Check(P)]),
    case("rights, target forked", &[area(BOTH), Write(P, LEFT), ro(RIGHT), Fork(P, C), rw(RIGHT), Areas(P, 1), Areas(C, 2), Write(P, BOTH), Check(P), Check(C)]),
    case("rights, source forked", &[area(BOTH), Write(P, RIGHT), ro(RIGHT), Fork(P, C), rw(RIGHT), Areas(P, 1), Areas(C, 2), Write(P, BOTH), Check(P), Check(C)]),
    case("advice", &[area(BOTH), Write(P, BOTH), Advise(P, LEFT, Advice::Huge), Areas(P, 2), Advise(P, RIGHT, Advice::Huge), Areas(P, 1), Check(P)]),
    case("mapped side by side", &[area(LEFT), Write(P, LEFT), area(RIGHT), Areas(P, 1), Write(P, RIGHT), Check(P)]),
    case("mapped in front", &[area(RIGHT), Write(P, RIGHT), area(LEFT), Areas(P, 1), Write(P, LEFT), Check(P)]),
    case("mapped in between", &[area(at(0, 3)), area(at(6, 4)), Write(P, at(0, 3)), Write(P, at(6, 4)), area(at(3, 3)), Areas(P, 1), Check(P)]),
    case("mapped side by side, forked", &[area(LEFT), Write(P, LEFT), Fork(P, C), area(RIGHT), Areas(P, 1), Write(P, BOTH), Check(P), Check(C)]),
    case("mapped with other rights", &[area(LEFT), Write(P, LEFT), Map(RIGHT, Prot::Read, Huge::Never), Areas(P, 2), Check(P)]),
    case("unmapped and mapped anew", &[area(BOTH), Write(P, BOTH), Unmap(P, at(3, 4)), Denied(P, Access::Read, at(3, 1)), Areas(P, 2), area(at(3, 4)), Areas(P, 1), Check(P)]),
    case("moved away and back", &[area(BOTH), Write(P, BOTH), go(5, AWAY), Denied(P, Access::Read, RIGHT), Areas(P, 2), go(AWAY, 5), Areas(P, 1), Check(P)]),
    case("moved away and back, forked", &[area(BOTH), Write(P, BOTH), go(5, AWAY), Fork(P, C), go(AWAY, 5), Areas(P, 1), Areas(C, 2), Write(P, BOTH), Check(P), Check(C)]),
    case("moved one after the other, right first", &[area(BOTH), Write(P, BOTH), go(5, AWAY + 5), go(0, AWAY), Areas(P, 1), Check(P), Write(P, at(AWAY, 10)), Check(P)]),
    case("moved one after the other, left first", &[area(BOTH), Write(P, BOTH), go(0, AWAY), go(5, AWAY + 5), Areas(P, 1), Check(P), Write(P, at(AWAY, 10)), Check(P)]),
    case("moved one after the other, forked", &[area(BOTH), Write(P, BOTH), Fork(P, C), go(0, AWAY), go(5, AWAY + 5), Areas(P, 1), Areas(C, 1), Write(P, at(AWAY, 10)), Check(P), Check(C)]),
    case("moved between its neighbours", &[area(at(0, 15)), Write(P, at(0, 15)), go(5, AWAY), Areas(P, 3), go(AWAY, 5), Areas(P, 1), Check(P)]),
    case("moved between its neighbours, forked", &[area(at(0, 15)), Write(P, at(0, 15)), go(5, AWAY), Fork(P, C), go(AWAY, 5), Areas(P, 1), Areas(C, 3), Write(P, at(0, 15)), Check(P), Check(C), Exit(P), Check(C)]),
    case("untouched, moved beside what is written", &[area(LEFT), Write(P, LEFT), area(at(AWAY, 5)), go(AWAY, 5), Areas(P, 2), Write(P, RIGHT), Check(P)]),
    case("written, moved beside what is not", &[area(LEFT), area(at(AWAY, 5)), Write(P, at(AWAY, 5)), go(AWAY, 5), Areas(P, 2), Write(P, LEFT), Check(P)]),
    case("written, moved beside what is, too", &[area(LEFT), Write(P, LEFT), area(at(AWAY, 5)), Write(P, at(AWAY, 5)), go(AWAY, 5), Areas(P, 2), Write(P, BOTH), Check(P)]),
    case("of another place, between two", &[area(LEFT), area(at(10, 5)), area(at(AWAY, 5)), Write(P, LEFT), Write(P, at(10, 5)), Write(P, at(AWAY, 5)), go(AWAY, 5), Areas(P, 3), Write(P, at(0, 15)), Check(P)]),
];
