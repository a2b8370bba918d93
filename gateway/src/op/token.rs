//! `/token` (RFC 6749 section 3.2): authenticate, look up, decide, **take**, mint. In that order, for every grant.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::audit::Event;
use gateway_core::client::Client;
use gateway_core::consent::Mode;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::ClientId;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use gateway_core::token::{
    ACCESS_TOKEN_LIFETIME, CodeGrant, CodeRequest, Confirmation, RefreshGrant, TokenRequest, check_code, invalid_grant,
};
use gateway_core::verified;
use http::{Request, StatusCode};
use policies::decide::Demand;
use policies::{Facts, Permit, Refusal};
use serde_json::Value;

use super::client_auth::{self, authenticate};
use super::dpop::Held;
use super::logout::still_serves;
use super::protect::{Recipient, find_recipient};
use super::{back_end, checklist, ciba, dpop, exchange, issue, mint};
use crate::app::{Active, App};
use crate::http::{reply, request};
use crate::receipts::is_withdrawn;
use crate::store::take::take;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// Codes that were taken, and what they stood for.
const TAKEN: &str = "taken";
/// Grants whose tokens are no longer good.
const REVOKED: &str = "revoked";
/// How long that is remembered: longer than any token lives.
const REVOKED_FOR: Duration = Duration::from_secs(2 * 86_400);

/// `POST /token`.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let answer = async {
        let form = request::form(&parts, body).await?;
        client_auth::admit(&app, &parts, &form).await;
        let active = app.bundle();
        // First of all: who is sent back for a nonce comes again with the same assertion (RFC 9449 section 8).
        let held = dpop::held_key(&app, &parts, "/token", None)?;
        let registered = authenticate(&app, &active, &parts, &form, "/token").await?;
        let client = &registered.client;
        let request = TokenRequest::parse(&form)?;
        if !client.grant_types.contains(&request.grant_type()) {
            let why = "this client is not registered for this grant_type";
            return Err(OAuthError::new(OAuthCode::UnauthorizedClient, why));
        }
        let confirmation = dpop::bind(client, held.as_ref(), dpop::shown_certificate(&parts))?;
        let recipient = find_recipient(&app, registered, client.encrypted.id_token).await;
        let recipient = recipient.map_err(|error| internal(&error))?;
        let caller = Caller { app: &app, active: &active, client, held, confirmation, recipient };
        match request {
            TokenRequest::Code(request) => redeem(&caller, &request).await,
            TokenRequest::Refresh(request) => super::refresh::refresh(&caller, &request).await,
            TokenRequest::Client(request) => back_end::token(&caller, &request).await,
            TokenRequest::Exchange(request) => exchange::exchange(&caller, &request).await,
            TokenRequest::Ciba(request) => ciba::collect(&caller, &request).await,
            TokenRequest::Device(request) => super::device::collect(&caller, &request).await,
        }
    };
    let response = match answer.await {
        Ok(tokens) => reply::json(StatusCode::OK, &tokens),
        Err(error) => reply::refused("token", &error),
    };
    dpop::with_nonce(&app, &parts, response)
}

/// A client that authenticated, and the key that it proved to hold.
pub(super) struct Caller<'a> {
    /// The gateway.
    pub(super) app: &'a App,
    /// The snapshot that this request works with.
    pub(super) active: &'a Active,
    /// Who asks.
    pub(super) client: &'a Client,
    /// The proof that came with the request, to be used up when all else is found right.
    pub(super) held: Option<Held>,
    /// The key that its ID tokens are encrypted to, if any.
    pub(super) recipient: Option<Recipient>,
    /// What the tokens are bound to.
    pub(super) confirmation: Option<Confirmation>,
}

async fn redeem(caller: &Caller<'_>, request: &CodeRequest) -> Result<Value, OAuthError> {
    let Caller { app, client, confirmation, .. } = caller;
    let now = app.now();
    let taken_key = Key::of_secret(TAKEN, request.code.expose());
    let redeemed = async {
        let grant = find(app, &request.code, now).await?.ok_or_else(invalid_grant)?;
        check_code(request, &client.id, &grant, confirmation.as_ref(), now)?;
        let redirect = grant.redirect.as_ref().and_then(|redirect| client.check_redirect(redirect.as_str()));
        redirect.ok_or_else(invalid_grant)?;
        take_and_mint(caller, grant, request.resource.as_deref(), taken_key.clone()).await
    };
    unless_replayed(app, &taken_key, &client.id, redeemed.await).await
}

