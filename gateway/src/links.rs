//! From providers' accounts to persons, and the ledger of the links between them.
//!
//! A person is a random id. Every account at a provider belongs to exactly one, under a keyed name that leads nobody back
//! to the provider's subject. Linking moves one account to the person of another, and says so in the ledgers of both
//! persons; undoing the entry moves it back. Nothing else changes whose an account is, so a renewed document or a changed
//! name leaves everything as it was.
//!
//! Links form stars, never chains: an account that was moved moves no further and takes no other in, and an account that
//! took others in does not move. So every entry can be undone by itself, in any order, and once none is active every
//! account is whose it was at first. Each change of an account raises its generation by one insert that only one change can
//! make, so that a decision over what was true a moment ago comes to nothing.
//!
//! Records are sealed and bound to their place.

use gateway_core::assertion::{Assertion, UpstreamSubject};
use gateway_core::audit::Event;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, ProviderId, base64url};
use gateway_core::link::{Actor, Entry, Status};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, Store, StoreError, Write};

/// Accounts.
const ACCOUNT: &str = "link";
/// The generations of accounts, one record each.
const GENERATION: &str = "link-generation";
/// Persons' entries.
const LEDGER: &str = "ledger";
/// Entries that wait for an officer.
const REVIEW: &str = "review";
/// The steps of entries, each taken once.
const STEP: &str = "link-step";
/// How many entries are read at a time.
const PAGE: usize = 100;
/// How long an entry waits for an officer.
const REVIEWED_WITHIN: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);
/// How long a generation is kept: longer than any change is under way.
const UNDER_WAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// Why a link cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The store. [`StoreError::Conflict`] when the step was taken already, or an account changed meanwhile.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A record does not say what it should.
    #[error("a stored link cannot be read")]
    Unreadable,
    /// There is no such entry, or it is not at that step.
    #[error("there is no such entry at this step")]
    NoEntry,
    /// One of the accounts is linked otherwise.
    #[error("one of the accounts is linked otherwise; that link has to be undone first")]
    Otherwise,
}

/// One end of an active entry, as the account at its other end keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tie {
    entry: String,
    provider: ProviderId,
}

/// An account: whose it is, and what it is linked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    person: PersonId,
    /// How often it changed.
    generation: u64,
    /// The entry that moved it to this person.
    moved_by: Option<Tie>,
    /// The entries that brought others to this person.
    took_in: Vec<Tie>,
}

/// What an account can be to a new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Free {
    /// It can be brought to another person.
    pub to_move: bool,
    /// It can take an account of the provider that was asked about in.
    pub to_take_in: bool,
}

impl Account {
    fn new(person: PersonId) -> Self {
        Self { person, generation: 0, moved_by: None, took_in: Vec::new() }
    }

    fn free(&self, other: &ProviderId) -> Free {
        let at_home = self.moved_by.is_none();
        let takes = self.took_in.iter().all(|tie| tie.provider != *other);
        Free { to_move: at_home && self.took_in.is_empty(), to_take_in: at_home && takes }
    }
}

/// The links, over one store.
pub struct Links<'a> {
    store: &'a Store,
    seals: &'a Seals,
    key: &'a Secret<Vec<u8>>,
}

impl<'a> Links<'a> {
    /// The links in `store`, named under `key`.
    #[must_use]
    pub fn new(store: &'a Store, seals: &'a Seals, key: &'a Secret<Vec<u8>>) -> Self {
        Self { store, seals, key }
    }

    /// The keyed name of an account.
    #[must_use]
    pub fn account(&self, provider: &ProviderId, subject: &UpstreamSubject) -> String {
        base64url(&keyed(self.key.expose(), &[b"link", provider.as_str().as_bytes(), subject.expose().as_bytes()]))
    }

    /// The keyed name of an assertion's account.
    #[must_use]
    pub fn account_of(&self, assertion: &Assertion) -> String {
        self.account(&assertion.provider, &assertion.subject)
    }

