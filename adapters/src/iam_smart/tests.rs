//! The adapter over a scripted port: what it sends, to the byte, and what it makes of answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeySize, Pkcs1PublicEncryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::envelope::ContentKey;

use gateway_core::time::Timestamp;

use super::*;
use crate::Fresh;
use crate::http::HttpError;
use crate::shared::SharedError;

const CLIENT: &str = "0123456789abcdef0123456789abcdef";
const SECRET: &str = "test-secret-not-real";
const CONTENT: &str = "AAAADAABAgMEBQYHCAkKCzwgtXShgOAhryfy7tWPGQ7msOJRlB0+H10BgOB5D2HRZHbLmcunc/sRhlPP7/VJVpoNGf0/9Jn4XuJecXeRnJSRSK8VvY5FDngxiBNptzV57UbTFljuzoxc8jEk";
const NOW: Timestamp = Timestamp(1_700_000_000);

/// A port that answers from a script and keeps what was sent.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Value>>,
    sent: Mutex<Vec<http::Request<Vec<u8>>>>,
}

#[async_trait]
impl Http for Script {
    async fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, HttpError> {
        self.sent.lock().unwrap().push(request);
        let answer = self.answers.lock().unwrap().pop_front().ok_or(HttpError::Timeout)?;
        Ok(http::Response::new(answer.to_string().into_bytes()))
    }
}

/// Shared state of one node, with the vectors' time stamp.
#[derive(Default)]
struct One(Mutex<Option<Secret<String>>>);

#[async_trait]
impl Shared for One {
    async fn stamp(&self, _: &str, _: Option<u64>) -> Result<u64, SharedError> {
        Ok(1_700_000_000_123)
    }

    async fn load(&self, _: &str, _: Timestamp) -> Result<Option<Secret<String>>, SharedError> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn keep(&self, _: &str, value: &Secret<String>, _: Timestamp, _: Timestamp) -> Result<(), SharedError> {
        *self.0.lock().unwrap() = Some(value.clone());
        Ok(())
    }
}

struct Rig {
    adapter: IamSmart,
    script: Arc<Script>,
    kek: PrivateDecryptingKey,
    fresh: Fresh,
}

fn cek() -> ContentKey {
    ContentKey::new(&(0..32).collect::<Vec<u8>>()).unwrap()
}

fn sealed(content: &Value) -> String {
    wire::frame(&cek(), [7; 12], content.to_string().as_bytes()).unwrap()
}

impl Rig {
    fn new() -> Self {
        let kek = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pem = Secret::new(certs::devca::private_key_pem(AsDer::as_der(&kek).unwrap().as_ref()));
        let settings = Settings {
            api: "https://host.example/api/v1/".parse().unwrap(),
            client_id: CLIENT.to_owned(),
            client_secret_file: "s".to_owned(),
            key_encryption_key_file: "k".to_owned(),
            scopes: vec!["eidapi_auth".to_owned(), "eidapi_profiles".to_owned()],
            app: "hk.gov.iamsmart://".to_owned(),
            qr_path: "auth/getQR".to_owned(),
            deliveries: DeliveryTrust::ContentKey,
            step_up: Vec::new(),
        };
        let script = Arc::new(Script::default());
        let callback = "https://gateway.example/callback/hk".parse().unwrap();
        let (http, shared) = (Arc::clone(&script) as Arc<dyn Http>, Arc::new(One::default()));
        let secret = Secret::new(SECRET.to_owned());
        let adapter = IamSmart::new(settings, callback, (secret, &pem), http, shared).unwrap();
        let mut fresh = Fresh::new([3; 32]);
        let nonce: Vec<u8> = (0..16).map(|n| n * 0x11).collect();
        fresh.prescribed = vec![("nonce/", nonce), ("iv/", (0..12).collect())];
        Self { adapter, script, kek, fresh }
    }

    fn step(&self) -> Step<'_> {
        Step { state: "state", fresh: &self.fresh, now: NOW }
    }

    fn key_answer(&self) -> Value {
        let public = Pkcs1PublicEncryptingKey::new(self.kek.public_key()).unwrap();
        let mut buffer = vec![0; public.ciphertext_size()];
        let wrapped = public.encrypt(cek().expose(), &mut buffer).unwrap();
        json!({"txID": "1", "code": "D00000", "message": "ok", "content": {
            "secretKey": STANDARD.encode(wrapped), "pubKey": "", "issueAt": 1_700_000_000_000_u64, "expiresIn": 3_600_000,
        }})
    }

    fn answer(&self, answer: Value) {
        self.script.answers.lock().unwrap().push_back(answer);
    }

    async fn finish(&self, query: &str) -> Result<Progress, UpstreamError> {
        let memo = r#"{"source":"PC_Browser","fields":[],"asked":[],"method":null}"#;
        self.adapter.finish(memo, &Params::parse(query.as_bytes()).unwrap(), self.step()).await
    }

    fn sent(&self, index: usize) -> (String, String, Vec<u8>) {
        let sent = self.script.sent.lock().unwrap();
        let request = &sent[index];
        let signature = request.headers()["signature"].to_str().unwrap().to_owned();
        (request.uri().path().to_owned(), signature, request.body().clone())
    }
}

