//! The one writer of the durable class: a thread that takes every batch that waits and pays one disk barrier for all.

use std::sync::PoisonError;
use std::time::Instant;

use fjall::PersistMode;
use gateway_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::super::{Batch, Chain, StoreError, give_up};
use super::guard::Guard;
use super::shelf::Overlay;
use super::{AGAIN, Durable, HEAD, Job, Paths, Slot, closed, opened};

/// The most batches that share one disk barrier.
const GROUP: usize = 512;

pub(super) struct Commit {
    pub(super) batch: Batch,
    pub(super) now: Timestamp,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

/// The one writer of the durable class.
pub(super) struct Committer {
    pub(super) paths: Paths,
    pub(super) slot: Slot<Durable>,
    pub(super) guard: Guard,
    pub(super) chain: Chain,
    /// When the engine failed, or was last tried in vain.
    pub(super) broken: Option<Instant>,
}

impl Committer {
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Commit(commit) => group.push(commit),
                    Job::Sweep(now, done) => {
                        self.settle(std::mem::take(&mut group));
                        let _ = done.send(self.swept(now));
                    }
                }
                next = if group.len() < GROUP { queue.try_recv().ok() } else { None };
            }
            self.settle(group);
        }
    }

    fn swept(&self, now: Timestamp) -> Result<usize, StoreError> {
        let slot = opened(&self.slot);
        let durable = slot.as_ref().ok_or_else(closed)?;
        durable.shelf.sweep(now)
    }

    /// Applies a group under one barrier, and only then answers anybody.
    fn settle(&mut self, mut group: Vec<Commit>) {
        // Nobody waits any more for what waited too long: it is not done behind its caller's back.
        group.retain(|job| !job.done.is_closed());
        if group.is_empty() {
            return;
        }
        let settled = self.mended().and_then(|()| self.write(&group));
        if let Err(StoreError::Unavailable(_)) = &settled {
            self.broken = self.broken.or_else(|| Some(Instant::now()));
        }
        let outcomes = settled.unwrap_or_else(|error| vec![Err(error); group.len()]);
        for (job, outcome) in group.into_iter().zip(outcomes) {
            let _ = job.done.send(outcome);
        }
    }

    /// The outcome of each batch of a group, once it is on disk.
    fn write(&mut self, group: &[Commit]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let slot = opened(&self.slot);
        let durable = slot.as_ref().ok_or_else(closed)?;
        let mut chain = self.chain.clone();
        let mut into = durable.shelf.database.batch();
        let mut overlay = Overlay::new();
        let stage = |job: &Commit| -> Result<(), StoreError> {
            durable.shelf.stage(&job.batch, &mut overlay, &mut into, job.now)?;
            for event in &job.batch.events {
                let (sequence, bytes) = chain.link(job.now, event)?;
                durable.shelf.note(bytes.len());
                into.insert(&durable.audit, sequence.to_be_bytes(), bytes);
            }
            Ok(())
        };
        let outcomes: Vec<_> = group.iter().map(stage).collect();
        into.insert(&durable.audit, HEAD, chain.stored_head()?);
        self.guard.stage(&mut into, &durable.keyspaces());
        into.commit()?;
        durable.shelf.database.persist(PersistMode::SyncData)?;
        self.guard.passed()?;
        // Only now: of a group that failed nobody was told, and the chain goes on from the last that is stored.
        self.chain = chain;
        // Behind the barrier: no table holds what its journal does not.
        durable.shelf.make_room(&durable.keyspaces())?;
        Ok(outcomes)
    }

    /// Sees to it that the engine takes writes, where it failed before.
    fn mended(&mut self) -> Result<(), StoreError> {
        let Some(at) = self.broken else { return Ok(()) };
        if at.elapsed() < AGAIN {
            return Err(StoreError::Unavailable("the embedded store failed a moment ago".to_owned()));
        }
        self.broken = Some(Instant::now());
        self.paths.disk_takes_writes()?;
        // Whoever reads meanwhile is told so, and does not wait.
        let failed = self.slot.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(failed);
        let (durable, guard) = match self.paths.open_durable(&self.chain) {
            Ok(opened) => opened,
            Err(StoreError::Lost(what)) => give_up(&format!("acknowledged records are gone: {what}")),
            Err(error) => return Err(error),
        };
        self.chain.resume(durable.audit.get(HEAD)?.as_deref())?;
        self.guard = guard;
        *self.slot.write().unwrap_or_else(PoisonError::into_inner) = Some(durable);
        self.broken = None;
        tracing::warn!("the durable store failed, and was opened again");
        Ok(())
    }
}
