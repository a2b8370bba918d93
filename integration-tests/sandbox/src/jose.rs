//! Small helpers over `josekit`: ES256 keys, compact signatures, and verification against a JWKS.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::JoseError;
use josekit::jwk::Jwk;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jws::{ES256, EdDSA, HS256, JwsSigner, JwsVerifier, PS256, RS256};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::SandboxError;
use crate::entropy::sha256_base64url;

/// An ES256 key pair whose `kid` is its RFC 7638 thumbprint.
#[derive(Clone)]
pub(crate) struct SigningKey {
    private: Jwk,
    kid: String,
}

impl SigningKey {
    /// Makes a new key.
    pub(crate) fn generate() -> Result<Self, SandboxError> {
        let private = Jwk::generate_ec_key(EcCurve::P256)?;
        let coordinate = |name: &str| private.parameter(name).and_then(Value::as_str).unwrap_or_default();
        // Members in alphabetical order without spaces, as the thumbprint is defined.
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, coordinate("x"), coordinate("y"));
        let kid = sha256_base64url(&members);
        Ok(Self { private, kid })
    }

    /// The thumbprint under which the key is published.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as it appears in a JWKS.
    pub(crate) fn public_jwk(&self) -> Value {
        let part = |name: &str| self.private.parameter(name).cloned().unwrap_or_default();
        json!({
            "kty": "EC", "crv": "P-256", "x": part("x"), "y": part("y"),
            "use": "sig", "alg": "ES256", "kid": self.kid,
        })
    }

    /// The public half in PEM, which careless verifiers can be tricked into using as an HMAC secret.
    pub(crate) fn public_pem(&self) -> Result<Vec<u8>, SandboxError> {
        Ok(EcKeyPair::from_jwk(&self.private)?.to_pem_public_key())
    }

    /// The private JWK, for configuring a client of the simulators.
    #[cfg(test)]
    pub(crate) fn private_jwk(&self) -> Value {
        let mut members = self.private.as_ref().clone();
        members.insert("kid".to_owned(), Value::from(self.kid.clone()));
        Value::Object(members)
    }

    /// Signs `payload` under `header` exactly as given; the header is not checked for sense.
    pub(crate) fn sign(&self, header: &Value, payload: &Value) -> Result<String, SandboxError> {
        sign_es256(&self.private, header, payload)
    }
}

/// Signs with a private ES256 JWK.
pub(crate) fn sign_es256(key: &Jwk, header: &Value, payload: &Value) -> Result<String, SandboxError> {
    let signer = ES256.signer_from_jwk(key)?;
    seal(&signer, header, payload)
}

/// Signs with HMAC-SHA-256.
pub(crate) fn sign_hs256(secret: &[u8], header: &Value, payload: &Value) -> Result<String, SandboxError> {
    let signer = HS256.signer_from_bytes(secret)?;
    seal(&signer, header, payload)
}

/// A compact serialisation with an empty signature.
pub(crate) fn unsigned(header: &Value, payload: &Value) -> String {
    format!("{}.", signing_input(header, payload))
}

fn seal(signer: &dyn JwsSigner, header: &Value, payload: &Value) -> Result<String, SandboxError> {
    let input = signing_input(header, payload);
    let signature = signer.sign(input.as_bytes())?;
    Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn signing_input(header: &Value, payload: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(payload))
}

/// Why a compact signature was not accepted.
#[derive(Debug, Error)]
pub(crate) enum Rejected {
    /// Not three base64url parts around JSON objects.
    #[error("the token is malformed")]
    Malformed,
    /// An algorithm outside the allowed list, `none` included.
    #[error("algorithm {0} is not allowed")]
    Algorithm(String),
    /// A critical header extension that is not understood.
    #[error("the header demands an extension that is not understood")]
    Critical,
    /// No published key fits; the caller may fetch the key set again.
    #[error("no published key fits the token")]
    NoKey,
    /// The signature is wrong, or the key is unusable.
    #[error("signature: {0}")]
    Signature(#[from] JoseError),
}

/// Verifies a compact signature against `jwks` and returns its claims.
pub(crate) fn verify(token: &str, jwks: &Value) -> Result<Map<String, Value>, Rejected> {
    let header = object_part(token, 0).ok_or(Rejected::Malformed)?;
    if header.contains_key("crit") {
        return Err(Rejected::Critical);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    if !matches!(algorithm, "ES256" | "EdDSA" | "PS256" | "RS256") {
        return Err(Rejected::Algorithm(algorithm.to_owned()));
    }
    let key = fitting_key(jwks, &header, algorithm).ok_or(Rejected::NoKey)?;
    let verifier = verifier(algorithm, &key)?;
    let (payload, _) = josekit::jws::deserialize_compact(token, verifier.as_ref())?;
    serde_json::from_slice(&payload).map_err(|_| Rejected::Malformed)
}

/// The claims of a token before anything about it is proved; good only for looking up who to ask.
pub(crate) fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    object_part(token, 1)
}

fn object_part(token: &str, index: usize) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(index)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The key with the header's `kid`, or without a `kid` the only key of the right type.
fn fitting_key(jwks: &Value, header: &Map<String, Value>, algorithm: &str) -> Option<Jwk> {
    let key_type = match algorithm {
        "ES256" => "EC",
        "EdDSA" => "OKP",
        _ => "RSA",
    };
    let keys = jwks.get("keys")?.as_array()?;
    let mut fitting = keys.iter().filter(|key| {
        let named = header.get("kid").is_none_or(|kid| key.get("kid") == Some(kid));
        named && key.get("kty").and_then(Value::as_str) == Some(key_type)
    });
    let only = fitting.next()?;
    if fitting.next().is_some() {
        return None;
    }
    Jwk::from_map(only.as_object()?.clone()).ok()
}

fn verifier(algorithm: &str, key: &Jwk) -> Result<Box<dyn JwsVerifier>, JoseError> {
    Ok(match algorithm {
        "EdDSA" => Box::new(EdDSA.verifier_from_jwk(key)?),
        "PS256" => Box::new(PS256.verifier_from_jwk(key)?),
        "RS256" => Box::new(RS256.verifier_from_jwk(key)?),
        _ => Box::new(ES256.verifier_from_jwk(key)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(signer: &dyn JwsSigner, mut public: Jwk) {
        let header = json!({ "alg": signer.algorithm().name(), "kid": "k1" });
        let token = seal(signer, &header, &json!({ "sub": "x" })).unwrap();
        public.set_key_id("k1");
        let jwks = json!({ "keys": [Value::Object(public.as_ref().clone())] });
        assert_eq!(verify(&token, &jwks).unwrap().get("sub"), Some(&"x".into()));
        let other = json!({ "keys": [SigningKey::generate().unwrap().public_jwk()] });
        assert!(matches!(verify(&token, &other), Err(Rejected::NoKey)));
    }

    #[test]
    fn every_allowed_algorithm_verifies() {
        let rsa = Jwk::generate_rsa_key(2048).unwrap();
        let public = rsa.to_public_key().unwrap();
        check(&PS256.signer_from_jwk(&rsa).unwrap(), public.clone());
        check(&RS256.signer_from_jwk(&rsa).unwrap(), public);
        let ed = Jwk::generate_ed_key(josekit::jwk::alg::ed::EdCurve::Ed25519).unwrap();
        check(&EdDSA.signer_from_jwk(&ed).unwrap(), ed.to_public_key().unwrap());
    }
}
