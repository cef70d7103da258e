//! Bytes that arrive while a command runs.
//!
//! A running command is not reading, but its user goes on typing: the next command, or Ctrl-C.
//! Whoever receives bytes meanwhile (an interrupt handler or a poll between steps) offers them
//! here and learns at once of a Ctrl-C; afterwards the editor is fed from here.

/// Bytes that are kept for later: a page of commands, which a script may send at once.
pub const TYPEAHEAD_BYTES: usize = 4096;

/// What became of a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// It waits for the editor.
    Kept,
    /// It was Ctrl-C: what runs should stop. What was typed before it is dropped, as a terminal
    /// driver does.
    Interrupt,
    /// There was no room; it is lost, and counted.
    Dropped,
}

/// A queue of [`TYPEAHEAD_BYTES`] bytes. When it is full, the newest are dropped: the start of what
/// was typed makes sense without the end, the end without the start does not.
#[derive(Clone, Copy, Debug)]
pub struct TypeAhead {
    bytes: [u8; TYPEAHEAD_BYTES],
    head: usize,
    len: usize,
    dropped: u64,
}

impl TypeAhead {
    const CTRL_C: u8 = 3;

    /// An empty queue.
    pub const fn new() -> Self {
        Self { bytes: [0; TYPEAHEAD_BYTES], head: 0, len: 0, dropped: 0 }
    }

    /// Takes a byte from the wire.
    pub fn offer(&mut self, byte: u8) -> Arrival {
        if byte == Self::CTRL_C {
            self.len = 0;
            return Arrival::Interrupt;
        }
        if self.len == TYPEAHEAD_BYTES {
            self.dropped += 1;
            return Arrival::Dropped;
        }
        self.bytes[(self.head + self.len) % TYPEAHEAD_BYTES] = byte;
        self.len += 1;
        Arrival::Kept
    }

    /// The oldest byte that waits.
    pub fn take(&mut self) -> Option<u8> {
        if self.len == 0 {
            return None;
        }
        let byte = self.bytes[self.head];
        self.head = (self.head + 1) % TYPEAHEAD_BYTES;
        self.len -= 1;
        Some(byte)
    }

    /// Bytes lost for want of room since boot.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Default for TypeAhead {
    fn default() -> Self {
        Self::new()
    }
}
