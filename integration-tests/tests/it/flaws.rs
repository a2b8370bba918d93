//! Flaws that were found in this gateway, each with the test that keeps it away.

use std::time::{Duration, Instant};

use integration_tests::rp::{claims, query};
use integration_tests::{Browser, World};
use tokio::io::AsyncReadExt as _;
use url::Url;

fn rewrite(world: &World, file: &str, from: &str, to: &str) {
    let path = world.data.join("bundle").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} holds {from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// Consent given for a name released whatever that name was mapped to later, to whoever the operator was by then.
#[tokio::test(flavor = "multi_thread")]
async fn consent_holds_for_the_source_and_the_recipient_that_were_shown() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    world.sign_in(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let silent = rp.authorize("e-invoice", &[("prompt", "none")]);
    assert!(query(&browser.get(&silent).await.target(), "code").is_some());
    rewrite(&world, "services/e-invoice.toml", "from = 'claims.name'", "from = 'upper(claims.name)'");
    world.demo.gateway.app().tend(None).await;
    let error = query(&browser.get(&silent).await.target(), "error");
    assert_eq!(error.as_deref(), Some("consent_required"), "another source for the same name");

    // A page that was shown before a change does not answer the question after it.
    let mut other = world.browser();
    let page = world.to_consent(&mut other, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-wong").await;
    rewrite(&world, "clients/gd-bay-area-services.toml", "Bay Area service operator", "Another Company Ltd");
    world.demo.gateway.app().tend(None).await;
    let again = world.agree(&mut other, &page, &[]).await;
    assert!(again.path().ends_with("/consent"), "{again}");
    let page = other.get(again).await;
    assert!(query(&world.agree(&mut other, &page, &[]).await, "code").is_some());
}

/// An answer in another language than the page was shown in recorded a text that nobody had seen.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_to_the_page_in_the_language_it_was_shown_in() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    browser.get(format!("{}?lang=pt", page.url)).await;
    let again = world.agree(&mut browser, &page, &[]).await;
    assert!(again.path().ends_with("/consent"));
    let page = browser.get(again).await;
    assert!(page.body.contains("Autorizar"));
    assert!(query(&world.agree(&mut browser, &page, &[]).await, "code").is_some());
}

/// Signs in at the provider so that it remembers the person, and strips what the gateway asked of it.
async fn sneak(world: &World, browser: &mut Browser, authorize: &str) -> Url {
    let address = world.to_provider(browser, authorize, "hk-iam-smart").await;
    let mut stripped = address.clone();
    let kept: Vec<(String, String)> =
        address.query_pairs().into_owned().filter(|(name, _)| name != "prompt" && name != "max_age").collect();
    stripped.query_pairs_mut().clear().extend_pairs(kept);
    stripped
}

/// `prompt=login` and `max_age` travel upstream through the browser: only the answer shows whether they were honoured.
#[tokio::test(flavor = "multi_thread")]
async fn a_demand_for_a_new_login_is_enforced_on_the_way_back() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let address = world.to_provider(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let page = browser.get(&address).await;
    let handle = sandbox::provider::form_handle(&page.body).unwrap().to_owned();
    let form = [("handle", handle.as_str()), ("person", "hk-chan"), ("remember", "1")];
    let callback = browser.post(address.join("/authorize/decide").unwrap(), &form).await.target();
    let page = browser.follow_within(callback, world.issuer()).await;
    world.agree(&mut browser, &page, &[]).await;
    world.clock.advance(90);
    for demand in [[("prompt", "login")], [("max_age", "0")], [("max_age", "10")]] {
        let stripped = sneak(&world, &mut browser, &rp.authorize("e-invoice", &demand)).await;
        let reply = browser.get(&stripped).await;
        let callback = reply.location().expect("the provider answers from its own session");
        let page = browser.follow_within(callback, world.issuer()).await;
        assert_eq!(page.failure(), Some("CB-403"), "{demand:?}: {}", page.body);
    }
}

/// A session was renewed by its own use and never ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_a_fixed_time_after_its_login_however_often_it_is_used() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    world.sign_in(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let silent = rp.authorize("e-invoice", &[("prompt", "none")]);
    for _ in 0..4 {
        world.clock.advance(400);
        assert!(query(&browser.get(&silent).await.target(), "code").is_some());
    }
    world.clock.advance(400);
    assert_eq!(query(&browser.get(&silent).await.target(), "error").as_deref(), Some("login_required"));
}

/// F30: a connection that says nothing kept its place for ever.
#[tokio::test(flavor = "multi_thread")]
async fn f30_a_connection_that_says_nothing_is_closed() {
    let world = World::start().await;
    let port = Url::parse(world.issuer()).unwrap().port().unwrap();
    let started = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..50 {
        let tcp = tokio::net::TcpStream::connect(("localhost", port)).await.unwrap();
        let tls = tokio_rustls::TlsConnector::from(world.browser().tls);
        connections.push(tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap());
    }
    for mut connection in connections {
        let mut byte = [0; 1];
        let closed = tokio::time::timeout(Duration::from_secs(20), connection.read(&mut byte)).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "still open after {:?}", started.elapsed());
    }
}

