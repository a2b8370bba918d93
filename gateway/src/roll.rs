//! The roll of the clients that registered themselves: a list of changes in the durable store that all nodes follow, so that
//! each has all of them at hand.
//!
//! A change is one insert under the next number, with the client's whole record; of what it takes the place of, a mark stays for
//! a day, so the list is as long as there are clients. A client that is gone leaves a mark for as long as any node could be
//! behind. Records rest sealed: whoever can write to the store cannot register anybody.

use std::collections::BTreeMap;
use std::time::Duration;

use gateway_core::audit::{Event, RegistrationChange};
use gateway_core::digest::sha256;
use gateway_core::ids::{ClientId, base64url};
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, Store, StoreError, Write};

/// The list.
const ROLL: &str = "roll";
/// How many changes are read at a time.
const PAGE: usize = 500;
/// How long a node could be behind another.
const BEHIND: Duration = Duration::from_secs(86_400);
/// How long it is remembered that a client is gone.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// Why the roll cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The store. [`StoreError::Conflict`] when another change came first.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A record is not one of ours.
    #[error("a record of the roll is not one of ours: {0}")]
    Foreign(#[from] serde_json::Error),
}

/// A client that registered itself, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What it registered.
    pub metadata: Map<String, Value>,
    /// The digest of its secret, if it has one.
    pub secret: Option<String>,
    /// The digest of the token with which it changes its registration (RFC 7592 section 3).
    pub registration_access_token: String,
    /// When it registered.
    pub issued_at: Timestamp,
    /// Since when what it registers now is as it is.
    pub changed_at: Timestamp,
    /// Whether it passed its check list as it is now.
    pub live: bool,
    /// The federation's word for it, where it joined by one.
    #[serde(default)]
    pub vouched: Option<Vouched>,
}

/// What a federation says of a client besides its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouched {
    /// Until when it says anything.
    pub expires_at: Timestamp,
    /// The types of the marks that the client may show.
    pub trust_marks: Vec<String>,
    /// The version of whom we believed in that federation.
    pub anchor: String,
}

impl Record {
    /// What the audit says of its metadata.
    #[must_use]
    pub fn digest(&self) -> String {
        base64url(&sha256(Value::Object(self.metadata.clone()).to_string().as_bytes()))
    }
}

/// Changes that somebody has not taken in yet.
pub struct News(Vec<(u64, Option<Change>)>);

impl News {
    /// True when there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
struct Change {
    client: ClientId,
    /// Nothing, when it is gone.
    record: Option<Record>,
    made_at: Timestamp,
}

/// The roll, as far as it was followed.
#[derive(Debug, Clone, Default)]
pub struct Roll {
    last: u64,
    records: BTreeMap<ClientId, (u64, Record)>,
    gone: BTreeMap<u64, Timestamp>,
}

impl Roll {
    /// A client's record.
    #[must_use]
    pub fn get(&self, client: &ClientId) -> Option<&Record> {
        self.records.get(client).map(|(_, record)| record)
    }

    /// Every client, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&ClientId, &Record)> {
        self.records.iter().map(|(client, (_, record))| (client, record))
    }

    /// What came after, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn news(&self, store: &Store, seals: &Seals, now: Timestamp) -> Result<News, StoreError> {
        let (mut after, mut news) = (self.last, News(Vec::new()));
        loop {
            let page = store.list(ROLL, Some(&place(after)), PAGE, now).await?;
            for (key, sealed) in &page {
                let Ok(at) = key.id().parse() else { continue };
                after = at;
                // Whoever an unreadable record is about is not known here, and nobody else is kept out.
                let change = open(seals, key, sealed);
                let change =
                    change.inspect_err(|error| tracing::error!(at, %error, "a record of the roll cannot be read"));
                news.0.push((at, change.ok()));
            }
            if page.len() < PAGE {
                return Ok(news);
            }
        }
    }

    /// Takes in what came after.
    pub fn take_in(&mut self, news: News) {
        for (at, change) in news.0 {
            self.last = self.last.max(at);
            if let Some(change) = change {
                self.take(at, change);
            }
        }
    }

    fn take(&mut self, at: u64, Change { client, record, made_at }: Change) {
        match record {
            Some(record) => drop(self.records.insert(client, (at, record))),
            None => {
                self.records.remove(&client);
                self.gone.retain(|_, gone_at| gone_at.age(made_at) <= REMEMBERED);
                self.gone.insert(at, made_at);
            }
        }
    }

    /// Enters a client's record, or that it is gone, after all that was taken in; `by` says who did, if not the client itself.
    ///
    /// # Errors
    /// [`RollError`]; with [`StoreError::Conflict`] somebody else entered something first, and nothing was written.
    pub async fn enter(
        &self,
        store: &Store,
        seals: &Seals,
        (client, record): (&ClientId, Option<&Record>),
        (change, by): (RegistrationChange, &str),
        now: Timestamp,
    ) -> Result<(), RollError> {
        let sealed = |key: &Key, record: Option<&Record>| {
            let entry = Change { client: client.clone(), record: record.cloned(), made_at: now };
            Ok::<_, RollError>(seals.at_rest(key.as_str(), &serde_json::to_vec(&entry)?)?)
        };
        let key = place(self.last + 1);
        let sealed_entry = sealed(&key, record)?;
        let mut batch = Batch::of(Write::Insert(key, sealed_entry, None)).recording(Event::Registration {
            client: client.clone(),
            change,
            by: by.to_owned(),
            metadata: record.map(Record::digest).unwrap_or_default(),
        });
        // A number stays taken for as long as anybody could be behind: under a number that was given back, a change would pass
        // unseen by whoever knows a greater one.
        if let Some((at, _)) = self.records.get(client) {
            let before = place(*at);
            let mark = sealed(&before, None)?;
            batch.writes.push(Write::Put(before, mark, Some(now.plus(BEHIND))));
        }
        let forgotten = self.gone.iter().filter(|(_, at)| at.age(now) > REMEMBERED);
        batch.writes.extend(forgotten.map(|(at, _)| Write::Delete(place(*at))));
        store.commit(Class::Durable, batch, now).await?;
        Ok(())
    }
}

