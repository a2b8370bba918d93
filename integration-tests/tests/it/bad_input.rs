//! Bad input at every endpoint for portals' back ends, parameter by parameter and header by header: the standard error, nothing
//! minted, nothing lost.

use certs::jws;
use certs::key::{Algorithm, SigningKey};
use http::Method;
use integration_tests::browser::encode;
use integration_tests::keyed::{Keyed, SERVICE};
use integration_tests::rp::query;
use integration_tests::{Reply, World};
use serde_json::{Map, Value, json};

/// Everything that an endpoint may say of a bad request (RFC 6749 section 5.2, RFC 8707, RFC 9101, RFC 9449).
const ERRORS: [&str; 17] = [
    "invalid_authorization_details",
    "unknown_user_id",
    "invalid_binding_message",
    "unauthorized_client",
    "expired_token",
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "invalid_target",
    "unsupported_grant_type",
    "unsupported_response_type",
    "invalid_request_object",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "request_not_supported",
    "request_uri_not_supported",
];

type Form = Vec<(String, String)>;

fn refused(reply: &Reply, what: &str) {
    assert!(matches!(reply.status.as_u16(), 400 | 401), "{what}: {} {}", reply.status, reply.body);
    let said = reply.json();
    let error = said["error"].as_str().unwrap_or_else(|| panic!("{what}: {}", reply.body));
    assert!(ERRORS.contains(&error) && said["error_description"].is_string(), "{what}: {}", reply.body);
    assert_eq!(said.as_object().unwrap().len(), 2, "{what}: more than an error: {}", reply.body);
    assert!(reply.headers["cache-control"].to_str().unwrap().contains("no-store"), "{what}");
}

fn encoded(form: &Form) -> String {
    encode(&form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
}

/// One endpoint, with a request that it takes.
pub(crate) struct Endpoint<'a> {
    pub(crate) client: &'a Keyed,
    pub(crate) path: &'static str,
    pub(crate) form: Form,
    /// Whether it wants a proof of possession.
    pub(crate) proven: bool,
    /// Parameters that it does without.
    pub(crate) optional: &'a [&'a str],
    /// Parameters that may hold anything.
    pub(crate) free: &'a [&'a str],
}

impl Endpoint<'_> {
    async fn send(&self, body: String, headers: &[(&str, &str)]) -> Reply {
        let url = format!("{}{}", self.client.rp.issuer, self.path);
        self.client.rp.http.clone().send(Method::POST, &url, Some(body), headers).await
    }

    /// A nonce that the next proof may answer.
    async fn nonce(&self) -> String {
        let bare = self.client.proof(&self.client.proof_claims("POST", self.path, None, None));
        let refused = self.client.send(self.path, &self.form, &[("dpop", &bare)]).await;
        refused.headers["dpop-nonce"].to_str().unwrap().to_owned()
    }

    fn proof(&self, nonce: &str) -> Option<String> {
        let claims = self.client.proof_claims("POST", self.path, Some(nonce), None);
        self.proven.then(|| self.client.proof(&claims))
    }

    /// Every parameter, those that authenticate included: missing, empty, repeated, oversized, broken, of another kind.
    pub(crate) async fn every_parameter(&self) {
        let nonce = if self.proven { self.nonce().await } else { String::new() };
        let names: Vec<String> =
            [self.form.clone(), self.client.assertion()].concat().into_iter().map(|p| p.0).collect();
        for name in names {
            let form = [self.form.clone(), self.client.assertion()].concat();
            let (mut own, others): (Form, Form) = form.into_iter().partition(|(n, _)| *n == name);
            let own = own.pop().unwrap().1;
            let optional = self.optional.contains(&name.as_str());
            let mut bad = vec![
                ("repeated", encode(&[(&name, &own), (&name, &own)])),
                ("oversized", encode(&[(&name, &"a".repeat(9_000))])),
                ("not UTF-8", format!("{name}=%ff")),
                ("control", format!("{name}=%00%1b%0d%0a")),
                ("broken", format!("{name}=%zz")),
            ];
            if !optional {
                bad.extend([("missing", String::new()), ("empty", format!("{name}="))]);
            }
            if !self.free.contains(&name.as_str()) {
                bad.extend([
                    ("another kind", encode(&[(&name, "{\"a\":[1]}")])),
                    ("invented", encode(&[(&name, "x")])),
                ]);
            }
            for (what, part) in bad {
                // Whatever was good about the last one is used up or not: each is as good as it can be but for one thing.
                let fresh = self.client.assertion();
                let others = others.iter().map(|(n, v)| {
                    let fresh = fresh.iter().find(|(f, _)| f == n);
                    fresh.cloned().unwrap_or_else(|| (n.clone(), v.clone()))
                });
                let body = format!("{}&{part}", encoded(&others.collect()));
                let proof = self.proof(&nonce);
                let headers: Vec<(&str, &str)> = proof.iter().map(|proof| ("dpop", proof.as_str())).collect();
                refused(&self.send(body, &headers).await, &format!("{} {name} {what}", self.path));
            }
        }
    }

    /// The request itself: another method, another kind of body, too much of it.
    pub(crate) async fn every_shape(&self) {
        let body = encoded(&[self.form.clone(), self.client.assertion()].concat());
        for kind in ["application/json", "text/plain", "multipart/form-data; boundary=x", ""] {
            refused(&self.send(body.clone(), &[("content-type", kind)]).await, &format!("{} {kind}", self.path));
        }
        refused(&self.send(String::new(), &[]).await, self.path);
        refused(&self.send("a=1&".repeat(65), &[]).await, self.path);
        refused(&self.send(format!("a={}", "b".repeat(70_000)), &[]).await, self.path);
        let url = format!("{}{}", self.client.rp.issuer, self.path);
        for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
            let reply = self.client.rp.http.clone().send(method.clone(), &url, None, &[]).await;
            assert_eq!(reply.status, 405, "{method} {}", self.path);
        }
    }

    /// Headers that authenticate, where an assertion does already.
    pub(crate) async fn every_header(&self) {
        let long = format!("Bearer {}", "x".repeat(9_000));
        for value in ["Basic eDp5", "Basic ///", "Bearer x", "DPoP", "Negotiate x", &long] {
            let body = encoded(&[self.form.clone(), self.client.assertion()].concat());
            let proof = if self.proven { self.proof(&self.nonce().await) } else { None };
            let headers = [("authorization", value)].into_iter().chain(proof.iter().map(|p| ("dpop", p.as_str())));
            let reply = self.send(body, &headers.collect::<Vec<_>>()).await;
            // Two ways at once are none (RFC 6749 section 2.3); another scheme is not ours to read.
            if value.starts_with("Basic") {
                refused(&reply, &format!("{} {value:.20}", self.path));
            }
        }
        if !self.proven {
            return;
        }
        let nonce = self.nonce().await;
        for (what, flawed) in flawed_proofs(self.client, self.path, &nonce) {
            let body = encoded(&[self.form.clone(), self.client.assertion()].concat());
            refused(&self.send(body, &[("dpop", &flawed)]).await, &format!("{} proof {what}", self.path));
        }
    }
}

