// Into a litmus thread and out of it again.
//
// The thread owns every general-purpose register but the stack pointer, which stays the kernel's: so
// an exception finds a stack as ever, and what is needed to come back lies on it.

    .pushsection .text.litmus, "ax"
    .balign 64

// x0 = the registers to begin with, x1 = the first instruction, x2 = the processor state to be in.
// Returns when the dispatcher sends the thread to litmus_leave, with everything masked.
    .global litmus_enter
litmus_enter:
    sub     sp, sp, #{FRAME}
    stp     x29, x30, [sp, #0x10]
    stp     x19, x20, [sp, #0x20]
    stp     x21, x22, [sp, #0x30]
    stp     x23, x24, [sp, #0x40]
    stp     x25, x26, [sp, #0x50]
    stp     x27, x28, [sp, #0x60]
    str     x0, [sp, #{RECORD}]
    msr     daifset, #0xf
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x2, x3, [x0, #0x10]
    ldp     x4, x5, [x0, #0x20]
    ldp     x6, x7, [x0, #0x30]
    ldp     x8, x9, [x0, #0x40]
    ldp     x10, x11, [x0, #0x50]
    ldp     x12, x13, [x0, #0x60]
    ldp     x14, x15, [x0, #0x70]
    ldp     x16, x17, [x0, #0x80]
    ldp     x18, x19, [x0, #0x90]
    ldp     x20, x21, [x0, #0xa0]
    ldp     x22, x23, [x0, #0xb0]
    ldp     x24, x25, [x0, #0xc0]
    ldp     x26, x27, [x0, #0xd0]
    ldp     x28, x29, [x0, #0xe0]
    ldr     x30, [x0, #0xf0]
    ldp     x0, x1, [x0]
    eret

// Reached by the return from the thread's last exception; the registers are the thread's.
    .global litmus_leave
litmus_leave:
    str     x0, [sp, #{SCRATCH}]
    ldr     x0, [sp, #{RECORD}]
    stp     x2, x3, [x0, #0x10]
    stp     x4, x5, [x0, #0x20]
    stp     x6, x7, [x0, #0x30]
    stp     x8, x9, [x0, #0x40]
    stp     x10, x11, [x0, #0x50]
    stp     x12, x13, [x0, #0x60]
    stp     x14, x15, [x0, #0x70]
    stp     x16, x17, [x0, #0x80]
    stp     x18, x19, [x0, #0x90]
    stp     x20, x21, [x0, #0xa0]
    stp     x22, x23, [x0, #0xb0]
    stp     x24, x25, [x0, #0xc0]
    stp     x26, x27, [x0, #0xd0]
    stp     x28, x29, [x0, #0xe0]
    str     x30, [x0, #0xf0]
    ldr     x2, [sp, #{SCRATCH}]
    stp     x2, x1, [x0]
    ldp     x27, x28, [sp, #0x60]
    ldp     x25, x26, [sp, #0x50]
    ldp     x23, x24, [sp, #0x40]
    ldp     x21, x22, [sp, #0x30]
    ldp     x19, x20, [sp, #0x20]
    ldp     x29, x30, [sp, #0x10]
    add     sp, sp, #{FRAME}
    ret
    .popsection
