//! What a test asks of memory: how large its blocks are, and what is where in them. Pure.

use abi::{Level, Order, PAGE_SIZE, PhysAddr};
use alloc::vec::Vec;
use litmus::instruction::{Instruction, Op, Source};
use litmus::layout::Layout;
use litmus::test::{Descriptor, Output, Test, Value};
use pte::MemType;

/// Every descriptor that a test begins with or may write.
fn descriptors(test: &Test) -> impl Iterator<Item = &Descriptor> {
    let registers = test.threads.iter().flat_map(|thread| &thread.registers);
    let memory = test.variables.iter().flat_map(|variable| &variable.initial);
    let values = registers.map(|(_, value)| value).chain(memory);
    test.initial.iter().chain(values.filter_map(|value| match value {
        Value::Descriptor(descriptor) => Some(descriptor),
        _ => None,
    }))
}

/// Whether some of a test's memory is accessed past the caches.
pub(super) fn is_uncached(test: &Test) -> bool {
    descriptors(test).any(|descriptor| descriptor.memory != MemType::Normal)
}

/// Whether an instruction may reach a place of a variable's page at which no element is.
pub(super) fn goes_beyond(test: &Test) -> bool {
    let registers = test.threads.iter().flat_map(|thread| &thread.registers);
    let memory = test.variables.iter().flat_map(|variable| &variable.initial);
    let mut values = registers.map(|(_, value)| value).chain(memory);
    let behind = |value: &Value| match value {
        Value::Address(of, plus) => test
            .variables
            .get(*of)
            .is_some_and(|variable| *plus >= variable.width * variable.initial.len() as u64),
        _ => false,
    };
    let moved = |instruction: &Instruction| match instruction {
        Instruction::Load { offset, .. } | Instruction::Store { offset, .. } => {
            *offset != Source::Immediate(0)
        }
        Instruction::Compute { op: Op::Add, right, .. } => matches!(right, Source::Immediate(_)),
        _ => false,
    };
    values.any(behind) || test.threads.iter().flat_map(|thread| &thread.code).any(moved)
}

/// How much of physical memory a group's descriptors may map at once; `None` for more than is given out.
pub(super) fn block_of(test: &Test) -> Option<Order> {
    let frames = || descriptors(test).filter(|d| matches!(d.output, Output::Frame(_)));
    let level = frames().map(|descriptor| descriptor.level).min().unwrap_or(Level::Pte);
    let cont = frames().any(|descriptor| descriptor.cont);
    let neighbours = test.variables.iter().any(|variable| {
        test.variables.iter().filter(|other| other.group == variable.group).count() > 1
    });
    // A set of blocks reaches beyond the block that holds the frame.
    let sets = frames().any(|descriptor| descriptor.cont && descriptor.level == Level::Pmd);
    match level {
        Level::Pte if cont || neighbours => Some(Order(4)),
        Level::Pte => Some(Order::PAGE),
        Level::Pmd if !sets => Some(Order::PMD),
        Level::Pmd | Level::Pud | Level::Pgd => None,
    }
}

/// Where in its gigabyte a group's pages begin: at a contiguous set, and not all at the same place of a
/// TLB that is looked up by low bits of the address.
pub(super) const fn offset(instance: usize, group: usize, groups: usize) -> u64 {
    const SET: u64 = 16 * PAGE_SIZE;
    ((instance * groups + group) as u64 * SET) % Level::Pmd.span()
}

/// What memory holds at the beginning, with halves of words put together.
pub(super) fn whole_words(layout: &Layout, test: &Test) -> Vec<(PhysAddr, u64)> {
    let mut words: Vec<(PhysAddr, u64)> = Vec::new();
    for word in layout.memory(test) {
        let at = PhysAddr(word.at.0 & !7);
        let value = if word.width == 4 { word.value & 0xffff_ffff } else { word.value };
        let value = value << (8 * (word.at.0 & 7));
        match words.last_mut() {
            Some((last, whole)) if *last == at => *whole |= value,
            _ => words.push((at, value)),
        }
    }
    words
}
