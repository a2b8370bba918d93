//! Signing out: at a portal's request and at one's own, and who hears of it.

use gateway::control::{self, Order};
use gateway::notices;
use gateway::store::{Batch, Class, Key, Write};
use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Browser, Reply, Rp, World};
use serde_json::{Value, json};

use crate::peers::npm;

const BYE: &str = "https://portal.example/bye";

pub(crate) async fn world() -> (World, Rp) {
    let lines = format!("{}\npost_logout_redirect_uris = [\"{BYE}\"]", secret_line());
    let client = client_document("portal", "https://portal.example/cb", "client_secret_basic", &lines);
    // Another portal, which has no place where it could be told.
    let other = client_document("other", "https://other.example/cb", "client_secret_basic", &secret_line());
    let service = service_document("matter", &["portal", "other"], &["hk-iam-smart"], "remember_consent = \"30d\"");
    let world = World::with(&[
        ("clients/portal.toml", &client),
        ("clients/other.toml", &other.replace("测试", "另一个门户")),
        ("services/matter.toml", &service),
    ])
    .await;
    let rp = world.client("portal", Some(SECRET), "https://portal.example/cb");
    (world, rp)
}

fn other(world: &World) -> Rp {
    world.client("other", Some(SECRET), "https://other.example/cb")
}

pub(crate) async fn id_token(world: &World, rp: &Rp, browser: &mut Browser) -> String {
    let authorize = rp.authorize("matter", &[]);
    let first = browser.clone().get(&authorize).await;
    // A session that is there already serves, and the person is only asked.
    let back = match first.location().filter(|next| next.as_str().starts_with(world.issuer())) {
        Some(_) => {
            let page = browser.follow_within(&authorize, world.issuer()).await;
            world.agree(browser, &page, &[]).await
        }
        None => world.sign_in(browser, &authorize, "hk-iam-smart", "hk-chan").await,
    };
    let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
    tokens["id_token"].as_str().unwrap().to_owned()
}

fn end(world: &World, pairs: &[(&str, &str)]) -> String {
    format!("{}/logout?{}", world.issuer(), integration_tests::browser::encode(pairs))
}

pub(crate) async fn is_signed_in(rp: &Rp, browser: &mut Browser) -> bool {
    let silent = browser.get(rp.authorize("matter", &[("prompt", "none")])).await.target();
    query(&silent, "code").is_some()
}

/// The form of a page with its hidden fields, posted.
async fn confirmed(browser: &mut Browser, page: &Reply, names: &[&str]) -> Reply {
    let fields: Vec<(&str, String)> =
        names.iter().filter_map(|name| page.field(name).map(|value| (*name, value))).collect();
    let form: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let url = page.url.join("/logout/confirm").unwrap();
    browser.post(url, &form).await
}

/// OpenID Connect RP-Initiated Logout section 2: the portal that holds the session's ID token ends it, and gets its browser back
/// with its `state`. A portal that cannot be told is named on a page first.
#[tokio::test(flavor = "multi_thread")]
async fn rp_initiated_logout_2_a_portal_ends_the_session_it_has() {
    let (world, rp) = world().await;
    let mut browser = world.browser();
    let token = id_token(&world, &rp, &mut browser).await;
    assert!(claims(&token)["sid"].is_string());
    assert!(is_signed_in(&rp, &mut browser).await);
    let url = end(&world, &[("id_token_hint", &token), ("post_logout_redirect_uri", BYE), ("state", "s1")]);
    // Whoever asks knows: with nobody else to be told, there is nothing to read in between.
    assert_eq!(browser.clone().get(&url).await.target().as_str(), format!("{BYE}?state=s1"));
    assert!(!is_signed_in(&rp, &mut browser).await);
    let token = id_token(&world, &rp, &mut browser).await;
    id_token(&world, &other(&world), &mut browser).await;
    let url = end(&world, &[("id_token_hint", &token), ("post_logout_redirect_uri", BYE), ("state", "s1")]);
    let page = browser.get(&url).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains("另一个门户") && page.body.contains(&format!("{BYE}?state=s1")), "{}", page.body);
    assert!(!is_signed_in(&rp, &mut browser).await);
    // To end what does not exist is a success, however often.
    let again = browser.get(&url).await;
    assert_eq!(again.target().as_str(), format!("{BYE}?state=s1"));
    // By POST, as a portal's page does it across sites.
    let form = [("id_token_hint", token.as_str()), ("post_logout_redirect_uri", BYE)];
    let body = integration_tests::browser::encode(&form);
    let posted = browser
        .send(
            http::Method::POST,
            &format!("{}/logout", world.issuer()),
            Some(body),
            &[("sec-fetch-site", "cross-site")],
        )
        .await;
    assert_eq!(browser.get(posted.target()).await.target().as_str(), BYE);
}

