//! Locking without poison.
//!
//! Owns: one function. A holder that panicked has left plain data behind, which is safe to go on
//! with; refusing every later request would turn one fault into an outage.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
