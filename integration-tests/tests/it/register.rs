//! Portals that register themselves (RFC 7591, RFC 7592, OpenID Connect Dynamic Client Registration 1.0).

use std::sync::Arc;

use certs::jws;
use certs::key::{Algorithm, SigningKey};
use gateway::control::{self, Order};
use gateway_core::client::SecretDigest;
use gateway_core::ids::ClientId;
use http::Method;
use integration_tests::browser::{Browser, Reply};
use integration_tests::peers::{Peer, certificate};
use integration_tests::rp::{Rp, claims, query};
use integration_tests::servers::{Site, free_port};
use integration_tests::world::{NOTICE, World, client_document, service_document};
use serde_json::{Value, json};

pub(crate) const SERVICE: &str = "open-to-new-portals";
pub(crate) const CLOSED: &str = "open-to-checked-portals";
const INITIAL: &str = "an-initial-access-token-that-an-officer-gave";

/// A world with a document under which portals of one site register themselves.
pub(crate) async fn world(port: u16, more: &str) -> World {
    let terms = format!(
        "[registration]\ninitial_access_token_sha256 = [\"{}\"]\norigins = [\"https://localhost:{port}\"]\n\
         trial_services = [\"{SERVICE}\"]\nown_sectors = true\n{more}\n",
        SecretDigest::of(INITIAL).as_str()
    );
    let document = client_document("joining", "https://unused.example/", "none", "profile = \"legacy\"");
    let document = document.replace("redirect_uris = [\"https://unused.example/\"]\n", "").replace(NOTICE, "").replace(
        "token_endpoint_auth_method = \"none\"",
        &format!("default_service = \"{SERVICE}\"\nrefresh_lifetime = \"8h\""),
    );
    let (open, closed) = (
        service_document(SERVICE, &["joining"], &["hk-iam-smart"], ""),
        service_document(CLOSED, &["joining"], &["hk-iam-smart"], ""),
    );
    World::with(&[
        ("clients/joining.toml", &format!("{document}{terms}")),
        (&format!("services/{SERVICE}.toml"), &open),
        (&format!("services/{CLOSED}.toml"), &closed),
    ])
    .await
}

pub(crate) async fn send(world: &World, method: Method, url: &str, token: &str, body: Option<&Value>) -> Reply {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    world.browser().send(method, url, body.map(Value::to_string), &headers).await
}

pub(crate) async fn register(world: &World, metadata: &Value) -> Reply {
    register_by(&mut world.browser(), world, metadata).await
}

/// Registers by way of this client.
pub(crate) async fn register_by(http: &mut Browser, world: &World, metadata: &Value) -> Reply {
    let authorization = format!("Bearer {INITIAL}");
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    http.send(Method::POST, &format!("{}/register", world.issuer()), Some(metadata.to_string()), &headers).await
}

