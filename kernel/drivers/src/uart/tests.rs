//! Over a block of ordinary memory: what is left in the registers, and that every wait ends.

use core::fmt::Write;

use super::mini::divisor;
use super::pl011::Divisors;
use super::*;
use crate::ram::Ram;
use proptest::prelude::*;

const FR: usize = 0x18;
const TX_FULL: u32 = 1 << 5;
const RX_EMPTY: u32 = 1 << 4;
const BUSY: u32 = 1 << 3;

fn pl011(ram: &Ram) -> Uart {
    // SAFETY: the block lives as long as the test uses the UART.
    Uart::Pl011(unsafe { Pl011::new(ram.base()) })
}

fn mini(ram: &Ram) -> Uart {
    // SAFETY: as above; the block starts at the AUX block.
    Uart::Mini(unsafe { MiniUart::new(ram.base() + 0x40) })
}

#[test]
fn pl011_divisors_are_those_of_the_manual() {
    // The manual's own example: 4 MHz and 230400 baud give 1 and 5 (1.085 in 64ths).
    let line = Line { clock_hz: 4_000_000, baud: 230_400 };
    assert_eq!(Divisors::new(line), Ok(Divisors { integer: 1, fraction: 5 }));
    // The Pi: 48 MHz and 115200 baud give 26.04.
    let line = Line { clock_hz: 48_000_000, baud: BAUD };
    assert_eq!(Divisors::new(line), Ok(Divisors { integer: 26, fraction: 3 }));
}

#[test]
fn unreachable_speeds_are_refused_with_the_line() {
    for (clock_hz, baud) in [(1_000_000, BAUD), (u32::MAX, 300), (48_000_000, 0)] {
        let line = Line { clock_hz, baud };
        assert_eq!(Divisors::new(line), Err(UartError::Unreachable(line)));
    }
    let line = Line { clock_hz: 100, baud: BAUD };
    assert_eq!(divisor(line), Err(UartError::Unreachable(line)));
    assert_eq!(Line::at(0, BAUD), None);
}

proptest! {
    #[test]
    fn pl011_divisors_give_the_speed_back(clock_hz in 1u32.., baud in 300u32..4_000_000) {
        if let Ok(Divisors { integer, fraction }) = Divisors::new(Line { clock_hz, baud }) {
            prop_assert!((1..=0xffff).contains(&integer) && fraction < 64);
            prop_assert!(integer < 0xffff || fraction == 0);
            // No other divisor of the UART comes nearer.
            let off = |sixty_fourths: u64| (4 * u64::from(clock_hz)).abs_diff(sixty_fourths * u64::from(baud));
            let chosen = u64::from(integer) * 64 + u64::from(fraction);
            prop_assert!(off(chosen) <= off(chosen + 1) && off(chosen) <= off(chosen - 1));
        }
    }

    #[test]
    fn mini_divisor_gives_the_speed_back(clock_hz in 1u32.., baud in 300u32..4_000_000) {
        if let Ok(divisor) = divisor(Line { clock_hz, baud }) {
            prop_assert!(divisor <= 0xffff);
            let off = |periods: u64| u64::from(clock_hz).abs_diff(periods * 8 * u64::from(baud));
            let chosen = u64::from(divisor) + 1;
            prop_assert!(off(chosen) <= off(chosen + 1) && off(chosen) <= off(chosen - 1));
        }
    }
}

#[test]
fn pl011_init_leaves_eight_bits_fifos_and_no_interrupt() {
    let ram = Ram::new(0x1000);
    ram.set(FR, RX_EMPTY);
    pl011(&ram).init(Line::at(48_000_000, BAUD)).map(drop).unwrap();
    assert_eq!(ram.get::<u32>(0x24), 26);
    assert_eq!(ram.get::<u32>(0x28), 3);
    assert_eq!(ram.get::<u32>(0x2c), 0x70, "8 bits, FIFOs");
    assert_eq!(ram.get::<u32>(0x30), 0x301, "enabled both ways");
    assert_eq!(ram.get::<u32>(0x38), 0, "no interrupt");
    assert_eq!(ram.get::<u32>(0x44), 0x7ff, "all cleared");
    pl011(&ram).enable_receive_interrupt();
    assert_eq!(ram.get::<u32>(0x38), 0x50, "receive and receive time-out");
}

/// Switching FIFOs empties them: one that is on stays on, and none is switched on while bytes come in.
#[test]
fn pl011_init_switches_no_fifo_that_holds_input() {
    let ram = Ram::new(0x1000);
    ram.set(0, u32::from(b'Q'));
    pl011(&ram).init(None).map(drop).unwrap();
    assert_eq!(ram.get::<u32>(0x2c), 0x60, "found off, and bytes come in");
    ram.set(0x2c, 0x70u32);
    pl011(&ram).init(None).map(drop).unwrap();
    assert_eq!(ram.get::<u32>(0x2c), 0x70, "found on");
}

