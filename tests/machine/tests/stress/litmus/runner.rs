//! A litmus test on the simulated machine: names become places in its memory, threads its CPUs.

use abi::{Asid, Level, Order, PAGE_SIZE, PhysAddr, VirtAddr};
use granule_machine::{Config, Machine};
use litmus::Test;
use litmus::instruction::{Atomic, Domain, Instruction, Kind, System, Width};
use litmus::layout::{Layout, Page};
use litmus::rename::Renaming;
use litmus::semantics::Registers;
use litmus::test::{Fault, Faults, Observed};
use mm::{Hardware, Note, Slot};
use pte::{Caps, Scope};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Where RAM begins; the first pages are tables, data come behind.
const RAM: PhysAddr = PhysAddr(0x4000_0000);
/// Where variables are: groups a gigabyte apart there, a block of the second level apart in memory.
const DATA: VirtAddr = VirtAddr(0x40_0000_0000);
/// Steps of one thread; no test needs more, but one that faults for ever.
const STEPS: usize = 200;

/// A test, ready to run.
pub(crate) struct Board<'t> {
    test: &'t Test,
    pub(crate) layout: Layout,
    /// From this layout's numbers to the law's.
    way: Renaming,
    config: Config,
}

/// What a thread has done: registers, and the faults that it took, by place and address.
type Done = (Registers, BTreeSet<(usize, u64)>);

impl<'t> Board<'t> {
    /// `None`: the test has something that the machine has not.
    pub(crate) fn new(test: &'t Test) -> Option<Self> {
        let groups = test.variables.iter().map(|variable| variable.group + 1).max().unwrap_or(0);
        let alike = |f: fn(&litmus::test::Thread) -> bool| {
            test.threads.iter().all(f) || !test.threads.iter().any(f)
        };
        let kinds = |observed: &Observed| {
            matches!(
                observed,
                Observed::Fault(Fault { kind: Some(_), .. } | Fault { entry: Some(_), .. })
            )
        };
        let single = |variable: &litmus::test::Variable| variable.initial.len() == 1;
        let entries = |descriptor: &litmus::test::Descriptor| {
            descriptor.el0 && descriptor.level >= Level::Pmd
        };
        let fits = groups <= 12
            && alike(|thread| thread.ha || thread.hd)
            && alike(|thread| thread.hd)
            && test.threads.iter().all(|thread| !thread.el0 && !thread.device)
            && test.variables.iter().all(single)
            && test.initial.iter().all(entries)
            && !test.observed.iter().any(kinds)
            && test.threads.iter().flat_map(|thread| &thread.code).all(is_possible);
        if !fits {
            return None;
        }
        let mut layout = Layout::default();
        for (var, variable) in test.variables.iter().enumerate() {
            let nth = test.variables[..var].iter().filter(|v| v.group == variable.group).count();
            let offset = nth as u64 * PAGE_SIZE;
            let (group, blocks) = (variable.group as u64, Level::Pmd.span());
            let va = DATA + group * Level::Pud.span() + offset;
            let frame = PhysAddr(RAM.0 + (2 + group) * blocks + offset);
            layout.pages.push(Page { va, frame });
        }
        let mut next = RAM.0;
        layout.add_tables(test, &mut || {
            next += PAGE_SIZE;
            PhysAddr(next)
        });
        // Not at the numbers that tests count with.
        layout.code = (1..=test.threads.len() as u64).map(|thread| thread << 20).collect();
        let hd = test.threads.iter().any(|thread| thread.hd);
        let ha = hd || test.threads.iter().any(|thread| thread.ha);
        let caps = Caps { hw_af: ha, hw_dirty: hd, tlb_range: true, ttl: true, ..Caps::CORTEX_A72 };
        let pages = (2 + groups as u64) * Level::Pmd.span() / PAGE_SIZE;
        let config = Config { caps, cpus: test.threads.len(), pages, seed: 0, ..Config::default() };
        let way = Renaming::new(test, &layout, &Layout::law(test));
        Some(Self { test, layout, way, config })
    }

