//! Signing out: at a portal's request and at one's own, and who hears of it.

use gateway::control::{self, Order};
use gateway::notices;
use gateway::store::{Batch, Class, Key, Write};
use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Browser, Reply, Rp, World};
use serde_json::{Value, json};

use crate::peers::{npm, npm_that_logs_out};

const BYE: &str = "https://portal.example/bye";

async fn world() -> (World, Rp) {
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

async fn id_token(world: &World, rp: &Rp, browser: &mut Browser) -> String {
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

async fn is_signed_in(rp: &Rp, browser: &mut Browser) -> bool {
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

/// OpenID Connect Front-Channel Logout sections 2 and 3: a portal's own page is opened, told which session, and nothing is promised.
#[tokio::test(flavor = "multi_thread")]
async fn front_channel_logout_3_a_portals_own_page_is_opened() {
    let (world, rp) = world().await;
    let file = world.data.join("bundle/clients/other.toml");
    let line = "frontchannel_logout_uri = \"https://other.example/out?of=here\"\njurisdiction";
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

/// A form of a page that is not ours: where it leads, and its fields.
fn foreign_form(page: &Reply) -> (url::Url, Vec<(String, String)>) {
    let attribute = |tag: &str, name: &str| -> Option<String> {
        let (_, rest) = tag.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.replace("&amp;", "&"))
    };
    let (_, form) = page.body.split_once("<form").unwrap_or_else(|| panic!("no form: {}", page.body));
    let action = page.url.join(&attribute(form, "action").unwrap()).unwrap();
    let fields = form.split("<input").skip(1);
    let fields = fields.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())));
    (action, fields.collect())
}