/// The outcome of a request for something single-use: whatever it was refused for, where the thing was taken before it is a replay
/// all the same (RFC 6749 section 4.1.2).
pub(super) async fn unless_replayed(
    app: &App,
    taken: &Key,
    client: &ClientId,
    outcome: Result<Value, OAuthError>,
) -> Result<Value, OAuthError> {
    match outcome {
        // Nothing was refused, or it is not shown that the client itself asks.
        Err(error)
            if matches!(
                error.code,
                OAuthCode::TemporarilyUnavailable | OAuthCode::InvalidDpopProof | OAuthCode::UseDpopNonce
            ) =>
        {
            Err(error)
        }
        Err(error) => Err(replay(app, taken, client, app.now(), error).await),
        done => done,
    }
}

/// Decides about a grant that was found and is the caller's, **takes** it, and only then mints.
pub(super) async fn take_and_mint(
    caller: &Caller<'_>,
    grant: CodeGrant,
    resource: Option<&str>,
    taken_key: Key,
) -> Result<Value, OAuthError> {
    let Caller { app, active, client, confirmation, .. } = caller;
    let now = app.now();
    check_resource(active, client, resource, &grant)?;
    // An answer that waited for its client has grown older meanwhile.
    let waited = grant.redirect.is_none();
    let grant = if waited { super::refresh::as_of_now(&grant, now) } else { grant };
    let permit = decide(active, &grant).map_err(|_| invalid_grant())?;
    if is_withdrawn(&app.store, grant.consent.as_ref(), now).await.map_err(|error| internal(&error))? {
        return Err(invalid_grant());
    }
    // Who signed out meanwhile was told that it is over.
    if !still_serves(app, grant.party.as_ref(), now).await.map_err(|error| internal(&error))? {
        return Err(invalid_grant());
    }
    let grant = still_granted(active, grant, now);
    let refresh = may_refresh(active, client, &grant).map(|lifetime| RefreshGrant {
        grant: CodeGrant { nonce: None, ..grant.clone() },
        // A confidential client's token is bound by its authentication; its key may change (RFC 9449 section 5).
        confirmation: confirmation.clone().filter(|_| client.is_public()),
        expires_at: now.plus(lifetime),
    });
    dpop::use_up(app, caller.held.as_ref()).await?;
    let (id, event) = (grant.id.clone(), Event::CodeRedeemed { grant: grant.id.clone(), client: client.id.clone() });
    // The mark outlives the code and every token that follows from it.
    let issued_at = grant.issued_at;
    let last = grant.ends_at.plus(ACCESS_TOKEN_LIFETIME);
    let until = refresh.as_ref().map_or(last, |refresh| refresh.expires_at.plus(ACCESS_TOKEN_LIFETIME).max(last));
    match take(&app.store, taken_key, grant, &id, event, now, until).await {
        Ok(grant) => {
            let tokens = mint::tokens(caller, &permit, grant, refresh).await.map_err(|error| internal(&error))?;
            // The code is spent: what only the check list wants to know keeps nobody's tokens back.
            checklist::remember(app, active, &client.id, issued_at).await;
            Ok(tokens)
        }
        Err(StoreError::Conflict) => Err(invalid_grant()),
        Err(error) => Err(internal(&error)),
    }
}

async fn find(app: &App, code: &Secret<String>, now: Timestamp) -> Result<Option<CodeGrant>, OAuthError> {
    let key = Key::of_secret(issue::CODES, code.expose());
    let sealed = app.store.get(Class::Ephemeral, &key, now).await.map_err(|error| internal(&error))?;
    Ok(sealed.and_then(|sealed| app.seals.open_record(code.expose(), &sealed)))
}