    /// One run; what was looked at in the end, in this layout's numbers.
    pub(crate) fn run(&self, seed: u64) -> Vec<u64> {
        let machine = Machine::new(Config { seed, ..self.config });
        self.set_up(&machine);
        let done: Vec<Mutex<Option<Done>>> =
            self.test.threads.iter().map(|_| Mutex::new(None)).collect();
        let body = |cpu: usize| {
            let end = Thread { board: self, machine: &machine, cpu }.run();
            *done[cpu].lock().expect("nobody panics") = Some(end);
        };
        assert!(machine.run(self.test.threads.len(), &body), "seed {seed}");
        let done: Vec<_> = done
            .into_iter()
            .map(|end| end.into_inner().expect("nobody panics").expect("all ran"))
            .collect();
        machine.quiesce();
        self.test.observed.iter().map(|observed| self.look(&machine, &done, observed)).collect()
    }

    /// Tables, data, and the space that each CPU begins in.
    fn set_up(&self, machine: &Machine) {
        for table in &self.layout.tables {
            machine.note(Note::FrameAlloc(table.at.pfn(), Order::PAGE));
            machine.note(Note::TableAlloc(table.at.pfn(), table.level));
        }
        let groups: BTreeSet<_> =
            self.layout.pages.iter().map(|page| page.frame.align_down(Level::Pmd.span())).collect();
        for group in groups {
            machine.note(Note::FrameAlloc(group.pfn(), Order(9)));
        }
        let mut words = self.layout.memory(self.test);
        // From the leaves up, as tables are built.
        words.sort_by_key(|word| std::cmp::Reverse(self.level(word.at)));
        for word in words {
            match self.level(word.at) {
                Some(_) => machine.store(Slot(word.at), word.value),
                None => machine.poke(word.at, word.value),
            }
        }
        machine.publish(Scope::InnerShareable);
        for (cpu, thread) in self.test.threads.iter().enumerate() {
            let ttbr = self.layout.value(self.test, &litmus::test::Value::Root(thread.space, None));
            machine.on(cpu, || switch(machine, ttbr));
            // Any of them may be walked for at any moment.
            self.layout.pages.iter().for_each(|page| machine.note(Note::Walk(page.va)));
            // What it has used before.
            for &var in &thread.preload {
                machine.on(cpu, || machine.prefetch(self.layout.pages[var].va));
            }
        }
    }

    /// Of which level the table at a place is, if there is one.
    fn level(&self, at: PhysAddr) -> Option<Level> {
        let page = at.align_down(PAGE_SIZE);
        self.layout.tables.iter().find(|table| table.at == page).map(|table| table.level)
    }

    fn look(&self, machine: &Machine, done: &[Done], observed: &Observed) -> u64 {
        match observed {
            Observed::Register(thread, reg) => done[*thread].0.read(*reg),
            Observed::Memory(..) | Observed::Entry(_) => {
                let (at, width) = self.layout.place(self.test, observed).expect("memory");
                let word = machine.peek(at);
                if width == 4 { word & 0xffff_ffff } else { word }
            }
            Observed::Fault(Fault { thread, place, variable, .. }) => {
                let of = variable.map(|var| self.layout.pages[var].va.0);
                let like = |(at, va): &(usize, u64)| {
                    place.is_none_or(|place| place == *at) && of.is_none_or(|of| of == *va)
                };
                u64::from(done[*thread].1.iter().any(like))
            }
        }
    }

    /// The same end in the law's numbers: addresses and descriptors are others there.
    pub(crate) fn as_law_has_it(&self, end: &[u64]) -> Vec<u64> {
        end.iter().map(|&word| self.way.word(word)).collect()
    }
}

/// Whether the machine can do it: in order, with accesses of 8 bytes, without exclusive ones.
fn is_possible(instruction: &Instruction) -> bool {
    match instruction {
        Instruction::Load { exclusive, .. } => !exclusive,
        Instruction::StoreExclusive { .. }
        | Instruction::CompareSwap { .. }
        | Instruction::Translate { .. } => false,
        Instruction::Atomic { op, width, .. } => (*op, *width) == (Atomic::Swap, Width::X),
        Instruction::Dmb(domain, _) | Instruction::Dsb(domain, _) => *domain != Domain::Local,
        Instruction::ReadSystem { from, .. } => *from == System::ElrEl1,
        Instruction::WriteSystem { to, .. } => {
            matches!(to, System::ElrEl1 | System::Ttbr0El1)
        }
        _ => true,
    }
}

fn switch(machine: &Machine, ttbr: u64) {
    machine.switch_user(PhysAddr(ttbr & pte::bits::ADDRESS).pfn(), Asid((ttbr >> 48) as u16));
}

