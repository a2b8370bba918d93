//! Assurance as a round trip, RFC 9470, and verified claims.

use integration_tests::rp::{claims, query};
use integration_tests::world::service_document;
use integration_tests::{Rp, World};
use serde_json::{Value, json};

use crate::outcome::transaction;

async fn signed_in(world: &World, rp: &Rp, authorize: &str, provider: &str, person: &str) -> Value {
    let back = world.sign_in(&mut world.browser(), authorize, provider, person).await;
    rp.redeem(&query(&back, "code").unwrap_or_else(|| panic!("{back}"))).await.json()
}

/// RFC 9470 section 3: what a token's login must reach is said, and asking for just that leads to a token that serves.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9470_a_token_that_fell_short_is_told_what_a_new_login_has_to_reach() {
    let world = World::start().await;
    let rp = world.rp();
    let authorize = rp.authorize("e-invoice", &[]);
    let tokens = signed_in(&world, &rp, &authorize, "mo-one-account", "mo-cheong").await;
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(rp.userinfo(access).await.status, 200);
    world.edit("services/e-invoice.toml", |text| {
        text.replacen("identity = 1\nauthentication = 1\n", "identity = 2\nauthentication = 2\nmax_age = \"10m\"\n", 1)
    });
    world.demo.gateway.app().tend(None).await;
    let challenged = rp.userinfo(access).await;
    assert_eq!(challenged.status, 401);
    let challenge = challenged.headers["www-authenticate"].to_str().unwrap().to_owned();
    assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
    let told =
        |name: &str| challenge.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let (acr, max_age) = (told("acr_values"), told("max_age"));
    assert_eq!((acr.as_str(), max_age.as_str()), ("urn:cbid:acr:i2a2", "600"));
    let again = rp.authorize("e-invoice", &[("acr_values", &acr), ("max_age", &max_age)]);
    let tokens = signed_in(&world, &rp, &again, "mo-one-account", "mo-vong").await;
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["acr"], acr);
    assert_eq!(rp.userinfo(tokens["access_token"].as_str().unwrap()).await.status, 200);
}

/// Somebody who fell short under the first row is asked for what another row needs, and not for the same again.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_try_asks_for_more() {
    let rows = service_document("two-rows", &["gd-bay-area-services"], &["mo-one-account"], "");
    let rows = rows.replace("authentication = 1\n", "authentication = 1\nage_from = 60\n")
        + "[[allow]]\nproviders = [\"mo-one-account\"]\nidentity = 2\nauthentication = 2\n";
    let world = World::with(&[("services/two-rows.toml", &rows)]).await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let first = world.to_provider(&mut browser, &rp.authorize("two-rows", &[]), "mo-one-account").await;
    assert!(query(&first, "acr_values").unwrap().contains("mo:password"), "{first}");
    let callback = world.sign_in_at_provider(&mut browser, &first, "mo-sumiati").await;
    let page = browser.follow_within(callback, world.issuer()).await;
    assert_eq!(page.failure(), Some("CB-402"), "what they can do something about: {}", page.body);
    assert!(page.body.contains("一户通"), "it says with whom they signed in: {}", page.body);
    let id = transaction(&page).to_owned();
    let step = format!("{}/login/{id}/to/mo-one-account", world.issuer());
    let second = browser.get(step).await.target();
    assert_eq!(query(&second, "acr_values").as_deref(), Some("mo:otp mo:face"), "{second}");
}

fn request() -> String {
    json!({
        "userinfo": {"verified_claims": {
            "verification": {"trust_framework": null, "evidence": null},
            "claims": {"name": null, "phone_number": null, "nationalities": null},
        }},
        "id_token": {"verified_claims": {
            "verification": {"trust_framework": {"value": "urn:other"}}, "claims": {"name": null},
        }},
    })
    .to_string()
}

