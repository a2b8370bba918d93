//! The storage contract: three verbs over two classes.
//!
//! * **Durable**: clients' consents, links, revocations, keys and the audit chain. A commit that returned is on disk.
//! * **Ephemeral**: codes, tokens, sessions, assertions that wait. May be lost with its engine; a login then starts anew.
//!
//! The verbs are [`Store::get`], [`Store::list`] (durable records only) and [`Store::commit`], which writes a whole
//! batch or nothing. [`Write::Insert`] is the one precondition: *the key is not there*. It is what single use rests
//! on. Expiry is enforced when a record is read; cleaning up only frees space.

mod cluster;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod embedded;
mod follower;
pub mod take;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gateway_core::audit::{Broken, Decision, Event, Head, Origin, Record};
use gateway_core::digest::{keyed, sha256};
use gateway_core::ids::base64url;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Engine, StoreConfig};
use crate::load::Load;

/// A class of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Survives everything that a disk survives.
    Durable,
    /// May be lost.
    Ephemeral,
}

/// The name of a record: a table and an id in it. Tables are name spaces: one flow cannot touch another's records
/// (CVE-2026-4325).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// The record `id` of `table`.
    #[must_use]
    pub fn new(table: &'static str, id: &str) -> Self {
        Self(format!("{table}/{id}"))
    }

    /// The record of a bearer secret: named by its digest, so that reading the store gives nobody a usable secret.
    #[must_use]
    pub fn of_secret(table: &'static str, secret: &str) -> Self {
        Self::new(table, &base64url(&sha256(secret.as_bytes())))
    }

    /// The id within its table.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, id)| id)
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One change.
#[derive(Debug, Clone)]
pub enum Write {
    /// Writes a record that must not be there.
    Insert(Key, Vec<u8>, Option<Timestamp>),
    /// Writes a record whether or not it is there.
    Put(Key, Vec<u8>, Option<Timestamp>),
    /// Removes a record, if it is there.
    Delete(Key),
}

impl Write {
    /// The record it writes.
    #[must_use]
    pub fn key(&self) -> &Key {
        match self {
            Self::Insert(key, ..) | Self::Put(key, ..) | Self::Delete(key) => key,
        }
    }
}

/// Changes that are made together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The changes; no key twice.
    pub writes: Vec<Write>,
    /// Audit events that ride along (durable class only).
    pub events: Vec<Event>,
}

impl Batch {
    /// A batch with one change.
    #[must_use]
    pub fn of(write: Write) -> Self {
        Self { writes: vec![write], events: Vec::new() }
    }

    /// Adds a change.
    #[must_use]
    pub fn and(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Adds an audit event.
    #[must_use]
    pub fn recording(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }
}

/// Why a commit did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A key that had to be absent was there. Nothing was written.
    #[error("the record exists already")]
    Conflict,
    /// The engine failed, in its own words. For a commit it is not known whether it happened.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The store did not come back as it was acknowledged: it is not served from.
    #[error("acknowledged records are gone: {0}")]
    Lost(String),
}

/// A place in a node's audit chain, with the code that only a holder of the master key can make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SignedHead {
    sequence: u64,
    hash: [u8; 32],
    code: [u8; 32],
}

/// One node's audit chain, as it grows.
#[derive(Clone)]
pub(crate) struct Chain {
    node: String,
    key: Vec<u8>,
    head: Head,
}

impl Chain {
    fn code(&self, head: &Head) -> [u8; 32] {
        keyed(&self.key, &[self.node.as_bytes(), &head.sequence.to_be_bytes(), &head.hash])
    }

    /// Takes up the chain where the stored head says it ends.
    fn resume(&mut self, stored: Option<&[u8]>) -> Result<(), StoreError> {
        let Some(stored) = stored else {
            self.head = Head::EMPTY;
            return Ok(());
        };
        self.head =
            self.read_head(stored).ok_or_else(|| StoreError::Unavailable("the audit head is not ours".into()))?;
        Ok(())
    }

    fn read_head(&self, stored: &[u8]) -> Option<Head> {
        let stored: SignedHead = serde_json::from_slice(stored).ok()?;
        let head = Head { sequence: stored.sequence, hash: stored.hash };
        (self.code(&head) == stored.code).then_some(head)
    }

    /// Links one event: its place and its bytes.
    fn link(&mut self, time: Timestamp, event: &Event) -> Result<(u64, Vec<u8>), StoreError> {
        let linked = self.head.link(&self.node, time, event);
        let (bytes, head) = linked.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        self.head = head;
        Ok((self.head.sequence, bytes))
    }

