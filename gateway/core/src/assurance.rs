//! Assurance on two axes, never one number: how the person was proofed, and how this login was done.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A level on one axis, 1 (least) to 3 (most).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Level {
    /// Self-asserted, or a single weak factor.
    One = 1,
    /// Checked against an authoritative source, or two factors.
    Two = 2,
    /// Strongest: in person or chip-read proofing; hardware-backed or certificate login.
    Three = 3,
}

impl Level {
    /// The levels from least to most.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];
}

impl From<Level> for u8 {
    fn from(level: Level) -> Self {
        level as Self
    }
}

impl TryFrom<u8> for Level {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| u8::from(*level) == number)
            .ok_or_else(|| "an assurance level is 1, 2 or 3".to_owned())
    }
}

/// What was reached, or what is asked, on both axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Assurance {
    /// How the person was proofed when the account was made.
    pub identity: Level,
    /// How this login was done.
    pub authentication: Level,
}

/// The prefix of the gateway's registered `acr` values.
const ACR_PREFIX: &str = "urn:cbid:acr:";

impl Assurance {
    /// The least of both axes: any successful login meets it.
    pub const LEAST: Self = Self { identity: Level::One, authentication: Level::One };

    /// True when both axes reach at least what `needed` asks.
    #[must_use]
    pub fn meets(self, needed: Self) -> bool {
        self.identity >= needed.identity && self.authentication >= needed.authentication
    }

    /// The least assurance that meets both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            identity: self.identity.max(other.identity),
            authentication: self.authentication.max(other.authentication),
        }
    }

    /// Every pair, weakest first; the discovery document lists their `acr` values.
    pub fn all() -> impl Iterator<Item = Self> {
        Level::ALL
            .into_iter()
            .flat_map(|identity| Level::ALL.into_iter().map(move |authentication| Self { identity, authentication }))
    }

    /// The `acr` value that names this pair (OpenID Connect Core section 2).
    #[must_use]
    pub fn acr(self) -> String {
        self.to_string()
    }

    /// The pair that an `acr` value names; `None` for a value that is not ours.
    #[must_use]
    pub fn from_acr(acr: &str) -> Option<Self> {
        Self::all().find(|pair| pair.acr() == acr)
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ACR_PREFIX}i{}a{}", u8::from(self.identity), u8::from(self.authentication))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strong_proofing_does_not_excuse_a_weak_login() {
        let reached = Assurance { identity: Level::Three, authentication: Level::One };
        assert!(!reached.meets(Assurance { identity: Level::Two, authentication: Level::Two }));
    }

    #[test]
    fn each_pair_has_its_own_acr_and_back() {
        for pair in Assurance::all() {
            assert_eq!(Assurance::from_acr(&pair.acr()), Some(pair));
        }
        assert_eq!(Assurance::all().count(), 9);
        for foreign in ["", "urn:cbid:acr:i4a1", "urn:cbid:acr:i1a1 ", "loa3"] {
            assert_eq!(Assurance::from_acr(foreign), None);
        }
    }
}
