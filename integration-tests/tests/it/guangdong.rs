//! Guangdong's platform in its three generations: binding, faults, and what must never be written down.

use std::time::{Duration, Instant};

use integration_tests::rp::query;
use integration_tests::{Browser, Reply, World};
use sandbox::guangdong::Misbehaviour;

use crate::outcome::{answered, learned, login, nobody_is_signed_in, refused, transaction};
use crate::secrecy::{holds, listen};

pub(crate) const PROVIDER: &str = "gd-unified";

/// The provider document, changed as an operator would change it.
pub(crate) fn document(changes: &[(&str, &str)]) -> String {
    let shipped = policies::documents::PROVIDERS.iter().find(|(name, _)| *name == "gd-unified.toml").unwrap().1;
    let own = shipped.replace(
        "[guangdong.documents]\n",
        "[guangdong.documents]\n90 = \"home_return_permit\"\n91 = \"residence_permit\"\n",
    );
    changes.iter().fold(own, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// A world whose provider document is changed, at addresses that are known only once it runs.
pub(crate) async fn world_with(changes: &[(&str, &str)]) -> World {
    let world = World::own(&[]).await;
    let text = document(changes).replace("@ORIGIN@", &world.simulator(PROVIDER).url);
    std::fs::write(world.data.join("bundle/providers/gd-unified.toml"), text).unwrap();
    world.restarted().await
}

async fn under(world: &World, browser: &mut Browser, misbehaviour: Misbehaviour) -> Reply {
    world.guangdong().set(misbehaviour);
    let page = answered(world, browser, &world.rp(), "e-invoice", PROVIDER, &[("person", "gd-li")]).await;
    world.guangdong().set(Misbehaviour::None);
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_login_in_each_of_the_three_generations_is_the_same_person() {
    let current = "base = \"@ORIGIN@/pscp/sso/connect/page/oauth2/\"\nauthorize = \"authorize/\"";
    for (base, authorize) in [
        ("/pscp/sso/connect/page/oauth2/", "authorize/"),
        ("/tif/sso/connect/page/oauth2/", "authorize"),
        ("/am/oauth2", "authorize"),
    ] {
        let other = format!("base = \"@ORIGIN@{base}\"\nauthorize = \"{authorize}\"");
        let world = world_with(&[(current, &other)]).await;
        let (id, told) = login(&world, "e-invoice", PROVIDER, &[("person", "gd-li")]).await;
        assert_eq!(told["name"], "李伟强", "{base}");
        assert_eq!(id["acr"], "urn:cbid:acr:i2a2", "{base}");
        let counters = world.guangdong().counters();
        assert_eq!((counters.authorize, counters.token, counters.tokeninfo), (1, 1, 1), "{base}");
        // The same account, whichever generation says so.
        let world = world_with(&[]).await;
        let (first, _) = login(&world, "ratings", PROVIDER, &[("person", "gd-li")]).await;
        let text = document(&[(current, &other)]).replace("@ORIGIN@", &world.simulator(PROVIDER).url);
        std::fs::write(world.data.join("bundle/providers/gd-unified.toml"), text).unwrap();
        let world = world.restarted().await;
        let (second, _) = login(&world, "ratings", PROVIDER, &[("person", "gd-li")]).await;
        assert_eq!(first["sub"], second["sub"], "{base}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guangdong_resident_at_the_service_of_hong_kong() {
    let world = World::own(&[]).await;
    let secret = std::fs::read_to_string(world.data.join("secrets/hk-cross-boundary-enquiry")).unwrap();
    let portal = world.demo.portals.iter().find(|portal| portal.client_id == "hk-cross-boundary-enquiry").unwrap();
    let rp = world.client("hk-cross-boundary-enquiry", Some(&secret), &format!("{}/callback", portal.url));
    let service = "hk-cross-boundary-enquiry";
    for (person, failure) in [
        ("gd-li", None),
        ("gd-lin", None),
        ("gd-chan-siu-wing", None),
        ("gd-huang", Some("CB-402")),
        ("gd-chen", Some("CB-402")),
        ("gd-su", Some("CB-402")),
    ] {
        let mut browser = world.browser();
        let page = answered(&world, &mut browser, &rp, service, PROVIDER, &[("person", person)]).await;
        assert_eq!(page.failure(), failure, "{person}: {}", page.body);
        if failure.is_none() {
            let back = world.agree(&mut browser, &page, &[]).await;
            let (id, told) = learned(&rp, &back).await;
            assert!(told["name"].is_string() && id["acr"] == "urn:cbid:acr:i2a2", "{id} {told}");
        }
    }
}

/// The platform returns no `state`: the login's own value is in the query of the redirect URI.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_whose_binding_is_wrong_missing_or_repeated_exchanges_nothing() {
    let world = World::own(&[]).await;
    for misbehaviour in [Misbehaviour::WrongState, Misbehaviour::DuplicateParameter] {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, misbehaviour.clone()).await;
        assert_eq!(page.failure(), Some("CB-302"), "{misbehaviour:?}");
        nobody_is_signed_in(&world, &mut browser).await;
    }
    let mut browser = world.browser();
    let address = world.to_provider(&mut browser, &world.rp().authorize("e-invoice", &[]), PROVIDER).await;
    assert!(query(&address, "state").is_none(), "no parameter that no client was ever seen to send: {address}");
    let callback = world.sign_in_at_provider(&mut browser, &address, "gd-li").await;
    let (state, code) = (query(&callback, "state").unwrap(), query(&callback, "code").unwrap());
    let base = format!("{}/callback/{PROVIDER}", world.issuer());
    for attack in [format!("code={code}"), format!("code={code}&state=")] {
        let reply = browser.get(format!("{base}?{attack}")).await;
        assert_eq!(reply.failure(), Some("CB-302"), "{attack}");
    }
    let foreign = format!("{}/callback/mo-one-account?code={code}&state={state}", world.issuer());
    assert_eq!(browser.get(foreign).await.failure(), Some("CB-204"));
    assert_eq!(world.browser().get(&callback).await.failure(), Some("CB-202"), "another browser");
    assert_eq!(world.guangdong().counters().token, 0);
    let page = browser.follow_within(callback, world.issuer()).await;
    assert!(page.url.path().ends_with("/consent"), "nothing was lost: {}", page.body);
}

/// Login CSRF: the victim's browser is led to the attacker's callback.
#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_one_login_does_not_serve_another() {
    let world = World::own(&[]).await;
    let (mut attacker, mut victim) = (world.browser(), world.browser());
    let one = world.to_provider(&mut attacker, &world.rp().authorize("e-invoice", &[]), PROVIDER).await;
    let theirs = world.sign_in_at_provider(&mut attacker, &one, "gd-su").await;
    let two = world.to_provider(&mut victim, &world.rp().authorize("e-invoice", &[]), PROVIDER).await;
    let own = world.sign_in_at_provider(&mut victim, &two, "gd-li").await;
    let (code, state) = (query(&theirs, "code").unwrap(), query(&own, "state").unwrap());
    let mixed = format!("{}/callback/{PROVIDER}?state={state}&code={code}", world.issuer());
    // The platform compares the redirect URI of both legs, which holds the login's own value.
    let page = victim.get(mixed).await;
    refused(&world, &mut victim, &page, "CB-303").await;
    assert_eq!(world.guangdong().counters().tokeninfo, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_by_state_where_the_platform_returns_it() {
    let world = world_with(&[("binding = \"redirect-query\"", "binding = \"state\"")]).await;
    world.guangdong().echo_state(true);
    login(&world, "e-invoice", PROVIDER, &[("person", "gd-li")]).await;
    // Configured but not returned: refused, never guessed.
    world.guangdong().echo_state(false);
    let page = under(&world, &mut world.browser(), Misbehaviour::None).await;
    assert_eq!(page.failure(), Some("CB-302"));
    assert_eq!(world.guangdong().counters().token, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_token_and_at_the_account_have_the_right_code() {
    use Misbehaviour as M;
    let world = World::own(&[]).await;
    let faults = [
        (M::Garbage, "CB-302"),
        (M::HtmlWith200, "CB-302"),
        (M::HugeBody(1 << 20), "CB-301"),
        (M::ErrCode("10001".to_owned()), "CB-303"),
        (M::Status(500), "CB-301"),
        (M::Status(502), "CB-301"),
        (M::Status(429), "CB-301"),
        (M::Status(400), "CB-303"),
        (M::Status(404), "CB-303"),
        (M::Status(302), "CB-303"),
    ];
    let behind = faults.iter().map(|(fault, code)| (M::AfterToken(Box::new(fault.clone())), *code));
    let nobody = [M::NoSubject, M::EmptySubject, M::NumericSubject, M::NullUserobj].map(|fault| (fault, "CB-302"));
    let weak = [(M::UnknownLevel, "CB-402")];
    for (fault, code) in faults.iter().cloned().chain(behind).chain(nobody).chain(weak) {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, fault.clone()).await;
        assert_eq!(page.failure(), Some(code), "{fault:?}");
        refused(&world, &mut browser, &page, code).await;
        // A random id may hold any two characters.
        let text = page.body.split("<main").nth(1).unwrap().replace(transaction(&page), "");
        for internal in ["10001", "localhost:", "errcode", "tokeninfo", "L9"] {
            assert!(!text.contains(internal), "{fault:?} shows {internal}");
        }
    }
    let mut browser = world.browser();
    let page = answered(&world, &mut browser, &world.rp(), "e-invoice", PROVIDER, &[("person", "")]).await;
    refused(&world, &mut browser, &page, "CB-205").await;
    login(&world, "e-invoice", PROVIDER, &[("person", "gd-li")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_is_waited_for_and_hanging_is_given_up() {
    let world = World::own(&[]).await;
    let slow = Misbehaviour::Slow(Duration::from_millis(500));
    for fault in [slow.clone(), Misbehaviour::AfterToken(Box::new(slow))] {
        assert_eq!(under(&world, &mut world.browser(), fault).await.failure(), None);
    }
    for fault in [Misbehaviour::Hang, Misbehaviour::AfterToken(Box::new(Misbehaviour::Hang))] {
        let started = Instant::now();
        let mut browser = world.browser();
        let page = under(&world, &mut browser, fault).await;
        refused(&world, &mut browser, &page, "CB-301").await;
        assert!(started.elapsed() < Duration::from_secs(12));
    }
}

/// The secret and the token travel in addresses here. None of them may be logged, at any level, whatever happens.
#[tokio::test(flavor = "multi_thread")]
async fn neither_secret_nor_code_nor_token_is_logged_whatever_fails() {
    let log = listen();
    let world = World::own(&[]).await;
    let secret = std::fs::read_to_string(world.data.join("secrets/gd-unified")).unwrap();
    let hang = Misbehaviour::Hang;
    for fault in [
        Misbehaviour::None,
        Misbehaviour::ErrCode("10001".to_owned()),
        Misbehaviour::Status(500),
        Misbehaviour::Status(302),
        Misbehaviour::HtmlWith200,
        hang.clone(),
        Misbehaviour::AfterToken(Box::new(Misbehaviour::Garbage)),
        Misbehaviour::AfterToken(Box::new(hang)),
    ] {
        world.guangdong().set(fault.clone());
        let before = log.0.lock().unwrap().len();
        let mut browser = world.browser();
        let address = world.to_provider(&mut browser, &world.rp().authorize("e-invoice", &[]), PROVIDER).await;
        let callback = world.sign_in_at_provider(&mut browser, &address, "gd-li").await;
        world.past_waiting(&mut browser, &callback).await;
        let text = log.0.lock().unwrap()[before..].to_vec();
        let (code, state) = (query(&callback, "code").unwrap(), query(&callback, "state").unwrap());
        for canary in [
            secret.as_str(),
            &code,
            &state,
            "client_secret=",
            "access_token=",
            "李伟强",
            "440099197903140019",
            "gd.5f0c2ab97d3e4816",
        ] {
            assert!(!holds(&text, canary), "{canary} is in the log after {fault:?}");
        }
    }
    assert!(holds(&log.0.lock().unwrap(), "sign-in begins"), "the log was listened to");
}
