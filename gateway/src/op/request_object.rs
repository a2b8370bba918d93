//! Signed authorization requests (RFC 9101), verified with the client's registered keys.

use std::time::Duration;

use certs::claims;
use gateway_core::client::Client;
use gateway_core::digest::{keyed, sha256};
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::base64url;
use gateway_core::params::Params;
use gateway_core::profile::Profile;
use gateway_core::request_object::{invalid, params};
use gateway_core::time::SKEW;
use http::StatusCode;
use http::header::ACCEPT;

use super::client_keys::{self, ClientTokenError};
use super::token::internal;
use crate::app::App;
use crate::catalog::Registered;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// What a request object may say that it is (RFC 9101 section 10.8; older clients say nothing, or `JWT`).
const OBJECT_TYPES: &[&str] = &["oauth-authz-req+jwt", "jwt"];

/// Signed requests of the back channel that were used.
const USED: &str = "request-used";

/// How long a person waits for the request object of their portal.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest a request object may live, in seconds (FAPI 2.0 Message Signing section 5.3.1).
const LONGEST: u64 = 3_600;

/// The name under which a request object is spent that a code was issued for, of a client whose objects serve once (OpenID
/// Federation 1.0 section 12.1.1.1).
pub(super) fn digest(client: &Client, object: &str) -> Option<String> {
    client.id.entity()?;
    let claims = certs::jws::claimed(object)?;
    let jti = claims.get("jti")?.as_str()?;
    Some(base64url(&keyed(b"joined-request", &[client.id.as_str().as_bytes(), jti.as_bytes()])))
}

/// Uses a signed request up: whoever has seen it sends it in vain.
async fn use_up(app: &App, client: &Client, jti: &str) -> Result<(), OAuthError> {
    let name = base64url(&keyed(b"request", &[client.id.as_str().as_bytes(), jti.as_bytes()]));
    let until = app.now().plus(std::time::Duration::from_secs(2 * LONGEST));
    let used = Write::Insert(Key::new(USED, &name), Vec::new(), Some(until));
    match app.store.commit(Class::Ephemeral, Batch::of(used), app.now()).await {
        Ok(()) => Ok(()),
        Err(StoreError::Conflict) => Err(invalid("the request object was used before")),
        Err(error) => Err(internal(&error)),
    }
}

/// What a signed request is a request of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The authorization endpoint's (RFC 9101).
    Browser,
    /// The back channel's (CIBA section 7.1.1): it names its client as issuer alone, and always says how long it is good.
    BackChannel,
}

