//! OpenID Federation 1.0: portals that nobody registered, providers that never heard of us, and what we say ourselves.

use certs::jws;
use certs::key::{Algorithm, KeySet, SigningKey};
use integration_tests::federation::{
    ANCHOR, DOCUMENT, Federation, MARK, MIDDLE, PORTAL, client, listed, redeem, signed, world,
};
use integration_tests::keyed::SERVICE;
use integration_tests::rp::{claims, query};
use integration_tests::world::World;
use serde_json::{Value, json};

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Section 12.1: whoever a federation vouches for asks, and is a client: by a signed request in the query, by one in a form, and by a
/// pushed one.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_12_1_a_portal_joins_by_its_federation() {
    let (world, federation) = world("").await;
    let client = client(&world, &federation);
    assert_eq!(listed(&world).await, Vec::<Value>::new());
    let mut browser = world.browser();
    let asked = signed(&client, &json!({}));
    let page = world.to_consent(&mut browser, &asked, "hk-iam-smart", "hk-chan").await;
    assert!(page.body.contains("南沙便民门户"), "{}", page.body);
    let tokens = redeem(&client, &world.agree(&mut browser, &page, &[]).await).await;
    // A signed request serves for one code.
    assert_eq!(world.browser().get(&asked).await.failure(), Some("CB-106"));
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let id_token = claims(tokens.json()["id_token"].as_str().unwrap());
    assert_eq!(id_token["aud"], federation.entity(PORTAL));
    let access = tokens.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(client.rp.userinfo(&access).await.json()["name"], "CHAN, Tai Man");
    let told = client.send("/introspect", &[("token".to_owned(), access)], &[]).await;
    assert_eq!(told.json()["client_id"], federation.entity(PORTAL), "{}", told.body);
    let on_the_roll = listed(&world).await;
    let name = format!("{DOCUMENT}~{}", federation.entity(PORTAL));
    assert_eq!((on_the_roll.len(), &on_the_roll[0]["client"]), (1, &json!(name)));
    // By POST the browser brings the same request.
    let mut browser = world.browser();
    let (endpoint, form) =
        signed(&client, &json!({})).split_once('?').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let begun = browser.post(endpoint, &form).await;
    assert_eq!(begun.status, 303, "{}", begun.body);
    let back = world.sign_in(&mut browser, begun.target().as_str(), "hk-iam-smart", "hk-chan").await;
    let again = redeem(&client, &back).await.json();
    assert_eq!(
        claims(again["id_token"].as_str().unwrap())["sub"],
        id_token["sub"],
        "the same person to the same portal"
    );
    // Pushed.
    let pushed = client.push(false, &[]).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let back = world.sign_in(&mut world.browser(), &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
    assert_eq!(redeem(&client, &back).await.status, 200);
    // What was found out serves: nobody was asked again.
    let asked = federation.site.heard().len();
    assert_eq!(asked, 5, "{:?}", federation.site.heard());
}

/// So may one that a browser posts.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_12_1_1_1_a_portal_joins_by_a_posted_request() {
    let (world, federation) = world("").await;
    let client = client(&world, &federation);
    let asked = url::Url::parse(&signed(&client, &json!({}))).unwrap();
    let form: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut browser = world.browser();
    let begun = browser.post(format!("{}/authorize", world.issuer()), &form).await;
    assert_eq!(begun.status, 303, "{}", begun.body);
    let back = world.sign_in(&mut browser, begun.target().as_str(), "hk-iam-smart", "hk-chan").await;
    assert_eq!(redeem(&client, &back).await.status, 200);
}

/// A pushed request may be the first that is ever heard of a portal.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_12_1_1_2_a_portal_joins_by_a_pushed_request() {
    let (world, federation) = world("").await;
    let client = client(&world, &federation);
    let pushed = client.push(true, &[]).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    let back = world.sign_in(&mut world.browser(), &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
    assert_eq!(redeem(&client, &back).await.status, 200);
}

