//! The stand-in driven route by route, without a socket.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use url::form_urlencoded;

use super::*;
use crate::clock::now_unix;
use crate::people::{Place, catalogue};

const ORIGIN: &str = "https://localhost:9444";
const CALLBACK: &str = "https://gateway.example/callback/mo";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

struct Reply {
    status: StatusCode,
    location: String,
    cookie: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Every value of a parameter of the redirect.
    fn values(&self, wanted: &str) -> Vec<String> {
        let query = self.location.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        pairs.filter(|(name, _)| name == wanted).map(|(_, value)| value).collect()
    }

    fn code(&self) -> String {
        self.values("code").pop().unwrap_or_else(|| panic!("no code: {} {}", self.location, self.text()))
    }
}

struct Bench {
    sim: MacaoSim,
}

impl Bench {
    fn new() -> Self {
        let client = |id: &str| MacaoClient {
            client_id: id.to_owned(),
            client_secret: format!("{id}-secret/+"),
            redirect_uris: vec![CALLBACK.to_owned()],
        };
        let config = MacaoConfig {
            origin: ORIGIN.to_owned(),
            clients: vec![client("gateway"), client("other")],
            people: catalogue(Place::Macao).unwrap(),
        };
        Self { sim: MacaoSim::new(config).unwrap() }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.sim.router().oneshot(request).await.unwrap();
        let text = |name| {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().to_owned()
        };
        let (status, location, cookie) = (response.status(), text(header::LOCATION), text(header::SET_COOKIE));
        let body = response.into_body().collect().await.unwrap().to_bytes().to_vec();
        Reply { status, location, cookie, body }
    }

    async fn get(&self, path: &str, extra: (header::HeaderName, &str)) -> Reply {
        self.send(Request::get(path).header(extra.0, extra.1).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        let request = Request::builder().method(Method::POST).uri(path);
        self.send(request.body(Body::from(web::encode(form))).unwrap()).await
    }

    /// An authorization request in which the parameters of `changed` have another value or are new.
    async fn authorize(&self, changed: &[(&str, &str)], cookie: &str) -> Reply {
        let challenge = entropy::sha256_base64url(VERIFIER);
        let right = [
            ("client_id", "gateway"),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("state", "s1"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let path = web::with_query("/oauth/authorize", &merged(&right, changed));
        self.get(&path, (header::COOKIE, cookie)).await
    }

    async fn press(&self, changed: &[(&str, &str)], choice: &[(&str, &str)]) -> Reply {
        let page = self.authorize(changed, "").await.text();
        let mut form = vec![("handle", form_handle(&page).unwrap_or_else(|| panic!("no form: {page}")))];
        form.extend_from_slice(choice);
        self.post("/login/decide", &form).await
    }

    async fn code(&self, person: &str) -> String {
        self.press(&[], &[("person", person)]).await.code()
    }

    async fn redeem(&self, code: &str, changed: &[(&str, &str)]) -> Reply {
        let right = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("client_id", "gateway"),
            ("client_secret", "gateway-secret/+"),
        ];
        self.post("/oauth/token", &merged(&right, changed)).await
    }

    async fn token(&self, person: &str) -> Reply {
        let code = self.code(person).await;
        self.redeem(&code, &[]).await
    }

    async fn account(&self, access_token: &str) -> Reply {
        self.get("/oauth/account", (header::AUTHORIZATION, &format!("Bearer {access_token}"))).await
    }

    /// A whole login, as the account endpoint tells it.
    async fn login(&self, person: &str) -> Reply {
        let answer = self.token(person).await.json();
        self.account(answer["access_token"].as_str().unwrap()).await
    }
}

fn merged<'a>(right: &[(&'a str, &'a str)], changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let is_right = |(name, _): &&(&str, &str)| changed.iter().all(|(other, _)| other != name);
    right.iter().filter(is_right).chain(changed).copied().collect()
}

#[tokio::test]
async fn a_login_tells_account_holder_and_factors() {
    let bench = Bench::new();
    let started = now_unix();
    let back = bench.press(&[], &[("person", "mo-vong")]).await;
    assert_eq!(back.values("state"), ["s1"]);
    let answer = bench.redeem(&back.code(), &[]).await.json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&"Bearer".into(), &300.into()));
    let mut told = bench.account(answer["access_token"].as_str().unwrap()).await.json();
    let login = told["login"].take();
    assert_eq!(login["factors"], json!(["password", "face"]));
    assert!(login["at"].as_u64().unwrap() >= started);
    let expected = json!({
        "account": { "id": "mo.Q5kRz8cXe2WnT0ya", "kind": "personal", "proofing": "dsi-face" },
        "holder": {
            "kind": "resident-permanent",
            "name": { "latin": "VONG, Weng Chi", "chinese": "黃詠芝" },
            "born": "1986-04-09",
            "sex": "F",
            "document": { "type": "BIR", "number": "1234567(8)" },
        },
        "login": null,
        "contact": { "email": "wengchi.vong@example.com", "phone": "+85300010001" },
    });
    assert_eq!(told, expected);
    assert_eq!(bench.sim.control().counters(), Counters { authorize: 1, token: 1, userinfo: 1 });
    assert!(bench.sim.control().last_authorize_query().unwrap().contains("state=s1"));
}

