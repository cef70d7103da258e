//! Where the parts of the image are, as the linker placed them and as the loader loaded them.
//!
//! Pure reads; any context.

use super::handover::image_start;
use crate::layout::KIMAGE_BASE;
use abi::{PhysAddr, VirtAddr, VirtRange};
use core::ptr;

/// The image by the rights that its parts need. All bounds are page aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sections {
    /// Everything from the header to the end of the boot stack.
    pub image: VirtRange,
    /// Code: read and execute.
    pub text: VirtRange,
    /// Constants: read.
    pub rodata: VirtRange,
    /// Variables, `.bss` and the early tables: read and write.
    pub data: VirtRange,
    /// The boot CPU's stack: read and write. The page below it is mapped by nobody.
    pub boot_stack: VirtRange,
}

unsafe extern "C" {
    safe static __image_start: u8;
    safe static __image_end: u8;
    safe static __text_start: u8;
    safe static __text_end: u8;
    safe static __rodata_start: u8;
    safe static __rodata_end: u8;
    safe static __data_start: u8;
    safe static __data_end: u8;
    safe static __boot_stack_start: u8;
    safe static __boot_stack_end: u8;
}

/// The address of a symbol that the linker script defines.
pub(super) fn address(symbol: &'static u8) -> VirtAddr {
    VirtAddr(ptr::from_ref(symbol).addr() as u64)
}

/// The parts of the image.
pub fn sections() -> Sections {
    let range = |start, end| VirtRange::new(address(start), address(end));
    Sections {
        image: range(&__image_start, &__image_end),
        text: range(&__text_start, &__text_end),
        rodata: range(&__rodata_start, &__rodata_end),
        data: range(&__data_start, &__data_end),
        boot_stack: range(&__boot_stack_start, &__boot_stack_end),
    }
}

/// The memory behind an address in the image. The caller passes no other address.
#[doc(alias = "__pa_symbol")]
pub fn image_phys(va: VirtAddr) -> PhysAddr {
    image_start() + (va - KIMAGE_BASE)
}
