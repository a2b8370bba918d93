//! Consent records: what people agreed to, where they can see it, and how they take it back.
//!
//! There is one record for each question, a person's account at a client and service, and the next answer takes the place of
//! the one before: what a person can cause to be stored is bounded by the questions, not by how often they answer. Answers are
//! counted in *generations*. Tokens carry the question and the generation that they rest on; a withdrawal is one mark, up to
//! which generation nothing stands any more. Each answer is in the audit record as well.

use gateway_core::audit::Event;
use gateway_core::consent::{ConsentRef, Receipt};
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, base64url};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, RETENTION, Store, StoreError, Write};

/// The latest answer to each question.
const CONSENT: &str = "consent";
/// The questions that each person answered.
const LIST: &str = "consents-of";
/// Up to which generation the answers to a question were taken back.
const WITHDRAWN: &str = "consent-withdrawn";
/// How many are read at a time.
const PAGE: usize = 100;
/// How many earlier answers are kept of one question: those after which something changed.
const EARLIER: usize = 20;

/// The name of a question: a person, as the recipient's sector knows them, one account of theirs, and who asks for what from
/// where. An answer about one account is none about another, even of the same person.
#[must_use]
pub fn question(subject: &str, account: &str, proposal: &gateway_core::consent::Proposal) -> String {
    let parts = [subject, account, proposal.client.as_str(), proposal.service.as_str(), proposal.provider.as_str()];
    Key::of_secret(CONSENT, &parts.join("\n")).id().to_owned()
}

/// The record of one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// The question.
    pub question: String,
    /// What was put to the person last, and what they said.
    pub receipt: Receipt,
    /// Counts the answers.
    pub generation: u64,
    /// Earlier answers that said something else, newest first.
    pub earlier: Vec<Earlier>,
}

/// An earlier answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earlier {
    /// Its receipt's id.
    pub id: String,
    /// The claims that were agreed to.
    pub agreed: Vec<String>,
    /// A digest of everything that the answer depended on.
    pub fingerprint: String,
    /// SHA-256 of the exact page text, base64url.
    pub text_digest: String,
    /// When it was given.
    pub given_at: Timestamp,
    /// When it was taken back.
    pub withdrawn_at: Option<Timestamp>,
}

impl Line {
    /// What tokens carry that rest on this answer.
    #[must_use]
    pub fn reference(&self) -> ConsentRef {
        ConsentRef { question: self.question.clone(), generation: self.generation }
    }

    /// The record with the next answer in the place of this one.
    fn followed_by(self, receipt: Receipt) -> Self {
        let before = Earlier {
            id: self.receipt.id.clone(),
            fingerprint: self.receipt.proposal.fingerprint(),
            agreed: self.receipt.agreed,
            text_digest: self.receipt.text_digest,
            given_at: self.receipt.given_at,
            withdrawn_at: self.receipt.withdrawn_at,
        };
        let same = before.withdrawn_at.is_none()
            && before.agreed == receipt.agreed
            && before.fingerprint == receipt.proposal.fingerprint();
        let mut earlier = self.earlier;
        if !same {
            earlier.insert(0, before);
            earlier.truncate(EARLIER);
        }
        Self { question: self.question, receipt, generation: self.generation + 1, earlier }
    }
}

/// Why a consent record cannot be kept or read.
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

/// The consent records, over one store. They are sealed and bound to their place: whoever can write to the store cannot make
/// somebody agree, and whoever can read it does not learn which services are one person's.
pub struct Receipts<'a> {
    store: &'a Store,
    seals: &'a Seals,
    key: &'a Secret<Vec<u8>>,
}

impl<'a> Receipts<'a> {
    /// The records in `store`, listed under `key`.
    #[must_use]
    pub fn new(store: &'a Store, seals: &'a Seals, key: &'a Secret<Vec<u8>>) -> Self {
        Self { store, seals, key }
    }

