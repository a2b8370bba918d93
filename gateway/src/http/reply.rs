//! Writing an answer: every header that keeps a page safe, in one place.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use gateway_core::assurance::Assurance;
use gateway_core::authorize::ReplyTo;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::redirect::CheckedRedirect;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, PRAGMA, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

/// The policy of pages: nothing from anywhere but our own style sheet and pictures, no script, no frame.
///
/// `form-action` allows any `https` address because browsers apply it to every redirect that follows a form: the client's
/// page may well send the browser on to another of its hosts, and a login must not end there.
/// A native client's loopback address is named as well.
fn policy(script: &str, target: Option<&CheckedRedirect>) -> String {
    let origin = target.map(CheckedRedirect::origin).filter(|origin| origin.starts_with("http://")).unwrap_or_default();
    format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src {script}; form-action 'self' https: {origin}; \
         base-uri 'none'; frame-ancestors 'none'"
    )
}

/// An answer with the headers that all answers have.
fn reply(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, kind);
    set(CACHE_CONTROL, "no-store");
    set(PRAGMA, "no-cache");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "same-origin");
    response
}

/// A page. `target` is where its forms may lead in the end.
pub fn page(status: StatusCode, html: String, target: Option<&CheckedRedirect>) -> Response {
    with_policy(reply(status, "text/html; charset=utf-8", html), &policy("'none'", target))
}

/// Says when to come again: not everybody at the same moment.
pub fn with_retry(mut response: Response) -> Response {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let seconds = 2 + TURN.fetch_add(1, Ordering::Relaxed) % 5;
    response.headers_mut().entry(RETRY_AFTER).or_insert_with(|| HeaderValue::from(seconds));
    response
}

/// A page for these origins to open inside theirs: it shows nothing and takes nothing.
pub fn frame(html: String, origins: &BTreeSet<String>) -> Response {
    let mut response = reply(StatusCode::OK, "text/html; charset=utf-8", html);
    response.headers_mut().remove(X_FRAME_OPTIONS);
    let origins =
        if origins.is_empty() { "'none'".to_owned() } else { Vec::from_iter(origins.iter().cloned()).join(" ") };
    with_policy(response, &format!("default-src 'none'; script-src 'self'; base-uri 'none'; frame-ancestors {origins}"))
}

/// A page that opens pages of these origins inside it, and may go on by itself then.
pub fn framing_page(html: String, target: Option<&CheckedRedirect>, origins: &[String]) -> Response {
    let policy = format!("{}; frame-src {}", policy("'self'", target), origins.join(" "));
    with_policy(reply(StatusCode::OK, "text/html; charset=utf-8", html), &policy)
}

/// A page that looks for itself whether there is news, with our own script or without.
pub fn waiting_page(html: String, target: Option<&CheckedRedirect>) -> Response {
    let policy = format!("{}; connect-src 'self'", policy("'self'", target));
    with_policy(reply(StatusCode::OK, "text/html; charset=utf-8", html), &policy)
}

/// An answer that says nothing.
pub fn empty(status: StatusCode) -> Response {
    reply(status, "text/plain; charset=utf-8", "")
}

/// The page of `response_mode=form_post`, the only one with a script: ours, which submits it.
pub fn form_post_page(html: String, target: &CheckedRedirect) -> Response {
    with_policy(reply(StatusCode::OK, "text/html; charset=utf-8", html), &policy("'self'", Some(target)))
}

