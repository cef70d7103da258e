//! Barriers by what they are for.
//!
//! Each is a barrier for the compiler too. Source: Arm ARM, "Data Synchronization Barrier", "TLB
//! maintenance instructions", "Ordering and completion of TLB maintenance instructions".

use aarch64_cpu::asm::barrier::{ISH, ISHST, NSH, NSHST, SY, dsb, isb};
use pte::Scope;

/// Descriptor stores before this are seen by walks that begin after it, in `scope`.
#[inline]
pub fn publish(scope: Scope) {
    match scope {
        Scope::Local => dsb(NSHST),
        Scope::InnerShareable => dsb(ISHST),
    }
}

/// TLB and cache maintenance before this is finished in `scope`, and so is every access that used
/// what it removed.
#[inline]
pub fn complete(scope: Scope) {
    match scope {
        Scope::Local => dsb(NSH),
        Scope::InnerShareable => dsb(ISH),
    }
}

/// The next instructions see changed system registers, translations and text.
#[inline]
pub fn synchronize_context() {
    isb(SY);
}

/// Everything before this is finished as far as devices and other masters can tell.
#[inline]
pub fn complete_system() {
    dsb(SY);
}
