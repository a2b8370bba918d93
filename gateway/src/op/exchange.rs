//! Token exchange (RFC 8693): a portal calls another platform for a person, with a token that is for that platform and says
//! no more than the one it comes from. Audience, scopes, claims and time can only shrink; who acts for the person is in it.

use gateway_core::audit::Event;
use gateway_core::circumstances::Login;
use gateway_core::claims::of_scope;
use gateway_core::client::Client;
use gateway_core::consent::Mode;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::subject::pairwise;
use gateway_core::time::Timestamp;
use gateway_core::token::{ACCESS_TOKEN_LIFETIME, About, AccessGrant, Actor, ExchangeRequest};
use gateway_core::verified;
use policies::decide::Demand;
use policies::{Facts, Service};
use serde_json::Value;

use super::access::{Standing, access};
use super::token::{Caller, internal};
use super::{dpop, mint};
use crate::app::{Active, App};
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
    let held = living(app, active, request.subject_token.expose()).await?;
    let held = held.ok_or_else(|| invalid("subject_token is no token of a person, or not good any more"))?;
    let about = held.about.as_ref().ok_or_else(|| invalid("subject_token is about nobody"))?;
    let source = active.catalog.policies().service(&held.service).ok_or_else(|| invalid("subject_token is over"))?;
    let actors = actors(caller, request, &held, source).await?;
    let service = active.service_at(&client.id, &request.resource);
    let service = service.filter(|service| service.exchange_from.contains(&held.service)).ok_or_else(|| {
        target("resource must name a service of this client that takes tokens of the service they come from")
    })?;
    if actors.len() > service.delegation_depth {
        return Err(target("more act for the person than this service takes"));
    }
    let scopes = request.scopes.clone().unwrap_or_else(|| held.scopes.clone());
    if !scopes.iter().all(|scope| held.scopes.contains(scope)) {
        return Err(OAuthError::new(OAuthCode::InvalidScope, "an exchange cannot ask for more than the token has"));
    }
    let now = app.now();
    let login = as_of_now(&about.login, held.issued_at, now);
    let facts = Facts { client: &client.id, service: &service.id, login: &login, demand: Demand::NONE };
    let permit = active.decide(&facts).map_err(|_| target("the policy of this service does not allow it"))?;
    let about = narrowed(caller, service, (&held, about), login, &scopes);
    let event = Event::TokenExchanged {
        grant: held.grant.clone(),
        client: client.id.clone(),
        from: held.service.clone(),
        service: service.id.clone(),
        scopes: scopes.clone(),
        released: about.claims.iter().map(|(name, _)| name.to_owned()).collect(),
        actors: actors.len(),
    };
    let grant = AccessGrant {
        grant: held.grant.clone(),
        client: client.id.clone(),
        service: service.id.clone(),
        scopes,
        about: Some(about),
        actors,
        confirmation: caller.confirmation.clone(),
        issued_at: now,
        expires_at: held.expires_at.min(now.plus(ACCESS_TOKEN_LIFETIME)),
    };
    dpop::use_up(app, caller.held.as_ref()).await?;
    let record = Batch::default().recording(event);
    app.store.commit(Class::Durable, record, now).await.map_err(|error| internal(&error))?;
    mint::exchanged(caller, &permit, grant).await.map_err(|error| internal(&error))
}

async fn living(app: &App, active: &Active, token: &str) -> Result<Option<AccessGrant>, OAuthError> {
    match access(app, active, token).await.map_err(|error| internal(&*error))? {
        Standing::Good(grant) => Ok(Some(*grant)),
        Standing::FellShort(..) | Standing::Dead => Ok(None),
    }
}

/// Who acts for the person with the new token. A token is exchanged by its own client, which proves the key that it is bound to,
/// or by a platform that it was given to, which then acts as well.
async fn actors(
    caller: &Caller<'_>,
    request: &ExchangeRequest,
    held: &AccessGrant,
    source: &Service,
) -> Result<Vec<Actor>, OAuthError> {
    let (app, active, client) = (caller.app, caller.active, caller.client);
    let mut actors = held.actors.clone();
    if held.client == client.id {
        if held.confirmation.is_some() && held.confirmation != caller.confirmation {
            return Err(invalid("subject_token is bound to another key"));
        }
    } else if source.is_served_by(&client.id) && active.admits(&client.id, &source.id) {
        actors.insert(0, Actor::Platform(client.id.clone()));
    } else {
        return Err(invalid("subject_token is not this client's, and it does not serve what it opens"));
    }
    let Some(token) = &request.actor_token else {
        // Where staff help people, who helps is said.
        let silent = client.staff_assisted && !actors.iter().any(|actor| matches!(actor, Actor::Helper(_)));
        return if silent { Err(invalid("actor_token is missing: staff help people here")) } else { Ok(actors) };
    };
    let helper = living(app, active, token.expose()).await?.filter(|helper| {
        helper.client == client.id && (helper.confirmation.is_none() || helper.confirmation == caller.confirmation)
    });
    let helper = helper
        .and_then(|helper| helper.about)
        .ok_or_else(|| invalid("actor_token is no token of a person, of this client, that is good"))?;
    actors.insert(0, Actor::Helper(helper.subject));
    Ok(actors)
}

fn as_of_now(login: &Login, issued_at: Timestamp, now: Timestamp) -> Login {
    Login { age: login.age.saturating_add(issued_at.age(now).as_secs()), at: now.week_minute(), ..login.clone() }
}

/// The person, with no more claims than the token had: of those, what the service would release by the very same rule, and what
/// the scopes stand for.
fn narrowed(
    caller: &Caller<'_>,
    service: &Service,
    (held, about): (&AccessGrant, &About),
    login: Login,
    scopes: &[String],
) -> About {
    let (policies, client): (_, &Client) = (caller.active.catalog.policies(), caller.client);
    let (parties, today) = ((&client.id, &service.id, &login.provider), caller.app.now().date());
    let fewer = !held.scopes.iter().all(|scope| scopes.contains(scope));
    let in_scope = |claim: &str| {
        let ours = |scope: &String| {
            service.release.iter().any(|row| row.claim.as_str() == claim && row.scope.as_ref() == Some(scope))
        };
        !fewer || scopes.iter().any(|scope| of_scope(scope).contains(&claim) || ours(scope))
    };
    let stands = |claim: &str| {
        let rule = about.rules.get(claim);
        in_scope(claim) && rule.is_some_and(|rule| policies.still_releases(parties, claim, rule, today))
    };
    let mut claims = about.claims.clone();
    claims.retain(stands);
    let verified = verified::retain(about.verified.clone(), &stands);
    let known = held.client == client.id && service.consent != Mode::Anonymous;
    let subject = match known {
        true => about.subject.clone(),
        false => pairwise(&caller.app.pairwise, &about.person, &client.sector),
    };
    // What was said of one matter is nothing to another.
    About { claims, verified, subject, login, details: None, ..about.clone() }
}
