//! Published flaws of peers that no other file has a better place for. `docs/attacks.md` is the whole list.

use certs::jws;
use http::Method;
use integration_tests::keyed::{ASSERTION, Keyed, SERVICE};
use integration_tests::rp::{Rp, query};
use integration_tests::servers::{Site, free_port};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use serde_json::{Value, json};

use crate::secrecy::{holds, listen};

/// Two portals that differ in nothing but who they are.
async fn two() -> (World, Rp, Rp) {
    let at = |id: &str| format!("https://{id}.example/cb");
    let lines =
        format!("{}\nrefresh_lifetime = \"8h\"\npost_logout_redirect_uris = [\"https://x.example/\"]", secret_line());
    let [one, two] = ["one", "two"].map(|id| client_document(id, &at(id), "client_secret_basic", &lines));
    let service = service_document("shared", &["one", "two"], &["hk-iam-smart"], "");
    let world =
        World::with(&[("clients/one.toml", &one), ("clients/two.toml", &two), ("services/shared.toml", &service)])
            .await;
    let [one, two] = ["one", "two"].map(|id| world.client(id, Some(SECRET), &at(id)));
    (world, one, two)
}

async fn tokens(world: &World, rp: &Rp, person: &str) -> Value {
    let request = rp.authorize("shared", &[("scope", "openid profile offline_access"), ("prompt", "consent")]);
    let back = world.sign_in(&mut world.browser(), &request, "hk-iam-smart", person).await;
    rp.redeem(&query(&back, "code").unwrap()).await.json()
}

/// CVE-2026-45414 (Decidim), CVE-2026-55669 (ZITADEL): everything that one portal holds, put to use by another.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_45414_nobody_uses_what_is_anothers() {
    let (world, one, two) = two().await;
    for (owner, thief) in [(&one, &two), (&two, &one)] {
        let held = tokens(&world, owner, "hk-chan").await;
        let text = |name: &str| held[name].as_str().unwrap_or_else(|| panic!("{held}")).to_owned();
        let (access, refresh, id_token) = (text("access_token"), text("refresh_token"), text("id_token"));
        let renewed = thief.token(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
        assert_eq!(renewed.json()["error"], "invalid_grant");
        for token in [&access, &refresh, &id_token] {
            assert_eq!(thief.post("/introspect", &[("token", token)]).await.json(), json!({"active": false}));
            // Nothing is said, and nothing is done (RFC 7009 section 2.1).
            assert!(thief.post("/revoke", &[("token", token)]).await.status.as_u16() < 500);
        }
        assert_eq!(owner.userinfo(&access).await.status, 200, "another portal ended the token");
        for token in [&refresh, &id_token] {
            assert_eq!(owner.userinfo(token).await.status, 401, "another kind of token");
        }
        let hinted = thief.authorize("shared", &[("id_token_hint", &id_token), ("prompt", "none")]);
        let told = world.browser().get(hinted).await.target();
        assert_eq!(query(&told, "error").as_deref(), Some("invalid_request"));
        let end = [("id_token_hint", id_token.as_str()), ("client_id", &thief.client_id)];
        let end = format!("{}/logout?{}", world.issuer(), integration_tests::browser::encode(&end));
        assert_eq!(world.browser().get(end).await.status, 400);
        let kept = owner.token(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
        assert!(kept.status.is_success(), "another portal used the token up: {}", kept.body);
    }
}

/// CVE-2025-52477 (octo-sts), CVE-2026-27962 (Authlib): what a token says before it is verified fetches nothing.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_52477_an_unverified_token_fetches_nothing() {
    let (_world, client) = Keyed::world("baseline", "").await;
    let port = free_port();
    let site = Site::open(&_world.data, port, 200, &json!({"keys": [client.key.public_jwk()]}).to_string()).await;
    let at = format!("https://localhost:{port}/keys");
    let part = |value: &Value| gateway_core::ids::base64url(value.to_string().as_bytes());
    for name in ["jku", "x5u", "iss", "jwk", "x5c", "kid"] {
        let value = if name == "jwk" { client.key.public_jwk().clone() } else { json!(at) };
        let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "unknown"});
        header[name] = value;
        let mut claims = Value::Object(client.request_claims(&json!({})));
        (claims["iss"], claims["jwks_uri"]) = (json!(at), json!(at));
        let token = format!("{}.{}.{}", part(&header), part(&claims), "A".repeat(86));
        let assertion = [("client_assertion_type", ASSERTION), ("client_assertion", token.as_str())];
        let assertion = assertion.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(client.post("/token", &assertion, &[]).await.status, 401, "{name}");
        let object = [("request".to_owned(), token.clone())];
        assert_eq!(client.send("/par", &object, &[]).await.status, 400, "{name}");
        for path in ["authorize", "logout"] {
            let url = format!("{}/{path}?client_id=keyed&request={token}&id_token_hint={token}", client.rp.issuer);
            client.rp.http.clone().get(url).await;
        }
        let dpop = client.send("/token", &client.code_form("x"), &[("dpop", &token)]).await;
        assert!(dpop.status.is_client_error());
    }
    assert!(site.heard().is_empty(), "{:?}", site.heard());
}

