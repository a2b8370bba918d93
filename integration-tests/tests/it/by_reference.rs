//! Signed requests that lie at an address of their client (RFC 9101 section 5.2).

use certs::jws;
use certs::key::{Algorithm, SigningKey};
use integration_tests::browser::Reply;
use integration_tests::rp::query;
use integration_tests::servers::{Site, free_port};
use serde_json::{Value, json};

use crate::register::{SERVICE, register, rp, world};

/// RFC 9101 section 5.2.2, OpenID Connect Core section 6.2 and CVE-2026-4366: a request by reference lies where its client said before;
/// nothing else is fetched, and no redirect is followed.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9101_5_2_a_request_by_reference() {
    let (port, elsewhere) = (free_port(), free_port());
    let world = world(port, "").await;
    let key = SigningKey::generate(Algorithm::RS256).unwrap();
    let (at, uri) = (format!("https://localhost:{port}/cb"), format!("https://localhost:{port}/request.jwt"));
    let registered = register(
        &world,
        &json!({
            "redirect_uris": [at], "request_uris": [uri], "request_object_signing_alg": "RS256",
            "jwks": {"keys": [key.public_jwk()]}, "token_endpoint_auth_method": "private_key_jwt",
        }),
    )
    .await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let rp = rp(&world, &registered.json());
    let object = |key: &SigningKey, more: Value| {
        let mut claims: serde_json::Map<String, Value> =
            rp.params(SERVICE).into_iter().map(|(name, value)| (name, value.into())).collect();
        claims.extend(json!({"iss": rp.client_id, "aud": rp.issuer}).as_object().unwrap().clone());
        claims.extend(more.as_object().unwrap().clone());
        jws::sign(key, "oauth-authz-req+jwt", &claims).unwrap()
    };
    let ask = |uri: &str| rp.authorize(SERVICE, &[("request_uri", uri), ("state", "beside"), ("scope", "openid")]);
    let error = |reply: &Reply| query(&reply.target(), "error").unwrap_or_default();
    // Nobody answers.
    assert_eq!(error(&world.browser().get(ask(&uri)).await), "invalid_request_uri");
    let site = Site::open(&world.data, port, 200, &object(&key, json!({}))).await;
    let other = Site::open(&world.data, elsewhere, 200, &object(&key, json!({}))).await;
    let back = world.sign_in(&mut world.browser(), &ask(&uri), "hk-iam-smart", "hk-chan").await;
    assert_eq!(query(&back, "state").as_deref(), Some("state-1"), "what stands beside the object counts for nothing");
    // The redirect URI of the object is the one that counts.
    let wrong = rp.authorize(SERVICE, &[("request_uri", &uri), ("redirect_uri", "https://evil.example/")]);
    let back = world.sign_in(&mut world.browser(), &wrong, "hk-iam-smart", "hk-chan").await;
    assert!(back.as_str().starts_with(&at) && query(&back, "code").is_some(), "{back}");
    let asked = site.heard().len();
    for foreign in [
        format!("https://localhost:{elsewhere}/request.jwt"),
        format!("{uri}?x=1"),
        format!("{uri}#x"),
        uri.to_uppercase(),
        "https://169.254.169.254/".into(),
        "file:///etc/passwd".into(),
        "http://localhost/".into(),
        "data:,x".into(),
    ] {
        assert_eq!(error(&world.browser().get(ask(&foreign)).await), "invalid_request_uri", "{foreign}");
    }
    assert_eq!((site.heard().len(), other.heard().len()), (asked, 0));
    site.answers(302, vec![("location", format!("https://localhost:{elsewhere}/"))], "");
    assert_eq!(error(&world.browser().get(ask(&uri)).await), "invalid_request_uri");
    assert!(other.heard().is_empty(), "a redirect was followed");
    for (status, body, code) in [
        (404, object(&key, json!({})), "invalid_request_uri"),
        (200, String::new(), "invalid_request_object"),
        (200, "x".repeat(70_000), "invalid_request_uri"),
        (200, object(&SigningKey::generate(Algorithm::RS256).unwrap(), json!({})), "invalid_request_object"),
        (200, object(&key, json!({"request_uri": uri})), "invalid_request_object"),
        (200, object(&key, json!({"client_id": "joining"})), "invalid_request_object"),
    ] {
        site.answers(status, Vec::new(), &body);
        assert_eq!(error(&world.browser().get(ask(&uri)).await), code, "{status} {}", &body[..body.len().min(40)]);
    }
    // An object of another algorithm than the client registered for.
    let other_key = SigningKey::generate(Algorithm::ES256).unwrap();
    site.answers(200, Vec::new(), &object(&other_key, json!({})));
    assert_eq!(error(&world.browser().get(ask(&uri)).await), "invalid_request_object");
    // Both ways at once.
    let both = rp.authorize(SERVICE, &[("request_uri", &uri), ("request", &object(&key, json!({})))]);
    assert_eq!(error(&world.browser().get(both).await), "invalid_request");
}

