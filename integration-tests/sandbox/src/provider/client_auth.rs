//! Client authentication at the token endpoint.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{ClientAuth, RegisteredClient, Shared};
use crate::clock::now_unix;
use crate::web::Params;
use crate::{entropy, jose};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Longest life an assertion may claim for itself.
const ASSERTION_SECONDS: u64 = 600;

/// The client that sent a token request, or why it is not believed.
pub(super) fn authenticate<'a>(
    shared: &'a Shared,
    headers: &HeaderMap,
    params: &Params,
) -> Result<&'a RegisteredClient, &'static str> {
    let by_header = headers.contains_key(AUTHORIZATION);
    let by_assertion = params.get("client_assertion");
    let by_form = params.get("client_secret");
    let client = match (by_header, by_form, by_assertion) {
        (true, None, None) => by_basic(shared, headers),
        (false, Some(secret), None) => {
            let client_id = params.get("client_id").ok_or("client_id is missing")?;
            by_secret(shared, client_id, secret)
        }
        (false, None, Some(assertion)) => by_signature(shared, params, assertion),
        (false, None, None) => Err("the client did not authenticate"),
        _ => Err("more than one way of authentication"),
    }?;
    if params.get("client_id").is_some_and(|claimed| claimed != client.client_id) {
        return Err("client_id differs from the authenticated client");
    }
    Ok(client)
}

fn by_basic<'a>(shared: &'a Shared, headers: &HeaderMap) -> Result<&'a RegisteredClient, &'static str> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let encoded = value.strip_prefix("Basic ").ok_or("only Basic is understood in Authorization")?;
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or("the Basic credentials are malformed")?;
    let (client_id, secret) = decoded.split_once(':').ok_or("the Basic credentials are malformed")?;
    by_secret(shared, &form_decode(client_id), &form_decode(secret))
}

/// Undoes the form encoding that RFC 6749 section 2.3.1 puts below Basic.
fn form_decode(text: &str) -> String {
    form_urlencoded::parse(format!("v={text}").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

fn by_secret<'a>(shared: &'a Shared, client_id: &str, secret: &str) -> Result<&'a RegisteredClient, &'static str> {
    let client = shared.client(client_id).ok_or("unknown client")?;
    match &client.auth {
        ClientAuth::Secret(expected) if entropy::same_secret(expected, secret) => Ok(client),
        ClientAuth::Secret(_) => Err("wrong secret"),
        ClientAuth::PrivateKeyJwt { .. } => Err("this client must sign an assertion"),
    }
}

fn by_signature<'a>(
    shared: &'a Shared,
    params: &Params,
    assertion: &str,
) -> Result<&'a RegisteredClient, &'static str> {
    if params.get("client_assertion_type") != Some(ASSERTION_TYPE) {
        return Err("client_assertion_type is missing or unknown");
    }
    let claimed = jose::unverified_claims(assertion).ok_or("the assertion is malformed")?;
    let client_id = claimed.get("iss").and_then(Value::as_str).unwrap_or_default();
    let client = shared.client(client_id).ok_or("unknown client")?;
    let ClientAuth::PrivateKeyJwt { jwks } = &client.auth else {
        return Err("this client must send its secret");
    };
    let claims = jose::verify(assertion, jwks).map_err(|_| "the assertion's signature is not accepted")?;
    check_assertion(shared, client_id, &claims)?;
    Ok(client)
}

fn check_assertion(shared: &Shared, client_id: &str, claims: &Map<String, Value>) -> Result<(), &'static str> {
    if claims.get("sub").and_then(Value::as_str) != Some(client_id) {
        return Err("sub must be the client");
    }
    let accepted = [shared.config.issuer.clone(), shared.url("/token")];
    let for_us = |audience: &Value| audience.as_str().is_some_and(|text| accepted.iter().any(|url| url == text));
    let audience_fits = match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().any(for_us),
        Some(one) => for_us(one),
        None => false,
    };
    if !audience_fits {
        return Err("aud must be the issuer or the token endpoint");
    }
    let now = now_unix();
    let expires = claims.get("exp").and_then(Value::as_u64).ok_or("exp is missing")?;
    if expires <= now || expires > now + ASSERTION_SECONDS {
        return Err("exp is in the past or too far away");
    }
    let id = claims.get("jti").and_then(Value::as_str).ok_or("jti is missing")?;
    if !shared.assertions.insert(&format!("{client_id} {id}"), (), expires - now) {
        return Err("the assertion was used before");
    }
    Ok(())
}
