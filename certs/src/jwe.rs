//! Compact JWE (RFC 7516 section 3.1) through a strict façade over josekit.
//!
//! The protected header is read here first: `zip` (decompression bombs), any `crit`, RSA1_5, PBES2, `dir` and everything
//! else that is not on the two short lists is refused before the library sees the token.

use josekit::jwe::{self as lib, JweHeader};
use josekit::jwk::Jwk;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::from_base64url;
use crate::jws::MAX_TOKEN;

/// How the content key travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyManagement {
    /// ECDH-ES on P-256 (RFC 7518 section 4.6), the content key agreed directly.
    EcdhEs,
    /// RSA-OAEP with SHA-256 (RFC 7518 section 4.3), for peers without elliptic curves.
    RsaOaep256,
}

impl KeyManagement {
    /// Both.
    pub const ALL: [Self; 2] = [Self::EcdhEs, Self::RsaOaep256];

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdhEs => "ECDH-ES",
            Self::RsaOaep256 => "RSA-OAEP-256",
        }
    }
}

/// The content encryptions that are written and read (RFC 7518 section 5).
pub const CONTENT: [&str; 3] = ["A256GCM", "A128GCM", "A128CBC-HS256"];

/// Why an encrypted token is refused or cannot be made. Says nothing about which step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JweError {
    /// Not a compact JWE, or too long.
    #[error("the token is not a compact JWE")]
    Malformed,
    /// The header asks for something we do not do.
    #[error("the token's encryption is not acceptable")]
    Header,
    /// It cannot be decrypted, or the key does not serve.
    #[error("the token cannot be decrypted or encrypted with this key")]
    Crypto,
}

/// Encrypts `payload`, a signed token, to a public JWK. `cty` is `JWT` (RFC 7519 section 5.2).
///
/// # Errors
/// [`JweError::Crypto`] when the key does not serve for `management`; [`JweError::Header`] for a `content` encryption that is
/// not one of [`CONTENT`].
pub fn encrypt(
    payload: &[u8],
    management: KeyManagement,
    content: &str,
    recipient: &Value,
) -> Result<String, JweError> {
    if !CONTENT.contains(&content) {
        return Err(JweError::Header);
    }
    let jwk = read_jwk(recipient)?;
    let mut header = JweHeader::new();
    header.set_content_encryption(content);
    header.set_content_type("JWT");
    if let Some(kid) = jwk.key_id() {
        header.set_key_id(kid);
    }
    let sealed = match management {
        KeyManagement::EcdhEs => {
            let encrypter = lib::ECDH_ES.encrypter_from_jwk(&jwk).map_err(|_| JweError::Crypto)?;
            lib::serialize_compact(payload, &header, &encrypter)
        }
        KeyManagement::RsaOaep256 => {
            let encrypter = lib::RSA_OAEP_256.encrypter_from_jwk(&jwk).map_err(|_| JweError::Crypto)?;
            lib::serialize_compact(payload, &header, &encrypter)
        }
    };
    sealed.map_err(|_| JweError::Crypto)
}

/// Decrypts a token that uses exactly `management`, with a private JWK.
///
/// # Errors
/// [`JweError`].
pub fn decrypt(token: &str, management: KeyManagement, private: &Value) -> Result<Zeroizing<Vec<u8>>, JweError> {
    if check_header(token)? != management {
        return Err(JweError::Header);
    }
    let jwk = read_jwk(private)?;
    let opened = match management {
        KeyManagement::EcdhEs => {
            let decrypter = lib::ECDH_ES.decrypter_from_jwk(&jwk).map_err(|_| JweError::Crypto)?;
            lib::deserialize_compact(token, &decrypter)
        }
        KeyManagement::RsaOaep256 => {
            let decrypter = lib::RSA_OAEP_256.decrypter_from_jwk(&jwk).map_err(|_| JweError::Crypto)?;
            lib::deserialize_compact(token, &decrypter)
        }
    };
    opened.map(|(payload, _)| Zeroizing::new(payload)).map_err(|_| JweError::Crypto)
}

fn read_jwk(value: &Value) -> Result<Jwk, JweError> {
    let members = value.as_object().ok_or(JweError::Crypto)?.clone();
    Jwk::from_map(members).map_err(|_| JweError::Crypto)
}

