//! Steps as a line of words, for tests that are tables: `1: map 0 A ro; clear 0; dsb.st; tlbi 0; dsb`.
//!
//! | step | what |
//! | --- | --- |
//! | `map N F …` | page `N` leads to frame `F` (a letter); `ro`, `old` (no access flag), `device` |
//! | `plain N F …` | the same, and stores plainly where `map` exchanges |
//! | `put T N F` | entry `N` of the table `T` leads to `F` |
//! | `clear N`, `soft N`, `drop T N` | an empty word; a migration entry; an empty word in `T` |
//! | `table T`, `link N T`, `unlink N`, `release T` | a new table; block `N` leads there; no more; it is freed |
//! | `dsb`, `dsb.st`, `dsb.ld` | barriers; `.nsh` for the CPU itself |
//! | `isb` | comes by itself with a full barrier, but with `dsb.alone` |
//! | `tlbi N`, `tlbi.walk N`, `tlbi.asid`, `tlbi.all` | operations; `.nsh`; `.other` for another ASID |
//! | `free F`, `take F`, `done` | frames change hands; an operation on everything is over |
//! | `lock`, `unlock`, `scribble N` | locks of tables; a store that nobody tells of |
//! | `enter`, `enter.other`, `leave` | the space is run; under another ASID |
//! | `away`, `back` | the CPU hears no broadcasts; it does again |
//! | `twin`, `enter.twin` | a second space; it is run under the first one's ASID |
//! | `attach`, `attach.listens`, `attach.twin`, `detach` | device 0 translates by the space, as ASID 77 |
//! | `cmd N`, `cmd.walk N`, `cmd.asid`, `cmd.all`, `sync` | it is told; `.other` for another ASID; it is done |
//! | `kernel` | the kernel's half is taken over: page 0 of it leads to frame `A` |
//! | `kmap N F …`, `kclear N`, `klink N T`, `kunlink N`, `kfree`, `kdone` | as above, in the kernel's half |
//! | `kdone N` | an operation on page `N` of it is over |
//! | `ktlbi N`, `ktlbi.walk N` | for all ASIDs; `.only` for the one that runs |

use super::{ALL, ASID, LOCAL, Paper, RAM, TABLES, block, by, page};
use abi::{Asid, Level, Order, Pfn, PhysAddr, Prot, VirtAddr, VirtRange};
use granule_oracle::Waits;
use pte::{AsidMatch, Depth, KernelProt, Leaf, MemType, MigrationKind, Soft, Table, Target, Tlbi};

/// Tables of the kernel's half, from the root down.
const KERNEL: [Pfn; 4] = [Pfn(RAM.0 + 96), Pfn(RAM.0 + 97), Pfn(RAM.0 + 98), Pfn(RAM.0 + 99)];
/// What its first page translates.
const KERNEL_BASE: VirtAddr = VirtAddr(0xffff << 48);

/// The number under which the device has the space.
const DEVICES: Asid = Asid(77);

/// The frame that a letter stands for; tables are at others.
fn frame(letter: &str) -> Pfn {
    Pfn(RAM.0 + 1024 + u64::from(letter.as_bytes()[0] - b'A'))
}

