//! Which bundle is in effect: a list of changes in the durable store that all nodes follow.
//!
//! A change is one insert under the next number, so two officers at once are told so, and nobody's change is lost. It is
//! marked with a key that only gateways have: whoever can write to the store cannot put a bundle into effect. What took
//! effect follows from the list and the time, so every node finds the same, whenever it looks.

use certs::key::KeySet;
use gateway_core::audit::{Event, PolicyChange};
use gateway_core::digest::sha256;
use gateway_core::ids::base64url;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::bundle::{self, ArchiveError, Bundle, Manifest};
use crate::seal::{SealError, Seals};
use crate::store::{Batch, Class, Key, Store, StoreError, Write};

/// The list.
const CHANGES: &str = "activation";
/// Archives, by version.
const ARCHIVES: &str = "bundle";
/// How many changes are read at a time.
const PAGE: usize = 100;

/// Why a change is not made, or the bundle that is in effect cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The store. [`StoreError::Conflict`] when somebody else made a change at the same moment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A record is not one of ours.
    #[error("a stored activation is not one of ours")]
    Foreign,
    /// A change is missing from the list, or was put into it by somebody else.
    #[error("the list of bundles is broken at change {0}")]
    Broken(u64),
    /// The bundle is not newer than one that was in effect before.
    #[error("the bundle has sequence {found}; it must be greater than {last}, which was in effect already")]
    Older {
        /// Its sequence.
        found: u64,
        /// The greatest before.
        last: u64,
    },
    /// Its time is over.
    #[error("the bundle was valid until {0}, and is not put into effect any more")]
    Outdated(Timestamp),
    /// The bundle was made from another one than the one that it would take the place of.
    #[error("the bundle was made from {}, and {in_effect} is what it would replace: compare them, and sign anew with --based-on {in_effect}", .based_on.as_deref().unwrap_or("nothing that it names"))]
    Stale {
        /// What it was made from.
        based_on: Option<String>,
        /// What is in effect, or waits for its time.
        in_effect: String,
    },
    /// A bundle waits for its time.
    #[error("version {0} waits to take effect: cancel it first with `gateway policy cancel`")]
    Waits(String),
    /// No bundle waits for its time.
    #[error("no bundle waits to take effect")]
    NothingWaits,
    /// There is nothing to go back to.
    #[error("no earlier bundle was in effect")]
    NothingEarlier,
    /// No bundle was ever put into effect.
    #[error(
        "no bundle is in effect yet: sign one with `gateway policy bundle`, and put it into effect with `gateway policy activate`"
    )]
    None,
}

/// One change of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place, from 1.
    pub epoch: u64,
    /// What was done.
    pub change: PolicyChange,
    /// The bundle's version; empty when a shadow ended.
    pub version: String,
    /// The bundle's sequence.
    pub sequence: u64,
    /// From when it holds.
    pub effective_from: Timestamp,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who made it.
    pub by: String,
    /// A digest of the change before, so that none can be taken out of the list unseen; empty for the first.
    pub previous: String,
}

impl Change {
    /// What the next change names as the one before it.
    #[must_use]
    pub fn digest(&self) -> String {
        base64url(&sha256(&serde_json::to_vec(self).unwrap_or_default()))
    }

    /// From when it holds: not before it was made.
    fn begins(&self) -> Timestamp {
        self.effective_from.max(self.made_at)
    }
}

/// What the list comes to at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InEffect {
    /// The bundle, if there was ever one.
    pub live: Option<Change>,
    /// The draft that is tried beside it.
    pub shadow: Option<Change>,
    /// The next bundle, where its time has not come.
    pub waiting: Option<Change>,
    /// How long the list is.
    pub epoch: u64,
}

