//! The provider driven route by route, without a socket.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::clock::now_unix;
use crate::jose::SigningKey;
use crate::web::Params;
use crate::{entropy, jose, people, web};

const ISSUER: &str = "https://localhost:9443";
const CALLBACK: &str = "https://gateway.example/callback";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

struct Reply {
    status: StatusCode,
    location: String,
    cookie: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// A parameter of the redirect.
    fn param(&self, name: &str) -> Option<String> {
        let (_, query) = self.location.split_once('?')?;
        Params::parse(query)?.owned(name)
    }
}

struct Bench {
    sim: ProviderSim,
    key: SigningKey,
}

impl Bench {
    fn new() -> Self {
        let key = SigningKey::generate().unwrap();
        let client = |client_id: &str, auth: ClientAuth| RegisteredClient {
            client_id: client_id.to_owned(),
            redirect_uris: vec![CALLBACK.to_owned()],
            auth,
        };
        let config = ProviderConfig {
            place: Place::HongKong,
            issuer: ISSUER.to_owned(),
            clients: vec![
                client("gateway", ClientAuth::Secret("se:cret/+".to_owned())),
                client("signer", ClientAuth::PrivateKeyJwt { jwks: json!({ "keys": [key.public_jwk()] }) }),
            ],
            people: people::catalogue(Place::HongKong).unwrap(),
        };
        Self { sim: ProviderSim::new(config).unwrap(), key }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.sim.router().oneshot(request).await.unwrap();
        let text = |name| {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let (status, location, cookie) = (response.status(), text(header::LOCATION), text(header::SET_COOKIE));
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Reply { status, location, cookie, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    async fn get(&self, path: &str, extra: &[(header::HeaderName, &str)]) -> Reply {
        let mut request = Request::get(path);
        for (name, value) in extra {
            request = request.header(name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)], authorization: Option<String>) -> Reply {
        let mut request = Request::post(path);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        self.send(request.body(Body::from(web::encode(form))).unwrap()).await
    }

    /// Address of an authorization request; `extra` adds parameters.
    fn authorize_path(client: &str, extra: &[(&str, &str)]) -> String {
        let challenge = entropy::sha256_base64url(VERIFIER);
        let mut pairs = vec![
            ("client_id", client),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", "openid profile document"),
            ("state", "s1"),
            ("nonce", "n1"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        pairs.extend_from_slice(extra);
        web::with_query("/authorize", &pairs)
    }

    /// Opens the form and presses a person's button.
    async fn press(&self, client: &str, extra: &[(&str, &str)], person: &str) -> Reply {
        let form = self.get(&Self::authorize_path(client, extra), &[]).await;
        assert_eq!(form.status, StatusCode::OK, "{}", form.body);
        let handle = form_handle(&form.body).unwrap();
        self.post("/authorize/decide", &[("handle", handle), ("person", person), ("remember", "1")], None).await
    }

    async fn code(&self, client: &str) -> String {
        self.press(client, &[], "hk-chan").await.param("code").unwrap()
    }

    async fn redeem(&self, code: &str, verifier: &str, proof: &[(&str, &str)], basic: Option<String>) -> Reply {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", verifier),
        ];
        form.extend_from_slice(proof);
        self.post("/token", &form, basic).await
    }

    /// A whole login; the token answer.
    async fn tokens(&self) -> Reply {
        let code = self.code("gateway").await;
        self.redeem(&code, VERIFIER, &[], Some(basic())).await
    }

    async fn userinfo(&self, access_token: &str) -> Reply {
        let bearer = format!("Bearer {access_token}");
        self.get("/userinfo", &[(header::AUTHORIZATION, &bearer)]).await
    }

    async fn jwks(&self) -> Value {
        self.get("/jwks", &[]).await.json()
    }

    fn assertion(&self, audience: &str, lifetime: u64) -> String {
        let claims = json!({
            "iss": "signer", "sub": "signer", "aud": audience, "exp": now_unix() + lifetime,
            "jti": entropy::token().unwrap(),
        });
        self.key.sign(&json!({ "alg": "ES256", "kid": self.key.kid() }), &claims).unwrap()
    }

    async fn redeem_signed(&self, code: &str, assertion: &str) -> Reply {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let proof = [("client_assertion", assertion), ("client_assertion_type", kind)];
        self.redeem(code, VERIFIER, &proof, None).await
    }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("gateway:se%3Acret%2F%2B"))
}

fn header_of(token: &str) -> Value {
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn id_token(reply: &Reply) -> String {
    reply.json()["id_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_reaches_userinfo() {
    let bench = Bench::new();
    let metadata = bench.get("/.well-known/openid-configuration", &[]).await.json();
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(metadata["acr_values_supported"][1], "iamsmart:sign");

    let back = bench.press("gateway", &[("acr_values", "iamsmart:sign")], "hk-chan").await;
    assert_eq!((back.param("state").as_deref(), back.param("iss").as_deref()), (Some("s1"), Some(ISSUER)));
    assert!(bench.sim.control().last_authorize_query().unwrap().contains("acr_values=iamsmart%3Asign"));

    let reply = bench.redeem(&back.param("code").unwrap(), VERIFIER, &[], Some(basic())).await;
    let answer = reply.json();
    let access_token = answer["access_token"].as_str().unwrap();
    let claims = jose::verify(&id_token(&reply), &bench.jwks().await).unwrap();
    assert_eq!(claims["nonce"], "n1");
    assert_eq!(claims["acr"], "iamsmart:sign");
    assert_eq!(claims["at_hash"], entropy::half_sha256_base64url(access_token));
    assert!(claims.get("name").is_none());

    let person = bench.userinfo(access_token).await.json();
    assert_eq!(person["sub"], claims["sub"]);
    assert_eq!(person["name_zh"], "陳大文");
    assert_eq!(person["hkid"], "A123456(3)");
    assert!(person.get("email").is_none(), "the email scope was not asked for");
    let counters = bench.sim.control().counters();
    assert_eq!(counters, Counters { authorize: 1, token: 1, userinfo: 1, jwks: 1, discovery: 1 });
}

#[tokio::test]
async fn errors_go_back_only_to_registered_addresses() {
    let bench = Bench::new();
    let unknown = bench.get(&Bench::authorize_path("nobody", &[]), &[]).await;
    assert_eq!((unknown.status, unknown.location.as_str()), (StatusCode::BAD_REQUEST, ""));
    let repeated = bench.get(&Bench::authorize_path("gateway", &[("nonce", "n2")]), &[]).await;
    assert_eq!(repeated.status, StatusCode::BAD_REQUEST);
    let cancelled = bench.press("gateway", &[], "").await;
    assert_eq!(cancelled.param("error").as_deref(), Some("access_denied"));
    let bad = bench.get(&Bench::authorize_path("gateway", &[("claims", "{")]), &[]).await;
    assert_eq!(bad.param("error").as_deref(), Some("invalid_request"));
    assert_eq!(bad.param("state").as_deref(), Some("s1"));
}

#[tokio::test]
async fn a_form_works_once() {
    let bench = Bench::new();
    let form = bench.get(&Bench::authorize_path("gateway", &[]), &[]).await;
    let choice = [("handle", form_handle(&form.body).unwrap()), ("person", "hk-chan")];
    assert_eq!(bench.post("/authorize/decide", &choice, None).await.status, StatusCode::SEE_OTHER);
    assert_eq!(bench.post("/authorize/decide", &choice, None).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn secrets_are_accepted_in_header_and_form() {
    let bench = Bench::new();
    let good = [("client_id", "gateway"), ("client_secret", "se:cret/+")];
    let code = bench.code("gateway").await;
    assert_eq!(bench.redeem(&code, VERIFIER, &good, None).await.status, StatusCode::OK);
    let code = bench.code("gateway").await;
    let twice = bench.redeem(&code, VERIFIER, &good, Some(basic())).await;
    assert_eq!(twice.json()["error"], "invalid_client");
    let wrong = [("client_id", "gateway"), ("client_secret", "guess")];
    assert_eq!(bench.redeem(&code, VERIFIER, &wrong, None).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(bench.redeem(&code, VERIFIER, &[], Some(basic())).await.status, StatusCode::OK);
}

#[tokio::test]
async fn assertions_are_checked() {
    let bench = Bench::new();
    let code = bench.code("signer").await;
    for bad in [bench.assertion("https://elsewhere.example", 60), bench.assertion(ISSUER, 86_400)] {
        assert_eq!(bench.redeem_signed(&code, &bad).await.json()["error"], "invalid_client");
    }
    let good = bench.assertion(&format!("{ISSUER}/token"), 60);
    assert_eq!(bench.redeem_signed(&code, &good).await.status, StatusCode::OK);
    let code = bench.code("signer").await;
    assert_eq!(bench.redeem_signed(&code, &good).await.json()["error"], "invalid_client", "replayed jti");
    let wrong_kind = [("client_id", "signer"), ("client_secret", "x")];
    assert_eq!(bench.redeem(&code, VERIFIER, &wrong_kind, None).await.status, StatusCode::UNAUTHORIZED);
    let for_issuer = bench.assertion(ISSUER, 60);
    assert_eq!(bench.redeem_signed(&code, &for_issuer).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_verifier_is_refused() {
    let bench = Bench::new();
    for verifier in ["another-verifier", ""] {
        let code = bench.code("gateway").await;
        let reply = bench.redeem(&code, verifier, &[], Some(basic())).await;
        assert_eq!(reply.json()["error"], "invalid_grant");
    }
}

#[tokio::test]
async fn a_code_belongs_to_its_client() {
    let bench = Bench::new();
    let code = bench.code("signer").await;
    let reply = bench.redeem(&code, VERIFIER, &[], Some(basic())).await;
    assert_eq!(reply.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn replaying_a_code_revokes_what_it_minted() {
    let bench = Bench::new();
    let code = bench.code("gateway").await;
    let first = bench.redeem(&code, VERIFIER, &[], Some(basic())).await.json();
    let access_token = first["access_token"].as_str().unwrap();
    assert_eq!(bench.userinfo(access_token).await.status, StatusCode::OK);
    let second = bench.redeem(&code, VERIFIER, &[], Some(basic())).await;
    assert_eq!(second.json()["error"], "invalid_grant");
    assert_eq!(bench.userinfo(access_token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_remembered_login_obeys_prompt_and_max_age() {
    let bench = Bench::new();
    let cookie = bench.press("gateway", &[], "hk-chan").await.cookie;
    let pair = cookie.split(';').next().unwrap();
    let again = async |extra: &[(&str, &str)]| {
        bench.get(&Bench::authorize_path("gateway", extra), &[(header::COOKIE, pair)]).await
    };
    assert!(again(&[]).await.param("code").is_some());
    assert!(again(&[("prompt", "none"), ("max_age", "60")]).await.param("code").is_some());
    assert_eq!(again(&[("prompt", "login")]).await.status, StatusCode::OK, "the form again");
    assert_eq!(again(&[("max_age", "0")]).await.status, StatusCode::OK, "the form again");
    let stale = again(&[("prompt", "none"), ("max_age", "0")]).await;
    assert_eq!(stale.param("error").as_deref(), Some("login_required"));
    let stranger = bench.get(&Bench::authorize_path("gateway", &[("prompt", "none")]), &[]).await;
    assert_eq!(stranger.param("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn claims_can_be_asked_for_one_by_one() {
    let bench = Bench::new();
    let wanted = json!({
        "id_token": { "acr": { "essential": true, "values": ["iamsmart:sign"] }, "gender": null },
        "userinfo": { "phone_number": null },
    });
    let extra = [("claims", &*wanted.to_string())];
    let refused = bench.press("gateway", &extra, "hk-wong").await;
    assert_eq!(refused.param("error").as_deref(), Some("unmet_authentication_requirements"));
    let code = bench.press("gateway", &extra, "hk-chan").await.param("code").unwrap();
    let reply = bench.redeem(&code, VERIFIER, &[], Some(basic())).await;
    assert_eq!(jose::unverified_claims(&id_token(&reply)).unwrap()["gender"], "male");
    let answer = reply.json();
    let person = bench.userinfo(answer["access_token"].as_str().unwrap()).await.json();
    assert!(person.get("phone_number").is_some());
}

#[tokio::test]
async fn id_tokens_are_wrong_on_request() {
    let bench = Bench::new();
    let control = bench.sim.control();
    let jwks = bench.jwks().await;
    for misbehaviour in [
        Misbehaviour::AlgNone,
        Misbehaviour::WrongKey,
        Misbehaviour::UnknownKid,
        Misbehaviour::Hs256WithPublicKey,
        Misbehaviour::TruncatedIdToken,
        Misbehaviour::CritHeader,
    ] {
        control.set(misbehaviour.clone());
        let token = id_token(&bench.tokens().await);
        assert!(jose::verify(&token, &jwks).is_err(), "{misbehaviour:?}");
        let known_kid = header_of(&token)["kid"] == jwks["keys"][0]["kid"];
        let has_no_known_kid = matches!(misbehaviour, Misbehaviour::AlgNone | Misbehaviour::UnknownKid);
        assert_eq!(known_kid, !has_no_known_kid, "{misbehaviour:?}");
    }
    // These are signed rightly, so that only the one check they aim at can refuse them.
    let now = now_unix();
    let wrong_claim = async |misbehaviour: Misbehaviour, name: &str| {
        control.set(misbehaviour);
        jose::verify(&id_token(&bench.tokens().await), &jwks).unwrap().get(name).cloned()
    };
    assert_ne!(wrong_claim(Misbehaviour::WrongNonce, "nonce").await, Some("n1".into()));
    assert_ne!(wrong_claim(Misbehaviour::WrongIssuer, "iss").await, Some(ISSUER.into()));
    assert_ne!(wrong_claim(Misbehaviour::WrongAudience, "aud").await, Some("gateway".into()));
    assert!(wrong_claim(Misbehaviour::Expired, "exp").await.unwrap().as_u64().unwrap() < now);
    assert!(wrong_claim(Misbehaviour::IssuedInFuture, "iat").await.unwrap().as_u64().unwrap() > now + 3600);
    assert_eq!(wrong_claim(Misbehaviour::WeakAcr("x".to_owned()), "acr").await, Some("x".into()));
    assert_eq!(wrong_claim(Misbehaviour::NoAcr, "acr").await, None);
    assert!(wrong_claim(Misbehaviour::StringTimes, "exp").await.unwrap().is_string());
    assert_eq!(wrong_claim(Misbehaviour::None, "iss").await, Some(ISSUER.into()));
}

#[tokio::test]
async fn subjects_are_wrong_in_both_places() {
    let bench = Bench::new();
    let control = bench.sim.control();
    for (misbehaviour, expected) in [
        (Misbehaviour::MissingSub, None),
        (Misbehaviour::NullSub, Some(Value::Null)),
        (Misbehaviour::NumericSub, Some(12_345.into())),
        (Misbehaviour::WhitespaceSub, Some(" ".into())),
    ] {
        control.set(misbehaviour);
        let reply = bench.tokens().await;
        let claims = jose::verify(&id_token(&reply), &bench.jwks().await).unwrap();
        let answer = reply.json();
        let person = bench.userinfo(answer["access_token"].as_str().unwrap()).await.json();
        assert_eq!(claims.get("sub"), expected.as_ref());
        assert_eq!(person.get("sub"), expected.as_ref());
    }
    control.set(Misbehaviour::UserinfoOtherSub);
    let answer = bench.tokens().await.json();
    let person = bench.userinfo(answer["access_token"].as_str().unwrap()).await.json();
    assert_eq!(person["sub"], "somebody-else");
}

#[tokio::test]
async fn token_answers_are_wrong_on_request() {
    let bench = Bench::new();
    let control = bench.sim.control();
    control.set(Misbehaviour::TokenStatus(503));
    assert_eq!(bench.tokens().await.status, StatusCode::SERVICE_UNAVAILABLE);
    control.set(Misbehaviour::TokenStatus(302));
    assert_eq!(bench.tokens().await.location, format!("{ISSUER}/elsewhere"));
    control.set(Misbehaviour::GarbageToken(b"{\"access".to_vec()));
    assert_eq!(bench.tokens().await.body, "{\"access");
    control.set(Misbehaviour::HtmlWith200);
    assert!(bench.tokens().await.body.starts_with("<!DOCTYPE"));
    control.set(Misbehaviour::HugeBody(300_000));
    let huge = bench.tokens().await;
    assert!(huge.body.len() > 300_000 && huge.json()["id_token"].is_string());
    control.set(Misbehaviour::SlowToken(Duration::from_millis(30)));
    assert!(tokio::time::timeout(Duration::from_millis(10), bench.tokens()).await.is_err());
    assert_eq!(bench.tokens().await.status, StatusCode::OK);
    control.set(Misbehaviour::HangToken);
    assert!(tokio::time::timeout(Duration::from_millis(50), bench.tokens()).await.is_err());
}

#[tokio::test]
async fn redirects_are_wrong_on_request() {
    let bench = Bench::new();
    let control = bench.sim.control();
    let location = async |misbehaviour: Misbehaviour| {
        control.set(misbehaviour);
        bench.press("gateway", &[], "hk-chan").await
    };
    assert_eq!(location(Misbehaviour::OmitIssParameter).await.param("iss"), None);
    assert_ne!(location(Misbehaviour::WrongIssParameter).await.param("iss").as_deref(), Some(ISSUER));
    assert_ne!(location(Misbehaviour::WrongState).await.param("state").as_deref(), Some("s1"));
    assert_eq!(location(Misbehaviour::DuplicateState).await.location.matches("state=s1").count(), 2);
}

#[tokio::test]
async fn keys_rotate_and_the_key_set_can_fail() {
    let bench = Bench::new();
    let before = bench.jwks().await;
    let kid = bench.sim.control().rotate_key().unwrap();
    let after = bench.jwks().await;
    assert_eq!(after["keys"][0]["kid"], Value::from(kid));
    assert_ne!(before, after);
    let token = id_token(&bench.tokens().await);
    assert!(jose::verify(&token, &before).is_err());
    assert!(jose::verify(&token, &after).is_ok());
    bench.sim.control().set(Misbehaviour::JwksDown);
    assert_eq!(bench.get("/jwks", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn pages_have_no_script_and_say_what_they_are() {
    let bench = Bench::new();
    let hinted = [("login_hint", "hk-lau"), ("ui_locales", "en-GB")];
    let page = bench.get(&Bench::authorize_path("gateway", &hinted), &[]).await.body;
    assert!(page.contains("SIMULATOR") && page.contains("lang=\"en\""));
    assert!(!page.contains("<script") && !page.contains("style=\""));
    assert!(page.find("hk-lau").unwrap() < page.find("hk-chan").unwrap());
    for path in ["/style.css", "/emblem.svg"] {
        assert_eq!(bench.get(path, &[]).await.status, StatusCode::OK);
    }
}
