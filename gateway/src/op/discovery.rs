//! What portals' libraries read first: metadata and keys.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use gateway_core::discovery::Facts;
use serde_json::Value;

use crate::admission::Admission;
use crate::app::{Active, App};
use crate::http::reply;

/// `GET /.well-known/openid-configuration`, and the same under the name of RFC 8414 section 3.
pub async fn metadata(State(app): State<Arc<App>>) -> Response {
    reply::public_json(&provider_metadata(&app, &app.bundle()), 300)
}

/// What we say of ourselves as a provider.
pub(super) fn provider_metadata(app: &App, active: &Active) -> Value {
    let facts = Facts {
        issuer: &app.issuer,
        claims: active.catalog.claim_names(),
        subject_types: active.catalog.subject_types(),
        session_management: active.clients().any(|client| client.session_management),
        registration: active.catalog.admissions().any(Admission::is_by_token),
        automatic: active.catalog.admissions().any(|admission| admission.terms.federation.is_some()),
        detail_types: active.catalog.detail_types(),
        verified: active.catalog.verified(),
        mutual_tls: app.mutual_tls.get().map(String::as_str),
    };
    gateway_core::discovery::metadata(&facts)
}

/// `GET /jwks`. Keys are published a whole period before they sign, so that five minutes in a cache hurt nobody.
pub async fn jwks(State(app): State<Arc<App>>) -> Response {
    reply::public_json(&app.keys.jwks(), 300)
}
