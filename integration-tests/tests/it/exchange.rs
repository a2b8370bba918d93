//! Clients that act for themselves (RFC 6749 section 4.4), and tokens exchanged for narrower ones (RFC 8693).

use integration_tests::browser::Reply;
use integration_tests::peers::code_of;
use integration_tests::rp::{Rp, claims};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use serde_json::{Value, json};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

fn client(id: &str, grants: &[&str], more: &str) -> String {
    let grants: Vec<String> = grants.iter().map(|grant| format!("\"{grant}\"")).collect();
    let lines = format!("{}\ngrant_types = [{}]\n{more}", secret_line(), grants.join(", "));
    let document = client_document(id, &format!("https://{id}.example/cb"), "client_secret_basic", &lines);
    let by_browser = grants.iter().any(|grant| grant.contains("authorization_code"));
    let redirects = format!("redirect_uris = [\"https://{id}.example/cb\"]\n");
    if by_browser { document } else { document.replace(&redirects, "") }
}

/// A portal whose people apply somewhere, a platform for licences that the application calls, an archive behind it, and a counter
/// where staff help.
async fn world() -> World {
    let documents = [
        ("clients/portal.toml", client("portal", &["authorization_code", "refresh_token", EXCHANGE], "refresh_lifetime = \"8h\"")),
        ("clients/platform.toml", client("platform", &["client_credentials", EXCHANGE], "default_service = \"licences\"")),
        ("clients/counter.toml", client("counter", &["authorization_code", EXCHANGE], "staff_assisted = true\nplace = \"counter\"")),
        ("clients/stranger.toml", client("stranger", &["authorization_code", "client_credentials", EXCHANGE], "")),
        (
            "services/applications.toml",
            service_document("applications", &["portal", "counter"], &["hk-iam-smart"], "resource_servers = [\"platform\"]")
                .replace("[[allow]]", "[[allow]]\ncapacities = [\"own\", \"assisted\"]")
                .replacen("ground = \"consent\"", "ground = \"statutory-duty\"", 1),
        ),
        (
            "services/licences.toml",
            service_document(
                "licences",
                &["portal", "counter", "platform"],
                &["hk-iam-smart"],
                "exchange_from = [\"applications\"]\ndelegation_depth = 1\nresource_servers = [\"platform\"]\naccess_token = \"opaque\"",
            )
            .replace("[[allow]]", "[[back_end]]\nclient = \"platform\"\nscopes = [\"licence.read\", \"licence.list\"]\n[[allow]]\ncapacities = [\"own\", \"assisted\"]")
            .replacen("ground = \"consent\"", "ground = \"statutory-duty\"", 1)
            .replace("claim = \"email\"", "claim = \"phone_number\"")
            .replace("claims.email", "claims.phone_number"),
        ),
        (
            "services/closed.toml",
            service_document("closed", &["portal", "counter", "platform", "stranger"], &["hk-iam-smart"], "exchange_from = [\"licences\"]\ndelegation_depth = 2\naccess_token = \"jwt\"")
                .replace("[[allow]]", "[[allow]]\ncapacities = [\"own\", \"assisted\"]"),
        ),
    ];
    let documents: Vec<(&str, &str)> = documents.iter().map(|(path, text)| (*path, text.as_str())).collect();
    World::with(&documents).await
}

fn rp(world: &World, id: &str) -> Rp {
    world.client(id, Some(SECRET), &format!("https://{id}.example/cb"))
}

fn at(service: &str) -> String {
    format!("https://services.example/{service}")
}

async fn exchange(rp: &Rp, token: &str, service: &str, more: &[(&str, &str)]) -> Reply {
    let resource = at(service);
    let mut form = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS),
        ("resource", resource.as_str()),
    ];
    form.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    form.extend(more.iter().filter(|(_, value)| !value.is_empty()));
    rp.token(&form).await
}

/// Somebody signs in at a client for the service that people apply at; what that client gets.
async fn signed_in(world: &World, rp: &Rp, person: &str) -> Value {
    let mut browser = world.browser();
    let scope = [("scope", "openid profile email phone offline_access"), ("prompt", "consent")];
    let page = world.to_consent(&mut browser, &rp.authorize("applications", &scope), "hk-iam-smart", person).await;
    let back = world.agree(&mut browser, &page, &["email"]).await;
    let code = integration_tests::rp::query(&back, "code").unwrap_or_else(|| panic!("{back}"));
    rp.redeem(&code).await.json()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}

