//! The mini UART of the BCM2711's AUX block.
//!
//! Its clock is the VPU core clock, so its speed holds only while firmware keeps that clock still
//! (`enable_uart=1` does). It knows neither parity nor framing faults nor breaks.
//!
//! Source: BCM2711 ARM Peripherals, "Auxiliaries: UART1 & SPI1, SPI2", "Mini UART", with the
//! published errata: receive is bit 0 of the interrupt enables, and its bits 3:2 must be set too.

use abi::VirtAddr;
use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

use super::{Carried, Line, LineFault, Received, UartError};
use crate::mmio::{Mmio, poll};

/// Polls until 8 bytes of FIFO and one in the shifter are out: 1 ms at 115200 baud.
const IDLE_POLLS: u32 = 1 << 17;
/// From the block's start to the register that the device tree calls the UART's first.
const UART_OFFSET: u64 = 0x40;

register_bitfields! [u32,
    ENABLES [MINI_UART OFFSET(0) NUMBITS(1) []],
    IER [RX OFFSET(0) NUMBITS(4) [On = 0b1101]],
    IIR [CLEAR_TX OFFSET(2) NUMBITS(1) []],
    LCR [WORD OFFSET(0) NUMBITS(2) [Eight = 3]],
    LSR [
        RX_READY OFFSET(0) NUMBITS(1) [],
        RX_OVERRUN OFFSET(1) NUMBITS(1) []
    ],
    CNTL [
        RX OFFSET(0) NUMBITS(1) [],
        TX OFFSET(1) NUMBITS(1) []
    ],
    STAT [
        TX_ROOM OFFSET(1) NUMBITS(1) [],
        TX_DONE OFFSET(9) NUMBITS(1) []
    ]
];

register_structs! {
    Registers {
        (0x00 => _reserved0),
        (0x04 => enables: ReadWrite<u32, ENABLES::Register>),
        (0x08 => _reserved1),
        (0x40 => io: ReadWrite<u32>),
        (0x44 => ier: ReadWrite<u32, IER::Register>),
        (0x48 => iir: ReadWrite<u32, IIR::Register>),
        (0x4c => lcr: ReadWrite<u32, LCR::Register>),
        (0x50 => mcr: ReadWrite<u32>),
        (0x54 => lsr: ReadOnly<u32, LSR::Register>),
        (0x58 => _reserved2),
        (0x60 => cntl: ReadWrite<u32, CNTL::Register>),
        (0x64 => stat: ReadOnly<u32, STAT::Register>),
        (0x68 => baud: ReadWrite<u32>),
        (0x6c => @END),
    }
}

/// A mini UART.
#[derive(Clone, Copy)]
pub struct MiniUart {
    regs: Mmio<Registers>,
}

impl MiniUart {
    /// The mini UART whose data register is mapped at `base`, as the device tree gives it.
    ///
    /// # Safety
    /// `base` maps AUX_MU_IO_REG of a BCM2711 as device memory (or the MMU is off), for good,
    /// together with the rest of its page: the block's enable register lies 0x3c below.
    pub unsafe fn new(base: VirtAddr) -> Self {
        // SAFETY: the caller promises what `Mmio::new` asks, from the start of the block on.
        Self { regs: unsafe { Mmio::new(base - UART_OFFSET) } }
    }

    pub(super) fn init(&self, line: Option<Line>) -> Result<Carried, UartError> {
        let divisor = line.map(divisor).transpose()?;
        let regs = &*self.regs;
        // Without this bit the UART's other registers do not answer.
        regs.enables.modify(ENABLES::MINI_UART::SET);
        self.flush();
        regs.cntl.set(0);
        regs.ier.set(0);
        regs.lcr.write(LCR::WORD::Eight);
        regs.mcr.set(0);
        // The receive FIFO is left alone: what is in it came in whole.
        regs.iir.write(IIR::CLEAR_TX::SET);
        if let Some(divisor) = divisor {
            regs.baud.set(divisor);
        }
        regs.cntl.write(CNTL::RX::SET + CNTL::TX::SET);
        Ok(Carried::default())
    }

    /// Asks STAT, not the line status: reading that would clear an overrun before anyone saw it.
    #[inline]
    pub(super) fn try_write(&self, byte: u8) -> bool {
        let room = self.regs.stat.is_set(STAT::TX_ROOM);
        if room {
            self.regs.io.set(u32::from(byte));
        }
        room
    }

    pub(super) fn flush(&self) -> bool {
        poll(IDLE_POLLS, || self.regs.stat.is_set(STAT::TX_DONE))
    }

    #[inline]
    pub(super) fn read(&self) -> Option<Received> {
        let lsr = self.regs.lsr.extract();
        if !lsr.is_set(LSR::RX_READY) {
            return None;
        }
        let byte = self.regs.io.get() as u8;
        Some(if lsr.is_set(LSR::RX_OVERRUN) {
            Received::Fault(LineFault::Overrun { byte })
        } else {
            Received::Byte(byte)
        })
    }

    pub(super) fn enable_receive_interrupt(&self) {
        self.regs.ier.write(IER::RX::On);
    }

    pub(super) fn disable_receive_interrupt(&self) {
        self.regs.ier.set(0);
    }

    /// Nothing to do: the interrupt follows the FIFO, and reading that empty ends it.
    pub(super) fn acknowledge_receive_interrupt(&self) {}
}

/// The core clock over 8 times the speed, less 1, in 16 bits.
pub(super) fn divisor(line: Line) -> Result<u32, UartError> {
    let (clock, step) = (u64::from(line.clock_hz), 8 * u64::from(line.baud));
    match (clock + step / 2).checked_div(step) {
        Some(periods @ 1..=0x1_0000) => Ok((periods - 1) as u32),
        _ => Err(UartError::Unreachable(line)),
    }
}
