//! Signing for the portal and the provider, straight on the cryptographic library: the generator must stay cheap, and
//! shares no protocol code with what it measures.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::Failed;

/// Base64url without padding.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256 in base64url: what PKCE calls S256.
pub(crate) fn s256(text: &str) -> String {
    base64url(digest(&SHA256, text.as_bytes()))
}

/// 32 random bytes in base64url.
pub(crate) fn token() -> Result<String, Failed> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map(|()| base64url(bytes)).map_err(|error| error.to_string())
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "tokens name wall-clock times; durations come from Instant")]
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What the library wants to be handed for a signature.
#[expect(clippy::disallowed_methods, reason = "a signature's own nonce is the library's business")]
pub(crate) fn random() -> SystemRandom {
    SystemRandom::new()
}

/// A private key and how it signs.
pub(crate) enum Key {
    /// ES256.
    Ecdsa(EcdsaKeyPair),
    /// RS256.
    Rsa(Box<RsaKeyPair>),
}

impl Key {
    /// A fresh ES256 key.
    pub(crate) fn es256() -> Result<Self, Failed> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|error| error.to_string())?;
        Ok(Self::Ecdsa(pair))
    }

    /// A fresh RSA-2048 key.
    pub(crate) fn rs256() -> Result<Self, Failed> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|error| error.to_string())?;
        Ok(Self::Rsa(Box::new(pair)))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ecdsa(_) => "ES256",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public half, as the only key of a JWK Set.
    pub(crate) fn jwks(&self) -> Value {
        let mut jwk = match self {
            Self::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..65).unwrap_or_default());
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Self::Rsa(pair) => {
                let n: Vec<u8> = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
                let e: Vec<u8> = pair.public_key().exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "n": base64url(n), "e": base64url(e)})
            }
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), "bench-1".into());
            members.insert("alg".to_owned(), self.algorithm().into());
            members.insert("use".to_owned(), "sig".into());
        }
        json!({"keys": [jwk]})
    }

    /// Claims as a compact JWS.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, Failed> {
        self.sign_typed("JWT", false, claims)
    }

    /// The same of another type; with the public key in its header, or only its name.
    pub(crate) fn sign_typed(&self, typ: &str, with_key: bool, claims: &Value) -> Result<String, Failed> {
        let jwk = self.jwks().pointer("/keys/0").cloned();
        let header = match with_key {
            true => json!({"alg": self.algorithm(), "typ": typ, "jwk": jwk}),
            false => json!({"alg": self.algorithm(), "typ": typ, "kid": "bench-1"}),
        };
        let header = header.to_string();
        let signed = format!("{}.{}", base64url(header), base64url(claims.to_string()));
        let signature = match self {
            Self::Ecdsa(pair) => pair.sign(&random(), signed.as_bytes()).map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let made = pair.sign(&RSA_PKCS1_SHA256, &random(), signed.as_bytes(), &mut signature);
                made.map(|()| signature)
            }
        };
        Ok(format!("{signed}.{}", base64url(signature.map_err(|error| error.to_string())?)))
    }
}

/// The claims of a token, its signature unlooked-at: the integration tests look at it.
pub(crate) fn claims(token: &str) -> Option<Value> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}