#[tokio::test]
async fn every_kind_of_holder_can_log_in() {
    let bench = Bench::new();
    for (person, kind, document, factors) in [
        ("mo-lei", "resident-permanent", "BIR", json!(["password", "otp"])),
        ("mo-cheong", "resident-permanent", "BIR", json!(["password"])),
        ("mo-chio", "resident-permanent", "BIR", json!(["password", "cloud-signature"])),
        ("mo-ieong", "resident-temporary", "BIR", json!(["password", "face"])),
        ("mo-nguyen", "non-resident-worker", "TNR", json!(["password", "otp"])),
        ("mo-thant", "special-stay", "SSP", json!(["password", "otp"])),
        ("mo-hk-tam", "hk-resident", "HKID", json!(["password", "otp"])),
        ("mo-prc-qu", "prc", "PASSPORT", json!(["password", "otp"])),
        ("mo-passport", "passport", "PASSPORT", json!(["password", "otp"])),
    ] {
        let told = bench.login(person).await.json();
        assert_eq!(told["holder"]["kind"], kind, "{person}");
        assert_eq!(told["holder"]["document"]["type"], document, "{person}");
        assert_eq!(told["login"]["factors"], factors, "{person}");
        assert!(told.get("entity").is_none(), "{person}");
    }
    assert_eq!(
        bench.login("mo-sumiati").await.json()["holder"]["name"],
        json!({ "latin": "SUMIATI", "chinese": null })
    );
}

#[tokio::test]
async fn an_entity_account_names_the_organisation_and_the_staff_member() {
    let bench = Bench::new();
    let staff = bench.login("mo-fong-staff").await.json();
    let admin = bench.login("mo-fong-admin").await.json();
    assert_eq!(staff["account"]["kind"], "entity");
    assert_eq!(staff["entity"]["id"], admin["entity"]["id"]);
    assert_eq!(staff["entity"]["kind"], "private");
    assert_eq!(staff["entity"]["staff"], json!({ "id": "mo.J2tYe7oRb9XfK4ah", "role": "staff" }));
    assert_eq!(admin["entity"]["staff"]["role"], "administrator");
    assert_eq!(staff["holder"]["name"]["chinese"], "馮志堅");
    assert_ne!(staff["account"]["id"], admin["account"]["id"]);
    assert_eq!(bench.login("mo-public-staff").await.json()["entity"]["kind"], "public");
}

#[tokio::test]
async fn errors_go_back_only_to_registered_addresses() {
    let bench = Bench::new();
    for wrong in [("client_id", "nobody"), ("redirect_uri", "https://gateway.example/callback/mo?x=1")] {
        let reply = bench.authorize(&[wrong], "").await;
        assert_eq!((reply.status, reply.location.as_str()), (StatusCode::BAD_REQUEST, ""), "{wrong:?}");
    }
    for (wrong, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("factor", "telepathy"), "invalid_request"),
    ] {
        let reply = bench.authorize(&[wrong], "").await;
        assert_eq!((reply.values("error"), reply.values("state")), (vec![error.to_owned()], vec!["s1".to_owned()]));
    }
    let repeated = "/oauth/authorize?client_id=gateway&client_id=gateway";
    assert_eq!(bench.get(repeated, (header::COOKIE, "")).await.status, StatusCode::BAD_REQUEST);
    let cancelled = bench.press(&[], &[("person", "")]).await;
    assert_eq!((cancelled.values("error"), cancelled.values("code").len()), (vec!["access_denied".to_owned()], 0));
    let stranger = bench.press(&[], &[("person", "nobody")]).await;
    assert_eq!(stranger.values("error"), ["access_denied"]);
}

