//! A simulated plain OpenID Connect provider, one for each place.
//!
//! It speaks the authorization code flow with PKCE, keeps sessions so that `prompt` and `max_age`
//! mean something, and can be told to misbehave through [`Control`]. Personal claims come from the
//! userinfo endpoint by scope: `profile`, `email`, `phone` and `document` (identity documents).

mod authorize;
mod client_auth;
mod control;
mod id_token;
mod metadata;
mod page;
#[cfg(test)]
mod tests;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use serde_json::Value;

use crate::SandboxError;
use crate::people::Person;
use crate::table::Table;

pub use crate::people::Place;
pub use control::{Control, Counters, Misbehaviour};
pub use page::form_handle;

/// Request bodies longer than this are refused.
const BODY_LIMIT: usize = 64 * 1024;

/// What a simulated provider is and whom it knows.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Decides the look and the vocabulary of `acr`.
    pub place: Place,
    /// Issuer without a path or a final slash, such as `https://localhost:9443`.
    pub issuer: String,
    /// Clients that may send people here.
    pub clients: Vec<RegisteredClient>,
    /// Accounts, usually [`crate::people::catalogue`].
    pub people: Vec<Person>,
}

/// A client known to the provider.
#[derive(Clone, Debug)]
pub struct RegisteredClient {
    /// Identifier on the wire.
    pub client_id: String,
    /// Allowed redirect addresses, compared as whole strings.
    pub redirect_uris: Vec<String>,
    /// The one way this client proves itself.
    pub auth: ClientAuth,
}

/// How a client proves itself at the token endpoint.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// A shared secret, in the `Authorization` header or in the form.
    Secret(String),
    /// A signed assertion (RFC 7523) under one of the client's public keys.
    PrivateKeyJwt {
        /// JWK set with the client's public keys.
        jwks: Value,
    },
}

/// A simulated provider; build one, then serve its [`ProviderSim::router`].
pub struct ProviderSim {
    shared: Arc<Shared>,
}

impl ProviderSim {
    /// Makes a provider with a new signing key and no sessions.
    ///
    /// # Errors
    /// When no signing key can be made.
    pub fn new(config: ProviderConfig) -> Result<Self, SandboxError> {
        let shared = Shared {
            config,
            control: Control::new()?,
            requests: Table::new(),
            codes: Table::new(),
            spent_codes: Table::new(),
            access_tokens: Table::new(),
            sessions: Table::new(),
            assertions: Table::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// All routes of the provider; every router made from one provider shares its state.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(metadata::discovery))
            .route("/jwks", get(metadata::jwks))
            .route("/authorize", get(authorize::by_get).post(authorize::by_post))
            .route("/authorize/decide", post(authorize::decide))
            .route("/token", post(token::token))
            .route("/userinfo", get(userinfo::userinfo).post(userinfo::userinfo))
            .route("/style.css", get(page::style))
            .route("/emblem.svg", get(page::emblem))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(Arc::clone(&self.shared))
    }

    /// A handle to steer and watch this provider while it serves.
    #[must_use]
    pub fn control(&self) -> Control {
        self.shared.control.clone()
    }
}

/// State behind all routes of one provider.
struct Shared {
    config: ProviderConfig,
    control: Control,
    /// Requests waiting at the login form, by the form's hidden handle.
    requests: Table<AuthRequest>,
    codes: Table<CodeGrant>,
    /// Access token minted from each used code, so that a replay can revoke it.
    spent_codes: Table<String>,
    access_tokens: Table<AccessGrant>,
    sessions: Table<Session>,
    /// Assertion identifiers already seen.
    assertions: Table<()>,
}

impl Shared {
    fn client(&self, client_id: &str) -> Option<&RegisteredClient> {
        self.config.clients.iter().find(|client| client.client_id == client_id)
    }

    fn person(&self, id: &str) -> Option<&Person> {
        self.config.people.iter().find(|person| person.id == id)
    }

    /// Address of an endpoint below the issuer.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.config.issuer)
    }
}

/// An authorization request that passed all checks but still needs a person.
#[derive(Clone)]
struct AuthRequest {
    client_id: String,
    redirect_uri: String,
    state: Option<String>,
    nonce: Option<String>,
    challenge: Option<String>,
    scopes: Vec<String>,
    prompt: Option<String>,
    max_age: Option<u64>,
    /// Values of an essential `acr` request; empty when anything will do.
    essential_acr: Vec<String>,
    /// Names asked for in the `claims` parameter.
    id_token_claims: Vec<String>,
    userinfo_claims: Vec<String>,
    login_hint: Option<String>,
    english: bool,
}

/// What a code stands for.
#[derive(Clone)]
struct CodeGrant {
    request: AuthRequest,
    person: String,
    auth_time: u64,
}

/// What an access token opens.
#[derive(Clone)]
struct AccessGrant {
    person: String,
    scopes: Vec<String>,
    claims: Vec<String>,
}

/// A remembered login in one browser.
#[derive(Clone)]
struct Session {
    person: String,
    auth_time: u64,
}
