//! The token endpoint: one code for one access token and one ID token.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::control::Endpoint;
use super::{AccessGrant, CodeGrant, Misbehaviour, RegisteredClient, Shared, client_auth, id_token};
use crate::web::{self, Params};
use crate::{SandboxError, entropy};

const ACCESS_SECONDS: u64 = 300;

/// How long a used code is remembered, so that replaying it revokes what it minted.
const SPENT_SECONDS: u64 = 600;

const HANG: Duration = Duration::from_secs(600);

/// An OAuth error of the token endpoint.
struct TokenError {
    status: StatusCode,
    error: &'static str,
    description: String,
}

impl TokenError {
    fn new(error: &'static str, description: impl Into<String>) -> Self {
        let status = match error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error, description: description.into() }
    }
}

impl From<SandboxError> for TokenError {
    fn from(error: SandboxError) -> Self {
        Self::new("server_error", error.to_string())
    }
}

/// `POST /token`
pub(super) async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    shared.control.count(Endpoint::Token);
    let misbehaviour = shared.control.misbehaviour();
    match &misbehaviour {
        Misbehaviour::SlowToken(delay) => tokio::time::sleep(*delay).await,
        Misbehaviour::HangToken => tokio::time::sleep(HANG).await,
        Misbehaviour::TokenStatus(status) => return bare_status(&shared, *status),
        Misbehaviour::GarbageToken(bytes) => {
            return web::respond(StatusCode::OK, "application/json", bytes.clone());
        }
        Misbehaviour::HtmlWith200 => {
            return web::html(StatusCode::OK, "<!DOCTYPE html><title>Maintenance</title>".to_owned());
        }
        _ => {}
    }
    match exchange(&shared, &headers, &body) {
        Ok(mut answer) => {
            if let (Misbehaviour::HugeBody(size), Some(members)) = (misbehaviour, answer.as_object_mut()) {
                members.insert("padding".to_owned(), "x".repeat(size).into());
            }
            web::json(StatusCode::OK, &answer)
        }
        Err(error) => error_response(&error),
    }
}

fn bare_status(shared: &Shared, status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let error = match status.as_u16() {
        401 => "invalid_client",
        400..=499 => "invalid_grant",
        _ => "server_error",
    };
    let mut response = web::json(status, &json!({ "error": error }));
    if status.is_redirection()
        && let Ok(elsewhere) = HeaderValue::from_str(&shared.url("/elsewhere"))
    {
        response.headers_mut().insert(LOCATION, elsewhere);
    }
    response
}

fn error_response(error: &TokenError) -> Response {
    let body = json!({ "error": error.error, "error_description": error.description });
    let mut response = web::json(error.status, &body);
    if error.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"simulator\""));
    }
    response
}

fn exchange(shared: &Shared, headers: &HeaderMap, body: &str) -> Result<Value, TokenError> {
    let params = Params::parse(body).ok_or_else(|| TokenError::new("invalid_request", "a parameter is repeated"))?;
    let client = client_auth::authenticate(shared, headers, &params)
        .map_err(|reason| TokenError::new("invalid_client", reason))?;
    if params.get("grant_type") != Some("authorization_code") {
        return Err(TokenError::new("unsupported_grant_type", "only authorization_code is supported"));
    }
    let code = params.get("code").ok_or_else(|| TokenError::new("invalid_request", "code is missing"))?;
    let grant = take_code(shared, code)?;
    check_grant(&grant, client, &params)?;

    let access_token = entropy::token()?;
    let opens = AccessGrant {
        person: grant.person.clone(),
        scopes: grant.request.scopes.clone(),
        claims: grant.request.userinfo_claims.clone(),
    };
    if !shared.access_tokens.insert(&access_token, opens, ACCESS_SECONDS) {
        return Err(TokenError::new("server_error", "too many tokens"));
    }
    shared.spent_codes.insert(code, access_token.clone(), SPENT_SECONDS);
    let id_token = id_token::make(shared, &grant, &access_token)?;
    Ok(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
        "scope": grant.request.scopes.join(" "),
        "id_token": id_token,
    }))
}

/// Takes a code for good. A code seen before also takes its access token down with it.
fn take_code(shared: &Shared, code: &str) -> Result<CodeGrant, TokenError> {
    if let Some(grant) = shared.codes.take(code) {
        return Ok(grant);
    }
    if let Some(minted) = shared.spent_codes.take(code) {
        shared.access_tokens.take(&minted);
        return Err(TokenError::new("invalid_grant", "the code was used before; its access token is revoked"));
    }
    Err(TokenError::new("invalid_grant", "the code is unknown, used or expired"))
}

fn check_grant(grant: &CodeGrant, client: &RegisteredClient, params: &Params) -> Result<(), TokenError> {
    let refuse = |reason: &str| Err(TokenError::new("invalid_grant", reason));
    if grant.request.client_id != client.client_id {
        return refuse("the code belongs to another client");
    }
    if params.get("redirect_uri") != Some(grant.request.redirect_uri.as_str()) {
        return refuse("redirect_uri differs from the authorization request");
    }
    match (&grant.request.challenge, params.get("code_verifier")) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) if *challenge == entropy::sha256_base64url(verifier) => Ok(()),
        (Some(_), _) => refuse("code_verifier does not fit the challenge"),
        (None, Some(_)) => refuse("code_verifier without a challenge in the authorization request"),
    }
}
