//! Proofs of possession (RFC 9449): the one kind of token whose key comes with it. The key says nothing about who sent
//! it; its thumbprint is what a code or a token is bound to.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use crate::base64url;
use crate::claims::{ClaimError, text, time};
use crate::jws::{JwsError, Unverified, Verified, sign_with};
use crate::key::{Algorithm, KeyError, KeySet, SigningKey, VerifyingKey, thumbprint};

/// The algorithms of proofs. RS256 is not one: whoever speaks DPoP is new enough.
pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256];

/// How long before now a proof may have been made, in seconds, and how long after.
const OLDEST: u64 = 300;
const EARLIEST: u64 = 60;

/// The longest `jti` and `nonce`, in bytes.
const LONGEST: usize = 256;

/// Why a proof is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The token.
    #[error(transparent)]
    Token(#[from] JwsError),
    /// A claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// Not of the type `dpop+jwt`, or without a public key, or with a private one.
    #[error("the proof's header is not acceptable")]
    Header,
    /// It is for another method, address or access token.
    #[error("the proof is for another request")]
    OtherRequest,
}

/// What a proof has to be for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The request's method.
    pub method: &'a str,
    /// The addresses of the endpoint, without query and fragment: any of them.
    pub urls: &'a [String],
    /// The access token that it comes with, if one does.
    pub access_token: Option<&'a str>,
    /// Now, in seconds.
    pub now: u64,
}

/// A proof whose signature and claims hold. Whether it was used before is for the caller to find out.
#[derive(Debug)]
pub struct Proof {
    jkt: String,
    claims: Verified<Map<String, Value>>,
}

impl Proof {
    /// Verifies a proof (RFC 9449 section 4.3, checks 2 to 9 and 11).
    ///
    /// # Errors
    /// [`ProofError`] for the first check that fails.
    pub fn verify(token: &str, expected: &Expected<'_>) -> Result<Self, ProofError> {
        let unverified = Unverified::parse(token)?;
        let jwk = unverified.jwk().filter(|_| unverified.typ() == Some("dpop+jwt")).ok_or(ProofError::Header)?;
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|private| jwk.get(*private).is_some()) {
            return Err(ProofError::Header);
        }
        let mut jwk = jwk.clone();
        if let Some(members) = jwk.as_object_mut() {
            // The header's `kid` names nothing here, and a key's own name must not stand in the way.
            members.remove("kid");
        }
        let keys: KeySet = VerifyingKey::from_jwk(&jwk).map_err(|_| ProofError::Header)?.into_iter().collect();
        let proof = Self { jkt: thumbprint(&jwk), claims: unverified.verify(&keys, &ALGORITHMS)? };
        proof.check(expected)?;
        Ok(proof)
    }

    fn check(&self, expected: &Expected<'_>) -> Result<(), ProofError> {
        let claims = &self.claims;
        let jti = text(claims, "jti")?;
        if jti.is_empty() || jti.len() > LONGEST {
            return Err(ClaimError::Type("jti").into());
        }
        let made_at = time(claims, "iat")?.ok_or(ClaimError::Missing("iat"))?;
        if made_at > expected.now.saturating_add(EARLIEST) {
            return Err(ClaimError::Early.into());
        }
        if made_at.saturating_add(OLDEST) < expected.now {
            return Err(ClaimError::Expired.into());
        }
        // A proof need not have these; one that has them means them (RFC 7519 sections 4.1.4 and 4.1.5).
        if time(claims, "exp")?.is_some_and(|ends| ends.saturating_add(EARLIEST) <= expected.now) {
            return Err(ClaimError::Expired.into());
        }
        if time(claims, "nbf")?.is_some_and(|begins| begins > expected.now.saturating_add(EARLIEST)) {
            return Err(ClaimError::Early.into());
        }
        let ath = match claims.get("ath") {
            None => None,
            Some(_) => Some(text(claims, "ath")?),
        };
        let wanted = expected.access_token.map(|token| base64url(digest(&SHA256, token.as_bytes()).as_ref()));
        let bound = wanted.is_none_or(|wanted| ath == Some(&wanted));
        let htu = text(claims, "htu")?;
        let here = expected.urls.iter().any(|url| is_same(htu, url));
        if text(claims, "htm")? != expected.method || !here || !bound {
            return Err(ProofError::OtherRequest);
        }
        Ok(())
    }

    /// The thumbprint of its key (RFC 7638 with SHA-256).
    #[must_use]
    pub fn jkt(&self) -> &str {
        &self.jkt
    }

    /// What makes it unique.
    #[must_use]
    pub fn jti(&self) -> &str {
        text(&self.claims, "jti").unwrap_or_default()
    }

    /// The nonce that it answers, if any.
    #[must_use]
    pub fn nonce(&self) -> Option<&str> {
        text(&self.claims, "nonce").ok().filter(|nonce| nonce.len() <= LONGEST)
    }

    /// Until when a copy of it could be accepted, in seconds.
    #[must_use]
    pub fn until(&self) -> u64 {
        time(&self.claims, "iat").ok().flatten().unwrap_or_default().saturating_add(OLDEST)
    }
}

