//! One serial line for all: output, the log, input.
//!
//! Output goes to the line and to a ring that `log` prints. A write takes the console's lock for one
//! formatted piece, so lines of different CPUs may interleave but not their characters. A dying CPU
//! goes past the lock.

use arch::LocalCpu;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use drivers::uart::{Carried, Uart};
use shell::{Arrival, TypeAhead};
use spin::Once;
use sync::{Class, SpinLock, WaitKey};

/// Bytes of output that `log` can show.
const LOG_BYTES: usize = 32 << 10;

static UART: Once<Uart> = Once::new();

/// What was printed last. Written and read by whoever holds [`LOG`]; beside it and not within, for a
/// static that is zero throughout takes no room in the image.
static RING: [AtomicU8; LOG_BYTES] = [const { AtomicU8::new(0) }; LOG_BYTES];

/// How far the ring was written.
struct Log {
    written: usize,
}

impl Log {
    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            RING[self.written % LOG_BYTES].store(byte, Ordering::Relaxed);
            self.written += 1;
        }
    }
}

static LOG: SpinLock<Log> = SpinLock::new(Class::Console, Log { written: 0 });
/// What was typed ahead. Made when it is first asked for: so it is zero until then, and takes no room in the image
/// either.
static INPUT: Once<SpinLock<TypeAhead>> = Once::new();
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn input() -> &'static SpinLock<TypeAhead> {
    INPUT.call_once(|| SpinLock::new(Class::Console, TypeAhead::new()))
}

/// Makes `uart` the console; what it had received before comes first.
pub(crate) fn attach(uart: Uart, carried: &Carried) {
    UART.call_once(|| uart);
    let mut input = input().lock(&LocalCpu);
    carried.bytes().iter().for_each(|&byte| accept(&mut input, byte));
}

/// The console's UART, once there is one.
pub(crate) fn uart() -> Option<&'static Uart> {
    UART.get()
}

/// Writes to the console and the log. Context: any but a holder of a console lock.
pub(crate) struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut log = LOG.lock(&LocalCpu);
        log.push(text);
        if let Some(uart) = UART.get() {
            send(uart, text);
        }
        Ok(())
    }
}

/// Lines on the wire end with CR LF.
fn send(uart: &Uart, text: &str) {
    for (n, line) in text.split('\n').enumerate() {
        if n > 0 {
            // A line that does not take bytes is nothing to stop for.
            let _ = uart.write(b"\r\n");
        }
        let _ = uart.write(line.as_bytes());
    }
}

/// Writes past every lock: for a CPU that dies.
pub(crate) struct LastWords;

impl Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(uart) = UART.get() {
            send(uart, text);
        }
        Ok(())
    }
}

/// Prints to the console.
macro_rules! print {
    ($($arg:tt)*) => {{
        use core::fmt::Write as _;
        // The console takes everything.
        let _ = write!($crate::console::Console, $($arg)*);
    }};
}
/// Prints a line to the console.
macro_rules! println {
    () => { $crate::console::print!("\n") };
    ($($arg:tt)*) => { $crate::console::print!("{}\n", format_args!($($arg)*)) };
}
pub(crate) use {print, println};

/// Prints what the log still has.
pub(crate) fn print_log(out: &mut dyn Write) -> fmt::Result {
    // Piece by piece, and not what is printed meanwhile.
    let end = LOG.lock(&LocalCpu).written;
    let mut at = end.saturating_sub(LOG_BYTES);
    let mut piece = [0; 128];
    while at < end {
        let mut len = 0;
        {
            let log = LOG.lock(&LocalCpu);
            at = at.max(log.written.saturating_sub(LOG_BYTES));
            while at < end && len < piece.len() {
                piece[len] = RING[at % LOG_BYTES].load(Ordering::Relaxed);
                len += 1;
                at += 1;
            }
        }
        for chunk in piece[..len].utf8_chunks() {
            out.write_str(chunk.valid())?;
        }
    }
    Ok(())
}

/// Takes a byte from the wire.
fn accept(input: &mut TypeAhead, byte: u8) {
    if let Arrival::Interrupt = input.offer(byte) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
}

/// Bytes taken in one interrupt: a line that never falls silent must not keep the CPU there.
const BATCH: usize = 256;
/// A batch ended before the receiver was empty. A full receiver may not interrupt again, so whoever
/// looks for input goes on where the interrupt stopped.
static FLOODED: AtomicBool = AtomicBool::new(false);

/// The UART has something. Context: interrupt, or a thread that looks for input.
pub(crate) fn on_receive() {
    let Some(uart) = UART.get() else { return };
    // Held from a byte's reading until it is kept: an interrupt, or another CPU, in between would put those
    // behind it before it.
    let mut input = input().lock(&LocalCpu);
    uart.acknowledge_receive_interrupt();
    let mut taken = 0;
    for received in core::iter::from_fn(|| uart.read()).take(BATCH) {
        taken += 1;
        if let Some(byte) = received.byte() {
            accept(&mut input, byte);
        }
    }
    drop(input);
    if taken == BATCH {
        FLOODED.store(true, Ordering::Relaxed);
    }
    sched::wake(input_key());
}

/// Goes on with a flood.
fn drain_flood() {
    if FLOODED.swap(false, Ordering::Relaxed) {
        on_receive();
    }
}

fn input_key() -> WaitKey {
    WaitKey::of(input())
}

/// What the prompt gets from the line.
pub(crate) enum Input {
    /// A byte.
    Byte(u8),
    /// Ctrl-C.
    Interrupt,
}

/// Waits for input. Context: thread.
pub(crate) fn read() -> Input {
    loop {
        drain_flood();
        let mut input = None;
        sched::wait(input_key(), &mut || {
            input = if INTERRUPTED.swap(false, Ordering::Relaxed) {
                Some(Input::Interrupt)
            } else {
                self::input().lock(&LocalCpu).take().map(Input::Byte)
            };
            input.is_some() || FLOODED.load(Ordering::Relaxed)
        });
        if let Some(input) = input {
            return input;
        }
    }
}

/// Whether Ctrl-C was typed since the last [`clear_interrupt`].
pub(crate) fn interrupted() -> bool {
    drain_flood();
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Bytes that were typed and lost for want of room, since boot.
pub(crate) fn lost() -> u64 {
    input().lock(&LocalCpu).dropped()
}

/// Forgets a Ctrl-C: a new command begins.
pub(crate) fn clear_interrupt() {
    INTERRUPTED.store(false, Ordering::Relaxed);
}
