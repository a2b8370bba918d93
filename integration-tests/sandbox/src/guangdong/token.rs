//! The token call: a GET that trades a code for an access token.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::{Value, json};

use super::control::Endpoint;
use super::{AccessGrant, Generation, Misbehaviour, Shared};
use crate::entropy;
use crate::web::{self, Params};

/// The only lifetime a public sample shows.
pub(super) const ACCESS_SECONDS: u64 = 179;

const HANG: Duration = Duration::from_secs(600);

/// `GET …/access_token`
pub(super) async fn token(State(shared): State<Arc<Shared>>, uri: Uri, RawQuery(query): RawQuery) -> Response {
    shared.control.count(Endpoint::Token);
    let generation = Generation::of(uri.path());
    let fault = shared.control.token_fault();
    if let Some(response) = broken(&shared, &fault).await {
        return response;
    }
    let answer = match &fault {
        Misbehaviour::ErrCode(code) => Err(code.clone()),
        _ => exchange(&shared, generation, &query.unwrap_or_default()).map_err(str::to_owned),
    };
    respond(generation, answer, &fault)
}

/// The answer of a transport fault; a slow one only waits.
pub(super) async fn broken(shared: &Shared, fault: &Misbehaviour) -> Option<Response> {
    match fault {
        Misbehaviour::Slow(delay) => tokio::time::sleep(*delay).await,
        Misbehaviour::Hang => tokio::time::sleep(HANG).await,
        Misbehaviour::Garbage => {
            return Some(web::respond(StatusCode::OK, "application/json", b"{\"access_token\": \xff\x00".to_vec()));
        }
        Misbehaviour::Status(status) => return Some(bare_status(shared, *status)),
        Misbehaviour::HtmlWith200 => {
            return Some(web::html(StatusCode::OK, "<!DOCTYPE html><title>系统维护</title>".to_owned()));
        }
        _ => {}
    }
    None
}

fn bare_status(shared: &Shared, status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = web::json(status, &json!({ "errcode": "SIM-STATUS" }));
    if status.is_redirection()
        && let Ok(elsewhere) = HeaderValue::from_str(&format!("{}/elsewhere", shared.config.origin))
    {
        response.headers_mut().insert(LOCATION, elsewhere);
    }
    response
}

/// Writes an answer or an error code in the words of its generation; both come with status 200.
pub(super) fn respond(generation: Generation, answer: Result<Value, String>, fault: &Misbehaviour) -> Response {
    let mut document = match (answer, generation) {
        (Ok(document), _) => document,
        (Err(code), Generation::Legacy) => json!({ "error_code": code, "error_msg": "模拟站拒绝了请求" }),
        (Err(code), _) => json!({ "errcode": code }),
    };
    if let (Misbehaviour::HugeBody(size), Some(members)) = (fault, document.as_object_mut()) {
        members.insert("padding".to_owned(), "x".repeat(*size).into());
    }
    web::json(StatusCode::OK, &document)
}

fn exchange(shared: &Shared, generation: Generation, query: &str) -> Result<Value, &'static str> {
    let params = Params::parse(query).ok_or("SIM-REPEATED-PARAMETER")?;
    let client = shared.client(params.get("client_id").unwrap_or_default()).ok_or("SIM-CLIENT")?;
    if !entropy::same_secret(params.get("client_secret").unwrap_or_default(), &client.client_secret) {
        return Err("SIM-CLIENT");
    }
    if params.get("grant_type") != Some("authorization_code") {
        return Err("SIM-GRANT-TYPE");
    }
    let scope = params.get("scope").filter(|scope| *scope == "all").ok_or("SIM-SCOPE")?;
    // From here on the code is spent, whatever else turns out to be wrong.
    let grant = shared.codes.take(params.get("code").unwrap_or_default()).ok_or("SIM-CODE")?;
    if grant.request.client_id != client.client_id || grant.request.generation != generation {
        return Err("SIM-CODE");
    }
    if params.get("redirect_uri") != Some(grant.request.redirect_uri.as_str()) {
        return Err("SIM-REDIRECT-URI");
    }
    let access_token = entropy::token().map_err(|_| "SIM-ENTROPY")?;
    let refresh_token = entropy::token().map_err(|_| "SIM-ENTROPY")?;
    let opens = AccessGrant { generation, login: grant.login };
    if !shared.access_tokens.insert(&access_token, opens, ACCESS_SECONDS) {
        return Err("SIM-BUSY");
    }
    Ok(json!({
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS.to_string(),
        "refresh_token": refresh_token,
        "scope": scope,
    }))
}
