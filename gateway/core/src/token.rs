//! What codes and tokens stand for, and what tokens say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::assurance::Assurance;
use crate::authorize::AcrRequest;
use crate::circumstances::Login;
use crate::claims::Claims;
use crate::consent::ConsentRef;
use crate::details::Details;
use crate::error::{OAuthCode, OAuthError};
use crate::ids::{ClientId, PersonId, ServiceId};
use crate::pkce::CodeChallenge;
use crate::redirect::CheckedRedirect;
use crate::time::Timestamp;
pub use crate::token_request::{
    ACCESS_TOKEN_TYPE, CibaRequest, ClientRequest, CodeRequest, DeviceRequest, ExchangeRequest, RefreshRequest,
    TokenRequest,
};

/// How long a code may be redeemed (RFC 9700 section 2.1; FAPI 2.0 section 5.3.2.1 allows at most 60 s).
pub const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// How long an access token serves at the userinfo endpoint.
pub const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// How long an ID token may be accepted.
pub const ID_TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// The key that a token is bound to: whoever brings the token has to show that they hold it (RFC 7800).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// The thumbprint of a key that signs DPoP proofs (RFC 9449 section 6).
    Dpop(String),
    /// The SHA-256 of a client certificate (RFC 8705 section 3).
    Certificate(String),
}

impl Confirmation {
    /// The `cnf` claim.
    #[must_use]
    pub fn cnf(&self) -> Value {
        match self {
            Self::Dpop(jkt) => json!({"jkt": jkt}),
            Self::Certificate(digest) => json!({"x5t#S256": digest}),
        }
    }

    /// The `token_type` of a token that is bound like this, or not at all.
    #[must_use]
    pub fn token_type(confirmation: Option<&Self>) -> &'static str {
        if let Some(Self::Dpop(_)) = confirmation { "DPoP" } else { "Bearer" }
    }
}

/// What a code stands for: everything decided before it left. Stored sealed, for a minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CodeGrant {
    /// Names this grant in records; revoking it revokes all that was minted from it.
    pub id: String,
    /// The only client that may redeem it.
    pub client: ClientId,
    /// The URI it was sent to; nothing, where its client came for it.
    pub redirect: Option<CheckedRedirect>,
    /// What the token request must prove.
    pub code_challenge: Option<CodeChallenge>,
    /// The key that whoever redeems it must prove to hold (RFC 9449 section 10).
    pub dpop_jkt: Option<String>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// For which service.
    pub service: ServiceId,
    /// What the decision rested on.
    pub login: Login,
    /// The answer that covers its release; none where nothing needed one.
    pub consent: Option<ConsentRef>,
    /// The person, and the account they proved: a refresh is about this person only while the account is theirs.
    pub person: PersonId,
    /// The keyed name of that account.
    pub account: String,
    /// The assurance that the client asked for.
    pub asked_acr: AcrRequest,
    /// The rule by which each claim was released: one that no longer stands releases nothing.
    pub rules: BTreeMap<String, String>,
    /// The record that its session serves this client: without it the session is over, and the code with it.
    #[serde(default)]
    pub party: Option<String>,
    /// The session, as this client knows it; none at a service that knows nobody.
    pub sid: Option<String>,
    /// The scopes of the request.
    pub scopes: Vec<String>,
    /// What it says of the matter, as the person agreed to it.
    pub details: Option<Details>,
    /// The person, as this client's sector knows them.
    pub subject: String,
    /// How they authenticated.
    pub amr: Vec<String>,
    /// When they authenticated, when that is known.
    pub auth_time: Option<Timestamp>,
    /// Claims for the ID token.
    pub id_token_claims: Claims,
    /// Claims for the userinfo endpoint.
    pub userinfo_claims: Claims,
    /// `verified_claims` for the ID token.
    pub id_token_verified: Option<Value>,
    /// `verified_claims` for the userinfo endpoint.
    pub userinfo_verified: Option<Value>,
    /// When the code was made.
    pub issued_at: Timestamp,
    /// How long it can be redeemed.
    pub ends_at: Timestamp,
}

