//! The kernel heap: a buddy heap that starts in the image and grows from the page allocator.
//!
//! It takes blocks of 2 MiB or what a request needs, and never gives them back. When the page
//! allocator has none, an allocation fails; who must not die of that uses the fallible calls.

use crate::memory;
use abi::Order;
use alloc::alloc::{GlobalAlloc, Layout};
use arch::LocalCpu;
use arch::layout;
use buddy_system_allocator::Heap;
use core::ptr::{self, NonNull};

use sync::{Class, SpinLock};

/// Block sizes up to 2^31 bytes: more than the page allocator ever gives in one piece.
const CLASSES: usize = 32;
/// What the boot may need before there is a page allocator, and twice that: most of it is one block for
/// all CPUs, and blocks are rounded up to powers of two. All zeros, it takes no room in the image.
const SEED_BYTES: usize = (256 << 10) + abi::MAX_CPUS * (12 << 10);

struct KernelHeap {
    heap: SpinLock<Heap<CLASSES>>,
}

#[global_allocator]
static HEAP: KernelHeap = KernelHeap { heap: SpinLock::new(Class::Heap, Heap::empty()) };

/// The first memory of the heap.
#[repr(align(4096))]
#[expect(dead_code, reason = "only its address is used")]
struct Seed([u8; SEED_BYTES]);
static mut SEED: Seed = Seed([0; SEED_BYTES]);

/// Gives the heap its first memory. Context: boot, once.
pub(crate) fn init() {
    let start = (&raw mut SEED) as usize;
    // SAFETY: the seed is used by nothing but the heap, which gets it once.
    unsafe { HEAP.heap.lock(&LocalCpu).init(start, SEED_BYTES) };
}

/// Bytes in use, and bytes that the heap has.
pub(crate) fn usage() -> (usize, usize) {
    let heap = HEAP.heap.lock(&LocalCpu);
    (heap.stats_alloc_actual(), heap.stats_total_bytes())
}

/// Takes a block from the page allocator that has room for `layout`.
fn grow(heap: &SpinLock<Heap<CLASSES>>, layout: Layout) -> Option<()> {
    // A buddy heap rounds up to a power of two, of the size or the alignment.
    let bytes = layout.size().max(layout.align()).checked_next_power_of_two()? as u64;
    let wanted = Order(bytes.div_ceil(abi::PAGE_SIZE).ilog2() as u8).max(Order::PMD);
    let mm = memory::mm()?;
    let block = mm.alloc(wanted).ok()?;
    let start = layout::linear(block.base())?.0 as usize;
    let end = start + wanted.bytes() as usize;
    // SAFETY: the block is ours from now on, mapped linearly, and becomes the heap's for good.
    unsafe { heap.lock(&LocalCpu).add_to_heap(start, end) };
    Some(())
}

// SAFETY: `Heap` hands out disjoint blocks of memory that it owns, under a lock; memory does not
// leave it.
unsafe impl GlobalAlloc for KernelHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let attempt = || self.heap.lock(&LocalCpu).alloc(layout).ok();
        // Another CPU may take what this one has grown: once more.
        attempt()
            .or_else(|| grow(&self.heap, layout).and_then(|()| attempt()))
            .or_else(|| grow(&self.heap, layout).and_then(|()| attempt()))
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if let Some(ptr) = NonNull::new(ptr) {
            // SAFETY: the caller passes what `alloc` gave for this layout.
            unsafe { self.heap.lock(&LocalCpu).dealloc(ptr, layout) };
        }
    }
}
