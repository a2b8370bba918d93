//! Terminals that ask, and people who answer on their own phones (RFC 8628).

use std::sync::Arc;

use integration_tests::browser::Reply;
use integration_tests::peers::{Peer, certificate, chromium, screenshots};
use integration_tests::rp::{Rp, claims};
use integration_tests::servers::free_port;
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use integration_tests::{Browser, Keyed};
use serde_json::{Value, json};

const SERVICE: &str = "kiosk-matter";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

async fn world(more: &str) -> (World, Rp) {
    let lines = format!(
        "{}\ngrant_types = [\"{GRANT}\", \"refresh_token\"]\nplace = \"kiosk\"\ndefault_service = \"{SERVICE}\"\n{more}",
        secret_line()
    );
    let kiosk = client_document("kiosk", "", "client_secret_basic", &lines).replace("redirect_uris = [\"\"]\n", "");
    let portal = client_document("portal", "https://portal.example/cb", "client_secret_basic", &secret_line());
    let service = service_document(SERVICE, &["kiosk", "portal"], &["hk-iam-smart", "mo-one-account"], "");
    let world = World::with(&[
        ("clients/kiosk.toml", &kiosk),
        ("clients/portal.toml", &portal),
        (&format!("services/{SERVICE}.toml"), &service),
    ])
    .await;
    let rp = world.client("kiosk", Some(SECRET), "https://unused.example/");
    (world, rp)
}

const TERMINAL: [(&str, &str); 3] =
    [("scope", "openid profile email"), ("terminal_name", "粤智助 0371"), ("terminal_place", "Shaxi village hall")];

async fn ask(rp: &Rp, more: &[(&str, &str)]) -> Reply {
    let mut form: Vec<(&str, &str)> = TERMINAL.to_vec();
    form.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    form.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    rp.post("/device_authorization", &form).await
}

async fn poll(rp: &Rp, device: &Value) -> Reply {
    rp.token(&[("grant_type", GRANT), ("device_code", device["device_code"].as_str().unwrap())]).await
}

fn error(reply: &Reply) -> String {
    reply.json()["error"].as_str().unwrap_or_else(|| panic!("{}", reply.body)).to_owned()
}

/// Opens the code on a phone, up to the provider.
async fn open(world: &World, browser: &mut Browser, device: &Value) -> Reply {
    let page = browser.get(device["verification_uri_complete"].as_str().unwrap()).await;
    assert_eq!(page.status, 200, "{}", page.body);
    assert!(page.body.contains(device["check_code"].as_str().unwrap()), "{}", page.body);
    let code = page.field("user_code").unwrap();
    browser.post(format!("{}/device", world.issuer()), &[("user_code", &code), ("decision", "yes")]).await
}

/// The sign-in that a page of ours belongs to.
fn login_of(page: &Reply) -> String {
    let (_, rest) = page.body.split_once("/login/").unwrap_or_else(|| panic!("no chooser: {}", page.body));
    rest.split(['/', '?', '"']).next().unwrap().to_owned()
}

/// The rest of it, up to the last page.
async fn approve(world: &World, browser: &mut Browser, device: &Value, person: &str) -> Reply {
    let chooser = open(world, browser, device).await;
    answer(world, browser, &chooser, person).await
}

/// From the chooser to the last page.
async fn answer(world: &World, browser: &mut Browser, chooser: &Reply, person: &str) -> Reply {
    let login = login_of(chooser);
    let address = browser.get(format!("{}/login/{login}/to/hk-iam-smart", world.issuer())).await.target();
    let callback = world.sign_in_at_provider(browser, &address, person).await;
    let page = world.past_waiting(browser, callback).await;
    assert!(page.body.contains("Shaxi village hall"), "the terminal is named where the person agrees: {}", page.body);
    let question = page.field("question").unwrap_or_else(|| panic!("{}", page.body));
    browser.post(&page.url, &[("question", &question), ("decision", "allow"), ("export", "yes")]).await
}

