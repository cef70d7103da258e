//! The PrimeCell UART (PL011).
//!
//! Source: PrimeCell UART (PL011) Technical Reference Manual, "Programmers Model"; the order of
//! set-up is that of its "Control register, UARTCR" and "Line control register, UARTLCR_H".

use abi::VirtAddr;
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

use super::{Carried, Line, LineFault, Received, UartError};
use crate::mmio::{Mmio, poll};

/// Polls until the FIFO and the shift register are empty: 33 bytes at 115200 baud are 3 ms.
const IDLE_POLLS: u32 = 1 << 18;

register_bitfields! [u32,
    DR [
        DATA OFFSET(0) NUMBITS(8) [],
        FRAMING OFFSET(8) NUMBITS(1) [],
        PARITY OFFSET(9) NUMBITS(1) [],
        BREAK OFFSET(10) NUMBITS(1) [],
        OVERRUN OFFSET(11) NUMBITS(1) []
    ],
    FR [
        BUSY OFFSET(3) NUMBITS(1) [],
        RX_EMPTY OFFSET(4) NUMBITS(1) [],
        TX_FULL OFFSET(5) NUMBITS(1) []
    ],
    LCRH [
        FIFO OFFSET(4) NUMBITS(1) [],
        WORD OFFSET(5) NUMBITS(2) [Eight = 3]
    ],
    CR [
        UART OFFSET(0) NUMBITS(1) [],
        TX OFFSET(8) NUMBITS(1) [],
        RX OFFSET(9) NUMBITS(1) []
    ],
    IFLS [
        TX OFFSET(0) NUMBITS(3) [Eighth = 0],
        RX OFFSET(3) NUMBITS(3) [Eighth = 0]
    ],
    INT [
        RX OFFSET(4) NUMBITS(1) [],
        RX_TIMEOUT OFFSET(6) NUMBITS(1) [],
        LINE_FAULTS OFFSET(7) NUMBITS(4) [All = 0xf],
        ALL OFFSET(0) NUMBITS(11) [Every = 0x7ff]
    ]
];

register_structs! {
    Registers {
        (0x000 => dr: ReadWrite<u32, DR::Register>),
        (0x004 => _reserved0),
        (0x018 => fr: ReadOnly<u32, FR::Register>),
        (0x01c => _reserved1),
        (0x024 => ibrd: WriteOnly<u32>),
        (0x028 => fbrd: WriteOnly<u32>),
        (0x02c => lcrh: ReadWrite<u32, LCRH::Register>),
        (0x030 => cr: ReadWrite<u32, CR::Register>),
        (0x034 => ifls: ReadWrite<u32, IFLS::Register>),
        (0x038 => imsc: ReadWrite<u32, INT::Register>),
        (0x03c => _reserved2),
        (0x044 => icr: WriteOnly<u32, INT::Register>),
        (0x048 => @END),
    }
}

/// A PL011.
#[derive(Clone, Copy)]
pub struct Pl011 {
    regs: Mmio<Registers>,
}

impl Pl011 {
    /// The PL011 whose registers are mapped at `base`.
    ///
    /// # Safety
    /// `base` maps the registers of a PL011 as device memory (or the MMU is off), for good.
    pub unsafe fn new(base: VirtAddr) -> Self {
        // SAFETY: the caller promises what `Mmio::new` asks.
        Self { regs: unsafe { Mmio::new(base) } }
    }

    pub(super) fn init(&self, line: Option<Line>) -> Result<Carried, UartError> {
        let divisors = line.map(Divisors::new).transpose()?;
        let regs = &*self.regs;

        // The manual's order for a change of control: let the last character out, disable, then change.
        // A line that never falls idle is taken over all the same.
        self.flush();
        regs.cr.set(0);
        let mut carried = Carried::default();
        carried.drain(|| self.read());
        regs.imsc.set(0);
        regs.icr.write(INT::ALL::Every);

        if let Some(divisors) = divisors {
            regs.ibrd.set(divisors.integer);
            regs.fbrd.set(divisors.fraction);
        }
        // Switching the FIFOs empties them, and QEMU receives even now. So they stay as they are while bytes
        // keep coming: without FIFOs QEMU's pipe waits until each byte is read, and none is lost.
        carried.drain(|| self.read());
        let fifos = regs.lcrh.is_set(LCRH::FIFO) || carried.bytes().is_empty();
        // The write of LCR_H is what latches the divisors, so it follows them.
        regs.lcrh.write(LCRH::WORD::Eight + LCRH::FIFO.val(fifos.into()));
        // The earliest level: a slow reader loses fewest bytes. The time-out brings the stragglers.
        regs.ifls.write(IFLS::RX::Eighth + IFLS::TX::Eighth);
        regs.cr.write(CR::UART::SET + CR::TX::SET + CR::RX::SET);
        Ok(carried)
    }

    #[inline]
    pub(super) fn try_write(&self, byte: u8) -> bool {
        let room = !self.regs.fr.is_set(FR::TX_FULL);
        if room {
            self.regs.dr.set(u32::from(byte));
        }
        room
    }

    pub(super) fn flush(&self) -> bool {
        poll(IDLE_POLLS, || !self.regs.fr.is_set(FR::BUSY))
    }

    #[inline]
    pub(super) fn read(&self) -> Option<Received> {
        if self.regs.fr.is_set(FR::RX_EMPTY) {
            return None;
        }
        let dr = self.regs.dr.extract();
        let byte = dr.read(DR::DATA) as u8;
        // A break also counts as a framing fault: it is asked for first.
        Some(if dr.is_set(DR::BREAK) {
            Received::Fault(LineFault::Break)
        } else if dr.is_set(DR::FRAMING) {
            Received::Fault(LineFault::Framing { byte })
        } else if dr.is_set(DR::PARITY) {
            Received::Fault(LineFault::Parity { byte })
        } else if dr.is_set(DR::OVERRUN) {
            Received::Fault(LineFault::Overrun { byte })
        } else {
            Received::Byte(byte)
        })
    }

    pub(super) fn enable_receive_interrupt(&self) {
        self.regs.imsc.write(INT::RX::SET + INT::RX_TIMEOUT::SET);
    }

    pub(super) fn disable_receive_interrupt(&self) {
        self.regs.imsc.set(0);
    }

    pub(super) fn acknowledge_receive_interrupt(&self) {
        self.regs.icr.write(INT::RX::SET + INT::RX_TIMEOUT::SET + INT::LINE_FAULTS::All);
    }
}

/// The reference clock over 16 times the speed, in 1/64ths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Divisors {
    pub(super) integer: u32,
    pub(super) fraction: u32,
}

impl Divisors {
    /// The nearest divisors. The integer part has 16 bits and is at least 1; at its largest the
    /// fraction must be 0.
    pub(super) fn new(line: Line) -> Result<Self, UartError> {
        let (clock, baud) = (u64::from(line.clock_hz), u64::from(line.baud));
        let sixty_fourths = (clock * 4 + baud / 2).checked_div(baud).unwrap_or(0);
        match sixty_fourths {
            0x40..=0x3f_ffc0 => Ok(Self {
                integer: (sixty_fourths >> 6) as u32,
                fraction: (sixty_fourths & 0x3f) as u32,
            }),
            _ => Err(UartError::Unreachable(line)),
        }
    }
}
