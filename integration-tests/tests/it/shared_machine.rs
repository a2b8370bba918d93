//! Machines that many people use, one after the other: nothing of the person before is used, and nothing is left.

use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Browser, Rp, World};

const SERVICE: &str = "at-the-machine";
const PLACES: [&str; 3] = ["kiosk", "counter", "browser"];

/// One client of each place, at one service.
async fn world() -> (World, impl Fn(&World, &str) -> Rp) {
    let client = |place: &str| {
        let more = format!("{}\nplace = \"{place}\"\ndefault_service = \"{SERVICE}\"", secret_line());
        client_document(place, "https://machine.example/callback", "client_secret_basic", &more)
    };
    let clients = PLACES.map(|place| (format!("clients/{place}.toml"), client(place)));
    let service = service_document(SERVICE, &PLACES, &["hk-iam-smart", "mo-one-account"], "remember_consent = \"30d\"");
    let mut documents: Vec<(&str, &str)> = clients.iter().map(|(at, text)| (at.as_str(), text.as_str())).collect();
    documents.push(("services/at-the-machine.toml", &service));
    let world = World::with(&documents).await;
    (world, |world: &World, place: &str| world.client(place, Some(SECRET), "https://machine.example/callback"))
}

fn cookies(browser: &Browser) -> Vec<&str> {
    browser.cookies.keys().map(String::as_str).filter(|name| name.starts_with("__Host-")).collect()
}