/// The site whose portals may register.
pub(crate) fn site(world: &World) -> String {
    let document = std::fs::read_to_string(world.data.join("bundle/clients/joining.toml")).unwrap();
    let (_, rest) = document.split_once("origins = [\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

pub(crate) async fn manage(world: &World, method: Method, registered: &Value, body: Option<&Value>) -> Reply {
    let (url, token) = (&registered["registration_client_uri"], &registered["registration_access_token"]);
    send(world, method, url.as_str().unwrap(), token.as_str().unwrap(), body).await
}

pub(crate) fn rp(world: &World, registered: &Value) -> Rp {
    let text = |name: &str| registered[name].as_str();
    let redirect = registered["redirect_uris"][0].as_str().unwrap();
    world.client(text("client_id").unwrap(), text("client_secret"), redirect)
}

/// RFC 7591 section 3 and the plan for dynamic providers: register, sign somebody in, read the registration, change it, and be gone.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7591_3_a_portal_registers_itself_and_signs_people_in() {
    let port = free_port();
    let world = world(port, "").await;
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    assert_eq!(metadata["registration_endpoint"], format!("{}/register", world.issuer()));
    let at = format!("https://localhost:{port}/cb?from=gateway");
    let reply = register(
        &world,
        &json!({
            "redirect_uris": [at], "client_name": "New portal", "contacts": ["it@portal.example"],
            "grant_types": ["authorization_code", "refresh_token"],
        }),
    )
    .await;
    assert_eq!(
        (reply.status.as_u16(), reply.headers["cache-control"].to_str().unwrap()),
        (201, "no-store"),
        "{}",
        reply.body
    );
    let registered = reply.json();
    assert_eq!(registered["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(registered["id_token_signed_response_alg"], "RS256");
    assert_eq!((&registered["client_secret_expires_at"], &registered["live"]), (&json!(0), &json!(false)));
    assert!(registered["client_id_issued_at"].as_u64().unwrap() + 60 > world.now().0);
    let rp = rp(&world, &registered);
    // Old libraries send no code_challenge: the document says legacy, and so it is for them.
    let plain = [
        ("code_challenge", ""),
        ("code_challenge_method", ""),
        ("resource", ""),
        ("scope", "openid profile offline_access"),
    ];
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &rp.authorize(SERVICE, &plain), "hk-iam-smart", "hk-chan").await;
    assert!(page.body.contains("New portal"), "{}", page.body);
    let back = world.agree(&mut browser, &page, &[]).await;
    let code = query(&back, "code").unwrap_or_else(|| panic!("{back}"));
    assert_eq!(query(&back, "from").as_deref(), Some("gateway"));
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", at.as_str())];
    let tokens = rp.token(&form).await;
    assert_eq!(tokens.status, 200, "{}", tokens.body);
    let tokens = tokens.json();
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["aud"], registered["client_id"]);
    let access = tokens["access_token"].as_str().unwrap();
    assert!(rp.userinfo(access).await.json()["name"].is_string());
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let refreshed = rp.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.body);
    // RFC 7592 section 2.1.
    let read = manage(&world, Method::GET, &registered, None).await.json();
    assert_eq!((&read["client_name"], &read["contacts"]), (&json!("New portal"), &json!(["it@portal.example"])));
    assert_eq!(read["registration_access_token"], registered["registration_access_token"]);
    assert!(read.get("client_secret").is_none(), "nobody knows it any more but the client");
    // RFC 7592 section 2.2: what is not said again is gone.
    let update = json!({"client_id": registered["client_id"], "redirect_uris": [at], "client_name": "Other name"});
    let updated = manage(&world, Method::PUT, &registered, Some(&update)).await;
    assert_eq!(updated.status, 200, "{}", updated.body);
    let read = manage(&world, Method::GET, &registered, None).await.json();
    assert_eq!((&read["client_name"], read.get("contacts")), (&json!("Other name"), None));
    let refresh = refreshed.json()["refresh_token"].as_str().unwrap().to_owned();
    let refused = rp.token(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(refused.json()["error"], "unauthorized_client", "it did not register for refreshing again");
    // RFC 7592 section 2.3: whatever it had is worth nothing.
    assert_eq!(rp.userinfo(access).await.status, 200);
    assert_eq!(manage(&world, Method::DELETE, &registered, None).await.status, 204);
    assert_eq!(rp.userinfo(access).await.status, 401);
    assert_eq!(rp.token(&form).await.json()["error"], "invalid_client");
    assert_eq!(world.browser().get(rp.authorize(SERVICE, &[])).await.failure(), Some("CB-102"));
    assert_eq!(manage(&world, Method::GET, &registered, None).await.status, 401);
}

/// RFC 7591 section 3 and RFC 7592 section 2: every token that is not the right one is answered alike.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7592_2_nobody_registers_or_looks_without_the_right_token() {
    let port = free_port();
    let world = world(port, "until = \"2090-01-01\"").await;
    let sound = json!({"redirect_uris": [format!("https://localhost:{port}/cb")]});
    let url = format!("{}/register", world.issuer());
    let (one, other) = (register(&world, &sound).await.json(), register(&world, &sound).await.json());
    assert_ne!(one["client_id"], other["client_id"]);
    for token in ["", "x", INITIAL.to_uppercase().as_str(), one["registration_access_token"].as_str().unwrap()] {
        let refused = send(&world, Method::POST, &url, token, Some(&sound)).await;
        assert_eq!(refused.status, 401, "{token}");
        assert!(refused.headers["www-authenticate"].to_str().unwrap().contains("invalid_token"));
    }
    let headers = [("content-type", "application/json")];
    let none = world.browser().send(Method::POST, &url, Some(sound.to_string()), &headers).await;
    assert_eq!(none.status, 401);
    let at = one["registration_client_uri"].as_str().unwrap();
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for token in [INITIAL, other["registration_access_token"].as_str().unwrap(), ""] {
            let body = (method == Method::PUT).then(|| json!({"client_id": one["client_id"]}));
            assert_eq!(send(&world, method.clone(), at, token, body.as_ref()).await.status, 401, "{method} {token}");
        }
    }
    for gone in ["/register/joining~AAAAAAAAAAAAAAAAAAAAAA", "/register/joining", "/register/gd-bay-area-services"] {
        let token = one["registration_access_token"].as_str().unwrap();
        assert_eq!(send(&world, Method::GET, &format!("{}{gone}", world.issuer()), token, None).await.status, 401);
    }
    // The document itself is nobody that could sign in.
    let template = world.client("joining", None, "https://unused.example/");
    assert_eq!(world.browser().get(template.authorize(SERVICE, &[])).await.failure(), Some("CB-102"));
}