    /// The head as it is stored, beside the records.
    fn stored_head(&self) -> Result<Vec<u8>, StoreError> {
        let head = SignedHead { sequence: self.head.sequence, hash: self.head.hash, code: self.code(&self.head) };
        serde_json::to_vec(&head).map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// What a check of the audit chains found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// The node.
    pub node: String,
    /// How many records verify, from the first.
    pub records: u64,
    /// What is wrong after them, if anything.
    pub broken: Option<Broken>,
}

/// A recorded decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// When it was made.
    pub time: Timestamp,
    /// What was decided, and on what.
    #[serde(flatten)]
    pub decision: Decision,
    /// What went out.
    pub released: Vec<Origin>,
}

/// An open store.
pub struct Store {
    backend: Backend,
    health: Health,
    load: Arc<Load>,
}

enum Backend {
    /// One node.
    Embedded(embedded::Embedded),
    /// Many nodes.
    Cluster(cluster::Cluster),
}

/// The longest that a caller waits for the store: shorter than a person's patience.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a write proves that a class can be written.
const PROVEN: Duration = Duration::from_secs(6);
/// How long a failure explains what fails after it.
const EXPLAINS: Duration = Duration::from_secs(3);

/// When each class was last written, and when the store last failed.
struct Health {
    written: [Mutex<Option<Instant>>; 2],
    commits: AtomicU64,
    failed: Mutex<Option<Instant>>,
}

impl Health {
    fn new() -> Self {
        Self { written: Default::default(), commits: AtomicU64::new(0), failed: Mutex::default() }
    }

    fn written(&self, class: Class) -> &Mutex<Option<Instant>> {
        let [durable, ephemeral] = &self.written;
        if class == Class::Durable { durable } else { ephemeral }
    }
}

fn within(moment: &Mutex<Option<Instant>>, span: Duration) -> bool {
    moment.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < span)
}