/// Two people who answered one transaction: the second was handed the first one's code.
#[tokio::test(flavor = "multi_thread")]
async fn one_transaction_never_hands_one_person_anothers_code() {
    let world = World::start().await;
    let (rp, mut first) = (world.rp(), world.browser());
    let chooser = first.get(rp.authorize("e-invoice", &[])).await;
    let link = chooser.body.split('"').find(|part| part.ends_with("/to/hk-iam-smart")).unwrap().to_owned();
    let mut second = first.clone();
    let mut codes = Vec::new();
    for (browser, person) in [(&mut first, "hk-chan"), (&mut second, "hk-wong")] {
        let address = browser.get(format!("{}{link}", world.issuer())).await.target();
        let callback = world.sign_in_at_provider(browser, &address, person).await;
        let page = browser.follow_within(callback, world.issuer()).await;
        let question = page.field("question").unwrap();
        let reply = browser.post(&page.url, &[("question", &question), ("decision", "allow"), ("export", "yes")]).await;
        codes.push(reply.location().and_then(|back| query(&back, "code")));
    }
    assert!(codes[0].is_some() && codes[1].is_none(), "{codes:?}");
    let tokens = rp.redeem(codes[0].as_ref().unwrap()).await.json();
    assert_eq!(rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json()["name"], "CHAN, Tai Man");
}

/// A form posted several times at once: the answer that the browser shows last must be the code, not an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_double_click_is_answered_alike_every_time() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let form =
        [("question", page.field("question").unwrap()), ("decision", "allow".to_owned()), ("export", "yes".to_owned())];
    let posts: Vec<_> = (0..12)
        .map(|_| {
            let (mut browser, url, form) = (browser.clone(), page.url.clone(), form.clone());
            tokio::spawn(async move {
                let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
                browser.post(&url, &form).await
            })
        })
        .collect();
    let mut codes = Vec::new();
    for post in posts {
        let reply = post.await.unwrap();
        codes.push(reply.location().and_then(|back| query(&back, "code")).unwrap_or_else(|| panic!("{}", reply.body)));
    }
    codes.dedup();
    assert_eq!(codes.len(), 1);
    let tokens = rp.redeem(&codes[0]).await.json();
    assert!(claims(tokens["id_token"].as_str().unwrap())["sub"].is_string());
}

/// The same form posted once more when the code is over: a code that came again would look like a stolen one, and end the
/// tokens of whoever signed in.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_posted_again_later_brings_no_code() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let mut later = browser.clone();
    let back = world.agree(&mut browser, &page, &[]).await;
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    world.clock.advance(61);
    let question = page.field("question").unwrap();
    let again =
        later.post(&page.url, &[("question", question.as_str()), ("decision", "allow"), ("export", "yes")]).await;
    assert_eq!(again.location(), None);
    assert!(again.body.contains("已经完成"), "{}", again.body);
    assert_eq!(rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json()["name"], "CHAN, Tai Man");
}

/// Two tabs of somebody who was never here before: both link the person, one of them first.
#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_of_a_new_person_are_one_person() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let first = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-suharti").await;
    let second = world.to_consent(&mut browser, &rp.authorize("transit-card", &[]), "hk-iam-smart", "hk-suharti").await;
    let mut subjects = Vec::new();
    for page in [first, second] {
        let back = world.agree(&mut browser, &page, &[]).await;
        let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
        subjects.push(claims(tokens["id_token"].as_str().unwrap())["sub"].clone());
    }
    assert_eq!(subjects[0], subjects[1]);
}

/// A redirect URI that was taken off the list in mid-login still received the code.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_5467_a_redirect_uri_removed_in_mid_login_receives_nothing() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-wong").await;
    let page = world.to_consent(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    rewrite(&world, "clients/gd-bay-area-services.toml", "/callback\"", "/elsewhere\"");
    world.demo.gateway.app().tend(None).await;
    let question = page.field("question").unwrap();
    let reply = browser.post(&page.url, &[("question", &question), ("decision", "allow"), ("export", "yes")]).await;
    assert_eq!((reply.location(), reply.failure()), (None, Some("CB-103")));
    assert_eq!(rp.redeem(&code).await.json()["error"], "invalid_grant");
}

/// A provider's table made stricter did not reach sessions.
#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_table_holds_for_sessions_already_made() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    world.sign_in(&mut browser, &rp.authorize("school-enrolment", &[]), "hk-iam-smart", "hk-chan").await;
    let silent = rp.authorize("school-enrolment", &[("prompt", "none")]);
    assert!(query(&browser.get(&silent).await.target(), "code").is_some());
    rewrite(
        &world,
        "providers/hk-iam-smart.toml",
        "acr = \"iamsmart:sign\"\nidentity = 2\nauthentication = 2",
        "acr = \"iamsmart:sign\"\nidentity = 2\nauthentication = 1",
    );
    world.demo.gateway.app().tend(None).await;
    assert_eq!(query(&browser.get(&silent).await.target(), "error").as_deref(), Some("login_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_utf8_gets_our_own_page() {
    let world = World::start().await;
    for path in ["/login/%ff", "/callback/%ff", "/login/%00/consent", "/static/..%2f..%2fetc"] {
        let reply = world.browser().get(format!("{}{path}", world.issuer())).await;
        assert_eq!((reply.status.as_u16(), reply.failure()), (404, Some("CB-105")), "{path}");
        assert!(reply.headers.contains_key("content-security-policy"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_42471_large_requests_do_not_make_cookies_that_browsers_drop() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let names: String = (0..60).map(|n| format!("\"{}{n}\":null,", "c".repeat(60))).collect();
    let claims = format!("{{\"userinfo\":{{{}\"name\":null}}}}", names);
    let (state, nonce) = ("s".repeat(512), "n".repeat(512));
    let request = rp.authorize("e-invoice", &[("claims", &claims), ("state", &state), ("nonce", &nonce)]);
    world.to_provider(&mut browser, &request, "hk-iam-smart").await;
    for (name, value) in &browser.cookies {
        assert!(name.len() + value.len() < 4_000, "{name} has {} bytes", value.len());
    }
}
