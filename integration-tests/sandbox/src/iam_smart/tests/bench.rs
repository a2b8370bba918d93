//! A client of the simulator, and the server where its results arrive.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use openssl::pkey::Private;
use openssl::rsa::Padding;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::super::crypto::Key;
use super::super::*;
use crate::people::{Place, catalogue};
use crate::web::{self, Params};

pub(super) const CLIENT: &str = "service-1";
pub(super) const SECRET: &str = "secret-1";
pub(super) const RETURN: &str = "https://gateway.example/callback";
pub(super) const TOKEN: &str = "/api/v1/auth/getToken";
pub(super) const GET_KEY: &str = "/api/v1/security/getKey";
pub(super) const REVOKE_KEY: &str = "/api/v1/security/revokeKey";
pub(super) const PROFILE: &str = "/api/v1/account/auth/profile/initiateRequest";
pub(super) const STEP_UP: &str = "/api/v1/account/stepup/initiateRequest";

pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) location: String,
    pub(super) body: String,
}

impl Reply {
    /// A parameter of the redirect.
    pub(super) fn param(&self, name: &str) -> Option<String> {
        Params::parse(self.location.split_once('?')?.1)?.owned(name)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The return code.
    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap().to_owned()
    }
}

/// What a call is sent with; tests spoil one thing at a time.
pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Call {
    pub(super) fn set(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    /// Signs the call as it is now.
    pub(super) fn sign(self) -> Self {
        let header = |name| self.headers.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        let head = ["clientID", "signatureMethod", "timestamp", "nonce"].map(header).concat();
        let signature = crypto::sign(SECRET, &head, self.body.as_bytes()).unwrap();
        self.set("signature", &signature)
    }
}

pub(super) struct Bench {
    pub(super) sim: IamSmartSim,
    pub(super) control: Control,
    results: Arc<Mutex<Vec<String>>>,
    cek: Mutex<Key>,
    time: AtomicU64,
}

impl Bench {
    /// A simulator, and a client that has fetched its key.
    pub(super) async fn new() -> Self {
        let bench = Self::without_key().await;
        bench.fetch_key().await;
        bench
    }

    pub(super) async fn without_key() -> Self {
        let results: Arc<Mutex<Vec<String>>> = Arc::default();
        let http = serve(result_server(Arc::clone(&results))).await;
        let client = |client_id: &str| IamSmartClient {
            client_id: client_id.to_owned(),
            client_secret: SECRET.to_owned(),
            redirect_uris: vec![RETURN.to_owned()],
            result_callback: "https://gateway.example:9443/result".to_owned(),
            direct_callback: (client_id == CLIENT).then(|| "https://gateway.example/direct".to_owned()),
            scopes: vec!["eidapi_auth".to_owned(), "eidapi_profiles".to_owned()],
            kek: String::from_utf8(private_key().public_key_to_pem().unwrap()).unwrap(),
        };
        let sim = IamSmartSim::new(IamSmartConfig {
            origin: "https://localhost:9443".to_owned(),
            clients: vec![client(CLIENT), client("service-2")],
            people: catalogue(Place::HongKong).unwrap(),
            http,
        })
        .unwrap();
        let control = sim.control();
        Self { sim, control, results, cek: Mutex::new([0; 32]), time: AtomicU64::new(1_700_000_000_000) }
    }

    pub(super) async fn fetch_key(&self) {
        let answer = self.send_call(self.call(GET_KEY, String::new())).await.json();
        let key = unwrap_key(answer["content"]["secretKey"].as_str().unwrap());
        *self.cek.lock().unwrap() = key.try_into().unwrap();
    }

    pub(super) fn key(&self) -> Key {
        *self.cek.lock().unwrap()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.sim.router().oneshot(request).await.unwrap();
        let location = response.headers().get(header::LOCATION).map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Reply { status, location, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Reply {
        self.send(Request::post(path).body(Body::from(web::encode(pairs))).unwrap()).await
    }

    /// A right call with the next timestamp and a new nonce.
    pub(super) fn call(&self, path: &'static str, body: String) -> Call {
        let timestamp = self.time.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("clientID", CLIENT.to_owned()),
            ("signatureMethod", "HmacSHA256".to_owned()),
            ("timestamp", timestamp.to_string()),
            ("nonce", crypto::token().unwrap()),
        ];
        Call { path, headers, body }.sign()
    }

    /// A right call with this content, encrypted.
    pub(super) fn sealed(&self, path: &'static str, content: &Value) -> Call {
        let frame = crypto::seal(&self.key(), &crypto::random::<12>().unwrap(), content.to_string().as_bytes());
        self.call(path, json!({ "content": STANDARD.encode(frame.unwrap()) }).to_string())
    }

    pub(super) async fn send_call(&self, call: Call) -> Reply {
        let request =
            call.headers.iter().fold(Request::post(call.path), |request, (name, value)| request.header(*name, value));
        self.send(request.body(Body::from(call.body)).unwrap()).await
    }

    /// Calls with this content and returns the decrypted answer, or the code.
    pub(super) async fn ask(&self, path: &'static str, content: Value) -> Result<Value, String> {
        let answer = self.send_call(self.sealed(path, &content)).await.json();
        match answer["code"].as_str().unwrap() {
            "D00000" => Ok(self.decrypt(&answer).unwrap()),
            code => Err(code.to_owned()),
        }
    }

    pub(super) fn decrypt(&self, answer: &Value) -> Option<Value> {
        let frame = STANDARD.decode(answer["content"].as_str()?).unwrap();
        serde_json::from_slice(&crypto::open(&self.key(), &frame)?).ok()
    }

    /// Opens the login page and presses a button.
    pub(super) async fn press(&self, extra: &[(&str, &str)], choice: &[(&str, &str)]) -> Reply {
        let page = self.get(&login_path(extra)).await;
        let mut pairs = vec![("handle", form_handle(&page.body).unwrap())];
        pairs.extend_from_slice(choice);
        self.form("/login/decide", &pairs).await
    }

    /// A login up to the token answer.
    pub(super) async fn log_in(&self, choice: &[(&str, &str)]) -> Value {
        let code = self.press(&[], choice).await.param("code").unwrap();
        self.ask(TOKEN, json!({ "code": code, "grantType": "authorization_code" })).await.unwrap()
    }

    /// A request after the login; `business_id` also makes the `state`.
    pub(super) fn request(&self, token: &Value, business_id: &str, fields: &[&str]) -> Value {
        json!({
            "businessID": business_id, "accessToken": token["accessToken"], "openID": token["openID"],
            "source": "PC_Browser", "redirectURI": RETURN, "state": format!("s-{business_id}"),
            "profileFields": fields,
        })
    }

    /// Everything that arrived, once there are `count` results.
    pub(super) async fn results(&self, count: usize) -> Vec<String> {
        for _ in 0..500 {
            let arrived = self.results.lock().unwrap().clone();
            if arrived.len() >= count {
                return arrived;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} results did not arrive");
    }

    /// The only result so far: its code, and its content under the key that came with it.
    pub(super) async fn result(&self) -> (String, Value, Key) {
        let body: Value = serde_json::from_str(&self.results(1).await[0]).unwrap();
        let key: Key = unwrap_key(body["secretKey"].as_str().unwrap()).try_into().unwrap();
        let frame = STANDARD.decode(body["content"].as_str().unwrap()).unwrap();
        let content = serde_json::from_slice(&crypto::open(&key, &frame).unwrap()).unwrap();
        (body["code"].as_str().unwrap().to_owned(), content, key)
    }
}

pub(super) fn login_path(extra: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("clientID", CLIENT),
        ("responseType", "code"),
        ("source", "PC_Browser"),
        ("redirectURI", RETURN),
        ("scope", "eidapi_auth eidapi_profiles"),
        ("state", "s_1-x"),
    ];
    // A parameter given again replaces the usual one.
    pairs.retain(|(name, _)| !extra.iter().any(|(other, _)| other == name));
    pairs.extend_from_slice(extra);
    web::with_query("/api/v1/auth/getQR", &pairs)
}

/// The plaintext of a wrapped key.
pub(super) fn unwrap_key(wrapped: &str) -> Vec<u8> {
    let mut plain = vec![0; 256];
    let length = private_key().private_decrypt(&STANDARD.decode(wrapped).unwrap(), &mut plain, Padding::PKCS1).unwrap();
    plain.truncate(length);
    plain
}

fn private_key() -> &'static Rsa<Private> {
    static KEY: OnceLock<Rsa<Private>> = OnceLock::new();
    KEY.get_or_init(|| Rsa::generate(2048).unwrap())
}

fn result_server(results: Arc<Mutex<Vec<String>>>) -> Router {
    let keep = |body: String| async move {
        results.lock().unwrap().push(body);
        StatusCode::NO_CONTENT
    };
    Router::new().route("/result", post(keep))
}

/// Serves `router` with a certificate of its own and returns a client that trusts it.
async fn serve(router: Router) -> PortalHttp {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["gateway.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service).await;
            });
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    PortalHttp::new(&client).with_address("gateway.example:9443", address)
}
