//! What only the Raspberry Pi 4 has: pins, the firmware's mailbox, reset and power-off.
//!
//! Three register blocks of the BCM2711, each its own file and its own type. None of them has a
//! lock; the image uses each from one CPU at a time.

mod gpio;
mod mailbox;
mod power;

pub use gpio::{Function, Gpio, Pin, Pull};
pub use mailbox::{Board, Clock, Mailbox, MailboxError, Message, PropertyBuffer};
pub use power::Power;
