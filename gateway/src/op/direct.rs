//! A sign-in that began at the provider: the person opened a service from inside the provider's app.
//!
//! Nothing of ours was asked before, so nothing binds the answer to this browser: whoever sends somebody such a link could
//! sign them in as a stranger (login CSRF). So what was proved is laid aside, this browser's session is not touched, and a
//! page asks. Only the person's yes makes it a session, and the portal then begins an ordinary sign-in
//! (OpenID Connect Core section 4).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use gateway_core::assertion::Assertion;
use gateway_core::error::Failure;
use gateway_core::ids::ProviderId;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use http::{Request, StatusCode};
use url::Url;

use super::Visit;
use super::session::SessionError;
use super::waiting::Leg;
use crate::app::App;
use crate::http::{reply, request};
use crate::pages::{Direct, DirectChoice};
use crate::store::{Batch, Class, Key, StoreError, Write};

const COOKIE: &str = "__Host-direct";
const TABLE: &str = "direct";
/// How long the question waits for its answer.
const LIFETIME: Duration = Duration::from_secs(300);
/// How old a login may be whose code has just arrived: codes live half a minute, clocks differ as much.
const OLDEST: Duration = Duration::from_secs(60);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// `GET /direct/{provider}`: from the provider, with a code and no request of ours.
pub async fn arrive(State(app): State<Arc<App>>, Path(provider): Path<String>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match (request::query(&parts), provider.parse()) {
        (Ok(params), Ok(provider)) => visit.direct(&provider, &params).await,
        _ => visit.failure_page(StatusCode::BAD_REQUEST, Failure::ProviderMisbehaved, None),
    }
}

/// `GET /direct`: the question.
pub async fn show(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    match visit.parked().await {
        Ok(Some((_, assertion))) => {
            let locale = visit.chosen_locale();
            let page = Direct::new(&visit.active, locale, &assertion.provider, visit.offered_to(&assertion));
            reply::page(StatusCode::OK, page.html(), None)
        }
        Ok(None) => visit.failure_page(StatusCode::FORBIDDEN, Failure::Expired, None),
        Err(error) => visit.internal(&*error, None),
    }
}

/// `POST /direct`: the answer.
pub async fn answer(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let visit = Visit::new(&app, &parts);
    let form = request::form(&parts, body).await.ok().filter(|_| request::is_same_origin(&parts, &app.issuer));
    let Some(form) = form else { return visit.failure_page(StatusCode::FORBIDDEN, Failure::WrongStep, None) };
    match visit.parked().await {
        Ok(Some((secret, assertion))) => visit.enter(&secret, assertion, &form).await,
        Ok(None) => visit.failure_page(StatusCode::FORBIDDEN, Failure::Expired, None),
        Err(error) => visit.internal(&*error, None),
    }
}