/// RFC 7592 section 2.2: what the server says of a client is not the client's to say, and a secret is not chosen.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7592_2_2_an_update_says_no_more_than_it_may() {
    let port = free_port();
    let world = world(port, "most = 2").await;
    let at = format!("https://localhost:{port}/cb");
    let registered = register(&world, &json!({"redirect_uris": [at]})).await.json();
    let id = &registered["client_id"];
    for wrong in [
        json!({"redirect_uris": [at]}),
        json!({"redirect_uris": [at], "client_id": "joining"}),
        json!({"redirect_uris": [at], "client_id": id, "client_secret": "chosen"}),
        json!({"redirect_uris": [at], "client_id": id, "client_secret": 1}),
        json!({"redirect_uris": [at], "client_id": id, "registration_access_token": "chosen"}),
        json!({"redirect_uris": [at], "client_id": id, "client_id_issued_at": 1}),
        json!({"redirect_uris": [], "client_id": id}),
        json!([]),
    ] {
        let refused = manage(&world, Method::PUT, &registered, Some(&wrong)).await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
    let own = json!({"redirect_uris": [at], "client_id": id, "client_secret": registered["client_secret"]});
    let kept = manage(&world, Method::PUT, &registered, Some(&own)).await;
    assert_eq!((kept.status.as_u16(), kept.json().get("client_secret")), (200, None), "{}", kept.body);
    // From a secret to a key, and back to another secret.
    let key = SigningKey::generate(Algorithm::ES256).unwrap();
    let by_key = json!({"redirect_uris": [at], "client_id": id, "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key.public_jwk()]}});
    assert_eq!(manage(&world, Method::PUT, &registered, Some(&by_key)).await.status, 200);
    let code = world.code(&rp(&world, &registered), SERVICE, "hk-iam-smart", "hk-chan").await;
    assert_eq!(rp(&world, &registered).redeem(&code).await.json()["error"], "invalid_client");
    let back = json!({"redirect_uris": [at], "client_id": id});
    let secret = manage(&world, Method::PUT, &registered, Some(&back)).await.json()["client_secret"].clone();
    assert!(secret.is_string() && secret != registered["client_secret"]);
    // As many as the document says, and no more.
    assert_eq!(register(&world, &json!({"redirect_uris": [at]})).await.status, 201);
    assert_eq!(register(&world, &json!({"redirect_uris": [at]})).await.json()["error"], "access_denied");
    for malformed in ["", "[]", "{", "null", "\"x\""] {
        let url = format!("{}/register", world.issuer());
        let bearer = format!("Bearer {INITIAL}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let refused = world.browser().send(Method::POST, &url, Some(malformed.into()), &headers).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (400, &json!("invalid_client_metadata")));
    }
}

/// A portal that did not pass its check list has what its document opens to it before, at every door.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_portal_has_no_more_than_its_document_opens() {
    let port = free_port();
    let world = world(port, "").await;
    let registered = register(&world, &json!({"redirect_uris": [format!("https://localhost:{port}/cb")]})).await.json();
    let rp = rp(&world, &registered);
    let refused = world.browser().get(rp.authorize(CLOSED, &[])).await.target();
    assert_eq!(query(&refused, "error").as_deref(), Some("invalid_target"), "{refused}");
    let code = world.code(&rp, SERVICE, "hk-iam-smart", "hk-chan").await;
    let tokens = rp.redeem(&code).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(rp.userinfo(access).await.status, 200);
    // An officer takes the service from them: what is out is worth nothing.
    let file = world.data.join("bundle/clients/joining.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace(&format!("trial_services = [\"{SERVICE}\"]"), &format!("trial_services = [\"{CLOSED}\"]")),
    )
    .unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(rp.userinfo(access).await.status, 401);
    let refused = world.browser().get(rp.authorize(SERVICE, &[])).await.target();
    assert_eq!(query(&refused, "error").as_deref(), Some("invalid_target"));
    // And the site: then nobody of it is a client.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&format!("https://localhost:{port}"), "https://elsewhere.example")).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(world.browser().get(rp.authorize(SERVICE, &[])).await.failure(), Some("CB-102"));
}

/// The roll outlives the process, and an update of one client leaves the others as they were.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_outlive_a_restart() {
    let port = free_port();
    let world = world(port, "").await;
    let at = |path: &str| json!({"redirect_uris": [format!("https://localhost:{port}/{path}")]});
    let mut all = Vec::new();
    for path in ["a", "b", "c"] {
        all.push(register(&world, &at(path)).await.json());
    }
    let mut update = at("b2");
    update["client_id"] = all[1]["client_id"].clone();
    for _ in 0..3 {
        assert_eq!(manage(&world, Method::PUT, &all[1], Some(&update)).await.status, 200);
    }
    assert_eq!(manage(&world, Method::DELETE, &all[2], None).await.status, 204);
    let world = world.restarted().await;
    let redirects = async |registered: &Value| manage(&world, Method::GET, registered, None).await;
    assert_eq!(redirects(&all[0]).await.json()["redirect_uris"], at("a")["redirect_uris"]);
    assert_eq!(redirects(&all[1]).await.json()["redirect_uris"], at("b2")["redirect_uris"]);
    assert_eq!(redirects(&all[2]).await.status, 401);
    assert_eq!(register(&world, &at("d")).await.status, 201);
    let code = world.code(&rp(&world, &all[0]), SERVICE, "hk-iam-smart", "hk-chan").await;
    assert_eq!(rp(&world, &all[0]).redeem(&code).await.status, 200);
}