impl InEffect {
    /// What a list comes to. A change that was made after others was made later, whatever a clock says: a clock that was set back
    /// puts nothing out of effect that the list shows to be in effect.
    #[must_use]
    pub fn at(changes: &[Change], now: Timestamp) -> Self {
        let now = shown_by(changes).max(now);
        let mut state = Self::default();
        for change in changes {
            state.epoch = change.epoch;
            if is_cancelled(changes, change) {
                continue;
            }
            match change.change {
                PolicyChange::Activated | PolicyChange::RolledBack => {
                    // Whatever was to take effect on a day to come is overtaken by a later word that holds before.
                    if state.waiting.as_ref().is_some_and(|waiting| change.begins() <= waiting.begins()) {
                        state.waiting = None;
                    }
                    if change.begins() <= now {
                        state.live = Some(change.clone());
                        // What was tried is live now, or was tried beside something that is live no more.
                        state.shadow = None;
                    } else {
                        state.waiting = Some(change.clone());
                    }
                }
                PolicyChange::ShadowBegan => state.shadow = Some(change.clone()),
                PolicyChange::ShadowEnded => state.shadow = None,
                PolicyChange::Cancelled => {}
            }
        }
        state
    }
}

/// The latest moment that a list shows to be past.
fn shown_by(changes: &[Change]) -> Timestamp {
    changes.iter().map(|change| change.made_at).max().unwrap_or(Timestamp(0))
}

/// Whether a bundle was cancelled before its time came.
fn is_cancelled(changes: &[Change], scheduled: &Change) -> bool {
    scheduled.change == PolicyChange::Activated
        && changes.iter().any(|later| {
            later.change == PolicyChange::Cancelled
                && later.epoch > scheduled.epoch
                && later.version == scheduled.version
                && later.made_at < scheduled.begins()
        })
}

/// The bundles that were in effect and were not gone back from, the one in effect last.
///
/// A bundle that was to take effect on a day to come, and was overtaken before, never was in effect.
fn standing(changes: &[Change], now: Timestamp) -> Vec<&Change> {
    let now = shown_by(changes).max(now);
    let bundles: Vec<&Change> = changes
        .iter()
        .filter(|change| matches!(change.change, PolicyChange::Activated | PolicyChange::RolledBack))
        .collect();
    let mut standing: Vec<&Change> = Vec::new();
    for (index, change) in bundles.iter().enumerate() {
        let scheduled = change.effective_from > change.made_at;
        let overtaken = scheduled && bundles.iter().skip(index + 1).any(|later| later.begins() <= change.begins());
        if overtaken || change.begins() > now || is_cancelled(changes, change) {
            continue;
        }
        if change.change == PolicyChange::RolledBack {
            standing.pop();
        } else {
            standing.push(change);
        }
    }
    standing
}

/// The list of changes, over one store.
pub struct Activations<'a> {
    store: &'a Store,
    seals: &'a Seals,
    signers: &'a KeySet,
}

impl<'a> Activations<'a> {
    /// The list in `store`. Only bundles of `signers` are put into effect.
    #[must_use]
    pub fn new(store: &'a Store, seals: &'a Seals, signers: &'a KeySet) -> Self {
        Self { store, seals, signers }
    }

    /// Every change after `last`, in order; all of them when there is no last.
    ///
    /// # Errors
    /// [`ActivationError`]; `Broken` when one is missing between.
    pub async fn changes(&self, last: Option<&Change>, now: Timestamp) -> Result<Vec<Change>, ActivationError> {
        let changes = self.listed(last.map_or(0, |last| last.epoch), now).await?;
        let (mut epoch, mut previous) = last.map_or((0, String::new()), |last| (last.epoch, last.digest()));
        for change in &changes {
            if change.epoch != epoch + 1 || change.previous != previous {
                return Err(ActivationError::Broken(epoch + 1));
            }
            (epoch, previous) = (change.epoch, change.digest());
        }
        Ok(changes)
    }

    async fn listed(&self, epoch: u64, now: Timestamp) -> Result<Vec<Change>, ActivationError> {
        let (mut after, mut changes) = (Some(place(epoch)), Vec::new());
        loop {
            let page = self.store.list(CHANGES, after.as_ref(), PAGE, now).await?;
            for (key, sealed) in &page {
                let plain = self.seals.open_at_rest(key.as_str(), sealed)?;
                changes.push(serde_json::from_slice(&plain).map_err(|_| ActivationError::Foreign)?);
            }
            match page.last() {
                Some((key, _)) if page.len() == PAGE => after = Some(key.clone()),
                _ => return Ok(changes),
            }
        }
    }

