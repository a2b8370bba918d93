//! People who are asked where they are (OpenID Connect Client-Initiated Backchannel Authentication).

use certs::jws;
use certs::key::{Algorithm, SigningKey};
use integration_tests::Browser;
use integration_tests::browser::Reply;
use integration_tests::peers::{Peer, certificate, chromium, screenshots};
use integration_tests::rp::{Rp, claims};
use integration_tests::servers::{Site, free_port};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use serde_json::{Value, json};

const SERVICE: &str = "check-point";
const GRANT: &str = "urn:openid:params:grant-type:ciba";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A counter that asks people, and a portal by which they are signed in on their phones.
pub(crate) async fn world(more: &str) -> (World, Rp, Rp) {
    let secret = secret_line();
    let counter = format!(
        "{secret}\ngrant_types = [\"{GRANT}\", \"{DEVICE}\"]\nplace = \"counter\"\ndefault_service = \"{SERVICE}\"\n{more}"
    );
    let counter =
        client_document("counter", "", "client_secret_basic", &counter).replace("redirect_uris = [\"\"]\n", "");
    let portal = client_document("portal", "https://portal.example/cb", "client_secret_basic", &secret);
    let service = service_document(SERVICE, &["counter", "portal"], &["hk-iam-smart"], "")
        + "[[release]]\nclaim = \"over_18\"\nfrom = 'over(claims.birthdate, 18)'\non_missing = \"fail\"\n\
           purpose = \"check-age\"\nground = \"consent\"\nscope = \"age\"\n";
    let world = World::with(&[
        ("clients/counter.toml", &counter),
        ("clients/portal.toml", &portal),
        (&format!("services/{SERVICE}.toml"), &service),
    ])
    .await;
    let counter = world.client("counter", Some(SECRET), "https://unused.example/");
    let portal = world.client("portal", Some(SECRET), "https://portal.example/cb");
    (world, counter, portal)
}

/// Somebody's phone: signed in here.
async fn phone(world: &World, portal: &Rp, person: &str) -> Browser {
    let mut browser = world.browser();
    world.sign_in(&mut browser, &portal.authorize(SERVICE, &[]), "hk-iam-smart", person).await;
    browser
}

/// The code that a phone shows.
pub(crate) async fn code(world: &World, phone: &mut Browser) -> String {
    let page = phone.post(format!("{}/requests", world.issuer()), &[("decision", "code")]).await;
    let (_, rest) = page.body.split_once("role=\"status\">").unwrap_or_else(|| panic!("no code: {}", page.body));
    rest.split('<').next().unwrap().to_owned()
}

pub(crate) async fn ask(rp: &Rp, hint: &str, more: &[(&str, &str)]) -> Reply {
    let mut form = vec![
        ("scope", "openid profile email"),
        ("login_hint", hint),
        ("terminal_name", "Counter 7"),
        ("terminal_place", "Nansha service hall"),
        ("binding_message", "Form B-12"),
    ];
    form.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    form.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    rp.post("/bc-authorize", &form).await
}

pub(crate) async fn poll(rp: &Rp, asked: &Value) -> Reply {
    rp.token(&[("grant_type", GRANT), ("auth_req_id", asked["auth_req_id"].as_str().unwrap())]).await
}

fn error(reply: &Reply) -> String {
    reply.json()["error"].as_str().unwrap_or_else(|| panic!("{}", reply.body)).to_owned()
}

pub(crate) async fn open(world: &World, phone: &mut Browser) -> Reply {
    let page = phone.get(format!("{}/requests", world.issuer())).await;
    let question = page.field("question").unwrap_or_else(|| panic!("nothing waits: {}", page.body));
    let begun =
        phone.post(format!("{}/requests", world.issuer()), &[("question", &question), ("decision", "open")]).await;
    world.past_waiting(phone, begun.target()).await
}

