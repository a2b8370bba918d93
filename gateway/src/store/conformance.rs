//! One suite for every engine: what the contract promises, concurrency included. Panics where it does not hold.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test suite panics where it fails"
)]

use std::sync::Arc;

use gateway_core::audit::Event;
use gateway_core::time::Timestamp;

use super::{Batch, Class, Key, Store, StoreError, Write};

const NOW: Timestamp = Timestamp(1_800_000_000);

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds)
}

fn event(grant: &str) -> Event {
    Event::CodeRedeemed { grant: grant.to_owned(), client: "portal".parse().unwrap() }
}

/// Runs the whole suite against an empty store.
pub async fn run(store: Arc<Store>) {
    for class in [Class::Durable, Class::Ephemeral] {
        basics(&store, class).await;
        expiry(&store, class).await;
        all_or_nothing(&store, class).await;
        parallel_takes(&store, class).await;
    }
    listing(&store).await;
    audit_rides_along(&store).await;
    sweeping(&store).await;
}

async fn put(store: &Store, class: Class, key: &Key, value: &str, expires: Option<Timestamp>) {
    let write = Write::Put(key.clone(), value.as_bytes().to_vec(), expires);
    store.commit(class, Batch::of(write), NOW).await.unwrap();
}

async fn value(store: &Store, class: Class, key: &Key, now: Timestamp) -> Option<String> {
    store.get(class, key, now).await.unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

async fn basics(store: &Store, class: Class) {
    let key = Key::new("basic", "a");
    assert_eq!(value(store, class, &key, NOW).await, None);
    put(store, class, &key, "one", None).await;
    assert_eq!(value(store, class, &key, NOW).await.as_deref(), Some("one"));
    put(store, class, &key, "two", None).await;
    assert_eq!(value(store, class, &key, NOW).await.as_deref(), Some("two"));
    assert_eq!(value(store, class, &Key::new("other", "a"), NOW).await, None, "tables are name spaces");
    store.commit(class, Batch::of(Write::Delete(key.clone())), NOW).await.unwrap();
    assert_eq!(value(store, class, &key, NOW).await, None);
    store.commit(class, Batch::of(Write::Delete(key)), NOW).await.unwrap();
    let other = match class {
        Class::Durable => Class::Ephemeral,
        Class::Ephemeral => Class::Durable,
    };
    let mine = Key::new("basic", &format!("{class:?}"));
    put(store, class, &mine, "x", None).await;
    assert_eq!(value(store, other, &mine, NOW).await, None, "classes are apart");
}

async fn expiry(store: &Store, class: Class) {
    let key = Key::new("expiry", "a");
    put(store, class, &key, "short", Some(later(60))).await;
    assert_eq!(value(store, class, &key, later(59)).await.as_deref(), Some("short"));
    assert_eq!(value(store, class, &key, later(60)).await, None, "expired is gone before any sweep");
    let insert = Batch::of(Write::Insert(key.clone(), b"again".to_vec(), None));
    assert_eq!(store.commit(class, insert.clone(), later(59)).await, Err(StoreError::Conflict));
    assert_eq!(store.commit(class, insert, later(60)).await, Ok(()), "an expired record is absent");
    assert_eq!(value(store, class, &key, later(9_999)).await.as_deref(), Some("again"));
}

async fn all_or_nothing(store: &Store, class: Class) {
    let (taken, fresh) = (Key::new("atomic", "taken"), Key::new("atomic", "fresh"));
    put(store, class, &taken, "first", None).await;
    let batch = Batch::of(Write::Put(fresh.clone(), b"x".to_vec(), None)).and(Write::Insert(
        taken.clone(),
        b"second".to_vec(),
        None,
    ));
    assert_eq!(store.commit(class, batch, NOW).await, Err(StoreError::Conflict));
    assert_eq!(value(store, class, &fresh, NOW).await, None);
    assert_eq!(value(store, class, &taken, NOW).await.as_deref(), Some("first"));
}

/// A hundred tasks insert each of twenty keys: each key is won exactly once, and by the one whose value is stored.
async fn parallel_takes(store: &Arc<Store>, class: Class) {
    let mut tasks = Vec::new();
    for task in 0..100 {
        let store = Arc::clone(store);
        tasks.push(tokio::spawn(async move {
            let mut won = Vec::new();
            for id in 0..20 {
                let key = Key::new("take", &id.to_string());
                let batch = Batch::of(Write::Insert(key, task.to_string().into_bytes(), None));
                match store.commit(class, batch, NOW).await {
                    Ok(()) => won.push((id, task)),
                    Err(StoreError::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            won
        }));
    }
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 20, "each key is taken once");
    for (id, task) in winners {
        assert_eq!(value(store, class, &Key::new("take", &id.to_string()), NOW).await, Some(task.to_string()));
    }
}

async fn listing(store: &Store) {
    for id in ["a", "b", "c", "d"] {
        let expires = (id == "b").then(|| later(10));
        put(store, Class::Durable, &Key::new("list", id), id, expires).await;
    }
    put(store, Class::Durable, &Key::new("listing", "z"), "z", None).await;
    let page = |after: Option<Key>, limit, now| async move {
        let found = store.list("list", after.as_ref(), limit, now).await.unwrap();
        found.into_iter().map(|(_, value)| String::from_utf8(value).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2, NOW).await, ["a", "b"]);
    assert_eq!(page(Some(Key::new("list", "b")), 9, NOW).await, ["c", "d"]);
    assert_eq!(page(None, 9, later(10)).await, ["a", "c", "d"]);
}

async fn audit_rides_along(store: &Arc<Store>) {
    let records = |reports: Vec<super::AuditReport>| -> u64 { reports.iter().map(|report| report.records).sum() };
    let before = records(store.verify_audit().await.unwrap());
    let tasks: Vec<_> = (0..50)
        .map(|id| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let key = Key::new("audited", &(id / 2).to_string());
                let batch = Batch::of(Write::Insert(key, vec![], None)).recording(event(&id.to_string()));
                store.commit(Class::Durable, batch, NOW).await.is_ok()
            })
        })
        .collect();
    let mut committed = 0;
    for task in tasks {
        committed += u64::from(task.await.unwrap());
    }
    assert_eq!(committed, 25);
    let reports = store.verify_audit().await.unwrap();
    assert!(reports.iter().all(|report| report.broken.is_none()), "{reports:?}");
    assert_eq!(records(reports) - before, 25, "a refused batch leaves no record, an accepted one exactly one");
}