async fn introspect(rp: &Rp, token: &str) -> Value {
    rp.post("/introspect", &[("token", token)]).await.json()
}

/// RFC 6749 section 4.4: a back end acts for itself, with what an officer wrote down, and is nobody.
#[tokio::test(flavor = "multi_thread")]
async fn rfc6749_4_4_a_back_end_acts_for_itself() {
    let world = world().await;
    let (platform, portal) = (rp(&world, "platform"), rp(&world, "portal"));
    let ask = async |rp: &Rp, more: &[(&str, &str)]| {
        rp.token(&[&[("grant_type", "client_credentials")][..], more].concat()).await
    };
    let answer = ask(&platform, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!((text(&answer, "token_type"), text(&answer, "scope")), ("Bearer", "licence.read licence.list"));
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none());
    let token = text(&answer, "access_token");
    let told = introspect(&platform, token).await;
    assert_eq!((&told["active"], text(&told, "sub"), text(&told, "client_id")), (&json!(true), "platform", "platform"));
    assert_eq!(platform.userinfo(token).await.status, 401, "it is about nobody");
    assert_eq!(introspect(&portal, token).await, json!({"active": false}));
    let narrow = ask(&platform, &[("scope", "licence.read"), ("resource", &at("licences"))]).await.json();
    assert_eq!(text(&narrow, "scope"), "licence.read");
    let record = world.record("client_token_issued").await;
    assert_eq!((&record["client"], &record["scopes"]), (&json!("platform"), &json!(["licence.read"])), "{record}");
    assert!(record["policy_version"].as_str().is_some_and(|version| !version.is_empty()), "{record}");
    for (rp, more, error) in [
        (&platform, vec![("scope", "licence.write")], "invalid_scope"),
        (&platform, vec![("scope", "openid")], "invalid_scope"),
        (&platform, vec![("resource", "https://services.example/closed")], "invalid_target"),
        (&platform, vec![("resource", "https://services.example/nowhere")], "invalid_target"),
        (&portal, vec![("resource", "https://services.example/licences")], "unauthorized_client"),
        (&rp(&world, "stranger"), vec![("resource", "https://services.example/licences")], "invalid_target"),
        (&rp(&world, "stranger"), vec![], "invalid_target"),
    ] {
        let refused = ask(rp, &more).await;
        assert_eq!(refused.json()["error"], error, "{more:?}");
    }
    // CVE-2026-9097: what was taken from it is worth nothing any more.
    let file = world.data.join("bundle/services/licences.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"licence.read\", \"licence.list\"", "\"licence.read\"")).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(introspect(&platform, token).await, json!({"active": false}));
    assert_eq!(introspect(&platform, narrow["access_token"].as_str().unwrap()).await["active"], true);
}

/// RFC 8693 section 2: a portal calls a platform for somebody with a token that is for it, and says no more than its own.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8693_2_a_token_is_exchanged_for_a_narrower_one() {
    let world = world().await;
    let (portal, platform) = (rp(&world, "portal"), rp(&world, "platform"));
    let tokens = signed_in(&world, &portal, "hk-chan").await;
    let own = text(&tokens, "access_token");
    world.clock.advance(100);
    let answer = exchange(&portal, own, "licences", &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = answer.json();
    assert_eq!(text(&answer, "issued_token_type"), ACCESS);
    assert!(answer["expires_in"].as_u64().unwrap() <= 200, "no longer than the token it comes from: {answer}");
    assert!(answer.get("refresh_token").is_none() && answer.get("id_token").is_none());
    let token = text(&answer, "access_token");
    // Of name, e-mail address and telephone number only what both services release, by the same rule.
    let (before, after) = (portal.userinfo(own).await.json(), portal.userinfo(token).await.json());
    assert!(before["email"].is_string() && before["name"].is_string());
    assert_eq!((&after["name"], after.get("email"), after.get("phone_number")), (&before["name"], None, None));
    assert_eq!(before["sub"], after["sub"]);
    let told = introspect(&platform, token).await;
    assert_eq!((text(&told, "aud"), text(&told, "client_id")), (at("licences").as_str(), "portal"));
    assert!(told.get("act").is_none() && told["sub"] != after["sub"], "another sector knows another name");
    // Fewer scopes, fewer claims; never more.
    let fewer = exchange(&portal, own, "licences", &[("scope", "openid")]).await.json();
    let fewer = portal.userinfo(text(&fewer, "access_token")).await.json();
    assert_eq!(fewer.as_object().unwrap().len(), 1, "{fewer}");
    assert_eq!(
        exchange(&portal, own, "licences", &[("scope", "openid document")]).await.json()["error"],
        "invalid_scope"
    );
    // What ends the token it comes from ends it as well.
    let refresh = text(&tokens, "refresh_token");
    assert_eq!(portal.post("/revoke", &[("token", refresh)]).await.status, 200);
    assert_eq!(introspect(&platform, token).await, json!({"active": false}));
    assert_eq!(exchange(&portal, own, "licences", &[]).await.json()["error"], "invalid_request");
    let reports = world.demo.gateway.app().store.verify_audit().await.unwrap();
    assert!(reports.iter().all(|report| report.broken.is_none() && report.records >= 5), "{reports:?}");
}

