//! Pushed and signed requests, signed answers, proofs of possession: FAPI 2.0 from end to end, and every part made wrong.

use integration_tests::keyed::SERVICE;
use integration_tests::rp::{claims, query};
use integration_tests::{Keyed, World};
use serde_json::{Value, json};

const PERSON: (&str, &str) = ("hk-iam-smart", "hk-chan");

async fn signed_in(world: &World, authorize: &str) -> url::Url {
    world.sign_in(&mut world.browser(), authorize, PERSON.0, PERSON.1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_fapi2_login() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let pushed = client.push(false, &[]).await;
    assert_eq!(pushed.status, 201, "{}", pushed.body);
    assert_eq!(pushed.json()["expires_in"], 300);
    let back = signed_in(&world, &client.authorize(&pushed)).await;
    assert_eq!(query(&back, "iss").as_deref(), Some(world.issuer()));
    let tokens = client.redeem(&query(&back, "code").unwrap()).await;
    assert_eq!(tokens.json()["token_type"], "DPoP", "{}", tokens.body);
    let access = tokens.json()["access_token"].as_str().unwrap().to_owned();
    let userinfo = client.userinfo(&access).await;
    assert_eq!(userinfo.json()["name"], "CHAN, Tai Man", "{}", userinfo.body);
    // RFC 9449 section 7.2: without its proof the token is nothing.
    assert_eq!(client.rp.userinfo(&access).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_fapi2_message_signing_login() {
    let (world, client) = Keyed::world("fapi2-message-signing", "").await;
    let pushed = client.push(true, &[("response_mode", "jwt")]).await;
    let back = signed_in(&world, &client.authorize(&pushed)).await;
    assert_eq!(back.query_pairs().count(), 1, "only the signed response: {back}");
    let response = query(&back, "response").unwrap();
    let keys = world.demo.gateway.app().keys.verifying();
    let verified = certs::jws::Unverified::parse(&response).unwrap().verify(&keys, &[certs::key::Algorithm::ES256]);
    let answer = Value::Object(verified.unwrap().clone());
    assert_eq!((&answer["iss"], &answer["aud"]), (&json!(world.issuer()), &json!("keyed")));
    assert_eq!(answer["state"], "state-1");
    assert!(answer["exp"].as_u64().unwrap() > client.now());
    let tokens = client.redeem(answer["code"].as_str().unwrap()).await;
    assert_eq!(tokens.json()["token_type"], "DPoP", "{}", tokens.body);
    // JARM section 2.3.3, and an error travels signed as well.
    let pushed = client.push(true, &[("response_mode", "form_post.jwt"), ("prompt", "none")]).await;
    let page = world.browser().get(client.authorize(&pushed)).await;
    assert_eq!(claims(&page.field("response").unwrap())["error"], "login_required");
}

/// FAPI 2.0 Security Profile section 5.3.2.2, RFC 9126 section 4: a pushed request serves its own client, twice before a
/// code was issued and never after, and not for long.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9126_4_a_pushed_request_is_one_clients_and_for_one_code() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let authorize = client.authorize(&client.push(false, &[]).await);
    let stranger = authorize.replace("client_id=keyed", "client_id=gd-bay-area-services");
    assert_eq!(world.browser().get(stranger).await.status, 400);
    let (mut first, mut second) = (world.browser(), world.browser());
    let first_page = world.to_consent(&mut first, &authorize, PERSON.0, PERSON.1).await;
    let second_page = world.to_consent(&mut second, &authorize, PERSON.0, "hk-wong").await;
    let back = world.agree(&mut first, &first_page, &[]).await;
    assert!(query(&back, "code").is_some());
    let question = second_page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
    let refused = second.post(&second_page.url, &form).await;
    assert_eq!((refused.location(), refused.failure()), (None, Some("CB-203")), "{}", refused.body);
    assert_eq!(world.browser().get(&authorize).await.failure(), Some("CB-106"));
    // A sign-in may take longer than a pushed request lives: there is one code all the same.
    let authorize = client.authorize(&client.push(false, &[]).await);
    let (mut first, mut second) = (world.browser(), world.browser());
    let first_page = world.to_consent(&mut first, &authorize, PERSON.0, PERSON.1).await;
    let second_page = world.to_consent(&mut second, &authorize, PERSON.0, "hk-wong").await;
    assert!(query(&world.agree(&mut first, &first_page, &[]).await, "code").is_some());
    world.clock.advance(400);
    let question = second_page.field("question").unwrap();
    let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
    assert_eq!(second.post(&second_page.url, &form).await.failure(), Some("CB-203"));
    let late = client.authorize(&client.push(false, &[]).await);
    world.clock.advance(301);
    assert_eq!(world.browser().get(late).await.failure(), Some("CB-106"));
    let invented = authorize.replace("request_uri%3A", "request_uri%3AA");
    assert_eq!(world.browser().get(invented).await.failure(), Some("CB-106"));
}

/// RFC 9126 sections 2.1 and 2.3.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9126_2_what_is_pushed_is_checked_at_once() {
    let (_world, client) = Keyed::world("fapi2", "").await;
    let params = || client.rp.params(SERVICE);
    let with = |name: &str, value: &str| {
        let mut params = params();
        params.retain(|(own, _)| own != name);
        if !value.is_empty() {
            params.push((name.to_owned(), value.to_owned()));
        }
        params
    };
    for (form, error) in [
        (with("redirect_uri", "https://evil.example/"), "invalid_request"),
        (with("redirect_uri", ""), "invalid_request"),
        (with("client_id", "gd-bay-area-services"), "invalid_client"),
        (with("response_type", "token"), "unsupported_response_type"),
        (with("scope", "profile"), "invalid_scope"),
        (with("code_challenge", ""), "invalid_request"),
        (with("code_challenge_method", "plain"), "invalid_request"),
        (with("resource", "https://services.example/e-invoice"), "invalid_target"),
        (with("request_uri", "urn:ietf:params:oauth:request_uri:x"), "invalid_request"),
        (with("request", "a.b.c"), "invalid_request_object"),
        (with("dpop_jkt", "short"), "invalid_request"),
        ([params(), vec![("state".into(), "again".into())]].concat(), "invalid_request"),
    ] {
        let refused = client.send("/par", &form, &[]).await;
        assert_eq!(refused.json()["error"], error, "{form:?} {}", refused.body);
    }
    // What nobody would read is not kept, however much of it there is.
    let mut padded = params();
    padded.extend((0..7).map(|n| (format!("pad{n}"), "x".repeat(8_000))));
    assert_eq!(client.send("/par", &padded, &[]).await.status, 201);
    // Without the client's own proof of who it is, nothing is taken in.
    let refused = client.post("/par", &params(), &[]).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (401, &json!("invalid_client")));
}

