//! Signing out where people signed in: at the provider, by the browser and by the provider's own word.

use integration_tests::rp::query;
use integration_tests::world::{SECRET, secret_line};
use integration_tests::{Browser, Reply};
use serde_json::{Value, json};

use crate::logout::{id_token, is_signed_in, world};
use crate::peers::npm_that_logs_out;

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
    let mut elsewhere = world.browser();
    id_token(&world, &rp, &mut elsewhere).await;
    // A code that is on its way, and a person who is about to agree.
    let back = world.sign_in(&mut world.browser(), &rp.authorize("matter", &[]), "hk-iam-smart", "hk-chan").await;
    let mut undecided = world.browser();
    let asking = rp.authorize("matter", &[("prompt", "consent")]);
    let page = world.to_consent(&mut undecided, &asking, "hk-iam-smart", "hk-chan").await;
    let (at, until) = (world.now().0, world.now().0 + 60);
    let said = sign("logout+jwt", &[("iat", json!(at)), ("exp", json!(until))]);
    let first = post(path, &said).await;
    assert_eq!(first.status, 200);
    assert!(first.headers["cache-control"].to_str().unwrap().contains("no-store"));
    assert!(!is_signed_in(&rp, &mut browser).await);
    // What was said before, and comes again, takes nothing back.
    let before = sign("logout+jwt", &[("iat", json!(at - 300)), ("exp", json!(until)), ("jti", json!("before"))]);
    assert_eq!(post(path, &before).await.status, 200);
    assert!(!is_signed_in(&rp, &mut elsewhere).await, "a logout that was said once more took back a later one");
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
    assert_eq!(post(path, &said).await.status, 200, "a provider that did not hear us says it again");
    assert!(is_signed_in(&rp, &mut browser).await);
    // A session by its name and its person: meant is who was given no name for theirs.
    let both =
        sign("JWT", &[("sid", json!("a-session")), ("iat", json!(world.now().0)), ("exp", json!(world.now().0 + 60))]);
    assert_eq!(post(path, &both).await.status, 200);
    assert!(!is_signed_in(&rp, &mut browser).await);
}
