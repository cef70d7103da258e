//! From the loader's jump to Rust, on every CPU.
//!
//! # The boot flow
//! 1. `entry.s`: the loader enters here, MMU off, at EL1 or EL2, the device tree in x0. Anything
//!    else ends with a message.
//! 2. `console.s`: finds a UART, writes marks, and catches faults until there are vectors.
//! 3. `cpu.s`: down to EL1.
//! 4. `tables.s`: identity map and image map; `cpu.s`: MMU and caches on.
//! 5. `handover.rs`: the first Rust. It calls `kernel_main`, which the image provides.
//! 6. `tables.rs`: `kernel_main` extends the early map, builds the final tables through it, and
//!    switches to them. From then on the early tables and the device tree's mapping are gone.
//! 7. `secondary.rs` and `secondary.s`: the other CPUs, which end in the image's `secondary_main`.
//!
//! # The rules here
//! * Before the MMU is on: assembly only, PC-relative, aligned, no exclusives, no stack.
//! * The image may lie at any multiple of 4 KiB. `text_offset` is 512 KiB, because that is where the
//!   Raspberry Pi's firmware puts a kernel whatever its header says; so every board runs the case
//!   that is not aligned to 2 MiB.
//! * What one CPU writes with its cache off, or reads with its cache off, is maintained to the point
//!   of coherency, though no emulator can tell.
//!
//! Source: Linux, Documentation/arch/arm64/booting.rst.

mod handover;
mod secondary;
mod sections;
mod tables;

pub use handover::Handover;
pub use secondary::{prepare_secondary, secondary_entry_pa};
pub use sections::{Sections, image_phys, sections};
pub use tables::{
    EarlyMapError, dtb, empty_root, identity_root, install_kernel_root, map_device_early,
    map_linear, retired_tables,
};

use crate::layout;
use aarch64_cpu::registers::HCR_EL2;
use abi::{Level, MAX_CPUS, Pfn};
use core::arch::global_asm;
use pte::{Caps, KernelProt, Leaf, MemType, Table, regs};

/// Where in a 2 MiB block of RAM a loader is asked to put the image.
const TEXT_OFFSET: u64 = 0x8_0000;
/// Little-endian, 4 KiB pages, and any place in RAM will do.
const IMAGE_FLAGS: u64 = 1 << 1 | 1 << 3;
/// The boot protocol allows a device tree no more than this.
const DTB_MAX_BYTES: u64 = 2 << 20;

/// QEMU virt: the PL011.
const VIRT_PL011: u64 = 0x0900_0000;
/// BCM2711: the PL011 that is UART0.
const PI_PL011: u64 = 0xfe20_1000;
/// BCM2711: the auxiliary block, which holds the mini UART.
const PI_AUX: u64 = 0xfe21_5000;

/// A page descriptor of this kind, for frame 0.
const fn page(prot: KernelProt, mem: MemType) -> u64 {
    Leaf::kernel(Level::Pte, Pfn(0), prot, mem).word()
}

/// TCR_EL1 but for the sizes, which `early_tcr` reads from the CPU. What else a CPU can do is
/// settled later, when all of them are known.
const TCR_BASE: u64 = regs::tcr(&Caps { asid_bits: 8, pa_bits: 32, ..Caps::CORTEX_A72 });

/// SCTLR_EL2 with its MMU off: the bits that Armv8.0 fixes to one.
const SCTLR_EL2_OFF: u64 = 0x30c5_0830;

global_asm!(
    include_str!("console.s"), // first: it defines the macro for marks
    include_str!("entry.s"),
    include_str!("cpu.s"),
    include_str!("tables.s"),
    include_str!("secondary.s"),
    TEXT_OFFSET = const TEXT_OFFSET,
    IMAGE_FLAGS = const IMAGE_FLAGS,
    DTB_MAX_BYTES = const DTB_MAX_BYTES,
    VIRT_PL011 = const VIRT_PL011,
    PI_PL011 = const PI_PL011,
    PI_AUX = const PI_AUX,
    PAGE_RX = const page(KernelProt::Text, MemType::Normal),
    PAGE_R = const page(KernelProt::Rodata, MemType::Normal),
    PAGE_RW = const page(KernelProt::Data, MemType::Normal),
    PAGE_DEVICE = const page(KernelProt::Data, MemType::Device),
    TABLE = const Table::kernel(Pfn(0)).word(),
    BOOT_DTB_BASE = const layout::BOOT_DTB_BASE.0,
    MAIR = const regs::mair(),
    TCR_BASE = const TCR_BASE,
    SCTLR_EL1_OFF = const regs::sctlr_mmu_off(),
    SCTLR_EL1_ON = const regs::sctlr(),
    SCTLR_EL2_OFF = const SCTLR_EL2_OFF,
    HCR_EL2 = const HCR_EL2::RW::EL1IsAarch64.value,
    AFFINITY_MASK = const secondary::AFFINITY_MASK,
    RECORD_VALID = const secondary::RECORD_VALID,
    RECORDS = sym secondary::RECORDS,
    MAX_CPUS = const MAX_CPUS,
    boot_main = sym handover::boot_main,
    boot_secondary = sym secondary::boot_secondary,
);