/// FAPI 2.0 Security Profile section 5.3.2.1: the audience of an assertion is the issuer, as one text.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_5_3_2_1_an_assertion_is_for_the_issuer() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let token_endpoint = format!("{}/token", world.issuer());
    for (audience, status) in [
        (json!([world.issuer()]), 401),
        (json!(token_endpoint), 401),
        (json!(format!("{}/par", world.issuer())), 401),
        (json!(format!("{}/", world.issuer())), 401),
        (json!(world.issuer()), 201),
    ] {
        let mut assertion = client.assertion_claims();
        assertion.insert("aud".into(), audience.clone());
        let token = certs::jws::sign(&client.key, "JWT", &assertion).unwrap();
        let mut form = client.rp.params(SERVICE);
        form.push(("client_assertion_type".into(), integration_tests::keyed::ASSERTION.into()));
        form.push(("client_assertion".into(), token));
        assert_eq!(client.post("/par", &form, &[]).await.status, status, "{audience}");
    }
}

/// eSignet issue 2418: an assertion serves once, whatever the endpoint.
#[tokio::test(flavor = "multi_thread")]
async fn esignet_2418_an_assertion_is_used_up_at_every_endpoint() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let form = [client.rp.params(SERVICE), client.assertion()].concat();
    assert_eq!(client.post("/par", &form, &[]).await.status, 201);
    for path in ["/par", "/token"] {
        assert_eq!(client.post(path, &form, &[]).await.json()["error"], "invalid_client", "{path}");
    }
    let world = world.restarted().await;
    assert_eq!(client.post("/par", &form, &[]).await.json()["error"], "invalid_client", "after a restart");
    drop(world);
}

