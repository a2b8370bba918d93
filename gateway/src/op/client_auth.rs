//! Client authentication at the token endpoint (OpenID Connect Core section 9, RFC 6749 section 2.3, RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::claims;
use gateway_core::client::{Client, ClientAuth, SecretDigest};
use gateway_core::credential::CertificateName;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::{ClientId, base64url};
use gateway_core::params::Params;
use gateway_core::time::{SKEW, Timestamp};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde_json::{Map, Value};

use super::client_keys::{self, ClientTokenError};
use super::joining;
use crate::app::{Active, App};
use crate::catalog::Registered;
use crate::http::listener::PeerCertificate;
use crate::http::request;
use crate::store::{Batch, Class, Key, StoreError, Write};
use crate::usage::Retiring;

/// The longest an assertion may live, in seconds, so that the list of used ones stays short (CVE-2025-2559).
const LONGEST: u64 = 300;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What an assertion may say that it is: anything but another kind of token that its client signs.
const ASSERTION_TYPES: &[&str] = &["jwt", "client-authentication+jwt"];

/// What a client presented. Exactly one of these: RFC 6749 section 2.3 forbids more than one method in a request.
enum Credential<'a> {
    None(&'a str),
    Basic(String, String),
    Post(&'a str, &'a str),
    Assertion(&'a str, Option<&'a str>),
}

/// One answer for every wrong credential, so that nobody learns which part was wrong.
fn invalid() -> OAuthError {
    OAuthError::new(OAuthCode::InvalidClient, "client authentication failed")
}

/// Authenticates the client of a request to `endpoint`, a path of ours, by the one method it registered.
///
/// # Errors
/// `invalid_client`; `invalid_request` for a repeated parameter or several methods at once.
pub async fn authenticate<'a>(
    app: &App,
    active: &'a Active,
    parts: &Parts,
    form: &Params,
    endpoint: &str,
) -> Result<&'a Registered, OAuthError> {
    let credential = read(parts, form)?;
    let registered = find(active, &credential)?;
    let proven = match (&registered.client.auth, credential) {
        (ClientAuth::None, Credential::None(_)) => true,
        (ClientAuth::SecretBasic(digest), Credential::Basic(_, secret)) => digest.matches(&secret),
        (ClientAuth::SecretPost(digest), Credential::Post(_, secret)) => digest.matches(secret),
        (ClientAuth::PrivateKeyJwt, Credential::Assertion(token, _)) => {
            assertion(app, registered, token, endpoint).await?;
            true
        }
        (ClientAuth::TlsCertified(_) | ClientAuth::TlsSelfSigned, Credential::None(_)) => {
            has_shown(app, registered, parts).await?
        }
        _ => false,
    };
    if !proven {
        return Err(invalid());
    }
    let (client, now) = (&registered.client, app.now());
    if !active.serves(client, now) {
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "the client's profile is retired"));
    }
    if active.catalog.policies().vocabulary().retiring.profiles.contains_key(&client.profile) {
        app.usage.count(&client.id, Retiring::Profile, client.profile.as_str(), now);
    }
    Ok(registered)
}

/// Lets the caller in, where it is an entity of a federation that nobody here has met.
pub(super) async fn admit(app: &App, parts: &Parts, form: &Params) {
    let id = match read(parts, form) {
        Ok(Credential::None(id) | Credential::Post(id, _)) => id.to_owned(),
        Ok(Credential::Assertion(token, _)) => {
            let claimed = claimed_client(token);
            claimed.map(|id| id.as_str().to_owned()).unwrap_or_default()
        }
        _ => return,
    };
    joining::admit(app, &id).await;
}

fn read<'a>(parts: &Parts, form: &'a Params) -> Result<Credential<'a>, OAuthError> {
    // RFC 6749 section 3.2, whether anybody reads it or not.
    if form.repeated().is_some() {
        return Err(OAuthError::new(OAuthCode::InvalidRequest, "a parameter is repeated"));
    }
    let (id, secret) = (form.one("client_id")?, form.one("client_secret")?);
    let (kind, assertion) = (form.one("client_assertion_type")?, form.one("client_assertion")?);
    let basic = parts.headers.contains_key(AUTHORIZATION);
    match (basic, secret, kind, assertion) {
        (true, None, None, None) => {
            let (name, secret) = read_basic(parts).ok_or_else(invalid)?;
            // A client_id in the form must not contradict the header.
            if id.is_some_and(|id| id != name) {
                return Err(invalid());
            }
            Ok(Credential::Basic(name, secret))
        }
        (false, Some(secret), None, None) => Ok(Credential::Post(id.ok_or_else(invalid)?, secret)),
        (false, None, Some(ASSERTION_TYPE), Some(token)) => Ok(Credential::Assertion(token, id)),
        (false, None, None, None) => Ok(Credential::None(id.ok_or_else(invalid)?)),
        (false, None, ..) => Err(invalid()),
        _ => Err(OAuthError::new(OAuthCode::InvalidRequest, "more than one way of client authentication")),
    }
}

/// Identifier and secret of a Basic header, each form-encoded inside (RFC 6749 section 2.3.1).
fn read_basic(parts: &Parts) -> Option<(String, String)> {
    let (scheme, encoded) = request::header(parts, AUTHORIZATION)?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |text: &str| Params::parse(format!("v={text}").as_bytes()).ok()?.one("v").ok()?.map(str::to_owned);
    Some((decode(id)?, decode(secret)?))
}

