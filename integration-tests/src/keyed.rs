//! A client with keys in place of secrets: assertions, signed requests, proofs of possession. Every part can be made wrong.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use certs::jws;
use certs::key::{Algorithm, SigningKey};
use gateway::ports::{Clock as _, Entropy};
use http::Method;
use serde_json::{Map, Value, json};

use crate::browser::{Reply, encode};
use crate::rp::Rp;
use crate::world::{TestClock, World, client_document, service_document};

/// The type of a client assertion (RFC 7523 section 2.2).
pub const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that signs.
#[derive(Clone)]
pub struct Keyed {
    /// Its addresses and its identifier.
    pub rp: Rp,
    /// Signs assertions and requests.
    pub key: Arc<SigningKey>,
    /// Signs proofs.
    pub proof_key: Arc<SigningKey>,
    /// Whether it only names itself.
    pub public: bool,
    clock: Arc<TestClock>,
}

/// The service that a world of [`Keyed::world`] has for its client.
pub const SERVICE: &str = "keyed-service";

fn unique() -> String {
    Entropy::default().token().expect("entropy").expose().clone()
}

/// A JSON object's members.
#[must_use]
pub fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object") };
    members
}

impl Keyed {
    /// A world with one client held to `profile`; further lines of its document may be added.
    pub async fn world(profile: &str, more: &str) -> (World, Self) {
        let key = SigningKey::generate(Algorithm::ES256).expect("a key");
        let lines = format!("profile = \"{profile}\"\njwks = '{}'\n{more}", json!({"keys": [key.public_jwk()]}));
        let redirect = "https://keyed.example/callback";
        let client = client_document("keyed", redirect, "private_key_jwt", &lines);
        let service = service_document(SERVICE, &["keyed"], &["hk-iam-smart"], "");
        let documents =
            [("clients/keyed.toml", client.as_str()), (&format!("services/{SERVICE}.toml"), service.as_str())];
        let world = World::with(&documents).await;
        let keyed = Self::of(&world, "keyed", key);
        (world, keyed)
    }

    /// A client of a world, with this key.
    #[must_use]
    pub fn of(world: &World, id: &str, key: SigningKey) -> Self {
        Self {
            rp: world.client(id, None, &format!("https://{id}.example/callback")),
            key: Arc::new(key),
            proof_key: Arc::new(SigningKey::generate(Algorithm::ES256).expect("a key")),
            public: false,
            clock: Arc::clone(&world.clock),
        }
    }

    /// The same client with another key for its proofs: somebody who stole what it holds, but not its key.
    #[must_use]
    pub fn with_other_proof_key(&self) -> Self {
        Self { proof_key: Arc::new(SigningKey::generate(Algorithm::ES256).expect("a key")), ..self.clone() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.clock.now().0
    }

    /// The claims of a sound assertion.
    #[must_use]
    pub fn assertion_claims(&self) -> Map<String, Value> {
        let (id, now) = (&self.rp.client_id, self.now());
        object(json!({"iss": id, "sub": id, "aud": self.rp.issuer, "exp": now + 60, "iat": now, "jti": unique()}))
    }

    /// A sound assertion, as form fields; of a public client its name.
    #[must_use]
    pub fn assertion(&self) -> Vec<(String, String)> {
        if self.public {
            return vec![("client_id".into(), self.rp.client_id.clone())];
        }
        let token = jws::sign(&self.key, "JWT", &self.assertion_claims()).expect("a signature");
        vec![("client_assertion_type".into(), ASSERTION.into()), ("client_assertion".into(), token)]
    }

    /// The claims of a sound signed request for [`SERVICE`], with further ones.
    #[must_use]
    pub fn request_claims(&self, more: &Value) -> Map<String, Value> {
        let now = self.now();
        let mut claims: Map<String, Value> =
            self.rp.params(SERVICE).into_iter().map(|(name, value)| (name, value.into())).collect();
        claims.extend(object(
            json!({"iss": self.rp.client_id, "aud": self.rp.issuer, "nbf": now, "exp": now + 60, "jti": unique()}),
        ));
        claims.extend(object(more.clone()));
        claims.retain(|_, value| !value.is_null());
        claims
    }

    /// A signed request (RFC 9101).
    #[must_use]
    pub fn request_object(&self, claims: &Map<String, Value>) -> String {
        jws::sign(&self.key, "oauth-authz-req+jwt", claims).expect("a signature")
    }

    /// The claims of a sound proof (RFC 9449 section 4.2).
    #[must_use]
    pub fn proof_claims(
        &self,
        method: &str,
        path: &str,
        nonce: Option<&str>,
        token: Option<&str>,
    ) -> Map<String, Value> {
        let mut claims = object(json!({
            "jti": unique(), "htm": method, "htu": format!("{}{path}", self.rp.issuer), "iat": self.now(),
        }));
        claims.extend(nonce.map(|nonce| ("nonce".to_owned(), nonce.into())));
        let digest = |token: &str| URL_SAFE_NO_PAD.encode(gateway_core::digest::sha256(token.as_bytes()));
        claims.extend(token.map(|token| ("ath".to_owned(), digest(token).into())));
        claims
    }

    /// A proof, signed with the client's proof key.
    #[must_use]
    pub fn proof(&self, claims: &Map<String, Value>) -> String {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.proof_key.public_jwk()});
        let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let signed =
            format!("{}.{}", part(header.to_string().into_bytes()), part(serde_json::to_vec(claims).expect("claims")));
        let signature = self.proof_key.sign(signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", part(signature))
    }