/// Somebody who is signed in answers a terminal of the same client: what it showed, and its request for the tokens.
pub(crate) async fn at_terminal(world: &World, rp: &Rp, phone: &mut Browser) -> (Value, Vec<(&'static str, String)>) {
    let hall = [("scope", "openid profile"), ("terminal_name", "T"), ("terminal_place", "Hall")];
    let device = rp.post("/device_authorization", &hall).await.json();
    let yes = [("user_code", device["user_code"].as_str().unwrap()), ("decision", "yes")];
    let begun = phone.post(format!("{}/device", world.issuer()), &yes).await;
    let page = world.past_waiting(phone, begun.target()).await;
    world.agree_here(phone, &page).await;
    let code = device["device_code"].as_str().unwrap().to_owned();
    (device, vec![("grant_type", DEVICE.to_owned()), ("device_code", code)])
}

/// Section 7 to 10: an official asks, the resident sees it on their phone and agrees, the counter comes for it, once.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_7_an_official_asks_and_the_resident_agrees_on_their_phone() {
    let (world, counter, portal) = world("").await;
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    assert_eq!(metadata["backchannel_authentication_endpoint"], format!("{}/bc-authorize", world.issuer()));
    assert_eq!(metadata["backchannel_token_delivery_modes_supported"], json!(["poll", "ping"]));
    let mut phone = phone(&world, &portal, "hk-chan").await;
    let nothing = phone.get(format!("{}/requests", world.issuer())).await;
    assert!(nothing.field("question").is_none() && nothing.status == 200);
    let shown = code(&world, &mut phone).await;
    let asked = ask(&counter, &shown, &[]).await;
    assert_eq!(
        (asked.status.as_u16(), asked.headers["cache-control"].to_str().unwrap()),
        (200, "no-store"),
        "{}",
        asked.body
    );
    let asked = asked.json();
    assert_eq!((&asked["expires_in"], &asked["interval"]), (&json!(600), &json!(5)));
    assert_eq!(error(&poll(&counter, &asked).await), "authorization_pending");
    assert_eq!(error(&poll(&counter, &asked).await), "slow_down");
    // The code serves once.
    assert_eq!(error(&ask(&counter, &shown, &[]).await), "unknown_user_id");
    let list = phone.get(format!("{}/requests", world.issuer())).await;
    for seen in ["Counter 7", "Nansha service hall", "Form B-12", asked["check_code"].as_str().unwrap()] {
        assert!(list.body.contains(seen), "{seen}: {}", list.body);
    }
    let page = open(&world, &mut phone).await;
    assert!(page.body.contains("Form B-12"), "{}", page.body);
    let done = world.agree_here(&mut phone, &page).await;
    assert_eq!((done.status.as_u16(), done.location()), (200, None), "{}", done.body);
    let record = world.record("code_issued").await;
    assert_eq!(record["terminal"], json!({"name": "Counter 7", "place": "Nansha service hall"}), "{record}");
    assert!(!record.to_string().contains("Form B-12"), "what is written for one person is not on record: {record}");
    // Who is told comes at once, however lately they looked.
    let tokens = poll(&counter, &asked).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let tokens = tokens.json();
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id["aud"], "counter");
    let access = tokens["access_token"].as_str().unwrap();
    let userinfo = counter.userinfo(access).await;
    assert_eq!(userinfo.json()["name"], "CHAN, Tai Man");
    assert_eq!(userinfo.headers["x-fapi-interaction-id"].len(), 36);
    let named = [
        ("authorization", &*format!("Bearer {access}")),
        ("x-fapi-interaction-id", "c770aef3-6784-41f7-8e0e-ff5f97bddb3a"),
    ];
    let userinfo = world.browser().send(http::Method::GET, &format!("{}/userinfo", world.issuer()), None, &named).await;
    assert_eq!(userinfo.headers["x-fapi-interaction-id"], "c770aef3-6784-41f7-8e0e-ff5f97bddb3a");
    assert_eq!(error(&poll(&counter, &asked).await), "invalid_grant");
    let list = phone.get(format!("{}/requests", world.issuer())).await;
    assert!(list.field("question").is_none(), "it was answered");
    // From now on the counter knows the person by its own name for them, or by its token.
    for (name, hint) in
        [("login_hint", id["sub"].as_str().unwrap()), ("id_token_hint", tokens["id_token"].as_str().unwrap())]
    {
        let more = [("login_hint", ""), (name, hint)];
        let again = ask(&counter, "", &more[usize::from(name == "login_hint")..]).await;
        assert_eq!(again.status, 200, "{name} {}", again.body);
        let page = phone.get(format!("{}/requests", world.issuer())).await;
        let question = page.field("question").unwrap();
        phone.post(format!("{}/requests", world.issuer()), &[("question", &question), ("decision", "no")]).await;
        assert_eq!(error(&poll(&counter, &again.json()).await), "access_denied");
    }
}

