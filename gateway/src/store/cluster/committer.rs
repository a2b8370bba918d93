//! The one task of a node that writes the durable class in PostgreSQL.

use std::collections::HashSet;

use deadpool_postgres::Pool;
use gateway_core::time::Timestamp;
use tokio::sync::mpsc;
use tokio_postgres::Transaction;

use super::super::{Batch, Chain, Key, StoreError, Write};
use super::{Job, LIMIT, late, seconds};

/// The most batches that share one transaction.
const GROUP: usize = 256;

/// Claims keys: a row that is there and alive is left as it is and not returned.
const CLAIM: &str = "
INSERT INTO gateway_records AS r (key, value, expires_at)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS t (key, value, expires_at) ORDER BY key
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at
WHERE r.expires_at <= $4 RETURNING key";

const UPSERT: &str = "
INSERT INTO gateway_records (key, value, expires_at)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::bigint[]) AS t (key, value, expires_at) ORDER BY key
ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";

/// Columns of a multi-row statement.
#[derive(Default)]
struct Rows<'a> {
    keys: Vec<&'a str>,
    values: Vec<&'a [u8]>,
    expiries: Vec<Option<i64>>,
}

impl<'a> Rows<'a> {
    fn push(&mut self, key: &'a Key, value: &'a [u8], expires: Option<Timestamp>) {
        self.keys.push(key.as_str());
        self.values.push(value);
        self.expiries.push(expires.map(seconds));
    }
}

/// The one writer of this node.
pub(super) struct Committer {
    pub(super) pool: Pool,
    pub(super) chain: Chain,
}

impl Committer {
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.recv().await {
            let mut group = vec![first];
            while group.len() < GROUP {
                let Ok(job) = queue.try_recv() else { break };
                group.push(job);
            }
            let outcomes = self.settled(&mut group).await.unwrap_or_else(|error| vec![Err(error); group.len()]);
            for (job, outcome) in group.into_iter().zip(outcomes) {
                let _ = job.done.send(outcome);
            }
        }
    }

    async fn settled(&mut self, group: &mut Vec<Job>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let mut connection = self.pool.get().await?;
        // Nobody waits any more for what waited too long: it is not done behind its caller's back.
        group.retain(|job| !job.done.is_closed());
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let settled = tokio::time::timeout(LIMIT, self.settle(&mut connection, group)).await;
        let settled = settled.unwrap_or_else(|_| Err(late("PostgreSQL")));
        if settled.is_err() {
            // After a failover they may all lead to a server that can only be read: the next ones are made anew.
            drop(deadpool_postgres::Object::take(connection));
            self.pool.retain(|_, _| false);
        }
        settled
    }

    /// Settles a group in one transaction; nobody is answered before it is committed.
    async fn settle(
        &mut self,
        connection: &mut deadpool_postgres::Client,
        group: &[Job],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let transaction = connection.transaction().await?;
        let accepted = claim(&transaction, group).await?;
        let passed: Vec<&Job> =
            group.iter().zip(&accepted).filter(|(_, accepted)| **accepted).map(|(job, _)| job).collect();
        write(&transaction, &passed).await?;
        self.record(&transaction, &passed).await?;
        transaction.commit().await?;
        Ok(accepted.into_iter().map(|accepted| if accepted { Ok(()) } else { Err(StoreError::Conflict) }).collect())
    }

    async fn record(&mut self, transaction: &Transaction<'_>, jobs: &[&Job]) -> Result<(), StoreError> {
        if jobs.iter().all(|job| job.batch.events.is_empty()) {
            return Ok(());
        }
        // The head is read anew each time, under a lock: a commit whose outcome nobody knows, or a second process of the
        // same name, can then neither fork the chain nor stop it.
        let head = "SELECT head FROM gateway_audit_heads WHERE node = $1 FOR UPDATE";
        let stored = transaction.query_opt(head, &[&self.chain.node]).await?;
        self.chain.resume(stored.map(|row| row.get::<_, Vec<u8>>(0)).as_deref())?;
        let (mut places, mut records) = (Vec::new(), Vec::new());
        for job in jobs {
            for event in &job.batch.events {
                let (place, bytes) = self.chain.link(job.now, event)?;
                places.push(i64::try_from(place).unwrap_or(i64::MAX));
                records.push(bytes);
            }
        }
        let insert = "INSERT INTO gateway_audit (node, sequence, record)
                      SELECT $1, * FROM unnest($2::bigint[], $3::bytea[])";
        transaction.execute(insert, &[&self.chain.node, &places, &records]).await?;
        let head = "INSERT INTO gateway_audit_heads (node, head) VALUES ($1, $2)
                    ON CONFLICT (node) DO UPDATE SET head = excluded.head";
        transaction.execute(head, &[&self.chain.node, &self.chain.stored_head()?]).await?;
        Ok(())
    }
}