/// A resident at a village kiosk signs in on their own phone with the provider they have; the kiosk gets tokens, once.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_3_a_resident_signs_in_for_a_kiosk() {
    let (world, rp) = world("refresh_lifetime = \"8h\"").await;
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    assert_eq!(metadata["device_authorization_endpoint"], format!("{}/device_authorization", world.issuer()));
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT)));
    let device = ask(&rp, &[("scope", "openid profile offline_access")]).await;
    assert_eq!((device.status.as_u16(), device.headers["cache-control"].to_str().unwrap()), (200, "no-store"));
    let device = device.json();
    assert_eq!(
        (&device["interval"], &device["expires_in"], &device["user_code_expires_in"]),
        (&json!(5), &json!(655), &json!(55))
    );
    let code = device["user_code"].as_str().unwrap();
    assert!(code.len() == 9 && code.chars().all(|c| c == '-' || "BCDFGHJKLMNPQRSTVWXZ".contains(c)), "{code}");
    assert_eq!(error(&poll(&rp, &device).await), "authorization_pending");
    let mut phone = world.browser();
    let done = approve(&world, &mut phone, &device, "hk-chan").await;
    assert!(done.status == 200 && done.location().is_none() && done.body.contains("<h1>"), "{}", done.body);
    world.clock.advance(5);
    let tokens = poll(&rp, &device).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let tokens = tokens.json();
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!((&id["aud"], &id["iss"]), (&json!("kiosk"), &json!(world.issuer())));
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(rp.userinfo(access).await.json()["name"], "CHAN, Tai Man");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(rp.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await.status, 200);
    // Single use, and what came of it ends with the second.
    world.clock.advance(5);
    assert_eq!(error(&poll(&rp, &device).await), "invalid_grant");
    assert_eq!(rp.userinfo(access).await.status, 401);
    let reports = world.demo.gateway.app().store.verify_audit().await.unwrap();
    assert!(reports.iter().all(|report| report.broken.is_none() && report.records >= 2), "{reports:?}");
}

/// RFC 8628 section 3.5: each answer of the token endpoint in its turn.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_3_5_the_rules_of_polling() {
    let (world, rp) = world("").await;
    let device = ask(&rp, &[]).await.json();
    assert_eq!(error(&poll(&rp, &device).await), "authorization_pending");
    // Too soon, and five seconds more each time.
    assert_eq!(error(&poll(&rp, &device).await), "slow_down");
    world.clock.advance(6);
    assert_eq!(error(&poll(&rp, &device).await), "slow_down");
    world.clock.advance(16);
    assert_eq!(error(&poll(&rp, &device).await), "authorization_pending");
    // Nobody opened it while it could be opened.
    world.clock.advance(40);
    assert_eq!(error(&poll(&rp, &device).await), "expired_token");
    let page = world.browser().get(device["verification_uri_complete"].as_str().unwrap()).await;
    assert_eq!(page.status, 422);
    // Opened in time, it waits for its person, but not for ever.
    let device = ask(&rp, &[]).await.json();
    let mut phone = world.browser();
    assert_eq!(open(&world, &mut phone, &device).await.status, 200);
    world.clock.advance(100);
    assert_eq!(error(&poll(&rp, &device).await), "authorization_pending");
    world.clock.advance(600);
    assert_eq!(error(&poll(&rp, &device).await), "expired_token");
    world.clock.advance(1_000);
    assert_eq!(error(&poll(&rp, &device).await), "invalid_grant", "forgotten");
}