    /// The archive of a version that was handed in, its signature verified anew.
    ///
    /// # Errors
    /// [`ActivationError`].
    pub async fn bundle(&self, version: &str, now: Timestamp) -> Result<(Manifest, Bundle), ActivationError> {
        let (manifest, bundle) = bundle::open(&self.archive(version, now).await?, self.signers)?;
        if manifest.version == version { Ok((manifest, bundle)) } else { Err(ActivationError::Foreign) }
    }

    /// The documents of a version that a change of the list put into effect: it was signed by a signer of that time, and the change
    /// itself vouches for the version.
    ///
    /// # Errors
    /// [`ActivationError`].
    pub async fn in_effect(&self, change: &Change, now: Timestamp) -> Result<Bundle, ActivationError> {
        let archive = self.archive(&change.version, now).await?;
        if let Err(error @ ArchiveError::Signature(_)) = bundle::open(&archive, self.signers) {
            tracing::warn!(version = change.version, %error, "the signer of the bundle in effect is a signer no more");
        }
        Ok(bundle::open_version(&archive, &change.version)?)
    }

    /// The archive of a version as it was handed in.
    ///
    /// # Errors
    /// [`ActivationError`].
    pub async fn archive(&self, version: &str, now: Timestamp) -> Result<Vec<u8>, ActivationError> {
        let stored = self.store.get(Class::Durable, &Key::new(ARCHIVES, version), now).await?;
        stored.ok_or(ActivationError::None)
    }

    /// Puts a bundle into effect, at its time.
    ///
    /// # Errors
    /// [`ActivationError`]; nothing is changed then.
    pub async fn activate(&self, archive: &[u8], by: &str, now: Timestamp) -> Result<Change, ActivationError> {
        let (manifest, _) = bundle::open(archive, self.signers)?;
        if let Some(until) = manifest.valid_until.filter(|until| until.is_past(now)) {
            return Err(ActivationError::Outdated(until));
        }
        let changes = self.changes(None, now).await?;
        let activated = changes.iter().filter(|change| change.change == PolicyChange::Activated);
        let last = activated.map(|change| change.sequence).max().unwrap_or(0);
        if manifest.sequence <= last {
            return Err(ActivationError::Older { found: manifest.sequence, last });
        }
        // Two who change the same version would undo each other's work without a word.
        if let Some(in_effect) = replaced(&changes, now).filter(|version| manifest.based_on.as_ref() != Some(version)) {
            return Err(ActivationError::Stale { based_on: manifest.based_on, in_effect });
        }
        let bundle = (manifest.version, manifest.sequence);
        let at_once = next(&changes, PolicyChange::Activated, bundle, by, now);
        let change = Change { effective_from: manifest.effective_from, ..at_once };
        self.commit(&change, Some((archive, &manifest.key)), now).await?;
        Ok(change)
    }

    /// The bundle that going back would lead to: the one that was in effect before the one that is.
    ///
    /// # Errors
    /// [`ActivationError`]; `Outdated` when its time is over.
    pub async fn before(&self, now: Timestamp) -> Result<(Change, Bundle), ActivationError> {
        let changes = self.changes(None, now).await?;
        self.standing_before(&changes, now).await
    }

    async fn standing_before(&self, changes: &[Change], now: Timestamp) -> Result<(Change, Bundle), ActivationError> {
        let standing = standing(changes, now);
        let before = standing.iter().rev().nth(1).ok_or(ActivationError::NothingEarlier)?;
        let (manifest, bundle) = self.bundle(&before.version, now).await?;
        match manifest.valid_until.filter(|until| until.is_past(now)) {
            Some(until) => Err(ActivationError::Outdated(until)),
            None => Ok(((*before).clone(), bundle)),
        }
    }

