//! The only place that mints tokens. A person's need a grant that the store has already taken and a [`Permit`], or a narrower
//! grant of a token that lives and a `Permit` for it; a client's own need a [`BackEndPermit`].

use gateway_core::ids::{PersonId, base64url};
use gateway_core::secret::Secret;
use gateway_core::subject::pairwise;
use gateway_core::time::Timestamp;
use gateway_core::token::{
    ACCESS_TOKEN_LIFETIME, ACCESS_TOKEN_TYPE, About, AccessGrant, CodeGrant, Confirmation, RefreshGrant, id_token,
};
use policies::Permit;
use policies::decide::BackEndPermit;
use policies::service::TokenFormat;
use serde_json::{Value, json};

use super::protect::protect;
use super::session::SessionError;
use super::token::Caller;
use crate::app::{Active, App};
use crate::keys::algorithm;
use crate::ports::NoEntropy;
use crate::store::take::Taken;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// Access tokens, by digest.
pub(super) const ACCESS: &str = "access";
/// Refresh tokens, by digest.
pub(super) const REFRESH: &str = "refresh";

/// Until when an access token of now may serve: no longer than a federation vouches for its client.
pub(super) fn access_ends(caller: &Caller<'_>) -> Timestamp {
    let end = caller.app.now().plus(ACCESS_TOKEN_LIFETIME);
    caller.active.vouched_until(&caller.client.id).map_or(end, |until| until.min(end))
}

/// Mints the tokens of a grant that was taken, under a permit of this moment (RFC 6749 section 5.1, OpenID Connect Core
/// section 3.1.3.3). `refresh` says until when the client may go on refreshing; nothing, where it may not.
pub(super) async fn tokens(
    caller: &Caller<'_>,
    permit: &Permit,
    grant: Taken<CodeGrant>,
    refresh: Option<RefreshGrant>,
) -> Result<Value, SessionError> {
    let Caller { app, active, client, confirmation, recipient, .. } = caller;
    let now = app.now();
    let alg = client.signed.id_token;
    let expires_at = access_ends(caller);
    let about = About {
        login: grant.login.clone(),
        consent: grant.consent.clone(),
        rules: grant.rules.clone(),
        details: grant.details.clone(),
        subject: grant.subject.clone(),
        person: grant.person.clone(),
        acr: permit.stated(),
        auth_time: grant.auth_time,
        claims: grant.userinfo_claims.clone(),
        verified: grant.userinfo_verified.clone(),
    };
    let access_grant = AccessGrant {
        id: token_id(app)?,
        grant: grant.id.clone(),
        client: grant.client.clone(),
        service: grant.service.clone(),
        scopes: grant.scopes.clone(),
        about: Some(about),
        actors: Vec::new(),
        through: Vec::new(),
        confirmation: confirmation.clone(),
        issued_at: now,
        expires_at,
    };
    let access = access_token(app, active, &access_grant)?;
    let hash = algorithm(alg).hash(access.expose().as_bytes());
    let at_hash = base64url(hash.get(..hash.len() / 2).unwrap_or_default());
    let claims = id_token(&app.issuer, &grant, permit.stated(), at_hash, now);
    let id_token = protect(app, alg, "JWT", recipient.as_ref(), &claims);
    let id_token = id_token.map_err(|error| StoreError::Unavailable(error.to_string()))?;
    let sealed = app.seals.record(access.expose(), &access_grant)?;
    let mut batch = Batch::of(Write::Put(Key::of_secret(ACCESS, access.expose()), sealed, Some(expires_at)));
    let mut answer = json!({
        "access_token": access.expose(),
        "token_type": Confirmation::token_type(confirmation.as_ref()),
        "expires_in": expires_at.0.saturating_sub(now.0),
        "scope": grant.scopes.join(" "),
        "id_token": id_token,
    });
    if let (Some(details), Some(members)) = (access_grant.details(), answer.as_object_mut()) {
        members.insert("authorization_details".to_owned(), details);
    }
    if let (Some(refresh), Some(members)) = (refresh, answer.as_object_mut()) {
        let token = app.entropy.token()?;
        let sealed = app.seals.record(token.expose(), &refresh)?;
        batch = batch.and(Write::Put(Key::of_secret(REFRESH, token.expose()), sealed, Some(refresh.expires_at)));
        members.insert("refresh_token".to_owned(), token.expose().as_str().into());
    }
    app.store.commit(Class::Ephemeral, batch, now).await?;
    Ok(answer)
}

