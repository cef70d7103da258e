// The first words: finding a UART without a parser, marks, messages, and what happens to a fault
// before there is anybody to take it.
//
// Marks, in the order of a good boot: "g" got control, "1" or "2" the exception level, "d" the
// device tree is one, "t" tables built, "M" the MMU is on. A boot that goes silent has said how far
// it came; one that ends has said why.
//
// Code between early_quiet_start and early_quiet_end may fault: the handler skips the instruction.
// That makes it safe to look at an address that may not exist, and to ask for a service (an
// emulator's semihosting, firmware's PSCI) that may not be there.
//
// Each wait is bounded, so a UART without a clock delays and does not hang.

    .macro mark character
    mov     w0, #\character
    bl      early_putc
    .endm

    .equ    UART_POLLS, 1 << 14             // more than a character's time at 9600 baud

    .section .idmap.text, "ax"
    .balign 64
// Written once by the boot CPU before its MMU is on, read by all; hence in these pages.
    .global early_uarts
early_uarts:
    .quad   0                               // a PL011, or 0
    .quad   0                               // a BCM2711 auxiliary block with a mini UART, or 0
early_entry_el:
    .quad   0
early_semihosting_exit:
    .quad   0x20026                         // ADP_Stopped_ApplicationExit
    .quad   1                               // the status: failure
    .balign 64

message_el3:
    .asciz  "\r\ngranule: entered at EL3, where firmware belongs; a kernel is entered at EL1 or EL2.\r\ngranule: give the loader the flat image, not the ELF file."
message_no_tree:
    .asciz  "\r\ngranule: no device tree: x0 = "
message_tree_null:
    .asciz  " is null.\r\ngranule: boot the flat image, not the ELF file, and give raspi4b a tree with -dtb."
message_tree_alignment:
    .asciz  " is not 8-byte aligned."
message_tree_magic:
    .asciz  " does not point at one (no d00dfeed there).\r\ngranule: boot the flat image, not the ELF file, and give raspi4b a tree with -dtb."
message_tree_size:
    .asciz  " points at one whose size is not between 40 bytes and 2 MiB."
message_tables:
    .asciz  "\r\ngranule: out of early tables."
message_stranger:
    .asciz  "\r\ngranule: a CPU came that nobody called, affinity "
message_fault:
    .asciz  "\r\ngranule: exception before the vectors are set, ESR "
message_elr:
    .asciz  " ELR "
message_far:
    .asciz  " FAR "
message_end:
    .asciz  "\r\ngranule: stopped.\r\n"
    .balign 8

// --- a fault ------------------------------------------------------------------------------------

// Points VBAR of the current exception level at early_vectors. Changes x0, x1.
set_early_vectors:
    adr     x0, early_vectors
    mrs     x1, CurrentEL
    cmp     x1, #(2 << 2)
    b.eq    2f
    b.hi    3f
    msr     vbar_el1, x0
    isb
    ret
2:  msr     vbar_el2, x0
    isb
    ret
3:  msr     vbar_el3, x0
    isb
    ret

// x16 and x17 of the interrupted code are lost; nothing here keeps anything in them.
    .balign 2048
    .global early_vectors
early_vectors:
    .rept   16
    .balign 128
    b       early_fault
    .endr

early_fault:
    mrs     x16, CurrentEL
    cmp     x16, #(2 << 2)
    b.eq    2f
    b.hi    3f
    mrs     x16, elr_el1
    b       4f
2:  mrs     x16, elr_el2
    b       4f
3:  mrs     x16, elr_el3
4:  adr     x17, early_quiet_start
    cmp     x16, x17
    b.lo    early_report
    adr     x17, early_quiet_end
    cmp     x16, x17
    b.hs    early_report
    add     x16, x16, #4                    // skip it
    mrs     x17, CurrentEL
    cmp     x17, #(2 << 2)
    b.eq    2f
    b.hi    3f
    msr     elr_el1, x16
    eret
2:  msr     elr_el2, x16
    eret
3:  msr     elr_el3, x16
    eret

early_report:
    mrs     x10, CurrentEL
    cmp     x10, #(2 << 2)
    b.eq    2f
    b.hi    3f
    mrs     x11, esr_el1
    mrs     x12, far_el1
    b       4f
2:  mrs     x11, esr_el2
    mrs     x12, far_el2
    b       4f
3:  mrs     x11, esr_el3
    mrs     x12, far_el3
4:  adr     x0, message_fault
    bl      early_puts
    mov     x0, x11
    bl      early_put_hex
    adr     x0, message_elr
    bl      early_puts
    mov     x0, x16
    bl      early_put_hex
    adr     x0, message_far
    bl      early_puts
    mov     x0, x12
    bl      early_put_hex
    adr     x0, message_none
    b       early_die
message_none:
    .asciz  ""
    .balign 4

// --- quiet: faults are skipped ------------------------------------------------------------------

early_quiet_start:

