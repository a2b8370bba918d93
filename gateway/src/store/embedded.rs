//! The embedded engine: fjall for both classes, in two databases of their own.
//!
//! The durable class has one committer thread. It takes every batch that waits, checks and applies them in order, links
//! their audit events, and pays one disk barrier for all (group commit). The ephemeral class is written without a
//! barrier under a short lock. Reads go straight to the engine: what a login reads was written seconds ago and is in
//! memory.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable as _};
use gateway_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{AuditReport, Batch, Chain, Class, Key, StoreError, Write, live, pack, verify_chain};

/// The most batches that share one disk barrier.
const GROUP: usize = 512;
/// The most batches that wait; beyond it a commit waits to be let in.
const QUEUE: usize = 8_192;
/// The most that a keyspace holds in memory before it goes to disk, in bytes. A login's records are read within minutes.
const MEMTABLE: u64 = 32 * 1024 * 1024;
/// The key under which a chain's head is stored, in the audit keyspace after all records.
const HEAD: &[u8] = b"head";

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// How each keyspace is made.
fn keyspace() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE)
}

/// One database with its records, and an index of them by expiry so that sweeping costs what it frees.
#[derive(Clone)]
struct Shelf {
    database: Database,
    records: Keyspace,
    expiry: Keyspace,
}

/// What is about to be written, over what is stored.
type Overlay = HashMap<Key, Option<Vec<u8>>>;

impl Shelf {
    fn open(path: &Path) -> Result<Self, StoreError> {
        let database = Database::builder(path).worker_threads(1).open()?;
        let records = database.keyspace("records", keyspace)?;
        let expiry = database.keyspace("expiry", keyspace)?;
        Ok(Self { database, records, expiry })
    }

    fn get(&self, key: &Key, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.get(key.as_str())?.and_then(|stored| live(&stored, now)))
    }

    /// Checks a batch against the store and the overlay; adds it to both overlay and `into`, or changes nothing.
    fn stage(
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
                    if let Some(expires) = expires {
                        into.insert(&self.expiry, index_key(*expires, key), "");
                    }
                    into.insert(&self.records, key.as_str(), stored.clone());
                    overlay.insert(key.clone(), Some(stored));
                }
                Write::Delete(key) => {
                    into.remove(&self.records, key.as_str());
                    overlay.insert(key.clone(), None);
                }
            }
        }
        Ok(())
    }

    /// Looks at up to a thousand entries that are due and removes what expired; how many it looked at.
    fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        let mut batch = self.database.batch();
        let mut due = 0;
        for entry in self.expiry.range(..index_prefix(now.plus(std::time::Duration::from_secs(1)))).take(1_000) {
            let index = entry.key()?;
            let Some(key) = index.get(8..) else { continue };
            // A record written again meanwhile lives on under its later entry.
            if self.records.get(key)?.is_some_and(|stored| live(&stored, now).is_none()) {
                batch.remove(&self.records, key);
            }
            due += 1;
            batch.remove(&self.expiry, index);
        }
        batch.commit()?;
        Ok(due)
    }
}

fn index_prefix(expires: Timestamp) -> Vec<u8> {
    expires.0.to_be_bytes().to_vec()
}

fn index_key(expires: Timestamp, key: &Key) -> Vec<u8> {
    [&expires.0.to_be_bytes(), key.as_str().as_bytes()].concat()
}

struct Commit {
    batch: Batch,
    now: Timestamp,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// What the committer does. Sweeping is its work too: a record must not be swept while it is written again.
enum Job {
    Commit(Commit),
    Sweep(Timestamp, oneshot::Sender<Result<usize, StoreError>>),
}

/// The embedded engine.
pub(super) struct Embedded {
    durable: Shelf,
    ephemeral: Shelf,
    ephemeral_lock: Arc<tokio::sync::Mutex<()>>,
    audit: Keyspace,
    chain: Chain,
    jobs: mpsc::Sender<Job>,
}

impl Embedded {
    pub(super) fn open(path: &Path, mut chain: Chain) -> Result<Self, StoreError> {
        std::fs::create_dir_all(path).map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let durable = Shelf::open(&path.join("durable"))?;
        let ephemeral = Shelf::open(&path.join("ephemeral"))?;
        let audit = durable.database.keyspace(&format!("audit-{}", chain.node), keyspace)?;
        chain.resume(audit.get(HEAD)?.as_deref())?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let committer = Committer { shelf: durable.clone(), audit: audit.clone(), chain: chain.clone() };
        thread::Builder::new()
            .name("durable-commit".to_owned())
            .spawn(move || committer.run(queue))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { durable, ephemeral, ephemeral_lock: Arc::default(), audit, chain, jobs })
    }

    fn shelf(&self, class: Class) -> &Shelf {
        match class {
            Class::Durable => &self.durable,
            Class::Ephemeral => &self.ephemeral,
        }
    }

