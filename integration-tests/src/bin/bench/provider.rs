//! A lean OpenID provider with RS256 ID tokens and a new person at every login.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use url::form_urlencoded;

use crate::Failed;
use crate::jose::{self, Key};
use crate::upstream::{Call, Visit};

/// What a code stands for.
struct Login {
    person: u64,
    client_id: String,
    nonce: String,
}

/// The provider.
pub(crate) struct Provider {
    issuer: String,
    key: Key,
    realm: String,
    people: AtomicU64,
    codes: Mutex<HashMap<String, Login>>,
    tokens: Mutex<HashMap<String, u64>>,
}

impl Provider {
    /// One of this issuer identifier, with a fresh key.
    pub(crate) fn new(issuer: String) -> Result<Self, Failed> {
        Ok(Self {
            issuer,
            key: Key::rs256()?,
            realm: jose::token()?.chars().take(8).collect(),
            people: AtomicU64::default(),
            codes: Mutex::default(),
            tokens: Mutex::default(),
        })
    }

    /// A person's visit: from the authorization request's query to the address their browser is sent back to.
    pub(crate) fn visit(&self, query: &str) -> Result<Visit, Failed> {
        let params: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let one = |name: &str| params.get(name).cloned().ok_or_else(|| format!("the provider was not told {name}"));
        let (redirect, state) = (one("redirect_uri")?, one("state")?);
        let person = self.people.fetch_add(1, Ordering::Relaxed);
        let login = Login { person, client_id: one("client_id")?, nonce: one("nonce")? };
        let code = jose::token()?;
        self.codes.lock().unwrap_or_else(PoisonError::into_inner).insert(code.clone(), login);
        let mut back = form_urlencoded::Serializer::new(format!("{redirect}?"));
        back.append_pair("code", &code).append_pair("state", &state).append_pair("iss", &self.issuer);
        Ok(Visit { person, back: back.finish() })
    }

    /// Answers a call.
    pub(crate) fn answer(&self, path: &str, authorization: &str, body: &[u8]) -> (Call, Result<Value, Failed>) {
        match path {
            "/.well-known/openid-configuration" => (Call::Other, Ok(self.metadata())),
            "/jwks" => (Call::Keys, Ok(self.key.jwks())),
            "/token" => (Call::Token, self.token(body)),
            "/userinfo" => (Call::Data, self.userinfo(authorization)),
            _ => (Call::Other, Err("no such page".to_owned())),
        }
    }

    fn subject(&self, person: u64) -> String {
        format!("{}-{person:08}", self.realm)
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.issuer);
        json!({
            "issuer": self.issuer, "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
            "userinfo_endpoint": at("userinfo"), "jwks_uri": at("jwks"),
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"], "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES256"],
            "authorization_response_iss_parameter_supported": true,
            "acr_values_supported": ["iamsmart:default"], "scopes_supported": ["openid", "profile", "document", "email"],
        })
    }

    fn token(&self, form: &[u8]) -> Result<Value, Failed> {
        let code = form_urlencoded::parse(form).find(|(name, _)| name == "code").map(|(_, code)| code.into_owned());
        let code = code.ok_or("no code")?;
        let login = self.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(&code).ok_or("unknown code")?;
        let (access, now) = (jose::token()?, jose::now());
        let id_token = self.key.sign(&json!({
            "iss": self.issuer, "sub": self.subject(login.person), "aud": login.client_id, "nonce": login.nonce,
            "iat": now, "exp": now + 300, "auth_time": now, "acr": "iamsmart:default",
        }))?;
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).insert(access.clone(), login.person);
        Ok(json!({"access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id_token}))
    }

    fn userinfo(&self, authorization: &str) -> Result<Value, Failed> {
        let access = authorization.strip_prefix("Bearer ").ok_or("no token")?;
        let person =
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(access).ok_or("unknown token")?;
        Ok(json!({
            "sub": self.subject(person), "name": "CHAN, Tai Man", "family_name": "CHAN", "given_name": "Tai Man",
            "name_zh": "陳大文", "birthdate": "1979-03-14", "gender": "male", "hkid": "A123456(3)",
            "home_return_permit": "H1234567800", "email": format!("person.{person}@example.com"),
            "email_verified": true,
        }))
    }
}