    /// The number of an entry that follows from `parts`: it leads back to nothing.
    #[must_use]
    pub fn entry_id(&self, parts: &[&str]) -> String {
        let parts: Vec<&[u8]> =
            [b"entry".as_slice()].into_iter().chain(parts.iter().map(|part| part.as_bytes())).collect();
        base64url(keyed(self.key.expose(), &parts).get(..15).unwrap_or_default())
    }

    /// The person that an account is, if it was ever seen.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn person(&self, account: &str, now: Timestamp) -> Result<Option<PersonId>, LinkError> {
        Ok(self.load(account, now).await?.map(|account| account.person))
    }

    /// What an account can be to a link with an account of `other`.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn free(&self, account: &str, other: &ProviderId, now: Timestamp) -> Result<Free, LinkError> {
        let account = self.load(account, now).await?;
        Ok(account.map_or(Free { to_move: true, to_take_in: true }, |account| account.free(other)))
    }

    /// The write that makes a new account `person`'s.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn first_seen(&self, account: &str, person: &PersonId) -> Result<Write, LinkError> {
        let key = Key::new(ACCOUNT, account);
        let sealed = self.seal(&key, &Account::new(person.clone()))?;
        Ok(Write::Insert(key, sealed, None))
    }

    /// A person's entries, oldest first.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn ledger(&self, person: &PersonId, now: Timestamp) -> Result<Vec<Entry>, LinkError> {
        let prefix = format!("{}/", self.owner(person));
        let mut after = Key::new(LEDGER, &prefix);
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let listed = self.store.list(LEDGER, Some(&after), PAGE, now).await?;
            let own: Vec<_> = listed.iter().take_while(|(key, _)| key.id().starts_with(&prefix)).collect();
            for (key, sealed) in &own {
                entries.push(settled(self.open(key, sealed)?, now));
            }
            match own.last() {
                Some((key, _)) if own.len() == PAGE => after = key.clone(),
                _ => break,
            }
        }
        entries.sort_by_key(|entry| entry.made_at);
        Ok(entries)
    }

    /// One entry of a person.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn entry(&self, person: &PersonId, id: &str, now: Timestamp) -> Result<Option<Entry>, LinkError> {
        let key = self.page(person, id);
        let Some(sealed) = self.store.get(Class::Durable, &key, now).await? else { return Ok(None) };
        Ok(Some(settled(self.open(&key, &sealed)?, now)))
    }

    /// Writes a new entry. One that is active links the accounts in the same commit.
    ///
    /// # Errors
    /// [`LinkError::Otherwise`] when an account is linked otherwise or belongs to somebody else than the entry says;
    /// [`LinkError::Store`] with a conflict when this entry was made already, or an account changed meanwhile.
    pub async fn enter(&self, entry: &Entry, by: Actor, now: Timestamp) -> Result<(), LinkError> {
        let mut batch = self.changed(entry, "made", by)?;
        if entry.status == Status::Active {
            batch.writes.extend(self.join(entry, now).await?);
        } else {
            batch.writes.extend(self.keep_new(entry, now).await?);
            let key = Key::new(REVIEW, &entry.id);
            let sealed = self.seal(&key, entry)?;
            batch = batch.and(Write::Put(key, sealed, Some(now.plus(REVIEWED_WITHIN))));
        }
        Ok(self.store.commit(Class::Durable, batch, now).await?)
    }

    /// Uses up the number of an entry that changes nothing.
    ///
    /// # Errors
    /// [`LinkError::Store`] with a conflict when it is used up already.
    pub async fn use_up(&self, id: &str, now: Timestamp) -> Result<(), LinkError> {
        let taken = Write::Insert(Key::new(STEP, &format!("{id}/made")), Vec::new(), None);
        Ok(self.store.commit(Class::Durable, Batch::of(taken), now).await?)
    }

    /// Undoes an active entry of `person`: the account is again whose it was.
    ///
    /// # Errors
    /// [`LinkError::NoEntry`] when the entry is not theirs, or not active.
    pub async fn undo(&self, person: &PersonId, id: &str, by: Actor, now: Timestamp) -> Result<Entry, LinkError> {
        let mut entry = self.entry(person, id, now).await?.ok_or(LinkError::NoEntry)?;
        if entry.status != Status::Active {
            return Err(LinkError::NoEntry);
        }
        (entry.status, entry.changed_at) = (Status::Undone, now);
        let first = self.load(&entry.account, now).await?.ok_or(LinkError::Unreadable)?;
        let second = self.load(&entry.other, now).await?.ok_or(LinkError::Unreadable)?;
        if first.moved_by.as_ref().is_none_or(|tie| tie.entry != entry.id) {
            return Err(LinkError::Unreadable);
        }
        let back = Account { person: entry.previous.clone(), moved_by: None, ..first };
        let mut left = second;
        left.took_in.retain(|tie| tie.entry != entry.id);
        let mut batch = self.changed(&entry, "undone", by)?;
        batch.writes.extend(self.change(&entry.account, back, now)?);
        batch.writes.extend(self.change(&entry.other, left, now)?);
        self.store.commit(Class::Durable, batch, now).await?;
        Ok(entry)
    }

    /// The entries that wait for an officer, oldest first.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn reviews(&self, now: Timestamp) -> Result<Vec<Entry>, LinkError> {
        let (mut after, mut entries) = (None, Vec::<Entry>::new());
        loop {
            let listed = self.store.list(REVIEW, after.as_ref(), PAGE, now).await?;
            for (key, sealed) in &listed {
                entries.push(self.open(key, sealed)?);
            }
            match listed.last() {
                Some((key, _)) if listed.len() == PAGE => after = Some(key.clone()),
                _ => break,
            }
        }
        entries.sort_by_key(|entry| entry.made_at);
        Ok(entries)
    }

    /// An officer's decision.
    ///
    /// # Errors
    /// [`LinkError::NoEntry`] when nothing of that number waits; [`LinkError::Otherwise`] when the accounts were linked
    /// otherwise since, so that there is nothing left to accept.
    pub async fn decide(&self, id: &str, accepted: bool, by: Actor, now: Timestamp) -> Result<Entry, LinkError> {
        let key = Key::new(REVIEW, id);
        let sealed = self.store.get(Class::Durable, &key, now).await?.ok_or(LinkError::NoEntry)?;
        let mut entry: Entry = self.open(&key, &sealed)?;
        entry.status = if accepted { Status::Active } else { Status::Refused };
        entry.changed_at = now;
        let mut batch = self.changed(&entry, "decided", by)?.and(Write::Delete(key));
        if accepted {
            batch.writes.extend(self.join(&entry, now).await?);
        }
        self.store.commit(Class::Durable, batch, now).await?;
        Ok(entry)
    }

    /// The batch that every change of an entry shares: that this step is taken, both ledgers, the audit record.
    fn changed(&self, entry: &Entry, step: &str, by: Actor) -> Result<Batch, LinkError> {
        let event = Event::Link {
            entry: entry.id.clone(),
            first: entry.first.clone(),
            second: entry.second.clone(),
            status: entry.status,
            by,
        };
        let taken = Write::Insert(Key::new(STEP, &format!("{}/{step}", entry.id)), Vec::new(), None);
        let mut batch = Batch::of(taken).recording(event);
        for person in [&entry.person, &entry.previous] {
            let key = self.page(person, &entry.id);
            let sealed = self.seal(&key, entry)?;
            batch = batch.and(Write::Put(key, sealed, None));
        }
        Ok(batch)
    }

    /// The writes that link the accounts of an entry.
    async fn join(&self, entry: &Entry, now: Timestamp) -> Result<Vec<Write>, LinkError> {
        let first = self.load(&entry.account, now).await?;
        let second = self.load(&entry.other, now).await?;
        let first_state = first.clone().unwrap_or_else(|| Account::new(entry.previous.clone()));
        let second_state = second.clone().unwrap_or_else(|| Account::new(entry.person.clone()));
        let as_said = first_state.person == entry.previous && second_state.person == entry.person;
        if !as_said || !first_state.free(&entry.second).to_move || !second_state.free(&entry.first).to_take_in {
            return Err(LinkError::Otherwise);
        }
        let tie = |provider: &ProviderId| Tie { entry: entry.id.clone(), provider: provider.clone() };
        let moved = Account { person: entry.person.clone(), moved_by: Some(tie(&entry.second)), ..first_state };
        let mut taking = second_state;
        taking.took_in.push(tie(&entry.first));
        let mut writes = Vec::new();
        for (account, state, stored) in [(&entry.account, moved, first), (&entry.other, taking, second)] {
            if stored.is_some() {
                writes.extend(self.change(account, state, now)?);
            } else {
                let key = Key::new(ACCOUNT, account);
                let sealed = self.seal(&key, &state)?;
                writes.push(Write::Insert(key, sealed, None));
            }
        }
        Ok(writes)
    }

    /// The writes that keep accounts of an entry that were never seen.
    async fn keep_new(&self, entry: &Entry, now: Timestamp) -> Result<Vec<Write>, LinkError> {
        let mut writes = Vec::new();
        for (account, person) in [(&entry.account, &entry.previous), (&entry.other, &entry.person)] {
            if self.load(account, now).await?.is_none() {
                writes.push(self.first_seen(account, person)?);
            }
        }
        Ok(writes)
    }

    /// The writes that change a stored account: only one change of a generation is ever made.
    fn change(&self, account: &str, state: Account, now: Timestamp) -> Result<[Write; 2], LinkError> {
        let state = Account { generation: state.generation + 1, ..state };
        let gate = Key::new(GENERATION, &format!("{account}/{}", state.generation));
        let key = Key::new(ACCOUNT, account);
        let sealed = self.seal(&key, &state)?;
        Ok([Write::Insert(gate, Vec::new(), Some(now.plus(UNDER_WAY))), Write::Put(key, sealed, None)])
    }

    async fn load(&self, account: &str, now: Timestamp) -> Result<Option<Account>, LinkError> {
        let key = Key::new(ACCOUNT, account);
        let Some(sealed) = self.store.get(Class::Durable, &key, now).await? else { return Ok(None) };
        Ok(Some(self.open(&key, &sealed)?))
    }

    fn page(&self, person: &PersonId, id: &str) -> Key {
        Key::new(LEDGER, &format!("{}/{id}", self.owner(person)))
    }

    /// The name under which a person's ledger is kept.
    fn owner(&self, person: &PersonId) -> String {
        base64url(&keyed(self.key.expose(), &[b"ledger", person.as_str().as_bytes()]))
    }

    fn seal<T: Serialize>(&self, key: &Key, value: &T) -> Result<Vec<u8>, LinkError> {
        let plain = serde_json::to_vec(value).map_err(|_| LinkError::Unreadable)?;
        Ok(self.seals.at_rest(key.as_str(), &plain)?)
    }

    fn open<T: serde::de::DeserializeOwned>(&self, key: &Key, sealed: &[u8]) -> Result<T, LinkError> {
        let plain = self.seals.open_at_rest(key.as_str(), sealed)?;
        serde_json::from_slice(&plain).map_err(|_| LinkError::Unreadable)
    }
}

/// An entry that nobody decided about in time is refused.
fn settled(mut entry: Entry, now: Timestamp) -> Entry {
    if entry.status == Status::UnderReview && entry.made_at.plus(REVIEWED_WITHIN).is_past(now) {
        entry.status = Status::Refused;
    }
    entry
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
