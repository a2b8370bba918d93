//! Random handles and the digests made of them.

use aws_lc_rs::digest;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::SandboxError;

/// An unguessable URL-safe string made of 32 random bytes.
#[expect(clippy::disallowed_methods, reason = "a simulator has no randomness port; this is its only source")]
pub(crate) fn token() -> Result<String, SandboxError> {
    let mut bytes = [0_u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SandboxError::Entropy)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// SHA-256 of `text` in base64url, as PKCE writes its challenge.
pub(crate) fn sha256_base64url(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// The left half of SHA-256 in base64url, as `at_hash` is defined for 256-bit signatures.
pub(crate) fn half_sha256_base64url(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let half = digest.as_ref().get(..16).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(half)
}

/// Compares two secrets without telling by timing how much of them agrees.
pub(crate) fn same_secret(left: &str, right: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}