fn token() -> Value {
    let content = json!({"accessToken": "t", "tokenType": "Bearer", "issueAt": 1, "expiresIn": 2, "openID": "abc%2Bdef%3D",
        "lastModifiedDate": 1_600_000_000_000_u64, "userType": "sign", "scope": "eidapi_auth"});
    json!({"txID": "2", "code": "D00000", "message": "ok", "content": sealed(&content)})
}

const CALLBACK: &str = "code=feedfacefeedfacefeedfacefeedface&state=state";

/// Section 1.12 of the public facts: both signatures and the frame, as the adapter really sends them.
#[tokio::test]
async fn the_published_vectors_go_over_the_port_byte_for_byte() {
    let rig = Rig::new();
    rig.answer(rig.key_answer());
    rig.answer(token());
    let Ok(Progress::Done(answer)) = rig.finish(CALLBACK).await else { panic!("not done") };
    let expected = "Uk7xU1zB5UJy6aq%2Fiof3orV6ENtcmylDl49iCWErF60%3D";
    assert_eq!(rig.sent(0), ("/api/v1/security/getKey".to_owned(), expected.to_owned(), Vec::new()));
    let (body, expected) = (format!("{{\"content\":\"{CONTENT}\"}}"), "xHkmPFB88Bs4HG7ZTGv9NToiwtxO8K40FALeG9CgTUg%3D");
    assert_eq!(rig.sent(1), ("/api/v1/auth/getToken".to_owned(), expected.to_owned(), body.into_bytes()));
    assert_eq!(answer.subject.expose(), "abc%2Bdef%3D", "opaque: never decoded");
    assert_eq!((answer.acr.as_deref(), answer.amr.len()), (Some("sign"), 0), "what it can do is not what was done");
    assert_eq!(answer.auth_time, None);
}

#[tokio::test]
async fn a_key_is_fetched_once_and_again_when_it_is_refused() {
    let rig = Rig::new();
    rig.answer(rig.key_answer());
    rig.answer(token());
    rig.answer(json!({"code": "D30002", "message": "CEK"}));
    // The same key comes back: it is revoked, and asked for again.
    rig.answer(rig.key_answer());
    rig.answer(json!({"code": "D00000"}));
    rig.answer(rig.key_answer());
    rig.answer(token());
    rig.finish(CALLBACK).await.unwrap();
    rig.finish(CALLBACK).await.unwrap();
    let paths: Vec<String> = (0..7).map(|index| rig.sent(index).0).collect();
    let names: Vec<&str> = paths.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["getKey", "getToken", "getToken", "getKey", "revokeKey", "getKey", "getToken"]);
}

#[tokio::test]
async fn a_refusal_has_two_forms_and_neither_asks_for_a_token() {
    let rig = Rig::new();
    for query in ["state=state", "error_code=D40000&state=state", "error_code=D40001", "error_code=D20001"] {
        assert!(matches!(rig.finish(query).await, Err(UpstreamError::Denied)), "{query}");
    }
    assert!(matches!(rig.finish("error_code=D40003").await, Err(UpstreamError::TimedOut)));
    for query in ["code=a&code=b", "code=a&error_code=D40000", "error_code=x", "error_code=M40001"] {
        assert!(matches!(rig.finish(query).await, Err(UpstreamError::Misbehaved(_))), "{query}");
    }
    assert!(rig.script.sent.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_code_is_not_sent_again_after_an_answer_that_was_lost() {
    let rig = Rig::new();
    rig.answer(rig.key_answer());
    assert!(matches!(rig.finish(CALLBACK).await, Err(UpstreamError::Unavailable(HttpError::Timeout))));
    assert_eq!(rig.script.sent.lock().unwrap().len(), 2);
}

/// A stranger's content key, well sealed to our public key, opens nothing: the private key is not even used on it.
#[tokio::test]
async fn a_delivery_under_a_strangers_key_is_not_believed() {
    let rig = Rig::new();
    rig.answer(rig.key_answer());
    rig.answer(token());
    rig.finish(CALLBACK).await.unwrap();
    let content = json!({"businessID": "b", "state": "s", "openID": "abc%2Bdef%3D"});
    let receive = async |delivery: Value| {
        let body = delivery.to_string().into_bytes();
        rig.adapter.receive(Delivery { body: &body, certificate: None }, rig.step()).await
    };
    let ours = receive(json!({"txID": "3", "code": "D00000", "content": sealed(&content)})).await.unwrap();
    assert_eq!((ours.request.expose().as_str(), ours.state.expose().as_str()), ("b", "s"));
    let foreign = ContentKey::new(&[9; 32]).unwrap();
    let foreign = wire::frame(&foreign, [1; 12], content.to_string().as_bytes()).unwrap();
    let public = Pkcs1PublicEncryptingKey::new(rig.kek.public_key()).unwrap();
    let mut buffer = vec![0; public.ciphertext_size()];
    let wrapped = STANDARD.encode(public.encrypt(&[9; 32], &mut buffer).unwrap());
    assert!(receive(json!({"code": "D00000", "secretKey": wrapped, "content": foreign})).await.is_err());
    for bad in
        [json!({}), json!([]), json!({"code": "D00000"}), json!({"code": "D00000", "content": sealed(&json!({}))})]
    {
        assert!(receive(bad).await.is_err());
    }
}
