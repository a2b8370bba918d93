//! Whom a federation vouches for (OpenID Federation 1.0 section 10): from an entity upwards, statement by statement, to the one
//! anchor that the configuration believes, and down again with the keys that each superior states.
//!
//! Nothing that an entity says sends us anywhere but to the origins that the federation's document lists. A climb makes a bounded
//! number of calls in a bounded time, goes in no circles, and is made once however many wait for it.

mod climb;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use certs::jws::{JwsError, Unverified, Verified};
use certs::key::{Algorithm, KeySet};
use gateway_core::federation::{
    FederationError, LONGEST_CHAIN, STATEMENT_TYPE, Statement, TRUST_MARK_TYPE, TrustChain, TrustMark, TrustMarkClaims,
};
use gateway_core::ids::EntityId;
use gateway_core::time::Timestamp;
use moka::future::Cache;
use serde_json::{Map, Value};
use url::Url;

use self::climb::{Climb, Top};
use crate::http::Http;
use crate::shares::Shares;

/// The longest that a chain serves, however long its statements would.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// How long nobody asks again for whom nobody vouched, in seconds: longer than finding out may take.
const PAUSE: u64 = 3 * PATIENCE.as_secs();
/// How long a climb may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is remembered, in bytes of statements.
const REMEMBERED: u64 = 64 * 1024 * 1024;
/// The most attempts that are remembered.
const ATTEMPTS: u64 = 200;
/// The most marks of one entity that are looked at.
const MARKS: usize = 8;

/// A federation that is believed.
#[derive(Debug, Clone)]
pub struct Anchor {
    /// The one at its top.
    pub entity: EntityId,
    /// Its keys, as they were handed over when somebody decided to believe it.
    pub keys: Arc<KeySet>,
    /// The origins that its entities have: nothing else is called.
    pub origins: Vec<String>,
    /// Another one whenever any of this is: what was found out under one says nothing under another.
    pub version: String,
}

/// An entity that a federation vouches for.
#[derive(Debug)]
pub struct Resolved {
    /// The statements that lead up to its anchor.
    pub chain: TrustChain,
    /// The same as they are signed, from the entity's own up to the anchor's own.
    pub statements: Vec<String>,
    /// The marks that it may show, by their type, with each mark as it is signed.
    pub marks: Vec<TrustMark>,
    /// Until when that is so.
    pub expires_at: Timestamp,
}

/// An entity, and the version of whom we believe.
type Who = (EntityId, String);
type Attempt = Result<Arc<Resolved>, FederationError>;

/// Finds out whom federations vouch for, and remembers it for as long as their statements last.
pub struct Resolver {
    http: Arc<dyn Http>,
    patience: Duration,
    kept: Cache<Who, Arc<Resolved>>,
    attempts: Cache<(Who, u64), Attempt>,
    tops: Cache<(String, u64), Result<Top, FederationError>>,
}

impl Resolver {
    /// One that knows nobody yet.
    #[must_use]
    pub fn new(http: Arc<dyn Http>) -> Self {
        let weigh = |_: &Who, found: &Arc<Resolved>| {
            let bytes: usize = found.statements.iter().map(String::len).sum();
            u32::try_from(2 * bytes).unwrap_or(u32::MAX)
        };
        let soon = Duration::from_secs(2 * PAUSE);
        Self {
            http,
            patience: PATIENCE,
            kept: Cache::builder().weigher(weigh).max_capacity(REMEMBERED).time_to_live(LONGEST).build(),
            attempts: Cache::builder().max_capacity(ATTEMPTS).time_to_live(soon).build(),
            tops: Cache::builder().max_capacity(ATTEMPTS).time_to_live(soon).build(),
        }
    }

    /// The chain of an entity, as it was found before and still holds, or found now. However many wait for it, finding out takes
    /// one of `places`, of which no host has more than its share.
    ///
    /// # Errors
    /// Why the federation does not vouch for it, as far as can be seen.
    pub async fn resolve(&self, entity: &EntityId, anchor: &Anchor, places: &Shares, now: Timestamp) -> Attempt {
        let who = (entity.clone(), anchor.version.clone());
        match self.kept.get(&who).await.filter(|known| !known.expires_at.is_past(now)) {
            Some(known) => Ok(known),
            None => self.renew(entity, anchor, places, now).await,
        }
    }

    /// The same, found now, whatever was found before.
    ///
    /// # Errors
    /// As above.
    pub async fn renew(&self, entity: &EntityId, anchor: &Anchor, places: &Shares, now: Timestamp) -> Attempt {
        if !anchor.may_call(entity.as_str()) {
            return Err(FederationError(format!("{entity} is at no host of this federation")));
        }
        let who = (entity.clone(), anchor.version.clone());
        let late = |_| Err(FederationError(format!("{entity}: its federation takes too long")));
        let climbed = async {
            let host = Url::parse(entity.as_str()).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
            let Some(_place) = places.take(&[&host], self.patience / 5).await else { return Err(busy()) };
            tokio::time::timeout(self.patience, self.climbed(entity, anchor, now)).await.unwrap_or_else(late)
        };
        let key = (who.clone(), now.0 / PAUSE);
        // What ended since it was found says nothing any more.
        if self.attempts.get(&key).await.is_some_and(|known| known.is_ok_and(|found| found.expires_at.is_past(now))) {
            self.attempts.invalidate(&key).await;
        }
        let attempt = self.attempts.get_with(key.clone(), climbed).await;
        match &attempt {
            Ok(found) => self.kept.insert(who, Arc::clone(found)).await,
            Err(error) if is_busy(error) => self.attempts.invalidate(&key).await,
            Err(_) => {}
        }
        attempt
    }