/// OpenID Connect Core section 6.2: a fragment is the digest of what lies there.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_6_2_a_fragment_binds_what_lies_there() {
    let port = free_port();
    let world = world(port, "").await;
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let at = format!("https://localhost:{port}/cb");
    // The object names no client yet, so that its digest can be registered: the client learns its name later.
    let body = "not-a-token";
    let digest = gateway_core::ids::base64url(&gateway_core::digest::sha256(body.as_bytes()));
    let uri = format!("https://localhost:{port}/request.jwt#{digest}");
    let registered = register(
        &world,
        &json!({
            "redirect_uris": [at], "request_uris": [uri], "jwks": {"keys": [key.public_jwk()]},
            "token_endpoint_auth_method": "private_key_jwt",
        }),
    )
    .await
    .json();
    let rp = rp(&world, &registered);
    let error = async |uri: &str| {
        let told = world.browser().get(rp.authorize(SERVICE, &[("request_uri", uri)])).await.target();
        query(&told, "error").unwrap_or_default()
    };
    let site = Site::open(&world.data, port, 200, body).await;
    // What the digest says was fetched; that it is no request object is found after.
    assert_eq!(error(&uri).await, "invalid_request_object");
    site.answers(200, Vec::new(), "something-else");
    assert_eq!(error(&uri).await, "invalid_request_uri");
    assert!(site.heard().iter().all(|(path, _)| path == "/request.jwt"));
}

/// RFC 9101 section 10.5 and RFC 9126 section 6: a client may demand of itself what its profile does not.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9101_10_5_rfc9126_6_what_a_registration_demands_of_requests() {
    let port = free_port();
    let world = world(port, "").await;
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let with = |name: &str| {
        let at = format!("https://localhost:{port}/cb");
        json!({"redirect_uris": [at], "jwks": {"keys": [key.public_jwk()]}, name: true})
    };
    for name in ["require_pushed_authorization_requests", "require_signed_request_object"] {
        let registered = register(&world, &with(name)).await.json();
        assert_eq!(registered[name], true);
        let rp = rp(&world, &registered);
        let told = world.browser().get(rp.authorize(SERVICE, &[])).await.target();
        assert_eq!(query(&told, "error").as_deref(), Some("invalid_request"), "{name}");
        let form = rp.params(SERVICE);
        let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let pushed = rp.post("/par", &form).await;
        assert_eq!(pushed.status.as_u16(), if name.contains("pushed") { 201 } else { 400 }, "{}", pushed.body);
    }
}

/// OpenID Connect Dynamic Client Registration section 2: what holds where a request says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_registration_2_defaults_of_requests() {
    let port = free_port();
    let world = world(port, "").await;
    let at = format!("https://localhost:{port}/cb");
    let registered = register(&world, &json!({"redirect_uris": [at], "default_max_age": 100})).await.json();
    let rp = rp(&world, &registered);
    let mut browser = world.browser();
    world.sign_in(&mut browser, &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    let silent = async |browser: &mut integration_tests::Browser, more: &[(&str, &str)]| {
        let params = [&[("prompt", "none")], more].concat();
        let told = browser.get(rp.authorize(SERVICE, &params)).await.target();
        query(&told, "error")
    };
    assert_eq!(silent(&mut browser, &[]).await.as_deref(), Some("consent_required"));
    world.clock.advance(200);
    assert_eq!(silent(&mut browser, &[]).await.as_deref(), Some("login_required"));
    assert_eq!(silent(&mut browser, &[("max_age", "1000")]).await.as_deref(), Some("consent_required"));
}

/// Of every address that a client may register and that we call, nothing is fetched from where its host sends us.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_4366_no_address_of_a_client_leads_elsewhere() {
    let (port, elsewhere) = (free_port(), free_port());
    let world = world(port, "").await;
    let at = |path: &str| format!("https://localhost:{port}{path}");
    let away = vec![("location", format!("https://localhost:{elsewhere}/"))];
    let site = Site::open(&world.data, port, 307, "").await;
    site.answers(307, away, "");
    let other = Site::open(&world.data, elsewhere, 200, "{\"keys\":[]}").await;
    let registered = register(
        &world,
        &json!({
            "redirect_uris": [at("/cb")], "jwks_uri": at("/jwks"), "logo_uri": at("/logo.png"),
            "backchannel_logout_uri": at("/logout"), "frontchannel_logout_uri": at("/frame"),
            "post_logout_redirect_uris": [at("/bye")], "token_endpoint_auth_method": "private_key_jwt",
        }),
    )
    .await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let rp = rp(&world, &registered.json());
    // Its keys, by an assertion and by a request object.
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let claims =
        json!({"iss": rp.client_id, "sub": rp.client_id, "aud": rp.issuer, "jti": "1", "exp": world.now().0 + 60});
    let assertion = jws::sign(&key, "JWT", claims.as_object().unwrap()).unwrap();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", "x"),
        ("redirect_uri", "x"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    let refused = world.browser().post(format!("{}/token", world.issuer()), &form).await;
    assert!(refused.json()["error"].is_string(), "{}", refused.body);
    // Its picture, and the list of what it has to show, which calls everything.
    world.browser().get(format!("{}/client/{}/logo", world.issuer(), rp.client_id)).await;
    let (uri, token) =
        (registered.json()["registration_client_uri"].clone(), registered.json()["registration_access_token"].clone());
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let checks = format!("{}/checks", uri.as_str().unwrap());
    let listed = world.browser().send(http::Method::POST, &checks, None, &[("authorization", &bearer)]).await;
    assert_eq!(listed.json()["live"], false, "{}", listed.body);
    let asked: Vec<String> = site.heard().into_iter().map(|(path, _)| path).collect();
    for path in ["/jwks", "/logo.png", "/logout", "/frame", "/bye", "/cb"] {
        assert!(asked.iter().any(|heard| heard == path), "{path} was not called: {asked:?}");
    }
    assert!(other.heard().is_empty(), "a redirect was followed: {:?}", other.heard());
}
