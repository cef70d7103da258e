//! Kernel mappings, checked by a walk of its own that knows the descriptor's bits and nothing of how
//! they were chosen.

extern crate std;

use super::{KernelMap, KernelMapError, KernelMapping};
use crate::{Hardware, Slot};
use abi::{Asid, CpuId, Level, Order, PAGE_SIZE, Pfn, PhysAddr, VirtAddr, VirtRange};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use pte::{Caps, KernelProt, MemType, Scope, Tlbi};
use std::collections::BTreeMap;
use std::string::ToString;
use std::sync::{Mutex, MutexGuard};
use sync::{Cpu, IrqState, Wait, WaitKey};

const CASES: u32 = if cfg!(miri) { 1 } else { 256 };
/// A mapping has fewer 2 MiB pieces than this on either side of a boundary.
const BLOCKS: u64 = if cfg!(miri) { 1 } else { 4 };
/// Where RAM for tables begins, and how many there can be.
const RAM: Pfn = Pfn(0x8_0000);
const TABLES: u64 = 64;
/// Bits 47 to 12.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// A machine with a little RAM and nothing else: a kernel map asks for no more.
struct Ram {
    /// By address; what is not here is zero.
    words: Mutex<BTreeMap<PhysAddr, u64>>,
    /// Pages handed out as tables.
    tables: AtomicU64,
    /// Those of them whose zeros a walker need not have seen yet.
    fresh: AtomicU64,
    /// Bit 1: a store that walkers need not have seen yet. Bit 0: one that this CPU's own next
    /// instruction need not.
    pending: AtomicU64,
}

impl Ram {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        let words = Mutex::new(BTreeMap::new());
        Self { words, tables: zero(), fresh: zero(), pending: zero() }
    }

    fn words(&self) -> MutexGuard<'_, BTreeMap<PhysAddr, u64>> {
        self.words.lock().expect("nobody panics with it")
    }
}

impl Cpu for Ram {
    fn id(&self) -> CpuId {
        CpuId(0)
    }
    fn irq_save(&self) -> IrqState {
        IrqState(0)
    }
    fn irq_restore(&self, _: IrqState) {}
    fn relax(&self) {}
}

impl Wait for Ram {
    fn wait(&self, _: WaitKey, _: &mut dyn FnMut() -> bool) {
        panic!("nobody else is there to wait for");
    }
    fn wake(&self, _: WaitKey) {}
}

/// What a kernel map has no business with.
fn never() -> ! {
    panic!("a kernel map only loads, stores and publishes");
}

impl Hardware for Ram {
    fn caps(&self) -> &Caps {
        &Caps::CORTEX_A72
    }
    fn nr_cpus(&self) -> usize {
        1
    }
    fn load(&self, slot: Slot) -> u64 {
        self.words().get(&slot.0).copied().unwrap_or(0)
    }
    fn store(&self, slot: Slot, word: u64) {
        assert_eq!(self.fresh.load(Relaxed), 0, "a table is linked before its zeros are seen");
        assert!((slot.0 - RAM.base()) / PAGE_SIZE < self.tables.load(Relaxed), "no table's slot");
        self.words().insert(slot.0, word);
        self.pending.fetch_or(0b11, Relaxed);
    }
    fn swap(&self, _: Slot, _: u64) -> u64 {
        never()
    }
    fn compare_exchange(&self, _: Slot, _: u64, _: u64) -> Result<(), u64> {
        never()
    }
    fn peek(&self, _: PhysAddr) -> u64 {
        never()
    }
    fn poke(&self, _: PhysAddr, _: u64) {
        never()
    }
    fn zero(&self, _: Pfn, _: Order) {
        never()
    }
    fn copy(&self, _: Pfn, _: Pfn, _: Order) {
        never()
    }
    fn tlbi(&self, _: Tlbi) {
        never()
    }
    fn publish(&self, scope: Scope) {
        assert_eq!(scope, Scope::InnerShareable, "other CPUs walk this tree too");
        self.fresh.store(0, Relaxed);
        self.pending.fetch_and(!0b10, Relaxed);
    }
    fn complete(&self, _: Scope) {
        never()
    }
    fn synchronize_context(&self) {
        // In this order only: an ISB before the DSB leaves the store unseen.
        if self.pending.load(Relaxed) & 0b10 == 0 {
            self.pending.store(0, Relaxed);
        }
    }
    fn switch_user(&self, _: Pfn, _: Asid) {
        never()
    }
    fn switch_user_off(&self) {
        never()
    }
}