/// Many at once: each is registered, none twice, none lost.
#[tokio::test(flavor = "multi_thread")]
async fn registrations_at_the_same_moment() {
    let port = free_port();
    let world = Arc::new(world(port, "most = 8").await);
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let reply =
                    register(&world, &json!({"redirect_uris": [format!("https://localhost:{port}/{n}")]})).await;
                (reply.status.as_u16(), reply.json())
            })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        let (status, registered) = task.await.unwrap();
        if status == 201 {
            assert_eq!(manage(&world, Method::GET, &registered, None).await.status, 200);
            ids.push(registered["client_id"].to_string());
        } else {
            assert!(["access_denied", "temporarily_unavailable"].contains(&registered["error"].as_str().unwrap()));
        }
    }
    ids.sort();
    ids.dedup();
    assert!(ids.len() <= 8 && ids.len() >= 4, "{}", ids.len());
}

/// OpenID Connect Dynamic Client Registration section 5 and CVE-2026-4366: a sector lists every redirect URI, or nobody registers for it.
#[tokio::test(flavor = "multi_thread")]
async fn oidc_registration_5_a_sector_is_looked_at_before() {
    let port = free_port();
    let world = world(port, "").await;
    let (cb, list) = (format!("https://localhost:{port}/cb"), format!("https://localhost:{port}/redirect_uris.json"));
    let metadata = json!({"redirect_uris": [cb], "subject_type": "pairwise", "sector_identifier_uri": list});
    let refused = register(&world, &metadata).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]), (400, &json!("invalid_client_metadata")));
    let site = Site::open(&world.data, port, 200, "[\"https://localhost/other\"]").await;
    world.clock.advance(3);
    assert_eq!(register(&world, &metadata).await.json()["error"], "invalid_client_metadata");
    site.answers(200, Vec::new(), &json!([cb, "https://localhost/other"]).to_string());
    world.clock.advance(61);
    let registered = register(&world, &metadata).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    let code = world.code(&rp(&world, &registered.json()), SERVICE, "hk-iam-smart", "hk-chan").await;
    assert_eq!(rp(&world, &registered.json()).redeem(&code).await.status, 200);
}

