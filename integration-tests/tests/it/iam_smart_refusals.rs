//! iAM Smart says no, in each of the places and forms in which it can: whose fault it was is told as it is.

use std::time::{Duration, Instant};

use integration_tests::{Browser, Reply, World};
use sandbox::iam_smart::Misbehaviour;

use crate::iam_smart::{PROVIDER, SERVICE, after_login, completes, waiting};
use crate::outcome::{answered, login, refused};

/// Codes of every class, and what each comes to in an answer or a delivery.
const CODES: [(&str, &str); 22] = [
    ("D40000", "CB-205"),
    ("D40001", "CB-205"),
    ("D50001", "CB-205"),
    ("D80001", "CB-205"),
    ("D40003", "CB-207"),
    ("D40004", "CB-207"),
    ("D50003", "CB-207"),
    ("D80003", "CB-207"),
    ("D40002", "CB-301"),
    ("D50002", "CB-301"),
    ("D80002", "CB-301"),
    ("D20002", "CB-303"),
    ("D20004", "CB-303"),
    ("D20006", "CB-303"),
    ("D20008", "CB-303"),
    ("D20009", "CB-303"),
    ("D20010", "CB-303"),
    ("D20011", "CB-303"),
    ("D20012", "CB-303"),
    ("D20015", "CB-303"),
    ("D70004", "CB-303"),
    ("D99999", "CB-303"),
];

