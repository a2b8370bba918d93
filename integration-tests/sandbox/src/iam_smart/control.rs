//! The handle with which a test steers the simulator and sees what reached it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};

use super::tickets::Kind;
use super::{Shared, callback};
use crate::sync::lock;

/// One way of being wrong. It applies to every request until another is set, unless it says once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Behave.
    #[default]
    None,
    /// Answer every call correctly, but only after this long.
    Slow(Duration),
    /// Take every call and never answer (for ten minutes).
    Hang,
    /// Answer every call with 200 and something that is not JSON, labelled as JSON.
    Garbage,
    /// Answer every call with this HTTP status.
    Status(u16),
    /// Answer every call with this return code.
    Code(String),
    /// Answer the next call, whichever it is, with this return code.
    CodeOnce(String),
    /// Send the browser back with this `error_code`, whoever was chosen.
    LoginError(String),
    /// Send the browser back with `state` only, whoever was chosen.
    RefuseSilently,
    /// Send the browser back with a `state` nobody sent.
    WrongState,
    /// Send the browser back without `state`.
    OmitState,
    /// Send the browser back with `state` twice.
    DuplicateState,
    /// One bit of the ciphertext is flipped, in answers and result callbacks.
    TamperedFrame,
    /// A vector of 16 bytes, named as such and truly used, in answers and result callbacks.
    WrongIvLength,
    /// Answers are encrypted under a key that was never given to anyone.
    ForeignCek,
    /// The wrapped key is the base64 text of the key, from `getKey` and in result callbacks.
    CekAsText,
    /// `expiresIn` of a key is the time of its end in milliseconds.
    AbsoluteExpiry,
    /// Keys made from now on live this long.
    ShortCek(Duration),
    /// Every result callback is sent twice.
    DuplicateCallback,
    /// Result callbacks carry this code and no content.
    ResultCode(String),
    /// Result callbacks are not JSON.
    GarbageCallback,
    /// Result callbacks carry another `state` than the request.
    CallbackWrongState,
    /// Result callbacks are encrypted under a key that was never given to anyone.
    CallbackForeignCek,
    /// The token answer has no `openID`.
    NoOpenId,
    /// The token answer has an empty `openID`.
    EmptyOpenId,
    /// Answer the next call as if its timestamp were too small.
    StaleOnce,
    /// Profiles carry an identity card number with a wrong check digit.
    WrongCheckDigit,
    /// Answer requests that a person has to approve, and nothing else, with this return code.
    RequestCode(String),
    /// Answer a request that a person approves at once only a quarter of a second after its result was sent.
    ResultFirst,
    /// Result callbacks carry this code, and the content that belongs to it.
    SealedResultCode(String),
}

/// What the person's phone does with a request. A person who asked at login to decide by hand is
/// not affected, except by [`Approval::Never`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// Approves without delay; the result may overtake the answer to the request.
    #[default]
    AtOnce,
    /// Approves after this long.
    After(Duration),
    /// Leaves it to the pages `/phone` and `/app`.
    Manual,
    /// Rejects without delay.
    Refuse,
    /// The phone is lost: requests are never answered and no page shows them.
    Never,
}

/// How many requests each endpoint has received, and some of what was wrong with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Login pages asked for.
    pub qr: u64,
    /// Codes to be exchanged.
    pub token: u64,
    /// Keys asked for.
    pub get_key: u64,
    /// Keys revoked.
    pub revoke_key: u64,
    /// Profile requests.
    pub profile: u64,
    /// Step-up requests.
    pub step_up: u64,
    /// Result callbacks sent for a decision; forged and replayed ones are not counted.
    pub callbacks: u64,
    /// Calls whose timestamp was smaller than one accepted before for that client.
    pub stale_timestamps: u64,
    /// Calls whose signature was wrong.
    pub bad_signatures: u64,
}

