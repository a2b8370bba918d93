//! Bad input where no browser is needed: terminals, people who are asked, back ends, exchange, registration, federation; parameter by
//! parameter, as at the endpoints that browsers lead to.

use certs::key::{Algorithm, SigningKey};
use http::Method;
use integration_tests::keyed::Keyed;
use integration_tests::rp::{claims, query};
use integration_tests::servers::free_port;
use integration_tests::world::{client_document, service_document};
use integration_tests::{Reply, World};
use serde_json::{Value, json};

use crate::bad_input::{Endpoint, pair};
use crate::register::{manage, register};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CIBA: &str = "urn:openid:params:grant-type:ciba";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A client with every grant, at two services, the second of which takes tokens of the first.
async fn world() -> (World, Keyed) {
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let grants = format!(
        "grant_types = [\"authorization_code\", \"client_credentials\", \"{DEVICE}\", \"{CIBA}\", \"{EXCHANGE}\"]"
    );
    let lines = format!("{grants}\ndefault_service = \"first\"\njwks = '{}'", json!({"keys": [key.public_jwk()]}));
    let client = client_document("keyed", "https://keyed.example/callback", "private_key_jwt", &lines);
    let own = |text: String| text.replacen("ground = \"consent\"", "ground = \"statutory-duty\"", 1);
    let detail =
        "[detail.about]\nkind = \"text\"\nname = { zh-Hans = \"甲\", zh-Hant-HK = \"甲\", pt = \"A\", en = \"A\" }\n";
    let first = own(service_document("first", &["keyed"], &["hk-iam-smart"], "")) + detail;
    let second = own(service_document(
        "second",
        &["keyed"],
        &["hk-iam-smart"],
        "exchange_from = [\"first\"]\ndelegation_depth = 1",
    ))
    .replace("[[allow]]", "[[back_end]]\nclient = \"keyed\"\nscopes = [\"read\"]\n[[allow]]");
    let documents = [("clients/keyed.toml", client), ("services/first.toml", first), ("services/second.toml", second)];
    let documents: Vec<(&str, &str)> = documents.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let world = World::with(&documents).await;
    let client = Keyed::of(&world, "keyed", key);
    (world, client)
}