/// An access token: a secret that means nothing to anybody else or, where the service's resource servers read tokens
/// themselves, one that says what they need (RFC 9068 section 2.2).
fn access_token(app: &App, active: &Active, grant: &AccessGrant) -> Result<Secret<String>, SessionError> {
    let secret = app.entropy.token()?;
    let service = active.catalog.policies().service(&grant.service);
    let Some((service, TokenFormat::Jwt(alg))) = service.map(|service| (service, service.access_token)) else {
        return Ok(secret);
    };
    let claims = json!({
        "iss": app.issuer,
        "sub": grant.subject(),
        "aud": service.resource,
        "client_id": grant.client.on_the_wire(),
        "scope": grant.scopes.join(" "),
        "jti": secret.expose(),
        "iat": grant.issued_at.0,
        "exp": grant.expires_at.0,
    });
    let mut claims = claims.as_object().cloned().unwrap_or_default();
    if let Some(about) = &grant.about {
        claims.insert("acr".to_owned(), about.acr.acr().into());
        claims.extend(about.auth_time.map(|time| ("auth_time".to_owned(), time.0.into())));
    }
    // Whoever reads it shares the client's sector: a service whose tokens can be read sees to that.
    let sector = active.client(&grant.client).map(|registered| &registered.client.sector);
    let name = |person: &PersonId| sector.map(|sector| pairwise(&app.pairwise, person, sector)).unwrap_or_default();
    claims.extend(grant.act(name).map(|act| ("act".to_owned(), act)));
    claims.extend(grant.details().map(|details| ("authorization_details".to_owned(), details)));
    claims.extend(grant.confirmation.as_ref().map(|confirmation| ("cnf".to_owned(), confirmation.cnf())));
    let signed = app.keys.sign(algorithm(alg), "at+jwt", &claims);
    Ok(Secret::new(signed.map_err(|error| StoreError::Unavailable(error.to_string()))?))
}

/// What a token is called in records.
pub(super) fn token_id(app: &App) -> Result<String, NoEntropy> {
    Ok(base64url(&app.entropy.bytes::<16>()?))
}

/// An access token by itself: what it stands for is laid down first.
async fn alone(caller: &Caller<'_>, grant: &AccessGrant) -> Result<Value, SessionError> {
    let (app, now) = (caller.app, caller.app.now());
    let access = access_token(app, caller.active, grant)?;
    let sealed = app.seals.record(access.expose(), grant)?;
    let write = Write::Put(Key::of_secret(ACCESS, access.expose()), sealed, Some(grant.expires_at));
    app.store.commit(Class::Ephemeral, Batch::of(write), now).await?;
    Ok(json!({
        "access_token": access.expose(),
        "token_type": Confirmation::token_type(grant.confirmation.as_ref()),
        "expires_in": grant.expires_at.0.saturating_sub(now.0),
        "scope": grant.scopes.join(" "),
    }))
}

/// Mints the token of a client that acts for itself (RFC 6749 section 4.4.3).
pub(super) async fn for_back_end(
    caller: &Caller<'_>,
    permit: &BackEndPermit<'_>,
    id: String,
    scopes: Vec<String>,
) -> Result<Value, SessionError> {
    let now = caller.app.now();
    let grant = AccessGrant {
        id: token_id(caller.app)?,
        grant: id,
        client: caller.client.id.clone(),
        service: permit.service().id.clone(),
        scopes,
        about: None,
        actors: Vec::new(),
        through: Vec::new(),
        confirmation: caller.confirmation.clone(),
        issued_at: now,
        expires_at: access_ends(caller),
    };
    alone(caller, &grant).await
}

/// Mints the token that another was exchanged for (RFC 8693 section 2.2.1).
pub(super) async fn exchanged(
    caller: &Caller<'_>,
    permit: &Permit,
    mut grant: AccessGrant,
) -> Result<Value, SessionError> {
    if let Some(about) = &mut grant.about {
        about.acr = permit.stated();
    }
    let mut answer = alone(caller, &grant).await?;
    if let Some(members) = answer.as_object_mut() {
        members.insert("issued_token_type".to_owned(), ACCESS_TOKEN_TYPE.into());
    }
    Ok(answer)
}
