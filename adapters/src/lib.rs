//! Adapters: how the gateway signs a person in at one upstream identity provider.
//!
//! The contract, in prose. [`Adapter::begin`] answers where to send the browser and a memo to get back later;
//! [`Adapter::finish`] takes the memo and what the browser brought, and answers either what the provider *proved* (a
//! subject, claims, and the provider's own words for how surely), or that the provider has been asked for more and
//! answers later, server to server. Then [`Adapter::receive`] decides whether a delivery is to be believed, and
//! [`Adapter::resume`] goes on with what it held. None of them judges what was proved: translating a provider's words
//! into assurance is policy. Whatever an adapter cannot verify it refuses; it never guesses.
//!
//! Code here is linear and owns no socket, clock, randomness or store: each is a port or an argument ([`http::Http`],
//! [`shared::Shared`], [`Signer`], [`Step`]).

use std::time::Duration;

use async_trait::async_trait;
use certs::key::KeyError;
use gateway_core::assertion::UpstreamSubject;
use gateway_core::claims::Claims;
use gateway_core::digest::keyed;
use gateway_core::ids::base64url;
use gateway_core::locale::Locale;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde_json::{Map, Value};
use url::Url;

mod answer;
pub mod error;
pub mod federation;
pub mod guangdong;
pub mod http;
pub mod iam_smart;
mod numbers;
pub mod oauth;
pub mod oidc;
mod port;
pub mod registry;
pub mod remote;
pub mod shared;
pub mod shares;

pub use error::UpstreamError;

/// What the gateway wants of a login, in the provider's own words where it has any.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Acceptable `acr` values, weakest first; empty when the provider has no words for it.
    pub acr_values: Vec<String>,
    /// Methods of which one is needed on top, weakest first; empty when any will do.
    pub methods: Vec<String>,
    /// The oldest acceptable login.
    pub max_age: Option<Duration>,
    /// The person must authenticate anew.
    pub login: bool,
    /// Who is expected.
    pub login_hint: Option<String>,
    /// The language of the person.
    pub locale: Option<Locale>,
    /// The claims that the service may be released, by the names that mappings use. A provider that is asked for data
    /// field by field is asked for these and no others.
    pub data: Vec<String>,
    /// What the person's browser says it is, for a provider that has an app on the same device.
    pub user_agent: Option<String>,
}

/// Fresh randomness for one step of a login, drawn by the caller: values for different labels are independent, and the
/// same label gives the same value.
#[derive(Debug, Clone)]
pub struct Fresh {
    seed: Secret<Vec<u8>>,
    /// What a published vector prescribes, by the beginning of the label.
    #[cfg(test)]
    prescribed: Vec<(&'static str, Vec<u8>)>,
}

impl Fresh {
    /// Over 32 random bytes.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            seed: Secret::new(seed.to_vec()),
            #[cfg(test)]
            prescribed: Vec::new(),
        }
    }

    /// 256 bits for `label`, in base64url: 43 unreserved characters.
    #[must_use]
    pub fn token(&self, label: &str) -> Secret<String> {
        Secret::new(base64url(&keyed(self.seed.expose(), &[b"token", label.as_bytes()])))
    }

    /// Bytes for `label`, 32 at most.
    #[must_use]
    pub fn bytes<const N: usize>(&self, label: &str) -> [u8; N] {
        const { assert!(N <= 32) };
        let mut bytes = [0; N];
        #[cfg(test)]
        if let Some((_, prescribed)) = self.prescribed.iter().find(|(prefix, _)| label.starts_with(prefix)) {
            bytes.copy_from_slice(prescribed);
            return bytes;
        }
        for (slot, byte) in bytes.iter_mut().zip(keyed(self.seed.expose(), &[b"bytes", label.as_bytes()])) {
            *slot = byte;
        }
        bytes
    }
}

/// The circumstances of one step.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The `state` of whatever this step starts; it must come back unchanged.
    pub state: &'a str,
    /// Randomness.
    pub fresh: &'a Fresh,
    /// The time.
    pub now: Timestamp,
}

/// Where to send the browser.
#[derive(Debug)]
pub struct Departure {
    /// The provider's page.
    pub url: Url,
    /// What [`Adapter::finish`] needs; kept sealed meanwhile.
    pub memo: Secret<String>,
}

/// What a provider proved.
#[derive(Debug)]
pub struct Answer {
    /// The person there.
    pub subject: UpstreamSubject,
    /// The provider's name for the person's session there, when it gave one.
    pub session: Option<Secret<String>>,
    /// The provider's word for how surely, when it gave one.
    pub acr: Option<String>,
    /// The methods it named.
    pub amr: Vec<String>,
    /// When the person authenticated, when it said so.
    pub auth_time: Option<Timestamp>,
    /// What it said about the person.
    pub claims: Claims,
    /// The names in [`Wish::data`] that it was asked for; `None` when it was asked for everything it has.
    pub asked: Option<Vec<String>>,
}

