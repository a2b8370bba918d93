//! Waiting for a provider: the person approves there, the provider delivers server to server, and this browser goes on.
//!
//! What is known about an open request lies in the ephemeral class, sealed under the request's own name, which only the
//! provider and this browser's sealed cookie have. So any node takes the delivery, any node goes on, and a restart
//! loses nothing.

use std::sync::Arc;

use adapters::{Approval, Deliveries, Delivery, Progress, Received, Waiting};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::error::Failure;
use gateway_core::ids::ProviderId;
use gateway_core::interaction::{Stage, Transaction, Wait};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::Visit;
use super::session::SessionError;
use crate::app::App;
use crate::http::listener::PeerCertificate;
use crate::http::{reply, request};
use crate::pages;
use crate::store::{Batch, Class, Key, StoreError, Write};

/// Requests that are open at providers, by the digest of their names.
const OPEN: &str = "open";
/// What was delivered for them.
const DELIVERED: &str = "delivered";

/// How often a delivery looks again for its request, which it may have overtaken, and after how long each time.
const OVERTAKEN_BY: u32 = 10;
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(150);

/// An open request, as it is kept for whoever knows its name.
#[derive(Serialize, Deserialize)]
struct OpenRequest {
    provider: ProviderId,
    state: Secret<String>,
    /// The adapter's own.
    memo: Secret<String>,
    /// When the provider gives up; what is delivered later counts no more.
    until: Timestamp,
}

/// The provider's part of a sign-in: which one, the `state` of what is under way there, and since when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg<'a> {
    pub(super) provider: &'a ProviderId,
    pub(super) state: &'a Secret<String>,
    pub(super) left_at: Timestamp,
}

/// `GET /login/{transaction}/wait`: where the person waits. Looking changes nothing, so a script may look as well.
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.waits(&id).await {
        Ok((transaction, wait)) => visit.wait_page(transaction, &wait).await,
        Err(response) => *response,
    }
}

/// `GET /login/{transaction}/continue`: on, once the delivery is here.
pub async fn go_on(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.waits(&id).await {
        Ok((transaction, wait)) => visit.resume(transaction, &wait).await,
        Err(response) => *response,
    }
}

/// `POST /receive/{provider}`: a delivery. The answer tells a stranger nothing.
///
/// The body is read and checked before a place is taken: only deliveries that are believed have one.
pub async fn receive(State(app): State<Arc<App>>, Path(provider): Path<String>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let certificate = parts.extensions.get::<PeerCertificate>().cloned();
    let visit = Visit::new(&app, &parts);
    let Ok(body) = request::bytes(body).await else { return reply::empty(StatusCode::BAD_REQUEST) };
    let delivery = Delivery { body: &body, certificate: certificate.as_ref().map(|certificate| certificate.0.leaf()) };
    match visit.delivered(&provider, delivery).await {
        Ok(()) => reply::json(StatusCode::OK, &serde_json::json!({})),
        Err(status) => reply::empty(status),
    }
}

