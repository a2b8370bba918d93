//! `/revoke` (RFC 7009): a client gives a token back. A refresh token takes with it everything that came of its grant.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::params::Params;
use gateway_core::token::AccessGrant;
use http::request::Parts;
use http::{Request, StatusCode};

use super::client_auth::{self, authenticate};
use super::token::{end, internal, revoke};
use super::{mint, refresh};
use crate::app::App;
use crate::http::{reply, request};
use crate::store::{Batch, Class, Key, Write};

/// `POST /revoke`.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let done = async { give_back(&app, &parts, &request::form(&parts, body).await?).await };
    match done.await {
        // RFC 7009 section 2.2: a token that is not known is as good as revoked.
        Ok(()) => reply::empty(StatusCode::OK),
        Err(error) => reply::refused("revocation", &error),
    }
}

async fn give_back(app: &App, parts: &Parts, form: &Params) -> Result<(), OAuthError> {
    client_auth::admit(app, parts, form).await;
    let (active, now) = (app.bundle(), app.now());
    let client = &authenticate(app, &active, parts, form, "/revoke").await?.client;
    let token = form.required("token")?;
    let others = || OAuthError::new(OAuthCode::InvalidGrant, "the token was issued to another client");
    if let Some(found) = refresh::find(app, token, now).await.map_err(|error| internal(&*error))? {
        if found.grant.client != client.id {
            return Err(others());
        }
        return revoke(app, &found.grant.id, &client.id).await;
    }
    let key = Key::of_secret(mint::ACCESS, token);
    let stored = app.store.get(Class::Ephemeral, &key, now).await.map_err(|error| internal(&error))?;
    let grant = stored.and_then(|sealed| app.seals.open_record::<AccessGrant>(token, &sealed));
    let Some(grant) = grant else { return Ok(()) };
    if grant.client != client.id {
        return Err(others());
    }
    // Whatever it was exchanged for ends with it.
    end(app, &grant.id, now).await?;
    let delete = Batch::of(Write::Delete(key));
    app.store.commit(Class::Ephemeral, delete, now).await.map_err(|error| internal(&error))
}
