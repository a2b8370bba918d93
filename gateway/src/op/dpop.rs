//! Proofs of possession at our endpoints (RFC 9449): each is for one request, answers a nonce of ours, and serves once.

use axum::response::Response;
use certs::dpop::{Expected, Proof};
use gateway_core::client::Client;
use gateway_core::digest::keyed;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::base64url;
use gateway_core::time::Timestamp;
use gateway_core::token::Confirmation;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

use crate::app::App;
use crate::http::listener::PeerCertificate;
use crate::store::{Batch, Class, Key, StoreError, Write};

const HEADER: HeaderName = HeaderName::from_static("dpop");
const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// How long a nonce is the current one, in seconds. The one before serves as well.
const NONCE_PERIOD: u64 = 150;

/// Proofs that were used.
const USED: &str = "dpop";

fn invalid(why: &'static str) -> OAuthError {
    OAuthError::new(OAuthCode::InvalidDpopProof, why)
}

/// A key that somebody proved to hold, by a proof that is yet to be used up.
pub(super) struct Held {
    /// The key's thumbprint.
    pub(super) jkt: String,
    name: String,
    until: Timestamp,
}

/// The key whose proof came with a request; none when no proof did. Nothing is stored: see [`use_up`].
///
/// # Errors
/// `invalid_dpop_proof`, or `use_dpop_nonce` when it does not answer a nonce of ours (RFC 9449 section 8).
pub(super) fn held_key(
    app: &App,
    parts: &Parts,
    path: &str,
    access_token: Option<&str>,
) -> Result<Option<Held>, OAuthError> {
    let mut values = parts.headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid("more than one DPoP proof"));
    }
    let token = value.to_str().map_err(|_| invalid("the DPoP proof is not a token"))?;
    let now = app.now();
    let urls: Vec<String> =
        [Some(&app.issuer), app.mutual_tls.get()].into_iter().flatten().map(|at| format!("{at}{path}")).collect();
    let expected = Expected { method: parts.method.as_str(), urls: &urls, access_token, now: now.0 };
    let proof = Proof::verify(token, &expected).map_err(|error| {
        tracing::info!(%error, "DPoP proof refused");
        invalid("the DPoP proof is not valid for this request")
    })?;
    let fresh = [now.0, now.0.saturating_sub(NONCE_PERIOD)].iter().any(|at| {
        // Where no nonce can be made, none is answered.
        nonce(app, *at).is_some_and(|nonce| proof.nonce() == Some(&nonce))
    });
    if !fresh {
        return Err(OAuthError::new(OAuthCode::UseDpopNonce, "the DPoP proof has to answer the nonce of DPoP-Nonce"));
    }
    let name = keyed(b"dpop", &[proof.jkt().as_bytes(), proof.jti().as_bytes()]);
    let until = Timestamp(proof.until() + 1);
    Ok(Some(Held { jkt: proof.jkt().to_owned(), name: base64url(&name), until }))
}

/// Uses a proof up, once everything else of its request was found right: whoever has nothing to redeem stores nothing.
///
/// # Errors
/// `invalid_dpop_proof` when it was used before.
pub(super) async fn use_up(app: &App, held: Option<&Held>) -> Result<(), OAuthError> {
    let Some(held) = held else { return Ok(()) };
    let used = Write::Insert(Key::new(USED, &held.name), Vec::new(), Some(held.until));
    match app.store.commit(Class::Ephemeral, Batch::of(used), app.now()).await {
        Ok(()) => Ok(()),
        Err(StoreError::Conflict) => Err(invalid("the DPoP proof was used before")),
        Err(error) => Err(super::token::internal(&error)),
    }
}

/// What the tokens of a request are bound to: the proven key, wherever there is one, or else the certificate that was shown, where
/// the client's tokens are to be bound.
///
/// # Errors
/// `invalid_request` where they have to be bound and nothing was proven.
pub(super) fn bind(
    client: &Client,
    held: Option<&Held>,
    certificate: Option<String>,
) -> Result<Option<Confirmation>, OAuthError> {
    let by_certificate = client.certificate_bound || client.profile.requires_bound_tokens() && !client.dpop_bound;
    match (held.map(|held| held.jkt.clone()), certificate.filter(|_| by_certificate)) {
        (_, Some(digest)) if client.certificate_bound => Ok(Some(Confirmation::Certificate(digest))),
        (_, None) if client.certificate_bound => {
            Err(OAuthError::new(OAuthCode::InvalidRequest, "this client's tokens are bound to its certificate"))
        }
        (Some(jkt), _) => Ok(Some(Confirmation::Dpop(jkt))),
        (None, Some(digest)) => Ok(Some(Confirmation::Certificate(digest))),
        (None, None) if client.dpop_bound || client.profile.requires_bound_tokens() => {
            let why = "this client's tokens are bound to a key: a DPoP proof is missing";
            Err(OAuthError::new(OAuthCode::InvalidRequest, why))
        }
        (None, None) => Ok(None),
    }
}

/// The digest of the certificate that was shown on this connection (RFC 8705 section 3.1).
pub(super) fn shown_certificate(parts: &Parts) -> Option<String> {
    parts.extensions.get::<PeerCertificate>().map(|shown| shown.0.digest())
}

/// The nonce of a moment: the same on every node, and not to be foretold.
fn nonce(app: &App, at: u64) -> Option<String> {
    let period = (at / NONCE_PERIOD).to_string();
    app.seals.derived("dpop-nonce", &period).ok().map(|nonce| base64url(&nonce))
}

/// Hands out the current nonce with every answer to whoever sends proofs (RFC 9449 section 8.2).
pub(super) fn with_nonce(app: &App, parts: &Parts, mut response: Response) -> Response {
    if parts.headers.contains_key(HEADER)
        && let Some(nonce) = nonce(app, app.now().0).and_then(|nonce| HeaderValue::from_str(&nonce).ok())
    {
        response.headers_mut().insert(NONCE, nonce);
    }
    response
}
