// Routines that may touch an address that is not there.
//
// Each is a leaf: no stack, x30 untouched. That is the whole fixup table: when an instruction
// between uaccess_start and uaccess_end faults for good, the exception returns to x30 with the
// faulting address in x0 and 1 in x1. Otherwise x0 is the result and x1 is 0.
//
// A fault that is resolved repeats the instruction; an aborted access writes no base register back
// (Arm ARM, "Data Aborts", "base register write-back").

    .pushsection .text.uaccess, "ax"
    .balign 64
    .global uaccess_start
uaccess_start:

// x0 = address.
    .global uaccess_read_u64
uaccess_read_u64:
    ldr     x0, [x0]
    mov     x1, xzr
    ret

    .global uaccess_read_u8
uaccess_read_u8:
    ldrb    w0, [x0]
    mov     x1, xzr
    ret

// x0 = address, x1 = value.
    .global uaccess_write_u64
uaccess_write_u64:
    str     x1, [x0]
    mov     x1, xzr
    ret

    .global uaccess_write_u8
uaccess_write_u8:
    strb    w1, [x0]
    mov     x1, xzr
    ret

// x0 = address, x1 = expected, x2 = new. Result: what was there. Acquires and releases.
    .global uaccess_compare_exchange_u64
uaccess_compare_exchange_u64:
1:  ldaxr   x3, [x0]
    cmp     x3, x1
    b.ne    2f
    stlxr   w4, x2, [x0]
    cbnz    w4, 1b
    b       3f
2:  clrex
3:  mov     x0, x3
    mov     x1, xzr
    ret

// x0 = address, x1 = addend. Result: what was there. Acquires and releases.
    .global uaccess_fetch_add_u64
uaccess_fetch_add_u64:
1:  ldaxr   x3, [x0]
    add     x4, x3, x1
    stlxr   w5, x4, [x0]
    cbnz    w5, 1b
    mov     x0, x3
    mov     x1, xzr
    ret

// x0 = to, x1 = from, x2 = number of words.
    .global uaccess_copy_words
uaccess_copy_words:
    subs    x2, x2, #4
    b.lo    2f
1:  ldp     x3, x4, [x1]
    ldp     x5, x6, [x1, #16]
    stp     x3, x4, [x0]
    stp     x5, x6, [x0, #16]
    add     x1, x1, #32
    add     x0, x0, #32
    subs    x2, x2, #4
    b.hs    1b
2:  adds    x2, x2, #4
    b.eq    4f
3:  ldr     x3, [x1], #8
    str     x3, [x0], #8
    subs    x2, x2, #1
    b.ne    3b
4:  mov     x0, xzr
    mov     x1, xzr
    ret

// x0 = to, x1 = word, x2 = number of words.
    .global uaccess_fill_words
uaccess_fill_words:
    subs    x2, x2, #4
    b.lo    2f
1:  stp     x1, x1, [x0]
    stp     x1, x1, [x0, #16]
    add     x0, x0, #32
    subs    x2, x2, #4
    b.hs    1b
2:  adds    x2, x2, #4
    b.eq    4f
3:  str     x1, [x0], #8
    subs    x2, x2, #1
    b.ne    3b
4:  mov     x0, xzr
    mov     x1, xzr
    ret

// x0 = address, x1 = word, x2 = number of words, x3 = where to put a word that differs.
// Result: the address of the first word that is not equal to x1; the end if all are.
    .global uaccess_find_other
uaccess_find_other:
    subs    x2, x2, #4
    b.lo    2f
1:  ldp     x4, x5, [x0]
    ldp     x6, x7, [x0, #16]
    eor     x8, x4, x1
    eor     x9, x5, x1
    eor     x10, x6, x1
    eor     x11, x7, x1
    orr     x8, x8, x9
    orr     x10, x10, x11
    orr     x8, x8, x10
    cbnz    x8, 5f
    add     x0, x0, #32
    subs    x2, x2, #4
    b.hs    1b
2:  adds    x2, x2, #4
    b.eq    4f
3:  ldr     x4, [x0]
    cmp     x4, x1
    b.ne    6f
    add     x0, x0, #8
    subs    x2, x2, #1
    b.ne    3b
4:  mov     x1, xzr
    ret
    // One of x4 to x7 differs. The words that were loaded are reported, for another load may see
    // others.
5:  cmp     x4, x1
    b.ne    6f
    add     x0, x0, #8
    mov     x4, x5
    cmp     x4, x1
    b.ne    6f
    add     x0, x0, #8
    mov     x4, x6
    cmp     x4, x1
    b.ne    6f
    add     x0, x0, #8
    mov     x4, x7
6:  str     x4, [x3]
    mov     x1, xzr
    ret

    .global uaccess_end
uaccess_end:
    .popsection
