//! What an adapter proved about a person in this browser, now.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::claims::Claims;
use crate::ids::ProviderId;
use crate::jurisdiction::Jurisdiction;
use crate::secret::Secret;
use crate::time::{SKEW, Timestamp};

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
    /// The provider's own name for the person's session there, when it gave one.
    #[serde(default)]
    pub session: Option<Secret<String>>,
    /// The provider's own word for how surely, when it gave one. What it means is asked of the active table each time, so
    /// that a table made stricter holds for logins already made.
    pub acr: Option<String>,
    /// The authentication methods it named.
    pub amr: Vec<String>,
    /// When the person authenticated: as the provider states it, or when it was asked, for a provider that is known to
    /// have authenticated them anew for us. `None` when neither is known.
    pub auth_time: Option<Timestamp>,
    /// Whether the provider stated it.
    pub time_stated: bool,
    /// When the gateway asked the provider.
    pub asked_at: Timestamp,
    /// When the answer was verified.
    pub received_at: Timestamp,
    /// What the provider said about the person.
    pub claims: Claims,
    /// The claims that it was asked for, where it is asked for each; `None` when it was asked for all that it has.
    pub asked: Option<Vec<String>>,
}

/// The age of a login of which nobody knows when it was: older than any limit.
pub const UNKNOWN_AGE: Duration = Duration::from_secs(u32::MAX as u64);

impl Assertion {
    /// How long ago the person authenticated; [`UNKNOWN_AGE`] when nobody knows.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        self.auth_time.map_or(UNKNOWN_AGE, |time| time.age(now))
    }

    /// True when the provider was asked for all of `claims`: what is missing then is missing there, and not merely here.
    #[must_use]
    pub fn covers(&self, claims: &[String]) -> bool {
        self.asked.as_ref().is_none_or(|asked| claims.iter().all(|claim| asked.contains(claim)))
    }

    /// True when the person authenticated in answer to our question, and not in some earlier session at the provider.
    #[must_use]
    pub fn is_in_answer(&self) -> bool {
        self.auth_time.is_some_and(|time| time >= self.asked_at.minus(SKEW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_of_unknown_time_is_older_than_any_limit() {
        let at = |auth_time| Assertion {
            provider: "p".parse().unwrap(),
            jurisdiction: Jurisdiction::Macao,
            subject: UpstreamSubject::parse("x").unwrap(),
            session: None,
            acr: None,
            amr: vec![],
            auth_time,
            time_stated: false,
            asked_at: Timestamp(1_000),
            received_at: Timestamp(1_030),
            claims: Claims::default(),
            asked: None,
        };
        assert_eq!(at(None).age(Timestamp(1_030)), UNKNOWN_AGE);
        assert!(!at(None).is_in_answer() && !at(Some(Timestamp(939))).is_in_answer());
        assert!(at(Some(Timestamp(940))).is_in_answer());
        assert_eq!(at(Some(Timestamp(1_000))).age(Timestamp(1_030)), Duration::from_secs(30));
    }

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
