//! What a client is sent as a token of its own: signed, and encrypted where it registered that.

use certs::jwe::{self, JweError, KeyManagement};
use certs::key::KeyError;
use gateway_core::client::{Encryption, KeyManagementAlg, SigningAlg};
use serde_json::{Map, Value};

use super::client_keys::{self, ClientTokenError};
use crate::app::App;
use crate::catalog::{Registered, recipient};
use crate::keys::algorithm;

/// Why an answer cannot be protected; then it is not sent.
#[derive(Debug, thiserror::Error)]
pub enum ProtectError {
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

/// The key of a client that something will be encrypted to.
pub struct Recipient {
    management: KeyManagement,
    content: &'static str,
    key: Value,
}

/// Finds the key to encrypt to; nothing where the client registered no encryption. Asked for before anything is taken that could
/// not be given back.
///
/// # Errors
/// [`ProtectError::Client`], [`ProtectError::NoKey`].
pub(super) async fn find_recipient(
    app: &App,
    registered: &Registered,
    encryption: Option<Encryption>,
) -> Result<Option<Recipient>, ProtectError> {
    let Some(encryption) = encryption else { return Ok(None) };
    for again in [false, true] {
        let keys = client_keys::keys(app, registered, again).await?;
        if let Some((management, key)) = recipient(&keys, encryption) {
            return Ok(Some(Recipient { management, content: encryption.enc.as_str(), key: key.clone() }));
        }
    }
    Err(ProtectError::NoKey(encryption.alg))
}

/// Signs claims for a client as a token of this type, and encrypts it to the client's key, if there is one.
///
/// # Errors
/// [`ProtectError::Key`], [`ProtectError::Encryption`].
pub(super) fn protect(
    app: &App,
    alg: SigningAlg,
    typ: &str,
    recipient: Option<&Recipient>,
    claims: &Map<String, Value>,
) -> Result<String, ProtectError> {
    let signed = app.keys.sign(algorithm(alg), typ, claims)?;
    let Some(Recipient { management, content, key }) = recipient else { return Ok(signed) };
    Ok(jwe::encrypt(signed.as_bytes(), *management, content, key)?)
}

/// A token that is protected as the client's ID tokens are.
///
/// # Errors
/// [`ProtectError`].
pub async fn signed_id_token(
    app: &App,
    registered: &Registered,
    typ: &str,
    claims: &Map<String, Value>,
) -> Result<String, ProtectError> {
    let recipient = find_recipient(app, registered, registered.client.encrypted.id_token).await?;
    protect(app, registered.client.signed.id_token, typ, recipient.as_ref(), claims)
}
