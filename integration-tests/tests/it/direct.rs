//! Sign-ins that began in the provider's app: a question, never a session by itself.

use integration_tests::rp::query;
use integration_tests::{Browser, Reply, World};

/// From inside the app to the question.
async fn arrive(world: &World, browser: &mut Browser, person: &str) -> Reply {
    let app = world.simulator("hk-iam-smart").url.clone();
    let away = browser.post(format!("{app}/direct"), &[("client", "gateway"), ("person", person)]).await;
    let page = browser.follow_within(away.target(), world.issuer()).await;
    assert_eq!(page.url.path(), "/direct", "{}", page.body);
    page
}

async fn answer(world: &World, browser: &mut Browser, page: &Reply, to: &str) -> Reply {
    let question = page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "yes"), ("to", to)];
    browser.post(format!("{}/direct", world.issuer()), &form).await
}

const RATINGS: &str = "gd-bay-area-services ratings";

async fn account(world: &World, browser: &mut Browser) -> String {
    browser.get(format!("{}/account?lang=en", world.issuer())).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_leads_to_the_portal_and_the_login_serves_what_needs_no_more() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let page = arrive(&world, &mut browser, "hk-chan").await;
    assert!(account(&world, &mut browser).await.contains("not signed in"), "nothing before the yes");
    let portal = answer(&world, &mut browser, &page, RATINGS).await.target();
    assert_eq!(query(&portal, "iss").as_deref(), Some(world.issuer()));
    assert!(query(&portal, "target_link_uri").unwrap().ends_with("/ratings"));
    // Nothing about the person goes out, so nothing is asked.
    let page = browser.follow_within(world.rp().authorize("ratings", &[]), world.issuer()).await;
    assert!(page.location().and_then(|back| query(&back, "code")).is_some(), "{}", page.body);
    // What needs data, or a login of known age, needs a login of its own.
    let page = browser.get(world.rp().authorize("medical-appointment", &[])).await;
    assert!(page.location().is_some_and(|address| address.path().ends_with("/getQR")), "{}", page.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_to_the_page_that_was_shown_and_counts_once() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let own = arrive(&world, &mut browser, "hk-chan").await;
    // A stranger's link is opened in another tab meanwhile.
    arrive(&world, &mut browser, "hk-wong").await;
    assert_eq!(
        answer(&world, &mut browser, &own, RATINGS).await.target().path(),
        "/direct",
        "the question is put again"
    );
    assert!(account(&world, &mut browser).await.contains("not signed in"));
    let page = browser.get(format!("{}/direct", world.issuer())).await;
    let question = page.field("question").unwrap();
    let no = [("question", question.as_str()), ("decision", "no")];
    browser.post(format!("{}/direct", world.issuer()), &no).await;
    assert_eq!(browser.get(format!("{}/direct", world.issuer())).await.failure(), Some("CB-201"));
    let page = arrive(&world, &mut browser, "hk-chan").await;
    let kept = browser.cookies.clone();
    assert!(answer(&world, &mut browser, &page, RATINGS).await.location().is_some());
    browser.cookies = kept;
    assert_eq!(answer(&world, &mut browser, &page, RATINGS).await.failure(), Some("CB-201"), "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_browser_another_site_and_another_provider_get_nowhere() {
    let world = World::own(&[]).await;
    let mut browser = world.browser();
    let page = arrive(&world, &mut browser, "hk-chan").await;
    assert_eq!(answer(&world, &mut world.browser(), &page, RATINGS).await.failure(), Some("CB-201"));
    let body = format!("question={}&decision=yes&to=gd-bay-area-services+ratings", page.field("question").unwrap());
    let url = format!("{}/direct", world.issuer());
    let foreign = browser.send(http::Method::POST, &url, Some(body), &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(foreign.failure(), Some("CB-204"));
    assert_eq!(answer(&world, &mut browser, &page, "nobody nothing").await.failure(), Some("CB-204"));
    for path in ["gd-unified", "nobody"] {
        let reply = browser.get(format!("{}/direct/{path}?code=x", world.issuer())).await;
        assert!(reply.failure().is_some(), "{path}");
    }
    let spent = world.iam_smart().counters().token;
    let refused = browser.get(format!("{}/direct/hk-iam-smart?code=made-up&RefID=1", world.issuer())).await;
    assert_eq!(refused.failure(), Some("CB-207"));
    assert_eq!(world.iam_smart().counters().token, spent + 1);
}
