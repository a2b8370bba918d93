//! Session and single sign-on: no new login when the first is sure and fresh enough, exactly one when it is not.

use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Browser, Rp, World};

async fn signed_in(world: &World, rp: &Rp, service: &str, provider: &str, person: &str) -> Browser {
    let mut browser = world.browser();
    world.sign_in(&mut browser, &rp.authorize(service, &[]), provider, person).await;
    browser
}

fn logins(world: &World, provider: &str) -> u64 {
    world.provider(provider).counters().token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_needs_consent_but_no_login_and_a_third_visit_neither() {
    let world = World::start().await;
    let rp = world.rp();
    let mut browser = signed_in(&world, &rp, "school-enrolment", "hk-iam-smart", "hk-chan").await;
    let page = browser.follow_within(rp.authorize("medical-appointment", &[]), world.issuer()).await;
    assert!(page.url.path().ends_with("/consent"), "{}", page.url);
    let back = world.agree(&mut browser, &page, &["email"]).await;
    let again = browser.get(rp.authorize("medical-appointment", &[])).await.target();
    assert_eq!(logins(&world, "hk-iam-smart"), 1);
    let mut released = Vec::new();
    for back in [back, again] {
        let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
        released.push(rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json());
    }
    assert_eq!(released[0], released[1], "the remembered answer releases what was agreed");
    assert!(released[0]["email"].is_string() && released[0].get("phone_number").is_none(), "{released:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_not_sure_enough_leads_to_exactly_one_new_login() {
    let world = World::start().await;
    let rp = world.rp();
    let mut browser = signed_in(&world, &rp, "medical-appointment", "mo-one-account", "mo-cheong").await;
    let step_up = browser.get(rp.authorize("school-enrolment", &[])).await.target();
    assert!(step_up.path().ends_with("/authorize"), "straight to the provider: {step_up}");
    let asked = query(&step_up, "acr_values").unwrap();
    assert_eq!(asked, "mo:otp mo:face", "the demand is put in the provider's own words");
    let callback = world.sign_in_at_provider(&mut browser, &step_up, "mo-vong").await;
    let page = browser.follow_within(callback, world.issuer()).await;
    assert!(page.url.path().ends_with("/consent"));
    assert_eq!(logins(&world, "mo-one-account"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_answer_is_explained_with_a_way_out_and_the_portal_hears_the_same_code() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page =
        world.to_consent(&mut browser, &rp.authorize("school-enrolment", &[]), "mo-one-account", "mo-cheong").await;
    assert_eq!(page.failure(), Some("CB-402"), "{}", page.body);
    let id = page.body.split("/login/").nth(1).unwrap().split(['"', '?', '/']).next().unwrap().to_owned();
    let chooser = browser.get(format!("{}/login/{id}", world.issuer())).await;
    assert!(chooser.body.contains("/to/hk-iam-smart"), "the person may choose another way");
    let back = browser.post(format!("{}/login/{id}/cancel", world.issuer()), &[]).await.target();
    assert_eq!(query(&back, "error").as_deref(), Some("unmet_authentication_requirements"));
    assert!(query(&back, "error_description").unwrap().starts_with("CB-402"));
    assert_eq!(query(&back, "state").as_deref(), Some("state-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_too_old_is_renewed_once() {
    let client = client_document("fresh", "https://fresh.example/cb", "client_secret_basic", &secret_line());
    let service = service_document("fresh-service", &["fresh"], &["hk-iam-smart"], "")
        .replace("authentication = 1\n", "authentication = 1\nmax_age = \"1m\"\n");
    let world = World::with(&[("clients/fresh.toml", &client), ("services/fresh-service.toml", &service)]).await;
    let rp = world.client("fresh", Some(SECRET), "https://fresh.example/cb");
    let mut browser = signed_in(&world, &rp, "fresh-service", "hk-iam-smart", "hk-chan").await;
    world.clock.advance(45);
    let still = browser.get(rp.authorize("fresh-service", &[])).await.target();
    assert!(still.path().ends_with("/consent"), "45 seconds are fresh enough: {still}");
    world.clock.advance(30);
    let renewed = browser.get(rp.authorize("fresh-service", &[])).await.target();
    assert_eq!(query(&renewed, "max_age").as_deref(), Some("60"), "{renewed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn max_age_zero_and_prompt_login_are_exactly_one_login() {
    let world = World::start().await;
    let rp = world.rp();
    for changes in [[("max_age", "0")], [("prompt", "login")]] {
        let mut browser = signed_in(&world, &rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
        let before = logins(&world, "hk-iam-smart");
        let page =
            world.to_consent(&mut browser, &rp.authorize("e-invoice", &changes), "hk-iam-smart", "hk-chan").await;
        let sent = world.provider("hk-iam-smart").last_authorize_query().unwrap();
        assert!(sent.contains("prompt=login"), "{sent}");
        // The answer serves this request; the remembered consent as well, so that this is the code already.
        let code = query(&page.target(), "code").unwrap();
        let tokens = rp.redeem(&code).await.json();
        assert!(claims(tokens["id_token"].as_str().unwrap())["auth_time"].is_u64());
        assert_eq!(logins(&world, "hk-iam-smart") - before, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_none_shows_nothing_and_says_what_is_missing() {
    let world = World::start().await;
    let rp = world.rp();
    let error = |url: url::Url| query(&url, "error");
    let none = |service| rp.authorize(service, &[("prompt", "none")]);
    let mut stranger = world.browser();
    assert_eq!(error(stranger.get(none("e-invoice")).await.target()).as_deref(), Some("login_required"));
    let mut browser = signed_in(&world, &rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    assert_eq!(error(browser.get(none("medical-appointment")).await.target()).as_deref(), Some("consent_required"));
    assert!(query(&browser.get(none("e-invoice")).await.target(), "code").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sub_is_pairwise_and_stays() {
    let other = client_document("other", "https://other.example/cb", "client_secret_basic", &secret_line());
    let service = service_document("other-service", &["other"], &["hk-iam-smart"], "");
    let world = World::with(&[("clients/other.toml", &other), ("services/other-service.toml", &service)]).await;
    let (rp, other) = (world.rp(), world.client("other", Some(SECRET), "https://other.example/cb"));
    let sub = async |rp: &Rp, service: &str, person: &str| {
        let code = world.code(rp, service, "hk-iam-smart", person).await;
        let tokens = rp.redeem(&code).await.json();
        claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned()
    };
    let first = sub(&rp, "school-enrolment", "hk-chan").await;
    assert_eq!(first, sub(&rp, "medical-appointment", "hk-chan").await, "one sector, one sub");
    assert_ne!(first, sub(&other, "other-service", "hk-chan").await, "another sector, another sub");
    assert_ne!(first, sub(&rp, "school-enrolment", "hk-wong").await, "another person, another sub");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_hint_of_another_person_is_not_answered_with_this_one() {
    let world = World::start().await;
    let rp = world.rp();
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-wong").await;
    let hint = rp.redeem(&code).await.json()["id_token"].as_str().unwrap().to_owned();
    let mut browser = signed_in(&world, &rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    let reply = browser.get(rp.authorize("e-invoice", &[("prompt", "none"), ("id_token_hint", &hint)])).await;
    assert_eq!(query(&reply.target(), "error").as_deref(), Some("login_required"));
    let page = world
        .to_consent(&mut browser, &rp.authorize("e-invoice", &[("id_token_hint", &hint)]), "hk-iam-smart", "hk-chan")
        .await;
    assert_eq!(query(&page.target(), "error").as_deref(), Some("login_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_7341_a_session_ends_and_its_identifier_changes_with_each_login() {
    let world = World::start().await;
    let rp = world.rp();
    let mut browser = signed_in(&world, &rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    let first = browser.cookies["__Host-session"].clone();
    let anew = rp.authorize("e-invoice", &[("prompt", "login")]);
    world.to_consent(&mut browser, &anew, "hk-iam-smart", "hk-chan").await;
    let second = browser.cookies["__Host-session"].clone();
    assert_ne!(first, second, "CVE-2024-7341: the identifier is new at each sign-in");
    let mut thief = world.browser();
    thief.cookies.insert("__Host-session".into(), first);
    let reply = thief.get(rp.authorize("e-invoice", &[("prompt", "none")])).await;
    assert_eq!(query(&reply.target(), "error").as_deref(), Some("login_required"), "the old identifier is dead");
    world.clock.advance(1_801);
    let reply = browser.get(rp.authorize("e-invoice", &[("prompt", "none")])).await;
    assert_eq!(query(&reply.target(), "error").as_deref(), Some("login_required"));
}