/// CVE-2022-1245 and CVE-2026-9097: every pair of a client, a token and a target.
#[tokio::test(flavor = "multi_thread")]
async fn cve_2022_1245_the_exchange_matrix() {
    let world = world().await;
    let (portal, platform, stranger) = (rp(&world, "portal"), rp(&world, "platform"), rp(&world, "stranger"));
    let own = signed_in(&world, &portal, "hk-chan").await;
    let own = text(&own, "access_token").to_owned();
    let back_end = platform.token(&[("grant_type", "client_credentials")]).await.json();
    let error = async |rp: &Rp, token: &str, service: &str| {
        exchange(rp, token, service, &[]).await.json()["error"].as_str().map(str::to_owned)
    };
    // Another client's token: not by somebody who has nothing to do with it, and not by whoever serves what it opens.
    for other in [&stranger, &platform] {
        assert_eq!(error(other, &own, "licences").await.as_deref(), Some("invalid_request"));
    }
    // A target that does not take it, is not the client's, or is not there.
    for target in ["applications", "closed", "nowhere"] {
        assert_eq!(error(&portal, &own, target).await.as_deref(), Some("invalid_target"), "{target}");
    }
    // Tokens of nobody, unknown ones, and those of another kind.
    assert_eq!(error(&platform, text(&back_end, "access_token"), "licences").await.as_deref(), Some("invalid_request"));
    assert_eq!(error(&portal, "x", "licences").await.as_deref(), Some("invalid_request"));
    for (name, value) in [
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ("subject_token_type", ""),
        ("subject_token", ""),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
        ("actor_token", "x"),
        ("actor_token_type", ACCESS),
    ] {
        assert_eq!(
            exchange(&portal, &own, "licences", &[(name, value)]).await.json()["error"],
            "invalid_request",
            "{name}"
        );
    }
    for (name, value) in [("resource", ""), ("audience", "platform")] {
        assert_eq!(
            exchange(&portal, &own, "licences", &[(name, value)]).await.json()["error"],
            "invalid_target",
            "{name}"
        );
    }
    assert_eq!(
        error(&world.client("gd-bay-area-services", None, "x"), &own, "licences").await.as_deref(),
        Some("invalid_client")
    );
    // Over is over.
    world.clock.advance(301);
    assert_eq!(error(&portal, &own, "licences").await.as_deref(), Some("invalid_request"));
}

