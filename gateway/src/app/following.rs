//! Following what is in effect: each node loads what the list of changes says, and says so when it does not.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use certs::key::KeySet;
use gateway_core::time::Timestamp;

use super::{App, StartError};
use crate::activation::{ActivationError, Activations, Change, InEffect};
use crate::catalog::{self, Catalog};
use crate::seal::Seals;
use crate::source::Source;
use crate::store::{Class, Store};

/// How long a node that does not follow the list of changes serves on: what was taken out of policy may be served by it.
const GRACE: Duration = Duration::from_secs(30);
/// How long passes until a bundle is tried again that this node could not use for a reason of its own.
const AGAIN: Duration = Duration::from_secs(5);

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The durable class was written a moment ago.
    pub durable: bool,
    /// The ephemeral class was.
    pub ephemeral: bool,
    /// What is in effect here is what the list of changes says.
    pub follows: bool,
    /// It does, or did a moment ago.
    pub may_serve: bool,
}

impl State {
    /// Whether requests should be sent here.
    #[must_use]
    pub fn is_ready(self) -> bool {
        self.durable && self.ephemeral && self.may_serve
    }
}

/// How far this node has followed the list of changes.
#[derive(Default)]
pub(super) struct Followed {
    changes: Vec<Change>,
    /// The changes whose bundle cannot be used by any node: the log names each once.
    refused: BTreeSet<u64>,
    /// The latest moment at which it was looked what is in effect.
    latest: Option<Timestamp>,
    /// When a bundle could not be used for a reason of this node's own; it is tried again.
    failed: Option<Instant>,
    /// The same of a draft: it never holds up what is in effect.
    draft_failed: Option<Instant>,
    /// When somebody last looked how many people's data crossed a border.
    pub(super) counted_at: Option<Timestamp>,
}

impl Followed {
    /// Only what the bundle itself says can condemn it. A store that did not answer, or a file of this node's that could not be
    /// read, is tried again.
    fn gave_up(&mut self, change: &Change, error: &StartError) {
        if matches!(error, StartError::Bundle(_) | StartError::Activation(ActivationError::Archive(_))) {
            self.refused.insert(change.epoch);
        }
    }
}

impl App {
    /// How this node is.
    #[must_use]
    pub fn state(&self) -> State {
        let behind = *self.behind_since.lock().unwrap_or_else(PoisonError::into_inner);
        State {
            durable: self.store.is_writable(Class::Durable),
            ephemeral: self.store.is_writable(Class::Ephemeral),
            follows: behind.is_none(),
            may_serve: behind.is_none_or(|since| since.elapsed() < GRACE),
        }
    }

    /// Notes whether what is in effect here is what the list of changes says.
    fn note_following(&self, follows: bool) {
        let mut behind = self.behind_since.lock().unwrap_or_else(PoisonError::into_inner);
        *behind = if follows { None } else { behind.or_else(|| Some(Instant::now())) };
    }

    /// Follows the list of changes: what is in effect by now is in effect here when this returns. What cannot be followed
    /// changes nothing, and is named in the log.
    pub async fn follow(&self) {
        let Source::Signed { signers, secrets } = &self.source else { return };
        let signers = &signers.keys();
        let mut followed = self.followed.lock().await;
        let activations = Activations::new(&self.store, &self.seals, signers);
        match activations.changes(followed.changes.last(), self.now()).await {
            Ok(more) => followed.changes.extend(more),
            Err(error) => {
                self.note_following(false);
                return tracing::error!(%error, "the list of bundles cannot be read");
            }
        }
        // Nor does one that jumped ahead bring anything into effect before its time.
        let latest = match followed.latest {
            Some(latest) if !self.clock.is_plausible() => latest,
            latest => latest.unwrap_or(Timestamp(0)).max(self.now()),
        };
        followed.latest = Some(latest);
        // A clock that is set back takes nothing back here.
        let state = InEffect::at(&followed.changes, latest);
        let version = self.bundle().catalog.policies().version().to_owned();
        let live = state.live.filter(|change| change.version != version);
        self.note_following(live.is_none());
        let waits = followed.failed.is_some_and(|at| at.elapsed() < AGAIN);
        if let Some(change) = live.filter(|change| !waits && !followed.refused.contains(&change.epoch)) {
            let loaded = load(&activations, &change, secrets, self.now()).await;
            let taken = match loaded {
                Ok(catalog) => self.take_over(catalog).await.map_err(StartError::Secrets),
                Err(error) => Err(error),
            };
            self.note_following(taken.is_ok());
            match taken {
                Ok(()) => followed.failed = None,
                Err(error) => {
                    followed.gave_up(&change, &error);
                    followed.failed = Some(Instant::now());
                    tracing::error!(version = change.version, "the bundle in effect cannot be used here: {error}");
                }
            }
        }
        self.try_draft(&activations, state.shadow, &mut followed).await;
    }

    async fn try_draft(&self, activations: &Activations<'_>, draft: Option<Change>, followed: &mut Followed) {
        let Some(change) = draft else { return self.shadow.store(None) };
        let same = self.shadow().is_some_and(|shadow| shadow.version() == change.version);
        let waits = followed.draft_failed.is_some_and(|at| at.elapsed() < AGAIN);
        if same || waits || followed.refused.contains(&change.epoch) {
            return;
        }
        let compiled = match activations.in_effect(&change, self.now()).await {
            Ok(bundle) => catalog::policies(&bundle).map_err(StartError::Bundle),
            Err(error) => Err(error.into()),
        };
        match compiled {
            Ok(policies) => {
                tracing::info!(version = policies.version(), "a draft is tried in shadow");
                self.shadow.store(Some(Arc::new(policies)));
            }
            Err(error) => {
                followed.gave_up(&change, &error);
                followed.draft_failed = Some(Instant::now());
                tracing::error!(version = change.version, "the draft in shadow cannot be used: {error}");
            }
        }
    }
}

/// The bundle that the store says is in effect. At the start there is no other to keep, so it has to be usable.
pub(super) async fn in_effect(
    store: &Store,
    seals: &Seals,
    signers: &KeySet,
    secrets: &Path,
    now: Timestamp,
) -> Result<(Catalog, Followed), StartError> {
    let activations = Activations::new(store, seals, signers);
    let changes = activations.changes(None, now).await?;
    let live = InEffect::at(&changes, now).live.ok_or(ActivationError::None)?;
    let catalog = load(&activations, &live, secrets, now).await?;
    Ok((catalog, Followed { changes, ..Followed::default() }))
}

async fn load(
    activations: &Activations<'_>,
    change: &Change,
    secrets: &Path,
    now: Timestamp,
) -> Result<Catalog, StartError> {
    let bundle = activations.in_effect(change, now).await?;
    let secrets = secrets.to_owned();
    let compiled = tokio::task::spawn_blocking(move || {
        Catalog::compile(&bundle, &secrets).map_err(|problems| {
            // What is sound without this node's files fails for these.
            let own = catalog::sound(&bundle);
            if own { StartError::Secrets(problems) } else { StartError::Bundle(problems) }
        })
    });
    compiled.await.map_err(|error| StartError::Listen(error.to_string()))?
}
