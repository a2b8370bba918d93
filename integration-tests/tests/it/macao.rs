//! Macao's stand-in, spoken to by configuration alone.

use std::time::{Duration, Instant};

use integration_tests::rp::query;
use integration_tests::{Browser, Reply, World};
use sandbox::macao::Misbehaviour;
use serde_json::{Value, json};

use crate::outcome::{answered, learned, login, nobody_is_signed_in, refused, service_of};

const PROVIDER: &str = "mo-one-account";

async fn under(world: &World, browser: &mut Browser, misbehaviour: Misbehaviour) -> Reply {
    world.macao().set(misbehaviour);
    let page = answered(world, browser, &world.rp(), "e-invoice", PROVIDER, &[("person", "mo-vong")]).await;
    world.macao().set(Misbehaviour::None);
    page
}

/// What a service learns that takes everybody.
async fn told(world: &World, person: &str, factor: &str) -> (Value, Value) {
    login(world, "everything", PROVIDER, &[("person", person), ("factor", factor)]).await
}

async fn everything() -> World {
    let rows = [
        ("name", "claims.name"),
        ("name_zh", "claims.name_zh"),
        ("birthdate", "claims.birthdate"),
        ("gender", "claims.gender"),
        ("bir", "claims.bir"),
        ("organisation", "claims.organisation"),
        ("account_capacity", "claims.account_kind"),
    ];
    let all = service_of("everything", &[PROVIDER], (1, 1), &rows);
    World::own(&[("services/everything.toml", &all)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_factor_that_was_used_decides_and_not_how_the_account_was_proofed() {
    let world = everything().await;
    for (person, factor, second, amr) in [
        ("mo-vong", "password", false, "pwd"),
        ("mo-vong", "password+face", true, "face"),
        ("mo-lei", "password+otp", true, "otp"),
        ("mo-chio", "password+cloud-signature", true, "mfa"),
        ("mo-cheong", "password", false, "pwd"),
        ("mo-nguyen", "password+otp", true, "otp"),
    ] {
        let (id, _) = told(&world, person, factor).await;
        let acr = if second { "urn:cbid:acr:i2a2" } else { "urn:cbid:acr:i2a1" };
        assert_eq!(id["acr"], acr, "{person} {factor}: {id}");
        assert!(id["amr"].as_array().unwrap().contains(&json!(amr)), "{person} {factor}: {id}");
        // A service that needs two factors takes exactly those logins that had two.
        let mut browser = world.browser();
        let fields = [("person", person), ("factor", factor)];
        let page = answered(&world, &mut browser, &world.rp(), "school-enrolment", PROVIDER, &fields).await;
        // Nobody from elsewhere has a card number; it is not what decides here.
        if second {
            assert!(page.failure().is_none_or(|code| code == "CB-405"), "{person} {factor}: {}", page.body);
        } else {
            refused(&world, &mut browser, &page, "CB-402").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_or_unnamed_factor_is_no_second_one() {
    let world = everything().await;
    for misbehaviour in [Misbehaviour::UnknownFactor, Misbehaviour::NoFactor] {
        world.macao().set(misbehaviour.clone());
        let mut browser = world.browser();
        let fields = [("person", "mo-vong")];
        let page = answered(&world, &mut browser, &world.rp(), "school-enrolment", PROVIDER, &fields).await;
        refused(&world, &mut browser, &page, "CB-402").await;
        let (id, _) = told(&world, "mo-vong", "").await;
        assert_eq!(id["acr"], "urn:cbid:acr:i2a1");
        assert!(!id["amr"].to_string().contains("telepathy"), "{id}");
        assert!(!id["amr"].to_string().contains("mfa"), "{misbehaviour:?}: {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_every_kind_are_released_as_they_are() {
    let world = everything().await;
    let card = "bir";
    let (_, vong) = told(&world, "mo-vong", "").await;
    let expected = json!(["VONG, Weng Chi", "黃詠芝", "1986-04-09", "female", "1234567(8)", "personal"]);
    assert_eq!(
        json!([vong["name"], vong["name_zh"], vong["birthdate"], vong["gender"], vong[card], vong["account_capacity"]]),
        expected
    );
    let (_, rosario) = told(&world, "mo-rosario", "").await;
    assert_eq!(rosario["name"], "DA SILVA ROSÁRIO, António José");
    assert!(rosario.get("name_zh").is_none());
    let (_, obrien) = told(&world, "mo-passport", "").await;
    assert_eq!((&obrien["name"], obrien.get(card)), (&json!("O'BRIEN, Siobhán"), None));
    for person in ["mo-nguyen", "mo-sumiati", "mo-thant", "mo-hk-tam", "mo-prc-qu"] {
        let (_, told) = told(&world, person, "").await;
        assert!(told.get(card).is_none(), "{person} has no resident card: {told}");
        assert!(told["name"].is_string());
    }
    let (staff, at) = told(&world, "mo-fong-staff", "").await;
    let (admin, _) = told(&world, "mo-fong-admin", "").await;
    assert_eq!((&at["organisation"], &at["account_capacity"]), (&json!("澳門模擬有限公司"), &json!("entity")));
    assert_eq!(at["name"], "FONG, Chi Kin", "the person is who acts, not the organisation");
    assert_ne!(staff["sub"], admin["sub"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_resident_card_has_no_number_that_could_be_taken_for_one() {
    let need = service_of("card", &[PROVIDER], (1, 1), &[("bir", "claims.bir")])
        .replace("on_missing = \"clear\"", "on_missing = \"fail\"");
    let world = World::own(&[("services/card.toml", &need)]).await;
    let mut browser = world.browser();
    let page = answered(&world, &mut browser, &world.rp(), "card", PROVIDER, &[("person", "mo-nguyen")]).await;
    refused(&world, &mut browser, &page, "CB-405").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_missing_or_repeated_state_exchanges_nothing_and_loses_nothing() {
    let world = World::own(&[]).await;
    for (misbehaviour, code) in [
        (Misbehaviour::WrongState, "CB-302"),
        (Misbehaviour::OmitState, "CB-302"),
        (Misbehaviour::DuplicateState, "CB-302"),
    ] {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, misbehaviour.clone()).await;
        assert_eq!(page.failure(), Some(code), "{misbehaviour:?}");
        nobody_is_signed_in(&world, &mut browser).await;
    }
    assert_eq!(world.macao().counters().token, 0);
    login(&world, "e-invoice", PROVIDER, &[("person", "mo-vong")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_at_the_token_and_at_the_account_have_the_right_code() {
    use Misbehaviour as M;
    let world = World::own(&[]).await;
    let faults = [
        (M::Garbage, "CB-302"),
        (M::HtmlWith200, "CB-302"),
        (M::HugeBody(1 << 20), "CB-301"),
        (M::Status(500), "CB-301"),
        (M::Status(503), "CB-301"),
        (M::Status(429), "CB-301"),
        (M::Status(400), "CB-303"),
        (M::Status(401), "CB-303"),
        (M::Status(302), "CB-303"),
    ];
    let behind = faults.iter().map(|(fault, code)| (M::AfterToken(Box::new(fault.clone())), *code));
    let refusals = ["invalid_grant", "invalid_client", "unauthorized_client", "an_error_of_its_own"];
    let refusals = refusals.map(|error| (M::Refuse(error.to_owned()), "CB-303"));
    let nobody = [M::NoSubject, M::EmptySubject, M::NumericSubject].map(|fault| (fault, "CB-302"));
    for (fault, code) in faults.iter().cloned().chain(behind).chain(refusals).chain(nobody) {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, fault.clone()).await;
        assert_eq!(page.failure(), Some(code), "{fault:?}");
        refused(&world, &mut browser, &page, code).await;
        let text = page.body.split("<main").nth(1).unwrap();
        for internal in ["invalid_", "localhost:", "oauth", "12345"] {
            assert!(!text.contains(internal), "{fault:?} shows {internal}");
        }
    }
    login(&world, "e-invoice", PROVIDER, &[("person", "mo-vong")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_no_outage() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let page = answered(&world, &mut browser, &world.rp(), "e-invoice", PROVIDER, &[("person", "")]).await;
    refused(&world, &mut browser, &page, "CB-205").await;
    assert_eq!(world.macao().counters().token, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_is_waited_for_and_hanging_is_given_up() {
    let world = World::own(&[]).await;
    for slow in [
        Misbehaviour::Slow(Duration::from_millis(500)),
        Misbehaviour::AfterToken(Box::new(Misbehaviour::Slow(Duration::from_millis(500)))),
    ] {
        assert_eq!(under(&world, &mut world.browser(), slow).await.failure(), None);
    }
    for hang in [Misbehaviour::Hang, Misbehaviour::AfterToken(Box::new(Misbehaviour::Hang))] {
        let started = Instant::now();
        let mut browser = world.browser();
        let page = under(&world, &mut browser, hang).await;
        refused(&world, &mut browser, &page, "CB-301").await;
        assert!(started.elapsed() < Duration::from_secs(12));
    }
}

/// Macao's language and PKCE, and nothing else that is known of the person, go out.
#[tokio::test(flavor = "multi_thread")]
async fn the_request_carries_pkce_a_language_and_nothing_about_the_person() {
    let world = World::own(&[]).await;
    let rp = world.rp();
    let authorize = rp.authorize("e-invoice", &[("ui_locales", "pt"), ("login_hint", "A123456(3)")]);
    let address = world.to_provider(&mut world.browser(), &authorize, PROVIDER).await;
    let names: Vec<String> = address.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(query(&address, "ui_locales").as_deref(), Some("pt"));
    assert_eq!(query(&address, "code_challenge_method").as_deref(), Some("S256"));
    for name in &names {
        let known = [
            "response_type",
            "client_id",
            "state",
            "code_challenge",
            "code_challenge_method",
            "redirect_uri",
            "scope",
            "ui_locales",
        ];
        assert!(known.contains(&name.as_str()), "{address}");
    }
    assert!(!address.as_str().contains("A123456"));
}

/// A session at the provider answers at once, by the time when it began; where a new login is demanded it does not serve.
#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_login_over_there_is_as_old_as_it_is() {
    let world = World::own(&[]).await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("e-invoice", &[]), PROVIDER).await;
    let callback = world.answer_provider(&mut browser, &address, &[("person", "mo-vong"), ("remember", "1")]).await;
    let page = world.past_waiting(&mut browser, callback).await;
    let back = world.agree(&mut browser, &page, &[]).await;
    let (first, _) = learned(&rp, &back).await;
    world.clock.advance(3 * 3_600);
    // A service that takes logins of two hours: the session over there is older by our clock.
    let address = world.to_provider(&mut browser, &rp.authorize("school-enrolment", &[]), PROVIDER).await;
    let page = world.past_waiting(&mut browser, address.clone()).await;
    let page = match page.location() {
        Some(callback) => world.past_waiting(&mut browser, callback).await,
        None => page,
    };
    assert_eq!(page.failure(), Some("CB-403"), "{} {}", page.url, page.body);
    assert!(first["auth_time"].is_u64(), "{first}");
}
