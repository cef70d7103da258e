//! Core's atomics, which tell whoever watches where they were read and written: for tests that count the
//! cache lines which CPUs take from each other.
//!
//! A failed exchange counts as a write: it takes the line from the others all the same. Each type is
//! laid out as core's, so that what shares a line here does so in the kernel.

extern crate std;

use core::fmt;
use core::panic::Location;
pub use core::sync::atomic::{Ordering, fence};
use std::cell::RefCell;
use std::vec::Vec;

/// One access to shared memory.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// What was accessed.
    pub address: usize,
    /// Whether it was, or might have been, changed.
    pub writes: bool,
    /// The code that did it.
    pub by: &'static Location<'static>,
}

std::thread_local! {
    /// What this thread has touched, if anybody watches.
    static TOUCHED: RefCell<Option<Vec<Touch>>> = const { RefCell::new(None) };
}

/// Runs `body`, and says what it touched on this thread, through these types or by [`touch`].
pub fn watch(body: impl FnOnce()) -> Vec<Touch> {
    TOUCHED.set(Some(Vec::new()));
    body();
    TOUCHED.take().unwrap_or_default()
}

/// Tells of an access by other means.
#[track_caller]
pub fn touch(address: usize, writes: bool) {
    let by = Location::caller();
    TOUCHED.with_borrow_mut(|touched| {
        if let Some(touched) = touched {
            touched.push(Touch { address, writes, by });
        }
    });
}

macro_rules! atomic {
    ($name:ident($value:ty), $($change:ident)*) => {
        #[doc = concat!("Core's `", stringify!($name), "`.")]
        #[derive(Default)]
        #[repr(transparent)]
        pub struct $name(core::sync::atomic::$name);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        #[allow(missing_docs, reason = "core's")]
        impl $name {
            pub const fn new(value: $value) -> Self {
                Self(core::sync::atomic::$name::new(value))
            }

            fn address(&self) -> usize {
                (&raw const self.0).addr()
            }

            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                touch(self.address(), false);
                self.0.load(order)
            }

            pub fn get_mut(&mut self) -> &mut $value {
                self.0.get_mut()
            }

            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                touch(self.address(), true);
                self.0.store(value, order);
            }

            #[track_caller]
            pub fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                touch(self.address(), true);
                self.0.compare_exchange(old, new, success, failure)
            }

            #[track_caller]
            pub fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                touch(self.address(), true);
                self.0.compare_exchange_weak(old, new, success, failure)
            }

            #[track_caller]
            pub fn fetch_update(
                &self,
                success: Ordering,
                failure: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                touch(self.address(), true);
                self.0.fetch_update(success, failure, change)
            }

            $(
                #[track_caller]
                pub fn $change(&self, value: $value, order: Ordering) -> $value {
                    touch(self.address(), true);
                    self.0.$change(value, order)
                }
            )*
        }
    };
}

atomic! { AtomicBool(bool), swap fetch_and fetch_or fetch_xor }
atomic! { AtomicU8(u8), swap fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min }
atomic! { AtomicU16(u16), swap fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min }
atomic! { AtomicU32(u32), swap fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min }
atomic! { AtomicU64(u64), swap fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min }
atomic! { AtomicUsize(usize), swap fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min }
atomic! { AtomicI32(i32), swap fetch_add fetch_sub fetch_and fetch_or fetch_max fetch_min }
