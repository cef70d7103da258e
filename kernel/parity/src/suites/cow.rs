//! A page that two have: who writes gets his own, and who holds it past all page tables goes on seeing what
//! he may. The references are those of a pipe that was given pages, the pins those of a device.

use super::{C, Form, P, PMD, Rows, Scene, Suite, case, order};
use crate::step::Step::{
    Check, Collapse, Exit, Fork, HeldIsSeen, HeldStays, Hold, Protect, Unmap, Write, WriteHeld,
};
use crate::step::{ALL, BLOCK, Part, Way, at};
use abi::{Access, Prot};
use mm::Collapsed::InPlace;

pub(super) const SUITE: Suite =
    Suite { name: "cow", upstream: "cow", rows: Rows::with_forms(&FORMS, &SCENES) };

pub(super) const ZEROS: Suite = Suite {
    name: "cow of zeros",
    upstream: "cow",
    rows: Rows::with_forms(&[Form::Zeros, Form::HugeZeros], &ZERO_SCENES),
};

pub(super) const COLLAPSED: Suite = Suite {
    name: "cow of collapsed",
    upstream: "cow",
    rows: Rows::with_forms(&[Form::Ptes(PMD)], &COLLAPSED_SCENES),
};

const FORMS: [Form; 34] = [
    Form::Pages,
    Form::Huge,
    Form::Ptes(order(2)),
    Form::Ptes(order(3)),
    Form::Ptes(order(4)),
    Form::Ptes(order(5)),
    Form::Ptes(order(6)),
    Form::Ptes(order(7)),
    Form::Ptes(order(8)),
    Form::Ptes(PMD),
    Form::Single(order(2)),
    Form::Single(order(3)),
    Form::Single(order(4)),
    Form::Single(order(5)),
    Form::Single(order(6)),
    Form::Single(order(7)),
    Form::Single(order(8)),
    Form::Single(PMD),
    Form::Moved(order(2)),
    Form::Moved(order(3)),
    Form::Moved(order(4)),
    Form::Moved(order(5)),
    Form::Moved(order(6)),
    Form::Moved(order(7)),
    Form::Moved(order(8)),
    Form::Moved(PMD),
    Form::HalfShared(order(2)),
    Form::HalfShared(order(3)),
    Form::HalfShared(order(4)),
    Form::HalfShared(order(5)),
    Form::HalfShared(order(6)),
    Form::HalfShared(order(7)),
    Form::HalfShared(order(8)),
    Form::HalfShared(PMD),
];

const R: Access = Access::Read;
const W: Access = Access::Write;
/// All may be read only, and then written again: whoever must not write at once must still be caught.
const RO: crate::step::Step = Protect(P, ALL, Prot::Read);
const RW: crate::step::Step = Protect(P, ALL, Prot::ReadWrite);

#[rustfmt::skip]
const SCENES: [Scene; 14] = [
    case("both write after a fork", &[Fork(P, C), Write(P, ALL), Check(C), Write(C, ALL), Check(P), Check(C)]),
    case("the same, rights taken and given", &[Fork(P, C), RO, RW, Write(P, ALL), Check(C), Write(C, ALL), Check(P)]),
    case("child has a reference and unmaps", &[Fork(P, C), Hold(C, Way::Get, R), Unmap(C, ALL), Write(P, ALL), HeldStays]),
    case("the same, rights taken and given to the parent", &[Fork(P, C), Hold(C, Way::Get, R), Unmap(C, ALL), RO, RW, Write(P, ALL), HeldStays]),
    case("parent has a reference, forks and unmaps", &[Hold(P, Way::Get, R), Fork(P, C), Unmap(P, ALL), Write(C, ALL), HeldStays]),
    case("parent forks, has a reference and unmaps", &[Fork(P, C), Hold(P, Way::Get, R), Unmap(P, ALL), Write(C, ALL), HeldStays]),
    case("pinned to write, rights taken and given", &[Hold(P, Way::PinLong, W), RO, RW, Write(P, ALL), HeldIsSeen(P), WriteHeld(P), Check(P)]),
    case("pinned to write, then a fork", &[Hold(P, Way::PinLong, W), Fork(P, C), Write(P, ALL), HeldIsSeen(P), WriteHeld(P), Check(P), Check(C)]),
    case("pinned to read when shared", &[Fork(P, C), Hold(P, Way::Pin, R), Write(P, ALL), HeldIsSeen(P), Check(C)]),
    case("pinned fast to read when shared", &[Fork(P, C), Hold(P, Way::PinFast, R), Write(P, ALL), HeldIsSeen(P), Check(C)]),
    case("pinned to read when shared before", &[Fork(P, C), Exit(C), Hold(P, Way::Pin, R), Write(P, ALL), HeldIsSeen(P)]),
    case("pinned fast to read when shared before", &[Fork(P, C), Exit(C), Hold(P, Way::PinFast, R), Write(P, ALL), HeldIsSeen(P)]),
    case("pinned to read when nobody else's", &[RO, Hold(P, Way::Pin, R), RW, Write(P, ALL), HeldIsSeen(P)]),
    case("pinned fast to read when nobody else's", &[RO, Hold(P, Way::PinFast, R), RW, Write(P, ALL), HeldIsSeen(P)]),
];

#[rustfmt::skip]
const ZERO_SCENES: [Scene; 4] = [
    case("both write after a fork", &[Fork(P, C), Write(P, ALL), Check(C), Write(C, ALL), Check(P), Check(C)]),
    case("referenced to read", &[Hold(P, Way::Get, R), Write(P, ALL), HeldStays, Check(P)]),
    case("pinned for long to read", &[Hold(P, Way::PinLong, R), Write(P, ALL), HeldIsSeen(P), Check(P)]),
    case("pinned for long to read when shared", &[Fork(P, C), Hold(P, Way::PinLong, R), Write(P, ALL), HeldIsSeen(P), Check(C)]),
];

/// The halves of the block.
const LOWER: Part = at(0, BLOCK / 2);
const UPPER: Part = at(BLOCK / 2, BLOCK / 2);

#[rustfmt::skip]
const COLLAPSED_SCENES: [Scene; 4] = [
    case("before a fork", &[Collapse(P, 0, InPlace), Fork(P, C), Write(C, ALL), Check(P), Check(C), Write(P, ALL), Check(C)]),
    case("after a fork", &[Fork(P, C), Collapse(P, 0, InPlace), Write(P, ALL), Check(C), Check(P), Write(C, ALL), Check(P)]),
    case("after a fork, the child has the lower half", &[Fork(P, C), Unmap(C, UPPER), Collapse(P, 0, InPlace), Write(P, ALL), Check(C), Check(P)]),
    case("after a fork, the child has the upper half", &[Fork(P, C), Unmap(C, LOWER), Collapse(P, 0, InPlace), Write(P, ALL), Check(C), Check(P)]),
];
