//! Deliveries: which are believed. Everybody can post to the address, and everybody has our certificate.

use http::Method;
use integration_tests::World;
use integration_tests::rp::query;
use sandbox::iam_smart::{Approval, Misbehaviour};
use serde_json::json;

use crate::iam_smart::{PROVIDER, SERVICE, callbacks, completes, waiting};
use crate::outcome::{learned, login, service_of};

/// Posts anything as a delivery; status and body.
async fn post(world: &World, path: &str, body: String, kind: &str) -> (u16, String) {
    let url = format!("{}/receive/{path}", world.issuer());
    let reply = world.browser().send(Method::POST, &url, Some(body), &[("content-type", kind)]).await;
    (reply.status.as_u16(), reply.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_delivery_is_believed_and_the_honest_one_still_completes() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    let (sim, state) = (world.iam_smart(), world.iam_smart().last_profile_state().unwrap());
    // The forger knows everything but a key: our certificate, the name of the request, and its state.
    assert_eq!(sim.forge_callback(&business, &state).await, 403);
    assert_eq!(sim.forge_callback(&business, "another-state").await, 403);
    assert_eq!(sim.forge_callback("another-request", &state).await, 403);
    for misbehaviour in [
        Misbehaviour::CallbackForeignCek,
        Misbehaviour::CallbackWrongState,
        Misbehaviour::TamperedFrame,
        Misbehaviour::WrongIvLength,
        Misbehaviour::GarbageCallback,
        Misbehaviour::ResultCode("D00000".to_owned()),
    ] {
        sim.set(misbehaviour.clone());
        assert_eq!(sim.deliver(&business, true).await, 403, "{misbehaviour:?}");
        sim.set(Misbehaviour::None);
        assert_eq!(browser.get(&page.url).await.status, 200, "{misbehaviour:?}: still waiting");
    }
    assert_eq!(sim.deliver(&business, true).await, 200);
    let told = completes(&world, &mut browser, &page).await;
    assert_eq!((&told["name"], &told["birthdate"]), (&json!("CHAN, Tai Man"), &json!("1979-03-14")));
    // The key may have changed, so the provider is asked for it: once in a while, whoever comes.
    assert!(sim.counters().get_key <= 2, "strangers do not make us fetch keys at will");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_counts_once_however_often_it_is_sent() {
    let world = World::own(&[]).await;
    world.iam_smart().set(Misbehaviour::DuplicateCallback);
    login(&world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
    let statuses = callbacks(&world, 2).await;
    assert!(statuses[0] == 200 && [200, 403].contains(&statuses[1]), "{statuses:?}");
    world.iam_smart().set(Misbehaviour::None);
    assert_eq!(world.iam_smart().replay_last_callback().await, 403, "the request is closed");
    // Nor does it serve the next sign-in of anybody.
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-wong").await;
    assert_eq!(world.iam_smart().replay_last_callback().await, 403);
    assert_eq!(browser.get(&page.url).await.status, 200);
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    // The first word stands: a refusal that comes after an approval changes nothing.
    assert_eq!(world.iam_smart().deliver(&business, false).await, 200);
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "WONG, Siu Ling Mary");
}

/// Whoever is not believed learns nothing: not which part was wrong, nor whether a request is open.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_not_believed_is_answered_alike() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    let frame =
        "AAAADAABAgMEBQYHCAkKCzwgtXShgOAhryfy7tWPGQ7msOJRlB0+H10BgOB5D2HRZHbLmcunc/sRhlPP7/VJVpoNGf0/9Jn4XuJecXeRnJSR";
    let mut answers = Vec::new();
    for body in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        json!({}).to_string(),
        json!({"code": 1}).to_string(),
        json!({"code": "D00000"}).to_string(),
        json!({"code": "D00000", "content": null}).to_string(),
        json!({"code": "D00000", "content": {"businessID": business}}).to_string(),
        json!({"code": "D00000", "content": ""}).to_string(),
        json!({"code": "D00000", "content": "%%%"}).to_string(),
        json!({"code": "D00000", "content": "AAAADA=="}).to_string(),
        json!({"code": "D00000", "content": "/////wAA"}).to_string(),
        json!({"code": "D00000", "content": frame, "secretKey": "AAAA"}).to_string(),
        json!({"code": "D00000", "content": frame, "secretKey": "A".repeat(344)}).to_string(),
        json!({"code": "D".repeat(60_000), "content": frame}).to_string(),
        format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        format!("businessID={business}"),
    ] {
        answers.push((body.clone(), post(&world, PROVIDER, body, "application/json").await));
    }
    for (body, answer) in answers {
        assert_eq!(answer, (403, String::new()), "{}", body.chars().take(80).collect::<String>());
    }
    assert_eq!(post(&world, PROVIDER, "x".repeat(70_000), "application/json").await.0, 400);
    assert_eq!(post(&world, PROVIDER, "--x".to_owned(), "multipart/form-data; boundary=x").await.0, 403);
    assert_eq!(browser.get(&page.url).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_by_the_path_of_another_provider_is_refused() {
    let world = World::own(&[]).await;
    for path in ["gd-unified", "mo-one-account"] {
        assert_eq!(
            post(&world, path, json!({"code": "D00000"}).to_string(), "application/json").await,
            (403, String::new())
        );
    }
    for path in ["nobody", "HK-iam-smart", "hk-iam-smart/", "%68k-iam-smart"] {
        assert_eq!(
            post(&world, path, json!({"code": "D00000"}).to_string(), "application/json").await.0,
            404,
            "{path}"
        );
    }
    let get = world.browser().get(format!("{}/receive/{PROVIDER}", world.issuer())).await;
    assert_eq!(get.status, 405);
}

/// Our own requests travel under the same key, and name the same request, person and state. Read on the line and sent
/// back, they must not count as the person's approval: the key that they are sealed under is there against just that reader.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_request_sent_back_to_us_is_no_approval() {
    let bare = service_of("bare", &[PROVIDER], (2, 3), &[]);
    let world = World::own(&[("services/bare.toml", &bare)]).await;
    world.iam_smart().approval(Approval::Manual);
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("bare", &[]), PROVIDER).await;
    let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
    let page = browser.follow_within(callback, world.issuer()).await;
    assert!(page.url.path().ends_with("/wait"), "{}", page.body);
    let status = world.iam_smart().reflect_last_request().await;
    let next = browser.follow_within(&page.url, world.issuer()).await;
    assert!(next.url.path().ends_with("/wait"), "a face was never checked, and the sign-in went on to {}", next.url);
    assert_eq!(status, 403);
    let business = world.iam_smart().last_business_id().unwrap();
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    let page = world.past_waiting(&mut browser, &page.url).await;
    let back = world.agree(&mut browser, &page, &[]).await;
    assert_eq!(learned(&rp, &back).await.0["amr"], json!(["mfa", "face"]));
}

