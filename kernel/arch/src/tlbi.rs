//! Executing the TLB maintenance operations that `pte` describes.
//!
//! One instruction per operation, no barrier: the caller publishes before and completes after.
//! Source: Arm ARM, "A64 System instructions for TLB maintenance"; the range forms are written as
//! SYS, for the assembler's base architecture does not name them.

use crate::barrier;
use core::arch::asm;
use pte::{AsidMatch, Caps, Depth, Scope, Target, Tlbi};

/// Executes the form of an operation that fits its scope.
macro_rules! tlbi {
    ($scope:expr, $shared:literal, $local:literal $(, $operand:expr)?) => {
        match $scope {
            // SAFETY: removing entries from a TLB never changes what an access finds, by the
            // promise that tables say what TLBs may hold.
            Scope::InnerShareable => unsafe {
                asm!(concat!($shared $(, tlbi!(@slot $operand))?) $(, in(reg) $operand)?,
                    options(nostack, preserves_flags))
            },
            // SAFETY: as above.
            Scope::Local => unsafe {
                asm!(concat!($local $(, tlbi!(@slot $operand))?) $(, in(reg) $operand)?,
                    options(nostack, preserves_flags))
            },
        }
    };
    (@slot $operand:expr) => { ", {}" };
}

/// Issues `op`. An operation by range on a CPU without FEAT_TLBIRANGE, where it is undefined,
/// becomes the removal of everything, which is always right.
///
/// Inlined wherever it stands: nearly always the kind is known there, and then it is three instructions.
#[inline(always)]
pub fn execute(op: Tlbi, caps: &Caps) {
    let scope = op.scope;
    let x = op.operand(caps);
    match op.target {
        Target::All => all(scope),
        Target::Asid(_) => tlbi!(scope, "tlbi aside1is", "tlbi aside1", x),
        Target::Va { asid, depth, .. } => match (asid, depth) {
            (AsidMatch::Only(_), Depth::AllLevels) => tlbi!(scope, "tlbi vae1is", "tlbi vae1", x),
            (AsidMatch::Only(_), Depth::LastLevel) => tlbi!(scope, "tlbi vale1is", "tlbi vale1", x),
            (AsidMatch::Any, Depth::AllLevels) => tlbi!(scope, "tlbi vaae1is", "tlbi vaae1", x),
            (AsidMatch::Any, Depth::LastLevel) => tlbi!(scope, "tlbi vaale1is", "tlbi vaale1", x),
        },
        Target::Range { .. } if !caps.tlb_range => all(scope),
        Target::Range { asid, depth, .. } => match (asid, depth) {
            // RVAE1, RVALE1, RVAAE1, RVAALE1.
            (AsidMatch::Only(_), Depth::AllLevels) => {
                tlbi!(scope, "sys #0, c8, c2, #1", "sys #0, c8, c6, #1", x);
            }
            (AsidMatch::Only(_), Depth::LastLevel) => {
                tlbi!(scope, "sys #0, c8, c2, #5", "sys #0, c8, c6, #5", x);
            }
            (AsidMatch::Any, Depth::AllLevels) => {
                tlbi!(scope, "sys #0, c8, c2, #3", "sys #0, c8, c6, #3", x);
            }
            (AsidMatch::Any, Depth::LastLevel) => {
                tlbi!(scope, "sys #0, c8, c2, #7", "sys #0, c8, c6, #7", x);
            }
        },
    }
}

fn all(scope: Scope) {
    tlbi!(scope, "tlbi vmalle1is", "tlbi vmalle1");
}

/// Empties this CPU's TLB and waits for it.
pub fn flush_local() {
    all(Scope::Local);
    barrier::complete(Scope::Local);
    barrier::synchronize_context();
}
