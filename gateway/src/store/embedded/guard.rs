//! Whether the embedded durable class came back as it was acknowledged.
//!
//! The engine's recovery cuts its journal at the first entry that it cannot read, whatever follows, and makes a keyspace anew whose
//! pointer file is gone. So there is a *mark* beside the engine, written after each barrier: the number of the last group of
//! commits, and for each journal how long it was then and a digest of that much. Before the engine opens anything, its journals are
//! held against the mark, so that nothing is cut that was acknowledged. Each group leaves its number in each keyspace as well; after
//! opening there must be no gap among them up to the mark. What recovery cut off behind that was never acknowledged.
//!
//! The mark needs no barrier of its own. After a power cut it may be older than the engine, which then has more than it asks for.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use fjall::{Keyspace, OwnedWriteBatch};
use gateway_core::digest::keyed;

use super::StoreError;

/// Keys of group numbers begin so: after all others of a keyspace.
const PREFIX: &[u8] = b"\xffmark/";
/// Groups that share one key. A journal holds many blocks, so one that is missing leaves a gap.
const BLOCK: u64 = 32;
/// Groups whose keys are kept: more than the engine keeps in its journals.
const WINDOW: u64 = 1 << 20;
/// The mark is written to two places in turn, so that one of them is always whole.
const SLOT: u64 = 4_096;
/// The most journals that a mark names.
const MOST_JOURNALS: usize = 64;
/// How much of a journal is read at a time.
const CHUNK: usize = 64 * 1024;
/// A journal is made larger than what is in it: that much of nothing is its end.
const NOTHING: usize = CHUNK / 2;
/// A piece of a journal that is held against nothing at once.
const PIECE: usize = 1_024;

/// The mark beside the engine, and the number of the last group.
pub(super) struct Guard {
    file: File,
    key: Vec<u8>,
    database: PathBuf,
    group: u64,
    journals: Vec<Journal>,
    /// What is read of a journal: kept, because it is needed after each barrier.
    chunk: Vec<u8>,
}

/// What a mark says.
#[derive(Default)]
struct Mark {
    group: u64,
    journals: Vec<Seen>,
}

/// How much of a journal was there, and its digest.
struct Seen {
    number: u64,
    length: u64,
    digest: [u8; 32],
}

/// A journal, as far as it was read.
struct Journal {
    number: u64,
    file: File,
    length: u64,
    read: Context,
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

/// The mark as it was found, with the journals held against it. The engine may be opened.
pub(super) struct Checked {
    file: File,
    mark: Option<Mark>,
}

impl Checked {
    /// Holds the journals of a database against its mark, before anything opens them.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when something is missing, or is not as it was.
    pub(super) fn new(path: &Path, key: &[u8], database: &Path) -> Result<Self, StoreError> {
        let file = open_mark(path)?;
        let mark = read_mark(&file, key);
        let Some(found) = &mark else { return Ok(Self { file, mark }) };
        if found.group > 0 && numbers(database)?.is_empty() {
            return Err(StoreError::Lost(format!("{} holds no journal", database.display())));
        }
        for keyspace in there(fs::read_dir(database.join("keyspaces")))?.into_iter().flatten() {
            let pointer = keyspace?.path().join("current");
            if there(fs::metadata(&pointer))?.is_none() {
                return Err(StoreError::Lost(format!("{} is missing", pointer.display())));
            }
        }
        for seen in &found.journals {
            let path = journal_path(database, seen.number);
            // One whose content reached the tables is removed by the engine; another leaves a gap.
            let Some(file) = there(File::open(&path))? else { continue };
            if digest_of(&file, seen.length)? != Some(seen.digest) {
                let what = "is not as it was when its content was acknowledged";
                return Err(StoreError::Lost(format!("{} {what} (first {} bytes)", path.display(), seen.length)));
            }
        }
        Ok(Self { file, mark })
    }

