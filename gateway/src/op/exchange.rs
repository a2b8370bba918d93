//! Token exchange (RFC 8693): a portal calls another platform for a person, with a token that is for that platform and says
//! no more than the one it comes from. Audience, scopes, claims and time can only shrink; who helps the person is in it; and it is
//! good for no longer than everything that it rests on.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_core::audit::{Event, ExchangeFacts};
use gateway_core::circumstances::Login;
use gateway_core::claims::of_scope;
use gateway_core::consent::Mode;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::PersonId;
use gateway_core::subject::pairwise;
use gateway_core::time::Timestamp;
use gateway_core::token::{About, AccessGrant, ExchangeRequest, Passed};
use policies::decide::Demand;
use policies::service::{CONSENT, Release};
use policies::{Facts, Service};
use serde_json::Value;

use super::access::{Standing, access};
use super::judge::recorded;
use super::token::{Caller, internal};
use super::{dpop, mint};
use crate::store::{Batch, Class};

fn invalid(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidRequest, why)
}

fn target(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidTarget, why)
}

/// The token that another is exchanged for.
pub(super) async fn exchange(caller: &Caller<'_>, request: &ExchangeRequest) -> Result<Value, OAuthError> {
    let (app, active, client) = (caller.app, caller.active, caller.client);
    if client.is_public() {
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "a public client cannot exchange tokens"));
    }
    let held = own(caller, request.subject_token.expose()).await?;
    let (held, about) = held.ok_or_else(|| invalid("subject_token is no good token of this client about a person"))?;
    let service = active.service_at(&client.id, &request.resource);
    let service = service.filter(|service| service.exchange_from.contains(&held.service)).ok_or_else(|| {
        target("resource must name a service of this client that takes tokens of the service they come from")
    })?;
    let actors = actors(caller, request, service, (&held, &about)).await?;
    if actors.len() > service.delegation_depth {
        return Err(target("more help the person than this service takes"));
    }
    let mut scopes = request.scopes.clone().unwrap_or_else(|| held.scopes.clone());
    if !scopes.iter().all(|scope| held.scopes.contains(scope)) {
        return Err(OAuthError::new(OAuthCode::InvalidScope, "an exchange cannot ask for more than the token has"));
    }
    scopes.retain(|scope| service.knows_scope(scope));
    let now = app.now();
    let login = as_of_now(&about.login, held.issued_at, now);
    let facts = Facts { client: &client.id, service: &service.id, login: &login, demand: Demand::NONE };
    let permit = active.decide(&facts).map_err(|_| target("the policy of this service does not allow it"))?;
    let decision = recorded(app, active, &facts, ("permit", permit.rules()));
    let source = active.catalog.policies().service(&held.service).ok_or_else(|| target("the service is gone"))?;
    let about = narrowed(caller, (source, service), (&held, about), login, &scopes);
    let event = Event::TokenExchanged(Box::new(ExchangeFacts {
        grant: held.grant.clone(),
        from: held.service.clone(),
        decision,
        scopes: scopes.clone(),
        released: about.claims.iter().map(|(name, _)| name.to_owned()).collect(),
        helpers: actors.iter().map(|helper| pairwise(&app.pairwise, helper, &client.sector)).collect(),
    }));
    let mut through = held.through;
    through.push(Passed { id: held.id, service: held.service });
    let grant = AccessGrant {
        id: mint::token_id(app).map_err(|error| internal(&error))?,
        grant: held.grant,
        client: client.id.clone(),
        service: service.id.clone(),
        scopes,
        about: Some(about),
        actors,
        through,
        confirmation: caller.confirmation.clone(),
        issued_at: now,
        expires_at: held.expires_at.min(mint::access_ends(caller)),
    };
    dpop::use_up(app, caller.held.as_ref()).await?;
    let record = Batch::default().recording(event);
    app.store.commit(Class::Durable, record, now).await.map_err(|error| internal(&error))?;
    mint::exchanged(caller, &permit, grant).await.map_err(|error| internal(&error))
}