/// Steers and watches one simulator; clones refer to the same one.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Sets how the simulator misbehaves from now on; [`Misbehaviour::None`] ends it.
    pub fn set(&self, misbehaviour: Misbehaviour) {
        *lock(&self.shared.steering.misbehaviour) = misbehaviour;
    }

    /// Sets what phones do with requests opened from now on.
    pub fn approval(&self, approval: Approval) {
        *lock(&self.shared.steering.approval) = approval;
    }

    /// Requests received since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let counts = self.shared.steering.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        let [qr, token, get_key, revoke_key, profile, step_up, callbacks, stale_timestamps, bad_signatures] = counts;
        Counters { qr, token, get_key, revoke_key, profile, step_up, callbacks, stale_timestamps, bad_signatures }
    }

    /// Drops the live content key of every client, so that its next use answers `D30002`.
    pub fn revoke_cek(&self) {
        self.shared.clients.iter().for_each(|client| client.cek.revoke());
    }

    /// Posts a well-formed result about another person, encrypted under a key of the forger's own.
    /// Returns the HTTP status it got, 0 if none.
    pub async fn forge_callback(&self, business_id: &str, state: &str) -> u16 {
        callback::forge(&self.shared, business_id, state).await
    }

    /// Posts the latest result callback again, byte for byte. Returns the HTTP status it got, 0 if none.
    pub async fn replay_last_callback(&self) -> u16 {
        callback::replay(&self.shared).await
    }

    /// Sends the result of a request as if the person had decided just now, whatever was sent for it before.
    /// Returns the HTTP status it got, 0 if none.
    pub async fn deliver(&self, business_id: &str, approved: bool) -> u16 {
        callback::again(&self.shared, business_id, approved).await
    }

    /// Posts the sealed content of the client's own latest request back to it as a result: all that somebody can do who
    /// reads the line and has no key. Returns the HTTP status it got, 0 if none.
    pub async fn reflect_last_request(&self) -> u16 {
        callback::reflect(&self.shared).await
    }

    /// `businessID` of the latest profile or step-up request.
    #[must_use]
    pub fn last_business_id(&self) -> Option<String> {
        member(lock(&self.shared.steering.seen).request.as_ref()?, "businessID")
    }

    /// `state` of the latest profile request.
    #[must_use]
    pub fn last_profile_state(&self) -> Option<String> {
        member(&self.last_profile_request()?, "state")
    }

    /// The raw query of the latest login page.
    #[must_use]
    pub fn last_query(&self) -> Option<String> {
        lock(&self.shared.steering.seen).query.clone()
    }

    /// The latest profile request as decrypted, whether it was accepted or not.
    #[must_use]
    pub fn last_profile_request(&self) -> Option<Value> {
        lock(&self.shared.steering.seen).profile.clone()
    }

    /// The latest step-up request as decrypted, whether it was accepted or not.
    #[must_use]
    pub fn last_step_up_request(&self) -> Option<Value> {
        lock(&self.shared.steering.seen).step_up.clone()
    }

    /// HTTP statuses that result callbacks got, in the order of the answers; 0 for no answer.
    #[must_use]
    pub fn callback_statuses(&self) -> Vec<u16> {
        lock(&self.shared.steering.seen).statuses.clone()
    }
}

fn member(object: &Value, name: &str) -> Option<String> {
    object.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// Index of a counter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Qr,
    Token,
    GetKey,
    RevokeKey,
    Profile,
    StepUp,
    Callbacks,
    StaleTimestamps,
    BadSignatures,
}

/// What a test has set and what it may look at.
#[derive(Default)]
pub(super) struct Steering {
    misbehaviour: Mutex<Misbehaviour>,
    approval: Mutex<Approval>,
    counts: [AtomicU64; 9],
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    query: Option<String>,
    /// The latest of both kinds.
    request: Option<Value>,
    profile: Option<Value>,
    step_up: Option<Value>,
    callback: Option<(String, String)>,
    /// The latest sealed call, as it came.
    sealed: Vec<u8>,
    statuses: Vec<u16>,
}

impl Steering {
    pub(super) fn misbehaviour(&self) -> Misbehaviour {
        lock(&self.misbehaviour).clone()
    }

    /// The misbehaviour for one call; one that happens once is over with it.
    pub(super) fn misbehaviour_of_call(&self) -> Misbehaviour {
        let mut misbehaviour = lock(&self.misbehaviour);
        match *misbehaviour {
            Misbehaviour::CodeOnce(_) | Misbehaviour::StaleOnce => std::mem::take(&mut misbehaviour),
            _ => misbehaviour.clone(),
        }
    }

    pub(super) fn plan(&self) -> Approval {
        *lock(&self.approval)
    }

    pub(super) fn count(&self, what: Count) {
        if let Some(count) = self.counts.get(what as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn note_query(&self, query: &str) {
        lock(&self.seen).query = Some(query.to_owned());
        self.count(Count::Qr);
    }

    pub(super) fn note_request(&self, kind: Kind, request: &Map<String, Value>) {
        let request = Value::Object(request.clone());
        let mut seen = lock(&self.seen);
        seen.request = Some(request.clone());
        match kind {
            Kind::Profile => seen.profile = Some(request),
            Kind::StepUp => seen.step_up = Some(request),
        }
    }

    pub(super) fn note_sealed(&self, body: &[u8]) {
        lock(&self.seen).sealed = body.to_vec();
    }

    pub(super) fn last_sealed(&self) -> Vec<u8> {
        lock(&self.seen).sealed.clone()
    }

    /// Keeps the address and body of a result callback for a replay.
    pub(super) fn note_callback(&self, url: &str, body: &str) {
        lock(&self.seen).callback = Some((url.to_owned(), body.to_owned()));
    }

    pub(super) fn last_callback(&self) -> Option<(String, String)> {
        lock(&self.seen).callback.clone()
    }

    pub(super) fn note_status(&self, status: u16) {
        lock(&self.seen).statuses.push(status);
    }
}