/// Sections 7.1 and 13: every parameter, in each way it can be wrong.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_13_bad_requests() {
    let (world, counter, portal) = world("").await;
    let mut phone = phone(&world, &portal, "hk-chan").await;
    let long = "x".repeat(65);
    for (name, value, expected) in [
        ("login_hint", "", "invalid_request"),
        ("login_hint", "nobody", "unknown_user_id"),
        ("login_hint", "BBBB-BBBB", "unknown_user_id"),
        ("id_token_hint", "x", "invalid_request"),
        ("login_hint_token", "x", "invalid_request"),
        ("binding_message", long.as_str(), "invalid_binding_message"),
        ("binding_message", "a\u{202e}b", "invalid_binding_message"),
        ("scope", "profile", "invalid_scope"),
        ("requested_expiry", "soon", "invalid_request"),
        ("requested_expiry", "0", "invalid_request"),
        ("terminal_name", "", "invalid_request"),
        ("resource", "https://services.example/other", "invalid_target"),
        ("request", "x", "invalid_request"),
    ] {
        let shown = code(&world, &mut phone).await;
        assert_eq!(error(&ask(&counter, &shown, &[(name, value)]).await), expected, "{name}={value}");
    }
    let shown = code(&world, &mut phone).await;
    let wrong = Rp { secret: Some("wrong".into()), ..counter.clone() };
    assert_eq!(error(&ask(&wrong, &shown, &[]).await), "invalid_client");
    assert_eq!(error(&ask(&portal, &shown, &[]).await), "unauthorized_client");
    // None of these used the code up, or put anything to anybody.
    let short = ask(&counter, &shown, &[("requested_expiry", "30")]).await.json();
    assert_eq!(short["expires_in"], 30);
    world.clock.advance(31);
    assert_eq!(error(&poll(&counter, &short).await), "expired_token");
    assert!(phone.get(format!("{}/requests", world.issuer())).await.field("question").is_none());
    // A code shows for two minutes.
    let shown = code(&world, &mut phone).await;
    world.clock.advance(121);
    assert_eq!(error(&ask(&counter, &shown, &[]).await), "unknown_user_id");
    let id = short["auth_req_id"].as_str().unwrap();
    assert_eq!(error(&portal.token(&[("grant_type", GRANT), ("auth_req_id", id)]).await), "unauthorized_client");
    assert_eq!(error(&counter.token(&[("grant_type", GRANT), ("auth_req_id", "x")]).await), "invalid_grant");
    assert_eq!(error(&counter.token(&[("grant_type", GRANT)]).await), "invalid_request");
}

