//! Answers that a client has signed and encrypted by registration, and access tokens that a resource server can read.

use certs::jwe::{self, KeyManagement};
use certs::key::Algorithm;
use integration_tests::rp::{claims, query};
use integration_tests::servers::{Site, free_port};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Rp, World};
use serde_json::{Value, json};

async fn world(lines: &str, service: &str) -> (World, Rp) {
    let client = client_document(
        "portal",
        "https://portal.example/cb",
        "client_secret_basic",
        &format!("{}\n{lines}", secret_line()),
    );
    let service = service_document("matter", &["portal"], &["hk-iam-smart"], service);
    let world = World::with(&[("clients/portal.toml", &client), ("services/matter.toml", &service)]).await;
    let rp = world.client("portal", Some(SECRET), "https://portal.example/cb");
    (world, rp)
}

async fn tokens(world: &World, rp: &Rp) -> Value {
    let code = world.code(rp, "matter", "hk-iam-smart", "hk-chan").await;
    rp.redeem(&code).await.json()
}

fn verified(world: &World, token: &str, typ: &str) -> Value {
    let keys = world.demo.gateway.app().keys.verifying();
    let unverified = certs::jws::Unverified::parse(token).unwrap();
    assert_eq!(unverified.typ(), Some(typ));
    Value::Object(unverified.verify(&keys, &Algorithm::ALL).unwrap().clone())
}

/// RFC 9068 sections 2.1 and 2.2.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9068_2_2_a_token_that_a_resource_server_reads() {
    let (world, rp) = world("", "access_token = \"jwt\"").await;
    let tokens = tokens(&world, &rp).await;
    let access = tokens["access_token"].as_str().unwrap();
    let said = verified(&world, access, "at+jwt");
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(said["iss"], world.issuer());
    assert_eq!(said["aud"], "https://services.example/matter");
    assert_eq!(said["client_id"], "portal");
    assert_eq!((&said["sub"], &said["acr"]), (&id_token["sub"], &id_token["acr"]));
    assert_eq!(said["auth_time"], id_token["auth_time"]);
    assert!(said["jti"].as_str().unwrap().len() >= 32);
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 300);
    assert!(said.get("name").is_none(), "no personal data");
    // RFC 9068 section 2.1: what old resource servers can read.
    let (older, old) = self::world("", "access_token = \"jwt\"\naccess_token_signing_alg = \"RS256\"").await;
    let token = self::tokens(&older, &old).await["access_token"].as_str().unwrap().to_owned();
    assert_eq!(certs::jws::Unverified::parse(&token).unwrap().algorithm(), certs::key::Algorithm::RS256);
    verified(&older, &token, "at+jwt");
    assert_eq!(old.userinfo(&token).await.status, 200);
    // To us it is what any token is: one changed byte, and it is nothing.
    assert_eq!(rp.userinfo(access).await.json()["name"], "CHAN, Tai Man");
    let other = if access.ends_with('A') { "B" } else { "A" };
    assert_eq!(rp.userinfo(&format!("{}{other}", &access[..access.len() - 1])).await.status, 401);
}

/// OpenID Connect Core section 5.3.2.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_5_3_2_a_signed_answer_of_the_userinfo_endpoint() {
    let (world, rp) = world("userinfo_signed_response_alg = \"PS256\"", "").await;
    let tokens = tokens(&world, &rp).await;
    let reply = rp.userinfo(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(reply.headers["content-type"], "application/jwt");
    let said = verified(&world, &reply.body, "JWT");
    assert_eq!((&said["iss"], &said["aud"]), (&json!(world.issuer()), &json!("portal")));
    assert_eq!(said["name"], "CHAN, Tai Man");
    assert_eq!(said["sub"], claims(tokens["id_token"].as_str().unwrap())["sub"]);
}

