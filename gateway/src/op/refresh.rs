//! The refresh grant (RFC 6749 section 6): a token serves once and another takes its place (RFC 9700 section 4.14.2). The
//! login behind it is put to policy as it is now: as old as it has become, at this hour, under the bundle in effect.

use gateway_core::assertion::UNKNOWN_AGE;
use gateway_core::audit::Event;
use gateway_core::circumstances::Login;
use gateway_core::client::Client;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::time::Timestamp;
use gateway_core::token::{CodeGrant, RefreshGrant, RefreshRequest, invalid_refresh};
use serde_json::Value;

use super::issue;
use super::token::{check_resource, decide, internal, is_revoked, replay};
use crate::app::{Active, App};
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
    if grant.client != client.id || refresh.expires_at.is_past(now) || client.refresh_lifetime.is_none() {
        return Err(invalid_refresh());
    }
    if request.scopes.as_ref().is_some_and(|asked| !asked.iter().all(|scope| grant.scopes.contains(scope))) {
        return Err(OAuthError::new(OAuthCode::InvalidScope, "a refresh cannot ask for more than the grant has"));
    }
    check_resource(active, client, request.resource.as_deref(), grant)?;
    let stopped = is_revoked(app, &grant.id, now).await.map_err(|error| internal(&error))?
        || is_withdrawn(&app.store, &grant.receipt, now).await.map_err(|error| internal(&error))?;
    let login = as_of_now(grant, now);
    let permit = decide(active, &client.id, &grant.service, &login);
    let (false, Ok(permit)) = (stopped, permit) else { return Err(invalid_refresh()) };
    let event = Event::TokenRefreshed { grant: grant.id.clone(), client: client.id.clone() };
    let renewed = CodeGrant { login, ..grant.clone() };
    match take(&app.store, used.clone(), renewed, &grant.id, event, now, refresh.expires_at).await {
        Ok(taken) => issue::tokens(app, active, &permit, taken, Some(refresh)).await.map_err(|error| internal(&error)),
        Err(StoreError::Conflict) => Err(replay(app, &used, &client.id, now, invalid_refresh()).await),
        Err(error) => Err(internal(&error)),
    }
}

async fn find(app: &App, request: &RefreshRequest, now: Timestamp) -> Result<Option<RefreshGrant>, OAuthError> {
    let secret = request.token.expose();
    let stored = app.store.get(Class::Ephemeral, &Key::of_secret(issue::REFRESH, secret), now).await;
    let stored = stored.map_err(|error| internal(&error))?;
    stored.map(|sealed| app.seals.open_record(secret, &sealed).map_err(|error| internal(&error))).transpose()
}

/// The login behind a grant, as old as it is by now.
fn as_of_now(grant: &CodeGrant, now: Timestamp) -> Login {
    let age = grant.auth_time.map_or(UNKNOWN_AGE, |time| time.age(now));
    Login { age: age.as_secs(), at: now.week_minute(), ..grant.login.clone() }
}
