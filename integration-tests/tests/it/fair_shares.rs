//! Strangers and slow peers stop nobody else: bounds, shares, and what is read before a place is taken.

use std::sync::Arc;
use std::time::Duration;

use gateway::http::connections::Connections;
use gateway::http::listener;
use http::Method;
use integration_tests::browser::{Browser, encode};
use integration_tests::rp::{Rp, claims, query};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::client::TlsStream;

use crate::iam_smart::{completes, waiting};

async fn connect(world: &World) -> TlsStream<tokio::net::TcpStream> {
    let port = url::Url::parse(world.issuer()).unwrap().port().unwrap();
    let tcp = tokio::net::TcpStream::connect(("localhost", port)).await.unwrap();
    let tls = tokio_rustls::TlsConnector::from(world.browser().tls);
    tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap()
}

async fn says(stream: &mut TlsStream<tokio::net::TcpStream>, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn head(world: &World, line: &str, more: &str) -> String {
    let host = world.issuer().trim_start_matches("https://");
    format!("{line} HTTP/1.1\r\nhost: {host}\r\n{more}\r\n")
}

/// Places for deliveries were taken by requests whose bodies never came: people waited for ever.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_whose_bodies_never_come_take_no_place() {
    let world = World::own(&[]).await;
    let mut silent = Vec::new();
    for path in ["/receive/hk-iam-smart", "/receive/anything", "/backchannel-logout/hk-iam-smart"] {
        for _ in 0..100 {
            let mut stream = connect(&world).await;
            says(&mut stream, &head(&world, &format!("POST {path}"), "content-length: 900\r\n")).await;
            silent.push(stream);
        }
    }
    let mut browser = world.browser();
    let (page, business) = waiting(&world, &mut browser, "hk-chan").await;
    assert_eq!(world.iam_smart().deliver(&business, true).await, 200);
    completes(&world, &mut browser, &page).await;
    assert_eq!(world.demo.gateway.app().limits.deliveries.refused(), 0);
}

/// Connections on which a body was still to come counted as busy for ten seconds: two addresses kept everybody else out.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_never_come_keep_nobody_out() {
    let world = World::own(&[]).await;
    let (chain, key) = integration_tests::peers::certificate(&world.data, "few");
    let tls = certs::tls::server(certs::tls::ReloadingCert::load(&chain, &key).unwrap()).unwrap();
    let bound = listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = bound.local_addr().unwrap().port();
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let router = axum::Router::new().fallback(async || "here");
    tokio::spawn(listener::serve(bound, tls, router, Connections::new(8), None, stopped));
    let open = async || {
        let tcp = tokio::net::TcpStream::connect(("localhost", port)).await.unwrap();
        tokio_rustls::TlsConnector::from(world.browser().tls)
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap()
    };
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut stream = open().await;
        says(&mut stream, "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n").await;
        silent.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // From the same address, which has all that one address may have.
    let mut next = open().await;
    says(&mut next, "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let mut answer = String::new();
    next.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("here"), "{answer}");
}

/// One portal whose host is slow had all places for requests by reference.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_portal_takes_its_own_share_only() {
    let world = World::start().await;
    let limits = &world.demo.gateway.app().limits;
    let by_reference = |client: &str, host: &str, address: &str| limits.by_reference.try_take(&[client, host, address]);
    let addresses: Vec<String> = (0..99).map(|at| format!("192.0.2.{at}")).collect();
    let own: Vec<_> = addresses.iter().map_while(|at| by_reference("slow", "https://slow.example", at)).collect();
    assert!(!own.is_empty() && own.len() <= limits.by_reference.free());
    assert!(by_reference("other", "https://slow.example", "198.51.100.1").is_none(), "its host as well");
    assert!(by_reference("other", "https://other.example", "198.51.100.1").is_some());
    drop(own);
    // Somebody who asks all the time keeps nobody else from the portal.
    let own: Vec<_> = std::iter::from_fn(|| by_reference("portal", "https://portal.example", "192.0.2.1")).collect();
    assert!(!own.is_empty() && by_reference("portal", "https://portal.example", "192.0.2.2").is_some());
    for shares in [&limits.climbs, &limits.renewals, &limits.resolving, &limits.checklists, &limits.direct] {
        let own: Vec<_> = std::iter::from_fn(|| shares.try_take(&["slow"])).collect();
        assert!(!own.is_empty() && shares.try_take(&["other"]).is_some());
    }
}

/// A stranger's GET made one signed call at the provider each time.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_only_so_many_calls_at_a_provider() {
    let world = World::own(&[]).await;
    let mut busy = 0;
    for at in 0..160 {
        let reply = world.browser().get(format!("{}/direct/hk-iam-smart?code=x{at}", world.issuer())).await;
        busy += usize::from(reply.status == 503 && reply.headers.contains_key("retry-after"));
    }
    assert!((30..=60).contains(&busy), "{busy}");
}

