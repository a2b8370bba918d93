//! The login transaction, and the one dispatcher that picks its next step.
//!
//! ```text
//! /authorize ──► Choose ──► GoUpstream ──► (callback) ──► Link ──► Consent ──► Issue ──► back to the client
//!        │          ▲                      │   ▲
//!        │          │                      ▼   │ (a delivery, server to server)
//!        │          │                     Waiting
//!        │          └── Stop (page, retry) ◄───┘
//!        └─ a session sure and fresh enough goes straight to Consent or Issue
//! ```
//!
//! A transaction belongs to one browser: it travels sealed in a cookie of its own. Invariant: only [`next`] decides
//! what follows, from the same facts on every path.

use serde::{Deserialize, Serialize};

use crate::authorize::AuthorizationRequest;
use crate::error::{Failure, OAuthCode, OAuthError};
use crate::ids::{ProviderId, TransactionId};
use crate::locale::Locale;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A resident's sign-in, from the portal's request to the portal's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Transaction {
    /// Names it in paths and records.
    pub id: TransactionId,
    /// What the client asked.
    pub request: AuthorizationRequest,
    /// The key under which the request is kept, where it is too large to travel.
    pub kept: Option<Secret<String>>,
    /// How far it is.
    pub stage: Stage,
    /// The language the person chose on our pages, if they did.
    pub locale: Option<Locale>,
    /// Why it could not go on, if it stopped; what the client is told when the person gives up.
    pub failure: Option<Failure>,
    /// Whom the person signed in with, if that was not enough.
    pub fell_short: Option<ProviderId>,
    /// How far the question is whether to link another account.
    pub link: LinkQuestion,
    /// When it ends, wherever it is then. Waiting for a provider's delivery puts it off.
    pub expires_at: Timestamp,
}

/// How far a sign-in is, with only what exists then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Stage {
    /// The person has not chosen a provider.
    Choosing,
    /// The person is at a provider.
    Upstream(Hop),
    /// The provider asks the person something, and delivers the answer server to server.
    Waiting(Wait),
    /// The person is asked about linking another account of theirs.
    Linking {
        /// The key under which the first proof waits.
        first: Secret<String>,
        /// The provider whose account is to be linked.
        with: ProviderId,
        /// The key under which the proof of that account waits, once the person gave it.
        second: Option<Secret<String>>,
    },
    /// The provider vouched (in this sign-in or an earlier one), and the release waits for the person.
    Answered {
        /// The key under which the sealed assertion waits.
        assertion: Secret<String>,
    },
}

/// How far the question is whether to link another account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkQuestion {
    /// It was not put.
    #[default]
    Open,
    /// The person said yes, and is proving the other account.
    Proving {
        /// The key under which the first proof waits.
        first: Secret<String>,
        /// The provider of the other account.
        with: ProviderId,
    },
    /// It is answered, one way or the other.
    Answered,
}

/// The way to a provider and back, bound to this browser, client, provider and time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hop {
    /// Which provider.
    pub provider: ProviderId,
    /// The `state` that must come back.
    pub state: Secret<String>,
    /// What the adapter needs to finish; its own format.
    pub memo: Secret<String>,
    /// When the person left.
    pub left_at: Timestamp,
}

/// An open request at a provider, bound to this browser, client, provider and time as the [`Hop`] before it was.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wait {
    /// Which provider.
    pub provider: ProviderId,
    /// The name of the request, under which everything about it is kept.
    pub request: Secret<String>,
    /// The `state` that the provider's app brings back to this browser.
    pub state: Secret<String>,
    /// Opens the provider's app on this device; empty where the person approves on another one.
    pub app_link: String,
    /// When the person left for the provider.
    pub left_at: Timestamp,
    /// When the provider gives up.
    pub until: Timestamp,
}

/// How long a sign-in may take, from `/authorize` to the code, the time that it waits for a provider aside.
pub const TRANSACTION_LIFETIME: std::time::Duration = std::time::Duration::from_secs(600);

impl Transaction {
    /// True once it took too long.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_past(now)
    }

    /// What comes next is no proof of another account.
    pub fn stop_proving(&mut self) {
        if matches!(self.link, LinkQuestion::Proving { .. }) {
            self.link = LinkQuestion::Open;
        }
    }

    /// Gives the person the usual time again after `moment`.
    pub fn put_off(&mut self, moment: Timestamp) {
        self.expires_at = self.expires_at.max(moment.plus(TRANSACTION_LIFETIME));
    }
}

/// Where the evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// An earlier sign-in in this browser.
    Session,
    /// This sign-in.
    ThisLogin,
}

