//! From providers' subjects to persons, and the ledger of the links between them.
//!
//! A person is a random id. Every subject of a provider belongs to exactly one, under a keyed name that leads nobody back
//! to the subject. Linking moves a subject from the person it was to another one, and says so in the ledgers of both; an
//! entry that is undone moves it back. Nothing else ever changes whose a subject is, so a renewed document or a changed
//! name leaves everything as it was.
//!
//! Everything here is sealed and bound to its place: whoever can write to the store still cannot make one subject
//! another's person.

use gateway_core::assertion::{Assertion, UpstreamSubject};
use gateway_core::audit::Event;
use gateway_core::digest::keyed;
use gateway_core::ids::{PersonId, ProviderId, base64url};
use gateway_core::link::{Entry, Status};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, Store, StoreError, Write};

/// Whose a subject is.
const LINK: &str = "link";
/// Which subject of a provider a person has linked: one of each provider at most.
const LINKED: &str = "linked";
/// A person's entries.
const LEDGER: &str = "ledger";
/// Entries that wait for an officer.
const REVIEW: &str = "review";
/// The steps that were taken, once each.
const STEP: &str = "link-step";
/// How many entries of a ledger are shown.
const SHOWN: usize = 100;
/// How long an entry waits for an officer.
const REVIEWED_WITHIN: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);