/// Dex issue 1292: whoever only knocks leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn dex_1292_a_visit_that_never_comes_back_stores_nothing() {
    let world = World::start().await;
    let rp = world.rp();
    let stored = || world.demo.gateway.app().store.commits();
    world.browser().get(rp.authorize("e-invoice", &[])).await;
    let before = stored();
    for n in 0..200 {
        let mut browser = world.browser();
        let request = rp.authorize("e-invoice", &[("state", &format!("state-{n}")), ("login_hint", &"x".repeat(200))]);
        browser.get(&request).await;
        browser.get(format!("{}/logout?state={n}", world.issuer())).await;
        let form = [("client_id", rp.client_id.as_str()), ("request_uri", "urn:x")];
        for path in ["/par", "/token", "/introspect", "/revoke", "/backchannel-logout/hk-iam-smart"] {
            browser.post(format!("{}{path}", world.issuer()), &form).await;
        }
    }
    assert_eq!(stored(), before, "visits were written down");
    world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    assert_ne!(stored(), before, "this is where writes are counted");
}

/// CVE-2025-12390 (Keycloak): two people, one after the other at one machine, with cookies lost in between.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_12390_the_next_person_gets_nothing_of_the_one_before() {
    let (world, rp, _) = two().await;
    let signed_in = async |browser: &mut integration_tests::Browser, person: &str| {
        let request = rp.authorize("shared", &[("prompt", "login consent")]);
        let back = world.sign_in(browser, &request, "hk-iam-smart", person).await;
        let tokens = rp.redeem(&query(&back, "code").unwrap()).await.json();
        let claims = integration_tests::rp::claims(tokens["id_token"].as_str().unwrap());
        (claims["sub"].clone(), claims["sid"].clone())
    };
    let mut browser = world.browser();
    let first = signed_in(&mut browser, "hk-chan").await;
    let left = browser.cookies.clone();
    browser.post(format!("{}/account/sign-out", world.issuer()), &[]).await;
    // The old cookies come back, as from a backup: they open nothing.
    browser.cookies = left;
    let silent = browser.get(rp.authorize("shared", &[("prompt", "none")])).await.target();
    assert_eq!(query(&silent, "error").as_deref(), Some("login_required"));
    let second = signed_in(&mut browser, "hk-wong").await;
    assert!(first.0 != second.0 && first.1 != second.1, "{first:?} {second:?}");
    // And without a sign-out in between, with the session's cookie lost.
    browser.cookies.retain(|name, _| !name.contains("session"));
    let third = signed_in(&mut browser, "hk-chan").await;
    assert!(third.0 == first.0 && third.1 != first.1 && third.1 != second.1);
}

