//! Tokens that a client signed: verified with the keys that it registered.

use std::sync::Arc;

use certs::jws::{JwsError, Unverified, Verified};
use certs::key::{Algorithm, KeySet};
use gateway_core::client::{Client, KeySource, SigningAlg};
use serde_json::{Map, Value};

use crate::app::App;
use crate::catalog::Registered;
use crate::keys::algorithm;
use crate::usage::Retiring;

/// What a FAPI client may sign with (FAPI 2.0 Security Profile section 5.4.1).
const STRONG: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256];

/// Why a client's token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientTokenError {
    /// The token, or the client has no keys.
    #[error(transparent)]
    Token(#[from] JwsError),
    /// The address of the client's keys does not answer.
    #[error("the client's keys cannot be fetched")]
    Unavailable,
}

/// The algorithms that a client may sign with.
pub(super) fn allowed(client: &Client) -> &'static [Algorithm] {
    if client.profile.is_fapi() { &STRONG } else { &Algorithm::ALL }
}

/// The claims of a token that one of the client's keys signed, with the algorithm that it registered for such tokens if it did,
/// and that says it is of one of these types, or nothing.
pub(super) async fn verify(
    app: &App,
    registered: &Registered,
    token: &str,
    types: &[&str],
    alg: Option<SigningAlg>,
) -> Result<Verified<Map<String, Value>>, ClientTokenError> {
    let one = alg.map(|alg| [algorithm(alg)]);
    let allowed = one.as_ref().map_or(allowed(&registered.client), |one| one.as_slice());
    let verify = |keys: &KeySet| {
        let unverified = Unverified::parse(token)?;
        let retiring = keys.retiring(unverified.algorithm(), unverified.kid()).map(str::to_owned);
        Ok::<_, JwsError>((unverified.verify(keys, allowed)?, retiring))
    };
    // What cannot be such a token at all is no reason to fetch anything.
    let unverified = Unverified::parse(token)?;
    if !unverified.typ().is_none_or(|typ| types.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
        return Err(JwsError::Header.into());
    }
    let (claims, retiring) = match verify(&*keys(app, registered, false).await?) {
        Err(JwsError::UnknownKey | JwsError::Signature) if is_remote(&registered.client) => {
            verify(&*keys(app, registered, true).await?)?
        }
        verified => verified?,
    };
    if let Some(key) = retiring {
        app.usage.count(&registered.client.id, Retiring::Key, &key, app.now());
    }
    Ok(claims)
}

/// Whether one of the client's keys has this thumbprint.
pub(super) async fn has_key(app: &App, registered: &Registered, thumbprint: &str) -> Result<bool, ClientTokenError> {
    let known = keys(app, registered, false).await?.has_thumbprint(thumbprint);
    Ok(known || is_remote(&registered.client) && keys(app, registered, true).await?.has_thumbprint(thumbprint))
}

fn is_remote(client: &Client) -> bool {
    matches!(client.keys, Some(KeySource::Uri(_)))
}

/// The client's keys that have not ended; fetched again when those at hand were found wanting.
pub(super) async fn keys(app: &App, registered: &Registered, again: bool) -> Result<Arc<KeySet>, ClientTokenError> {
    let now = app.now();
    let keys = match &registered.client.keys {
        Some(KeySource::Uri(uri)) => {
            let fetched =
                if again { app.client_keys.refresh(uri, now).await } else { app.client_keys.get(uri, now).await };
            fetched.map_err(|_| ClientTokenError::Unavailable)?
        }
        _ => Arc::clone(registered.keys.as_ref().ok_or(JwsError::UnknownKey)?),
    };
    Ok(if keys.has_ended(now.0) { Arc::new(keys.living(now.0)) } else { keys })
}