/// OpenID Connect for Identity Assurance: what was checked, how; the impossible is left out; and none of it slips by the
/// person or the policy.
#[tokio::test(flavor = "multi_thread")]
async fn verified_claims_say_what_was_checked_and_nothing_else() {
    let world = World::own(&[]).await;
    let rp = world.rp();
    let authorize = rp.authorize("e-invoice", &[("scope", "openid"), ("claims", &request())]);
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &authorize, "hk-iam-smart", "hk-chan").await;
    let back = world.agree(&mut browser, &page, &["email"]).await;
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    assert!(claims(tokens["id_token"].as_str().unwrap()).get("verified_claims").is_none(), "another trust framework");
    let told = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    assert_eq!(told["verified_claims"]["claims"], json!({"name": "CHAN, Tai Man"}));
    let verification = &told["verified_claims"]["verification"];
    assert_eq!(verification["trust_framework"], "urn:cbid:trust:hk-iam-smart");
    assert_eq!(verification["evidence"][0]["type"], "electronic_record");
    assert!(verification.get("time").is_none(), "nobody knows when they were proofed");
    assert!(told.get("name").is_none(), "it was not asked for by itself: {told}");
    // A service that may not have it does not get it this way either.
    let silent = rp.authorize("ratings", &[("scope", "openid"), ("claims", &request())]);
    let tokens = signed_in(&world, &rp, &silent, "hk-iam-smart", "hk-wong").await;
    let told = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    assert!(told.get("verified_claims").is_none(), "{told}");
    for wrong in ["{\"userinfo\":{\"verified_claims\":{}}}", "{\"userinfo\":{\"verified_claims\":null}}"] {
        let reply = world.browser().get(rp.authorize("e-invoice", &[("claims", wrong)])).await;
        assert_eq!(query(&reply.target(), "error").as_deref(), Some("invalid_request"), "{wrong}");
    }
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    assert_eq!(metadata["verified_claims_supported"], true);
    assert!(metadata["trust_frameworks_supported"].as_array().unwrap().contains(&json!("urn:cbid:trust:gd-unified")));
}

/// Identity Assurance sections 5.5 and 6.5: what is asked for in a way in which it cannot be had is not fetched, shown or recorded either;
/// and a value that is asked for is told where it is the one.
#[tokio::test(flavor = "multi_thread")]
async fn verified_claims_that_cannot_be_had_do_not_leave() {
    let world = World::own(&[]).await;
    let rp = world.rp();
    let asked = async |member: &str, verification: Value, name: Value| {
        let mut checked = json!({"trust_framework": null});
        checked.as_object_mut().unwrap().extend(verification.as_object().unwrap().clone());
        let wanted =
            json!({member: {"verified_claims": {"verification": checked, "claims": {"name": name}}}}).to_string();
        let authorize = rp.authorize("e-invoice", &[("scope", "openid"), ("claims", &wanted), ("prompt", "consent")]);
        let mut browser = world.browser();
        let page = world.to_consent(&mut browser, &authorize, "hk-iam-smart", "hk-chan").await;
        let seen = page.body.contains("姓名");
        let back = world.agree(&mut browser, &page, &[]).await;
        let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
        let released: Vec<String> = world.record("code_issued").await["released"]
            .as_array()
            .unwrap()
            .iter()
            .map(|released| released["claim"].as_str().unwrap().to_owned())
            .collect();
        let userinfo = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
        let id_token = claims(tokens["id_token"].as_str().unwrap());
        (
            seen,
            released.contains(&"name".to_owned()),
            userinfo["verified_claims"].clone(),
            id_token["verified_claims"].clone(),
        )
    };
    let record = json!({"evidence": [{"type": {"value": "electronic_record"}, "record": {"type": {"value": "population_register"}}}]});
    let (seen, recorded, userinfo, id_token) =
        asked("id_token", record.clone(), json!({"value": "CHAN, Tai Man"})).await;
    assert_eq!((seen, recorded, &userinfo), (true, true, &Value::Null), "{id_token}");
    assert_eq!(id_token["claims"], json!({"name": "CHAN, Tai Man"}));
    assert_eq!(id_token["verification"]["evidence"][0]["record"]["type"], "population_register", "{id_token}");
    // Whether somebody has a value is said about them as well: they see that it is asked.
    let told = asked("userinfo", record, json!({"value": "WONG, Siu Ming"})).await;
    assert_eq!(told, (true, true, Value::Null, Value::Null));
    for (verification, name) in [
        (json!({"time": {"max_age": 60}}), Value::Null),
        (json!({"evidence": [{"type": {"value": "document"}}]}), Value::Null),
    ] {
        for member in ["id_token", "userinfo"] {
            let told = asked(member, verification.clone(), name.clone()).await;
            assert_eq!(told, (false, false, Value::Null, Value::Null), "{verification} {name}");
        }
    }
}
