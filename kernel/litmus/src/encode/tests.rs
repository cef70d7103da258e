//! The words below are an assembler's (LLVM's), for the text beside each.

use super::immediate::bitmask;
use super::*;
use crate::instruction::{
    Acquire::{self, Full, No, Weak},
    Domain, Kind, Named, Op, Source, System, TlbiOp,
    Width::{W, X},
};
use pte::Scope;

const fn x(n: u8) -> Reg {
    Reg(n)
}

const ZR: Reg = Reg::ZERO;

fn constant(width: Width, to: u8, value: u64) -> Instruction {
    Instruction::Constant { width, to: x(to), value }
}

fn compute(op: Op, width: Width, to: Reg, left: Reg, right: Source) -> Instruction {
    Instruction::Compute { op, width, to, left, right, flags: false }
}

fn flags(op: Op, width: Width, to: Reg, left: Reg, right: Source) -> Instruction {
    Instruction::Compute { op, width, to, left, right, flags: true }
}

fn select(when: Flags, to: Reg, then: Reg, otherwise: Reg, plus_one: bool) -> Instruction {
    let width = if plus_one && then == ZR { W } else { X };
    Instruction::Select { width, to, then, otherwise, plus_one, when }
}

fn load(width: Width, to: u8, base: u8, offset: Source) -> Instruction {
    let (to, base) = (x(to), x(base));
    Instruction::Load { width, to, base, offset, acquire: No, exclusive: false }
}

fn ordered(width: Width, acquire: Acquire, exclusive: bool) -> Instruction {
    let offset = Source::Immediate(0);
    Instruction::Load { width, to: x(1), base: x(2), offset, acquire, exclusive }
}

fn store(width: Width, from: u8, base: u8, offset: Source) -> Instruction {
    Instruction::Store { width, from: x(from), base: x(base), offset, release: false }
}

fn release(width: Width) -> Instruction {
    let offset = Source::Immediate(0);
    Instruction::Store { width, from: x(1), base: x(2), offset, release: true }
}

fn exclusive(width: Width, release: bool) -> Instruction {
    Instruction::StoreExclusive { width, status: x(3), from: x(1), base: x(2), release }
}

fn atomic(op: Atomic, width: Width, to: Reg, acquire: bool, release: bool) -> Instruction {
    Instruction::Atomic { op, width, from: x(1), to, base: x(3), acquire, release }
}

fn cas(width: Width, acquire: bool, release: bool) -> Instruction {
    let (expected, new) = (x(1), x(2));
    Instruction::CompareSwap { width, expected, new, base: x(3), acquire, release }
}

fn tlbi(named: Named, scope: Scope) -> Instruction {
    Instruction::Tlbi { op: TlbiOp { named, scope }, operand: x(9) }
}

fn at(write: bool, el0: bool) -> Instruction {
    Instruction::Translate { write, el0, address: x(3) }
}

fn word(instruction: Instruction) -> Result<u32, Unencodable> {
    encode(&instruction, 10, &Host::BARE)
}