/// A token with this header and these claims, signed by `key` whatever the header says.
fn token(key: &SigningKey, header: &Value, claims: &Map<String, Value>) -> String {
    let part = |text: String| gateway_core::ids::base64url(text.as_bytes());
    let signed = format!("{}.{}", part(header.to_string()), part(Value::Object(claims.clone()).to_string()));
    format!("{signed}.{}", gateway_core::ids::base64url(&key.sign(signed.as_bytes()).unwrap()))
}

/// RFC 9449 section 4.3, each check of it broken by itself.
fn flawed_proofs(client: &Keyed, path: &str, nonce: &str) -> Vec<(String, String)> {
    let (key, now) = (&*client.proof_key, client.now());
    let sound = || client.proof_claims("POST", path, Some(nonce), None);
    let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk()});
    let mut flawed = Vec::new();
    for (name, value) in [
        ("jti", Value::Null),
        ("jti", json!("")),
        ("jti", json!(7)),
        ("jti", json!("x".repeat(300))),
        ("htm", Value::Null),
        ("htm", json!("GET")),
        ("htm", json!(["POST"])),
        ("htu", Value::Null),
        ("htu", json!(format!("{}/userinfo", client.rp.issuer))),
        ("htu", json!(format!("https://elsewhere.example{path}"))),
        ("htu", json!(path)),
        ("iat", Value::Null),
        ("iat", json!(now - 400)),
        ("iat", json!(now + 120)),
        ("iat", json!(now.to_string())),
        ("iat", json!(-1)),
        ("exp", json!(now - 120)),
        ("nbf", json!(now + 120)),
        ("nonce", json!("invented")),
        ("nonce", json!(7)),
        ("nonce", Value::Null),
    ] {
        let mut claims = sound();
        claims.insert(name.to_owned(), value.clone());
        claims.retain(|_, value| !value.is_null());
        flawed.push((format!("{name} {value}"), token(key, &header, &claims)));
    }
    let other = SigningKey::generate(Algorithm::ES256).unwrap();
    let mut private = header.clone();
    private["jwk"]["d"] = "AAAA".into();
    for (what, header, key) in [
        ("typ", json!({"typ": "JWT", "alg": "ES256", "jwk": key.public_jwk()}), key),
        ("no typ", json!({"alg": "ES256", "jwk": key.public_jwk()}), key),
        ("no key", json!({"typ": "dpop+jwt", "alg": "ES256"}), key),
        ("private key", private, key),
        ("symmetric key", json!({"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}), key),
        ("none", json!({"typ": "dpop+jwt", "alg": "none", "jwk": key.public_jwk()}), key),
        ("RS256", json!({"typ": "dpop+jwt", "alg": "RS256", "jwk": key.public_jwk()}), key),
        ("crit", json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk(), "crit": ["x"], "x": 1}), key),
        ("another's signature", json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk()}), &other),
    ] {
        flawed.push((what.to_owned(), token(key, &header, &sound())));
    }
    let long = token(key, &header, &json!({"jti": "x".repeat(20_000)}).as_object().unwrap().clone());
    flawed.extend([("oversized".to_owned(), long[..15_000].to_owned()), ("dots".to_owned(), ".".repeat(2_000))]);
    flawed
}

