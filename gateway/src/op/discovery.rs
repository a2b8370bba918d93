//! What portals' libraries read first: metadata and keys.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use crate::app::App;
use crate::http::reply;

/// `GET /.well-known/openid-configuration`.
pub async fn metadata(State(app): State<Arc<App>>) -> Response {
    let (active, signing) = (app.bundle(), app.keys.algorithms());
    let (claims, verified) = (active.catalog.claim_names(), active.catalog.verified());
    reply::public_json(&gateway_core::discovery::metadata(&app.issuer, &claims, &signing, &verified), 300)
}

/// `GET /jwks`. Keys are published a whole period before they sign, so that five minutes in a cache hurt nobody.
pub async fn jwks(State(app): State<Arc<App>>) -> Response {
    reply::public_json(&app.keys.jwks(), 300)
}
