//! The cell façade: core's `UnsafeCell`, or loom's, which reports each access that no order keeps
//! apart from another. Handing out the pointer is safe; following it is the caller's to argue.

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;

/// A value that is changed through a shared reference.
#[cfg(not(loom))]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// The place, to read it.
    #[inline(always)]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    /// The place, to change it.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, change: impl FnOnce(*mut T) -> R) -> R {
        change(self.0.get())
    }
}