/// How far a login is.
#[derive(Debug)]
pub enum Progress {
    /// All is proved.
    Done(Box<Answer>),
    /// The provider asks the person, and delivers later.
    Waiting(Waiting),
}

/// A request that is open at a provider.
#[derive(Debug)]
pub struct Waiting {
    /// The name by which the provider's delivery says what it answers: unguessable, used once.
    pub request: Secret<String>,
    /// What [`Adapter::resume`] needs; kept sealed meanwhile.
    pub memo: Secret<String>,
    /// How the person approves.
    pub approval: Approval,
    /// When the provider gives up.
    pub until: Timestamp,
}

/// Where the person approves an open request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// On another device, which the provider has told already.
    OtherDevice,
    /// In the provider's app on this device, which this address opens.
    ThisDevice(Url),
}

/// Over which connections a provider delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliveries {
    /// It delivers nothing.
    None,
    /// Over any: what is delivered shows by itself who sent it.
    Open,
    /// Over those with the provider's client certificate.
    Certified,
}

/// What a provider sent server to server.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The body, byte for byte.
    pub body: &'a [u8],
    /// The client certificate (DER) of the connection, verified against the authorities configured for deliveries.
    pub certificate: Option<&'a [u8]>,
}

/// A delivery that is to be believed, if the request that it names is open.
#[derive(Debug)]
pub struct Received {
    /// The request that it answers.
    pub request: Secret<String>,
    /// The `state` that it names.
    pub state: Secret<String>,
    /// What [`Adapter::resume`] reads; kept sealed meanwhile.
    pub content: Secret<String>,
}

/// A provider's word that somebody signed out there. It names a session, a person, or both; with both, the person is meant where
/// a sign-in was given no name for its session.
#[derive(Debug)]
pub struct LoggedOut {
    /// The session that ended, by the provider's name for it.
    pub session: Option<Secret<String>>,
    /// Whose.
    pub person: Option<UpstreamSubject>,
    /// When it was said.
    pub at: Timestamp,
}

/// Signs what an adapter sends in the gateway's own name.
pub trait Signer: Send + Sync {
    /// A compact JWS of `claims` with the gateway's current key.
    ///
    /// # Errors
    /// [`KeyError`] when no key can sign.
    fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, KeyError>;

    /// A proof of possession of the same key (RFC 9449 section 4.2).
    ///
    /// # Errors
    /// [`KeyError`] when no key can sign.
    fn prove(&self, claims: &Map<String, Value>) -> Result<String, KeyError>;
}

/// One upstream identity provider.
#[async_trait]
pub trait Adapter: Send + Sync {
    /// Begins a login.
    ///
    /// # Errors
    /// [`UpstreamError`] when the provider cannot be reached or its metadata is not to be believed.
    async fn begin(&self, wish: &Wish, step: Step<'_>) -> Result<Departure, UpstreamError>;

    /// Finishes a login from what the browser brought back. The caller has compared `state`, and calls this once for one
    /// answer.
    ///
    /// # Errors
    /// [`UpstreamError`]; a code is never exchanged twice, whatever went wrong the first time.
    async fn finish(&self, memo: &str, callback: &Params, step: Step<'_>) -> Result<Progress, UpstreamError>;

    /// A login that began at the provider, with no request of ours before it (for a provider that has such).
    ///
    /// # Errors
    /// [`UpstreamError::Unsupported`] where there is no such thing.
    async fn direct(&self, _callback: &Params, _step: Step<'_>) -> Result<Answer, UpstreamError> {
        Err(UpstreamError::Unsupported)
    }

    /// Whether the provider delivers server to server, and over which connections.
    fn deliveries(&self) -> Deliveries {
        Deliveries::None
    }

    /// Whether a delivery is to be believed, and what it answers. Says the same to everybody who is not.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn receive(&self, _delivery: Delivery<'_>, _step: Step<'_>) -> Result<Received, UpstreamError> {
        Err(UpstreamError::Unsupported)
    }

    /// Goes on with what [`Adapter::receive`] accepted.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn resume(&self, _memo: &str, _content: &str, _step: Step<'_>) -> Result<Progress, UpstreamError> {
        Err(UpstreamError::Unsupported)
    }

    /// Where a browser ends the person's session at the provider, to come back to `back`; `None` where none is known.
    async fn logout(&self, _back: &Url, _now: Timestamp) -> Option<Url> {
        None
    }

    /// Whether the provider says by itself when a session ends there.
    fn tells_logout(&self) -> bool {
        false
    }

    /// What a provider says has ended, if it is to be believed.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn logged_out(&self, _token: &str, _now: Timestamp) -> Result<LoggedOut, UpstreamError> {
        Err(UpstreamError::Unsupported)
    }
}