fn table(letter: &str) -> Pfn {
    Pfn(RAM.0 + 64 + u64::from(letter.as_bytes()[0] - b'A'))
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

fn target(asid: Asid, kind: &str, n: Option<&str>) -> Target {
    let va = VirtAddr(n.map_or(0, number) * abi::PAGE_SIZE);
    let only = AsidMatch::Only(asid);
    match kind {
        "all" => Target::All,
        "asid" => Target::Asid(asid),
        "walk" => Target::Va { va, asid: only, depth: Depth::AllLevels, hint: None },
        _ => Target::Va { va, asid: only, depth: Depth::LastLevel, hint: None },
    }
}

fn leaf(letter: &str, how: &[&str]) -> u64 {
    let prot = if how.contains(&"ro") { Prot::Read } else { Prot::ReadWrite };
    let leaf = Leaf::user(Level::Pte, frame(letter), prot).made_dirty();
    let leaf = if how.contains(&"old") { leaf.made_old() } else { leaf };
    match how.contains(&"device") {
        true => leaf.word() & !pte::bits::ATTR | (MemType::Device as u64) << pte::bits::ATTR_SHIFT,
        false => leaf.word(),
    }
}

impl Paper {
    /// A machine whose frames `A` to `P` are somebody's.
    pub(crate) fn for_traces(caps: pte::Caps) -> Self {
        let mut paper = Self::new(caps);
        (0..16).for_each(|n| paper.alloc(frame("A") + n, Order::PAGE));
        paper
    }

    /// Takes each of the steps.
    pub(crate) fn play(&mut self, steps: &str) {
        for step in steps.split(';').map(str::trim).filter(|step| !step.is_empty()) {
            let (cpu, step) = step.split_once(": ").unwrap_or(("0", step));
            let words: Vec<_> = step.split_whitespace().collect();
            let mut parts = words[0].split('.');
            let verb = parts.next().expect("a verb");
            let rest: Vec<_> = parts.collect();
            self.step(number(cpu) as u8, verb, &rest, &words[1..]);
        }
    }

    fn step(&mut self, cpu: u8, verb: &str, kinds: &[&str], args: &[&str]) {
        let scope = if kinds.contains(&"nsh") { LOCAL } else { ALL };
        let other = u16::from(kinds.contains(&"other"));
        let kind = kinds.first().copied().unwrap_or("");
        let slot = |n: usize| page(number(args[n]) as usize);
        let within = |t: usize| -> PhysAddr { table(args[t]).base() + 8 * number(args[t + 1]) };
        match verb {
            "map" => drop(self.exchange(cpu, slot(0), leaf(args[1], &args[2..]))),
            "plain" => self.store(cpu, slot(0), leaf(args[1], &args[2..])),
            "put" => drop(self.exchange(cpu, within(0), leaf(args[2], &args[3..]))),
            "clear" => drop(self.exchange(cpu, slot(0), 0)),
            "drop" => drop(self.exchange(cpu, within(0), 0)),
            "soft" => drop(self.exchange(cpu, slot(0), migration())),
            "table" => self.new_table(table(args[0]), Level::Pte),
            "link" => {
                let to = Table::new(table(args[1])).word();
                self.exchange(cpu, block(number(args[0]) as usize), to);
            }
            "unlink" => drop(self.exchange(cpu, block(number(args[0]) as usize), 0)),
            "release" => self.free_table(table(args[0]), Level::Pte),
            "dsb" => {
                let waits = match kind {
                    "st" => Waits::Stores,
                    "ld" => Waits::Loads,
                    _ => Waits::All,
                };
                self.oracle.dsb(by(cpu), waits, scope);
                if waits == Waits::All && !kinds.contains(&"alone") {
                    self.oracle.synchronize(by(cpu));
                }
            }
            "isb" => self.oracle.synchronize(by(cpu)),
            "tlbi" => {
                let target = target(Asid(ASID.0 + other), kind, args.first().copied());
                self.tlbi(cpu, Tlbi { target, scope });
            }
            "free" => self.oracle.frame_free(by(cpu), frame(args[0]), Order::PAGE),
            "take" if args[0] >= "Q" => {
                self.oracle.frame_alloc(by(cpu), table(args[0]), Order::PAGE);
            }
            "take" => self.oracle.frame_alloc(by(cpu), frame(args[0]), Order::PAGE),
            "done" => {
                let all = VirtRange::from_size(VirtAddr(0), 1 << 30);
                self.oracle.done(by(cpu), TABLES[0], all);
            }
            "lock" => self.lock(cpu),
            "unlock" => self.unlock(cpu),
            // Somebody writes past the oracle.
            "scribble" => self.scribble(slot(0), leaf("P", &[])),
            // Another space, whose root has nothing in it.
            "twin" => {
                self.new_table(table("Z"), Level::Pgd);
                self.publish(cpu, ALL);
            }
            "enter" if kind == "twin" => self.oracle.enter(by(cpu), table("Z"), ASID),
            "enter" => self.enter(cpu, Asid(ASID.0 + other)),
            "away" => self.oracle.cpu_leaves(by(cpu)),
            "back" => self.oracle.cpu_joins(by(cpu)),
            "leave" => self.oracle.leave(by(cpu)),
            "attach" => {
                let root = if kind == "twin" { table("Z") } else { TABLES[0] };
                self.oracle.attach(by(cpu), 0, root, DEVICES, kind == "listens");
            }
            "detach" => self.oracle.detach(0),
            "cmd" => {
                let target = target(Asid(DEVICES.0 + other), kind, args.first().copied());
                self.oracle.command(by(cpu), 0, target);
            }
            "sync" => self.oracle.sync(0),
            _ => self.kernel_step(cpu, verb, kinds, args),
        }
    }

    /// The rule that was broken, or `silent`.
    pub(crate) fn verdict(&self) -> &'static str {
        self.oracle.report().map_or("silent", |report| report.rule.name())
    }
}

