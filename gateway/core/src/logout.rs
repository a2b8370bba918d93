//! The logout request (OpenID Connect RP-Initiated Logout 1.0 section 2), and the logout token (Back-Channel Logout 1.0
//! section 2.4).

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::digest::keyed;
use crate::error::Failure;
use crate::ids::{ClientId, base64url};
use crate::locale::Locale;
use crate::params::Params;
use crate::redirect::CheckedRedirect;
use crate::time::Timestamp;

/// How long a logout token may be accepted (Back-Channel Logout section 4: at most two minutes).
pub const LOGOUT_TOKEN_LIFETIME: Duration = Duration::from_secs(120);

/// What an ID token of ours says of whom it was issued to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The client.
    pub client: ClientId,
    /// The session, as that client knows it.
    pub sid: Option<String>,
}

/// What the checks look up.
pub trait Registry {
    /// The client with this identifier.
    fn client(&self, id: &ClientId) -> Option<&Client>;
    /// What an ID token says, however old it is; nothing when it is not one of ours.
    fn hint(&self, id_token: &str) -> Option<Hint>;
}

/// A checked request to end a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogoutRequest {
    /// Who asks, where that is known.
    pub client: Option<ClientId>,
    /// The session that it means, as it knows it.
    pub sid: Option<String>,
    /// Where the browser goes afterwards.
    pub redirect: Option<CheckedRedirect>,
    /// The client's own value, echoed.
    pub state: Option<String>,
    /// The first language of `ui_locales` that we speak.
    pub locale: Option<Locale>,
}

impl LogoutRequest {
    /// Reads and checks a request. Nothing in it redirects before the address is found registered.
    ///
    /// # Errors
    /// The page to show.
    pub fn parse(params: &Params, registry: &dyn Registry) -> Result<Self, Failure> {
        if params.repeated().is_some() {
            return Err(Failure::MalformedRequest);
        }
        let one = |name| params.one(name).map_err(|_| Failure::MalformedRequest);
        let hint = match one("id_token_hint")? {
            None => None,
            Some(token) => Some(registry.hint(token).ok_or(Failure::InvalidRequest)?),
        };
        let named = match one("client_id")? {
            None => None,
            Some(id) => Some(id.parse::<ClientId>().map_err(|_| Failure::UnknownClient)?),
        };
        // Section 2: a client_id beside the hint has to be the one that the token was issued to.
        if let (Some(hint), Some(named)) = (&hint, &named)
            && hint.client != *named
        {
            return Err(Failure::InvalidRequest);
        }
        let id = hint.as_ref().map(|hint| hint.client.clone()).or(named);
        let client = match &id {
            None => None,
            Some(id) => Some(registry.client(id).ok_or(Failure::UnknownClient)?),
        };
        let redirect = match one("post_logout_redirect_uri")? {
            None => None,
            Some(uri) => {
                // Whose address it would be has to be said.
                let client = client.ok_or(Failure::UnknownClient)?;
                Some(client.check_post_logout(uri).ok_or(Failure::RedirectMismatch)?)
            }
        };
        let state = one("state")?;
        if state.is_some_and(|state| state.len() > 512) {
            return Err(Failure::InvalidRequest);
        }
        Ok(Self {
            client: client.map(|client| client.id.clone()),
            sid: hint.and_then(|hint| hint.sid),
            redirect,
            state: state.map(str::to_owned),
            locale: Locale::negotiate(one("ui_locales")?.unwrap_or_default().split(' ')),
        })
    }

    /// Where the browser goes when all is done, `state` included.
    #[must_use]
    pub fn target(&self) -> Option<String> {
        let redirect = self.redirect.as_ref()?;
        Some(match self.state.as_deref() {
            Some(state) => redirect.with_query(&[("state", state)]),
            None => redirect.as_str().to_owned(),
        })
    }
}

/// The name under which one client knows a session: another client's is another, so that two cannot join theirs.
#[must_use]
pub fn sid(key: &[u8], session: &str, client: &ClientId) -> String {
    base64url(&keyed(key, &[b"sid", session.as_bytes(), client.as_str().as_bytes()]))
}

