//! What a client is sent as a token of its own: signed, and encrypted where it registered that.

use certs::jwe::{self, JweError};
use certs::key::KeyError;
use gateway_core::client::{Encryption, KeyManagementAlg, SigningAlg};
use serde_json::{Map, Value};

use super::client_keys::{self, ClientTokenError};
use crate::app::App;
use crate::catalog::{Registered, recipient};
use crate::keys::algorithm;

/// Why an answer cannot be protected; then it is not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtectError {
    /// We have no key for the algorithm.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The client's keys.
    #[error(transparent)]
    Client(#[from] ClientTokenError),
    /// None of the client's keys is for this.
    #[error("the client has no key for {0}")]
    NoKey(KeyManagementAlg),
    /// Encryption.
    #[error(transparent)]
    Encryption(#[from] JweError),
}

/// Signs claims for a client, and encrypts the token to one of its keys.
pub(super) async fn protect(
    app: &App,
    registered: &Registered,
    alg: SigningAlg,
    encryption: Option<Encryption>,
    claims: &Map<String, Value>,
) -> Result<String, ProtectError> {
    let signed = app.keys.sign(algorithm(alg), "JWT", claims)?;
    let Some(encryption) = encryption else { return Ok(signed) };
    let keys = client_keys::keys(app, registered, false).await?;
    let (management, key) = recipient(&keys, encryption).ok_or(ProtectError::NoKey(encryption.alg))?;
    Ok(jwe::encrypt(signed.as_bytes(), management, encryption.enc.as_str(), key)?)
}