/// Which batches may go on: those whose every inserted key was theirs to take. A batch that got only some of its keys gives
/// them back. So a batch may also be refused for a key that another of its group wanted and then gave back: whoever is
/// refused looks before it believes that the key is there.
async fn claim(transaction: &Transaction<'_>, group: &[Job]) -> Result<Vec<bool>, StoreError> {
    let mut accepted = vec![true; group.len()];
    let mut claimed: HashSet<&Key> = HashSet::new();
    let mut rows = Rows::default();
    let mut latest = Timestamp(0);
    for (job, accepted) in group.iter().zip(&mut accepted) {
        latest = latest.max(job.now);
        let inserts: Vec<_> = inserts(&job.batch).collect();
        if inserts.iter().any(|(key, ..)| claimed.contains(key)) {
            *accepted = false;
            continue;
        }
        for (key, value, expires) in inserts {
            claimed.insert(key);
            rows.push(key, value, expires);
        }
    }
    if rows.keys.is_empty() {
        return Ok(accepted);
    }
    let won = transaction.query(CLAIM, &[&rows.keys, &rows.values, &rows.expiries, &seconds(latest)]).await?;
    let won: HashSet<String> = won.into_iter().map(|row| row.get(0)).collect();
    let mut give_back = Vec::new();
    for (job, accepted) in group.iter().zip(&mut accepted).filter(|(_, accepted)| **accepted) {
        if inserts(&job.batch).all(|(key, ..)| won.contains(key.as_str())) {
            continue;
        }
        *accepted = false;
        give_back.extend(inserts(&job.batch).map(|(key, ..)| key.as_str()).filter(|key| won.contains(*key)));
    }
    if !give_back.is_empty() {
        transaction.execute("DELETE FROM gateway_records WHERE key = ANY($1)", &[&give_back]).await?;
    }
    Ok(accepted)
}

fn inserts(batch: &Batch) -> impl Iterator<Item = (&Key, &[u8], Option<Timestamp>)> {
    batch.writes.iter().filter_map(|write| match write {
        Write::Insert(key, value, expires) => Some((key, value.as_slice(), *expires)),
        Write::Put(..) | Write::Delete(_) => None,
    })
}

/// Makes the remaining changes of the accepted batches; of several for one key the last one holds.
async fn write(transaction: &Transaction<'_>, jobs: &[&Job]) -> Result<(), StoreError> {
    let mut seen: HashSet<&Key> = HashSet::new();
    let (mut rows, mut deleted) = (Rows::default(), Vec::new());
    for change in jobs.iter().rev().flat_map(|job| job.batch.writes.iter().rev()) {
        match change {
            Write::Put(key, value, expires) if seen.insert(key) => rows.push(key, value, *expires),
            Write::Delete(key) if seen.insert(key) => deleted.push(key.as_str()),
            // Inserted already; what an earlier batch of the group did to the key came before it.
            Write::Insert(key, ..) => drop(seen.insert(key)),
            Write::Put(..) | Write::Delete(_) => {}
        }
    }
    if !rows.keys.is_empty() {
        transaction.execute(UPSERT, &[&rows.keys, &rows.values, &rows.expiries]).await?;
    }
    if !deleted.is_empty() {
        transaction.execute("DELETE FROM gateway_records WHERE key = ANY($1)", &[&deleted]).await?;
    }
    Ok(())
}
