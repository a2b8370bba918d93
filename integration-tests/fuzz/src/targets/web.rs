//! What browsers and portals send: forms, queries, addresses.

use std::sync::LazyLock;

use gateway_core::authorize::{self, Arrival, Refusal, Registry};
use gateway_core::ciba;
use gateway_core::client::Client;
use gateway_core::ids::{ClientId, ServiceId};
use gateway_core::locale::Locale;
use gateway_core::logout::{self, Hint, LogoutRequest};
use gateway_core::params::{MAX_PARAMS, MAX_VALUE, Params};
use gateway_core::redirect::RedirectUri;
use gateway_core::time::Timestamp;
use url::Url;

use super::tokens::NOW;

const CLIENT: &str = r#"
client_id = "portal"
jurisdiction = "CN-GD"
sector = "a"
redirect_uris = ["https://portal.example/cb"]
post_logout_redirect_uris = ["https://portal.example/bye"]
token_endpoint_auth_method = "none"
default_service = "sample"
[name]
zh-Hans = "甲"
zh-Hant-HK = "甲"
pt = "A"
en = "A"
[operator]
zh-Hans = "甲"
zh-Hant-HK = "甲"
pt = "A"
en = "A"
"#;

static PORTAL: LazyLock<Client> = LazyLock::new(|| Client::from_document("portal.toml", CLIENT).expect("a client"));

struct One;

impl Registry for One {
    fn client(&self, id: &ClientId) -> Option<&Client> {
        (*id == PORTAL.id).then_some(&*PORTAL)
    }
    fn service(&self, client: &Client, resource: Option<&str>) -> Option<ServiceId> {
        if resource.is_none() { client.default_service.clone() } else { None }
    }
    fn details(
        &self,
        _: &ServiceId,
        named: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<(String, String)>, gateway_core::error::OAuthError> {
        Ok(named.keys().map(|name| (name.clone(), String::new())).collect())
    }
    fn retiring_acr(&self, _: &str) -> Option<authorize::OldAcr> {
        None
    }
    fn hinted_subject(&self, _: &Client, id_token: &str) -> Option<String> {
        (id_token == "ours").then(|| "subject".to_owned())
    }
}

impl logout::Registry for One {
    fn client(&self, id: &ClientId) -> Option<&Client> {
        (*id == PORTAL.id).then_some(&*PORTAL)
    }
    fn hint(&self, id_token: &str) -> Option<Hint> {
        (id_token == "ours").then(|| Hint { client: PORTAL.id.clone(), sid: None })
    }
}

/// An authorization request leads to an address that is registered, or nowhere.
pub(super) fn authorize(params: &Params, arrival: Arrival) {
    let led_to = match authorize::parse(params, arrival, &One, Timestamp(NOW)) {
        Ok(request) => {
            assert!(request.claims.scopes.iter().any(|scope| scope == "openid"));
            assert!(request.code_challenge.is_some(), "without a secret and without PKCE");
            request.redirect().cloned().expect("a browser carries it")
        }
        Err(Refusal::Reply(to, _)) => to.redirect,
        Err(Refusal::Page(_)) => return,
    };
    assert_eq!(led_to.as_str(), "https://portal.example/cb");
}

/// Forms and queries: within their limits, the same when they are written and read again, and leading nowhere else.
pub fn form(data: &[u8]) {
    let Ok(params) = Params::parse(data) else { return };
    assert!(params.iter().count() <= MAX_PARAMS);
    assert!(params.iter().all(|(_, value)| value.len() <= MAX_VALUE && !value.chars().any(char::is_control)));
    let again = Params::parse(params.encode().as_bytes()).expect("what we wrote");
    assert!(again.iter().eq(params.iter()));
    authorize(&params, Arrival::default());
    if let Ok(asked) = LogoutRequest::parse(&params, &One) {
        let target = asked.target();
        assert!(target.is_none_or(|target| target.starts_with("https://portal.example/bye")));
    }
    for pings in [false, true] {
        let Ok(asked) = ciba::read(&params, pings) else { continue };
        assert!(!asked.lives_for.is_zero() && asked.lives_for <= ciba::LONGEST);
        assert!(asked.notification_token.is_some() == pings && asked.binding_message.chars().count() <= 64);
    }
    let asked = params.one("ui_locales").ok().flatten().unwrap_or_default();
    let _ = Locale::negotiate(asked.split(' '));
}

/// Redirect URIs: what is taken is what a browser would open, and an answer stays at its host.
pub fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(uri) = text.parse::<RedirectUri>() else { return };
    let parsed = Url::parse(uri.as_str()).expect("an address");
    assert_eq!(parsed.as_str(), text);
    assert!(parsed.fragment().is_none() && parsed.username().is_empty() && parsed.password().is_none());
    assert!(
        parsed.scheme() == "https" || matches!(parsed.host_str(), Some("localhost" | "[::1]")) || {
            let host = parsed.host_str().expect("a host");
            host.starts_with("127.")
        }
    );
    // TOML would not take it as a literal; then it cannot be registered either.
    if text.contains('\'') {
        return;
    }
    let document = CLIENT.replace("[\"https://portal.example/cb\"]", &format!("['{text}']"));
    let client = Client::from_document("portal.toml", &document).expect("a client");
    let checked = client.check_redirect(text).expect("registered");
    let answer = Url::parse(&checked.with_query(&[("code", "a&b=c#d"), ("state", "%0d%0a ")])).expect("an address");
    assert_eq!((answer.origin(), answer.path(), answer.fragment()), (parsed.origin(), parsed.path(), None));
    assert!(answer.as_str().is_ascii() && !answer.as_str().contains(['\r', '\n', ' ']));
}
