//! The cluster engine: PostgreSQL (or anything that speaks its wire) for the durable class, Redis or Valkey for the
//! ephemeral.
//!
//! Each node has one committer task that settles waiting batches in one transaction, so that many logins share one
//! commit. Between nodes the unique key decides: an insert that another node won finds its row and is refused. The audit
//! chain belongs to the node, so no node waits for another's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use gateway_core::time::Timestamp;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::NoTls;

mod committer;

use committer::Committer;

use super::follower::Follower;
use super::{AuditReport, Batch, Chain, Class, Key, StoreError, Write, give_up, live, pack};

/// The most batches that wait.
const QUEUE: usize = 8_192;
/// How many audit records are read at a time.
const PAGE: i64 = 1_000;
/// The most connections one node opens.
const CONNECTIONS: usize = 8;

/// The longest that one call waits for a server. A connection on which it passed is given up: what is asked next is not asked
/// behind it.
const LIMIT: Duration = Duration::from_secs(2);
/// How often a connection is made anew, at most.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a server's host may be silent before the system gives a connection up.
const SILENT: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS gateway_records (
    key text COLLATE \"C\" PRIMARY KEY, value bytea NOT NULL, expires_at bigint);
CREATE INDEX IF NOT EXISTS gateway_records_expiry ON gateway_records (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS gateway_audit (
    node text NOT NULL, sequence bigint NOT NULL, record bytea NOT NULL, PRIMARY KEY (node, sequence));
CREATE TABLE IF NOT EXISTS gateway_audit_heads (node text PRIMARY KEY, head bytea NOT NULL);
";

/// One atomic step in Redis: every key to insert must be absent; then everything is written.
/// ARGV: the number of keys to insert (which come first), the time in seconds, then a value and a life in milliseconds
/// for each key; a life of -1 deletes, 0 never ends. A value begins with the time at which it ends.
const REDIS_COMMIT: &str = r"
local inserts, now = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 1, inserts do
  local stored = redis.call('GET', KEYS[i])
  if stored then
    local ends = struct.unpack('>I8', stored)
    if ends == 0 or ends > now then return 0 end
  end
end
for i = 1, #KEYS do
  local life = tonumber(ARGV[2 * i + 2])
  if life == -1 then redis.call('DEL', KEYS[i])
  elseif life == 0 then redis.call('SET', KEYS[i], ARGV[2 * i + 1])
  else redis.call('SET', KEYS[i], ARGV[2 * i + 1], 'PX', life) end
end
return 1
";

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        // Its own text is "db error": the server's words are below.
        match error.as_db_error() {
            Some(said) => Self::Unavailable(format!("PostgreSQL: {} ({})", said.message(), said.code().code())),
            None => Self::Unavailable(format!("PostgreSQL: {}", chain(&error))),
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => error.into(),
            error => Self::Unavailable(format!("PostgreSQL: {}", chain(&error))),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn late(server: &str) -> StoreError {
    StoreError::Unavailable(format!("{server} did not answer in time"))
}

impl From<redis::RedisError> for StoreError {
    fn from(error: redis::RedisError) -> Self {
        Self::Unavailable(format!("Redis: {error}"))
    }
}

struct Job {
    batch: Batch,
    now: Timestamp,
    done: oneshot::Sender<Result<(), StoreError>>,
}

/// The cluster engine.
pub(super) struct Cluster {
    postgres: Pool,
    redis: Redis,
    script: redis::Script,
    chain: Chain,
    jobs: mpsc::Sender<Job>,
}

impl Cluster {
    pub(super) async fn open(postgres: &str, redis: &str, mut chain: Chain) -> Result<Self, StoreError> {
        let mut config: tokio_postgres::Config = postgres.parse()?;
        let limits = format!("{} -c statement_timeout={}", config.get_options().unwrap_or_default(), LIMIT.as_millis());
        config.options(limits.trim()).connect_timeout(LIMIT).tcp_user_timeout(SILENT);
        config.keepalives(true).keepalives_idle(SILENT / 2).keepalives_interval(SILENT / 10).keepalives_retries(3);
        let recycle = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config, NoTls, recycle)).max_size(CONNECTIONS);
        let pool = pool.runtime(Runtime::Tokio1).timeouts(Timeouts {
            wait: Some(LIMIT),
            create: Some(LIMIT),
            recycle: Some(LIMIT),
        });
        let pool = pool.build();
        let pool = pool.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let connection = pool.get().await?;
        // Two nodes that start at once would both create the tables: one waits for the other.
        connection.batch_execute(&format!("BEGIN; SELECT pg_advisory_xact_lock(20260101); {SCHEMA} COMMIT;")).await?;
        let head = connection.query_opt("SELECT head FROM gateway_audit_heads WHERE node = $1", &[&chain.node]).await?;
        chain.resume(head.map(|row| row.get::<_, Vec<u8>>(0)).as_deref())?;
        let redis = Redis::open(redis).await?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        let committer = tokio::spawn(Committer { pool: pool.clone(), chain: chain.clone() }.run(queue));
        tokio::spawn(async move {
            if committer.await.is_err_and(|error| error.is_panic()) {
                give_up("the committer of the durable store panicked");
            }
        });
        Ok(Self { postgres: pool, redis, script: redis::Script::new(REDIS_COMMIT), chain, jobs })
    }

    pub(super) async fn get(&self, class: Class, key: &Key, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        match class {
            Class::Durable => {
                let row = within_limit(&self.postgres, async |connection| {
                    let statement = connection
                        .prepare_cached(
                            "SELECT value FROM gateway_records
                             WHERE key = $1 AND (expires_at IS NULL OR expires_at > $2)",
                        )
                        .await?;
                    Ok(connection.query_opt(&statement, &[&key.as_str(), &seconds(now)]).await?)
                });
                Ok(row.await?.map(|row| row.get(0)))
            }
            Class::Ephemeral => {
                let name = redis_key(key);
                let stored: Option<Vec<u8>> = self
                    .redis
                    .ask(async |mut connection| redis::cmd("GET").arg(&name).query_async(&mut connection).await)
                    .await?;
                Ok(stored.and_then(|stored| live(&stored, now)))
            }
        }
    }

    pub(super) async fn list(
        &self,
        table: &'static str,
        after: Option<&Key>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let (from, to) =
            (after.map_or_else(|| format!("{table}/"), |key| key.as_str().to_owned()), format!("{table}0"));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = within_limit(&self.postgres, async |connection| {
            Ok(connection
                .query(
                    "SELECT key, value FROM gateway_records WHERE key > $1 AND key < $2
                     AND (expires_at IS NULL OR expires_at > $3) ORDER BY key LIMIT $4",
                    &[&from, &to, &seconds(now), &limit],
                )
                .await?)
        });
        let rows = rows.await?;
        Ok(rows.into_iter().map(|row| (Key(row.get(0)), row.get(1))).collect())
    }

    pub(super) async fn commit(&self, class: Class, batch: Batch, now: Timestamp) -> Result<(), StoreError> {
        match class {
            Class::Durable => {
                let gone = || StoreError::Unavailable("the committer has stopped".to_owned());
                let (done, outcome) = oneshot::channel();
                self.jobs.send(Job { batch, now, done }).await.map_err(|_| gone())?;
                outcome.await.map_err(|_| gone())?
            }
            Class::Ephemeral => self.commit_ephemeral(&batch, now).await,
        }
    }

    async fn commit_ephemeral(&self, batch: &Batch, now: Timestamp) -> Result<(), StoreError> {
        let (inserts, others): (Vec<_>, Vec<_>) =
            batch.writes.iter().partition(|write| matches!(write, Write::Insert(..)));
        let mut call = self.script.prepare_invoke();
        call.arg(inserts.len()).arg(now.0);
        for write in inserts.into_iter().chain(others) {
            match write {
                Write::Insert(key, value, expires) | Write::Put(key, value, expires) => {
                    call.key(redis_key(key)).arg(pack(value, *expires)).arg(life(*expires, now));
                }
                Write::Delete(key) => {
                    call.key(redis_key(key)).arg("").arg(-1);
                }
            }
        }
        let done: i64 = self.redis.ask(async |mut connection| call.invoke_async(&mut connection).await).await?;
        if done == 1 { Ok(()) } else { Err(StoreError::Conflict) }
    }

    pub(super) async fn sweep(&self, now: Timestamp) -> Result<usize, StoreError> {
        let freed = within_limit(&self.postgres, async |connection| {
            Ok(connection
                .execute(
                    "DELETE FROM gateway_records WHERE ctid IN
                     (SELECT ctid FROM gateway_records WHERE expires_at <= $1 LIMIT 1000 FOR UPDATE SKIP LOCKED)",
                    &[&seconds(now)],
                )
                .await?)
        });
        let freed = freed.await?;
        Ok(usize::try_from(freed).unwrap_or(usize::MAX))
    }

    /// The newest records of every node, newest first, up to `limit` of each.
    pub(super) async fn newest_records(&self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let connection = self.postgres.get().await?;
        let newest = "SELECT r.record FROM gateway_audit_heads h CROSS JOIN LATERAL
             (SELECT record FROM gateway_audit WHERE node = h.node ORDER BY sequence DESC LIMIT $1) r";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(connection.query(newest, &[&limit]).await?.into_iter().map(|row| row.get(0)).collect())
    }

    pub(super) async fn verify_audit(&self) -> Result<Vec<AuditReport>, StoreError> {
        let nodes = "WITH RECURSIVE nodes AS ((SELECT node FROM gateway_audit ORDER BY node LIMIT 1) UNION ALL
                     SELECT (SELECT node FROM gateway_audit WHERE node > nodes.node ORDER BY node LIMIT 1) FROM nodes
                     WHERE nodes.node IS NOT NULL)
                     SELECT node FROM nodes WHERE node IS NOT NULL UNION SELECT node FROM gateway_audit_heads ORDER BY node";
        let nodes = within_limit(&self.postgres, async |connection| Ok(connection.query(nodes, &[]).await?)).await?;
        let mut reports = Vec::new();
        for row in nodes {
            let chain = Chain { node: row.get(0), ..self.chain.clone() };
            reports.push(self.verify_chain(&chain).await?);
        }
        Ok(reports)
    }

    /// Follows one chain, page by page. Each page is read with the head of its moment, so the last one fits its head, whatever is
    /// written meanwhile.
    async fn verify_chain(&self, chain: &Chain) -> Result<AuditReport, StoreError> {
        let statement = "SELECT (SELECT head FROM gateway_audit_heads WHERE node = $1), page.sequence, page.record
                         FROM (SELECT 1) AS one LEFT JOIN (SELECT sequence, record FROM gateway_audit
                         WHERE node = $1 AND sequence > $2 ORDER BY sequence LIMIT $3) AS page ON true ORDER BY page.sequence";
        let (mut follower, mut after) = (Follower::new(chain), -1_i64);
        loop {
            let rows = within_limit(&self.postgres, async |connection| {
                Ok(connection.query(statement, &[&chain.node, &after, &PAGE]).await?)
            });
            let rows = rows.await?;
            let mut goes_on = i64::try_from(rows.len()) == Ok(PAGE);
            for row in &rows {
                let Some(record) = row.get::<_, Option<Vec<u8>>>(2) else { continue };
                after = row.get(1);
                if !follower.follow(&record) {
                    goes_on = false;
                    break;
                }
            }
            if !goes_on {
                let head = rows.first().and_then(|row| row.get::<_, Option<Vec<u8>>>(0));
                return Ok(follower.report(head.as_deref()));
            }
        }
    }
}

fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn redis_key(key: &Key) -> String {
    format!("gateway:{}", key.as_str())
}

/// What is left of a record's life, in milliseconds; 0 for ever.
fn life(expires: Option<Timestamp>, now: Timestamp) -> u64 {
    expires.map_or(0, |expires| expires.0.saturating_sub(now.0).max(1) * 1_000)
}

/// Works with a connection, no longer than the limit. One on which that passed, or whose server refused, is closed and not used
/// again.
async fn within_limit<T>(
    pool: &Pool,
    work: impl AsyncFnOnce(&deadpool_postgres::Client) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let until = tokio::time::Instant::now() + LIMIT;
    let connection = tokio::time::timeout_at(until, pool.get()).await.map_err(|_| late("PostgreSQL"))??;
    let done = tokio::time::timeout_at(until, work(&connection)).await.unwrap_or_else(|_| Err(late("PostgreSQL")));
    if matches!(done, Err(StoreError::Unavailable(_))) {
        drop(deadpool_postgres::Object::take(connection));
    }
    done
}

/// The connection to Redis. It is made anew after any failure, once a second at most: it may lead to a server that can only be read
/// since a failover, or have been refused when it was last made.
struct Redis {
    client: redis::Client,
    connection: ArcSwap<ConnectionManager>,
    renewed: Mutex<Instant>,
}