fn set(moment: &Mutex<Option<Instant>>) {
    *moment.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

impl Store {
    /// Opens the configured engine. `audit_key` marks the heads of the audit chains as ours.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn open(config: &StoreConfig, audit_key: Vec<u8>) -> Result<Self, StoreError> {
        let chain = Chain { node: config.node.clone(), key: audit_key, head: Head::EMPTY };
        let backend = match &config.engine {
            Engine::Embedded(path) => Backend::Embedded(embedded::Embedded::open(path, chain)?),
            Engine::Cluster { postgres, redis } => {
                Backend::Cluster(cluster::Cluster::open(postgres, redis, chain).await?)
            }
        };
        Ok(Self { backend, health: Health::new(), load: Arc::default() })
    }

    /// The delay that work meets in this process.
    #[must_use]
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Begins anew with what an embedded store still has, after it lost records that were acknowledged. `by` says who decides;
    /// it is recorded.
    ///
    /// # Errors
    /// [`StoreError`]; a cluster keeps no mark of its own.
    pub async fn accept_loss(
        config: &StoreConfig,
        audit_key: Vec<u8>,
        by: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Engine::Embedded(path) = &config.engine else {
            return Err(StoreError::Unavailable("only an embedded store keeps a mark".to_owned()));
        };
        let chain = Chain { node: config.node.clone(), key: audit_key.clone(), head: Head::EMPTY };
        let group = embedded::Embedded::accept_loss(path, &chain)?;
        let store = Self::open(config, audit_key).await?;
        let event = Event::StoreLossAccepted { group, by: by.to_owned() };
        store.commit(Class::Durable, Batch::default().recording(event), now).await
    }

    /// Whether other nodes work on the same records.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.backend, Backend::Cluster(_))
    }

    /// Whether a class was written successfully a moment ago.
    #[must_use]
    pub fn is_writable(&self, class: Class) -> bool {
        within(self.health.written(class), PROVEN)
    }

    /// Whether the store failed a moment ago: what fails now may fail because of that.
    #[must_use]
    pub fn failed_lately(&self) -> bool {
        within(&self.health.failed, EXPLAINS)
    }

    /// Writes to the classes that nobody else has written lately, so that it is known whether they can be.
    pub async fn probe(&self, now: Timestamp) {
        for class in [Class::Durable, Class::Ephemeral] {
            if within(self.health.written(class), PROVEN / 3) {
                continue;
            }
            let record = Write::Put(Key::new("health", "probe"), Vec::new(), Some(now.plus(Duration::from_secs(60))));
            if let Err(error) = self.write(class, Batch::of(record), now).await {
                tracing::error!(?class, %error, "the store cannot be written");
            }
        }
    }

    fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(result, Err(StoreError::Unavailable(_))) {
            set(&self.health.failed);
        }
        result
    }

    /// A record that has not expired.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn get(&self, class: Class, key: &Key, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        self.noted(match &self.backend {
            Backend::Embedded(engine) => engine.get(class, key, now),
            Backend::Cluster(engine) => engine.get(class, key, now).await,
        })
    }

    /// Up to `limit` durable records of one table, in key order, after `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list(
        &self,
        table: &'static str,
        after: Option<&Key>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        self.noted(match &self.backend {
            Backend::Embedded(engine) => engine.list(table, after, limit, now),
            Backend::Cluster(engine) => engine.list(table, after, limit, now).await,
        })
    }

    /// Makes all changes of a batch, or none. A durable commit is on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when an inserted key was there; [`StoreError::Unavailable`].
    pub async fn commit(&self, class: Class, batch: Batch, now: Timestamp) -> Result<(), StoreError> {
        self.health.commits.fetch_add(1, Ordering::Relaxed);
        self.write(class, batch, now).await
    }

    /// How many commits were asked for, whatever came of them.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.health.commits.load(Ordering::Relaxed)
    }

    async fn write(&self, class: Class, batch: Batch, now: Timestamp) -> Result<(), StoreError> {
        let committed = async {
            match &self.backend {
                Backend::Embedded(engine) => engine.commit(class, batch, now).await,
                Backend::Cluster(engine) => engine.commit(class, batch, now).await,
            }
        };
        let late = || Err(StoreError::Unavailable("it did not answer in time".to_owned()));
        let began = Instant::now();
        let outcome = tokio::time::timeout(PATIENCE, committed).await.unwrap_or_else(|_| late());
        if class == Class::Durable {
            self.load.store_took(began.elapsed());
        }
        if outcome.is_ok() {
            set(self.health.written(class));
        }
        self.noted(outcome)
    }

    /// Frees the space of one portion of the records that expired; 0 when none is left. Correctness never depends on it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        match &self.backend {
            Backend::Embedded(engine) => engine.sweep(now).await,
            Backend::Cluster(engine) => engine.sweep(now).await,
        }
    }

    /// The newest records of every node's audit chain that can be read, up to `last` of each.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn newest_records(&self, last: usize) -> Result<Vec<Record>, StoreError> {
        let records = match &self.backend {
            Backend::Embedded(engine) => engine.newest_records(last)?,
            Backend::Cluster(engine) => engine.newest_records(last).await?,
        };
        Ok(records.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect())
    }

    /// Up to `last` recorded decisions of all nodes, newest first. Records of other kinds lie between them, so of very long
    /// runs without a decision not everything is looked at.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn decisions(&self, last: usize) -> Result<Vec<Recorded>, StoreError> {
        let looked_at = last.saturating_mul(4).saturating_add(1_000);
        let records = self.newest_records(looked_at).await?.into_iter();
        let decision = |record: Record| match record.event {
            Event::CodeIssued(facts) => {
                Some(Recorded { time: record.time, decision: facts.decision, released: facts.released })
            }
            Event::SignInRefused(facts) => {
                Some(Recorded { time: record.time, decision: facts.decision, released: Vec::new() })
            }
            Event::TokenExchanged(facts) => {
                Some(Recorded { time: record.time, decision: facts.decision, released: Vec::new() })
            }
            _ => None,
        };
        let mut decisions: Vec<Recorded> = records.filter_map(decision).collect();
        decisions.sort_by_key(|recorded| std::cmp::Reverse(recorded.time));
        decisions.truncate(last);
        Ok(decisions)
    }

    /// Follows every node's audit chain from its first record to its head.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the records cannot be read at all.
    pub async fn verify_audit(&self) -> Result<Vec<AuditReport>, StoreError> {
        match &self.backend {
            Backend::Embedded(engine) => engine.verify_audit().await,
            Backend::Cluster(engine) => engine.verify_audit().await,
        }
    }
}

/// A value as engines without an expiry column keep it: when it ends (seconds, big-endian, 0 for never), then the value.
/// Redis forgets by its own clock as well; ours is the one that counts, so that expiry means the same everywhere.
fn pack(value: &[u8], expires: Option<Timestamp>) -> Vec<u8> {
    [&expires.map_or(0, |expires| expires.0).to_be_bytes(), value].concat()
}

/// The value, unless it has expired.
fn live(stored: &[u8], now: Timestamp) -> Option<Vec<u8>> {
    let (expires, value) = stored.split_first_chunk::<8>()?;
    let expires = Timestamp(u64::from_be_bytes(*expires));
    (expires.0 == 0 || !expires.is_past(now)).then(|| value.to_vec())
}

/// How long audit records and receipts are kept: three years (PIPL article 56).
pub const RETENTION: Duration = Duration::from_secs(3 * 366 * 86_400);

/// Ends the process: what happened cannot heal here.
fn give_up(why: &str) -> ! {
    tracing::error!("{why}");
    // The log is written by a thread of its own.
    std::thread::sleep(Duration::from_millis(500));
    std::process::exit(1)
}
