//! Tokens that a client signed: verified with the keys that it registered.

use certs::jws::{JwsError, Unverified, Verified};
use certs::key::{Algorithm, KeySet};
use gateway_core::client::{Client, KeySource};
use serde_json::{Map, Value};

use crate::app::App;
use crate::catalog::Registered;

/// What a FAPI client may sign with (FAPI 2.0 Security Profile section 5.4.1).
const STRONG: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256];

/// Why a client's token is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientTokenError {
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

/// The claims of a token that one of the client's keys signed.
pub(super) async fn verify(
    app: &App,
    registered: &Registered,
    token: &str,
) -> Result<Verified<Map<String, Value>>, ClientTokenError> {
    let allowed = allowed(&registered.client);
    let verify = |keys: &KeySet| Unverified::parse(token)?.verify(keys, allowed);
    let uri = match &registered.client.keys {
        Some(KeySource::Uri(uri)) => uri,
        _ => return Ok(verify(registered.keys.as_deref().ok_or(JwsError::UnknownKey)?)?),
    };
    // What cannot be a token at all is no reason to fetch anything.
    Unverified::parse(token)?;
    let now = app.now();
    let keys = app.client_keys.get(uri, now).await.map_err(|_| ClientTokenError::Unavailable)?;
    match verify(&keys) {
        Err(JwsError::UnknownKey | JwsError::Signature) => {
            let keys = app.client_keys.refresh(uri, now).await.map_err(|_| ClientTokenError::Unavailable)?;
            Ok(verify(&keys)?)
        }
        verified => Ok(verified?),
    }
}
