//! Clearing and copying page frames, through the linear map.
//!
//! Three ways to clear are there: stores of register pairs, DC ZVA, and the set instructions of
//! FEAT_MOPS. Which is fastest depends on the machine more than on the architecture (DC ZVA wins by
//! far on silicon and loses by far under emulation), so [`choose`] measures once at boot. Until
//! then, pairs of registers are stored, which every machine does well enough.

use crate::{cache, caps, timer};
use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

/// A way to clear memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ZeroMethod {
    /// STP of the zero register.
    StorePairs,
    /// DC ZVA, a cache line or so at a time.
    CacheBlocks,
    /// SETP, SETM, SETE.
    SetInstructions,
}

static METHOD: AtomicU8 = AtomicU8::new(ZeroMethod::StorePairs as u8);

/// The way in use.
pub fn method() -> ZeroMethod {
    match METHOD.load(Ordering::Relaxed) {
        x if x == ZeroMethod::CacheBlocks as u8 => ZeroMethod::CacheBlocks,
        x if x == ZeroMethod::SetInstructions as u8 => ZeroMethod::SetInstructions,
        _ => ZeroMethod::StorePairs,
    }
}

/// Measures each way that this CPU has on `scratch`, which is left cleared, and uses the fastest from
/// now on. The best of three runs counts, so that an interruption decides nothing.
///
/// # Safety
/// As for [`zero`].
pub unsafe fn choose(scratch: u64, bytes: u64) -> ZeroMethod {
    let zva = cache::zero_block().is_some_and(|block| block <= 256);
    let ways = [
        (ZeroMethod::StorePairs, true),
        (ZeroMethod::CacheBlocks, zva),
        (ZeroMethod::SetInstructions, caps::has_mops()),
    ];
    let best = ways.into_iter().filter(|(_, present)| *present).min_by_key(|(method, _)| {
        let run = |_| {
            let start = timer::ticks();
            // SAFETY: the caller's promise.
            unsafe { zero_by(*method, scratch, bytes) };
            timer::ticks() - start
        };
        (0..3).map(run).min()
    });
    let method = best.map_or(ZeroMethod::StorePairs, |(method, _)| method);
    METHOD.store(method as u8, Ordering::Relaxed);
    method
}

/// Clears `bytes` from `va` on.
///
/// # Safety
/// Both are multiples of 4096, the memory is mapped, normal and writable, and nothing else uses it.
#[inline]
pub unsafe fn zero(va: u64, bytes: u64) {
    // SAFETY: the caller's promise.
    unsafe { zero_by(method(), va, bytes) };
}

/// # Safety
/// As for [`zero`], and the CPU has `method`.
#[inline]
unsafe fn zero_by(method: ZeroMethod, va: u64, bytes: u64) {
    let end = va + bytes;
    match method {
        // SAFETY: stores zeros to [va, end), which the caller owns.
        ZeroMethod::StorePairs => unsafe {
            asm!(
                "1:",
                "stp xzr, xzr, [{va}]",
                "stp xzr, xzr, [{va}, #16]",
                "stp xzr, xzr, [{va}, #32]",
                "stp xzr, xzr, [{va}, #48]",
                "add {va}, {va}, #64",
                "cmp {va}, {end}",
                "b.lo 1b",
                va = inout(reg) va => _, end = in(reg) end, options(nostack),
            );
        },
        // SAFETY: as above; a turn clears a page where blocks are 64 bytes, and sixteen blocks, which divide
        // a page, where they are larger: so [va, end) is cleared and nothing else.
        ZeroMethod::CacheBlocks => unsafe {
            asm!(
                "cmp {block}, #64",
                "b.ne 2f",
                "1:",
                ".rept 64",
                "dc zva, {va}",
                "add {va}, {va}, #64",
                ".endr",
                "cmp {va}, {end}",
                "b.lo 1b",
                "b 3f",
                "2:",
                ".rept 16",
                "dc zva, {va}",
                "add {va}, {va}, {block}",
                ".endr",
                "cmp {va}, {end}",
                "b.lo 2b",
                "3:",
                va = inout(reg) va => _, end = in(reg) end,
                block = in(reg) cache::zero_block().unwrap_or(256), options(nostack),
            );
        },
        // SAFETY: as above.
        ZeroMethod::SetInstructions => unsafe {
            asm!(
                ".arch_extension mops",
                "setp [{va}]!, {bytes}!, xzr",
                "setm [{va}]!, {bytes}!, xzr",
                "sete [{va}]!, {bytes}!, xzr",
                ".arch_extension nomops",
                va = inout(reg) va => _, bytes = inout(reg) bytes => _, options(nostack),
            );
        },
    }
}

