//! What is being given up: it works until its last day, and who still uses it is counted.

use certs::key::{Algorithm, SigningKey};
use gateway::control::{self, Office, Order};
use gateway::ports::{Clock as _, SystemClock};
use gateway_core::time::{Date, Timestamp};
use integration_tests::World;
use integration_tests::keyed::{Keyed, SERVICE};
use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use serde_json::{Value, json};

const DAY: u64 = 86_400;

fn now() -> u64 {
    SystemClock.now().0
}

/// The day so many days from now.
fn day(offset: i64) -> Date {
    Timestamp(now().checked_add_signed(offset * DAY as i64).unwrap()).date()
}

/// A portal held to the oldest profile, which is given up like a name for an assurance and a claim, all on this last day.
async fn world(until: Date) -> World {
    let client = client_document(
        "old",
        "https://old.example/cb",
        "client_secret_basic",
        &format!("profile = \"legacy\"\n{}", secret_line()),
    );
    let service = service_document("matter", &["old", "gd-bay-area-services"], &["hk-iam-smart"], "");
    let retire = format!(
        "[retire.acr.\"urn:old:high\"]\nmeans = \"urn:cbid:acr:i1a1\"\nuntil = \"{until}\"\n\
         [retire.claims]\nemail = \"{until}\"\n[retire.profiles]\nlegacy = \"{}\"\n",
        day(1)
    );
    let documents = [
        ("clients/old.toml", client.as_str()),
        ("services/matter.toml", service.as_str()),
        ("vocabulary/retire.toml", retire.as_str()),
    ];
    World::with(&documents).await
}

async fn used(world: &World) -> Vec<Value> {
    let app = world.demo.gateway.app();
    let office =
        Office { store: &app.store, seals: &app.seals, source: app.source(), usage: Some(&app.usage), now: app.now() };
    let shown = control::carry_out(Order::Retiring, &office).await.unwrap();
    shown
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["client"], row["kind"], row["value"], row["times"]]))
        .collect()
}

/// Signs somebody in who asks for the old name; the ID token, and what the userinfo endpoint says.
async fn asked_by_the_old_name(world: &World) -> (Value, Value) {
    let rp = world.client("old", Some(SECRET), "https://old.example/cb");
    let acr = json!({"id_token": {"acr": {"values": ["urn:old:high"], "essential": true}}}).to_string();
    let asked = rp.authorize("matter", &[("scope", "openid profile email"), ("claims", &acr)]);
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &asked, "hk-iam-smart", "hk-chan").await;
    let back = world.agree(&mut browser, &page, &["email"]).await;
    let tokens = rp.redeem(&query(&back, "code").unwrap_or_default()).await.json();
    let userinfo = rp.userinfo(tokens["access_token"].as_str().unwrap_or_default()).await.json();
    (claims(tokens["id_token"].as_str().unwrap()), userinfo)
}

