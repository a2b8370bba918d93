//! Hong Kong's iAM Smart in its own protocol, against a simulator that shares no code with the adapter: who signs in, and
//! what is asked for and released.

use std::time::Duration;

use integration_tests::rp::query;
use integration_tests::{Browser, Reply, World};
use sandbox::iam_smart::{Approval, Misbehaviour};
use serde_json::{Value, json};
use url::Url;

use crate::outcome::{answered, learned, login, refused, service_of};

pub(crate) const PROVIDER: &str = "hk-iam-smart";
pub(crate) const SERVICE: &str = "medical-appointment";

/// From the portal to the page after the provider.
pub(crate) async fn after_login(world: &World, browser: &mut Browser, person: &str) -> Reply {
    answered(world, browser, &world.rp(), SERVICE, PROVIDER, &[("person", person)]).await
}

/// From the portal to the page where the person waits, which nobody approves by itself; the name of the request.
pub(crate) async fn waiting(world: &World, browser: &mut Browser, person: &str) -> (Reply, String) {
    world.iam_smart().approval(Approval::Manual);
    let authorize = world.rp().authorize(SERVICE, &[]);
    let address = world.to_provider(browser, &authorize, PROVIDER).await;
    let callback = world.sign_in_at_provider(browser, &address, person).await;
    let page = browser.follow_within(callback, world.issuer()).await;
    assert!(page.status == 200 && page.url.path().ends_with("/wait"), "{} {}", page.url, page.body);
    (page, world.iam_smart().last_business_id().unwrap())
}

/// Goes on from the page where the person waited to the code; what the portal learns.
pub(crate) async fn completes(world: &World, browser: &mut Browser, wait: &Reply) -> Value {
    let page = world.past_waiting(browser, &wait.url).await;
    let back = match page.location() {
        Some(back) => back,
        None => world.agree(browser, &page, &[]).await,
    };
    learned(&world.rp(), &back).await.1
}

