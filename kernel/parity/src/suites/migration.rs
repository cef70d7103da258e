//! Folios move to other frames while programs use them; whoever holds one keeps it where it is.

use super::{C, Form, P, PMD, Rows, Scene, Suite, case, order};
use crate::step::Step::{
    Check, Exit, Fork, HeldIsSeen, Hold, Migrate, MigrateInUse, NoMigrate, Protect, Release, Write,
    WriteHeld,
};
use crate::step::{ALL, Way, at};
use abi::{Access, Prot};

pub(super) const SUITE: Suite = Suite {
    name: "migration",
    upstream: "migration",
    rows: Rows::with_forms(
        &[
            Form::Pages,
            Form::Mid,
            Form::Huge,
            Form::Ptes(order(2)),
            Form::Ptes(PMD),
            Form::Single(PMD),
            Form::Moved(PMD),
            Form::HalfShared(PMD),
        ],
        &SCENES,
    ),
};

#[rustfmt::skip]
const SCENES: [Scene; 10] = [
    case("while it is read", &[MigrateInUse(P), Check(P), Write(P, ALL), Check(P)]),
    case("while it is read, shared", &[Fork(P, C), MigrateInUse(C), Check(P), Check(C), Write(P, ALL), Check(C), Check(P)]),
    case("while it is read, shared before", &[Fork(P, C), Exit(C), MigrateInUse(P), Write(P, ALL), Check(P)]),
    case("there and back again", &[Migrate(P, ALL), Migrate(P, ALL), Check(P), Write(P, ALL), Check(P)]),
    case("without rights", &[Protect(P, ALL, Prot::None), Migrate(P, ALL), Protect(P, ALL, Prot::ReadWrite), Check(P), Write(P, ALL), Check(P)]),
    case("then forked", &[Migrate(P, ALL), Fork(P, C), Write(P, ALL), Check(C), Check(P)]),
    case("pinned to write", &[Hold(P, Way::Pin, Access::Write), NoMigrate(P, ALL), HeldIsSeen(P), WriteHeld(P), Check(P), Release, Migrate(P, ALL), Check(P)]),
    case("pinned to read, when shared", &[Fork(P, C), Hold(P, Way::PinFast, Access::Read), NoMigrate(P, ALL), HeldIsSeen(P), Migrate(C, at(0, 1)), Check(C), Check(P)]),
    case("referenced", &[Hold(P, Way::GetFast, Access::Read), NoMigrate(P, ALL), HeldIsSeen(P), Release, Migrate(P, ALL), Check(P)]),
    case("then pinned", &[Migrate(P, ALL), Hold(P, Way::Pin, Access::Write), Write(P, ALL), HeldIsSeen(P), WriteHeld(P), Check(P)]),
];