async fn sweeping(store: &Store) {
    for class in [Class::Durable, Class::Ephemeral] {
        put(store, class, &Key::new("sweep", "short"), "x", Some(later(5))).await;
        put(store, class, &Key::new("sweep", "renewed"), "x", Some(later(5))).await;
        put(store, class, &Key::new("sweep", "renewed"), "y", Some(later(5_000))).await;
    }
    while store.sweep(later(10)).await.unwrap() > 0 {}
    // A store that forgets by itself, like Redis, does so by its own clock: only the durable class can be asked.
    assert_eq!(value(store, Class::Durable, &Key::new("sweep", "short"), NOW).await, None, "swept");
    for class in [Class::Durable, Class::Ephemeral] {
        assert_eq!(value(store, class, &Key::new("sweep", "short"), later(10)).await, None);
        assert_eq!(value(store, class, &Key::new("sweep", "renewed"), later(20)).await.as_deref(), Some("y"));
    }
}

/// Writes what [`read_after_restart`] expects.
pub async fn write_before_restart(store: &Store) {
    for id in 0..10 {
        let key = Key::new("restart", &id.to_string());
        let batch = Batch::of(Write::Insert(key, b"kept".to_vec(), None)).recording(event(&id.to_string()));
        store.commit(Class::Durable, batch, NOW).await.unwrap();
    }
}

/// Checks that a store opened again has everything, and that its audit chain goes on.
pub async fn read_after_restart(store: &Store) {
    for id in 0..10 {
        assert_eq!(
            value(store, Class::Durable, &Key::new("restart", &id.to_string()), NOW).await.as_deref(),
            Some("kept")
        );
    }
    let batch = Batch::default().recording(event("after"));
    store.commit(Class::Durable, batch, NOW).await.unwrap();
    let reports = store.verify_audit().await.unwrap();
    assert_eq!(reports.len(), 1);
    assert!(reports.iter().all(|report| report.broken.is_none() && report.records == 11), "{reports:?}");
}
