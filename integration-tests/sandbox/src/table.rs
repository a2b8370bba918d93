//! A bounded in-memory table whose entries expire.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::now_unix;

/// Entries kept at most; a full table refuses new ones rather than forget a code already given out.
const CAPACITY: usize = 50_000;

/// Values by random key, each with a lifetime that is enforced when it is read.
pub(crate) struct Table<V> {
    entries: Mutex<HashMap<String, (u64, V)>>,
}

impl<V: Clone> Table<V> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self { entries: Mutex::new(HashMap::new()) }
    }

    /// Adds an entry that lives `seconds`; `false` when the table is full or the key is in use.
    pub(crate) fn insert(&self, key: &str, value: V, seconds: u64) -> bool {
        let now = now_unix();
        let mut entries = self.lock();
        if entries.len() >= CAPACITY {
            entries.retain(|_, (expires, _)| *expires > now);
        }
        let live = entries.get(key).is_some_and(|(expires, _)| *expires > now);
        if live || entries.len() >= CAPACITY {
            return false;
        }
        entries.insert(key.to_owned(), (now + seconds, value));
        true
    }

    /// The live value under `key`, left in place.
    pub(crate) fn get(&self, key: &str) -> Option<V> {
        let entries = self.lock();
        entries.get(key).filter(|(expires, _)| *expires > now_unix()).map(|(_, value)| value.clone())
    }

    /// Puts another value in the place of the live one under `key`.
    pub(crate) fn replace(&self, key: &str, value: V) {
        if let Some((_, known)) = self.lock().get_mut(key) {
            *known = value;
        }
    }

    /// Removes the value under `key`; only one caller ever gets it.
    pub(crate) fn take(&self, key: &str) -> Option<V> {
        let taken = self.lock().remove(key);
        taken.filter(|(expires, _)| *expires > now_unix()).map(|(_, value)| value)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (u64, V)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
