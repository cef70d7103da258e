//! The firmware's mailbox: questions to the VideoCore about clocks, memory and the board.
//!
//! A question is a message in memory that the firmware reads and overwrites with the answer; the
//! mailbox registers only carry its address and the news that it is done. The firmware is not
//! coherent with the CPU's caches, and this room does not know caches: a [`Message`] brings the two
//! steps along as closures.
//!
//! Invariant: while a call runs the message belongs to the firmware. After
//! [`MailboxError::Silent`] it still does: the caller must not use that memory for anything again.
//!
//! One CPU at a time; the answer of another's question would be taken for a stray and dropped.
//!
//! Source: Raspberry Pi firmware documentation, "Mailbox property interface" and "Mailboxes".

use abi::{PhysAddr, PhysRange, VirtAddr, VirtRange};
use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

use crate::mmio::{Mmio, complete_accesses, poll};

/// The channel of property messages from the ARM.
const CHANNEL: u32 = 8;
/// The firmware answers within a millisecond or two; this is 50 ms or more.
const POLLS: u32 = 1 << 20;

const REQUEST: u32 = 0;
const ANSWERED: u32 = 1 << 31;

register_bitfields! [u32,
    STATUS [
        EMPTY OFFSET(30) NUMBITS(1) [],
        FULL OFFSET(31) NUMBITS(1) []
    ]
];

register_structs! {
    Registers {
        (0x00 => read: ReadOnly<u32>),
        (0x04 => _reserved0),
        (0x18 => read_status: ReadOnly<u32, STATUS::Register>),
        (0x1c => config: ReadWrite<u32>),
        (0x20 => write: WriteOnly<u32>),
        (0x24 => _reserved1),
        (0x38 => write_status: ReadOnly<u32, STATUS::Register>),
        (0x3c => @END),
    }
}

/// Memory for a message: alone in its cache line, so that maintenance touches nothing else.
#[derive(Default)]
#[repr(C, align(64))]
pub struct PropertyBuffer {
    words: [u32; 16],
}

/// A buffer as both sides see it.
pub struct Message<'a> {
    buffer: &'a mut PropertyBuffer,
    bus: u32,
    clean: &'a dyn Fn(VirtRange),
    invalidate: &'a dyn Fn(VirtRange),
}

impl<'a> Message<'a> {
    /// `buffer`, which lies at `phys`. `clean` must write the range back to the point of coherency
    /// and `invalidate` drop it from the caches (cleaning it too is allowed), each with its barrier.
    /// With the caches off both may do nothing.
    pub fn new(
        buffer: &'a mut PropertyBuffer,
        phys: PhysAddr,
        clean: &'a dyn Fn(VirtRange),
        invalidate: &'a dyn Fn(VirtRange),
    ) -> Result<Self, MailboxError> {
        // The VideoCore sees the first GiB of memory, uncached, from 0xc000_0000 on; the low bits
        // of an address carry the channel.
        if phys.0 >= 1 << 30 || !phys.is_aligned(16) {
            return Err(MailboxError::Unreachable(phys));
        }
        Ok(Self { buffer, bus: phys.0 as u32 | 0xc000_0000, clean, invalidate })
    }

    /// Where the buffer is mapped. Exposed: from here on the compiler must expect that barriers and
    /// maintenance, and behind them the firmware, read and write it.
    fn range(&mut self) -> VirtRange {
        let start = core::ptr::from_mut(self.buffer).expose_provenance();
        VirtRange::from_size(VirtAddr(start as u64), size_of::<PropertyBuffer>() as u64)
    }

    /// The firmware writes behind the compiler's back: every look at the answer is a real load.
    fn word(&self, index: usize) -> u32 {
        let word = core::ptr::from_ref(&self.buffer.words[index]);
        // SAFETY: a reference to an aligned, initialised word, of which any bits are a value.
        unsafe { word.read_volatile() }
    }
}

/// Why a question got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MailboxError {
    /// The buffer lies where the firmware cannot reach it, or is not 16-byte aligned.
    Unreachable(PhysAddr),
    /// The outgoing mailbox stayed full; nothing was sent.
    Full,
    /// Nothing came back in time. The firmware may still write to the buffer.
    Silent,
    /// The message as a whole was refused, with this code.
    Refused(u32),
    /// The firmware does not know this tag, or answered fewer bytes than it must.
    Unanswered {
        /// The question.
        tag: u32,
        /// Its response word: bit 31 set where it was answered, and the bytes of the answer.
        response: u32,
    },
    /// The answer makes no sense: a clock at 0 Hz, say.
    Absurd {
        /// The question.
        tag: u32,
        /// The answer.
        value: u32,
    },
}