#[tokio::test(flavor = "multi_thread")]
async fn old_names_work_until_their_last_day_and_who_uses_them_is_counted() {
    let world = world(day(1)).await;
    let (id_token, userinfo) = asked_by_the_old_name(&world).await;
    assert_eq!(id_token["acr"], "urn:old:high");
    assert!(userinfo["email"].is_string(), "{userinfo}");
    asked_by_the_old_name(&world).await;
    let expected = [
        json!(["old", "acr", "urn:old:high", 2]),
        json!(["old", "claim", "email", 2]),
        json!(["old", "profile", "legacy", 2]),
    ];
    assert_eq!(used(&world).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_names_stop_after_their_last_day() {
    let world = world(day(-1)).await;
    let rp = world.client("old", Some(SECRET), "https://old.example/cb");
    // A name that is nobody's any more is no demand that could be met.
    let acr = json!({"id_token": {"acr": {"values": ["urn:old:high"], "essential": true}}}).to_string();
    let asked = rp.authorize("matter", &[("claims", &acr)]);
    let page = world.browser().get(&asked).await;
    assert!(page.field("provider").is_none() && page.body.contains("目前没有可用于本事项的登录方式"), "{}", page.body);
    // The claim is not asked for at the provider, not shown, not given.
    let mut browser = world.browser();
    let asked = rp.authorize("matter", &[("scope", "openid profile email"), ("acr_values", "urn:old:high")]);
    let page = world.to_consent(&mut browser, &asked, "hk-iam-smart", "hk-chan").await;
    assert!(!page.body.contains("mail"), "{}", page.body);
    let tokens = rp.redeem(&query(&world.agree(&mut browser, &page, &[]).await, "code").unwrap()).await.json();
    let userinfo = rp.userinfo(tokens["access_token"].as_str().unwrap()).await.json();
    assert_eq!((userinfo.get("email"), userinfo["name"].is_string()), (None, true), "{userinfo}");
    assert_ne!(claims(tokens["id_token"].as_str().unwrap())["acr"], "urn:old:high");
    // The profile has a day left; after that its clients are none, wherever they come.
    let code = world.code(&rp, "matter", "hk-iam-smart", "hk-chan").await;
    world.clock.advance(3 * DAY);
    let refused = world.browser().get(rp.authorize("matter", &[])).await;
    assert_eq!((refused.status.as_u16(), refused.failure()), (400, Some("CB-102")), "{}", refused.body);
    assert_eq!(rp.redeem(&code).await.json()["error"], "unauthorized_client");
}

/// A key says of itself when it ends (`exp`, registered by OpenID Federation 1.0).
#[tokio::test(flavor = "multi_thread")]
async fn a_clients_key_works_until_its_end() {
    let (old, new) = (SigningKey::generate(Algorithm::ES256).unwrap(), SigningKey::generate(Algorithm::ES256).unwrap());
    let ends = now() + 120;
    let mut ending = old.public_jwk().clone();
    ending["exp"] = json!(ends);
    let lines = format!("profile = \"fapi2\"\njwks = '{}'", json!({"keys": [new.public_jwk(), ending]}));
    let client = client_document("keyed", "https://keyed.example/callback", "private_key_jwt", &lines);
    let service = service_document(SERVICE, &["keyed"], &["hk-iam-smart"], "");
    let path = format!("services/{SERVICE}.toml");
    let world = World::with(&[("clients/keyed.toml", client.as_str()), (&path, service.as_str())]).await;
    let keyed = |key: SigningKey| Keyed::of(&world, "keyed", key);
    let kid = old.kid().to_owned();
    let (old, new) = (keyed(old), keyed(new));
    assert_eq!(new.push(false, &[]).await.status, 201);
    assert_eq!(used(&world).await, Vec::<Value>::new());
    assert_eq!(old.push(false, &[]).await.status, 201);
    assert_eq!(used(&world).await, [json!(["keyed", "key", kid, 1])]);
    world.clock.advance(150);
    assert_eq!(old.push(false, &[]).await.json()["error"], "invalid_client");
    assert_eq!(new.push(false, &[]).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retired_by_a_wrong_name_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    for (text, told) in [
        ("[retire.claims]\nemial = \"2027-01-01\"", "emial is not known in this bundle; did you mean email?"),
        ("[retire.profiles]\nlegcay = \"2027-01-01\"", "did you mean legacy?"),
        ("[retire.claims]\nemail = \"soon\"", "expected a date"),
        ("[retire.acr.\"urn:old\"]\nmeans = \"high\"\nuntil = \"2027-01-01\"", "is not an acr value of the gateway"),
        ("[retire.acr.\"urn:cbid:acr:i1a1\"]\nmeans = \"urn:cbid:acr:i1a1\"\nuntil = \"2027-01-01\"", "itself calls"),
    ] {
        let path = folder.path().join("vocabulary");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("vocabulary.toml"), policies::documents::VOCABULARY).unwrap();
        std::fs::write(path.join("a.toml"), text).unwrap();
        let bundle = gateway::bundle::Bundle::read(folder.path()).unwrap();
        let problems = gateway::catalog::policies(&bundle).err().unwrap_or_default();
        assert!(problems.iter().any(|problem| problem.to_string().contains(told)), "{text}: {problems:?}");
    }
}
