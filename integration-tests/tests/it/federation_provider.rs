//! OpenID Federation 1.0 as a relying party: a provider that never heard of us.

use certs::jws;
use certs::key::{Algorithm, KeySet};
use integration_tests::federation::{PORTAL, client, world};
use integration_tests::keyed::object;
use integration_tests::rp::{claims, query};
use serde_json::json;

/// Section 12.1 from the other side: a provider that never heard of us is found through its federation, and told by our signature who asks.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_12_1_a_provider_is_found_through_its_federation() {
    let (world, federation) = world("").await;
    // The entity that was a portal is a provider now.
    let (issuer, client) = (federation.entity(PORTAL), client(&world, &federation));
    let metadata = json!({"openid_provider": {
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"), "response_types_supported": ["code"], "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"], "client_registration_types_supported": ["automatic"],
    }});
    federation.own(PORTAL, &json!({"metadata": metadata}));
    let keys = json!({"keys": [federation.portal_key.public_jwk()]}).to_string();
    federation.site.answers_at("/portal/jwks", 200, vec![], &keys);
    world
        .rewrite_provider("hk-iam-smart", |text| {
            let (before, oidc) = text.split_once("[oidc]\n").unwrap();
            let after = oidc.split_once("\n[").map(|(_, after)| format!("[{after}")).unwrap_or_default();
            format!(
                "{before}[oidc]\nissuer = \"{issuer}\"\nfederation = \"gba\"\nuserinfo = false\n\
                 token_endpoint_auth_method = \"private_key_jwt\"\n{after}"
            )
        })
        .await;
    // Our own entity says where its answers go.
    let own = world.browser().get(format!("{}/.well-known/openid-federation", world.issuer())).await;
    let ours = &claims(&own.body)["metadata"]["openid_relying_party"];
    assert_eq!(ours["redirect_uris"], json!([format!("{}/callback/hk-iam-smart", world.issuer())]));
    assert_eq!(ours["client_registration_types"], json!(["automatic"]));
    // A client of the bundle, so that only one thing is new.
    let asked = world.rp().authorize("e-invoice", &[]);
    let mut browser = world.browser();
    let leaving = world.to_provider(&mut browser, &asked, "hk-iam-smart").await;
    assert!(leaving.as_str().starts_with(&format!("{issuer}/authorize?")), "{leaving}");
    assert_eq!(query(&leaving, "client_id").as_deref(), Some(world.issuer()));
    assert!(query(&leaving, "state").is_none(), "everything else is signed");
    let published = world.browser().get(ours["jwks_uri"].as_str().unwrap()).await.body;
    let request = query(&leaving, "request").unwrap();
    let request = jws::Unverified::parse(&request).unwrap();
    assert_eq!(request.typ(), Some("oauth-authz-req+jwt"));
    let request = request.verify(&KeySet::parse(published.as_bytes()).unwrap(), &[Algorithm::ES256]).unwrap();
    assert_eq!((&request["iss"], &request["aud"]), (&json!(world.issuer()), &json!(issuer)));
    assert!(request["jti"].is_string() && request["exp"].is_u64() && !request.contains_key("sub"));
    let now = client.now();
    let id_token = json!({
        "iss": issuer, "sub": "somebody", "aud": world.issuer(), "iat": now, "exp": now + 60, "nonce": request["nonce"],
        "auth_time": now, "acr": "iamsmart:default", "name": "CHAN, Tai Man", "birthdate": "1979-03-14",
    });
    let id_token = jws::sign(&federation.portal_key, "JWT", &object(id_token)).unwrap();
    let tokens = json!({"access_token": "t", "token_type": "Bearer", "id_token": id_token}).to_string();
    federation.site.answers_at("/portal/token", 200, vec![], &tokens);
    let back =
        format!("{}?code=c&state={}", request["redirect_uri"].as_str().unwrap(), request["state"].as_str().unwrap());
    let page = world.past_waiting(&mut browser, &back).await;
    assert!(page.field("question").is_some(), "{}", page.body);
    let (_, form) = federation.site.heard().into_iter().find(|(path, _)| path == "/portal/token").unwrap();
    let form: std::collections::HashMap<_, _> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let assertion = claims(&form["client_assertion"]);
    assert_eq!((&assertion["iss"], &assertion["sub"]), (&json!(world.issuer()), &json!(world.issuer())));
    // The federation does not vouch for it any more: nobody is sent there.
    federation.site.by_path.lock().unwrap().retain(|path, _| !path.starts_with("/middle/fetch"));
    world.clock.advance(400);
    let refused = world.browser().get(&asked).await;
    assert!(refused.location().is_none(), "{:?}", refused.location());
}
