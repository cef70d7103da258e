//! Values: numbers, addresses, descriptors, operands of TLBIs.

use super::error::Error;
use super::names::{Names, Slot};
use super::token::{Cursor, Lexeme};
use crate::test::{Descriptor, Operand, Output, Value, Var};
use abi::{Level, PAGE_SIZE};
use pte::MemType;

/// What a descriptor without `oa` is about, and of which level it is: the place it is compared with or
/// written to says so.
pub(crate) type Home = Option<(Var, Level)>;

/// The largest ASID.
const ASID: u64 = 0xffff;
/// The most pages between a variable and a TLBI's operand, which has room for no more.
const PAGES: u64 = 0xffff_ffff;

impl Names {
    /// The value that is next.
    pub(crate) fn value(&mut self, at: &mut Cursor<'_, '_>, home: Home) -> Result<Value, Error> {
        // An address is the value of a name, with or without this.
        at.take("&");
        if at.take("-") {
            return Ok(Value::Number(at.number("a number")?.wrapping_neg()));
        }
        if let Some(slot) = self.take_entry(at)? {
            return Ok(Value::Entry(slot.id()));
        }
        if let Some(var) = self.take_frame(at)? {
            return Ok(Value::Frame(var));
        }
        match at.peek() {
            Lexeme::Number(number) => {
                at.next();
                // A word of zeroes is what an empty slot holds.
                Ok(Value::Number(number))
            }
            Lexeme::Sign("(") => self.tuple(at, home),
            Lexeme::Word("label") => {
                at.next();
                at.expect(":")?;
                self.quoted_label(at)
            }
            Lexeme::Word("TTBR") => {
                at.next();
                at.expect("(")?;
                let space = self.space(at)?;
                let asid = if at.take(",") { Some(field(at, "asid", ASID)? as u16) } else { None };
                at.expect(")")?;
                Ok(Value::Root(space, asid))
            }
            Lexeme::Word(name) => {
                let var = self.variable(at, name)?;
                at.next();
                let width = self.variables[var].width;
                let plus = if at.take("+") {
                    at.number("bytes")?
                } else if at.take("[") {
                    let element = at.number("an index")?;
                    at.expect("]")?;
                    element.saturating_mul(width)
                } else {
                    0
                };
                if plus >= PAGE_SIZE {
                    return Err(at.unsupported("address", "beyond its variable's page"));
                }
                Ok(Value::Address(var, plus))
            }
            _ => Err(at.expected("a value")),
        }
    }

    pub(crate) fn space(&self, at: &mut Cursor<'_, '_>) -> Result<usize, Error> {
        let name = at.word("a space")?;
        let found = self.spaces.iter().position(|space| space.name == name);
        found.ok_or_else(|| at.unknown("space", name))
    }

    fn quoted_label(&self, at: &mut Cursor<'_, '_>) -> Result<Value, Error> {
        let Lexeme::Quoted(text) = at.peek() else { return Err(at.expected("a label")) };
        let parts = text.split_once(':');
        let parts = parts.and_then(|(thread, label)| Some((Self::thread(thread)?, label)));
        let Some((thread, label)) = parts else { return Err(at.expected("a label")) };
        let place = self.label(at, thread, label)?;
        at.next();
        Ok(Value::Label(thread, place))
    }

    /// What is in parentheses: the fields tell what it is.
    fn tuple(&mut self, at: &mut Cursor<'_, '_>, home: Home) -> Result<Value, Error> {
        at.expect("(")?;
        match at.peek() {
            Lexeme::Word("va") => self.operand(at).map(Value::Operand),
            Lexeme::Word("asid") => {
                let asid = field(at, "asid", ASID)? as u16;
                at.expect(")")?;
                let operand = Operand { va: None, plus: 0, asid, ttl: 0, range: None };
                Ok(Value::Operand(operand))
            }
            _ => self.descriptor(at, home).map(Value::Descriptor),
        }
    }

    fn operand(&mut self, at: &mut Cursor<'_, '_>) -> Result<Operand, Error> {
        let mut operand = Operand { va: None, plus: 0, asid: 0, ttl: 0, range: None };
        loop {
            let name = at.word("a field")?;
            at.expect(":")?;
            match name {
                "va" => {
                    let variable = at.word("a variable")?;
                    operand.va = Some(self.variable(at, variable)?);
                    if at.take("+") {
                        operand.plus = at.number_up_to(PAGES, "pages")?;
                    }
                }
                "asid" => operand.asid = at.number_up_to(ASID, "an ASID")? as u16,
                "ttl" => operand.ttl = at.number_up_to(3, "a level")? as u8,
                "scale" => {
                    let num = operand.range.map_or(0, |(_, num)| num);
                    operand.range = Some((at.number_up_to(3, "a scale")? as u8, num));
                }
                "num" => {
                    let scale = operand.range.map_or(0, |(scale, _)| scale);
                    operand.range = Some((scale, at.number_up_to(0b1_1111, "a number")? as u8));
                }
                _ => return Err(at.unsupported("field of an operand", name)),
            }
            if !at.take(",") {
                at.expect(")")?;
                return Ok(operand);
            }
        }
    }

