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
