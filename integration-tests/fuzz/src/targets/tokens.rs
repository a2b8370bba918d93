//! Signed and encrypted tokens, proofs, signed requests, keys and certificates.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certs::client_cert::{ClientCertificate, distinguished_name};
use certs::dpop::{Expected, Proof};
use certs::envelope::KeyEncryptionKey;
use certs::jwe::{self, KeyManagement};
use certs::jws::{self, Unverified};
use certs::key::{Algorithm, KeySet, SigningKey};
use gateway_core::authorize::Arrival;
use serde_json::{Map, Value, json};

use super::web::authorize;

pub(super) const NOW: u64 = 1_800_000_000;

pub(super) static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256).expect("randomness"));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let set = json!({"keys": [KEY.public_jwk()]}).to_string();
    KeySet::parse(set.as_bytes()).expect("keys")
});

/// The claims that bytes are, if they are any.
pub(super) fn claims(data: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice::<Value>(data).ok()?.as_object().cloned()
}

/// Tokens that nobody signed are never believed; what we signed is what comes out; keys are read or refused.
pub fn jose(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let believed = Unverified::parse(text).and_then(|token| token.verify(&KEYS, &Algorithm::ALL));
        assert!(believed.is_err(), "a token of nobody's was believed");
        for management in KeyManagement::ALL {
            assert!(jwe::decrypt(text, management, KEY.public_jwk()).is_err());
        }
    }
    if let Some(claims) = claims(data) {
        let token = jws::sign(&KEY, "JWT", &claims).expect("a signature");
        match Unverified::parse(&token).and_then(|token| token.verify(&KEYS, &[Algorithm::ES256])) {
            // As our reader reads what was signed: a fraction may change in its last digit.
            Ok(verified) => assert_eq!(
                serde_json::to_string(&claims).ok().and_then(|c| self::claims(c.as_bytes())),
                Some(verified.clone())
            ),
            Err(error) => assert!(token.len() > 4_096, "{error}"),
        }
        for name in ["iss", "jti", "sub"] {
            let _ = certs::claims::text(&claims, name);
        }
        let _ = (certs::claims::has_audience(&claims, "a"), certs::claims::check_times(&claims, NOW, 60, 300));
    }
    if let Ok(keys) = KeySet::parse(data) {
        let token = jws::sign(&KEY, "JWT", &Map::new()).expect("a signature");
        let verified = Unverified::parse(&token).and_then(|token| token.verify(&keys, &Algorithm::ALL));
        assert!(verified.is_err() || keys.iter().any(|key| key.kid() == Some(KEY.kid()) || key.kid().is_none()));
        let _ = (keys.encrypting("ECDH-ES", "EC"), keys.encrypting("RSA-OAEP-256", "RSA"));
    }
}

/// Proofs: raw, and with these claims under a good signature. What is accepted is for this request and of this moment.
pub fn dpop(data: &[u8]) {
    let urls = ["https://gateway.example/token".to_owned()];
    let expected = Expected { method: "POST", urls: &urls, access_token: None, now: NOW };
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Proof::verify(text, &expected);
    }
    let Some(claims) = claims(data) else { return };
    let part = |value: &[u8]| URL_SAFE_NO_PAD.encode(value);
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": KEY.public_jwk()}).to_string();
    let signed = format!("{}.{}", part(header.as_bytes()), part(Value::Object(claims.clone()).to_string().as_bytes()));
    let signature = KEY.sign(signed.as_bytes()).expect("a signature");
    if let Ok(proof) = Proof::verify(&format!("{signed}.{}", part(&signature)), &expected) {
        assert_eq!((&claims["htm"], claims["jti"].as_str()), (&json!("POST"), Some(proof.jti())));
        let htu = claims["htu"].as_str().and_then(|url| url::Url::parse(url).ok()).expect("an address");
        assert_eq!((htu.origin().ascii_serialization().as_str(), htu.path()), ("https://gateway.example", "/token"));
        let made = claims["iat"].as_f64().expect("a time");
        assert!((NOW as f64 - made).abs() < 400.0 && proof.until() >= NOW && proof.until() < NOW + 1_000);
        assert!(!proof.jti().is_empty() && proof.jkt().len() == 43);
    }
}

/// Signed requests: whatever their claims, they become parameters under the rules of parameters.
pub fn request_object(data: &[u8]) {
    let Some(claims) = claims(data) else { return };
    if let Ok(params) = gateway_core::request_object::params(&claims) {
        assert!(params.iter().all(|(name, _)| claims.contains_key(name)), "a parameter from nowhere");
        authorize(&params, Arrival { pushed: false, signed: true });
        authorize(&params, Arrival { pushed: true, signed: true });
    }
}

/// Certificates in DER, keys in PEM, distinguished names. Nothing that nobody certified is certified.
pub fn certificate(data: &[u8]) {
    if let Some(certificate) = ClientCertificate::of(&[data.to_vec().into()]) {
        assert!(!certificate.is_certified_by(&[], NOW));
        assert_eq!(certificate.digest().len(), 43);
        let _ = (certificate.holds_at(NOW), certificate.has_dns_name("a.example"), certificate.has_uri("urn:x"));
        assert!(certificate.key_thumbprint().is_none_or(|thumbprint| thumbprint.len() == 43));
        let _ = certificate.has_subject("CN=a,O=b");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = (KeyEncryptionKey::from_pem(text), distinguished_name(text));
    }
}
