//! The embedded engine: fjall for both classes, in two databases of their own.
//!
//! The durable class has one committer thread. It takes every batch that waits, checks and applies them in order, links
//! their audit events, and pays one disk barrier for all (group commit). The ephemeral class is written without a
//! barrier under a short lock. Reads go straight to the engine: what a login reads was written seconds ago and is in
//! memory.
//!
//! After a failed write the engine takes no other. It is closed and opened again, once the disk takes a write; until then reads go
//! on and writes fail. A durable class that does not come back as it was acknowledged ends the process ([`guard`]).

mod committer;
mod guard;
mod shelf;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Keyspace, PersistMode, Readable as _};
use gateway_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use self::committer::{Commit, Committer};
use self::guard::{Checked, Guard};
use self::shelf::{Overlay, Shelf, keyspace};
use super::follower::Follower;
use super::{AuditReport, Batch, Chain, Class, Key, StoreError, give_up, live};

/// The most batches that wait; beyond it a commit waits to be let in.
const QUEUE: usize = 8_192;
/// How long passes until a broken engine is opened again, and again.
const AGAIN: Duration = Duration::from_secs(1);
/// What the disk has to take before that, in bytes.
const PROBE: usize = 4 * 1024 * 1024;
/// The key under which a chain's head is stored, in the audit keyspace after all records.
const HEAD: &[u8] = b"head";

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        Self::Unavailable(format!("embedded store: {error}"))
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(format!("embedded store: {error}"))
    }
}

/// The durable class: records, their expiry, this node's audit chain, and those of nodes of other names that had this store.
struct Durable {
    shelf: Shelf,
    audit: Keyspace,
    others: Vec<Keyspace>,
    /// This node has no chain here yet and others have: it has another name than before.
    is_new: bool,
}

impl Durable {
    /// All of them; this node's chain comes last.
    fn keyspaces(&self) -> Vec<&Keyspace> {
        let records = [&self.shelf.records, &self.shelf.expiry];
        records.into_iter().chain(&self.others).chain([&self.audit]).collect()
    }
}

/// An engine that may be closed for a moment, to be opened again.
type Slot<T> = Arc<RwLock<Option<T>>>;

fn opened<T>(slot: &Slot<T>) -> RwLockReadGuard<'_, Option<T>> {
    slot.read().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> StoreError {
    StoreError::Unavailable("the embedded store is being opened again".to_owned())
}

/// What the committer does. Sweeping is its work too: a record must not be swept while it is written again.
enum Job {
    Commit(Commit),
    Sweep(Timestamp, oneshot::Sender<Result<usize, StoreError>>),
}

/// Where everything of the engine is.
#[derive(Clone)]
struct Paths {
    folder: PathBuf,
    durable: PathBuf,
    ephemeral: PathBuf,
    mark: PathBuf,
}

impl Paths {
    fn of(folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        let (durable, ephemeral, mark) = (at("durable"), at("ephemeral"), at("durable.mark"));
        Self { folder: folder.to_owned(), durable, ephemeral, mark }
    }

    /// The durable class, held against its mark.
    fn open_durable(&self, chain: &Chain) -> Result<(Durable, Guard), StoreError> {
        let checked = Checked::new(&self.mark, &chain.key, &self.durable)?;
        let durable = self.open_unguarded(chain)?;
        let all = durable.keyspaces();
        let known = all.len() - usize::from(durable.is_new);
        let guard = checked.opened(chain.key.clone(), &self.durable, all.split_at(known))?;
        Ok((durable, guard))
    }

    fn open_unguarded(&self, chain: &Chain) -> Result<Durable, StoreError> {
        let shelf = Shelf::open(&self.durable)?;
        let name = format!("audit-{}", chain.node);
        let exists = shelf.database.keyspace_exists(&name);
        let names = shelf.database.list_keyspace_names();
        let others = names.iter().filter(|other| other.starts_with("audit-") && ***other != *name);
        let others: Vec<Keyspace> =
            others.map(|other| shelf.database.keyspace(other, keyspace)).collect::<Result<_, _>>()?;
        let audit = shelf.database.keyspace(&name, keyspace)?;
        let is_new = !exists && !others.is_empty();
        Ok(Durable { shelf, audit, others, is_new })
    }

    /// The ephemeral class. One whose content cannot be read is put aside: it may be lost, and what must not come back is durable.
    fn open_ephemeral(&self) -> Result<Shelf, StoreError> {
        let error = match Shelf::open(&self.ephemeral) {
            Err(error) if is_of_content(&error) => error,
            opened => return Ok(opened?),
        };
        let aside = self.ephemeral.with_extension("broken");
        tracing::error!(%error, aside = %aside.display(), "the ephemeral store cannot be read; it is put aside and begun anew");
        if aside.exists() {
            // The first one is what somebody may want to look at.
            fs::remove_dir_all(&self.ephemeral)?;
        } else {
            fs::rename(&self.ephemeral, aside)?;
        }
        Ok(Shelf::open(&self.ephemeral)?)
    }