#[tokio::test]
async fn a_demanded_factor_is_the_only_one_offered() {
    let bench = Bench::new();
    let page = bench.authorize(&[("factor", "face")], "").await.text();
    let offered: Vec<_> = page::WAYS.iter().filter(|way| page.contains(&format!("<option value=\"{way}\""))).collect();
    assert_eq!(offered, [&"password+face"]);
    for (demanded, posted, expected) in [
        ("face", "", "password+face"),
        ("otp", "password+otp", "password+otp"),
        ("password", "", "password"),
        ("password", "password+cloud-signature", "password+cloud-signature"),
    ] {
        let back = bench.press(&[("factor", demanded)], &[("person", "mo-cheong"), ("factor", posted)]).await;
        let answer = bench.redeem(&back.code(), &[]).await.json();
        let told = bench.account(answer["access_token"].as_str().unwrap()).await.json();
        let factors: Vec<_> = expected.split('+').collect();
        assert_eq!(told["login"]["factors"], json!(factors), "{demanded} {posted}");
    }
    let weaker = bench.press(&[("factor", "face")], &[("person", "mo-cheong"), ("factor", "password")]).await;
    assert_eq!(weaker.values("error"), ["access_denied"]);
}

#[tokio::test]
async fn a_session_serves_until_it_is_too_weak() {
    let bench = Bench::new();
    let first = bench.press(&[], &[("person", "mo-lei"), ("remember", "1")]).await;
    let cookie = first.cookie.split(';').next().unwrap();
    assert_eq!(bench.authorize(&[], cookie).await.values("code").len(), 1);
    assert_eq!(bench.authorize(&[("factor", "otp")], cookie).await.values("code").len(), 1);
    assert_eq!(bench.authorize(&[("factor", "face")], cookie).await.status, StatusCode::OK, "the form again");
    assert_eq!(bench.press(&[], &[("person", "mo-lei")]).await.cookie, "", "only when asked to remember");
}

