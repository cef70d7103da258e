//! The test plays the firmware: it answers when it is handed the message, which is when the driver
//! cleans it.

use super::*;
use crate::ram::Ram;

const READ: usize = 0x00;
const READ_STATUS: usize = 0x18;
const WRITE: usize = 0x20;
const WRITE_STATUS: usize = 0x38;
const EMPTY: u32 = 1 << 30;
const FULL: u32 = 1 << 31;
const PHYS: PhysAddr = PhysAddr(0x0012_3440);

/// The words of the message that `range` covers, as the firmware reaches them.
fn words(range: VirtRange) -> *mut u32 {
    assert_eq!(range.bytes(), 64);
    core::ptr::with_exposed_provenance_mut(range.start.0 as usize)
}

/// Calls `run` with a mailbox whose firmware does `firmware` to the message's words, and then
/// posts `letter`.
fn with_firmware<T>(
    firmware: impl Fn(&mut [u32]),
    letter: u32,
    run: impl FnOnce(&Mailbox, &mut Message<'_>) -> T,
) -> T {
    let ram = Ram::new(0x1000);
    ram.set(READ_STATUS, EMPTY);
    let mut buffer = PropertyBuffer::default();
    let clean = |range| {
        // SAFETY: the buffer is lent to the firmware during the call.
        firmware(unsafe { core::slice::from_raw_parts_mut(words(range), 16) });
        ram.set(READ, letter);
        ram.set(READ_STATUS, 0u32);
    };
    // SAFETY: the block outlives the driver.
    let mailbox = unsafe { Mailbox::new(ram.base()) };
    let mut message = Message::new(&mut buffer, PHYS, &clean, &|_| ()).unwrap();
    let result = run(&mailbox, &mut message);
    assert_eq!(ram.get::<u32>(WRITE), 0xc012_3448, "the letter names the message's bus address");
    result
}

const OURS: u32 = 0xc012_3448;

#[test]
fn clock_rate_is_asked_and_answered() {
    let hz = with_firmware(
        |words| {
            assert_eq!(words[..8], [64, 0, 0x0003_0002, 8, 0, 2, 0, 0]);
            words[1] = 0x8000_0000;
            words[4] = 0x8000_0008;
            words[6] = 48_000_000;
        },
        OURS,
        |mailbox, message| mailbox.clock_rate_hz(message, Clock::Uart),
    );
    assert_eq!(hz, Ok(48_000_000));
}

#[test]
fn setting_a_clock_tells_the_speed_it_got() {
    let hz = with_firmware(
        |words| {
            assert_eq!(words[..9], [64, 0, 0x0003_8002, 12, 0, 2, 3_000_000, 1, 0]);
            words[1] = 0x8000_0000;
            words[4] = 0x8000_0008;
            words[6] = 2_900_000;
        },
        OURS,
        |mailbox, message| mailbox.set_clock_rate_hz(message, Clock::Uart, 3_000_000),
    );
    assert_eq!(hz, Ok(2_900_000));
}

#[test]
fn memory_and_board_come_back_typed() {
    let answer = |value: [u32; 2]| {
        move |words: &mut [u32]| {
            words[1] = 0x8000_0000;
            words[4] = 0x8000_0000 | words[3];
            words[5..7].copy_from_slice(&value);
        }
    };
    let range = with_firmware(answer([0, 0x3b40_0000]), OURS, |m, msg| m.arm_memory(msg)).unwrap();
    assert_eq!(range, PhysRange::new(PhysAddr(0), PhysAddr(0x3b40_0000)));
    let board = with_firmware(answer([0xb0_3115, 0]), OURS, |m, msg| m.board(msg)).unwrap();
    assert_eq!(board.memory_bytes(), Some(2 << 30));
    assert_eq!(Board(0x000e).memory_bytes(), None);
}

#[test]
fn refusals_carry_their_code() {
    let ask = |firmware: fn(&mut [u32]), letter| {
        with_firmware(firmware, letter, |m, msg| m.clock_rate_hz(msg, Clock::Uart))
    };
    assert_eq!(ask(|w| w[1] = 0x8000_0001, OURS), Err(MailboxError::Refused(0x8000_0001)));
    let unknown: fn(&mut [u32]) = |w| w[1] = 0x8000_0000;
    assert_eq!(ask(unknown, OURS), Err(MailboxError::Unanswered { tag: 0x0003_0002, response: 0 }));
    let stopped: fn(&mut [u32]) = |w| (w[1], w[4]) = (0x8000_0000, 0x8000_0008);
    assert_eq!(ask(stopped, OURS), Err(MailboxError::Absurd { tag: 0x0003_0002, value: 0 }));
}

#[test]
fn strays_are_not_taken_for_the_answer() {
    let stray = with_firmware(|_| (), 0xc000_0008, |m, msg| m.board(msg));
    assert_eq!(stray, Err(MailboxError::Silent));
}

#[test]
fn full_mailbox_is_given_up() {
    let ram = Ram::new(0x1000);
    ram.set(WRITE_STATUS, FULL);
    let mut buffer = PropertyBuffer::default();
    // SAFETY: the block outlives the driver.
    let mailbox = unsafe { Mailbox::new(ram.base()) };
    let mut message = Message::new(&mut buffer, PHYS, &|_| (), &|_| ()).unwrap();
    assert_eq!(mailbox.board(&mut message), Err(MailboxError::Full));
    assert_eq!(ram.get::<u32>(WRITE), 0);
}

#[test]
fn unreachable_buffers_are_refused() {
    for phys in [PhysAddr(1 << 30), PhysAddr(0x1008)] {
        let mut buffer = PropertyBuffer::default();
        let refused = Message::new(&mut buffer, phys, &|_| (), &|_| ()).err();
        assert_eq!(refused, Some(MailboxError::Unreachable(phys)));
    }
}
