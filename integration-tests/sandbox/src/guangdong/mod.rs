//! A simulated unified identity platform of Guangdong, in the three generations its clients know.
//!
//! It is a loose OAuth 2.0 code flow and no OpenID Connect: the token call is a GET with the client
//! secret in its query, there is no `state`, no `nonce`, no PKCE and no forced login, and the person
//! comes from `tokeninfo` as one object full of strings. All generations are served at once:
//!
//! | generation | base | login page |
//! | --- | --- | --- |
//! | legacy | `/am/oauth2` | shown by `authorize` itself, because no landing page of that time is known |
//! | middle | `/tif/sso/connect/page/oauth2` | `/tif/sso/static/` |
//! | current | `/pscp/sso/connect/page/oauth2` | `/pscp/sso/static/` |
//!
//! What nothing public tells is made up here and must not be relied on: the values of `errcode` (they
//! start with `SIM-`) and their status 200, what a refused request looks like (a page), what a
//! cancelled login looks like (the callback without `code`), and the document codes `90` and `91`.
//! Invariant: nothing here speaks to the gateway; a code, a token and a form belong to one generation.

mod account;
mod authorize;
mod control;
mod logout;
mod page;
#[cfg(test)]
mod tests;
mod token;
mod tokeninfo;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use url::Url;

use crate::people::{GuangdongAccount, Person};
use crate::table::Table;
use crate::{SandboxError, entropy, web};

pub use crate::provider::form_handle;
pub use control::{Control, Counters, Misbehaviour};

/// Request bodies longer than this are refused.
const BODY_LIMIT: usize = 64 * 1024;

/// What the simulated platform is and whom it knows.
#[derive(Clone, Debug)]
pub struct GuangdongConfig {
    /// Where it is served, without a path or a final slash, such as `https://localhost:9445`.
    pub origin: String,
    /// Clients that may send people here.
    pub clients: Vec<GuangdongClient>,
    /// Accounts, usually [`crate::people::catalogue`]; people without a Guangdong account are not offered.
    pub people: Vec<Person>,
}

/// A client known to the platform.
#[derive(Clone, Debug)]
pub struct GuangdongClient {
    /// Identifier on the wire.
    pub client_id: String,
    /// The secret it sends in the query of the token call.
    pub client_secret: String,
    /// Registered addresses without a query. Scheme, host, port and path of a request must equal one of
    /// these; a query may be appended.
    pub redirect_uris: Vec<String>,
}

impl GuangdongClient {
    fn may_use(&self, redirect_uri: &str) -> bool {
        let Ok(asked) = Url::parse(redirect_uri) else { return false };
        let plain = asked.username().is_empty() && asked.password().is_none() && asked.fragment().is_none();
        plain && self.addresses().any(|own| own.origin() == asked.origin() && own.path() == asked.path())
    }

    fn has_host(&self, address: &Url) -> bool {
        self.addresses().any(|own| own.host().is_some() && own.host() == address.host())
    }

    fn addresses(&self) -> impl Iterator<Item = Url> {
        self.redirect_uris.iter().filter_map(|uri| Url::parse(uri).ok())
    }
}

/// The simulated platform; build one, then serve its [`GuangdongSim::router`].
pub struct GuangdongSim {
    shared: Arc<Shared>,
}

impl GuangdongSim {
    /// Makes a platform without sessions.
    ///
    /// # Errors
    /// When the operating system gives no random bytes, without which no login could ever work.
    pub fn new(config: GuangdongConfig) -> Result<Self, SandboxError> {
        entropy::token()?;
        let shared = Shared {
            config,
            control: Control::new(),
            requests: Table::new(),
            codes: Table::new(),
            access_tokens: Table::new(),
            sessions: Table::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// All routes of the platform; every router made from one platform shares its state.
    pub fn router(&self) -> Router {
        let mut router = Router::new()
            .route("/login/decide", post(authorize::decide))
            .route("/_tif_sso_logout_", get(logout::logout))
            .route("/_tif_sso_logout_/", get(logout::logout))
            .route("/style.css", get(page::style))
            .route("/emblem.svg", get(page::emblem));
        for generation in [Generation::Legacy, Generation::Middle, Generation::Current] {
            let base = generation.base();
            // Only GET: whether the platform takes a POST is not known, so nobody may come to need it.
            router = router
                .route(&format!("{base}/authorize"), get(authorize::authorize))
                .route(&format!("{base}/authorize/"), get(authorize::authorize))
                .route(&format!("{base}/access_token"), get(token::token))
                .route(&format!("{base}/tokeninfo"), get(tokeninfo::tokeninfo));
            if let Some(landing) = generation.landing() {
                router = router.route(landing, get(authorize::landing));
            }
        }
        router.layer(DefaultBodyLimit::max(BODY_LIMIT)).with_state(Arc::clone(&self.shared))
    }

    /// A handle to steer and watch this platform while it serves.
    #[must_use]
    pub fn control(&self) -> Control {
        self.shared.control.clone()
    }
}

/// Which age of the platform a request speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Generation {
    Legacy,
    Middle,
    Current,
}

impl Generation {
    /// The generation whose routes `path` belongs to.
    fn of(path: &str) -> Self {
        if path.starts_with("/am/") {
            Self::Legacy
        } else if path.starts_with("/tif/") {
            Self::Middle
        } else {
            Self::Current
        }
    }

    fn base(self) -> &'static str {
        match self {
            Self::Legacy => "/am/oauth2",
            Self::Middle => "/tif/sso/connect/page/oauth2",
            Self::Current => "/pscp/sso/connect/page/oauth2",
        }
    }

    fn landing(self) -> Option<&'static str> {
        match self {
            Self::Legacy => None,
            Self::Middle => Some("/tif/sso/static/"),
            Self::Current => Some("/pscp/sso/static/"),
        }
    }
}

/// State behind all routes of one platform.
struct Shared {
    config: GuangdongConfig,
    control: Control,
    /// Requests waiting at the login form, by the form's hidden handle.
    requests: Table<AuthRequest>,
    codes: Table<CodeGrant>,
    access_tokens: Table<AccessGrant>,
    sessions: Table<Login>,
}

impl Shared {
    fn client(&self, client_id: &str) -> Option<&GuangdongClient> {
        self.config.clients.iter().find(|client| client.client_id == client_id)
    }

    fn account(&self, id: &str) -> Option<(&Person, &GuangdongAccount)> {
        self.accounts().find(|(person, _)| person.id == id)
    }

    fn accounts(&self) -> impl Iterator<Item = (&Person, &GuangdongAccount)> {
        self.config.people.iter().filter_map(|person| Some((person, person.guangdong.as_ref()?)))
    }

    fn session_cookie(&self) -> String {
        web::cookie_name("gd-platform", &self.config.origin)
    }
}

/// An authorization request that passed all checks but still needs a person.
#[derive(Clone)]
struct AuthRequest {
    generation: Generation,
    client_id: String,
    redirect_uri: String,
    /// What the client sent, kept only for [`Control::echo_state`].
    state: Option<String>,
}

/// Who logged in, and how.
#[derive(Clone)]
struct Login {
    person: String,
    /// `1` password, `2` certificate, `3` Yueshengshi, `4` Weijing.
    method: String,
}

/// What a code stands for.
#[derive(Clone)]
struct CodeGrant {
    request: AuthRequest,
    login: Login,
}

/// What an access token opens.
#[derive(Clone)]
struct AccessGrant {
    generation: Generation,
    login: Login,
}
