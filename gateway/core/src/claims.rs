//! Claims about a person. Names may be logged; values never are.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::verified::VerifiedRequest;

/// The name of a claim as it travels (OpenID Connect Core section 5.1, or one of the programme's own).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClaimName(String);

/// Claims that only the gateway sets: no mapping, provider or document can name them as output
/// (RFC 7519 section 4.1, OpenID Connect Core section 2, RFC 7800, OpenID Connect for Identity Assurance section 5).
pub const RESERVED: [&str; 18] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "acr",
    "amr",
    "azp",
    "auth_time",
    "nonce",
    "at_hash",
    "c_hash",
    "s_hash",
    "cnf",
    "sid",
    "verified_claims",
];

impl ClaimName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClaimName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let shaped = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'#' || b == b'-');
        if !shaped {
            return Err("claim name must be 1 to 64 letters, digits, '_', '-' or '#'".to_owned());
        }
        if RESERVED.contains(&text) {
            return Err(format!("{text} is a reserved claim that only the gateway sets"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ClaimName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClaimName> for String {
    fn from(name: ClaimName) -> Self {
        name.0
    }
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Claims by name. `Debug` prints the names only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claims(BTreeMap<String, Value>);

impl Claims {
    /// Claims from a JSON object, as an upstream sent them.
    #[must_use]
    pub fn from_object(object: serde_json::Map<String, Value>) -> Self {
        Self(object.into_iter().collect())
    }

    /// The value of one claim.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// These claims and `more`; where both name one, `more` wins.
    #[must_use]
    pub fn merged_with(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Sets one claim.
    pub fn set(&mut self, name: &ClaimName, value: Value) {
        self.0.insert(name.0.clone(), value);
    }

    /// Keeps those whose name `keep` takes.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// Names and values, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The claims that a standard scope stands for (OpenID Connect Core section 5.4).
#[must_use]
pub fn of_scope(scope: &str) -> &'static [&'static str] {
    match scope {
        "profile" => &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
        "email" => &["email", "email_verified"],
        "phone" => &["phone_number", "phone_number_verified"],
        "address" => &["address"],
        _ => &[],
    }
}

/// What is asked for, by scope and by the `claims` parameter (OpenID Connect Core sections 5.4 and 5.5). The value of a
/// claim says whether the client called it essential.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClaimsRequest {
    /// Scopes, in the client's order.
    pub scopes: Vec<String>,
    /// For the ID token.
    pub id_token: BTreeMap<String, bool>,
    /// For the userinfo endpoint.
    pub userinfo: BTreeMap<String, bool>,
    /// Verified claims, for either.
    pub verified: Vec<VerifiedRequest>,
}

impl ClaimsRequest {
    /// True when the claim is asked for: by its name, or by a scope that stands for it (OpenID Connect Core section 5.4).
    #[must_use]
    pub fn asks_for(&self, claim: &str) -> bool {
        self.id_token.contains_key(claim) || self.asks_in_userinfo(claim)
    }

    /// True when the claim is asked for among verified ones.
    #[must_use]
    pub fn asks_as_verified(&self, claim: &str) -> bool {
        self.verified.iter().any(|request| request.asks_for(claim))
    }

    /// True when the claim is asked for among those verified under this trust framework.
    #[must_use]
    pub fn asks_as_verified_under(&self, claim: &str, trust_framework: &str) -> bool {
        self.verified.iter().any(|request| request.asks_for(claim) && request.is_under(trust_framework))
    }

    /// True when the client wants to come back without the person (OpenID Connect Core section 11).
    #[must_use]
    pub fn wants_offline(&self) -> bool {
        self.scopes.iter().any(|scope| scope == "offline_access")
    }

    /// True when the claim is asked for at the userinfo endpoint.
    #[must_use]
    pub fn asks_in_userinfo(&self, claim: &str) -> bool {
        let by_scope = || self.scopes.iter().any(|scope| of_scope(scope).contains(&claim));
        self.userinfo.contains_key(claim) || by_scope()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CVE-2024-29892: a mapping may not overwrite reserved claims.
    #[test]
    fn cve_2024_29892_reserved_claims_have_no_claim_name() {
        for name in RESERVED {
            assert!(name.parse::<ClaimName>().is_err(), "{name}");
        }
        assert!("name".parse::<ClaimName>().is_ok());
        assert!("name#zh-Hant".parse::<ClaimName>().is_ok());
        assert!("na me".parse::<ClaimName>().is_err());
    }

    #[test]
    fn debug_prints_names_only() {
        let mut claims = Claims::default();
        claims.set(&"hkid".parse().unwrap(), "A123456(3)".into());
        assert_eq!(format!("{claims:?}"), "{\"hkid\"}");
    }
}
