//! Flaws that a reviewer found in trust policy, each as a test.

use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Rp, World};
use serde_json::Value;

const REDIRECT: &str = "https://again.example/cb";
const OFFLINE: (&str, &str) = ("scope", "openid profile email offline_access");

/// A world with a client that may refresh, at a service that remembers.
async fn world(service: impl FnOnce(String) -> String) -> (World, Rp) {
    let more = format!("refresh_lifetime = \"2h\"\n{}", secret_line());
    let client = client_document("again", REDIRECT, "client_secret_basic", &more);
    let service = service(service_document("kept", &["again"], &["hk-iam-smart"], "remember_consent = \"90d\""));
    let world = World::with(&[("clients/again.toml", &client), ("services/kept.toml", &service)]).await;
    let rp = world.client("again", Some(SECRET), REDIRECT);
    (world, rp)
}

async fn tokens(world: &World, rp: &Rp) -> Value {
    let back = world.sign_in(&mut world.browser(), &rp.authorize("kept", &[OFFLINE]), "hk-iam-smart", "hk-chan").await;
    rp.redeem(&query(&back, "code").unwrap()).await.json()
}

async fn refresh(rp: &Rp, tokens: &Value, more: &[(&str, &str)]) -> Value {
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    form.extend(more);
    rp.token(&form).await.json()
}

async fn told(rp: &Rp, tokens: &Value) -> Value {
    rp.userinfo(tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}"))).await.json()
}

async fn take_over(world: &World, path: &str, from: &str, to: &str) {
    world.edit(path, |text| text.replace(from, to));
    world.demo.gateway.app().tend(None).await;
}

/// Claims were frozen in the grant: a row taken out, or a filing that ran out, reached no token that was out.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_12110_what_may_go_out_no_more_goes_out_of_no_token() {
    let (world, rp) = world(|text| text).await;
    let before = tokens(&world, &rp).await;
    assert_eq!(told(&rp, &before).await["name"], "CHAN, Tai Man");
    take_over(&world, "services/kept.toml", "from = 'claims.name'", "from = 'upper(claims.name)'").await;
    assert!(told(&rp, &before).await.get("name").is_none(), "another rule than the one it was released by");
    let after = refresh(&rp, &before, &[]).await;
    assert!(told(&rp, &after).await.get("name").is_none());
    take_over(&world, "services/kept.toml", "from = 'upper(claims.name)'", "from = 'claims.name'").await;
    assert_eq!(told(&rp, &before).await["name"], "CHAN, Tai Man");
    take_over(&world, "clients/again.toml", "2090-12-31", "2026-01-01").await;
    let bare = told(&rp, &before).await;
    assert_eq!(bare.as_object().unwrap().len(), 1, "nothing covers the crossing: {bare}");
    let again = refresh(&rp, &after, &[]).await;
    assert_eq!(told(&rp, &again).await.as_object().unwrap().len(), 1);
}

/// An anonymous service's `sub` was the same as that of named services of the portal: whoever asked silently knew who it was.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_anonymous_is_nobody_whom_another_service_knows() {
    let (world, rp) = world(|text| text).await;
    let subject = async |rp: &Rp, service: &str| {
        let back =
            world.sign_in(&mut world.browser(), &rp.authorize(service, &[OFFLINE]), "hk-iam-smart", "hk-chan").await;
        let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
        (claims(tokens["id_token"].as_str().unwrap())["sub"].clone(), tokens.get("refresh_token").is_some())
    };
    let portal = world.rp();
    let (named, _) = subject(&portal, "e-invoice").await;
    let (anonymous, _) = subject(&portal, "ratings").await;
    assert_ne!(named, anonymous);
    assert_eq!(subject(&portal, "ratings").await.0, anonymous, "one voice a person");
    take_over(&world, "services/ratings.toml", "clients = [", "clients = [\"again\", ").await;
    let (elsewhere, refreshes) = subject(&rp, "ratings").await;
    assert_eq!(elsewhere, anonymous, "whichever portal they come from");
    assert!(!refreshes, "nobody agreed to being known again without them");
}

/// A remembered yes to one look was taken for a yes to many.
#[tokio::test(flavor = "multi_thread")]
async fn coming_back_without_the_person_needs_a_yes_that_was_told_of_it() {
    let (world, rp) = world(|text| text).await;
    let mut browser = world.browser();
    let once = rp.authorize("kept", &[("scope", "openid profile email")]);
    world.sign_in(&mut browser, &once, "hk-iam-smart", "hk-chan").await;
    let silent = |scope| rp.authorize("kept", &[("scope", scope), ("prompt", "none")]);
    assert!(query(&browser.get(silent("openid profile email")).await.target(), "code").is_some());
    let error = query(&browser.get(silent(OFFLINE.1)).await.target(), "error");
    assert_eq!(error.as_deref(), Some("consent_required"));
    let page = browser.follow_within(rp.authorize("kept", &[OFFLINE, ("ui_locales", "en")]), world.issuer()).await;
    assert!(page.body.contains("for up to 2 hours"), "{}", page.body);
}