    /// Holds the keyspaces of the opened database that were there before against the mark, and goes on with it. Those that are new
    /// begin their trails with the last group.
    ///
    /// # Errors
    /// [`StoreError::Lost`] when groups are missing that were acknowledged.
    pub(super) fn opened(
        self,
        key: Vec<u8>,
        database: &Path,
        (known, new): (&[&Keyspace], &[&Keyspace]),
    ) -> Result<Guard, StoreError> {
        let mark = self.mark.as_ref().map(|mark| mark.group);
        let trails: Result<Vec<Trail>, StoreError> = known.iter().map(|keyspace| trail(keyspace)).collect();
        let trails = trails?;
        let group = match (trails.first().copied().unwrap_or(Trail::Empty), mark) {
            (first, _) if trails.iter().any(|trail| *trail != first) => return Err(lost(&trails, mark)),
            (Trail::Gap(_), _) | (Trail::Empty, Some(1..)) => return Err(lost(&trails, mark)),
            (Trail::Empty, _) => 0,
            (Trail::UpTo(last), Some(mark)) if last < mark => return Err(lost(&trails, Some(mark))),
            (Trail::UpTo(last), found) => {
                if found.is_none() {
                    tracing::error!(database = %database.display(), "the mark of the durable store is missing; it is written anew");
                }
                last
            }
        };
        for keyspace in new.iter().filter(|_| group > 0) {
            keyspace.insert(name(group), group.to_be_bytes())?;
        }
        Guard::begin(self.file, key, database, group)
    }
}

impl Guard {
    fn begin(file: File, key: Vec<u8>, database: &Path, group: u64) -> Result<Self, StoreError> {
        let mut guard =
            Self { file, key, database: database.to_owned(), group, journals: Vec::new(), chunk: vec![0; CHUNK] };
        guard.read_journals()?;
        guard.write()?;
        Ok(guard)
    }

