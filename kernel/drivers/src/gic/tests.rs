//! Over blocks of ordinary memory: which registers are left how, and who is found.

use std::sync::Mutex;
use std::vec::Vec;

use super::redistributor::{Regions, packed_affinity};
use super::v3::sgi_word;
use super::*;
use crate::ram::Ram;
use proptest::prelude::*;

/// 96 INTIDs: SPIs 0 to 63.
const TYPER_96: u32 = 2;
const CPU0: CpuId = CpuId(0);
/// The host's CPU interface is one for the process.
static CPU_INTERFACE: Mutex<()> = Mutex::new(());

#[test]
fn numbers_and_kinds_are_one_to_one() {
    for number in 0..0x3000 {
        match IntId::from_number(number) {
            Some(id) => assert_eq!(id.number(), Some(number)),
            None => assert!(number >= 1020),
        }
    }
    for id in [IntId::Sgi(16), IntId::Ppi(16), IntId::Spi(988)] {
        assert_eq!(id.number(), None);
    }
    assert_eq!(IntId::VIRTUAL_TIMER.number(), Some(27));
}

/// A GICv2 of 96 INTIDs, of which the reading CPU is number 2: target bit 4.
fn v2() -> (Ram, Gic) {
    let ram = Ram::new(0x2000);
    ram.set(0x004, TYPER_96);
    ram.set(0x81d, 4u8);
    // SAFETY: the caller keeps the block as long as the driver.
    let gic = unsafe { Gic::v2(ram.base(), ram.base() + 0x1000) };
    (ram, gic)
}

#[test]
fn v2_comes_up_quiet_open_and_in_the_views_group() {
    let (ram, gic) = v2();
    ram.set(0x084, u32::MAX);
    ram.set(0x1000, 0xffff_ffffu32);
    gic.init_distributor().unwrap();
    gic.init_cpu(CPU0, 0x8000_0000).unwrap();
    assert_eq!(ram.get::<u32>(0x000), 1);
    assert_eq!(ram.get::<u32>(0x084), 0, "group 0 where there is a choice");
    assert_eq!(ram.get::<u32>(0x100), 0xffff, "SGIs on");
    assert_eq!(ram.get::<[u32; 4]>(0x180), [u32::MAX, u32::MAX, u32::MAX, 0], "only its 96");
    assert_eq!(ram.get::<[u8; 3]>(0x45e), [0xa0, 0xa0, 0]);
    assert_eq!(ram.get::<u32>(0x1004), 0xff, "every priority");
    assert_eq!(ram.get::<u32>(0x1000), 0x1e1, "enabled, firmware's bypass bits kept");
}

#[test]
fn v2_names_targets_by_the_distributors_bit() {
    let (ram, gic) = v2();
    let enable = |id, trigger| gic.enable(id, trigger, CPU0);
    assert_eq!(gic.send_sgi(CPU0, 1), Err(GicError::CpuNotReady(CPU0)));
    gic.init_cpu(CPU0, 0).unwrap();
    enable(IntId::Spi(1), Trigger::Edge).unwrap();
    assert_eq!(ram.get::<u8>(0x821), 4);
    assert_eq!(ram.get::<u32>(0xc08), 0b10 << 2);
    assert_eq!(ram.get::<u32>(0x104), 1 << 1);
    enable(IntId::Spi(1), Trigger::Level).unwrap();
    assert_eq!(ram.get::<u32>(0xc08), 0);
    enable(IntId::VIRTUAL_TIMER, Trigger::Level).unwrap();
    assert_eq!(ram.get::<u32>(0x100), 1 << 27);
    gic.disable(IntId::VIRTUAL_TIMER, CPU0).unwrap();
    assert_eq!(ram.get::<u32>(0x180), 1 << 27);
    gic.send_sgi(CPU0, 5).unwrap();
    assert_eq!(ram.get::<u32>(0xf00), 0x0004_0005);
    gic.send_sgi_to_others(15).unwrap();
    assert_eq!(ram.get::<u32>(0xf00), 0x0100_000f);
}

#[test]
fn v2_for_one_cpu_targets_it_though_the_register_reads_zero() {
    let (ram, gic) = v2();
    ram.set(0x81d, 0u8);
    gic.init_cpu(CPU0, 0).unwrap();
    gic.send_sgi(CPU0, 0).unwrap();
    assert_eq!(ram.get::<u32>(0xf00), 0x0001_0000);
}

