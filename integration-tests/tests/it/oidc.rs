//! OpenID Connect Core, section by section, where no other file asks.

use http::Method;
use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use integration_tests::{Reply, Rp};
use serde_json::{Value, json};

async fn world(profile: &str) -> (World, Rp) {
    let lines =
        format!("{}\nprofile = \"{profile}\"\nrefresh_lifetime = \"2h\"\ndefault_service = \"core\"", secret_line());
    let client = client_document("core", "https://core.example/cb", "client_secret_basic", &lines);
    let service = service_document("core", &["core"], &["hk-iam-smart"], "remember_consent = \"30d\"");
    let world = World::with(&[("clients/core.toml", &client), ("services/core.toml", &service)]).await;
    let rp = world.client("core", Some(SECRET), "https://core.example/cb");
    (world, rp)
}

async fn signed_in(world: &World, rp: &Rp, changes: &[(&str, &str)]) -> Reply {
    let back = world.sign_in(&mut world.browser(), &rp.authorize("core", changes), "hk-iam-smart", "hk-chan").await;
    rp.redeem(&query(&back, "code").unwrap_or_else(|| panic!("{back}"))).await
}

/// OpenID Connect Core section 2: what an ID token says; sections 3.1.3.3 and 3.1.3.6: what it comes with.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_2_what_an_id_token_says() {
    let (world, rp) = world("baseline").await;
    let before = world.now().0;
    let reply = signed_in(&world, &rp, &[("max_age", "600")]).await;
    assert_eq!(reply.headers["cache-control"], "no-store");
    assert_eq!(reply.headers["pragma"], "no-cache");
    assert_eq!(reply.headers["content-type"], "application/json");
    let answer = reply.json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(300)));
    let token = answer["id_token"].as_str().unwrap();
    let unverified = certs::jws::Unverified::parse(token).unwrap();
    assert!(unverified.kid().is_some(), "section 10.1: of several keys, which");
    let said = claims(token);
    assert_eq!((&said["iss"], &said["aud"]), (&json!(world.issuer()), &json!("core")));
    let subject = said["sub"].as_str().unwrap();
    assert!(subject.len() <= 255 && subject.is_ascii() && !subject.is_empty());
    let (issued, ends) = (said["iat"].as_u64().unwrap(), said["exp"].as_u64().unwrap());
    assert!(issued >= before && issued <= world.now().0 && ends > issued && ends - issued <= 3_600);
    // Asked for by max_age, and therefore there (section 2).
    assert!(said["auth_time"].as_u64().unwrap() <= issued);
    assert_eq!(said["nonce"], "nonce-1");
    assert!(said["acr"].is_string() && said["amr"].as_array().unwrap().iter().all(Value::is_string));
    assert!(said.get("azp").is_none(), "there is one audience");
    let digest = gateway_core::digest::sha256(answer["access_token"].as_str().unwrap().as_bytes());
    assert_eq!(said["at_hash"], gateway_core::ids::base64url(&digest[..16]));
    // Section 5.3.2: the same person, in JSON.
    let userinfo = rp.userinfo(answer["access_token"].as_str().unwrap()).await;
    assert_eq!(userinfo.json()["sub"], said["sub"]);
    assert_eq!(userinfo.headers["content-type"], "application/json");
    assert_eq!(userinfo.headers["cache-control"], "no-store");
    // Without a nonce in the request there is none in the token (section 3.1.2.1).
    let plain = signed_in(&world, &rp, &[("nonce", "")]).await.json();
    assert!(claims(plain["id_token"].as_str().unwrap()).get("nonce").is_none());
}