/// The parameters of a request object that its client signed for us, now.
///
/// # Errors
/// `invalid_request_object`; `request_not_supported` from a client without keys.
pub(super) async fn read(app: &App, registered: &Registered, object: &str, of: Of) -> Result<Params, OAuthError> {
    let client = &registered.client;
    let alg = if of == Of::BackChannel { client.ciba.alg } else { client.requests.alg };
    if client.keys.is_none() {
        return Err(OAuthError::new(OAuthCode::RequestNotSupported, "this client has no keys to sign with"));
    }
    let claims =
        client_keys::verify(app, registered, object, OBJECT_TYPES, alg).await.map_err(|error| match error {
            ClientTokenError::Token(_) => invalid("the request object's signature, or its header, is not acceptable"),
            ClientTokenError::Unavailable => OAuthError::new(OAuthCode::TemporarilyUnavailable, "try again"),
        })?;
    let (now, skew) = (app.now().0, SKEW.as_secs());
    let fapi = client.profile.requires_signed_messages() || of == Of::BackChannel;
    // OpenID Federation 1.0 section 12.1.1.1: who comes unannounced says from whom, for whom, until when, and which one it is.
    let joined = client.id.entity().is_some();
    if joined && (claims::text(&claims, "jti").is_err() || !claims.contains_key("exp")) {
        return Err(invalid("jti and exp are needed"));
    }
    let made = claims::time(&claims, "iat").ok().flatten();
    if of == Of::BackChannel && (claims::text(&claims, "jti").is_err() || made.is_none()) {
        return Err(invalid("jti and iat are needed"));
    }
    // FAPI wants to know from when and until when; elsewhere an object without times is as good as a query.
    if fapi || claims.contains_key("exp") {
        claims::check_times(&claims, now, skew, LONGEST).map_err(|_| invalid("the request object is not valid now"))?;
    }
    let (begins, ends) = (claims::time(&claims, "nbf"), claims::time(&claims, "exp"));
    let (begins, ends) = (begins.map_err(|_| invalid("nbf is not a time"))?, ends.ok().flatten());
    if begins.zip(ends).is_some_and(|(begins, ends)| fapi && ends > begins.saturating_add(LONGEST)) {
        return Err(invalid("the request object lives longer than an hour"));
    }
    if begins.map_or(fapi, |begins| begins.saturating_add(LONGEST).saturating_add(skew) < now) {
        return Err(invalid("nbf is missing or too long ago"));
    }
    let mut ours = claims::has_audience(&claims, &app.issuer);
    if joined && claims::text(&claims, "aud") != Ok(app.issuer.as_str()) {
        ours = Ok(false);
    }
    let theirs = claims::text(&claims, "iss");
    // Only the oldest rules know request objects without issuer and audience (OpenID Connect Core section 6.1).
    let old = client.profile == Profile::Legacy && of == Of::Browser && !joined;
    let named = !old || claims.contains_key("iss") || claims.contains_key("aud");
    if named && !(ours == Ok(true) && theirs == Ok(client.id.on_the_wire())) {
        return Err(invalid("the request object is from somebody else, or for somebody else"));
    }
    // RFC 9101 section 10.8: what names its client as its subject could serve as an assertion of who it is.
    if claims.contains_key("sub") {
        return Err(invalid("a request object has no sub"));
    }
    let params = params(&claims)?;
    if let (Of::BackChannel, Ok(jti)) = (of, claims::text(&claims, "jti")) {
        use_up(app, client, jti).await?;
    }
    if of == Of::Browser && params.one("client_id").ok().flatten() != Some(client.id.on_the_wire()) {
        return Err(invalid("client_id of the request object is not its client"));
    }
    Ok(params)
}

/// The request object that lies at an address which its client registered (RFC 9101 section 5.2, OpenID Connect Core
/// section 6.2). `asking` is the address of the browser: any browser can make us call, and none may keep the others away.
///
/// # Errors
/// `invalid_request_uri`.
pub(super) async fn fetch(app: &App, registered: &Registered, uri: &str, asking: &str) -> Result<String, OAuthError> {
    let invalid = |why: &'static str| OAuthError::new(OAuthCode::InvalidRequestUri, why);
    // Only what was registered is fetched, and of that only what the bundle's hosts answer.
    let mut known = registered.client.requests.uris.iter();
    let known = known.find(|known| known.as_str() == uri).ok_or_else(|| invalid("request_uri is not registered"))?;
    let mut address = known.clone();
    address.set_fragment(None);
    let host = address.origin().ascii_serialization();
    let place = app.limits.by_reference.try_take(&[registered.client.id.as_str(), &host, asking]);
    let _place = place.ok_or_else(|| {
        OAuthError::new(OAuthCode::TemporarilyUnavailable, "too many requests by reference at once: try again")
    })?;
    let request =
        http::Request::get(address.as_str()).header(ACCEPT, "application/oauth-authz-req+jwt").body(Vec::new());
    let sent = app.http().send(request.map_err(|_| invalid("request_uri is no address"))?);
    let answer = tokio::time::timeout(PATIENCE, sent).await.ok().and_then(Result::ok);
    let answer = answer.filter(|answer| answer.status() == StatusCode::OK);
    let object = answer.ok_or_else(|| invalid("what request_uri names cannot be fetched"))?.into_body();
    if known.fragment().is_some_and(|digest| digest != base64url(&sha256(&object))) {
        return Err(invalid("what request_uri names is not what its fragment says"));
    }
    String::from_utf8(object).map_err(|_| invalid("what request_uri names is no token"))
}

/// Whether an object says of itself that nobody signed it.
pub(super) fn is_unsigned(object: &str) -> bool {
    matches!(certs::jws::Unverified::parse(object), Err(certs::jws::JwsError::Algorithm)) && object.ends_with('.')
}
