//! Client authentication: by the one registered way, and an assertion once.

use certs::jws;
use certs::key::{Algorithm, SigningKey};
use gateway::ports::Clock as _;
use integration_tests::rp::{VERIFIER, query};
use integration_tests::world::{client_document, secret_line, service_document};
use integration_tests::{Reply, Rp, World};
use serde_json::{Map, Value, json};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

struct Signing {
    world: World,
    rp: Rp,
    key: SigningKey,
}

async fn signing() -> Signing {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let jwks = format!("jwks = '{}'", json!({"keys": [key.public_jwk()]}));
    let client = client_document("signer", "https://signer.example/cb", "private_key_jwt", &jwks);
    let public = client_document("public", "https://public.example/cb", "none", "");
    let post = client_document("poster", "https://poster.example/cb", "client_secret_post", &secret_line());
    let service = service_document("matter", &["signer", "public", "poster"], &["hk-iam-smart"], "");
    let world = World::with(&[
        ("clients/signer.toml", &client),
        ("clients/public.toml", &public),
        ("clients/poster.toml", &post),
        ("services/matter.toml", &service),
    ])
    .await;
    let rp = world.client("signer", None, "https://signer.example/cb");
    Signing { world, rp, key }
}

impl Signing {
    fn claims(&self) -> Map<String, Value> {
        let now = self.world.clock.now().0;
        let jti = format!("jti-{:?}", std::time::Instant::now());
        json!({"iss": "signer", "sub": "signer", "aud": self.world.issuer(), "exp": now + 60, "iat": now, "jti": jti})
            .as_object()
            .unwrap()
            .clone()
    }