/// A kernel map on its machine.
struct Kernel {
    ram: Ram,
    map: KernelMap,
    /// Pages that may still become tables.
    left: u64,
}

impl Kernel {
    fn new() -> Self {
        let ram = Ram::new();
        ram.tables.store(1, Relaxed);
        Self { ram, map: KernelMap::new(RAM), left: TABLES - 1 }
    }

    fn map(&mut self, mapping: &KernelMapping) -> Result<(), KernelMapError> {
        let (ram, left) = (&self.ram, &mut self.left);
        let result = self.map.map(ram, mapping, &mut || {
            *left = left.checked_sub(1)?;
            ram.fresh.store(1, Relaxed);
            Some(RAM + ram.tables.fetch_add(1, Relaxed))
        });
        // However it ended: what was mapped can be used.
        assert_eq!(ram.pending.load(Relaxed), 0, "mapped and not visible: {result:?}");
        result
    }

    /// What the hardware finds: the leaf's level, the byte it gives, and the descriptor.
    fn walk(&self, va: VirtAddr) -> Option<(Level, PhysAddr, u64)> {
        let mut table = self.map.root();
        for (depth, shift) in [39, 30, 21, 12].into_iter().enumerate() {
            let index = va.0 >> shift & 0x1ff;
            let slot = table.base() + 8 * index;
            let word = self.ram.words().get(&slot).copied().unwrap_or(0);
            let offset = va.0 & ((1 << shift) - 1);
            match word & 0b11 {
                0b11 if shift > 12 => table = Pfn((word & ADDRESS) >> 12),
                0b01 if shift == 21 || shift == 30 => {}
                0b11 => {}
                _ => {
                    assert_eq!(word, 0, "a word that is no descriptor");
                    return None;
                }
            }
            if word & 0b11 == 0b01 || shift == 12 {
                return Some((Level::ALL[depth], PhysAddr((word & ADDRESS) + offset), word));
            }
        }
        None
    }

    /// Everything in `part` of a mapping is there, in the largest leaves that fit.
    fn check(&self, mapping: &KernelMapping, part: VirtRange) {
        let mut va = part.start;
        while va < part.end {
            let (level, pa, word) = self.walk(va).unwrap_or_else(|| panic!("{va} is not mapped"));
            assert_eq!(pa - mapping.to, va - mapping.range.start, "at {va}");
            assert_eq!(level, expected_level(mapping, va), "at {va} of {mapping:?}");
            let last = va + (level.span() - 1);
            assert_eq!(self.walk(last).map(|(_, pa, _)| pa), Some(pa + (level.span() - 1)));
            check_bits(mapping, word);
            va = va + level.span();
        }
    }
}

/// The largest leaf that the mapping permits around `va`: a block that lies in the range whole, and
/// in memory as in addresses on a boundary of its size.
fn expected_level(mapping: &KernelMapping, va: VirtAddr) -> Level {
    [Level::Pud, Level::Pmd]
        .into_iter()
        .find(|level| {
            let block = VirtRange::from_size(va.align_down(level.span()), level.span());
            *level >= mapping.largest
                && mapping.range.covers(&block)
                && (mapping.to + (block.start - mapping.range.start)).is_aligned(level.span())
        })
        .unwrap_or(Level::Pte)
}

