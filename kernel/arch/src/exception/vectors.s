// The exception vectors.
//
// On entry all exceptions are masked, and the stack pointer may be anything. So the stack is checked
// before it is used, and the check may clobber nothing: x0 is parked in TPIDRRO_EL0, which nobody
// reads; the flags are in SPSR_EL1 already. What runs at EL0 (litmus threads, no more) has left the
// kernel's stack pointer where it was, so the stack is the same one.
//
// Then what a function call may clobber is saved as a TrapFrame, x29 is pointed at the frame record
// inside it, and Rust takes over. Source: Arm ARM, "Exception vectors" and "Exception entry".

// Goes on only where sp lies inside the current stack, with room for a frame above its low end:
// one unsigned comparison, since sp below the floor wraps to a huge number.
.macro vector_check_stack vector
    msr     tpidrro_el0, x0
    mrs     x0, tpidr_el1
    ldr     x0, [x0, #{STACK_FLOOR}]
    sub     x0, sp, x0
    lsr     x0, x0, #{STACK_SHIFT}
    cbnz    x0, .Lvector_lost_\vector
    mrs     x0, tpidrro_el0
.endm

.macro vector_lost vector
.Lvector_lost_\vector:
    mov     x0, #\vector
    b       vector_stack_lost
.endm

// x0 and x1 are saved by the pre-indexed store that also makes the room.
.macro vector_save_x2_to_x17
    stp     x2, x3, [sp, #0x10]
    stp     x4, x5, [sp, #0x20]
    stp     x6, x7, [sp, #0x30]
    stp     x8, x9, [sp, #0x40]
    stp     x10, x11, [sp, #0x50]
    stp     x12, x13, [sp, #0x60]
    stp     x14, x15, [sp, #0x70]
    stp     x16, x17, [sp, #0x80]
.endm

// What no call clobbers: stored only for a report.
.macro vector_save_x19_to_x28
    stp     x19, x20, [sp, #0xd0]
    stp     x21, x22, [sp, #0xe0]
    stp     x23, x24, [sp, #0xf0]
    stp     x25, x26, [sp, #0x100]
    stp     x27, x28, [sp, #0x110]
.endm

// A vector that a sound kernel never takes.
.macro vector_fatal vector
    .balign 0x80
    vector_check_stack \vector
    stp     x0, x1, [sp, #-{FRAME}]!
    mov     x1, #\vector
    b       vector_die
    vector_lost  \vector
.endm

// Synchronous: the way of a page fault.
.macro vector_synchronous vector
    .balign 0x80
    vector_check_stack \vector
    stp     x0, x1, [sp, #-{FRAME}]!
    vector_save_x2_to_x17
    mrs     x1, esr_el1
    mrs     x2, far_el1
    mrs     x3, spsr_el1
    mrs     x4, elr_el1
    stp     x18, x30, [sp, #0x90]
    stp     x29, x4, [sp, #0xa0]
    stp     x3, x1, [sp, #0xb0]
    str     x2, [sp, #0xc0]
    add     x29, sp, #0xa0
    mov     x0, sp
    bl      {synchronous}
    cbz     w0, vector_restore
    mov     x1, #\vector
    b       vector_unhandled
    vector_lost  \vector
.endm

// IRQ.
.macro vector_irq vector
    .balign 0x80
    vector_check_stack \vector
    stp     x0, x1, [sp, #-{FRAME}]!
    vector_save_x2_to_x17
    mrs     x3, spsr_el1
    mrs     x4, elr_el1
    stp     x18, x30, [sp, #0x90]
    stp     x29, x4, [sp, #0xa0]
    str     x3, [sp, #0xb0]
    add     x29, sp, #0xa0
    mov     x0, sp
    bl      {irq}
    cbz     w0, vector_restore
    mov     x1, #\vector
    b       vector_unhandled
    vector_lost  \vector
.endm

    .pushsection .text.vectors, "ax"
    .balign 0x800
    .global exception_vectors
exception_vectors:
    vector_fatal 0
    vector_fatal 1
    vector_fatal 2
    vector_fatal 3

    // From EL1 on SP_EL1.
    vector_synchronous 4
    vector_irq 5
    vector_fatal 6
    vector_fatal 7

    // From EL0.
    vector_synchronous 8
    vector_irq 9
    vector_fatal 10
    vector_fatal 11
    vector_fatal 12
    vector_fatal 13
    vector_fatal 14
    vector_fatal 15

    .balign 0x80
vector_restore:
    ldp     x29, x1, [sp, #0xa0]
    ldr     x2, [sp, #0xb0]
    msr     elr_el1, x1
    msr     spsr_el1, x2
    ldp     x18, x30, [sp, #0x90]
    ldp     x16, x17, [sp, #0x80]
    ldp     x14, x15, [sp, #0x70]
    ldp     x12, x13, [sp, #0x60]
    ldp     x10, x11, [sp, #0x50]
    ldp     x8, x9, [sp, #0x40]
    ldp     x6, x7, [sp, #0x30]
    ldp     x4, x5, [sp, #0x20]
    ldp     x2, x3, [sp, #0x10]
    ldp     x0, x1, [sp], #{FRAME}
    eret

    // The handler gave up; x1 is the vector. By the calling convention x19 to x28 are what they
    // were.
vector_unhandled:
    vector_save_x19_to_x28
    add     x0, sp, #{FRAME}
    str     x0, [sp, #0xc8]
    mov     x0, sp
    bl      {died}

    // x0 and x1 are saved, x1 is the vector.
vector_die:
    vector_save_x2_to_x17
    add     x2, sp, #{FRAME}
vector_save_rest:
    mrs     x3, elr_el1
    mrs     x4, spsr_el1
    mrs     x5, esr_el1
    mrs     x6, far_el1
    stp     x18, x30, [sp, #0x90]
    stp     x29, x3, [sp, #0xa0]
    stp     x4, x5, [sp, #0xb0]
    stp     x6, x2, [sp, #0xc0]
    vector_save_x19_to_x28
    add     x29, sp, #0xa0
    mov     x0, sp
    bl      {died}

    // x0 is the vector; the interrupted x0 is in TPIDRRO_EL0. Goes over to the CPU's spare stack,
    // which from now on is its stack: a fault in the report is caught like any other.
vector_stack_lost:
    msr     tpidr_el0, x1
    mrs     x1, tpidr_el1
    str     x0, [x1, #{LOST_VECTOR}]
    mov     x0, sp
    str     x0, [x1, #{LOST_SP}]
    ldr     x0, [x1, #{SPARE_TOP}]
    cbz     x0, vector_spare_lost
    str     xzr, [x1, #{SPARE_TOP}]
    mov     sp, x0
    sub     x0, x0, #{SPARE_BYTES}
    add     x0, x0, #{FRAME}
    str     x0, [x1, #{STACK_FLOOR}]
    mrs     x0, tpidrro_el0
    mrs     x1, tpidr_el0
    stp     x0, x1, [sp, #-{FRAME}]!
    vector_save_x2_to_x17
    mrs     x3, tpidr_el1
    ldr     x1, [x3, #{LOST_VECTOR}]
    ldr     x2, [x3, #{LOST_SP}]
    orr     x1, x1, #{STACK_LOST}
    b       vector_save_rest

    // The report overflowed the spare stack too. Nothing on it is worth keeping.
vector_spare_lost:
    ldr     x0, [x1, #{STACK_FLOOR}]
    sub     x0, x0, #{FRAME}
    add     x0, x0, #{SPARE_BYTES}
    mov     sp, x0
    mov     x29, xzr
    bl      {last_resort}

    .global exception_vectors_end
exception_vectors_end:
    .popsection
