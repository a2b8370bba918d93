//! The userinfo endpoint: a bearer token in the right place, alive, not revoked, still permitted.

use http::Method;
use integration_tests::{Rp, World};

async fn access_token(world: &World, rp: &Rp) -> String {
    let code = world.code(rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    rp.redeem(&code).await.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_the_header_or_a_form_and_from_nowhere_else() {
    let world = World::start().await;
    let rp = world.rp();
    let token = access_token(&world, &rp).await;
    let (url, bearer) = (format!("{}/userinfo", world.issuer()), format!("Bearer {token}"));
    let mut http = world.browser();
    let ok = rp.userinfo(&token).await;
    assert_eq!(ok.status, 200);
    assert_eq!(http.send(Method::POST, &url, None, &[("authorization", &bearer)]).await.json(), ok.json());
    let form = format!("access_token={token}");
    assert_eq!(http.send(Method::POST, &url, Some(form.clone()), &[]).await.json(), ok.json());
    let twice = http.send(Method::POST, &url, Some(form.clone()), &[("authorization", &bearer)]).await;
    assert_eq!((twice.status.as_u16(), twice.json()["error"].as_str()), (400, Some("invalid_request")));
    for reply in [http.get(format!("{url}?{form}")).await, http.get(&url).await] {
        assert_eq!(reply.status, 401);
        assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    for header in ["Bearer", "Bearer ", "Basic x", "DPoP x"] {
        assert_eq!(http.send(Method::GET, &url, None, &[("authorization", header)]).await.status, 401, "{header}");
    }
    let foreign = rp.redeem("x").await;
    assert_eq!(foreign.json()["error"], "invalid_grant");
    assert_eq!(rp.userinfo("eyJhbGciOiJub25lIn0.e30.").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_after_five_minutes() {
    let world = World::start().await;
    let rp = world.rp();
    let token = access_token(&world, &rp).await;
    world.clock.advance(299);
    assert_eq!(rp.userinfo(&token).await.status, 200);
    world.clock.advance(1);
    assert_eq!(rp.userinfo(&token).await.status, 401);
}

/// CVE-2026-3009: what was taken out of policy does not work afterwards, tokens already out included.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_3009_a_provider_taken_out_of_policy_stops_at_every_step() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let token = access_token(&world, &rp).await;
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-wong").await;
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-singh").await;
    let mut traveller = world.browser();
    let address = world.to_provider(&mut traveller, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let callback = world.sign_in_at_provider(&mut traveller, &address, "hk-lau").await;

    let document = world.data.join("bundle/services/e-invoice.toml");
    let text = std::fs::read_to_string(&document).unwrap();
    std::fs::write(&document, text.replace("\"hk-iam-smart\", ", "")).unwrap();
    world.demo.gateway.app().tend(None).await;

    assert_eq!(rp.userinfo(&token).await.status, 401);
    assert_eq!(rp.redeem(&code).await.json()["error"], "invalid_grant");
    assert_eq!(browser.get(&page.url).await.failure(), Some("CB-401"), "{}", page.url);
    assert_eq!(traveller.get(&callback).await.failure(), Some("CB-401"));
    let fresh = world.browser().get(rp.authorize("e-invoice", &[])).await;
    assert!(!fresh.body.contains("/to/hk-iam-smart") && fresh.body.contains("/to/mo-one-account"));
}

/// F24: a broken bundle changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn f24_a_broken_bundle_changes_nothing() {
    let world = World::start().await;
    let before = world.demo.gateway.app().bundle().catalog.policies().version().to_owned();
    std::fs::write(world.data.join("bundle/services/e-invoice.toml"), "service = \"e-invoice\"\n[[allow]]\n").unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(world.demo.gateway.app().bundle().catalog.policies().version(), before);
    let rp = world.rp();
    assert!(rp.redeem(&world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await).await.status.is_success());
}
