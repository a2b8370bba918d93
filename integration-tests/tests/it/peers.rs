//! Real third-party peers: a certified provider, a certified relying party, and a real browser.

use integration_tests::peers::{Peer, certificate, chromium, folder, screenshots};
use integration_tests::servers::free_port;
use integration_tests::world::{SECRET, client_document, secret_line, service_document};
use integration_tests::{Browser, World};
use serde_json::{Value, json};

const PORTAL_SERVICE: &str = "npm-service";

/// A world with a portal on npm `openid-client` and, upstream, a provider on npm `oidc-provider`.
pub(crate) struct Npm {
    pub(crate) world: World,
    pub(crate) portal: String,
    _peers: Vec<Peer>,
}

fn provider_document(issuer: &str, auth: &str, kind: Upstream) -> String {
    let texts = "{ zh-Hans = \"第三方\", zh-Hant-HK = \"第三方\", pt = \"Terceiro\", en = \"Third party\" }";
    format!(
        "id = \"npm\"\nkind = \"oidc\"\njurisdiction = \"HK\"\nreauthenticates_on_demand = true\nname = {texts}\n\
         [oidc]\nissuer = \"{issuer}\"\nclient_id = \"gateway\"\nscopes = [\"openid\", \"profile\", \"email\"]\nbackchannel_logout = {}\nfapi2 = {}\n{auth}\n\
         [[assurance]]\nacr = \"loa2\"\nidentity = 2\nauthentication = 2\n",
        kind == Upstream::LogsOut,
        kind == Upstream::Fapi,
    )
}

/// What the provider is, besides what it is to everybody.
#[derive(Clone, Copy, PartialEq)]
enum Upstream {
    Plain,
    /// People can log out there, and it says so.
    LogsOut,
    /// It is spoken to by FAPI 2.0.
    Fapi,
}

pub(crate) async fn npm(upstream_auth: &str, portal: Value, client_lines: (&str, &str)) -> Npm {
    start(upstream_auth, portal, client_lines, Upstream::Plain).await
}

/// The same with a provider at which people can log out, and which says so.
pub(crate) async fn npm_that_logs_out(portal: Value, client_lines: (&str, &str)) -> Npm {
    start("client_secret_basic", portal, client_lines, Upstream::LogsOut).await
}

async fn start(upstream_auth: &str, portal: Value, client_lines: (&str, &str), kind: Upstream) -> Npm {
    let (provider_port, portal_port) = (free_port(), free_port());
    let (issuer, portal_url) =
        (format!("https://localhost:{provider_port}"), format!("https://localhost:{portal_port}"));
    let auth = match upstream_auth {
        "private_key_jwt" => "token_endpoint_auth_method = \"private_key_jwt\"".to_owned(),
        method => format!("token_endpoint_auth_method = \"{method}\"\nclient_secret_file = \"npm.secret\""),
    };
    let redirect = format!("{portal_url}/callback");
    let client =
        client_document("npm-portal", &redirect, client_lines.0, &client_lines.1.replace("@PORTAL@", &portal_url));
    let service = service_document(PORTAL_SERVICE, &["npm-portal"], &["npm", "hk-iam-smart"], "");
    let world = World::with(&[
        ("providers/npm.toml", &provider_document(&issuer, &auth, kind)),
        ("providers/npm.secret", SECRET),
        ("clients/npm-portal.toml", &client),
        (&format!("services/{PORTAL_SERVICE}.toml"), &service),
    ])
    .await;
    let (cert, key) = certificate(&world.data, "peer");
    let tls = json!({"cert": cert, "key": key, "ca": world.demo.ca});
    let merge = |mut settings: Value| {
        settings.as_object_mut().unwrap().extend(tls.as_object().unwrap().clone());
        settings
    };
    let callback = format!("{}/callback/npm", world.issuer());
    let mut registered = json!({
        "client_id": "gateway", "redirect_uris": [callback], "token_endpoint_auth_method": upstream_auth,
        "id_token_signed_response_alg": "ES256", "response_types": ["code"], "grant_types": ["authorization_code"],
    });
    if upstream_auth == "private_key_jwt" {
        registered["jwks_uri"] = format!("{}/jwks", world.issuer()).into();
        registered["token_endpoint_auth_signing_alg"] = "ES256".into();
    } else {
        registered["client_secret"] = SECRET.into();
    }
    if kind == Upstream::LogsOut {
        registered["backchannel_logout_uri"] = format!("{}/backchannel-logout/npm", world.issuer()).into();
        registered["backchannel_logout_session_required"] = true.into();
        registered["post_logout_redirect_uris"] = json!([format!("{}/account", world.issuer())]);
    }
    if kind == Upstream::Fapi {
        registered["require_pushed_authorization_requests"] = true.into();
        registered["dpop_bound_access_tokens"] = true.into();
    }
    let people = json!([{"id": "ana", "claims": {"name": "VONG, Ana", "email": "ana@example.com"}}]);
    let provider = merge(json!({
        "port": provider_port, "issuer": issuer, "clients": [registered], "accounts": people,
        "acr_values": ["loa2"], "acr": "loa2", "amr": ["mfa"],
        "features": {"rpInitiatedLogout": {"enabled": kind == Upstream::LogsOut}}, "fapi": kind == Upstream::Fapi,
    }));
    let mut settings = merge(json!({
        "port": portal_port, "issuer": world.issuer(), "client_id": "npm-portal", "redirect_uri": redirect,
        "params": {"scope": "openid profile email", "resource": format!("https://services.example/{PORTAL_SERVICE}")},
    }));
    settings.as_object_mut().unwrap().extend(portal.as_object().unwrap().clone());
    let peers = vec![Peer::start("provider.mjs", &provider).await, Peer::start("portal.mjs", &settings).await];
    Npm { world, portal: portal_url, _peers: peers }
}