    /// Whether the disk takes what an engine needs to open.
    fn disk_takes_writes(&self) -> io::Result<()> {
        let probe = self.folder.join("probe");
        let written = fs::File::create(&probe).and_then(|mut file| {
            file.write_all(&vec![1; PROBE])?;
            file.sync_all()
        });
        let _ = fs::remove_file(probe);
        written
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Whether an engine cannot be opened for what is in its files, and not for a moment's reason: another process that has it open, a
/// disk or a limit that gives nothing more.
fn is_of_content(error: &fjall::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    match error {
        fjall::Error::Locked | fjall::Error::Poisoned => false,
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
        }
        _ => true,
    }
}

/// The embedded engine.
pub(super) struct Embedded {
    paths: Paths,
    durable: Slot<Durable>,
    ephemeral: Slot<Shelf>,
    ephemeral_lock: Arc<tokio::sync::Mutex<Option<Instant>>>,
    chain: Chain,
    /// Nothing, once this is dropped.
    jobs: Option<mpsc::Sender<Job>>,
    committer: Option<thread::JoinHandle<()>>,
}

impl Drop for Embedded {
    /// The folder is free when this returns.
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(committer) = self.committer.take() {
            let _ = committer.join();
        }
    }
}

impl Embedded {
    pub(super) fn open(path: &Path, mut chain: Chain) -> Result<Self, StoreError> {
        // Records name no person, and still are nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        let paths = Paths::of(path);
        let (durable, guard) = paths.open_durable(&chain)?;
        let ephemeral = paths.open_ephemeral()?;
        chain.resume(durable.audit.get(HEAD)?.as_deref())?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let (durable, ephemeral): (Slot<Durable>, Slot<Shelf>) =
            (Arc::new(RwLock::new(Some(durable))), Arc::new(RwLock::new(Some(ephemeral))));
        let committer =
            Committer { paths: paths.clone(), slot: Arc::clone(&durable), guard, chain: chain.clone(), broken: None };
        let committer = thread::Builder::new().name("durable-commit".to_owned()).spawn(move || {
            let ended = panic::catch_unwind(AssertUnwindSafe(|| committer.run(queue)));
            ended.unwrap_or_else(|_| give_up("the committer of the durable store panicked"));
        })?;
        let (jobs, committer) = (Some(jobs), Some(committer));
        Ok(Self { paths, durable, ephemeral, ephemeral_lock: Arc::default(), chain, jobs, committer })
    }

    /// Begins the mark anew after a loss that an operator accepted; the last group that was acknowledged. A copy is made first: the
    /// engine cuts what it cannot read.
    pub(super) fn accept_loss(path: &Path, chain: &Chain) -> Result<u64, StoreError> {
        let paths = Paths::of(path);
        copy_folder(&paths.durable, &paths.durable.with_extension("before-loss"))?;
        let durable = paths.open_unguarded(chain)?;
        let last = Guard::accept(&paths.mark, chain.key.clone(), &paths.durable, &durable.keyspaces())?;
        durable.shelf.database.persist(PersistMode::SyncAll)?;
        Ok(last)
    }

    pub(super) fn get(&self, class: Class, key: &Key, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        match class {
            Class::Durable => opened(&self.durable).as_ref().ok_or_else(closed)?.shelf.get(key, now),
            Class::Ephemeral => opened(&self.ephemeral).as_ref().ok_or_else(closed)?.get(key, now),
        }
    }

