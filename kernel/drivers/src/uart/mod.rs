//! Serial lines: a PL011 or the BCM2711's mini UART behind one [`Uart`].
//!
//! Owns the registers of one UART and no buffer: bytes go out as given (a console above adds the
//! carriage returns) and come in one at a time, with what was wrong with them as a typed event.
//!
//! A [`Uart`] is a copyable handle without a lock. Two CPUs that write at once mix their bytes and
//! do no other harm, which is what a panic wants; [`RawWriter`] is that path, for `write!`.
//! [`Uart::init`] and the interrupt enables are for one CPU at a time.
//!
//! Context: any, interrupts masked or not, before the MMU is on, in a panic.

use core::fmt;

mod mini;
mod pl011;

pub use mini::MiniUart;
pub use pl011::Pl011;

use crate::mmio::poll;

/// The speed that every board here uses.
pub const BAUD: u32 = 115_200;

/// How often a full transmitter is asked again before it is given up. A slot frees within 87 us at
/// [`BAUD`] and 1 ms at 9600 baud; a register read takes at least 50 ns, so this is 6 ms or more.
const TRANSMIT_POLLS: u32 = 1 << 17;

/// What the speed of a line is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Line {
    /// The UART's reference clock: UARTCLK of a PL011, the core clock of a mini UART.
    pub clock_hz: u32,
    /// Bits a second.
    pub baud: u32,
}

impl Line {
    /// A line at `baud`, or `None` where the clock is unknown (0): then the divisors that firmware
    /// left are the best there is.
    pub const fn at(clock_hz: u32, baud: u32) -> Option<Self> {
        if clock_hz == 0 { None } else { Some(Self { clock_hz, baud }) }
    }
}

/// Why a UART did not do as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UartError {
    /// No divisor of this clock gives this speed.
    Unreachable(Line),
    /// The transmitter stayed full for milliseconds: absent, unclocked or held. So many bytes of
    /// the call went out before.
    Stuck {
        /// Bytes of this call that were taken.
        written: usize,
    },
}

/// What the receiver had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// A byte as it was sent.
    Byte(u8),
    /// Something happened on the line.
    Fault(LineFault),
}

impl Received {
    /// The byte, if there is one to trust: a garbled byte is not, one before a loss is.
    pub const fn byte(self) -> Option<u8> {
        match self {
            Self::Byte(byte) | Self::Fault(LineFault::Overrun { byte }) => Some(byte),
            Self::Fault(_) => None,
        }
    }
}

/// What can go wrong on a serial line. None of it stops the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineFault {
    /// Bytes were lost because nobody read in time; this one is good.
    Overrun {
        /// The byte that was read when the loss was noticed.
        byte: u8,
    },
    /// No stop bit where one was due: noise, or the wrong speed.
    Framing {
        /// What was sampled.
        byte: u8,
    },
    /// The parity bit was wrong.
    Parity {
        /// What was sampled.
        byte: u8,
    },
    /// The line was held low for longer than a byte.
    Break,
}

/// Whole bytes that were received before [`Uart::init`], for the console to take first.
#[derive(Clone, Copy, Default, Debug)]
#[must_use = "the first of what was typed or piped in"]
pub struct Carried {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl Carried {
    /// What the deepest FIFO holds.
    const CAPACITY: usize = 32;

    /// The bytes, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Takes what `read` gives, as long as there is room; what is garbled is dropped. What there is no room
    /// for stays where it is.
    fn drain(&mut self, mut read: impl FnMut() -> Option<Received>) {
        // A line that only ever gives garbage is left after a FIFO's length, too.
        for _ in 0..Self::CAPACITY {
            let Some(slot) = self.bytes.get_mut(self.len) else { return };
            let Some(received) = read() else { return };
            if let Some(byte) = received.byte() {
                *slot = byte;
                self.len += 1;
            }
        }
    }
}

/// A UART that may be written to and read from.
#[derive(Clone, Copy)]
pub enum Uart {
    /// Arm's PrimeCell UART: QEMU virt, and UART0 of the Pi.
    Pl011(Pl011),
    /// The small UART of the BCM2711's AUX block.
    Mini(MiniUart),
}

macro_rules! each {
    ($self:expr, $uart:ident => $do:expr) => {
        match $self {
            Uart::Pl011($uart) => $do,
            Uart::Mini($uart) => $do,
        }
    };
}

impl Uart {
    /// Sets the line to 8 data bits, no parity, one stop bit, interrupts off; FIFOs on, but where switching
    /// them would lose what is just coming in. With `None` the speed stays as it was found. What firmware still has to say is let out first.
    ///
    /// Returns what had been received before, which switching the FIFOs would lose: with standard
    /// input from a pipe, an emulator delivers its first byte before the first instruction.
    pub fn init(&self, line: Option<Line>) -> Result<Carried, UartError> {
        each!(self, uart => uart.init(line))
    }

    /// Sends `bytes`. Waits for room, milliseconds at most for each byte, and gives up at the first
    /// byte for which none came.
    pub fn write(&self, bytes: &[u8]) -> Result<(), UartError> {
        for (written, &byte) in bytes.iter().enumerate() {
            if !poll(TRANSMIT_POLLS, || self.try_write(byte)) {
                return Err(UartError::Stuck { written });
            }
        }
        Ok(())
    }

    /// Sends one byte if there is room now; whether there was.
    #[inline]
    pub fn try_write(&self, byte: u8) -> bool {
        each!(self, uart => uart.try_write(byte))
    }

    /// Waits, for milliseconds at most, until the last bit is on the line: owed before a reset or a
    /// change of speed. Whether it is.
    pub fn flush(&self) -> bool {
        each!(self, uart => uart.flush())
    }

    /// What was received, oldest first; `None` when nothing is waiting.
    #[inline]
    pub fn read(&self) -> Option<Received> {
        each!(self, uart => uart.read())
    }

    /// Interrupts from now on when something was received.
    pub fn enable_receive_interrupt(&self) {
        each!(self, uart => uart.enable_receive_interrupt());
    }

    /// No interrupt from now on.
    pub fn disable_receive_interrupt(&self) {
        each!(self, uart => uart.disable_receive_interrupt());
    }

    /// First step of the interrupt handler. The second is to [`Uart::read`] until `None`: only an
    /// emptied receiver interrupts again.
    pub fn acknowledge_receive_interrupt(&self) {
        each!(self, uart => uart.acknowledge_receive_interrupt());
    }

    /// The path for a panic: no lock, no state shared with anybody.
    pub const fn raw_writer(self) -> RawWriter {
        RawWriter { uart: self, patience: TRANSMIT_POLLS }
    }
}

/// Writes text straight into the transmitter, for whoever may take no lock.
///
/// Bytes go out as they are. Once the transmitter has been full for its whole patience, each
/// further byte is tried once: a dead UART delays a panic by milliseconds in all, not per byte.
pub struct RawWriter {
    uart: Uart,
    patience: u32,
}

impl RawWriter {
    /// Sends what can be sent; whether that was all.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        let mut all = true;
        for &byte in bytes {
            let sent = poll(self.patience, || self.uart.try_write(byte));
            self.patience = if sent { TRANSMIT_POLLS } else { 1 };
            all &= sent;
        }
        all
    }
}

impl fmt::Write for RawWriter {
    /// Never fails: there is nobody left to tell.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
