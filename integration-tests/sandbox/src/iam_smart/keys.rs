//! Content keys: give the live one, and drop it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use openssl::error::ErrorStack;
use serde_json::{Value, json};

use super::cek::{self, Cek};
use super::control::Count;
use super::crypto::{self, Key};
use super::rpc::{self, Refusal};
use super::{Client, Misbehaviour, Shared};

/// `POST /api/v1/security/getKey`
pub(super) async fn get_key(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    rpc::plain(&shared, Count::GetKey, (&headers, &body), give).await
}

/// `POST /api/v1/security/revokeKey`
pub(super) async fn revoke_key(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    rpc::plain(&shared, Count::RevokeKey, (&headers, &body), drop_key).await
}

fn give(shared: &Shared, client: &Client) -> Result<Option<Value>, Refusal> {
    let cek = live(shared, client)?;
    let life = u64::try_from(cek.life.as_millis()).unwrap_or(u64::MAX);
    let expires_in = match shared.steering.misbehaviour() {
        Misbehaviour::AbsoluteExpiry => cek.issued_at.saturating_add(life),
        _ => life,
    };
    Ok(Some(json!({
        "secretKey": wrapped(shared, client, &cek.key)?,
        "pubKey": crypto::public_key(&client.kek)?,
        "issueAt": cek.issued_at,
        "expiresIn": expires_in,
    })))
}

fn drop_key(_: &Shared, client: &Client) -> Result<Option<Value>, Refusal> {
    client.cek.revoke();
    Ok(None)
}

/// The live key of a client; one is made when there is none.
pub(super) fn live(shared: &Shared, client: &Client) -> Result<Cek, ErrorStack> {
    let life = match shared.steering.misbehaviour() {
        Misbehaviour::ShortCek(life) => life,
        _ => cek::LIFE,
    };
    client.cek.live_or_new(life)
}

/// A key as `secretKey` carries it.
pub(super) fn wrapped(shared: &Shared, client: &Client, key: &Key) -> Result<String, ErrorStack> {
    match shared.steering.misbehaviour() {
        Misbehaviour::CekAsText => crypto::wrap(&client.kek, STANDARD.encode(key).as_bytes()),
        _ => crypto::wrap(&client.kek, key),
    }
}