impl Visit<'_> {
    /// The transaction that a path names, if it waits; or the answer that leads to where it is.
    async fn waits(&self, id: &str) -> Result<(Transaction, Wait), Box<Response>> {
        let transaction = self.running(id).await?;
        match transaction.stage.clone() {
            Stage::Waiting(wait) => Ok((transaction, wait)),
            _ => Err(Box::new(self.where_it_is(transaction))),
        }
    }

    /// Lays an open request down, and sends the browser to wait.
    pub(super) async fn wait(&self, mut transaction: Transaction, leg: Leg<'_>, waiting: Waiting) -> Response {
        let Leg { provider, state, left_at } = leg;
        let open =
            OpenRequest { provider: provider.clone(), state: state.clone(), memo: waiting.memo, until: waiting.until };
        if let Err(error) = self.lay_down_request(&waiting.request, &open).await {
            return self.internal(&error, Some(&transaction));
        }
        let app_link = match waiting.approval {
            Approval::ThisDevice(link) => link.to_string(),
            Approval::OtherDevice => String::new(),
        };
        // The person gets the usual time for what comes after.
        transaction.put_off(waiting.until);
        transaction.stage = Stage::Waiting(Wait {
            provider: provider.clone(),
            request: waiting.request,
            state: state.clone(),
            app_link,
            left_at,
            until: waiting.until,
        });
        let page = format!("{}/login/{}/wait", self.app.issuer, transaction.id);
        self.kept(reply::see_other(&page), transaction)
    }

    async fn lay_down_request(&self, name: &Secret<String>, open: &OpenRequest) -> Result<(), SessionError> {
        // As long as the sign-in itself: the person may come back to it after the provider's time, having approved in it.
        let until = open.until.plus(gateway_core::interaction::TRANSACTION_LIFETIME);
        let sealed = self.app.seals.record(name.expose(), open)?;
        let write = Write::Insert(Key::of_secret(OPEN, name.expose()), sealed, Some(until));
        Ok(self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await?)
    }

    async fn open_request(&self, name: &Secret<String>) -> Result<Option<OpenRequest>, SessionError> {
        let key = Key::of_secret(OPEN, name.expose());
        let Some(sealed) = self.app.store.get(Class::Ephemeral, &key, self.now).await? else { return Ok(None) };
        Ok(self.app.seals.open_record(name.expose(), &sealed))
    }

    /// An open request, or one that is about to be: the person may approve before the answer to our request is here. Only
    /// whoever is believed makes us wait.
    async fn open_request_soon(&self, name: &Secret<String>) -> Result<Option<OpenRequest>, SessionError> {
        for _ in 0..OVERTAKEN_BY {
            if let Some(open) = self.open_request(name).await? {
                return Ok(Some(open));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.open_request(name).await
    }

    /// Closes an open request: a delivery for it comes too late from here on.
    pub(super) async fn close_request(&self, transaction: &Transaction) {
        let Stage::Waiting(wait) = &transaction.stage else { return };
        let delete = |table| Write::Delete(Key::of_secret(table, wait.request.expose()));
        let batch = Batch::of(delete(OPEN)).and(delete(DELIVERED));
        if let Err(error) = self.app.store.commit(Class::Ephemeral, batch, self.now).await {
            tracing::warn!(trace = Self::trace(transaction), %error, "an open request cannot be closed");
        }
    }

    /// Takes a delivery, if it is to be believed and answers a request that is open.
    async fn delivered(&self, provider: &str, delivery: Delivery<'_>) -> Result<(), StatusCode> {
        let provider: ProviderId = provider.parse().map_err(|_| StatusCode::NOT_FOUND)?;
        let adapter = self.active.adapters.get(&provider).ok_or(StatusCode::NOT_FOUND)?;
        let refused = |why: &dyn std::fmt::Display| {
            tracing::warn!(%provider, "delivery refused: {why}");
            StatusCode::FORBIDDEN
        };
        match adapter.deliveries() {
            Deliveries::None => return Err(refused(&"the provider delivers nothing")),
            Deliveries::Certified if delivery.certificate.is_none() => {
                return Err(refused(&"the connection has no client certificate"));
            }
            Deliveries::Open | Deliveries::Certified => {}
        }
        let fresh = self.fresh().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        let step = adapters::Step { state: "", fresh: &fresh, now: self.now };
        let received = adapter.receive(delivery, step).await.map_err(|error| refused(&error))?;
        let failed = |error: SessionError| {
            tracing::error!(%provider, %error, "delivery");
            StatusCode::SERVICE_UNAVAILABLE
        };
        let place = self.app.limits.deliveries.try_take(&[provider.as_str()]);
        let _place = place.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        let open = self.open_request_soon(&received.request).await.map_err(failed)?;
        let open = open.filter(|open| !open.until.is_past(self.now));
        let open = open.ok_or_else(|| refused(&"no such request is open"))?;
        if open.provider != provider || open.state != received.state {
            return Err(refused(&"it is not the answer to this request"));
        }
        match self.keep_delivery(&received).await {
            // Said twice is said once.
            Ok(()) | Err(SessionError::Store(StoreError::Conflict)) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn keep_delivery(&self, received: &Received) -> Result<(), SessionError> {
        let name = received.request.expose();
        let sealed = self.app.seals.record(name, &received.content)?;
        let until = self.now.plus(gateway_core::interaction::TRANSACTION_LIFETIME);
        let write = Write::Insert(Key::of_secret(DELIVERED, name), sealed, Some(until));
        Ok(self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await?)
    }

    async fn delivery(&self, wait: &Wait) -> Result<Option<Secret<String>>, SessionError> {
        let key = Key::of_secret(DELIVERED, wait.request.expose());
        let Some(sealed) = self.app.store.get(Class::Ephemeral, &key, self.now).await? else { return Ok(None) };
        Ok(self.app.seals.open_record(wait.request.expose(), &sealed))
    }

    async fn wait_page(&self, transaction: Transaction, wait: &Wait) -> Response {
        let found =
            async { Ok::<_, SessionError>((self.open_request(&wait.request).await?, self.delivery(wait).await?)) };
        match found.await {
            // Taken already; what it led to did not reach this browser. Nothing more will come.
            Ok((None, _)) => self.taken_elsewhere(&transaction),
            Ok((Some(_), Some(_))) => {
                reply::see_other(&format!("{}/login/{}/continue", self.app.issuer, transaction.id))
            }
            Ok((Some(_), None)) if wait.until.is_past(self.now) => self.fell_short(transaction, Failure::NotApproved),
            Ok((Some(_), None)) => {
                let locale = self.locale(Some(&transaction));
                let page = pages::Waiting::new(&self.active, locale, &transaction, wait, self.now);
                let response = reply::waiting_page(page.html(), transaction.request.redirect());
                // Looking leaves the cookie as it is: a slow look must not undo what another tab did meanwhile.
                let chosen = self.parts.uri.query().is_some_and(|query| query.contains("lang="));
                if chosen { self.kept(response, transaction) } else { response }
            }
            Err(error) => self.internal(&error, Some(&transaction)),
        }
    }

    /// Goes on with what was delivered; looked at once, whatever comes of it.
    async fn resume(&self, transaction: Transaction, wait: &Wait) -> Response {
        let found =
            async { Ok::<_, SessionError>((self.open_request(&wait.request).await?, self.delivery(wait).await?)) };
        let (open, content) = match found.await {
            Ok((Some(open), Some(content))) => (open, content),
            Ok((Some(_), None)) => return self.where_it_is(transaction),
            Ok((None, _)) => return self.taken_elsewhere(&transaction),
            Err(error) => return self.internal(&error, Some(&transaction)),
        };
        match self.take_answer(&wait.request).await {
            Ok(()) => {}
            Err(StoreError::Conflict) => return self.taken_elsewhere(&transaction),
            Err(error) => return self.internal(&error, Some(&transaction)),
        }
        self.close_request(&transaction).await;
        let Some(adapter) = self.active.adapters.get(&wait.provider) else {
            return self.stop(transaction, Failure::ProviderNotAccepted);
        };
        let (fresh, state) = match self.draw(&transaction) {
            Ok(drawn) => drawn,
            Err(error) => return self.internal(&error, Some(&transaction)),
        };
        let step = adapters::Step { state: state.expose(), fresh: &fresh, now: self.now };
        let progress = adapter.resume(open.memo.expose(), content.expose(), step).await;
        let leg = Leg { provider: &wait.provider, state: &state, left_at: wait.left_at };
        self.progressed(transaction, leg, progress).await
    }

    /// The request is closed, perhaps because another tab went on: the cookie is left as that tab has it.
    fn taken_elsewhere(&self, transaction: &Transaction) -> Response {
        self.failure_page(StatusCode::FORBIDDEN, Failure::AlreadyFinished, Some(transaction))
    }

    /// What an adapter's step comes to.
    pub(super) async fn progressed(
        &self,
        transaction: Transaction,
        leg: Leg<'_>,
        progress: Result<Progress, adapters::UpstreamError>,
    ) -> Response {
        match progress {
            Ok(Progress::Done(answer)) => self.proved(transaction, leg, *answer).await,
            Ok(Progress::Waiting(waiting)) => self.wait(transaction, leg, waiting).await,
            Err(error) => {
                tracing::warn!(provider = %leg.provider, trace = Self::trace(&transaction), %error, "provider");
                self.fell_short(transaction, error.failure())
            }
        }
    }

    /// Sends the browser to where its sign-in is.
    pub(super) fn where_it_is(&self, transaction: Transaction) -> Response {
        let step = match &transaction.stage {
            Stage::Waiting(_) => "/wait",
            Stage::Linking { .. } => "/link",
            Stage::Answered { .. } => "/consent",
            Stage::Upstream(_) | Stage::Choosing => "",
        };
        reply::see_other(&format!("{}/login/{}{step}", self.app.issuer, transaction.id))
    }
}
