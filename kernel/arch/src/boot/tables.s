// The early translation tables, written with the MMU off.
//
//   TTBR0  the identity map: the early code, read and execute; the early UARTs
//   TTBR1  the image with its final rights, the boot stack's guard page left out; the device tree
//
// 4 KiB pages throughout: a loader owes the image no more than that alignment, and nothing here
// lives long enough to care for its TLB footprint.
//
// The cache is off, so what is written goes to memory; a line of these pages that is still dirty
// in some cache would later overwrite it, and one that is clean and stale would hide it. Each table
// is therefore invalidated before its first store and again when all are written.
// Source: Linux, head.S `__create_page_tables` and `dcache_inval_poc`.

    .section .idmap.text, "ax"
    .balign 8

// Sets x24, x25, x28. Changes x0 to x15.
build_early_tables:
    mov     x15, x30
    adrp    x28, __early_tables_start

    bl      new_table
    mov     x24, x0
    adrp    x8, __idmap_start
    adrp    x9, __idmap_end
    mov     x10, x8
    ldr     x11, ={PAGE_RX}
    bl      map_pages
    adr     x12, early_uarts
    ldr     x8, [x12]
    bl      map_uart
    ldr     x8, [x12, #8]
    bl      map_uart

    bl      new_table
    mov     x25, x0
    ldr     x8, =__text_start
    ldr     x9, =__text_end
    adrp    x10, __text_start
    ldr     x11, ={PAGE_RX}
    bl      map_pages
    mov     x0, x25
    ldr     x8, =__rodata_start
    ldr     x9, =__rodata_end
    adrp    x10, __rodata_start
    ldr     x11, ={PAGE_R}
    bl      map_pages
    mov     x0, x25
    ldr     x8, =__data_start
    ldr     x9, =__data_end
    adrp    x10, __data_start
    ldr     x11, ={PAGE_RW}
    bl      map_pages
    mov     x0, x25
    ldr     x8, =__boot_stack_start
    ldr     x9, =__boot_stack_end
    adrp    x10, __boot_stack_start
    ldr     x11, ={PAGE_RW}
    bl      map_pages

    mov     x0, x25
    ldr     x8, ={BOOT_DTB_BASE}
    and     x10, x21, #~0xfff
    add     x9, x21, x23
    sub     x9, x9, x10
    add     x9, x9, x8
    ldr     x11, ={PAGE_R}
    bl      map_pages

    adrp    x0, __early_tables_start
    mov     x1, x28
    dmb     sy
    mov     x30, x15
    b       dcache_invalidate
    .ltorg

// Maps the page of device registers at x8, if not 0, at its own address in x24. Changes x0 to x11.
map_uart:
    cbz     x8, 1f
    and     x8, x8, #~0xfff
    add     x9, x8, #0x1000
    mov     x10, x8
    ldr     x11, ={PAGE_DEVICE}
    mov     x0, x24
    b       map_pages
1:  ret
    .ltorg

// In the tables at x0, maps [x8, x9) to the memory at x10 with the attributes x11.
// Changes x1 to x8, x10, x14.
map_pages:
    mov     x14, x30
    mov     x13, x0
1:  cmp     x8, x9
    b.hs    5f
    mov     x1, x13
    mov     w2, #39
2:  lsr     x3, x8, x2                      // the entry for x8 at this level
    and     x3, x3, #0x1ff
    add     x3, x1, x3, lsl #3
    cmp     w2, #12
    b.eq    4f
    ldr     x1, [x3]
    cbnz    x1, 3f
    bl      new_table
    ldr     x1, ={TABLE}
    orr     x1, x1, x0
    str     x1, [x3]
3:  and     x1, x1, #0x0000fffffffff000
    sub     w2, w2, #9
    b       2b
4:  orr     x4, x10, x11
    str     x4, [x3]
    add     x8, x8, #0x1000
    add     x10, x10, #0x1000
    b       1b
5:  ret     x14
    .ltorg

// A table of nothing, in x0. Changes x4 to x7.
new_table:
    adrp    x4, __early_tables_end
    cmp     x28, x4
    b.hs    2f
    mov     x6, x30
    mov     x7, x2
    mov     x5, x3
    mov     x0, x28
    add     x1, x28, #0x1000
    bl      dcache_invalidate
    mov     x2, x7
    mov     x3, x5
    mov     x30, x6
    mov     x0, x28
1:  stp     xzr, xzr, [x28], #16
    cmp     x28, x1
    b.lo    1b
    ret
2:  adr     x0, message_tables
    b       early_die

// --- later, from Rust ---------------------------------------------------------------------------

// extern "C" fn boot_switch_kernel_root(kernel_root, empty_root, identity_root)
//
// Replaces all of the kernel's half at once. No instruction of the kernel may run while there is
// nothing in that half, so this is called at its physical address; it uses no stack.
// Interrupts are masked. Source: Arm ARM, "Using break-before-make when updating translation table
// entries"; Linux, proc.S `idmap_cpu_replace_ttbr1`.
    .global boot_switch_kernel_root
boot_switch_kernel_root:
    msr     ttbr1_el1, x1
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     ttbr1_el1, x0
    isb
    ret
