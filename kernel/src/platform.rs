//! Whether what runs this kernel is a machine or imitates one: what reports end with depends on it.

use board::Board;

/// What is emulated, of all that this kernel boots on: QEMU's own board, and boards that QEMU imitates.
const IMITATED: &[&str] = &["linux,dummy-virt", "raspberrypi,4-model-b"];

/// What a board is, as far as its tree tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Nature {
    /// It exists: it has a number of its own, which its firmware writes into the tree.
    Real,
    /// An emulator's, which has no such number to write.
    Emulated,
    /// Nor has every firmware: of a board that nobody imitates and that has none, it is not said.
    Unknown,
}

/// What `board` is.
pub(crate) fn nature(board: &Board) -> Nature {
    let is_imitated = IMITATED.iter().any(|name| board.is_compatible(name));
    match (board.serial_number.is_empty(), is_imitated) {
        (false, _) => Nature::Real,
        (true, true) => Nature::Emulated,
        (true, false) => Nature::Unknown,
    }
}
