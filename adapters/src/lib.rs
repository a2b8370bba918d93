//! Adapters: how the gateway signs a person in at one upstream identity provider.
//!
//! The contract, in prose. [`Adapter::begin`] answers where to send the browser and a memo to get back later;
//! [`Adapter::finish`] takes the memo and what the browser brought, and answers what the provider *proved*: a subject,
//! claims, and the provider's own words for how surely. It does not judge them: translating those words into assurance
//! is policy. Whatever it cannot verify it refuses; it never guesses.
//!
//! Code here is linear and owns no socket: [`http::Http`] is a port, `now` and fresh random bytes are arguments, and
//! signing is a port as well ([`Signer`]).

use std::time::Duration;

use async_trait::async_trait;
use certs::key::KeyError;
use gateway_core::assertion::UpstreamSubject;
use gateway_core::claims::Claims;
use gateway_core::locale::Locale;
use gateway_core::params::Params;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use serde_json::{Map, Value};
use url::Url;

pub mod error;
pub mod http;
pub mod oidc;
pub mod registry;
pub mod remote;

pub use error::UpstreamError;

/// What the gateway wants of a login, in the provider's own words where it has any.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Acceptable `acr` values, weakest first; empty when the provider has no words for it.
    pub acr_values: Vec<String>,
    /// The oldest acceptable login.
    pub max_age: Option<Duration>,
    /// The person must authenticate anew.
    pub login: bool,
    /// Who is expected.
    pub login_hint: Option<String>,
    /// The language of the person.
    pub locale: Option<Locale>,
}

/// Fresh random bytes for one login, drawn by the caller.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// For the nonce.
    pub nonce: Secret<String>,
    /// For the PKCE verifier: 43 to 128 unreserved characters (RFC 7636 section 4.1).
    pub verifier: Secret<String>,
    /// For the `jti` of a client assertion.
    pub jti: Secret<String>,
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
    /// The provider's word for how surely, when it gave one.
    pub acr: Option<String>,
    /// The methods it named.
    pub amr: Vec<String>,
    /// When the person authenticated, when it said so.
    pub auth_time: Option<Timestamp>,
    /// What it said about the person.
    pub claims: Claims,
}

/// Signs what an adapter sends in the gateway's own name.
pub trait Signer: Send + Sync {
    /// A compact JWS of `claims` with the gateway's current key.
    ///
    /// # Errors
    /// [`KeyError`] when no key can sign.
    fn sign(&self, typ: &str, claims: &Map<String, Value>) -> Result<String, KeyError>;
}

/// One upstream identity provider.
#[async_trait]
pub trait Adapter: Send + Sync {
    /// Begins a login. `state` is the gateway's and must come back unchanged.
    ///
    /// # Errors
    /// [`UpstreamError`] when the provider cannot be reached or its metadata is not to be believed.
    async fn begin(&self, wish: &Wish, state: &str, fresh: &Fresh, now: Timestamp) -> Result<Departure, UpstreamError>;

    /// Finishes a login from what the browser brought back. The caller has compared `state`.
    ///
    /// # Errors
    /// [`UpstreamError`]; a code is never exchanged twice, whatever went wrong the first time.
    async fn finish(
        &self,
        memo: &str,
        callback: &Params,
        fresh: &Fresh,
        now: Timestamp,
    ) -> Result<Answer, UpstreamError>;
}
