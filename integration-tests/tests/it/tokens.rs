//! Asking what a token is good for, and giving it back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use integration_tests::rp::{claims, query};
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Keyed, Reply, Rp, World};
use serde_json::{Value, json};

/// A portal that may refresh, a resource server of its service, and a stranger.
struct Three {
    world: World,
    portal: Rp,
    server: Rp,
    stranger: Rp,
}

async fn three() -> Three {
    let client = |id: &str, more: &str| {
        let lines = format!("{}\n{more}", secret_line());
        client_document(id, &format!("https://{id}.example/cb"), "client_secret_basic", &lines)
    };
    let portal = client("portal", "refresh_lifetime = \"8h\"");
    let service = service_document("opened", &["portal"], &["hk-iam-smart"], "resource_servers = [\"server\"]");
    let world = World::with(&[
        ("clients/portal.toml", &portal),
        ("clients/server.toml", &client("server", "")),
        ("clients/stranger.toml", &client("stranger", "")),
        ("services/opened.toml", &service),
    ])
    .await;
    let rp = |id: &str| world.client(id, Some(SECRET), &format!("https://{id}.example/cb"));
    let (portal, server, stranger) = (rp("portal"), rp("server"), rp("stranger"));
    Three { world, portal, server, stranger }
}

impl Three {
    async fn tokens(&self) -> Value {
        let changes = [("scope", "openid profile offline_access"), ("prompt", "consent")];
        let authorize = self.portal.authorize("opened", &changes);
        let back = self.world.sign_in(&mut self.world.browser(), &authorize, "hk-iam-smart", "hk-chan").await;
        self.portal.redeem(&query(&back, "code").unwrap()).await.json()
    }
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("{tokens}"))
}

async fn ask(rp: &Rp, path: &str, token: &str, headers: &[(&str, &str)]) -> Reply {
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", rp.client_id, rp.secret.as_ref().unwrap())));
    let headers = [&[("authorization", basic.as_str())], headers].concat();
    let body = integration_tests::browser::encode(&[("token", token)]);
    rp.http.clone().send(http::Method::POST, &format!("{}{path}", rp.issuer), Some(body), &headers).await
}

async fn is_active(rp: &Rp, token: &str) -> bool {
    let reply = ask(rp, "/introspect", token, &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answer = reply.json();
    assert!(answer["active"] == true || answer.as_object().unwrap().len() == 1, "{answer}");
    answer["active"] == true
}

/// RFC 7662 section 2.2; who may ask is policy.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7662_2_2_a_resource_server_hears_of_its_services_tokens() {
    let three = three().await;
    let tokens = three.tokens().await;
    let access = text(&tokens, "access_token");
    let own = ask(&three.portal, "/introspect", access, &[]).await.json();
    let served = ask(&three.server, "/introspect", access, &[]).await.json();
    for answer in [&own, &served] {
        assert_eq!(answer["active"], true);
        assert_eq!(answer["client_id"], "portal");
        assert_eq!(answer["aud"], "https://services.example/opened");
        assert_eq!(answer["iss"], three.world.issuer());
        assert_eq!(answer["scope"], "openid profile offline_access");
        assert_eq!(answer["token_type"], "Bearer");
        assert!(answer["exp"].as_u64() > answer["iat"].as_u64());
        assert!(answer["acr"].is_string() && answer["auth_time"].is_u64());
        assert!(answer.get("name").is_none(), "no claims of the person");
    }
    // Two sectors cannot join their names for a person.
    let subject = claims(text(&tokens, "id_token"))["sub"].clone();
    assert_eq!(own["sub"], subject);
    assert_ne!(served["sub"], subject);
    assert!(!is_active(&three.stranger, access).await, "a stranger hears what it would hear of an invented token");
    assert!(!is_active(&three.server, text(&tokens, "refresh_token")).await, "a refresh token is its client's alone");
    assert!(is_active(&three.portal, text(&tokens, "refresh_token")).await);
    for invented in ["x", "a.b.c", &access[1..], &format!("{access}A")] {
        assert!(!is_active(&three.portal, invented).await, "{invented}");
    }
    three.world.clock.advance(301);
    assert!(!is_active(&three.portal, access).await, "after its time");
}

/// RFC 9701 section 5.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9701_5_a_signed_answer() {
    let three = three().await;
    let tokens = three.tokens().await;
    let accept = [("accept", "application/token-introspection+jwt")];
    for (token, active) in [(text(&tokens, "access_token"), true), ("invented", false)] {
        let reply = ask(&three.server, "/introspect", token, &accept).await;
        assert_eq!(reply.headers["content-type"], "application/token-introspection+jwt");
        let unverified = certs::jws::Unverified::parse(&reply.body).unwrap();
        assert_eq!(unverified.typ(), Some("token-introspection+jwt"));
        let keys = three.world.demo.gateway.app().keys.verifying();
        let answer = unverified.verify(&keys, &[certs::key::Algorithm::ES256]).unwrap();
        assert_eq!((&answer["iss"], &answer["aud"]), (&json!(three.world.issuer()), &json!("server")));
        assert_eq!(answer["token_introspection"]["active"], active);
    }
}

