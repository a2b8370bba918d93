//! The userinfo endpoint, where the personal claims come from.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::control::Endpoint;
use super::{Misbehaviour, Shared, id_token};
use crate::web;

/// `GET` or `POST /userinfo`
pub(super) async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    shared.control.count(Endpoint::Userinfo);
    match claims(&shared, &headers) {
        Some(claims) => web::json(StatusCode::OK, &Value::Object(claims)),
        None => {
            let mut response = web::json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }));
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            response
        }
    }
}

fn claims(shared: &Shared, headers: &HeaderMap) -> Option<Map<String, Value>> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let grant = shared.access_tokens.get(token)?;
    let person = shared.person(&grant.person)?;
    let scopes: Vec<&str> = grant.scopes.iter().map(String::as_str).collect();
    let mut claims = person.claims(&scopes, &grant.claims);
    let subject = match shared.control.misbehaviour() {
        Misbehaviour::UserinfoOtherSub => Some(Value::from("somebody-else")),
        misbehaviour => id_token::subject(person, &misbehaviour),
    };
    if let Some(subject) = subject {
        claims.insert("sub".to_owned(), subject);
    }
    Some(claims)
}