async fn under(world: &World, browser: &mut Browser, misbehaviour: Misbehaviour) -> Reply {
    world.iam_smart().set(misbehaviour);
    let page = after_login(world, browser, "hk-chan").await;
    world.iam_smart().set(Misbehaviour::None);
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_code_at_the_login_callback() {
    let world = World::own(&[]).await;
    // In the callback a sample shows a refusal as a missing parameter.
    for (code, shown) in CODES.into_iter().chain([("D20001", "CB-205"), ("D30001", "CB-303"), ("D20003", "CB-303")]) {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, Misbehaviour::LoginError(code.to_owned())).await;
        assert_eq!(page.failure(), Some(shown), "{code}");
        refused(&world, &mut browser, &page, shown).await;
    }
    let counters = world.iam_smart().counters();
    assert_eq!((counters.token, counters.get_key, counters.profile), (0, 0, 0), "nothing is exchanged");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_a_refusal_at_the_login_are_a_cancel() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let page = under(&world, &mut browser, Misbehaviour::RefuseSilently).await;
    refused(&world, &mut browser, &page, "CB-205").await;
    let page = after_login(&world, &mut browser, "").await;
    refused(&world, &mut browser, &page, "CB-205").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_with_a_wrong_missing_or_repeated_state_exchanges_nothing() {
    let world = World::own(&[]).await;
    for misbehaviour in [Misbehaviour::WrongState, Misbehaviour::OmitState, Misbehaviour::DuplicateState] {
        let page = under(&world, &mut world.browser(), misbehaviour.clone()).await;
        assert!(["CB-202", "CB-302"].contains(&page.failure().unwrap()), "{misbehaviour:?} {}", page.body);
    }
    assert_eq!(world.iam_smart().counters().token, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_code_in_the_answer_to_the_code_exchange() {
    let world = World::own(&[]).await;
    login(&world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
    for (code, shown) in CODES.into_iter().chain([
        ("D20001", "CB-303"),
        ("D20003", "CB-303"),
        ("D30001", "CB-303"),
        ("D30004", "CB-303"),
        ("M40000", "CB-302"),
        ("", "CB-302"),
    ]) {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, Misbehaviour::Code(code.to_owned())).await;
        assert_eq!(page.failure(), Some(shown), "{code}");
        refused(&world, &mut browser, &page, shown).await;
    }
    assert_eq!(world.iam_smart().counters().profile, 1);
    login(&world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_code_in_the_answer_to_a_request_for_data() {
    let world = World::own(&[]).await;
    for (code, shown) in CODES {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, Misbehaviour::RequestCode(code.to_owned())).await;
        assert_eq!(page.failure(), Some(shown), "{code}");
        refused(&world, &mut browser, &page, shown).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_of_code_in_a_delivery() {
    let world = World::own(&[]).await;
    for (code, shown) in CODES.into_iter().chain([("D20001", "CB-303"), ("nonsense", "CB-302")]) {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, Misbehaviour::SealedResultCode(code.to_owned())).await;
        assert_eq!(page.failure(), Some(shown), "{code}");
        refused(&world, &mut browser, &page, shown).await;
    }
}

/// Without content it names no request and proves nothing: nobody's sign-in may end by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_a_bare_code_is_not_believed() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    for code in ["D50001", "D00000", "D40003"] {
        world.iam_smart().set(Misbehaviour::ResultCode(code.to_owned()));
        assert_eq!(world.iam_smart().deliver(&business, false).await, 403, "{code}");
    }
    world.iam_smart().set(Misbehaviour::None);
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    assert_eq!(completes(&world, &mut browser, &page).await["name"], "CHAN, Tai Man");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_none_have_the_right_code() {
    let world = World::own(&[]).await;
    for warm in [false, true] {
        if warm {
            login(&world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
        }
        for (misbehaviour, shown) in [
            (Misbehaviour::Garbage, "CB-302"),
            (Misbehaviour::Status(500), "CB-301"),
            (Misbehaviour::Status(503), "CB-301"),
            (Misbehaviour::Status(429), "CB-301"),
            (Misbehaviour::Status(400), "CB-303"),
            (Misbehaviour::Status(401), "CB-303"),
            (Misbehaviour::Status(403), "CB-303"),
            (Misbehaviour::Status(404), "CB-303"),
            (Misbehaviour::Status(413), "CB-303"),
            (Misbehaviour::Status(302), "CB-303"),
        ] {
            let mut browser = world.browser();
            let page = under(&world, &mut browser, misbehaviour.clone()).await;
            assert_eq!(page.failure(), Some(shown), "{misbehaviour:?}");
            refused(&world, &mut browser, &page, shown).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_sealed_wrongly_are_not_believed() {
    let world = World::own(&[]).await;
    for misbehaviour in [Misbehaviour::TamperedFrame, Misbehaviour::WrongIvLength, Misbehaviour::ForeignCek] {
        let mut browser = world.browser();
        let page = under(&world, &mut browser, misbehaviour.clone()).await;
        assert_eq!(page.failure(), Some("CB-302"), "{misbehaviour:?}");
        refused(&world, &mut browser, &page, "CB-302").await;
    }
    login(&world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_is_given_up_and_others_are_served_meanwhile() {
    let world = World::own(&[]).await;
    world.iam_smart().set(Misbehaviour::Slow(Duration::from_millis(400)));
    login(&world, SERVICE, PROVIDER, &[("person", "hk-chan")]).await;
    world.iam_smart().set(Misbehaviour::Hang);
    let started = Instant::now();
    let hang = async {
        let mut browser = world.browser();
        let page = after_login(&world, &mut browser, "hk-chan").await;
        refused(&world, &mut browser, &page, "CB-301").await;
        started.elapsed()
    };
    let meanwhile = async {
        login(&world, "e-invoice", "gd-unified", &[("person", "gd-li")]).await;
        login(&world, "e-invoice", "mo-one-account", &[("person", "mo-vong")]).await;
        started.elapsed()
    };
    let (hung, served) = tokio::join!(hang, meanwhile);
    assert!(served < Duration::from_secs(4) && served < hung, "{served:?} {hung:?}");
    assert!(hung < Duration::from_secs(15), "{hung:?}");
}

/// Without a key at hand every login needs one first; those who wait for it must not wait in turn.
#[tokio::test(flavor = "multi_thread")]
async fn logins_that_wait_for_a_key_that_never_comes_do_not_wait_one_after_the_other() {
    let world = World::own(&[]).await;
    world.iam_smart().set(Misbehaviour::Hang);
    let started = Instant::now();
    let one = async || {
        let page =
            answered(&world, &mut world.browser(), &world.rp(), "ratings", PROVIDER, &[("person", "hk-chan")]).await;
        assert_eq!(page.failure(), Some("CB-301"));
    };
    tokio::join!(one(), one(), one(), one());
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}
