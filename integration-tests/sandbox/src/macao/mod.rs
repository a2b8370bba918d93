//! A stand-in for Macao's One Account, profile pending SAFP.
//!
//! Nothing public describes the real service on the wire: no endpoint, no scope, no claim. So every
//! address and every JSON name here is openly made up, and none may be taken for the real one. What
//! the stand-in keeps is what is known of the service itself: an OAuth-like authorization address
//! that returns at once when a session exists, the kinds of account and holder, the ways of proofing,
//! and that a service can demand more than a password.
//!
//! The protocol is an OAuth 2.0 code flow (RFC 6749) with PKCE (RFC 7636, S256 only): `/oauth/authorize`,
//! `/oauth/token` with the secret in the form, and `/oauth/account` with the bearer token. The
//! parameter `factor` (`password`, `otp`, `face`, `cloud-signature`) asks for a login in which that
//! factor takes part; `ui_locales` chooses between Chinese and Portuguese.

mod account;
mod authorize;
mod control;
mod page;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::people::{MacaoAccount, Person};
use crate::table::Table;
use crate::{SandboxError, entropy, web};

pub use crate::provider::form_handle;
pub use control::{Control, Counters, Misbehaviour};

/// Request bodies longer than this are refused.
const BODY_LIMIT: usize = 64 * 1024;

/// What the stand-in is and whom it knows.
#[derive(Clone, Debug)]
pub struct MacaoConfig {
    /// Where it is served, without a path or a final slash, such as `https://localhost:9444`.
    pub origin: String,
    /// Clients that may send people here.
    pub clients: Vec<MacaoClient>,
    /// Accounts, usually [`crate::people::catalogue`]; people without a Macao account are not offered.
    pub people: Vec<Person>,
}

/// A client known to the stand-in.
#[derive(Clone, Debug)]
pub struct MacaoClient {
    /// Identifier on the wire.
    pub client_id: String,
    /// The secret it sends in the form of the token request.
    pub client_secret: String,
    /// Allowed redirect addresses, compared as whole strings.
    pub redirect_uris: Vec<String>,
}

/// The stand-in; build one, then serve its [`MacaoSim::router`].
pub struct MacaoSim {
    shared: Arc<Shared>,
}

impl MacaoSim {
    /// Makes a stand-in without sessions.
    ///
    /// # Errors
    /// When the operating system gives no random bytes, without which no login could ever work.
    pub fn new(config: MacaoConfig) -> Result<Self, SandboxError> {
        entropy::token()?;
        let shared = Shared {
            config,
            control: Control::new(),
            requests: Table::new(),
            codes: Table::new(),
            spent_codes: Table::new(),
            access_tokens: Table::new(),
            sessions: Table::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// All routes of the stand-in; every router made from one stand-in shares its state.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/oauth/authorize", get(authorize::authorize))
            .route("/login/decide", post(authorize::decide))
            .route("/oauth/token", post(token::token))
            .route("/oauth/account", get(account::account))
            .route("/style.css", get(page::style))
            .route("/emblem.svg", get(page::emblem))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(Arc::clone(&self.shared))
    }

    /// A handle to steer and watch this stand-in while it serves.
    #[must_use]
    pub fn control(&self) -> Control {
        self.shared.control.clone()
    }
}

/// State behind all routes of one stand-in.
struct Shared {
    config: MacaoConfig,
    control: Control,
    /// Requests waiting at the login form, by the form's hidden handle.
    requests: Table<AuthRequest>,
    codes: Table<CodeGrant>,
    /// Access token minted from each used code, so that a replay can revoke it.
    spent_codes: Table<String>,
    access_tokens: Table<Login>,
    sessions: Table<Login>,
}

impl Shared {
    fn client(&self, client_id: &str) -> Option<&MacaoClient> {
        self.config.clients.iter().find(|client| client.client_id == client_id)
    }

    fn account(&self, id: &str) -> Option<(&Person, &MacaoAccount)> {
        self.accounts().find(|(person, _)| person.id == id)
    }

    fn accounts(&self) -> impl Iterator<Item = (&Person, &MacaoAccount)> {
        self.config.people.iter().filter_map(|person| Some((person, person.macao.as_ref()?)))
    }

    fn session_cookie(&self) -> String {
        web::cookie_name("mo-account", &self.config.origin)
    }
}

/// An authorization request that passed all checks but still needs a person.
#[derive(Clone)]
struct AuthRequest {
    client_id: String,
    redirect_uri: String,
    state: Option<String>,
    challenge: String,
    /// A factor that must take part in the login.
    factor: Option<String>,
    portuguese: bool,
}

impl AuthRequest {
    /// Whether logging in by `way`, such as `password+otp`, is what the client asked for.
    fn accepts(&self, way: &str) -> bool {
        self.factor.as_ref().is_none_or(|factor| way.split('+').any(|used| used == factor))
    }
}

/// Who logged in, how and when.
#[derive(Clone)]
struct Login {
    person: String,
    /// Factors joined by `+`.
    way: String,
    at: u64,
}

/// What a code stands for.
#[derive(Clone)]
struct CodeGrant {
    request: AuthRequest,
    login: Login,
}