/// OpenID Connect RP-Initiated Logout and Back-Channel Logout towards a provider, with a certified one: the page leads to where the
/// sign-in ends there; and when it ended there, by whatever way, it is over here, and the portal hears.
#[tokio::test(flavor = "multi_thread")]
async fn upstream_logout_both_ways_with_oidc_provider() {
    let lines = format!("{}\nbackchannel_logout_uri = \"@PORTAL@/backchannel\"", secret_line());
    let portal = json!({"auth": {"method": "client_secret_basic", "secret": SECRET}});
    let npm = npm_that_logs_out(portal, ("client_secret_basic", &lines)).await;
    let world = &npm.world;
    let heard = async || world.browser().get(format!("{}/heard", npm.portal)).await.json().as_array().unwrap().len();
    let at_provider = async |browser: &mut Browser, address: &url::Url| {
        let page = browser.get(address.as_str()).await;
        let (action, mut fields) = foreign_form(&page);
        fields.push(("logout".to_owned(), "yes".to_owned()));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post(action, &fields).await
    };
    // Out here first: the page leads on to the provider, and the provider leads back.
    let mut browser = world.browser();
    assert_eq!(npm.login_in(&mut browser, "", &[]).await["ok"], true);
    let done = browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await;
    let place = done.body.split('"').find(|part| part.contains("/session/end?")).expect("a place to log out");
    let back = at_provider(&mut browser, &place.replace("&#38;", "&").replace("&amp;", "&").parse().unwrap()).await;
    assert_eq!(back.target().as_str(), format!("{}/account", world.issuer()));
    // Out there first, in the same browser: the session here is over within the moment, and the portal hears of it.
    let mut browser = world.browser();
    assert_eq!(npm.login_in(&mut browser, "", &[]).await["ok"], true);
    let mut another = world.browser();
    assert_eq!(npm.login_in(&mut another, "", &[]).await["ok"], true);
    let (before, end) = (heard().await, place.split_once('?').unwrap().0.parse().unwrap());
    let account = async |browser: &mut Browser| {
        browser.get(format!("{}/account", world.issuer())).await.body.contains("/account/sign-out")
    };
    assert!(account(&mut browser).await);
    at_provider(&mut browser, &end).await;
    assert!(!account(&mut browser).await, "the session here outlived the one it rests on");
    assert!(account(&mut another).await, "another session of the same person ended");
    for _ in 0..100 {
        if heard().await > before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(heard().await, before + 1);
}

/// OpenID Connect Back-Channel Logout section 2.6: everything that a logout token may not be; and one that holds ends what was
/// before it, once, and nothing that comes after.
#[tokio::test(flavor = "multi_thread")]
async fn back_channel_logout_2_6_only_a_sound_logout_token_ends_anything() {
    let (world, rp) = world().await;
    let path = "/backchannel-logout/hk-iam-smart";
    let post = async |path: &str, token: &str| {
        world.browser().post(format!("{}{path}", world.issuer()), &[("logout_token", token)]).await
    };
    let provider = world.provider("hk-iam-smart");
    // A provider that is not known to tell of logouts is not listened to, nor is anybody else.
    for nobody in [path, "/backchannel-logout/nobody", "/backchannel-logout/%2e"] {
        assert!(post(nobody, "x.y.z").await.status.is_client_error(), "{nobody}");
    }
    world.rewrite_provider("hk-iam-smart", |text| text.replace("[oidc]", "[oidc]\nbackchannel_logout = true")).await;
    let mut browser = world.browser();
    id_token(&world, &rp, &mut browser).await;
    let people = sandbox::people::catalogue(sandbox::people::Place::HongKong).unwrap();
    let subject = people.iter().find(|person| person.id == "hk-chan").unwrap().sub.clone();
    let document = std::fs::read_to_string(world.data.join("bundle/providers/hk-iam-smart.toml")).unwrap();
    let field = |name: &str| {
        let (_, rest) = document.split_once(&format!("\n{name} = \"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let now = world.now().0;
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let sound = json!({"iss": field("issuer"), "aud": field("client_id"), "iat": now, "exp": now + 120, "jti": "once",
        "sub": subject, "events": event});
    let sign = |typ: &str, changes: &[(&str, Value)]| {
        let mut claims = sound.clone();
        for (name, value) in changes {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        provider.sign(typ, &claims).unwrap()
    };
    let wrong: Vec<(&str, Value)> = vec![
        ("iss", json!("https://elsewhere.example")),
        ("iss", Value::Null),
        ("aud", json!("another")),
        ("aud", Value::Null),
        ("iat", Value::Null),
        ("iat", json!(now + 600)),
        ("iat", json!(now.to_string())),
        ("exp", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", json!(now + 10_000)),
        ("jti", Value::Null),
        ("jti", json!(7)),
        ("nonce", json!("n")),
        ("events", Value::Null),
        ("events", json!({})),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": true})),
        ("events", json!(["http://schemas.openid.net/event/backchannel-logout"])),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!([subject])),
        ("sid", json!(7)),
    ];
    for (name, value) in wrong {
        let reply = post(path, &sign("logout+jwt", &[(name, value.clone())])).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]), (400, &json!("invalid_request")), "{name} {value}");
    }
    let good = sign("logout+jwt", &[]);
    let mut broken = good.clone();
    broken.replace_range(good.len() - 4.., "AAAA");
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    let other_kind = sign("at+jwt", &[]);
    let of_another = world.provider("mo-one-account").sign("logout+jwt", &sound).unwrap();
    for token in ["", "a.b", broken.as_str(), &unsigned, &other_kind, &of_another, &"a.".repeat(40_000)] {
        let reply = post(path, token).await;
        assert!(reply.status.is_client_error(), "{token:.40} {}", reply.status);
    }
    assert_eq!(world.browser().get(format!("{}{path}", world.issuer())).await.status, 405);
    assert!(is_signed_in(&rp, &mut browser).await, "something that is no logout token ended a session");
    // Another person's, another session's, and what was said before this person signed in.
    let long_ago = json!(now - 300);
    for other in [
        vec![("sub", json!("somebody"))],
        vec![("sub", Value::Null), ("sid", json!("a-session"))],
        vec![("sub", json!("somebody")), ("sid", json!("a-session"))],
        vec![("iat", long_ago)],
    ] {
        assert_eq!(post(path, &sign("JWT", &other)).await.status, 200, "{other:?}");
        assert!(is_signed_in(&rp, &mut browser).await, "{other:?}");
    }
    // A code that is on its way, and a person who is about to agree.
    let back = world.sign_in(&mut world.browser(), &rp.authorize("matter", &[]), "hk-iam-smart", "hk-chan").await;
    let mut undecided = world.browser();
    let asking = rp.authorize("matter", &[("prompt", "consent")]);
    let page = world.to_consent(&mut undecided, &asking, "hk-iam-smart", "hk-chan").await;
    let first = post(path, &good).await;
    assert_eq!(first.status, 200);
    assert!(first.headers["cache-control"].to_str().unwrap().contains("no-store"));
    assert!(!is_signed_in(&rp, &mut browser).await);
    assert_eq!(rp.redeem(&query(&back, "code").unwrap()).await.json()["error"], "invalid_grant", "a code outlived it");
    let question = page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
    // Clicked twice: both posts come with the cookie as it was.
    for mut click in [undecided.clone(), undecided] {
        let reply = click.post(&page.url, &form).await;
        assert_eq!(reply.failure(), Some("CB-201"), "agreed too late: {:?}", reply.location());
    }
    // Whoever signs in after that is signed in, and stays so when the same is said again.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    id_token(&world, &rp, &mut browser).await;
    assert_eq!(post(path, &good).await.status, 200, "a provider that did not hear us says it again");
    assert!(is_signed_in(&rp, &mut browser).await);
    // A session by its name and its person: meant is who was given no name for theirs.
    let both =
        sign("JWT", &[("sid", json!("a-session")), ("iat", json!(world.now().0)), ("exp", json!(world.now().0 + 60))]);
    assert_eq!(post(path, &both).await.status, 200);
    assert!(!is_signed_in(&rp, &mut browser).await);
}
