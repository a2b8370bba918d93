//! The handle with which a test steers a provider and sees what reached it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::SandboxError;
use crate::jose::SigningKey;
use crate::sync::lock;

/// One way of being wrong. It applies to every request until another is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Behave.
    #[default]
    None,
    /// Answer the token request correctly, but only after this long.
    SlowToken(Duration),
    /// Take the token request and never answer (for ten minutes).
    HangToken,
    /// Answer the token request with this status and an OAuth error; 3xx carries a `Location`.
    TokenStatus(u16),
    /// Answer the token request with 200 and these bytes labelled as JSON.
    GarbageToken(Vec<u8>),
    /// ID token with another nonce than the one asked for.
    WrongNonce,
    /// ID token of another issuer.
    WrongIssuer,
    /// ID token for another client.
    WrongAudience,
    /// ID token that ended an hour ago.
    Expired,
    /// ID token made a day from now.
    IssuedInFuture,
    /// ID token with `alg: none` and no signature.
    AlgNone,
    /// ID token signed by another key under the published `kid`.
    WrongKey,
    /// ID token signed by a key that is not published, under its own `kid`.
    UnknownKid,
    /// No `sub`, in the ID token and at userinfo.
    MissingSub,
    /// `sub` is null, in the ID token and at userinfo.
    NullSub,
    /// `sub` is a number, in the ID token and at userinfo.
    NumericSub,
    /// `sub` is a single space, in the ID token and at userinfo.
    WhitespaceSub,
    /// Userinfo speaks about somebody else.
    UserinfoOtherSub,
    /// ID token cut in the middle of its signature.
    TruncatedIdToken,
    /// ID token with `alg: HS256`, keyed with the public key in PEM.
    Hs256WithPublicKey,
    /// ID token with this `acr`, whatever was asked and done.
    WeakAcr(String),
    /// ID token without `acr`.
    NoAcr,
    /// Redirect to the client without `iss`.
    OmitIssParameter,
    /// Redirect to the client with another `iss`.
    WrongIssParameter,
    /// Redirect to the client with `state` twice.
    DuplicateState,
    /// Redirect to the client with a `state` it never sent.
    WrongState,
    /// A right token answer, padded with this many bytes.
    HugeBody(usize),
    /// Answer the token request with 200 and an HTML page.
    HtmlWith200,
    /// The key set answers 503.
    JwksDown,
    /// ID token whose header demands an unknown extension.
    CritHeader,
    /// ID token with `iat`, `exp` and `auth_time` as strings.
    StringTimes,
}

/// How many requests each endpoint has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Authorization requests (the form's answer is not one).
    pub authorize: u64,
    /// Token requests.
    pub token: u64,
    /// Userinfo requests.
    pub userinfo: u64,
    /// Key set requests.
    pub jwks: u64,
    /// Metadata requests.
    pub discovery: u64,
}

/// Steers and watches one provider; clones refer to the same one.
#[derive(Clone)]
pub struct Control {
    state: Arc<State>,
}

struct State {
    misbehaviour: Mutex<Misbehaviour>,
    key: Mutex<SigningKey>,
    last_authorize_query: Mutex<Option<String>>,
    counts: [AtomicU64; 5],
}

/// Index of an endpoint's counter.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    Authorize,
    Token,
    Userinfo,
    Jwks,
    Discovery,
}

impl Control {
    pub(super) fn new() -> Result<Self, SandboxError> {
        let state = State {
            misbehaviour: Mutex::default(),
            key: Mutex::new(SigningKey::generate()?),
            last_authorize_query: Mutex::default(),
            counts: Default::default(),
        };
        Ok(Self { state: Arc::new(state) })
    }

    /// Sets how the provider misbehaves from now on; [`Misbehaviour::None`] ends it.
    pub fn set(&self, misbehaviour: Misbehaviour) {
        *lock(&self.state.misbehaviour) = misbehaviour;
    }

    /// Replaces the signing key at once: the old one is gone from the key set. Returns the new `kid`.
    ///
    /// # Errors
    /// When no key can be made; the old one then stays.
    pub fn rotate_key(&self) -> Result<String, SandboxError> {
        let key = SigningKey::generate()?;
        let kid = key.kid().to_owned();
        *lock(&self.state.key) = key;
        Ok(kid)
    }

    /// Signs these claims as the provider does, with `typ` in the header: a logout token, say, right or wrong.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, typ: &str, claims: &serde_json::Value) -> Result<String, SandboxError> {
        let key = self.key();
        key.sign(&serde_json::json!({ "alg": "ES256", "typ": typ, "kid": key.kid() }), claims)
    }

    /// Requests received since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let [authorize, token, userinfo, jwks, discovery] =
            self.state.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Counters { authorize, token, userinfo, jwks, discovery }
    }

    /// The raw parameters of the latest authorization request.
    #[must_use]
    pub fn last_authorize_query(&self) -> Option<String> {
        lock(&self.state.last_authorize_query).clone()
    }

    pub(super) fn misbehaviour(&self) -> Misbehaviour {
        lock(&self.state.misbehaviour).clone()
    }

    pub(super) fn key(&self) -> SigningKey {
        lock(&self.state.key).clone()
    }

    pub(super) fn note_authorize(&self, query: &str) {
        *lock(&self.state.last_authorize_query) = Some(query.to_owned());
        self.count(Endpoint::Authorize);
    }

    pub(super) fn count(&self, endpoint: Endpoint) {
        if let Some(count) = self.state.counts.get(endpoint as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