/// Only the person who was asked answers, whoever opens it; and nobody is flooded.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_only_who_was_asked_answers() {
    let (world, counter, portal) = world("").await;
    let (mut chan, mut wong) = (phone(&world, &portal, "hk-chan").await, phone(&world, &portal, "hk-wong").await);
    let shown = code(&world, &mut chan).await;
    let asked = ask(&counter, &shown, &[]).await.json();
    let page = chan.get(format!("{}/requests", world.issuer())).await;
    let question = page.field("question").unwrap();
    // Somebody else's list does not have it, and a question that was learnt is no question of theirs.
    assert!(wong.get(format!("{}/requests", world.issuer())).await.field("question").is_none());
    let theirs =
        wong.post(format!("{}/requests", world.issuer()), &[("question", &question), ("decision", "open")]).await;
    assert!(theirs.location().is_none() && theirs.field("question").is_none(), "{}", theirs.body);
    // Signed out, or from a page of somebody else's: nothing.
    let mut stranger = world.browser();
    let away =
        stranger.post(format!("{}/requests", world.issuer()), &[("question", &question), ("decision", "open")]).await;
    assert!(away.target().path().ends_with("/requests"));
    let foreign = [("sec-fetch-site", "cross-site")];
    let form = format!("question={question}&decision=open");
    let url = format!("{}/requests", world.issuer());
    assert_eq!(chan.send(http::Method::POST, &url, Some(form), &foreign).await.status, 403);
    assert_eq!(error(&poll(&counter, &asked).await), "authorization_pending");
    // Two of one client wait for one person: a third takes the place of the oldest.
    let shown = code(&world, &mut chan).await;
    let second = ask(&counter, &shown, &[]).await.json();
    let shown = code(&world, &mut chan).await;
    assert_eq!(ask(&counter, &shown, &[]).await.status, 200);
    assert_eq!(error(&poll(&counter, &asked).await), "access_denied");
    assert_eq!(error(&poll(&counter, &second).await), "authorization_pending");
    let list = chan.get(&url).await.body;
    assert!(list.matches("name=\"question\"").count() == 2 && !list.contains(&question), "{list}");
    // Whoever else signs in where the person was asked says neither yes nor no.
    let begun = chan.get(&url).await.field("question").unwrap();
    let mut shared = chan.clone();
    let chooser = shared.post(&url, &[("question", &begun), ("decision", "open")]).await;
    let consent = world.past_waiting(&mut shared, chooser.target()).await;
    assert!(consent.field("question").is_some(), "{}", consent.body);
    let login = consent.url.path().trim_end_matches("/consent").to_owned();
    let address = shared.get(format!("{}{login}/to/hk-iam-smart", world.issuer())).await.target();
    let callback = world.sign_in_at_provider(&mut shared, &address, "hk-wong").await;
    let stopped = world.past_waiting(&mut shared, callback).await;
    assert_eq!(stopped.failure(), Some("CB-407"), "{}", stopped.body);
    assert!(chan.get(&url).await.body.contains(&begun), "it waits for its person still");
}

