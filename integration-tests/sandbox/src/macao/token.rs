//! The token endpoint: one code for one access token.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::control::Endpoint;
use super::{CodeGrant, MacaoClient, Misbehaviour, Shared};
use crate::entropy;
use crate::web::{self, Params};

const ACCESS_SECONDS: u64 = 300;

/// How long a used code is remembered, so that replaying it revokes what it minted.
const SPENT_SECONDS: u64 = 600;

const HANG: Duration = Duration::from_secs(600);

/// An OAuth error code and its explanation (RFC 6749, section 5.2).
type TokenError = (&'static str, &'static str);

/// `POST /oauth/token`
pub(super) async fn token(State(shared): State<Arc<Shared>>, body: String) -> Response {
    shared.control.count(Endpoint::Token);
    let fault = shared.control.token_fault();
    if let Some(response) = broken(&shared, &fault).await {
        return response;
    }
    match exchange(&shared, &body) {
        Ok(answer) => padded(answer, &fault),
        Err((error, description)) => {
            let status = match error {
                "invalid_client" => StatusCode::UNAUTHORIZED,
                "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            };
            web::json(status, &json!({ "error": error, "error_description": description }))
        }
    }
}

/// The answer of a fault that needs no request to be looked at; a slow one only waits.
pub(super) async fn broken(shared: &Shared, fault: &Misbehaviour) -> Option<Response> {
    match fault {
        Misbehaviour::Slow(delay) => tokio::time::sleep(*delay).await,
        Misbehaviour::Hang => tokio::time::sleep(HANG).await,
        Misbehaviour::Garbage => {
            return Some(web::respond(StatusCode::OK, "application/json", b"{\"access_token\": \xff\x00".to_vec()));
        }
        Misbehaviour::Status(status) => return Some(bare_status(shared, *status)),
        Misbehaviour::HtmlWith200 => {
            return Some(web::html(StatusCode::OK, "<!DOCTYPE html><title>Manutenção</title>".to_owned()));
        }
        Misbehaviour::Refuse(error) => return Some(web::json(StatusCode::BAD_REQUEST, &json!({ "error": error }))),
        _ => {}
    }
    None
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
        && let Ok(elsewhere) = HeaderValue::from_str(&format!("{}/elsewhere", shared.config.origin))
    {
        response.headers_mut().insert(LOCATION, elsewhere);
    }
    response
}

/// A right answer, padded when it must be huge.
pub(super) fn padded(mut answer: Value, fault: &Misbehaviour) -> Response {
    if let (Misbehaviour::HugeBody(size), Some(members)) = (fault, answer.as_object_mut()) {
        members.insert("padding".to_owned(), "x".repeat(*size).into());
    }
    web::json(StatusCode::OK, &answer)
}

fn exchange(shared: &Shared, body: &str) -> Result<Value, TokenError> {
    let params = Params::parse(body).ok_or(("invalid_request", "a parameter is repeated"))?;
    let client = authenticate(shared, &params).ok_or(("invalid_client", "unknown client or wrong secret"))?;
    if params.get("grant_type") != Some("authorization_code") {
        return Err(("unsupported_grant_type", "only authorization_code is supported"));
    }
    let code = params.get("code").ok_or(("invalid_request", "code is missing"))?;
    let grant = take_code(shared, code)?;
    check_grant(&grant, client, &params)?;
    let access_token = entropy::token().map_err(|_| ("server_error", "no random bytes available"))?;
    if !shared.access_tokens.insert(&access_token, grant.login, ACCESS_SECONDS) {
        return Err(("server_error", "too many tokens"));
    }
    shared.spent_codes.insert(code, access_token.clone(), SPENT_SECONDS);
    Ok(json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": ACCESS_SECONDS }))
}

fn authenticate<'a>(shared: &'a Shared, params: &Params) -> Option<&'a MacaoClient> {
    let client = shared.client(params.get("client_id")?)?;
    entropy::same_secret(params.get("client_secret")?, &client.client_secret).then_some(client)
}

/// Takes a code for good. A code seen before also takes its access token down with it.
fn take_code(shared: &Shared, code: &str) -> Result<CodeGrant, TokenError> {
    if let Some(grant) = shared.codes.take(code) {
        return Ok(grant);
    }
    if let Some(minted) = shared.spent_codes.take(code) {
        shared.access_tokens.take(&minted);
    }
    Err(("invalid_grant", "the code is unknown, used or expired"))
}

fn check_grant(grant: &CodeGrant, client: &MacaoClient, params: &Params) -> Result<(), TokenError> {
    if grant.request.client_id != client.client_id {
        return Err(("invalid_grant", "the code belongs to another client"));
    }
    if params.get("redirect_uri") != Some(grant.request.redirect_uri.as_str()) {
        return Err(("invalid_grant", "redirect_uri differs from the authorization request"));
    }
    let verifier = params.get("code_verifier").unwrap_or_default();
    if entropy::sha256_base64url(verifier) != grant.request.challenge {
        return Err(("invalid_grant", "code_verifier does not fit the challenge"));
    }
    Ok(())
}
