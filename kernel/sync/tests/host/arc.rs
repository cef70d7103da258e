//! Shared ownership whose making can fail.

use granule_sync::{Arc, OutOfKernelMemory};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;

/// The host's heap, which a test can make refuse.
struct Heap;

thread_local! {
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static HEAP: Heap = Heap;

// SAFETY: the system's allocator, or nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSES.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on; all memory is the system's.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Counts its drops.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn the_last_owner_drops_the_value_once() {
    let drops = Rc::new(Cell::new(0));
    let one = Arc::try_new(Counted(drops.clone())).unwrap();
    let other = one.clone();
    assert!(Arc::ptr_eq(&one, &other));
    drop(one);
    assert_eq!(drops.get(), 0);
    drop(other);
    assert_eq!(drops.get(), 1);
}

#[test]
fn values_of_any_size_and_alignment_find_their_place() {
    #[repr(align(256))]
    struct Wide(u8);
    let wide = Arc::try_new(Wide(7)).unwrap();
    assert_eq!((wide.0, std::ptr::from_ref(&*wide) as usize % 256), (7, 0));
    let nothing = Arc::try_new(()).unwrap();
    assert!(!nothing.ptr_eq(&Arc::try_new(()).unwrap()), "no two values are one");
}

#[test]
fn where_memory_runs_out_the_value_is_dropped_and_the_size_is_told() {
    let drops = Rc::new(Cell::new(0));
    let value = Counted(drops.clone());
    REFUSES.set(true);
    let outcome = Arc::try_new(value);
    REFUSES.set(false);
    let words = 2 * size_of::<usize>();
    assert_eq!(outcome.err(), Some(OutOfKernelMemory { bytes: words }));
    assert_eq!(drops.get(), 1);
}

#[test]
fn owners_may_be_on_any_thread() {
    let sum = Arc::try_new(std::sync::atomic::AtomicU32::new(0)).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let sum = sum.clone();
            std::thread::spawn(move || {
                for _ in 0..10 {
                    let own = sum.clone();
                    own.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(sum.load(std::sync::atomic::Ordering::Relaxed), 40);
}