/// Something that is wrong, and how it is made so.
type Wrong<'a> = (&'a str, Box<dyn Fn() + 'a>);

/// Section 12.1.1 and 12.1.3: whoever does not show by a key who they are, and whoever nobody vouches for, is nobody.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_12_1_whoever_is_not_vouched_for_is_nobody() {
    let (world, federation) = world("").await;
    let stranger = client(&world, &federation);
    let failure = async |address: &str| world.browser().get(address).await.failure().map(str::to_owned);
    let nobody = Some("CB-102".to_owned());
    // Without a signature nobody is even asked about it.
    assert_eq!(failure(&stranger.rp.authorize(SERVICE, &[])).await, nobody);
    assert!(federation.site.heard().is_empty());
    // At a host that is not the federation's.
    let mut elsewhere = stranger.clone();
    elsewhere.rp.client_id = "https://portal.example".into();
    assert_eq!(failure(&signed(&elsewhere, &json!({}))).await, nobody);
    assert!(federation.site.heard().is_empty());
    // Each of these is wrong in its own way. Whoever failed is asked about again after a pause.
    let metadata = |name: &str, value: Value| {
        let mut metadata = federation.metadata();
        metadata[name] = value;
        federation.portal(&metadata);
    };
    let sound = || {
        federation.own(ANCHOR, &json!({"trust_mark_issuers": {MARK: [federation.entity(ANCHOR)]}}));
        federation.vouch(MIDDLE, &json!({}));
        federation.vouch(PORTAL, &json!({}));
        federation.portal(&federation.metadata());
    };
    let policy = |of: Value| json!({"metadata_policy": {"openid_relying_party": of}});
    let only = json!({"openid_relying_party": federation.metadata()});
    let wrongs: Vec<Wrong<'_>> = vec![
        ("explicit registration only", Box::new(|| metadata("client_registration_types", json!(["explicit"])))),
        ("no way to register", Box::new(|| metadata("client_registration_types", Value::Null))),
        ("a shared secret", Box::new(|| metadata("token_endpoint_auth_method", json!("client_secret_basic")))),
        ("no authentication", Box::new(|| metadata("token_endpoint_auth_method", json!("none")))),
        ("no keys", Box::new(|| metadata("jwks", Value::Null))),
        ("answers to somewhere else", Box::new(|| metadata("redirect_uris", json!(["https://evil.example/cb"])))),
        ("keys at an inner address", Box::new(|| metadata("jwks_uri", json!("https://169.254.169.254/")))),
        (
            "told of logouts at an inner address",
            Box::new(|| metadata("backchannel_logout_uri", json!("https://10.0.0.1/"))),
        ),
        ("no mark", Box::new(|| federation.own(PORTAL, &json!({"metadata": only, "trust_marks": []})))),
        (
            "a mark that is over",
            Box::new(|| {
                let mark = federation.mark(&json!({"exp": Federation::now() - 100}));
                federation.own(PORTAL, &json!({"metadata": only, "trust_marks": [mark]}));
            }),
        ),
        ("a mark that nobody may issue", Box::new(|| federation.own(ANCHOR, &json!({})))),
        (
            "a superior takes the address away",
            Box::new(|| {
                federation.vouch(PORTAL, &policy(json!({"redirect_uris": {"subset_of": ["https://other.example/"]}})))
            }),
        ),
        (
            "a superior wants what is not there",
            Box::new(|| federation.vouch(PORTAL, &policy(json!({"contacts": {"essential": true}})))),
        ),
        (
            "a superior allows providers only",
            Box::new(|| {
                federation.vouch(MIDDLE, &json!({"constraints": {"allowed_entity_types": ["openid_provider"]}}))
            }),
        ),
        (
            "a superior allows nobody below",
            Box::new(|| federation.vouch(MIDDLE, &json!({"constraints": {"max_path_length": 0}}))),
        ),
        (
            "a critical claim",
            Box::new(|| federation.vouch(MIDDLE, &json!({"crit": ["blood_type"], "blood_type": "A"}))),
        ),
        (
            "a statement that is elsewhere",
            Box::new(|| {
                let at = "/portal/.well-known/openid-federation";
                let own = federation.site.by_path.lock().unwrap()[at].2.clone();
                federation.site.answers_at("/elsewhere", 200, vec![], &own);
                let away = vec![("location", format!("https://localhost:{}/elsewhere", federation.port))];
                federation.site.answers_at(at, 307, away, "");
            }),
        ),
        ("a statement that is over", Box::new(|| federation.vouch(PORTAL, &json!({"exp": Federation::now() - 100})))),
    ];
    for (why, wrong) in wrongs {
        sound();
        wrong();
        world.clock.advance(31);
        assert_eq!(failure(&signed(&stranger, &json!({}))).await, nobody, "{why}");
        assert_eq!(listed(&world).await, Vec::<Value>::new(), "{why}");
        let pushed = stranger.push(true, &[]).await;
        assert_eq!((pushed.status.as_u16(), &pushed.json()["error"]), (401, &json!("invalid_client")), "{why}");
    }
    // Who is vouched for and signs with another key.
    sound();
    world.clock.advance(31);
    let mut forger = stranger.clone();
    forger.key = std::sync::Arc::new(SigningKey::generate(Algorithm::ES256).unwrap());
    let refused = world.browser().get(signed(&forger, &json!({}))).await;
    // Where its answers go would have been signed too, so nobody is sent anywhere.
    assert_eq!(refused.failure(), Some("CB-103"), "{}", refused.body);
    assert_eq!(forger.push(true, &[]).await.json()["error"], "invalid_client");
    // An assertion, or a request, that is for another provider's endpoint of the same name.
    for aud in [
        json!(format!("{}/token", world.issuer())),
        json!([world.issuer()]),
        json!([world.issuer(), "https://op.example"]),
    ] {
        let mut assertion = stranger.assertion_claims();
        assertion.insert("aud".into(), aud.clone());
        let token = jws::sign(&stranger.key, "JWT", &assertion).unwrap();
        let form = [("client_assertion_type".to_owned(), ASSERTION.to_owned()), ("client_assertion".to_owned(), token)];
        let refused = stranger.post("/par", &[stranger.rp.params(SERVICE), form.to_vec()].concat(), &[]).await;
        assert_eq!(refused.json()["error"], "invalid_client", "{aud}");
        assert_eq!(stranger.push(true, &[("scope", "openid")]).await.status, 201);
        let page = world.browser().get(signed(&stranger, &json!({"aud": aud}))).await;
        assert_eq!(page.failure(), Some("CB-103"), "{aud} {}", page.body);
    }
    for missing in ["jti", "exp", "iss", "aud"] {
        let page = world.browser().get(signed(&stranger, &json!({missing: null}))).await;
        assert_eq!(page.failure(), Some("CB-103"), "{missing} {}", page.body);
    }
    // Known by now, and still asked for a signature (section 12.1.1).
    let unsigned = world.browser().get(stranger.rp.authorize(SERVICE, &[])).await;
    assert_eq!(query(&unsigned.target(), "error").as_deref(), Some("invalid_request"), "{}", unsigned.body);
}

