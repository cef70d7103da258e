//! Time: the generic timer's virtual counter, and its one-shot interrupt.
//!
//! The counter starts before the kernel does and its rate differs between machines (CNTFRQ_EL0), so
//! the rate is always asked and never assumed. Conversions are exact and cannot overflow: whole
//! seconds and the rest are converted apart. Source: Arm ARM, "The Generic Timer in AArch64 state".

/// The virtual timer's private interrupt. Device trees say PPI 11; the controller counts from 16.
pub const INTERRUPT: u32 = 27;

const NS_PER_S: u64 = 1_000_000_000;

/// `ticks` at `hz` in nanoseconds, rounded down.
pub const fn ticks_to_ns(ticks: u64, hz: u64) -> u64 {
    if hz == 0 {
        return 0;
    }
    let (seconds, rest) = (ticks / hz, ticks % hz);
    // rest < hz, and hz is below 2^32: the product fits.
    seconds.saturating_mul(NS_PER_S).saturating_add(rest * NS_PER_S / hz)
}

/// `ns` in ticks at `hz`, rounded up: a deadline is never early.
pub const fn ns_to_ticks(ns: u64, hz: u64) -> u64 {
    let (seconds, rest) = (ns / NS_PER_S, ns % NS_PER_S);
    seconds.saturating_mul(hz).saturating_add((rest * hz).div_ceil(NS_PER_S))
}

#[cfg(target_os = "none")]
pub use target::{frequency_hz, init, now_ns, set_deadline_ns, stop, ticks};

#[cfg(target_os = "none")]
mod target {
    use super::{ns_to_ticks, ticks_to_ns};
    use aarch64_cpu::asm::barrier;
    use aarch64_cpu::registers::{
        CNTFRQ_EL0, CNTKCTL_EL1, CNTV_CTL_EL0, CNTV_CVAL_EL0, CNTVCT_EL0, Readable, Writeable,
    };

    /// Ticks a second.
    #[inline]
    pub fn frequency_hz() -> u64 {
        // A 32-bit field; the bits above are reserved.
        CNTFRQ_EL0.get() & 0xffff_ffff
    }

    /// The counter. May be read ahead of earlier instructions; see [`barrier::isb`] where that
    /// matters.
    #[inline]
    pub fn ticks() -> u64 {
        CNTVCT_EL0.get()
    }

    /// Nanoseconds since the counter started; the same on every CPU.
    #[inline]
    pub fn now_ns() -> u64 {
        ticks_to_ns(ticks(), frequency_hz())
    }

    /// Asks for an interrupt on this CPU once [`now_ns`] reaches `deadline`; replaces an earlier
    /// wish. A deadline that has passed interrupts at once.
    #[inline]
    pub fn set_deadline_ns(deadline: u64) {
        CNTV_CVAL_EL0.set(ns_to_ticks(deadline, frequency_hz()));
        CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::SET + CNTV_CTL_EL0::IMASK::CLEAR);
        barrier::isb(barrier::SY);
    }

    /// Takes the wish back, and with it an interrupt that is pending.
    #[inline]
    pub fn stop() {
        CNTV_CTL_EL0.write(CNTV_CTL_EL0::ENABLE::CLEAR);
        barrier::isb(barrier::SY);
    }

    /// This CPU's timer: silent, no event stream, nothing for EL0.
    pub fn init() {
        CNTKCTL_EL1.set(0);
        stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u64; 4] = [54_000_000, 62_500_000, 1_000_000_000, 19_200_000];

    #[test]
    fn conversion_agrees_with_wide_arithmetic() {
        for hz in RATES {
            for ticks in [0, 1, hz - 1, hz, hz + 1, 1 << 40, (1 << 56) + 12345] {
                let exact = u128::from(ticks) * 1_000_000_000 / u128::from(hz);
                let exact = u64::try_from(exact).unwrap_or(u64::MAX);
                let ns = ticks_to_ns(ticks, hz);
                assert_eq!(ns, exact, "{ticks} at {hz}");
            }
        }
    }

    #[test]
    fn deadline_is_never_early_and_at_most_a_tick_late() {
        for hz in RATES {
            for ns in [0, 1, 999, 1_000_000_007, 86_400 * NS_PER_S + 1] {
                let ticks = ns_to_ticks(ns, hz);
                assert!(ticks_to_ns(ticks, hz) + 1 >= ns, "{ns} at {hz}");
                assert!(ticks == 0 || ticks_to_ns(ticks - 1, hz) < ns, "{ns} at {hz}");
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        assert_eq!(ticks_to_ns(5, 0), 0);
        assert_eq!(ticks_to_ns(u64::MAX, 1), u64::MAX);
        assert_eq!(ns_to_ticks(u64::MAX, 0xffff_ffff), u64::MAX);
    }
}