    /// Puts the bundle that was in effect before into effect again, at once.
    ///
    /// # Errors
    /// [`ActivationError`]; nothing is changed then.
    pub async fn roll_back(&self, by: &str, now: Timestamp) -> Result<Change, ActivationError> {
        let changes = self.changes(None, now).await?;
        // Which of the two is to be taken back is for the officer to say.
        if let Some(waiting) = InEffect::at(&changes, now).waiting {
            return Err(ActivationError::Waits(waiting.version));
        }
        let (before, _) = self.standing_before(&changes, now).await?;
        let change = next(&changes, PolicyChange::RolledBack, (before.version, before.sequence), by, now);
        self.commit(&change, None, now).await?;
        Ok(change)
    }

    /// Sees to it that the bundle that waits for its time does not take effect.
    ///
    /// # Errors
    /// [`ActivationError`]; nothing is changed then.
    pub async fn cancel(&self, by: &str, now: Timestamp) -> Result<Change, ActivationError> {
        let changes = self.changes(None, now).await?;
        let waiting = InEffect::at(&changes, now).waiting.ok_or(ActivationError::NothingWaits)?;
        let bundle = (waiting.version, waiting.sequence);
        let change = next(&changes, PolicyChange::Cancelled, bundle, by, now);
        self.commit(&change, None, now).await?;
        Ok(change)
    }

    /// Begins to try a draft beside the bundle that is in effect; `None` ends it. A draft has to be signed as well, but may
    /// be older or newer than anything.
    ///
    /// # Errors
    /// [`ActivationError`]; nothing is changed then.
    pub async fn shadow(&self, archive: Option<&[u8]>, by: &str, now: Timestamp) -> Result<Change, ActivationError> {
        let manifest = archive.map(|archive| bundle::open(archive, self.signers)).transpose()?;
        let key = manifest.as_ref().map(|(manifest, _)| manifest.key.clone()).unwrap_or_default();
        let draft = manifest.map(|(manifest, _)| (manifest.version, manifest.sequence)).unwrap_or_default();
        let kind = if archive.is_some() { PolicyChange::ShadowBegan } else { PolicyChange::ShadowEnded };
        let change = next(&self.changes(None, now).await?, kind, draft, by, now);
        self.commit(&change, archive.map(|archive| (archive, key.as_str())), now).await?;
        Ok(change)
    }

    /// The change, its archive with the key that signed it, and its audit record, in one durable commit.
    async fn commit(
        &self,
        change: &Change,
        archive: Option<(&[u8], &str)>,
        now: Timestamp,
    ) -> Result<(), ActivationError> {
        let key = place(change.epoch);
        let plain = serde_json::to_vec(change).map_err(|_| ActivationError::Foreign)?;
        let sealed = self.seals.at_rest(key.as_str(), &plain)?;
        let event = Event::Policy {
            epoch: change.epoch,
            change: change.change,
            version: change.version.clone(),
            by: change.by.clone(),
            key: archive.map(|(_, key)| key.to_owned()).unwrap_or_default(),
        };
        let mut batch = Batch::of(Write::Insert(key, sealed, None)).recording(event);
        if let Some((archive, _)) = archive {
            batch = batch.and(Write::Put(Key::new(ARCHIVES, &change.version), archive.to_vec(), None));
        }
        Ok(self.store.commit(Class::Durable, batch, now).await?)
    }
}

/// The version that the next bundle takes the place of: the one that waits for its time, or the one in effect.
fn replaced(changes: &[Change], now: Timestamp) -> Option<String> {
    let state = InEffect::at(changes, now);
    state.waiting.or(state.live).map(|change| change.version)
}

/// The next change of a list: of a bundle's version and sequence, made now, and effective at once.
fn next(changes: &[Change], change: PolicyChange, bundle: (String, u64), by: &str, now: Timestamp) -> Change {
    let last = changes.last();
    let (version, sequence) = bundle;
    Change {
        epoch: last.map_or(1, |last| last.epoch + 1),
        change,
        version,
        sequence,
        effective_from: now,
        made_at: now,
        by: by.to_owned(),
        previous: last.map(Change::digest).unwrap_or_default(),
    }
}