/// RFC 8628 section 3.5: the person says no, on whichever page.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_3_5_the_person_says_no() {
    let (world, rp) = world("").await;
    // At the question for the terminal.
    let device = ask(&rp, &[]).await.json();
    let code = device["user_code"].as_str().unwrap();
    let refused =
        world.browser().post(format!("{}/device", world.issuer()), &[("user_code", code), ("decision", "no")]).await;
    assert_eq!(refused.status, 200);
    assert_eq!(error(&poll(&rp, &device).await), "access_denied");
    // At the chooser.
    let device = ask(&rp, &[]).await.json();
    let mut phone = world.browser();
    let chooser = open(&world, &mut phone, &device).await;
    let login = login_of(&chooser);
    let gone = phone.post(format!("{}/login/{login}/cancel", world.issuer()), &[]).await;
    assert!(gone.status == 200 && gone.location().is_none());
    assert_eq!(error(&poll(&rp, &device).await), "access_denied");
    // At the consent page; a yes from another tab comes too late.
    let device = ask(&rp, &[]).await.json();
    let mut phone = world.browser();
    let chooser = open(&world, &mut phone, &device).await;
    let login = login_of(&chooser);
    let address = phone.get(format!("{}/login/{login}/to/hk-iam-smart", world.issuer())).await.target();
    let callback = world.sign_in_at_provider(&mut phone, &address, "hk-chan").await;
    let page = world.past_waiting(&mut phone, callback).await;
    let question = page.field("question").unwrap();
    let mut other_tab = phone.clone();
    assert_eq!(phone.post(&page.url, &[("question", &question), ("decision", "refuse")]).await.status, 200);
    let late = other_tab.post(&page.url, &[("question", &question), ("decision", "allow"), ("export", "yes")]).await;
    assert_eq!(late.failure(), Some("CB-203"), "{}", late.body);
    assert_eq!(error(&poll(&rp, &device).await), "access_denied");
}

/// RFC 8628 sections 5.1 to 5.6: a code is opened once, by its page and not by looking at it; whoever else holds something gets nothing.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_5_a_code_is_one_terminals_and_opened_once() {
    let (world, rp) = world("").await;
    let device = ask(&rp, &[]).await.json();
    let (complete, plain) =
        (device["verification_uri_complete"].as_str().unwrap(), device["user_code"].as_str().unwrap());
    // Whatever looks at pictures opens addresses; that changes nothing.
    for _ in 0..3 {
        assert_eq!(world.browser().get(complete).await.status, 200);
    }
    // As people write it.
    for written in [plain.to_lowercase(), plain.replace('-', ""), plain.replace('-', " "), format!(" {plain} ")] {
        let address =
            url::Url::parse_with_params(&format!("{}/device", world.issuer()), [("user_code", written.as_str())])
                .unwrap();
        assert_eq!(world.browser().get(address).await.status, 200, "{written}");
    }
    let foreign = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    let form = format!("user_code={plain}&decision=yes");
    let stranger =
        world.browser().send(http::Method::POST, &format!("{}/device", world.issuer()), Some(form), &foreign).await;
    assert_eq!(stranger.status, 403);
    assert_eq!(open(&world, &mut world.browser(), &device).await.status, 200);
    // Somebody who looked over the shoulder, with a yes and with a no.
    let no = [("user_code", plain), ("decision", "no")];
    assert_eq!(world.browser().post(format!("{}/device", world.issuer()), &no).await.status, 422);
    assert_eq!(error(&poll(&rp, &device).await), "authorization_pending");
    let second =
        world.browser().post(format!("{}/device", world.issuer()), &[("user_code", plain), ("decision", "yes")]).await;
    assert_eq!(second.status, 422);
    // Whoever presses twice goes on where they are.
    let twice = ask(&rp, &[]).await.json();
    let mut phone = world.browser();
    let first = open(&world, &mut phone, &twice).await;
    let again = open(&world, &mut phone, &twice).await.target();
    assert!(again.path().ends_with(&login_of(&first)), "{again}");
    for wrong in ["", "AAAA-AAAA", "BBBB-BBBB", "BBBB-BBBB-BBBB", "<script>", "0"] {
        let entered = world
            .browser()
            .post(format!("{}/device", world.issuer()), &[("user_code", wrong), ("decision", "yes")])
            .await;
        assert_eq!(entered.status, 422, "{wrong}");
    }
    // Another client, the user code in the place of the device code, and the wrong grant.
    let portal = world.client("portal", Some(SECRET), "https://portal.example/cb");
    assert_eq!(error(&poll(&portal, &device).await), "unauthorized_client");
    let code = device["device_code"].as_str().unwrap();
    for (form, expected) in [
        (vec![("grant_type", GRANT), ("device_code", plain)], "invalid_grant"),
        (vec![("grant_type", GRANT)], "invalid_request"),
        (vec![("grant_type", GRANT), ("device_code", code), ("device_code", code)], "invalid_request"),
        (vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", "x")], "unauthorized_client"),
        (vec![("grant_type", "urn:ietf:params:oauth:grant-type:saml2-bearer")], "unsupported_grant_type"),
    ] {
        assert_eq!(error(&rp.token(&form).await), expected, "{form:?}");
    }
}

