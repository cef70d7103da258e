//! The atomics façade. Code that loom must see, or whose shared lines a test counts, takes its atomics
//! from here.

#[cfg(not(any(loom, feature = "watched")))]
pub use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(all(not(loom), feature = "watched"))]
mod watched;
#[cfg(loom)]
pub use loom::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
#[cfg(all(not(loom), feature = "watched"))]
pub use watched::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, Touch,
    fence, touch, watch,
};

/// A function that makes atomics: `const`, but under loom, whose atomics are made at run time.
#[macro_export]
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($args:tt)*) -> $result:ty $body:block) => {
        #[cfg(not(loom))]
        $(#[$meta])*
        $vis const fn $name($($args)*) -> $result $body

        #[cfg(loom)]
        $(#[$meta])*
        $vis fn $name($($args)*) -> $result $body
    };
}