/// OpenID Connect Core sections 10.2 and 16.14: signed, and then encrypted. CVE-2026-29000: never one without the other.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_29000_what_is_encrypted_is_signed() {
    let ec = josekit::jwk::Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256).unwrap();
    let rsa = josekit::jwk::Jwk::generate_rsa_key(2048).unwrap();
    let public = |key: &josekit::jwk::Jwk, alg: &str| {
        let mut jwk = Value::Object(key.to_public_key().unwrap().into());
        jwk["use"] = "enc".into();
        jwk["alg"] = alg.into();
        jwk
    };
    let jwks = json!({"keys": [public(&ec, "ECDH-ES"), public(&rsa, "RSA-OAEP-256")]});
    let lines = format!(
        "jwks = '{jwks}'\nid_token_encrypted_response_alg = \"ECDH-ES\"\n\
         userinfo_signed_response_alg = \"ES256\"\nuserinfo_encrypted_response_alg = \"RSA-OAEP-256\"\n\
         userinfo_encrypted_response_enc = \"A256GCM\""
    );
    let (world, rp) = world(&lines, "").await;
    let tokens = tokens(&world, &rp).await;
    let header = |token: &str| -> Value {
        use base64::Engine as _;
        let part = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice(&part).unwrap()
    };
    let id_token = tokens["id_token"].as_str().unwrap();
    assert_eq!((&header(id_token)["alg"], &header(id_token)["enc"]), (&json!("ECDH-ES"), &json!("A128CBC-HS256")));
    let private = Value::Object(ec.into());
    let inner = jwe::decrypt(id_token, KeyManagement::EcdhEs, &private).unwrap();
    let said = verified(&world, std::str::from_utf8(&inner).unwrap(), "JWT");
    assert_eq!(said["aud"], "portal");
    let reply = rp.userinfo(tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(header(&reply.body)["enc"], "A256GCM");
    let private = Value::Object(rsa.into());
    let inner = jwe::decrypt(&reply.body, KeyManagement::RsaOaep256, &private).unwrap();
    assert_eq!(verified(&world, std::str::from_utf8(&inner).unwrap(), "JWT")["name"], "CHAN, Tai Man");
}

/// A client whose keys cannot be had is told to come again, and nothing of its is used up meanwhile; what it is told of a logout is
/// encrypted as its ID tokens are (Back-Channel Logout section 2.4).
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_keys_that_are_down_lose_no_code_and_its_logout_tokens_are_encrypted() {
    let (keys, back) = (free_port(), free_port());
    let lines = format!(
        "jwks_uri = \"https://localhost:{keys}/jwks\"\nid_token_encrypted_response_alg = \"ECDH-ES\"\n\
         backchannel_logout_uri = \"https://localhost:{back}/out\""
    );
    let (world, rp) = world(&lines, "").await;
    let ec = josekit::jwk::Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256).unwrap();
    let jwks = json!({"keys": [Value::Object(ec.to_public_key().unwrap().into())]}).to_string();
    let site = Site::open(&world.data, keys, 503, "").await;
    let portal = Site::open(&world.data, back, 200, "").await;
    let mut browser = world.browser();
    let back = world.sign_in(&mut browser, &rp.authorize("matter", &[]), "hk-iam-smart", "hk-chan").await;
    let code = query(&back, "code").unwrap();
    for _ in 0..2 {
        let told = rp.redeem(&code).await;
        assert_eq!((told.status.as_u16(), &told.json()["error"]), (503, &json!("temporarily_unavailable")));
        world.clock.advance(3);
    }
    site.answers(200, Vec::new(), &jwks);
    let (tokens, private) = (rp.redeem(&code).await.json(), Value::Object(ec.into()));
    let inner = |token: &str| {
        let inner = jwe::decrypt(token, KeyManagement::EcdhEs, &private).unwrap();
        String::from_utf8(inner.to_vec()).unwrap()
    };
    let id_token = verified(&world, &inner(tokens["id_token"].as_str().unwrap()), "JWT");
    browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await;
    let (_, form) = portal.heard().pop().expect("the portal was told");
    let said = verified(&world, &inner(form.strip_prefix("logout_token=").unwrap()), "logout+jwt");
    assert_eq!((&said["sub"], &said["aud"]), (&id_token["sub"], &json!("portal")));
}
