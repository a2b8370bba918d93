//! Compact JWS (RFC 7515 section 3.1), read strictly.
//!
//! Invariants: nothing of a token is used before its signature is verified, its header aside; `alg` must be on the
//! caller's allow-list and equal to the key's own; keys come from the caller, never from the token (`jku`, `x5c` and `x5u`
//! are not read, and `jwk` only by [`crate::dpop`]); an unknown `crit`, `b64` or `zip` refuses the token.

use std::fmt;
use std::ops::Deref;

use serde_json::{Map, Value, json};

use crate::key::{Algorithm, KeyError, KeySet, SigningKey};
use crate::{base64url, from_base64url};

/// The longest token that is looked at, in bytes; checked before anything is decoded.
pub const MAX_TOKEN: usize = 16 * 1024;

/// Why a token is refused. A bad signature is never combined with another reason (CVE-2024-51744).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Too long, not three parts, not base64url, not JSON.
    #[error("the token is not a compact JWS")]
    Malformed,
    /// The header asks for something we do not do.
    #[error("the token's header is not acceptable")]
    Header,
    /// The algorithm is not allowed here.
    #[error("the token's algorithm is not acceptable")]
    Algorithm,
    /// No key of the set may have signed it.
    #[error("no key fits the token")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
}

/// A value whose signature was verified. There is no other way to make one than [`Unverified::verify`].
pub struct Verified<T>(T);

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Verified<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verified([redacted])")
    }
}

/// A token that was taken apart and not yet verified. Only its header can be read.
pub struct Unverified<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
    jwk: Option<Value>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`JwsError::Malformed`], [`JwsError::Header`], or [`JwsError::Algorithm`] for `none` and anything unknown.
    pub fn parse(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN || token.bytes().filter(|b| *b == b'.').count() != 2 {
            return Err(JwsError::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        let header = from_base64url(header).ok_or(JwsError::Malformed)?;
        let Ok(Value::Object(mut header)) = serde_json::from_slice(&header) else { return Err(JwsError::Malformed) };
        if ["crit", "b64", "zip"].iter().any(|name| header.contains_key(*name)) {
            return Err(JwsError::Header);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(JwsError::Header)?;
        Ok(Self {
            signed,
            payload,
            signature: from_base64url(signature).ok_or(JwsError::Malformed)?,
            algorithm: algorithm.parse().map_err(|_| JwsError::Algorithm)?,
            kid: text(&header, "kid")?,
            typ: text(&header, "typ")?,
            jwk: header.remove("jwk"),
        })
    }

    /// The algorithm the token claims.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What kind of token it claims to be (RFC 8725 section 3.11).
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// The key the token claims.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key that came with it.
    pub(crate) fn jwk(&self) -> Option<&Value> {
        self.jwk.as_ref()
    }

    /// Verifies the signature and reads the claims.
    ///
    /// # Errors
    /// [`JwsError`]; `Malformed` when a correctly signed payload is not a JSON object.
    pub fn verify(self, keys: &KeySet, allowed: &[Algorithm]) -> Result<Verified<Map<String, Value>>, JwsError> {
        if !allowed.contains(&self.algorithm) {
            return Err(JwsError::Algorithm);
        }
        let mut candidates = keys.candidates(self.algorithm, self.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return Err(JwsError::UnknownKey);
        }
        // A set without names could make us try every key: four are enough for any honest rotation.
        if !candidates.take(4).any(|key| key.verifies(self.signed.as_bytes(), &self.signature)) {
            return Err(JwsError::Signature);
        }
        let payload = from_base64url(self.payload).ok_or(JwsError::Malformed)?;
        let Ok(Value::Object(claims)) = serde_json::from_slice(&payload) else { return Err(JwsError::Malformed) };
        Ok(Verified(claims))
    }
}

/// The claims of a token that nobody vouched for: good for finding out whose keys would have to have signed it, and for
/// nothing else.
#[must_use]
pub fn claimed(token: &str) -> Option<Map<String, Value>> {
    let payload = token.split('.').nth(1).filter(|_| token.len() <= MAX_TOKEN)?;
    serde_json::from_slice(&from_base64url(payload)?).ok()
}

fn text(header: &Map<String, Value>, name: &str) -> Result<Option<String>, JwsError> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= 256 => Ok(Some(text.clone())),
        Some(_) => Err(JwsError::Header),
    }
}

/// Signs claims as a compact JWS with an explicit `typ` (RFC 8725 section 3.11).
///
/// # Errors
/// [`KeyError::Crypto`] when the key cannot sign.
pub fn sign(key: &SigningKey, typ: &str, claims: &Map<String, Value>) -> Result<String, KeyError> {
    sign_with(key, &json!({"alg": key.algorithm().name(), "kid": key.kid(), "typ": typ}), claims)
}