/// CVE-2026-29193 (ZITADEL), CVE-2026-18963 (Keycloak): each step of a sign-in, called without the one before it.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_29193_no_step_serves_without_the_one_before() {
    let world = World::start().await;
    let rp = world.rp();
    let begun = async |browser: &mut integration_tests::Browser| {
        let page = browser.get(rp.authorize("e-invoice", &[])).await;
        let (_, rest) = page.body.split_once("/login/").unwrap();
        rest.split(['"', '?', '/']).next().unwrap().to_owned()
    };
    let steps = ["consent", "wait", "continue", "link", "to/nobody"];
    for step in steps {
        let mut browser = world.browser();
        let id = begun(&mut browser).await;
        let url = format!("{}/login/{id}/{step}", world.issuer());
        let form = [("question", "x"), ("decision", "allow"), ("export", "yes"), ("answer", "yes")];
        for reply in [browser.get(&url).await, browser.post(&url, &form).await] {
            // Back to where the sign-in is, or a page that says what is wrong: never on to the portal.
            let led = reply.location().is_some_and(|to| !to.as_str().starts_with(world.issuer()));
            assert!(!led && !reply.status.is_server_error(), "{step}: {} {:?}", reply.status, reply.location());
        }
        // In a browser that has none of it, nothing is to be seen at all.
        assert!(world.browser().get(&url).await.failure().is_some(), "{step}");
    }
    // Consent before the provider has answered, with the question of somebody else's page.
    let (mut one, mut other) = (world.browser(), world.browser());
    let page = world.to_consent(&mut one, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let question = page.field("question").unwrap();
    let id = begun(&mut other).await;
    let form = [("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
    let reply = other.post(format!("{}/login/{id}/consent", world.issuer()), &form).await;
    assert!(reply.location().is_none_or(|to| to.as_str().starts_with(world.issuer())), "{:?}", reply.location());
}

/// CVE-2024-12369 (WildFly): the code of the attacker's own sign-in, in the victim's callback.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2024_12369_a_code_of_another_sign_in_is_not_taken() {
    let world = World::start().await;
    let rp = world.rp();
    let (mut attacker, mut victim) = (world.browser(), world.browser());
    let theirs = world.to_provider(&mut attacker, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let theirs = world.sign_in_at_provider(&mut attacker, &theirs, "hk-wong").await;
    let own = world.to_provider(&mut victim, &rp.authorize("e-invoice", &[]), "hk-iam-smart").await;
    let mut own = world.sign_in_at_provider(&mut victim, &own, "hk-chan").await;
    let pairs: Vec<(String, String)> = own.query_pairs().into_owned().collect();
    let code = query(&theirs, "code").unwrap();
    own.query_pairs_mut().clear().extend_pairs(
        pairs.iter().map(|(name, value)| (name.as_str(), if name == "code" { code.as_str() } else { value.as_str() })),
    );
    let page = victim.follow_within(own, world.issuer()).await;
    assert!(page.failure().is_some() && !page.body.contains("WONG"), "{}", page.body);
    // At a portal: the same with our own code, which is bound to what the portal's browser began.
    let (one, two) = (world.code(&rp, "e-invoice", "hk-iam-smart", "hk-wong").await, "another-verifier".repeat(4));
    let mut form = rp.token_form(&one);
    form.retain(|(name, _)| *name != "code_verifier");
    form.push(("code_verifier", &two));
    assert_eq!(rp.token(&form).await.json()["error"], "invalid_grant");
}

/// CVE-2025-58160 (tracing-subscriber), CVE-2025-25184 (Rack): no line of the log begins where a stranger wants one to, and no
/// terminal is spoken to.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_58160_no_control_character_reaches_the_log() {
    let log = listen();
    let (world, rp, _) = two().await;
    let mark = "forged-line-of-a-log";
    let hostile = format!("\n{{\"level\":\"ERROR\",\"{mark}\":1}}\r\n\u{1b}[2J\u{85}\u{2028}");
    for name in ["client_id", "redirect_uri", "state", "scope", "resource", "request", "id_token_hint", "login_hint"] {
        world.browser().get(rp.authorize("shared", &[(name, &hostile)])).await;
        rp.post("/token", &[(name, &hostile), ("grant_type", &hostile)]).await;
        rp.post("/par", &[(name, &hostile)]).await;
    }
    let raw = format!("{mark}\u{1b}[31m");
    for header in ["user-agent", "accept-language", "authorization", "dpop", "x-request-id"] {
        let mut browser = world.browser();
        let value: String = raw.chars().filter(|c| !c.is_control()).collect();
        let headers = [(header, value.as_str())];
        browser.send(Method::GET, &rp.authorize("shared", &[]), None, &headers).await;
        browser.send(Method::POST, &format!("{}/token", world.issuer()), Some(String::new()), &headers).await;
    }
    let text = log.0.lock().unwrap().clone();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert!(serde_json::from_slice::<Value>(line).is_ok(), "{}", String::from_utf8_lossy(line));
        assert!(!line.contains(&0x1b), "{}", String::from_utf8_lossy(line));
        assert!(!holds(line, &format!("{{\"level\":\"ERROR\",\"{mark}\"")));
    }
}