/// Something single-use that was taken before: whatever was minted from its grant is revoked (RFC 6749 section 4.1.2, RFC
/// 9700 section 4.14.2), once, on record. The answer is `refusal` in any case, as a grant that is not valid where there was one.
async fn replay(app: &App, taken: &Key, client: &ClientId, now: Timestamp, refusal: OAuthError) -> OAuthError {
    let mark = match app.store.get(Class::Durable, taken, now).await {
        Ok(Some(mark)) => String::from_utf8(mark).unwrap_or_default(),
        Ok(None) => return refusal,
        Err(error) => return internal(&error),
    };
    let until = now.plus(REVOKED_FOR);
    let revoke = Batch::of(Write::Insert(Key::new(REVOKED, &mark), Vec::new(), Some(until)))
        .recording(Event::CodeReplayed { grant: mark, client: client.clone() });
    match app.store.commit(Class::Durable, revoke, now).await {
        Ok(()) => {
            tracing::warn!(client = %client, "a code or refresh token was presented again; what was minted from its grant is revoked")
        }
        Err(StoreError::Conflict) => {}
        Err(error) => return internal(&error),
    }
    if refusal.code == OAuthCode::InvalidGrant { refusal } else { invalid_grant() }
}

/// Revokes everything that was minted from a grant, on record.
pub(super) async fn revoke(app: &App, grant: &str, client: &ClientId) -> Result<(), OAuthError> {
    let now = app.now();
    let mark = Write::Insert(Key::new(REVOKED, grant), Vec::new(), Some(now.plus(REVOKED_FOR)));
    let event = Event::TokenRevoked { grant: grant.to_owned(), client: client.clone() };
    match app.store.commit(Class::Durable, Batch::of(mark).recording(event), now).await {
        Ok(()) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(internal(&error)),
    }
}

/// True when everything minted from this grant was revoked, by a replay or by its client.
pub(super) async fn is_revoked(app: &App, grant: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(app.store.get(Class::Durable, &Key::new(REVOKED, grant), now).await?.is_some())
}

/// RFC 8707 section 2.2: a token can only be asked for the service that the person agreed to.
pub(super) fn check_resource(
    active: &Active,
    client: &Client,
    resource: Option<&str>,
    grant: &CodeGrant,
) -> Result<(), OAuthError> {
    let Some(resource) = resource else { return Ok(()) };
    let named = active.service_at(&client.id, resource);
    if named.is_some_and(|service| service.id == grant.service) {
        return Ok(());
    }
    Err(OAuthError::new(OAuthCode::InvalidTarget, "resource is not the service of this grant"))
}

/// Puts a grant's facts to policy again: what was taken out of policy since is refused.
pub(super) fn decide(active: &Active, grant: &CodeGrant) -> Result<Permit, Refusal> {
    let demand = Demand { acr: &grant.asked_acr, max_age: None };
    active.decide(&Facts { client: &grant.client, service: &grant.service, login: &grant.login, demand })
}

/// The grant without what could not be released any more: its row, its recipient or what let it cross the border is another.
pub(super) fn still_granted(active: &Active, mut grant: CodeGrant, now: Timestamp) -> CodeGrant {
    let (policies, today) = (active.catalog.policies(), now.date());
    let parties = (&grant.client, &grant.service, &grant.login.provider);
    let rules = &grant.rules;
    let stands =
        |claim: &str| rules.get(claim).is_some_and(|rule| policies.still_releases(parties, claim, rule, today));
    grant.details = policies.details_known(&grant.service, grant.details.as_ref());
    grant.id_token_claims.retain(stands);
    grant.userinfo_claims.retain(stands);
    grant.id_token_verified = verified::retain(grant.id_token_verified, &stands);
    grant.userinfo_verified = verified::retain(grant.userinfo_verified, &stands);
    grant
}

/// For how long a client may come back without the person: only where it was registered for that and asked for it, and never
/// about somebody anonymous.
pub(super) fn may_refresh(active: &Active, client: &Client, grant: &CodeGrant) -> Option<Duration> {
    let asked = grant.scopes.iter().any(|scope| scope == "offline_access");
    let service = active.catalog.policies().service(&grant.service)?;
    client.refresh_lifetime.filter(|_| asked && service.consent != Mode::Anonymous)
}

/// Remembers that a token, by its id, is good for nothing any more, nor what it was exchanged for.
pub(super) async fn end(app: &App, id: &str, now: Timestamp) -> Result<(), OAuthError> {
    let mark = Write::Put(Key::new(REVOKED, id), Vec::new(), Some(now.plus(REVOKED_FOR)));
    app.store.commit(Class::Durable, Batch::of(mark), now).await.map_err(|error| internal(&error))
}

pub(super) fn internal(error: &dyn std::error::Error) -> OAuthError {
    tracing::error!(%error, "token");
    OAuthError::new(OAuthCode::TemporarilyUnavailable, "try again later")
}
