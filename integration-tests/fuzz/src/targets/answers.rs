//! What identity providers send: to our questions, by the browser, and by themselves.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Waker};

use adapters::http::{Http, HttpError};
use adapters::registry::{Ports, Secrets, Settings};
use adapters::shared::{Shared, SharedError};
use adapters::{Adapter, Delivery, Fresh, Progress, Signer, Step};
use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use certs::jws;
use certs::key::KeyError;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use policies::Provider;
use serde_json::{Map, Value, json};

use super::tokens::{KEY, NOW, claims};

const ISSUER: &str = "https://idp.example";
const NAMES: &str = "[name]\nzh-Hans = \"甲\"\nzh-Hant-HK = \"甲\"\npt = \"A\"\nen = \"A\"\n";
const TABLE: &str = "[[assurance]]\nunstated = true\nidentity = 1\nauthentication = 1\n";
const OIDC: &str = "[oidc]\nissuer = \"https://idp.example\"\nclient_id = \"gateway\"\n\
    token_endpoint_auth_method = \"none\"\nbackchannel_logout = true\n";
const MACAO: &str = include_str!("../../../../policies/documents/providers/mo-one-account.toml");
const IAM_SMART: &str = include_str!("../../../../policies/documents/providers/hk-iam-smart.toml");
const GUANGDONG: &str = include_str!("../../../../policies/documents/providers/gd-unified.toml");

/// A port that answers with what was laid ready.
#[derive(Default)]
struct Ready(Mutex<VecDeque<Vec<u8>>>);

#[async_trait]
impl Http for Ready {
    async fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        let answer = self.0.lock().expect("no panic").pop_front().ok_or(HttpError::Timeout)?;
        let answer = http::Response::builder().header("content-type", "application/json").body(answer);
        Ok(answer.expect("an answer"))
    }
}

struct Nothing;

impl Signer for Nothing {
    fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, KeyError> {
        jws::sign(&KEY, typ, claims)
    }
    fn prove(&self, claims: &Map<String, Value>) -> Result<String, KeyError> {
        certs::dpop::prove(&KEY, claims)
    }
}

#[async_trait]
impl Shared for Nothing {
    async fn stamp(&self, _: &str, _: Option<u64>) -> Result<u64, SharedError> {
        Ok(NOW * 1_000)
    }
    async fn load(&self, _: &str, _: Timestamp) -> Result<Option<Secret<String>>, SharedError> {
        Ok(None)
    }
    async fn keep(&self, _: &str, _: &Secret<String>, _: Timestamp, _: Timestamp) -> Result<(), SharedError> {
        Ok(())
    }
}

fn open(document: &str, answers: Vec<Vec<u8>>) -> Arc<dyn Adapter> {
    open_over(document, Arc::new(Ready(Mutex::new(answers.into()))))
}

fn open_over(document: &str, http: Arc<Ready>) -> Arc<dyn Adapter> {
    let (_, settings) = Provider::from_document("p.toml", document, Settings::read).expect("a provider");
    let secret = |file: &str| if file.ends_with(".kek") { KEK.clone() } else { "secret".to_owned() };
    let secrets: Secrets =
        settings.secret_files().into_iter().map(|file| (file.to_owned(), Secret::new(secret(file)))).collect();
    let federations = Arc::new(adapters::federation::Resolver::new(Arc::clone(&http) as Arc<dyn Http>));
    let ports = Ports { http, signer: Arc::new(Nothing), shared: Arc::new(Nothing), federations };
    settings
        .open("https://gateway.example/callback/p".parse().expect("an address"), &secrets, None, &ports)
        .expect("open")
}

/// Runs what waits for nobody but us.
fn done<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    for _ in 0..10_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("it waits for ever")
}

fn metadata() -> Vec<u8> {
    let at = |path: &str| format!("{ISSUER}/{path}");
    json!({"issuer": ISSUER, "authorization_endpoint": at("a"), "token_endpoint": at("t"), "jwks_uri": at("k"),
        "userinfo_endpoint": at("u"), "end_session_endpoint": at("e"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]})
    .to_string()
    .into_bytes()
}

fn keys() -> Vec<u8> {
    json!({"keys": [KEY.public_jwk()]}).to_string().into_bytes()
}

fn tokens(id_token: &str) -> Vec<u8> {
    json!({"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": id_token})
        .to_string()
        .into_bytes()
}