/// Checks a token request against the grant its code stands for (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
///
/// # Errors
/// `invalid_grant`, with one description for every mismatch, so that a thief learns nothing from it.
pub fn check_code(
    request: &CodeRequest,
    client: &ClientId,
    grant: &CodeGrant,
    confirmation: Option<&Confirmation>,
    now: Timestamp,
) -> Result<(), OAuthError> {
    let proven = match (&grant.code_challenge, &request.code_verifier) {
        (Some(challenge), Some(verifier)) => challenge.is_met_by(verifier.expose()),
        (None, None) => true,
        // RFC 9700 section 4.8.2: a verifier without a challenge is a downgrade.
        (Some(_), None) | (None, Some(_)) => false,
    };
    // RFC 9449 section 10: a code that was asked for with a key goes to whoever holds that key.
    let held = match (&grant.dpop_jkt, confirmation) {
        (None, _) => true,
        (Some(wanted), Some(Confirmation::Dpop(jkt))) => wanted == jkt,
        (Some(_), _) => false,
    };
    let fits = held
        && grant.client == *client
        && grant.redirect.as_ref().is_some_and(|redirect| redirect.as_str() == request.redirect_uri)
        && !grant.ends_at.is_past(now)
        && proven;
    if fits { Ok(()) } else { Err(invalid_grant()) }
}

/// The one answer for a code that cannot be redeemed.
#[must_use]
pub fn invalid_grant() -> OAuthError {
    OAuthError::new(OAuthCode::InvalidGrant, "the code is not valid for this request")
}

/// What an access token stands for. Stored sealed, no longer than the token lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccessGrant {
    /// Names this token in records.
    pub id: String,
    /// The grant it was minted from.
    pub grant: String,
    /// Whose token it is.
    pub client: ClientId,
    /// For which service.
    pub service: ServiceId,
    /// The scopes.
    pub scopes: Vec<String>,
    /// The person it is about; nothing, where its client acts for itself (RFC 6749 section 4.4).
    pub about: Option<About>,
    /// Who acts for the person, the one who does now first (RFC 8693 section 4.1).
    pub actors: Vec<PersonId>,
    /// The tokens that it was exchanged from, the first one first; it is good for no longer than any of them.
    pub through: Vec<Passed>,
    /// The key that it is bound to.
    pub confirmation: Option<Confirmation>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A token that another was exchanged for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Passed {
    /// Its id.
    pub id: String,
    /// Its service.
    pub service: ServiceId,
}

/// The person that an access token is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// What the decision rested on.
    pub login: Login,
    /// The answer that covers its release; none where nothing needed one.
    pub consent: Option<ConsentRef>,
    /// The rule by which each claim was released.
    pub rules: BTreeMap<String, String>,
    /// What it says of the matter.
    pub details: Option<Details>,
    /// The person, as the client's sector knows them.
    pub subject: String,
    /// The person.
    pub person: PersonId,
    /// The assurance that was stated.
    pub acr: Assurance,
    /// When the person authenticated, when that is known.
    pub auth_time: Option<Timestamp>,
    /// The claims it releases.
    pub claims: Claims,
    /// The `verified_claims` it releases.
    pub verified: Option<Value>,
}

impl AccessGrant {
    /// The `act` claim (RFC 8693 section 4.1): each helper holds the one before. `name` says by which `sub` its reader knows a person.
    #[must_use]
    pub fn act(&self, name: impl Fn(&PersonId) -> String) -> Option<Value> {
        self.actors.iter().rev().fold(None, |before, helper| {
            let mut act = Map::from_iter([("sub".to_owned(), Value::from(name(helper)))]);
            act.extend(before.map(|before| ("act".to_owned(), before)));
            Some(Value::Object(act))
        })
    }

    /// The `authorization_details` (RFC 9396 section 7).
    #[must_use]
    pub fn details(&self) -> Option<Value> {
        let details = self.about.as_ref()?.details.as_ref()?;
        Some(json!([details.to_json()]))
    }

    /// Whom the token names as its subject (RFC 9068 section 2.2): the person, or the client that acts for itself.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.about.as_ref().map_or(self.client.on_the_wire(), |about| &about.subject)
    }
}

/// What a refresh token stands for. Stored sealed, no longer than the token lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefreshGrant {
    /// The grant it was minted from.
    pub grant: CodeGrant,
    /// The key that it is bound to.
    pub confirmation: Option<Confirmation>,
    /// When it ends, however often it is used.
    pub expires_at: Timestamp,
}

/// The one answer for a refresh token that cannot be used.
#[must_use]
pub fn invalid_refresh() -> OAuthError {
    OAuthError::new(OAuthCode::InvalidGrant, "the refresh token is not valid for this request")
}

