//! One request by a person's browser: what it needs to answer, whatever step it is.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use certs::key::KeyError;
use gateway_core::audit::hex;
use gateway_core::authorize::{Answer, ReplyTo, ResponseMode};
use gateway_core::client::Client;
use gateway_core::digest::sha256;
use gateway_core::error::{Failure, OAuthError};
use gateway_core::interaction::Transaction;
use gateway_core::locale::Locale;
use gateway_core::time::Timestamp;
use http::StatusCode;
use http::request::Parts;
use serde_json::{Map, Value};

use crate::app::{Active, App};
use crate::http::{reply, request};
use crate::keys::algorithm;
use crate::pages;

/// How long a signed answer may be accepted (JARM section 2.1 recommends at most ten minutes).
const SIGNED_RESPONSE_LIFETIME: Duration = Duration::from_secs(300);

/// One request of a browser.
pub struct Visit<'a> {
    /// The gateway.
    pub app: &'a App,
    /// The snapshot that this step works with, from beginning to end.
    pub active: Arc<Active>,
    /// The request, its body aside.
    pub parts: &'a Parts,
    /// When it came in.
    pub now: Timestamp,
}

impl<'a> Visit<'a> {
    /// A visit.
    #[must_use]
    pub fn new(app: &'a App, parts: &'a Parts) -> Self {
        Self { app, active: app.bundle(), parts, now: app.now() }
    }

    /// The language of this person: chosen on our pages, asked for by the portal, or by the browser.
    #[must_use]
    pub fn locale(&self, transaction: Option<&Transaction>) -> Locale {
        let chosen = transaction.and_then(|transaction| transaction.locale.or(transaction.request.locale));
        chosen.unwrap_or_else(|| request::locale(self.parts))
    }

    /// The id that a person, a portal and an operator can quote for one sign-in. It follows from the transaction's id
    /// and does not lead back to it.
    #[must_use]
    pub fn trace(transaction: &Transaction) -> String {
        hex(&sha256(transaction.id.as_str().as_bytes())).chars().take(12).collect()
    }

    /// The page that says what failed.
    #[must_use]
    pub fn failure_page(&self, status: StatusCode, failure: Failure, transaction: Option<&Transaction>) -> Response {
        let trace = transaction.map(Self::trace);
        tracing::info!(code = failure.code(), trace = trace.as_deref().unwrap_or("-"), "stopped: {failure}");
        let page = pages::Failed {
            locale: self.locale(transaction),
            failure,
            trace: trace.unwrap_or_else(|| "-".to_owned()),
            transaction: transaction.map(|transaction| transaction.id.as_str()),
            service: transaction.and_then(|transaction| self.service_name(transaction)),
            provider: transaction.and_then(|transaction| self.provider_name(transaction)),
        };
        reply::page(status, page.html(), transaction.and_then(|transaction| transaction.request.redirect()))
    }

    fn provider_name(&self, transaction: &Transaction) -> Option<String> {
        let provider = self.active.catalog.policies().provider(transaction.fell_short.as_ref()?)?;
        Some(provider.name.get(self.locale(Some(transaction))).to_owned())
    }

    fn service_name(&self, transaction: &Transaction) -> Option<String> {
        let service = self.active.catalog.policies().service(&transaction.request.service)?;
        Some(service.name.get(self.locale(Some(transaction))).to_owned())
    }

    /// Ends a sign-in with an error for its client, who is told by the browser, or hears it when it comes.
    pub(super) async fn refuse(&self, transaction: &Transaction, error: &OAuthError) -> Response {
        if let Err(error) = self.give_up(transaction).await {
            return self.internal(&error, Some(transaction));
        }
        let mut response = match &transaction.request.answer {
            Answer::Carried(to) => self.client_error(to, error),
            Answer::Collected(collection) => match self.deny(collection).await {
                Ok(()) => self.collected_page(transaction, false),
                Err(error) => return self.internal(&error, Some(transaction)),
            },
        };
        Self::forget(&mut response, transaction);
        response
    }

    /// Answers the client with an error.
    #[must_use]
    pub fn client_error(&self, to: &ReplyTo, error: &OAuthError) -> Response {
        tracing::info!(error = error.code.as_str(), "client told: {}", error.description);
        self.client_response(to, &[("error", error.code.as_str()), ("error_description", &error.description)])
    }

    /// Answers the client through the browser, if the address is still registered: a sign-in may have begun before it
    /// was taken off the list.
    #[must_use]
    pub fn client_response(&self, to: &ReplyTo, params: &[(&'static str, &str)]) -> Response {
        let client = self.active.client(&to.client).map(|registered| &registered.client);
        let Some(client) = client.filter(|client| client.check_redirect(to.redirect.as_str()).is_some()) else {
            return self.failure_page(StatusCode::BAD_REQUEST, Failure::RedirectMismatch, None);
        };
        let params = reply::response_params(to, &self.app.issuer, params);
        if !to.mode.is_signed() {
            return self.send(to, &params);
        }
        match self.signed_response(client, &params) {
            Ok(response) => self.send(to, &[("response", &response)]),
            Err(error) => self.internal(&error, None),
        }
    }

    /// The answer as one signed token (JARM section 2.1).
    fn signed_response(&self, client: &Client, params: &[(&'static str, &str)]) -> Result<String, KeyError> {
        let mut claims: Map<String, Value> =
            params.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        claims.insert("aud".to_owned(), client.id.on_the_wire().into());
        claims.insert("exp".to_owned(), self.now.plus(SIGNED_RESPONSE_LIFETIME).0.into());
        self.app.keys.sign(algorithm(client.signed.authorization), "JWT", &claims)
    }

    fn send(&self, to: &ReplyTo, params: &[(&'static str, &str)]) -> Response {
        match to.mode {
            ResponseMode::Query | ResponseMode::QueryJwt => reply::query_response(to, params),
            ResponseMode::FormPost | ResponseMode::FormPostJwt => {
                let page = pages::FormPost { locale: self.locale(None), action: to.redirect.as_str(), params };
                reply::form_post_page(page.html(), &to.redirect)
            }
        }
    }

    /// Something inside failed: logged in full, shown as nothing but a code.
    #[must_use]
    pub fn internal(&self, error: &dyn std::error::Error, transaction: Option<&Transaction>) -> Response {
        tracing::error!(%error, "internal");
        // A store that does not answer heals: what was asked works when it is asked again.
        if self.app.store.failed_lately() {
            return self.failure_page(StatusCode::SERVICE_UNAVAILABLE, Failure::Busy, transaction);
        }
        self.failure_page(StatusCode::INTERNAL_SERVER_ERROR, Failure::Internal, transaction)
    }
}