    pub(super) fn get(&self, class: Class, key: &Key, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        self.shelf(class).get(key, now)
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
        for entry in self.durable.records.range(from.as_bytes()..format!("{table}0").as_bytes()) {
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
                let _guard = self.ephemeral_lock.lock().await;
                let mut into = self.ephemeral.database.batch();
                self.ephemeral.stage(&batch, &mut Overlay::new(), &mut into, now)?;
                Ok(into.commit()?)
            }
        }
    }

    pub(super) async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        let (done, outcome) = oneshot::channel();
        let durable = self.ask(Job::Sweep(now, done), outcome).await?;
        let guard = Arc::clone(&self.ephemeral_lock).lock_owned().await;
        let ephemeral = self.ephemeral.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let swept = ephemeral.sweep(now);
            drop(guard);
            swept
        });
        Ok(durable + swept.await.map_err(|error| StoreError::Unavailable(error.to_string()))??)
    }

    /// Hands a job to the committer and waits for its answer.
    async fn ask<T>(&self, job: Job, outcome: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("the committer has stopped".to_owned());
        self.jobs.send(job).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    /// The newest records of every node, newest first, up to `limit` of each.
    pub(super) fn newest_records(&self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut records = Vec::new();
        for name in self.durable.database.list_keyspace_names() {
            let Some(node) = name.strip_prefix("audit-") else { continue };
            let keyspace = self.chain_of(node, &name)?;
            let snapshot = self.durable.database.snapshot();
            for entry in snapshot.range(&keyspace, ..HEAD).rev().take(limit) {
                records.push(entry.value()?.to_vec());
            }
        }
        Ok(records)
    }

    /// The keyspace of one node's chain.
    fn chain_of(&self, node: &str, name: &str) -> Result<Keyspace, StoreError> {
        if *node == *self.chain.node {
            return Ok(self.audit.clone());
        }
        Ok(self.durable.database.keyspace(name, keyspace)?)
    }

    pub(super) fn verify_audit(&self) -> Result<Vec<AuditReport>, StoreError> {
        let mut reports = Vec::new();
        for name in self.durable.database.list_keyspace_names() {
            let Some(node) = name.strip_prefix("audit-") else { continue };
            let keyspace = self.chain_of(node, &name)?;
            let chain = Chain { node: node.to_owned(), ..self.chain.clone() };
            let snapshot = self.durable.database.snapshot();
            let head = snapshot.get(&keyspace, HEAD)?;
            let records = snapshot.range(&keyspace, ..HEAD).map(|entry| entry.value().map(|value| value.to_vec()));
            let records: Result<Vec<_>, _> = records.collect();
            reports.push(verify_chain(&chain, records?.into_iter(), head.as_deref()));
        }
        Ok(reports)
    }
}

/// The one writer of the durable class.
struct Committer {
    shelf: Shelf,
    audit: Keyspace,
    chain: Chain,
}

impl Committer {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Commit(commit) => group.push(commit),
                    Job::Sweep(now, done) => {
                        self.settle(std::mem::take(&mut group));
                        let _ = done.send(self.shelf.sweep(now));
                    }
                }
                next = if group.len() < GROUP { queue.try_recv().ok() } else { None };
            }
            self.settle(group);
        }
    }

    /// Applies a group under one barrier, and only then answers anybody.
    fn settle(&mut self, mut group: Vec<Commit>) {
        // Nobody waits any more for what waited too long: it is not done behind its caller's back.
        group.retain(|job| !job.done.is_closed());
        if group.is_empty() {
            return;
        }
        let before = self.chain.clone();
        let mut into = self.shelf.database.batch();
        let mut overlay = Overlay::new();
        let outcomes: Vec<_> = group.iter().map(|job| self.stage(job, &mut overlay, &mut into)).collect();
        let written = self.write(into);
        if written.is_err() {
            // Nobody was told of these records: the chain goes on from the last that is stored.
            self.chain = before;
        }
        for (job, outcome) in group.into_iter().zip(outcomes) {
            let outcome = if outcome.is_ok() { written.clone() } else { outcome };
            let _ = job.done.send(outcome);
        }
    }

    fn stage(&mut self, job: &Commit, overlay: &mut Overlay, into: &mut OwnedWriteBatch) -> Result<(), StoreError> {
        self.shelf.stage(&job.batch, overlay, into, job.now)?;
        for event in &job.batch.events {
            let (sequence, bytes) = self.chain.link(job.now, event)?;
            into.insert(&self.audit, sequence.to_be_bytes(), bytes);
        }
        Ok(())
    }

    fn write(&self, mut into: OwnedWriteBatch) -> Result<(), StoreError> {
        into.insert(&self.audit, HEAD, self.chain.stored_head()?);
        into.commit()?;
        self.shelf.database.persist(PersistMode::SyncData)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::super::{Store, StoreError};
    use crate::config::{Engine, StoreConfig};

    async fn open(path: &std::path::Path) -> Result<Store, StoreError> {
        let engine = Engine::Embedded(path.to_owned());
        Store::open(&StoreConfig { node: "node-1".into(), engine }, b"audit".to_vec()).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_embedded_engine_keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await.unwrap();
        conformance::run(std::sync::Arc::new(store)).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_committed_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        conformance::write_before_restart(&open(folder.path()).await.unwrap()).await;
        let store = loop {
            // The committer lets go of the folder a moment after the store is dropped.
            match open(folder.path()).await {
                Ok(store) => break store,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        conformance::read_after_restart(&store).await;
    }
}