/// The key of a change: padded, so that the order of keys is the order of changes.
fn place(epoch: u64) -> Key {
    Key::new(CHANGES, &format!("{epoch:020}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(epoch: u64, change: PolicyChange, sequence: u64, effective_from: u64) -> Change {
        Change {
            epoch,
            change,
            version: format!("v{sequence}"),
            sequence,
            effective_from: Timestamp(effective_from),
            made_at: Timestamp(0),
            by: "officer".into(),
            previous: String::new(),
        }
    }

    #[test]
    fn going_back_leads_to_what_was_really_in_effect_before() {
        use PolicyChange::{Activated, RolledBack};
        let versions = |list: &[Change], now| {
            standing(list, Timestamp(now)).iter().map(|change| change.version.clone()).collect::<Vec<_>>()
        };
        // Back from the bad 10 to 5, on to 13: behind it is 5, and never 10 again.
        let list = [
            change(1, Activated, 5, 1),
            change(2, Activated, 10, 2),
            change(3, RolledBack, 5, 3),
            change(4, Activated, 13, 4),
        ];
        assert_eq!(versions(&list, 9), ["v5", "v13"]);
        // 11 was to take effect on day 50 and was overtaken on day 20.
        let list = [change(1, Activated, 9, 1), change(2, Activated, 11, 50), change(3, Activated, 12, 20)];
        assert_eq!(versions(&list, 10), ["v9"]);
        assert_eq!(versions(&list, 60), ["v9", "v12"]);
    }

    #[test]
    fn what_is_in_effect_follows_from_the_list_and_the_time() {
        use PolicyChange::{Activated, RolledBack, ShadowBegan, ShadowEnded};
        let list = [
            change(1, Activated, 1, 10),
            change(2, ShadowBegan, 9, 15),
            change(3, Activated, 2, 100),
            change(4, RolledBack, 1, 120),
            change(5, ShadowEnded, 0, 130),
        ];
        let at = |length: usize, now| {
            let state = InEffect::at(&list[..length], Timestamp(now));
            let version = |change: Option<Change>| change.map_or(String::new(), |change| change.version);
            (version(state.live), version(state.shadow), version(state.waiting))
        };
        let is = |live: &str, shadow: &str, waiting: &str| (live.to_owned(), shadow.to_owned(), waiting.to_owned());
        assert_eq!(at(1, 9), is("", "", "v1"));
        assert_eq!(at(2, 20), is("v1", "v9", ""));
        assert_eq!(at(3, 20), is("v1", "v9", "v2"));
        assert_eq!(at(3, 100), is("v2", "", ""));
        assert_eq!(at(4, 120), is("v1", "", ""));
    }

    /// A clock that was set back puts nothing out of effect that the list shows to be in effect.
    #[test]
    fn a_clock_set_back_does_not_bring_an_earlier_policy_back() {
        use PolicyChange::Activated;
        let made = |epoch, made_at| Change { made_at: Timestamp(made_at), ..change(epoch, Activated, epoch, made_at) };
        let list = [made(1, 1_000), made(2, 2_000)];
        for now in [2_000, 1_640, 0] {
            assert_eq!(InEffect::at(&list, Timestamp(now)).live.unwrap().version, "v2", "{now}");
            assert_eq!(standing(&list, Timestamp(now)).len(), 2, "{now}");
        }
    }

    #[test]
    fn what_was_cancelled_before_its_time_never_takes_effect() {
        use PolicyChange::{Activated, Cancelled};
        let made = |change: Change, made_at| Change { made_at: Timestamp(made_at), ..change };
        let list = [
            change(1, Activated, 1, 10),
            made(change(2, Activated, 2, 100), 20),
            made(change(3, Cancelled, 2, 30), 30),
        ];
        for now in [40, 100, 500] {
            let state = InEffect::at(&list, Timestamp(now));
            assert_eq!((state.live.unwrap().version.as_str(), state.waiting), ("v1", None), "{now}");
            assert_eq!(standing(&list, Timestamp(now)).len(), 1, "{now}");
        }
        // Too late is too late.
        let late = [list[0].clone(), list[1].clone(), made(list[2].clone(), 101)];
        assert_eq!(InEffect::at(&late, Timestamp(500)).live.unwrap().version, "v2");
    }
}
