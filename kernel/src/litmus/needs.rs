//! What a test needs that a machine may lack, and what no machine is let do.

use litmus::instruction::{Acquire, Instruction, Named};
use litmus::test::{Test, Value};
use pte::Caps;

/// Why `test` does not run on `cpus` CPUs that can do `caps`; `None` if it does.
pub(crate) fn lacking(test: &Test, caps: &Caps, cpus: usize) -> Option<&'static str> {
    let code = || test.threads.iter().flat_map(|thread| &thread.code);
    let atomic =
        |i: &Instruction| matches!(i, Instruction::Atomic { .. } | Instruction::CompareSwap { .. });
    let range = |i: &Instruction| matches!(i, Instruction::Tlbi { op, .. } if matches!(op.named, Named::Range { .. }));
    let weak = |i: &Instruction| matches!(i, Instruction::Load { acquire: Acquire::Weak, .. });
    if test.threads.iter().any(|thread| thread.device) {
        return Some("a thread is a device, and no SMMU is driven here");
    }
    if test.threads.len() > cpus {
        return Some("fewer CPUs than threads");
    }
    if code().any(atomic) && !caps.lse {
        return Some("the CPU has no atomic instructions (FEAT_LSE)");
    }
    if code().any(range) && !caps.tlb_range {
        return Some("the CPU has no TLBI by range (FEAT_TLBIRANGE)");
    }
    if code().any(weak) && !arch::caps::has_rcpc() {
        return Some("the CPU has no LDAPR (FEAT_LRCPC)");
    }
    if test.threads.iter().any(|thread| thread.ha || thread.hd) && !caps.hw_af {
        return Some("the CPU does not set access flags (FEAT_HAFDBS)");
    }
    if test.threads.iter().any(|thread| thread.hd) && !caps.hw_dirty {
        return Some("the CPU does not set dirty state (FEAT_HAFDBS)");
    }
    if test.spaces.iter().any(|space| caps.asid_bits < 16 && space.asid > 0xff) {
        return Some("the CPU's ASIDs have 8 bits");
    }
    names_the_kernel(test).then_some("it names an address of the kernel")
}

/// Whether a number that a thread begins with, or is told to load, could be used to reach the
/// kernel's half. One that a thread computes is not seen here.
fn names_the_kernel(test: &Test) -> bool {
    const UPPER_HALF: u64 = 0xffff << 48;
    // The smallest numbers below zero are what subtraction gives; no mapping is that far up.
    let kernel = |number: u64| number & UPPER_HALF == UPPER_HALF && number < u64::MAX - 0xffff;
    let registers = test.threads.iter().flat_map(|thread| &thread.registers);
    let memory = test.variables.iter().flat_map(|variable| &variable.initial);
    let mut values = registers.map(|(_, value)| value).chain(memory);
    let named = |value: &Value| matches!(value, Value::Number(number) if kernel(*number));
    let constant = |instruction: &Instruction| matches!(instruction, Instruction::Constant { value, .. } if kernel(*value));
    values.any(named) || test.threads.iter().flat_map(|thread| &thread.code).any(constant)
}
