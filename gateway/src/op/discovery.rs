//! What portals' libraries read first: metadata and keys.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gateway_core::discovery::Facts;

use crate::app::App;
use crate::http::reply;

/// `GET /.well-known/openid-configuration`, and the same under the name of RFC 8414 section 3.
pub async fn metadata(State(app): State<Arc<App>>) -> Response {
    let active = app.bundle();
    let facts = Facts {
        issuer: &app.issuer,
        claims: active.catalog.claim_names(),
        subject_types: active.catalog.subject_types(),
        session_management: active.clients().any(|client| client.session_management),
        registration: active.catalog.admissions().next().is_some(),
        detail_types: active.catalog.detail_types(),
        verified: active.catalog.verified(),
        mutual_tls: app.mutual_tls.get().map(String::as_str),
    };
    reply::public_json(&gateway_core::discovery::metadata(&facts), 300)
}

/// `GET /jwks`. Keys are published a whole period before they sign, so that five minutes in a cache hurt nobody.
pub async fn jwks(State(app): State<Arc<App>>) -> Response {
    reply::public_json(&app.keys.jwks(), 300)
}