/// The claims of a logout token (Back-Channel Logout section 2.4). `unique` is a fresh random text.
#[must_use]
pub fn token(
    issuer: &str,
    client: &ClientId,
    subject: &str,
    sid: &str,
    unique: &str,
    now: Timestamp,
) -> Map<String, Value> {
    let claims = json!({
        "iss": issuer,
        "aud": client.on_the_wire(),
        "sub": subject,
        "sid": sid,
        "iat": now.0,
        "exp": now.plus(LOGOUT_TOKEN_LIFETIME).0,
        "jti": unique,
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    claims.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::SOUND;

    struct One(Client);

    impl Registry for One {
        fn client(&self, id: &ClientId) -> Option<&Client> {
            (*id == self.0.id).then_some(&self.0)
        }
        fn hint(&self, id_token: &str) -> Option<Hint> {
            (id_token == "ours").then(|| Hint { client: self.0.id.clone(), sid: Some("s".to_owned()) })
        }
    }

    fn parse(query: &str) -> Result<LogoutRequest, Failure> {
        let text =
            SOUND.replacen("jurisdiction", "post_logout_redirect_uris = [\"https://a.example/bye\"]\njurisdiction", 1);
        let registry = One(Client::from_document("a", &text).unwrap());
        LogoutRequest::parse(&Params::parse(query.as_bytes()).unwrap(), &registry)
    }

    /// OpenID Connect RP-Initiated Logout sections 2 and 3.
    #[test]
    fn rp_initiated_logout_2_only_registered_addresses() {
        let asked = parse("id_token_hint=ours&post_logout_redirect_uri=https://a.example/bye&state=x").unwrap();
        assert_eq!(asked.target().as_deref(), Some("https://a.example/bye?state=x"));
        assert_eq!(asked.sid.as_deref(), Some("s"));
        assert!(parse("client_id=portal-a&post_logout_redirect_uri=https://a.example/bye").is_ok());
        assert_eq!(parse("").unwrap().target(), None);
        for (query, failure) in [
            ("post_logout_redirect_uri=https://a.example/bye", Failure::UnknownClient),
            ("id_token_hint=ours&post_logout_redirect_uri=https://a.example/", Failure::RedirectMismatch),
            ("id_token_hint=ours&post_logout_redirect_uri=https://portal.example/cb", Failure::RedirectMismatch),
            ("id_token_hint=forged", Failure::InvalidRequest),
            ("id_token_hint=ours&client_id=another", Failure::InvalidRequest),
            ("client_id=nobody", Failure::UnknownClient),
            ("state=a&state=b", Failure::MalformedRequest),
        ] {
            assert_eq!(parse(query).unwrap_err(), failure, "{query}");
        }
    }

    /// Back-Channel Logout section 2.4: what is there, and that `nonce` is not.
    #[test]
    fn back_channel_logout_2_4_the_token() {
        let client: ClientId = "a".parse().unwrap();
        let token = token("https://gw", &client, "sub", "sid", "one", Timestamp(100));
        assert!(
            ["iss", "aud", "sub", "sid", "iat", "exp", "jti", "events"].iter().all(|name| token.contains_key(*name))
        );
        assert!(!token.contains_key("nonce"));
        assert_eq!(token["exp"], 220);
    }

    #[test]
    fn two_clients_know_a_session_by_two_names() {
        let (a, b): (ClientId, ClientId) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(sid(b"k", "s", &a), sid(b"k", "s", &a));
        assert_ne!(sid(b"k", "s", &a), sid(b"k", "s", &b));
        assert_ne!(sid(b"k", "s", &a), sid(b"k", "t", &a));
    }

    /// Whoever joined by a federation reads its own name, and no document's.
    #[test]
    fn a_logout_token_is_for_the_client_as_it_calls_itself() {
        let client: ClientId = "document~https://portal.example".parse().unwrap();
        let claims = token("https://gateway.example", &client, "sub", "sid", "unique", Timestamp(1));
        assert_eq!(claims["aud"], "https://portal.example");
    }
}
