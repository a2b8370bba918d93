//! The refresh grant (RFC 6749 section 6): a token serves once and another takes its place (RFC 9700 section 4.14.2). The
//! login behind it is put to policy as it is now: as old as it has become, at this hour, under the bundle in effect.

use gateway_core::assertion::UNKNOWN_AGE;
use gateway_core::audit::Event;
use gateway_core::circumstances::Login;
use gateway_core::claims::of_scope;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::time::Timestamp;
use gateway_core::token::{CodeGrant, RefreshGrant, RefreshRequest, invalid_refresh};
use serde_json::Value;

use super::access::Error;
use super::token::{Caller, check_resource, decide, internal, is_revoked, may_refresh, still_granted, unless_replayed};
use super::{dpop, mint};
use crate::app::{Active, App};
use crate::links::Links;
use crate::receipts::is_withdrawn;
use crate::store::take::take;
use crate::store::{Class, Key, StoreError};

/// Refresh tokens that were used, and the grants they belonged to.
pub(super) const USED: &str = "refreshed";

/// Uses a refresh token.
///
/// A FAPI client keeps its token: it cannot be used without the client's key, and an answer that got lost would otherwise lose
/// the grant (FAPI 2.0 Security Profile section 5.3.2.1).
pub(super) async fn refresh(caller: &Caller<'_>, request: &RefreshRequest) -> Result<Value, OAuthError> {
    let used = Key::of_secret(USED, request.token.expose());
    let outcome = try_refresh(caller, request, &used).await;
    unless_replayed(caller.app, &used, &caller.client.id, outcome).await
}

async fn try_refresh(caller: &Caller<'_>, request: &RefreshRequest, used: &Key) -> Result<Value, OAuthError> {
    let Caller { app, active, client, confirmation, .. } = caller;
    let now = app.now();
    let found = find(app, request.token.expose(), now).await.map_err(|error| internal(&*error))?;
    let refresh = found.ok_or_else(invalid_refresh)?;
    let grant = &refresh.grant;
    let bound = refresh.confirmation.is_none() || refresh.confirmation == *confirmation;
    if grant.client != client.id
        || !bound
        || refresh.expires_at.is_past(now)
        || may_refresh(active, client, grant).is_none()
    {
        return Err(invalid_refresh());
    }
    check_resource(active, client, request.resource.as_deref(), grant)?;
    let renewed = narrowed(active, as_of_now(grant, now), request)?;
    let permit = decide(active, &renewed);
    let stopped = is_stopped(app, grant, now).await.map_err(|error| internal(&*error))?;
    let (false, Ok(permit)) = (stopped, permit) else { return Err(invalid_refresh()) };
    let renewed = still_granted(active, renewed, now);
    let event = Event::TokenRefreshed { grant: grant.id.clone(), client: client.id.clone() };
    let rotates = client.profile.rotates_refresh_tokens();
    // A token that was replaced while its client was held to other rules stays used.
    let was_used = app.store.get(Class::Durable, used, now).await.map_err(|error| internal(&error))?.is_some();
    if !rotates && was_used {
        return Err(invalid_refresh());
    }
    dpop::use_up(app, caller.held.as_ref()).await?;
    let (place, until) = if rotates {
        (used.clone(), refresh.expires_at)
    } else {
        // Each use is taken by itself: it is on record, and stands in nobody's way.
        (Key::of_secret(USED, app.entropy.token().map_err(|error| internal(&error))?.expose()), now)
    };
    match take(&app.store, place, renewed, &grant.id, event, now, until).await {
        Ok(taken) => {
            let next = rotates.then_some(refresh);
            mint::tokens(caller, &permit, taken, next).await.map_err(|error| internal(&error))
        }
        Err(StoreError::Conflict) => Err(invalid_refresh()),
        Err(error) => Err(internal(&error)),
    }
}

/// Whether anything ended the grant: a replay, the person, or the end of a link that made somebody else's account theirs.
pub(super) async fn is_stopped(app: &App, grant: &CodeGrant, now: Timestamp) -> Result<bool, Error> {
    let person = Links::new(&app.store, &app.seals, &app.pairwise).person(&grant.account, now).await?;
    Ok(person.as_ref() != Some(&grant.person)
        || is_revoked(app, &grant.id, now).await?
        || is_withdrawn(&app.store, grant.consent.as_ref(), now).await?)
}

/// The grant with the scopes that this request names, and only the claims that these stand for (RFC 6749 section 6).
fn narrowed(active: &Active, mut grant: CodeGrant, request: &RefreshRequest) -> Result<CodeGrant, OAuthError> {
    let Some(scopes) = &request.scopes else { return Ok(grant) };
    if !scopes.iter().all(|scope| grant.scopes.contains(scope)) {
        return Err(OAuthError::new(OAuthCode::InvalidScope, "a refresh cannot ask for more than the grant has"));
    }
    if grant.scopes.iter().all(|scope| scopes.contains(scope)) {
        return Ok(grant);
    }
    let service = active.catalog.policies().service(&grant.service);
    let ours = |claim: &str| {
        let rows = service.map(|service| service.release.as_slice()).unwrap_or_default();
        rows.iter()
            .any(|row| row.claim.as_str() == claim && row.scope.as_ref().is_some_and(|scope| scopes.contains(scope)))
    };
    let kept = |claim: &str| scopes.iter().any(|scope| of_scope(scope).contains(&claim)) || ours(claim);
    grant.id_token_claims.retain(kept);
    grant.userinfo_claims.retain(kept);
    (grant.id_token_verified, grant.userinfo_verified) = (None, None);
    grant.scopes.clone_from(scopes);
    Ok(grant)
}

/// What a refresh token stands for, used or not.
pub(super) async fn find(app: &App, token: &str, now: Timestamp) -> Result<Option<RefreshGrant>, Error> {
    let stored = app.store.get(Class::Ephemeral, &Key::of_secret(mint::REFRESH, token), now).await?;
    Ok(stored.and_then(|sealed| app.seals.open_record(token, &sealed)))
}

/// The grant, with its login as old as that is by now.
pub(super) fn as_of_now(grant: &CodeGrant, now: Timestamp) -> CodeGrant {
    let age = grant.auth_time.map_or(UNKNOWN_AGE, |time| time.age(now));
    CodeGrant { login: Login { age: age.as_secs(), at: now.week_minute(), ..grant.login.clone() }, ..grant.clone() }
}
