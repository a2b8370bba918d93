//! Single use, written once: a thing is taken by one atomic insert, and that insert is the gate before anything is
//! minted.

use std::ops::Deref;

use gateway_core::audit::Event;
use gateway_core::time::Timestamp;

use super::{Batch, Class, Key, Store, StoreError, Write};

/// Proof that something single-use was taken, by nobody else and never before. Only [`take`] makes one.
#[derive(Debug)]
pub struct Taken<T>(T);

impl<T> Deref for Taken<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Takes `value`, which `key` stands for, in one durable commit together with its audit event. The mark stays until
/// `until` and says what was taken, so that a replay can be traced to it.
///
/// # Errors
/// [`StoreError::Conflict`] when it was taken before.
pub async fn take<T>(
    store: &Store,
    key: Key,
    value: T,
    mark: &str,
    event: Event,
    now: Timestamp,
    until: Timestamp,
) -> Result<Taken<T>, StoreError> {
    let batch = Batch::of(Write::Insert(key, mark.as_bytes().to_vec(), Some(until))).recording(event);
    store.commit(Class::Durable, batch, now).await?;
    Ok(Taken(value))
}