/// Nobody else signs a person out without asking: not a page without a token, and not with a token of another session.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_has_to_have_the_person_asked() {
    let (world, rp) = world().await;
    let (mut browser, mut other) = (world.browser(), world.browser());
    id_token(&world, &rp, &mut browser).await;
    let others = id_token(&world, &rp, &mut other).await;
    for pairs in [vec![], vec![("client_id", "portal")], vec![("id_token_hint", others.as_str()), ("state", "x")]] {
        let page = browser.get(end(&world, &pairs)).await;
        assert!(page.body.contains("action=\"/logout/confirm?lang="), "{}", page.body);
        assert!(is_signed_in(&rp, &mut browser).await);
    }
    // CSRF: a form from elsewhere confirms nothing.
    let url = format!("{}/logout/confirm", world.issuer());
    let forged = browser
        .send(http::Method::POST, &url, Some("client_id=portal".into()), &[("sec-fetch-site", "cross-site")])
        .await;
    assert_eq!(forged.status, 403);
    assert!(is_signed_in(&rp, &mut browser).await);
    let pairs = [("client_id", "portal"), ("post_logout_redirect_uri", BYE), ("state", "\"><script>")];
    let page = browser.get(end(&world, &pairs)).await;
    assert!(!page.body.contains("\"><script>"), "{}", page.body);
    let done = confirmed(&mut browser, &page, &["client_id", "post_logout_redirect_uri"]).await;
    assert_eq!(done.target().as_str(), BYE);
    assert!(!is_signed_in(&rp, &mut browser).await);
    assert!(is_signed_in(&rp, &mut other).await, "the other browser is another session");
}

/// Requests that are wrong end nothing and lead nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_to_log_out_end_nothing() {
    let (world, rp) = world().await;
    let mut browser = world.browser();
    let token = id_token(&world, &rp, &mut browser).await;
    let broken = format!("{}A", &token[..token.len() - 2]);
    for pairs in [
        vec![("id_token_hint", token.as_str()), ("post_logout_redirect_uri", "https://evil.example/")],
        vec![("id_token_hint", token.as_str()), ("post_logout_redirect_uri", "https://portal.example/cb")],
        vec![("id_token_hint", token.as_str()), ("client_id", "gd-bay-area-services")],
        vec![("id_token_hint", broken.as_str())],
        vec![("id_token_hint", "a.b.c")],
        vec![("client_id", "nobody")],
        vec![("post_logout_redirect_uri", BYE)],
        vec![("id_token_hint", token.as_str()), ("state", "a"), ("state", "b")],
    ] {
        let page = browser.get(end(&world, &pairs)).await;
        assert_eq!((page.status.as_u16(), page.location()), (400, None), "{pairs:?}");
        assert!(is_signed_in(&rp, &mut browser).await, "{pairs:?}");
    }
    // An old token still says which session it was (section 4).
    world.clock.advance(600);
    let page = browser.get(end(&world, &[("id_token_hint", &token)])).await;
    assert_eq!(page.status, 200);
    assert!(!is_signed_in(&rp, &mut browser).await);
}

/// Whom a session served is not forgotten when its person signs in anew, and told when somebody else takes the browser over.
#[tokio::test(flavor = "multi_thread")]
async fn signing_in_again_forgets_no_portal() {
    let (world, rp) = world().await;
    let mut browser = world.browser();
    let token = id_token(&world, &other(&world), &mut browser).await;
    let anew = rp.authorize("matter", &[("prompt", "login")]);
    let back = world.sign_in(&mut browser, &anew, "hk-iam-smart", "hk-chan").await;
    assert!(query(&back, "code").is_some());
    // The first portal's own token still ends the session, and the second is named.
    let page = browser.get(end(&world, &[("id_token_hint", &token)])).await;
    assert!(page.body.contains("另一个门户") && page.body.contains("测试"), "{}", page.body);
    assert!(!is_signed_in(&rp, &mut browser).await);
}

/// The same at a machine that people share: the one before is signed out everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_person_ends_the_session_of_the_one_before() {
    let lines = format!("{}\nbackchannel_logout_uri = \"@PORTAL@/backchannel\"", secret_line());
    let portal = json!({"auth": {"method": "client_secret_basic", "secret": SECRET}});
    let npm = npm("client_secret_basic", portal, ("client_secret_basic", &lines)).await;
    let (world, mut browser) = (&npm.world, npm.world.browser());
    let result = npm.login_in(&mut browser, "", &[]).await;
    assert_eq!(result["ok"], true, "{result:#}");
    let next = world.rp().authorize("e-invoice", &[("prompt", "login")]);
    world.sign_in(&mut browser, &next, "hk-iam-smart", "hk-chan").await;
    let app = world.demo.gateway.app();
    // What cannot be read stops nobody.
    let garbage = Write::Put(Key::new("logout-notice", "0"), b"garbage".to_vec(), None);
    app.store.commit(Class::Durable, Batch::of(garbage), world.now()).await.unwrap();
    notices::send_due(app).await.unwrap();
    let heard = world.browser().get(format!("{}/heard", npm.portal)).await.json();
    assert_eq!(heard[0]["sid"], result["id_token_claims"]["sid"]);
}

