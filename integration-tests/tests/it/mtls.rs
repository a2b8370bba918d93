//! Clients that prove who they are with a certificate, and tokens that are bound to it (RFC 8705).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::devca::DevCa;
use certs::key::{Algorithm, SigningKey};
use gateway::ports::{Clock as _, SystemClock};
use http::Method;
use integration_tests::rp::{VERIFIER, query};
use integration_tests::world::{client_document, service_document};
use integration_tests::{Browser, Reply, World};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

const NAME: &str = "portal.machines.example";
const REDIRECT: &str = "https://portal.example/cb";

/// A certificate with its key.
struct Papers {
    chain: PathBuf,
    key: PathBuf,
}

impl Papers {
    /// Issued by the CA in this folder, which is made on first use.
    fn issued(ca: &Path, name: &str) -> Self {
        let ca = DevCa::open(ca, SystemClock.now().0).unwrap();
        let (chain, key) = ca.issue(&format!("machine-{name}"), &[name]).unwrap();
        Self { chain, key }
    }

    fn jwk(&self) -> Value {
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_file(&self.key).unwrap();
        SigningKey::from_pkcs8(Algorithm::ES256, pkcs8.secret_pkcs8_der()).unwrap().public_jwk().clone()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(&self.chain).unwrap().map(Result::unwrap).collect()
    }

    fn digest(&self) -> String {
        certs::client_cert::ClientCertificate::of(&self.chain()).unwrap().digest()
    }

    /// A machine that shows them to a world's gateway.
    fn machine(&self, world: &World) -> Browser {
        let mut store = rustls::RootCertStore::empty();
        certs::tls::read_certificates(&world.demo.ca).unwrap().into_iter().for_each(|root| store.add(root).unwrap());
        let config = rustls::ClientConfig::builder_with_provider(certs::tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(store)
            .with_client_auth_cert(self.chain(), PrivateKeyDer::from_pem_file(&self.key).unwrap())
            .unwrap();
        Browser::new(Arc::new(config))
    }
}

/// Papers of the authority that the gateway trusts for clients.
fn certified(world: &World, name: &str) -> Papers {
    Papers::issued(&world.data.join("ca"), name)
}

/// A world with a client whose document has these lines.
async fn world(auth: &str, lines: &str) -> World {
    let client = client_document("portal", REDIRECT, auth, lines);
    let service = service_document("matter", &["portal"], &["hk-iam-smart"], "");
    World::with(&[("clients/portal.toml", &client), ("services/matter.toml", &service)]).await
}

async fn aliases(world: &World) -> Value {
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
        assert!(methods.contains(&json!(method)), "{methods:?}");
    }
    metadata["mtls_endpoint_aliases"].clone()
}

async fn post(browser: &Browser, url: &str, form: &[(&str, &str)]) -> Reply {
    let body = integration_tests::browser::encode(form);
    browser.clone().send(Method::POST, url, Some(body), &[]).await
}

async fn ask(browser: &Browser, url: &Value, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    browser.clone().send(Method::GET, url.as_str().unwrap(), None, &[("authorization", &bearer)]).await
}

async fn push(world: &World, browser: &Browser, url: &str) -> Reply {
    let params = world.client("portal", None, REDIRECT).params("matter");
    let form: Vec<(&str, &str)> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    post(browser, url, &form).await
}

