//! The chooser, leaving for a provider, and giving up.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::error::Failure;
use gateway_core::ids::{ProviderId, TransactionId};
use gateway_core::interaction::Transaction;
use gateway_core::locale::Locale;
use http::{Request, StatusCode};

use super::Visit;
use crate::app::App;
use crate::http::request;

impl Visit<'_> {
    /// The running transaction that a path names, or the page that says why there is none.
    pub(super) async fn running(&self, id: &str) -> Result<Transaction, Box<Response>> {
        let refuse = |failure, transaction| Box::new(self.failure_page(StatusCode::FORBIDDEN, failure, transaction));
        let id: TransactionId = id.parse().map_err(|_| refuse(Failure::NotFound, None))?;
        let found = self.transaction(&id).await.map_err(|error| Box::new(self.internal(&error, None)))?;
        let mut transaction = found.ok_or_else(|| refuse(Failure::ForeignBrowser, None))?;
        if transaction.is_expired(self.now) {
            return Err(refuse(Failure::Expired, None));
        }
        let chosen = request::query(self.parts).ok();
        let chosen = chosen.as_ref().and_then(|params| params.one("lang").ok().flatten()).and_then(Locale::from_tag);
        transaction.locale = chosen.or(transaction.locale);
        Ok(transaction)
    }
}

/// `GET /login/{transaction}`: the chooser, where a retry continues.
pub async fn chooser(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.running(&id).await {
        Err(response) => *response,
        Ok(transaction) if transaction.request.prompt.none => visit.proceed(transaction, None, None).await,
        Ok(transaction) => {
            visit.close_request(&transaction).await;
            visit.choose(transaction)
        }
    }
}

/// `GET /login/{transaction}/to/{provider}`: off to a provider.
pub async fn depart(
    State(app): State<Arc<App>>,
    Path((id, provider)): Path<(String, String)>,
    request: Request<Body>,
) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let transaction = match visit.running(&id).await {
        Ok(transaction) => transaction,
        Err(response) => return *response,
    };
    match provider.parse::<ProviderId>() {
        Ok(provider) if !transaction.request.prompt.none => visit.go_upstream(transaction, &provider).await,
        _ => visit.stop(transaction, Failure::ProviderNotAccepted),
    }
}

/// `POST /login/{transaction}/cancel`: the person gives up; the client is told why.
pub async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    if !request::is_same_origin(&parts, &app.issuer) {
        return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None);
    }
    match visit.running(&id).await {
        Ok(transaction) => {
            visit.close_request(&transaction).await;
            let why = transaction.failure.unwrap_or(Failure::Cancelled);
            visit.refuse(&transaction, &why.to_oauth()).await
        }
        Err(response) => *response,
    }
}