/// Every field of what asks for a terminal and for a person, and of each grant that comes for an answer or needs nobody.
#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_where_no_browser_is_needed() {
    let (world, client) = world().await;
    let asked = client.rp.authorize("first", &[("prompt", "consent")]);
    let back = world.sign_in(&mut world.browser(), &asked, "hk-iam-smart", "hk-chan").await;
    let tokens = client.send("/token", &client.code_form(&query(&back, "code").unwrap()), &[]).await.json();
    let access = tokens["access_token"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
    let subject = claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned();
    let back = world.sign_in(&mut world.browser(), &asked, "hk-iam-smart", "hk-wong").await;
    let helping = client.send("/token", &client.code_form(&query(&back, "code").unwrap()), &[]).await.json();
    let helper = helping["access_token"].as_str().unwrap_or_else(|| panic!("{helping}")).to_owned();
    let plain = |path, form, optional, free| Endpoint { client: &client, path, form, proven: false, optional, free };
    let resource = |name: &str| pair("resource", &format!("https://services.example/{name}"));
    let asks = |more: &[(&str, &str)]| {
        let same = [
            pair("scope", "openid profile"),
            resource("first"),
            pair("acr_values", "urn:cbid:acr:i1a1"),
            pair("ui_locales", "pt"),
            pair("max_age", "3600"),
            pair("terminal_name", "Counter 7"),
            pair("terminal_place", "Nansha"),
            pair("claims", "{\"userinfo\":{\"name\":null}}"),
            pair("authorization_details", "[{\"type\":\"https://services.example/first\",\"about\":\"A-1\"}]"),
        ];
        same.into_iter().chain(more.iter().map(|(name, value)| pair(name, value))).collect::<Vec<_>>()
    };
    let terminals = [
        "resource",
        "acr_values",
        "ui_locales",
        "max_age",
        "terminal_name",
        "terminal_place",
        "claims",
        "authorization_details",
    ];
    // Members of `claims` that nobody knows are left out.
    let words = ["acr_values", "ui_locales", "terminal_name", "terminal_place", "claims"];
    let device = plain("/device_authorization", asks(&[]), &terminals, &words);
    device.every_parameter().await;
    device.every_shape().await;
    device.every_header().await;
    let device = client.send("/device_authorization", &device.form, &[]).await;
    assert_eq!(device.status, 200, "{}", device.body);
    let more = [
        ("login_hint", subject.as_str()),
        ("binding_message", "Form B-12"),
        ("requested_expiry", "300"),
        ("client_notification_token", "t"),
    ];
    let people = [terminals.as_slice(), &["binding_message", "requested_expiry", "client_notification_token"]].concat();
    let said = [words.as_slice(), &["binding_message", "client_notification_token"]].concat();
    let ciba = plain("/bc-authorize", asks(&more), &people, &said);
    ciba.every_parameter().await;
    ciba.every_shape().await;
    ciba.every_header().await;
    let ciba = client.send("/bc-authorize", &ciba.form, &[]).await;
    assert_eq!(ciba.status, 200, "{}", ciba.body);

    let text = |reply: &Reply, name: &str| reply.json()[name].as_str().unwrap().to_owned();
    let grants = [
        (
            vec![pair("grant_type", DEVICE), pair("device_code", &text(&device, "device_code")), resource("first")],
            vec!["resource"],
            "authorization_pending",
        ),
        (
            vec![pair("grant_type", CIBA), pair("auth_req_id", &text(&ciba, "auth_req_id")), resource("first")],
            vec!["resource"],
            "authorization_pending",
        ),
        (vec![pair("grant_type", "client_credentials"), pair("scope", "read"), resource("second")], vec!["scope"], ""),
        (
            vec![
                pair("grant_type", EXCHANGE),
                pair("subject_token", &access),
                pair("subject_token_type", ACCESS),
                pair("actor_token", &helper),
                pair("actor_token_type", ACCESS),
                resource("second"),
            ],
            vec![],
            "",
        ),
        (
            vec![
                pair("grant_type", EXCHANGE),
                pair("subject_token", &access),
                pair("subject_token_type", ACCESS),
                pair("requested_token_type", ACCESS),
                pair("scope", "openid"),
                resource("second"),
            ],
            vec!["scope", "requested_token_type"],
            "",
        ),
    ];
    for (form, optional, outcome) in grants {
        // For what an answer is, is looked at when there is one.
        let free: &[&str] = if outcome.is_empty() { &[] } else { &["resource"] };
        let grant = Endpoint { client: &client, path: "/token", form, proven: false, optional: &optional, free };
        grant.every_parameter().await;
        grant.every_header().await;
        let sound = client.send("/token", &grant.form, &[]).await;
        match outcome {
            "" => assert_eq!(sound.status, 200, "{:?} {}", grant.form, sound.body),
            error => assert_eq!(sound.json()["error"], error, "{:?}", grant.form),
        }
    }
}

