//! One climb from an entity to its anchor.

use std::collections::{BTreeSet, VecDeque};

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

/// A climb that is under way.
pub(super) struct Climb<'a> {
    http: &'a dyn Http,
    anchor: &'a Anchor,
    now: Timestamp,
    calls: usize,
}

/// A place on the way up: an entity, and what was said of everybody below it.
struct Place {
    own: Statement,
    /// As they are signed, from the entity where the climb began.
    below: Vec<String>,
}

impl<'a> Climb<'a> {
    pub(super) fn new(http: &'a dyn Http, anchor: &'a Anchor, now: Timestamp) -> Self {
        Self { http, anchor, now, calls: 0 }
    }

    /// The shortest chain that holds, and its statements as they are signed.
    pub(super) async fn up(mut self, entity: &EntityId) -> Result<(TrustChain, Vec<String>), FederationError> {
        let top = self.fetch(&self.anchor.entity.configuration()).await?;
        let anchor = statement(&top, &self.anchor.keys, self.now)?;
        if anchor.sub != self.anchor.entity || !anchor.is_own() {
            return Err(FederationError(format!("{} speaks of somebody else", self.anchor.entity)));
        }
        if *entity == anchor.sub {
            let chain = TrustChain::new(anchor.clone(), Vec::new(), anchor)?;
            return Ok((chain, vec![top]));
        }
        let bottom = self.own(entity).await?;
        let mut places = VecDeque::from([Place { own: own_statement(&bottom, self.now)?, below: Vec::new() }]);
        let mut met = BTreeSet::from([entity.clone()]);
        let mut why = FederationError(format!("{entity} names no superior that leads to {}", anchor.sub));
        while let Some(place) = places.pop_front() {
            for superior in place.own.authority_hints.clone() {
                match self.step(&place, &superior, &anchor, &mut met).await {
                    Ok(Some(above)) if superior == anchor.sub => match self.descend(&bottom, &above.below, &anchor) {
                        Ok(chain) => {
                            let statements = [vec![bottom], above.below, vec![top]].concat();
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

    /// One step up: what a superior says of a place. Nothing, where somebody was met before or is at no host of the federation.
    async fn step(
        &mut self,
        place: &Place,
        superior: &EntityId,
        anchor: &Statement,
        met: &mut BTreeSet<EntityId>,
    ) -> Result<Option<Place>, FederationError> {
        let is_top = *superior == anchor.sub;
        if !self.anchor.may_call(superior.as_str()) || !(is_top || met.insert(superior.clone())) {
            return Ok(None);
        }
        let own = if is_top { anchor.clone() } else { own_statement(&self.own(superior).await?, self.now)? };
        let none = || FederationError(format!("{superior} says nowhere whom it vouches for"));
        let endpoint = own.endpoint("federation_fetch_endpoint").and_then(|at| asking(at, &place.own.sub));
        let said = self.fetch(endpoint.ok_or_else(none)?.as_str()).await?;
        let below = place.below.iter().cloned().chain([said]).collect();
        Ok(Some(Place { own, below }))
    }

    /// Down again: each statement verified with the keys that the one above it states, the entity's own last.
    fn descend(&self, bottom: &str, below: &[String], anchor: &Statement) -> Result<TrustChain, FederationError> {
        let mut keys = KeySet::clone(&self.anchor.keys);
        let mut superiors = VecDeque::new();
        for token in below.iter().rev() {
            let said = statement(token, &keys, self.now)?;
            keys = key_set(&said.jwks)?;
            superiors.push_front(said);
        }
        TrustChain::new(statement(bottom, &keys, self.now)?, superiors.into(), anchor.clone())
    }

    /// What an entity says of itself, as it is signed.
    async fn own(&mut self, entity: &EntityId) -> Result<String, FederationError> {
        self.fetch(&entity.configuration()).await
    }

    async fn fetch(&mut self, address: &str) -> Result<String, FederationError> {
        let refuse = |why: &str| FederationError(format!("{}: {why}", address.split('?').next().unwrap_or_default()));
        self.calls += 1;
        if self.calls > CALLS {
            return Err(refuse("too many calls would be needed"));
        }
        if !self.anchor.may_call(address) {
            return Err(refuse("is at no host of this federation"));
        }
        let request = http::Request::get(address).header(ACCEPT, "application/entity-statement+jwt").body(Vec::new());
        let request = request.map_err(|_| refuse("is no address"))?;
        let answer = self.http.send(request).await.map_err(|error| refuse(&error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(refuse("does not answer with a statement"));
        }
        String::from_utf8(answer.into_body()).map_err(|_| refuse("does not answer with a statement"))
    }
}
