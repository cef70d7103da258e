//! Reset and power-off through the power-management block's watchdog.
//!
//! A Pi without PSCI has no other way: the watchdog is set to a few ticks and told to reset the chip
//! when they are over. Where to boot from afterwards is a number spread over the even bits of RSTS;
//! number 63 means "do not", and is what power-off is: the firmware halts until power is cycled.
//!
//! Source: Linux `bcm2835_restart` and `bcm2835_power_off`, for the sequence; the block is not in
//! the BCM2711's public manual.

use abi::VirtAddr;
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::ReadWrite;

use crate::mmio::{Mmio, complete_accesses};

/// Every write must carry it in the top byte, or is ignored.
const PASSWORD: u32 = 0x5a00_0000;
const PASSWORD_MASK: u32 = 0xff00_0000;
/// The boot partition's bits in RSTS; all set is 63, halt.
const PARTITION: u32 = 0x555;
/// RSTC: what the watchdog does at its end, and "reset the whole chip".
const CONFIGURATION: u32 = 0x30;
const FULL_RESET: u32 = 0x20;
/// The watchdog counts 1/65536 s; ten ticks are 150 us.
const TICKS: u32 = 10;

register_structs! {
    Registers {
        (0x00 => _reserved),
        (0x1c => rstc: ReadWrite<u32>),
        (0x20 => rsts: ReadWrite<u32>),
        (0x24 => wdog: ReadWrite<u32>),
        (0x28 => @END),
    }
}

/// The power-management block.
pub struct Power {
    regs: Mmio<Registers>,
}

impl Power {
    /// The block whose registers are mapped at `base`.
    ///
    /// # Safety
    /// `base` maps the PM registers of a BCM2711 as device memory (or the MMU is off), for good.
    pub unsafe fn new(base: VirtAddr) -> Self {
        // SAFETY: the caller promises what `Mmio::new` asks.
        Self { regs: unsafe { Mmio::new(base) } }
    }

    /// Starts a reset into the usual boot. Returns; the chip goes some 150 us later, so the caller
    /// parks.
    pub fn reset(&self) {
        self.go(0);
    }

    /// Starts a reset after which the firmware halts. Returns as [`Power::reset`] does.
    pub fn power_off(&self) {
        self.go(PARTITION);
    }

    fn go(&self, partition: u32) {
        let regs = &*self.regs;
        let rsts = regs.rsts.get() & !(PASSWORD_MASK | PARTITION);
        regs.rsts.set(PASSWORD | rsts | partition);
        regs.wdog.set(PASSWORD | TICKS);
        let rstc = regs.rstc.get() & !(PASSWORD_MASK | CONFIGURATION);
        regs.rstc.set(PASSWORD | rstc | FULL_RESET);
        // The caller's next step may be to stop all clocks that push these writes out.
        complete_accesses();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::Ram;

    #[test]
    fn power_off_marks_halt_and_reset_unmarks_it() {
        let ram = Ram::new(0x1000);
        ram.set(0x1c, 0x0000_0112u32);
        ram.set(0x20, 0x0000_1000u32);
        // SAFETY: the block outlives the driver.
        let power = unsafe { Power::new(ram.base()) };
        power.power_off();
        assert_eq!(ram.get::<u32>(0x20), 0x5a00_1555);
        assert_eq!(ram.get::<u32>(0x24), 0x5a00_000a);
        assert_eq!(ram.get::<u32>(0x1c), 0x5a00_0122, "other bits of RSTC stay");
        power.reset();
        assert_eq!(ram.get::<u32>(0x20), 0x5a00_1000);
    }
}