#[test]
fn v2_gives_the_sender_of_an_sgi_back() {
    let (ram, gic) = v2();
    ram.set(0x100c, 0x0000_0c03u32);
    let active = gic.ack().unwrap();
    assert_eq!(active.id(), IntId::Sgi(3));
    gic.eoi(active);
    assert_eq!(ram.get::<u32>(0x1010), 0x0000_0c03);
    ram.set(0x100c, 1023u32);
    assert!(gic.ack().is_none());
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let (_ram, gic) = v2();
    gic.init_cpu(CPU0, 0).unwrap();
    let beyond = IntId::Spi(64);
    assert_eq!(gic.enable(beyond, Trigger::Level, CPU0), Err(GicError::NoSuchInterrupt(beyond)));
    let sgi = IntId::Sgi(16);
    assert_eq!(gic.send_sgi(CPU0, 16), Err(GicError::NoSuchInterrupt(sgi)));
    assert_eq!(gic.send_sgi_to_others(16), Err(GicError::NoSuchInterrupt(sgi)));
    assert_eq!(gic.init_cpu(CpuId(8), 0), Err(GicError::TooManyCpus(CpuId(8))));
    assert_eq!(gic.send_sgi(CpuId(1), 0), Err(GicError::CpuNotReady(CpuId(1))));
}

/// A row of redistributors with these affinities; those marked have four frames.
fn row(cpus: &[(u64, bool)]) -> (Ram, VirtRange, Vec<usize>) {
    let bytes = cpus.iter().map(|&(_, wide)| if wide { 0x4_0000 } else { 0x2_0000 }).sum();
    let ram = Ram::new(bytes);
    let mut offset = 0;
    let mut offsets = Vec::new();
    for (index, &(mpidr, wide)) in cpus.iter().enumerate() {
        let last = index + 1 == cpus.len();
        let typer =
            u64::from(packed_affinity(mpidr)) << 32 | u64::from(last) << 4 | u64::from(wide) << 1;
        ram.set(offset + 0x8, typer);
        ram.set(offset + 0xffe8, 0x3bu32);
        offsets.push(offset);
        offset += if wide { 0x4_0000 } else { 0x2_0000 };
    }
    let range = VirtRange::from_size(ram.base(), bytes as u64);
    (ram, range, offsets)
}

fn found(regions: &Regions, mpidr: u64) -> Result<u64, GicError> {
    regions.find(mpidr).map(redistributor::Redistributor::into_raw)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_cpu_finds_its_own_redistributor(
        cpus in prop::collection::btree_map(0u32.., any::<bool>(), 1..24),
        absent in any::<u32>(),
        split in 0usize..24,
    ) {
        let mpidr = |packed: u32| u64::from(packed & 0xff_ffff)
            | u64::from(packed >> 24) << 32 | 1 << 31;
        let cpus: Vec<_> = cpus.into_iter().map(|(packed, wide)| (mpidr(packed), wide)).collect();
        let (first, second) = cpus.split_at(split.min(cpus.len()));
        let rows: Vec<_> = [first, second].into_iter().filter(|r| !r.is_empty()).map(row).collect();
        let ranges: Vec<_> = rows.iter().map(|(_, range, _)| *range).collect();
        // SAFETY: the rows outlive the regions.
        let regions = unsafe { Regions::new(&ranges, None) }.unwrap();
        let mut bases = rows.iter().flat_map(|(ram, _, offsets)| {
            offsets.iter().map(|&offset| ram.base().0 + offset as u64)
        });
        for &(mpidr, _) in &cpus {
            prop_assert_eq!(found(&regions, mpidr), Ok(bases.next().unwrap()));
        }
        let absent = mpidr(absent);
        if cpus.iter().all(|&(other, _)| other != absent) {
            prop_assert_eq!(found(&regions, absent), Err(GicError::NoRedistributor { mpidr: absent }));
        }
    }

    #[test]
    fn sgi_word_names_one_cpu(aff in any::<[u8; 4]>(), number in 0u32..16) {
        let affinity = aff[..3].iter().rev().fold(u64::from(aff[3]) << 8, |all, &a| all << 8 | u64::from(a));
        let word = sgi_word(affinity, number);
        let list = word & 0xffff;
        prop_assert_eq!(list.count_ones(), 1);
        prop_assert_eq!(u64::from(aff[0]), (word >> 44 & 0xf) * 16 + u64::from(list.trailing_zeros()));
        prop_assert_eq!((word >> 16 & 0xff, word >> 32 & 0xff, word >> 48),
            (aff[1].into(), aff[2].into(), aff[3].into()));
        prop_assert_eq!(word >> 24 & 0xff, u64::from(number));
    }
}