/// Notices were sent in the order in which they were due, and those of a portal that did not hear stood before all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_does_not_hear_takes_nobody_elses_turn() {
    let lines = format!("{}\nbackchannel_logout_uri = \"@PORTAL@/backchannel\"", secret_line());
    let portal = json!({"auth": {"method": "client_secret_basic", "secret": SECRET}});
    let npm = npm("client_secret_basic", portal, ("client_secret_basic", &lines)).await;
    let (app, now) = (npm.world.demo.gateway.app(), npm.world.now());
    let notice = |client: &str, id: usize, due: u64| notices::Notice {
        id: format!("{id:08}"),
        client: client.parse().unwrap(),
        subject: "somebody".into(),
        sid: format!("session-{id}"),
        made_at: now,
        attempts: 0,
        failure: String::new(),
        due: gateway_core::time::Timestamp(due),
    };
    let silent = (0..2_100).map(|id| notice("gone-and-away", id, now.0 - 1_000));
    let all = silent.chain([notice("npm-portal", 9_999, now.0)]);
    let writes = all.map(|notice| notice.laid_down(&app.seals).unwrap()).collect();
    app.store.commit(Class::Durable, Batch { writes, ..Batch::default() }, now).await.unwrap();
    notices::send_due(app).await.unwrap();
    let heard = npm.world.browser().get(format!("{}/heard", npm.portal)).await.json();
    assert_eq!(heard[0]["sid"], "session-9999", "{heard}");
}

/// OpenID Connect Front-Channel Logout sections 2 and 3: a portal's own page is opened, told which session, and nothing is promised.
#[tokio::test(flavor = "multi_thread")]
async fn front_channel_logout_3_a_portals_own_page_is_opened() {
    let (world, rp) = world().await;
    let file = world.data.join("bundle/clients/other.toml");
    let line = "frontchannel_logout_uri = \"https://other.example/out?of=here\"\n\
                post_logout_redirect_uris = [\"https://other.example/bye\"]\njurisdiction";
    let text = std::fs::read_to_string(&file).unwrap().replacen("jurisdiction", line, 1);
    std::fs::write(&file, text).unwrap();
    world.demo.gateway.app().tend(None).await;
    let mut browser = world.browser();
    let token = id_token(&world, &rp, &mut browser).await;
    let others = id_token(&world, &other(&world), &mut browser).await;
    let page = browser.get(end(&world, &[("id_token_hint", &token), ("post_logout_redirect_uri", BYE)])).await;
    let issuer: String = url::form_urlencoded::byte_serialize(world.issuer().as_bytes()).collect();
    let frame =
        format!("https://other.example/out?of=here&iss={issuer}&sid={}", claims(&others)["sid"].as_str().unwrap());
    assert!(page.body.contains(&frame.replace('&', "&#38;")), "{frame} {}", page.body);
    assert!(page.body.contains("无法确认结果") && page.body.contains(BYE), "{}", page.body);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("frame-src https://other.example") && policy.contains("default-src 'none'"), "{policy}");
    assert!(!page.body.contains("/static/leave.js"), "there is something to read");
    // Whoever asks has its own page opened too; with nothing to read, the page goes on by itself, or by its link.
    let mut browser = world.browser();
    let hint = id_token(&world, &other(&world), &mut browser).await;
    let back = "https://other.example/bye";
    let page = browser.get(end(&world, &[("id_token_hint", &hint), ("post_logout_redirect_uri", back)])).await;
    let frame = format!("https://other.example/out?of=here&#38;iss={issuer}&#38;sid=");
    assert!(page.body.contains(&frame) && page.body.contains("/static/leave.js"), "{}", page.body);
    assert!(page.body.contains(&format!("id=\"onward\" href=\"{back}\"")) && !page.body.contains("无法确认结果"));
}