fn with_policy(mut response: Response, policy: &str) -> Response {
    if let Ok(policy) = HeaderValue::from_str(policy) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A JSON answer that nobody stores.
pub fn json(status: StatusCode, value: &Value) -> Response {
    reply(status, "application/json", value.to_string())
}

/// A text for people who read it in a terminal.
pub fn text(text: String) -> Response {
    reply(StatusCode::OK, "text/plain; charset=utf-8", text)
}

/// A signed token as a document of its own.
pub fn token(kind: &'static str, token: String) -> Response {
    reply(StatusCode::OK, kind, token)
}

/// A JSON document that may be kept for a while.
pub fn public_json(value: &Value, seconds: u32) -> Response {
    public(reply(StatusCode::OK, "application/json", value.to_string()), seconds)
}

/// A file that ships with the gateway.
pub fn file(kind: &'static str, content: &'static str) -> Response {
    public(reply(StatusCode::OK, kind, content), 86_400)
}

/// A picture that may be kept for a while.
pub fn picture(kind: &'static str, bytes: Vec<u8>) -> Response {
    public(reply(StatusCode::OK, kind, bytes), 3_600)
}

fn public(mut response: Response, seconds: u32) -> Response {
    let headers = response.headers_mut();
    headers.remove(PRAGMA);
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={seconds}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}

/// Sends the browser on with a GET (RFC 9110 section 15.4.4). The target is built by us, from configuration or from a
/// checked redirect; no header of a request ever becomes one.
pub fn see_other(target: &str) -> Response {
    let mut response = reply(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", Body::empty());
    match HeaderValue::from_str(target) {
        Ok(target) => {
            response.headers_mut().insert(LOCATION, target);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response
}

/// An OAuth error as JSON (RFC 6749 section 5.2).
pub fn oauth_error(error: &OAuthError) -> Response {
    let status = match error.code {
        OAuthCode::InvalidClient => StatusCode::UNAUTHORIZED,
        OAuthCode::NotFound | OAuthCode::InvalidTrustAnchor => StatusCode::NOT_FOUND,
        OAuthCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        OAuthCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = json(status, &json!({"error": error.code.as_str(), "error_description": error.description}));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"token\""));
    }
    response
}

/// The same, in the log as well: `what` was refused.
pub fn refused(what: &str, error: &OAuthError) -> Response {
    tracing::info!(error = error.code.as_str(), "{what} refused: {}", error.description);
    oauth_error(error)
}

/// A refusal by a protected resource (RFC 6750 section 3).
pub fn bearer_error(status: StatusCode, error: Option<&OAuthError>) -> Response {
    let body = error
        .map_or(Value::Null, |error| json!({"error": error.code.as_str(), "error_description": error.description}));
    let mut response = json(status, &body);
    let challenge = error.map_or_else(
        || "Bearer realm=\"userinfo\"".to_owned(),
        |error| {
            format!(
                "Bearer realm=\"userinfo\", error=\"{}\", error_description=\"{}\"",
                error.code.as_str(),
                error.description
            )
        },
    );
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A refusal by a protected resource of a proof of possession (RFC 9449 section 7.1).
pub fn dpop_error(error: &OAuthError) -> Response {
    let mut response = bearer_error(StatusCode::UNAUTHORIZED, Some(error));
    let challenge = format!(
        "DPoP error=\"{}\", error_description=\"{}\", algs=\"ES256 EdDSA PS256\"",
        error.code.as_str(),
        error.description
    );
    if let Ok(challenge) = HeaderValue::from_str(&challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// A token whose login is no longer sure or fresh enough: what a new one has to reach (RFC 9470 section 3).
pub fn step_up_challenge(acr: Assurance, max_age: Option<Duration>) -> Response {
    let error = OAuthError::new(
        OAuthCode::InsufficientUserAuthentication,
        "the login behind this token is not sure or fresh enough any more",
    );
    let mut response = bearer_error(StatusCode::UNAUTHORIZED, Some(&error));
    let mut more = format!(", acr_values=\"{}\"", acr.acr());
    if let Some(max_age) = max_age {
        more += &format!(", max_age=\"{}\"", max_age.as_secs());
    }
    let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&format!("{text}{more}")).ok()) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The parameters of an authorization response, `state` and `iss` (RFC 9207) included.
pub fn response_params<'a>(
    reply: &'a ReplyTo,
    issuer: &'a str,
    first: &[(&'static str, &'a str)],
) -> Vec<(&'static str, &'a str)> {
    let mut params = first.to_vec();
    params.extend(reply.state.as_deref().map(|state| ("state", state)));
    params.push(("iss", issuer));
    params
}

/// Answers a client through the browser by the query of a redirect.
pub fn query_response(reply: &ReplyTo, params: &[(&str, &str)]) -> Response {
    see_other(&reply.redirect.with_query(params))
}

/// Adds a cookie: host-only, secure, out of reach of scripts (`__Host-`, RFC 6265bis section 4.1.3.2).
pub fn set_cookie(response: &mut Response, name: &str, value: &str, seconds: u64) {
    append_cookie(response, &format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}"));
}

/// Adds a cookie for a script of ours inside a portal's page. It must open nothing.
pub fn set_readable_cookie(response: &mut Response, name: &str, value: &str, seconds: u64) {
    append_cookie(response, &format!("{name}={value}; Path=/; Secure; SameSite=None; Max-Age={seconds}"));
}

fn append_cookie(response: &mut Response, cookie: &str) {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// Removes a cookie.
pub fn drop_cookie(response: &mut Response, name: &str) {
    set_cookie(response, name, "", 0);
}
