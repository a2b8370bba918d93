//! Receipts: what people agreed to, where they can see it, and how they take it back.
//!
//! An answer is kept under its own id for as long as the law wants it, and, while it serves without asking again, under the
//! name of what it answers. Each person has a list of their own, under a keyed name. Taking an answer back removes what
//! serves, and leaves a mark that stops every token that rests on it at once.

use std::collections::HashSet;

use gateway_core::audit::Event;
use gateway_core::consent::Receipt;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, base64url};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, RETENTION, Store, StoreError, Write};

const RECEIPT: &str = "receipt";
/// Persons' lists.
const LIST: &str = "receipts";
/// Answers that were taken back.
const WITHDRAWN: &str = "withdrawn";
/// How many are read at a time.
const PAGE: usize = 100;

/// One line of a person's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// What was put to them and what they said.
    pub receipt: Receipt,
    /// The name under which the answer serves without asking again.
    remembered: String,
}

/// Why a receipt cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A record does not say what it should.
    #[error("a stored receipt cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// The receipts, over one store. Records are sealed and bound to their place: whoever can write to the store cannot make
/// somebody agree, and whoever can read it does not learn which matters are one person's.
pub struct Receipts<'a> {
    store: &'a Store,
    seals: &'a Seals,
    key: &'a Secret<Vec<u8>>,
}

impl<'a> Receipts<'a> {
    /// The receipts in `store`, listed under `key`.
    #[must_use]
    pub fn new(store: &'a Store, seals: &'a Seals, key: &'a Secret<Vec<u8>>) -> Self {
        Self { store, seals, key }
    }

    /// The answer that serves under this name, if there is one.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub async fn remembered(&self, name: &Key, now: Timestamp) -> Result<Option<Receipt>, ReceiptError> {
        let Some(sealed) = self.store.get(Class::Durable, name, now).await? else { return Ok(None) };
        Ok(Some(self.open(name, &sealed)?))
    }

    /// The writes that keep an answer: for good, for serving again as `remembered`, and in the person's list.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn given(
        &self,
        receipt: &Receipt,
        remembered: Key,
        person: &PersonId,
        now: Timestamp,
    ) -> Result<Vec<Write>, ReceiptError> {
        let kept = Some(now.plus(RETENTION));
        let line = Line { receipt: receipt.clone(), remembered: remembered.id().to_owned() };
        let (own, place) = (Key::new(RECEIPT, &receipt.id), self.place(person, receipt));
        let (serving, for_good, listed) =
            (self.seal(&remembered, receipt)?, self.seal(&own, receipt)?, self.seal(&place, &line)?);
        Ok(vec![
            Write::Put(remembered, serving, kept),
            Write::Insert(own, for_good, kept),
            Write::Put(place, listed, kept),
        ])
    }

    /// A person's answers, newest first: the latest to each question, whether it serves or was taken back.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub async fn of(&self, person: &PersonId, now: Timestamp) -> Result<Vec<Line>, ReceiptError> {
        let mut seen = HashSet::new();
        let mut lines = self.all(person, now).await?;
        lines.retain(|line| seen.insert(line.remembered.clone()));
        Ok(lines)
    }

    async fn all(&self, person: &PersonId, now: Timestamp) -> Result<Vec<Line>, ReceiptError> {
        let owner = format!("{}/", self.owner(person));
        let mut after = Key::new(LIST, &owner);
        let mut lines = Vec::new();
        loop {
            let page = self.store.list(LIST, Some(&after), PAGE, now).await?;
            let own: Vec<_> = page.iter().take_while(|(key, _)| key.id().starts_with(&owner)).collect();
            for (key, sealed) in &own {
                lines.push(self.open(key, sealed)?);
            }
            match own.last() {
                Some((key, _)) if own.len() == PAGE => after = key.clone(),
                _ => return Ok(lines),
            }
        }
    }

    /// Takes an answer of this person back; nothing, when it is not theirs or taken back already.
    ///
    /// # Errors
    /// [`ReceiptError`]; a `Conflict` of the store when it was taken back at the same moment.
    pub async fn withdraw(&self, person: &PersonId, id: &str, now: Timestamp) -> Result<Option<Receipt>, ReceiptError> {
        let lines = self.all(person, now).await?;
        let standing = |line: &&Line| line.receipt.withdrawn_at.is_none();
        let Some(found) = lines.iter().filter(standing).find(|line| line.receipt.id == id) else { return Ok(None) };
        let mut batch = Batch::of(Write::Delete(Key::new("consent", &found.remembered)));
        let kept = Some(now.plus(RETENTION));
        // Whoever takes an answer back takes back every answer to the same question.
        for line in lines.iter().filter(standing).filter(|line| line.remembered == found.remembered) {
            let mut line = line.clone();
            line.receipt.withdrawn_at = Some(now);
            let receipt = &line.receipt;
            let (own, place) = (Key::new(RECEIPT, &receipt.id), self.place(person, receipt));
            let (for_good, listed) = (self.seal(&own, receipt)?, self.seal(&place, &line)?);
            batch = batch
                .and(Write::Insert(Key::new(WITHDRAWN, &receipt.id), Vec::new(), kept))
                .and(Write::Put(own, for_good, kept))
                .and(Write::Put(place, listed, kept))
                .recording(Event::ConsentWithdrawn {
                    receipt: receipt.id.clone(),
                    client: receipt.proposal.client.clone(),
                    service: receipt.proposal.service.clone(),
                });
        }
        self.store.commit(Class::Durable, batch, now).await?;
        Ok(Some(found.receipt.clone()))
    }

    fn seal<T: Serialize>(&self, key: &Key, value: &T) -> Result<Vec<u8>, ReceiptError> {
        Ok(self.seals.at_rest(key.as_str(), &serde_json::to_vec(value)?)?)
    }

    fn open<T: DeserializeOwned>(&self, key: &Key, sealed: &[u8]) -> Result<T, ReceiptError> {
        Ok(serde_json::from_slice(&self.seals.open_at_rest(key.as_str(), sealed)?)?)
    }

    /// The key of an answer in a person's list: newest first.
    fn place(&self, person: &PersonId, receipt: &Receipt) -> Key {
        Key::new(LIST, &format!("{}/{:020}-{}", self.owner(person), u64::MAX - receipt.given_at.0, receipt.id))
    }

    fn owner(&self, person: &PersonId) -> String {
        base64url(&keyed(self.key.expose(), &[b"receipts", person.as_str().as_bytes()]))
    }
}

/// True when an answer was taken back. An empty id names none: nothing of the person went out.
///
/// # Errors
/// [`StoreError`].
pub async fn is_withdrawn(store: &Store, receipt: &str, now: Timestamp) -> Result<bool, StoreError> {
    if receipt.is_empty() {
        return Ok(false);
    }
    Ok(store.get(Class::Durable, &Key::new(WITHDRAWN, receipt), now).await?.is_some())
}
