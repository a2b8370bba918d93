//! How long a portal that joined by its federation is one, and what ends that.

use certs::key::{Algorithm, SigningKey};
use gateway::op::joining::look_after;
use integration_tests::federation::{
    ANCHOR, DOCUMENT, Federation, MARK, MIDDLE, NAMES, PORTAL, client, listed, redeem, signed, terms, world,
};
use serde_json::json;

/// Everybody says the same as before, for so many seconds from now.
fn lasting(federation: &Federation, seconds: u64) {
    let long = json!({"exp": Federation::now() + seconds});
    for who in [ANCHOR, MIDDLE, PORTAL] {
        let mut own = long.clone();
        match who {
            ANCHOR => own["trust_mark_issuers"] = json!({MARK: [federation.entity(ANCHOR)]}),
            MIDDLE => federation.vouch(MIDDLE, &long),
            _ => {
                federation.vouch(PORTAL, &long);
                own["metadata"] = json!({"openid_relying_party": federation.metadata()});
                own["trust_marks"] = json!([federation.mark(&json!({}))]);
            }
        }
        federation.own(who, &own);
    }
}

/// Section 10.4 and 12.1.4: what is known of a portal ends with its chain, and is then found out anew.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_10_4_a_portal_is_known_as_long_as_its_chain_lasts() {
    let (world, federation) = world("").await;
    let client = client(&world, &federation);
    assert_eq!(client.push(true, &[]).await.status, 201);
    let asked = federation.site.heard().len();
    world.clock.advance(500);
    assert_eq!(client.push(true, &[]).await.status, 201);
    look_after(world.demo.gateway.app()).await;
    assert_eq!(federation.site.heard().len(), asked, "nobody is asked while it lasts");
    world.clock.advance(401);
    // Its superior does not vouch for it any more.
    federation.site.answers_at(&format!("/{}/fetch", NAMES[MIDDLE]), 404, vec![], "");
    federation.site.by_path.lock().unwrap().retain(|path, _| !path.starts_with("/middle/fetch?"));
    assert_eq!(client.push(true, &[]).await.json()["error"], "unauthorized_client");
    assert_eq!(world.browser().get(signed(&client, &json!({}))).await.failure(), Some("CB-102"));
    assert!(federation.site.heard().len() > asked);
    // It does again, with other words.
    federation.vouch(
        PORTAL,
        &json!({"exp": Federation::now() + 3_600, "metadata": {"openid_relying_party": {"client_name": "新名"}}}),
    );
    for who in [ANCHOR, MIDDLE] {
        let issuers = json!({MARK: [federation.entity(ANCHOR)]});
        let more = if who == ANCHOR { json!({"trust_mark_issuers": issuers}) } else { json!({}) };
        let mut more = more;
        more["exp"] = json!(Federation::now() + 3_600);
        federation.own(who, &more);
    }
    federation.vouch(MIDDLE, &json!({"exp": Federation::now() + 3_600}));
    let types = json!({"openid_relying_party": federation.metadata()});
    let marks = json!([federation.mark(&json!({}))]);
    federation.own(PORTAL, &json!({"metadata": types, "trust_marks": marks, "exp": Federation::now() + 3_600}));
    world.clock.advance(31);
    assert_eq!(client.push(true, &[]).await.status, 201);
    assert_eq!(listed(&world).await[0]["name"], "新名");
}

/// Whom an officer bars stays out, whoever vouches for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_is_barred_stays_out() {
    let (world, federation) = world("").await;
    let joined = client(&world, &federation);
    assert_eq!(joined.push(true, &[]).await.status, 201);
    let barred = terms(federation.port, &format!("barred = [\"{}\"]", federation.entity(PORTAL)));
    std::fs::write(world.data.join(format!("bundle/clients/{DOCUMENT}.toml")), barred).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(joined.push(true, &[]).await.json()["error"], "invalid_client");
    assert_eq!(world.browser().get(signed(&joined, &json!({}))).await.failure(), Some("CB-102"));
}