impl Npm {
    /// A whole login by a plain HTTP client; what the portal's library says at the end.
    async fn login(&self, query: &str, ticked: &[&str]) -> Value {
        self.login_in(&mut self.world.browser(), query, ticked).await
    }

    /// The same in this browser.
    pub(crate) async fn login_in(&self, browser: &mut Browser, query: &str, ticked: &[&str]) -> Value {
        let world = &self.world;
        let start = browser.get(format!("{}/login{query}", self.portal)).await.target();
        let address = world.to_provider(browser, start.as_str(), "npm").await;
        let issuer = format!("https://localhost:{}", address.port().unwrap());
        let interaction = browser.follow_within(&address, &issuer).await;
        let mut reply = browser.post(&interaction.url, &[("login", "ana")]).await;
        while !reply.target().path().starts_with("/callback/") {
            reply = browser.get(reply.target()).await;
        }
        let page = browser.follow_within(reply.target(), world.issuer()).await;
        let question = page.field("question").unwrap_or_else(|| panic!("{}", page.body));
        let mut form = vec![("question", question.as_str()), ("decision", "allow"), ("export", "yes")];
        form.extend(ticked.iter().map(|claim| ("claim", *claim)));
        let reply = browser.post(&page.url, &form).await;
        match reply.location() {
            Some(back) => browser.get(back).await.json(),
            None => {
                let fields = ["code", "state", "iss"].map(|name| (name, reply.field(name).unwrap()));
                let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                browser.post(format!("{}/callback", self.portal), &fields).await.json()
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openid_client_signs_in_through_the_gateway_at_oidc_provider() {
    let portal = json!({"auth": {"method": "client_secret_basic", "secret": SECRET}});
    let npm = npm("client_secret_basic", portal, ("client_secret_basic", &secret_line())).await;
    let result = npm.login("", &["email"]).await;
    assert_eq!(result["ok"], true, "{result:#}");
    assert_eq!(result["userinfo"]["name"], "VONG, Ana");
    assert_eq!(result["userinfo"]["email"], "ana@example.com");
    assert_eq!(result["id_token_claims"]["acr"], "urn:cbid:acr:i2a2");
    let result = npm.login("?response_mode=form_post&max_age=300", &[]).await;
    assert_eq!(result["ok"], true, "{result:#}");
    assert!(result["id_token_claims"]["auth_time"].is_u64());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_legs_by_private_key_jwt_and_another_algorithm() {
    let (private, jwks) = portal_key();
    let portal =
        json!({"auth": {"method": "private_key_jwt", "jwk": private}, "id_token_signed_response_alg": "PS256"});
    let lines = format!("{jwks}\nid_token_signed_response_alg = \"PS256\"");
    let npm = npm("private_key_jwt", portal, ("private_key_jwt", &lines)).await;
    let result = npm.login("", &[]).await;
    assert_eq!(result["ok"], true, "{result:#}");
    assert_eq!(result["id_token_header"]["alg"], "PS256");
    assert!(result["userinfo"].get("email").is_none(), "an optional claim that was not ticked stays here");
}

/// FAPI 2.0 Security Profile section 5.3.3: the gateway as a client, of a certified provider that wants pushed requests, bound tokens and
/// nonces of its own.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_5_3_3_the_gateway_as_a_client_of_oidc_provider() {
    let portal = json!({"auth": {"method": "client_secret_basic", "secret": SECRET}});
    let npm = start("private_key_jwt", portal, ("client_secret_basic", &secret_line()), Upstream::Fapi).await;
    // The first login learns the nonce, the second has it.
    for _ in 0..2 {
        let mut browser = npm.world.browser();
        let result = npm.login_in(&mut browser, "", &["email"]).await;
        assert_eq!(result["ok"], true, "{result:#}");
        assert_eq!(result["userinfo"]["name"], "VONG, Ana");
    }
    // Nothing of the request travels through the browser.
    let mut browser = npm.world.browser();
    let start = browser.get(format!("{}/login", npm.portal)).await.target();
    let address = npm.world.to_provider(&mut browser, start.as_str(), "npm").await;
    let names: Vec<String> = address.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["client_id", "request_uri"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_portal_and_a_secret_in_the_form_upstream() {
    let npm = npm("client_secret_post", json!({"auth": {"method": "none"}}), ("none", "")).await;
    let claims =
        r#"?claims={"id_token":{"name":null,"acr":{"essential":true,"values":["urn:cbid:acr:i2a2"]}}}&scope=openid"#;
    let result = npm.login(claims, &[]).await;
    assert_eq!(result["ok"], true, "{result:#}");
    assert_eq!(result["id_token_claims"]["name"], "VONG, Ana");
}

/// A signing key for a portal, and the line of its document.
fn portal_key() -> (Value, String) {
    let key = josekit::jwk::Jwk::generate_ec_key(josekit::jwk::alg::ec::EcCurve::P256).unwrap();
    let public = Value::Object(key.to_public_key().unwrap().into());
    let mut private = Value::Object(key.into());
    private["alg"] = "ES256".into();
    (private, format!("jwks = '{}'", json!({"keys": [public]})))
}

/// FAPI 2.0 by a certified client's defaults: pushed, bound by DPoP with our nonces, answered as JARM says.
#[tokio::test(flavor = "multi_thread")]
async fn openid_client_by_fapi2_with_signed_answers() {
    let (jwk, jwks) = portal_key();
    let lines = format!("profile = \"fapi2\"\n{jwks}");
    let portal =
        json!({"auth": {"method": "private_key_jwt", "jwk": jwk}, "par": true, "dpop": true, "expose_tokens": true});
    let npm = npm("client_secret_basic", portal, ("private_key_jwt", &lines)).await;
    for query in ["", "?response_mode=jwt"] {
        let result = npm.login(query, &[]).await;
        assert_eq!(result["ok"], true, "{query} {result:#}");
        assert_eq!(result["userinfo"]["name"], "VONG, Ana");
        assert_eq!(result["token_response"]["token_type"].as_str().unwrap().to_lowercase(), "dpop");
    }
}

/// Whole logins in Chromium, with and without JavaScript, on a desktop and a phone, in four languages; accessibility of
/// every page; the screenshots are kept.
#[tokio::test(flavor = "multi_thread")]
async fn whole_logins_in_a_real_browser() {
    assert!(folder().join("node_modules").is_dir(), "run `npm ci` in {}", folder().display());
    let world = World::start().await;
    let portal = |id: &str| world.demo.portals.iter().find(|portal| portal.client_id == id).unwrap().url.clone();
    let (network, hong_kong) = (portal("gd-government-service-network"), portal("hk-cross-boundary-enquiry"));
    let hk_choice = format!("a.choice[href$='{}']", "/to/hk-iam-smart");
    let desktop = json!({"width": 1100, "height": 900});
    let phone = json!({"width": 390, "height": 844});
    let look =
        |name: &str| vec![json!({"screenshot": name}), json!({"axe": name}), json!({"noHorizontalScroll": true})];
    let login = |locale: &str, kind: &str| {
        let shot = |page: &str| look(&format!("{page}-{kind}-{locale}"));
        [
            vec![json!({"goto": format!("{network}/login?service=0")})],
            shot("chooser"),
            vec![
                json!({"focusAndEnter": hk_choice}),
                json!({"focusAndEnter": "button[value=hk-chan]"}),
                json!({"expectUrl": "/consent"}),
            ],
            shot("consent"),
            vec![
                json!({"expectNo": "input:checked"}),
                // The yes to the border stands by itself: without it the page comes again and says so.
                json!({"focusAndEnter": "button[value=allow]"}),
                json!({"expectText": {"selector": "#forgotten", "text": ""}}),
            ],
            shot("consent-forgotten"),
            vec![
                json!({"check": "input[name=export]"}),
                json!({"focusAndEnter": "button[value=allow]"}),
                json!({"expectUrl": network}),
                json!({"expectText": {"text": "陳大文"}}),
                json!({"goto": format!("{}/logout", world.issuer())}),
            ],
            shot("logout"),
            vec![
                json!({"focusAndEnter": "form[action^='/logout/confirm'] button"}),
                json!({"expectUrl": "/logout/confirm"}),
                json!({"expectNo": "form[action^='/logout/confirm']"}),
            ],
            shot("signed-out"),
        ]
        .concat()
    };
    let mut runs: Vec<Value> = Vec::new();
    for (locale, javascript, viewport) in
        [("zh-CN", true, &desktop), ("zh-HK", false, &phone), ("pt-PT", false, &desktop), ("en", true, &phone)]
    {
        let kind = if viewport == &phone { "phone" } else { "desktop" };
        // Remembered consent would skip the page for the same person: each run agrees in a world of its own service.
        let mut steps = login(locale, kind);
        if !runs.is_empty() {
            steps = steps
                .into_iter()
                .map(|step| {
                    serde_json::from_str(
                        &step
                            .to_string()
                            .replace("service=0", &format!("service={}", runs.len() * 2 + 1))
                            .replace("hk-chan", ["", "hk-wong", "hk-leung", "hk-singh"][runs.len()])
                            .replace("陳大文", "Userinfo"),
                    )
                    .unwrap()
                })
                .collect();
        }
        if javascript {
            // A page with an error status is an error to the browser as well.
            steps.push(json!({"consoleClean": {"allow": ["status of 422"]}}));
        }
        runs.push(json!({"javascript": javascript, "locale": locale, "viewport": viewport, "steps": steps}));
    }
    runs.push(json!({"locale": "en", "viewport": desktop, "steps": [
        {"goto": format!("{network}/login?service=5")}, {"click": "a.choice[href$='/to/mo-one-account']"},
        {"click": "button[value=mo-cheong]"}, {"expectText": {"selector": "#code", "text": "CB-402"}},
        {"screenshot": "error-too-weak"}, {"axe": "error-too-weak"}, {"click": "a.button"}, {"screenshot": "chooser-again"},
        {"click": "form button.quiet"}, {"expectUrl": "error=unmet_authentication_requirements"},
    ]}));
    runs.push(json!({"locale": "en", "javascript": false, "viewport": phone, "steps": [
        {"goto": format!("{}/authorize?client_id=nobody", world.issuer())}, {"expectText": {"selector": "#code", "text": "CB-102"}},
        {"screenshot": "error-unknown-client"}, {"axe": "error-unknown-client"},
    ]}));
    runs.push(json!({"locale": "zh-HK", "viewport": desktop, "steps": [
        {"goto": format!("{hong_kong}/login?service=0")}, {"click": "button[value=gd-li]"}, {"screenshot": "consent-to-hong-kong"},
        {"expectText": {"text": "從廣東到香港"}}, {"check": "input[name=export]"}, {"click": "button[value=allow]"}, {"expectUrl": hong_kong},
    ]}));
    chromium(&json!({"ca": world.demo.ca, "out": screenshots("login"), "timeout": 20_000, "runs": runs})).await;
}