/// What one person can leave behind is bounded by what they are asked, not by how often they answer; one yes taken back takes all back.
#[tokio::test(flavor = "multi_thread")]
async fn one_record_a_question_however_often_it_is_answered() {
    let redirect = "https://again.example/cb";
    let client = client_document("again", redirect, "client_secret_basic", &secret_line());
    let service = service_document("kept", &["again"], &["hk-iam-smart"], "remember_consent = \"90d\"");
    let world = World::with(&[("clients/again.toml", &client), ("services/kept.toml", &service)]).await;
    let (rp, mut browser) = (world.client("again", Some(SECRET), redirect), world.browser());
    let store = &world.demo.gateway.app().store;
    let mut tokens = Vec::new();
    let ask = rp.authorize("kept", &[("prompt", "consent")]);
    let mut page = world.to_consent(&mut browser, &ask, "hk-iam-smart", "hk-chan").await;
    for ticked in [&[][..], &["email"], &["email"], &[], &[]] {
        let back = world.agree(&mut browser, &page, ticked).await;
        let answer = rp.redeem(&query(&back, "code").unwrap()).await.json();
        tokens.push(answer["access_token"].as_str().unwrap().to_owned());
        page = browser.follow_within(ask.clone(), world.issuer()).await;
    }
    for table in ["consent", "consents-of"] {
        assert_eq!(store.list(table, None, 10, world.now()).await.unwrap().len(), 1, "{table}");
    }
    let account = browser.get(format!("{}/account?lang=en", world.issuer())).await;
    assert_eq!(account.body.matches("name=\"receipt\"").count(), 1, "{}", account.body);
    assert!(account.body.contains("before, "), "what changed is shown: {}", account.body);
    for token in &tokens {
        assert_eq!(rp.userinfo(token).await.status, 200);
    }
    let receipt = account.field("receipt").unwrap();
    let _ = browser.post(format!("{}/account/withdraw", world.issuer()), &[("receipt", &receipt)]).await.target();
    for token in &tokens {
        assert_eq!(rp.userinfo(token).await.status, 401);
    }
    assert_eq!(store.list("consent-withdrawn", None, 10, world.now()).await.unwrap().len(), 1, "one mark");
}

/// Somebody who is signed in wrote down twenty thousand consents in three minutes.
#[tokio::test(flavor = "multi_thread")]
async fn one_person_signs_in_only_so_often() {
    let world = World::start().await;
    let rp = world.rp();
    let authorize = rp.authorize("ratings", &[]);
    let mut refused = None;
    for at in 0..70 {
        let page = world.to_consent(&mut world.browser(), &authorize, "hk-iam-smart", "hk-chan").await;
        let code = page.location().and_then(|back| query(&back, "code"));
        if code.is_none() && page.failure() == Some("CB-501") {
            refused = Some(at);
            break;
        }
    }
    assert!(refused.is_some_and(|at| at >= 30), "{refused:?}");
    // Nobody else is.
    assert!(!world.code(&rp, "e-invoice", "hk-iam-smart", "hk-wong").await.is_empty());
}

const FIELDS: &str = r#"
[detail.a]
kind = "text"
longest = 200
name = { zh-Hans = "甲", zh-Hant-HK = "甲", pt = "A", en = "Field A" }
[detail.b]
kind = "text"
longest = 200
name = { zh-Hans = "乙", zh-Hant-HK = "乙", pt = "B", en = "Field B" }
[detail.c]
kind = "text"
longest = 200
name = { zh-Hans = "丙", zh-Hant-HK = "丙", pt = "C", en = "Field C" }
"#;