/// A refresh signed the `acr` of the day it began, however little the word means by now.
#[tokio::test(flavor = "multi_thread")]
async fn an_acr_is_what_the_words_mean_now() {
    let (world, rp) = world(|text| text).await;
    let essential = r#"{"id_token":{"acr":{"essential":true,"values":["urn:cbid:acr:i2a2"]}}}"#;
    let plain = tokens(&world, &rp).await;
    let authorize = rp.authorize("kept", &[OFFLINE, ("claims", essential)]);
    let back = world.sign_in(&mut world.browser(), &authorize, "hk-iam-smart", "hk-chan").await;
    let demanded = rp.redeem(&query(&back, "code").unwrap()).await.json();
    world.rewrite_provider("hk-iam-smart", |text| text.replace("authentication = 2", "authentication = 1")).await;
    let renewed = refresh(&rp, &plain, &[]).await;
    assert_eq!(claims(renewed["id_token"].as_str().unwrap())["acr"], "urn:cbid:acr:i2a1");
    assert_eq!(refresh(&rp, &demanded, &[]).await["error"], "invalid_grant", "an essential acr is never downgraded");
}

/// RFC 6749 section 6: a narrower scope was accepted, and everything handed out.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_33132_a_narrower_scope_gets_less() {
    let (world, rp) = world(|text| text.replace("optional = true\n", "")).await;
    let first = tokens(&world, &rp).await;
    assert!(told(&rp, &first).await["email"].is_string() || told(&rp, &first).await["name"].is_string());
    let narrow = refresh(&rp, &first, &[("scope", "openid")]).await;
    assert_eq!(narrow["scope"], "openid");
    let only = told(&rp, &narrow).await;
    assert_eq!(only.as_object().unwrap().len(), 1, "{only}");
    let whole = refresh(&rp, &narrow, &[]).await;
    assert_eq!(told(&rp, &whole).await["name"], "CHAN, Tai Man", "the grant itself was not narrowed");
}

/// Whoever could write to the store could make somebody agree; whoever could read it knew all matters of one person.
#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_sealed() {
    let (world, rp) = world(|text| text).await;
    tokens(&world, &rp).await;
    let store = &world.demo.gateway.app().store;
    for table in ["consent", "consents-of"] {
        let records = store.list(table, None, 10, world.now()).await.unwrap();
        assert_eq!(records.len(), 1, "{table}");
        let text = String::from_utf8_lossy(&records[0].1).into_owned();
        assert!(!text.contains("kept") && !text.contains("again"), "{table}: {text}");
    }
}

/// A claim that no instrument covers ended the sign-in and left no record.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_cannot_be_put_together_is_recorded() {
    let (world, rp) = world(|text| text.replacen("\"clear\"", "\"fail\"", 1)).await;
    take_over(&world, "clients/again.toml", "2090-12-31", "2026-01-01").await;
    let page = world.to_consent(&mut world.browser(), &rp.authorize("kept", &[]), "hk-iam-smart", "hk-chan").await;
    assert_eq!(page.failure(), Some("CB-408"));
    let recorded = world.demo.gateway.app().store.decisions(10).await.unwrap();
    assert_eq!(recorded[0].decision.outcome, "CB-408");
    assert_eq!(recorded[0].decision.rules, ["allow-1"], "let in, and nothing could go out");
}

/// The socket for orders deleted whatever file had its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_for_orders_replaces_no_file_and_is_never_open_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("master.key");
    std::fs::write(&key, "precious").unwrap();
    assert!(gateway::control::bind(&key).unwrap_err().contains("no socket"));
    assert_eq!(std::fs::read_to_string(&key).unwrap(), "precious");
    let socket = folder.path().join("control.sock");
    let first = gateway::control::bind(&socket).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(gateway::control::bind(&socket).unwrap_err().contains("another gateway"));
    drop(first);
    gateway::control::bind(&socket).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
}

/// A purpose, a ground or a recipient that changed did not end what people had agreed to before.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_to_reaches_no_other_purpose_ground_or_recipient() {
    for (path, from, to) in [
        ("services/kept.toml", "purpose = \"identify-applicant\"", "purpose = \"contact\""),
        ("services/kept.toml", "ground = \"consent\"", "ground = \"lodging-law\""),
        ("clients/again.toml", "operator = { zh-Hans = \"测试\"", "operator = { zh-Hans = \"另一机关\""),
    ] {
        let (world, rp) = world(|text| text).await;
        let before = tokens(&world, &rp).await;
        assert_eq!(told(&rp, &before).await["name"], "CHAN, Tai Man");
        take_over(&world, path, from, to).await;
        assert!(told(&rp, &before).await.get("name").is_none(), "{to}");
        let after = refresh(&rp, &before, &[]).await;
        assert!(told(&rp, &after).await.get("name").is_none(), "{to}");
    }
}

/// A client that moved across a border went on with what people had agreed to while it stood where they are.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_agreed_to_crosses_no_border_that_it_did_not_cross() {
    let (world, rp) = world(|text| text).await;
    let before = tokens(&world, &rp).await;
    assert_eq!(told(&rp, &before).await["name"], "CHAN, Tai Man");
    take_over(&world, "clients/again.toml", "jurisdiction = \"CN-GD\"", "jurisdiction = \"HK\"").await;
    assert!(told(&rp, &before).await.get("name").is_none());
}
