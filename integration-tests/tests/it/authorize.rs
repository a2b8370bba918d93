//! The authorization endpoint: bad input of every kind, and nothing that redirects where it must not.

use http::Method;
use integration_tests::browser::encode;
use integration_tests::rp::query;
use integration_tests::{Rp, World};

/// Redirect URIs that differ from the registered one in a way that some parser, somewhere, once took for equal.
fn hostile_redirects(registered: &str) -> Vec<String> {
    let (origin, path) = registered.split_at(registered.find("/callback").unwrap());
    let host = origin.strip_prefix("https://").unwrap();
    let mut hostile: Vec<String> = Vec::new();
    for suffix in [
        "/",
        "?",
        "#",
        "?a=b",
        "#a",
        "/..",
        "/../callback",
        "/.",
        "//",
        "\\",
        "%2f",
        "%2e%2e",
        "%00",
        "%0d%0a",
        "%20",
        " ",
        "\t",
        ";",
        ";a",
        "..;/",
        "/..;/callback",
        "&",
        "&redirect_uri=https://evil.example",
        "@evil.example",
        "%23",
        "%3f",
        "/%2e%2e/",
        "/..%2f",
        "/..%5c",
        "\u{ff0f}",
        "\u{2025}",
        "\u{200b}",
        "e",
        "E",
        ".",
        ",",
        "*",
        "'",
        "\"",
        "<",
        "|",
    ] {
        hostile.push(format!("{registered}{suffix}"));
        hostile.push(format!("{origin}{suffix}{path}"));
    }
    for prefix in [
        "https://evil.example/",
        "https://evil.example@",
        "https://evil.example#",
        "https://evil.example?",
        "https://evil.example\\@",
        "https://evil.example%23@",
        "https://evil.example%2f@",
        "//",
        "/",
        "\\\\",
        "https:",
        "https:/",
        "https:///",
        "http://",
        "HTTPS://",
        "hTtPs://",
        "ftp://",
        "file:///",
        "javascript:",
        "data:text/html,",
        "vbscript:",
        "javascript://",
        "blob:https://",
        "about:blank#",
        "view-source:https://",
        "intent://",
        "mailto:",
        "ws://",
        "wss://",
        "%68ttps://",
        " https://",
        "\thttps://",
        "https://\u{200b}",
        "https://user:pass@",
        "https://.",
        "https://..",
        "https://xn--",
        "https://[::1]@",
        "https://127.0.0.1@",
        "https://%6c",
        "x-https://",
    ] {
        hostile.push(format!("{prefix}{host}{path}"));
        hostile.push(format!("{prefix}{registered}"));
    }
    for changed in [
        host.to_uppercase(),
        host.replace("localhost", "LOCALHOST"),
        host.replace("localhost", "localhost."),
        host.replace("localhost", "evil.localhost"),
        host.replace("localhost", "localhost.evil.example"),
        host.replace("localhost", "127.0.0.1"),
        host.replace("localhost", "[::1]"),
        host.replace("localhost", "2130706433"),
        host.replace("localhost", "0x7f.1"),
        host.replace("localhost", "loc\u{0430}lhost"),
        host.replace("localhost", "l\u{212f}calhost"),
        host.replace("localhost", "xn--lcalhost-1za"),
        host.split(':').next().unwrap().to_owned(),
        format!("{host}0"),
        format!("{host}:1"),
        host.replace(':', ":0"),
        host.replace(':', "%3a"),
    ] {
        hostile.push(format!("https://{changed}{path}"));
        hostile.push(format!("http://{changed}{path}"));
    }
    hostile.push(registered.replace("https", "http"));
    hostile.push(registered.replace("/callback", "/CALLBACK"));
    hostile.push(registered.replace("/callback", "/call%62ack"));
    hostile.push(format!("{registered} {registered}"));
    hostile.push(format!("{registered},{registered}"));
    hostile.push("null".to_owned());
    hostile.retain(|uri| uri != registered);
    hostile
}

/// CVE-2026-3872, CVE-2024-8883, CVE-2023-6134, CVE-2026-28512, CVE-2024-12224.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_3872_two_hundred_hostile_redirect_uris() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let hostile = hostile_redirects(&rp.redirect_uri);
    assert!(hostile.len() >= 200, "{}", hostile.len());
    for uri in hostile {
        for more in [vec![], vec![("prompt", "none")], vec![("response_type", "nonsense")]] {
            let changes = [vec![("redirect_uri", uri.as_str())], more].concat();
            let reply = browser.get(rp.authorize("e-invoice", &changes)).await;
            assert!(reply.location().is_none(), "{uri:?} redirects to {:?}", reply.location());
            assert_eq!(reply.status, 400, "{uri:?}");
            assert!(!reply.body.contains("evil.example"), "{uri:?} is reflected");
        }
    }
    // An accepted code is not sent elsewhere by the token request either.
    let code = world.code(&rp, "e-invoice", "hk-iam-smart", "hk-chan").await;
    for uri in hostile_redirects(&rp.redirect_uri).into_iter().step_by(20) {
        let mut form = rp.token_form(&code);
        form[2] = ("redirect_uri", &uri);
        assert!(!rp.token(&form).await.status.is_success(), "{uri}");
    }
}

