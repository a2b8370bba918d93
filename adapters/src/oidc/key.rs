//! Our public keys in the shape that `openidconnect` asks for, so that its verification runs on aws-lc-rs.

use certs::key::{Algorithm, VerifyingKey};
use openidconnect::core::{CoreJsonWebKeyType, CoreJsonWebKeyUse, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyId, SignatureVerificationError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A verifying key. It is made from [`certs::key::KeySet`] only, never read from or written to JSON.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// `None` verifies nothing.
    key: Option<VerifyingKey>,
    kid: Option<JsonWebKeyId>,
    kind: CoreJsonWebKeyType,
    algorithm: CoreJwsSigningAlgorithm,
}

impl From<&VerifyingKey> for Key {
    fn from(key: &VerifyingKey) -> Self {
        let algorithm = to_core(key.algorithm());
        let kind = match key.algorithm() {
            Algorithm::ES256 | Algorithm::ES384 => CoreJsonWebKeyType::EllipticCurve,
            Algorithm::EdDSA => CoreJsonWebKeyType::OctetKeyPair,
            Algorithm::PS256 | Algorithm::RS256 => CoreJsonWebKeyType::RSA,
        };
        let kid = key.kid().map(|kid| JsonWebKeyId::new(kid.to_owned()));
        Self { key: Some(key.clone()), kid, kind, algorithm }
    }
}

/// The library's name for an algorithm.
pub(super) fn to_core(algorithm: Algorithm) -> CoreJwsSigningAlgorithm {
    match algorithm {
        Algorithm::ES256 => CoreJwsSigningAlgorithm::EcdsaP256Sha256,
        Algorithm::ES384 => CoreJwsSigningAlgorithm::EcdsaP384Sha384,
        Algorithm::EdDSA => CoreJwsSigningAlgorithm::EdDsa,
        Algorithm::PS256 => CoreJwsSigningAlgorithm::RsaSsaPssSha256,
        Algorithm::RS256 => CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("keys are not written"))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("keys are read by certs"))
    }
}

impl JsonWebKey for Key {
    type KeyUse = CoreJsonWebKeyUse;
    type SigningAlgorithm = CoreJwsSigningAlgorithm;

    fn key_id(&self) -> Option<&JsonWebKeyId> {
        self.kid.as_ref()
    }

    fn key_type(&self) -> &CoreJsonWebKeyType {
        &self.kind
    }

    fn key_use(&self) -> Option<&CoreJsonWebKeyUse> {
        None
    }

    fn signing_alg(&self) -> JsonWebKeyAlgorithm<&CoreJwsSigningAlgorithm> {
        JsonWebKeyAlgorithm::Algorithm(&self.algorithm)
    }

    /// The library asks for this for HMAC alone, which we never allow: the key it gets verifies nothing.
    fn new_symmetric(_: Vec<u8>) -> Self {
        let (kind, algorithm) = (CoreJsonWebKeyType::Symmetric, CoreJwsSigningAlgorithm::HmacSha256);
        Self { key: None, kid: None, kind, algorithm }
    }

    fn verify_signature(
        &self,
        algorithm: &CoreJwsSigningAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureVerificationError> {
        if *algorithm != self.algorithm {
            return Err(SignatureVerificationError::DisallowedAlg("another algorithm than the key's".to_owned()));
        }
        if self.key.as_ref().is_some_and(|key| key.verifies(message, signature)) {
            Ok(())
        } else {
            Err(SignatureVerificationError::CryptoError("wrong signature".to_owned()))
        }
    }

    fn hash_bytes(&self, bytes: &[u8], algorithm: &CoreJwsSigningAlgorithm) -> Result<Vec<u8>, String> {
        let own = self.key.as_ref().filter(|_| *algorithm == self.algorithm);
        own.map(|key| key.algorithm().hash(bytes)).ok_or_else(|| "another algorithm than the key's".to_owned())
    }
}
