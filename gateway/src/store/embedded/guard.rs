//! Whether the embedded durable class came back as it was acknowledged.
//!
//! The engine's recovery cuts its journal at the first entry that it cannot read, whatever follows, and makes a keyspace anew whose
//! pointer file is gone. So every group of commits leaves its number in each keyspace, in the same batch, and, once its barrier is
//! passed, in a file beside the engine. What is opened has to hold the number of the file, and no gap before it: then the end that
//! recovery cut off was never acknowledged. Otherwise nothing is served, and the journals are kept as they were found.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fjall::{Keyspace, OwnedWriteBatch};
use gateway_core::digest::keyed;

use super::StoreError;

/// Keys of group numbers begin so: after all others of a keyspace.
const PREFIX: &[u8] = b"\xffmark/";
/// Groups that share one key. A journal holds many blocks, so one that is missing leaves a gap.
const BLOCK: u64 = 32;
/// Groups whose keys are kept: more than the engine keeps in its journals.
const WINDOW: u64 = 1 << 20;

/// The mark beside the engine, and the number of the last group.
pub(super) struct Guard {
    file: File,
    key: Vec<u8>,
    group: u64,
}

/// What a keyspace says of the groups that reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trail {
    /// It never had one.
    Empty,
    /// Up to this group, without a gap.
    UpTo(u64),
    /// Groups are missing after this one.
    Gap(u64),
}

impl Guard {
    /// Opens the mark at `path`, and holds the keyspaces against it.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when something is missing that was acknowledged.
    pub(super) fn open(path: &Path, key: Vec<u8>, keyspaces: &[&Keyspace]) -> Result<Self, StoreError> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        let mut guard = Self { file, key, group: 0 };
        let mark = guard.read();
        let trails: Result<Vec<Trail>, StoreError> = keyspaces.iter().map(|keyspace| trail(keyspace)).collect();
        let trails = trails?;
        guard.group = match (trails.first().copied().unwrap_or(Trail::Empty), mark) {
            (first, _) if trails.iter().any(|trail| *trail != first) => return Err(lost(&trails, mark)),
            (Trail::Gap(_), _) | (Trail::Empty, Some(1..)) => return Err(lost(&trails, mark)),
            (Trail::Empty, _) => 0,
            (Trail::UpTo(last), Some(mark)) if last < mark => return Err(lost(&trails, Some(mark))),
            (Trail::UpTo(last), found) => {
                if found.is_none() {
                    tracing::error!(path = %path.display(), "the mark of the durable store is missing; it is written anew");
                }
                last
            }
        };
        guard.write()?;
        Ok(guard)
    }

    /// Begins a new trail after a loss that an operator accepted.
    pub(super) fn accept(path: &Path, key: Vec<u8>, keyspaces: &[&Keyspace]) -> Result<u64, StoreError> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        let mut guard = Self { file, key, group: 0 };
        let mut last = guard.read().unwrap_or(0);
        for keyspace in keyspaces {
            for entry in keyspace.prefix(PREFIX) {
                let (name, value) = entry.into_inner()?;
                last = last.max(number(&value).unwrap_or(0));
                keyspace.remove(name)?;
            }
        }
        // The next group is the first of a block.
        guard.group = (last / BLOCK + 1) * BLOCK - 1;
        for keyspace in keyspaces {
            keyspace.insert(name(guard.group), guard.group.to_be_bytes())?;
        }
        guard.write()?;
        Ok(last)
    }

    /// Adds the number of the next group to its batch.
    pub(super) fn stage(&self, into: &mut OwnedWriteBatch, keyspaces: &[&Keyspace]) {
        let next = self.group + 1;
        for keyspace in keyspaces {
            into.insert(keyspace, name(next), next.to_be_bytes());
            if next.is_multiple_of(BLOCK) && next > WINDOW {
                into.remove(keyspace, name(next - WINDOW));
            }
        }
    }

    /// Notes that the next group passed its barrier. The file needs none of its own: what it says is never ahead of the engine.
    pub(super) fn passed(&mut self) -> io::Result<()> {
        self.group += 1;
        self.write()
    }

    fn read(&self) -> Option<u64> {
        let mut bytes = [0; 40];
        self.file.read_exact_at(&mut bytes, 0).ok()?;
        let (group, code) = bytes.split_first_chunk::<8>()?;
        (*code == self.code(*group)).then(|| u64::from_be_bytes(*group))
    }

    fn write(&self) -> io::Result<()> {
        let group = self.group.to_be_bytes();
        self.file.write_all_at(&[&group, self.code(group).as_slice()].concat(), 0)
    }

    fn code(&self, group: [u8; 8]) -> [u8; 32] {
        keyed(&self.key, &[b"store-mark", &group])
    }
}

fn name(group: u64) -> Vec<u8> {
    [PREFIX, &(group / BLOCK).to_be_bytes()].concat()
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

fn trail(keyspace: &Keyspace) -> Result<Trail, StoreError> {
    let mut trail = Trail::Empty;
    for entry in keyspace.prefix(PREFIX) {
        let (name, value) = entry.into_inner()?;
        let block = name.get(PREFIX.len()..).and_then(number).unwrap_or(u64::MAX);
        let last = number(&value).unwrap_or(0);
        trail = match trail {
            Trail::Gap(_) => break,
            // Each block but the last one is full, and the next one follows it.
            Trail::UpTo(before) if before % BLOCK != BLOCK - 1 || block != before / BLOCK + 1 => Trail::Gap(before),
            Trail::Empty | Trail::UpTo(_) if last / BLOCK == block => Trail::UpTo(last),
            Trail::Empty | Trail::UpTo(_) => Trail::Gap(last),
        };
    }
    Ok(trail)
}

fn lost(trails: &[Trail], mark: Option<u64>) -> StoreError {
    let named = ["records", "expiry", "audit"].iter().zip(trails);
    let found = named.map(|(keyspace, trail)| match trail {
        Trail::Empty => format!("{keyspace}: nothing"),
        Trail::UpTo(last) => format!("{keyspace}: up to group {last}"),
        Trail::Gap(last) => format!("{keyspace}: groups missing after {last}"),
    });
    let found: Vec<String> = found.collect();
    let mark = mark.map_or_else(|| "unknown".to_owned(), |mark| mark.to_string());
    StoreError::Lost(format!("acknowledged up to group {mark}; found {}", found.join(", ")))
}

/// Copies of the engine's journals, made before it opens them: its recovery cuts what it cannot read.
pub(super) struct Journals {
    copies: PathBuf,
}

impl Journals {
    /// Copies the journals of a database.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(super) fn copy(database: &Path, copies: PathBuf) -> io::Result<Self> {
        if copies.exists() {
            // They are of a loss that nobody has decided about.
            return Ok(Self { copies });
        }
        let part = copies.with_extension("part");
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part)?;
        for entry in fs::read_dir(database)?.filter_map(Result::ok) {
            if entry.path().extension().is_some_and(|extension| extension == "jnl") {
                fs::copy(entry.path(), part.join(entry.file_name()))?;
            }
        }
        fs::rename(part, &copies)?;
        Ok(Self { copies })
    }

    /// Removes the copies: nothing was lost.
    pub(super) fn drop_copies(self) {
        let _ = fs::remove_dir_all(self.copies);
    }
}
