//! The programme's own platforms, by the documents that ship: the licence store is asked for people by portals and counters, and by the
//! data exchange for itself.

use certs::key::{Algorithm, SigningKey};
use integration_tests::Keyed;
use integration_tests::rp::{claims, query};
use integration_tests::world::World;
use serde_json::{Value, json};

use crate::link::decide;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const LOOKUP: &str = "https://services.example/licence-lookup";

/// A shipped client, with a key that we have.
async fn client(world: &World, id: &str) -> Keyed {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let path = world.data.join(format!("bundle/clients/{id}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let jwks = text.lines().find(|line| line.starts_with("jwks")).unwrap();
    std::fs::write(&path, text.replace(jwks, &format!("jwks = '{}'", json!({"keys": [key.public_jwk()]})))).unwrap();
    world.demo.gateway.app().tend(None).await;
    let portal = world.demo.portals.iter().find(|portal| portal.client_id == id).unwrap();
    let mut keyed = Keyed::of(world, id, key);
    keyed.rp.redirect_uri = format!("{}/callback", portal.url);
    keyed
}

fn form(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a client gets for somebody who signs in there for one matter.
async fn signed_in(world: &World, client: &Keyed, service: &str, person: &str, more: &[(&str, &str)]) -> Value {
    let mut browser = world.browser();
    let authorize = client.rp.authorize(service, more);
    let provider = if person.starts_with("gd") { "gd-unified" } else { "hk-iam-smart" };
    let mut page = world.to_consent(&mut browser, &authorize, provider, person).await;
    if page.url.path().ends_with("/link") {
        page = decide(world, &mut browser, &page, "skip").await;
    }
    if more.iter().any(|(name, _)| *name == "authorization_details") {
        assert!(page.body.contains("小型汽车（C1）"), "{}", page.body);
    }
    let back = world.agree(&mut browser, &page, &[]).await;
    let code = query(&back, "code").unwrap_or_else(|| panic!("{back}"));
    client.send("/token", &client.code_form(&code), &[]).await.json()
}

async fn looked_at(store: &Keyed, token: &str) -> Value {
    store.send("/introspect", &form(&[("token", token)]), &[]).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_licence_store_is_asked_for_people_and_by_platforms() {
    let world = World::own(&[]).await;
    let (portal, store) =
        (client(&world, "gd-government-service-network").await, client(&world, "gd-electronic-licence").await);
    let (exchange, counter) = (client(&world, "gd-data-exchange").await, client(&world, "gd-counter").await);
    let text =
        |value: &Value, name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}")).to_owned();
    // The person says which class of vehicle, and the portal asks the store about them and nothing more.
    let matter = "https://services.example/driving-licence-exchange";
    let details = json!([{"type": matter, "vehicle_class": "c1"}]).to_string();
    let asked = [("authorization_details", details.as_str()), ("scope", "openid profile")];
    let tokens = signed_in(&world, &portal, "driving-licence-exchange", "hk-chan", &asked).await;
    assert_eq!(tokens["authorization_details"][0]["vehicle_class"], "c1", "{tokens}");
    let own = text(&tokens, "access_token");
    let narrow = |token: &str, more: &[(&str, &str)]| {
        let pairs =
            [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS), ("resource", LOOKUP)];
        form(&[&pairs[..], more].concat())
    };
    let answer = portal.send("/token", &narrow(&own, &[]), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let narrowed = text(&answer.json(), "access_token");
    let told = looked_at(&store, &narrowed).await;
    assert_eq!((&told["active"], &told["aud"]), (&json!(true), &json!(LOOKUP)), "{told}");
    assert!(
        told["sub"].is_string() && told["sub"] != claims(&text(&tokens, "id_token"))["sub"],
        "its own name for them"
    );
    assert!(told.get("authorization_details").is_none() && told.get("name").is_none(), "{told}");
    assert_eq!(
        looked_at(&store, &own).await,
        json!({"active": false}),
        "the portal's own token is none of its business"
    );
    // A matter whose tokens are not taken there.
    let other = signed_in(&world, &portal, "social-insurance-record", "hk-chan", &[]).await;
    let refused = portal.send("/token", &narrow(&text(&other, "access_token"), &[]), &[]).await;
    assert_eq!(refused.json()["error"], "invalid_target", "{}", refused.body);
    // At a counter an officer helps, and has to be named.
    let person = signed_in(&world, &counter, "residence-permit-application", "hk-chan", &[]).await;
    let applicant = signed_in(&world, &counter, "residence-permit-application", "hk-wong", &[]).await;
    let officer = signed_in(&world, &counter, "counter-desk", "gd-staff-liang", &[]).await;
    let (person, helper) = (text(&person, "access_token"), text(&officer, "access_token"));
    let applicant = text(&applicant, "access_token");
    let another = narrow(&person, &[("actor_token", &applicant), ("actor_token_type", ACCESS)]);
    assert_eq!(counter.send("/token", &another, &[]).await.json()["error"], "invalid_request", "the next in the queue");
    assert_eq!(counter.send("/token", &narrow(&person, &[]), &[]).await.json()["error"], "invalid_request");
    let helped = narrow(&person, &[("actor_token", &helper), ("actor_token_type", ACCESS)]);
    let helped = counter.send("/token", &helped, &[]).await;
    assert_eq!(helped.status, 200, "{}", helped.body);
    assert!(looked_at(&store, &text(&helped.json(), "access_token")).await["act"]["sub"].is_string());
    // The data exchange asks for itself, and learns of nobody.
    let itself = form(&[("grant_type", "client_credentials"), ("resource", LOOKUP)]);
    let itself = exchange.send("/token", &itself, &[]).await;
    assert_eq!(itself.status, 200, "{}", itself.body);
    let told = looked_at(&store, &text(&itself.json(), "access_token")).await;
    assert_eq!((&told["sub"], &told["scope"]), (&json!("gd-data-exchange"), &json!("licence.status")), "{told}");
}