    /// Posts a form to one of the gateway's endpoints, authenticated, with these headers.
    pub async fn send(&self, path: &str, form: &[(String, String)], headers: &[(&str, &str)]) -> Reply {
        let all = [form, &self.assertion()].concat();
        self.post(path, &all, headers).await
    }

    /// Posts a form as it is.
    pub async fn post(&self, path: &str, form: &[(String, String)], headers: &[(&str, &str)]) -> Reply {
        let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let url = format!("{}{path}", self.rp.issuer);
        self.rp.http.clone().send(Method::POST, &url, Some(encode(&pairs)), headers).await
    }

    /// The same with a proof: the first answer hands out the nonce that the second request carries, as libraries do it.
    pub async fn send_proven(&self, path: &str, form: &[(String, String)]) -> Reply {
        let first = self.proof(&self.proof_claims("POST", path, None, None));
        let refused = self.send(path, form, &[("dpop", &first)]).await;
        assert_eq!(refused.json()["error"], "use_dpop_nonce", "{}", refused.body);
        let nonce = refused.headers["dpop-nonce"].to_str().expect("a nonce").to_owned();
        let proof = self.proof(&self.proof_claims("POST", path, Some(&nonce), None));
        self.send(path, form, &[("dpop", &proof)]).await
    }

    /// Pushes a request for [`SERVICE`], plain or signed.
    pub async fn push(&self, signed: bool, more: &[(&str, &str)]) -> Reply {
        let form = if signed {
            let more: Map<String, Value> = more.iter().map(|(n, v)| ((*n).to_owned(), (*v).into())).collect();
            vec![("request".to_owned(), self.request_object(&self.request_claims(&Value::Object(more))))]
        } else {
            let mut params = self.rp.params(SERVICE);
            params.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
            params
        };
        self.send("/par", &form, &[]).await
    }

    /// The address to which a browser is sent with a pushed request.
    #[must_use]
    pub fn authorize(&self, pushed: &Reply) -> String {
        let uri = pushed.json()["request_uri"].as_str().unwrap_or_else(|| panic!("{}", pushed.body)).to_owned();
        let pairs = [("client_id", self.rp.client_id.as_str()), ("request_uri", uri.as_str())];
        format!("{}/authorize?{}", self.rp.issuer, encode(&pairs))
    }

    /// The form that redeems a code.
    #[must_use]
    pub fn code_form(&self, code: &str) -> Vec<(String, String)> {
        self.rp.token_form(code).into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Redeems a code with a proof.
    pub async fn redeem(&self, code: &str) -> Reply {
        self.send_proven("/token", &self.code_form(code)).await
    }

    /// Asks for the claims of a bound token.
    pub async fn userinfo(&self, token: &str) -> Reply {
        let first = self.userinfo_with(token, &self.proof_claims("GET", "/userinfo", None, Some(token))).await;
        let Some(nonce) = first.headers.get("dpop-nonce").and_then(|nonce| nonce.to_str().ok()) else { return first };
        self.userinfo_with(token, &self.proof_claims("GET", "/userinfo", Some(nonce), Some(token))).await
    }

    /// The same with this proof.
    pub async fn userinfo_with(&self, token: &str, proof: &Map<String, Value>) -> Reply {
        let (authorization, proof) = (format!("DPoP {token}"), self.proof(proof));
        let url = format!("{}/userinfo", self.rp.issuer);
        let headers = [("authorization", authorization.as_str()), ("dpop", proof.as_str())];
        self.rp.http.clone().send(Method::GET, &url, None, &headers).await
    }
}
