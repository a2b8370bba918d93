//! One database: its records, and an index of them by expiry.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};
use gateway_core::time::Timestamp;

use super::super::{Batch, Key, StoreError, Write, live, pack};

/// How much is written to a database until what it holds in memory goes to disk, in bytes. A login's records are read within minutes.
const IN_MEMORY: usize = 12 * 1024 * 1024;
/// The most that the journals of a database take, in bytes.
const JOURNALS: u64 = 128 * 1024 * 1024;
/// How many expired records one step of sweeping frees: it holds up a write no longer than that takes.
const SWEPT: usize = 250;

/// How each keyspace is made. The engine never moves one to disk by itself: its only worker would ask itself for that, and wait for
/// ever behind a full queue of such requests. [`Shelf::make_room`] does it.
pub(super) fn keyspace() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(1 << 40)
}

/// One database with its records, and an index of them by expiry so that sweeping costs what it frees.
pub(super) struct Shelf {
    pub(super) database: Database,
    pub(super) records: Keyspace,
    pub(super) expiry: Keyspace,
    swept: Swept,
    /// Bytes that were written since memory went to disk.
    written: AtomicUsize,
}

/// How far sweeping is: the entries before it are gone, and are not walked over again.
#[derive(Default)]
struct Swept {
    cursor: Mutex<Vec<u8>>,
    /// The second of the cursor.
    second: AtomicU64,
}

impl Swept {
    /// A record that ends before the cursor moves it back: a clock was set back.
    fn note(&self, expires: Timestamp) {
        if expires.0 < self.second.load(Ordering::Relaxed) {
            self.set(index_prefix(expires));
        }
    }

    fn set(&self, cursor: Vec<u8>) {
        let second = cursor.first_chunk::<8>().map_or(0, |second| u64::from_be_bytes(*second));
        self.second.store(second, Ordering::Relaxed);
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }

    fn cursor(&self) -> Vec<u8> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is about to be written, over what is stored.
pub(super) type Overlay = HashMap<Key, Option<Vec<u8>>>;

impl Shelf {
    pub(super) fn open(path: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(path).worker_threads(1).max_journaling_size(JOURNALS).open()?;
        let records = database.keyspace("records", keyspace)?;
        let expiry = database.keyspace("expiry", keyspace)?;
        Ok(Self { database, records, expiry, swept: Swept::default(), written: AtomicUsize::new(0) })
    }

    /// Notes that so many bytes were written.
    pub(super) fn note(&self, bytes: usize) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Moves what these keyspaces hold in memory to disk, once it is enough: all of them together, so that no journal is kept for
    /// one that is seldom written.
    pub(super) fn make_room(&self, keyspaces: &[&Keyspace]) -> Result<(), StoreError> {
        if self.written.load(Ordering::Relaxed) < IN_MEMORY {
            return Ok(());
        }
        self.written.store(0, Ordering::Relaxed);
        for keyspace in keyspaces {
            keyspace.rotate_memtable()?;
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.get(key.as_str())?.and_then(|stored| live(&stored, now)))
    }

    /// Checks a batch against the store and the overlay; adds it to both overlay and `into`, or changes nothing.
    pub(super) fn stage(
        &self,
        batch: &Batch,
        overlay: &mut Overlay,
        into: &mut OwnedWriteBatch,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for write in &batch.writes {
            if let Write::Insert(key, ..) = write {
                let present = match overlay.get(key) {
                    Some(staged) => staged.as_deref().and_then(|stored| live(stored, now)).is_some(),
                    None => self.get(key, now)?.is_some(),
                };
                if present {
                    return Err(StoreError::Conflict);
                }
            }
        }
        for write in &batch.writes {
            match write {
                Write::Insert(key, value, expires) | Write::Put(key, value, expires) => {
                    let stored = pack(value, *expires);
                    self.note(stored.len() + 2 * key.as_str().len());
                    if let Some(expires) = expires {
                        self.swept.note(*expires);
                        into.insert(&self.expiry, index_key(*expires, key), "");
                    }
                    into.insert(&self.records, key.as_str(), stored.clone());
                    overlay.insert(key.clone(), Some(stored));
                }
                Write::Delete(key) => {
                    self.note(key.as_str().len());
                    into.remove(&self.records, key.as_str());
                    overlay.insert(key.clone(), None);
                }
            }
        }
        Ok(())
    }

    /// Looks at the next entries that are due and removes what expired; how many it looked at.
    pub(super) fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        let (from, to) = (self.swept.cursor(), index_prefix(now.plus(Duration::from_secs(1))));
        if from >= to {
            return Ok(0);
        }
        let mut batch = self.database.batch();
        let (mut due, mut last) = (0, None);
        for entry in self.expiry.range(from..to).take(SWEPT) {
            let index = entry.key()?;
            last = Some(index.to_vec());
            due += 1;
            let Some(key) = index.get(8..) else { continue };
            // A record written again meanwhile lives on under its later entry.
            if self.records.get(key)?.is_some_and(|stored| live(&stored, now).is_none()) {
                batch.remove(&self.records, key);
            }
            self.note(2 * index.len());
            batch.remove(&self.expiry, index);
        }
        batch.commit()?;
        if let Some(last) = last {
            self.swept.set([last, vec![0]].concat());
        }
        Ok(due)
    }
}

fn index_prefix(expires: Timestamp) -> Vec<u8> {
    expires.0.to_be_bytes().to_vec()
}

fn index_key(expires: Timestamp, key: &Key) -> Vec<u8> {
    [&expires.0.to_be_bytes(), key.as_str().as_bytes()].concat()
}
