//! What a portal that registered itself has to show before it goes live.

use certs::jws;
use certs::key::{Algorithm, SigningKey};
use http::Method;
use integration_tests::rp::query;
use integration_tests::servers::{Site, free_port};
use integration_tests::world::World;
use serde_json::{Value, json};

use crate::register::{CLOSED, SERVICE, manage, register, rp, send, world};

/// The check list: each thing that is wrong is named, none of them is overlooked, and who mends all of them goes live.
#[tokio::test(flavor = "multi_thread")]
async fn a_portal_goes_live_when_its_check_list_passes() {
    let port = free_port();
    let world = world(port, "").await;
    let (site, key) = (format!("https://localhost:{port}"), SigningKey::generate(Algorithm::ES256).unwrap());
    let metadata = json!({
        "redirect_uris": [format!("{site}/cb")], "jwks_uri": format!("{site}/jwks"),
        "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
        "post_logout_redirect_uris": [format!("{site}/bye")], "backchannel_logout_uri": format!("{site}/out"),
        "frontchannel_logout_uri": format!("{site}/frame"), "id_token_encrypted_response_alg": "ECDH-ES",
        "request_object_signing_alg": "ES256", "policy_uri": format!("{site}/privacy"),
    });
    let registered = register(&world, &metadata).await.json();
    let url = format!("{}/checks", registered["registration_client_uri"].as_str().unwrap());
    let token = registered["registration_access_token"].as_str().unwrap().to_owned();
    // Keys are looked at again after a minute; the providers' clocks stand still meanwhile, and have patience for some.
    let next_minute = || world.clock.advance(61);
    let checks = async |method: Method| send(&world, method, &url, &token, None).await.json();
    let failing = |list: &Value| -> Vec<String> {
        let failed = list["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false);
        failed.map(|check| format!("{} {}", check["check"].as_str().unwrap(), check["of"].as_str().unwrap())).collect()
    };
    assert_eq!(send(&world, Method::GET, &url, "x", None).await.status, 401);
    // Nobody is there at all: everything fails.
    let list = checks(Method::POST).await;
    assert_eq!(failing(&list).len(), list["checks"].as_array().unwrap().len(), "{list}");
    world.clock.advance(3);
    // A site where everything is wrong in its own way.
    let host = Site::open(&world.data, port, 404, "").await;
    let mut encryption = SigningKey::generate(Algorithm::ES256).unwrap().public_jwk().clone();
    encryption["use"] = "enc".into();
    encryption["alg"] = "ECDH-ES".into();
    let mut nameless = key.public_jwk().clone();
    nameless.as_object_mut().unwrap().remove("kid");
    let set = |keys: &[&Value]| json!({"keys": keys}).to_string();
    let others = SigningKey::generate(Algorithm::PS256).unwrap();
    host.answers_at("/jwks", 200, Vec::new(), &set(&[others.public_jwk()]));
    host.answers_at("/out", 200, Vec::new(), "");
    host.answers_at("/frame", 200, vec![("x-frame-options", "DENY".into())], "<p>");
    let list = checks(Method::POST).await;
    let all = ["redirects", "logout", "privacy", "keys", "keys", "sign-in", "logout", "logout"];
    let named: Vec<String> = failing(&list).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(named, all, "{list}");
    next_minute();
    // One after the other is mended, and the list gets shorter by that.
    host.answers_at("/cb", 400, Vec::new(), "");
    host.answers_at("/bye", 200, Vec::new(), "");
    host.answers_at("/privacy", 200, Vec::new(), "what becomes of your data");
    host.answers_at("/jwks", 200, Vec::new(), &set(&[&nameless, &encryption]));
    host.answers_at("/out", 400, Vec::new(), "");
    host.answers_at(
        "/frame",
        200,
        vec![("content-security-policy", "default-src 'self'; frame-ancestors 'self'".into())],
        "<p>",
    );
    let list = checks(Method::POST).await;
    assert_eq!(
        failing(&list),
        ["keys private_key_jwt".to_owned(), "sign-in a trial service".to_owned(), format!("logout {site}/frame")],
        "{list}"
    );
    next_minute();
    host.answers_at("/jwks", 200, Vec::new(), &set(&[key.public_jwk(), &encryption]));
    let own = format!("frame-ancestors 'self' {}", world.issuer());
    host.answers_at("/frame", 200, vec![("content-security-policy", own)], "<p>");
    let list = checks(Method::POST).await;
    assert_eq!(
        (failing(&list).as_slice(), &list["live"]),
        (["sign-in a trial service".to_owned()].as_slice(), &json!(false))
    );
    // Somebody signs in, later than the registration was made.
    let rp = rp(&world, &registered);
    let code = world.code(&rp, SERVICE, "hk-iam-smart", "hk-chan").await;
    let now = world.now().0;
    let assertion = json!({"iss": rp.client_id, "sub": rp.client_id, "aud": rp.issuer, "exp": now + 60, "jti": "one"});
    let assertion = jws::sign(&key, "JWT", assertion.as_object().unwrap()).unwrap();
    let mut form = rp.token_form(&code);
    form.extend([("client_assertion_type", integration_tests::keyed::ASSERTION), ("client_assertion", &assertion)]);
    let tokens = world.browser().post(format!("{}/token", rp.issuer), &form).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    // Looking changes nothing; asking to go live does.
    let looked = checks(Method::GET).await;
    assert_eq!(
        (failing(&looked).len(), &looked["passed"], &looked["live"]),
        (0, &json!(true), &json!(false)),
        "{looked}"
    );
    let closed = world.browser().get(rp.authorize(CLOSED, &[])).await.target();
    assert_eq!(query(&closed, "error").as_deref(), Some("invalid_target"));
    assert_eq!(checks(Method::POST).await["live"], true);
    let code = world.code(&rp, CLOSED, "hk-iam-smart", "hk-chan").await;
    assert!(!code.is_empty());
    // As people read it.
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("accept", "text/plain")];
    let text = world.browser().send(Method::GET, &url, None, &headers).await.body;
    assert!(text.contains(": live; ") && text.contains("ok    certificates  https://localhost"), "{text}");
    // What changes has to be looked at again.
    let mut changed = metadata.clone();
    changed["client_id"] = registered["client_id"].clone();
    assert_eq!(manage(&world, Method::PUT, &registered, Some(&changed)).await.json()["live"], true, "nothing changed");
    changed["client_name"] = "Another name".into();
    world.clock.advance(5);
    assert_eq!(manage(&world, Method::PUT, &registered, Some(&changed)).await.json()["live"], false);
    let closed = world.browser().get(rp.authorize(CLOSED, &[])).await.target();
    assert_eq!(query(&closed, "error").as_deref(), Some("invalid_target"));
    let list = checks(Method::POST).await;
    assert_eq!(failing(&list), ["sign-in a trial service"], "{list}");
}

