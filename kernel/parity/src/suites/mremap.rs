//! Mappings that are moved, made smaller or larger: to any alignment, and back; what was there stays, and what
//! cannot be is refused and changes nothing.

use super::{C, Form, P, PMD, Rows, Scene, Suite, case};
use crate::step::Step::{
    self, Areas, Check, Denied, Fork, Huge as HugeEntries, Map, Misaligned, Move, NoMove, NoResize,
    Remap, Resize, Unmap, Write, Zeros,
};
use crate::step::{ALL, BLOCK, Because, GIB, Part, at};
use abi::{Access, Prot};
use mm::Huge;

pub(super) const SUITE: Suite =
    Suite { name: "mremap", upstream: "mremap_test", rows: Rows::scenes(&SCENES) };

pub(super) const FORMS: Suite = Suite {
    name: "mremap",
    upstream: "mremap_test",
    rows: Rows::with_forms(&[Form::Pages, Form::Mid, Form::Huge, Form::Ptes(PMD)], &FORM_SCENES),
};

const R: Access = Access::Read;
/// A MiB in pages.
const MIB: u32 = 256;

/// Maps memory, writes some of it.
const fn pages(part: Part) -> Step {
    Map(part, Prot::ReadWrite, Huge::Never)
}
const fn blocks(part: Part) -> Step {
    Map(part, Prot::ReadWrite, Huge::Advised)
}
/// Writes the first, and the last page.
const fn first(part: Part) -> Step {
    Write(P, at(part.from, 1))
}
const fn last(part: Part) -> Step {
    Write(P, at(part.from + part.pages - 1, 1))
}

