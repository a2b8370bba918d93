//! A provider that speaks OAuth 2.0 (RFC 6749, PKCE RFC 7636) and describes the account at an address of its own: every
//! endpoint, parameter and place in the answer is configuration. It is how a system is connected whose interface is not
//! public; nothing about it is assumed.

mod account;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenResponse};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, TokenResponse as _, TokenUrl,
};
use url::Url;

pub use settings::{Account, ClaimAt, Pointer, Settings};

use crate::error::UpstreamError;
use crate::http::{Http, HttpError};
use crate::oidc::TokenAuth;
use crate::{Adapter, Departure, Progress, Step, Wish, answer, port};

type OauthClient = BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// A provider that speaks OAuth 2.0.
pub struct Oauth {
    settings: Settings,
    client: OauthClient,
    http: Arc<dyn Http>,
}

impl Oauth {
    /// An adapter; speaks to nobody yet.
    #[must_use]
    pub fn new(settings: Settings, callback: Url, secret: Option<Secret<String>>, http: Arc<dyn Http>) -> Self {
        let mut client = BasicClient::new(ClientId::new(settings.client_id.clone()))
            .set_auth_uri(AuthUrl::from_url(settings.authorize.clone()))
            .set_token_uri(TokenUrl::from_url(settings.token.clone()))
            .set_redirect_uri(RedirectUrl::from_url(callback));
        if let Some(secret) = secret {
            client = client.set_client_secret(ClientSecret::new(secret.expose().clone()));
        }
        let auth = match settings.auth {
            TokenAuth::SecretBasic(_) => AuthType::BasicAuth,
            TokenAuth::SecretPost(_) | TokenAuth::None | TokenAuth::PrivateKeyJwt => AuthType::RequestBody,
        };
        Self { client: client.set_auth_type(auth), settings, http }
    }

    async fn exchange(&self, code: &str, verifier: &str) -> Result<BasicTokenResponse, UpstreamError> {
        let request = self
            .client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
        request.request_async(&port::port(&self.http)).await.map_err(|error| match error {
            RequestTokenError::Request(error) => UpstreamError::Unavailable(error),
            RequestTokenError::ServerResponse(refusal) => {
                let known = !matches!(refusal.error(), BasicErrorResponseType::Extension(_));
                let error = if known { refusal.error().as_ref() } else { "an error of its own" };
                UpstreamError::Refused(format!("token request: {error}"))
            }
            _ => UpstreamError::misbehaved("the token answer cannot be read"),
        })
    }

    async fn account(&self, token: &str) -> Result<serde_json::Value, UpstreamError> {
        let request = http::Request::get(self.settings.account_at.as_str())
            .header("accept", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Vec::new())
            .map_err(|_| UpstreamError::misbehaved("the access token fits into no header"))?;
        answer::json(&self.http.send(request).await?)
    }
}

/// The code in a callback.
fn code_in(callback: &Params) -> Result<String, UpstreamError> {
    let one = |name| callback.one(name).map_err(|_| UpstreamError::misbehaved("a callback parameter is repeated"));
    match one("error")? {
        Some("access_denied") => Err(UpstreamError::Denied),
        Some("temporarily_unavailable") => Err(HttpError::Status(503).into()),
        Some(_) => Err(UpstreamError::Refused("authorization request".to_owned())),
        None => one("code")?.map(str::to_owned).ok_or_else(|| UpstreamError::misbehaved("the callback has no code")),
    }
}

#[async_trait]
impl Adapter for Oauth {
    async fn begin(&self, wish: &Wish, step: Step<'_>) -> Result<Departure, UpstreamError> {
        let verifier = step.fresh.token("verifier");
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.expose().clone()));
        let state = CsrfToken::new(step.state.to_owned());
        let scopes = self.settings.scopes.iter().cloned().map(Scope::new);
        let mut request = self.client.authorize_url(move || state).set_pkce_challenge(challenge).add_scopes(scopes);
        for (name, value) in &self.settings.parameters {
            request = request.add_extra_param(name.clone(), value.clone());
        }
        if let (Some(name), Some(locale)) = (&self.settings.locale_parameter, wish.locale) {
            request = request.add_extra_param(name.clone(), locale.tag());
        }
        if let (Some(name), false) = (&self.settings.methods_parameter, wish.methods.is_empty()) {
            request = request.add_extra_param(name.clone(), wish.methods.join(" "));
        }
        Ok(Departure { url: request.url().0, memo: verifier })
    }

    async fn finish(&self, memo: &str, callback: &Params, step: Step<'_>) -> Result<Progress, UpstreamError> {
        let tokens = self.exchange(&code_in(callback)?, memo).await?;
        let account = self.account(tokens.access_token().secret()).await?;
        account::read(&account, &self.settings.account, step.now).map(|answer| Progress::Done(Box::new(answer)))
    }
}
