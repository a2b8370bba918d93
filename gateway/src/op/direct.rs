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
use gateway_core::circumstances::Place;
use gateway_core::digest::sha256;
use gateway_core::error::Failure;
use gateway_core::ids::{ProviderId, base64url};
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

pub(super) const COOKIE: &str = "__Host-direct";
const TABLE: &str = "direct";
/// How long the question waits for its answer.
const LIFETIME: Duration = Duration::from_secs(300);
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
        Ok(Some((secret, assertion))) => {
            let (locale, provider) = (visit.chosen_locale(), &assertion.provider);
            let page = Direct::new(&visit.active, locale, provider, visit.offered_to(provider), question(&secret));
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
        // The answer is to the page that was shown: what arrived since waits for an answer of its own.
        Ok(Some((secret, _))) if form.one("question").ok().flatten() != Some(&question(&secret)) => {
            reply::see_other(&format!("{}/direct", app.issuer))
        }
        Ok(Some((secret, assertion))) => visit.enter(&secret, assertion, &form).await,
        Ok(None) => visit.failure_page(StatusCode::FORBIDDEN, Failure::Expired, None),
        Err(error) => visit.internal(&*error, None),
    }
}

/// Names what a page asks about.
fn question(secret: &Secret<String>) -> String {
    base64url(&sha256(format!("direct\n{}", secret.expose()).as_bytes()))
}

impl Visit<'_> {
    async fn direct(&self, provider: &ProviderId, params: &Params) -> Response {
        let Some(adapter) = self.active.adapters.get(provider) else {
            return self.failure_page(StatusCode::NOT_FOUND, Failure::NotFound, None);
        };
        // Where it could lead nowhere, nobody makes us call the provider.
        if self.offered_to(provider).is_empty() {
            return self.failure_page(StatusCode::NOT_FOUND, Failure::NotFound, None);
        }
        // Strangers can make us call the provider: so often for one address, and never all that may call at once.
        let (limits, address) = (&self.app.limits, request::address(self.parts));
        let allowed = limits.direct_rate.allows(&address, self.now);
        let place = limits.direct.try_take(&[provider.as_str(), &address]).filter(|_| allowed);
        let Some(_place) = place else {
            return self.failure_page(StatusCode::SERVICE_UNAVAILABLE, Failure::Busy, None);
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
        let leg = Leg { provider, state: &Secret::new(String::new()), left_at: self.now };
        let Some(mut assertion) = self.assertion(leg, answer) else {
            return self.failure_page(StatusCode::FORBIDDEN, Failure::ProviderNotAccepted, None);
        };
        // Nobody asked for this login, so nobody knows when it was.
        if !assertion.time_stated {
            assertion.auth_time = None;
        }
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
        let opened = self.app.seals.open_record(secret, &sealed);
        Ok(opened.map(|assertion| (Secret::new(secret.to_owned()), assertion)))
    }

    /// The services that accept this provider, at portals that can begin a sign-in when they are told to. Those on shared
    /// machines would not use the session that this makes.
    fn offered_to(&self, provider: &ProviderId) -> Vec<DirectChoice> {
        let catalog = &self.active.catalog;
        let mut choices = Vec::new();
        for client in
            self.active.clients().filter(|client| client.initiate_login_uri.is_some() && !client.place.is_shared())
        {
            let services = catalog.policies().services().filter(|service| service.is_offered_by(&client.id));
            let services = services.filter(|service| self.active.admits(&client.id, &service.id));
            for service in services.filter(|service| service.trusted().contains(&provider)) {
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
        let choice = self.offered_to(&assertion.provider).into_iter().find(|choice| choice.value() == chosen);
        let Some((choice, address)) = choice.and_then(|choice| self.initiation(&choice).map(|at| (choice, at))) else {
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
            let id = self.session_of(&known.person, self.app.entropy.token()?.expose().clone()).await?;
            let place = self.active.client(&choice.client).map_or(Place::Browser, |found| found.client.place);
            self.begin_session(&mut response, id, place, (&known.person, &assertion)).await?;
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
        let client = &self.active.client(&choice.client)?.client;
        let service = self.active.catalog.policies().service(&choice.service)?;
        let mut address = client.initiate_login_uri.clone()?;
        let mut query = address.query_pairs_mut();
        query.append_pair("iss", &self.app.issuer).append_pair("target_link_uri", service.resource.as_str());
        drop(query);
        Some(address)
    }
}