/// A thread on its CPU.
struct Thread<'a> {
    board: &'a Board<'a>,
    machine: &'a Machine,
    cpu: usize,
}

impl Thread<'_> {
    fn run(&self) -> Done {
        let (test, layout) = (self.board.test, &self.board.layout);
        let thread = &test.threads[self.cpu];
        let mut registers = Registers::of(test, layout, thread);
        let (mut place, mut faults) = (0, BTreeSet::new());
        for _ in 0..STEPS {
            let Some(instruction) = thread.code.get(place) else { break };
            if *instruction == Instruction::Stop {
                break;
            }
            if let Some(next) = registers.run(layout, self.cpu, place, instruction) {
                place = next;
                continue;
            }
            if *instruction == Instruction::Eret {
                place = ((registers.elr - layout.label(self.cpu, 0)) / 4) as usize;
                continue;
            }
            match self.access(&mut registers, instruction) {
                Ok(()) => place += 1,
                Err(va) => {
                    faults.insert((place, va & !(PAGE_SIZE - 1)));
                    registers.elr = layout.label(self.cpu, place);
                    place = match (thread.handler, test.faults) {
                        (Some(handler), _) if place < handler => handler,
                        (None, Faults::Retry) => place,
                        (None, Faults::Skip) => place + 1,
                        _ => break,
                    };
                }
            }
        }
        (registers, faults)
    }

    /// What touches memory or translation; the address, where it faults.
    fn access(&self, registers: &mut Registers, instruction: &Instruction) -> Result<(), u64> {
        let machine = self.machine;
        let shared = Scope::InnerShareable;
        match *instruction {
            Instruction::Load { width, to, base, offset, .. } => {
                let value = self.load(registers.address(base, offset))?;
                registers.write(to, width, value);
            }
            Instruction::Store { width, from, base, offset, release } => {
                if release {
                    machine.publish(shared);
                }
                let va = registers.address(base, offset);
                self.store(va, width.cut(registers.read(from)))?;
            }
            Instruction::Atomic { from, to, base, release, .. } => {
                if release {
                    machine.publish(shared);
                }
                let va = registers.read(base);
                let Some(slot) = self.slot(va) else { return self.swap(registers, instruction) };
                let old = machine.swap(slot, registers.read(from));
                registers.write(to, Width::X, old);
            }
            // Stronger than it need be: a machine in order has nothing weaker.
            Instruction::Dmb(..) | Instruction::Dsb(_, Kind::Stores) => machine.publish(shared),
            Instruction::Dsb(_, Kind::Full) => machine.complete(shared),
            Instruction::Isb => machine.synchronize_context(),
            Instruction::Tlbi { op, operand } => machine.tlbi(op.with(registers.read(operand))),
            Instruction::ReadSystem { to, from } => {
                registers.write(to, Width::X, registers.system(from));
            }
            Instruction::WriteSystem { to, from } => {
                let value = registers.read(from);
                registers.write_system(to, value);
                if to == System::Ttbr0El1 {
                    switch(machine, value);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn slot(&self, va: u64) -> Option<Slot> {
        let at = PhysAddr(va.wrapping_sub(self.board.layout.linear));
        self.board.level(at).map(|_| Slot(at))
    }

    fn load(&self, va: u64) -> Result<u64, u64> {
        match self.slot(va) {
            Some(slot) => Ok(self.machine.load(slot)),
            None => {
                sync::Cpu::relax(self.machine);
                self.machine.user_load(VirtAddr(va)).ok_or(va)
            }
        }
    }

    fn store(&self, va: u64, value: u64) -> Result<(), u64> {
        match self.slot(va) {
            Some(slot) => {
                self.machine.store(slot, value);
                Ok(())
            }
            None => {
                sync::Cpu::relax(self.machine);
                self.machine.user_store(VirtAddr(va), value).then_some(()).ok_or(va)
            }
        }
    }

    /// Of data; between its two halves nobody else has a turn.
    fn swap(&self, registers: &mut Registers, instruction: &Instruction) -> Result<(), u64> {
        let Instruction::Atomic { from, to, base, .. } = *instruction else { return Ok(()) };
        let va = registers.read(base);
        let old = self.load(va)?;
        if !self.machine.user_store(VirtAddr(va), registers.read(from)) {
            return Err(va);
        }
        registers.write(to, Width::X, old);
        Ok(())
    }
}
