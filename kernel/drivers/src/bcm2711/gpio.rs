//! Pins: what each is connected to, and its pull resistor.
//!
//! Source: BCM2711 ARM Peripherals, "General Purpose I/O (GPIO)". The pull registers are the
//! BCM2711's own; earlier chips had a clocked sequence in their place.

use abi::VirtAddr;
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::ReadWrite;

use crate::mmio::Mmio;

register_structs! {
    Registers {
        (0x00 => function: [ReadWrite<u32>; 6]),
        (0x18 => _reserved),
        (0xe4 => pull: [ReadWrite<u32>; 4]),
        (0xf4 => @END),
    }
}

/// One of the 58 pins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pin(u8);

impl Pin {
    /// Transmit of either UART on the header.
    pub const TX: Self = Self(14);
    /// Receive of either UART on the header.
    pub const RX: Self = Self(15);

    /// Pin `number`, where there is one.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 58 { Some(Self(number)) } else { None }
    }
}

/// What a pin is connected to. The numbers are the hardware's, and not in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Function {
    /// General input.
    Input = 0b000,
    /// General output.
    Output = 0b001,
    /// Alternate 0: the PL011 on pins 14 and 15.
    Alt0 = 0b100,
    /// Alternate 1.
    Alt1 = 0b101,
    /// Alternate 2.
    Alt2 = 0b110,
    /// Alternate 3.
    Alt3 = 0b111,
    /// Alternate 4.
    Alt4 = 0b011,
    /// Alternate 5: the mini UART on pins 14 and 15.
    Alt5 = 0b010,
}

/// A pin's resistor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Pull {
    /// None.
    Off = 0b00,
    /// To the supply.
    Up = 0b01,
    /// To ground.
    Down = 0b10,
}

/// The pin controller.
pub struct Gpio {
    regs: Mmio<Registers>,
}

impl Gpio {
    /// The controller whose registers are mapped at `base`.
    ///
    /// # Safety
    /// `base` maps the GPIO registers of a BCM2711 as device memory (or the MMU is off), for good.
    pub unsafe fn new(base: VirtAddr) -> Self {
        // SAFETY: the caller promises what `Mmio::new` asks.
        Self { regs: unsafe { Mmio::new(base) } }
    }

    /// Connects `pin`. One CPU at a time: ten pins share a register.
    pub fn set_function(&self, pin: Pin, function: Function) {
        let register = &self.regs.function[usize::from(pin.0 / 10)];
        let shift = 3 * u32::from(pin.0 % 10);
        register.set(register.get() & !(0b111 << shift) | (function as u32) << shift);
    }

    /// Sets the resistor of `pin`. One CPU at a time: sixteen pins share a register.
    pub fn set_pull(&self, pin: Pin, pull: Pull) {
        let register = &self.regs.pull[usize::from(pin.0 / 16)];
        let shift = 2 * u32::from(pin.0 % 16);
        register.set(register.get() & !(0b11 << shift) | (pull as u32) << shift);
    }

    /// Gives the header's serial pins to a UART: [`Function::Alt0`] for the PL011,
    /// [`Function::Alt5`] for the mini UART. The resistor goes off so that it does not load the line.
    pub fn route_serial(&self, function: Function) {
        for pin in [Pin::TX, Pin::RX] {
            self.set_pull(pin, Pull::Off);
            self.set_function(pin, function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::Ram;

    #[test]
    fn serial_pins_change_and_their_neighbours_do_not() {
        let ram = Ram::new(0x1000);
        ram.set(0x04, u32::MAX);
        ram.set(0xe4, u32::MAX);
        // SAFETY: the block outlives the driver.
        let gpio = unsafe { Gpio::new(ram.base()) };
        gpio.route_serial(Function::Alt0);
        assert_eq!(ram.get::<u32>(0x04), !0o770000 | 0o440000);
        assert_eq!(ram.get::<u32>(0xe4), 0x0fff_ffff);
        gpio.route_serial(Function::Alt5);
        assert_eq!(ram.get::<u32>(0x04), !0o770000 | 0o220000);
        gpio.set_pull(Pin::RX, Pull::Down);
        assert_eq!(ram.get::<u32>(0xe4), 0x8fff_ffff);
    }

    #[test]
    fn last_pin_is_57() {
        let ram = Ram::new(0x1000);
        // SAFETY: the block outlives the driver.
        let gpio = unsafe { Gpio::new(ram.base()) };
        gpio.set_function(Pin::new(57).unwrap(), Function::Alt3);
        gpio.set_pull(Pin::new(57).unwrap(), Pull::Up);
        assert_eq!(ram.get::<u32>(0x14), 0o70000000);
        assert_eq!(ram.get::<u32>(0xf0), 1 << 18);
        assert_eq!(Pin::new(58), None);
    }
}
