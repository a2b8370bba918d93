//! The snapshot that one step of a login works with: what the bundle says, how to reach its providers, and who registered
//! under its documents.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adapters::Adapter;
use gateway_core::client::Client;
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, EntityId, ProviderId, ServiceId};
use gateway_core::time::Timestamp;
use policies::decide::BackEndPermit;
use policies::{Facts, Permit, Refusal, Service};

use crate::admission::Admission;
use crate::catalog::{Catalog, Registered};
use crate::roll::{Record, Roll};

/// Adapters by their provider.
pub type Adapters = HashMap<ProviderId, Arc<dyn Adapter>>;

/// How long a portal stays on the roll for which no federation vouches any more: longer than any of its grants.
const KEPT: Duration = Duration::from_secs(2 * 86_400);

/// A catalog with its adapters opened, and the clients that registered themselves.
#[derive(Clone)]
pub struct Active {
    /// What the bundle says.
    pub catalog: Arc<Catalog>,
    /// How to reach its providers.
    pub adapters: Arc<Adapters>,
    roll: Arc<Roll>,
    joined: HashMap<ClientId, Registered>,
    /// The names of those on the roll that joined by a federation, by what they call themselves.
    entities: HashMap<String, ClientId>,
}

impl Active {
    /// The snapshot of a bundle and a roll; `before` is the one before, where there is one. A client on the roll that does not fit its document as that is now is no client.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, adapters: Arc<Adapters>, roll: Arc<Roll>, before: Option<&Self>) -> Self {
        let before = before.filter(|before| Arc::ptr_eq(&before.catalog, &catalog));
        let mut joined = HashMap::new();
        for (id, record) in roll.iter() {
            let Some(admission) = catalog.admission(id).filter(|admission| {
                let terms = admission.terms.federation.as_ref();
                let believed = terms.and_then(|terms| catalog.federation(&terms.federation));
                admission.still_lets_in(id, record, believed.map(|federation| &federation.anchor))
            }) else {
                continue;
            };
            // What did not change is not read again.
            let same = before.filter(|before| before.roll.get(id) == Some(record));
            if let Some(known) = same.and_then(|before| before.joined.get(id)) {
                joined.insert(id.clone(), known.clone());
                continue;
            }
            let secret = record.secret.as_ref().and_then(|digest| digest.parse().ok());
            let vouched = admission.vouched(&record.metadata, None);
            match vouched.and_then(|_| admission.client(&record.metadata, id, secret.as_ref())) {
                Ok(registered) => drop(joined.insert(id.clone(), registered)),
                Err(error) => tracing::warn!(client = %id, %error, "does not fit its document any more"),
            }
        }
        let entities = by_entity(&roll, &joined);
        Self { catalog, adapters, roll, joined, entities }
    }

    /// A client, of the bundle or of the roll, by its name here or the one by which it calls itself.
    #[must_use]
    pub fn client(&self, id: &ClientId) -> Option<&Registered> {
        let entity = || self.joined.get(self.entities.get(id.as_str())?);
        self.catalog.client(id).or_else(|| self.joined.get(id)).or_else(entity)
    }

    /// Whether a client is served now: its profile is, and whoever vouches for it still does.
    #[must_use]
    pub fn serves(&self, client: &Client, now: Timestamp) -> bool {
        let ended = self.vouched_until(&client.id).is_some_and(|until| until.is_past(now));
        !ended && self.catalog.policies().vocabulary().retiring.serves(client.profile, now.date())
    }

    /// Until when a federation vouches for a client that joined by it.
    #[must_use]
    pub fn vouched_until(&self, client: &ClientId) -> Option<Timestamp> {
        Some(self.roll.get(client)?.vouched.as_ref()?.expires_at)
    }

    /// Whether somebody was let in by this name once: no federation may vouch for it any more, or not to us.
    #[must_use]
    pub fn knew(&self, entity: &EntityId) -> bool {
        self.entities.contains_key(entity.as_str())
    }

    /// Whoever joined by a federation that still vouches for them, and will not at `soon`; the first to end first.
    #[must_use]
    pub fn ending(&self, now: Timestamp, soon: Timestamp) -> Vec<&ClientId> {
        let ends = |id: &ClientId| self.vouched_until(id).filter(|until| !until.is_past(now) && *until < soon);
        let mut ending: Vec<(Timestamp, &ClientId)> =
            self.joined.keys().filter_map(|id| ends(id).map(|until| (until, id))).collect();
        ending.sort();
        ending.into_iter().map(|(_, id)| id).collect()
    }

    /// Whoever joined by a federation that has long stopped to vouch for them; where many have come and gone under a document, those
    /// who went first.
    #[must_use]
    pub fn long_ended(&self, now: Timestamp) -> Vec<&ClientId> {
        let mut gone: HashMap<&str, Vec<(Timestamp, &ClientId)>> = HashMap::new();
        for (id, _) in self.roll.iter() {
            if let Some(until) = self.vouched_until(id).filter(|until| until.is_past(now)) {
                gone.entry(id.in_policy()).or_default().push((until, id));
            }
        }
        let mut ended = Vec::new();
        for mut of_one in gone.into_values() {
            of_one.sort_by(|a, b| b.cmp(a));
            let most =
                of_one.first().and_then(|(_, id)| self.catalog.admission(id)).map_or(0, |known| known.terms.most);
            let goes = |(at, (until, _)): &(usize, (Timestamp, &ClientId))| *at >= most || until.age(now) > KEPT;
            ended.extend(of_one.into_iter().enumerate().filter(goes).map(|(_, (_, id))| id));
        }
        ended
    }

    /// Every client.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.catalog.clients().chain(self.joined.values().map(|registered| &registered.client))
    }

    /// A client that registered itself: its record, and the document that it did so under. It may not fit that any more.
    #[must_use]
    pub fn joined(&self, id: &ClientId) -> Option<(&Record, &Admission)> {
        Some((self.roll.get(id)?, self.catalog.admission(id)?))
    }

    /// How many of the places under a document are taken.
    #[must_use]
    pub fn registered_under(&self, admission: &Admission, now: Timestamp) -> usize {
        let id = admission.template.id.as_str();
        self.roll.iter().filter(|(client, _)| client.in_policy() == id && self.has_place(client, now)).count()
    }

    /// How many stand on the roll under a document, whether they take a place or not.
    #[must_use]
    pub fn listed_under(&self, admission: &Admission) -> usize {
        let id = admission.template.id.as_str();
        self.roll.iter().filter(|(client, _)| client.in_policy() == id).count()
    }

    /// Whether a client takes one of the places under its document. Whoever joined by a federation does as long as that vouches
    /// for it, and we believe that.
    #[must_use]
    pub fn has_place(&self, client: &ClientId, now: Timestamp) -> bool {
        let lasts = |until: Timestamp| !until.is_past(now) && self.joined.contains_key(client);
        self.roll.get(client).is_some() && self.vouched_until(client).is_none_or(lasts)
    }

    /// The roll, as far as this snapshot knows it.
    #[must_use]
    pub fn roll(&self) -> &Arc<Roll> {
        &self.roll
    }

    /// Whether a client may use a service at all: one that registered itself and did not pass its check list has only what
    /// its document opens to it before.
    #[must_use]
    pub fn admits(&self, client: &ClientId, service: &ServiceId) -> bool {
        if !client.registered_itself() {
            return self.catalog.client(client).is_some();
        }
        let joined = self.joined(client).filter(|_| self.joined.contains_key(client));
        joined.is_some_and(|(record, admission)| record.live || admission.terms.trial_services.contains(service))
    }

    /// The service that a client may name by this `resource` URI.
    #[must_use]
    pub fn service_at(&self, client: &ClientId, resource: &str) -> Option<&Service> {
        let service = self.catalog.policies().service_at(client, resource);
        service.filter(|service| self.admits(client, &service.id))
    }

    /// The decision for a client that acts for itself.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn decide_back_end(&self, client: &ClientId, service: &ServiceId) -> Result<BackEndPermit<'_>, Refusal> {
        if !self.admits(client, service) {
            return Err(Refusal::by(Failure::PolicyRefused, "client-is-admitted"));
        }
        self.catalog.policies().decide_back_end(client, service)
    }

    /// **The** decision, for every path: may this login serve this client, as it is registered now, and service?
    ///
    /// # Errors
    /// A [`Refusal`] with its rules.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Permit, Refusal> {
        if !self.admits(facts.client, facts.service) {
            return Err(Refusal::by(Failure::PolicyRefused, "client-is-admitted"));
        }
        self.catalog.policies().decide(facts)
    }
}

/// Which client an entity is. Where it joined under several documents, one that lets it in today, and of those the one whose chain
/// lasts longest: the same on every node.
fn by_entity(roll: &Roll, joined: &HashMap<ClientId, Registered>) -> HashMap<String, ClientId> {
    let mut found: HashMap<String, (bool, Option<Timestamp>, &ClientId)> = HashMap::new();
    for (id, record) in roll.iter() {
        let Some(entity) = id.entity() else { continue };
        let until = record.vouched.as_ref().map(|vouched| vouched.expires_at);
        let this = (joined.contains_key(id), until, id);
        let best = found.entry(entity.to_owned()).or_insert(this);
        *best = (*best).max(this);
    }
    found.into_iter().map(|(entity, (.., id))| (entity, id.clone())).collect()
}
