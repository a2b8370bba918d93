//! Proof Key for Code Exchange (RFC 7636), S256 only.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::digest::sha256;
use crate::ids::base64url;

/// The `code_challenge` of a request: the base64url form of a SHA-256 digest (RFC 7636 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads a challenge: 43 characters of the URL-safe alphabet.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let shaped = text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        shaped.then(|| Self(text.to_owned()))
    }

    /// The challenge of a verifier.
    #[must_use]
    pub fn of(verifier: &str) -> Self {
        Self(base64url(&sha256(verifier.as_bytes())))
    }

    /// True when `verifier` has the RFC's shape (section 4.1) and hashes to this challenge; constant time.
    #[must_use]
    pub fn is_met_by(&self, verifier: &str) -> bool {
        let shaped = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        shaped && bool::from(Self::of(verifier).0.as_bytes().ct_eq(self.0.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636 appendix B.
    #[test]
    fn rfc7636_appendix_b_vector() {
        let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(challenge.is_met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.is_met_by("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"));
    }

    #[test]
    fn rfc7636_4_1_a_verifier_outside_its_shape_never_matches() {
        for bad in ["short", &"a".repeat(42), &"a".repeat(129), &format!("{}!", "a".repeat(43))] {
            assert!(!CodeChallenge::of(bad).is_met_by(bad), "{bad}");
        }
        assert_eq!(CodeChallenge::parse("plain"), None);
    }
}
