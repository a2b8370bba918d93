//! The end of the platform's session.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::HeaderMap;
use url::Url;

use super::control::Endpoint;
use super::{Shared, page};
use crate::web::{self, Params};

/// `GET /_tif_sso_logout_/`: forgets the session and leads on to an address of a registered client's host, or its own.
pub(super) async fn logout(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    shared.control.count(Endpoint::Logout);
    let cookie = shared.session_cookie();
    if let Some(id) = web::cookie(&headers, &cookie) {
        shared.sessions.take(&id);
    }
    let asked = Params::parse(&query.unwrap_or_default()).and_then(|params| params.owned("redirect_uri"));
    let mut response = match asked.filter(|address| belongs_to_a_client(&shared, address)) {
        Some(address) => web::redirect(&address),
        None => page::logged_out(),
    };
    web::set_cookie(&mut response, &cookie, "");
    response
}

fn belongs_to_a_client(shared: &Shared, address: &str) -> bool {
    let Ok(address) = Url::parse(address) else { return false };
    // To its own login as well: nothing public says whether the real platform does that.
    let own = Url::parse(&shared.config.origin).is_ok_and(|own| own.origin() == address.origin());
    let client = shared.config.clients.iter().any(|client| client.has_host(&address));
    matches!(address.scheme(), "https" | "http") && (own || client)
}