    /// A descriptor behind its opening parenthesis.
    pub(crate) fn descriptor(
        &mut self,
        at: &mut Cursor<'_, '_>,
        home: Home,
    ) -> Result<Descriptor, Error> {
        let mut descriptor = Descriptor::page(0);
        (descriptor.output, descriptor.of) = (Output::None, None);
        if let Some((var, level)) = home {
            (descriptor.output, descriptor.of) = (Output::Frame(var), Some(var));
            descriptor.level = level;
        }
        loop {
            let name = at.word("a descriptor's field")?;
            at.expect(":")?;
            self.set(at, &mut descriptor, name)?;
            if !at.take(",") {
                at.expect(")")?;
                break;
            }
        }
        match descriptor.output {
            Output::None => Err(at.expected("oa: or table: in a descriptor that has no place")),
            _ => Ok(descriptor),
        }
    }

    fn set(
        &mut self,
        at: &mut Cursor<'_, '_>,
        descriptor: &mut Descriptor,
        name: &str,
    ) -> Result<(), Error> {
        let target = match name {
            "oa" => {
                let Some(var) = self.take_frame(at)? else { return Err(at.expected("PA(x)")) };
                descriptor.output = Output::Frame(var);
                descriptor.of.get_or_insert(var);
                return Ok(());
            }
            "table" => return self.next_table(at, descriptor),
            "attrs" => {
                descriptor.memory = memory(at)?;
                return Ok(());
            }
            "level" => {
                descriptor.level = match at.number("a level")? {
                    1 => Level::Pud,
                    2 => Level::Pmd,
                    3 => Level::Pte,
                    other => {
                        return Err(at.unsupported("level of a leaf", alloc::format!("{other}")));
                    }
                };
                return Ok(());
            }
            "valid" => &mut descriptor.valid,
            "af" => &mut descriptor.af,
            "db" => &mut descriptor.db,
            "dbm" => &mut descriptor.dbm,
            "el0" => &mut descriptor.el0,
            "ng" => &mut descriptor.ng,
            "cont" => &mut descriptor.cont,
            _ => return Err(at.unsupported("field of a descriptor", name)),
        };
        *target = at.number_up_to(1, "0 or 1")? != 0;
        Ok(())
    }

    /// `table:t`, `table:s`, `table:PTE(x)`: which table, and of which level the descriptor is.
    fn next_table(
        &mut self,
        at: &mut Cursor<'_, '_>,
        descriptor: &mut Descriptor,
    ) -> Result<(), Error> {
        let holder = if let Some(slot) = self.take_entry(at)? {
            let entry = match slot {
                Slot::Leaf(var) => (var, Level::Pte, crate::test::Holder::Space(0)),
                Slot::Other(nth) => {
                    let entry = self.others[nth].0;
                    (entry.variable, entry.level, entry.within)
                }
            };
            let above = Level::ALL.into_iter().find(|level| level.down() == Some(entry.1));
            descriptor.of = Some(entry.0);
            descriptor.level = above.ok_or_else(|| at.unsupported("table", "the root"))?;
            entry.2
        } else {
            let name = at.word("a table")?;
            let holder = self.holder(name).ok_or_else(|| at.unknown("table or space", name))?;
            if descriptor.level == Level::Pte {
                descriptor.level = Level::Pmd;
            }
            holder
        };
        descriptor.output = Output::Next(holder);
        Ok(())
    }
}

/// `name:NUMBER`.
fn field(at: &mut Cursor<'_, '_>, name: &'static str, most: u64) -> Result<u64, Error> {
    if !at.take_word(name) {
        return Err(at.expected(name));
    }
    at.expect(":")?;
    at.number_up_to(most, "a number")
}

fn memory(at: &mut Cursor<'_, '_>) -> Result<MemType, Error> {
    let listed = at.take("(");
    let name = at.word("a memory type")?;
    let memory = match name {
        "normal" | "Normal" => MemType::Normal,
        "device" => MemType::Device,
        "nc" => MemType::NormalNc,
        _ => return Err(at.unsupported("memory type", name)),
    };
    if listed {
        at.expect(")")?;
    }
    Ok(memory)
}