/// Details within their limits made cookies that browsers drop; a subject without a limit did as well.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_makes_a_cookie_that_a_browser_drops() {
    let redirect = "https://large.example/cb";
    let client = client_document("large", redirect, "client_secret_basic", &secret_line());
    let service = service_document("wide", &["large"], &["hk-iam-smart"], "") + FIELDS;
    let world = World::with(&[("clients/large.toml", &client), ("services/wide.toml", &service)]).await;
    let rp = world.client("large", Some(SECRET), redirect);
    let longest = "字".repeat(200);
    let details =
        json!([{"type": "https://services.example/wide", "a": longest, "b": longest, "c": longest}]).to_string();
    let state = "s".repeat(512);
    let large = rp.authorize("wide", &[("authorization_details", &details), ("state", &state), ("nonce", &state)]);
    let small = rp.authorize("wide", &[]);
    let mut browser = world.browser();
    let (mut first, mut last) = (None, None);
    for at in 0..14 {
        let address = world.to_provider(&mut browser, if at == 13 { &large } else { &small }, "hk-iam-smart").await;
        if at == 10 {
            first = Some(address);
        } else {
            last = Some(address);
        }
        for (name, value) in &browser.cookies {
            assert!(name.len() + value.len() < 3_000, "{name} weighs {}", value.len());
        }
    }
    // Both the large one and one that was begun before it are finished.
    for (address, details) in [(last.unwrap(), true), (first.unwrap(), false)] {
        let callback = world.sign_in_at_provider(&mut browser, &address, "hk-chan").await;
        let page = browser.follow_within(callback, world.issuer()).await;
        assert_eq!(page.body.contains("字字字"), details, "{}", page.body);
        let back = world.agree(&mut browser, &page, &[]).await;
        let code = query(&back, "code").unwrap();
        assert_eq!(query(&back, "state").map(|state| state.len()), Some(if details { 512 } else { 7 }));
        let tokens = rp.redeem(&code).await.json();
        assert_eq!(tokens["authorization_details"].is_array(), details, "{tokens}");
        assert!(claims(tokens["id_token"].as_str().unwrap())["sub"].is_string());
    }
    let subject = json!({"id_token": {"sub": {"value": "x".repeat(256)}}}).to_string();
    let refused = world.browser().get(rp.authorize("wide", &[("claims", &subject)])).await.target();
    assert_eq!(query(&refused, "error").as_deref(), Some("invalid_request"));
}

/// Fourteen tabs and a long address gave an empty 431.
#[tokio::test(flavor = "multi_thread")]
async fn many_tabs_and_a_long_address_are_answered_with_a_page() {
    let world = World::start().await;
    let rp = world.rp();
    let mut browser = world.browser();
    for _ in 0..14 {
        browser.get(rp.authorize("e-invoice", &[("state", &"s".repeat(300))])).await;
    }
    let long = rp.authorize("e-invoice", &[("unknown", &"x".repeat(8_000)), ("more", &"y".repeat(7_000))]);
    let page = browser.get(&long).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("/to/hk-iam-smart"));
    // A form that cannot be sent on as an address says so.
    let form = [
        ("client_id", rp.client_id.as_str()),
        ("unknown", &"x".repeat(8_000)),
        ("more", &"y".repeat(8_000)),
        ("z", &"z".repeat(4_000)),
    ];
    let posted = browser.send(Method::POST, &format!("{}/authorize", world.issuer()), Some(encode(&form)), &[]).await;
    assert_eq!((posted.status.as_u16(), posted.failure()), (414, Some("CB-101")), "{}", posted.body);
}

/// An idle connection was cut after the very five seconds that we tell terminals to wait between two polls.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_the_interval_at_which_terminals_poll() {
    let world = World::start().await;
    let mut stream = connect(&world).await;
    for _ in 0..3 {
        says(&mut stream, &head(&world, "GET /jwks", "")).await;
        let mut answer = vec![0; 16 * 1024];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
        tokio::time::sleep(Duration::from_millis(6_500)).await;
    }
    // A header that comes by the letter is cut all the same.
    says(&mut stream, "GET /jw").await;
    let cut = tokio::time::timeout(Duration::from_secs(9), stream.read(&mut [0; 64])).await;
    assert!(matches!(cut, Ok(Ok(0) | Err(_))), "{cut:?}");
}

/// The answer to a request whose body was not read could be lost with its connection.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_body_that_is_too_large_arrives_and_says_that_the_connection_ends() {
    let world = World::start().await;
    for (length, sent) in [(200_000, 200_000), (50_000_000, 300_000)] {
        let mut stream = connect(&world).await;
        let more = format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n");
        says(&mut stream, &head(&world, "POST /token", &more)).await;
        let _ = stream.write_all(&vec![b'x'; sent]).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        assert!(answer.starts_with("http/1.1 400") && answer.contains("connection: close"), "{length}: {answer}");
        assert!(answer.contains("too large"), "{answer}");
    }
}

/// A used code that fails another check first is used again all the same, and what came of it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_code_is_seen_whatever_else_is_wrong_with_its_request() {
    let world = World::start().await;
    let rp = world.rp();
    for wrong in [
        vec![("resource", "https://services.example/ratings")],
        vec![("code_verifier", "another-verifier-that-is-long-enough-to-be-one-of-them")],
        vec![("redirect_uri", "https://elsewhere.example/cb")],
        vec![],
    ] {
        let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
        let tokens = rp.redeem(&code).await.json();
        let access = tokens["access_token"].as_str().unwrap();
        assert_eq!(rp.userinfo(access).await.status, 200);
        let mut form = rp.token_form(&code);
        form.retain(|(name, _)| !wrong.iter().any(|(other, _)| other == name));
        form.extend(&wrong);
        assert_eq!(rp.token(&form).await.json()["error"], "invalid_grant", "{wrong:?}");
        assert_eq!(rp.userinfo(access).await.status, 401, "{wrong:?}");
    }
}