impl Redis {
    async fn open(address: &str) -> Result<Self, StoreError> {
        let client = redis::Client::open(address)?;
        let connection = connect(&client).await?;
        Ok(Self { client, connection: ArcSwap::from_pointee(connection), renewed: Mutex::new(Instant::now()) })
    }

    async fn ask<T>(
        &self,
        work: impl AsyncFnOnce(ConnectionManager) -> redis::RedisResult<T>,
    ) -> Result<T, StoreError> {
        let connection = self.connection.load_full();
        let answer = match tokio::time::timeout(LIMIT, work(ConnectionManager::clone(&connection))).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.into(),
            Err(_) => late("Redis"),
        };
        // Whoever finds the old one in its place makes the new one.
        if Arc::ptr_eq(&connection, &self.connection.load_full())
            && self.may_renew()
            && let Ok(Ok(next)) = tokio::time::timeout(LIMIT / 2, connect(&self.client)).await
        {
            self.connection.compare_and_swap(&connection, Arc::new(next));
        }
        Err(answer)
    }

    fn may_renew(&self) -> bool {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let may = renewed.elapsed() > AGAIN;
        if may {
            *renewed = Instant::now();
        }
        may
    }
}

async fn connect(client: &redis::Client) -> redis::RedisResult<ConnectionManager> {
    let limits = ConnectionManagerConfig::new()
        .set_response_timeout(Some(LIMIT))
        .set_connection_timeout(Some(LIMIT / 2))
        .set_number_of_retries(2)
        .set_max_delay(LIMIT / 4);
    ConnectionManager::new_with_config(client.clone(), limits).await
}
