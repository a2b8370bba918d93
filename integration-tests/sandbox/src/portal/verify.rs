//! The portal's checks of an ID token (OpenID Connect Core, section 3.1.3.7).

use serde_json::{Map, Value};

use super::{Failure, Shared};
use crate::clock::now_unix;
use crate::entropy;
use crate::jose::{self, Rejected};

/// Difference between two clocks that is forgiven.
const LEEWAY: u64 = 10;

/// What an ID token has to be for, besides this portal.
pub(super) struct Expected<'a> {
    /// What was sent; nothing was, where no browser carries the answer.
    pub(super) nonce: Option<&'a str>,
    /// How old the login may be, in seconds, as it was asked for.
    pub(super) max_age: Option<u64>,
    /// When it was asked for.
    pub(super) started: u64,
}

/// Verifies an ID token and returns its claims. An unknown key makes the portal fetch the key set
/// again, once.
pub(super) async fn id_token(
    shared: &Shared,
    expected: &Expected<'_>,
    token: &str,
    access_token: &str,
) -> Result<Map<String, Value>, Failure> {
    let jwks = shared.jwks(false).await?;
    let verified = match jose::verify(token, &jwks) {
        Err(Rejected::NoKey) => jose::verify(token, shared.jwks(true).await?.as_ref()),
        other => other,
    };
    let claims = verified.map_err(|rejected| Failure::check(format!("ID token: {rejected}")))?;
    check_parties(shared, &claims)?;
    check_times(expected, &claims)?;
    if text(&claims, "nonce") != expected.nonce {
        return Err(Failure::check("ID token: nonce is not the one sent"));
    }
    let at_hash = entropy::half_sha256_base64url(access_token);
    if claims.contains_key("at_hash") && text(&claims, "at_hash") != Some(&at_hash) {
        return Err(Failure::check("ID token: at_hash does not fit the access token"));
    }
    Ok(claims)
}

/// A claim that is text and not blank.
pub(super) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str).filter(|value| !value.trim().is_empty())
}

fn check_parties(shared: &Shared, claims: &Map<String, Value>) -> Result<(), Failure> {
    if text(claims, "iss") != Some(&shared.config.issuer) {
        return Err(Failure::check("ID token: iss is not the issuer"));
    }
    let own_id = shared.config.client_id.as_str();
    let for_us = match claims.get("aud") {
        Some(Value::String(one)) => one == own_id,
        // Several audiences would need a reason to trust each of them; the portal has none.
        Some(Value::Array(several)) => several.len() == 1 && several.first().and_then(Value::as_str) == Some(own_id),
        _ => false,
    };
    if !for_us || claims.get("azp").is_some_and(|party| party.as_str() != Some(own_id)) {
        return Err(Failure::check("ID token: aud or azp is not this portal"));
    }
    if text(claims, "sub").is_none() {
        return Err(Failure::check("ID token: sub is missing"));
    }
    Ok(())
}

fn check_times(expected: &Expected<'_>, claims: &Map<String, Value>) -> Result<(), Failure> {
    let now = now_unix();
    let time = |name: &str| claims.get(name).and_then(Value::as_u64);
    if time("exp").is_none_or(|expires| expires.saturating_add(LEEWAY) <= now) {
        return Err(Failure::check("ID token: expired, or exp is missing"));
    }
    if time("iat").is_none_or(|issued| issued > now + LEEWAY) {
        return Err(Failure::check("ID token: issued in the future, or iat is missing"));
    }
    let Some(max_age) = expected.max_age else { return Ok(()) };
    if time("auth_time").is_none_or(|login| login.saturating_add(max_age).saturating_add(LEEWAY) < expected.started) {
        return Err(Failure::check("ID token: the login is older than max_age, or auth_time is missing"));
    }
    Ok(())
}