pub(crate) async fn callbacks(world: &World, count: usize) -> Vec<u16> {
    for _ in 0..150 {
        let statuses = world.iam_smart().callback_statuses();
        if statuses.len() >= count {
            return statuses;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no callback: {:?}", world.iam_smart().callback_statuses())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_login_with_data_that_comes_later() {
    let world = World::own(&[]).await;
    let (_, userinfo) = login(&world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
    assert_eq!(userinfo["name"], "CHAN, Tai Man");
    let counters = world.iam_smart().counters();
    assert_eq!((counters.get_key, counters.token, counters.profile), (1, 1, 1));
    assert_eq!((counters.stale_timestamps, counters.bad_signatures), (0, 0));
    assert_eq!(callbacks(&world, 1).await, [200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_fields_that_the_service_needs_are_asked_for() {
    let world = World::own(&[]).await;
    for (service, fields) in [
        ("medical-appointment", json!(["enName", "chName", "birthDate"])),
        ("school-enrolment", json!(["idNo", "enName", "chName", "birthDate"])),
        ("e-invoice", json!(["enName"])),
        ("transit-card", json!(["birthDate"])),
    ] {
        login(&world, service, PROVIDER, &[("person", "hk-chan")]).await;
        let request = world.iam_smart().last_profile_request().unwrap();
        assert_eq!(request["profileFields"], fields, "{service}");
    }
    let before = world.iam_smart().counters();
    let (_, userinfo) = login(&world, "ratings", PROVIDER, &[("person", "hk-chan")]).await;
    assert_eq!(userinfo.as_object().unwrap().keys().collect::<Vec<_>>(), ["sub"]);
    let after = world.iam_smart().counters();
    assert_eq!((after.token - before.token, after.profile - before.profile), (1, 0), "nothing released, nothing asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_that_needs_more_goes_to_the_provider_again() {
    let world = World::own(&[]).await;
    let (rp, mut browser) = (world.rp(), world.browser());
    world.sign_in(&mut browser, &rp.authorize("e-invoice", &[]), PROVIDER, "hk-chan").await;
    let silent = browser.get(rp.authorize(SERVICE, &[("prompt", "none")])).await.target();
    assert_eq!(query(&silent, "error").as_deref(), Some("login_required"), "data that is not here is not released");
    let back = world.sign_in(&mut browser, &rp.authorize(SERVICE, &[]), PROVIDER, "hk-chan").await;
    let (_, userinfo) = learned(&rp, &back).await;
    assert_eq!((&userinfo["name_zh"], &userinfo["birthdate"]), (&json!("陳大文"), &json!("1979-03-14")));
    assert_eq!(world.iam_smart().counters().token, 2);
    // What needs less is served by what is here.
    let page = browser.follow_within(rp.authorize("transit-card", &[]), world.issuer()).await;
    assert!(page.url.path().ends_with("/consent"), "{}", page.url);
    assert_eq!(world.iam_smart().counters().token, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn rare_characters_partial_births_and_single_names_arrive_byte_for_byte() {
    let rows = [
        ("name", "claims.name"),
        ("name_zh", "claims.name_zh"),
        ("birthdate", "claims.birthdate"),
        ("gender", "claims.gender"),
    ];
    let all = service_of("everything", &[PROVIDER], (1, 1), &rows);
    let world = World::own(&[("services/everything.toml", &all)]).await;
    for (person, expected) in [
        ("hk-leung", json!(["LEUNG, Wing Sum", "梁詠𤧬", "1990-11-05", "female"])),
        ("hk-ho", json!(["HO, Kwai Fong", "何桂芳", "1938", "female"])),
        ("hk-suharti", json!(["SUHARTI", null, "1992-08-17", "female"])),
        ("hk-singh", json!(["SINGH, Gurpreet", null, "1987-01-30", "male"])),
        // Not verified over there, so it is nobody's Chinese name here.
        ("hk-chung", json!(["CHUNG, Kam Shing", null, "1965-12-31", "male"])),
    ] {
        let (_, told) = login(&world, "everything", PROVIDER, &[("person", person)]).await;
        assert_eq!(json!([told["name"], told["name_zh"], told["birthdate"], told["gender"]]), expected, "{person}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_keeps_one_subject_and_two_people_have_two() {
    let world = World::own(&[]).await;
    let sub = async |service: &str, person: &str| {
        login(&world, service, PROVIDER, &[("person", person)]).await.0["sub"].clone()
    };
    let first = sub("e-invoice", "hk-chan").await;
    assert_eq!(sub("medical-appointment", "hk-chan").await, first);
    assert_ne!(sub("e-invoice", "hk-wong").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_check_digit_and_a_login_that_names_nobody_are_refused() {
    let number = service_of("number", &[PROVIDER], (1, 1), &[("hkid", "claims.hkid")]);
    let world = World::own(&[("services/number.toml", &number)]).await;
    for (misbehaviour, service) in [
        (Misbehaviour::WrongCheckDigit, "number"),
        (Misbehaviour::NoOpenId, "ratings"),
        (Misbehaviour::EmptyOpenId, "ratings"),
        (Misbehaviour::NoOpenId, SERVICE),
        (Misbehaviour::EmptyOpenId, SERVICE),
    ] {
        let mut browser = world.browser();
        world.iam_smart().set(misbehaviour.clone());
        let page = answered(&world, &mut browser, &world.rp(), service, PROVIDER, &[("person", "hk-chan")]).await;
        world.iam_smart().set(Misbehaviour::None);
        assert_eq!(page.failure(), Some("CB-302"), "{misbehaviour:?} {service}");
        refused(&world, &mut browser, &page, "CB-302").await;
    }
    let (_, told) = login(&world, "number", PROVIDER, &[("person", "hk-singh")]).await;
    assert_eq!(told["hkid"], "WX123456(9)");
}

/// A service that wants the face checked, and the person who says yes or no to that.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_up_to_the_face_and_one_that_was_refused() {
    let strong = service_of("strong", &[PROVIDER], (2, 3), &[("name", "claims.name")]);
    let bare = service_of("bare", &[PROVIDER], (2, 3), &[]);
    let world = World::own(&[("services/strong.toml", &strong), ("services/bare.toml", &bare)]).await;
    let (id, told) = login(&world, "strong", PROVIDER, &[("person", "hk-chan")]).await;
    assert_eq!(told["name"], "CHAN, Tai Man");
    assert_eq!(id["amr"], json!(["mfa", "face"]), "{id}");
    let counters = world.iam_smart().counters();
    assert_eq!((counters.step_up, counters.profile), (1, 1));
    assert_eq!(world.iam_smart().last_step_up_request().unwrap()["authFactor"], json!({"unary": ["FR"]}));
    let (id, _) = login(&world, "bare", PROVIDER, &[("person", "hk-chan")]).await;
    assert_eq!(id["amr"], json!(["mfa", "face"]), "{id}");
    assert_eq!(world.iam_smart().counters().profile, 1);

    world.iam_smart().approval(Approval::Refuse);
    let mut browser = world.browser();
    let page = answered(&world, &mut browser, &world.rp(), "strong", PROVIDER, &[("person", "hk-wong")]).await;
    refused(&world, &mut browser, &page, "CB-205").await;
    assert_eq!(world.iam_smart().counters().profile, 1, "no data is asked for after a refusal");
}

/// Where only the card's chip can be read, that is what is asked for, and what the portal is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_up_to_the_chip_of_the_card() {
    let bare = service_of("bare", &[PROVIDER], (2, 3), &[]);
    let world = World::own(&[("services/bare.toml", &bare)]).await;
    world.rewrite_provider(PROVIDER, |text| text.replace("method = \"FR\"", "method = \"unused\"")).await;
    let (id, _) = login(&world, "bare", PROVIDER, &[("person", "hk-chan")]).await;
    assert_eq!(id["amr"], json!(["mfa", "sc"]), "{id}");
    assert_eq!(world.iam_smart().last_step_up_request().unwrap()["authFactor"], json!({"unary": ["NFC"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_login_without_the_face_does_not_serve_where_the_face_is_needed() {
    let bare = service_of("bare", &[PROVIDER], (2, 3), &[]);
    let world = World::own(&[("services/bare.toml", &bare)]).await;
    let (rp, mut browser) = (world.rp(), world.browser());
    world.sign_in(&mut browser, &rp.authorize("e-invoice", &[]), PROVIDER, "hk-chan").await;
    let silent = browser.get(rp.authorize("bare", &[("prompt", "none")])).await.target();
    assert_eq!(query(&silent, "error").as_deref(), Some("login_required"), "{silent}");
    world.sign_in(&mut browser, &rp.authorize("bare", &[]), PROVIDER, "hk-chan").await;
    assert_eq!(world.iam_smart().counters().step_up, 1);
}

/// What a phone's browser is sent, and how the app brings it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_offered_the_app_and_the_app_brings_it_back_to_where_it_waits() {
    const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1";
    const ANDROID: &str =
        "Mozilla/5.0 (Linux; Android 15; X) AppleWebKit/537.36 SamsungBrowser/28.0 Chrome/130.0 Mobile Safari/537.36";
    let world = World::own(&[]).await;
    for (agent, source, broker) in
        [("", "PC_Browser", None), (PHONE, "iOS_Safari", Some("true")), (ANDROID, "Android_Samsung", Some("true"))]
    {
        let mut browser = Browser { headers: vec![("user-agent", agent.to_owned())], ..world.browser() };
        let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
        let sent = Url::parse(&format!("https://x/?{}", world.iam_smart().last_query().unwrap())).unwrap();
        assert_eq!(query(&sent, "source").as_deref(), Some(source));
        assert_eq!(query(&sent, "brokerPage").as_deref(), broker);
        assert_eq!(world.iam_smart().last_profile_request().unwrap()["source"], source);
        let link = format!("{}/app/profile?ticketID=", world.simulator(PROVIDER).url);
        assert_eq!(page.body.contains(&link), broker.is_some(), "{}", page.body);
        if broker.is_some() {
            let ticket = page.body.split(&link).nth(1).unwrap().split('"').next().unwrap();
            let app = browser.get(format!("{link}{ticket}")).await;
            assert!(app.body.contains("批准"), "{}", app.body);
            let decide = format!("{}/phone/decide", world.simulator(PROVIDER).url);
            let form = [("ticketID", ticket), ("decision", "approve"), ("from", "app")];
            let back = world.browser().post(decide, &form).await.target();
            assert!(back.path().ends_with("/callback/hk-iam-smart") && query(&back, "code").is_none(), "{back}");
            // Another browser of the same phone is not the one that waits.
            assert_eq!(world.browser().get(&back).await.failure(), Some("CB-202"));
            let there = browser.get(&back).await.target();
            assert_eq!(there, page.url);
        } else {
            assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
        }
        assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
    }
}
