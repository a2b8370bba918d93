//! `/authorize` (OpenID Connect Core section 3.1.2), by GET and by POST.
//!
//! Nothing is stored for a visit that may never come back: the transaction leaves in the browser's own cookie.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use gateway_core::authorize::{self, AuthorizationRequest, Refusal, Registry};
use gateway_core::client::Client;
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ServiceId, TransactionId};
use gateway_core::interaction::{LinkQuestion, Stage, TRANSACTION_LIFETIME, Transaction};
use gateway_core::params::Params;
use http::{Request, StatusCode};

use super::Visit;
use crate::app::App;
use crate::http::{reply, request};

/// `GET /authorize`.
pub async fn get(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match request::query(&parts) {
        Ok(params) => match visit.open(&params) {
            Ok(transaction) => visit.begin(transaction).await,
            Err(response) => *response,
        },
        Err(_) => visit.failure_page(StatusCode::BAD_REQUEST, Failure::MalformedRequest, None),
    }
}

/// `POST /authorize`. A portal's cross-site POST comes without our cookies, so the browser brings the same request again
/// by GET, which has them.
pub async fn post(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let Ok(params) = request::form(&parts, body).await else {
        return visit.failure_page(StatusCode::BAD_REQUEST, Failure::MalformedRequest, None);
    };
    match visit.open(&params) {
        Ok(_) => reply::see_other(&format!("{}/authorize?{}", app.issuer, params.encode())),
        Err(response) => *response,
    }
}

impl Visit<'_> {
    /// Checks a request and opens its transaction, or answers why not.
    fn open(&self, params: &Params) -> Result<Transaction, Box<Response>> {
        let mut request = authorize::parse(params, self, self.now).map_err(|refusal| {
            Box::new(match refusal {
                Refusal::Page(failure) => self.failure_page(StatusCode::BAD_REQUEST, failure, None),
                Refusal::Reply(to, error) => self.client_error(&to, &error),
            })
        })?;
        self.keep_releasable(&mut request);
        self.transaction_for(request).map_err(|error| Box::new(self.internal(&error, None)))
    }

    /// Lets go of claims that the service is never given: they need not travel.
    fn keep_releasable(&self, request: &mut AuthorizationRequest) {
        let service = self.active.catalog.policies().service(&request.service);
        let releasable =
            |name: &String| service.is_some_and(|service| service.release.iter().any(|row| row.claim.as_str() == name));
        request.claims.id_token.retain(|name, _| releasable(name));
        request.claims.userinfo.retain(|name, _| releasable(name));
        request.claims.verified.iter_mut().for_each(|verified| verified.claims.retain(releasable));
        request.claims.verified.retain(|verified| !verified.claims.is_empty());
    }

    fn transaction_for(&self, request: AuthorizationRequest) -> Result<Transaction, crate::ports::NoEntropy> {
        let id = TransactionId::from_random(self.app.entropy.bytes()?);
        let expires_at = self.now.plus(TRANSACTION_LIFETIME);
        let transaction = Transaction {
            id,
            request,
            stage: Stage::Choosing,
            locale: None,
            failure: None,
            fell_short: None,
            link: LinkQuestion::Open,
            expires_at,
        };
        tracing::info!(
            trace = Visit::trace(&transaction), client = %transaction.request.client,
            service = %transaction.request.service, "sign-in begins"
        );
        Ok(transaction)
    }
}

impl Registry for Visit<'_> {
    fn client(&self, id: &ClientId) -> Option<&Client> {
        self.active.catalog.client(id).map(|registered| &registered.client)
    }

    fn service(&self, client: &Client, resource: Option<&str>) -> Option<ServiceId> {
        match resource {
            Some(resource) => self.active.catalog.policies().service_at(&client.id, resource).map(|s| s.id.clone()),
            None => client.default_service.clone(),
        }
    }

    fn hinted_subject(&self, client: &Client, id_token: &str) -> Option<String> {
        let keys = self.app.keys.verifying();
        let unverified = certs::jws::Unverified::parse(id_token).ok()?;
        let claims = unverified.verify(&keys, &certs::key::Algorithm::ALL).ok()?;
        // An old token still names the person: expiry is not looked at (OpenID Connect Core section 3.1.2.1).
        let ours = certs::claims::text(&claims, "iss").ok()? == self.app.issuer;
        let theirs = certs::claims::has_audience(&claims, client.id.as_str()).ok()?;
        (ours && theirs).then(|| certs::claims::text(&claims, "sub").ok().map(str::to_owned))?
    }
}
