//! The main job: a resident signs in to a portal, and what the portal then knows.

use integration_tests::World;
use integration_tests::rp::{claims, query};

#[tokio::test(flavor = "multi_thread")]
async fn a_hong_kong_resident_signs_in_to_a_mainland_portal() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("school-enrolment", &[]), "hk-iam-smart", "hk-chan").await;
    assert!(page.body.contains("从香港到广东") && !page.body.contains("checked"), "{}", page.body);
    assert!(!page.body.contains("陳大文") && !page.body.contains("A123456"), "values are not on the page");
    let back = world.agree(&mut browser, &page, &[]).await;
    assert!(back.as_str().starts_with(&rp.redirect_uri));
    assert_eq!(query(&back, "state").as_deref(), Some("state-1"));
    assert_eq!(query(&back, "iss").as_deref(), Some(world.issuer()));
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id_token["nonce"], "nonce-1");
    assert_eq!(id_token["acr"], "urn:cbid:acr:i2a2");
    assert_eq!(id_token["aud"], "gd-bay-area-services");
    let userinfo = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    assert_eq!(userinfo["sub"], id_token["sub"]);
    assert_eq!(userinfo["name_zh"], "陳大文");
    assert_eq!(userinfo["over_18"], true);
    assert_eq!(userinfo["document_number_masked"], "A*********");
    assert!(userinfo.get("birthdate").is_none() && userinfo.get("phone_number").is_none(), "{userinfo}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_keys_people_receipts_and_audit() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let visit = async |world: &World, agree: bool| {
        let (rp, mut browser) = (world.rp(), world.browser());
        let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
        assert_eq!(page.location().is_none(), agree, "asked the first time, remembered the second");
        let back = if agree { world.agree(&mut browser, &page, &[]).await } else { page.target() };
        let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
        let keys = browser.get(format!("{}/jwks", world.issuer())).await.json();
        let audit = world.demo.gateway.app().store.verify_audit().await.unwrap().remove(0);
        assert_eq!(audit.broken, None);
        (claims(tokens["id_token"].as_str().unwrap())["sub"].clone(), keys, audit.records)
    };
    let world = World::at(&data, &[]).await;
    let (subject, keys, records) = visit(&world, true).await;
    world.demo.stop().await;
    let world = World::at(&data, &[]).await;
    let (subject_after, keys_after, records_after) = visit(&world, false).await;
    assert_eq!((subject, keys), (subject_after, keys_after));
    assert_eq!((records, records_after), (2, 4));
}

/// F15: the key that signs was published a period before, and what the one before signed still verifies.
#[tokio::test(flavor = "multi_thread")]
async fn f15_signing_keys_change_with_overlap() {
    let world = World::start().await;
    let rp = world.rp();
    let id_token = async || {
        let code = world.code(&rp, "ratings", "hk-iam-smart", "hk-chan").await;
        rp.redeem(&code).await.json()["id_token"].as_str().unwrap().to_owned()
    };
    let published = async || {
        let jwks = world.browser().get(format!("{}/jwks", world.issuer())).await;
        certs::key::KeySet::parse(jwks.body.as_bytes()).unwrap()
    };
    let (before, known) = (id_token().await, published().await);
    let app = world.demo.gateway.app();
    let kid = |token: &str| certs::jws::Unverified::parse(token).unwrap().kid().unwrap().to_owned();
    // A whole period later. The providers' clocks stay behind, so that only what needs none of them is looked at.
    world.clock.advance(30 * 86_400);
    app.tend(None).await;
    let signed = app.keys.sign(certs::key::Algorithm::ES256, "JWT", &serde_json::Map::new()).unwrap();
    assert_ne!(kid(&before), kid(&signed), "another key signs");
    assert!(known.has_kid(&kid(&signed)), "and portals have known it for a period");
    assert!(published().await.has_kid(&kid(&before)), "the one before still verifies");
    world.clock.advance(60 * 86_400);
    app.tend(None).await;
    assert!(!published().await.has_kid(&kid(&before)), "and is gone in the end");
}