/// Arm ARM, "VMSAv8-64 Block descriptor and Page descriptor formats": the attributes by bit.
fn check_bits(mapping: &KernelMapping, word: u64) {
    let bit = |n: u32| word >> n & 1 == 1;
    assert!(bit(10), "young: nobody handles the kernel's access flag faults");
    assert!(!bit(11), "global");
    assert!(!bit(6), "no EL0");
    assert!(bit(54), "never executable at EL0");
    let executable = mapping.prot == KernelProt::Text && mapping.mem != MemType::Device;
    assert_eq!(!bit(53), executable);
    assert_eq!(!bit(7), mapping.prot == KernelProt::Data, "writable");
}

fn mapping() -> impl Strategy<Value = KernelMapping> {
    let spans = [Level::Pte.span(), Level::Pmd.span(), Level::Pud.span()];
    // How far addresses and memory are apart decides which leaves can be used at all.
    let apart =
        select(std::vec![0, spans[0], 3 * spans[0], spans[1], 5 * spans[1], 511 * spans[1]]);
    let largest = select(&[Level::Pgd, Level::Pud, Level::Pmd, Level::Pte][..]);
    let prot = select(&[KernelProt::Text, KernelProt::Rodata, KernelProt::Data][..]);
    let mem = select(&[MemType::Normal, MemType::Device, MemType::NormalNc][..]);
    // Around a boundary of every level: before it by some pages and blocks, behind it by others.
    let side = || (0..4u64, 0..BLOCKS, 0..3u64);
    (apart, largest, prot, mem, side(), side()).prop_map(
        move |(apart, largest, prot, mem, before, behind)| {
            let bytes = |(pages, blocks, giants): (u64, u64, u64)| {
                // A GiB of smaller leaves takes more tables than there are.
                let giants = if largest <= Level::Pud && apart == 0 { giants } else { 0 };
                pages * spans[0] + blocks * spans[1] + giants * spans[2]
            };
            let boundary = VirtAddr(0xffff_8080_0000_0000);
            let range =
                VirtRange::new(VirtAddr(boundary.0 - bytes(before)), boundary + bytes(behind));
            let to = PhysAddr((64 << 30) - bytes(before) + apart);
            KernelMapping { range, to, prot, mem, largest }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_address_translates_by_the_largest_leaf(mapping in mapping()) {
        let mut kernel = Kernel::new();
        prop_assert_eq!(kernel.map(&mapping), Ok(()));
        kernel.check(&mapping, mapping.range);
        prop_assert!(kernel.walk(VirtAddr(mapping.range.start.0 - 1)).is_none());
        prop_assert!(kernel.walk(mapping.range.end).is_none());
    }

    #[test]
    fn what_is_mapped_is_never_replaced(
        one in mapping(),
        two in mapping(),
        shift in 0..6u64,
    ) {
        let mut kernel = Kernel::new();
        prop_assert_eq!(kernel.map(&one), Ok(()));
        let range = VirtRange::new(two.range.start + shift * PAGE_SIZE, two.range.end + shift * PAGE_SIZE);
        let two = KernelMapping { range, to: two.to + shift * PAGE_SIZE, ..two };
        let result = kernel.map(&two);
        kernel.check(&one, one.range);
        if !two.range.overlaps(&one.range) {
            prop_assert_eq!(result, Ok(()));
            kernel.check(&two, two.range);
            return Ok(());
        }
        let Err(KernelMapError::Occupied(at, level)) = result else {
            panic!("{result:?} over a mapping");
        };
        // Some of the first mapping is where the entry was to go; all before it is there.
        let entry = VirtRange::from_size(at.align_down(level.span()), level.span());
        prop_assert!(two.range.contains(at) && entry.overlaps(&one.range));
        kernel.check(&two, VirtRange::new(two.range.start, at));
        if !one.range.contains(at) {
            prop_assert!(kernel.walk(at).is_none());
        }
    }

    #[test]
    fn running_out_of_tables_leaves_what_was_done(mapping in mapping(), left in 0..8u64) {
        let mut kernel = Kernel::new();
        kernel.left = left;
        if kernel.map(&mapping) == Err(KernelMapError::OutOfMemory) {
            let mut end = mapping.range.start;
            while let Some((level, ..)) = kernel.walk(end)
                && end < mapping.range.end
            {
                end = end + level.span();
            }
            prop_assert!(end < mapping.range.end, "everything is mapped, and yet it failed");
            kernel.check(&mapping, VirtRange::new(mapping.range.start, end));
            // With tables again, the rest can be mapped where it ended.
            kernel.left = TABLES - kernel.ram.tables.load(Relaxed);
            let to = mapping.to + (end - mapping.range.start);
            let rest = KernelMapping { range: VirtRange::new(end, mapping.range.end), to, ..mapping };
            prop_assert_eq!(kernel.map(&rest), Ok(()));
        }
        kernel.check(&mapping, mapping.range);
    }
}

#[test]
fn parts_of_pages_are_refused() {
    let good = KernelMapping {
        range: VirtRange::from_size(VirtAddr(0xffff_c000_0000_0000), 4 * PAGE_SIZE),
        to: PhysAddr(0x900_0000),
        prot: KernelProt::Data,
        mem: MemType::Device,
        largest: Level::Pmd,
    };
    let odd = |by: u64| VirtRange::new(good.range.start + by, good.range.end);
    let short = VirtRange::new(good.range.start, VirtAddr(good.range.end.0 - 8));
    for bad in [
        KernelMapping { range: odd(1), ..good },
        KernelMapping { range: odd(2048), ..good },
        KernelMapping { range: short, ..good },
        KernelMapping { to: good.to + 0x10, ..good },
    ] {
        let mut kernel = Kernel::new();
        let error = KernelMapError::Unaligned(bad.range.start, bad.to);
        assert_eq!(kernel.map(&bad), Err(error));
        assert!(error.to_string().contains(&bad.range.start.to_string()));
        assert_eq!(kernel.ram.tables.load(Relaxed), 1, "nothing was made for it");
    }
    assert_eq!(Kernel::new().map(&good), Ok(()));
}

#[test]
fn nothing_is_mapped_by_an_empty_range() {
    let mut kernel = Kernel::new();
    let start = VirtAddr(0xffff_b000_0000_0000);
    let empty = KernelMapping {
        range: VirtRange::new(start, start),
        to: PhysAddr(0),
        prot: KernelProt::Text,
        mem: MemType::Normal,
        largest: Level::Pud,
    };
    assert_eq!(kernel.map(&empty), Ok(()));
    assert!(kernel.walk(start).is_none());
    assert_eq!(kernel.ram.tables.load(Relaxed), 1);
}

/// When a mapping is told, walkers see it and this CPU's next instruction may use it: the stores are published
/// and then the context is synchronised. One without the other, or both the wrong way round, is not
/// enough.
#[test]
fn t10_a_mapping_is_visible_when_it_is_told() {
    let mut kernel = Kernel::new();
    for (n, largest) in [Level::Pte, Level::Pmd, Level::Pud].into_iter().enumerate() {
        let start = VirtAddr(0xffff_9000_0000_0000) + n as u64 * Level::Pud.span();
        let range = VirtRange::from_size(start, largest.span());
        let (prot, mem) = (KernelProt::Data, MemType::Normal);
        // Whether anything is pending afterwards, `map` looks each time.
        let mapping = KernelMapping { range, to: PhysAddr(1 << 32), prot, mem, largest };
        assert_eq!(kernel.map(&mapping), Ok(()));
        kernel.check(&mapping, range);
    }
    let ram = &kernel.ram;
    let pending = || ram.pending.load(Relaxed) != 0;
    ram.store(Slot::new(RAM, 500), 0);
    assert!(pending(), "a store alone");
    ram.synchronize_context();
    assert!(pending(), "synchronised before it was published");
    ram.publish(Scope::InnerShareable);
    assert!(pending(), "published, and fetched before");
    ram.synchronize_context();
    assert!(!pending());
}