/// Whom we believed yesterday says nothing today: with other keys of the anchor nobody is in who came by the old ones.
#[tokio::test(flavor = "multi_thread")]
async fn other_keys_of_the_anchor_end_what_rested_on_the_old_ones() {
    let (world, federation) = world("").await;
    let joined = client(&world, &federation);
    assert_eq!(joined.push(true, &[]).await.status, 201);
    let places = || {
        let active = world.demo.gateway.app().bundle();
        let name = format!("{DOCUMENT}~{}", federation.entity(PORTAL)).parse().unwrap();
        active.registered_under(active.joined(&name).unwrap().1, world.now())
    };
    assert_eq!(places(), 1);
    let other = json!({"keys": [SigningKey::generate(Algorithm::ES256).unwrap().public_jwk()]});
    let path = world.data.join("bundle/federations/gba.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let jwks = text.lines().find(|line| line.starts_with("jwks")).unwrap();
    std::fs::write(&path, text.replace(jwks, &format!("jwks = '{other}'"))).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(joined.push(true, &[]).await.json()["error"], "invalid_client");
    // It has no place any more, and is no stranger for that.
    assert_eq!(places(), 0);
    assert!(world.demo.gateway.app().bundle().knew(&federation.entity(PORTAL).parse().unwrap()));
}

/// Whoever is asked for again and again is written down once, and who could be a client for no time at all never.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_make_us_write_nothing_twice() {
    let (world, federation) = world("").await;
    let client = client(&world, &federation);
    let records = async || world.records().await.len();
    // Vouched for, and over in a moment.
    federation.vouch(PORTAL, &json!({"exp": Federation::now() + 30}));
    let before = records().await;
    for _ in 0..3 {
        assert_eq!(client.push(true, &[]).await.json()["error"], "invalid_client");
    }
    assert_eq!(records().await, before);
    federation.vouch(PORTAL, &json!({}));
    world.clock.advance(31);
    assert_eq!(client.push(true, &[]).await.status, 201);
    let once = records().await;
    // Of a profile that is given up nobody is a client, however often anybody asks.
    let retire = "[retire.profiles]\nbaseline = \"2020-01-01\"\n";
    std::fs::write(world.data.join("bundle/vocabulary/retire.toml"), retire).unwrap();
    world.demo.gateway.app().tend(None).await;
    for _ in 0..3 {
        assert_eq!(world.browser().get(signed(&client, &json!({}))).await.failure(), Some("CB-102"));
    }
    assert_eq!(records().await, once);
}

/// No access token says that it serves for longer than the federation vouches for its portal.
#[tokio::test(flavor = "multi_thread")]
async fn the_tokens_of_a_portal_end_with_its_chain() {
    let (world, federation) = world("").await;
    let end = Federation::now() + 120;
    federation.vouch(PORTAL, &json!({"exp": end}));
    let client = client(&world, &federation);
    let pushed = client.push(true, &[]).await;
    let back = world.sign_in(&mut world.browser(), &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
    let before = world.now().0;
    let tokens = redeem(&client, &back).await.json();
    let lasts = tokens["expires_in"].as_u64().unwrap();
    assert!((end - world.now().0..=end - before).contains(&lasts), "{tokens}");
    let access = tokens["access_token"].as_str().unwrap();
    let told = client.send("/introspect", &[("token".to_owned(), access.to_owned())], &[]).await.json();
    assert_eq!(told["exp"], end, "{told}");
}

/// Section 10.4: nothing ends of a portal that goes on. Its federation is asked again in good time, whether anybody comes or not, and
/// what it says then is written down once.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_10_4_a_portal_that_goes_on_is_looked_for_in_good_time() {
    let (world, federation) = world("").await;
    let app = world.demo.gateway.app();
    let client = client(&world, &federation);
    assert_eq!(client.push(true, &[]).await.status, 201);
    let name = format!("{DOCUMENT}~{}", federation.entity(PORTAL)).parse().unwrap();
    let until = || app.bundle().vouched_until(&name).unwrap().0;
    let (first, asked) = (until(), federation.site.heard().len());
    let records = async || world.records().await.len();
    let before = records().await;
    world.clock.advance(650);
    // It hears the same, and that is no news.
    look_after(app).await;
    assert_eq!((until(), records().await), (first, before));
    assert!(federation.site.heard().len() > asked);
    lasting(&federation, 3_600);
    world.clock.advance(31);
    for _ in 0..2 {
        look_after(app).await;
        assert_eq!(records().await, before + 1);
    }
    assert!(until() > first + 2_000, "{} {first}", until());
    // Long after its first chain has ended it was never unknown, and nobody had to be asked.
    let asked = federation.site.heard().len();
    world.clock.advance(1_000);
    assert_eq!(client.push(true, &[]).await.status, 201);
    assert_eq!(federation.site.heard().len(), asked);
    // Who is not vouched for any more ends all the same.
    federation.site.by_path.lock().unwrap().retain(|path, _| !path.starts_with("/middle/fetch?"));
    world.clock.advance(1_900);
    look_after(app).await;
    world.clock.advance(200);
    look_after(app).await;
    assert_ne!(client.push(true, &[]).await.status, 201);
}

/// Who has been gone for long leaves the roll, once, and may come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_portal_that_is_long_gone_is_forgotten() {
    let (world, federation) = world("").await;
    let app = world.demo.gateway.app();
    let client = client(&world, &federation);
    assert_eq!(client.push(true, &[]).await.status, 201);
    let records = async || world.records().await.len();
    let before = records().await;
    world.clock.advance(2 * 86_400);
    look_after(app).await;
    assert_eq!((listed(&world).await.len(), records().await), (1, before));
    world.clock.advance(1_000);
    for _ in 0..2 {
        look_after(app).await;
        assert_eq!((listed(&world).await.len(), records().await), (0, before + 1));
    }
    lasting(&federation, 10 * 86_400);
    assert_eq!(client.push(true, &[]).await.status, 201);
    assert_eq!(listed(&world).await.len(), 1);
}