/// RFC 9449 sections 4.3, 8 and 10.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9449_proofs_are_fresh_single_and_of_the_right_key() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let other = client.with_other_proof_key();
    // Section 10: the code belongs to the key that was named when it was asked for.
    let jkt = client.proof_key.kid().to_owned();
    let pushed = client.push(false, &[("dpop_jkt", &jkt)]).await;
    let back = signed_in(&world, &client.authorize(&pushed)).await;
    let code = query(&back, "code").unwrap();
    assert_eq!(other.redeem(&code).await.json()["error"], "invalid_grant");
    // A proof whose request came to nothing is not used up: nobody can fill the store with proofs for nothing.
    let spare = nonce(&client).await;
    let spare = client.proof(&client.proof_claims("POST", "/token", Some(&spare), None));
    for _ in 0..2 {
        let refused = client.send("/token", &client.code_form("invented"), &[("dpop", &spare)]).await;
        assert_eq!(refused.json()["error"], "invalid_grant");
    }
    // FAPI: no proof, no token.
    let bare = client.send("/token", &client.code_form(&code), &[]).await;
    assert_eq!(bare.json()["error"], "invalid_request", "{}", bare.body);
    let nonce = nonce(&client).await;
    let proof = client.proof(&client.proof_claims("POST", "/token", Some(&nonce), None));
    for broken in [
        client.proof(&client.proof_claims("POST", "/userinfo", Some(&nonce), None)),
        client.proof(&client.proof_claims("GET", "/token", Some(&nonce), None)),
        "a.b.c".to_owned(),
        String::new(),
    ] {
        let refused = client.send("/token", &client.code_form(&code), &[("dpop", &broken)]).await;
        assert_eq!(refused.json()["error"], "invalid_dpop_proof", "{broken}");
    }
    for foreign in ["", "invented"] {
        let proof = client.proof(&client.proof_claims("POST", "/token", Some(foreign), None));
        let refused = client.send("/token", &client.code_form(&code), &[("dpop", &proof)]).await;
        assert_eq!(refused.json()["error"], "use_dpop_nonce");
    }
    // Section 8: whoever is sent back for a nonce comes again with all else as it was, the assertion included.
    let same = [client.code_form("invented"), client.assertion()].concat();
    let without = client.proof(&client.proof_claims("POST", "/token", None, None));
    assert_eq!(client.post("/token", &same, &[("dpop", &without)]).await.json()["error"], "use_dpop_nonce");
    let with = client.proof(&client.proof_claims("POST", "/token", Some(&nonce), None));
    assert_eq!(client.post("/token", &same, &[("dpop", &with)]).await.json()["error"], "invalid_grant");
    let twice = client.send("/token", &client.code_form(&code), &[("dpop", &proof), ("dpop", &proof)]).await;
    assert_eq!(twice.json()["error"], "invalid_dpop_proof");
    let tokens = client.send("/token", &client.code_form(&code), &[("dpop", &proof)]).await;
    assert!(tokens.status.is_success(), "{}", tokens.body);
    let again = client.send("/token", &client.code_form(&code), &[("dpop", &proof)]).await;
    assert_eq!(again.json()["error"], "invalid_dpop_proof", "a proof serves once");
    // Section 7: at the resource, the same key and this very token.
    let access = tokens.json()["access_token"].as_str().unwrap().to_owned();
    let nonce = self::nonce(&client).await;
    let sound = |token: &str| client.proof_claims("GET", "/userinfo", Some(&nonce), Some(token));
    assert_eq!(client.userinfo_with(&access, &sound("another")).await.status, 401);
    assert_eq!(other.userinfo_with(&access, &sound(&access)).await.status, 401);
    assert_eq!(client.userinfo_with(&access, &sound(&access)).await.status, 200);
    // A nonce of five minutes ago is none.
    world.clock.advance(301);
    let stale = client.proof(&client.proof_claims("POST", "/token", Some(&nonce), None));
    let refused = client.send("/token", &client.code_form("x"), &[("dpop", &stale)]).await;
    assert_eq!(refused.json()["error"], "use_dpop_nonce");
}