    async fn send(&self, code: &str, assertion: &str) -> Reply {
        let form =
            [self.rp.token_form(code), vec![("client_assertion_type", TYPE), ("client_assertion", assertion)]].concat();
        let url = format!("{}/token", self.world.issuer());
        let body = integration_tests::browser::encode(&form);
        self.rp.http.clone().send(http::Method::POST, &url, Some(body), &[]).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_4325_an_assertion_authenticates_once_and_every_flaw_refuses_it() {
    let signing = signing().await;
    let code = signing.world.code(&signing.rp, "matter", "hk-iam-smart", "hk-chan").await;
    let sound = signing.claims();
    let now = signing.world.clock.now().0;
    let changed = |name: &str, value: Value| {
        let mut claims = signing.claims();
        if value.is_null() {
            claims.remove(name)
        } else {
            claims.insert(name.to_owned(), value)
        };
        claims
    };
    for claims in [
        changed("iss", json!("public")),
        changed("sub", json!("public")),
        changed("aud", json!("https://elsewhere.example")),
        changed("aud", json!(["a", 1])),
        changed("aud", Value::Null),
        changed("exp", json!(now - 61)),
        changed("exp", json!(now + 100_000)),
        changed("exp", json!((now + 60).to_string())),
        changed("exp", Value::Null),
        changed("iat", json!(now + 120)),
        changed("nbf", json!(now + 120)),
        changed("jti", Value::Null),
        changed("jti", json!(7)),
        changed("jti", json!("")),
    ] {
        let reply = signing.send(&code, &jws::sign(&signing.key, "JWT", &claims).unwrap()).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["error"].as_str()),
            (401, Some("invalid_client")),
            "{claims:?}"
        );
    }
    // CVE-2026-4325: a forgery with somebody's jti does not burn it.
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
    assert_eq!(signing.send(&code, &jws::sign(&stranger, "JWT", &sound).unwrap()).await.status, 401);
    let assertion = jws::sign(&signing.key, "JWT", &sound).unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", assertion.split('.').nth(1).unwrap());
    assert_eq!(signing.send(&code, &unsigned).await.status, 401);
    let reply = signing.send(&code, &assertion).await;
    assert!(reply.status.is_success(), "{}", reply.body);
    // eSignet issue 2418: and then it is used up.
    assert_eq!(signing.send("another", &assertion).await.json()["error"], "invalid_client");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_believed_only_by_the_way_it_registered() {
    let signing = signing().await;
    let world = &signing.world;
    let secret = integration_tests::world::SECRET;
    let bay = world.rp();
    let form = |client: &str| {
        vec![
            ("grant_type".to_owned(), "authorization_code".to_owned()),
            ("code".to_owned(), "x".to_owned()),
            ("redirect_uri".to_owned(), "https://x.example".to_owned()),
            ("code_verifier".to_owned(), VERIFIER.to_owned()),
            ("client_id".to_owned(), client.to_owned()),
        ]
    };
    let url = format!("{}/token", world.issuer());
    let send = async |client: &str, more: &[(&str, &str)], header: Option<String>| {
        let mut pairs = form(client);
        pairs.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let headers: Vec<(&str, &str)> = header.iter().map(|header| ("authorization", header.as_str())).collect();
        let body = integration_tests::browser::encode(&pairs);
        world.browser().send(http::Method::POST, &url, Some(body), &headers).await.json()["error"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    use base64::Engine as _;
    let basic = |id: &str, secret: &str| {
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"))))
    };
    // Right ways get as far as the code.
    assert_eq!(send("poster", &[("client_secret", secret)], None).await, "invalid_grant");
    assert_eq!(send("public", &[], None).await, "invalid_grant");
    assert_eq!(
        send("gd-bay-area-services", &[], basic("gd-bay-area-services", bay.secret.as_ref().unwrap())).await,
        "invalid_grant"
    );
    // Right secrets in the wrong place, wrong secrets, other clients' secrets, nothing at all.
    for (client, more, header) in [
        ("poster", vec![], basic("poster", secret)),
        ("poster", vec![("client_secret", "wrong")], None),
        ("poster", vec![("client_secret", "")], None),
        ("poster", vec![], None),
        ("signer", vec![("client_secret", secret)], None),
        ("signer", vec![], None),
        ("public", vec![("client_secret", secret)], None),
        ("gd-bay-area-services", vec![("client_secret", bay.secret.as_deref().unwrap())], None),
        ("public", vec![], basic("gd-bay-area-services", bay.secret.as_ref().unwrap())),
        ("nobody", vec![("client_secret", secret)], None),
        ("nobody", vec![], None),
        ("poster", vec![("client_assertion_type", TYPE), ("client_assertion", "a.b.c")], None),
        ("poster", vec![("client_assertion_type", "x"), ("client_assertion", "a.b.c")], None),
        ("gd-bay-area-services", vec![], Some("Basic !!!".to_owned())),
        ("gd-bay-area-services", vec![], Some("Bearer x".to_owned())),
    ] {
        assert_eq!(send(client, &more, header).await, "invalid_client", "{client} {more:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_client_proves_itself_by_pkce_alone() {
    let signing = signing().await;
    let rp = signing.world.client("public", None, "https://public.example/cb");
    let bare = rp.authorize("matter", &[("code_challenge", ""), ("code_challenge_method", "")]);
    let refused = signing.world.browser().get(bare).await.target();
    assert_eq!(query(&refused, "error").as_deref(), Some("invalid_request"));
    let code = signing.world.code(&rp, "matter", "hk-iam-smart", "hk-chan").await;
    assert!(rp.redeem(&code).await.status.is_success());
}

/// CVE-2023-34246: anybody can pretend to be a public client, so nothing is released to one in silence.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2023_34246_a_public_client_never_gets_a_silent_release() {
    let mut signing = signing().await;
    let service = signing.world.data.join("bundle/services/matter.toml");
    let text =
        std::fs::read_to_string(&service).unwrap().replacen("clients =", "remember_consent = \"30d\"\nclients =", 1);
    std::fs::write(&service, text).unwrap();
    signing.world.demo.gateway.app().tend(None).await;
    let public = signing.world.client("public", None, "https://public.example/cb");
    signing.rp = signing.world.client("poster", Some(integration_tests::world::SECRET), "https://poster.example/cb");
    for (rp, silent) in [(&signing.rp, true), (&public, false)] {
        let mut browser = signing.world.browser();
        signing.world.sign_in(&mut browser, &rp.authorize("matter", &[]), "hk-iam-smart", "hk-chan").await;
        let again = browser.get(rp.authorize("matter", &[("prompt", "none")])).await.target();
        let expected = if silent { None } else { Some("consent_required".to_owned()) };
        assert_eq!(query(&again, "error"), expected, "{}", rp.client_id);
    }
}