/// The same under a header of its own.
pub(crate) fn sign_with(key: &SigningKey, header: &Value, claims: &Map<String, Value>) -> Result<String, KeyError> {
    let payload = serde_json::to_vec(claims).map_err(|_| KeyError::Malformed)?;
    let signed = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(&payload));
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", base64url(&signature)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::VerifyingKey;

    fn pair(algorithm: Algorithm) -> (SigningKey, KeySet) {
        let key = SigningKey::generate(algorithm).unwrap();
        let set = VerifyingKey::from_jwk(key.public_jwk()).unwrap().into_iter().collect();
        (key, set)
    }

    fn claims() -> Map<String, Value> {
        json!({"sub": "someone"}).as_object().unwrap().clone()
    }

    fn verify(token: &str, keys: &KeySet) -> Result<Verified<Map<String, Value>>, JwsError> {
        Unverified::parse(token)?.verify(keys, &Algorithm::ALL)
    }

    fn with_header(token: &str, header: &Value) -> String {
        let rest = token.split_once('.').unwrap().1;
        format!("{}.{rest}", base64url(header.to_string().as_bytes()))
    }

    #[test]
    fn what_we_sign_verifies_and_nothing_else() {
        for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::RS256] {
            let (key, set) = pair(algorithm);
            let token = sign(&key, "JWT", &claims()).unwrap();
            assert_eq!(verify(&token, &set).unwrap().get("sub"), Some(&"someone".into()));
            let (_, other) = pair(algorithm);
            assert_eq!(verify(&token, &other).unwrap_err(), JwsError::UnknownKey);
        }
    }

    /// CVE-2026-28802, CVE-2021-44878: no spelling of `none` is an algorithm.
    #[test]
    fn cve_2026_28802_alg_none_in_every_spelling() {
        let (key, set) = pair(Algorithm::ES256);
        let token = sign(&key, "JWT", &claims()).unwrap();
        for none in ["none", "None", "NONE", "nOnE", "", " none"] {
            let forged = with_header(&token, &json!({"alg": none}));
            assert_eq!(verify(&forged, &set).unwrap_err(), JwsError::Algorithm, "{none}");
            let unsigned = format!("{}.", forged.rsplit_once('.').unwrap().0);
            assert_eq!(verify(&unsigned, &set).unwrap_err(), JwsError::Algorithm, "{none}");
        }
    }

    /// CVE-2022-29217, CVE-2024-37568: the key fixes the algorithm; HMAC is not even known.
    #[test]
    fn cve_2022_29217_a_public_key_is_never_an_hmac_secret() {
        let (key, set) = pair(Algorithm::RS256);
        let token = sign(&key, "JWT", &claims()).unwrap();
        for alg in ["HS256", "HS512", "ES256", "PS256", "EdDSA"] {
            let forged = with_header(&token, &json!({"alg": alg, "kid": key.kid()}));
            assert!(verify(&forged, &set).is_err(), "{alg}");
        }
    }

    /// CVE-2026-27962: a key inside the token is not a key.
    #[test]
    fn cve_2026_27962_keys_in_the_token_are_ignored() {
        let (_, set) = pair(Algorithm::ES256);
        let (attacker, _) = pair(Algorithm::ES256);
        let header = json!({"alg": "ES256", "jwk": attacker.public_jwk(), "jku": "https://evil.example/jwks"});
        let payload = base64url(br#"{"sub":"victim"}"#);
        let signed = format!("{}.{payload}", base64url(header.to_string().as_bytes()));
        let forged = format!("{signed}.{}", base64url(&attacker.sign(signed.as_bytes()).unwrap()));
        assert_eq!(verify(&forged, &set).unwrap_err(), JwsError::Signature);
    }

    /// CVE-2025-59420, CVE-2026-48525, CVE-2024-28180.
    #[test]
    fn cve_2025_59420_crit_b64_and_zip_refuse_the_token() {
        let (key, set) = pair(Algorithm::ES256);
        let token = sign(&key, "JWT", &claims()).unwrap();
        for extra in [json!({"crit": ["x"]}), json!({"crit": 1}), json!({"b64": false}), json!({"zip": "DEF"})] {
            let mut header = json!({"alg": "ES256", "kid": key.kid()});
            header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert_eq!(verify(&with_header(&token, &header), &set).unwrap_err(), JwsError::Header);
        }
    }

    /// CVE-2025-61920, CVE-2025-30204: size and dots are looked at before anything is decoded.
    #[test]
    fn cve_2025_61920_huge_and_dotty_tokens() {
        for token in [".".repeat(1_000_000), "a".repeat(MAX_TOKEN + 1), "a.b".into(), "a.b.c.d".into(), String::new()] {
            assert_eq!(Unverified::parse(&token).err(), Some(JwsError::Malformed));
        }
    }

    #[test]
    fn an_algorithm_off_the_list_is_refused_even_with_a_good_signature() {
        let (key, set) = pair(Algorithm::RS256);
        let token = sign(&key, "JWT", &claims()).unwrap();
        let refused = Unverified::parse(&token).unwrap().verify(&set, &[Algorithm::ES256]);
        assert_eq!(refused.unwrap_err(), JwsError::Algorithm);
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let (key, set) = pair(Algorithm::ES256);
        let token = sign(&key, "JWT", &claims()).unwrap();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&changed, &set).is_err(), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(token in "\\PC{0,200}") {
            let _ = Unverified::parse(&token);
        }
    }
}