#[tokio::test]
async fn a_form_works_once() {
    let bench = Bench::new();
    let page = bench.authorize(&[], "").await.text();
    let choice = [("handle", form_handle(&page).unwrap()), ("person", "mo-vong")];
    assert_eq!(bench.post("/login/decide", &choice).await.status, StatusCode::SEE_OTHER);
    assert_eq!(bench.post("/login/decide", &choice).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn token_requests_are_checked() {
    let bench = Bench::new();
    for (wrong, status, error) in [
        (vec![("client_secret", "guess")], 401, "invalid_client"),
        (vec![("client_secret", "")], 401, "invalid_client"),
        (vec![("client_id", "nobody")], 401, "invalid_client"),
        (vec![("grant_type", "password")], 400, "unsupported_grant_type"),
        (vec![("code", "unknown")], 400, "invalid_grant"),
        (vec![("client_id", "other"), ("client_secret", "other-secret/+")], 400, "invalid_grant"),
        (vec![("redirect_uri", "https://gateway.example/callback/other")], 400, "invalid_grant"),
        (vec![("code_verifier", "another-verifier")], 400, "invalid_grant"),
        (vec![("code_verifier", "")], 400, "invalid_grant"),
    ] {
        let code = bench.code("mo-vong").await;
        let reply = bench.redeem(&code, &wrong).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (status, &error.into()), "{wrong:?}");
    }
}

#[tokio::test]
async fn replaying_a_code_revokes_what_it_minted() {
    let bench = Bench::new();
    let code = bench.code("mo-vong").await;
    let answer = bench.redeem(&code, &[]).await.json();
    let access_token = answer["access_token"].as_str().unwrap();
    assert_eq!(bench.account(access_token).await.status, StatusCode::OK);
    assert_eq!(bench.redeem(&code, &[]).await.json()["error"], "invalid_grant");
    assert_eq!(bench.account(access_token).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn redirects_are_wrong_on_request() {
    let bench = Bench::new();
    for (misbehaviour, states) in [
        (Misbehaviour::WrongState, vec!["a-state-nobody-sent"]),
        (Misbehaviour::OmitState, vec![]),
        (Misbehaviour::DuplicateState, vec!["s1", "s1"]),
        (Misbehaviour::None, vec!["s1"]),
    ] {
        bench.sim.control().set(misbehaviour);
        assert_eq!(bench.press(&[], &[("person", "mo-vong")]).await.values("state"), states);
    }
}

#[tokio::test]
async fn token_answers_are_wrong_on_request() {
    let bench = Bench::new();
    let token = async |misbehaviour: Misbehaviour| {
        bench.sim.control().set(misbehaviour);
        bench.token("mo-vong").await
    };
    let garbage = token(Misbehaviour::Garbage).await;
    assert!(garbage.status == StatusCode::OK && serde_json::from_slice::<Value>(&garbage.body).is_err());
    assert_eq!(token(Misbehaviour::Status(503)).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(token(Misbehaviour::Status(302)).await.location, format!("{ORIGIN}/elsewhere"));
    assert!(token(Misbehaviour::HtmlWith200).await.text().starts_with("<!DOCTYPE"));
    let refused = token(Misbehaviour::Refuse("temporarily_unavailable".to_owned())).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["error"], "temporarily_unavailable");
    let huge = token(Misbehaviour::HugeBody(300_000)).await;
    assert!(huge.body.len() > 300_000 && huge.json()["access_token"].is_string());
    let slow = Misbehaviour::Slow(Duration::from_millis(30));
    assert!(tokio::time::timeout(Duration::from_millis(10), token(slow.clone())).await.is_err());
    assert_eq!(token(slow).await.status, StatusCode::OK);
    assert!(tokio::time::timeout(Duration::from_millis(50), token(Misbehaviour::Hang)).await.is_err());
}

#[tokio::test]
async fn accounts_are_wrong_on_request() {
    let bench = Bench::new();
    let told = async |misbehaviour: Misbehaviour| {
        bench.sim.control().set(misbehaviour);
        bench.login("mo-vong").await
    };
    assert_eq!(told(Misbehaviour::NoSubject).await.json()["account"].get("id"), None);
    assert_eq!(told(Misbehaviour::EmptySubject).await.json()["account"]["id"], "");
    assert_eq!(told(Misbehaviour::NumericSubject).await.json()["account"]["id"], 12_345);
    assert_eq!(told(Misbehaviour::UnknownFactor).await.json()["login"]["factors"], json!(["telepathy"]));
    let silent = told(Misbehaviour::NoFactor).await.json();
    assert!(silent["login"].get("factors").is_none() && silent["login"]["at"].is_u64());
    assert!(told(Misbehaviour::HugeBody(300_000)).await.body.len() > 300_000);

    let after = |misbehaviour| Misbehaviour::AfterToken(Box::new(misbehaviour));
    assert!(serde_json::from_slice::<Value>(&told(after(Misbehaviour::Garbage)).await.body).is_err());
    assert_eq!(told(after(Misbehaviour::Status(500))).await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(told(after(Misbehaviour::HtmlWith200)).await.text().starts_with("<!DOCTYPE"));
    assert_eq!(told(after(Misbehaviour::Refuse("x".to_owned()))).await.json()["error"], "x");
    let hang = tokio::time::timeout(Duration::from_millis(50), told(after(Misbehaviour::Hang))).await;
    assert!(hang.is_err());
}

#[tokio::test]
async fn pages_speak_chinese_and_portuguese_and_say_what_they_are() {
    let bench = Bench::new();
    let chinese = bench.authorize(&[], "").await.text();
    let portuguese = bench.authorize(&[("ui_locales", "pt-MO zh")], "").await.text();
    assert!(chinese.contains("lang=\"zh-Hant-MO\"") && chinese.contains("登入方式"));
    assert!(portuguese.contains("lang=\"pt\"") && portuguese.contains("Forma de autenticação"));
    for page in [chinese, portuguese] {
        assert!(page.contains("SIMULATOR") && !page.contains("<script") && !page.contains("style=\""));
        assert!(page.contains("O&#39;BRIEN"));
    }
    for path in ["/style.css", "/emblem.svg"] {
        assert_eq!(bench.get(path, (header::COOKIE, "")).await.status, StatusCode::OK);
    }
}
