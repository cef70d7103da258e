//! The registers that say, for each interrupt, whether and how it is forwarded.
//!
//! GICv2's distributor, GICv3's distributor and the SGI frame of GICv3's redistributors have them at
//! the same offsets; a redistributor has the first 32 interrupts only. Set and clear registers need
//! no lock; the trigger registers hold sixteen interrupts each and are the caller's to guard.

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::register_structs;
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};

use super::Trigger;

/// The priority of everything: the middle of what a Non-secure kernel may give, as Linux has it.
const PRIORITY: u8 = 0xa0;
/// Interrupts that belong to one CPU: SGIs and PPIs.
pub(super) const PRIVATE: u32 = 32;

register_structs! {
    pub(super) Bank {
        (0x000 => pub(super) ctlr: ReadWrite<u32>),
        (0x004 => pub(super) typer: ReadOnly<u32>),
        (0x008 => _reserved0),
        (0x080 => group: [ReadWrite<u32>; 32]),
        (0x100 => set_enable: [ReadWrite<u32>; 32]),
        (0x180 => clear_enable: [ReadWrite<u32>; 32]),
        (0x200 => _set_pending: [ReadWrite<u32>; 32]),
        (0x280 => clear_pending: [ReadWrite<u32>; 32]),
        (0x300 => _set_active: [ReadWrite<u32>; 32]),
        (0x380 => clear_active: [ReadWrite<u32>; 32]),
        (0x400 => priority: [ReadWrite<u8>; 1024]),
        (0x800 => pub(super) target: [ReadWrite<u8>; 1024]),
        (0xc00 => configuration: [ReadWrite<u32>; 64]),
        (0xd00 => _reserved1),
        (0xf00 => pub(super) sgir: WriteOnly<u32>),
        (0xf04 => _reserved2),
        (0x1000 => @END),
    }
}

/// Which group interrupts are put into. A write that this Security state may not make is ignored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    /// What bit 0 of GICv2's control registers enables where there is no Security.
    Zero,
    /// What GICv3's system registers for group 1 handle.
    One,
}

impl Bank {
    /// How many INTIDs the distributor has.
    pub(super) fn lines(&self) -> u32 {
        (PRIVATE * ((self.typer.get() & 0x1f) + 1)).min(1020)
    }

    /// 32 interrupts from `32 * word` on: disabled, not pending, not active, in `group`.
    pub(super) fn reset_word(&self, word: u32, group: Group) {
        let word = word as usize;
        self.clear_enable[word].set(u32::MAX);
        self.clear_pending[word].set(u32::MAX);
        self.clear_active[word].set(u32::MAX);
        self.group[word].set(match group {
            Group::Zero => 0,
            Group::One => u32::MAX,
        });
        for number in 32 * word..32 * word + 32 {
            // The last word has four special numbers at its end, which have no priority.
            if number < 1020 {
                self.priority[number].set(PRIORITY);
            }
        }
    }

    /// Lets `number` be forwarded.
    pub(super) fn enable(&self, number: u32) {
        self.set_enable[(number / 32) as usize].set(1 << (number % 32));
    }

    /// Lets all SGIs be forwarded.
    pub(super) fn enable_sgis(&self) {
        self.set_enable[0].set(0xffff);
    }

    /// Lets `number` no longer be forwarded.
    pub(super) fn disable(&self, number: u32) {
        self.clear_enable[(number / 32) as usize].set(1 << (number % 32));
    }

    /// Sets what makes `number` pending, while it is disabled; whether it took.
    pub(super) fn set_trigger(&self, number: u32, trigger: Trigger) -> bool {
        let register = &self.configuration[(number / 16) as usize];
        let edge = 2 << (2 * (number % 16));
        let old = register.get();
        let new = match trigger {
            Trigger::Edge => old | edge,
            Trigger::Level => old & !edge,
        };
        if new == old {
            return true;
        }
        register.set(new);
        register.get() & edge == new & edge
    }
}