/// Somebody whose name is written otherwise is somebody else, and nobody: a bar cannot be walked around, and no portal is two.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_of_an_entity_is_nobody() {
    let (world, federation) = world(&format!("barred = [\"https://localhost:{}/x\"]", 1)).await;
    let mut alias = client(&world, &federation);
    alias.rp.client_id = format!("{}/", federation.entity(PORTAL));
    assert_eq!(alias.push(true, &[]).await.json()["error"], "invalid_client");
    // What is the portal's lies at another address of the site as well.
    let other = format!("https://localhost:{}/other", federation.port);
    let own = federation.site.by_path.lock().unwrap()["/portal/.well-known/openid-federation"].clone();
    federation.site.answers_at("/other/.well-known/openid-federation", 200, vec![], &own.2);
    alias.rp.client_id = other.clone();
    assert_eq!(alias.push(true, &[]).await.json()["error"], "invalid_client");
    assert_eq!(listed(&world).await, Vec::<Value>::new());
    let anchor = federation.entity(ANCHOR);
    let asked = format!("{}/federation/resolve?sub={other}&trust_anchor={anchor}", world.issuer());
    assert_eq!(world.browser().get(asked).await.json()["error"], "invalid_trust_chain");
}

/// Sections 8 and 9: what we say of ourselves and of those we vouch for, and what we found out about others.
#[tokio::test(flavor = "multi_thread")]
async fn oidfed_8_what_we_say_can_be_verified() {
    let (world, federation) = world("").await;
    let subordinate = SigningKey::generate(Algorithm::ES256).unwrap();
    let entity = "https://county.example/portal";
    let document = format!(
        "entity = \"{entity}\"\nentity_types = [\"openid_relying_party\"]\njwks = '{}'\n\
         metadata_policy = '{{\"openid_relying_party\": {{\"scope\": {{\"subset_of\": [\"openid\"]}}}}}}'\n\
         constraints = '{{\"max_path_length\": 0}}'\n",
        json!({"keys": [subordinate.public_jwk()]})
    );
    std::fs::create_dir_all(world.data.join("bundle/subordinates")).unwrap();
    std::fs::write(world.data.join("bundle/subordinates/county.toml"), document).unwrap();
    world.demo.gateway.app().tend(None).await;
    let at = |path: &str| format!("{}{path}", world.issuer());
    let verified = |token: &str, keys: &Value, typ: &str| {
        let unverified = jws::Unverified::parse(token).unwrap();
        assert_eq!(unverified.typ(), Some(typ));
        Value::Object(
            unverified
                .verify(&KeySet::parse(keys.to_string().as_bytes()).unwrap(), &[Algorithm::ES256])
                .unwrap()
                .clone(),
        )
    };
    let own = world.browser().get(at("/.well-known/openid-federation")).await;
    assert_eq!(own.headers["content-type"], "application/entity-statement+jwt");
    let keys = claims(&own.body)["jwks"].clone();
    let own = verified(&own.body, &keys, "entity-statement+jwt");
    assert_eq!((&own["iss"], &own["sub"]), (&json!(world.issuer()), &json!(world.issuer())));
    assert_eq!(own["authority_hints"], json!([federation.entity(MIDDLE)]));
    let metadata = &own["metadata"];
    assert_eq!(metadata["federation_entity"]["federation_fetch_endpoint"], at("/federation/fetch"));
    let discovery = world.browser().get(at("/.well-known/openid-configuration")).await.json();
    assert_eq!(metadata["openid_provider"], discovery);
    assert_eq!(discovery["client_registration_types_supported"], json!(["automatic"]));
    // The key is no other's (section 3.1.1).
    let published = world.browser().get(at("/jwks")).await.json();
    assert!(!published["keys"].as_array().unwrap().contains(&keys["keys"][0]));
    let fetched = world.browser().get(at(&format!("/federation/fetch?sub={entity}"))).await;
    let said = verified(&fetched.body, &keys, "entity-statement+jwt");
    assert_eq!((&said["sub"], &said["jwks"]["keys"][0]), (&json!(entity), subordinate.public_jwk()));
    assert_eq!(said["metadata_policy"]["openid_relying_party"]["scope"]["subset_of"], json!(["openid"]));
    for (path, listed) in [
        ("/federation/list", json!([entity])),
        ("/federation/list?entity_type=openid_relying_party", json!([entity])),
        ("/federation/list?entity_type=openid_provider", json!([])),
        ("/federation/list?entity_type=openid_provider&entity_type=openid_relying_party", json!([entity])),
        ("/federation/list?intermediate=true", json!([])),
        ("/federation/list?intermediate=false", json!([entity])),
    ] {
        assert_eq!(world.browser().get(at(path)).await.json(), listed, "{path}");
    }
    let (portal, anchor) = (federation.entity(PORTAL), federation.entity(ANCHOR));
    let found = world.browser().get(at(&format!("/federation/resolve?sub={portal}&trust_anchor={anchor}"))).await;
    assert_eq!(found.headers["content-type"], "application/resolve-response+jwt");
    let found = verified(&found.body, &keys, "resolve-response+jwt");
    assert_eq!(found["metadata"]["openid_relying_party"]["client_name"], "南沙便民门户");
    assert_eq!(
        (found["trust_chain"].as_array().unwrap().len(), &found["trust_marks"][0]["trust_mark_type"]),
        (4, &json!(MARK))
    );
    for (path, status, error) in [
        ("/federation/fetch", 400, "invalid_request"),
        ("/federation/fetch?sub=county", 400, "invalid_request"),
        ("/federation/fetch?sub=https://nobody.example", 404, "not_found"),
        (&*format!("/federation/fetch?sub={}", world.issuer()), 400, "invalid_request"),
        ("/federation/fetch?sub=https://a.example&sub=https://b.example", 400, "invalid_request"),
        ("/federation/list?trust_marked=true", 400, "unsupported_parameter"),
        ("/federation/list?intermediate=perhaps", 400, "invalid_request"),
        ("/federation/resolve?sub=https://a.example", 400, "invalid_request"),
        (&*format!("/federation/resolve?trust_anchor={anchor}"), 400, "invalid_request"),
        (&*format!("/federation/resolve?sub={portal}&trust_anchor=https://a.example"), 404, "invalid_trust_anchor"),
        (&*format!("/federation/resolve?sub=https://a.example&trust_anchor={anchor}"), 400, "invalid_trust_chain"),
    ] {
        let refused = world.browser().get(at(path)).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (status, &json!(error)), "{path}");
    }
}