#[test]
fn a_stride_from_outside_overrules_the_frames() {
    let (ram, range, _) = row(&[(0, true), (1, false)]);
    // SAFETY: the row outlives the regions.
    let regions = unsafe { Regions::new(&[range], Some(0x2_0000)) }.unwrap();
    // The second pair of frames of the first is no redistributor.
    let at = ram.base() + 0x2_0000;
    assert_eq!(found(&regions, 1), Err(GicError::NotARedistributor { at, pidr2: 0 }));
    // SAFETY: as above.
    let refused = unsafe { Regions::new(&[range; 5], None) };
    assert_eq!(refused.err(), Some(GicError::TooManyRegions(5)));
}

#[test]
fn the_walk_ends_with_the_region_where_nobody_is_last() {
    let (ram, range, offsets) = row(&[(0, false), (1, false), (2, false)]);
    ram.set(offsets[2] + 8, 2u64 << 32);
    // SAFETY: the row outlives the regions.
    let regions = unsafe { Regions::new(&[range], None) }.unwrap();
    assert_eq!(found(&regions, 7), Err(GicError::NoRedistributor { mpidr: 7 }));
}

#[test]
fn v3_routes_by_affinity_and_keeps_private_interrupts_apart() {
    let _alone = CPU_INTERFACE.lock().unwrap();
    const MPIDR: u64 = 0x8000_0302;
    let gicd = Ram::new(0x1_0000);
    gicd.set(0x004, TYPER_96);
    let (ram, range, offsets) = row(&[(0, false), (MPIDR, false)]);
    let (rd, sgi) = (offsets[1], offsets[1] + 0x1_0000);
    ram.set(rd + 0x14, 0b10u32);
    // SAFETY: the blocks outlive the driver.
    let gic = unsafe { Gic::v3(gicd.base(), &[range], None) }.unwrap();
    let cpu = CpuId(63);
    gic.init_distributor().unwrap();
    assert_eq!(gicd.get::<u32>(0), 0b1_0010, "affinity routing, group 1");
    assert_eq!(gicd.get::<[u32; 4]>(0x80), [0, u32::MAX, u32::MAX, 0]);
    assert_eq!(gic.send_sgi(cpu, 0), Err(GicError::CpuNotReady(cpu)));

    icc::ctlr::write(6 << 8);
    icc::ap1r3::write(1);
    gic.init_cpu(cpu, MPIDR).unwrap();
    assert_eq!(ram.get::<u32>(rd + 0x14), 0, "awake");
    assert_eq!(ram.get::<u32>(sgi + 0x80), u32::MAX);
    assert_eq!(ram.get::<u32>(sgi + 0x100), 0xffff);
    assert_eq!(ram.get::<u32>(sgi + 0x180), u32::MAX);
    assert_eq!((icc::pmr::read(), icc::igrpen1::read(), icc::sre::read()), (0xff, 1, 1));
    assert_eq!(icc::ap1r3::read(), 0);

    gic.enable(IntId::VIRTUAL_TIMER, Trigger::Level, cpu).unwrap();
    assert_eq!(ram.get::<u32>(sgi + 0x100), 1 << 27);
    gic.enable(IntId::Spi(40), Trigger::Edge, cpu).unwrap();
    assert_eq!(gicd.get::<u64>(0x6100 + 8 * 40), 0x302);
    assert_eq!(gicd.get::<u32>(0x108), 1 << 8);
    assert_eq!(gicd.get::<u32>(0xc10), 2 << 16);
    gic.send_sgi(cpu, 7).unwrap();
    assert_eq!(icc::sgi1r::read(), 0x0703_0004);
    icc::iar1::write(72);
    let active = gic.ack().unwrap();
    assert_eq!(active.id(), IntId::Spi(40));
    gic.eoi(active);
    assert_eq!(icc::eoir1::read(), 72);
    icc::iar1::write(1023);
    assert!(gic.ack().is_none());
}

#[test]
fn v3_gives_up_on_what_does_not_answer() {
    let _alone = CPU_INTERFACE.lock().unwrap();
    let gicd = Ram::new(0x1_0000);
    let (ram, range, _) = row(&[(0x10, false)]);
    // SAFETY: the blocks outlive the driver.
    let gic = unsafe { Gic::v3(gicd.base(), &[range], None) }.unwrap();
    ram.set(0x14, 0b110u32);
    assert_eq!(gic.init_cpu(CPU0, 0x10), Err(GicError::Asleep { mpidr: 0x10 }));
    ram.set(0x14, 0u32);
    ram.set(0x0, 1u32 << 3);
    assert_eq!(gic.init_cpu(CPU0, 0x10), Err(GicError::WritePending));
    ram.set(0x0, 0u32);
    icc::ctlr::write(0);
    assert_eq!(gic.init_cpu(CPU0, 0x10), Err(GicError::OutOfSgiRange { mpidr: 0x10 }));
    icc::ctlr::write(1 << 18);
    assert_eq!(gic.init_cpu(CPU0, 0x10), Ok(()));
}