/// Every field of a registration, of another type or without end.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_a_registration() {
    let port = free_port();
    let world = crate::register::world(port, "").await;
    let at = |path: &str| format!("https://localhost:{port}{path}");
    let sound = json!({"redirect_uris": [at("/cb")], "client_name": "A portal"});
    let texts = [
        "client_name",
        "token_endpoint_auth_method",
        "token_endpoint_auth_signing_alg",
        "jwks_uri",
        "sector_identifier_uri",
        "subject_type",
        "initiate_login_uri",
        "backchannel_logout_uri",
        "frontchannel_logout_uri",
        "logo_uri",
        "client_uri",
        "policy_uri",
        "tos_uri",
        "request_object_signing_alg",
        "id_token_signed_response_alg",
        "userinfo_signed_response_alg",
        "authorization_signed_response_alg",
        "introspection_signed_response_alg",
        "id_token_encrypted_response_alg",
        "id_token_encrypted_response_enc",
        "userinfo_encrypted_response_alg",
        "userinfo_encrypted_response_enc",
        "tls_client_auth_subject_dn",
        "tls_client_auth_san_dns",
        "tls_client_auth_san_uri",
        "software_id",
        "software_version",
        "backchannel_authentication_request_signing_alg",
        "backchannel_token_delivery_mode",
        "backchannel_client_notification_endpoint",
        "application_type",
        "software_statement",
    ];
    let lists = [
        "redirect_uris",
        "post_logout_redirect_uris",
        "request_uris",
        "grant_types",
        "response_types",
        "contacts",
        "default_acr_values",
    ];
    let flags = [
        "require_pushed_authorization_requests",
        "require_signed_request_object",
        "dpop_bound_access_tokens",
        "tls_client_certificate_bound_access_tokens",
        "backchannel_user_code_parameter",
        "backchannel_logout_session_required",
        "frontchannel_logout_session_required",
    ];
    let mut wrong: Vec<(&str, Value)> = Vec::new();
    for name in texts {
        wrong.extend([json!(7), json!([]), json!({}), json!(true)].map(|value| (name, value)));
    }
    for name in lists {
        wrong.extend([json!("x"), json!(7), json!([7]), json!({}), json!(vec!["x"; 65])].map(|value| (name, value)));
    }
    for name in flags {
        wrong.extend([json!("true"), json!(1), json!([])].map(|value| (name, value)));
    }
    wrong.extend([json!("x"), json!([]), json!({"keys": 1})].map(|value| ("jwks", value)));
    wrong.extend([json!("60"), json!(-1), json!(1.5)].map(|value| ("default_max_age", value)));
    // Addresses: each at a host that was not given, inside, or no address at all.
    for name in texts.into_iter().filter(|name| name.ends_with("_uri") || name.ends_with("endpoint")) {
        for address in [
            "https://169.254.169.254/",
            "https://evil.example/",
            "http://localhost/",
            "file:///etc/passwd",
            "javascript:1",
            "x",
        ] {
            wrong.push((name, json!(address)));
        }
    }
    let registered = register(&world, &sound).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let registered = registered.json();
    for (name, value) in wrong {
        let mut metadata = sound.clone();
        metadata[name] = value.clone();
        refused(name, &value, &register(&world, &metadata).await);
        // The same in an update, which changes nothing then.
        metadata["client_id"] = registered["client_id"].clone();
        refused(name, &value, &manage(&world, Method::PUT, &registered, Some(&metadata)).await);
    }
    let same = manage(&world, Method::GET, &registered, None).await.json();
    for name in sound.as_object().unwrap().keys() {
        assert_eq!(same[name], registered[name], "{same}");
    }
    // Bodies that are too long, and none.
    let long = json!({"client_name": "x".repeat(70_000)});
    refused("body", &json!("long"), &register(&world, &long).await);
    refused("body", &json!("long"), &manage(&world, Method::PUT, &registered, Some(&long)).await);
    refused("body", &json!("none"), &manage(&world, Method::PUT, &registered, None).await);
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let url = format!("{}/checks", registered["registration_client_uri"].as_str().unwrap());
        assert_eq!(world.browser().send(method.clone(), &url, None, &[]).await.status, 405, "{method}");
    }
}

/// The answer to metadata that cannot be.
fn refused(name: &str, value: &Value, reply: &Reply) {
    let known = [
        "invalid_request",
        "invalid_client_metadata",
        "invalid_redirect_uri",
        "invalid_software_statement",
        "unapproved_software_statement",
    ];
    assert!(matches!(reply.status.as_u16(), 400 | 413), "{name} {value}: {} {}", reply.status, reply.body);
    let error = reply.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(known.contains(&&*error), "{name} {value}: {}", reply.body);
}

