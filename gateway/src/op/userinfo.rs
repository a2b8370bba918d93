//! `/userinfo` (OpenID Connect Core section 5.3), by GET and by POST, with a bearer token (RFC 6750).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::token::AccessGrant;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{Request, StatusCode};
use serde_json::{Map, Value};

use super::{issue, token};
use crate::app::App;
use crate::http::{reply, request};
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
        Ok(Some(claims)) => reply::json(StatusCode::OK, &Value::Object(claims)),
        Ok(None) => {
            let error = OAuthError::new(OAuthCode::InvalidToken, "the access token is not valid");
            reply::bearer_error(StatusCode::UNAUTHORIZED, Some(&error))
        }
        Err(error) => {
            tracing::error!(%error, "userinfo");
            let error = OAuthError::new(OAuthCode::TemporarilyUnavailable, "try again later");
            reply::oauth_error(&error)
        }
    }
}

type Found = Result<Option<Map<String, Value>>, Box<dyn std::error::Error + Send + Sync>>;

/// The claims that a token releases, if it lives, was not revoked, and policy still permits the login behind it.
async fn claims(app: &App, token: &str) -> Found {
    let now = app.now();
    let Some(sealed) = app.store.get(Class::Ephemeral, &Key::of_secret(issue::ACCESS, token), now).await? else {
        return Ok(None);
    };
    let grant: AccessGrant = app.seals.open_record(token, &sealed)?;
    if grant.expires_at.is_past(now) || token::is_revoked(app, &grant.grant, now).await? {
        return Ok(None);
    }
    let active = app.bundle();
    if active.catalog.client(&grant.client).is_none()
        || token::decide(&active, &grant.client, &grant.service, &grant.grounds).is_none()
    {
        return Ok(None);
    }
    let mut claims: Map<String, Value> =
        grant.claims.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    claims.insert("sub".to_owned(), grant.subject.into());
    Ok(Some(claims))
}