    /// The latest answer to a question. One that cannot be read is none: the question is put again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn latest(&self, question: &str, now: Timestamp) -> Result<Option<Line>, StoreError> {
        let name = Key::new(CONSENT, question);
        let Some(sealed) = self.store.get(Class::Durable, &name, now).await? else { return Ok(None) };
        let mut line: Line = match self.open(&name, &sealed) {
            Ok(line) => line,
            Err(error) => {
                tracing::error!(%error, "a consent record is passed over");
                return Ok(None);
            }
        };
        // An answer that was given while an earlier one was being taken back does not stand.
        if line.receipt.withdrawn_at.is_none() && is_withdrawn(self.store, Some(&line.reference()), now).await? {
            line.receipt.withdrawn_at = Some(now);
        }
        Ok(Some(line))
    }

    /// The record of an answer to a question whose latest answer before was `before`.
    #[must_use]
    pub fn line(question: String, before: Option<Line>, receipt: Receipt) -> Line {
        match before {
            Some(before) => before.followed_by(receipt),
            None => Line { question, receipt, generation: 1, earlier: Vec::new() },
        }
    }

    /// The writes that keep an answer, and list its question as one of this person's.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn given(&self, line: &Line, person: &PersonId, now: Timestamp) -> Result<Vec<Write>, ReceiptError> {
        let (kept, name) = (Some(now.plus(RETENTION)), Key::new(CONSENT, &line.question));
        let place = Key::new(LIST, &format!("{}/{}", self.owner(person), line.question));
        Ok(vec![Write::Put(name.clone(), self.seal(&name, line)?, kept), Write::Put(place, Vec::new(), kept)])
    }

    /// A person's answers, newest first: the latest to each question, whether it stands or was taken back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(&self, person: &PersonId, now: Timestamp) -> Result<Vec<Line>, StoreError> {
        let owner = format!("{}/", self.owner(person));
        let mut after = Key::new(LIST, &owner);
        let mut lines = Vec::new();
        loop {
            let page = self.store.list(LIST, Some(&after), PAGE, now).await?;
            let own: Vec<_> = page.iter().map_while(|(key, _)| key.id().strip_prefix(owner.as_str())).collect();
            for question in &own {
                lines.extend(self.latest(question, now).await?);
            }
            match page.last() {
                Some((key, _)) if own.len() == PAGE => after = key.clone(),
                _ => break,
            }
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.receipt.given_at));
        Ok(lines)
    }

    /// Takes this person's answer to a question back, with every answer to it before; nothing, when it is not theirs or taken
    /// back already. One write and one mark, whatever came before.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub async fn withdraw(
        &self,
        person: &PersonId,
        question: &str,
        now: Timestamp,
    ) -> Result<Option<Receipt>, ReceiptError> {
        let place = Key::new(LIST, &format!("{}/{question}", self.owner(person)));
        if self.store.get(Class::Durable, &place, now).await?.is_none() {
            return Ok(None);
        }
        let standing = self.latest(question, now).await?.filter(|line| line.receipt.withdrawn_at.is_none());
        let Some(mut line) = standing else { return Ok(None) };
        line.receipt.withdrawn_at = Some(now);
        // The next generation goes with it: an answer that is being given at this moment may have it already.
        line.generation += 1;
        let (kept, name) = (Some(now.plus(RETENTION)), Key::new(CONSENT, question));
        let mark = line.generation.to_string().into_bytes();
        let batch = Batch::of(Write::Put(Key::new(WITHDRAWN, question), mark, kept))
            .and(Write::Put(name.clone(), self.seal(&name, &line)?, kept))
            .recording(Event::ConsentWithdrawn {
                receipt: line.receipt.id.clone(),
                client: line.receipt.proposal.client.clone(),
                service: line.receipt.proposal.service.clone(),
            });
        self.store.commit(Class::Durable, batch, now).await?;
        Ok(Some(line.receipt))
    }

    fn seal<T: Serialize>(&self, key: &Key, value: &T) -> Result<Vec<u8>, ReceiptError> {
        Ok(self.seals.at_rest(key.as_str(), &serde_json::to_vec(value)?)?)
    }

    fn open<T: DeserializeOwned>(&self, key: &Key, sealed: &[u8]) -> Result<T, ReceiptError> {
        Ok(serde_json::from_slice(&self.seals.open_at_rest(key.as_str(), sealed)?)?)
    }

    fn owner(&self, person: &PersonId) -> String {
        base64url(&keyed(self.key.expose(), &[b"consents", person.as_str().as_bytes()]))
    }
}

/// True when the answer that something rests on was taken back. Where there is none, nothing of the person went out. A mark
/// that cannot be read took everything back.
///
/// # Errors
/// [`StoreError`].
pub async fn is_withdrawn(store: &Store, consent: Option<&ConsentRef>, now: Timestamp) -> Result<bool, StoreError> {
    let Some(consent) = consent else { return Ok(false) };
    let mark = store.get(Class::Durable, &Key::new(WITHDRAWN, &consent.question), now).await?;
    let up_to = mark.map(|mark| std::str::from_utf8(&mark).ok().and_then(|mark| mark.parse().ok()).unwrap_or(u64::MAX));
    Ok(up_to.is_some_and(|up_to| consent.generation <= up_to))
}
