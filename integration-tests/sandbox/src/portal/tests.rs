//! The portal against a simulated provider, over real TLS.

use std::sync::Arc;

use ::http::{Request, header};
use axum::body::Body;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::*;
use crate::jose::SigningKey;
use crate::people;
use crate::provider::{
    ClientAuth, Control, Misbehaviour, Place, ProviderConfig, ProviderSim, RegisteredClient, form_handle,
};

/// Made-up host of the provider; the portal is told which address it really has.
const ISSUER: &str = "https://provider.example:9443";
const PORTAL: &str = "https://portal.example";

/// A provider served over TLS, and a portal that signs in there.
struct Bench {
    provider: Router,
    control: Control,
    portal: Router,
}

impl Bench {
    async fn new(with_key: bool) -> Self {
        let key = SigningKey::generate().unwrap();
        let (at_provider, at_portal) = if with_key {
            let jwks = json!({ "keys": [key.public_jwk()] });
            (ClientAuth::PrivateKeyJwt { jwks }, PortalAuth::PrivateKeyJwt { jwk: key.private_jwk() })
        } else {
            (ClientAuth::Secret("a+b c".to_owned()), PortalAuth::SecretBasic("a+b c".to_owned()))
        };
        let client = RegisteredClient {
            client_id: "portal".to_owned(),
            redirect_uris: vec![format!("{PORTAL}/callback")],
            auth: at_provider,
        };
        let provider = ProviderSim::new(ProviderConfig {
            place: Place::Macao,
            issuer: ISSUER.to_owned(),
            clients: vec![client],
            people: people::catalogue(Place::Macao).unwrap(),
        })
        .unwrap();
        let http = serve(provider.router()).await;
        let portal = PortalSim::new(config(at_portal, http));
        Self { provider: provider.router(), control: provider.control(), portal: portal.router() }
    }

    /// Signs `person` in and returns the callback's JSON.
    async fn sign_in(&self, person: &str) -> Value {
        let (callback, cookie) = self.until_callback(person).await;
        self.callback(&callback, &cookie).await
    }

    /// Goes to the provider and back; the callback's path and the browser's cookie.
    async fn until_callback(&self, person: &str) -> (String, String) {
        let (_, location, cookie) = ask(&self.portal, Request::get("/login?service=0"), "").await;
        let (form, ..) = ask(&self.provider, Request::get(location.strip_prefix(ISSUER).unwrap()), "").await;
        let body = web::encode(&[("handle", form_handle(&form).unwrap()), ("person", person)]);
        let (_, back, _) = ask(&self.provider, Request::post("/authorize/decide"), &body).await;
        (back.strip_prefix(PORTAL).unwrap().to_owned(), cookie)
    }

    async fn callback(&self, path: &str, cookie: &str) -> Value {
        let request = Request::get(path).header(header::COOKIE, cookie).header(header::ACCEPT, "application/json");
        serde_json::from_str(&ask(&self.portal, request, "").await.0).unwrap()
    }
}

fn config(client_auth: PortalAuth, http: PortalHttp) -> PortalConfig {
    PortalConfig {
        name: "Sample portal".to_owned(),
        name_zh: "示例门户".to_owned(),
        base_url: PORTAL.to_owned(),
        issuer: ISSUER.to_owned(),
        client_id: "portal".to_owned(),
        client_auth,
        scope: "openid profile".to_owned(),
        elsewhere: None,
        services: vec![PortalService {
            resource: "https://portal.example/services/1".to_owned(),
            name_zh: "<办理>".to_owned(),
            name_en: "Matter".to_owned(),
            claims: Some(json!({ "userinfo": { "bir": null } })),
            acr_values: Some("mo:face".to_owned()),
            max_age: Some(300),
        }],
        http,
    }
}

/// Serves `router` with a certificate of its own and returns a client that trusts it.
async fn serve(router: Router) -> PortalHttp {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["provider.example".to_owned()]).unwrap();
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
    PortalHttp::new(&client).with_address("provider.example:9443", address)
}