fn open(seals: &Seals, key: &Key, sealed: &[u8]) -> Result<Change, RollError> {
    Ok(serde_json::from_slice(&seals.open_at_rest(key.as_str(), sealed)?)?)
}

fn place(number: u64) -> Key {
    Key::new(ROLL, &format!("{number:020}"))
}

#[cfg(test)]
mod tests {
    use certs::vault::Vault;

    use super::*;
    use crate::config::{Engine, StoreConfig};

    async fn store(folder: &std::path::Path) -> (Store, Seals) {
        let config = StoreConfig { node: "n".into(), engine: Engine::Embedded(folder.join("store")) };
        (Store::open(&config, b"audit".to_vec()).await.unwrap(), Seals::new(Vault::new([1; 32])))
    }

    fn record(live: bool) -> Record {
        let (metadata, secret, token) = (Map::new(), None, String::new());
        let now = Timestamp(1);
        Record {
            metadata,
            secret,
            registration_access_token: token,
            issued_at: now,
            changed_at: now,
            live,
            vouched: None,
        }
    }

    async fn follow(roll: &mut Roll, store: &Store, seals: &Seals, now: Timestamp) {
        let news = roll.news(store, seals, now).await.unwrap();
        roll.take_in(news);
    }

    const NOW: Timestamp = Timestamp(1_000_000);
    const REGISTERED: (RegistrationChange, &str) = (RegistrationChange::Registered, "");

    /// Whoever is behind finds the number taken, however often it was written over meanwhile: a change that others would never see
    /// is not made.
    #[tokio::test]
    async fn no_number_is_given_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (store, seals) = store(folder.path()).await;
        let (one, other): (ClientId, ClientId) = ("d~1".parse().unwrap(), "d~2".parse().unwrap());
        let (mut ahead, mut behind) = (Roll::default(), Roll::default());
        for client in [&one, &other] {
            ahead.enter(&store, &seals, (client, Some(&record(false))), REGISTERED, NOW).await.unwrap();
            follow(&mut ahead, &store, &seals, NOW).await;
        }
        follow(&mut behind, &store, &seals, NOW).await;
        for live in [true, false] {
            ahead.enter(&store, &seals, (&one, Some(&record(live))), REGISTERED, NOW).await.unwrap();
            follow(&mut ahead, &store, &seals, NOW).await;
        }
        let removed = behind.enter(&store, &seals, (&other, None), (RegistrationChange::Removed, ""), NOW).await;
        assert!(matches!(removed, Err(RollError::Store(StoreError::Conflict))), "{removed:?}");
        follow(&mut behind, &store, &seals, NOW).await;
        behind.enter(&store, &seals, (&other, None), (RegistrationChange::Removed, ""), NOW).await.unwrap();
        // Everybody sees the same, whoever begins now included, today and in two months.
        for now in [NOW, NOW.plus(2 * BEHIND), NOW.plus(2 * REMEMBERED)] {
            let mut fresh = Roll::default();
            for roll in [&mut ahead, &mut behind, &mut fresh] {
                follow(roll, &store, &seals, now).await;
                assert_eq!((roll.get(&one), roll.get(&other)), (Some(&record(false)), None));
            }
        }
    }

    /// The list stays as long as there are clients, and marks of those that are gone do not pile up.
    #[tokio::test]
    async fn the_list_does_not_grow_with_its_history() {
        let folder = tempfile::tempdir().unwrap();
        let (store, seals) = store(folder.path()).await;
        let (mut roll, mut now) = (Roll::default(), NOW);
        for round in 0..40 {
            let client: ClientId = format!("d~{round}").parse().unwrap();
            for entry in [Some(&record(false)), Some(&record(true)), None] {
                roll.enter(&store, &seals, (&client, entry), REGISTERED, now).await.unwrap();
                follow(&mut roll, &store, &seals, now).await;
            }
            now = now.plus(REMEMBERED / 4);
        }
        let left = store.list(ROLL, None, 1_000, now).await.unwrap();
        assert!(left.len() <= 6 && roll.gone.len() <= 6, "{} {}", left.len(), roll.gone.len());
    }
}