/// What people send back on their phones, in every wrong form: nothing is opened or answered by it.
#[tokio::test(flavor = "multi_thread")]
async fn every_field_on_the_phone() {
    let (world, client) = world().await;
    let mut phone = world.browser();
    let asked = client.rp.authorize("first", &[("prompt", "consent")]);
    let back = world.sign_in(&mut phone, &asked, "hk-iam-smart", "hk-chan").await;
    let tokens = client.send("/token", &client.code_form(&query(&back, "code").unwrap()), &[]).await.json();
    let subject = claims(tokens["id_token"].as_str().unwrap())["sub"].as_str().unwrap().to_owned();
    let hall = [pair("scope", "openid"), pair("terminal_name", "T"), pair("terminal_place", "Hall")];
    let device = client.send("/device_authorization", &hall, &[]).await.json();
    let ciba = client.send("/bc-authorize", &[&hall[..], &[pair("login_hint", &subject)]].concat(), &[]).await.json();
    let code = device["user_code"].as_str().unwrap().to_owned();
    let question = phone.get(format!("{}/requests", world.issuer())).await.field("question").unwrap();
    let own = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", world.issuer()),
        ("sec-fetch-site", "same-origin"),
    ];
    for (path, name, value) in [("/device", "user_code", code.as_str()), ("/requests", "question", question.as_str())] {
        let url = format!("{}{path}", world.issuer());
        for body in [
            String::new(),
            format!("{name}={value}&{name}={value}&decision=yes"),
            format!("{name}={value}&decision=yes&decision=no"),
            format!("{name}={value}&decision=open&decision=no"),
            format!("{name}={value}&decision=maybe"),
            format!("{name}={value}&decision="),
            format!("{name}=%ff&decision=yes"),
            format!("{name}=%00&decision=open"),
            format!("{name}=%zz&decision=no"),
            format!("{name}=&decision=no"),
            format!("{name}={}&decision=open", "B".repeat(9_000)),
            format!("{name}={}&decision=yes", "B".repeat(70_000)),
            "a=1&".repeat(65),
        ] {
            let reply = phone.send(Method::POST, &url, Some(body.clone()), &own).await;
            assert!(
                matches!(reply.status.as_u16(), 200 | 400 | 403 | 404 | 413 | 422) && reply.location().is_none(),
                "{path} {body:.60}: {} {:?}",
                reply.status,
                reply.location()
            );
        }
    }
    for (grant, name, answer) in [(DEVICE, "device_code", &device), (CIBA, "auth_req_id", &ciba)] {
        let form = [pair("grant_type", grant), pair(name, answer[name].as_str().unwrap())];
        assert_eq!(client.send("/token", &form, &[]).await.json()["error"], "authorization_pending", "{name}");
    }
    let opened = phone.post(format!("{}/device", world.issuer()), &[("user_code", &code), ("decision", "yes")]).await;
    assert!(opened.status == 303 || opened.body.contains("/login/"), "{}", opened.body);
}

/// What is asked of a federation's endpoints: methods that they do not have, and fields in every wrong form.
#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_of_a_federations_endpoints() {
    let (world, federation) = integration_tests::federation::world("").await;
    let (anchor, portal) = (federation.entity(0), federation.entity(2));
    for (path, fields) in [
        ("/federation/fetch", vec![("sub", portal.as_str())]),
        ("/federation/resolve", vec![("sub", &*portal), ("trust_anchor", &*anchor)]),
    ] {
        for (name, own) in &fields {
            let others: Vec<(&str, &str)> = fields.iter().filter(|(other, _)| other != name).copied().collect();
            let others = integration_tests::browser::encode(&others);
            let long = "a".repeat(9_000);
            for part in [
                String::new(),
                format!("{name}="),
                format!("{name}=x"),
                format!("{name}=%ff"),
                format!("{name}=%00"),
                format!("{name}=%zz"),
                format!("{name}={long}"),
                format!("sub={portal}&sub={own}"),
                format!("{name}=http://a.example"),
                format!("{name}=https://A.example"),
            ] {
                let reply = world.browser().get(format!("{}{path}?{others}&{part}", world.issuer())).await;
                assert!(
                    matches!(reply.status.as_u16(), 400 | 404),
                    "{path} {part:.60}: {} {}",
                    reply.status,
                    reply.body
                );
                assert!(reply.json()["error"].is_string(), "{path} {part:.60}: {}", reply.body);
            }
        }
    }
    for query in [
        "intermediate=x",
        "intermediate=true&intermediate=true",
        "intermediate=%ff",
        "trust_marked=true",
        "trust_mark_type=x",
    ] {
        let reply = world.browser().get(format!("{}/federation/list?{query}", world.issuer())).await;
        assert!(reply.status == 400 && reply.json()["error"].is_string(), "{query}: {}", reply.body);
    }
    for path in ["/.well-known/openid-federation", "/federation/fetch", "/federation/list", "/federation/resolve"] {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let reply = world.browser().send(method.clone(), &format!("{}{path}", world.issuer()), None, &[]).await;
            assert_eq!(reply.status, 405, "{method} {path}");
        }
    }
    assert!(federation.site.heard().is_empty(), "nobody was asked about any of it");
}