/// A certificate has to hold for a while longer: whoever lets it run out is told before people are.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_about_to_end_keeps_a_portal_from_going_live() {
    let port = free_port();
    let world = world(port, "").await;
    let site = format!("https://localhost:{port}");
    let _host = Site::open(&world.data, port, 200, "").await;
    let registered = register(&world, &json!({"redirect_uris": [format!("{site}/cb")]})).await.json();
    let url = format!("{}/checks", registered["registration_client_uri"].as_str().unwrap());
    let token = registered["registration_access_token"].as_str().unwrap().to_owned();
    let certificate = async || {
        let list = send(&world, Method::GET, &url, &token, None).await.json();
        let found = list["checks"].as_array().unwrap().iter().find(|check| check["check"] == "certificates").cloned();
        found.unwrap_or_else(|| panic!("{list}"))
    };
    // It was made today and holds ninety days.
    world.clock.advance(75 * 86_400);
    assert_eq!(certificate().await["passed"], true);
    world.clock.advance(2 * 86_400);
    let found = certificate().await;
    assert_eq!((&found["passed"], found["of"].as_str()), (&json!(false), Some(format!("{site}/").as_str())));
    assert!(found["found"].as_str().unwrap().ends_with(" only"), "{found}");
}

/// A world whose portals register with these grant types, and where they may act for themselves at the service that is open to them.
async fn world_for(port: u16, grants: &str) -> World {
    let world = world(port, "").await;
    let rewrite = |file: &str, change: &dyn Fn(String) -> String| {
        let path = world.data.join("bundle").join(file);
        std::fs::write(&path, change(std::fs::read_to_string(&path).unwrap())).unwrap();
    };
    rewrite("clients/joining.toml", &|text| {
        text.replace("refresh_lifetime = \"8h\"", &format!("grant_types = [{grants}]")).replace("legacy", "baseline")
    });
    rewrite(&format!("services/{SERVICE}.toml"), &|text| {
        text + "\n[[back_end]]\nclient = \"joining\"\nscopes = [\"read\"]\n"
    });
    world.demo.gateway.app().tend(None).await;
    world
}

async fn checks(world: &World, registered: &Value, method: Method) -> Value {
    let url = format!("{}/checks", registered["registration_client_uri"].as_str().unwrap());
    send(world, method, &url, registered["registration_access_token"].as_str().unwrap(), None).await.json()
}

