//! The machine's device: a TLB that no CPU's broadcast reaches.

use crate::common::{Rig, VA, dirty, page};
use abi::{Asid, Level, Order};
use mm::Hardware;
use pte::{AsidMatch, Caps, Depth, Target};

const A72: Caps = Caps::CORTEX_A72;
/// The device's own number for the space.
const STREAM: Asid = Asid(3);

fn of_device(va: abi::VirtAddr, asid: Asid) -> Target {
    Target::Va { va, asid: AsidMatch::Only(asid), depth: Depth::LastLevel, hint: None }
}

/// Clears a page's entry, flushes the CPUs, does something about the device, and frees the page.
fn freed_after(tell: impl Fn(&Rig)) -> Rig {
    let rig = Rig::new(A72);
    let pfn = rig.page();
    let slot = rig.map(VA, dirty(pfn));
    rig.machine.attach_device(rig.root, STREAM);
    rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
    rig.publish();
    rig.flush(VA);
    tell(&rig);
    rig.free(pfn, Order::PAGE);
    rig
}

const OWED: &str = "freed while cpu 2 has yet to lose leaf";

#[test]
fn a_frame_is_freed_after_the_device_has_lost_it_too() {
    let told = |rig: &Rig| {
        rig.machine.command(of_device(VA, STREAM));
        rig.machine.synchronize_device();
    };
    freed_after(told).silent();
    freed_after(|_| ()).caught(OWED);
    freed_after(|rig| rig.machine.command(of_device(VA, STREAM))).caught(OWED);
    freed_after(|rig| rig.machine.synchronize_device()).caught(OWED);
    freed_after(|rig| {
        rig.machine.command(of_device(VA, crate::common::ASID));
        rig.machine.synchronize_device();
    })
    .caught(OWED);
    freed_after(|rig| {
        rig.machine.command(of_device(page(1), STREAM));
        rig.machine.synchronize_device();
    })
    .caught(OWED);
    freed_after(|rig| {
        rig.machine.command(Target::Asid(STREAM));
        rig.machine.synchronize_device();
    })
    .silent();
    // No CPU's operation does for it, whatever it names.
    freed_after(|rig| {
        rig.issue(Target::All);
        rig.complete();
    })
    .caught(OWED);
}

/// The command comes after the store can be seen: the device's walker may find the old entry again.
#[test]
fn a_command_before_the_store_is_for_nothing() {
    let run = |early: bool| {
        let rig = Rig::new(A72);
        let pfn = rig.page();
        let slot = rig.map(VA, dirty(pfn));
        rig.machine.attach_device(rig.root, STREAM);
        let tell = || {
            rig.machine.command(of_device(VA, STREAM));
            rig.machine.synchronize_device();
        };
        rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
        if early {
            tell();
        }
        rig.publish();
        rig.flush(VA);
        if !early {
            tell();
        }
        rig.free(pfn, Order::PAGE);
        rig
    };
    run(false).silent();
    run(true).caught(OWED);
}

#[test]
fn a_device_that_is_detached_keeps_what_it_has() {
    let run = |tell: bool| {
        let rig = Rig::new(A72);
        let pfn = rig.page();
        let slot = rig.map(VA, dirty(pfn));
        rig.machine.attach_device(rig.root, STREAM);
        rig.machine.detach_device();
        if tell {
            rig.machine.command(Target::Asid(STREAM));
            rig.machine.synchronize_device();
        }
        rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
        rig.publish();
        rig.flush(VA);
        rig.free(pfn, Order::PAGE);
        // Under the same number it would find what it had.
        rig.machine.attach_device(rig.root, STREAM);
        rig
    };
    run(true).silent();
    run(false).caught("taken up with");
}

/// It translates by the space's tables, sees what is there, and goes on seeing it until it is told.
#[test]
fn what_the_device_sees() {
    let (mut stale, mut gone) = (0, 0);
    for seed in 1..=100 {
        let rig = Rig::with_seed(A72, seed);
        let pfn = rig.page();
        let slot = rig.map(VA, dirty(pfn));
        rig.machine.attach_device(rig.root, STREAM);
        assert!(rig.machine.device_store(VA, 7));
        assert_eq!(rig.machine.device_load(VA), Some(7));
        assert_eq!(rig.machine.device_load(page(1)), None);
        rig.locked(Level::Pte, || rig.machine.swap(slot, 0));
        rig.publish();
        rig.flush(VA);
        match rig.machine.device_load(VA) {
            Some(_) => stale += 1,
            None => gone += 1,
        }
        rig.machine.command(of_device(VA, STREAM));
        rig.machine.synchronize_device();
        assert_eq!(rig.machine.device_load(VA), None, "seed {seed}");
        rig.silent();
    }
    assert!(stale > 0 && gone > 0, "stale {stale}, gone {gone}");
}