/// The claims of an ID token (OpenID Connect Core section 2).
#[must_use]
pub fn id_token(
    issuer: &str,
    grant: &CodeGrant,
    acr: Assurance,
    access_token_hash: String,
    now: Timestamp,
) -> Map<String, Value> {
    let mut claims: Map<String, Value> =
        grant.id_token_claims.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    set("iss", issuer.into());
    set("sub", grant.subject.clone().into());
    set("aud", grant.client.on_the_wire().into());
    set("iat", now.0.into());
    set("exp", now.plus(ID_TOKEN_LIFETIME).0.into());
    set("acr", grant.asked_acr.called(acr, now.date()).into());
    set("amr", grant.amr.clone().into());
    set("at_hash", access_token_hash.into());
    if let Some(verified) = &grant.id_token_verified {
        set("verified_claims", verified.clone());
    }
    if let Some(sid) = &grant.sid {
        set("sid", sid.clone().into());
    }
    if let Some(time) = grant.auth_time {
        set("auth_time", time.0.into());
    }
    if let Some(nonce) = &grant.nonce {
        set("nonce", nonce.clone().into());
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circumstances::{Capacity, Person, WeekMinute};
    use crate::client::Client;
    use crate::secret::Secret;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn grant() -> CodeGrant {
        let client = Client::from_document("a", crate::client::tests::SOUND).unwrap();
        CodeGrant {
            id: "g".into(),
            client: client.id.clone(),
            redirect: client.check_redirect("https://portal.example/cb"),
            code_challenge: Some(CodeChallenge::of(VERIFIER)),
            dpop_jkt: None,
            nonce: Some("n".into()),
            service: "s".parse().unwrap(),
            login: Login {
                provider: "p".parse().unwrap(),
                acr: None,
                amr: vec![],
                age: 0,
                time_stated: true,
                person: Person { population: None, age: None, capacity: Capacity::Own },
                at: WeekMinute::at(0, 0),
                signed_in_at: crate::circumstances::Place::Browser,
            },
            consent: None,
            person: PersonId::from_random([1; 24]),
            account: "account".into(),
            asked_acr: AcrRequest::default(),
            rules: BTreeMap::new(),
            party: None,
            sid: None,
            scopes: vec!["openid".into()],
            details: None,
            subject: "person".into(),
            amr: vec!["mfa".into()],
            auth_time: Some(Timestamp(90)),
            id_token_claims: Claims::default(),
            userinfo_claims: Claims::default(),
            id_token_verified: None,
            userinfo_verified: None,
            issued_at: Timestamp(100),
            ends_at: Timestamp(160),
        }
    }

    fn request(uri: &str, verifier: Option<&str>) -> CodeRequest {
        CodeRequest {
            code: Secret::new("c".into()),
            redirect_uri: uri.into(),
            code_verifier: verifier.map(|v| Secret::new(v.to_owned())),
            resource: None,
        }
    }

    /// CVE-2026-28513: a code of client A is never redeemed by B; each condition alone refuses.
    #[test]
    fn cve_2026_28513_every_condition_must_hold() {
        let (grant, uri) = (grant(), "https://portal.example/cb");
        let (a, b): (ClientId, ClientId) = ("portal-a".parse().unwrap(), "portal-b".parse().unwrap());
        let now = Timestamp(159);
        let check = |uri: &str, verifier: Option<&str>, client: &ClientId, grant: &CodeGrant, now| {
            check_code(&request(uri, verifier), client, grant, None, now).is_ok()
        };
        assert!(check(uri, Some(VERIFIER), &a, &grant, now));
        assert!(!check(uri, Some(VERIFIER), &b, &grant, now));
        assert!(!check("https://portal.example/cb2", Some(VERIFIER), &a, &grant, now));
        assert!(!check(uri, Some(&"x".repeat(43)), &a, &grant, now));
        assert!(!check(uri, None, &a, &grant, now));
        assert!(!check(uri, Some(VERIFIER), &a, &grant, Timestamp(160)));
        let exempt = CodeGrant { code_challenge: None, ..grant };
        assert!(check(uri, None, &a, &exempt, now));
        assert!(!check(uri, Some(VERIFIER), &a, &exempt, now));
    }

    /// RFC 9449 section 10.
    #[test]
    fn rfc9449_10_a_bound_code_needs_its_key() {
        let bound = CodeGrant { dpop_jkt: Some("key".into()), ..grant() };
        let check = |confirmation: Option<Confirmation>| {
            let request = request("https://portal.example/cb", Some(VERIFIER));
            check_code(&request, &bound.client, &bound, confirmation.as_ref(), Timestamp(159)).is_ok()
        };
        assert!(check(Some(Confirmation::Dpop("key".into()))));
        assert!(!check(Some(Confirmation::Dpop("other".into()))));
        assert!(!check(Some(Confirmation::Certificate("key".into()))));
        assert!(!check(None));
    }

    #[test]
    fn gateway_claims_win_over_mapped_ones() {
        let claims = id_token("https://gw.example", &grant(), Assurance::LEAST, "h".into(), Timestamp(100));
        assert_eq!(claims.get("aud"), Some(&"portal-a".into()));
        assert_eq!(claims.get("nonce"), Some(&"n".into()));
        assert_eq!(claims.get("auth_time"), Some(&90.into()));
    }
}
