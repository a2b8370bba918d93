//! Authorization requests of clients whose sector is named after an address: what lies there lists their redirect URIs
//! (OpenID Connect Core section 8.1), or else anybody could claim to belong to it.

use adapters::http::HttpError;
use gateway_core::authorize::{self, Answer, Arrival, AuthorizationRequest, Refusal};
use gateway_core::client::Client;
use gateway_core::error::{Failure, OAuthCode, OAuthError};
use gateway_core::params::Params;
use gateway_core::redirect::RedirectUri;

use super::Visit;
use crate::app::App;

impl Visit<'_> {
    /// Reads and checks an authorization request.
    ///
    /// # Errors
    /// The first check that fails; that of the sector is the last.
    pub(super) async fn checked(&self, params: &Params, arrival: Arrival) -> Result<AuthorizationRequest, Refusal> {
        let request = authorize::parse(params, arrival, self, self.now)?;
        match self.is_listed(&request).await {
            Ok(true) => Ok(request),
            Ok(false) => {
                tracing::warn!(client = %request.client, "sector_identifier_uri does not list this redirect URI");
                Err(Refusal::Page(Failure::RedirectMismatch))
            }
            Err(error) => {
                tracing::warn!(client = %request.client, %error, "sector_identifier_uri");
                let error = OAuthError::new(OAuthCode::TemporarilyUnavailable, "sector_identifier_uri does not answer");
                Err(match request.answer {
                    Answer::Carried(to) => Refusal::Reply(to, error),
                    Answer::Collected(_) => Refusal::Page(Failure::InvalidRequest),
                })
            }
        }
    }

    async fn is_listed(&self, request: &AuthorizationRequest) -> Result<bool, HttpError> {
        let registered = self.active.client(&request.client).map(|registered| &registered.client);
        let uri = registered.and_then(|client| Some((client, client.sector_identifier_uri.as_ref()?)));
        let Some((client, uri)) = uri else { return Ok(true) };
        let Some(redirect) = request.redirect() else { return Ok(true) };
        let lists = |uris: &[RedirectUri]| client.find_redirect(uris, redirect.as_str()).is_some();
        Ok(lists(&self.app.sectors.get(uri, self.now).await?) || lists(&self.app.sectors.refresh(uri, self.now).await?))
    }
}

/// Whether the list of a client's sector, if it has one, holds every redirect URI of the client.
///
/// # Errors
/// The list cannot be had.
pub(super) async fn lists_all(app: &App, client: &Client) -> Result<bool, HttpError> {
    let Some(uri) = &client.sector_identifier_uri else { return Ok(true) };
    // Whoever has nothing to list is on nobody's list.
    let lists = |listed: &[RedirectUri]| {
        !client.redirect_uris.is_empty() && client.redirect_uris.iter().all(|uri| listed.contains(uri))
    };
    let now = app.now();
    Ok(lists(&app.sectors.get(uri, now).await?) || lists(&app.sectors.refresh(uri, now).await?))
}