/// RFC 8693 section 4.1: where staff help, who helps is in the token, and on record.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8693_4_1_who_helps_is_in_the_token() {
    let world = world().await;
    let (counter, platform) = (rp(&world, "counter"), rp(&world, "platform"));
    let person = signed_in(&world, &counter, "hk-chan").await;
    let helper = signed_in(&world, &counter, "hk-wong").await;
    let (own, helps) = (text(&person, "access_token"), text(&helper, "access_token"));
    assert_eq!(exchange(&counter, own, "licences", &[]).await.json()["error"], "invalid_request", "nobody helps");
    let actor = [("actor_token", helps), ("actor_token_type", ACCESS)];
    let answer = exchange(&counter, own, "licences", &actor).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = text(&answer.json(), "access_token").to_owned();
    let subject = claims(text(&helper, "id_token"))["sub"].clone();
    let record = world.record("token_exchanged").await;
    assert_eq!((&record["helpers"], &record["outcome"]), (&json!([subject]), &json!("permit")), "{record}");
    assert_eq!((&record["from"], &record["service"]), (&json!("applications"), &json!("licences")));
    assert_eq!((&record["client"], &record["released"]), (&json!("counter"), &json!(["name"])));
    assert!(record["policy_version"].is_string() && !record.to_string().contains("CHAN"), "{record}");
    let told = introspect(&counter, &token).await;
    assert_eq!((&told["act"]["sub"], told["sub"] == subject), (&subject, false));
    assert_eq!(introspect(&platform, &token).await["active"], true);
    // A helper of somebody else's, a token that is over, the person themselves, and somebody who is helped.
    let portal = rp(&world, "portal");
    let foreign = signed_in(&world, &portal, "hk-wong").await;
    for token in [text(&foreign, "access_token"), "x", own, &token] {
        let actor = [("actor_token", token), ("actor_token_type", ACCESS)];
        assert_eq!(exchange(&counter, own, "licences", &actor).await.json()["error"], "invalid_request");
    }
    // Another sector knows the helper by another name as well.
    let seen = introspect(&platform, &token).await["act"]["sub"].clone();
    assert!(seen.is_string() && seen != subject);
    // One acts for another, and the policy says how many may.
    let file = world.data.join("bundle/services/licences.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("delegation_depth = 1", "delegation_depth = 0")).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(exchange(&counter, own, "licences", &actor).await.json()["error"], "invalid_target");
    // And what is out already ends.
    assert_eq!(introspect(&counter, &token).await, json!({"active": false}));
}

/// RFC 8693 section 4.1: further on, further helpers stand before those who helped so far, up to as many as the last service takes; and
/// everything on the way counts for as long as any of it lives.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8693_4_1_helpers_of_a_second_exchange_stand_in_front() {
    let world = world().await;
    let counter = rp(&world, "counter");
    let person = signed_in(&world, &counter, "hk-chan").await;
    let (first, second) = (signed_in(&world, &counter, "hk-wong").await, signed_in(&world, &counter, "hk-leung").await);
    let name = |of: &Value| claims(text(of, "id_token"))["sub"].clone();
    let by =
        |of: &Value| [("actor_token", text(of, "access_token").to_owned()), ("actor_token_type", ACCESS.to_owned())];
    let next = async |token: &str, service: &str, helper: &Value| {
        let by = by(helper);
        let by: Vec<(&str, &str)> = by.iter().map(|(name, value)| (*name, value.as_str())).collect();
        exchange(&counter, token, service, &by).await
    };
    let one = next(text(&person, "access_token"), "licences", &first).await.json();
    let two = next(text(&one, "access_token"), "closed", &second).await;
    assert_eq!(two.status, 200, "{}", two.body);
    let token = text(&two.json(), "access_token").to_owned();
    let act = json!({"sub": name(&second), "act": {"sub": name(&first)}});
    assert_eq!(introspect(&counter, &token).await["act"], act);
    assert_eq!(claims(&token)["act"], act, "whoever reads the token itself finds the same");
    assert_eq!(world.record("token_exchanged").await["helpers"], json!([name(&second), name(&first)]));
    // Nobody helps twice, and not the person themselves.
    for helper in [&first, &person] {
        assert_eq!(next(text(&one, "access_token"), "closed", helper).await.json()["error"], "invalid_request");
    }
    // Whoever stood before one service cannot leave it out.
    assert_eq!(next(text(&person, "access_token"), "closed", &first).await.json()["error"], "invalid_target");
    // A step in between that is not allowed any more ends what came after it.
    let file = world.data.join("bundle/services/licences.toml");
    let allowed = std::fs::read_to_string(&file).unwrap();
    let shut = allowed.replace("exchange_from = [\"applications\"]", "exchange_from = []");
    for (document, active) in [(&shut, false), (&allowed, true)] {
        std::fs::write(&file, document).unwrap();
        world.demo.gateway.app().tend(None).await;
        assert_eq!(introspect(&counter, &token).await["active"], active);
    }
    // Two is one too many from today.
    let file = world.data.join("bundle/services/closed.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("delegation_depth = 2", "delegation_depth = 1")).unwrap();
    world.demo.gateway.app().tend(None).await;
    assert_eq!(introspect(&counter, &token).await, json!({"active": false}));
}

