//! What both kinds of simulator need of HTTP: parameters, cookies, escaping and plain responses.

use std::collections::HashMap;

use axum::body::Body;
use axum::response::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, header::LOCATION};
use serde_json::Value;
use url::form_urlencoded;

/// Everything from this server and no script at all. `form-action` is left out because browsers
/// apply it to the redirects that follow a form, and those lead to other origins here.
const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Request parameters, each of which may be given once.
pub(crate) struct Params(HashMap<String, String>);

impl Params {
    /// Reads a query string or form body; `None` when a parameter is repeated.
    pub(crate) fn parse(encoded: &str) -> Option<Self> {
        let mut values = HashMap::new();
        for (name, value) in form_urlencoded::parse(encoded.as_bytes()) {
            if values.insert(name.into_owned(), value.into_owned()).is_some() {
                return None;
            }
        }
        Some(Self(values))
    }

    /// The value of a parameter; one sent empty counts as not sent (RFC 6749, section 3.1).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value as an owned string.
    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

/// Encodes pairs for a query string or a form body.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Appends pairs to a URL that may already have a query.
pub(crate) fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}{}", encode(pairs))
}

/// Makes text safe inside HTML elements and quoted attributes.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// The value of a cookie the browser sent.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.to_owned())
}

/// A cookie name of its own for each server: browsers do not keep cookies of different ports apart.
pub(crate) fn cookie_name(kind: &str, owner: &str) -> String {
    let owner: String = owner.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("__Host-{kind}-{owner}")
}

/// Adds a host-only session cookie to a response; an empty `value` removes it from the browser.
pub(crate) fn set_cookie(response: &mut Response, name: &str, value: &str) {
    let end = if value.is_empty() { "; Max-Age=0" } else { "" };
    let line = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{end}");
    if let Ok(line) = HeaderValue::from_str(&line) {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
}

/// A response with the security headers every page of the simulators carries.
pub(crate) fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    put(header::CONTENT_TYPE, content_type);
    put(header::CACHE_CONTROL, "no-store");
    put(header::CONTENT_SECURITY_POLICY, CSP);
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// An HTML page.
pub(crate) fn html(status: StatusCode, page: String) -> Response {
    respond(status, "text/html; charset=utf-8", page)
}

/// A JSON document.
pub(crate) fn json(status: StatusCode, document: &Value) -> Response {
    respond(status, "application/json", document.to_string())
}

/// A static file that a browser may keep for an hour.
pub(crate) fn asset(content_type: &'static str, text: String) -> Response {
    let mut response = respond(StatusCode::OK, content_type, text);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    response
}

/// Sends the browser on with GET.
pub(crate) fn redirect(location: &str) -> Response {
    let mut response = respond(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", String::new());
    match HeaderValue::from_str(location) {
        Ok(value) => {
            response.headers_mut().insert(LOCATION, value);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}

/// The frame of a page: ribbon, header, content. `content` is HTML already.
pub(crate) fn page(lang: &str, title: &str, subtitle: &str, content: &str) -> String {
    let (title, subtitle) = (escape(title), escape(subtitle));
    format!(
        r#"<!DOCTYPE html>
<html lang="{lang}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · SIMULATOR</title>
<link rel="icon" href="/emblem.svg"><link rel="stylesheet" href="/style.css"></head>
<body><div class="ribbon"><span lang="en">SIMULATOR · synthetic people only</span></div>
<header><img src="/emblem.svg" alt=""><div><strong>{title}</strong><small>{subtitle}</small></div></header>
<main>
{content}
</main></body></html>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_parameters_are_refused_and_empty_ones_ignored() {
        assert!(Params::parse("a=1&a=2").is_none());
        assert!(Params::parse("a=").is_some_and(|params| params.get("a").is_none()));
    }

    #[test]
    fn markup_cannot_leave_its_element() {
        assert_eq!(escape(r#"<b a="'">&"#), "&lt;b a=&quot;&#39;&quot;&gt;&amp;");
    }
}