/// Body, `Location` and the first cookie of an answer.
async fn ask(router: &Router, request: ::http::request::Builder, body: &str) -> (String, String, String) {
    let response = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let text = |name| {
        let value = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    let (location, cookie) = (text(header::LOCATION), text(header::SET_COOKIE));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let pair = cookie.split(';').next().unwrap_or_default().to_owned();
    (String::from_utf8(bytes.to_vec()).unwrap(), location, pair)
}

#[tokio::test]
async fn a_person_signs_in_with_either_proof() {
    for with_key in [false, true] {
        let bench = Bench::new(with_key).await;
        let result = bench.sign_in("mo-vong").await;
        assert_eq!(result["error"], Value::Null);
        assert_eq!(result["claims"]["acr"], "mo:face");
        assert_eq!(result["userinfo"]["bir"], "1234567(8)");
        let query = bench.control.last_authorize_query().unwrap();
        assert!(query.contains("max_age=300") && query.contains("resource="));
        // Metadata is kept, keys are kept: a second login fetches neither again.
        assert_eq!(bench.sign_in("mo-lei").await["userinfo"]["name_zh"], "李家豪");
        let counters = bench.control.counters();
        assert_eq!((counters.discovery, counters.jwks), (1, 1));
    }
}

#[tokio::test]
async fn a_new_key_is_fetched_when_it_appears() {
    let bench = Bench::new(false).await;
    bench.sign_in("mo-vong").await;
    bench.control.rotate_key().unwrap();
    assert_eq!(bench.sign_in("mo-vong").await["error"], Value::Null);
    assert_eq!(bench.control.counters().jwks, 2);
}

#[tokio::test]
async fn a_wrong_answer_signs_nobody_in() {
    let bench = Bench::new(false).await;
    for misbehaviour in [
        Misbehaviour::WrongNonce,
        Misbehaviour::WrongIssuer,
        Misbehaviour::WrongAudience,
        Misbehaviour::Expired,
        Misbehaviour::IssuedInFuture,
        Misbehaviour::AlgNone,
        Misbehaviour::WrongKey,
        Misbehaviour::UnknownKid,
        Misbehaviour::MissingSub,
        Misbehaviour::NullSub,
        Misbehaviour::NumericSub,
        Misbehaviour::WhitespaceSub,
        Misbehaviour::UserinfoOtherSub,
        Misbehaviour::TruncatedIdToken,
        Misbehaviour::Hs256WithPublicKey,
        Misbehaviour::OmitIssParameter,
        Misbehaviour::WrongIssParameter,
        Misbehaviour::DuplicateState,
        Misbehaviour::WrongState,
        Misbehaviour::HugeBody(300_000),
        Misbehaviour::HtmlWith200,
        Misbehaviour::GarbageToken(vec![0xFF]),
        Misbehaviour::TokenStatus(302),
        Misbehaviour::CritHeader,
        Misbehaviour::StringTimes,
    ] {
        bench.control.set(misbehaviour.clone());
        let result = bench.sign_in("mo-vong").await;
        assert!(result["error"].is_object() && result["claims"].is_null(), "{misbehaviour:?}");
    }
    bench.control.set(Misbehaviour::None);
    assert_eq!(bench.sign_in("mo-vong").await["error"], Value::Null);
}

#[tokio::test]
async fn errors_of_the_provider_are_shown_as_they_are() {
    let bench = Bench::new(false).await;
    assert_eq!(bench.sign_in("").await["error"]["error"], "access_denied");
    bench.control.set(Misbehaviour::TokenStatus(400));
    let error = &bench.sign_in("mo-vong").await["error"];
    assert_eq!((&error["stage"], &error["error"]), (&"token".into(), &"invalid_grant".into()));
}

#[tokio::test]
async fn a_callback_is_bound_to_browser_and_used_once() {
    let bench = Bench::new(false).await;
    let (path, _) = bench.until_callback("mo-vong").await;
    assert!(bench.callback(&path, "").await["error"].is_object(), "another browser");
    let (path, cookie) = bench.until_callback("mo-vong").await;
    assert_eq!(bench.callback(&path, &cookie).await["error"], Value::Null);
    assert!(bench.callback(&path, &cookie).await["error"].is_object(), "used before");
}

#[tokio::test]
async fn pages_escape_names_and_show_the_session() {
    let bench = Bench::new(false).await;
    let (path, cookie) = bench.until_callback("mo-rosario").await;
    let request = Request::get(path).header(header::COOKIE, cookie);
    let (page, _, session) = ask(&bench.portal, request, "").await;
    assert!(page.contains("António") && page.contains("auth_time") && page.contains("&lt;办理&gt;"));
    assert!(!page.contains("access_token"));
    let (home, ..) = ask(&bench.portal, Request::get("/").header(header::COOKIE, &session), "").await;
    assert!(home.contains("mo.A9vGj0hPz7ZdS3lu") && home.contains("service=0") && !home.contains("<script"));
    ask(&bench.portal, Request::post("/logout").header(header::COOKIE, &session), "").await;
    let (home, ..) = ask(&bench.portal, Request::get("/").header(header::COOKIE, &session), "").await;
    assert!(!home.contains("mo.A9vGj0hPz7ZdS3lu"));
}
