//! References and pins of whole areas: each way, to read and to write, one, some or all pages at once.

use super::{Form, P, Rows, Scene, Suite, case};
use crate::step::Step::{Check, HoldInTurn as Hold, Write};
use crate::step::{ALL, BLOCK, Way};
use abi::Access;

pub(super) const SUITE: Suite = Suite {
    name: "gup",
    upstream: "gup_test",
    rows: Rows::Played {
        forms: &[Form::Pages, Form::Mid, Form::Huge, Form::Untouched, Form::Zeros, Form::HugeZeros],
        scenes: &SCENES,
        pages: 2 * BLOCK,
        batches: &[1, 123, 512, 2 * BLOCK],
    },
};

const R: Access = Access::Read;
const W: Access = Access::Write;

const SCENES: [Scene; 10] = [
    case("get to read", &[Hold(P, Way::Get, R), Check(P), Write(P, ALL), Check(P)]),
    case("get to write", &[Hold(P, Way::Get, W), Check(P), Write(P, ALL), Check(P)]),
    case("get fast to read", &[Hold(P, Way::GetFast, R), Check(P), Write(P, ALL), Check(P)]),
    case("get fast to write", &[Hold(P, Way::GetFast, W), Check(P), Write(P, ALL), Check(P)]),
    case("pin to read", &[Hold(P, Way::Pin, R), Check(P), Write(P, ALL), Check(P)]),
    case("pin to write", &[Hold(P, Way::Pin, W), Check(P), Write(P, ALL), Check(P)]),
    case("pin fast to read", &[Hold(P, Way::PinFast, R), Check(P), Write(P, ALL), Check(P)]),
    case("pin fast to write", &[Hold(P, Way::PinFast, W), Check(P), Write(P, ALL), Check(P)]),
    case("pin for long to read", &[Hold(P, Way::PinLong, R), Check(P), Write(P, ALL), Check(P)]),
    case("pin for long to write", &[Hold(P, Way::PinLong, W), Check(P), Write(P, ALL), Check(P)]),
];
