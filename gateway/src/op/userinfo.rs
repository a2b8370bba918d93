//! `/userinfo` (OpenID Connect Core section 5.3), by GET and by POST, with a bearer token (RFC 6750).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::assurance::Assurance;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::token::Confirmation;
use gateway_core::verified;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Request, StatusCode};
use serde_json::{Map, Value};

use super::access::{Error, Standing, access};
use super::dpop;
use super::dpop::Held;
use super::protect::{find_recipient, protect};
use crate::app::App;
use crate::http::{reply, request};

/// `GET /userinfo`. A token in the query is not looked at: queries end up in logs.
pub async fn get(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let response = answer(&app, &parts, from_header(&parts)).await;
    with_headers(&app, &parts, response)
}

/// `POST /userinfo`: the token in the header, or in a form (RFC 6750 section 2.2), not both.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let in_header = from_header(&parts);
    let form = match parts.headers.contains_key(CONTENT_TYPE) {
        true => request::form(&parts, body).await.ok(),
        false => None,
    };
    let in_form = form.as_ref().and_then(|form| form.one("access_token").ok().flatten());
    let response = match (in_header, in_form) {
        (Some(_), Some(_)) => {
            let error = OAuthError::new(OAuthCode::InvalidRequest, "the token is given twice");
            reply::bearer_error(StatusCode::BAD_REQUEST, Some(&error))
        }
        (in_header, in_form) => answer(&app, &parts, in_header.or(in_form.map(Presented::Bearer))).await,
    };
    with_headers(&app, &parts, response)
}

/// Names the call as the caller does, or anew (FAPI 1.0 Part 1 section 6.2.1, which FAPI-CIBA rests on).
const INTERACTION: &str = "x-fapi-interaction-id";

fn with_headers(app: &App, parts: &Parts, response: Response) -> Response {
    let asked = parts.headers.get(INTERACTION).filter(|id| is_uuid(id.as_bytes()));
    let id = match asked {
        Some(id) => {
            tracing::info!(interaction = ?id, status = response.status().as_u16(), "userinfo");
            Some(id.clone())
        }
        None => app.entropy.bytes().ok().and_then(|random| HeaderValue::from_str(&uuid(random)).ok()),
    };
    let mut response = dpop::with_nonce(app, parts, response);
    if let Some(id) = id {
        response.headers_mut().insert(INTERACTION, id);
    }
    response
}

fn is_uuid(text: &[u8]) -> bool {
    let dash = |at| [8, 13, 18, 23].contains(&at);
    let sound = |(at, byte): (usize, &u8)| if dash(at) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
    text.len() == 36 && text.iter().enumerate().all(sound)
}

/// A UUID of random bits (RFC 9562 section 5.4).
fn uuid(random: [u8; 16]) -> String {
    let version_and_variant = !(0xf << 76 | 0x3 << 62);
    let bits = u128::from_be_bytes(random) & version_and_variant | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// A token as it was presented.
#[derive(Clone, Copy)]
enum Presented<'a> {
    /// By itself (RFC 6750).
    Bearer(&'a str),
    /// With a proof (RFC 9449 section 7.1).
    Dpop(&'a str),
}

/// The keys that whoever presents a token proved to hold.
struct Proven {
    held: Option<Held>,
    certificate: Option<String>,
}

impl<'a> Presented<'a> {
    fn token(self) -> &'a str {
        match self {
            Self::Bearer(token) | Self::Dpop(token) => token,
        }
    }
}

fn from_header(parts: &Parts) -> Option<Presented<'_>> {
    let (scheme, token) = request::header(parts, AUTHORIZATION)?.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(Presented::Bearer(token)),
        "dpop" => Some(Presented::Dpop(token)),
        _ => None,
    }
}

async fn answer(app: &App, parts: &Parts, presented: Option<Presented<'_>>) -> Response {
    let Some(presented) = presented else { return reply::bearer_error(StatusCode::UNAUTHORIZED, None) };
    let held = match presented {
        Presented::Bearer(_) => Ok(None),
        Presented::Dpop(token) => dpop::held_key(app, parts, "/userinfo", Some(token)),
    };
    let held = match held {
        Ok(held) => held,
        Err(error) => return reply::dpop_error(&error),
    };
    let proven = Proven { held, certificate: dpop::shown_certificate(parts) };
    match claims(app, presented, &proven).await {
        Ok(Found::Claims(claims)) => reply::json(StatusCode::OK, &Value::Object(claims)),
        Ok(Found::Token(token)) => reply::token("application/jwt", token),
        Ok(Found::Used(error)) if error.code == OAuthCode::TemporarilyUnavailable => reply::oauth_error(&error),
        Ok(Found::Used(error)) => reply::dpop_error(&error),
        Ok(Found::Nothing) => {
            let error = OAuthError::new(OAuthCode::InvalidToken, "the access token is not valid");
            reply::bearer_error(StatusCode::UNAUTHORIZED, Some(&error))
        }
        Ok(Found::FellShort(acr, max_age)) => reply::step_up_challenge(acr, max_age),
        Err(error) => {
            tracing::error!(%error, "userinfo");
            let error = OAuthError::new(OAuthCode::TemporarilyUnavailable, "try again later");
            reply::oauth_error(&error)
        }
    }
}