/// Two people wait at once; each gets their own data, whichever arrives first.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_cross_reach_the_right_people() {
    let world = World::own(&[]).await;
    let (mut one, mut two) = (world.browser(), world.browser());
    let (first, first_name) = waiting(&world, &mut one, "hk-chan").await;
    let (second, second_name) = waiting(&world, &mut two, "hk-leung").await;
    assert_eq!(world.iam_smart().deliver(&second_name, true).await, 200);
    assert_eq!(one.get(&first.url).await.status, 200);
    assert_eq!(world.iam_smart().deliver(&first_name, true).await, 200);
    assert_eq!(completes(&world, &mut one, &first).await["name"], "CHAN, Tai Man");
    assert_eq!(completes(&world, &mut two, &second).await["name"], "LEUNG, Wing Sum");
}

/// Approved in one tab, refused in another: neither takes the other's answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_the_sign_in_that_it_is_about_and_no_other() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (first, refused) = waiting(&world, &mut browser, "hk-chan").await;
    let (second, approved) = waiting(&world, &mut browser, "hk-chan").await;
    assert_eq!(world.iam_smart().deliver(&refused, false).await, 200);
    assert_eq!(world.iam_smart().deliver(&approved, true).await, 200);
    let page = world.past_waiting(&mut browser, &first.url).await;
    assert_eq!(page.failure(), Some("CB-205"), "{}", page.body);
    let page = world.past_waiting(&mut browser, &second.url).await;
    let back = world.agree(&mut browser, &page, &[]).await;
    assert!(query(&back, "code").is_some());
}
