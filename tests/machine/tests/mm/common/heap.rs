//! The host's heap of all suites of this program, which refuses requests of one kind when a test says so. The machine's model asks the
//! same heap and would not bear a refusal, so what it asks for is left out of the count, and where a kind is
//! named by its layout it must be one that only the memory manager asks for.

use granule_machine::is_at_work;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Requests that are refused.
#[derive(Clone, Copy)]
pub(crate) enum Refused {
    /// Those of exactly this size.
    Size(usize),
    /// Those of this alignment or a larger one.
    Align(usize),
    /// One of the memory manager's, after so many others of it.
    After(usize),
}

struct Heap;

thread_local! {
    static REFUSED: Cell<Option<Refused>> = const { Cell::new(None) };
}

#[global_allocator]
static HEAP: Heap = Heap;

/// Whether a request is refused.
fn refuses(layout: Layout) -> bool {
    match REFUSED.get() {
        None => false,
        Some(Refused::Size(size)) => layout.size() == size,
        Some(Refused::Align(align)) => layout.align() >= align,
        Some(Refused::After(_)) if is_at_work() => false,
        Some(Refused::After(more)) => {
            REFUSED.set(more.checked_sub(1).map(Refused::After));
            more == 0
        }
    }
}

// SAFETY: the system's allocator, or nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses(layout) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on; all memory is the system's.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Runs `body` with the heap refusing such requests.
pub(crate) fn refusing<T>(requests: Refused, body: impl FnOnce() -> T) -> T {
    REFUSED.set(Some(requests));
    let result = body();
    REFUSED.set(None);
    result
}

/// Runs `body` with the heap refusing the memory manager one request, after `before` others. Says whether
/// there were as many.
pub(crate) fn refusing_one<T>(before: usize, body: impl FnOnce() -> T) -> (T, bool) {
    REFUSED.set(Some(Refused::After(before)));
    let result = body();
    (result, REFUSED.take().is_none())
}