/// An anchor speaks for the places that its document names, and a federation that nobody described for none.
#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_speaks_for_its_own_jurisdictions() {
    let (world, federation) = world("").await;
    let folder = world.data.join("bundle");
    let path = folder.join("federations/gba.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let problems = |text: Option<String>| {
        match text {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let bundle = gateway::bundle::Bundle::read(&folder).unwrap();
        let problems = gateway::catalog::Catalog::compile(&bundle, &folder.join("providers")).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let elsewhere = problems(Some(text.replace("\"CN-GD\", ", "")));
    assert!(elsewhere.contains("the federation gba does not speak for CN-GD"), "{elsewhere}");
    let nowhere = problems(Some(text.replace("jurisdictions = [\"CN-GD\", \"HK\"]", "jurisdictions = []")));
    assert!(nowhere.contains("jurisdictions: at least one is needed"), "{nowhere}");
    for (from, to, told) in [
        (format!("anchor = \"{}\"", federation.entity(ANCHOR)), "anchor = \"http://a.example\"".to_owned(), "anchor"),
        (
            format!("origins = [\"https://localhost:{}\"]", federation.port),
            "origins = [\"https://a.example\"]".to_owned(),
            "the anchor's own is missing",
        ),
        (
            format!("origins = [\"https://localhost:{}\"]", federation.port),
            "origins = [\"https://a.example/x\"]".to_owned(),
            "https origins",
        ),
        ("jwks = '".to_owned(), "jwks = '{}' # ".to_owned(), "holds no key"),
    ] {
        let found = problems(Some(text.replace(&from, &to)));
        assert!(found.contains(told), "{to}: {found}");
    }
    assert!(problems(None).contains("the federation gba is not in this bundle"));
    assert_eq!(problems(Some(text)), "");
}

/// Who belongs to no federation says nothing of any.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_federations_has_none_of_it() {
    let world = World::start().await;
    let own = world.browser().get(format!("{}/.well-known/openid-federation", world.issuer())).await;
    assert_eq!((own.status.as_u16(), own.body.len()), (404, 0));
}