/// RFC 9449 section 10.1: a proof at the push names the key, and cannot contradict `dpop_jkt`.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9449_10_1_a_proof_at_the_push_binds_the_code() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let other = client.with_other_proof_key();
    let pushed = client.send_proven("/par", &client.rp.params(SERVICE)).await;
    let back = signed_in(&world, &client.authorize(&pushed)).await;
    let code = query(&back, "code").unwrap();
    assert_eq!(other.redeem(&code).await.json()["error"], "invalid_grant");
    assert!(client.redeem(&code).await.status.is_success());
    let mut contradicted = client.rp.params(SERVICE);
    contradicted.push(("dpop_jkt".into(), other.proof_key.kid().to_owned()));
    assert_eq!(client.send_proven("/par", &contradicted).await.json()["error"], "invalid_dpop_proof");
}

/// RFC 9101 sections 4, 5 and 6; FAPI 2.0 Message Signing section 5.3.1.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9101_every_flaw_of_a_request_object_refuses_it() {
    let (_world, client) = Keyed::world("fapi2-message-signing", "").await;
    let now = client.now();
    let push = async |object: String| client.send("/par", &[("request".to_owned(), object)], &[]).await;
    let sound = json!({"response_mode": "jwt"});
    let with = |name: &str, value: Value| {
        let mut more = sound.clone();
        more[name] = value;
        client.request_object(&client.request_claims(&more))
    };
    assert_eq!(push(with("state", json!("s"))).await.status, 201);
    for (name, value) in [
        ("iss", json!("somebody")),
        ("iss", Value::Null),
        ("aud", json!("https://elsewhere.example")),
        ("aud", Value::Null),
        ("exp", json!(now - 61)),
        ("exp", json!(now + 3_700)),
        ("exp", json!((now + 60).to_string())),
        ("exp", Value::Null),
        ("nbf", json!(now + 120)),
        ("nbf", json!(now - 3_700)),
        ("nbf", Value::Null),
        // RFC 9101 section 10.8: it could serve as an assertion.
        ("sub", json!("keyed")),
        ("client_id", json!("gd-bay-area-services")),
        ("client_id", Value::Null),
        ("request", json!("a.b.c")),
        ("request_uri", json!("urn:x")),
    ] {
        let refused = push(with(name, value.clone())).await;
        assert_eq!(refused.json()["error"], "invalid_request_object", "{name}: {value} {}", refused.body);
    }
    let mut longer = sound.clone();
    (longer["nbf"], longer["exp"]) = (json!(now - 1_800), json!(now + 1_900));
    let longer = client.request_object(&client.request_claims(&longer));
    assert_eq!(push(longer).await.json()["error"], "invalid_request_object", "more than an hour");
    let claims = client.request_claims(&sound);
    let typed = certs::jws::sign(&client.key, "dpop+jwt", &claims).unwrap();
    assert_eq!(push(typed).await.json()["error"], "invalid_request_object", "another kind of token");
    let stranger = certs::jws::sign(&other_key(), "oauth-authz-req+jwt", &claims).unwrap();
    assert_eq!(push(stranger).await.json()["error"], "invalid_request_object");
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", client.request_object(&claims).split('.').nth(1).unwrap());
    assert_eq!(push(unsigned.clone()).await.json()["error"], "invalid_request_object");
    // What stands beside the object counts for nothing.
    let object = client.request_object(&claims);
    let form = [("request".to_owned(), object), ("redirect_uri".to_owned(), "https://evil.example/".to_owned())];
    assert_eq!(client.send("/par", &form, &[]).await.status, 201);
    // And without an object nothing is taken from this client.
    assert_eq!(client.push(false, &[("response_mode", "jwt")]).await.json()["error"], "invalid_request");
}

