//! What happens while PostgreSQL or Redis is slow, gone or of another mind, and that it works again by itself afterwards.

use std::process::Command;
use std::time::Duration;

use gateway::config::StoreConfig;
use gateway::store::{Batch, Class, Key, Store, StoreError, Write};
use gateway_core::time::Timestamp;
use integration_tests::servers::{Running, postgres, postgres_address, redis};

use crate::cluster::engine;

const NOW: Timestamp = Timestamp(1_800_000_000);
/// Longer than any call may take: beyond it something hangs.
const HANGS: Duration = Duration::from_secs(20);
/// Longer than it may take until a server that is back is used again.
const HEALS: Duration = Duration::from_secs(30);

async fn store(postgres: &Running, redis: &Running) -> Store {
    let config = StoreConfig { node: "node-1".to_owned(), engine: engine(postgres, redis) };
    Store::open(&config, b"audit".to_vec()).await.unwrap()
}

async fn write(store: &Store, class: Class, id: &str) -> Result<(), StoreError> {
    let batch = Batch::of(Write::Put(Key::new("test", id), b"value".to_vec(), Some(Timestamp(NOW.0 + 600))));
    tokio::time::timeout(HANGS, store.commit(class, batch, NOW)).await.unwrap_or_else(|_| panic!("writing hangs"))
}

async fn read(store: &Store, class: Class, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
    tokio::time::timeout(HANGS, store.get(class, &Key::new("test", id), NOW))
        .await
        .unwrap_or_else(|_| panic!("reading hangs"))
}

/// Until the store says by itself that a class can, or cannot, be written.
async fn says(store: &Store, class: Class, writable: bool) {
    let said = async {
        while store.is_writable(class) != writable {
            store.probe(NOW).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(HEALS, said).await.unwrap_or_else(|_| panic!("{class:?} is never said to be {writable}"));
}

/// PostgreSQL that stood still for half a minute held up everybody for as long, and Redis likewise.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stands_still_is_not_waited_for_and_used_again_when_it_goes_on() {
    let (postgres, redis) = (postgres().await, redis().await);
    let store = store(&postgres, &redis).await;
    for (server, class, other) in
        [(&postgres, Class::Durable, Class::Ephemeral), (&redis, Class::Ephemeral, Class::Durable)]
    {
        write(&store, class, "before").await.unwrap();
        server.pause();
        let (written, found) = (write(&store, class, "meanwhile").await, read(&store, class, "before").await);
        assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
        assert!(matches!(found, Err(StoreError::Unavailable(_))), "{found:?}");
        assert!(store.failed_lately());
        says(&store, class, false).await;
        write(&store, other, "the other goes on").await.unwrap();
        server.resume();
        says(&store, class, true).await;
        write(&store, class, "after").await.unwrap();
        assert!(read(&store, class, "before").await.unwrap().is_some());
    }
}

/// What PostgreSQL itself says was hidden behind "db error".
#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_takes_no_writes_is_named_in_its_own_words_and_used_again() {
    let (postgres, redis) = (postgres().await, redis().await);
    let store = store(&postgres, &redis).await;
    write(&store, Class::Durable, "before").await.unwrap();
    let (client, connection) =
        tokio_postgres::connect(&postgres_address(&postgres), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let refused = async {
        loop {
            if let Err(error) = write(&store, Class::Durable, "meanwhile").await {
                return error.to_string();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let refused = tokio::time::timeout(HEALS, refused).await.unwrap();
    assert!(refused.contains("read-only transaction"), "{refused}");
    assert!(read(&store, Class::Durable, "before").await.unwrap().is_some(), "reading goes on");
    says(&store, Class::Durable, false).await;
    client.batch_execute("ALTER SYSTEM RESET default_transaction_read_only").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    says(&store, Class::Durable, true).await;
    write(&store, Class::Durable, "after").await.unwrap();
}

/// A Redis without memory, and one that is a replica after a failover, refuse writes and go on answering.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_no_writes_is_noticed_and_used_again() {
    let (postgres, redis) = (postgres().await, redis().await);
    let store = store(&postgres, &redis).await;
    let tell = |words: &str| {
        let port = redis.port.to_string();
        let told = Command::new("redis-cli").args(["-p", &port]).args(words.split(' ')).output().unwrap();
        assert!(String::from_utf8_lossy(&told.stdout).contains("OK"), "{told:?}");
    };
    for (breaks, heals) in
        [("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"), ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE")]
    {
        write(&store, Class::Ephemeral, "before").await.unwrap();
        tell(breaks);
        let written = write(&store, Class::Ephemeral, "meanwhile").await;
        assert!(matches!(written, Err(StoreError::Unavailable(_))), "{breaks}: {written:?}");
        says(&store, Class::Ephemeral, false).await;
        tell(heals);
        says(&store, Class::Ephemeral, true).await;
        write(&store, Class::Ephemeral, "after").await.unwrap();
    }
}

/// Starting in vain named no server.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_its_servers_names_them() {
    let (postgres, redis) = (postgres().await, redis().await);
    let config = StoreConfig { node: "node-1".to_owned(), engine: engine(&postgres, &redis) };
    drop(redis);
    let opened = tokio::time::timeout(HANGS, Store::open(&config, b"audit".to_vec())).await.expect("it hangs");
    let said = opened.err().unwrap().to_string();
    assert!(said.contains("Redis"), "{said}");
    drop(postgres);
    let opened = tokio::time::timeout(HANGS, Store::open(&config, b"audit".to_vec())).await.expect("it hangs");
    let said = opened.err().unwrap().to_string();
    assert!(said.contains("PostgreSQL"), "{said}");
}