/// A good token of the caller's own about a person, whose key the caller has proven if it is bound to one. Nobody else exchanges it:
/// whom it was given to stands where the person never agreed to, and in circumstances of their own.
async fn own(caller: &Caller<'_>, token: &str) -> Result<Option<(AccessGrant, About)>, OAuthError> {
    let standing = access(caller.app, caller.active, token).await.map_err(|error| internal(&*error))?;
    let Standing::Good(mut grant) = standing else { return Ok(None) };
    let bound = grant.confirmation.is_none() || grant.confirmation == caller.confirmation;
    let theirs = grant.client == caller.client.id && bound;
    Ok(grant.about.take().filter(|_| theirs).map(|about| (*grant, about)))
}

/// Who helps the person with the new token: whoever did so far and, in front, whose token comes with the request.
async fn actors(
    caller: &Caller<'_>,
    request: &ExchangeRequest,
    service: &Service,
    (held, about): (&AccessGrant, &About),
) -> Result<Vec<PersonId>, OAuthError> {
    let mut actors = held.actors.clone();
    let Some(token) = &request.actor_token else {
        // Where staff help people, who helps is said.
        let silent = caller.client.staff_assisted && actors.is_empty();
        return if silent { Err(invalid("actor_token is missing: staff help people here")) } else { Ok(actors) };
    };
    let policies = caller.active.catalog.policies();
    let known = |grant: &AccessGrant| policies.service(&grant.service).is_some_and(|s| s.consent != Mode::Anonymous);
    let shows = |grant: &AccessGrant| service.helpers_from.is_empty() || service.helpers_from.contains(&grant.service);
    let helper = own(caller, token.expose()).await?.filter(|(grant, helper)| {
        // Nobody helps themselves, and whoever is helped does not help.
        grant.actors.is_empty()
            && known(grant)
            && shows(grant)
            && helper.person != about.person
            && !actors.contains(&helper.person)
    });
    let (_, helper) =
        helper.ok_or_else(|| invalid("actor_token is no good token of this client about somebody else"))?;
    actors.insert(0, helper.person);
    Ok(actors)
}

fn as_of_now(login: &Login, issued_at: Timestamp, now: Timestamp) -> Login {
    Login { age: login.age.saturating_add(issued_at.age(now).as_secs()), at: now.week_minute(), ..login.clone() }
}

/// The person, with no more claims than the token had: of those, what the service would release by the very same rule and on other
/// grounds than their consent, which was to another matter; and what the scopes stand for.
fn narrowed(
    caller: &Caller<'_>,
    (source, service): (&Service, &Service),
    (held, about): (&AccessGrant, About),
    login: Login,
    scopes: &[String],
) -> About {
    let policies = caller.active.catalog.policies();
    let (parties, today) = ((&caller.client.id, &service.id, &login.provider), caller.app.now().date());
    let any_row = |claim: &str, is: &dyn Fn(&Release) -> bool| {
        service.release.iter().any(|row| row.claim.as_str() == claim && is(row))
    };
    let fewer = !held.scopes.iter().all(|scope| scopes.contains(scope));
    let in_scope = |claim: &str| {
        let ours = |scope: &String| any_row(claim, &|row| row.scope.as_ref() == Some(scope));
        !fewer || scopes.iter().any(|scope| of_scope(scope).contains(&claim) || ours(scope))
    };
    let at_source = (&caller.client.id, &source.id, &login.provider);
    let stands = |claim: &str| {
        let by_consent = |row: &Arc<Release>| row.claim.as_str() == claim && row.ground == CONSENT;
        let agreed = source.release.iter().chain(&service.release).any(by_consent);
        let rule = about.rules.get(claim).filter(|_| !agreed && in_scope(claim))?;
        let is_rule = |row: &Release| policies.rule_of(at_source, row).as_ref() == Some(rule);
        let of_source = |row: &&Arc<Release>| row.claim.as_str() == claim && is_rule(row);
        policies.releases_as(parties, source.release.iter().find(of_source)?, today)
    };
    let rules: BTreeMap<String, String> =
        about.claims.iter().filter_map(|(claim, _)| Some((claim.to_owned(), stands(claim)?))).collect();
    let mut claims = about.claims.clone();
    claims.retain(|claim: &str| rules.contains_key(claim));
    // What was checked, and what was said of one matter, is not said of another.
    About { claims, rules, login, verified: None, details: None, ..about }
}