/// RFC 7591 section 2.3: a statement counts for more than what stands beside it, and only if somebody known made it.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7591_2_3_software_statements() {
    let (port, key) = (free_port(), SigningKey::generate(Algorithm::ES256).unwrap());
    let jwks = json!({"keys": [key.public_jwk()]});
    let lines = format!(
        "software_statement_issuer = \"https://vendors.example\"\nsoftware_statement_jwks = '{jwks}'\nsoftware_statement_required = true"
    );
    let world = world(port, &lines).await;
    let at = format!("https://localhost:{port}/cb");
    let statement = |key: &SigningKey, more: Value| {
        let mut claims = json!({"iss": "https://vendors.example", "client_name": "Vouched", "software_id": "s-1"});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        jws::sign(key, "JWT", claims.as_object().unwrap()).unwrap()
    };
    let with = |statement: Value| json!({"redirect_uris": [at], "client_name": "Own", "client_name#en": "Own too", "software_statement": statement});
    let good = register(&world, &with(statement(&key, json!({})).into())).await;
    assert_eq!((good.status.as_u16(), &good.json()["client_name"]), (201, &json!("Vouched")), "{}", good.body);
    assert!(good.json()["software_statement"].is_string());
    assert!(good.json().get("client_name#en").is_none(), "a name that is vouched for is the name in every language");
    // Whose statement is not believed any more is a client no more.
    let registered = rp(&world, &good.json());
    assert_eq!(world.browser().get(registered.authorize(SERVICE, &[])).await.status, 303);
    let stranger = SigningKey::generate(Algorithm::ES256).unwrap();
    let over = json!({"exp": world.now().0 - 3_600});
    for (statement, code) in [
        (statement(&stranger, json!({})).into(), "invalid_software_statement"),
        (statement(&key, over).into(), "invalid_software_statement"),
        (statement(&key, json!({"iss": "https://other.example"})).into(), "unapproved_software_statement"),
        (statement(&key, json!({"redirect_uris": ["https://evil.example/"]})).into(), "invalid_redirect_uri"),
        (json!(1), "invalid_software_statement"),
        (json!("x"), "invalid_software_statement"),
        (Value::Null, "invalid_software_statement"),
    ] {
        let refused = register(&world, &with(statement)).await;
        assert_eq!((refused.status.as_u16(), refused.json()["error"].as_str()), (400, Some(code)), "{}", refused.body);
    }
    let file = world.data.join("bundle/clients/joining.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("https://vendors.example", "https://others.example")).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(world.browser().get(registered.authorize(SERVICE, &[])).await.failure(), Some("CB-102"));
}