/// Copies `bytes` from `from` to `to`.
///
/// # Safety
/// All are multiples of 4096, both pieces are mapped normal memory and do not overlap, nothing else
/// uses the destination, and nothing changes the source.
#[inline]
pub unsafe fn copy(from: u64, to: u64, bytes: u64) {
    let end = from + bytes;
    // SAFETY: loads from [from, end) and stores as much to `to`, as the caller permits.
    unsafe {
        asm!(
            "1:",
            ".rept 16",
            "ldp {c}, {d}, [{from}, #16]",
            "ldp {e}, {f}, [{from}, #32]",
            "ldp {g}, {h}, [{from}, #48]",
            "ldp {a}, {b}, [{from}], #64",
            "stp {c}, {d}, [{to}, #16]",
            "stp {e}, {f}, [{to}, #32]",
            "stp {g}, {h}, [{to}, #48]",
            "stp {a}, {b}, [{to}], #64",
            ".endr",
            "cmp {from}, {end}",
            "b.lo 1b",
            from = inout(reg) from => _, to = inout(reg) to => _, end = in(reg) end,
            a = out(reg) _, b = out(reg) _, c = out(reg) _, d = out(reg) _,
            e = out(reg) _, f = out(reg) _, g = out(reg) _, h = out(reg) _,
            options(nostack),
        );
    }
}

/// Stores `n` words from `va` on: `word`, then `step` more for each.
///
/// # Safety
/// `va` is a multiple of 8, the memory is mapped, normal and writable, and nothing else uses it.
#[inline]
pub unsafe fn fill(va: u64, n: usize, word: u64, step: u64) {
    let (mut at, mut word, end) = (va, word, va + 8 * n as u64);
    let bulk = end - (end - va) % 64;
    if at < bulk {
        // SAFETY: stores to [at, bulk), which the caller owns.
        unsafe {
            asm!(
                "1:",
                "stp {a}, {b}, [{at}]",
                "add {a}, {a}, {twice}",
                "add {b}, {b}, {twice}",
                "stp {a}, {b}, [{at}, #16]",
                "add {a}, {a}, {twice}",
                "add {b}, {b}, {twice}",
                "stp {a}, {b}, [{at}, #32]",
                "add {a}, {a}, {twice}",
                "add {b}, {b}, {twice}",
                "stp {a}, {b}, [{at}, #48]",
                "add {a}, {a}, {twice}",
                "add {b}, {b}, {twice}",
                "add {at}, {at}, #64",
                "cmp {at}, {bulk}",
                "b.lo 1b",
                at = inout(reg) at, bulk = in(reg) bulk, a = inout(reg) word,
                b = inout(reg) word.wrapping_add(step) => _, twice = in(reg) step.wrapping_mul(2),
                options(nostack),
            );
        }
    }
    while at < end {
        let slot: *mut u64 = core::ptr::with_exposed_provenance_mut(at as usize);
        // SAFETY: within [va, end), which the caller owns.
        unsafe { slot.write_volatile(word) };
        (at, word) = (at + 8, word.wrapping_add(step));
    }
}