impl Visit<'_> {
    async fn direct(&self, provider: &ProviderId, params: &Params) -> Response {
        let Some(adapter) = self.active.adapters.get(provider) else {
            return self.failure_page(StatusCode::NOT_FOUND, Failure::NotFound, None);
        };
        let fresh = match self.fresh() {
            Ok(fresh) => fresh,
            Err(error) => return self.internal(&error, None),
        };
        let step = adapters::Step { state: "", fresh: &fresh, now: self.now };
        let answer = match adapter.direct(params, step).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%provider, %error, "direct");
                return self.failure_page(StatusCode::BAD_GATEWAY, error.failure(), None);
            }
        };
        let leg = Leg { provider, state: &Secret::new(String::new()), left_at: self.now.minus(OLDEST) };
        let Some(assertion) = self.assertion(leg, answer) else {
            return self.failure_page(StatusCode::FORBIDDEN, Failure::ProviderNotAccepted, None);
        };
        match self.park(&assertion).await {
            Ok(secret) => {
                let mut response = reply::see_other(&format!("{}/direct", self.app.issuer));
                reply::set_cookie(&mut response, COOKIE, secret.expose(), LIFETIME.as_secs());
                response
            }
            Err(error) => self.internal(&error, None),
        }
    }

    async fn park(&self, assertion: &Assertion) -> Result<Secret<String>, SessionError> {
        let secret = self.app.entropy.token()?;
        let sealed = self.app.seals.record(secret.expose(), assertion)?;
        let until = Some(self.now.plus(LIFETIME));
        let write = Write::Insert(Key::of_secret(TABLE, secret.expose()), sealed, until);
        self.app.store.commit(Class::Ephemeral, Batch::of(write), self.now).await?;
        Ok(secret)
    }

    async fn parked(&self) -> Result<Option<(Secret<String>, Assertion)>, Error> {
        let Some(secret) = request::cookie(self.parts, COOKIE) else { return Ok(None) };
        let sealed = self.app.store.get(Class::Ephemeral, &Key::of_secret(TABLE, secret), self.now).await?;
        let Some(sealed) = sealed else { return Ok(None) };
        Ok(Some((Secret::new(secret.to_owned()), self.app.seals.open_record(secret, &sealed)?)))
    }

    /// The services that accept this provider, at portals that can begin a sign-in when they are told to.
    fn offered_to(&self, assertion: &Assertion) -> Vec<DirectChoice> {
        let catalog = &self.active.catalog;
        let mut choices = Vec::new();
        for client in catalog.clients().filter(|client| client.initiate_login_uri.is_some()) {
            let services = catalog.policies().services().filter(|service| service.clients.contains(&client.id));
            for service in services.filter(|service| service.trusted().contains(&&assertion.provider)) {
                choices.push(DirectChoice { client: client.id.clone(), service: service.id.clone() });
            }
        }
        choices.sort_by(|a, b| (&a.client, &a.service).cmp(&(&b.client, &b.service)));
        choices
    }

    /// The person said yes: what was proved becomes this browser's session, and the portal is told to begin.
    async fn enter(&self, secret: &Secret<String>, assertion: Assertion, form: &Params) -> Response {
        let one = |name| form.one(name).ok().flatten().unwrap_or_default();
        let chosen = one("to");
        if one("decision") != "yes" {
            let gone = self.forget_parked(secret).await;
            let mut response = match gone {
                Ok(()) => reply::see_other(&format!("{}/account", self.app.issuer)),
                Err(error) => self.internal(&error, None),
            };
            reply::drop_cookie(&mut response, COOKIE);
            return response;
        }
        let choice = self.offered_to(&assertion).into_iter().find(|choice| choice.value() == chosen);
        let Some(address) = choice.as_ref().and_then(|choice| self.initiation(choice)) else {
            return self.failure_page(StatusCode::BAD_REQUEST, Failure::WrongStep, None);
        };
        let entered = async {
            // The gate: the same answer makes one session, however often it is posted.
            self.take_answer(secret).await?;
            self.forget_parked(secret).await?;
            let known = self.person(&assertion, None).await?;
            if let Some(write) = known.write {
                self.app.store.commit(Class::Durable, Batch::of(write), self.now).await?;
            }
            let mut response = reply::see_other(address.as_str());
            self.begin_session(&mut response, &known.person, &assertion).await?;
            reply::drop_cookie(&mut response, COOKIE);
            Ok::<_, Error>(response)
        };
        match entered.await {
            Ok(response) => response,
            Err(error) if matches!(error.downcast_ref(), Some(StoreError::Conflict)) => {
                self.failure_page(StatusCode::FORBIDDEN, Failure::AlreadyFinished, None)
            }
            Err(error) => self.internal(&*error, None),
        }
    }

    async fn forget_parked(&self, secret: &Secret<String>) -> Result<(), StoreError> {
        let delete = Write::Delete(Key::of_secret(TABLE, secret.expose()));
        self.app.store.commit(Class::Ephemeral, Batch::of(delete), self.now).await
    }

    /// Where a portal begins a sign-in for a service when somebody else asks it to.
    fn initiation(&self, choice: &DirectChoice) -> Option<Url> {
        let client = &self.active.catalog.client(&choice.client)?.client;
        let service = self.active.catalog.policies().service(&choice.service)?;
        let mut address = client.initiate_login_uri.clone()?;
        let mut query = address.query_pairs_mut();
        query.append_pair("iss", &self.app.issuer).append_pair("target_link_uri", service.resource.as_str());
        drop(query);
        Some(address)
    }
}
