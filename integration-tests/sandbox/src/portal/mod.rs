//! A sample portal: a relying party written against OpenID Connect, not against the gateway.
//!
//! It signs a person in for one of its services, checks the answer as strictly as the specification
//! lets it, and shows every claim it received. Asked for JSON, `/callback` gives the same to a test.

mod callback;
mod discovery;
mod elsewhere;
mod http;
mod login;
mod page;
#[cfg(test)]
mod tests;
mod token;
mod verify;

use std::sync::Arc;

use ::http::StatusCode;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::table::Table;
use crate::web;

pub use http::PortalHttp;

/// Request bodies longer than this are refused; the portal expects none.
const BODY_LIMIT: usize = 16 * 1024;

/// What a portal is and where it sends people to sign in.
#[derive(Clone)]
pub struct PortalConfig {
    /// English name.
    pub name: String,
    /// Chinese name, shown first.
    pub name_zh: String,
    /// Public address without a final slash; the redirect address is `{base_url}/callback`.
    pub base_url: String,
    /// Issuer to trust, exactly as its discovery document states it.
    pub issuer: String,
    /// Identifier of this portal at the issuer.
    pub client_id: String,
    /// How the portal proves itself at the token endpoint.
    pub client_auth: PortalAuth,
    /// Scopes of every sign-in, `openid` included.
    pub scope: String,
    /// Services offered on the home page; at least one.
    pub services: Vec<PortalService>,
    /// How the portal reaches people who are not at its browser, if it does.
    pub elsewhere: Option<Elsewhere>,
    /// How the portal reaches the issuer.
    pub http: PortalHttp,
}

/// How a portal reaches people who answer on their own phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// It is a terminal, which shows a code (RFC 8628).
    Terminal,
    /// It is a counter, which asks them (OpenID Connect Client-Initiated Backchannel Authentication).
    Counter,
}

/// How a portal proves itself at the token endpoint.
#[derive(Clone, Debug)]
pub enum PortalAuth {
    /// A shared secret in the `Authorization` header.
    SecretBasic(String),
    /// An assertion signed with a private key.
    PrivateKeyJwt {
        /// Private ES256 JWK, with a `kid` if the issuer knows several keys.
        jwk: Value,
    },
}

/// One government matter behind the portal.
#[derive(Clone, Debug)]
pub struct PortalService {
    /// RFC 8707 resource that names the service on the wire.
    pub resource: String,
    /// Chinese name.
    pub name_zh: String,
    /// English name.
    pub name_en: String,
    /// The `claims` parameter, if any.
    pub claims: Option<Value>,
    /// The `acr_values` parameter, if any.
    pub acr_values: Option<String>,
    /// The `max_age` parameter, if any.
    pub max_age: Option<u64>,
}

/// A sample portal; build one, then serve its [`PortalSim::router`].
pub struct PortalSim {
    shared: Arc<Shared>,
}

impl PortalSim {
    /// Makes a portal that knows nothing of its issuer yet; metadata is fetched at the first login.
    #[must_use]
    pub fn new(config: PortalConfig) -> Self {
        let shared = Shared {
            config,
            transactions: Table::new(),
            sessions: Table::new(),
            waiting: Table::new(),
            provider: discovery::Cache::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// All routes of the portal; every router made from one portal shares its state.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", get(page::home))
            .route("/login", get(login::login))
            .route("/callback", get(callback::callback))
            .route("/elsewhere", post(elsewhere::ask))
            .route("/elsewhere/{id}", get(elsewhere::wait))
            .route("/logout", get(logout).post(logout))
            .route("/privacy", get(page::privacy))
            .route("/style.css", get(page::style))
            .route("/emblem.svg", get(page::emblem))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(Arc::clone(&self.shared))
    }
}

/// State behind all routes of one portal.
struct Shared {
    config: PortalConfig,
    /// Sign-ins under way, by their `state`.
    transactions: Table<Transaction>,
    /// Subject of each signed-in browser.
    sessions: Table<String>,
    /// People who were asked elsewhere, by the page that waits for them.
    waiting: Table<elsewhere::Waiting>,
    provider: discovery::Cache,
}

impl Shared {
    fn redirect_uri(&self) -> String {
        format!("{}/callback", self.config.base_url)
    }

    /// Cookie that ties a sign-in to the browser that began it; one browser may have many under way.
    fn browser_cookie(&self) -> String {
        web::cookie_name("browser", &self.config.client_id)
    }

    fn session_cookie(&self) -> String {
        web::cookie_name("session", &self.config.client_id)
    }
}

/// One sign-in between leaving for the issuer and coming back.
#[derive(Clone)]
struct Transaction {
    browser: String,
    nonce: String,
    verifier: String,
    service: usize,
    max_age: Option<u64>,
    started: u64,
}

/// Why a sign-in failed, and where.
#[derive(Debug)]
struct Failure {
    stage: &'static str,
    error: String,
    description: String,
}

impl Failure {
    fn new(stage: &'static str, error: impl Into<String>, description: impl Into<String>) -> Self {
        Self { stage, error: error.into(), description: description.into() }
    }

    /// A check of the portal's own failed.
    fn check(description: impl Into<String>) -> Self {
        Self::new("validation", "invalid_response", description)
    }

    fn json(&self) -> Value {
        json!({ "stage": self.stage, "error": self.error, "error_description": self.description })
    }
}

/// `GET` or `POST /logout`: forgets the person here; the issuer is not told.
async fn logout(State(shared): State<Arc<Shared>>, headers: ::http::HeaderMap) -> Response {
    if let Some(id) = web::cookie(&headers, &shared.session_cookie()) {
        shared.sessions.take(&id);
    }
    let mut response = web::redirect("/");
    web::set_cookie(&mut response, &shared.session_cookie(), "");
    response
}

/// An error page for a person whose sign-in could not even begin.
fn cannot_begin(shared: &Shared, failure: &Failure) -> Response {
    web::html(StatusCode::BAD_GATEWAY, page::failure(shared, failure))
}
