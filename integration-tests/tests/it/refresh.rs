//! Refresh tokens: one use each, bound to client, consent and policy.

use std::time::Duration;

use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Reply, Rp, World};
use serde_json::Value;

const REDIRECT: &str = "https://again.example/cb";

async fn world(service: impl FnOnce(String) -> String) -> (World, Rp) {
    let client = |id: &str, more: &str| client_document(id, REDIRECT, "client_secret_basic", more);
    let again = client("again", &format!("refresh_lifetime = \"2h\"\n{}", secret_line()));
    let other = client("other", &format!("refresh_lifetime = \"2h\"\n{}", secret_line()));
    let never = client("never", &secret_line());
    let service = service(service_document("kept", &["again", "other", "never"], &["hk-iam-smart"], ""));
    let documents = [
        ("clients/again.toml", again.as_str()),
        ("clients/other.toml", &other),
        ("clients/never.toml", &never),
        ("services/kept.toml", &service),
    ];
    let world = World::with(&documents).await;
    let rp = world.client("again", Some(SECRET), REDIRECT);
    (world, rp)
}

async fn tokens(world: &World, rp: &Rp) -> Value {
    let authorize = rp.authorize("kept", &[("scope", "openid profile offline_access")]);
    let back = world.sign_in(&mut world.browser(), &authorize, "hk-iam-smart", "hk-chan").await;
    rp.redeem(&query(&back, "code").unwrap()).await.json()
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("{name}: {tokens}"))
}

async fn refresh(rp: &Rp, token: &str, more: &[(&str, &str)]) -> Reply {
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    form.extend(more);
    rp.token(&form).await
}

fn error(reply: &Reply) -> String {
    reply.json()["error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_serves_once_and_another_takes_its_place() {
    let (world, rp) = world(|text| text).await;
    let first = tokens(&world, &rp).await;
    let second = refresh(&rp, text(&first, "refresh_token"), &[]).await.json();
    let (before, after) = (claims(text(&first, "id_token")), claims(text(&second, "id_token")));
    for same in ["sub", "aud", "iss", "auth_time", "acr"] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert!(after.get("nonce").is_none());
    let userinfo = rp.userinfo(text(&second, "access_token")).await.json();
    assert_eq!(userinfo["name"], "CHAN, Tai Man");
    assert_ne!(first["refresh_token"], second["refresh_token"]);
}

/// A refresh token that comes twice was stolen once: everything of its grant ends (RFC 9700 section 4.14.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_twice_ends_everything_of_its_grant() {
    let (world, rp) = world(|text| text).await;
    let first = tokens(&world, &rp).await;
    let second = refresh(&rp, text(&first, "refresh_token"), &[]).await.json();
    assert_eq!(error(&refresh(&rp, text(&first, "refresh_token"), &[]).await), "invalid_grant");
    assert_eq!(error(&refresh(&rp, text(&second, "refresh_token"), &[]).await), "invalid_grant");
    assert_eq!(rp.userinfo(text(&second, "access_token")).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_53517_fifty_at_once_get_one_answer() {
    let (world, rp) = world(|text| text).await;
    let token = text(&tokens(&world, &rp).await, "refresh_token").to_owned();
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (rp, token) = (rp.clone(), token.clone());
            tokio::spawn(async move { refresh(&rp, &token, &[]).await.status })
        })
        .collect();
    let mut served = 0;
    for one in tries {
        served += usize::from(one.await.unwrap() == 200);
    }
    assert_eq!(served, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_nothing_wider_and_not_for_ever() {
    let (world, rp) = world(|text| text).await;
    let first = tokens(&world, &rp).await;
    let token = text(&first, "refresh_token");
    let other = world.client("other", Some(SECRET), REDIRECT);
    assert_eq!(error(&refresh(&other, token, &[]).await), "invalid_grant");
    assert_eq!(error(&refresh(&rp, token, &[("scope", "openid email")]).await), "invalid_scope");
    let elsewhere = [("resource", "https://services.example/e-invoice")];
    assert_eq!(error(&refresh(&rp, token, &elsewhere).await), "invalid_target");
    assert_eq!(error(&refresh(&rp, "nothing", &[]).await), "invalid_grant");
    assert_eq!(error(&refresh(&rp, token, &[("refresh_token", "x")]).await), "invalid_request");
    // Only who is registered for it and asks for it gets one.
    let never = world.client("never", Some(SECRET), REDIRECT);
    assert!(tokens(&world, &never).await.get("refresh_token").is_none());
    let back = world.sign_in(&mut world.browser(), &rp.authorize("kept", &[]), "hk-iam-smart", "hk-chan").await;
    assert!(rp.redeem(&query(&back, "code").unwrap()).await.json().get("refresh_token").is_none());
    // None of that used it up.
    let second = refresh(&rp, token, &[("scope", "openid")]).await;
    assert_eq!(second.status, 200, "{}", second.body);
    // However often it is used, it ends when the first would have.
    world.clock.advance(2 * 3_600);
    assert_eq!(error(&refresh(&rp, text(&second.json(), "refresh_token"), &[]).await), "invalid_grant");
}

/// A refresh is a new release: the login behind it is as old as it has become.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_grew_too_old_refreshes_nothing() {
    let (world, rp) =
        world(|text| text.replace("authentication = 1\n", "authentication = 1\nmax_age = \"30m\"\n")).await;
    let first = tokens(&world, &rp).await;
    world.clock.advance(Duration::from_secs(29 * 60).as_secs());
    let second = refresh(&rp, text(&first, "refresh_token"), &[]).await;
    assert_eq!(second.status, 200, "{}", second.body);
    world.clock.advance(Duration::from_secs(2 * 60).as_secs());
    assert_eq!(error(&refresh(&rp, text(&second.json(), "refresh_token"), &[]).await), "invalid_grant");
}
