//! Receipts: what people agreed to, where they can see it, and how they take it back.
//!
//! An answer is kept under its own id for as long as the law wants it, and, while it serves without asking again, under the
//! name of what it answers. Each person has a list of their own, under a keyed name. Taking an answer back removes what
//! serves, and leaves a mark that stops every token that rests on it at once.

use gateway_core::audit::Event;
use gateway_core::consent::Receipt;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, base64url};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{Batch, Class, Key, RETENTION, Store, StoreError, Write};

const RECEIPT: &str = "receipt";
/// Persons' lists.
const LIST: &str = "receipts";
/// Answers that were taken back.
const WITHDRAWN: &str = "withdrawn";
/// How many are read at a time.
const PAGE: usize = 100;
/// The most that a person is shown: the newest.
const SHOWN: usize = 50;

/// One line of a person's list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// What was put to them and what they said.
    pub receipt: Receipt,
    /// The name under which the answer serves without asking again.
    remembered: String,
}

/// The receipts, over one store.
pub struct Receipts<'a> {
    store: &'a Store,
    key: &'a Secret<Vec<u8>>,
}

fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("a receipt: {error}"))
}

impl<'a> Receipts<'a> {
    /// The receipts in `store`, listed under `key`.
    #[must_use]
    pub fn new(store: &'a Store, key: &'a Secret<Vec<u8>>) -> Self {
        Self { store, key }
    }

    /// The writes that keep an answer: for good, for serving again as `remembered`, and in the person's list.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be written as JSON.
    pub fn given(
        &self,
        receipt: &Receipt,
        remembered: Key,
        person: &PersonId,
        now: Timestamp,
    ) -> Result<Vec<Write>, StoreError> {
        let bytes = serde_json::to_vec(receipt).map_err(unreadable)?;
        let kept = Some(now.plus(RETENTION));
        let line = Line { receipt: receipt.clone(), remembered: remembered.id().to_owned() };
        let line = serde_json::to_vec(&line).map_err(unreadable)?;
        Ok(vec![
            Write::Put(remembered, bytes.clone(), kept),
            Write::Insert(Key::new(RECEIPT, &receipt.id), bytes, kept),
            Write::Put(self.place(person, receipt), line, kept),
        ])
    }

    /// A person's answers, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(&self, person: &PersonId, now: Timestamp) -> Result<Vec<Line>, StoreError> {
        let owner = format!("{}/", self.owner(person));
        let mut after = Key::new(LIST, &owner);
        let mut lines = Vec::new();
        loop {
            let page = self.store.list(LIST, Some(&after), PAGE, now).await?;
            let own: Vec<_> = page.iter().take_while(|(key, _)| key.id().starts_with(&owner)).collect();
            for (_, bytes) in &own {
                lines.push(serde_json::from_slice::<Line>(bytes).map_err(unreadable)?);
            }
            match own.last() {
                Some((key, _)) if own.len() == PAGE && lines.len() < SHOWN => after = key.clone(),
                _ => break,
            }
        }
        lines.truncate(SHOWN);
        Ok(lines)
    }

    /// Takes an answer of this person back; nothing, when it is not theirs or taken back already.
    ///
    /// # Errors
    /// [`StoreError`]; `Conflict` when it was taken back at the same moment.
    pub async fn withdraw(&self, person: &PersonId, id: &str, now: Timestamp) -> Result<Option<Receipt>, StoreError> {
        let lines = self.of(person, now).await?;
        let standing = |line: &&Line| line.receipt.withdrawn_at.is_none();
        let Some(found) = lines.iter().filter(standing).find(|line| line.receipt.id == id) else { return Ok(None) };
        let mut batch = Batch::of(Write::Delete(Key::new("consent", &found.remembered)));
        let kept = Some(now.plus(RETENTION));
        // Whoever takes an answer back takes back every answer to the same question.
        for line in lines.iter().filter(standing).filter(|line| line.remembered == found.remembered) {
            let mut line = line.clone();
            line.receipt.withdrawn_at = Some(now);
            let receipt = &line.receipt;
            let bytes = serde_json::to_vec(receipt).map_err(unreadable)?;
            batch = batch
                .and(Write::Insert(Key::new(WITHDRAWN, &receipt.id), Vec::new(), kept))
                .and(Write::Put(Key::new(RECEIPT, &receipt.id), bytes, kept))
                .and(Write::Put(self.place(person, receipt), serde_json::to_vec(&line).map_err(unreadable)?, kept))
                .recording(Event::ConsentWithdrawn {
                    receipt: receipt.id.clone(),
                    client: receipt.proposal.client.clone(),
                    service: receipt.proposal.service.clone(),
                });
        }
        self.store.commit(Class::Durable, batch, now).await?;
        Ok(Some(found.receipt.clone()))
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
