//! A login begun inside the app: no service asked for it, so there is no `state`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::login::new_code;
use super::{Grant, Shared, crypto, page};
use crate::web::{self, Params};

/// `GET /direct`
pub(super) async fn choose(State(shared): State<Arc<Shared>>) -> Response {
    web::html(StatusCode::OK, page::direct(&shared))
}

/// `POST /direct`: `client` and `person` were chosen.
pub(super) async fn decide(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let params = Params::parse(&body);
    let chosen = |name: &str| params.as_ref().and_then(|params| params.get(name)).unwrap_or_default();
    let Some(client) = shared.client(chosen("client")) else {
        return page::problem("There is no such service.");
    };
    let Some(address) = &client.registered.direct_callback else {
        return page::problem("This service cannot be opened from inside the app.");
    };
    let Some((person, _)) = shared.account(chosen("person")) else {
        return page::problem("There is no such account.");
    };
    let grant = Grant {
        client_id: client.registered.client_id.clone(),
        person: person.id.clone(),
        scopes: client.registered.scopes.clone(),
        hold: false,
    };
    let (Ok(Some(code)), Ok(reference)) = (new_code(&shared, grant), crypto::token()) else {
        return page::problem("Too many logins at once.");
    };
    web::redirect(&web::with_query(address, &[("code", &code), ("RefID", &reference)]))
}