fn token_form(code: &str) -> [(&str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", "portal"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ]
}

/// RFC 8705 sections 2.1, 3 and 5; FAPI 2.0 Security Profile with certificates.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8705_3_a_token_is_bound_to_the_certificate() {
    let lines = format!("profile = \"fapi2\"\ntls_client_auth_san_dns = \"{NAME}\"");
    let world = world("tls_client_auth", &lines).await;
    let aliases = aliases(&world).await;
    let at = |name: &str| aliases[name].as_str().unwrap().to_owned();
    let papers = certified(&world, NAME);
    let (portal, other) = (papers.machine(&world), certified(&world, "other.machines.example").machine(&world));
    let pushed = push(&world, &portal, &at("pushed_authorization_request_endpoint")).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let authorize = format!("{}/authorize?client_id=portal&request_uri={uri}", world.issuer());
    let back = world.sign_in(&mut world.browser(), &authorize, "hk-iam-smart", "hk-chan").await;
    let code = query(&back, "code").unwrap();
    // Nobody else redeems it: not another machine, and nobody without a certificate.
    for browser in [&other, &world.browser()] {
        let refused = post(browser, &at("token_endpoint"), &token_form(&code)).await;
        assert_eq!(refused.json()["error"], "invalid_client", "{}", refused.body);
    }
    let tokens = post(&portal, &at("token_endpoint"), &token_form(&code)).await.json();
    assert_eq!(tokens["token_type"], "Bearer", "{tokens}");
    let access = tokens["access_token"].as_str().unwrap();
    let userinfo = &aliases["userinfo_endpoint"];
    assert_eq!(ask(&portal, userinfo, access).await.json()["name"], "CHAN, Tai Man");
    assert_eq!(ask(&other, userinfo, access).await.status, 401);
    assert_eq!(ask(&world.browser(), userinfo, access).await.status, 401);
    assert_eq!(world.client("portal", None, REDIRECT).userinfo(access).await.status, 401);
    let form = [("token", access), ("client_id", "portal")];
    let about = post(&portal, &at("introspection_endpoint"), &form).await.json();
    assert_eq!(about["cnf"], json!({"x5t#S256": papers.digest()}));
}

/// RFC 8705 section 2.1: name and authority both have to be right.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8705_2_1_only_the_registered_name_of_a_trusted_authority() {
    for (lines, sound) in [
        (format!("tls_client_auth_san_dns = \"{NAME}\""), true),
        (format!("tls_client_auth_subject_dn = \"CN=machine-{NAME}\""), true),
        ("tls_client_auth_san_dns = \"other.example\"".to_owned(), false),
        (format!("tls_client_auth_san_uri = \"{NAME}\""), false),
        ("tls_client_auth_subject_dn = \"CN=somebody\"".to_owned(), false),
    ] {
        let world = world("tls_client_auth", &lines).await;
        let par = aliases(&world).await["pushed_authorization_request_endpoint"].as_str().unwrap().to_owned();
        let certified = certified(&world, NAME).machine(&world);
        let status = |reply: &Reply| reply.status.as_u16();
        assert_eq!(status(&push(&world, &certified, &par).await), if sound { 201 } else { 401 }, "{lines}");
        let stranger = Papers::issued(&world.data.join("another-ca"), NAME).machine(&world);
        assert_eq!(status(&push(&world, &stranger, &par).await), 401, "another authority");
        assert_eq!(status(&push(&world, &world.browser(), &par).await), 401, "no certificate");
        let main = format!("{}/par", world.issuer());
        assert_eq!(status(&push(&world, &certified, &main).await), 401, "nobody asks for one there");
        if sound {
            world.clock.advance(20 * 366 * 86_400);
            assert_eq!(status(&push(&world, &certified, &par).await), 401, "after its time");
        }
    }
}

/// RFC 8705 section 2.2: of a self-signed certificate the key counts, and no authority.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8705_2_2_a_certificate_of_its_own_is_known_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (Papers::issued(folder.path(), NAME), Papers::issued(folder.path(), "other.example"));
    let lines = format!("jwks = '{}'\ntls_client_certificate_bound_access_tokens = true", json!({"keys": [own.jwk()]}));
    let world = world("self_signed_tls_client_auth", &lines).await;
    let par = aliases(&world).await["pushed_authorization_request_endpoint"].as_str().unwrap().to_owned();
    assert_eq!(push(&world, &own.machine(&world), &par).await.status, 201);
    assert_eq!(push(&world, &other.machine(&world), &par).await.status, 401);
    assert_eq!(push(&world, &world.browser(), &par).await.status, 401);
    world.clock.advance(91 * 86_400);
    assert_eq!(push(&world, &own.machine(&world), &par).await.status, 401, "after its own time");
}