/// OpenID Connect Core section 3.1.2.1: what is asked for and not understood changes nothing; what is, is honoured or refused.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_3_1_2_1_parameters_that_are_ignored_honoured_and_refused() {
    let (world, rp) = world("baseline").await;
    for (name, value) in [
        ("unknown", "x"),
        ("display", "page"),
        ("display", "popup"),
        ("display", "touch"),
        ("ui_locales", "xx yy"),
        ("claims_locales", "fr"),
        ("acr_values", "1 2 urn:mace:incommon:iap:silver"),
        ("login_hint", "somebody@example.com"),
        ("max_age", "10000"),
        ("scope", "profile openid email"),
        ("scope", "openid something-else"),
        ("state", ""),
        ("resource", ""),
        ("response_mode", "query"),
    ] {
        let tokens = signed_in(&world, &rp, &[(name, value)]).await;
        assert!(tokens.json()["id_token"].is_string(), "{name}={value}: {}", tokens.body);
    }
    for (name, value, error) in [
        ("response_type", "", "invalid_request"),
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "code id_token", "unsupported_response_type"),
        ("scope", "", "invalid_request"),
        ("scope", "profile", "invalid_scope"),
        ("prompt", "none login", "invalid_request"),
        ("prompt", "none", "login_required"),
        ("max_age", "-1", "invalid_request"),
        ("response_mode", "fragment", "invalid_request"),
        ("registration", "{}", "registration_not_supported"),
        ("request_uri", "https://core.example/r", "invalid_request_uri"),
        ("claims", "{", "invalid_request"),
        ("id_token_hint", "x", "invalid_request"),
    ] {
        let told = world.browser().get(rp.authorize("core", &[(name, value)])).await.target();
        assert!(told.as_str().starts_with(&rp.redirect_uri), "{name}={value}");
        assert_eq!(query(&told, "error").as_deref(), Some(error), "{name}={value}");
        // Sections 3.1.2.6 and RFC 6749 section 4.1.2.1: with the state that came, and without anything else of ours.
        assert_eq!(query(&told, "state").as_deref(), Some("state-1"));
        assert!(query(&told, "code").is_none());
    }
}

/// OpenID Connect Core section 3.1.2.4 and 11: `prompt=consent` asks again; a remembered answer serves otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_3_1_2_4_consent_is_asked_for_when_the_portal_says_so() {
    let (world, rp) = world("baseline").await;
    let mut browser = world.browser();
    world.sign_in(&mut browser, &rp.authorize("core", &[]), "hk-iam-smart", "hk-chan").await;
    let again = browser.follow_within(rp.authorize("core", &[]), world.issuer()).await;
    assert!(query(&again.target(), "code").is_some(), "an answer that is remembered");
    let asked = browser.follow_within(rp.authorize("core", &[("prompt", "consent")]), world.issuer()).await;
    assert!(asked.url.path().ends_with("/consent") && asked.field("question").is_some());
    let offline =
        browser.follow_within(rp.authorize("core", &[("scope", "openid offline_access")]), world.issuer()).await;
    assert!(offline.field("question").is_some(), "section 11: coming back without the person is asked for");
    let chosen = browser.follow_within(rp.authorize("core", &[("prompt", "select_account")]), world.issuer()).await;
    assert!(chosen.location().is_none_or(|to| !to.as_str().starts_with(&rp.redirect_uri)));
}

