// The Image header and the way of the boot CPU to Rust.
//
// Entered with the MMU and the data cache off, so: PC-relative addresses only, aligned accesses
// only, no exclusives, no DC ZVA, and no stack, for nothing here nests deep enough to need one.
// Everything but the header lies in .idmap.text, the pages that keep their physical addresses when
// the MMU comes on. Full values are written to system registers; none is read, changed and written
// back, because none has a defined value before.
//
// Registers that keep their meaning from entry to Rust:
//   x19 counter at entry   x20 exception level at entry   x21 device tree   x22 start of the image
//   x23 bytes of the tree  x24 user root (the identity map)   x25 kernel root
//   x28 next free early table
// Scratch: x0 to x15. The fault handler may change x16 and x17 at any time.
//
// Source: Linux, Documentation/arch/arm64/booting.rst (the protocol).

    .section .head.text, "ax"
    .global _start
_start:
    b       primary_entry
    nop
    .quad   {TEXT_OFFSET}
    .quad   __image_size
    .quad   {IMAGE_FLAGS}
    .quad   0
    .quad   0
    .quad   0
    .ascii  "ARMd"
    .long   0

    .section .idmap.text, "ax"
    .balign 8
primary_entry:
    msr     daifset, #0xf
    mov     x21, x0
    adrp    x22, _start                     // page aligned, so this is all of it
    mrs     x20, CurrentEL
    lsr     x20, x20, #2
    // Later EL1 reads the virtual counter, and the offset between the two will be zero. Before that
    // the offset is anything, and at EL1 the physical counter may be out of reach.
    cmp     x20, #1
    b.ne    1f
    mrs     x19, cntvct_el0
    b       2f
1:  mrs     x19, cntpct_el0
2:  bl      set_early_vectors

    // An emulator that is given the ELF file starts every core here, at EL3. One of them speaks.
    cmp     x20, #3
    b.ne    3f
    mrs     x0, mpidr_el1
    and     x0, x0, #0xffffff
    cbnz    x0, early_park

3:  bl      find_device_tree                // x23 = bytes, 0 if x21 is no tree; x26 = what is wrong
    bl      find_early_uart
    mark    'g'
    add     w0, w20, #'0'
    bl      early_putc
    cmp     x20, #3
    b.eq    entered_at_el3
    cbz     x23, no_device_tree
    mark    'd'

    bl      drop_to_el1
    bl      build_early_tables
    mark    't'

    bl      early_tcr                       // x2
    mov     x0, x24
    mov     x1, x25
    ldr     x3, ={MAIR}
    ldr     x4, ={SCTLR_EL1_ON}
    bl      enable_mmu
    mark    'M'
    mark    '\r'
    mark    '\n'
    ldr     x0, =primary_high
    br      x0
    .ltorg

// TCR_EL1 for this CPU: what all share, and the sizes that ID_AA64MMFR0_EL1 grants.
// Result in x2. Changes x0, x1, x3.
early_tcr:
    ldr     x2, ={TCR_BASE}
    mrs     x0, id_aa64mmfr0_el1
    and     x1, x0, #0xf                    // PARange; 52 bits need another descriptor format
    mov     x3, #5
    cmp     x1, x3
    csel    x1, x1, x3, ls
    orr     x2, x2, x1, lsl #32             // IPS
    ubfx    x1, x0, #4, #4                  // ASIDBits
    cmp     x1, #2
    cset    x1, eq
    orr     x2, x2, x1, lsl #36             // AS
    ret
    .ltorg

entered_at_el3:
    adr     x0, message_el3
    b       early_die

no_device_tree:
    adr     x0, message_no_tree
    bl      early_puts
    mov     x0, x21
    bl      early_put_hex
    mov     x0, x26
    b       early_die

// From here on at the link address, MMU and caches on.
    .text
primary_high:
    ldr     x0, =early_vectors
    msr     vbar_el1, x0
    isb
    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
1:  cmp     x0, x1
    b.hs    2f
    stp     xzr, xzr, [x0], #16
    b       1b
2:  ldr     x0, =__boot_stack_end
    sub     sp, x0, #64                     // struct Entry, in handover.rs
    stp     x19, x20, [sp]
    stp     x21, x23, [sp, #16]
    stp     x22, x24, [sp, #32]
    stp     x25, x28, [sp, #48]
    mov     x0, sp
    mov     x29, xzr                        // where a backtrace ends
    mov     x30, xzr
    b       {boot_main}
    .ltorg
