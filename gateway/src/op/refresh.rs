//! The refresh grant (RFC 6749 section 6): a token serves once and another takes its place (RFC 9700 section 4.14.2). The
//! login behind it is put to policy as it is now: as old as it has become, at this hour, under the bundle in effect.

use gateway_core::assertion::UNKNOWN_AGE;
use gateway_core::audit::Event;
use gateway_core::circumstances::Login;
use gateway_core::claims::of_scope;
use gateway_core::client::Client;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::time::Timestamp;
use gateway_core::token::{CodeGrant, RefreshGrant, RefreshRequest, invalid_refresh};
use serde_json::Value;

use super::issue;
use super::token::{check_resource, decide, internal, is_revoked, may_refresh, replay, still_granted};
use crate::app::{Active, App};
use crate::links::Links;
use crate::receipts::is_withdrawn;
use crate::store::take::take;
use crate::store::{Class, Key, StoreError};

/// Refresh tokens that were used, and the grants they belonged to.
const USED: &str = "refreshed";

/// Uses a refresh token.
pub(super) async fn refresh(
    app: &App,
    active: &Active,
    client: &Client,
    request: &RefreshRequest,
) -> Result<Value, OAuthError> {
    let now = app.now();
    let used = Key::of_secret(USED, request.token.expose());
    let Some(refresh) = find(app, request, now).await? else {
        return Err(replay(app, &used, &client.id, now, invalid_refresh()).await);
    };
    let grant = &refresh.grant;
    if grant.client != client.id || refresh.expires_at.is_past(now) || may_refresh(active, client, grant).is_none() {
        return Err(invalid_refresh());
    }
    check_resource(active, client, request.resource.as_deref(), grant)?;
    let renewed = narrowed(active, as_of_now(grant, now), request)?;
    let permit = decide(active, &renewed);
    let stopped = is_stopped(app, grant, now).await.map_err(|error| internal(&*error))?;
    let (false, Ok(permit)) = (stopped, permit) else { return Err(invalid_refresh()) };
    let renewed = still_granted(active, renewed, now);
    let event = Event::TokenRefreshed { grant: grant.id.clone(), client: client.id.clone() };
    match take(&app.store, used.clone(), renewed, &grant.id, event, now, refresh.expires_at).await {
        Ok(taken) => issue::tokens(app, active, &permit, taken, Some(refresh)).await.map_err(|error| internal(&error)),
        Err(StoreError::Conflict) => Err(replay(app, &used, &client.id, now, invalid_refresh()).await),
        Err(error) => Err(internal(&error)),
    }
}

/// Whether anything ended the grant: a replay, the person, or the end of a link that made somebody else's account theirs.
async fn is_stopped(
    app: &App,
    grant: &CodeGrant,
    now: Timestamp,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let person = Links::new(&app.store, &app.seals, &app.pairwise).person(&grant.account, now).await?;
    Ok(person.as_ref() != Some(&grant.person)
        || is_revoked(app, &grant.id, now).await?
        || is_withdrawn(&app.store, &grant.receipt, now).await?)
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

async fn find(app: &App, request: &RefreshRequest, now: Timestamp) -> Result<Option<RefreshGrant>, OAuthError> {
    let secret = request.token.expose();
    let stored = app.store.get(Class::Ephemeral, &Key::of_secret(issue::REFRESH, secret), now).await;
    let stored = stored.map_err(|error| internal(&error))?;
    stored.map(|sealed| app.seals.open_record(secret, &sealed).map_err(|error| internal(&error))).transpose()
}

/// The grant, with its login as old as that is by now.
fn as_of_now(grant: &CodeGrant, now: Timestamp) -> CodeGrant {
    let age = grant.auth_time.map_or(UNKNOWN_AGE, |time| time.age(now));
    CodeGrant { login: Login { age: age.as_secs(), at: now.week_minute(), ..grant.login.clone() }, ..grant.clone() }
}