/// Each field of the request to the device authorization endpoint, in each way it can be wrong: the standard's error, and nothing kept.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_3_1_bad_requests_of_terminals() {
    let (world, rp) = world("").await;
    let long = "x".repeat(65);
    for (name, value, expected) in [
        ("scope", "", "invalid_request"),
        ("scope", "profile", "invalid_scope"),
        ("terminal_name", "", "invalid_request"),
        ("terminal_place", "", "invalid_request"),
        ("terminal_name", long.as_str(), "invalid_request"),
        ("terminal_name", "a\u{202e}b", "invalid_request"),
        ("resource", "https://services.example/other", "invalid_target"),
        ("claims", "{", "invalid_request"),
        ("max_age", "soon", "invalid_request"),
        ("id_token_hint", "x", "invalid_request"),
        ("grant_type", "", "none"),
    ] {
        let reply = ask(&rp, &[(name, value)]).await;
        match expected {
            "none" => assert_eq!(reply.status, 200, "{}", reply.body),
            expected => assert_eq!(error(&reply), expected, "{name} {value}"),
        }
    }
    let twice = [&TERMINAL[..], &[("scope", "openid")]].concat();
    assert_eq!(error(&rp.post("/device_authorization", &twice).await), "invalid_request");
    let wrong = Rp { secret: Some("wrong".into()), ..rp.clone() };
    assert_eq!(error(&ask(&wrong, &[]).await), "invalid_client");
    let portal = world.client("portal", Some(SECRET), "https://portal.example/cb");
    assert_eq!(error(&ask(&portal, &[]).await), "unauthorized_client");
    // What a terminal says of itself is text on our page, and nothing else.
    let device = ask(&rp, &[("terminal_name", "<script>alert(1)</script>")]).await.json();
    let page = world.browser().get(device["verification_uri_complete"].as_str().unwrap()).await;
    assert!(!page.body.contains("<script>alert") && page.body.contains("alert(1)"), "{}", page.body);
    assert_eq!(world.browser().get(format!("{}/device", world.issuer())).await.status, 200);
}

/// CVE-2026-53517 for devices: two people, or two tabs, with one code; and a hundred that come for one answer.
#[tokio::test(flavor = "multi_thread")]
async fn f34_one_answer_for_a_device_and_one_taker() {
    let (world, rp) = world("").await;
    let device = ask(&rp, &[]).await.json();
    // Many press at once: one of them goes on.
    let code = device["user_code"].as_str().unwrap().to_owned();
    let opening: Vec<_> = (0..20)
        .map(|_| {
            let (mut phone, address, code) = (world.browser(), format!("{}/device", world.issuer()), code.clone());
            tokio::spawn(
                async move { (phone.post(address, &[("user_code", &code), ("decision", "yes")]).await, phone) },
            )
        })
        .collect();
    let mut through = Vec::new();
    for one in opening {
        let (reply, phone) = one.await.unwrap();
        if reply.status != 422 {
            through.push((reply, phone));
        }
    }
    assert_eq!(through.len(), 1);
    let (chooser, mut phone) = through.pop().unwrap();
    answer(&world, &mut phone, &chooser, "hk-chan").await;
    let record = world.record("code_issued").await;
    assert_eq!(record["terminal"], json!({"name": "粤智助 0371", "place": "Shaxi village hall"}), "{record}");
    world.clock.advance(5);
    let rp = Arc::new(rp);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (rp, device) = (Arc::clone(&rp), device.clone());
            tokio::spawn(async move { poll(&rp, &device).await.status.is_success() })
        })
        .collect();
    let mut successes = 0;
    for task in tasks {
        successes += u32::from(task.await.unwrap());
    }
    assert_eq!(successes, 1);
}