/// Why a link cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The store. [`StoreError::Conflict`] when the step was taken already, or the account is linked otherwise.
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

    /// The keyed name of a subject.
    #[must_use]
    pub fn account(&self, provider: &ProviderId, subject: &UpstreamSubject) -> String {
        base64url(&keyed(self.key.expose(), &[b"link", provider.as_str().as_bytes(), subject.expose().as_bytes()]))
    }

    /// The keyed name of an assertion's subject.
    #[must_use]
    pub fn account_of(&self, assertion: &Assertion) -> String {
        self.account(&assertion.provider, &assertion.subject)
    }

    /// The person that an account is, if it was ever seen.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn person(&self, account: &str, now: Timestamp) -> Result<Option<PersonId>, LinkError> {
        let key = Key::new(LINK, account);
        let Some(sealed) = self.store.get(Class::Durable, &key, now).await? else { return Ok(None) };
        let opened = self.seals.open_at_rest(key.as_str(), &sealed)?;
        let person = String::from_utf8(opened).ok().and_then(|text| text.parse().ok());
        person.map(Some).ok_or(LinkError::Unreadable)
    }

    /// The write that makes a new account `person`'s.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn first_seen(&self, account: &str, person: &PersonId) -> Result<Write, SealError> {
        let key = Key::new(LINK, account);
        let sealed = self.seals.at_rest(key.as_str(), person.as_str().as_bytes())?;
        Ok(Write::Insert(key, sealed, None))
    }

    /// Whether a person has linked an account of this provider.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn has(&self, person: &PersonId, provider: &ProviderId, now: Timestamp) -> Result<bool, LinkError> {
        let found = self.store.get(Class::Durable, &self.linked(person, provider), now).await?;
        Ok(found.is_some())
    }

    /// A person's entries, oldest first.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn ledger(&self, person: &PersonId, now: Timestamp) -> Result<Vec<Entry>, LinkError> {
        let owner = self.owner(person);
        let after = Key::new(LEDGER, &format!("{owner}/"));
        let listed = self.store.list(LEDGER, Some(&after), SHOWN, now).await?;
        let own = listed.into_iter().take_while(|(key, _)| key.id().starts_with(&format!("{owner}/")));
        let mut entries: Vec<Entry> =
            own.map(|(key, sealed)| self.open(&key, &sealed)).collect::<Result<_, LinkError>>()?;
        entries.sort_by_key(|entry| entry.made_at);
        Ok(entries)
    }

    /// Writes a new entry. One that is active links the accounts in the same commit; `new` are the writes of accounts
    /// that were never seen.
    ///
    /// # Errors
    /// [`LinkError`]; a conflict when this sign-in made an entry already, or the person has an account of that provider.
    pub async fn enter(&self, entry: &Entry, new: Vec<Write>, now: Timestamp) -> Result<(), LinkError> {
        let mut batch = self.changed(entry, "made", "person")?;
        // An account that is moved in this commit is not stored as somebody else's first.
        let moved = Key::new(LINK, &entry.account);
        let active = entry.status == Status::Active;
        batch.writes.extend(new.into_iter().filter(|write| !(active && *write.key() == moved)));
        match entry.status {
            Status::Active => batch.writes.extend(self.moved(entry)?),
            _ => {
                let key = Key::new(REVIEW, &entry.id);
                let sealed = self.seals.at_rest(key.as_str(), &json(entry)?)?;
                batch = batch.and(Write::Put(key, sealed, Some(now.plus(REVIEWED_WITHIN))));
            }
        }
        Ok(self.store.commit(Class::Durable, batch, now).await?)
    }

    /// Undoes an active entry of `person`: the account is again who it was.
    ///
    /// # Errors
    /// [`LinkError::NoEntry`] when the entry is not theirs, or not active.
    pub async fn undo(&self, person: &PersonId, id: &str, now: Timestamp) -> Result<Entry, LinkError> {
        let entries = self.ledger(person, now).await?;
        let mut entry = entries.into_iter().find(|entry| entry.id == id).ok_or(LinkError::NoEntry)?;
        if entry.status != Status::Active {
            return Err(LinkError::NoEntry);
        }
        (entry.status, entry.changed_at) = (Status::Undone, now);
        let key = Key::new(LINK, &entry.account);
        let sealed = self.seals.at_rest(key.as_str(), entry.previous.as_str().as_bytes())?;
        let batch = self
            .changed(&entry, "undone", "person")?
            .and(Write::Put(key, sealed, None))
            .and(Write::Delete(self.linked(&entry.person, &entry.first)));
        self.store.commit(Class::Durable, batch, now).await?;
        Ok(entry)
    }

    /// The entries that wait for an officer, oldest first.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn reviews(&self, now: Timestamp) -> Result<Vec<Entry>, LinkError> {
        let listed = self.store.list(REVIEW, None, SHOWN, now).await?;
        let mut entries: Vec<Entry> =
            listed.iter().map(|(key, sealed)| self.open(key, sealed)).collect::<Result<_, LinkError>>()?;
        entries.sort_by_key(|entry| entry.made_at);
        Ok(entries)
    }

    /// An officer's decision. Their name goes into the audit record.
    ///
    /// # Errors
    /// [`LinkError::NoEntry`] when nothing of that number waits.
    pub async fn decide(&self, id: &str, accepted: bool, officer: &str, now: Timestamp) -> Result<Entry, LinkError> {
        let key = Key::new(REVIEW, id);
        let sealed = self.store.get(Class::Durable, &key, now).await?.ok_or(LinkError::NoEntry)?;
        let mut entry: Entry = self.open(&key, &sealed)?;
        entry.status = if accepted { Status::Active } else { Status::Refused };
        entry.changed_at = now;
        let mut batch = self.changed(&entry, "decided", officer)?.and(Write::Delete(key));
        if accepted {
            batch.writes.extend(self.moved(&entry)?);
        }
        self.store.commit(Class::Durable, batch, now).await?;
        Ok(entry)
    }

    /// The batch that every change of an entry shares: that this step is taken, both ledgers, the audit record.
    fn changed(&self, entry: &Entry, step: &str, by: &str) -> Result<Batch, LinkError> {
        let event = Event::Link {
            entry: entry.id.clone(),
            first: entry.first.clone(),
            second: entry.second.clone(),
            status: entry.status,
            by: by.to_owned(),
        };
        let taken = Write::Insert(Key::new(STEP, &format!("{}/{step}", entry.id)), Vec::new(), None);
        let mut batch = Batch::of(taken).recording(event);
        for person in [&entry.person, &entry.previous] {
            let key = Key::new(LEDGER, &format!("{}/{}", self.owner(person), entry.id));
            let sealed = self.seals.at_rest(key.as_str(), &json(entry)?)?;
            batch = batch.and(Write::Put(key, sealed, None));
        }
        Ok(batch)
    }

    /// The writes that move the account brought in to the person linked with.
    fn moved(&self, entry: &Entry) -> Result<[Write; 3], LinkError> {
        let key = Key::new(LINK, &entry.account);
        let sealed = self.seals.at_rest(key.as_str(), entry.person.as_str().as_bytes())?;
        Ok([
            Write::Put(key, sealed, None),
            Write::Insert(self.linked(&entry.person, &entry.first), entry.id.clone().into_bytes(), None),
            Write::Put(self.linked(&entry.person, &entry.second), entry.id.clone().into_bytes(), None),
        ])
    }

    fn linked(&self, person: &PersonId, provider: &ProviderId) -> Key {
        let parts: [&[u8]; 3] = [b"linked", person.as_str().as_bytes(), provider.as_str().as_bytes()];
        Key::new(LINKED, &base64url(&keyed(self.key.expose(), &parts)))
    }

    /// The name under which a person's ledger is kept.
    fn owner(&self, person: &PersonId) -> String {
        base64url(&keyed(self.key.expose(), &[b"ledger", person.as_str().as_bytes()]))
    }

    fn open<T: DeserializeOwned>(&self, key: &Key, sealed: &[u8]) -> Result<T, LinkError> {
        let plain = self.seals.open_at_rest(key.as_str(), sealed)?;
        serde_json::from_slice(&plain).map_err(|_| LinkError::Unreadable)
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, LinkError> {
    serde_json::to_vec(value).map_err(|_| LinkError::Unreadable)
}

#[cfg(test)]
mod tests {
    use certs::vault::Vault;
    use gateway_core::link::{Agreement, Ground, Signals};

    use super::*;
    use crate::config::{Engine, StoreConfig};

    const NOW: Timestamp = Timestamp(1_800_000_000);

    struct Rig {
        store: Store,
        seals: Seals,
        key: Secret<Vec<u8>>,
        _folder: tempfile::TempDir,
    }

    impl Rig {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let engine = Engine::Embedded(folder.path().join("store"));
            let store = Store::open(&StoreConfig { node: "test".to_owned(), engine }, vec![1; 32]).await.unwrap();
            let (seals, key) = (Seals::new(Vault::new([7; 32])), Secret::new(vec![9; 32]));
            Self { store, seals, key, _folder: folder }
        }

        fn links(&self) -> Links<'_> {
            Links::new(&self.store, &self.seals, &self.key)
        }
    }

    fn person(n: u8) -> PersonId {
        PersonId::from_random([n; 24])
    }

    fn entry(id: &str, account: &str, previous: u8, status: Status) -> Entry {
        let (name, birthdate, gender) = (Agreement::Unknown, Agreement::Unknown, Agreement::Unknown);
        Entry {
            id: id.to_owned(),
            made_at: NOW,
            changed_at: NOW,
            first: "hk".parse().unwrap(),
            second: "gd".parse().unwrap(),
            ground: Ground::BothPresent,
            signals: Signals { name, birthdate, gender, matcher: String::new() },
            status,
            person: person(1),
            previous: person(previous),
            account: account.to_owned(),
        }
    }

    #[tokio::test]
    async fn one_person_has_one_account_of_a_kind() {
        let rig = Rig::new().await;
        let links = rig.links();
        links.enter(&entry("one", "a", 2, Status::Active), Vec::new(), NOW).await.unwrap();
        let second = links.enter(&entry("two", "b", 3, Status::Active), Vec::new(), NOW).await;
        assert!(matches!(second, Err(LinkError::Store(StoreError::Conflict))));
        assert_eq!(links.person("b", NOW).await.unwrap(), None, "nothing was half done");
        links.undo(&person(1), "one", NOW).await.unwrap();
        assert_eq!(links.person("a", NOW).await.unwrap(), Some(person(2)));
        links.enter(&entry("three", "b", 3, Status::Active), Vec::new(), NOW).await.unwrap();
        assert_eq!(links.person("b", NOW).await.unwrap(), Some(person(1)));
    }

    #[tokio::test]
    async fn what_waits_for_an_officer_moves_nothing_until_they_decide_once() {
        let rig = Rig::new().await;
        let links = rig.links();
        links.enter(&entry("one", "a", 2, Status::UnderReview), Vec::new(), NOW).await.unwrap();
        assert_eq!(links.person("a", NOW).await.unwrap(), None);
        assert_eq!(links.reviews(NOW).await.unwrap().len(), 1);
        assert_eq!(links.decide("one", true, "officer", NOW).await.unwrap().status, Status::Active);
        assert_eq!(links.person("a", NOW).await.unwrap(), Some(person(1)));
        assert!(matches!(links.decide("one", false, "officer", NOW).await, Err(LinkError::NoEntry)));
        for owner in [1, 2] {
            assert_eq!(links.ledger(&person(owner), NOW).await.unwrap()[0].status, Status::Active);
        }
        links.enter(&entry("two", "b", 3, Status::UnderReview), Vec::new(), NOW).await.unwrap();
        assert_eq!(links.decide("two", false, "officer", NOW).await.unwrap().status, Status::Refused);
        assert_eq!(links.person("b", NOW).await.unwrap(), None);
        assert!(
            rig.store.verify_audit().await.unwrap().iter().all(|chain| chain.records == 4 && chain.broken.is_none())
        );
    }

    #[tokio::test]
    async fn nobody_undoes_the_link_of_another() {
        let rig = Rig::new().await;
        let links = rig.links();
        links.enter(&entry("one", "a", 2, Status::Active), Vec::new(), NOW).await.unwrap();
        assert!(matches!(links.undo(&person(5), "one", NOW).await, Err(LinkError::NoEntry)));
        assert!(links.ledger(&person(5), NOW).await.unwrap().is_empty());
    }
}
