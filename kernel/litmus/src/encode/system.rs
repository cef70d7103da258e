//! Barriers, TLBIs and system registers.

use super::{Host, rd};
use crate::instruction::{Domain, Kind, Named, Reg, System, TlbiOp};
use pte::Scope;

/// A register of `op0` 3.
pub(super) const fn system(op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    0b11 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
}

pub(super) const fn barrier(domain: Domain, kind: Kind) -> u32 {
    let domain = match domain {
        Domain::Outer => 0b00,
        Domain::Local => 0b01,
        Domain::Inner => 0b10,
        Domain::System => 0b11,
    };
    let kind = match kind {
        Kind::Loads => 0b01,
        Kind::Stores => 0b10,
        Kind::Full => 0b11,
    };
    domain << 2 | kind
}

pub(super) const fn tlbi(op: TlbiOp, operand: Reg) -> u32 {
    const fn by_va(asid: bool, last: bool) -> u32 {
        match (asid, last) {
            (true, false) => 1,
            (false, false) => 3,
            (true, true) => 5,
            (false, true) => 7,
        }
    }
    let shared = matches!(op.scope, Scope::InnerShareable);
    let plain = if shared { 3 } else { 7 };
    let (crm, op2, operand) = match op.named {
        Named::All => (plain, 0, Reg::ZERO),
        Named::Asid => (plain, 2, operand),
        Named::Va { asid, last } => (plain, by_va(asid, last), operand),
        Named::Range { asid, last } => (plain - 1, by_va(asid, last), operand),
    };
    0xd508_8000 | crm << 8 | op2 << 5 | rd(operand)
}

pub(super) const fn named(register: System, host: &Host) -> u32 {
    match register {
        System::ElrEl1 => host.elr,
        System::EsrEl1 => system(0, 5, 2, 0),
        System::FarEl1 => system(0, 6, 0, 0),
        System::ParEl1 => system(0, 7, 4, 0),
        System::Ttbr0El1 => system(0, 2, 0, 0),
    }
}