/// RFC 7591 section 2: the portal's picture and pages are shown, and the picture comes from us; a drawing that could hold a script does
/// not, and neither does what lies anywhere else.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7591_2_a_portals_picture_and_pages() {
    let port = free_port();
    let world = world(port, "").await;
    let site = format!("https://localhost:{port}");
    let registered = register(
        &world,
        &json!({
            "redirect_uris": [format!("{site}/cb")], "logo_uri": format!("{site}/logo.png"),
            "policy_uri": format!("{site}/policy"), "tos_uri": format!("{site}/terms?a=1&b=\"2\""),
        }),
    )
    .await
    .json();
    let rp = rp(&world, &registered);
    let mut browser = world.browser();
    let page = world.to_consent(&mut browser, &rp.authorize(SERVICE, &[]), "hk-iam-smart", "hk-chan").await;
    let logo = format!("/client/{}/logo", registered["client_id"].as_str().unwrap());
    for shown in [&logo, &format!("{site}/policy"), &format!("{site}/terms?a=1&#38;b=%222%22")] {
        assert!(page.body.contains(shown.as_str()), "{shown}: {}", page.body);
    }
    let get = async || world.browser().get(format!("{}{logo}", world.issuer())).await;
    assert_eq!(get().await.status, 404);
    world.clock.advance(3);
    let host =
        Site::open(&world.data, port, 200, "<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>").await;
    assert_eq!(get().await.status, 404);
    host.answers(200, Vec::new(), "GIF89a");
    world.clock.advance(3);
    let picture = get().await;
    assert_eq!((picture.status.as_u16(), picture.headers["content-type"].to_str().unwrap()), (200, "image/gif"));
    assert_eq!(picture.headers["x-content-type-options"], "nosniff");
    let unknown = world.browser().get(format!("{}/client/gd-bay-area-services/logo", world.issuer())).await;
    assert_eq!(unknown.status, 404);
}

/// RFC 7591 with a certified client's own defaults: it registers itself and signs somebody in.
#[tokio::test(flavor = "multi_thread")]
async fn rfc7591_3_openid_client_registers_itself() {
    let port = free_port();
    let world = world(port, "").await;
    let (cert, key) = certificate(&world.data, "self-registered");
    let settings = json!({
        "port": port, "cert": cert, "key": key, "ca": world.demo.ca, "issuer": world.issuer(),
        "registration": {"initial_access_token": INITIAL, "metadata": {
            "client_name": "Registers itself", "token_endpoint_auth_method": "client_secret_post",
        }},
        "params": {"scope": "openid profile email", "resource": format!("https://services.example/{SERVICE}")},
    });
    let _portal = Peer::start("portal.mjs", &settings).await;
    let mut browser = world.browser();
    let start = browser.get(format!("https://localhost:{port}/login")).await.target();
    let back = world.sign_in(&mut browser, start.as_str(), "hk-iam-smart", "hk-chan").await;
    let result = browser.get(back).await.json();
    assert_eq!(result["ok"], true, "{result:#}");
    assert_eq!(result["id_token_header"]["alg"], "RS256");
    assert_eq!(result["userinfo"]["name"], "CHAN, Tai Man");
}

/// Somebody who runs the gateway takes a portal off the roll, and it is on record who did.
#[tokio::test(flavor = "multi_thread")]
async fn an_officer_takes_a_portal_off_the_roll() {
    let port = free_port();
    let world = world(port, "").await;
    let registered = register(&world, &json!({"redirect_uris": [format!("https://localhost:{port}/cb")]})).await.json();
    let socket = world.data.join("control.sock");
    let order = async |order: Order| control::order(&socket, &order).await.expect("a gateway runs");
    let listed = order(Order::Portals).await.unwrap();
    assert_eq!((&listed[0]["client"], &listed[0]["live"]), (&registered["client_id"], &json!(false)), "{listed}");
    let client: ClientId = registered["client_id"].as_str().unwrap().parse().unwrap();
    let remove = || Order::RemovePortal { client: client.clone(), by: "officer".into() };
    assert!(order(remove()).await.is_ok());
    assert!(order(remove()).await.is_err(), "it is gone");
    assert_eq!(order(Order::Portals).await.unwrap(), json!([]));
    let record = world.record("registration").await;
    assert_eq!((&record["change"], &record["by"]), (&json!("removed"), &json!("officer")), "{record}");
    assert_eq!(record["client"], registered["client_id"]);
    assert_eq!(manage(&world, Method::GET, &registered, None).await.status, 401);
    assert_eq!(world.browser().get(rp(&world, &registered).authorize(SERVICE, &[])).await.failure(), Some("CB-102"));
}
