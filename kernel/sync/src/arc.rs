//! A counted pointer whose making can fail. Corresponds to `alloc::sync::Arc` without weak pointers,
//! which aborts where memory runs out; here that is an answer.
//!
//! # Why it is right
//! A new owner comes from an owner, so the count cannot fall to zero meanwhile: adding needs no
//! order. Each owner gives up with a release; the last one's acquire fence puts all their uses
//! before the drop. A leaked clone per tick could overflow the count and free the value under its
//! owners, so adding past half the range is refused with a panic, as `std` refuses with an abort.

use crate::atomic::{self, AtomicUsize, Ordering};
use crate::mutant::{Mutant, order};
use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

/// The kernel's heap could not give this much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfKernelMemory {
    /// The bytes that were asked for.
    pub bytes: usize,
}

impl fmt::Display for OutOfKernelMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel's heap has no {} bytes left", self.bytes)
    }
}

impl core::error::Error for OutOfKernelMemory {}

/// Half of the range is left for owners that come while one of them is being refused.
const MOST_OWNERS: usize = isize::MAX as usize;

struct Inner<T> {
    owners: AtomicUsize,
    value: T,
}

/// One of a value's owners; the last to go drops it.
#[doc(alias("kref", "refcount_t"))]
pub struct Arc<T> {
    inner: NonNull<Inner<T>>,
    owns: PhantomData<Inner<T>>,
}

// SAFETY: owners on any thread share `&T`, and any of them may be the last, which drops the `T`:
// the bounds of `std::sync::Arc`.
#[expect(unsafe_code, reason = "shared ownership is made sound here")]
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: as above; through `&Arc` one can get an owner of one's own.
#[expect(unsafe_code, reason = "shared ownership is made sound here")]
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

impl<T> Arc<T> {
    const LAYOUT: Layout = Layout::new::<Inner<T>>();

    /// Moves `value` to the heap, with one owner. Where there is no memory the value is dropped.
    pub fn try_new(value: T) -> Result<Self, OutOfKernelMemory> {
        // SAFETY: the layout is not empty, for it holds the count.
        #[expect(unsafe_code, reason = "the allocation that may fail")]
        let raw = unsafe { alloc(Self::LAYOUT) };
        let Some(inner) = NonNull::new(raw.cast::<Inner<T>>()) else {
            return Err(OutOfKernelMemory { bytes: Self::LAYOUT.size() });
        };
        // SAFETY: fresh memory of this layout, nobody else's.
        #[expect(unsafe_code, reason = "the allocation that may fail")]
        unsafe {
            inner.write(Inner { owners: AtomicUsize::new(1), value });
        }
        Ok(Self { inner, owns: PhantomData })
    }

    /// Whether both own the same value.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }

    #[inline]
    fn inner(&self) -> &Inner<T> {
        // SAFETY: this owner is counted, so the value lives at least as long as the borrow.
        #[expect(unsafe_code, reason = "shared ownership is made sound here")]
        unsafe {
            self.inner.as_ref()
        }
    }
}

impl<T> Clone for Arc<T> {
    #[inline]
    fn clone(&self) -> Self {
        let before = self.inner().owners.fetch_add(1, Ordering::Relaxed);
        assert!(before <= MOST_OWNERS, "a counted pointer was cloned and leaked without end");
        Self { inner: self.inner, owns: PhantomData }
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T> Drop for Arc<T> {
    #[inline]
    fn drop(&mut self) {
        let release = order(Ordering::Release, Mutant::ArcDropRelaxed);
        if self.inner().owners.fetch_sub(1, release) != 1 {
            return;
        }
        if !Mutant::ArcLastUnfenced.is_armed() {
            atomic::fence(Ordering::Acquire);
        }
        // SAFETY: the last owner is alone with the value, and after this nobody has a pointer to it.
        #[expect(unsafe_code, reason = "shared ownership is made sound here")]
        unsafe {
            self.inner.drop_in_place();
        }
        // SAFETY: it was allocated in `try_new` with the same layout.
        #[expect(unsafe_code, reason = "the allocation that may fail")]
        unsafe {
            dealloc(self.inner.as_ptr().cast(), Self::LAYOUT);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Arc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