/// Only an ID token is a hint: not what else we sign for the same client.
#[tokio::test(flavor = "multi_thread")]
async fn other_tokens_of_ours_are_no_hints() {
    let (world, rp) = world().await;
    let mut browser = world.browser();
    let token = id_token(&world, &rp, &mut browser).await;
    let app = world.demo.gateway.app();
    let claims = claims(&token).as_object().unwrap().clone();
    let sign = |typ: &str, claims: &serde_json::Map<String, Value>| {
        app.keys.sign(certs::key::Algorithm::ES256, typ, claims).unwrap()
    };
    let mut userinfo = claims.clone();
    userinfo.remove("at_hash");
    for other in [sign("logout+jwt", &claims), sign("at+jwt", &claims), sign("JWT", &userinfo)] {
        assert_eq!(browser.get(end(&world, &[("id_token_hint", &other)])).await.status, 400);
        let hinted = browser.get(rp.authorize("matter", &[("prompt", "none"), ("id_token_hint", &other)])).await;
        assert_eq!(query(&hinted.target(), "error").as_deref(), Some("invalid_request"));
    }
    assert!(is_signed_in(&rp, &mut browser).await);
    // Without a session a request to log out touches nothing else: a sign-in in another tab goes on.
    let mut fresh = world.browser();
    let chooser = fresh.get(rp.authorize("matter", &[("state", "kept")])).await;
    let before = fresh.cookies.len();
    fresh.get(end(&world, &[])).await;
    assert_eq!(fresh.cookies.len(), before, "{:?}", chooser.location());
}

/// CVE-2025-32441: what was asked in one tab is not given after the person signed out in another.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_32441_signed_out_is_signed_out_in_every_tab() {
    let (world, rp) = world().await;
    let mut browser = world.browser();
    let token = id_token(&world, &rp, &mut browser).await;
    let question = browser.get(rp.authorize("matter", &[("prompt", "consent")])).await;
    let page = browser.follow_within(question.target(), world.issuer()).await;
    let mut tab = browser.clone();
    browser.get(end(&world, &[("id_token_hint", &token)])).await;
    let question = page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
    let refused = tab.post(&page.url, &form).await;
    assert_eq!(refused.location().and_then(|back| query(&back, "code")), None, "{}", refused.body);
}

/// OpenID Connect Back-Channel Logout with a certified client: told at once; told again when it did not hear; operators see it.
#[tokio::test(flavor = "multi_thread")]
async fn back_channel_logout_with_openid_client() {
    let lines = format!(
        "{}\nbackchannel_logout_uri = \"@PORTAL@/backchannel\"\npost_logout_redirect_uris = [\"@PORTAL@/\"]",
        secret_line()
    );
    let portal = json!({"auth": {"method": "client_secret_basic", "secret": SECRET}});
    let npm = npm("client_secret_basic", portal, ("client_secret_basic", &lines)).await;
    let (world, home) = (&npm.world, format!("{}/", npm.portal));
    let heard = async || -> Value { world.browser().get(format!("{}/heard", npm.portal)).await.json() };
    for answers in [true, false] {
        let mut browser = world.browser();
        let result = npm.login_in(&mut browser, "", &[]).await;
        assert_eq!(result["ok"], true, "{result:#}");
        let claims = &result["id_token_claims"];
        let status = if answers { 200 } else { 503 };
        world.browser().get(format!("{}/answer?status={status}", npm.portal)).await;
        let before = heard().await.as_array().unwrap().len();
        let endpoint = result["end_session_endpoint"].as_str().unwrap();
        let pairs = [("id_token_hint", result["id_token"].as_str().unwrap()), ("post_logout_redirect_uri", &home)];
        // At the portal's own request it knows; at the person's, what did not hear is on the page.
        let done = if answers {
            browser.get(format!("{endpoint}?{}", integration_tests::browser::encode(&pairs))).await
        } else {
            browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await
        };
        let app = world.demo.gateway.app();
        let waiting = async || notices::shown(&app.store, &app.seals, world.now()).await.unwrap();
        if answers {
            assert_eq!(done.target().as_str(), home, "everybody has ended: no page in between");
        } else {
            assert!(done.body.contains("暂时联系不上"), "{}", done.body);
            let shown = waiting().await;
            assert_eq!((shown.len(), shown[0].attempts, shown[0].failure.as_str()), (1, 1, "status 503"));
            // `gateway logouts` asks the same of the running gateway.
            let socket = world.data.join("control.sock");
            let listed = control::order(&socket, &Order::Logouts).await.unwrap().unwrap();
            assert_eq!((&listed[0]["client"], &listed[0]["attempts"]), (&json!("npm-portal"), &json!(1)));
            // Not before its time, and then again.
            notices::send_due(app).await.unwrap();
            assert_eq!(waiting().await[0].attempts, 1);
            world.clock.advance(16);
            notices::send_due(app).await.unwrap();
            assert_eq!(waiting().await[0].attempts, 2);
            world.browser().get(format!("{}/answer?status=200", npm.portal)).await;
            world.clock.advance(61);
            notices::send_due(app).await.unwrap();
        }
        assert!(waiting().await.is_empty());
        let heard = heard().await;
        assert_eq!(heard.as_array().unwrap().len(), before + 1);
        let last = heard.as_array().unwrap().last().unwrap();
        assert_eq!((&last["sid"], &last["sub"]), (&claims["sid"], &claims["sub"]));
    }
}
