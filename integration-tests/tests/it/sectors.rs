//! Whom a portal shares its `sub` with (OpenID Connect Core section 8).

use integration_tests::rp::{Rp, claims};
use integration_tests::servers::{Site, free_port};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};

const SERVICE: &str = "sectors";

fn portal(id: &str, redirect: &str, sector: &str) -> String {
    let document = client_document(id, redirect, "client_secret_basic", &secret_line());
    document.replace(&format!("sector = \"{id}\""), sector)
}

async fn world(portals: &[(&str, String)], more: &str) -> World {
    let ids: Vec<&str> = portals.iter().map(|(id, _)| *id).collect();
    let service = service_document(SERVICE, &ids, &["hk-iam-smart"], more);
    let mut documents: Vec<(String, &str)> = vec![(format!("services/{SERVICE}.toml"), service.as_str())];
    documents.extend(portals.iter().map(|(id, text)| (format!("clients/{id}.toml"), text.as_str())));
    let documents: Vec<(&str, &str)> = documents.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    World::with(&documents).await
}

async fn subject(world: &World, rp: &Rp) -> String {
    let code = world.code(rp, SERVICE, "hk-iam-smart", "hk-chan").await;
    let tokens = rp.redeem(&code).await.json();
    claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned()
}

/// OpenID Connect Core section 8: public subjects are the same for every client of a jurisdiction that has them, and the metadata
/// says so; everybody else keeps a name of their own.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_8_public_and_pairwise_subjects() {
    let at = |id: &str| format!("https://{id}.example/cb");
    let public = "subject_type = \"public\"";
    let portals = [
        ("first", portal("first", &at("first"), public)),
        ("second", portal("second", &at("second"), public)),
        ("apart", portal("apart", &at("apart"), "sector = \"apart\"")),
    ];
    let world = world(&portals, "public_subjects = true").await;
    let rp = |id: &str| world.client(id, Some(SECRET), &at(id));
    let (first, second) = (subject(&world, &rp("first")).await, subject(&world, &rp("second")).await);
    assert_eq!(first, second);
    assert_ne!(first, subject(&world, &rp("apart")).await);
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    assert_eq!(metadata["subject_types_supported"], serde_json::json!(["pairwise", "public"]));
}

/// OpenID Connect Core section 8.1 and CVE-2026-4366: who claims a sector is listed at its address; a redirect there leads nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_4366_a_sector_lists_where_its_portals_are() {
    let (port, elsewhere) = (free_port(), free_port());
    let sector = format!("sector_identifier_uri = \"https://localhost:{port}/uris.json\"");
    let at = |id: &str| format!("https://{id}.example/cb");
    let portals = ["one", "two"].map(|id| (id, portal(id, &at(id), &sector)));
    let world = world(&portals, "").await;
    let (one, two) = (world.client("one", Some(SECRET), &at("one")), world.client("two", Some(SECRET), &at("two")));
    let begun = async |rp: &Rp| {
        // A list that could not be had is asked for again after two seconds.
        world.clock.advance(3);
        world.browser().get(rp.authorize(SERVICE, &[])).await
    };
    // Nobody answers there: the portal is told to try again, and nobody signs in.
    let told = begun(&one).await.target();
    assert!(told.as_str().starts_with(&at("one")) && told.as_str().contains("temporarily_unavailable"), "{told}");
    let other = Site::open(&world.data, elsewhere, 200, &format!("[\"{}\"]", at("one"))).await;
    let site = Site::open(&world.data, port, 302, "").await;
    site.answers(302, vec![("location", format!("https://localhost:{elsewhere}/"))], "");
    assert!(begun(&one).await.target().as_str().contains("temporarily_unavailable"));
    assert!(other.heard().is_empty(), "a redirect was followed");
    for broken in ["", "{}", "[1]", "\"https://one.example/cb\"", "null"] {
        site.answers(200, Vec::new(), broken);
        assert!(begun(&one).await.target().as_str().contains("temporarily_unavailable"), "{broken}");
    }
    site.answers(200, Vec::new(), &format!("[\"{}\"]", at("one")));
    world.clock.advance(3);
    let first = subject(&world, &one).await;
    assert_eq!(begun(&two).await.failure(), Some("CB-103"));
    // By way of a pushed request as well.
    let form = two.params(SERVICE);
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let pushed = two.post("/par", &form).await;
    assert_eq!(pushed.json()["error"], "invalid_request", "{}", pushed.body);
    site.answers(200, Vec::new(), &format!("[\"{}\",\"{}\"]", at("one"), at("two")));
    world.clock.advance(61);
    assert_eq!(first, subject(&world, &two).await);
    // What was good an hour ago serves while the address is down.
    site.answers(503, Vec::new(), "");
    world.clock.advance(2 * 3_600);
    assert_eq!(begun(&one).await.status, 303);
}