/// RFC 7009 section 2: giving back a refresh token ends whatever came of its grant; an access token ends alone.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7009_2_what_is_given_back_is_over_at_once() {
    let three = three().await;
    let tokens = three.tokens().await;
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    let renew =
        async |refresh: &str| three.portal.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    for token in [access, refresh] {
        let refused = ask(&three.stranger, "/revoke", token, &[]).await;
        assert_eq!(refused.json()["error"], "invalid_grant", "another client's token");
    }
    assert!(is_active(&three.portal, access).await, "nothing was lost");
    assert_eq!(ask(&three.portal, "/revoke", access, &[]).await.status, 200);
    assert!(!is_active(&three.portal, access).await);
    assert_eq!(three.portal.userinfo(access).await.status, 401);
    let renewed = renew(refresh).await.json();
    let (access, refresh) = (text(&renewed, "access_token"), text(&renewed, "refresh_token"));
    assert_eq!(ask(&three.portal, "/revoke", refresh, &[]).await.status, 200);
    assert!(!is_active(&three.portal, access).await && !is_active(&three.server, access).await);
    assert_eq!(three.portal.userinfo(access).await.status, 401);
    assert_eq!(renew(refresh).await.json()["error"], "invalid_grant");
    // Section 2.2: what nobody knows is as good as revoked; twice is once.
    for token in ["invented", access, refresh] {
        assert_eq!(ask(&three.portal, "/revoke", token, &[]).await.status, 200, "{token}");
    }
}

/// CVE-2026-43983: what policy no longer permits is inactive for whoever asks.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2026_43983_introspection_asks_policy() {
    let three = three().await;
    let tokens = three.tokens().await;
    let service = three.world.data.join("bundle/services/opened.toml");
    let text_of = std::fs::read_to_string(&service).unwrap();
    std::fs::write(&service, text_of.replace("providers = [\"hk-iam-smart\"]", "providers = [\"mo-one-account\"]"))
        .unwrap();
    three.world.demo.gateway.app().tend(None).await;
    for name in ["access_token", "refresh_token"] {
        assert!(!is_active(&three.portal, text(&tokens, name)).await, "{name}");
    }
}

/// Missing, repeated, unauthenticated: the standard error, and nothing happens.
#[tokio::test(flavor = "multi_thread")]
async fn requests_about_tokens_that_are_wrong() {
    let three = three().await;
    let tokens = three.tokens().await;
    let access = text(&tokens, "access_token");
    for path in ["/introspect", "/revoke"] {
        let basic = format!("Basic {}", STANDARD.encode(format!("portal:{SECRET}")));
        let send = async |body: String, basic: &str, kind: &str| {
            let url = format!("{}{path}", three.world.issuer());
            let headers = [("authorization", basic), ("content-type", kind)];
            three.portal.http.clone().send(http::Method::POST, &url, Some(body), &headers).await
        };
        let form = "application/x-www-form-urlencoded";
        for (body, basic, kind, status, error) in [
            (String::new(), basic.as_str(), form, 400, "invalid_request"),
            (format!("token={access}&token={access}"), &basic, form, 400, "invalid_request"),
            (format!("token={access}"), &basic, "application/json", 400, "invalid_request"),
            (format!("token={access}"), "Basic cG9ydGFsOndyb25n", form, 401, "invalid_client"),
            (format!("token={access}&client_secret={SECRET}"), &basic, form, 400, "invalid_request"),
            (format!("token={}", "x".repeat(9_000)), &basic, form, 400, "invalid_request"),
        ] {
            let reply = send(body, basic, kind).await;
            assert_eq!((reply.status.as_u16(), reply.json()["error"].as_str()), (status, Some(error)), "{path}");
        }
        assert_eq!(three.portal.http.clone().get(format!("{}{path}", three.world.issuer())).await.status, 405);
    }
    assert!(is_active(&three.portal, access).await, "nothing was lost");
}

/// RFC 7800, RFC 9449 section 6.2: a resource server learns which key a token is bound to.
#[tokio::test(flavor = "multi_thread")]
async fn rfc9449_6_2_introspection_names_the_key() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let pushed = client.push(false, &[]).await;
    let back = world.sign_in(&mut world.browser(), &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
    let tokens = client.redeem(&query(&back, "code").unwrap()).await.json();
    let form = [("token".to_owned(), text(&tokens, "access_token").to_owned())];
    let answer = client.send("/introspect", &form, &[]).await.json();
    assert_eq!(answer["cnf"], json!({"jkt": client.proof_key.kid()}));
    assert_eq!(answer["token_type"], "DPoP");
}