/// All instructions stand at place 10.
#[test]
fn words_are_an_assemblers() {
    use Source::{Extended, Immediate as Imm, Register as By};
    let signed = |from| Extended { from: x(from), signed: true };
    let unsigned = |from| Extended { from: x(from), signed: false };
    let va = |asid, last| Named::Va { asid, last };
    let range = |asid, last| Named::Range { asid, last };
    let (all, one) = (Scope::InnerShareable, Scope::Local);
    let words = [
        ("nop", Instruction::Nop, 0xd503_201f),
        ("mov x1, #1", constant(X, 1, 1), 0xd280_0021),
        ("mov w7, #0xffff0000", constant(W, 7, 0xffff_0000), 0x52bf_ffe7),
        ("mov x3, #-1", constant(X, 3, u64::MAX), 0x9280_0003),
        ("mov w3, #-2", constant(W, 3, u64::MAX - 1), 0x1280_0023),
        ("mov x4, #...", constant(X, 4, 0x0ff0_0ff0_0ff0_0ff0), 0xb20c_9fe4),
        ("mov x5, #...", constant(X, 5, 0x5555_5555_5555_5555), 0xb200_f3e5),
        ("mov w6, #0x3ffc0", constant(W, 6, 0x3_ffc0), 0x321a_2fe6),
        ("add x1, x2, #8", compute(Op::Add, X, x(1), x(2), Imm(8)), 0x9100_2041),
        ("add w1, w2, #0x5000", compute(Op::Add, W, x(1), x(2), Imm(0x5000)), 0x1140_1441),
        ("sub x1, x2, x3", compute(Op::Sub, X, x(1), x(2), By(x(3))), 0xcb03_0041),
        ("sub x1, x2, #1", compute(Op::Sub, X, x(1), x(2), Imm(1)), 0xd100_0441),
        ("add x1, x2, #-1", compute(Op::Add, X, x(1), x(2), Imm(u64::MAX)), 0xd100_0441),
        ("cmp x4, #7", flags(Op::Sub, X, ZR, x(4), Imm(7)), 0xf100_1c9f),
        ("cmp w4, w5", flags(Op::Sub, W, ZR, x(4), By(x(5))), 0x6b05_009f),
        ("add x4, x5, w6, sxtw", compute(Op::Add, X, x(4), x(5), signed(6)), 0x8b26_c0a4),
        ("add x4, x5, w6, uxtw", compute(Op::Add, X, x(4), x(5), unsigned(6)), 0x8b26_40a4),
        ("and w9, w7, #4", compute(Op::And, W, x(9), x(7), Imm(4)), 0x121e_00e9),
        ("and x6, x7, x8", compute(Op::And, X, x(6), x(7), By(x(8))), 0x8a08_00e6),
        ("ands x6, x7, #0x400", flags(Op::And, X, x(6), x(7), Imm(0x400)), 0xf276_00e6),
        ("orr x6, x7, x8", compute(Op::Or, X, x(6), x(7), By(x(8))), 0xaa08_00e6),
        ("mov x6, x8", compute(Op::Or, X, x(6), ZR, By(x(8))), 0xaa08_03e6),
        ("eor w3, w3, w3", compute(Op::Xor, W, x(3), x(3), By(x(3))), 0x4a03_0063),
        ("eor x1, x2, #0xff0", compute(Op::Xor, X, x(1), x(2), Imm(0xff0)), 0xd27c_1c41),
        ("bic x6, x7, x8", compute(Op::Clear, X, x(6), x(7), By(x(8))), 0x8a28_00e6),
        ("bic x6, x7, #0x400", compute(Op::Clear, X, x(6), x(7), Imm(0x400)), 0x9275_f8e6),
        ("lsl x9, x4, #12", compute(Op::Left, X, x(9), x(4), Imm(12)), 0xd374_cc89),
        ("lsr x9, x4, #12", compute(Op::Right, X, x(9), x(4), Imm(12)), 0xd34c_fc89),
        ("lsr w9, w4, #3", compute(Op::Right, W, x(9), x(4), Imm(3)), 0x5303_7c89),
        ("lsl w9, w4, #31", compute(Op::Left, W, x(9), x(4), Imm(31)), 0x5301_0089),
        ("lsl x1, x2, x3", compute(Op::Left, X, x(1), x(2), By(x(3))), 0x9ac3_2041),
        ("lsr w1, w2, w3", compute(Op::Right, W, x(1), x(2), By(x(3))), 0x1ac3_2441),
        ("csel x1, x2, x3, ne", select(Flags::NotEqual, x(1), x(2), x(3), false), 0x9a83_1041),
        ("cset w1, eq", select(Flags::NotEqual, x(1), ZR, ZR, true), 0x1a9f_17e1),
        ("csinc x1, x2, x3, eq", select(Flags::Equal, x(1), x(2), x(3), true), 0x9a83_0441),
        ("adr x9, .+8", Instruction::Address { to: x(9), of: 12 }, 0x1000_0049),
        ("b .-4", Instruction::Branch { to: 9 }, 0x17ff_ffff),
        ("b.eq .-8", Instruction::BranchIf { when: Flags::Equal, to: 8 }, 0x54ff_ffc0),
        ("b.ne .+8", Instruction::BranchIf { when: Flags::NotEqual, to: 12 }, 0x5400_0041),
        ("ldr w1, [x2]", load(W, 1, 2, Imm(0)), 0xb940_0041),
        ("ldr x1, [x2, #8]", load(X, 1, 2, Imm(8)), 0xf940_0441),
        ("ldr x1, [x2, #-8]", load(X, 1, 2, Imm(8u64.wrapping_neg())), 0xf85f_8041),
        ("ldr w4, [x3, x9]", load(W, 4, 3, By(x(9))), 0xb869_6864),
        ("ldr w4, [x3, w9, sxtw]", load(W, 4, 3, signed(9)), 0xb869_c864),
        ("str w4, [x3, w9, uxtw]", store(W, 4, 3, unsigned(9)), 0xb829_4864),
        ("str x4, [x3]", store(X, 4, 3, Imm(0)), 0xf900_0064),
        ("str w4, [x3, #4]", store(W, 4, 3, Imm(4)), 0xb900_0464),
        ("ldar w1, [x2]", ordered(W, Full, false), 0x88df_fc41),
        ("ldar x1, [x2]", ordered(X, Full, false), 0xc8df_fc41),
        ("ldapr w1, [x2]", ordered(W, Weak, false), 0xb8bf_c041),
        ("ldapr x1, [x2]", ordered(X, Weak, false), 0xf8bf_c041),
        ("ldxr w1, [x2]", ordered(W, No, true), 0x885f_7c41),
        ("ldxr x1, [x2]", ordered(X, No, true), 0xc85f_7c41),
        ("ldaxr x1, [x2]", ordered(X, Full, true), 0xc85f_fc41),
        ("stlr w1, [x2]", release(W), 0x889f_fc41),
        ("stlr x1, [x2]", release(X), 0xc89f_fc41),
        ("stxr w3, x1, [x2]", exclusive(X, false), 0xc803_7c41),
        ("stlxr w3, w1, [x2]", exclusive(W, true), 0x8803_fc41),
        ("swp w1, w2, [x3]", atomic(Atomic::Swap, W, x(2), false, false), 0xb821_8062),
        ("swpal x1, x2, [x3]", atomic(Atomic::Swap, X, x(2), true, true), 0xf8e1_8062),
        ("ldadda x1, x2, [x3]", atomic(Atomic::Add, X, x(2), true, false), 0xf8a1_0062),
        ("ldsetl x1, x2, [x3]", atomic(Atomic::Set, X, x(2), false, true), 0xf861_3062),
        ("ldclr x1, x2, [x3]", atomic(Atomic::Clear, X, x(2), false, false), 0xf821_1062),
        ("ldeor w1, w2, [x3]", atomic(Atomic::Xor, W, x(2), false, false), 0xb821_2062),
        ("stclr x1, [x3]", atomic(Atomic::Clear, X, ZR, false, false), 0xf821_107f),
        ("stadd w1, [x3]", atomic(Atomic::Add, W, ZR, false, false), 0xb821_007f),
        ("cas w1, w2, [x3]", cas(W, false, false), 0x88a1_7c62),
        ("casal x1, x2, [x3]", cas(X, true, true), 0xc8e1_fc62),
        ("casa x1, x2, [x3]", cas(X, true, false), 0xc8e1_7c62),
        ("casl w1, w2, [x3]", cas(W, false, true), 0x88a1_fc62),
        ("dmb sy", Instruction::Dmb(Domain::System, Kind::Full), 0xd503_3fbf),
        ("dmb ish", Instruction::Dmb(Domain::Inner, Kind::Full), 0xd503_3bbf),
        ("dmb ishst", Instruction::Dmb(Domain::Inner, Kind::Stores), 0xd503_3abf),
        ("dmb ld", Instruction::Dmb(Domain::System, Kind::Loads), 0xd503_3dbf),
        ("dsb ishld", Instruction::Dsb(Domain::Inner, Kind::Loads), 0xd503_399f),
        ("dsb nsh", Instruction::Dsb(Domain::Local, Kind::Full), 0xd503_379f),
        ("dsb oshst", Instruction::Dsb(Domain::Outer, Kind::Stores), 0xd503_329f),
        ("isb", Instruction::Isb, 0xd503_3fdf),
        ("tlbi vmalle1is", tlbi(Named::All, all), 0xd508_831f),
        ("tlbi vmalle1", tlbi(Named::All, one), 0xd508_871f),
        ("tlbi vae1is, x9", tlbi(va(true, false), all), 0xd508_8329),
        ("tlbi vae1, x9", tlbi(va(true, false), one), 0xd508_8729),
        ("tlbi vaae1is, x9", tlbi(va(false, false), all), 0xd508_8369),
        ("tlbi vale1is, x9", tlbi(va(true, true), all), 0xd508_83a9),
        ("tlbi vaale1, x9", tlbi(va(false, true), one), 0xd508_87e9),
        ("tlbi aside1is, x9", tlbi(Named::Asid, all), 0xd508_8349),
        ("tlbi rvae1is, x9", tlbi(range(true, false), all), 0xd508_8229),
        ("tlbi rvaale1, x9", tlbi(range(false, true), one), 0xd508_86e9),
        ("at s1e1r, x3", at(false, false), 0xd508_7803),
        ("at s1e1w, x3", at(true, false), 0xd508_7823),
        ("at s1e0r, x3", at(false, true), 0xd508_7843),
        ("at s1e0w, x3", at(true, true), 0xd508_7863),
        (
            "mrs x1, par_el1",
            Instruction::ReadSystem { to: x(1), from: System::ParEl1 },
            0xd538_7401,
        ),
        (
            "mrs x1, esr_el1",
            Instruction::ReadSystem { to: x(1), from: System::EsrEl1 },
            0xd538_5201,
        ),
        (
            "mrs x1, far_el1",
            Instruction::ReadSystem { to: x(1), from: System::FarEl1 },
            0xd538_6001,
        ),
        (
            "msr elr_el1, x9",
            Instruction::WriteSystem { to: System::ElrEl1, from: x(9) },
            0xd518_4029,
        ),
        (
            "msr ttbr0_el1, x9",
            Instruction::WriteSystem { to: System::Ttbr0El1, from: x(9) },
            0xd518_2009,
        ),
        ("eret", Instruction::Eret, 0xd69f_03e0),
    ];
    for (text, instruction, wanted) in words {
        let got = word(instruction);
        assert_eq!(got, Ok(wanted), "{text}: {wanted:#x}, not {got:x?}");
    }
    let branch = |width, register, zero, to| Instruction::BranchZero { width, register, zero, to };
    assert_eq!(word(branch(W, x(4), true, 12)), Ok(0x3400_0044), "cbz w4, .+8");
    assert_eq!(word(branch(X, x(4), false, 9)), Ok(0xb5ff_ffe4), "cbnz x4, .-4");
}