/// A proof of our own, for somebody else's endpoint (RFC 9449 section 4.2).
///
/// # Errors
/// [`KeyError`] when the key cannot sign.
pub fn prove(key: &SigningKey, claims: &Map<String, Value>) -> Result<String, KeyError> {
    let mut jwk = key.public_jwk().clone();
    if let Some(members) = jwk.as_object_mut() {
        members.retain(|name, _| ["kty", "crv", "x", "y", "n", "e"].contains(&name.as_str()));
    }
    sign_with(key, &json!({"alg": key.algorithm().name(), "typ": "dpop+jwt", "jwk": jwk}), claims)
}

/// Addresses are compared without query and fragment, scheme and host in any case (RFC 9449 section 4.3, check 9).
fn is_same(stated: &str, expected: &str) -> bool {
    let stated = stated.split(['?', '#']).next().unwrap_or_default();
    let split = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(":443").map(str::to_owned).unwrap_or(host);
        Some((scheme.to_ascii_lowercase(), host, path.to_owned()))
    };
    split(stated).is_some_and(|stated| Some(stated) == split(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://gateway.example/token";
    const NOW: u64 = 10_000;

    fn signed(key: &SigningKey, header: &Value, claims: &Value) -> String {
        let signed =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let signature = key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64url(&signature))
    }

    fn header(key: &SigningKey) -> Value {
        json!({"typ": "dpop+jwt", "alg": key.algorithm().name(), "jwk": key.public_jwk()})
    }

    fn claims() -> Value {
        json!({"jti": "one", "htm": "POST", "htu": URL, "iat": NOW})
    }

    fn verify(token: &str, access_token: Option<&str>) -> Result<Proof, ProofError> {
        Proof::verify(token, &Expected { method: "POST", urls: &[URL.to_owned()], access_token, now: NOW })
    }

    fn with(base: Value, name: &str, value: Value) -> Value {
        let mut changed = base;
        if value.is_null() {
            changed.as_object_mut().unwrap().remove(name);
        } else {
            changed[name] = value;
        }
        changed
    }

    #[test]
    fn a_sound_proof_names_its_key() {
        for algorithm in ALGORITHMS {
            let key = SigningKey::generate(algorithm).unwrap();
            let proof = verify(&signed(&key, &header(&key), &claims()), None).unwrap();
            assert_eq!((proof.jkt(), proof.jti(), proof.nonce()), (key.kid(), "one", None));
        }
    }

    /// RFC 9449 section 4.3: every check alone refuses.
    #[test]
    fn rfc9449_4_3_every_check() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        for (name, value) in [
            ("jti", Value::Null),
            ("jti", json!("")),
            ("jti", json!(1)),
            ("jti", json!("x".repeat(257))),
            ("htm", Value::Null),
            ("htm", json!("GET")),
            ("htm", json!("post")),
            ("htu", Value::Null),
            ("htu", json!("https://gateway.example/tokens")),
            ("htu", json!("http://gateway.example/token")),
            ("htu", json!("https://gateway.example.evil/token")),
            ("htu", json!(["https://gateway.example/token"])),
            ("iat", Value::Null),
            ("iat", json!("10000")),
            ("iat", json!(NOW - OLDEST - 1)),
            ("iat", json!(NOW + EARLIEST + 1)),
            ("ath", json!(7)),
        ] {
            let token = signed(&key, &header(&key), &with(claims(), name, value.clone()));
            assert!(verify(&token, None).is_err(), "{name}: {value}");
        }
        for (name, value) in [
            ("typ", Value::Null),
            ("typ", json!("JWT")),
            ("jwk", Value::Null),
            ("jwk", json!({"kty": "oct", "k": "AAAA"})),
            ("jwk", with(key.public_jwk().clone(), "d", json!("AAAA"))),
            ("jwk", SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().clone()),
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("crit", json!(["x"])),
        ] {
            let token = signed(&key, &with(header(&key), name, value.clone()), &claims());
            assert!(verify(&token, None).is_err(), "{name}: {value}");
        }
        let rsa = SigningKey::generate(Algorithm::RS256).unwrap();
        assert!(verify(&signed(&rsa, &header(&rsa), &claims()), None).is_err(), "RS256");
    }

    /// RFC 9449 section 4.3, checks 9 and 11.
    #[test]
    fn rfc9449_4_3_the_address_and_the_access_token() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        for htu in ["HTTPS://Gateway.Example/token", "https://gateway.example:443/token?a=b#c"] {
            assert!(verify(&signed(&key, &header(&key), &with(claims(), "htu", json!(htu))), None).is_ok(), "{htu}");
        }
        let ath = base64url(digest(&SHA256, b"token").as_ref());
        let token = signed(&key, &header(&key), &with(claims(), "ath", json!(ath)));
        assert!(verify(&token, Some("token")).is_ok());
        assert!(verify(&token, Some("other")).is_err());
        assert!(verify(&signed(&key, &header(&key), &claims()), Some("token")).is_err(), "a proof without ath");
    }
}