/// OpenID Connect Core section 5.3 and RFC 9449 section 8: portals without a back end run in browsers, under another origin.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_5_3_scripts_of_a_portal_reach_the_endpoints_for_tokens_and_no_others() {
    let (world, rp) = world("baseline").await;
    let origin = ("origin", "https://core.example");
    let at = |path: &str| format!("{}{path}", world.issuer());
    let ask = async |method: Method, path: &str, more: &[(&str, &str)]| {
        world.browser().send(method, &at(path), None, &[&[origin], more].concat()).await
    };
    for path in ["/.well-known/openid-configuration", "/jwks", "/token", "/revoke", "/userinfo"] {
        let wanted =
            [("access-control-request-method", "POST"), ("access-control-request-headers", "authorization, dpop")];
        let flight = ask(Method::OPTIONS, path, &wanted).await;
        assert!(flight.status.is_success(), "{path} {}", flight.status);
        assert_eq!(flight.headers["access-control-allow-origin"], "*", "{path}");
        assert!(flight.headers["access-control-allow-headers"].to_str().unwrap().contains("dpop"), "{path}");
        assert!(flight.headers.get("access-control-allow-credentials").is_none(), "{path}");
        let real = ask(if path.starts_with("/t") { Method::POST } else { Method::GET }, path, &[]).await;
        assert_eq!(real.headers["access-control-allow-origin"], "*", "{path}");
        assert!(real.headers["access-control-expose-headers"].to_str().unwrap().contains("dpop-nonce"), "{path}");
    }
    for path in ["/authorize", "/login/x", "/account", "/logout", "/par", "/introspect", "/check-session", "/health"] {
        let reply = ask(Method::GET, path, &[]).await;
        assert!(reply.headers.get("access-control-allow-origin").is_none(), "{path}");
        let flight = ask(Method::OPTIONS, path, &[("access-control-request-method", "POST")]).await;
        assert!(!flight.status.is_success(), "{path}");
    }
    let tokens = signed_in(&world, &rp, &[]).await.json();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let claims = ask(Method::GET, "/userinfo", &[("authorization", &bearer)]).await;
    assert_eq!(claims.json()["name"], "CHAN, Tai Man");
}

/// OpenID Connect Core section 12.2: the ID token of a refresh is about the same login.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_12_2_the_id_token_of_a_refresh() {
    let (world, rp) = world("baseline").await;
    let first = signed_in(&world, &rp, &[("scope", "openid profile offline_access"), ("max_age", "600")]).await.json();
    world.clock.advance(30);
    let form = [("grant_type", "refresh_token"), ("refresh_token", first["refresh_token"].as_str().unwrap())];
    let second = rp.token(&form).await.json();
    let (old, new) = (claims(first["id_token"].as_str().unwrap()), claims(second["id_token"].as_str().unwrap()));
    for same in ["iss", "sub", "aud", "auth_time", "acr", "amr", "sid"] {
        assert_eq!(old[same], new[same], "{same}");
    }
    assert!(new["iat"].as_u64() >= old["iat"].as_u64().map(|at| at + 30));
    assert!(new.get("nonce").is_none());
}

/// OpenID Connect Core section 15.1 and the profile of old libraries: a client with nothing but a secret, RS256, and no PKCE.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_core_15_1_what_every_provider_has_to_offer() {
    let lines = format!("{}\nprofile = \"legacy\"\nid_token_signed_response_alg = \"RS256\"", secret_line());
    let client = client_document("old", "https://old.example/cb", "client_secret_basic", &lines);
    let posting = client_document("posting", "https://old.example/cb", "client_secret_post", &lines);
    let service = service_document("core", &["old", "posting"], &["hk-iam-smart"], "");
    let world = World::with(&[
        ("clients/old.toml", &client),
        ("clients/posting.toml", &posting),
        ("services/core.toml", &service),
    ])
    .await;
    for (id, posts) in [("old", false), ("posting", true)] {
        let rp = world.client(id, Some(SECRET), "https://old.example/cb");
        let bare = rp.authorize("core", &[("code_challenge", ""), ("code_challenge_method", ""), ("nonce", "")]);
        let back = world.sign_in(&mut world.browser(), &bare, "hk-iam-smart", "hk-chan").await;
        let code = query(&back, "code").unwrap();
        let mut form =
            vec![("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", &rp.redirect_uri)];
        let reply = if posts {
            form.extend([("client_id", id), ("client_secret", SECRET)]);
            world.browser().post(format!("{}/token", world.issuer()), &form).await
        } else {
            rp.token(&form).await
        };
        let token = reply.json()["id_token"].as_str().unwrap_or_else(|| panic!("{}", reply.body)).to_owned();
        let jwks = world.browser().get(format!("{}/jwks", world.issuer())).await.body;
        let keys = certs::key::KeySet::parse(jwks.as_bytes()).unwrap();
        let rs256 = [certs::key::Algorithm::RS256];
        assert!(certs::jws::Unverified::parse(&token).unwrap().verify(&keys, &rs256).is_ok());
    }
}