fn id_token() -> String {
    let claims = json!({"iss": ISSUER, "aud": "gateway", "sub": "x", "exp": NOW + 60, "iat": NOW, "nonce": "n"});
    jws::sign(&KEY, "JWT", claims.as_object().expect("an object")).expect("a signature")
}

/// A key-encryption key of nobody.
static KEK: LazyLock<String> = LazyLock::new(|| {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("randomness");
    let der: Pkcs8V1Der<'_> = AsDer::as_der(&key).expect("a key");
    certs::devca::private_key_pem(der.as_ref())
});
/// Opened once: its key costs more to read than all else here.
static SMART: LazyLock<(Arc<dyn Adapter>, Arc<Ready>)> = LazyLock::new(|| {
    let (document, http) =
        (IAM_SMART.replace("@ORIGIN@", ISSUER).replace("@APP@", "app://"), Arc::new(Ready::default()));
    (open_over(&document, Arc::clone(&http)), http)
});
static FRESH: LazyLock<Fresh> = LazyLock::new(|| Fresh::new([7; 32]));

fn step() -> Step<'static> {
    Step { state: "state", fresh: &FRESH, now: Timestamp(NOW) }
}

fn finish(document: &str, answers: Vec<Vec<u8>>, memo: &str, query: &[u8]) {
    let Ok(callback) = Params::parse(query) else { return };
    if let Ok(Progress::Done(answer)) = done(open(document, answers).finish(memo, &callback, step())) {
        let subject = answer.subject.expose();
        assert!(!subject.trim().is_empty() && subject.len() <= 255, "nobody signed in");
        assert!(answer.auth_time.is_none_or(|time| time <= Timestamp(NOW + 60)), "a login of tomorrow");
    }
}

/// The same bytes as each of the things that a provider may send.
pub fn answer(data: &[u8]) {
    let oidc = format!("id = \"p\"\nkind = \"oidc\"\njurisdiction = \"HK\"\n{NAMES}{OIDC}{TABLE}");
    let (code, memo) = (b"code=c&state=state".as_slice(), r#"{"nonce":"n","verifier":"v"}"#);
    let sound = |userinfo: Vec<u8>| vec![metadata(), tokens(&id_token()), keys(), userinfo];
    // To the metadata's address, as its token answer, as its keys, and as what it says of the person.
    finish(&oidc, vec![data.to_vec(), data.to_vec()], memo, code);
    finish(&oidc, vec![metadata(), data.to_vec(), keys()], memo, code);
    finish(&oidc, vec![metadata(), tokens(&id_token()), data.to_vec()], memo, code);
    finish(&oidc, sound(data.to_vec()), memo, code);
    // By the browser.
    finish(&oidc, sound(b"{\"sub\":\"x\"}".to_vec()), memo, data);
    if let Some(claims) = claims(data) {
        let signed = jws::sign(&KEY, "JWT", &claims).expect("a signature");
        finish(&oidc, vec![metadata(), tokens(&signed), keys(), b"{\"sub\":\"x\"}".to_vec()], memo, code);
        let adapter = open(&oidc, vec![metadata(), keys()]);
        if let Ok(said) = done(adapter.logged_out(&signed, Timestamp(NOW))) {
            assert!(claims.contains_key("events") && !claims.contains_key("nonce"), "no logout token");
            assert!(said.at.0 <= NOW + 60 && (said.session.is_some() || said.person.is_some()), "about nobody");
        }
    }
    for (document, memo) in [(MACAO, memo), (GUANGDONG, "{\"redirect_uri\":\"https://gateway.example/callback/p\"}")] {
        let document = document.replace("@ORIGIN@", ISSUER).replace("@APP@", "app").replace("@PORTAL@", ISSUER);
        finish(&document, vec![data.to_vec(), data.to_vec()], memo, b"code=c&state=state");
        let token = b"{\"access_token\":\"a\",\"token_type\":\"Bearer\"}".to_vec();
        finish(&document, vec![token, data.to_vec()], memo, code);
    }
    // By itself, to where anybody may post.
    let (smart, http) = &*SMART;
    *http.0.lock().expect("no panic") = vec![data.to_vec()].into();
    let delivered = done(smart.receive(Delivery { body: data, certificate: None }, step()));
    assert!(delivered.is_err(), "a stranger was believed");
    *http.0.lock().expect("no panic") = vec![data.to_vec(), data.to_vec()].into();
    let code = Params::parse(code).expect("parameters");
    let _ = done(smart.finish(r#"{"source":"PC_Browser","fields":[],"asked":[],"method":null}"#, &code, step()));
}
