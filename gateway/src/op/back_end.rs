//! The client credentials grant (RFC 6749 section 4.4): a back end acts for itself, where a service's document lists it with
//! what it may do. No person is in it, and nothing of anybody's.

use gateway_core::audit::Event;
use gateway_core::error::{OAuthCode, OAuthError};
use gateway_core::ids::base64url;
use gateway_core::token::ClientRequest;
use serde_json::Value;

use super::token::{Caller, internal};
use super::{checklist, dpop, mint};
use crate::store::{Batch, Class};

/// The token of a client that acts for itself.
pub(super) async fn token(caller: &Caller<'_>, request: &ClientRequest) -> Result<Value, OAuthError> {
    let (app, active, client) = (caller.app, caller.active, caller.client);
    let began = app.now();
    // RFC 6749 section 4.4: for confidential clients only.
    if client.is_public() {
        return Err(OAuthError::new(OAuthCode::UnauthorizedClient, "a public client cannot act for itself"));
    }
    let named = request.resource.as_deref();
    let service = match named {
        Some(resource) => active.catalog.policies().service_of(resource).map(|service| &service.id),
        None => client.default_service.as_ref(),
    };
    let permit = service.and_then(|service| active.decide_back_end(&client.id, service).ok());
    let permit = permit.ok_or_else(|| {
        let why = "resource must name a service at which this client may act for itself";
        OAuthError::new(OAuthCode::InvalidTarget, why)
    })?;
    let scopes = request.scopes.clone().unwrap_or_else(|| permit.scopes().to_vec());
    if !scopes.iter().all(|scope| permit.scopes().contains(scope)) {
        return Err(OAuthError::new(OAuthCode::InvalidScope, "scope holds what this client may not do there"));
    }
    dpop::use_up(app, caller.held.as_ref()).await?;
    let id = base64url(&app.entropy.bytes::<16>().map_err(|error| internal(&error))?);
    let event = Event::ClientTokenIssued {
        grant: id.clone(),
        client: client.id.clone(),
        service: permit.service().id.clone(),
        scopes: scopes.clone(),
        policy_version: active.catalog.policies().version().to_owned(),
    };
    let record = Batch::default().recording(event);
    app.store.commit(Class::Durable, record, app.now()).await.map_err(|error| internal(&error))?;
    let tokens = mint::for_back_end(caller, &permit, id, scopes).await.map_err(|error| internal(&error))?;
    checklist::remember_back_end(app, active, client, began).await;
    Ok(tokens)
}