async fn subject(rp: &Rp, back: &url::Url) -> String {
    let tokens = rp.redeem(&query(back, "code").unwrap()).await.json();
    claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_person_at_a_kiosk_or_counter_is_not_the_one_before() {
    let (world, client) = world().await;
    for place in ["kiosk", "counter"] {
        let (rp, mut browser) = (client(&world, place), world.browser());
        let first = world.sign_in(&mut browser, &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
        let first = subject(&rp, &first).await;
        assert!(cookies(&browser).is_empty(), "{place}: {:?}", browser.cookies);

        let silent = browser.get(rp.authorize(SERVICE, &[("prompt", "none")])).await.target();
        assert_eq!(query(&silent, "error").as_deref(), Some("login_required"), "{place}");
        let account = browser.get(format!("{}/account", world.issuer())).await;
        assert!(account.field("receipt").is_none(), "{place}: {}", account.body);

        // The next person signs in themselves, and is asked.
        let page = world.to_consent(&mut browser, &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-wong").await;
        assert!(page.url.path().ends_with("/consent"), "{place}: {}", page.url);
        let second = world.agree(&mut browser, &page, &[]).await;
        assert_ne!(subject(&rp, &second).await, first, "{place}");
    }
}

/// A remembered answer is no reason to show nothing: the provider may still know the person before.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_at_a_shared_machine_sees_a_page() {
    let (world, client) = world().await;
    let rp = client(&world, "kiosk");
    for _ in 0..2 {
        let page = world.to_consent(&mut world.browser(), &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
        assert!(page.url.path().ends_with("/consent"), "{}", page.url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_portal_is_not_used_at_a_shared_machine_and_ends_there() {
    let (world, client) = world().await;
    let (own, kiosk, mut browser) = (client(&world, "browser"), client(&world, "kiosk"), world.browser());
    world.sign_in(&mut browser, &own.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    assert!(browser.cookies.contains_key("__Host-session"));
    let asked = browser.get(kiosk.authorize(SERVICE, &[("prompt", "none")])).await.target();
    assert_eq!(query(&asked, "error").as_deref(), Some("login_required"));
    // What was merely asked ended nothing.
    let still = browser.get(own.authorize(SERVICE, &[("prompt", "none")])).await.target();
    assert!(query(&still, "code").is_some(), "{still}");
    let old = browser.clone();

    world.sign_in(&mut browser, &kiosk.authorize(SERVICE, &[]), "mo-one-account", "mo-vong").await;
    assert!(cookies(&browser).is_empty(), "{:?}", browser.cookies);
    for mut browser in [browser, old] {
        let gone = browser.get(own.authorize(SERVICE, &[("prompt", "none")])).await.target();
        assert_eq!(query(&gone, "error").as_deref(), Some("login_required"), "{gone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_person_before_did_not_finish_cannot_be_finished_by_the_next() {
    let (world, client) = world().await;
    let (rp, mut browser) = (client(&world, "counter"), world.browser());
    let left = world.to_consent(&mut browser, &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    assert!(left.url.path().ends_with("/consent"));
    browser.get(rp.authorize(SERVICE, &[])).await;
    let back = browser.get(&left.url).await;
    assert_eq!(back.failure(), Some("CB-202"), "{}", back.body);
}

/// Where the provider can be told to, it asks anew; an answer that it gave before does not count.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_can_ask_anew_does_at_a_shared_machine() {
    let (world, client) = world().await;
    let on_demand = |text: String| text.replace("id = ", "reauthenticates_on_demand = true\nid = ");
    world.rewrite_provider("mo-one-account", on_demand).await;
    for (place, asked) in [("kiosk", Some("login")), ("counter", Some("login")), ("browser", None)] {
        let authorize = client(&world, place).authorize(SERVICE, &[]);
        let there = world.to_provider(&mut world.browser(), &authorize, "mo-one-account").await;
        assert_eq!(query(&there, "prompt").as_deref(), asked, "{place}: {there}");
    }
}

/// A session knows at what class of place it was made, and policy may ask.
#[tokio::test(flavor = "multi_thread")]
async fn policy_sees_at_what_place_a_session_was_made() {
    const ASKS: &str = "asks-where";
    let client = |place: &str| {
        let more = format!("{}\nplace = \"{place}\"", secret_line());
        client_document(place, "https://machine.example/callback", "client_secret_basic", &more)
    };
    let (browser, app) = (client("browser"), client("app"));
    let any = service_document(SERVICE, &["browser", "app"], &["hk-iam-smart"], "remember_consent = \"30d\"");
    let asks = service_document(ASKS, &["browser", "app"], &["hk-iam-smart"], "remember_consent = \"30d\"")
        .replace("[[allow]]\n", "[[allow]]\nsigned_in_at = [\"app\"]\n");
    let world = World::with(&[
        ("clients/browser.toml", &browser),
        ("clients/app.toml", &app),
        ("services/any.toml", &any),
        ("services/asks.toml", &asks),
    ])
    .await;
    let client = |place: &str| world.client(place, Some(SECRET), "https://machine.example/callback");
    let (in_browser, in_app, mut browser) = (client("browser"), client("app"), world.browser());
    let silent = [("prompt", "none")];

    world.sign_in(&mut browser, &in_browser.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    let served = browser.get(in_app.authorize(SERVICE, &silent)).await.target();
    assert_eq!(query(&served, "error").as_deref(), Some("consent_required"), "{served}");
    let refused = browser.get(in_app.authorize(ASKS, &silent)).await.target();
    assert_eq!(query(&refused, "error").as_deref(), Some("login_required"), "{refused}");

    // Signed in at the app, the session serves in the browser as well.
    world.sign_in(&mut browser, &in_app.authorize(ASKS, &[]), "hk-iam-smart", "hk-chan").await;
    let served = browser.get(in_browser.authorize(ASKS, &silent)).await.target();
    assert_eq!(query(&served, "error").as_deref(), Some("consent_required"), "{served}");

    // Whoever would have to sign in at the browser is not sent anywhere first.
    let nobody = world.browser().get(in_browser.authorize(ASKS, &[])).await;
    assert!(!nobody.body.contains("/to/hk-iam-smart"), "{}", nobody.body);
}

/// A link on any page could end the sign-ins of somebody at their own machine by beginning one at a kiosk's client.
#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_at_a_kiosks_client_ends_none_at_other_clients() {
    let (world, client) = world().await;
    let (own, kiosk, mut browser) = (client(&world, "browser"), client(&world, "kiosk"), world.browser());
    let page = world.to_consent(&mut browser, &own.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    for more in [&[][..], &[("prompt", "none")]] {
        browser.get(kiosk.authorize(SERVICE, more)).await;
    }
    let back = world.agree(&mut browser, &page, &[]).await;
    assert!(query(&back, "code").is_some(), "{back}");
}

/// Whoever walked away from the consent page of a kiosk left it to the next person for ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_at_a_shared_machine_waits_three_minutes() {
    for (place, waits) in [("kiosk", false), ("counter", false), ("browser", true)] {
        let (world, client) = world().await;
        let (rp, mut browser) = (client(&world, place), world.browser());
        let page = world.to_consent(&mut browser, &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
        world.clock.advance(181);
        let again = browser.get(&page.url).await;
        assert_eq!(again.status == 200, waits, "{place}: {} {:?}", again.status, again.failure());
    }
}
