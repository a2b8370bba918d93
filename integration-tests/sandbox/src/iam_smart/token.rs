//! One code for one access token and the person's identifier.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde_json::{Value, json};

use super::control::Count;
use super::rpc::{self, Members, Refusal};
use super::{Client, Grant, Misbehaviour, Shared, crypto};
use crate::clock::now_unix;

const ACCESS_SECONDS: u64 = 4 * 3600;

/// When every synthetic record was last modified: the registers of the sandbox never change.
const LAST_MODIFIED: u64 = 1_700_000_000_000;

/// `POST /api/v1/auth/getToken`
pub(super) async fn get_token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    rpc::sealed(&shared, Count::Token, (&headers, &body), exchange).await
}

fn exchange(shared: &Arc<Shared>, client: &Client, request: &Members) -> Result<Value, Refusal> {
    let code = rpc::text(request, "code")?;
    if rpc::text(request, "grantType")? != "authorization_code" {
        return Err(Refusal::new("D20003", "grantType must be authorization_code"));
    }
    let grant = take_code(shared, client, code)?;
    let gone = || Refusal::new("D40004", "the account is gone");
    let (person, account) = shared.account(&grant.person).ok_or_else(gone)?;
    let access_token = crypto::token()?;
    let scope = grant.scopes.join(" ");
    if !shared.access_tokens.insert(&access_token, grant.clone(), ACCESS_SECONDS) {
        return Err(Refusal::new("D40004", "too many access tokens are live"));
    }
    let mut answer = json!({
        "accessToken": access_token,
        "tokenType": "Bearer",
        "issueAt": now_unix() * 1000,
        "expiresIn": ACCESS_SECONDS * 1000,
        "openID": client.open_id(person),
        "lastModifiedDate": LAST_MODIFIED,
        "userType": account.user_type,
        "scope": scope,
    });
    if let Some(members) = answer.as_object_mut() {
        match shared.steering.misbehaviour() {
            Misbehaviour::NoOpenId => _ = members.remove("openID"),
            Misbehaviour::EmptyOpenId => _ = members.insert("openID".to_owned(), "".into()),
            _ => {}
        }
    }
    Ok(answer)
}

/// Takes a code for good, even when another client presents it.
fn take_code(shared: &Shared, client: &Client, code: &str) -> Result<Grant, Refusal> {
    let grant = shared.codes.take(code).filter(|grant| grant.client_id == client.registered.client_id);
    grant.ok_or_else(|| Refusal::new("D40004", "the code is unknown, used, expired or another client's"))
}
