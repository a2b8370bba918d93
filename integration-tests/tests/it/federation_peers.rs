//! OpenID Federation 1.0 with another's statements and another's climbing: `@openid-federation/core`.

use integration_tests::federation::terms;
use integration_tests::keyed::SERVICE;
use integration_tests::peers::{Peer, certificate};
use integration_tests::rp::{VERIFIER, claims, query};
use integration_tests::servers::free_port;
use integration_tests::world::{World, service_document};
use serde_json::{Value, json};

/// An anchor that is not ours vouches for a portal that is not ours, and the portal's person signs in; the same library climbs from us to its
/// anchor, and through us to an entity that we vouch for, and finds what we mean.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_with_the_statements_of_another_implementation() {
    let port = free_port();
    let at = |path: &str| format!("https://localhost:{port}{path}");
    let service = service_document(SERVICE, &["federated"], &["hk-iam-smart"], "");
    let document = terms(port, "").replace("trust_marks", "# trust_marks");
    let federation = |jwks: &Value| {
        format!(
            "federation = \"gba\"\njurisdictions = [\"CN-GD\", \"HK\"]\nanchor = \"{0}\"\njwks = '{jwks}'\norigins = [\"{1}\"]\nsuperiors = [\"{0}\"]\n",
            at("/anchor"),
            at("")
        )
    };
    let unused = certs::key::SigningKey::generate(certs::key::Algorithm::ES256).unwrap();
    let world = World::with(&[
        ("federations/gba.toml", &federation(&json!({"keys": [unused.public_jwk()]}))),
        ("clients/federated.toml", &document),
        (&format!("services/{SERVICE}.toml"), &service),
    ])
    .await;
    let (cert, key) = certificate(&world.data, "federation");
    let settings = json!({"port": port, "cert": cert, "key": key, "ca": world.demo.ca, "gateway": world.issuer()});
    let _peer = Peer::start("federation.mjs", &settings).await;
    let keys = world.browser().get(at("/keys")).await.json();
    let write = |path: &str, text: String| {
        let path = world.data.join("bundle").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("federations/gba.toml", federation(&keys["anchor"]));
    let policy = json!({"openid_relying_party": {"grant_types": {"subset_of": ["refresh_token"]}, "contacts": {"add": ["gateway@gd.example"]}}});
    let county = at("/county");
    write(
        "subordinates/county.toml",
        format!(
            "entity = \"{county}\"\nentity_types = [\"openid_relying_party\"]\njwks = '{}'\nmetadata_policy = '{policy}'\n",
            keys["county"]
        ),
    );
    world.demo.gateway.app().tend(None).await;

    // Their portal, our gateway.
    let (portal, redirect) = (at("/portal"), at("/portal/callback"));
    let params = world.client(&portal, None, &redirect).params(SERVICE).into_iter();
    let params: serde_json::Map<String, Value> = params.map(|(name, value)| (name, value.into())).collect();
    let send = async |path: &str, body: &Value| {
        world.browser().send(http::Method::POST, &at(path), Some(body.to_string()), &[]).await.body
    };
    let request = send("/request", &params.into()).await;
    let query_string = integration_tests::browser::encode(&[("client_id", &portal), ("request", &request)]);
    let mut browser = world.browser();
    let page = world
        .to_consent(&mut browser, &format!("{}/authorize?{query_string}", world.issuer()), "hk-iam-smart", "hk-chan")
        .await;
    assert!(page.body.contains("A portal of another federation"), "{}", page.body);
    let back = world.agree(&mut browser, &page, &[]).await;
    let code = query(&back, "code").unwrap_or_else(|| panic!("{back}"));
    let assertion = send("/assertion", &json!({})).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", &redirect),
        ("code_verifier", VERIFIER),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    let tokens = world.browser().post(format!("{}/token", world.issuer()), &form).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    assert_eq!(claims(tokens.json()["id_token"].as_str().unwrap())["aud"], portal);

    // Both resolve the same.
    let theirs = world.browser().get(at(&format!("/resolve?sub={portal}"))).await.json();
    let ours = world
        .browser()
        .get(format!("{}/federation/resolve?sub={portal}&trust_anchor={}", world.issuer(), at("/anchor")))
        .await;
    let ours = claims(&ours.body)["metadata"]["openid_relying_party"].clone();
    for name in ["client_name", "contacts", "scope", "redirect_uris", "jwks", "grant_types"] {
        assert_eq!(theirs[0]["metadata"]["openid_relying_party"][name], ours[name], "{name}");
    }
    assert_eq!(ours["contacts"], json!(["portal@portal.example", "anchor@federation.example"]));

    // They find us, and through us whom we vouch for.
    let gateway = world.browser().get(at(&format!("/resolve?sub={}", world.issuer()))).await.json();
    assert_eq!(gateway[0]["metadata"]["openid_provider"]["issuer"], world.issuer(), "{gateway:#}");
    let found = world.browser().get(at(&format!("/resolve?sub={county}"))).await.json();
    let found = &found[0]["metadata"]["openid_relying_party"];
    assert_eq!(found["grant_types"], json!(["refresh_token"]), "{found:#}");
    assert_eq!(found["contacts"], json!(["portal@portal.example", "gateway@gd.example"]));
}