#[rustfmt::skip]
const SCENES: [Scene; 28] = [
    case("over itself is refused", &[pages(at(0, 2)), Write(P, at(0, 2)), NoMove(P, at(0, 2), 1, Because::Overlap), Check(P)]),
    case("to no page is refused", &[pages(at(0, 2)), Write(P, at(0, 2)), Misaligned(P, at(0, 2), 0, 1024), Check(P)]),
    case("from no page is refused", &[pages(at(0, 2)), Write(P, at(0, 2)), Misaligned(P, at(0, 1), 1024, 0), Check(P)]),
    case("8K, page to page", &[pages(at(1, 2)), Write(P, at(1, 2)), Move(P, at(1, 2), 11), Check(P), Denied(P, R, at(1, 1))]),
    case("2M, page to page", &[pages(at(1, BLOCK)), Write(P, at(1, BLOCK)), Move(P, at(1, BLOCK), 4 * BLOCK + 3), Check(P), Denied(P, R, at(1, 1))]),
    case("2M, block to page", &[blocks(at(0, BLOCK)), Write(P, at(0, BLOCK)), Move(P, at(0, BLOCK), 4 * BLOCK + 1), HugeEntries(P, at(4 * BLOCK, 2 * BLOCK), 0), Check(P), Denied(P, R, at(0, 1))]),
    case("2M, page to block", &[pages(at(1, BLOCK)), Write(P, at(1, BLOCK)), Move(P, at(1, BLOCK), 4 * BLOCK), Check(P), Denied(P, R, at(1, 1))]),
    case("2M, block to block", &[blocks(at(0, BLOCK)), Write(P, at(0, BLOCK)), Move(P, at(0, BLOCK), 4 * BLOCK), HugeEntries(P, at(4 * BLOCK, BLOCK), 1), Check(P), Denied(P, R, at(0, 1))]),
    case("1G, page to page", &[pages(at(1, GIB)), first(at(1, GIB)), last(at(1, GIB)), Move(P, at(1, GIB), 4 * GIB + 5), Check(P), Denied(P, R, at(1, 1))]),
    case("1G, block to block", &[blocks(at(BLOCK, GIB)), first(at(BLOCK, GIB)), last(at(BLOCK, GIB)), Move(P, at(BLOCK, GIB), 4 * GIB + BLOCK), Check(P), Denied(P, R, at(BLOCK, 1))]),
    case("1G, its own size to page", &[blocks(at(0, GIB)), first(at(0, GIB)), last(at(0, GIB)), Move(P, at(0, GIB), 4 * GIB + 1), Check(P), Denied(P, R, at(0, 1))]),
    case("1G, its own size to block", &[blocks(at(0, GIB)), first(at(0, GIB)), last(at(0, GIB)), Move(P, at(0, GIB), 4 * GIB + BLOCK), Check(P), Denied(P, R, at(0, 1))]),
    case("1G, its own size to its own size", &[blocks(at(0, GIB)), first(at(0, GIB)), last(at(0, GIB)), Move(P, at(0, GIB), 4 * GIB), Check(P), Denied(P, R, at(0, 1))]),
    case("2G, its own size to its own size", &[blocks(at(0, 2 * GIB)), first(at(0, 2 * GIB)), last(at(0, 2 * GIB)), Move(P, at(0, 2 * GIB), 4 * GIB), Check(P), Denied(P, R, at(0, 1))]),
    case("5M, of 1M to 1M", &[blocks(at(MIB, 5 * MIB)), Write(P, at(MIB, 5 * MIB)), Move(P, at(MIB, 5 * MIB), 16 * BLOCK + MIB), Check(P), Denied(P, R, at(MIB, 1))]),
    case("5M, of 1M to 1M, behind other memory", &[blocks(at(MIB, 5 * MIB)), Write(P, at(MIB, 5 * MIB)), pages(at(40 * BLOCK - 40 * MIB, 40 * MIB + MIB)), last(at(0, 40 * BLOCK + MIB)), Move(P, at(MIB, 5 * MIB), 40 * BLOCK + MIB), Check(P)]),
    case("larger, up to a neighbour, which it joins", &[pages(at(0, 2)), pages(at(4, 2)), Write(P, at(0, 2)), Write(P, at(4, 2)), Resize(P, at(0, 2), 4, false), Areas(P, 1), Zeros(P, at(2, 2)), Check(P)]),
    case("larger from inside, up to a neighbour, which it joins", &[pages(at(0, 3)), pages(at(4, 2)), Write(P, at(0, 3)), Write(P, at(4, 2)), Resize(P, at(2, 1), 2, false), Areas(P, 1), Check(P)]),
    case("larger where there is no room is refused", &[pages(at(0, 4)), Unmap(P, at(2, 1)), Write(P, at(0, 2)), Write(P, at(3, 1)), NoResize(P, at(0, 2), 4, Because::Occupied), Areas(P, 2), Check(P)]),
    case("larger where there is no room moves", &[pages(at(0, 4)), Unmap(P, at(2, 1)), Write(P, at(0, 2)), Write(P, at(3, 1)), Resize(P, at(0, 2), 4, true), Areas(P, 2), Denied(P, R, at(0, 1)), Check(P)]),
    case("smaller", &[pages(at(0, 4)), Write(P, at(0, 4)), Resize(P, at(0, 4), 1, false), Denied(P, R, at(1, 1)), Areas(P, 1), Check(P)]),
    case("smaller and elsewhere", &[pages(at(0, 4)), Write(P, at(0, 4)), Remap(P, at(0, 4), 2, 16), Denied(P, R, at(0, 1)), Denied(P, R, at(18, 1)), Areas(P, 1), Check(P)]),
    case("within what it was", &[pages(at(0, 20)), Write(P, at(0, 20)), Unmap(P, at(4, 6)), Move(P, at(10, 5), 4), Areas(P, 3), Denied(P, R, at(10, 1)), Check(P)]),
    case("1M away from its start", &[blocks(at(0, 2 * BLOCK)), Write(P, at(0, 2 * BLOCK)), Move(P, at(MIB, MIB), 16 * BLOCK), Denied(P, R, at(MIB, 1)), Areas(P, 3), Check(P)]),
    case("onto other memory is refused", &[pages(at(0, 2)), pages(at(8, 2)), Write(P, at(0, 2)), Write(P, at(8, 2)), NoMove(P, at(0, 2), 9, Because::Occupied), Check(P)]),
    case("of nothing is refused", &[pages(at(0, 2)), Write(P, at(0, 2)), NoMove(P, at(4, 2), 16, Because::Hole), NoMove(P, at(1, 2), 16, Because::Hole), Check(P)]),
    case("of two areas is refused", &[pages(at(0, 2)), Map(at(2, 2), Prot::Read, Huge::Never), Write(P, at(0, 2)), NoMove(P, at(1, 2), 16, Because::Border), Check(P)]),
    case("to no address is refused", &[pages(at(0, 2)), Write(P, at(0, 2)), NoResize(P, at(0, 2), 0, Because::BadRange), Check(P)]),
];

#[rustfmt::skip]
const FORM_SCENES: [Scene; 6] = [
    case("to a block and back", &[Move(P, ALL, 8 * BLOCK), Check(P), Move(P, at(8 * BLOCK, BLOCK), 0), Check(P), Write(P, ALL), Check(P)]),
    case("a page on, and back", &[Move(P, ALL, 8 * BLOCK + 1), Check(P), Move(P, at(8 * BLOCK + 1, BLOCK), 0), Check(P), Write(P, ALL), Check(P)]),
    case("in halves, the other way round", &[Move(P, at(0, MIB), 8 * BLOCK + MIB), Move(P, at(MIB, MIB), 8 * BLOCK), Check(P), Write(P, at(8 * BLOCK, BLOCK)), Check(P)]),
    case("one page of it", &[Move(P, at(7, 1), 8 * BLOCK), Check(P), Denied(P, R, at(7, 1))]),
    case("a child's, not the parent's", &[Fork(P, C), Move(C, ALL, 8 * BLOCK), Write(C, at(8 * BLOCK, BLOCK)), Check(P), Check(C), Write(P, ALL), Check(C)]),
    case("moved, then forked", &[Move(P, ALL, 8 * BLOCK), Fork(P, C), Write(P, at(8 * BLOCK, BLOCK)), Check(C), Check(P)]),
];