/// What an exchanged token rests on is looked at for as long as it lives, and what scopes mean is for each service to say.
#[tokio::test(flavor = "multi_thread")]
async fn an_exchanged_token_is_good_for_no_longer_than_what_it_rests_on() {
    let world = world().await;
    let (portal, platform) = (rp(&world, "portal"), rp(&world, "platform"));
    // A scope of back ends that somebody wrote into an address is none.
    let mut browser = world.browser();
    let scope = [("scope", "openid profile licence.list offline_access"), ("prompt", "consent")];
    let page =
        world.to_consent(&mut browser, &portal.authorize("applications", &scope), "hk-iam-smart", "hk-chan").await;
    let back = world.agree(&mut browser, &page, &[]).await;
    let tokens = portal.redeem(&integration_tests::rp::query(&back, "code").unwrap()).await.json();
    assert_eq!(text(&tokens, "scope"), "openid profile offline_access");
    let own = text(&tokens, "access_token").to_owned();
    let fresh = async || text(&exchange(&portal, &own, "licences", &[]).await.json(), "access_token").to_owned();
    let token = fresh().await;
    let told = introspect(&platform, &token).await;
    assert!(!text(&told, "scope").contains("licence"), "{told}");
    let claims = portal.userinfo(&token).await.json();
    assert!(claims["name"].is_string(), "{claims}");
    // A row that rests on consent lets nothing through: that was to another matter.
    let file = |service: &str| world.data.join(format!("bundle/services/{service}.toml"));
    let rewrite = async |service: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(file(service)).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(file(service), text.replace(from, to)).unwrap();
        world.demo.gateway.app().tend(None).await;
    };
    for service in ["licences", "applications"] {
        rewrite(service, "statutory-duty", "consent").await;
        let bare = portal.userinfo(&fresh().await).await.json();
        assert_eq!(bare.as_object().unwrap().len(), 1, "{bare}");
        rewrite(service, "ground = \"consent\"", "ground = \"statutory-duty\"").await;
    }
    rewrite("licences", "exchange_from = [\"applications\"]", "exchange_from = []").await;
    assert_eq!(introspect(&platform, &token).await, json!({"active": false}));
    rewrite("licences", "exchange_from = []", "exchange_from = [\"applications\"]").await;
    assert_eq!(introspect(&platform, &token).await["active"], true);
    // The token that it comes from is given back.
    assert_eq!(portal.post("/revoke", &[("token", &own)]).await.status, 200);
    assert_eq!(introspect(&platform, &token).await, json!({"active": false}));
    assert_eq!(portal.userinfo(&token).await.status, 401);
}

/// The same by another's implementation, as the documentation has it.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8693_2_rack_oauth2_exchanges_a_token() {
    let world = world().await;
    let (portal, platform) = (rp(&world, "portal"), rp(&world, "platform"));
    let tokens = signed_in(&world, &portal, "hk-chan").await;
    let file = world.data.join("exchange.rb");
    std::fs::write(&file, code_of("portals/ruby-token-exchange.md", "ruby")).unwrap();
    let run = async |token: &str, service: &str| -> Value {
        let mut command = tokio::process::Command::new("ruby");
        command.arg(&file).env("ISSUER", world.issuer()).env("SSL_CERT_FILE", &world.demo.ca);
        command.env("CLIENT_ID", "portal").env("CLIENT_SECRET", SECRET).env("ACCESS_TOKEN", token);
        let output = command.env("OTHER_SERVICE", at(service)).output().await.expect("ruby runs");
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text} {}", String::from_utf8_lossy(&output.stderr)))
    };
    let exchanged = run(text(&tokens, "access_token"), "licences").await;
    let told = introspect(&platform, text(&exchanged, "token")).await;
    assert_eq!((text(&told, "aud"), text(&told, "client_id")), (at("licences").as_str(), "portal"), "{exchanged}");
    assert_eq!(run(text(&tokens, "access_token"), "closed").await["error"], "invalid_target");
    assert_eq!(run("nobody's", "licences").await["error"], "invalid_request");
}
