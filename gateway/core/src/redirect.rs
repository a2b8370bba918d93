//! Redirect URIs: parsed at registration, matched exactly at use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// A redirect URI that a client registered.
///
/// Absolute; `https`, or `http` to a loopback address for a native client (RFC 8252 section 7.3); no fragment
/// (RFC 6749 section 3.1.2), no user information, no dot segments, and already in the form in which a URL parser would
/// write it, so that what is compared is what a browser will open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

impl RedirectUri {
    /// The URI as registered.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for RedirectUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = |reason: &str| Err(format!("redirect URI {reason}"));
        if text.len() > 1024 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return refuse("must be at most 1024 printable ASCII characters");
        }
        let Ok(url) = Url::parse(text) else { return refuse("must be an absolute URL") };
        if url.as_str() != text {
            return refuse(&format!("must be written in its normal form: {url}"));
        }
        if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return refuse("must have no fragment and no user information");
        }
        if text.contains([';', '\\', '*']) || text.to_ascii_lowercase().contains("%2e") {
            return refuse("must not hold ';', '\\', '*' or an encoded dot");
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return refuse("must name a host"),
        };
        match url.scheme() {
            "https" => Ok(Self(text.to_owned())),
            "http" if loopback => Ok(Self(text.to_owned())),
            _ => refuse("must use https (http only to a loopback address)"),
        }
    }
}

/// A redirect URI that was compared with the client's registration: the only thing the gateway redirects a browser to.
///
/// It is made by [`Client::check_redirect`](crate::client::Client::check_redirect) and
/// [`Client::check_post_logout`](crate::client::Client::check_post_logout), and nowhere else.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CheckedRedirect(RedirectUri);

impl CheckedRedirect {
    /// The registered URI equal, byte for byte, to `requested` (RFC 9700 section 4.1.3).
    pub(crate) fn find(registered: &[RedirectUri], requested: &str) -> Option<Self> {
        registered.iter().find(|uri| uri.as_str() == requested).cloned().map(Self)
    }

    /// The same for a native app: a loopback address that was registered without a port is the same at every port
    /// (RFC 8252 section 7.3). With a port, or by the name `localhost`, it is as exact as any other.
    pub(crate) fn find_native(registered: &[RedirectUri], requested: &str) -> Option<Self> {
        let uri: RedirectUri = requested.parse().ok()?;
        let mut url = Url::parse(requested).ok()?;
        if url.scheme() != "http" || matches!(url.host(), Some(Host::Domain(_))) {
            return None;
        }
        url.set_port(None).ok()?;
        registered.iter().any(|known| known.as_str() == url.as_str()).then_some(Self(uri))
    }

    /// The URI, as registered but for a native app's port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The origin (scheme, host, port) to which pages may submit forms.
    #[must_use]
    pub fn origin(&self) -> String {
        Url::parse(self.as_str()).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// The URI with response parameters added to its query (RFC 6749 section 4.1.2).
    #[must_use]
    pub fn with_query(&self, response: &[(&str, &str)]) -> String {
        let Ok(mut url) = Url::parse(self.as_str()) else { return self.as_str().to_owned() };
        url.query_pairs_mut().extend_pairs(response);
        url.into()
    }
}

impl fmt::Debug for CheckedRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2023_6134_registration_refuses_what_a_browser_would_read_otherwise() {
        for bad in [
            "javascript:alert(1)",
            "JAVASCRIPT:alert(1)",
            "data:text/html,x",
            "http://portal.example/cb",
            "https://portal.example/cb#x",
            "https://user@portal.example/cb",
            "https://portal.example/a/../cb",
            "https://portal.example/a/%2e%2e/cb",
            "https://portal.example/a/..;/cb",
            "https://portal.example\\@evil.example/",
            "https://PORTAL.example/cb",
            "https://portal.example:443/cb",
            "https://*.example/cb",
            "//portal.example/cb",
            "/cb",
            "https://portal.example/c b",
            "https://pörtal.example/cb",
            "",
        ] {
            assert!(bad.parse::<RedirectUri>().is_err(), "{bad}");
        }
        for good in ["https://portal.example/cb", "https://portal.example/cb?a=b", "http://127.0.0.1:8080/cb"] {
            assert!(good.parse::<RedirectUri>().is_ok(), "{good}");
        }
    }

    #[test]
    fn the_response_keeps_the_registered_query() {
        let checked = CheckedRedirect("https://portal.example/cb?a=b".parse().unwrap());
        assert_eq!(checked.with_query(&[("code", "x&y")]), "https://portal.example/cb?a=b&code=x%26y");
        assert_eq!(checked.origin(), "https://portal.example");
    }
}
