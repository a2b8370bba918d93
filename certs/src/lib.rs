//! Keys, signatures, encryption and TLS: everything that has to be right about cryptography, and nothing else.
//!
//! | module | what it owns |
//! | --- | --- |
//! | [`key`] | private and public keys, one algorithm each |
//! | [`jws`] | compact JWS: [`jws::Unverified`] becomes [`jws::Verified`] only through a key set and an allow-list |
//! | [`claims`] | typed reading of verified claims, and the one check of their times |
//! | [`client_cert`] | a certificate that a client showed, compared with its registration |
//! | [`dpop`] | proofs of possession, whose key comes with them |
//! | [`envelope`] | an RSA key that receives symmetric keys, and AES-256-GCM under them |
//! | [`jwe`] | compact JWE through a strict façade |
//! | [`ring`] | which signing key is next, current or retiring: a pure function of time |
//! | [`vault`] | the master key, and sealing under keys derived from it |
//! | [`tls`] | rustls configurations, and certificates that reload without a restart |
//! | [`devca`] | a development CA, for demonstrations and tests |
//!
//! aws-lc-rs does everything on a hot path; josekit serves JWE alone.

pub mod claims;
pub mod client_cert;
pub mod devca;
pub mod dpop;
pub mod envelope;
pub mod jwe;
pub mod jws;
pub mod key;
pub mod ring;
pub mod signer;
pub mod tls;
pub mod vault;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