fn find<'a>(active: &'a Active, credential: &Credential<'_>) -> Result<&'a Registered, OAuthError> {
    let id: Option<ClientId> = match credential {
        Credential::None(id) | Credential::Post(id, _) => id.parse().ok(),
        Credential::Basic(id, _) => id.parse().ok(),
        // RFC 7521 section 4.2: a client_id beside the assertion must name the same client.
        Credential::Assertion(token, id) => {
            claimed_client(token).filter(|claimed| id.is_none_or(|id| id == claimed.as_str()))
        }
    };
    let found = id.and_then(|id| active.client(&id));
    if found.is_none() {
        // As much work as for a client that exists.
        let _ = SecretDigest::of("nobody").matches("somebody");
    }
    found.ok_or_else(invalid)
}

/// Whose assertion this claims to be. Used for nothing but finding the keys to verify it with.
fn claimed_client(token: &str) -> Option<ClientId> {
    certs::jws::claimed(token)?.get("sub")?.as_str()?.parse().ok()
}

/// Whether the connection's certificate is the client's (RFC 8705 sections 2.1 and 2.2).
async fn has_shown(app: &App, registered: &Registered, parts: &Parts) -> Result<bool, OAuthError> {
    let Some(PeerCertificate(shown)) = parts.extensions.get::<PeerCertificate>() else { return Ok(false) };
    let now = app.now().0;
    match &registered.client.auth {
        ClientAuth::TlsCertified(name) => {
            let named = match name {
                CertificateName::Subject(subject) => shown.has_subject(subject),
                CertificateName::Dns(host) => shown.has_dns_name(host),
                CertificateName::Uri(uri) => shown.has_uri(uri),
            };
            Ok(named && shown.is_certified_by(&app.client_authorities, now))
        }
        _ => {
            let Some(thumbprint) = shown.key_thumbprint().filter(|_| shown.holds_at(now)) else { return Ok(false) };
            client_keys::has_key(app, registered, &thumbprint).await.map_err(unproven)
        }
    }
}

fn unproven(error: ClientTokenError) -> OAuthError {
    match error {
        ClientTokenError::Token(_) => invalid(),
        ClientTokenError::Unavailable => {
            OAuthError::new(OAuthCode::TemporarilyUnavailable, "the client's keys cannot be fetched")
        }
    }
}

/// Verifies a client assertion (RFC 7523 section 3) and uses it up.
async fn assertion(app: &App, registered: &Registered, token: &str, endpoint: &str) -> Result<(), OAuthError> {
    let now = app.now();
    let claims = client_keys::verify(app, registered, token, ASSERTION_TYPES, registered.client.auth_alg)
        .await
        .map_err(unproven)?;
    let until = check(app, &registered.client, &claims, endpoint, now)?;
    // Recorded after the signature: a forgery must not burn somebody's identifier (Keycloak issue 49215).
    let jti = claims::text(&claims, "jti").map_err(|_| invalid())?;
    let key = Key::new(
        "jti",
        &base64url(&gateway_core::digest::keyed(b"jti", &[registered.client.id.as_str().as_bytes(), jti.as_bytes()])),
    );
    let used = Write::Insert(key, Vec::new(), Some(until));
    app.store.commit(Class::Ephemeral, Batch::of(used), now).await.map_err(|error| match error {
        StoreError::Conflict => invalid(),
        StoreError::Unavailable(_) | StoreError::Lost(_) => {
            OAuthError::new(OAuthCode::TemporarilyUnavailable, "try again")
        }
    })
}

/// The claims of an assertion; until when it has to be remembered.
fn check(
    app: &App,
    client: &Client,
    token: &Map<String, Value>,
    endpoint: &str,
    now: Timestamp,
) -> Result<Timestamp, OAuthError> {
    let skew = SKEW.as_secs();
    claims::check_times(token, now.0, skew, LONGEST).map_err(|error| {
        // Most often it is a clock: how far it is off is what whoever looks for the reason needs.
        let made = claims::time(token, "iat").ok().flatten().and_then(|made| i64::try_from(made).ok());
        let ahead = made.zip(i64::try_from(now.0).ok()).map(|(made, now)| made - now);
        tracing::warn!(client = %client.id, %error, seconds_ahead = ahead, "client assertion refused");
        invalid()
    })?;
    let id = client.id.on_the_wire();
    let text = |name| claims::text(token, name).map_err(|_| invalid());
    let jti = text("jti")?;
    let audience = |aud: &str| claims::has_audience(token, aud).unwrap_or(false);
    let for_us = if client.profile.is_fapi() || client.id.entity().is_some() {
        // FAPI 2.0 Security Profile section 5.3.2.1: the issuer, as one text. Who joined by a federation may have been sent here by
        // another provider that calls our endpoint its own.
        text("aud")? == app.issuer
    } else {
        let hosts = [Some(&app.issuer), app.mutual_tls.get()];
        let mut hosts = hosts.into_iter().flatten();
        let at = |host: &String| ["/token", endpoint].iter().any(|path| audience(&format!("{host}{path}")));
        audience(&app.issuer) || hosts.any(at)
    };
    if text("iss")? != id || text("sub")? != id || !for_us || jti.is_empty() || jti.len() > 256 {
        return Err(invalid());
    }
    let expires = claims::time(token, "exp").ok().flatten().ok_or_else(invalid)?;
    Ok(Timestamp(expires.saturating_add(skew)))
}
