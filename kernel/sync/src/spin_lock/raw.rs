//! The word under a spin lock, and loom's stand-in for it, which knows that a spinning thread waits.

#[cfg(not(loom))]
pub(super) use spin::mutex::SpinMutexGuard as RawGuard;
#[cfg(not(loom))]
pub(super) struct Raw<T: ?Sized>(spin::mutex::SpinMutex<T>);

#[cfg(not(loom))]
impl<T> Raw<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(spin::mutex::SpinMutex::new(value))
    }
}

#[cfg(not(loom))]
impl<T: ?Sized> Raw<T> {
    #[inline(always)]
    pub(super) fn try_lock(&self) -> Option<RawGuard<'_, T>> {
        self.0.try_lock()
    }

    #[inline(always)]
    pub(super) fn lock(&self, relax: impl Fn()) -> RawGuard<'_, T> {
        loop {
            if let Some(guard) = self.0.try_lock() {
                return guard;
            }
            while self.0.is_locked() {
                relax();
            }
        }
    }
}

#[cfg(loom)]
pub(super) use loom::sync::MutexGuard as RawGuard;
#[cfg(loom)]
pub(super) struct Raw<T: ?Sized>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Raw<T> {
    pub(super) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }
}

#[cfg(loom)]
impl<T: ?Sized> Raw<T> {
    pub(super) fn try_lock(&self) -> Option<RawGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    pub(super) fn lock(&self, _relax: impl Fn()) -> RawGuard<'_, T> {
        match self.0.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}