/// RFC 9101 section 5: a signed request through the browser, for a client that need not push.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9101_5_a_signed_request_through_the_browser() {
    let (world, client) = Keyed::world("baseline", "").await;
    let authorize =
        |object: &str| format!("{}/authorize?client_id=keyed&request={object}&state=not-this-one", world.issuer());
    let object = client.request_object(&client.request_claims(&json!({"state": "signed"})));
    let back = signed_in(&world, &authorize(&object)).await;
    assert_eq!(query(&back, "state").as_deref(), Some("signed"));
    // A broken one is told to the client only where its address is beyond doubt.
    let mut broken = object.clone();
    broken.replace_range(object.len() - 4.., "AAAA");
    assert_eq!(world.browser().get(authorize(&broken)).await.failure(), Some("CB-103"));
    let told = format!("{}&redirect_uri=https://keyed.example/callback", authorize(&broken));
    let told = world.browser().get(told).await.target();
    assert_eq!(query(&told, "error").as_deref(), Some("invalid_request_object"));
    // Elsewhere than at the gateway nothing is fetched: CVE-2026-4366.
    let by_reference = format!(
        "{}/authorize?client_id=keyed&request_uri=https://169.254.169.254/&redirect_uri=https://keyed.example/callback",
        world.issuer()
    );
    let told = world.browser().get(by_reference).await.target();
    assert_eq!(query(&told, "error").as_deref(), Some("invalid_request_uri"));
}

/// FAPI 2.0 Security Profile section 5.3.2.1: no rotation; each use is put to policy and bound to the key.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_5_3_2_1_a_refresh_token_is_not_rotated() {
    let (world, client) = Keyed::world("fapi2", "refresh_lifetime = \"8h\"").await;
    let mut params = client.rp.params(SERVICE);
    params.retain(|(name, _)| name != "scope");
    params.push(("scope".into(), "openid profile offline_access".into()));
    params.push(("prompt".into(), "consent".into()));
    let pushed = client.send("/par", &params, &[]).await;
    let back = signed_in(&world, &client.authorize(&pushed)).await;
    let tokens = client.redeem(&query(&back, "code").unwrap()).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
    let form = [("grant_type".to_owned(), "refresh_token".to_owned()), ("refresh_token".to_owned(), refresh)];
    for _ in 0..2 {
        let renewed = client.send_proven("/token", &form).await;
        assert_eq!(renewed.json()["token_type"], "DPoP", "{}", renewed.body);
        assert!(renewed.json().get("refresh_token").is_none());
        let access = renewed.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(client.userinfo(&access).await.status, 200);
    }
    assert_eq!(client.send("/token", &form, &[]).await.json()["error"], "invalid_request");
}

/// A token that was replaced stays used when its client is held to other rules.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_profile_brings_no_used_token_back() {
    let (world, client) = Keyed::world("baseline", "refresh_lifetime = \"8h\"").await;
    let changes = [("scope", "openid profile offline_access"), ("prompt", "consent")];
    let back = signed_in(&world, &client.rp.authorize(SERVICE, &changes)).await;
    let tokens = client.send("/token", &client.code_form(&query(&back, "code").unwrap()), &[]).await.json();
    let form = |tokens: &Value| {
        let refresh = tokens["refresh_token"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
        [("grant_type".to_owned(), "refresh_token".to_owned()), ("refresh_token".to_owned(), refresh)]
    };
    client.send("/token", &form(&tokens), &[]).await;
    let file = world.data.join("bundle/clients/keyed.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"baseline\"", "\"fapi2\"");
    std::fs::write(&file, text).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(client.send_proven("/token", &form(&tokens)).await.json()["error"], "invalid_grant");
}