/// A proven login, as the decision function judged it. The verdict includes what the client demands of the login itself:
/// a login made before the question never serves a request that demands one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Where it comes from.
    pub origin: Origin,
    /// The decision: nothing, or why not.
    pub verdict: Result<(), Failure>,
    /// Whether this is the subject that the client asked for (true when it asked for none).
    pub right_subject: bool,
}

/// Whether a link is to be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOffer {
    /// Not looked up yet.
    Unknown,
    /// With an account at this provider.
    Wanted(ProviderId),
    /// No.
    NotWanted,
}

/// Whether the person still has to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Not looked up yet.
    Unknown,
    /// They have to be asked.
    Needed,
    /// An earlier answer covers this release.
    Covered,
}

/// The facts from which the next step follows.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// What the client asked.
    pub request: &'a AuthorizationRequest,
    /// What is proven, if anything is.
    pub evidence: Option<Evidence>,
    /// Whether the person was asked.
    pub consent: Consent,
    /// Whether a link is to be offered first.
    pub link: LinkOffer,
    /// Providers that could satisfy this request.
    pub eligible: &'a [ProviderId],
    /// The provider the person chose, or last used in this browser.
    pub preferred: Option<&'a ProviderId>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Show the chooser.
    Choose,
    /// Send the browser to a provider.
    GoUpstream(ProviderId),
    /// Look up whether a link is to be offered, and whether an earlier answer covers the release; then ask again.
    LookUp,
    /// Offer to link the person's account at this provider.
    OfferLink(ProviderId),
    /// Ask the person.
    AskConsent,
    /// Release: commit, then answer the client.
    Issue,
    /// Show why it cannot go on, with the ways out.
    Stop(Failure),
    /// Tell the client, showing nothing (`prompt=none`, or a person other than the one it asked for).
    Reply(OAuthError),
}

/// Picks the next step.
#[must_use]
pub fn next(situation: &Situation<'_>) -> Step {
    let request = situation.request;
    match usable(situation) {
        Usable::Yes => release(situation),
        Usable::No(failure) => Step::Stop(failure),
        // Nobody answers for the person who was asked where they are, not even with a no.
        Usable::WrongPerson if request.collection().is_some() => Step::Stop(Failure::NotEligible),
        Usable::WrongPerson => {
            Step::Reply(OAuthError::new(OAuthCode::LoginRequired, "another person than the one asked for signed in"))
        }
        Usable::Nothing if request.prompt.none => {
            Step::Reply(OAuthError::new(OAuthCode::LoginRequired, "no sign-in serves this request"))
        }
        Usable::Nothing => start(situation),
    }
}

enum Usable {
    Yes,
    No(Failure),
    WrongPerson,
    Nothing,
}

fn usable(situation: &Situation<'_>) -> Usable {
    match situation.evidence {
        None => Usable::Nothing,
        Some(Evidence { origin: Origin::ThisLogin, verdict: Err(failure), .. }) => Usable::No(failure),
        Some(Evidence { origin: Origin::ThisLogin, right_subject: false, .. }) => Usable::WrongPerson,
        Some(Evidence { origin: Origin::ThisLogin, .. }) => Usable::Yes,
        Some(Evidence { origin: Origin::Session, verdict, right_subject }) => {
            if verdict.is_ok() && right_subject {
                Usable::Yes
            } else {
                Usable::Nothing
            }
        }
    }
}

fn release(situation: &Situation<'_>) -> Step {
    let prompt = situation.request.prompt;
    match &situation.link {
        LinkOffer::Unknown => return Step::LookUp,
        LinkOffer::Wanted(provider) if !prompt.none => return Step::OfferLink(provider.clone()),
        LinkOffer::Wanted(_) | LinkOffer::NotWanted => {}
    }
    match situation.consent {
        Consent::Unknown => Step::LookUp,
        Consent::Needed if prompt.none => {
            Step::Reply(OAuthError::new(OAuthCode::ConsentRequired, "the person has to be asked"))
        }
        Consent::Covered if !prompt.consent => Step::Issue,
        Consent::Needed | Consent::Covered => Step::AskConsent,
    }
}

fn start(situation: &Situation<'_>) -> Step {
    let choose = situation.request.prompt.select_account;
    match (situation.preferred, situation.eligible) {
        (Some(preferred), eligible) if !choose && eligible.contains(preferred) => Step::GoUpstream(preferred.clone()),
        _ => Step::Choose,
    }
}

#[cfg(test)]
#[path = "interaction_tests.rs"]
mod tests;
