//! The roll of the clients that registered themselves: a list of changes in the durable store that all nodes follow, so that
//! each has all of them at hand.
//!
//! A change is one insert under the next number, with the client's whole record; what it takes the place of is deleted with
//! it, so the list is as long as there are clients. A client that is gone leaves a mark for as long as any node could be
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
}

impl Record {
    /// What the audit says of its metadata.
    #[must_use]
    pub fn digest(&self) -> String {
        base64url(&sha256(Value::Object(self.metadata.clone()).to_string().as_bytes()))
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

    /// Takes in what came after, in order. True when something did.
    ///
    /// # Errors
    /// [`StoreError`]; what was read before stays taken in.
    pub async fn follow(&mut self, store: &Store, seals: &Seals, now: Timestamp) -> Result<bool, StoreError> {
        let before = self.last;
        loop {
            let page = store.list(ROLL, Some(&place(self.last)), PAGE, now).await?;
            for (key, sealed) in &page {
                let Ok(at) = key.id().parse() else { continue };
                self.last = at;
                match open(seals, key, sealed) {
                    Ok(change) => self.take_in(at, change),
                    // Whoever it is about is not known here, and nobody else is kept out.
                    Err(error) => tracing::error!(at, %error, "a record of the roll cannot be read"),
                }
            }
            if page.len() < PAGE {
                return Ok(self.last != before);
            }
        }
    }

    fn take_in(&mut self, at: u64, Change { client, record, made_at }: Change) {
        match record {
            Some(record) => drop(self.records.insert(client, (at, record))),
            None => {
                self.records.remove(&client);
                self.gone.insert(at, made_at);
            }
        }
    }

    /// Enters a client's record, or that it is gone, after all that was taken in.
    ///
    /// # Errors
    /// [`RollError`]; with [`StoreError::Conflict`] somebody else entered something first, and nothing was written.
    pub async fn enter(
        &self,
        store: &Store,
        seals: &Seals,
        (client, record): (&ClientId, Option<&Record>),
        change: RegistrationChange,
        now: Timestamp,
    ) -> Result<(), RollError> {
        let key = place(self.last + 1);
        let entry = Change { client: client.clone(), record: record.cloned(), made_at: now };
        let sealed = seals.at_rest(key.as_str(), &serde_json::to_vec(&entry)?)?;
        let mut batch = Batch::of(Write::Insert(key, sealed, None)).recording(Event::Registration {
            client: client.clone(),
            change,
            metadata: record.map(Record::digest).unwrap_or_default(),
        });
        // No number is given twice: the greatest is never among those that go.
        let superseded = self.records.get(client).map(|(at, _)| *at);
        let forgotten = self.gone.iter().filter(|(_, at)| at.age(now) > REMEMBERED).map(|(at, _)| *at);
        batch.writes.extend(superseded.into_iter().chain(forgotten).map(|at| Write::Delete(place(at))));
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