    pub(super) fn list(
        &self,
        table: &'static str,
        after: Option<&Key>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        let from = after.map_or_else(|| format!("{table}/"), |after| format!("{}\0", after.as_str()));
        let durable = opened(&self.durable);
        let shelf = &durable.as_ref().ok_or_else(closed)?.shelf;
        for entry in shelf.records.range(from.as_bytes()..format!("{table}0").as_bytes()) {
            let (key, stored) = entry.into_inner()?;
            let Ok(key) = String::from_utf8(key.to_vec()) else { continue };
            if let Some(value) = live(&stored, now) {
                found.push((Key(key), value));
            }
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }

    pub(super) async fn commit(&self, class: Class, batch: Batch, now: Timestamp) -> Result<(), StoreError> {
        match class {
            Class::Durable => {
                let (done, outcome) = oneshot::channel();
                self.ask(Job::Commit(Commit { batch, now, done }), outcome).await
            }
            Class::Ephemeral => {
                let mut broken = self.ephemeral_lock.lock().await;
                let written = self.commit_ephemeral(&batch, now);
                if matches!(written, Err(StoreError::Unavailable(_))) {
                    self.mend_ephemeral(&mut broken);
                }
                written
            }
        }
    }

    fn commit_ephemeral(&self, batch: &Batch, now: Timestamp) -> Result<(), StoreError> {
        let slot = opened(&self.ephemeral);
        let shelf = slot.as_ref().ok_or_else(closed)?;
        let mut into = shelf.database.batch();
        shelf.stage(batch, &mut Overlay::new(), &mut into, now)?;
        into.commit()?;
        shelf.make_room(&[&shelf.records, &shelf.expiry])
    }

    /// Opens the ephemeral class again, once in a while; `broken` says when that was tried last.
    fn mend_ephemeral(&self, broken: &mut Option<Instant>) {
        if broken.is_some_and(|at| at.elapsed() < AGAIN) {
            return;
        }
        *broken = Some(Instant::now());
        if let Err(error) = self.paths.disk_takes_writes() {
            return tracing::error!(%error, "the disk of the store takes no writes");
        }
        let failed = self.ephemeral.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(failed);
        match self.paths.open_ephemeral() {
            Ok(shelf) => {
                *self.ephemeral.write().unwrap_or_else(PoisonError::into_inner) = Some(shelf);
                tracing::warn!("the ephemeral store failed, and was opened again");
            }
            Err(error) => tracing::error!(%error, "the ephemeral store cannot be opened again"),
        }
    }

    pub(super) async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        let (done, outcome) = oneshot::channel();
        let durable = self.ask(Job::Sweep(now, done), outcome).await?;
        let (lock, ephemeral) = (Arc::clone(&self.ephemeral_lock), Arc::clone(&self.ephemeral));
        let swept = tokio::task::spawn_blocking(move || {
            // Not before there is a thread for it.
            let _writing = lock.blocking_lock();
            opened(&ephemeral).as_ref().ok_or_else(closed)?.sweep(now)
        });
        Ok(durable + swept.await.map_err(|error| StoreError::Unavailable(error.to_string()))??)
    }

    /// Hands a job to the committer and waits for its answer.
    async fn ask<T>(&self, job: Job, outcome: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("the committer has stopped".to_owned());
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// The newest records of every node, newest first, up to `limit` of each.
    pub(super) fn newest_records(&self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut records = Vec::new();
        let slot = opened(&self.durable);
        let durable = slot.as_ref().ok_or_else(closed)?;
        for name in durable.shelf.database.list_keyspace_names() {
            let Some(node) = name.strip_prefix("audit-") else { continue };
            let keyspace = self.chain_of(durable, node, &name)?;
            let snapshot = durable.shelf.database.snapshot();
            for entry in snapshot.range(&keyspace, ..HEAD).rev().take(limit) {
                records.push(entry.value()?.to_vec());
            }
        }
        Ok(records)
    }

    /// The keyspace of one node's chain.
    fn chain_of(&self, durable: &Durable, node: &str, name: &str) -> Result<Keyspace, StoreError> {
        if *node == *self.chain.node {
            return Ok(durable.audit.clone());
        }
        Ok(durable.shelf.database.keyspace(name, keyspace)?)
    }

    /// Follows every chain, as they are now, in a thread of its own and record by record: they may be long.
    pub(super) async fn verify_audit(&self) -> Result<Vec<AuditReport>, StoreError> {
        let (database, keyspaces) = {
            let slot = opened(&self.durable);
            let durable = slot.as_ref().ok_or_else(closed)?;
            let names = durable.shelf.database.list_keyspace_names();
            let named = names.iter().filter_map(|name| Some((name.strip_prefix("audit-")?.to_owned(), name)));
            let opened = named.map(|(node, name)| Ok((self.chain_of(durable, &node, name)?, node)));
            (durable.shelf.database.clone(), opened.collect::<Result<Vec<_>, StoreError>>()?)
        };
        let own = self.chain.clone();
        let followed = tokio::task::spawn_blocking(move || {
            let followed = keyspaces.into_iter().map(|(keyspace, node)| {
                let chain = Chain { node, ..own.clone() };
                let (snapshot, mut follower) = (database.snapshot(), Follower::new(&chain));
                for entry in snapshot.range(&keyspace, ..HEAD) {
                    if !follower.follow(&entry.value()?) {
                        break;
                    }
                }
                Ok(follower.report(snapshot.get(&keyspace, HEAD)?.as_deref()))
            });
            followed.collect()
        });
        followed.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}

#[cfg(test)]
#[path = "embedded/tests.rs"]
mod tests;
