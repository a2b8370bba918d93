//! What the simulators share between requests.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The value behind a lock, whatever became of whoever held it last.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
