//! The kernel's addresses where the heap refuses: each request once, in each operation, on addresses that nobody had yet.

use crate::common::heap::refusing_one;
use abi::{Order, PAGE_SIZE, PMD_SIZE, Pfn, PhysAddr, PhysRange};
use granule_machine::{Config, SimWorld};
use mm::vmalloc::{Backing, Io};
use pte::{BbmLevel, Caps, KernelProt, MemType};
use stress::World;

const RESIZES: Caps = Caps { bbm: BbmLevel::L2NoAbort, ..Caps::CORTEX_A72 };

fn opened(caps: Caps) -> SimWorld {
    let mut world = SimWorld::new(Config { cpus: 1, caps, ..Config::default() });
    world.open_linear(0);
    world
}

/// Free pages, and tables.
fn all(world: &SimWorld) -> u64 {
    world.mm().frames.free_pages(&world.mm().hw) + world.mm().vmalloc_tables()
}

/// Does something and undoes it, with somebody's frames if need be. Whether it was done.
type Operation = fn(&SimWorld, &[Pfn]) -> bool;

fn operations() -> [(&'static str, Operation); 7] {
    fn memory(world: &SimWorld, bytes: u64, backing: Backing) -> bool {
        let area = world.mm().vmalloc(bytes, backing);
        let done = area.is_ok();
        area.into_iter().for_each(|area| world.mm().vfree(area));
        done
    }
    [
        ("pages", |world, _| memory(world, 3 * PAGE_SIZE, Backing::Pages)),
        ("huge", |world, _| memory(world, PMD_SIZE, Backing::Huge)),
        ("parted", |world, _| memory(world, 3 * PAGE_SIZE, Backing::Parted)),
        ("vmap", |world, frames| {
            let area = world.mm().vmap(frames, KernelProt::Data, MemType::Normal);
            let done = area.is_ok();
            area.into_iter().for_each(|area| world.mm().vunmap(area));
            done
        }),
        ("ram", |world, frames| {
            let area = world.mm().vm_map_ram(frames, KernelProt::Data, MemType::Normal);
            let done = area.is_ok();
            area.into_iter().for_each(|area| world.mm().vm_unmap_ram(area));
            done
        }),
        ("io", |world, _| {
            let device = PhysRange::from_size(PhysAddr(1 << 40), 2 * PMD_SIZE + PAGE_SIZE);
            let area = world.mm().ioremap(device, Io::DEVICE);
            let done = area.is_ok();
            area.into_iter().for_each(|area| world.mm().iounmap(area));
            done
        }),
        ("flip", |world, _| {
            let Ok(mut area) = world.mm().vmalloc(PAGE_SIZE, Backing::Pages) else { return false };
            let done = world.mm().seal(&mut area).is_ok();
            world.mm().vfree(area);
            done
        }),
    ]
}

#[test]
fn the_heap_refuses_each_request_once() {
    for (name, operation) in operations() {
        let mut refusals = 0;
        for before in 0.. {
            let world = opened(RESIZES);
            let mm = world.mm();
            let frames: Vec<_> = (0..3).map(|_| mm.alloc(Order::PAGE).expect("memory")).collect();
            let free = all(&world);
            let (done, was_refused) = refusing_one(before, || operation(&world, &frames));
            let scene = format!("{name}, request {before} refused: {was_refused}");
            assert!(done != was_refused, "{scene}");
            let (areas, _) = mm.vmalloc_in_use();
            assert_eq!(areas, 0, "{scene}");
            assert_eq!(all(&world), free, "{scene}");
            assert!(operation(&world, &frames), "{scene}");
            mm.unmap_aliases();
            assert_eq!(all(&world), free, "{scene}");
            assert_eq!(world.verdict(), None, "{scene}");
            assert_eq!(mm.audit().err().map(|broken| broken.to_string()), None, "{scene}");
            refusals += u32::from(was_refused);
            if !was_refused {
                break;
            }
        }
        assert!(refusals > 0, "{name}");
    }
}
