//! Private and public keys. A key has exactly one algorithm, fixed when it is made or read, so no token can choose
//! another for it (CVE-2022-29217 and its kin).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey, RsaKeyPair};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{base64url, from_base64url};

/// A JWS algorithm that is implemented here (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384; verified, never used to sign.
    ES384,
    /// Ed25519.
    EdDSA,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::ES256, Self::ES384, Self::EdDSA, Self::PS256, Self::RS256];

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::PS256 => "PS256",
            Self::RS256 => "RS256",
        }
    }

    /// The hash that goes with the algorithm, for `at_hash` and its kin (OpenID Connect Core section 3.1.3.6); SHA-512
    /// for `EdDSA`, the hash inside Ed25519.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Vec<u8> {
        let hash = match self {
            Self::ES256 | Self::PS256 | Self::RS256 => &SHA256,
            Self::ES384 => &SHA384,
            Self::EdDSA => &SHA512,
        };
        digest(hash, bytes).as_ref().to_vec()
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;
    fn from_str(name: &str) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|alg| alg.name() == name).ok_or(KeyError::Unsupported)
    }
}

/// Why a key cannot be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key's type, curve or algorithm is not one of ours.
    #[error("the key's type or algorithm is not supported")]
    Unsupported,
    /// The key's bytes are not a key.
    #[error("the key cannot be read")]
    Malformed,
    /// The key is for encryption, or for another algorithm.
    #[error("the key is for another use")]
    WrongUse,
    /// The cryptographic library refused.
    #[error("the cryptographic library refused the operation")]
    Crypto,
}

impl From<aws_lc_rs::error::Unspecified> for KeyError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Crypto
    }
}

impl From<aws_lc_rs::error::KeyRejected> for KeyError {
    fn from(_: aws_lc_rs::error::KeyRejected) -> Self {
        Self::Malformed
    }
}

enum Private {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// A private signing key.
pub struct SigningKey {
    algorithm: Algorithm,
    private: Private,
    public: Value,
    kid: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, {})", self.algorithm.name(), self.kid)
    }
}

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for an algorithm we only verify; [`KeyError::Crypto`] when no key can be made.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let private = match algorithm {
            Algorithm::ES256 => Private::Ecdsa(EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::EdDSA => Private::Ed25519(Ed25519KeyPair::generate()?),
            Algorithm::PS256 | Algorithm::RS256 => Private::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048)?)),
            Algorithm::ES384 => return Err(KeyError::Unsupported),
        };
        Ok(Self::assemble(algorithm, private))
    }

    /// A key from its PKCS#8 form.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when the bytes are not a key for `algorithm`.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let private = match algorithm {
            Algorithm::ES256 => Private::Ecdsa(EcdsaKeyPair::from_pkcs8(&sig::ECDSA_P256_SHA256_FIXED_SIGNING, der)?),
            Algorithm::EdDSA => Private::Ed25519(Ed25519KeyPair::from_pkcs8(der)?),
            Algorithm::PS256 | Algorithm::RS256 => Private::Rsa(Box::new(RsaKeyPair::from_pkcs8(der)?)),
            Algorithm::ES384 => return Err(KeyError::Unsupported),
        };
        Ok(Self::assemble(algorithm, private))
    }

    /// The key in PKCS#8 form, wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the library cannot write it.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(Zeroizing::new(match &self.private {
            Private::Ecdsa(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Private::Ed25519(pair) => pair.to_pkcs8()?.as_ref().to_vec(),
            Private::Rsa(pair) => pair.as_der()?.as_ref().to_vec(),
        }))
    }

    fn assemble(algorithm: Algorithm, private: Private) -> Self {
        let mut public = match &private {
            Private::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (point.get(1..33).unwrap_or_default(), point.get(33..65).unwrap_or_default());
                json!({"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)})
            }
            Private::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())})
            }
            Private::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                json!({"kty": "RSA", "n": base64url(n.big_endian_without_leading_zero()),
                       "e": base64url(e.big_endian_without_leading_zero())})
            }
        };
        let kid = thumbprint(&public);
        if let Some(members) = public.as_object_mut() {
            members.insert("kid".to_owned(), kid.clone().into());
            members.insert("alg".to_owned(), algorithm.name().into());
            members.insert("use".to_owned(), "sig".into());
        }
        Self { algorithm, private, public, kid }
    }

    /// The one algorithm of this key.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name: its RFC 7638 thumbprint.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK.
    #[must_use]
    pub fn public_jwk(&self) -> &Value {
        &self.public
    }

    /// Signs `message` in the form JWS uses (RFC 7518 section 3.4: fixed-length for ECDSA).
    ///
    /// # Errors
    /// [`KeyError::Crypto`] when the library refuses.
    #[expect(
        clippy::disallowed_methods,
        reason = "a signature's own nonce is the library's business, not the caller's"
    )]
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        Ok(match &self.private {
            Private::Ecdsa(pair) => pair.sign(&random, message)?.as_ref().to_vec(),
            Private::Ed25519(pair) => pair.try_sign(message)?.as_ref().to_vec(),
            Private::Rsa(pair) => {
                let encoding: &'static dyn sig::RsaEncoding =
                    if self.algorithm == Algorithm::PS256 { &sig::RSA_PSS_SHA256 } else { &sig::RSA_PKCS1_SHA256 };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)?;
                signature
            }
        })
    }
}