pub(crate) fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_parameter_and_header_of_every_back_channel_endpoint() {
    let (world, client) = Keyed::world("fapi2", "refresh_lifetime = \"8h\"").await;
    let mut params = client.rp.params(SERVICE);
    params.retain(|(name, _)| name != "scope");
    params.extend([pair("scope", "openid profile offline_access"), pair("prompt", "consent")]);
    let plain = |path, form, optional, free| Endpoint { client: &client, path, form, proven: false, optional, free };
    // Whoever authenticates by an assertion need not name itself besides.
    let par = plain("/par", params, &["state", "nonce", "prompt", "resource"], &["state", "nonce", "resource"]);
    par.every_parameter().await;
    par.every_shape().await;
    par.every_header().await;
    let pushed = client.send("/par", &par.form, &[]).await;
    assert_eq!(pushed.status, 201, "nothing was lost: {}", pushed.body);
    let back = world.sign_in(&mut world.browser(), &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
    let code = query(&back, "code").unwrap();
    let token = Endpoint { proven: true, ..plain("/token", client.code_form(&code), &[], &[]) };
    token.every_parameter().await;
    token.every_shape().await;
    token.every_header().await;
    let tokens = client.redeem(&code).await.json();
    let (access, refresh) = (tokens["access_token"].as_str(), tokens["refresh_token"].as_str());
    let (access, refresh) = (access.unwrap_or_else(|| panic!("the code was lost: {tokens}")), refresh.unwrap());
    let form =
        vec![pair("grant_type", "refresh_token"), pair("refresh_token", refresh), pair("scope", "openid profile")];
    let renewing = Endpoint { proven: true, ..plain("/token", form, &["scope"], &[]) };
    renewing.every_parameter().await;
    renewing.every_header().await;
    let renewed = client.send_proven("/token", &renewing.form).await;
    assert!(renewed.status.is_success(), "the refresh token was lost: {}", renewed.body);
    // A hint that is wrong is only a hint, and a token that is nobody's is no error (RFC 7009 section 2.2, RFC 7662 section 2.2).
    let about = vec![pair("token", access), pair("token_type_hint", "access_token")];
    for path in ["/introspect", "/revoke"] {
        let endpoint = plain(path, about.clone(), &["token_type_hint"], &["token", "token_type_hint"]);
        endpoint.every_parameter().await;
        endpoint.every_shape().await;
    }
    assert_eq!(client.userinfo(access).await.status, 200, "the token was lost");
}

/// The bearer of a token, at the userinfo endpoint: each way in which token and proof can be wrong.
#[tokio::test(flavor = "multi_thread")]
async fn every_flaw_of_a_token_and_its_proof_at_the_userinfo_endpoint() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let pushed = client.push(false, &[]).await;
    let back = world.sign_in(&mut world.browser(), &client.authorize(&pushed), "hk-iam-smart", "hk-chan").await;
    let access =
        client.redeem(&query(&back, "code").unwrap()).await.json()["access_token"].as_str().unwrap().to_owned();
    let url = format!("{}/userinfo", world.issuer());
    let ask = async |headers: &[(&str, &str)]| world.browser().send(Method::GET, &url, None, headers).await;
    let nonce = ask(&[("authorization", &format!("DPoP {access}")), ("dpop", "a.b.c")]).await;
    assert_eq!(nonce.status, 401);
    let nonce = client.userinfo_with(&access, &client.proof_claims("GET", "/userinfo", None, Some(&access))).await;
    let nonce = nonce.headers["dpop-nonce"].to_str().unwrap().to_owned();
    let proof = |token: &str| client.proof(&client.proof_claims("GET", "/userinfo", Some(&nonce), Some(token)));
    let mut changed = access.clone();
    changed.replace_range(3..4, if &access[3..4] == "A" { "B" } else { "A" });
    let long = "x".repeat(9_000);
    for (token, with) in [
        (changed.as_str(), &changed),
        (&access[..access.len() - 1], &access),
        (&format!("{access}x"), &access),
        ("", &access),
        (" ", &access),
        (&long, &long),
    ] {
        let (authorization, proof) = (format!("DPoP {token}"), proof(with));
        let reply = ask(&[("authorization", &authorization), ("dpop", &proof)]).await;
        assert_eq!(reply.status, 401, "{token:.30}");
        assert!(reply.headers.contains_key("www-authenticate"), "{token:.30}");
        assert!(!reply.body.contains("CHAN"));
    }
    // A bound token is none to whoever only bears it, whatever they call it.
    for scheme in ["Bearer", "bearer", "Token"] {
        assert_eq!(ask(&[("authorization", &format!("{scheme} {access}"))]).await.status, 401, "{scheme}");
    }
    let authorization = format!("DPoP {access}");
    for (what, flawed) in flawed_proofs(&client, "/userinfo", &nonce) {
        let reply = ask(&[("authorization", &authorization), ("dpop", &flawed)]).await;
        assert_eq!(reply.status, 401, "{what}");
    }
    let (good, two) = (proof(&access), [("authorization", authorization.as_str()), ("authorization", "Bearer x")]);
    assert!(ask(&[two.as_slice(), &[("dpop", &good)]].concat()).await.status.is_client_error(), "two tokens");
    let good = proof(&access);
    assert_eq!(
        ask(&[("authorization", &format!("dpop {access}")), ("dpop", &good)]).await.status,
        200,
        "nothing was lost"
    );
    world.clock.advance(301);
    let reply = client.userinfo(&access).await;
    assert_eq!(reply.status, 401, "a token of five minutes ago");
}

