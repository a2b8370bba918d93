//! What a client is held to: one switch a client, from the oldest library to FAPI 2.0.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::circumstances::words;

words!(
    /// A set of rules that a client follows, and that the gateway holds it to.
    Profile, "profile" {
        /// OpenID Connect Core as old libraries speak it: PKCE where the client sends it.
        Legacy = "legacy",
        /// RFC 9700: PKCE always.
        Baseline = "baseline",
        /// FAPI 2.0 Security Profile: pushed requests, keys instead of secrets, tokens bound to a key.
        Fapi2 = "fapi2",
        /// FAPI 2.0 Message Signing as well: requests and answers that are signed.
        Fapi2MessageSigning = "fapi2-message-signing",
    }
);

impl Profile {
    /// Whether FAPI 2.0 Security Profile section 5.3.2 holds.
    #[must_use]
    pub fn is_fapi(self) -> bool {
        matches!(self, Self::Fapi2 | Self::Fapi2MessageSigning)
    }

    /// Whether a request without `code_challenge` is refused (RFC 9700 section 2.1.1).
    #[must_use]
    pub fn requires_pkce(self) -> bool {
        self != Self::Legacy
    }

    /// Whether requests have to be pushed (RFC 9126; FAPI 2.0 Security Profile section 5.3.2.2).
    #[must_use]
    pub fn requires_pushed(self) -> bool {
        self.is_fapi()
    }

    /// Whether requests and answers have to be signed (FAPI 2.0 Message Signing sections 5.3 and 5.4).
    #[must_use]
    pub fn requires_signed_messages(self) -> bool {
        self == Self::Fapi2MessageSigning
    }

    /// Whether tokens have to be bound to a key (FAPI 2.0 Security Profile section 5.3.2.1).
    #[must_use]
    pub fn requires_bound_tokens(self) -> bool {
        self.is_fapi()
    }

    /// Whether a refresh token is replaced when it is used. FAPI 2.0 Security Profile section 5.3.2.1 forbids it: there the
    /// token is bound to the client's key, and an answer that got lost would lose the grant.
    #[must_use]
    pub fn rotates_refresh_tokens(self) -> bool {
        !self.is_fapi()
    }
}