/// The RFC 7638 thumbprint of a public JWK: base64url SHA-256 of its required members in lexical order.
#[must_use]
pub fn thumbprint(jwk: &Value) -> String {
    let names: &[&str] = match jwk.get("kty").and_then(Value::as_str) {
        Some("EC") => &["crv", "kty", "x", "y"],
        Some("RSA") => &["e", "kty", "n"],
        _ => &["crv", "kty", "x"],
    };
    let members: Vec<String> =
        names.iter().map(|name| format!("\"{name}\":{}", jwk.get(*name).unwrap_or(&Value::Null))).collect();
    base64url(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()).as_ref())
}

/// A public key that verifies signatures of one algorithm. Parsed once, cheap to clone.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    kid: Option<String>,
    thumbprint: String,
    /// When it is given up, in seconds since 1970 (`exp`, a member that OpenID Federation 1.0 registers).
    ends: Option<u64>,
    key: Arc<ParsedPublicKey>,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({}, {:?})", self.algorithm.name(), self.kid)
    }
}

impl VerifyingKey {
    /// The keys that one public JWK stands for: one, or two for an RSA key whose `alg` is not stated.
    ///
    /// # Errors
    /// [`KeyError`] when the JWK is for encryption, of a type we do not verify with, or malformed.
    pub fn from_jwk(jwk: &Value) -> Result<Vec<Self>, KeyError> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(from_base64url).ok_or(KeyError::Malformed);
        if text("use").is_some_and(|usage| usage != "sig") {
            return Err(KeyError::WrongUse);
        }
        let kid = text("kid").map(str::to_owned);
        let ends = jwk.get("exp").map(|exp| exp.as_u64().ok_or(KeyError::Malformed)).transpose()?;
        let stated = text("alg").map(str::parse::<Algorithm>).transpose()?;
        let possible: &[Algorithm] = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => &[Algorithm::ES256],
            (Some("EC"), Some("P-384")) => &[Algorithm::ES384],
            (Some("OKP"), Some("Ed25519")) => &[Algorithm::EdDSA],
            (Some("RSA"), _) => &[Algorithm::RS256, Algorithm::PS256],
            _ => return Err(KeyError::Unsupported),
        };
        let chosen: Vec<Algorithm> =
            possible.iter().copied().filter(|alg| stated.is_none_or(|stated| stated == *alg)).collect();
        if chosen.is_empty() {
            return Err(KeyError::WrongUse);
        }
        chosen
            .into_iter()
            .map(|algorithm| {
                let key = match algorithm {
                    Algorithm::ES256 => point(&sig::ECDSA_P256_SHA256_FIXED, &bytes("x")?, &bytes("y")?, 32)?,
                    Algorithm::ES384 => point(&sig::ECDSA_P384_SHA384_FIXED, &bytes("x")?, &bytes("y")?, 48)?,
                    Algorithm::EdDSA => ParsedPublicKey::new(&sig::ED25519, bytes("x")?)?,
                    Algorithm::RS256 => rsa(&sig::RSA_PKCS1_2048_8192_SHA256, &bytes("n")?, &bytes("e")?)?,
                    Algorithm::PS256 => rsa(&sig::RSA_PSS_2048_8192_SHA256, &bytes("n")?, &bytes("e")?)?,
                };
                Ok(Self { algorithm, kid: kid.clone(), thumbprint: thumbprint(jwk), ends, key: Arc::new(key) })
            })
            .collect()
    }

    /// The one algorithm of this key.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's name, when its owner gave it one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// True when `signature` is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

fn point(
    algorithm: &'static dyn sig::VerificationAlgorithm,
    x: &[u8],
    y: &[u8],
    width: usize,
) -> Result<ParsedPublicKey, KeyError> {
    if x.len() != width || y.len() != width {
        return Err(KeyError::Malformed);
    }
    Ok(ParsedPublicKey::new(algorithm, [&[4], x, y].concat())?)
}

fn rsa(parameters: &'static sig::RsaParameters, n: &[u8], e: &[u8]) -> Result<ParsedPublicKey, KeyError> {
    // Below 2048 bits a signature is forgeable; above 8192 a verification is a way to burn our CPU.
    if !(256..=1024).contains(&n.len()) || n.first() == Some(&0) {
        return Err(KeyError::Malformed);
    }
    Ok(sig::RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters)?)
}

/// A set of public keys (RFC 7517 section 5). Keys that cannot be used are passed over, as the RFC asks.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    verifying: Vec<VerifyingKey>,
    /// Public JWKs that are not for signatures alone.
    encrypting: Vec<Value>,
}

