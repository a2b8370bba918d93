//! The handle with which a test steers the stand-in and sees what reached it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync::lock;

/// One way of being wrong. It applies to every request until another is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Behave.
    #[default]
    None,
    /// Answer the token request correctly, but only after this long.
    Slow(Duration),
    /// Take the token request and never answer (for ten minutes).
    Hang,
    /// Answer the token request with 200 and bytes that are no JSON, labelled as JSON.
    Garbage,
    /// Answer the token request with this status and an OAuth error; 3xx carries a `Location`.
    Status(u16),
    /// Answer the token request with 200 and an HTML page.
    HtmlWith200,
    /// Answer the token request with status 400 and this OAuth error.
    Refuse(String),
    /// Right answers to the token and account requests, each padded with this many bytes.
    HugeBody(usize),
    /// Misbehave so at the account request alone, after a right token answer. This is the only way to
    /// have the faults of the token request there.
    AfterToken(Box<Misbehaviour>),
    /// Redirect to the client with a `state` it never sent.
    WrongState,
    /// Redirect to the client without `state`.
    OmitState,
    /// Redirect to the client with `state` twice.
    DuplicateState,
    /// Account without `id`.
    NoSubject,
    /// Account with an empty `id`.
    EmptySubject,
    /// Account with a number as `id`.
    NumericSubject,
    /// Login by a factor that does not exist.
    UnknownFactor,
    /// Login that does not say by which factors.
    NoFactor,
}

/// How many requests each endpoint has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Authorization requests (the form's answer is not one).
    pub authorize: u64,
    /// Token requests.
    pub token: u64,
    /// Account requests.
    pub userinfo: u64,
}

/// Steers and watches one stand-in; clones refer to the same one.
#[derive(Clone)]
pub struct Control {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    misbehaviour: Mutex<Misbehaviour>,
    last_authorize_query: Mutex<Option<String>>,
    counts: [AtomicU64; 3],
}

/// Index of an endpoint's counter.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    Authorize,
    Token,
    Userinfo,
}

impl Control {
    pub(super) fn new() -> Self {
        Self { state: Arc::default() }
    }

    /// Sets how the stand-in misbehaves from now on; [`Misbehaviour::None`] ends it.
    pub fn set(&self, misbehaviour: Misbehaviour) {
        *lock(&self.state.misbehaviour) = misbehaviour;
    }

    /// Requests received since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let [authorize, token, userinfo] = self.state.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Counters { authorize, token, userinfo }
    }

    /// The raw query of the latest authorization request.
    #[must_use]
    pub fn last_authorize_query(&self) -> Option<String> {
        lock(&self.state.last_authorize_query).clone()
    }

    /// What is wrong with the redirect to the client now.
    pub(super) fn callback_fault(&self) -> Misbehaviour {
        lock(&self.state.misbehaviour).clone()
    }

    /// What is wrong with the token request now.
    pub(super) fn token_fault(&self) -> Misbehaviour {
        match lock(&self.state.misbehaviour).clone() {
            Misbehaviour::AfterToken(_) => Misbehaviour::None,
            other => other,
        }
    }

    /// What is wrong with the account request now.
    pub(super) fn account_fault(&self) -> Misbehaviour {
        match lock(&self.state.misbehaviour).clone() {
            Misbehaviour::AfterToken(inner) => *inner,
            Misbehaviour::Slow(_)
            | Misbehaviour::Hang
            | Misbehaviour::Garbage
            | Misbehaviour::Status(_)
            | Misbehaviour::HtmlWith200
            | Misbehaviour::Refuse(_) => Misbehaviour::None,
            other => other,
        }
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