/// An assertion, in each way that it can be wrong, where one is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn every_flaw_of_an_assertion() {
    let (world, client) = Keyed::world("fapi2", "").await;
    let (issuer, now) = (world.issuer(), client.now());
    let other = SigningKey::generate(Algorithm::ES256).unwrap();
    let sound = || client.assertion_claims();
    let mut flawed: Vec<(String, String)> = Vec::new();
    for (name, value) in [
        ("iss", json!("gd-bay-area-services")),
        ("sub", json!("gd-bay-area-services")),
        ("iss", Value::Null),
        ("sub", Value::Null),
        ("aud", json!(format!("{issuer}/token"))),
        ("aud", json!([issuer])),
        ("aud", json!("https://elsewhere.example")),
        ("exp", json!(now - 61)),
        ("exp", json!(now + 3_700)),
        ("exp", json!(now.to_string())),
        ("exp", Value::Null),
        ("iat", json!(now + 120)),
        ("nbf", json!(now + 120)),
        ("jti", Value::Null),
        ("jti", json!("x".repeat(2_000))),
    ] {
        let mut claims = sound();
        claims.insert(name.to_owned(), value.clone());
        claims.retain(|_, value| !value.is_null());
        flawed.push((format!("{name} {value}"), jws::sign(&client.key, "JWT", &claims).unwrap()));
    }
    let header = |alg: &str, typ: &str| json!({"alg": alg, "typ": typ, "kid": client.key.kid()});
    let mut with_key = header("ES256", "JWT");
    with_key["jwk"] = other.public_jwk().clone();
    for (what, header, key) in [
        ("none", header("none", "JWT"), &*client.key),
        ("HS256", header("HS256", "JWT"), &client.key),
        ("RS256", header("RS256", "JWT"), &client.key),
        ("another key", header("ES256", "JWT"), &other),
        ("a key of its own", with_key, &other),
        ("a request", header("ES256", "oauth-authz-req+jwt"), &client.key),
        ("a proof", header("ES256", "dpop+jwt"), &client.key),
        ("an access token", header("ES256", "at+jwt"), &client.key),
    ] {
        flawed.push((what.to_owned(), token(key, &header, &sound())));
    }
    flawed.extend([("words".to_owned(), "a b c".to_owned()), ("nothing".to_owned(), "..".to_owned())]);
    let kind = pair("client_assertion_type", integration_tests::keyed::ASSERTION);
    for (what, assertion) in flawed {
        for path in ["/par", "/token", "/introspect", "/revoke"] {
            let mut form = vec![kind.clone(), pair("client_assertion", &assertion), pair("token", "x")];
            form.extend(client.rp.params(SERVICE));
            form.push(pair("grant_type", "refresh_token"));
            form.push(pair("refresh_token", "x"));
            let reply = client.post(path, &form, &[]).await;
            assert_eq!(
                (reply.status.as_u16(), &reply.json()["error"]),
                (401, &json!("invalid_client")),
                "{path} {what}"
            );
        }
    }
    assert_eq!(client.push(false, &[]).await.status, 201, "nothing was lost");
    let _: &World = &world;
}