fn raw(rp: &Rp, name: &str, value: &str) -> String {
    let base = rp.authorize("e-invoice", &[(name, "")]);
    format!("{base}&{name}={value}")
}

#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_46727_every_parameter_repeated_oversized_not_utf8_or_with_control_characters() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let names = [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "resource",
        "prompt",
        "max_age",
        "claims",
        "acr_values",
        "id_token_hint",
        "login_hint",
        "ui_locales",
        "display",
        "response_mode",
        "request",
        "request_uri",
        "registration",
    ];
    let oversized = "a".repeat(9_000);
    for name in names {
        for value in ["%ff", "%c3%28", "%00", "%0d%0aSet-Cookie:%20x=y", "%1b[31m", "%", "%zz", &oversized] {
            let reply = browser.get(raw(&rp, name, value)).await;
            assert_eq!(reply.status, 400, "{name}={value}");
            assert!(reply.location().is_none() && reply.failure().is_some(), "{name}={value}");
            assert!(reply.headers.get("set-cookie").is_none());
        }
        let sound = rp.params("e-invoice").into_iter().find(|(n, _)| n == name).map_or("x".into(), |(_, value)| value);
        let twice = format!("{}&{}", raw(&rp, name, &encode(&[("v", &sound)])[2..]), encode(&[(name, &sound)]));
        let reply = browser.get(&twice).await;
        match reply.location() {
            None => assert!(["client_id", "redirect_uri"].contains(&name), "{name}: {}", reply.body),
            Some(back) => {
                assert!(back.as_str().starts_with(&rp.redirect_uri), "{name}");
                let error = query(&back, "error").unwrap();
                assert!(error.starts_with("invalid_") || error.ends_with("_not_supported"), "{name}: {error}");
                assert_eq!(
                    query(&back, "iss").as_deref(),
                    Some(world.issuer()),
                    "RFC 9207: errors name the issuer too"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ghsa_9x4v_xfq5_m8x5_markup_in_any_parameter_stays_text() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let polyglot = "\"'><svg/onload=alert(1)><!--{{7*7}}${7*7}javascript:alert(1)";
    for name in ["state", "nonce", "login_hint", "ui_locales", "acr_values", "display", "unknown"] {
        let reply = browser.get(rp.authorize("e-invoice", &[(name, polyglot)])).await;
        assert!(!reply.body.contains("<svg/onload"), "{name}");
    }
    let reply = browser
        .get(rp.authorize("e-invoice", &[("state", polyglot), ("response_mode", "form_post"), ("prompt", "none")]))
        .await;
    assert_eq!(reply.status, 200);
    assert!(
        !reply.body.contains("<svg/onload") && reply.body.contains("name=\"error\" value=\"login_required\""),
        "{}",
        reply.body
    );
    let policy = reply.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn form_post_carries_the_code_in_a_form() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let request = rp.authorize("e-invoice", &[("response_mode", "form_post")]);
    let page = world.to_consent(&mut browser, &request, "hk-iam-smart", "hk-chan").await;
    let question = page.field("question").unwrap();
    let reply = browser.post(&page.url, &[("question", &question), ("decision", "allow"), ("export", "yes")]).await;
    assert!(reply.body.contains(&format!("action=\"{}\"", rp.redirect_uri)), "{}", reply.body);
    assert_eq!(reply.field("state").as_deref(), Some("state-1"));
    assert!(rp.redeem(&reply.field("code").unwrap()).await.status.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_works_like_a_get_without_cookies_and_with_a_session() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    world.sign_in(&mut browser, &rp.authorize("e-invoice", &[]), "hk-iam-smart", "hk-chan").await;
    let address = format!("{}/authorize", world.issuer());
    let params = rp.params("e-invoice");
    let pairs: Vec<(&str, &str)> = params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    // A cross-site POST brings no cookie; the GET that follows does.
    let mut bare = world.browser();
    let reply = bare.send(Method::POST, &address, Some(encode(&pairs)), &[("sec-fetch-site", "cross-site")]).await;
    browser.cookies.extend(bare.cookies.clone());
    let back = browser.get(reply.target()).await.target();
    assert!(query(&back, "code").is_some(), "the session served: {back}");
    let chooser = bare.get(reply.target()).await;
    assert!(chooser.body.contains("/to/hk-iam-smart"));
    let wrong = bare.send(Method::POST, &address, Some("{}".into()), &[("content-type", "application/json")]).await;
    assert_eq!(wrong.status, 400);
}

/// CVE-2025-64101, CVE-2026-34835: links come from configuration, whatever the request's headers say.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2025_64101_no_header_becomes_a_link() {
    let world = World::start().await;
    let rp = world.rp();
    for header in
        ["forwarded", "x-forwarded-host", "x-forwarded-proto", "x-original-url", "x-rewrite-url", "referer", "origin"]
    {
        let mut browser = world.browser();
        browser.headers.push((header, "host=evil.example".to_owned()));
        let metadata = browser.get(format!("{}/.well-known/openid-configuration", world.issuer())).await;
        assert!(!metadata.body.contains("evil"), "{header}");
        let chooser = browser.get(rp.authorize("e-invoice", &[])).await;
        assert!(!chooser.body.contains("evil"), "{header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chooser_shows_only_trusted_providers_and_says_why_another_cannot_serve() {
    let world = World::start().await;
    let (rp, mut browser) = (world.rp(), world.browser());
    let page = browser.get(rp.authorize("medical-appointment", &[("ui_locales", "en")])).await;
    assert!(page.body.contains("/to/hk-iam-smart") && page.body.contains("/to/mo-one-account"));
    assert!(!page.body.contains("gd-unified") && !page.body.contains("Guangdong unified"), "untrusted is not shown");
    let essential = r#"{"id_token":{"acr":{"essential":true,"values":["urn:cbid:acr:i3a3"]}}}"#;
    let page = browser.get(rp.authorize("medical-appointment", &[("ui_locales", "en"), ("claims", essential)])).await;
    assert!(page.body.contains("more secure sign-in") && !page.body.contains("/to/"), "{}", page.body);
    let untrusted = page.body.split("/login/").nth(1).unwrap().split(['"', '?', '/']).next().unwrap();
    for provider in ["gd-unified", "hk-iam-smart", "nobody", "..%2f", "%00"] {
        let reply = browser.get(format!("{}/login/{untrusted}/to/{provider}", world.issuer())).await;
        assert!(reply.location().is_none() && reply.failure().is_some(), "{provider}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_states_only_what_is_true() {
    let world = World::start().await;
    let mut browser = world.browser();
    let reply = browser.get(format!("{}/.well-known/openid-configuration", world.issuer())).await;
    assert_eq!(reply.headers["content-type"], "application/json");
    let metadata = reply.json();
    let aliases = &metadata["mtls_endpoint_aliases"];
    let with_certificates = aliases["token_endpoint"].as_str().unwrap().trim_end_matches("/token");
    let mut endpoints = 0;
    for (host, document) in [(world.issuer(), &metadata), (with_certificates, aliases)] {
        let named = document.as_object().unwrap().iter();
        for (endpoint, address) in named.filter(|(name, _)| name.ends_with("_endpoint") || *name == "jwks_uri") {
            let address = address.as_str().unwrap();
            assert!(address.starts_with(host));
            assert_ne!(browser.get(address).await.status, 404, "{endpoint}");
            endpoints += 1;
        }
    }
    assert_eq!(endpoints, 10 + 7);
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(metadata["subject_types_supported"], serde_json::json!(["pairwise"]));
    assert_eq!(metadata["acr_values_supported"].as_array().unwrap().len(), 9);
    assert!(metadata.get("registration_endpoint").is_none());
    assert_eq!(browser.get(format!("{}/nothing", world.issuer())).await.failure(), Some("CB-105"));
}

/// What is published, whole: whoever changes what the gateway can do changes this text as well (GHSA-9h47-pqcx-hjr4).
#[tokio::test(flavor = "multi_thread")]
async fn the_discovery_document_states_what_is_true() {
    let world = World::start().await;
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await;
    let metadata = metadata.json();
    let with_certificates = metadata["mtls_endpoint_aliases"]["token_endpoint"].as_str().unwrap().replace("/token", "");
    let metadata = serde_json::to_string_pretty(&metadata).unwrap().replace(world.issuer(), "https://gateway");
    let metadata = metadata.replace(&with_certificates, "https://mtls.gateway");
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/discovery.json");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, format!("{metadata}\n")).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    assert_eq!(metadata, expected.trim_end(), "UPDATE_SNAPSHOTS=1 writes it anew");
}
