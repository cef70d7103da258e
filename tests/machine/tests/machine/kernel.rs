//! The machine's kernel half: mappings that hold under every ASID, and a CPU that runs ahead of its program.

use crate::common::{ASID, Rig};
use abi::{Asid, Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use granule_machine::Known;
use mm::kernel_map::{KernelMap, KernelMapping};
use mm::{Hardware, Note, Slot};
use pte::{AsidMatch, Caps, Depth, KernelProt, Leaf, MemType, Scope, Table, Target, Tlbi};

const A72: Caps = Caps::CORTEX_A72;
const ETS2: Caps = Caps { ets2: true, ..A72 };
/// Where the kernel maps.
const AT: VirtAddr = VirtAddr(0xffff_8000_0000_0000);
/// Another space's number.
const OTHER: Asid = Asid(8);
/// What is decided by dice is tried so often.
const SEEDS: u64 = 200;

/// A kernel's half with the tables for [`AT`], and a page mapped there or not.
struct Kernel {
    rig: Rig,
    slot: Slot,
    page: Pfn,
}

impl Kernel {
    fn new(caps: Caps, seed: u64, mapped: bool) -> Self {
        let rig = Rig::with_seed(caps, seed);
        let root = rig.table(Level::Pgd);
        rig.machine.run_kernel(root);
        let mut table = root;
        for &at in Level::Pte.above() {
            let below = rig.table(at.down().expect("above another"));
            let slot = Slot::new(table, at.index(AT));
            rig.set(slot, at, Table::new(below).word());
            table = below;
        }
        let (slot, page) = (Slot::new(table, Level::Pte.index(AT)), rig.page());
        let kernel = Self { rig, slot, page };
        if mapped {
            kernel.store();
            kernel.rig.publish();
            kernel.rig.machine.synchronize_context();
        }
        kernel
    }

    fn leaf(&self) -> Leaf {
        Leaf::kernel(Level::Pte, self.page, KernelProt::Data, MemType::Normal)
    }

    fn store(&self) {
        self.rig.machine.store(self.slot, self.leaf().word());
    }

    fn load(&self, cpu: usize, known: Known) {
        self.rig.machine.on(cpu, || self.rig.machine.kernel_load(AT, known));
    }

    /// CPU `cpu` walks for the address before its program comes to it.
    fn walk(&self, cpu: usize) {
        self.rig.machine.on(cpu, || self.rig.machine.prefetch(AT));
    }

    fn issue(&self, asid: AsidMatch, depth: Depth) {
        let target = Target::Va { va: AT, asid, depth, hint: None };
        self.rig.machine.tlbi(Tlbi { target, scope: Scope::InnerShareable });
    }

    fn is_caught(&self) -> bool {
        self.rig.machine.violation().is_some()
    }
}

/// With how many seeds something is reported.
fn caught(caps: Caps, mapped: bool, story: impl Fn(&Kernel)) -> u64 {
    let runs = (1..=SEEDS).map(|seed| Kernel::new(caps, seed, mapped));
    let is_caught = |kernel: &Kernel| {
        story(kernel);
        kernel.is_caught()
    };
    runs.map(|kernel| u64::from(is_caught(&kernel))).sum()
}

/// A barrier makes the mapping visible, and does not stop the CPU from having walked before it.
#[test]
fn a_mapping_is_used_after_a_barrier_and_context_synchronisation() {
    let made = |steps: fn(&Kernel)| {
        move |kernel: &Kernel| {
            kernel.walk(0);
            kernel.store();
            steps(kernel);
            kernel.load(0, Known::Before);
        }
    };
    let sync = |kernel: &Kernel| kernel.rig.machine.synchronize_context();
    assert!(caught(A72, false, made(|_| ())) > 0, "neither");
    assert!(caught(A72, false, made(|kernel| kernel.rig.publish())) > 0, "no synchronisation");
    assert!(caught(A72, false, made(sync)) > 0, "no barrier");
    let right = made(|kernel| {
        kernel.rig.publish();
        kernel.rig.machine.synchronize_context();
    });
    assert_eq!(caught(A72, false, right), 0);
    // A CPU with FEAT_ETS2 sees no fault that comes of its own earlier stores.
    assert_eq!(caught(ETS2, false, made(|_| ())), 0);
}

#[test]
fn another_cpu_learns_of_a_mapping_by_pointer_or_synchronises() {
    let told = |known: Known, synchronise: bool| {
        move |kernel: &Kernel| {
            kernel.walk(1);
            kernel.store();
            kernel.rig.publish();
            if synchronise {
                kernel.rig.machine.on(1, || kernel.rig.machine.synchronize_context());
            }
            kernel.load(1, known);
        }
    };
    assert!(caught(A72, false, told(Known::Before, false)) > 0);
    assert_eq!(caught(A72, false, told(Known::ByPointer, false)), 0);
    assert_eq!(caught(A72, false, told(Known::Before, true)), 0);
}

/// The CPU that takes a mapping away may have worked it out ahead; the others may not, for it waited.
#[test]
fn a_new_mapping_at_an_old_address_is_used_after_context_synchronisation() {
    let moved = |user: usize, synchronise: bool| {
        move |kernel: &Kernel| {
            kernel.walk(user);
            let (rig, new) = (&kernel.rig, kernel.rig.page());
            rig.machine.swap(kernel.slot, 0);
            rig.publish();
            kernel.issue(AsidMatch::Any, Depth::LastLevel);
            rig.complete();
            let leaf = Leaf::kernel(Level::Pte, new, KernelProt::Data, MemType::Normal);
            rig.machine.store(kernel.slot, leaf.word());
            rig.publish();
            if synchronise {
                rig.machine.synchronize_context();
            }
            kernel.load(user, Known::Before);
        }
    };
    assert!(caught(A72, true, moved(0, false)) > 0);
    assert_eq!(caught(A72, true, moved(0, true)), 0);
    assert_eq!(caught(A72, true, moved(1, true)), 0);
}

/// Global leaves go by an operation of any ASID; what is tagged with a number they are not.
#[test]
fn a_kernel_page_is_freed_after_a_flush_that_names_its_address() {
    let freed = |flush: &dyn Fn(&Kernel)| {
        let kernel = Kernel::new(A72, 1, true);
        kernel.rig.machine.swap(kernel.slot, 0);
        kernel.rig.publish();
        flush(&kernel);
        kernel.rig.complete();
        kernel.rig.free(kernel.page, Order::PAGE);
        kernel.rig
    };
    freed(&|kernel| kernel.issue(AsidMatch::Any, Depth::LastLevel)).silent();
    freed(&|kernel| kernel.issue(AsidMatch::Only(ASID), Depth::LastLevel)).silent();
    freed(&|kernel| kernel.issue(AsidMatch::Only(OTHER), Depth::LastLevel)).silent();
    freed(&|kernel| kernel.rig.issue(Target::All)).silent();
    freed(&|_| ()).caught("yet to lose leaf");
    freed(&|kernel| kernel.rig.issue(Target::Asid(ASID))).caught("yet to lose leaf");
}

/// Walks are tagged with whatever ASID the CPU ran, also where every leaf below is global.
#[test]
fn a_kernel_table_is_freed_after_a_flush_of_every_number() {
    let freed = |asid: AsidMatch, depth: Depth| {
        let kernel = Kernel::new(A72, 1, true);
        let rig = &kernel.rig;
        rig.machine.on(1, || rig.machine.switch_user(rig.root, OTHER));
        kernel.walk(1);
        rig.machine.swap(kernel.slot, 0);
        let slot = {
            let mut table = None;
            for held in rig.machine.cached() {
                if held.leaf.is_none() && held.level == Level::Pmd && held.range.contains(AT) {
                    table = Some(held.pfn);
                }
            }
            table.expect("the walk is cached")
        };
        assert_eq!(slot, kernel.slot.table());
        let parent = rig.machine.parent_of(slot).expect("it is linked");
        rig.machine.swap(Slot(parent), 0);
        rig.publish();
        kernel.issue(asid, depth);
        rig.complete();
        rig.machine.note(Note::TableFree(slot, Level::Pte));
        kernel.rig
    };
    freed(AsidMatch::Any, Depth::AllLevels).silent();
    freed(AsidMatch::Only(ASID), Depth::AllLevels).caught("table");
    freed(AsidMatch::Any, Depth::LastLevel).caught("table");
}

/// The memory manager's own map of the kernel does what it must.
#[test]
fn what_the_kernel_map_maps_can_be_used_at_once() {
    for seed in 1..=SEEDS {
        let rig = Rig::with_seed(A72, seed);
        let root = rig.table(Level::Pgd);
        rig.machine.run_kernel(root);
        let mut map = KernelMap::new(root);
        let mut level = Level::Pgd;
        let first = rig.alloc(Order(3));
        for n in 0..4 {
            let at = AT + n * PAGE_SIZE;
            rig.machine.prefetch(at);
            let mapping = KernelMapping {
                range: VirtRange::from_size(at, PAGE_SIZE),
                to: PhysAddr(first.base().0 + n * PAGE_SIZE),
                prot: KernelProt::Data,
                mem: MemType::Normal,
                largest: Level::Pte,
            };
            let mut table = || {
                level = level.down()?;
                Some(rig.table(level))
            };
            map.map(&rig.machine, &mapping, &mut table).expect("room");
            assert!(rig.machine.kernel_store(at, Known::Before, 1 + n), "seed {seed}");
            assert_eq!(rig.machine.kernel_load(at, Known::Before), Some(1 + n), "seed {seed}");
        }
        rig.silent();
    }
}