// Is x21 a device tree? Result: x23 = its size, or 0 and x26 = the message that says why not.
// Only an image must be cleaned to the point of coherency by its loader, a tree need not be; so its
// lines are cleaned here before the first look that bypasses the cache.
find_device_tree:
    mov     x15, x30
    mov     x23, xzr
    adr     x26, message_tree_null
    cbz     x21, 1f
    adr     x26, message_tree_alignment
    tst     x21, #7
    b.ne    1f
    adr     x26, message_tree_magic
    cmp     x20, #3                         // a kernel is not entered there: x0 means nothing
    b.eq    1f
    mov     x0, x21
    add     x1, x21, #40                    // the header
    bl      dcache_clean_invalidate
    mov     w0, wzr
    ldr     w0, [x21]
    rev     w0, w0
    ldr     w1, =0xd00dfeed
    cmp     w0, w1
    b.ne    1f
    adr     x26, message_tree_size
    ldr     w0, [x21, #4]                   // totalsize
    rev     w0, w0
    cmp     w0, #40
    b.lo    1f
    ldr     w1, ={DTB_MAX_BYTES}
    cmp     w0, w1
    b.hi    1f
    mov     w23, w0
1:  ret     x15

// Chooses the UART for marks by the root node's "compatible" and "model", which come first in the
// tree: looks for the words in its first 2 KiB. A board that is neither stays silent here. With no
// tree the end is near, and the load address and a PL011's identity have to do.
find_early_uart:
    mov     x15, x30
    mov     x13, xzr                        // PL011
    mov     x14, xzr                        // auxiliary block
    cbz     x23, 4f
    ldr     w0, [x21, #8]                   // off_dt_struct
    rev     w0, w0
    cmp     w0, w23
    b.hs    6f
    add     x10, x21, w0, uxtw
    add     x11, x10, #2048
    add     x12, x21, x23
    cmp     x11, x12
    csel    x11, x11, x12, ls
    mov     x0, x10
    mov     x1, x11
    bl      dcache_clean_invalidate
    ldr     x2, =0x0062636d32373131         // "bcm2711"
    ldr     x3, =0x6d6d792d76697274         // "mmy-virt", the end of "linux,dummy-virt"
    mov     x0, xzr                         // the last eight bytes
1:  cmp     x10, x11
    b.hs    6f
    ldrb    w1, [x10], #1
    orr     x0, x1, x0, lsl #8
    cmp     x0, x3
    b.eq    3f
    and     x1, x0, #0x00ffffffffffffff
    cmp     x1, x2
    b.ne    1b
2:  ldr     x13, ={PI_PL011}
    ldr     x14, ={PI_AUX}
    b       6f
3:  ldr     x13, ={VIRT_PL011}
    b       6f
4:  lsr     x0, x22, #30                    // loaded in the first GiB: virt has no RAM there
    cbz     x0, 2b
    ldr     x1, ={VIRT_PL011}
    mov     w0, wzr
    ldr     w0, [x1, #0xff0]                // PrimeCell identification, 0xb105f00d by the byte
    cmp     w0, #0x0d
    b.ne    2b
    mov     w0, wzr
    ldr     w0, [x1, #0xffc]
    cmp     w0, #0xb1
    b.ne    2b
    mov     x13, x1
6:  adr     x0, early_uarts
    mov     x1, x0
    add     x1, x1, #24
    stp     x13, x14, [x0]
    str     x20, [x0, #16]
    dmb     sy                              // the stores reach memory, then a stale line goes
    mov     x30, x15
    b       dcache_invalidate
    .ltorg

// Writes the character in w0 to each UART there is. Changes x1 to x4.
early_putc:
    adr     x1, early_uarts
    ldp     x2, x3, [x1]
    cbz     x2, 3f
    mov     w4, #UART_POLLS
1:  mov     w1, wzr
    ldr     w1, [x2, #0x18]                 // UARTFR
    tbz     w1, #5, 2f                      // TXFF
    subs    w4, w4, #1
    b.ne    1b
    b       3f
2:  str     w0, [x2]                        // UARTDR
3:  cbz     x3, 6f
    mov     w1, wzr
    ldr     w1, [x3, #0x04]                 // AUX_ENABLES
    tbz     w1, #0, 6f                      // registers of a disabled mini UART do not answer
    mov     w4, #UART_POLLS
4:  ldr     w1, [x3, #0x54]                 // AUX_MU_LSR
    tbnz    w1, #5, 5f                      // transmitter empty
    subs    w4, w4, #1
    b.ne    4b
    b       6f
5:  str     w0, [x3, #0x40]                 // AUX_MU_IO
6:  ret

// Writes the string at x0, which ends with a zero byte. Changes x1 to x6.
early_puts:
    mov     x6, x30
    mov     x5, x0
1:  ldrb    w0, [x5], #1
    cbz     w0, 2f
    bl      early_putc
    b       1b
2:  ret     x6

// Writes x0 in hexadecimal. Changes x1 to x7.
early_put_hex:
    mov     x6, x30
    mov     x5, x0
    mov     w7, #60
1:  lsr     x0, x5, x7
    and     w0, w0, #0xf
    cmp     w0, #10
    mov     w1, #('a' - 10)
    mov     w2, #'0'
    csel    w1, w1, w2, hs
    add     w0, w0, w1
    bl      early_putc
    subs    w7, w7, #4
    b.pl    1b
    ret     x6

// Writes the message at x0 and ends: the emulator's exit with failure, or firmware's power-off, or,
// where there is neither, sleep for ever.
early_die:
    bl      early_puts
    adr     x0, message_end
    bl      early_puts
    mov     w0, #0x18                       // SYS_EXIT
    adr     x1, early_semihosting_exit
    hlt     #0xf000
    // PSCI by the way that fits: under a hypervisor or emulated firmware HVC, entered at EL2 SMC.
    // At EL3 we would be the firmware.
    adr     x1, early_entry_el
    ldr     x1, [x1]
    ldr     w0, =0x84000008                 // SYSTEM_OFF
    cmp     x1, #2
    b.hi    early_park
    b.eq    1f
    hvc     #0
    b       early_park
1:  smc     #0
early_park:
    wfi
    b       early_park
    .ltorg
early_quiet_end:
