//! OpenID Connect Session Management, in a real browser.

use integration_tests::peers::{chromium, screenshots};
use integration_tests::rp::query;
use integration_tests::servers::{Site, free_port};
use integration_tests::world::{SECRET, World, client_document, secret_line, service_document};
use serde_json::json;

/// A portal's page (Session Management section 3.1): it remembers what it was told with its code, and asks the frame about it.
const PAGE: &str = r##"<!doctype html><html lang="en"><title>Portal</title><main><p id="result">asking</p></main><script>
const told = new URLSearchParams(location.search).get("session_state");
if (told) localStorage.setItem("told", told);
const frame = document.createElement("iframe");
addEventListener("message", (event) => { if (event.origin === "@ISSUER@") result.textContent = event.data; });
frame.onload = () => frame.contentWindow.postMessage("@CLIENT@ " + localStorage.getItem("told"), "@ISSUER@");
frame.src = "@ISSUER@/check-session";
document.body.append(frame);
</script></html>"##;

/// OpenID Connect Session Management section 3: unchanged, changed once somebody signed out, and `error` where nothing can be known.
#[tokio::test(flavor = "multi_thread")]
async fn session_management_3_a_portal_learns_that_its_session_changed() {
    let port = free_port();
    let (home, at) = (format!("https://localhost:{port}"), format!("https://localhost:{port}/cb"));
    let lines = format!("{}\nsession_management = true", secret_line());
    let watching = client_document("watching", &at, "client_secret_basic", &lines);
    let other = client_document("other", "https://other.example/cb", "client_secret_basic", &secret_line());
    let service = service_document("matter", &["watching", "other"], &["hk-iam-smart"], "");
    let world = World::with(&[
        ("clients/watching.toml", &watching),
        ("clients/other.toml", &other),
        ("services/matter.toml", &service),
    ])
    .await;
    let page = |client: &str| PAGE.replace("@ISSUER@", world.issuer()).replace("@CLIENT@", client);
    let _site = Site::open(&world.data, port, 200, &page("watching")).await;
    let metadata = world.browser().get(format!("{}/.well-known/openid-configuration", world.issuer())).await.json();
    assert_eq!(metadata["check_session_iframe"], format!("{}/check-session", world.issuer()));
    let frame = world.browser().get(format!("{}/check-session", world.issuer())).await;
    let policy = frame.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.ends_with(&format!("frame-ancestors {home}")), "no other page may ask: {policy}");
    // Whoever did not ask for it is told nothing, and nothing is left in the browser.
    let (mut plain, rp) = (world.browser(), world.client("other", Some(SECRET), "https://other.example/cb"));
    let back = world.sign_in(&mut plain, &rp.authorize("matter", &[]), "hk-iam-smart", "hk-chan").await;
    assert_eq!(query(&back, "session_state"), None);
    assert!(!plain.cookies.contains_key("__Host-browser-state"));
    let rp = world.client("watching", Some(SECRET), &at);
    let steps = json!([
        {"goto": format!("{home}/")}, {"expectText": {"selector": "#result", "text": "error"}},
        {"goto": rp.authorize("matter", &[])}, {"click": "button[value=hk-chan]"}, {"expectUrl": "/consent"},
        {"check": "input[name=export]"}, {"click": "button[value=allow]"}, {"expectUrl": home},
        {"expectText": {"selector": "#result", "text": "unchanged"}},
        {"goto": format!("{}/account", world.issuer())}, {"click": "form[action='/account/sign-out'] button"},
        {"goto": format!("{home}/")}, {"expectText": {"selector": "#result", "text": "changed"}}, {"text": "#result"},
        {"consoleClean": true},
    ]);
    let out = screenshots("check-session");
    let results = chromium(&json!({"ca": world.demo.ca, "out": out, "runs": [{"steps": steps}]})).await;
    let said = results[0].as_array().unwrap().last().unwrap();
    assert_eq!(said["value"], "changed");
}