/// After signing out, a code that was used is still one that was used.
#[tokio::test(flavor = "multi_thread")]
async fn a_used_code_is_seen_after_signing_out() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let back = world.sign_in(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let code = query(&back, "code").unwrap();
    let access = rp.redeem(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await;
    assert_eq!(rp.redeem(&code).await.json()["error"], "invalid_grant");
    assert_eq!(rp.userinfo(&access).await.status, 401);
}

async fn at_consent(world: &World, rp: &Rp, browser: &mut Browser) -> integration_tests::Reply {
    let page = world.to_consent(browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    assert!(page.url.path().ends_with("/consent"));
    page
}

/// A copy of a sign-in's cookie still led to a code after the person had refused, given up or signed out.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_cookie_leads_to_no_code_after_the_person_refused_or_signed_out() {
    let world = World::start().await;
    let rp = world.rp();
    for how in ["refuse", "cancel", "sign-out", "portal"] {
        let mut browser = world.browser();
        let page = at_consent(&world, &rp, &mut browser).await;
        let mut thief = browser.clone();
        let login = page.url.as_str().trim_end_matches("/consent").to_owned();
        match how {
            "refuse" => {
                let question = page.field("question").unwrap();
                let _ = browser.post(&page.url, &[("question", &question), ("decision", "refuse")]).await.target();
            }
            "cancel" => drop(browser.post(format!("{login}/cancel"), &[]).await.target()),
            "sign-out" => drop(browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await),
            _ => drop(browser.post(format!("{}/logout/confirm", world.issuer()), &[]).await),
        }
        let question = page.field("question").unwrap();
        let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
        let answer = thief.post(&page.url, &form).await;
        assert!(answer.location().is_none_or(|back| query(&back, "code").is_none()), "{how}: {:?}", answer.location());
    }
}

/// The durable mark of a token that was given back was written and not looked at: it lived again with an ephemeral class that lost
/// its last seconds. So did a session after its sign-out.
#[tokio::test(flavor = "multi_thread")]
async fn what_ended_stays_so_when_the_ephemeral_class_loses_its_last_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::at(&folder.path().join("data"), &[]).await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let back = world.sign_in(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let access = rp.redeem(&query(&back, "code").unwrap()).await.json()["access_token"].as_str().unwrap().to_owned();
    let store = world.data.join("store");
    // The gateway is stopped for the copy, so that the copy is a state that once was.
    let world = world.restarted().await;
    let (rp, before) = (Rp { http: world.browser(), ..rp }, folder.path().join("before"));
    let silent = rp.authorize("e-invoice", &[("prompt", "none")]);
    assert!(query(&browser.get(&silent).await.target(), "error").is_none_or(|error| error == "consent_required"));
    assert_eq!(rp.userinfo(&access).await.status, 200);
    copy(&store.join("ephemeral"), &before);
    let mut old = browser.clone();
    assert_eq!(rp.post("/revoke", &[("token", &access)]).await.status, 200);
    browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await;
    let world = world
        .restarted_with(|_| {
            std::fs::remove_dir_all(store.join("ephemeral")).unwrap();
            copy(&before, &store.join("ephemeral"));
        })
        .await;
    let rp = Rp { http: world.browser(), ..rp };
    assert_eq!(rp.userinfo(&access).await.status, 401, "given back is given back");
    assert_eq!(query(&old.get(&silent).await.target(), "error").as_deref(), Some("login_required"));
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A remembered answer that cannot be read ended the sign-in; the question is put again.
#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_answer_that_cannot_be_read_is_asked_for_again() {
    use gateway::store::{Batch, Class, Write};
    let redirect = "https://again.example/cb";
    let client = client_document("again", redirect, "client_secret_basic", &secret_line());
    let service = service_document("kept", &["again"], &["hk-iam-smart"], "remember_consent = \"90d\"");
    let world = World::with(&[("clients/again.toml", &client), ("services/kept.toml", &service)]).await;
    let (rp, mut browser) = (world.client("again", Some(SECRET), redirect), world.browser());
    world.sign_in(&mut browser, &rp.authorize("kept", &[]), "hk-iam-smart", "hk-chan").await;
    let store = Arc::clone(&world.demo.gateway.app().store);
    let (key, _) = store.list("consent", None, 1, world.now()).await.unwrap().remove(0);
    let spoilt = Batch::of(Write::Put(key, b"spoilt".to_vec(), None));
    store.commit(Class::Durable, spoilt, world.now()).await.unwrap();
    let page = browser.follow_within(rp.authorize("kept", &[]), world.issuer()).await;
    assert!(page.url.path().ends_with("/consent"), "{}", page.body);
    assert!(query(&world.agree(&mut browser, &page, &[]).await, "code").is_some());
    assert_eq!(browser.get(format!("{}/account", world.issuer())).await.status, 200);
}