impl Paper {
    /// The kernel's half, as it is at boot: before anybody watches.
    fn kernel(&mut self) {
        for n in 0..3 {
            self.scribble(KERNEL[n].base(), Table::kernel(KERNEL[n + 1]).word());
        }
        self.scribble(KERNEL[3].base(), kernel_leaf("A", &[]));
        let words: Vec<_> = (0..4 * 512).map(|n| self.word(KERNEL[0].base() + 8 * n)).collect();
        let mut read = |at: PhysAddr| words[((at.0 - KERNEL[0].base().0) / 8) as usize];
        self.oracle.take_over_kernel(by(0), KERNEL[0], &mut read);
    }

    /// A step in the kernel's half.
    fn kernel_step(&mut self, cpu: u8, verb: &str, kinds: &[&str], args: &[&str]) {
        let slot = |level: usize| KERNEL[level].base() + 8 * number(args[0]);
        match verb {
            "kernel" => self.kernel(),
            "kmap" => self.store(cpu, slot(3), kernel_leaf(args[1], &args[2..])),
            "kclear" => drop(self.exchange(cpu, slot(3), 0)),
            "klink" => self.store(cpu, slot(2), Table::kernel(table(args[1])).word()),
            "kunlink" => drop(self.exchange(cpu, slot(2), 0)),
            "kfree" => self.oracle.table_free(by(cpu), KERNEL[3], Level::Pte),
            "kdone" => {
                let page = args.first().map(|n| KERNEL_BASE + number(n) * abi::PAGE_SIZE);
                let all = VirtRange::from_size(KERNEL_BASE, 1 << 30);
                let range = page.map_or(all, |va| VirtRange::from_size(va, abi::PAGE_SIZE));
                self.oracle.done(by(cpu), KERNEL[0], range);
            }
            "ktlbi" => {
                let va = KERNEL_BASE + number(args[0]) * abi::PAGE_SIZE;
                let only = kinds.contains(&"only");
                let asid = if only { AsidMatch::Only(ASID) } else { AsidMatch::Any };
                let walks = kinds.contains(&"walk");
                let depth = if walks { Depth::AllLevels } else { Depth::LastLevel };
                let scope = if kinds.contains(&"nsh") { LOCAL } else { ALL };
                self.tlbi(cpu, Tlbi { target: Target::Va { va, asid, depth, hint: None }, scope });
            }
            _ => panic!("{verb} is no step"),
        }
    }
}

fn kernel_leaf(letter: &str, how: &[&str]) -> u64 {
    let prot = if how.contains(&"ro") { KernelProt::Rodata } else { KernelProt::Data };
    Leaf::kernel(Level::Pte, frame(letter), prot, MemType::Normal).word()
}

fn migration() -> u64 {
    let (young, dirty, uffd_wp) = (true, true, false);
    let kind = MigrationKind::Write;
    Soft::Migration { pfn: frame("A"), kind, young, dirty, uffd_wp }.encode(Level::Pte)
}

/// A row of a table: a name, steps, and what is said of them.
pub(crate) type Row = (&'static str, &'static str, &'static str);

/// Plays each row on CPUs like `caps`; all that are judged otherwise are named.
#[track_caller]
pub(crate) fn judge(caps: pte::Caps, rows: &[Row]) {
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|&(name, steps, wanted)| {
            let mut paper = Paper::for_traces(caps);
            paper.play(steps);
            let verdict = paper.verdict();
            (verdict != wanted).then(|| format!("{name}: {verdict}, and not {wanted}\n{paper}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