/// CVE-2026-28802 (Authlib), CVE-2021-44878 (pac4j): `none`, in every spelling, wherever a token of somebody's is read.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_28802_none_is_no_algorithm_anywhere() {
    let (world, client) = Keyed::world("baseline", "").await;
    let part = |value: &Value| gateway_core::ids::base64url(value.to_string().as_bytes());
    let held = {
        let back =
            world.sign_in(&mut world.browser(), &client.rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
        client.send("/token", &client.code_form(&query(&back, "code").unwrap()), &[]).await.json()
    };
    let id_token = held["id_token"].as_str().unwrap();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let unsigned = |claims: &Value, typ: &str| {
            format!("{}.{}.", part(&json!({"alg": alg, "typ": typ, "kid": client.key.kid()})), part(claims))
        };
        let assertion = unsigned(&Value::Object(client.assertion_claims()), "JWT");
        let form = [("client_assertion_type", ASSERTION), ("client_assertion", assertion.as_str())];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(client.post("/par", &form, &[]).await.status, 401, "{alg}");
        let object = unsigned(&Value::Object(client.request_claims(&json!({}))), "oauth-authz-req+jwt");
        assert_eq!(client.send("/par", &[("request".to_owned(), object)], &[]).await.status, 400, "{alg}");
        let proof = unsigned(&Value::Object(client.proof_claims("POST", "/token", None, None)), "dpop+jwt");
        let reply = client.send("/token", &client.code_form("x"), &[("dpop", &proof)]).await;
        assert_eq!(reply.json()["error"], "invalid_dpop_proof", "{alg}");
        let hint = unsigned(&integration_tests::rp::claims(id_token), "JWT");
        let told = world.browser().get(client.rp.authorize(SERVICE, &[("id_token_hint", &hint)])).await.target();
        assert_eq!(query(&told, "error").as_deref(), Some("invalid_request"), "{alg}");
        assert_eq!(client.rp.userinfo(&hint).await.status, 401);
    }
    // A signature of ours, over another kind of token.
    let typed = jws::sign(&client.key, "JWT", &client.assertion_claims()).unwrap();
    assert_eq!(client.rp.userinfo(&typed).await.status, 401);
}

/// CVE-2026-34835 (Rack), RFC 9112 section 3.2: a request is for one host, by a name that hosts can have.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_34835_a_malformed_host_is_refused() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::start().await;
    let port = url::Url::parse(world.issuer()).unwrap().port().unwrap();
    let send = async |request: String| {
        let tcp = tokio::net::TcpStream::connect(("localhost", port)).await.unwrap();
        let tls = tokio_rustls::TlsConnector::from(world.browser().tls);
        let mut tls = tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = tls.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).get(9..12).unwrap_or_default().to_owned()
    };
    let ask = async |hosts: &str| send(format!("GET /jwks HTTP/1.1\r\n{hosts}connection: close\r\n\r\n")).await;
    assert_eq!(ask(&format!("host: localhost:{port}\r\n")).await, "200");
    for hosts in [
        "",
        "host: \r\n",
        "host: a@b\r\n",
        "host: a/b\r\n",
        "host: a?b\r\n",
        "host: a#b\r\n",
        "host: a b\r\n",
        "host: localhost\r\nhost: evil.example\r\n",
        "host: localhost, evil.example\r\n",
        "host: \\x\r\n",
    ] {
        assert_eq!(ask(hosts).await, "400", "{hosts:?}");
    }
    // What stands before a gateway, and looks after its health.
    assert_eq!(ask("host: gateway_backend\r\n").await, "200");
    assert_eq!(send("GET /health HTTP/1.0\r\n\r\n".to_owned()).await, "200");
    let absolute =
        |at: &str| format!("GET https://{at}/jwks HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n\r\n");
    assert_eq!(send(absolute(&format!("localhost:{port}"))).await, "200");
    assert_eq!(send(absolute("evil.example")).await, "400", "two hosts");
}