fn check_header(token: &str) -> Result<KeyManagement, JweError> {
    if token.len() > MAX_TOKEN || token.bytes().filter(|b| *b == b'.').count() != 4 {
        return Err(JweError::Malformed);
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [header, _, iv, _, tag] = parts.as_slice() else { return Err(JweError::Malformed) };
    let header = from_base64url(header).ok_or(JweError::Malformed)?;
    let Ok(Value::Object(header)) = serde_json::from_slice(&header) else { return Err(JweError::Malformed) };
    if header.contains_key("zip") || header.contains_key("crit") {
        return Err(JweError::Header);
    }
    let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
    if !CONTENT.contains(&text("enc")) {
        return Err(JweError::Header);
    }
    // CVE-2025-54887: a short tag makes forgery a matter of a few tries.
    let (iv, tag) = (from_base64url(iv).unwrap_or_default(), from_base64url(tag).unwrap_or_default());
    let iv_length = if text("enc").ends_with("GCM") { 12 } else { 16 };
    if tag.len() != 16 || iv.len() != iv_length {
        return Err(JweError::Malformed);
    }
    KeyManagement::ALL.into_iter().find(|management| management.name() == text("alg")).ok_or(JweError::Header)
}

#[cfg(test)]
mod tests {
    use josekit::jwk::alg::ec::EcCurve;
    use serde_json::json;

    use super::*;
    use crate::base64url;

    fn ec() -> (Value, Value) {
        let jwk = Jwk::generate_ec_key(EcCurve::P256).unwrap();
        let public = jwk.to_public_key().unwrap();
        (Value::Object(jwk.into()), Value::Object(public.into()))
    }

    #[test]
    fn both_ways_with_both_key_types() {
        let (private, public) = ec();
        let token = encrypt(b"signed", KeyManagement::EcdhEs, "A256GCM", &public).unwrap();
        assert_eq!(decrypt(&token, KeyManagement::EcdhEs, &private).unwrap().as_slice(), b"signed");
        assert_eq!(decrypt(&token, KeyManagement::EcdhEs, &ec().0).unwrap_err(), JweError::Crypto);
        for content in CONTENT {
            let token = encrypt(b"signed", KeyManagement::EcdhEs, content, &public).unwrap();
            assert_eq!(decrypt(&token, KeyManagement::EcdhEs, &private).unwrap().as_slice(), b"signed", "{content}");
        }
        assert_eq!(encrypt(b"signed", KeyManagement::EcdhEs, "A256CBC", &public).unwrap_err(), JweError::Header);
        let rsa = Jwk::generate_rsa_key(2048).unwrap();
        let public = Value::Object(rsa.to_public_key().unwrap().into());
        let token = encrypt(b"signed", KeyManagement::RsaOaep256, "A256GCM", &public).unwrap();
        let private = Value::Object(rsa.into());
        assert_eq!(decrypt(&token, KeyManagement::RsaOaep256, &private).unwrap().as_slice(), b"signed");
        assert_eq!(decrypt(&token, KeyManagement::EcdhEs, &private).unwrap_err(), JweError::Header);
    }

    /// CVE-2024-28180, CVE-2025-59420, CVE-2026-28490, GO-2023-2334.
    #[test]
    fn cve_2024_28180_dangerous_headers_never_reach_the_library() {
        let (private, public) = ec();
        let token = encrypt(b"signed", KeyManagement::EcdhEs, "A256GCM", &public).unwrap();
        let rest = token.split_once('.').unwrap().1;
        for header in [
            json!({"alg": "ECDH-ES", "enc": "A256GCM", "zip": "DEF"}),
            json!({"alg": "ECDH-ES", "enc": "A256GCM", "crit": ["x"]}),
            json!({"alg": "ECDH-ES", "enc": "A256GCM", "crit": "x"}),
            json!({"alg": "RSA1_5", "enc": "A256GCM"}),
            json!({"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": 100_000_000}),
            json!({"alg": "dir", "enc": "A256GCM"}),
            json!({"alg": "ECDH-ES", "enc": "A256CBC"}),
            json!({"alg": ["ECDH-ES"], "enc": "A256GCM"}),
        ] {
            let forged = format!("{}.{rest}", base64url(header.to_string().as_bytes()));
            assert_eq!(decrypt(&forged, KeyManagement::EcdhEs, &private).unwrap_err(), JweError::Header, "{header}");
        }
    }

    #[test]
    fn cve_2025_54887_short_tags_are_refused() {
        let (private, public) = ec();
        let token = encrypt(b"signed", KeyManagement::EcdhEs, "A256GCM", &public).unwrap();
        let (rest, _) = token.rsplit_once('.').unwrap();
        for length in [0, 1, 4, 12, 15] {
            let forged = format!("{rest}.{}", base64url(&vec![0; length]));
            assert_eq!(decrypt(&forged, KeyManagement::EcdhEs, &private).unwrap_err(), JweError::Malformed);
        }
    }
}