impl KeySet {
    /// Reads a JWK Set.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when it is not a JWK Set at all.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeyError::Malformed)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyError::Malformed)?;
        let for_encryption = |jwk: &&Value| jwk.get("use").and_then(Value::as_str) != Some("sig");
        Ok(Self {
            verifying: keys.iter().filter_map(|jwk| VerifyingKey::from_jwk(jwk).ok()).flatten().collect(),
            encrypting: keys.iter().filter(for_encryption).cloned().collect(),
        })
    }

    /// The first key to which something can be encrypted under `alg`, of this type, as a JWK. One that is for encryption alone
    /// goes before one that says nothing of its use.
    #[must_use]
    pub fn encrypting(&self, alg: &str, kty: &str) -> Option<&Value> {
        let text = |jwk: &Value, name: &str| jwk.get(name).and_then(Value::as_str).map(str::to_owned);
        let fits = |jwk: &&Value| {
            text(jwk, "kty").as_deref() == Some(kty) && text(jwk, "alg").is_none_or(|stated| stated == alg)
        };
        let stated = self.encrypting.iter().filter(fits).find(|jwk| text(jwk, "use").as_deref() == Some("enc"));
        stated.or_else(|| self.encrypting.iter().find(fits))
    }

    /// The keys that may have signed a token with this header: same algorithm and, when the header names one, same `kid`.
    pub fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        kid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a VerifyingKey> {
        self.verifying.iter().filter(move |key| {
            key.algorithm == algorithm && kid.is_none_or(|kid| key.kid.as_deref().is_none_or(|own| own == kid))
        })
    }

    /// Whether some key ended before `now`, in seconds since 1970.
    #[must_use]
    pub fn has_ended(&self, now: u64) -> bool {
        self.verifying.iter().any(|key| key.ends.is_some_and(|ends| ends <= now))
    }

    /// The set without the keys that ended before `now`, in seconds since 1970.
    #[must_use]
    pub fn living(&self, now: u64) -> Self {
        let verifying = self.verifying.iter().filter(|key| key.ends.is_none_or(|ends| ends > now)).cloned().collect();
        Self { verifying, encrypting: self.encrypting.clone() }
    }

    /// The name of the key that signed a token with this header, where it is one that is being given up.
    #[must_use]
    pub fn retiring<'a>(&'a self, algorithm: Algorithm, kid: Option<&'a str>) -> Option<&'a str> {
        let mut candidates = self.candidates(algorithm, kid);
        let key = candidates.next().filter(|key| key.ends.is_some())?;
        candidates.all(|key| key.ends.is_some()).then(|| key.kid.as_deref().unwrap_or(&key.thumbprint))
    }

    /// The keys, in the order of the set.
    pub fn iter(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.verifying.iter()
    }

    /// True when the set has a key of this name.
    #[must_use]
    pub fn has_kid(&self, kid: &str) -> bool {
        self.verifying.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// True when the set has the key of this RFC 7638 thumbprint, under whatever name.
    #[must_use]
    pub fn has_thumbprint(&self, thumbprint: &str) -> bool {
        self.verifying.iter().any(|key| key.thumbprint == thumbprint)
    }

    /// True when there is no usable key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verifying.is_empty()
    }

    /// Whether there is a key to encrypt to.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        !self.encrypting.is_empty()
    }
}

impl FromIterator<VerifyingKey> for KeySet {
    fn from_iter<I: IntoIterator<Item = VerifyingKey>>(keys: I) -> Self {
        Self { verifying: keys.into_iter().collect(), encrypting: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNING: [Algorithm; 4] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256, Algorithm::RS256];

    #[test]
    fn a_key_survives_its_pkcs8_form_and_verifies_what_it_signed() {
        for algorithm in SIGNING {
            let key = SigningKey::generate(algorithm).unwrap();
            let again = SigningKey::from_pkcs8(algorithm, &key.to_pkcs8().unwrap()).unwrap();
            assert_eq!(key.kid(), again.kid());
            let public = &VerifyingKey::from_jwk(key.public_jwk()).unwrap()[0];
            let signature = again.sign(b"message").unwrap();
            assert!(public.verifies(b"message", &signature), "{}", algorithm.name());
            assert!(!public.verifies(b"massage", &signature), "{}", algorithm.name());
        }
    }

    /// RFC 7638 section 3.1.
    #[test]
    fn rfc7638_3_1_thumbprint_vector() {
        let jwk = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        assert_eq!(thumbprint(&jwk), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn keys_for_other_uses_are_not_read() {
        let mut jwk = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().clone();
        jwk["use"] = "enc".into();
        assert_eq!(VerifyingKey::from_jwk(&jwk).unwrap_err(), KeyError::WrongUse);
        jwk["use"] = "sig".into();
        jwk["alg"] = "RS256".into();
        assert_eq!(VerifyingKey::from_jwk(&jwk).unwrap_err(), KeyError::WrongUse);
        let small = json!({"kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB"});
        assert_eq!(VerifyingKey::from_jwk(&small).unwrap_err(), KeyError::Malformed);
        assert!(VerifyingKey::from_jwk(&json!({"kty": "oct", "k": "AAAA"})).is_err());
    }
}
