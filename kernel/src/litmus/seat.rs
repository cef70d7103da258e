//! A thread's place at one instance: what it begins with, what it uses before, and what it has found.

use super::lab::{Preload, Trouble};
use abi::{PAGE_SIZE, VirtAddr};
use arch::exception::FaultKind as Kind;
use arch::litmus::{AfterFault, At, End, Thread, ThreadFault};
use litmus::instruction::{Instruction, Reg, System};
use litmus::layout::Layout;
use litmus::rename::Renaming;
use litmus::test::{EntryId, Fault, FaultKind, Faults, Observed, Test, ThreadId, Value, Var};
use pte::bits;
use stress::Rng;

/// The place. Made once and used in every batch.
pub(super) struct Seat<'a> {
    test: &'a Test,
    id: ThreadId,
    layout: &'a Layout,
    /// From the instance's numbers to the law's.
    way: &'a Renaming,
    /// The registers that the thread begins with.
    start: [u64; 31],
    thread: Thread,
}

impl<'a> Seat<'a> {
    /// The place of thread `id` at the instance of `layout`.
    pub(super) fn new(test: &'a Test, id: ThreadId, layout: &'a Layout, way: &'a Renaming) -> Self {
        let column = &test.threads[id];
        let after_fault = match (column.handler, test.faults) {
            (Some(_), _) => AfterFault::Handler,
            (None, Faults::Fatal) => AfterFault::End,
            (None, Faults::Retry) => AfterFault::Again,
            (None, Faults::Skip) => AfterFault::Next,
        };
        let mut start = [0; 31];
        for (register, value) in &column.registers {
            if let Some(x) = start.get_mut(usize::from(register.0)) {
                *x = layout.value(test, value);
            }
        }
        let handler = layout.label(id, column.handler.unwrap_or(0));
        let thread = Thread { handler, after_fault, ..Thread::default() };
        Self { test, id, layout, way, start, thread }
    }

    /// Uses variables, as far as that changes nothing but what a TLB holds.
    pub(super) fn preload(&self, which: Preload, rng: &mut Rng) {
        let column = &self.test.threads[self.id];
        let own = |variable: Var| {
            let address = |value: &Value| matches!(value, Value::Address(of, _) if *of == variable);
            column.registers.iter().any(|(_, value)| address(value))
        };
        for (variable, page) in self.layout.pages.iter().enumerate() {
            let wanted = match which {
                Preload::None => false,
                Preload::Own => own(variable),
                Preload::All => true,
                Preload::Random => column.preload.contains(&variable) || rng.one_in(2),
            };
            if wanted && self.is_cacheable(variable) {
                // A refusal is as good: nothing is held.
                let _ = arch::uaccess::read_u64(page.va);
            }
        }
    }

    /// Whether a use leaves the entries as they are: hardware may set an access flag.
    fn is_cacheable(&self, variable: Var) -> bool {
        let entries = self.test.entries.iter().zip(&self.test.initial);
        let mut its = entries.filter(|(entry, _)| entry.variable == variable);
        its.all(|(_, word)| word.valid && word.af)
    }

    /// Runs the thread.
    pub(super) fn run(&mut self) -> End {
        let at = if self.test.threads[self.id].el0 { At::El0 } else { At::El1 };
        self.thread.x = self.start;
        let pc = VirtAddr(self.layout.label(self.id, 0));
        // SAFETY: the ground has put the thread's instructions there, in a half that maps nothing but this
        // test's memory; what `needs` cannot rule out is said on the front page.
        unsafe { arch::litmus::run(&mut self.thread, pc, at) };
        self.thread.end
    }

    /// What is wrong with how it ended.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        match self.thread.end {
            End::Done | End::Fault | End::Stuck => None,
            End::Stopped => Some(Trouble::Endless(self.id)),
            End::Unexpected => {
                let (pc, esr) = self.faults().last().map_or((0, 0), |fault| (fault.pc, fault.esr));
                Some(Trouble::Exception(self.id, self.place(pc), esr))
            }
        }
    }

    fn faults(&self) -> &[ThreadFault] {
        let noted = self.thread.faults.len().min(self.thread.nr_faults as usize);
        &self.thread.faults[..noted]
    }

    /// The place of an instruction.
    fn place(&self, pc: u64) -> u64 {
        pc.wrapping_sub(self.layout.label(self.id, 0)) / 4
    }

    /// What it has found, if it is this thread's to find, in the law's numbers.
    pub(super) fn found(&self, observed: &Observed) -> Option<u64> {
        match observed {
            Observed::Register(of, register) if *of == self.id => {
                let x = self.thread.x.get(usize::from(register.0)).copied().unwrap_or(0);
                Some(self.way.word(self.plain(*register, x)))
            }
            Observed::Fault(fault) if fault.thread == self.id => {
                Some(u64::from(self.faults().iter().any(|seen| self.is_such(fault, seen))))
            }
            _ => None,
        }
    }

    /// A register's content with no more in it than the law knows: of PAR_EL1 the frame or the kind of
    /// fault, of ESR_EL1 the kind; levels and attributes are the CPU's to tell.
    fn plain(&self, register: Reg, x: u64) -> u64 {
        const FAULT: u64 = 1;
        const LEVEL: u64 = 0b11;
        let code = &self.test.threads[self.id].code;
        let read = code.iter().find_map(|instruction| match instruction {
            Instruction::ReadSystem { to, from } if *to == register => Some(*from),
            _ => None,
        });
        match read {
            Some(System::ParEl1) if x & FAULT == 0 => x & bits::ADDRESS,
            Some(System::ParEl1) => x & 0x7f | LEVEL << 1,
            Some(System::EsrEl1) if x != 0 => x & 0x3f | LEVEL,
            _ => x,
        }
    }

    /// Whether `seen` is a fault as `wanted` describes.
    fn is_such(&self, wanted: &Fault, seen: &ThreadFault) -> bool {
        let page = |variable: Var| self.layout.pages.get(variable).map(|page| page.va);
        let data = VirtAddr(seen.far & !(PAGE_SIZE - 1));
        let entry = |id: EntryId| self.layout.entry_address(self.test, id) == seen.far;
        let kind = match seen.syndrome().status().0 {
            Kind::Translation => Some(FaultKind::Translation),
            Kind::AccessFlag => Some(FaultKind::AccessFlag),
            Kind::Permission => Some(FaultKind::Permission),
            _ => None,
        };
        wanted.place.is_none_or(|wanted| wanted as u64 == self.place(seen.pc))
            && wanted.variable.is_none_or(|variable| page(variable) == Some(data))
            && wanted.entry.is_none_or(entry)
            && (wanted.kind.is_none() || wanted.kind == kind)
    }
}
