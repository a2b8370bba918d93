//! The handle with which a test steers the platform and sees what reached it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync::lock;

/// One way of being wrong. It applies to every request until another is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Behave.
    #[default]
    None,
    /// Answer the token call correctly, but only after this long.
    Slow(Duration),
    /// Take the token call and never answer (for ten minutes).
    Hang,
    /// Answer the token call with 200 and bytes that are no JSON, labelled as JSON.
    Garbage,
    /// Answer the token call with this status and an `errcode`; 3xx carries a `Location`.
    Status(u16),
    /// Answer the token call with 200 and an HTML page.
    HtmlWith200,
    /// Answer the token call, and any `tokeninfo`, with this `errcode` and nothing else.
    ErrCode(String),
    /// Right answers to the token call and `tokeninfo`, each padded with this many bytes.
    HugeBody(usize),
    /// Misbehave so at `tokeninfo` alone, after a right token call. This is the only way to have the
    /// transport faults (slow, hang, garbage, status, HTML) there.
    AfterToken(Box<Misbehaviour>),
    /// Callback in which every value of the redirect address's own query (and an echoed `state`) is
    /// replaced by one that nobody sent.
    WrongState,
    /// Callback with every parameter twice.
    DuplicateParameter,
    /// `tokeninfo` without `useridcode`.
    NoSubject,
    /// `tokeninfo` with an empty `useridcode`.
    EmptySubject,
    /// `tokeninfo` with a number as `useridcode`.
    NumericSubject,
    /// `tokeninfo` with a trust level that does not exist.
    UnknownLevel,
    /// `tokeninfo` with a document type that does not exist.
    UnknownDocumentType,
    /// `tokeninfo` whose `userobj` is null.
    NullUserobj,
    /// `tokeninfo` with `isreal` as a JSON boolean.
    BooleanFlags,
    /// `tokeninfo` with `is_real` in the place of `isreal`: both spellings have been seen.
    IsRealAlias,
}

/// How many requests each endpoint has received, over all generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Authorization requests (neither the landing page nor the form's answer is one).
    pub authorize: u64,
    /// Token calls.
    pub token: u64,
    /// `tokeninfo` calls.
    pub tokeninfo: u64,
    /// Logouts.
    pub logout: u64,
}

/// Steers and watches one platform; clones refer to the same one.
#[derive(Clone)]
pub struct Control {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    misbehaviour: Mutex<Misbehaviour>,
    echo_state: AtomicBool,
    last_authorize_query: Mutex<Option<String>>,
    counts: [AtomicU64; 4],
}

/// Index of an endpoint's counter.
#[derive(Clone, Copy)]
pub(super) enum Endpoint {
    Authorize,
    Token,
    Tokeninfo,
    Logout,
}

impl Control {
    pub(super) fn new() -> Self {
        Self { state: Arc::default() }
    }

    /// Sets how the platform misbehaves from now on; [`Misbehaviour::None`] ends it.
    pub fn set(&self, misbehaviour: Misbehaviour) {
        *lock(&self.state.misbehaviour) = misbehaviour;
    }

    /// Whether a `state` the client sent comes back. It does not at first: no client has been seen to
    /// send one, and whether the platform returns it is not known.
    pub fn echo_state(&self, echo: bool) {
        self.state.echo_state.store(echo, Ordering::Relaxed);
    }

    /// Requests received since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let [authorize, token, tokeninfo, logout] =
            self.state.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        Counters { authorize, token, tokeninfo, logout }
    }

    /// The raw query of the latest authorization request.
    #[must_use]
    pub fn last_authorize_query(&self) -> Option<String> {
        lock(&self.state.last_authorize_query).clone()
    }

    /// What is wrong with the callback now.
    pub(super) fn callback_fault(&self) -> Misbehaviour {
        lock(&self.state.misbehaviour).clone()
    }

    /// What is wrong with the token call now.
    pub(super) fn token_fault(&self) -> Misbehaviour {
        match lock(&self.state.misbehaviour).clone() {
            Misbehaviour::AfterToken(_) => Misbehaviour::None,
            other => other,
        }
    }

    /// What is wrong with `tokeninfo` now.
    pub(super) fn tokeninfo_fault(&self) -> Misbehaviour {
        match lock(&self.state.misbehaviour).clone() {
            Misbehaviour::AfterToken(inner) => *inner,
            Misbehaviour::Slow(_)
            | Misbehaviour::Hang
            | Misbehaviour::Garbage
            | Misbehaviour::Status(_)
            | Misbehaviour::HtmlWith200 => Misbehaviour::None,
            other => other,
        }
    }

    pub(super) fn echoes_state(&self) -> bool {
        self.state.echo_state.load(Ordering::Relaxed)
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
