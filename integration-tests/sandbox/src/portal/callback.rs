//! `/callback`: the person comes back from the issuer.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::discovery::Metadata;
use super::{Failure, Shared, Transaction, page, token, verify};
use crate::entropy;
use crate::web::{self, Params};

const SESSION_SECONDS: u64 = 3600;

/// Everything a successful sign-in brought.
pub(super) struct SignedIn {
    pub(super) service: usize,
    /// The verified claims of the ID token.
    pub(super) claims: Map<String, Value>,
    pub(super) userinfo: Map<String, Value>,
    /// The token endpoint's answer.
    pub(super) tokens: Map<String, Value>,
}

/// `GET /callback`
pub(super) async fn callback(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let wants_json = headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    let outcome = finish(&shared, query.as_deref().unwrap_or_default(), &headers).await;
    let status = if outcome.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let mut response = match (&outcome, wants_json) {
        (outcome, true) => web::json(status, &machine_view(outcome)),
        (Ok(signed_in), false) => web::html(status, page::signed_in(&shared, signed_in)),
        (Err(failure), false) => web::html(status, page::failure(&shared, failure)),
    };
    if let Ok(signed_in) = &outcome {
        remember(&shared, signed_in, &mut response);
    }
    response
}

/// What a test sees: everything received, the tokens included so that it can try to misuse them.
fn machine_view(outcome: &Result<SignedIn, Failure>) -> Value {
    match outcome {
        Ok(signed_in) => json!({
            "claims": signed_in.claims,
            "userinfo": signed_in.userinfo,
            "tokens": signed_in.tokens,
            "service": signed_in.service,
            "error": null,
        }),
        Err(failure) => json!({ "claims": null, "userinfo": null, "error": failure.json() }),
    }
}

pub(super) fn remember(shared: &Shared, signed_in: &SignedIn, response: &mut Response) {
    let subject = verify::text(&signed_in.claims, "sub").unwrap_or_default().to_owned();
    if let Ok(id) = entropy::token()
        && shared.sessions.insert(&id, subject, SESSION_SECONDS)
    {
        web::set_cookie(response, &shared.session_cookie(), &id);
    }
}

async fn finish(shared: &Shared, query: &str, headers: &HeaderMap) -> Result<SignedIn, Failure> {
    let params = Params::parse(query).ok_or_else(|| Failure::check("a parameter is repeated"))?;
    let transaction = take_transaction(shared, &params, headers)?;
    let metadata = shared.metadata().await?;
    check_issuer(&metadata, &params)?;
    if let Some(error) = params.get("error") {
        let description = params.get("error_description").unwrap_or_default();
        return Err(Failure::new("authorization", error, description));
    }
    let code = params.get("code").ok_or_else(|| Failure::check("neither code nor error came back"))?;
    let tokens = token::exchange(shared, &metadata, &transaction, code).await?;
    let Transaction { nonce, max_age, started, service, .. } = transaction;
    let expected = verify::Expected { nonce: Some(&nonce), max_age, started };
    received(shared, &metadata, service, &expected, tokens).await
}

/// Checks what came for a code, and asks for the rest.
pub(super) async fn received(
    shared: &Shared,
    metadata: &Metadata,
    service: usize,
    expected: &verify::Expected<'_>,
    tokens: Map<String, Value>,
) -> Result<SignedIn, Failure> {
    if !verify::text(&tokens, "token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("Bearer")) {
        return Err(Failure::check("token_type is not Bearer"));
    }
    let required = |name: &str| {
        verify::text(&tokens, name).ok_or_else(|| Failure::check(format!("the token answer has no {name}")))
    };
    let (access_token, id_token) = (required("access_token")?, required("id_token")?);
    let claims = verify::id_token(shared, expected, id_token, access_token).await?;
    let userinfo = match &metadata.userinfo_endpoint {
        Some(url) => token::userinfo(shared, url, access_token).await?,
        None => Map::new(),
    };
    if metadata.userinfo_endpoint.is_some() && userinfo.get("sub") != claims.get("sub") {
        return Err(Failure::check("userinfo speaks about somebody else"));
    }
    Ok(SignedIn { service, claims, userinfo, tokens })
}

/// Takes the sign-in that `state` names, if this browser began it.
fn take_transaction(shared: &Shared, params: &Params, headers: &HeaderMap) -> Result<Transaction, Failure> {
    let state = params.get("state").ok_or_else(|| Failure::check("state is missing"))?;
    let transaction =
        shared.transactions.take(state).ok_or_else(|| Failure::check("state is unknown, used or too old"))?;
    let browser = web::cookie(headers, &shared.browser_cookie()).unwrap_or_default();
    if !entropy::same_secret(&transaction.browser, &browser) {
        return Err(Failure::check("another browser began this sign-in"));
    }
    Ok(transaction)
}

/// RFC 9207: an issuer that promises `iss` must send it, and a wrong one is never accepted.
fn check_issuer(metadata: &Metadata, params: &Params) -> Result<(), Failure> {
    match params.get("iss") {
        Some(iss) if iss == metadata.issuer => Ok(()),
        None if !metadata.authorization_response_iss_parameter_supported => Ok(()),
        None => Err(Failure::check("iss is missing from the answer")),
        Some(_) => Err(Failure::check("the answer is from another issuer")),
    }
}