/// Pairwise names stay apart: what one client asks shows another nothing, and a name is its client's own, for as long as it stands.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_names_are_each_clients_own() {
    let (world, counter, portal) = world("").await;
    let mut chan = phone(&world, &portal, "hk-chan").await;
    let shown = code(&world, &mut chan).await;
    let asked = ask(&counter, &shown, &[]).await.json();
    let page = open(&world, &mut chan).await;
    world.agree_here(&mut chan, &page).await;
    let tokens = poll(&counter, &asked).await.json();
    let own = claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned();
    let mut browser = world.browser();
    let back = world.sign_in(&mut browser, &portal.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    let theirs = portal.redeem(&integration_tests::rp::query(&back, "code").unwrap()).await.json();
    let theirs = claims(theirs["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned();
    assert_eq!(error(&ask(&counter, &theirs, &[]).await), "unknown_user_id", "another client's name");
    assert_eq!(ask(&counter, &own, &[]).await.status, 200);
    // Taken back: then nobody is known by it.
    let account = chan.get(format!("{}/account", world.issuer())).await;
    let receipts: Vec<&str> =
        account.body.split("name=\"receipt\" value=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for receipt in receipts {
        chan.post(format!("{}/account/withdraw", world.issuer()), &[("receipt", receipt)]).await;
    }
    assert_eq!(error(&ask(&counter, &own, &[]).await), "unknown_user_id");
}

/// Section 7.1, `user_code`: nobody is asked by name who does not show a code of theirs just now.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_7_1_a_client_that_has_to_give_the_code_that_people_show() {
    let (world, counter, portal) = world("backchannel_user_code_parameter = true").await;
    let mut chan = phone(&world, &portal, "hk-chan").await;
    let mut wong = phone(&world, &portal, "hk-wong").await;
    let shown = code(&world, &mut chan).await;
    let asked = ask(&counter, &shown, &[]).await.json();
    let page = open(&world, &mut chan).await;
    world.agree_here(&mut chan, &page).await;
    let tokens = poll(&counter, &asked).await.json();
    let sub = claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned();
    assert_eq!(error(&ask(&counter, &sub, &[]).await), "missing_user_code");
    let (theirs, own) = (code(&world, &mut wong).await, code(&world, &mut chan).await);
    for (given, expected) in
        [("BBBB-BBBB", "invalid_user_code"), (&*shown, "invalid_user_code"), (&*theirs, "invalid_user_code")]
    {
        assert_eq!(error(&ask(&counter, &sub, &[("user_code", given)]).await), expected, "{given}");
    }
    assert_eq!(ask(&counter, &sub, &[("user_code", &own)]).await.status, 200);
    // The code serves once.
    assert_eq!(error(&ask(&counter, &sub, &[("user_code", &own)]).await), "invalid_user_code");
}

/// Section 10.2: a client that wants to be told is told, once, of a yes and of a no.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_10_2_ping() {
    let port = free_port();
    let lines = format!(
        "backchannel_token_delivery_mode = \"ping\"\nbackchannel_client_notification_endpoint = \"https://localhost:{port}/ping\""
    );
    let (world, counter, portal) = world(&lines).await;
    let mut phone = phone(&world, &portal, "hk-chan").await;
    let site = Site::open(&world.data, port, 204, "").await;
    let shown = code(&world, &mut phone).await;
    assert_eq!(error(&ask(&counter, &shown, &[]).await), "invalid_request", "no token to be told with");
    let asked = ask(&counter, &shown, &[("client_notification_token", "token-1")]).await.json();
    let page = open(&world, &mut phone).await;
    world.agree_here(&mut phone, &page).await;
    let told = |id: &Value| ("/ping".to_owned(), json!({"auth_req_id": id}).to_string());
    assert_eq!(site.heard(), [told(&asked["auth_req_id"])]);
    assert_eq!(poll(&counter, &asked).await.status, 200);
    // The next one says no, at an endpoint that sends us elsewhere: nobody goes there, and the person's answer counts all the same.
    site.answers(307, vec![("location", format!("https://localhost:{port}/elsewhere"))], "");
    let shown = code(&world, &mut phone).await;
    let asked = ask(&counter, &shown, &[("client_notification_token", "token-2")]).await.json();
    let list = phone.get(format!("{}/requests", world.issuer())).await;
    let question = list.field("question").unwrap();
    let no = [("question", question.as_str()), ("decision", "no")];
    assert_eq!(phone.post(format!("{}/requests", world.issuer()), &no).await.status, 200);
    assert_eq!(site.heard().len(), 2);
    assert_eq!(error(&poll(&counter, &asked).await), "access_denied");
}

