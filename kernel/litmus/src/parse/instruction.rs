//! Assembler text to [`Instruction`]s.

use super::error::Error;
use super::operands::{Operands, flags};
use super::tlbi;
use super::token::Cursor;
use crate::instruction::{
    Acquire, Atomic, Domain, Flags, Instruction, Kind, Op, Reg, Source, System, TlbiOp,
};
use alloc::string::String;
use alloc::string::ToString;

/// Reads one instruction, which is all there is.
pub(crate) fn read(
    at: &mut Cursor<'_, '_>,
    labels: &[(String, usize)],
) -> Result<Instruction, Error> {
    let start = *at;
    let word = at.word("an instruction")?;
    let upper = word.to_ascii_uppercase();
    let mut text = Operands { at, labels };
    let Some(instruction) = text.instruction(&upper)? else {
        return Err(start.unsupported("instruction", word));
    };
    if at.is_over() { Ok(instruction) } else { Err(at.expected("the instruction's end")) }
}

impl Operands<'_, '_, '_> {
    fn instruction(&mut self, name: &str) -> Result<Option<Instruction>, Error> {
        let found = match name {
            "NOP" => Instruction::Nop,
            "ISB" => {
                self.at.take_word("SY");
                Instruction::Isb
            }
            "ERET" => Instruction::Eret,
            "DMB" | "DSB" => self.barrier(name)?,
            "MOV" | "CMP" | "CSEL" | "CSINC" | "CSET" | "ADR" => self.moves(name)?,
            "B" | "B.EQ" | "B.NE" | "CBZ" | "CBNZ" => self.branch(name)?,
            "TLBI" => self.invalidation()?,
            "AT" => self.translation()?,
            "MRS" | "MSR" => self.system(name)?,
            "LDR" | "LDAR" | "LDAPR" | "LDXR" | "LDAXR" => self.load(name)?,
            "STR" | "STLR" | "STXR" | "STLXR" => self.store(name)?,
            _ => match operation(name) {
                Some((op, flags)) => self.compute(op, flags)?,
                None => return self.atomic(name),
            },
        };
        Ok(Some(found))
    }

    fn moves(&mut self, name: &str) -> Result<Instruction, Error> {
        let (to, width) = self.register()?;
        self.comma()?;
        Ok(match name {
            "ADR" => Instruction::Address { to, of: self.label()? },
            "MOV" => match self.source()? {
                Source::Immediate(value) => {
                    Instruction::Constant { width, to, value: width.cut(value) }
                }
                right => {
                    let (op, left) = (Op::Or, Reg::ZERO);
                    Instruction::Compute { op, width, to, left, right, flags: false }
                }
            },
            "CMP" => {
                let (op, left, right) = (Op::Sub, to, self.source()?);
                Instruction::Compute { op, width, to: Reg::ZERO, left, right, flags: true }
            }
            "CSET" => {
                let when = match self.flags()? {
                    Flags::Equal => Flags::NotEqual,
                    Flags::NotEqual => Flags::Equal,
                };
                let (then, otherwise) = (Reg::ZERO, Reg::ZERO);
                Instruction::Select { width, to, then, otherwise, plus_one: true, when }
            }
            _ => {
                let (then, _) = self.register()?;
                self.comma()?;
                let (otherwise, _) = self.register()?;
                self.comma()?;
                let (plus_one, when) = (name == "CSINC", self.flags()?);
                Instruction::Select { width, to, then, otherwise, plus_one, when }
            }
        })
    }

    fn compute(&mut self, op: Op, flags: bool) -> Result<Instruction, Error> {
        let (to, width) = self.register()?;
        self.comma()?;
        let (left, _) = self.register()?;
        self.comma()?;
        let right = self.source()?;
        Ok(Instruction::Compute { op, width, to, left, right, flags })
    }

    fn branch(&mut self, name: &str) -> Result<Instruction, Error> {
        if let Some(condition) = name.strip_prefix("B.") {
            let when = flags(condition).unwrap_or(Flags::Equal);
            return Ok(Instruction::BranchIf { when, to: self.label()? });
        }
        if name == "B" {
            return Ok(Instruction::Branch { to: self.label()? });
        }
        let (register, width) = self.register()?;
        self.comma()?;
        let to = self.label()?;
        Ok(Instruction::BranchZero { width, register, zero: name == "CBZ", to })
    }

    fn load(&mut self, name: &str) -> Result<Instruction, Error> {
        let (to, width) = self.register()?;
        self.comma()?;
        let acquire = match name {
            "LDAR" | "LDAXR" => Acquire::Full,
            "LDAPR" => Acquire::Weak,
            _ => Acquire::No,
        };
        let exclusive = name.ends_with("XR");
        let (base, offset) = match name {
            "LDR" => self.address()?,
            _ => (self.plain_address()?, Source::Immediate(0)),
        };
        Ok(Instruction::Load { width, to, base, offset, acquire, exclusive })
    }

    fn store(&mut self, name: &str) -> Result<Instruction, Error> {
        let release = name.starts_with("STL");
        let (from, width) = self.register()?;
        self.comma()?;
        if name.ends_with("XR") {
            let (status, (from, width)) = (from, self.register()?);
            self.comma()?;
            let base = self.plain_address()?;
            return Ok(Instruction::StoreExclusive { width, status, from, base, release });
        }
        let (base, offset) = match name {
            "STR" => self.address()?,
            _ => (self.plain_address()?, Source::Immediate(0)),
        };
        Ok(Instruction::Store { width, from, base, offset, release })
    }

    fn atomic(&mut self, name: &str) -> Result<Option<Instruction>, Error> {
        let forms: [(&str, Option<Atomic>, bool); 10] = [
            ("SWP", Some(Atomic::Swap), true),
            ("LDADD", Some(Atomic::Add), true),
            ("LDSET", Some(Atomic::Set), true),
            ("LDCLR", Some(Atomic::Clear), true),
            ("LDEOR", Some(Atomic::Xor), true),
            ("STADD", Some(Atomic::Add), false),
            ("STSET", Some(Atomic::Set), false),
            ("STCLR", Some(Atomic::Clear), false),
            ("STEOR", Some(Atomic::Xor), false),
            ("CAS", None, true),
        ];
        let form = forms.into_iter().find_map(|(stem, op, result)| {
            let (acquire, release) = match name.strip_prefix(stem)? {
                "" => (false, false),
                "A" if result => (true, false),
                "L" => (false, true),
                "AL" if result => (true, true),
                _ => return None,
            };
            Some((op, result, acquire, release))
        });
        let Some((op, result, acquire, release)) = form else { return Ok(None) };
        let (from, width) = self.register()?;
        self.comma()?;
        let to = if result {
            let (to, _) = self.register()?;
            self.comma()?;
            to
        } else {
            Reg::ZERO
        };
        let base = self.plain_address()?;
        Ok(Some(match op {
            Some(op) => Instruction::Atomic { op, width, from, to, base, acquire, release },
            None => {
                let (expected, new) = (from, to);
                Instruction::CompareSwap { width, expected, new, base, acquire, release }
            }
        }))
    }

    fn barrier(&mut self, name: &str) -> Result<Instruction, Error> {
        let word = self.at.word("a barrier's domain")?;
        let upper = word.to_ascii_uppercase();
        let (kind, domain) = match upper.as_str() {
            "LD" => (Kind::Loads, "SY"),
            "ST" => (Kind::Stores, "SY"),
            other => match (other.strip_suffix("LD"), other.strip_suffix("ST")) {
                (Some(domain), _) => (Kind::Loads, domain),
                (_, Some(domain)) => (Kind::Stores, domain),
                _ => (Kind::Full, other),
            },
        };
        let domain = match domain {
            "SY" => Domain::System,
            "ISH" => Domain::Inner,
            "OSH" => Domain::Outer,
            "NSH" => Domain::Local,
            _ => return Err(self.at.unsupported("barrier's domain", word)),
        };
        Ok(if name == "DMB" {
            Instruction::Dmb(domain, kind)
        } else {
            Instruction::Dsb(domain, kind)
        })
    }

    fn invalidation(&mut self) -> Result<Instruction, Error> {
        let word = self.at.word("what to invalidate")?;
        let Some((named, scope)) = tlbi::operation(&word.to_ascii_uppercase()) else {
            return Err(self.at.unsupported("TLBI", word));
        };
        let op = TlbiOp { named, scope };
        let operand = if self.at.take(",") { self.register()?.0 } else { Reg::ZERO };
        Ok(Instruction::Tlbi { op, operand })
    }

    fn translation(&mut self) -> Result<Instruction, Error> {
        let word = self.at.word("what to translate")?;
        let (el0, write) = match word.to_ascii_uppercase().as_str() {
            "S1E1R" => (false, false),
            "S1E1W" => (false, true),
            "S1E0R" => (true, false),
            "S1E0W" => (true, true),
            _ => return Err(self.at.unsupported("AT", word)),
        };
        self.comma()?;
        Ok(Instruction::Translate { write, el0, address: self.register()?.0 })
    }

    fn system(&mut self, name: &str) -> Result<Instruction, Error> {
        if name == "MRS" {
            let to = self.register()?.0;
            self.comma()?;
            return Ok(Instruction::ReadSystem { to, from: self.system_register()? });
        }
        let to = self.system_register()?;
        self.comma()?;
        Ok(Instruction::WriteSystem { to, from: self.register()?.0 })
    }

    fn system_register(&mut self) -> Result<System, Error> {
        let word = self.at.word("a system register")?;
        match word.to_ascii_uppercase().as_str() {
            "ELR_EL1" => Ok(System::ElrEl1),
            "ESR_EL1" => Ok(System::EsrEl1),
            "FAR_EL1" => Ok(System::FarEl1),
            "PAR_EL1" => Ok(System::ParEl1),
            "TTBR0_EL1" => Ok(System::Ttbr0El1),
            _ => Err(self.at.unsupported("system register", word.to_string())),
        }
    }
}

fn operation(name: &str) -> Option<(Op, bool)> {
    let plain = |op| Some((op, false));
    match name {
        "ADD" => plain(Op::Add),
        "SUB" => plain(Op::Sub),
        "AND" => plain(Op::And),
        "ORR" => plain(Op::Or),
        "EOR" => plain(Op::Xor),
        "BIC" => plain(Op::Clear),
        "LSL" => plain(Op::Left),
        "LSR" => plain(Op::Right),
        "ADDS" => Some((Op::Add, true)),
        "SUBS" => Some((Op::Sub, true)),
        "ANDS" => Some((Op::And, true)),
        _ => None,
    }
}