#[test]
fn what_no_word_says_is_refused() {
    use Source::{Immediate, Register};
    let refused = [
        (constant(X, 1, 0x1234_5678), Unencodable::Immediate(0x1234_5678)),
        (compute(Op::Add, X, x(1), x(2), Immediate(0x1001)), Unencodable::Immediate(0x1001)),
        (compute(Op::And, X, x(1), x(2), Immediate(0)), Unencodable::Immediate(0)),
        (compute(Op::And, X, x(1), x(2), Immediate(5)), Unencodable::Immediate(5)),
        (compute(Op::Left, W, x(1), x(2), Immediate(32)), Unencodable::Immediate(32)),
        (compute(Op::Add, X, x(1), ZR, Immediate(1)), Unencodable::StackPointer),
        (flags(Op::Xor, X, x(1), x(2), Register(x(3))), Unencodable::Form),
        (load(X, 1, 31, Immediate(0)), Unencodable::StackPointer),
        (load(X, 1, 2, Immediate(0x8001)), Unencodable::Immediate(0x8001)),
        (Instruction::BranchIf { when: Flags::Equal, to: 1 << 20 }, Unencodable::Distance),
    ];
    for (instruction, why) in refused {
        assert_eq!(word(instruction), Err(why), "{instruction:?}");
    }
}