/// A sign-in on the phone that exists already still asks: the terminal may stand before somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_the_phone_is_no_yes_to_a_terminal() {
    let (world, rp) = world("").await;
    let mut phone = world.browser();
    let first = ask(&rp, &[]).await.json();
    approve(&world, &mut phone, &first, "hk-chan").await;
    let second = ask(&rp, &[]).await.json();
    let consent = open(&world, &mut phone, &second).await;
    let page = world.past_waiting(&mut phone, consent.target()).await;
    assert!(page.field("question").is_some(), "{}", page.body);
    assert_eq!(error(&poll(&rp, &second).await), "authorization_pending");
    // A policy that changed meanwhile counts when the tokens are minted.
    world.agree_here(&mut phone, &page).await;
    let file = world.data.join(format!("bundle/services/{SERVICE}.toml"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[\"hk-iam-smart\", \"mo-one-account\"]", "[\"mo-one-account\"]")).unwrap();
    world.demo.gateway.app().tend(None).await;
    world.clock.advance(5);
    assert_eq!(error(&poll(&rp, &second).await), "invalid_grant");
}

/// Tokens of a FAPI terminal are bound to its key.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9449_5_a_device_binds_its_tokens() {
    let lines = format!("grant_types = [\"authorization_code\", \"{GRANT}\"]");
    let (world, client) = Keyed::world("fapi2", &lines).await;
    let resource = format!("https://services.example/{}", integration_tests::keyed::SERVICE);
    let form = [
        ("scope", "openid profile"),
        ("resource", resource.as_str()),
        ("terminal_name", "T"),
        ("terminal_place", "Shaxi village hall"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let device = client.send("/device_authorization", &form, &[]).await;
    assert_eq!(device.status, 200, "{}", device.body);
    let device = device.json();
    let mut phone = world.browser();
    let departed = open(&world, &mut phone, &device).await.target();
    let callback = world.sign_in_at_provider(&mut phone, &departed, "hk-chan").await;
    let page = world.past_waiting(&mut phone, callback).await;
    world.agree_here(&mut phone, &page).await;
    let form = [("grant_type", GRANT), ("device_code", device["device_code"].as_str().unwrap())]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(client.send("/token", &form, &[]).await.json()["error"], "invalid_request", "no proof");
    let tokens = client.send_proven("/token", &form).await;
    assert_eq!((tokens.status.as_u16(), &tokens.json()["token_type"]), (200, &json!("DPoP")), "{}", tokens.body);
}

/// RFC 8628 with a certified client's own defaults.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_openid_client_at_a_kiosk() {
    let (world, _) = world("").await;
    let port = free_port();
    let (cert, key) = certificate(&world.data, "kiosk");
    let params = json!({"scope": "openid profile", "terminal_name": "Kiosk 1", "terminal_place": "Shaxi village hall"});
    let settings = json!({
        "port": port, "cert": cert, "key": key, "ca": world.demo.ca, "issuer": world.issuer(), "client_id": "kiosk",
        "secret": SECRET, "params": params,
    });
    let _kiosk = Peer::start("kiosk.mjs", &settings).await;
    let at = |path: &str| format!("https://localhost:{port}{path}");
    let device = world.browser().get(at("/start")).await.json();
    approve(&world, &mut world.browser(), &device, "hk-chan").await;
    let result = world.browser().get(at("/result")).await.json();
    assert_eq!((&result["ok"], &result["userinfo"]["name"]), (&json!(true), &json!("CHAN, Tai Man")), "{result:#}");
    let device = world.browser().get(at("/start")).await.json();
    let code = device["user_code"].as_str().unwrap();
    let no = [("user_code", code), ("decision", "no")];
    world.browser().post(format!("{}/device", world.issuer()), &no).await;
    let result = world.browser().get(at("/result")).await.json();
    assert_eq!(result["error"], "access_denied", "{result:#}");
}

