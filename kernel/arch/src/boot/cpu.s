// What every CPU does on its way to Rust: down to EL1, caches, MMU on.

    .section .idmap.text, "ax"
    .balign 8

// Continues at EL1 after the call, MMU off, with nothing left that traps to EL2 or depends on it.
// Entered at EL1 or EL2. Changes x0 to x2.
//
// VTTBR_EL2 is zeroed on every CPU, for a VMID that differs from one to the other would keep
// broadcast TLB maintenance from matching. HCR_EL2.FB stays zero, so that local maintenance stays
// local. EL1's translation is off until its registers have their final values, which keeps clear of
// Cortex-A72 erratum 1319367 (speculative address translation in a half-set regime).
//
// Source: Arm ARM, "EL2 configuration", register descriptions; Linux, el2_setup.h `init_el2_state`.
drop_to_el1:
    msr     spsel, #1
    mrs     x0, CurrentEL
    cmp     x0, #(2 << 2)
    b.eq    1f
    ldr     x0, ={SCTLR_EL1_OFF}
    msr     sctlr_el1, x0
    isb
    ret

1:  ldr     x0, ={SCTLR_EL2_OFF}
    msr     sctlr_el2, x0
    isb
    ldr     x0, ={HCR_EL2}                  // EL1 is AArch64; no stage 2, no traps, not VHE
    msr     hcr_el2, x0
    isb
    ldr     x0, ={SCTLR_EL1_OFF}
    mrs     x1, hcr_el2
    tbnz    x1, #34, 2f                     // E2H may be fixed to one
    msr     sctlr_el1, x0
    mov     x0, #0x33ff                     // CPTR_EL2: RES1; SVE and SME trap, nobody uses them
    msr     cptr_el2, x0
    mov     x0, #3                          // EL1PCTEN, EL1PCEN
    msr     cnthctl_el2, x0
    b       3f
2:  msr     S3_5_C1_C0_0, x0                // SCTLR_EL12: under VHE the plain name means EL2's own
    mov     x0, #(3 << 20)                  // CPTR_EL2 in VHE's form: FPEN
    msr     cptr_el2, x0
    mov     x0, #(3 << 10)                  // CNTHCTL_EL2 in VHE's form: EL1PCTEN, EL1PTEN
    msr     cnthctl_el2, x0

3:  msr     cntvoff_el2, xzr                // virtual time is physical time
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0

    mov     x0, xzr                         // MDCR_EL2: nothing traps, all counters are EL1's
    mrs     x1, id_aa64dfr0_el1
    ubfx    x1, x1, #8, #4                  // PMUVer
    cbz     x1, 4f
    cmp     x1, #0xf
    b.eq    4f
    mrs     x0, pmcr_el0
    ubfx    x0, x0, #11, #5                 // N, for HPMN
4:  msr     mdcr_el2, x0

    mrs     x1, id_aa64mmfr0_el1
    ubfx    x1, x1, #56, #4                 // FGT: fine-grained traps
    cbz     x1, 5f
    msr     S3_4_C1_C1_4, xzr               // HFGRTR_EL2
    msr     S3_4_C1_C1_5, xzr               // HFGWTR_EL2
    msr     S3_4_C1_C1_6, xzr               // HFGITR_EL2: TLBI and cache maintenance among them
    msr     S3_4_C3_C1_4, xzr               // HDFGRTR_EL2
    msr     S3_4_C3_C1_5, xzr               // HDFGWTR_EL2

5:  mrs     x1, id_aa64mmfr1_el1
    ubfx    x1, x1, #40, #4                 // HCX: the extended configuration register
    cbz     x1, 6f
    mrs     x1, S3_0_C0_C6_2                // ID_AA64ISAR2_EL1
    ubfx    x1, x1, #16, #4                 // MOPS
    cmp     x1, #0
    cset    x0, ne
    lsl     x0, x0, #11                     // MSCEn: EL1 may use the copy and set instructions
    msr     S3_4_C1_C2_2, x0                // HCRX_EL2

6:  mrs     x1, id_aa64pfr0_el1
    ubfx    x1, x1, #24, #4                 // GIC: the CPU interface has system registers
    cbz     x1, 7f
    mov     x0, #0xf                        // Enable, DIB, DFB, SRE
    msr     S3_4_C12_C9_5, x0               // ICC_SRE_EL2
    isb
    mrs     x0, S3_4_C12_C9_5
    tbz     x0, #0, 7f                      // firmware did not grant it
    msr     S3_4_C12_C11_0, xzr             // ICH_HCR_EL2: no virtual interrupts

7:  adr     x0, early_vectors               // a trap to EL2 from now on is reported, not silent
    msr     vbar_el2, x0
    msr     vbar_el1, x0
    tlbi    alle1
    dsb     nsh
    isb
    mov     x0, #0x3c5                      // EL1h, all masked
    msr     spsr_el2, x0
    msr     elr_el2, x30
    eret
    .ltorg

// Turns the MMU and the caches on. x0 = TTBR0, x1 = TTBR1, x2 = TCR, x3 = MAIR, x4 = SCTLR.
// The caller runs at an address that TTBR0 maps to itself.
//
// A CPU that comes on line has taken part in no broadcast so far: it drops its whole TLB first.
// Source: Arm ARM, "TLB maintenance requirements"; Linux, proc.S `__cpu_setup`.
enable_mmu:
    tlbi    vmalle1
    ic      iallu
    dsb     nsh
    isb
    msr     mair_el1, x3
    msr     tcr_el1, x2
    msr     ttbr0_el1, x0
    msr     ttbr1_el1, x1
    msr     amair_el1, xzr
    msr     contextidr_el1, xzr
    msr     cpacr_el1, xzr                  // no floating point in this kernel: a use of it traps
    msr     mdscr_el1, xzr
    isb
    msr     sctlr_el1, x4
    isb
    ret

// Cache maintenance by address over [x0, x1), data, to the point of coherency. Changes x0, x2, x3.
    .macro dcache_range name, operation
    .global \name
\name:
    mrs     x2, ctr_el0
    ubfx    x2, x2, #16, #4                 // DminLine, in words
    mov     x3, #4
    lsl     x2, x3, x2
    sub     x3, x2, #1
    bic     x0, x0, x3
1:  dc      \operation, x0
    add     x0, x0, x2
    cmp     x0, x1
    b.lo    1b
    dsb     sy
    ret
    .endm

    dcache_range dcache_invalidate, ivac
    dcache_range dcache_clean_invalidate, civac
