//! `/userinfo` (OpenID Connect Core section 5.3), by GET and by POST, with a bearer token (RFC 6750).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::assurance::Assurance;
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use gateway_core::token::AccessGrant;
use gateway_core::verified;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{Request, StatusCode};
use policies::decide::Demand;
use policies::{Facts, Refusal};
use serde_json::{Map, Value};

use super::{issue, token};
use crate::app::App;
use crate::http::{reply, request};
use crate::receipts::is_withdrawn;
use crate::store::{Class, Key};

/// `GET /userinfo`. A token in the query is not looked at: queries end up in logs.
pub async fn get(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    answer(&app, from_header(&parts)).await
}

/// `POST /userinfo`: the token in the header, or in a form (RFC 6750 section 2.2), not both.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let in_header = from_header(&parts);
    if !parts.headers.contains_key(CONTENT_TYPE) {
        return answer(&app, in_header).await;
    }
    let form = request::form(&parts, body).await;
    let in_form = form.as_ref().ok().and_then(|form| form.one("access_token").ok().flatten());
    match (in_header, in_form) {
        (Some(_), Some(_)) => {
            let error = OAuthError::new(OAuthCode::InvalidRequest, "the token is given twice");
            reply::bearer_error(StatusCode::BAD_REQUEST, Some(&error))
        }
        (Some(token), None) => answer(&app, Some(token)).await,
        (None, in_form) => answer(&app, in_form).await,
    }
}

fn from_header(parts: &Parts) -> Option<&str> {
    let (scheme, token) = request::header(parts, AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

async fn answer(app: &App, token: Option<&str>) -> Response {
    let Some(token) = token else { return reply::bearer_error(StatusCode::UNAUTHORIZED, None) };
    match claims(app, token).await {
        Ok(Found::Claims(claims)) => reply::json(StatusCode::OK, &Value::Object(claims)),
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
    /// It is good for nothing.
    Nothing,
    /// It was good, but the login behind it is no longer sure or fresh enough: a new one would do (RFC 9470).
    FellShort(Assurance, Option<Duration>),
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The claims that a token releases, if it lives, was not revoked, its consent stands, and policy still permits the login
/// behind it.
async fn claims(app: &App, token: &str) -> Result<Found, Error> {
    let now = app.now();
    let Some(sealed) = app.store.get(Class::Ephemeral, &Key::of_secret(issue::ACCESS, token), now).await? else {
        return Ok(Found::Nothing);
    };
    let grant: AccessGrant = app.seals.open_record(token, &sealed)?;
    if grant.expires_at.is_past(now)
        || token::is_revoked(app, &grant.grant, now).await?
        || is_withdrawn(&app.store, &grant.receipt, now).await?
    {
        return Ok(Found::Nothing);
    }
    let active = app.bundle();
    let facts = Facts { client: &grant.client, service: &grant.service, login: &grant.login, demand: Demand::NONE };
    match active.catalog.policies().decide(&facts) {
        Ok(_) => {}
        Err(Refusal {
            failure: Failure::AssuranceTooLow | Failure::NotFresh, needed: Some((acr, max_age)), ..
        }) => {
            return Ok(Found::FellShort(acr, max_age));
        }
        Err(_) => return Ok(Found::Nothing),
    }
    // What could not be released any more is not.
    let parties = (&grant.client, &grant.service, &grant.login.provider);
    let stands = |claim: &str| {
        let rule = grant.rules.get(claim);
        rule.is_some_and(|rule| active.catalog.policies().still_releases(parties, claim, rule, now.date()))
    };
    let standing = grant.claims.iter().filter(|(name, _)| stands(name));
    let mut claims: Map<String, Value> = standing.map(|(name, value)| (name.to_owned(), value.clone())).collect();
    let verified = verified::retain(grant.verified.clone(), &stands);
    claims.extend(verified.map(|verified| ("verified_claims".to_owned(), verified)));
    claims.insert("sub".to_owned(), grant.subject.into());
    Ok(Found::Claims(claims))
}