#[test]
fn unknown_clock_keeps_the_divisors_of_firmware() {
    let ram = Ram::new(0x1000);
    ram.set(0x24, 0x11u32);
    ram.set(0x28, 0x22u32);
    ram.set(0x68, 0x33u32);
    pl011(&ram).init(Line::at(0, BAUD)).map(drop).unwrap();
    mini(&ram).init(None).map(drop).unwrap();
    assert_eq!((ram.get::<u32>(0x24), ram.get::<u32>(0x28)), (0x11, 0x22));
    assert_eq!(ram.get::<u32>(0x68), 0x33);
}

#[test]
fn what_came_before_init_is_carried_over_and_no_more_than_a_fifo() {
    let ram = Ram::new(0x1000);
    ram.set(0, u32::from(b'Q'));
    let carried = pl011(&ram).init(None).unwrap();
    assert_eq!(carried.bytes(), [b'Q'; 32], "a receiver that is never empty is left in the end");
    ram.set(0, 0x500u32);
    assert!(pl011(&ram).init(None).unwrap().bytes().is_empty(), "breaks are not bytes");
    ram.set(FR, RX_EMPTY);
    assert!(pl011(&ram).init(None).unwrap().bytes().is_empty());
}

#[test]
fn refused_line_leaves_the_uart_alone() {
    let ram = Ram::new(0x1000);
    ram.set(0x30, 0x301u32);
    assert!(pl011(&ram).init(Line::at(9600, BAUD)).is_err());
    assert_eq!(ram.get::<u32>(0x30), 0x301);
}

#[test]
fn busy_transmitter_delays_init_but_does_not_stop_it() {
    let ram = Ram::new(0x1000);
    ram.set(FR, BUSY);
    assert!(!pl011(&ram).flush());
    pl011(&ram).init(None).map(drop).unwrap();
    assert_eq!(ram.get::<u32>(0x30), 0x301);
}

#[test]
fn full_transmitter_is_given_up_with_the_count() {
    let ram = Ram::new(0x1000);
    pl011(&ram).write(b"ok").unwrap();
    assert_eq!(ram.get::<u32>(0), u32::from(b'k'));
    ram.set(FR, TX_FULL);
    assert_eq!(pl011(&ram).write(b"gone"), Err(UartError::Stuck { written: 0 }));
    assert_eq!(ram.get::<u32>(0), u32::from(b'k'), "nothing was pushed into a full FIFO");
    // All status bits 0 is what an unclocked mini UART shows: no room, ever.
    let dead = Ram::new(0x1000);
    assert_eq!(mini(&dead).write(b"gone"), Err(UartError::Stuck { written: 0 }));
}

#[test]
fn raw_writer_loses_patience_once_and_recovers() {
    let ram = Ram::new(0x1000);
    ram.set(FR, TX_FULL);
    let mut raw = pl011(&ram).raw_writer();
    // A million bytes: with full patience for each this would take hours.
    for _ in 0..10_000 {
        assert!(write!(raw, "{:100}", 0).is_ok());
    }
    assert_eq!(raw.patience, 1);
    ram.set(FR, 0u32);
    assert!(raw.write(b"x"));
    assert_eq!((ram.get::<u32>(0), raw.patience), (u32::from(b'x'), TRANSMIT_POLLS));
}

#[test]
fn received_faults_are_told_apart_and_only_whole_bytes_count() {
    let ram = Ram::new(0x1000);
    let uart = pl011(&ram);
    ram.set(FR, RX_EMPTY);
    assert_eq!(uart.read(), None);
    ram.set(FR, 0u32);
    for (dr, event, byte) in [
        (0x041, Received::Byte(0x41), Some(0x41)),
        (0x841, Received::Fault(LineFault::Overrun { byte: 0x41 }), Some(0x41)),
        (0x1ff, Received::Fault(LineFault::Framing { byte: 0xff }), None),
        (0x241, Received::Fault(LineFault::Parity { byte: 0x41 }), None),
        (0x500, Received::Fault(LineFault::Break), None),
    ] {
        ram.set::<u32>(0, dr);
        assert_eq!(uart.read(), Some(event));
        assert_eq!(event.byte(), byte);
    }
}

#[test]
fn mini_uart_is_set_up_and_reports_overrun() {
    let ram = Ram::new(0x1000);
    ram.set(0x64, 0x302u32);
    let uart = mini(&ram);
    uart.init(Line::at(500_000_000, BAUD)).map(drop).unwrap();
    assert_eq!(ram.get::<u32>(0x04), 1);
    assert_eq!(ram.get::<u32>(0x4c), 3);
    assert_eq!(ram.get::<u32>(0x60), 3);
    assert_eq!(ram.get::<u32>(0x68), 542);
    uart.enable_receive_interrupt();
    assert_eq!(ram.get::<u32>(0x44), 0b1101);
    assert!(uart.try_write(b'y'));
    assert_eq!(ram.get::<u32>(0x40), u32::from(b'y'));
    ram.set(0x54, 0u32);
    assert_eq!(uart.read(), None);
    ram.set(0x54, 3u32);
    assert_eq!(uart.read(), Some(Received::Fault(LineFault::Overrun { byte: b'y' })));
}