fn failing(list: &Value) -> Vec<&str> {
    let checks = list["checks"].as_array().unwrap_or_else(|| panic!("{list}"));
    checks.iter().filter(|check| check["passed"] == false).map(|check| check["check"].as_str().unwrap()).collect()
}

/// A back end has nobody to sign in: it shows that it can get a token of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_goes_live_by_a_token_of_its_own() {
    let port = free_port();
    let world = world_for(port, "\"client_credentials\", \"authorization_code\"").await;
    let host = Site::open(&world.data, port, 404, "").await;
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    host.answers_at("/jwks", 200, Vec::new(), &json!({"keys": [key.public_jwk()]}).to_string());
    host.answers_at("/cb", 400, Vec::new(), "");
    let (site, own) =
        (format!("https://localhost:{port}"), json!({"grant_types": ["client_credentials"], "response_types": []}));
    let both =
        json!({"grant_types": ["client_credentials", "authorization_code"], "redirect_uris": [format!("{site}/cb")]});
    // Where people sign in, a token of the client's own shows nothing of that.
    // People's data crosses a border only to who has a privacy notice.
    for (more, missing, left) in
        [(own, vec!["token"], vec![]), (both, vec!["privacy", "sign-in"], vec!["privacy", "sign-in"])]
    {
        let mut metadata = json!({"jwks_uri": format!("{site}/jwks"), "token_endpoint_auth_method": "private_key_jwt"});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let registered = register(&world, &metadata).await;
        assert_eq!(registered.status, 201, "{}", registered.body);
        let registered = registered.json();
        let list = checks(&world, &registered, Method::POST).await;
        assert_eq!((failing(&list), &list["live"]), (missing, &json!(false)), "{list}");
        world.clock.advance(3);
        let id = registered["client_id"].as_str().unwrap();
        let now = world.now().0;
        let claims = json!({"iss": id, "sub": id, "aud": world.issuer(), "exp": now + 60, "jti": "one"});
        let assertion = jws::sign(&key, "JWT", claims.as_object().unwrap()).unwrap();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_assertion_type", integration_tests::keyed::ASSERTION),
            ("client_assertion", &assertion),
        ];
        let tokens = world.browser().post(format!("{}/token", world.issuer()), &form).await;
        assert_eq!(tokens.status, 200, "{}", tokens.body);
        let list = checks(&world, &registered, Method::POST).await;
        assert_eq!((&list["live"], failing(&list)), (&json!(left.is_empty()), left), "{list}");
    }
}

/// A counter shows keys for what it says that it signs, and that strangers cannot ring at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_counter_that_registers_itself_is_looked_at_as_one() {
    let port = free_port();
    let world = world_for(port, "\"urn:openid:params:grant-type:ciba\"").await;
    let site = format!("https://localhost:{port}");
    let host = Site::open(&world.data, port, 404, "").await;
    let keys = |algorithms: &[Algorithm]| {
        let keys = algorithms.iter().map(|alg| SigningKey::generate(*alg).unwrap().public_jwk().clone());
        host.answers_at("/jwks", 200, Vec::new(), &json!({"keys": keys.collect::<Vec<_>>()}).to_string());
    };
    keys(&[Algorithm::ES256]);
    host.answers_at("/privacy", 200, Vec::new(), "what becomes of your data");
    let registered = register(
        &world,
        &json!({
            "grant_types": ["urn:openid:params:grant-type:ciba"], "response_types": [], "jwks_uri": format!("{site}/jwks"),
            "token_endpoint_auth_method": "private_key_jwt", "backchannel_token_delivery_mode": "ping",
            "backchannel_client_notification_endpoint": format!("{site}/ring"),
            "backchannel_authentication_request_signing_alg": "PS256",
            "policy_uri": format!("{site}/privacy"),
        }),
    )
    .await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let registered = registered.json();
    for (status, fails) in [(404, true), (204, true), (500, true), (401, false), (400, false)] {
        host.answers_at("/ring", status, Vec::new(), "");
        let list = checks(&world, &registered, Method::GET).await;
        assert_eq!(failing(&list).contains(&"notification"), fails, "{status}: {list}");
        assert!(failing(&list).contains(&"keys") && failing(&list).contains(&"sign-in"), "{list}");
    }
    world.clock.advance(61);
    keys(&[Algorithm::ES256, Algorithm::PS256]);
    let list = checks(&world, &registered, Method::GET).await;
    assert_eq!(failing(&list), ["sign-in"], "{list}");
}