/// A clock as the firmware numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Clock {
    /// The PL011s' reference.
    Uart = 2,
    /// The ARM cores.
    Arm = 3,
    /// The VideoCore, and with it the mini UART.
    Core = 4,
}

/// The board's revision code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Board(pub u32);

impl Board {
    /// Bytes of memory that the board carries, where the code is of the new style that tells.
    pub const fn memory_bytes(self) -> Option<u64> {
        if self.0 & 1 << 23 == 0 { None } else { Some((256 << 20) << (self.0 >> 20 & 7)) }
    }
}

/// The mailbox between the ARM and the VideoCore.
pub struct Mailbox {
    regs: Mmio<Registers>,
}

impl Mailbox {
    /// The mailbox whose registers are mapped at `base`.
    ///
    /// # Safety
    /// `base` maps the mailbox registers of a BCM2711 (at 0xb880 in its first peripheral page) as
    /// device memory (or the MMU is off), for good.
    pub unsafe fn new(base: VirtAddr) -> Self {
        // SAFETY: the caller promises what `Mmio::new` asks.
        Self { regs: unsafe { Mmio::new(base) } }
    }

    /// How fast `clock` runs, in Hz.
    pub fn clock_rate_hz(
        &self,
        message: &mut Message<'_>,
        clock: Clock,
    ) -> Result<u32, MailboxError> {
        const TAG: u32 = 0x0003_0002;
        let [_, hz] = self.ask(message, TAG, [clock as u32, 0])?;
        if hz == 0 { Err(MailboxError::Absurd { tag: TAG, value: hz }) } else { Ok(hz) }
    }

    /// Asks for `clock` to run at `hz`; how fast it runs now, in Hz, which may be another speed.
    pub fn set_clock_rate_hz(
        &self,
        message: &mut Message<'_>,
        clock: Clock,
        hz: u32,
    ) -> Result<u32, MailboxError> {
        const TAG: u32 = 0x0003_8002;
        // The third word asks to leave the turbo setting, which is about the ARM's clock, alone.
        let [_, hz, _] = self.ask(message, TAG, [clock as u32, hz, 1])?;
        if hz == 0 { Err(MailboxError::Absurd { tag: TAG, value: hz }) } else { Ok(hz) }
    }

    /// The ARM's share of the first GiB. The firmware tells of no more; the device tree does.
    pub fn arm_memory(&self, message: &mut Message<'_>) -> Result<PhysRange, MailboxError> {
        let [start, bytes] = self.ask(message, 0x0001_0005, [0, 0])?;
        Ok(PhysRange::from_size(PhysAddr(start.into()), bytes.into()))
    }

    /// Which board this is.
    pub fn board(&self, message: &mut Message<'_>) -> Result<Board, MailboxError> {
        let [revision] = self.ask(message, 0x0001_0002, [0])?;
        Ok(Board(revision))
    }

    /// One tag: `N` words of value, of which the firmware must answer the first `N` (two of three
    /// for a tag whose last word is only asked).
    fn ask<const N: usize>(
        &self,
        message: &mut Message<'_>,
        tag: u32,
        value: [u32; N],
    ) -> Result<[u32; N], MailboxError> {
        const VALUE: usize = 5;
        let bytes = (4 * N) as u32;
        let words = &mut message.buffer.words;
        *words = Default::default();
        words[..VALUE].copy_from_slice(&[
            size_of::<PropertyBuffer>() as u32,
            REQUEST,
            tag,
            bytes,
            REQUEST,
        ]);
        words[VALUE..VALUE + N].copy_from_slice(&value);
        self.exchange(message)?;

        match message.word(1) {
            ANSWERED => {}
            code => return Err(MailboxError::Refused(code)),
        }
        let response = message.word(4);
        if response & ANSWERED == 0 || response & !ANSWERED < bytes.min(8) {
            return Err(MailboxError::Unanswered { tag, response });
        }
        Ok(core::array::from_fn(|word| message.word(VALUE + word)))
    }

    /// Hands the message over and waits until it comes back.
    fn exchange(&self, message: &mut Message<'_>) -> Result<(), MailboxError> {
        let regs = &*self.regs;
        let range = message.range();
        (message.clean)(range);
        complete_accesses();
        if !poll(POLLS, || !regs.write_status.is_set(STATUS::FULL)) {
            return Err(MailboxError::Full);
        }
        let letter = message.bus | CHANNEL;
        regs.write.set(letter);
        // What is not ours is a stray of somebody's earlier question: dropped, at one poll each.
        let arrived =
            poll(POLLS, || !regs.read_status.is_set(STATUS::EMPTY) && regs.read.get() == letter);
        if !arrived {
            return Err(MailboxError::Silent);
        }
        complete_accesses();
        (message.invalidate)(range);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
