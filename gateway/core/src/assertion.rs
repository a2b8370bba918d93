//! What an adapter proved about a person in this browser, now.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::assurance::Assurance;
use crate::claims::Claims;
use crate::ids::ProviderId;
use crate::jurisdiction::Jurisdiction;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A person's identifier at a provider: opaque, compared byte for byte, never shown or logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpstreamSubject(Secret<String>);

impl UpstreamSubject {
    /// Accepts 1 to 255 bytes that are not only white space and hold no control character
    /// (OpenID Connect Core section 2; CVE-2026-82968: an empty or null subject joins everybody).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let sound = (1..=255).contains(&text.len())
            && text.chars().any(|c| !c.is_whitespace())
            && !text.chars().any(char::is_control);
        sound.then(|| Self(Secret::new(text.to_owned())))
    }

    /// The identifier itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// A proven login: who, where, how surely, when, and the claims that came with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assertion {
    /// The provider that vouches.
    pub provider: ProviderId,
    /// Where that provider stands.
    pub jurisdiction: Jurisdiction,
    /// The person there.
    pub subject: UpstreamSubject,
    /// The login on both axes, translated by the provider's table.
    pub assurance: Assurance,
    /// Authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// When the person authenticated, when the provider says so.
    pub stated_auth_time: Option<Timestamp>,
    /// When the gateway asked the provider.
    pub asked_at: Timestamp,
    /// When the answer was verified.
    pub received_at: Timestamp,
    /// What the provider said about the person.
    pub claims: Claims,
}

impl Assertion {
    /// How long ago the person authenticated, at most.
    ///
    /// Without a time from the provider the login cannot be shown to be younger than the question, and a provider with
    /// a session of its own may have answered without one; its age then counts from the question and is marked by
    /// [`Assertion::is_time_stated`] so that a policy can refuse it.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        self.auth_time().age(now)
    }

    /// The time of authentication: the provider's own, or else the time at which it was asked.
    #[must_use]
    pub fn auth_time(&self) -> Timestamp {
        self.stated_auth_time.unwrap_or(self.asked_at)
    }

    /// True when the provider itself stated when the person authenticated.
    #[must_use]
    pub fn is_time_stated(&self) -> bool {
        self.stated_auth_time.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2026-82968 and CVE-2024-32879: no empty subject, and no folding of subjects.
    #[test]
    fn cve_2026_82968_cve_2024_32879_subjects_are_opaque_and_never_empty() {
        for bad in ["", " ", "\t\n", "a\0b", &"x".repeat(256)] {
            assert!(UpstreamSubject::parse(bad).is_none(), "{bad:?}");
        }
        assert_ne!(UpstreamSubject::parse("aB"), UpstreamSubject::parse("AB"));
        assert_ne!(UpstreamSubject::parse("é"), UpstreamSubject::parse("e\u{301}"));
    }
}
