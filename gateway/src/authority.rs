//! Authorities that may say that two accounts are one person's: who they are, and how their word is read.
//!
//! No government here has published how it would say so. The form is therefore ours: a compact JWS (RFC 7515), signed by a
//! key in the authority's document, for this gateway, for this one purpose, about one account at each of two providers
//! that the document names, said once and within minutes.

use certs::claims::{self, ClaimError};
use certs::jws::{JwsError, Unverified};
use certs::key::{Algorithm, KeySet};
use gateway_core::assertion::UpstreamSubject;
use gateway_core::document::{Problems, Source};
use gateway_core::ids::ProviderId;
use gateway_core::locale::Texts;
use gateway_core::time::{SKEW, Timestamp};
use serde_json::{Map, Value};

/// The purpose that a match answer must name.
pub const PURPOSE: &str = "link-accounts";
/// The longest that an answer may still be good for, in seconds.
const LONGEST: u64 = 600;

/// An authority.
#[derive(Debug, Clone)]
pub struct Authority {
    /// Its id: the last segment of the path that it posts to.
    pub id: String,
    /// What people call it.
    pub name: Texts,
    /// The providers whose accounts it may speak about.
    pub providers: Vec<ProviderId>,
    keys: KeySet,
}

/// An account at a provider.
#[derive(Debug, Clone)]
pub struct Account {
    /// The provider.
    pub provider: ProviderId,
    /// The person there.
    pub subject: UpstreamSubject,
}

/// What an authority said.
#[derive(Debug, Clone)]
pub struct MatchAnswer {
    /// Its number, used once.
    pub reference: String,
    /// The account to bring in.
    pub first: Account,
    /// The account to link it with.
    pub second: Account,
}

/// Why an authority's word is not taken.
#[derive(Debug, thiserror::Error)]
pub enum MatchError {
    /// The signature.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// A claim.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// It is for another purpose.
    #[error("the purpose is not {PURPOSE}")]
    Purpose,
    /// An account is not one that this authority may speak about.
    #[error("{0} names no account that this authority may speak about")]
    Account(&'static str),
    /// Both accounts are at one provider.
    #[error("both accounts are at one provider")]
    OneProvider,
    /// The number is not 1 to 128 characters.
    #[error("jti must have 1 to 128 characters")]
    Reference,
}

impl Authority {
    /// Reads an authority's document.
    ///
    /// # Errors
    /// Every problem in it.
    pub fn from_document(file: &str, text: &str) -> Result<Self, Problems> {
        Source::new(file, text).read(|doc| {
            let (id, name): (Option<ProviderId>, _) = (doc.require("id"), doc.texts("name"));
            let providers: Vec<ProviderId> = doc.list("providers");
            if providers.len() < 2 {
                doc.refuse_field("providers", "at least two are needed");
            }
            let keys = doc.require::<String>("jwks").and_then(|jwks| KeySet::parse(jwks.as_bytes()).ok());
            if keys.as_ref().is_none_or(KeySet::is_empty) {
                doc.refuse_field("jwks", "holds no key that can verify an answer");
            }
            Some(Self { id: id?.to_string(), name: name?, providers, keys: keys? })
        })
    }

    /// What a token says, once everything about it is right.
    ///
    /// # Errors
    /// [`MatchError`] for the first thing that is not.
    pub fn read(&self, token: &str, issuer: &str, now: Timestamp) -> Result<MatchAnswer, MatchError> {
        let token = Unverified::parse(token)?.verify(&self.keys, &Algorithm::ALL)?;
        claims::check_times(&token, now.0, SKEW.as_secs(), LONGEST)?;
        if claims::text(&token, "iss")? != self.id {
            return Err(ClaimError::Issuer.into());
        }
        if !claims::has_audience(&token, issuer)? {
            return Err(ClaimError::Audience.into());
        }
        if claims::text(&token, "purpose")? != PURPOSE {
            return Err(MatchError::Purpose);
        }
        let reference = claims::text(&token, "jti")?;
        if !(1..=128).contains(&reference.len()) {
            return Err(MatchError::Reference);
        }
        let (first, second) = (self.account(&token, "first")?, self.account(&token, "second")?);
        if first.provider == second.provider {
            return Err(MatchError::OneProvider);
        }
        Ok(MatchAnswer { reference: reference.to_owned(), first, second })
    }

    fn account(&self, token: &Map<String, Value>, name: &'static str) -> Result<Account, MatchError> {
        let account = || {
            let account = token.get(name)?.as_object()?;
            let provider: ProviderId = account.get("provider")?.as_str()?.parse().ok()?;
            let subject = UpstreamSubject::parse(account.get("subject")?.as_str()?)?;
            Some(Account { provider, subject })
        };
        account().filter(|account| self.providers.contains(&account.provider)).ok_or(MatchError::Account(name))
    }
}

#[cfg(test)]
mod tests {
    use certs::key::SigningKey;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000);
    const ISSUER: &str = "https://gateway.example";

    fn rig() -> (SigningKey, Authority) {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let texts = "{ zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }";
        let jwks = json!({"keys": [key.public_jwk()]});
        let text = format!("id = \"match\"\nname = {texts}\nproviders = [\"hk\", \"gd\"]\njwks = '{jwks}'\n");
        (key, Authority::from_document("a.toml", &text).unwrap())
    }

    fn answer() -> Value {
        json!({"iss": "match", "aud": ISSUER, "iat": NOW.0, "exp": NOW.0 + 300, "jti": "n-1", "purpose": PURPOSE,
            "first": {"provider": "hk", "subject": "a"}, "second": {"provider": "gd", "subject": "b"}})
    }

    fn signed(key: &SigningKey, claims: &Value) -> String {
        certs::jws::sign(key, "JWT", claims.as_object().unwrap()).unwrap()
    }

    #[test]
    fn an_authoritys_word_is_taken_when_everything_about_it_is_right() {
        let (key, authority) = rig();
        let read = authority.read(&signed(&key, &answer()), ISSUER, NOW).unwrap();
        assert_eq!(
            (read.reference.as_str(), read.first.subject.expose(), read.second.subject.expose()),
            ("n-1", "a", "b")
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let (key, authority) = rig();
        let changed = |name: &str, value: Value| {
            let mut claims = answer();
            claims[name] = value;
            signed(&key, &claims)
        };
        let (other, _) = rig();
        let bad = [
            signed(&other, &answer()),
            changed("iss", json!("somebody")),
            changed("aud", json!("https://other.example")),
            changed("purpose", json!("marketing")),
            changed("exp", json!(NOW.0 - 61)),
            changed("exp", json!(NOW.0 + 3_600)),
            changed("iat", json!(NOW.0 + 120)),
            changed("jti", json!("")),
            changed("jti", json!(7)),
            changed("first", json!({"provider": "mo", "subject": "a"})),
            changed("first", json!({"provider": "hk", "subject": " "})),
            changed("first", json!({"provider": "gd", "subject": "a"})),
            changed("second", Value::Null),
            "not.a.token".to_owned(),
        ];
        for token in bad {
            assert!(authority.read(&token, ISSUER, NOW).is_err(), "{token}");
        }
    }
}
