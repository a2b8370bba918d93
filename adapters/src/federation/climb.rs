//! One climb from an entity to its anchor.

use std::collections::{HashMap, VecDeque};

use certs::key::KeySet;
use gateway_core::federation::{FederationError, Statement, TrustChain};
use gateway_core::ids::EntityId;
use gateway_core::time::Timestamp;
use http::StatusCode;
use http::header::ACCEPT;

use super::{Anchor, LONGEST_CHAIN, asking, key_set, own_statement, statement};
use crate::http::Http;

/// The most calls of one climb: two for each superior of a deep chain, and some that lead nowhere.
const CALLS: usize = 32;
/// The most statements that one climb reads: the same may be on several ways.
const STATEMENTS: usize = 128;

/// What the anchor says of itself.
#[derive(Clone)]
pub(super) struct Top {
    /// As it is signed.
    pub(super) token: String,
    /// As it was verified with the keys that the configuration has.
    pub(super) said: Statement,
}

impl Top {
    pub(super) async fn fetch(http: &dyn Http, anchor: &Anchor, now: Timestamp) -> Result<Self, FederationError> {
        let token = fetch(http, anchor, &anchor.entity.configuration()).await?;
        let said = statement(&token, &anchor.keys, now)?;
        of(&said, &anchor.entity)?;
        Ok(Self { token, said })
    }
}

/// An entity speaks of itself, under the very name by which it was asked: at one address could be anybody's words.
fn of(said: &Statement, entity: &EntityId) -> Result<(), FederationError> {
    if said.is_own() && said.sub == *entity {
        return Ok(());
    }
    Err(FederationError(format!("what lies at the address of {entity} is about somebody else")))
}

/// A climb that is under way.
pub(super) struct Climb<'a> {
    http: &'a dyn Http,
    anchor: &'a Anchor,
    top: &'a Top,
    now: Timestamp,
    read: usize,
    /// What each address answered: two ways up may pass the same entity.
    answers: HashMap<String, Result<String, FederationError>>,
}

/// A place on the way up: an entity, and what was said of everybody below it.
struct Place {
    own: Statement,
    /// Whom the way led past, this place included.
    passed: Vec<EntityId>,
    /// As they are signed, from the entity where the climb began.
    below: Vec<String>,
}

impl<'a> Climb<'a> {
    pub(super) fn new(http: &'a dyn Http, anchor: &'a Anchor, top: &'a Top, now: Timestamp) -> Self {
        Self { http, anchor, top, now, read: 0, answers: HashMap::new() }
    }

    /// The shortest chain that holds, and its statements as they are signed.
    pub(super) async fn up(&mut self, entity: &EntityId) -> Result<(TrustChain, Vec<String>), FederationError> {
        let top = self.top;
        if *entity == top.said.sub {
            let chain = TrustChain::new(top.said.clone(), Vec::new(), top.said.clone())?;
            return Ok((chain, vec![top.token.clone()]));
        }
        let bottom = self.own(entity).await?;
        let own = own_statement(&bottom, self.now)?;
        of(&own, entity)?;
        let mut places = VecDeque::from([Place { own, passed: vec![entity.clone()], below: Vec::new() }]);
        let mut why = FederationError(format!("{entity} names no superior that leads to {}", top.said.sub));
        while let Some(place) = places.pop_front() {
            for superior in place.own.authority_hints.clone() {
                match self.step(&place, &superior).await {
                    Ok(Some(above)) if superior == top.said.sub => match self.descend(&bottom, &above.below) {
                        Ok(chain) => {
                            let statements = [vec![bottom], above.below, vec![top.token.clone()]].concat();
                            return Ok((chain, statements));
                        }
                        Err(error) => why = error,
                    },
                    Ok(Some(above)) if above.below.len() < LONGEST_CHAIN => places.push_back(above),
                    Ok(_) => {}
                    Err(error) => why = error,
                }
            }
        }
        Err(why)
    }

    /// One step up: what a superior says of a place. Nothing, where the way leads in a circle or to no host of the federation.
    async fn step(&mut self, place: &Place, superior: &EntityId) -> Result<Option<Place>, FederationError> {
        let is_top = *superior == self.top.said.sub;
        if !self.anchor.may_call(superior.as_str()) || place.passed.contains(superior) {
            return Ok(None);
        }
        let own = if is_top { self.top.said.clone() } else { own_statement(&self.own(superior).await?, self.now)? };
        of(&own, superior)?;
        let none = || FederationError(format!("{superior} says nowhere whom it vouches for"));
        let endpoint = own.endpoint("federation_fetch_endpoint").and_then(|at| asking(at, &place.own.sub));
        let said = self.fetch(endpoint.ok_or_else(none)?.as_str()).await?;
        let below = place.below.iter().cloned().chain([said]).collect();
        let passed = place.passed.iter().chain([superior]).cloned().collect();
        Ok(Some(Place { own, passed, below }))
    }

    /// Down again: each statement verified with the keys that the one above it states, the entity's own last.
    fn descend(&self, bottom: &str, below: &[String]) -> Result<TrustChain, FederationError> {
        let mut keys = KeySet::clone(&self.anchor.keys);
        let mut superiors = VecDeque::new();
        for token in below.iter().rev() {
            let said = statement(token, &keys, self.now)?;
            keys = key_set(&said.jwks)?;
            superiors.push_front(said);
        }
        TrustChain::new(statement(bottom, &keys, self.now)?, superiors.into(), self.top.said.clone())
    }

    /// What an entity says of itself, as it is signed.
    async fn own(&mut self, entity: &EntityId) -> Result<String, FederationError> {
        self.fetch(&entity.configuration()).await
    }

    async fn fetch(&mut self, address: &str) -> Result<String, FederationError> {
        self.read += 1;
        let known = self.answers.get(address);
        if self.read > STATEMENTS || known.is_none() && self.answers.len() >= CALLS {
            return Err(FederationError(format!("{address}: too many statements would be needed")));
        }
        if let Some(known) = known {
            // What costs no call may still cost a while.
            tokio::task::yield_now().await;
            return known.clone();
        }
        let answer = fetch(self.http, self.anchor, address).await;
        self.answers.insert(address.to_owned(), answer.clone());
        answer
    }
}

async fn fetch(http: &dyn Http, anchor: &Anchor, address: &str) -> Result<String, FederationError> {
    let refuse = |why: &str| FederationError(format!("{}: {why}", address.split('?').next().unwrap_or_default()));
    if !anchor.may_call(address) {
        return Err(refuse("is at no host of this federation"));
    }
    let request = http::Request::get(address).header(ACCEPT, "application/entity-statement+jwt").body(Vec::new());
    let request = request.map_err(|_| refuse("is no address"))?;
    let answer = http.send(request).await.map_err(|error| refuse(&error.to_string()))?;
    if answer.status() != StatusCode::OK {
        return Err(refuse("does not answer with a statement"));
    }
    String::from_utf8(answer.into_body()).map_err(|_| refuse("does not answer with a statement"))
}
