//! Names of things, parsed: a value of one of these types has the right shape, so nothing downstream checks again.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::jurisdiction::Jurisdiction;

/// Why a name was refused: which kind, and its rule in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} must be {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

const SLUG_RULE: &str = "1 to 64 lower-case letters, digits and hyphens, beginning with a letter";
const TOKEN_RULE: &str = "1 to 128 characters of A-Z a-z 0-9 . _ ~ -";

fn is_slug(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_token(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if $check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId { kind: $kind, rule: $rule }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// An address with a host and nothing that could be written in two ways (OpenID Federation 1.0 section 1.2).
fn is_entity(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"./-:".contains(&b);
    let path = |b: u8| plain(b) || b.is_ascii_uppercase() || b == b'_';
    let port = host.split_once(':').map(|(_, port)| port);
    text.len() <= 200
        && port.is_none_or(|port| port != "443" && !port.starts_with('0') && port.parse::<u16>().is_ok())
        && host.starts_with(|c: char| c.is_ascii_alphanumeric())
        && host.bytes().all(plain)
        && rest.bytes().all(path)
        && !rest.contains("..")
        && !rest.contains("//")
        && !rest.contains("/./")
        && !rest.ends_with("/.")
}

/// A name of our own, or of an entity of a federation, alone or under the document by which it joined.
fn is_client(text: &str) -> bool {
    match text.split_once(ClientId::JOINT) {
        Some((document, entity)) if entity.contains('/') => is_token(document) && is_entity(entity),
        None if text.contains('/') => is_entity(text),
        _ => is_token(text),
    }
}

const ENTITY_RULE: &str =
    "an https address of at most 200 characters without query, fragment or anything that could be written otherwise";

id!(
    /// An entity of a federation (OpenID Federation 1.0 section 1.2).
    EntityId, "entity identifier", is_entity, ENTITY_RULE
);
id!(
    /// An OAuth client (RFC 6749 section 2.2): one portal.
    ClientId, "client_id", is_client, TOKEN_RULE
);
id!(
    /// One government matter, the unit of trust policy.
    ServiceId, "service id", is_slug, SLUG_RULE
);
id!(
    /// An upstream identity provider; also the last segment of its callback path.
    ProviderId, "provider id", is_slug, SLUG_RULE
);
id!(
    /// A group of clients that see the same `sub` (OpenID Connect Core section 8).
    Sector, "sector", is_token, TOKEN_RULE
);
id!(
    /// A login transaction: random, unguessable, chosen by the gateway.
    TransactionId, "transaction id", is_token, TOKEN_RULE
);
id!(
    /// The internal id behind all of a person's linked provider subjects: random, never derived from a name or number.
    PersonId, "person id", is_token, TOKEN_RULE
);

/// Writes `bytes` in the URL-safe alphabet without padding, the form of every opaque value the gateway hands out.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

impl ClientId {
    /// What stands between the document under which a client registered itself and the part that is its own.
    pub const JOINT: char = '~';

    /// The id of a client that registers itself under `document`, over fresh random bytes.
    ///
    /// # Errors
    /// [`InvalidId`] when the document's own id leaves no room for more.
    pub fn registering_itself(document: &Self, fresh: [u8; 16]) -> Result<Self, InvalidId> {
        format!("{document}{}{}", Self::JOINT, base64url(&fresh)).parse()
    }

    /// The id of an entity of a federation that is a client under `document`.
    ///
    /// # Errors
    /// [`InvalidId`] when the two together are none.
    pub fn joining(document: &Self, entity: &EntityId) -> Result<Self, InvalidId> {
        format!("{document}{}{entity}", Self::JOINT).parse()
    }

    /// The entity that it is, where its client joined by a federation.
    #[must_use]
    pub fn entity(&self) -> Option<&str> {
        self.0.split_once(Self::JOINT).map(|(_, own)| own).filter(|own| own.contains('/'))
    }

    /// The name by which its client knows itself, and is called in every message: of an entity its own, and no document's.
    #[must_use]
    pub fn on_the_wire(&self) -> &str {
        self.entity().unwrap_or(&self.0)
    }

    /// Whether its client registered itself (RFC 7591).
    #[must_use]
    pub fn registered_itself(&self) -> bool {
        self.0.contains(Self::JOINT)
    }

    /// The name by which policy knows its client: that of the document under which it is registered.
    #[must_use]
    pub fn in_policy(&self) -> &str {
        self.0.split_once(Self::JOINT).map_or(&self.0, |(document, _)| document)
    }
}

impl Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl EntityId {
    /// Where it says who it is (OpenID Federation 1.0 section 9).
    #[must_use]
    pub fn configuration(&self) -> String {
        format!("{}/.well-known/openid-federation", self.0.trim_end_matches('/'))
    }

    /// Its host, without a port.
    #[must_use]
    pub fn host(&self) -> String {
        let rest = self.0.trim_start_matches("https://");
        rest.split(['/', ':']).next().unwrap_or_default().to_owned()
    }
}

impl TransactionId {
    /// A transaction id over fresh random bytes: 22 characters, so that with 14 more it fits a `state` of 36, the most
    /// that iAM Smart takes.
    #[must_use]
    pub fn from_random(fresh: [u8; 16]) -> Self {
        Self(base64url(&fresh))
    }

    /// The length of an id in characters.
    pub const LENGTH: usize = 22;
}

impl Sector {
    /// How the sectors of anonymous services begin.
    pub const ANONYMOUS: &'static str = "anonymous.";

    /// The sector of one anonymous service: the same person is somebody else there than anywhere else.
    #[must_use]
    pub fn anonymous(service: &ServiceId) -> Self {
        Self(format!("{}{service}", Self::ANONYMOUS))
    }

    /// How the sectors of public subjects begin.
    pub const PUBLIC: &'static str = "public.";

    /// The sector of every client with public subjects in one jurisdiction: across a border nobody's subjects are joined.
    #[must_use]
    pub fn public(jurisdiction: Jurisdiction) -> Self {
        Self(format!("{}{jurisdiction}", Self::PUBLIC))
    }

    /// How the sectors begin that are named after the address of a list (OpenID Connect Core section 8.1).
    pub const LISTED: &'static str = "host.";

    /// The sector of everybody whom a list at this host names; none for a host that cannot name one.
    #[must_use]
    pub fn listed(host: &str) -> Option<Self> {
        format!("{}{host}", Self::LISTED).parse().ok()
    }

    /// Whether a name is one that only the gateway gives.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        [Self::ANONYMOUS, Self::PUBLIC, Self::LISTED].iter().any(|own| self.0.starts_with(own))
    }

    /// Whether every client of a jurisdiction that may is in it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.0.starts_with(Self::PUBLIC)
    }
}

impl PersonId {
    /// A person id over fresh random bytes.
    #[must_use]
    pub fn from_random(fresh: [u8; 24]) -> Self {
        Self(base64url(&fresh))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_their_rule_are_refused() {
        for bad in ["", "A", "1a", "a_b", "a b", "a/b", "é", &"a".repeat(65)] {
            assert!(bad.parse::<ServiceId>().is_err(), "{bad:?}");
        }
        for bad in ["", "a b", "a/b", "a\n", "ü", &"a".repeat(129)] {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
        assert_eq!("hk-iamsmart".parse::<ProviderId>().unwrap().as_str(), "hk-iamsmart");
    }

    #[test]
    fn deserializing_goes_through_the_parser() {
        assert!(serde_json::from_str::<ServiceId>("\"Not A Slug\"").is_err());
    }
}
