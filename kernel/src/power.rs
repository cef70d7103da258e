//! The end of a run.

use crate::boot;
use arch::{exception, power::Conduit, semihosting};
use drivers::bcm2711::Power;

/// Ends the run with `status`, by the first way that there is: semihosting, which tells it to the
/// emulator; firmware; the board's watchdog; or nothing but silence.
pub(crate) fn off(status: u8) -> ! {
    flush();
    semihosting::exit(status.into());
    if let Some(conduit) = conduit() {
        let _ = conduit.system_off();
    }
    if let Some(power) = watchdog() {
        power.power_off();
    }
    exception::park()
}

/// Starts the machine again.
pub(crate) fn reset() -> ! {
    flush();
    if let Some(conduit) = conduit() {
        let _ = conduit.system_reset();
    }
    if let Some(power) = watchdog() {
        power.reset();
    }
    // An emulator that cannot restart can at least end.
    semihosting::exit(0);
    exception::park()
}

/// The status of a run that a panic or an unexpected exception ended.
const STATUS_DIED: u8 = 3;

/// Ends a run that has died.
pub(crate) fn end_failed() -> ! {
    off(STATUS_DIED)
}

fn flush() {
    if let Some(uart) = crate::console::uart() {
        let _ = uart.flush();
    }
}

/// How firmware is called, if there is any.
pub(crate) fn conduit() -> Option<Conduit> {
    boot::board()?.psci.map(|psci| match psci.conduit {
        board::Conduit::Hvc => Conduit::Hvc,
        board::Conduit::Smc => Conduit::Smc,
    })
}

fn watchdog() -> Option<Power> {
    let range = boot::board()?.bcm2711.watchdog?;
    let base = arch::layout::device(range.start)?;
    // SAFETY: the block is the power manager's, says the tree; it is mapped as device for good.
    Some(unsafe { Power::new(base) })
}