/// RFC 8628 section 5.1: while many try codes, nobody finds out whether a code is one by typing it, and nobody is kept out who has the
/// picture of their terminal.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8628_5_1_codes_are_not_found_by_trying() {
    let (world, rp) = world("").await;
    let (device, other) = (ask(&rp, &[]).await.json(), ask(&rp, &[]).await.json());
    let typed = format!("{}/device?user_code={}", world.issuer(), device["user_code"].as_str().unwrap());
    let complete = device["verification_uri_complete"].as_str().unwrap();
    let others = other["verification_uri_complete"].as_str().unwrap().split_once("&proof=").unwrap().1;
    let places = &world.demo.gateway.app().limits.guesses;
    let all = places.free();
    let taken: Vec<_> = (0..all).map(|at| places.try_take(&[&format!("192.0.2.{at}")]).unwrap()).collect();
    let status = async |address: String| world.browser().get(address).await.status.as_u16();
    let impossible = format!("{}/device?user_code=AEIO-AEIO", world.issuer());
    let [bare, garbage, foreign, nobodys, picture, no_code] = [
        status(typed.clone()),
        status(format!("{typed}&proof=x")),
        status(format!("{typed}&proof={others}")),
        status(format!("{}/device?user_code=BBBB-BBBB", world.issuer())),
        status(complete.to_owned()),
        status(impossible),
    ];
    let answers = tokio::join!(bare, garbage, foreign, nobodys, picture, no_code);
    assert_eq!(answers, (503, 503, 503, 503, 200, 422));
    drop(taken);
    // Whoever is right gives the place back at once, whoever is wrong keeps it for a moment.
    assert_eq!(status(typed.clone()).await, 200);
    assert_eq!(places.free(), all);
    assert_eq!(status(format!("{}/device?user_code=BBBB-BBBB", world.issuer())).await, 422);
    assert_eq!(places.free(), all - 1);
}

/// Whoever types wrong codes by the hundred keeps others at the same address from typing, and nobody elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_from_one_address_deny_typing_to_nobody_else() {
    let (world, rp) = world("").await;
    let device = ask(&rp, &[]).await.json();
    let typed = format!("{}/device?user_code={}", world.issuer(), device["user_code"].as_str().unwrap());
    let places = &world.demo.gateway.app().limits.guesses;
    for (address, status) in [("192.0.2.1", 200), ("127.0.0.1", 503)] {
        let mut own = Vec::new();
        while let Some(place) = places.try_take(&[address]) {
            own.push(place);
        }
        assert_eq!(world.browser().get(&typed).await.status.as_u16(), status, "{address} types wrong codes");
    }
}

/// The pages on the phone, in four languages, with and without a script, held against axe; the screenshots are kept.
#[tokio::test(flavor = "multi_thread")]
async fn the_pages_of_a_terminal_in_a_real_browser() {
    let (world, rp) = world("").await;
    let mut runs: Vec<Value> = Vec::new();
    for (locale, javascript) in [("zh-CN", false), ("zh-HK", true), ("pt-PT", false), ("en", true)] {
        let device = ask(&rp, &[]).await.json();
        let look = |page: &str| {
            let name = format!("{page}-{locale}");
            vec![json!({"screenshot": name}), json!({"axe": name}), json!({"noHorizontalScroll": true})]
        };
        let steps = [
            vec![json!({"goto": format!("{}/device?user_code=WRONG", world.issuer())})],
            look("device"),
            vec![json!({"goto": device["verification_uri_complete"]})],
            vec![json!({"expectText": {"selector": ".check", "text": device["check_code"]}})],
            look("device-confirm"),
            vec![json!({"focusAndEnter": "button[value=yes]"})],
            vec![json!({"focusAndEnter": "a.choice[href$='/to/hk-iam-smart']"})],
            vec![json!({"focusAndEnter": "button[value=hk-chan]"}), json!({"expectUrl": "/consent"})],
            look("device-consent"),
            vec![json!({"check": "input[name=export]"}), json!({"focusAndEnter": "button[value=allow]"})],
            vec![json!({"expectNo": "button[value=allow]"})],
            look("device-done"),
        ];
        let viewport = json!({"width": 390, "height": 844});
        runs.push(json!({"javascript": javascript, "locale": locale, "viewport": viewport, "steps": steps.concat()}));
    }
    chromium(&json!({"ca": world.demo.ca, "out": screenshots("device"), "timeout": 20_000, "runs": runs})).await;
}