    /// Forgets what was found of an entity that cannot be used as it is: it may say something else soon.
    pub async fn forget(&self, entity: &EntityId, anchor: &Anchor) {
        self.kept.invalidate(&(entity.clone(), anchor.version.clone())).await;
    }

    async fn climbed(&self, entity: &EntityId, anchor: &Anchor, now: Timestamp) -> Attempt {
        // Whoever asks for many is answered by one look at the anchor.
        let key = (anchor.version.clone(), now.0 / PAUSE);
        let top = self.tops.get_with(key, Top::fetch(&*self.http, anchor, now)).await?;
        let mut climb = Climb::new(&*self.http, anchor, &top, now);
        let (chain, statements) = climb.up(entity).await?;
        let mut expires_at = chain.expires_at().min(now.plus(LONGEST));
        let mut marks = Vec::new();
        for mark in chain.leaf().trust_marks.iter().take(MARKS) {
            match believed(mark, &chain, (anchor, now), &mut climb).await {
                Ok(until) => {
                    expires_at = until.map_or(expires_at, |until| until.min(expires_at));
                    marks.push(mark.clone());
                }
                Err(error) => tracing::info!(%entity, kind = mark.kind, %error, "a mark that is not believed"),
            }
        }
        Ok(Arc::new(Resolved { chain, statements, marks, expires_at }))
    }
}

/// Whether there was no place to find out, which says nothing about the entity.
#[must_use]
pub fn is_busy(error: &FederationError) -> bool {
    *error == busy()
}

fn busy() -> FederationError {
    FederationError("too many are looked up at once".to_owned())
}

/// Whether a mark is what it says, by somebody who may say so (section 7.3); until when.
async fn believed(
    mark: &TrustMark,
    chain: &TrustChain,
    (anchor, now): (&Anchor, Timestamp),
    climb: &mut Climb<'_>,
) -> Result<Option<Timestamp>, FederationError> {
    let refuse = |why: &str| FederationError(why.to_owned());
    // An owner's delegation would have to be verified as well (section 7.2): such marks are not believed.
    if chain.anchor().owned_trust_marks.contains(&mark.kind) {
        return Err(refuse("the mark belongs to somebody who lets others issue it"));
    }
    let issuers = chain.anchor().trust_mark_issuers.get(&mark.kind);
    let issuers = issuers.ok_or_else(|| refuse("the anchor knows no such mark"))?;
    let claimed = certs::jws::claimed(&mark.mark).and_then(|claims| claims.get("iss")?.as_str()?.parse().ok());
    let issuer: EntityId = claimed.ok_or_else(|| refuse("it does not say who issued it"))?;
    if !issuers.contains(&issuer) {
        return Err(refuse("its issuer may not issue such marks"));
    }
    let (keys, known_until) = if issuer == anchor.entity {
        (KeySet::clone(&anchor.keys), None)
    } else {
        let issuing = climb.up(&issuer).await?.0;
        (key_set(issuing.keys())?, Some(issuing.expires_at()))
    };
    let said = verified(&mark.mark, TRUST_MARK_TYPE, &keys, now).map_err(|error| refuse(&error.to_string()))?;
    let said = TrustMarkClaims::read(&said, now)?;
    if said.iss != issuer || said.sub != *chain.entity() || said.kind != mark.kind {
        return Err(refuse("it is another's, or of another kind"));
    }
    Ok(said.exp.into_iter().chain(known_until).min())
}

impl Anchor {
    /// Whether an address is of this federation's.
    #[must_use]
    pub fn may_call(&self, address: &str) -> bool {
        gateway_core::registration::is_within(address, &self.origins)
    }
}

fn key_set(jwks: &Value) -> Result<KeySet, FederationError> {
    let keys = KeySet::parse(jwks.to_string().as_bytes());
    keys.map_err(|error| FederationError(format!("keys of a statement: {error}")))
}

fn verified(token: &str, typ: &str, keys: &KeySet, now: Timestamp) -> Result<Verified<Map<String, Value>>, JwsError> {
    let unverified = Unverified::parse(token)?;
    if unverified.typ() != Some(typ) {
        return Err(JwsError::Header);
    }
    unverified.verify(&keys.living(now.0), &Algorithm::ALL)
}

/// A statement that these keys signed.
fn statement(token: &str, keys: &KeySet, now: Timestamp) -> Result<Statement, FederationError> {
    let claims =
        verified(token, STATEMENT_TYPE, keys, now).map_err(|error| FederationError(format!("a statement: {error}")))?;
    Statement::read(&claims, now)
}

/// What an entity says of itself, signed with a key that it says is its own: good for finding out whom to ask, and for
/// nothing else.
fn own_statement(token: &str, now: Timestamp) -> Result<Statement, FederationError> {
    let claimed = certs::jws::claimed(token).and_then(|claims| claims.get("jwks").cloned());
    statement(token, &key_set(&claimed.unwrap_or_default())?, now)
}

/// The address of `endpoint` with a query.
fn asking(endpoint: &str, sub: &EntityId) -> Option<Url> {
    let mut url = Url::parse(endpoint).ok()?;
    url.query_pairs_mut().append_pair("sub", sub.as_str());
    Some(url)
}
