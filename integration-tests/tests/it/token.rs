//! The token endpoint: one success for each code, for the right client, in time.

use integration_tests::rp::{VERIFIER, claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Rp, World};

fn error(reply: &integration_tests::Reply) -> String {
    assert_eq!(reply.headers["cache-control"], "no-store");
    reply.json()["error"].as_str().unwrap().to_owned()
}

async fn world_with_two_clients() -> (World, Rp, Rp) {
    let other = client_document("other", "https://other.example/cb", "client_secret_basic", &secret_line());
    let service = service_document("shared", &["other", "gd-bay-area-services"], &["hk-iam-smart"], "");
    let world = World::with(&[("clients/other.toml", &other), ("services/shared.toml", &service)]).await;
    let (rp, other) = (world.rp(), world.client("other", Some(SECRET), "https://other.example/cb"));
    (world, rp, other)
}

/// F34: one code, a hundred clients at once, one success; the replay revokes what was minted.
#[tokio::test(flavor = "multi_thread")]
async fn f34_a_code_redeemed_by_a_hundred_at_once_succeeds_once() {
    let world = World::start().await;
    let rp = world.rp();
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let (rp, code) = (rp.clone(), code.clone());
        tasks.push(tokio::spawn(async move { rp.redeem(&code).await }));
    }
    let mut tokens = Vec::new();
    for task in tasks {
        let reply = task.await.unwrap();
        if reply.status.is_success() {
            tokens.push(reply.json()["access_token"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(error(&reply), "invalid_grant");
        }
    }
    assert_eq!(tokens.len(), 1);
    let reply = rp.userinfo(&tokens[0]).await;
    assert_eq!(reply.status, 401, "a replay revokes the tokens");
    let reports = world.demo.gateway.app().store.verify_audit().await.unwrap();
    assert_eq!(reports[0].records, 3, "issued, redeemed, replayed: each once");
}

/// CVE-2026-28513: every pair of clients, and every condition.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_28513_a_code_serves_only_its_own_client_uri_and_verifier() {
    let (world, rp, other) = world_with_two_clients().await;
    let code = world.code(&rp, "shared", "hk-iam-smart", "hk-chan").await;
    let mut form = rp.token_form(&code);
    assert_eq!(error(&other.token(&form).await), "invalid_grant");
    form[2] = ("redirect_uri", "https://other.example/cb");
    assert_eq!(error(&other.token(&form).await), "invalid_grant");
    assert_eq!(error(&rp.token(&form).await), "invalid_grant");
    let mut form = rp.token_form(&code);
    form[3] = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX");
    assert_eq!(error(&rp.token(&form).await), "invalid_grant");
    form.truncate(3);
    assert_eq!(error(&rp.token(&form).await), "invalid_grant");
    // None of this burnt the code for its owner.
    assert!(rp.redeem(&code).await.status.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_64708_a_code_lives_sixty_seconds() {
    let world = World::start().await;
    let rp = world.rp();
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    world.clock.advance(61);
    assert_eq!(error(&rp.redeem(&code).await), "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_52801_codes_and_tokens_hold_enough_randomness_and_survive_no_change() {
    let world = World::start().await;
    let rp = world.rp();
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    assert!(code.len() >= 32, "24 random bytes at least");
    for changed in [&code[1..], &format!("{code}A"), &code.to_lowercase(), &code.replace(&code[..1], "_")] {
        if changed != code {
            assert_eq!(error(&rp.redeem(changed).await), "invalid_grant");
        }
    }
    let tokens = rp.redeem(&code).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert!(access.len() >= 32);
    for changed in [&access[1..], &format!("{access}A")] {
        assert_eq!(rp.userinfo(changed).await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_token_requests_get_the_standard_error() {
    let world = World::start().await;
    let rp = world.rp();
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    let form = rp.token_form(&code);
    let with = |name: &'static str, value: &'static str| {
        let mut form: Vec<_> = form.iter().copied().filter(|(n, _)| *n != name).collect();
        if !value.is_empty() {
            form.push((name, value));
        }
        form
    };
    for (form, expected) in [
        (with("grant_type", ""), "invalid_request"),
        (with("grant_type", "password"), "unsupported_grant_type"),
        (with("grant_type", "client_credentials"), "unauthorized_client"),
        (with("code", ""), "invalid_request"),
        (with("redirect_uri", ""), "invalid_request"),
        ([form.clone(), vec![("code", "x")]].concat(), "invalid_request"),
        ([form.clone(), vec![("code_verifier", VERIFIER)]].concat(), "invalid_request"),
        ([form.clone(), vec![("resource", "https://services.example/ratings")]].concat(), "invalid_target"),
        ([form.clone(), vec![("client_secret", "x"), ("client_id", "x")]].concat(), "invalid_request"),
    ] {
        assert_eq!(error(&rp.token(&form).await), expected, "{form:?}");
    }
    let mut http = world.browser();
    let url = format!("{}/token", world.issuer());
    for (body, kind, status) in [
        ("grant_type=authorization_code".to_owned(), "application/json", 400),
        (format!("a={}", "b".repeat(70_000)), "application/x-www-form-urlencoded", 400),
        ("a=%ff".to_owned(), "application/x-www-form-urlencoded", 400),
        ("a=1&".repeat(65), "application/x-www-form-urlencoded", 400),
    ] {
        let reply = http.send(http::Method::POST, &url, Some(body), &[("content-type", kind)]).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.json()["error"], "invalid_request");
    }
    assert_eq!(http.get(&url).await.status, 405);
    assert!(rp.redeem(&code).await.status.is_success(), "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_algorithms_by_registration_and_exemption_from_pkce_one_by_one() {
    let lines =
        |alg: &str| format!("{}\nid_token_signed_response_alg = \"{alg}\"\nprofile = \"legacy\"", secret_line());
    let clients = ["RS256", "PS256", "EdDSA"].map(|alg| {
        let id = alg.to_lowercase();
        client_document(&id, &format!("https://{id}.example/cb"), "client_secret_basic", &lines(alg))
    });
    let service = service_document("algs", &["rs256", "ps256", "eddsa"], &["hk-iam-smart"], "");
    let world = World::with(&[
        ("clients/rs.toml", &clients[0]),
        ("clients/ps.toml", &clients[1]),
        ("clients/ed.toml", &clients[2]),
        ("services/algs.toml", &service),
    ])
    .await;
    let jwks = world.browser().get(format!("{}/jwks", world.issuer())).await.body;
    let keys = certs::key::KeySet::parse(jwks.as_bytes()).unwrap();
    for (id, alg) in [("rs256", "RS256"), ("ps256", "PS256"), ("eddsa", "EdDSA")] {
        let rp = world.client(id, Some(SECRET), &format!("https://{id}.example/cb"));
        let bare = rp.authorize("algs", &[("code_challenge", ""), ("code_challenge_method", "")]);
        let back = world.sign_in(&mut world.browser(), &bare, "hk-iam-smart", "hk-chan").await;
        let code = query(&back, "code").unwrap();
        let mut form = rp.token_form(&code);
        assert_eq!(error(&rp.token(&form).await), "invalid_grant", "a verifier without a challenge is a downgrade");
        form.truncate(3);
        let tokens = rp.token(&form).await.json();
        let token = tokens["id_token"].as_str().unwrap();
        let unverified = certs::jws::Unverified::parse(token).unwrap();
        assert_eq!(unverified.algorithm().name(), alg);
        unverified.verify(&keys, &certs::key::Algorithm::ALL).unwrap();
        assert!(claims(token)["at_hash"].is_string());
    }
}
