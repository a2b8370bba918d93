//! Making ID tokens, right or wrong.

use serde_json::{Map, Value, json};

use super::{CodeGrant, Misbehaviour, Shared};
use crate::clock::now_unix;
use crate::jose::{self, SigningKey};
use crate::people::Person;
use crate::{SandboxError, entropy};

const ID_TOKEN_SECONDS: u64 = 300;
const DAY: u64 = 86_400;

/// The ID token for a code, with the misbehaviour of the moment worked in.
pub(super) fn make(shared: &Shared, grant: &CodeGrant, access_token: &str) -> Result<String, SandboxError> {
    let misbehaviour = shared.control.misbehaviour();
    let mut claims = honest_claims(shared, grant, access_token);
    distort_claims(&mut claims, &misbehaviour);
    sign(&shared.control.key(), &Value::Object(claims), &misbehaviour)
}

/// The subject to assert about a person; `None` leaves the claim out. Userinfo uses it as well.
pub(super) fn subject(person: &Person, misbehaviour: &Misbehaviour) -> Option<Value> {
    match misbehaviour {
        Misbehaviour::MissingSub => None,
        Misbehaviour::NullSub => Some(Value::Null),
        Misbehaviour::NumericSub => Some(12_345.into()),
        Misbehaviour::WhitespaceSub => Some(" ".into()),
        _ => Some(person.sub.clone().into()),
    }
}

fn honest_claims(shared: &Shared, grant: &CodeGrant, access_token: &str) -> Map<String, Value> {
    let now = now_unix();
    let mut claims = Map::new();
    if let Some(person) = shared.person(&grant.person) {
        claims = person.claims(&[], &grant.request.id_token_claims);
        claims.insert("acr".to_owned(), person.acr.clone().into());
        claims.insert("amr".to_owned(), person.amr.clone().into());
        if let Some(sub) = subject(person, &shared.control.misbehaviour()) {
            claims.insert("sub".to_owned(), sub);
        }
    }
    if let Some(nonce) = &grant.request.nonce {
        claims.insert("nonce".to_owned(), nonce.clone().into());
    }
    claims.insert("iss".to_owned(), shared.config.issuer.clone().into());
    claims.insert("aud".to_owned(), grant.request.client_id.clone().into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), (now + ID_TOKEN_SECONDS).into());
    claims.insert("auth_time".to_owned(), grant.auth_time.into());
    claims.insert("at_hash".to_owned(), entropy::half_sha256_base64url(access_token).into());
    claims
}

fn distort_claims(claims: &mut Map<String, Value>, misbehaviour: &Misbehaviour) {
    let now = now_unix();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    match misbehaviour {
        Misbehaviour::WrongNonce => {
            put("nonce", "a-nonce-nobody-sent".into());
        }
        Misbehaviour::WrongIssuer => {
            put("iss", "https://another-issuer.example".into());
        }
        Misbehaviour::WrongAudience => {
            put("aud", "another-client".into());
        }
        Misbehaviour::Expired => {
            put("iat", (now - 3600 - ID_TOKEN_SECONDS).into());
            put("exp", (now - 3600).into());
        }
        Misbehaviour::IssuedInFuture => {
            put("iat", (now + DAY).into());
            put("exp", (now + DAY + ID_TOKEN_SECONDS).into());
        }
        Misbehaviour::WeakAcr(acr) => {
            put("acr", acr.clone().into());
        }
        Misbehaviour::NoAcr => {
            claims.remove("acr");
        }
        Misbehaviour::StringTimes => {
            for name in ["iat", "exp", "auth_time"] {
                if let Some(time) = claims.get_mut(name) {
                    *time = Value::String(time.to_string());
                }
            }
        }
        _ => {}
    }
}

fn sign(key: &SigningKey, claims: &Value, misbehaviour: &Misbehaviour) -> Result<String, SandboxError> {
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": key.kid() });
    match misbehaviour {
        Misbehaviour::AlgNone => Ok(jose::unsigned(&json!({ "alg": "none", "typ": "JWT" }), claims)),
        Misbehaviour::WrongKey => SigningKey::generate()?.sign(&header, claims),
        Misbehaviour::UnknownKid => {
            let unpublished = SigningKey::generate()?;
            unpublished.sign(&json!({ "alg": "ES256", "typ": "JWT", "kid": unpublished.kid() }), claims)
        }
        Misbehaviour::Hs256WithPublicKey => {
            let header = json!({ "alg": "HS256", "typ": "JWT", "kid": key.kid() });
            jose::sign_hs256(&key.public_pem()?, &header, claims)
        }
        Misbehaviour::CritHeader => {
            let extension = "https://simulator.example/extension";
            let header =
                json!({ "alg": "ES256", "typ": "JWT", "kid": key.kid(), "crit": [extension], extension: true });
            key.sign(&header, claims)
        }
        Misbehaviour::TruncatedIdToken => {
            let mut token = key.sign(&header, claims)?;
            token.truncate(token.len().saturating_sub(20));
            Ok(token)
        }
        _ => key.sign(&header, claims),
    }
}