    /// Begins a new trail after a loss that an operator accepted; the last group that was acknowledged.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(super) fn accept(
        path: &Path,
        key: Vec<u8>,
        database: &Path,
        keyspaces: &[&Keyspace],
    ) -> Result<u64, StoreError> {
        let file = open_mark(path)?;
        let mut last = read_mark(&file, &key).unwrap_or_default().group;
        for keyspace in keyspaces {
            for entry in keyspace.prefix(PREFIX) {
                let (name, value) = entry.into_inner()?;
                last = last.max(number(&value).unwrap_or(0));
                keyspace.remove(name)?;
            }
        }
        // The next group is the first of a block.
        let group = (last / BLOCK + 1) * BLOCK - 1;
        for keyspace in keyspaces {
            keyspace.insert(name(group), group.to_be_bytes())?;
        }
        Self::begin(file, key, database, group)?;
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

    /// Notes that the next group passed its barrier.
    ///
    /// # Errors
    /// A journal cannot be read, or the mark not be written.
    pub(super) fn passed(&mut self) -> io::Result<()> {
        self.group += 1;
        self.read_journals()?;
        self.write()
    }

    /// Reads on in the journals, and in those that are new; forgets those that are gone.
    fn read_journals(&mut self) -> io::Result<()> {
        let next = self.journals.last().map(|last| last.number + 1);
        if next.is_none_or(|next| journal_path(&self.database, next).exists()) {
            let there = numbers(&self.database)?;
            self.journals.retain(|journal| there.contains(&journal.number));
            let known = self.journals.last().map(|last| last.number);
            for number in there.into_iter().filter(|number| known.is_none_or(|known| *number > known)) {
                let file = File::open(journal_path(&self.database, number))?;
                self.journals.push(Journal { number, file, length: 0, read: Context::new(&SHA256) });
            }
            for journal in &mut self.journals {
                journal.read_on(&mut self.chunk)?;
            }
        } else if let Some(active) = self.journals.last_mut() {
            active.read_on(&mut self.chunk)?;
        }
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let newest = self.journals.iter().rev().take(MOST_JOURNALS);
        let journals = newest.flat_map(|journal| {
            let digest = journal.read.clone().finish();
            [&journal.number.to_be_bytes(), &journal.length.to_be_bytes(), digest.as_ref()].concat()
        });
        let said: Vec<u8> = self.group.to_be_bytes().into_iter().chain(journals).collect();
        let length = u32::try_from(said.len()).unwrap_or(u32::MAX).to_be_bytes();
        let bytes = [length.as_slice(), &code(&self.key, &said), &said].concat();
        self.file.write_all_at(&bytes, (self.group % 2) * SLOT)
    }
}

impl Journal {
    fn read_on(&mut self, chunk: &mut [u8]) -> io::Result<()> {
        loop {
            let read = self.file.read_at(chunk, self.length)?;
            let filled = chunk.get(..read).unwrap_or_default();
            let content = filled.get(..length_without_end(filled)).unwrap_or_default();
            self.read.update(content);
            self.length += content.len() as u64;
            if content.is_empty() || content.len() + NOTHING <= read {
                return Ok(());
            }
        }
    }
}

/// How many bytes there are up to the last that is not zero.
fn length_without_end(bytes: &[u8]) -> usize {
    const ZEROS: [u8; PIECE] = [0; PIECE];
    let mut pieces = bytes.chunks(PIECE).enumerate().rev();
    let last = pieces.find(|(_, piece)| ZEROS.get(..piece.len()) != Some(*piece));
    let within = |piece: &[u8]| piece.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    last.map_or(0, |(number, piece)| number * PIECE + within(piece))
}

fn open_mark(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

/// The newer of the two places that is whole.
fn read_mark(file: &File, key: &[u8]) -> Option<Mark> {
    let slots = [0, SLOT].map(|at| read_slot(file, key, at));
    slots.into_iter().flatten().max_by_key(|mark| mark.group)
}

fn read_slot(file: &File, key: &[u8], at: u64) -> Option<Mark> {
    let mut head = [0; 36];
    file.read_exact_at(&mut head, at).ok()?;
    let (length, stated) = head.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length as u64 <= SLOT - 36)?;
    let mut said = vec![0; length];
    file.read_exact_at(&mut said, at + 36).ok()?;
    if stated != code(key, &said).as_slice() {
        return None;
    }
    let (group, journals) = said.split_first_chunk::<8>()?;
    let seen = |bytes: &[u8]| {
        let (number, rest) = bytes.split_first_chunk::<8>()?;
        let (length, digest) = rest.split_first_chunk::<8>()?;
        let (number, length) = (u64::from_be_bytes(*number), u64::from_be_bytes(*length));
        Some(Seen { number, length, digest: digest.try_into().ok()? })
    };
    let journals: Option<Vec<Seen>> = journals.chunks(48).map(seen).collect();
    Some(Mark { group: u64::from_be_bytes(*group), journals: journals? })
}

fn code(key: &[u8], said: &[u8]) -> [u8; 32] {
    keyed(key, &[b"store-mark", said])
}

fn journal_path(database: &Path, number: u64) -> PathBuf {
    database.join(format!("{number}.jnl"))
}

/// What was found, or that it is not there; whatever else kept it from being looked at says nothing of it.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// The numbers of the journals of a database, in order.
fn numbers(database: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = Vec::new();
    for file in there(fs::read_dir(database))?.into_iter().flatten() {
        let name = file?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The digest of the first `length` bytes of a file; none where it has fewer.
fn digest_of(file: &File, length: u64) -> io::Result<Option<[u8; 32]>> {
    let (mut context, mut at, mut chunk) = (Context::new(&SHA256), 0, vec![0; 16 * CHUNK]);
    while at < length {
        let wanted = usize::try_from(length - at).unwrap_or(usize::MAX).min(chunk.len());
        let read = file.read_at(chunk.get_mut(..wanted).unwrap_or_default(), at)?;
        if read == 0 {
            return Ok(None);
        }
        context.update(chunk.get(..read).unwrap_or_default());
        at += read as u64;
    }
    Ok(context.finish().as_ref().try_into().ok())
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
    let named = ["records", "expiry"].into_iter().chain(std::iter::repeat("audit")).zip(trails);
    let found = named.map(|(keyspace, trail)| match trail {
        Trail::Empty => format!("{keyspace}: nothing"),
        Trail::UpTo(last) => format!("{keyspace}: up to group {last}"),
        Trail::Gap(last) => format!("{keyspace}: groups missing after {last}"),
    });
    let found: Vec<String> = found.collect();
    let mark = mark.map_or_else(|| "unknown".to_owned(), |mark| mark.to_string());
    StoreError::Lost(format!("acknowledged up to group {mark}; found {}", found.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ends_at_its_last_byte_that_is_not_zero() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, CHUNK] {
            let mut bytes = vec![0; CHUNK];
            if let Some(last) = length.checked_sub(1) {
                bytes[last] = 1;
            }
            for whole in [length, (length + PIECE / 2).min(CHUNK), CHUNK] {
                assert_eq!(length_without_end(&bytes[..whole]), length, "of {whole}");
            }
        }
    }
}