/// What a token leads to.
enum Found {
    /// What it releases.
    Claims(Map<String, Value>),
    /// The same, as its client wants it: signed, and encrypted too (OpenID Connect Core section 5.3.2).
    Token(String),
    /// It is good for nothing.
    Nothing,
    /// The proof that came with it was used before.
    Used(OAuthError),
    /// It was good, but the login behind it is no longer sure or fresh enough: a new one would do (RFC 9470).
    FellShort(Assurance, Option<Duration>),
}

/// The claims that a token releases.
async fn claims(app: &App, presented: Presented<'_>, proven: &Proven) -> Result<Found, Error> {
    let (active, now) = (app.bundle(), app.now());
    let (grant, short) = match access(app, &active, presented.token()).await? {
        Standing::Good(grant) => (grant, None),
        Standing::FellShort(grant, acr, max_age) => (grant, Some((acr, max_age))),
        Standing::Dead => return Ok(Found::Nothing),
    };
    // A bound token comes with its proof, and only a bound one does (RFC 9449 section 7.2).
    let bound = match (&grant.confirmation, presented) {
        (None, Presented::Bearer(_)) => true,
        (Some(Confirmation::Dpop(own)), Presented::Dpop(_)) => proven.held.as_ref().map(|held| &held.jkt) == Some(own),
        (Some(Confirmation::Certificate(own)), Presented::Bearer(_)) => proven.certificate.as_ref() == Some(own),
        _ => false,
    };
    if !bound {
        return Ok(Found::Nothing);
    }
    if let Err(error) = dpop::use_up(app, proven.held.as_ref()).await {
        return Ok(Found::Used(error));
    }
    if let Some((acr, max_age)) = short {
        return Ok(Found::FellShort(acr, max_age));
    }
    // A client that acts for itself is nobody's.
    let Some(about) = &grant.about else { return Ok(Found::Nothing) };
    // What could not be released any more is not.
    let parties = (&grant.client, &grant.service, &about.login.provider);
    let stands = |claim: &str| {
        let rule = about.rules.get(claim);
        rule.is_some_and(|rule| active.catalog.policies().still_releases(parties, claim, rule, now.date()))
    };
    let standing = about.claims.iter().filter(|(name, _)| stands(name));
    let mut claims: Map<String, Value> = standing.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let verified = verified::retain(about.verified.clone(), &stands);
    claims.extend(verified.map(|verified| ("verified_claims".to_owned(), verified)));
    claims.insert("sub".to_owned(), about.subject.clone().into());
    let registered = active.client(&grant.client).ok_or("the client is gone")?;
    let Some(alg) = registered.client.signed.userinfo else { return Ok(Found::Claims(claims)) };
    claims.insert("iss".to_owned(), app.issuer.as_str().into());
    claims.insert("aud".to_owned(), grant.client.on_the_wire().into());
    let recipient = find_recipient(app, registered, registered.client.encrypted.userinfo).await?;
    Ok(Found::Token(protect(app, alg, "JWT", recipient.as_ref(), &claims)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fapi1_6_2_1_interactions_are_named_by_uuids() {
        for random in [[0; 16], [0xff; 16]] {
            let made = uuid(random);
            assert!(is_uuid(made.as_bytes()) && made.get(14..15) == Some("4"), "{made}");
            assert!(["8", "9", "a", "b"].contains(&made.get(19..20).unwrap()), "{made}");
        }
        for wrong in [
            "",
            "c770aef3-6784-41f7-8e0e-ff5f97bddb3",
            "c770aef3-6784-41f7-8e0e_ff5f97bddb3a",
            "c770aef3-6784-41f7-8e0e-ff5f97bddb3x",
        ] {
            assert!(!is_uuid(wrong.as_bytes()), "{wrong}");
        }
    }
}
