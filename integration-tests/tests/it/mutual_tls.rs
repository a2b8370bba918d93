//! Deliveries that are believed because of the client certificate of their connection, and not for their key.

use std::sync::Arc;

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PrivateDecryptingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certs::envelope::ContentKey;
use http::Method;
use integration_tests::{Browser, World};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sandbox::iam_smart::Approval;
use serde_json::{Value, json};

const NAME: &str = "callbacks.government.example";

async fn world() -> World {
    let world = World::own(&[]).await;
    let trust = format!("deliveries = \"mutual-tls\"\ndelivery_name = \"{NAME}\"");
    let change = |text: String| text.replace("deliveries = \"content-key\"", &trust);
    world.rewrite_provider("hk-iam-smart", change).await;
    world.iam_smart().approval(Approval::Never);
    world
}

/// A machine with a certificate from the world's CA.
fn machine(world: &World, name: &str) -> Browser {
    let ca = certs::devca::DevCa::open(&world.data.join("ca"), world.now().0).unwrap();
    let (chain, key) = ca.issue("machine", &[name]).unwrap();
    let roots = certs::tls::read_certificates(&world.demo.ca).unwrap();
    let mut store = rustls::RootCertStore::empty();
    roots.into_iter().for_each(|root| store.add(root).unwrap());
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap).collect();
    let config = rustls::ClientConfig::builder_with_provider(certs::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
        .unwrap();
    Browser::new(Arc::new(config))
}

/// A delivery as the government would make it: under a key of this delivery's own.
fn delivery(world: &World, content: &Value) -> String {
    let pem = std::fs::read(world.data.join("secrets/hk-iam-smart.kek")).unwrap();
    let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
    let kek = PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).unwrap();
    let public = Pkcs1PublicEncryptingKey::new(kek.public_key()).unwrap();
    let mut buffer = vec![0; public.ciphertext_size()];
    let wrapped = STANDARD.encode(public.encrypt(&[5; 32], &mut buffer).unwrap());
    let sealed = ContentKey::new(&[5; 32]).unwrap().seal([1; 12], content.to_string().as_bytes()).unwrap();
    let frame = STANDARD.encode([&[0, 0, 0, 12][..], &[1; 12], &sealed].concat());
    json!({"txID": "1", "code": "D00000", "message": "ok", "secretKey": wrapped, "content": frame}).to_string()
}

async fn deliver(world: &World, machine: &mut Browser, body: &str) -> u16 {
    let port = world.demo.gateway.peers_address().unwrap().port();
    let url = format!("https://localhost:{port}/receive/hk-iam-smart");
    let json = [("content-type", "application/json")];
    machine.send(Method::POST, &url, Some(body.to_owned()), &json).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_believed_for_its_certificate_and_for_no_other() {
    let world = world().await;
    let mut browser = world.browser();
    let authorize = world.rp().authorize("medical-appointment", &[]);
    let address = world.to_provider(&mut browser, &authorize, "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
    let page = browser.follow_within(callback, world.issuer()).await;
    assert!(page.url.path().ends_with("/wait"), "{}", page.body);
    let asked = world.iam_smart().last_profile_request().unwrap();
    let content = json!({
        "businessID": asked["businessID"], "state": asked["state"], "openID": asked["openID"],
        "enName": {"UnstructuredName": "CHAN, Tai Man"}, "birthDate": "19700101",
    });
    let body = delivery(&world, &content);
    assert_eq!(deliver(&world, &mut machine(&world, "somebody.example"), &body).await, 403);
    let mut plain = world.browser();
    let address = format!("{}/receive/hk-iam-smart", world.issuer());
    let open = plain.send(Method::POST, &address, Some(body.clone()), &[]).await;
    assert_eq!(open.status, 403, "without a certificate nothing is believed");
    assert_eq!(deliver(&world, &mut machine(&world, NAME), &body).await, 200);
    assert_eq!(deliver(&world, &mut machine(&world, NAME), &body).await, 200, "said twice is said once");
    let consent = world.past_waiting(&mut browser, page.url).await;
    assert!(consent.url.path().ends_with("/consent"), "{}", consent.body);
    assert_eq!(deliver(&world, &mut machine(&world, NAME), &body).await, 403, "the request is closed");
}

/// The listener for machines is for machines: whoever shows no certificate gets no connection.
#[tokio::test(flavor = "multi_thread")]
async fn the_listener_for_machines_wants_a_certificate() {
    let world = World::own(&[]).await;
    let port = world.demo.gateway.peers_address().unwrap().port();
    let roots = certs::tls::read_certificates(&world.demo.ca).unwrap();
    let config = Arc::new(certs::tls::client(roots).unwrap());
    let tcp = tokio::net::TcpStream::connect(("localhost", port)).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await;
    // In TLS 1.3 the refusal comes with the first read.
    let refused = match stream {
        Err(_) => true,
        Ok(mut stream) => {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
            !matches!(stream.read(&mut [0; 64]).await, Ok(n) if n > 0)
        }
    };
    assert!(refused);
}
