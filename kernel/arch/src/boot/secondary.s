// The way of every other CPU to Rust.
//
// PSCI enters at the caller's exception level with a context in x0, a spin table at EL2 with zero;
// both are served alike: the CPU looks up its own affinity in a table that the boot CPU has filled
// and cleaned to the point of coherency, because this CPU's cache is off.

    .section .idmap.text, "ax"
    .balign 8
    .global secondary_entry
secondary_entry:
    msr     daifset, #0xf
    bl      set_early_vectors
    mrs     x0, CurrentEL
    cmp     x0, #(3 << 2)
    b.eq    early_park
    bl      drop_to_el1
    bl      set_early_vectors
    mrs     x10, mpidr_el1
    ldr     x0, ={AFFINITY_MASK}
    and     x10, x10, x0
    orr     x10, x10, #{RECORD_VALID}
    adrp    x11, {RECORDS}
    add     x11, x11, :lo12:{RECORDS}
    mov     w12, #{MAX_CPUS}
1:  ldr     x0, [x11]
    cmp     x0, x10
    b.eq    2f
    add     x11, x11, #64
    subs    w12, w12, #1
    b.ne    1b
    adr     x0, message_stranger
    bl      early_puts
    and     x0, x10, #0x7fffffffffffffff    // without the mark of a valid record
    bl      early_put_hex
    adr     x0, message_end
    bl      early_puts
    b       early_park

2:  ldp     x12, x13, [x11, #8]             // stack, CPU number
    ldp     x0, x1, [x11, #24]              // TTBR0, TTBR1
    ldp     x2, x3, [x11, #40]              // TCR, MAIR
    ldr     x4, [x11, #56]                  // SCTLR
    adrp    x14, __empty_table
    bl      enable_mmu
    ldr     x0, =secondary_high
    br      x0
    .ltorg

    .text
secondary_high:
    ldr     x0, =early_vectors
    msr     vbar_el1, x0
    msr     ttbr0_el1, x14
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    mov     sp, x12
    mov     x0, x13
    mov     x29, xzr
    mov     x30, xzr
    b       {boot_secondary}
    .ltorg
