//! The model's state, held by whoever is at work on it.
//!
//! The model asks the host's heap for memory in the midst of what it runs. A test that refuses such requests
//! to the memory manager asks here whose they are.

use crate::State;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is inside the model: what it asks of the heap now, the memory manager does not.
#[must_use]
pub fn is_at_work() -> bool {
    AT_WORK.get()
}

/// The state, of which there is one at a time.
pub(crate) struct AtWork<'a>(MutexGuard<'a, State>);

impl<'a> AtWork<'a> {
    pub(crate) fn on(state: MutexGuard<'a, State>) -> Self {
        AT_WORK.set(true);
        Self(state)
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        AT_WORK.set(false);
    }
}

impl Deref for AtWork<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for AtWork<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}