#[test]
fn nothing_is_written_to_the_stack_pointer() {
    for op in [Op::Add, Op::Sub, Op::And, Op::Or, Op::Xor] {
        let into_nothing = compute(op, X, ZR, x(1), Source::Immediate(1));
        assert_eq!(word(into_nothing), Ok(NOP), "{op:?}");
    }
}

/// Every mask decodes to what it was made of, by the manual's own pseudocode.
#[test]
fn masks_are_what_the_manual_decodes() {
    fn decode(fields: u32) -> u64 {
        let (n, immr, imms) = (fields >> 12, fields >> 6 & 0x3f, fields & 0x3f);
        let size = 1 << (31 - (n << 6 | (!imms & 0x3f)).leading_zeros());
        let (s, r) = (imms & (size - 1), immr & (size - 1));
        let run = u64::MAX >> (63 - s);
        let low = u64::MAX >> (64 - size);
        let element = if r == 0 { run } else { (run >> r | run << (size - r)) & low };
        (0..64 / size).fold(0, |all, at| all | element << (at * size))
    }
    let mut masks = 0;
    for size in [2u32, 4, 8, 16, 32, 64] {
        for ones in 1..size {
            let element = u64::MAX >> (64 - ones);
            let whole = (0..64 / size).fold(0, |all, at| all | element << (at * size));
            for rotate in 0..size {
                let value = whole.rotate_right(rotate);
                assert_eq!(bitmask(X, value).map(decode), Some(value), "{value:#x}");
                masks += 1;
            }
        }
    }
    assert_eq!(masks, 5334);
    for value in [0, u64::MAX, 5, 0b1011, 0x1234] {
        assert_eq!(bitmask(X, value), None, "{value:#x}");
    }
}