/// Section 7.1.1: signed requests, in each way they can be wrong.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_7_1_1_signed_requests() {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let lines = format!(
        "jwks = '{}'\nrequire_signed_request_object = true\nbackchannel_authentication_request_signing_alg = \"ES256\"",
        json!({"keys": [key.public_jwk()]})
    );
    let (world, counter, portal) = world(&lines).await;
    let mut phone = phone(&world, &portal, "hk-chan").await;
    let shown = code(&world, &mut phone).await;
    assert_eq!(error(&ask(&counter, &shown, &[]).await), "invalid_request", "it has to be signed");
    let now = world.now().0;
    let sound = json!({
        "iss": "counter", "aud": world.issuer(), "exp": now + 60, "iat": now, "nbf": now, "jti": "one", "scope": "openid",
        "login_hint": shown, "terminal_name": "Counter 7", "terminal_place": "Hall", "binding_message": "Signed",
    });
    let send = async |claims: &Value, key: &SigningKey| {
        let object = jws::sign(key, "JWT", claims.as_object().unwrap()).unwrap();
        counter.post("/bc-authorize", &[("request", &object)]).await
    };
    for (name, value) in [
        ("iss", json!("portal")),
        ("iss", Value::Null),
        ("aud", json!("https://other.example")),
        ("exp", json!(now - 600)),
        ("exp", Value::Null),
        ("nbf", Value::Null),
        ("iat", Value::Null),
        ("jti", Value::Null),
        ("sub", json!("counter")),
        ("request", json!("x")),
    ] {
        let mut wrong = sound.clone();
        wrong[name] = value;
        if wrong[name].is_null() {
            wrong.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(error(&send(&wrong, &key).await), "invalid_request", "{wrong}");
    }
    let other = SigningKey::generate(Algorithm::ES256).unwrap();
    assert_eq!(error(&send(&sound, &other).await), "invalid_request");
    let asked = send(&sound, &key).await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    assert!(phone.get(format!("{}/requests", world.issuer())).await.body.contains("Signed"));
    // Whoever saw it sends it in vain.
    assert_eq!(error(&send(&sound, &key).await), "invalid_request");
}

/// A client that is there to check is told yes or no, whatever it asks for and whatever the service could release.
#[tokio::test(flavor = "multi_thread")]
async fn a_verification_only_client_is_told_yes_or_no_and_nothing_else() {
    let (world, counter, portal) = world("verification_only = true").await;
    let mut phone = phone(&world, &portal, "hk-chan").await;
    let shown = code(&world, &mut phone).await;
    let named = json!({"name": {"essential": true}, "email": null, "over_18": {"essential": true}});
    let verified = json!({"verification": {"trust_framework": null}, "claims": {"name": null, "over_18": null}});
    let mut everywhere = named.clone();
    everywhere["verified_claims"] = verified;
    let wanted = json!({"userinfo": everywhere, "id_token": everywhere}).to_string();
    let asked = ask(&counter, &shown, &[("scope", "openid profile email age"), ("claims", &wanted)]).await.json();
    let page = open(&world, &mut phone).await;
    assert!(!page.body.contains("姓名") && page.body.contains("18"), "{}", page.body);
    world.agree_here(&mut phone, &page).await;
    let tokens = poll(&counter, &asked).await.json();
    let userinfo = counter.userinfo(tokens["access_token"].as_str().unwrap()).await;
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    for told in [&userinfo.json(), &id_token] {
        assert_eq!(told["over_18"], true, "{told}");
        assert!(!told.to_string().contains("CHAN") && told.get("email").is_none(), "{told}");
    }
    let names: Vec<String> = userinfo.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["over_18", "sub"], "{}", userinfo.body);
    // The portal of the same service is no such client.
    let mut browser = world.browser();
    let back = world.sign_in(&mut browser, &portal.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    let tokens = portal.redeem(&integration_tests::rp::query(&back, "code").unwrap()).await.json();
    assert_eq!(portal.userinfo(tokens["access_token"].as_str().unwrap()).await.json()["name"], "CHAN, Tai Man");
}

