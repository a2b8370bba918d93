//! A simulated iAM Smart: signed and encrypted calls, a login by phone, and results called back.
//!
//! A login gives an opaque identifier and an access token and nothing else. Personal data need a
//! second request that the person approves on the phone; the result then arrives at an address
//! registered for the client. The phone is [`Approval`], the pages below `/phone` and `/app`, or a
//! box ticked at login. [`Control`] makes the simulator misbehave.
//!
//! Invariant: the cryptography here is OpenSSL's and shares no code with the gateway.

mod callback;
mod cek;
mod control;
mod crypto;
mod direct;
mod initiate;
mod keys;
mod login;
mod page;
mod phone;
mod profile;
mod query;
mod rpc;
mod sequence;
#[cfg(test)]
mod tests;
mod tickets;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use josekit::JoseError;
use openssl::pkey::Public;
use openssl::rsa::Rsa;

use crate::SandboxError;
use crate::people::{IamSmartAccount, Person};
use crate::portal::PortalHttp;
use crate::table::Table;
use cek::CekStore;
use control::Steering;
use sequence::Sequence;
use tickets::Tickets;

pub use crate::provider::form_handle;
pub use control::{Approval, Control, Counters, Misbehaviour};

/// Request bodies longer than this are refused.
const BODY_LIMIT: usize = 64 * 1024;

/// What the simulator is and whom it knows.
#[derive(Clone)]
pub struct IamSmartConfig {
    /// Public address without a final slash, such as `https://localhost:9443`.
    pub origin: String,
    /// Online services that may send people here.
    pub clients: Vec<IamSmartClient>,
    /// Accounts, usually [`crate::people::catalogue`]; people without an iAM Smart account are left out.
    pub people: Vec<Person>,
    /// How results reach the clients.
    pub http: PortalHttp,
}

/// An online service known to the simulator.
#[derive(Clone, Debug)]
pub struct IamSmartClient {
    /// Identifier on the wire.
    pub client_id: String,
    /// Key of the request signatures.
    pub client_secret: String,
    /// Allowed redirect addresses, compared as whole strings.
    pub redirect_uris: Vec<String>,
    /// Where results are posted.
    pub result_callback: String,
    /// Where a login begun inside the app lands, if the service offers one.
    pub direct_callback: Option<String>,
    /// Approved scopes.
    pub scopes: Vec<String>,
    /// Public RSA key of the service in PEM (`SubjectPublicKeyInfo`).
    pub kek: String,
}

/// A simulated iAM Smart; build one, then serve its [`IamSmartSim::router`].
pub struct IamSmartSim {
    shared: Arc<Shared>,
}

impl IamSmartSim {
    /// Makes a simulator that knows nothing yet of keys, logins and requests.
    ///
    /// # Errors
    /// When the key of a client cannot be read.
    pub fn new(config: IamSmartConfig) -> Result<Self, SandboxError> {
        let clients = config.clients.into_iter().map(Client::new).collect::<Result<_, _>>()?;
        let shared = Shared {
            origin: config.origin,
            clients,
            people: config.people,
            http: config.http,
            steering: Steering::default(),
            logins: Table::new(),
            codes: Table::new(),
            access_tokens: Table::new(),
            tickets: Tickets::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// All routes; every router made from one simulator shares its state.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/auth/getQR", get(login::get_qr))
            .route("/api/v1/auth/getToken", post(token::get_token))
            .route("/api/v1/security/getKey", post(keys::get_key))
            .route("/api/v1/security/revokeKey", post(keys::revoke_key))
            .route("/api/v1/account/auth/profile/initiateRequest", post(initiate::profile))
            .route("/api/v1/account/stepup/initiateRequest", post(initiate::step_up))
            .route("/login/decide", post(login::decide))
            .route("/direct", get(direct::choose).post(direct::decide))
            .route("/phone", get(phone::list))
            .route("/phone/decide", post(phone::decide))
            .route("/app/{kind}", get(phone::app))
            .route("/style.css", get(page::style))
            .route("/emblem.svg", get(page::emblem))
            .route("/code.svg", get(page::code))
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .with_state(Arc::clone(&self.shared))
    }

    /// A handle to steer and watch this simulator while it serves.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(Arc::clone(&self.shared))
    }
}

/// State behind all routes.
struct Shared {
    origin: String,
    clients: Vec<Client>,
    people: Vec<Person>,
    http: PortalHttp,
    steering: Steering,
    /// Requests waiting at the login page, by the form's hidden handle.
    logins: Table<Login>,
    codes: Table<Grant>,
    access_tokens: Table<Grant>,
    tickets: Tickets,
}

impl Shared {
    fn client(&self, client_id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.registered.client_id == client_id)
    }

    /// The person with this name of the account, if there is an account.
    fn account(&self, person: &str) -> Option<(&Person, &IamSmartAccount)> {
        self.accounts().find(|(known, _)| known.id == person)
    }

    fn accounts(&self) -> impl Iterator<Item = (&Person, &IamSmartAccount)> {
        self.people.iter().filter_map(|person| Some((person, person.iam_smart.as_ref()?)))
    }
}

/// A client with what it has been given and what it has used up.
struct Client {
    registered: IamSmartClient,
    kek: Rsa<Public>,
    cek: CekStore,
    sequence: Sequence,
}

impl Client {
    fn new(registered: IamSmartClient) -> Result<Self, SandboxError> {
        let unreadable = |error: openssl::error::ErrorStack| JoseError::InvalidKeyFormat(error.into());
        let kek = Rsa::public_key_from_pem(registered.kek.as_bytes()).map_err(unreadable)?;
        Ok(Self { registered, kek, cek: CekStore::default(), sequence: Sequence::default() })
    }

    /// The pairwise identifier of a person: 32 bytes in base64, URL-encoded.
    fn open_id(&self, person: &Person) -> String {
        crypto::url_base64(&crypto::sha256(&format!("{}\n{}", self.registered.client_id, person.sub)))
    }
}

/// A login request that passed all checks but still needs a person.
#[derive(Clone)]
struct Login {
    client_id: String,
    redirect_uri: String,
    state: Option<String>,
    scopes: Vec<String>,
    english: bool,
}

/// What a code, and later an access token, stands for.
#[derive(Clone)]
struct Grant {
    client_id: String,
    person: String,
    scopes: Vec<String>,
    /// The person wants to decide every data request by hand.
    hold: bool,
}
