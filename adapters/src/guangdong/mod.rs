//! Guangdong's unified identity authentication platform: an early OAuth 2.0 with habits of its own.
//!
//! The code is exchanged, and the account is read, by `GET` with everything in the query, the client secret included. So
//! no address of this provider is ever logged or shown. No client is known to send `state`, a nonce or PKCE, so the
//! callback is bound by a value of the login's own in the query of the redirect URI (which the platform must match to the
//! byte when the code is exchanged) and by the transaction's cookie. What the account is trusted for and how this login
//! was done are different things, and are handed on as such.

mod account;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

pub use settings::{Binding, Settings};

use crate::error::UpstreamError;
use crate::http::Http;
use crate::{Adapter, Answer, Departure, Progress, Step, Wish, answer};

/// What has to survive the visit to the platform.
#[derive(Serialize, Deserialize)]
struct Memo {
    /// The redirect URI, byte for byte.
    redirect_uri: String,
}

/// The platform.
pub struct Guangdong {
    settings: Settings,
    callback: Url,
    secret: Secret<String>,
    http: Arc<dyn Http>,
}

impl Guangdong {
    /// An adapter; speaks to nobody yet.
    #[must_use]
    pub fn new(settings: Settings, callback: Url, secret: Secret<String>, http: Arc<dyn Http>) -> Self {
        Self { settings, callback, secret, http }
    }

    fn logout_at(&self, back: &Url) -> Option<Url> {
        let mut url = self.settings.base.join("/_tif_sso_logout_/").ok()?;
        url.query_pairs_mut().append_pair("redirect_uri", back.as_str());
        Some(url)
    }

    /// A call by `GET`. The address holds secrets: it appears in no error and no log.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, UpstreamError> {
        let mut url = self.settings.base.join(path).map_err(|_| UpstreamError::Unsupported)?;
        url.query_pairs_mut().extend_pairs(query);
        let request = http::Request::get(url.as_str())
            .header("accept", "application/json")
            .body(Vec::new())
            .map_err(|_| UpstreamError::Refused("the request cannot be written".to_owned()))?;
        answer::json(&self.http.send(request).await?)
    }

    async fn exchange(&self, code: &str, redirect_uri: &str) -> Result<Secret<String>, UpstreamError> {
        let answer = self
            .get(
                "access_token",
                &[
                    ("client_id", &self.settings.client_id),
                    ("client_secret", self.secret.expose()),
                    ("code", code),
                    ("scope", "all"),
                    ("redirect_uri", redirect_uri),
                    ("grant_type", "authorization_code"),
                ],
            )
            .await?;
        match answer.get("access_token").and_then(Value::as_str) {
            Some(token) if !token.is_empty() => Ok(Secret::new(token.to_owned())),
            _ => {
                let code = answer.get("errcode").or_else(|| answer.get("error_code")).unwrap_or(&Value::Null);
                Err(UpstreamError::Refused(format!("access_token: {}", account::printable(code))))
            }
        }
    }
}

#[async_trait]
impl Adapter for Guangdong {
    async fn begin(&self, wish: &Wish, step: Step<'_>) -> Result<Departure, UpstreamError> {
        let mut redirect_uri = self.callback.clone();
        let mut url = self.settings.base.join(&self.settings.authorize).map_err(|_| UpstreamError::Unsupported)?;
        match self.settings.binding {
            Binding::RedirectQuery => {
                redirect_uri.query_pairs_mut().append_pair("state", step.state);
            }
            Binding::State => {
                url.query_pairs_mut().append_pair("state", step.state);
            }
        }
        url.query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("service", "initService")
            .append_pair("scope", "all")
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", redirect_uri.as_str());
        let memo = serde_json::to_string(&Memo { redirect_uri: redirect_uri.into() })
            .map_err(|_| UpstreamError::misbehaved("the memo cannot be written"))?;
        let by_logout = self.logout_at(&url).filter(|_| wish.login && self.settings.logout_first);
        Ok(Departure { url: by_logout.unwrap_or(url), memo: Secret::new(memo) })
    }

    async fn finish(&self, memo: &str, callback: &Params, _step: Step<'_>) -> Result<Progress, UpstreamError> {
        let memo: Memo =
            serde_json::from_str(memo).map_err(|_| UpstreamError::misbehaved("the memo cannot be read"))?;
        let code = callback.one("code").map_err(|_| UpstreamError::misbehaved("the code is repeated"))?;
        // Nothing public says how a refusal looks; a callback without a code is one.
        let token = self.exchange(code.ok_or(UpstreamError::Denied)?, &memo.redirect_uri).await?;
        let answer = self.get("tokeninfo", &[("access_token", token.expose())]).await?;
        let account = account::read(&answer, &self.settings.documents)?;
        Ok(Progress::Done(Box::new(Answer {
            subject: account.subject,
            session: None,
            acr: account.level,
            amr: account.method.map(str::to_owned).into_iter().collect(),
            auth_time: None,
            claims: account.claims,
            asked: None,
        })))
    }

    async fn logout(&self, back: &Url, _: Timestamp) -> Option<Url> {
        self.logout_at(back)
    }
}