/// The polling mode with a certified client's own defaults.
#[tokio::test(flavor = "multi_thread")]
async fn ciba_7_openid_client_at_a_counter() {
    let (world, _, portal) = world("").await;
    let mut phone = phone(&world, &portal, "hk-chan").await;
    for (answer, outcome) in [("yes", json!(true)), ("no", json!("access_denied"))] {
        let (shown, port) = (code(&world, &mut phone).await, free_port());
        let params = json!({
            "scope": "openid profile", "login_hint": shown, "binding_message": "Form B-12",
            "terminal_name": "Counter 7", "terminal_place": "Nansha service hall",
        });
        let (cert, key) = certificate(&world.data, &format!("counter-{answer}"));
        let settings = json!({
            "port": port, "cert": cert, "key": key, "ca": world.demo.ca, "issuer": world.issuer(), "ciba": true,
            "client_id": "counter", "secret": SECRET, "params": params,
        });
        let _counter = Peer::start("kiosk.mjs", &settings).await;
        let at = |path: &str| format!("https://localhost:{port}{path}");
        let asked = world.browser().get(at("/start")).await.json();
        assert!(asked["auth_req_id"].is_string(), "{asked}");
        if answer == "yes" {
            let page = open(&world, &mut phone).await;
            world.agree_here(&mut phone, &page).await;
        } else {
            let page = phone.get(format!("{}/requests", world.issuer())).await;
            let question = page.field("question").unwrap();
            phone.post(format!("{}/requests", world.issuer()), &[("question", &question), ("decision", "no")]).await;
        }
        let result = world.browser().get(at("/result")).await.json();
        let told = if answer == "yes" { &result["ok"] } else { &result["error"] };
        assert_eq!(*told, outcome, "{result:#}");
        if answer == "yes" {
            assert_eq!(result["userinfo"]["name"], "CHAN, Tai Man");
        }
    }
}

/// The page on the phone, in four languages, with and without a script, held against axe; the screenshots are kept.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_requests_in_a_real_browser() {
    let (world, counter, portal) = world("").await;
    let mut phone = phone(&world, &portal, "hk-chan").await;
    let shown = code(&world, &mut phone).await;
    let asked = ask(&counter, &shown, &[]).await.json();
    let page = open(&world, &mut phone).await;
    world.agree_here(&mut phone, &page).await;
    let tokens = poll(&counter, &asked).await.json();
    let known = claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned();
    let asked = ask(&counter, &known, &[]).await.json();
    let requests = format!("{}/requests", world.issuer());
    let mut runs: Vec<Value> = Vec::new();
    for (locale, javascript) in [("zh-CN", false), ("zh-HK", true), ("pt-PT", false), ("en", true)] {
        let look = |page: &str| {
            let name = format!("{page}-{locale}");
            vec![json!({"screenshot": name}), json!({"axe": name}), json!({"noHorizontalScroll": true})]
        };
        // A terminal signs this browser in.
        let terminal = [("scope", "openid profile"), ("terminal_name", "Kiosk 1"), ("terminal_place", "Shaxi")];
        let terminal = counter.post("/device_authorization", &terminal).await.json();
        let steps = [
            vec![json!({"goto": requests})],
            look("requests-signed-out"),
            vec![json!({"goto": terminal["verification_uri_complete"]})],
            vec![json!({"focusAndEnter": "button[value=yes]"})],
            vec![json!({"focusAndEnter": "button[value=hk-chan]"}), json!({"expectUrl": "/consent"})],
            vec![json!({"check": "input[name=export]"}), json!({"focusAndEnter": "button[value=allow]"})],
            vec![json!({"expectNo": "button[value=allow]"})],
            vec![json!({"goto": requests})],
            vec![json!({"expectText": {"selector": ".asks .check", "text": asked["check_code"]}})],
            look("requests-waiting"),
            vec![json!({"focusAndEnter": "button[value=code]"})],
            look("requests-code"),
            vec![json!({"focusAndEnter": "button[value=open]"}), json!({"expectUrl": "/login/"})],
            look("requests-opened"),
        ];
        let viewport = json!({"width": 390, "height": 844});
        runs.push(json!({"javascript": javascript, "locale": locale, "viewport": viewport, "steps": steps.concat()}));
    }
    chromium(&json!({"ca": world.demo.ca, "out": screenshots("requests"), "timeout": 20_000, "runs": runs})).await;
}
