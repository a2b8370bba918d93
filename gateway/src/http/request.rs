//! Reading a request: limits, forms, cookies, the language of the reader.

use axum::body::Body;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::locale::Locale;
use gateway_core::params::{Malformed, Params};
use http::header::{ACCEPT_LANGUAGE, CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{Request, Version};
use http_body_util::BodyExt as _;

use super::listener::PeerAddress;

/// Why a form cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// The content type is not `application/x-www-form-urlencoded`.
    #[error("the content type must be application/x-www-form-urlencoded")]
    ContentType,
    /// Larger than [`super::body::MAX_BODY`].
    #[error("the body is too large")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the body did not arrive in time")]
    Slow,
    /// The connection broke in its middle.
    #[error("the body is not whole")]
    Broken,
    /// Its parameters break a rule.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl From<FormError> for OAuthError {
    fn from(error: FormError) -> Self {
        Self::new(OAuthCode::InvalidRequest, error.to_string())
    }
}

/// Reads a form body.
///
/// # Errors
/// [`FormError`].
pub async fn form(parts: &Parts, body: Body) -> Result<Params, FormError> {
    let kind = header(parts, CONTENT_TYPE).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(FormError::ContentType);
    }
    Ok(Params::parse(&bytes(body).await?)?)
}

/// A whole body; the listener read it, within its bounds.
///
/// # Errors
/// [`FormError::TooLarge`], [`FormError::Slow`], [`FormError::Broken`].
pub async fn bytes(body: Body) -> Result<axum::body::Bytes, FormError> {
    let why = |error: axum::Error| error.into_inner().downcast().map_or(FormError::Broken, |why| *why);
    Ok(body.collect().await.map_err(why)?.to_bytes())
}

/// The query's parameters.
///
/// # Errors
/// [`Malformed`].
pub fn query(parts: &Parts) -> Result<Params, Malformed> {
    Params::parse(parts.uri.query().unwrap_or_default().as_bytes())
}

/// Whether a request says for which host it is, once, in letters that names in the field have, and the same wherever it says so
/// (RFC 9112 section 3.2, RFC 9113 section 8.3.1; CVE-2026-34835). We never build a link from it, but whatever stands before us
/// may. HTTP/1.0, as old health checks speak it, need not say so.
pub fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter().map(|host| host.as_bytes());
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let letters =
        |host: &[u8]| !host.is_empty() && host.iter().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(b));
    match (authority, hosts.next(), hosts.next()) {
        (None, Some(host), None) | (Some(host), None, None) => letters(host),
        (Some(authority), Some(host), None) => letters(host) && authority.eq_ignore_ascii_case(host),
        (None, None, None) => request.version() <= Version::HTTP_10,
        _ => false,
    }
}

/// A header's text, when it appears once and is printable.
pub fn header(parts: &Parts, name: http::HeaderName) -> Option<&str> {
    let mut values = parts.headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The address that a request came from, as limits count it: IPv6 by its network of 64 bits, which one host may fill.
pub fn address(parts: &Parts) -> String {
    parts.extensions.get::<PeerAddress>().map_or_else(|| "-".to_owned(), |peer| peer.counted().to_string())
}

/// The cookies of a request, name and value.
pub fn cookies(parts: &Parts) -> impl Iterator<Item = (&str, &str)> {
    let headers = parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    headers.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// One cookie's value. When a name appears twice the first counts, as it does in browsers.
pub fn cookie<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    cookies(parts).find(|(n, _)| *n == name).map(|(_, value)| value)
}

/// The language that a browser asks for; Simplified Chinese when it asks for none of ours.
pub fn locale(parts: &Parts) -> Locale {
    let asked = header(parts, ACCEPT_LANGUAGE).unwrap_or_default();
    Locale::negotiate(asked.split(',').take(16)).unwrap_or(Locale::ZhHans)
}

/// True when a form was posted by one of our own pages. Browsers say so in `Sec-Fetch-Site`, older ones in `Origin`;
/// a request with neither is no browser's, and no browser's cookie came with it.
pub fn is_same_origin(parts: &Parts, issuer: &str) -> bool {
    let site = parts.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let origin = header(parts, ORIGIN);
    site.is_none_or(|site| site == "same-origin") && origin.is_none_or(|origin| origin == issuer)
}