/// RFC 9101 section 10.8: a signed request proves nobody's identity, and a public client pushes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9101_10_8_kinds_of_tokens_are_not_confused() {
    let (world, client) = Keyed::world("baseline", "").await;
    let mut claims = client.request_claims(&json!({}));
    claims.extend(client.assertion_claims());
    let object = certs::jws::sign(&client.key, "oauth-authz-req+jwt", &claims).unwrap();
    let mut form = client.rp.params(SERVICE);
    form.push(("client_assertion_type".into(), integration_tests::keyed::ASSERTION.into()));
    form.push(("client_assertion".into(), object));
    assert_eq!(client.post("/par", &form, &[]).await.json()["error"], "invalid_client");
    // Only the oldest profile takes a request without issuer and audience.
    for name in ["iss", "aud"] {
        let mut claims = client.request_claims(&json!({}));
        claims.remove(name);
        let form = [("request".to_owned(), client.request_object(&claims))];
        assert_eq!(client.send("/par", &form, &[]).await.json()["error"], "invalid_request_object", "{name}");
    }
    // An assertion may name the endpoint that it is sent to, by either of its addresses.
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    for audience in [&metadata["token_endpoint"], &metadata["mtls_endpoint_aliases"]["token_endpoint"]] {
        let mut claims = client.assertion_claims();
        claims.insert("aud".into(), audience.clone());
        let mut form = client.rp.params(SERVICE);
        form.push(("client_assertion_type".into(), integration_tests::keyed::ASSERTION.into()));
        form.push(("client_assertion".into(), certs::jws::sign(&client.key, "JWT", &claims).unwrap()));
        assert_eq!(client.post("/par", &form, &[]).await.status, 201, "{audience}");
    }
    let file = world.data.join("bundle/clients/keyed.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("\"private_key_jwt\"", "\"none\"");
    std::fs::write(&file, text).unwrap();
    world.demo.gateway.app().tend(None).await;
    let refused = client.post("/par", &client.rp.params(SERVICE), &[]).await;
    assert_eq!(refused.json()["error"], "unauthorized_client");
}

async fn nonce(client: &Keyed) -> String {
    let proof = client.proof(&client.proof_claims("POST", "/token", None, None));
    let refused = client.send("/token", &client.code_form("x"), &[("dpop", &proof)]).await;
    refused.headers["dpop-nonce"].to_str().unwrap().to_owned()
}

fn other_key() -> certs::key::SigningKey {
    certs::key::SigningKey::generate(certs::key::Algorithm::ES256).unwrap()
}

/// FAPI 2.0 Security Profile section 5.4.1: a signature that the rest of the world may use is not taken from a FAPI client.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_5_4_1_nothing_signed_with_rs256_is_taken() {
    let rsa = certs::key::SigningKey::generate(certs::key::Algorithm::RS256).unwrap();
    let mut jwk = rsa.public_jwk().clone();
    jwk["alg"] = "RS256".into();
    for (profile, status) in [("baseline", 201), ("fapi2", 401)] {
        // The inline keys of `Keyed` are replaced by the RSA key.
        let (world, client) = Keyed::world(profile, "").await;
        let file = world.data.join("bundle/clients/keyed.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let keys = format!("jwks = '{}'", json!({"keys": [jwk]}));
        let text: Vec<&str> =
            text.lines().map(|line| if line.starts_with("jwks") { keys.as_str() } else { line }).collect();
        std::fs::write(&file, text.join("\n")).unwrap();
        world.demo.gateway.app().tend(None).await;
        let assertion = certs::jws::sign(&rsa, "JWT", &client.assertion_claims()).unwrap();
        let mut form = client.rp.params(SERVICE);
        form.push(("client_assertion_type".into(), integration_tests::keyed::ASSERTION.into()));
        form.push(("client_assertion".into(), assertion));
        assert_eq!(client.post("/par", &form, &[]).await.status, status, "{profile}");
    }
}

/// RFC 9449 section 5: who cannot keep a secret has its refresh token bound to the key of its proofs.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9449_5_a_public_clients_refresh_token_is_bound() {
    let (world, mut client) = Keyed::world("baseline", "").await;
    let file = world.data.join("bundle/clients/keyed.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("\"private_key_jwt\"", "\"none\"\nrefresh_lifetime = \"8h\"");
    std::fs::write(&file, text).unwrap();
    world.demo.gateway.app().tend(None).await;
    client.public = true;
    let changes = [("scope", "openid profile offline_access"), ("prompt", "consent")];
    let back = signed_in(&world, &client.rp.authorize(SERVICE, &changes)).await;
    let tokens = client.redeem(&query(&back, "code").unwrap()).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
    let form = [("grant_type".to_owned(), "refresh_token".to_owned()), ("refresh_token".to_owned(), refresh)];
    let thief = client.with_other_proof_key();
    assert_eq!(thief.send_proven("/token", &form).await.json()["error"], "invalid_grant");
    assert_eq!(client.send("/token", &form, &[]).await.json()["error"], "invalid_grant", "without a proof");
    assert_eq!(client.send_proven("/token", &form).await.json()["token_type"], "DPoP", "nothing was lost");
}
