//! The one decision function: facts of a login in, a permit or a refusal with its reasons out.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use gateway_core::assurance::Assurance;
use gateway_core::authorize::AcrRequest;
use gateway_core::circumstances::Login;
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};

use crate::condition::{Condition, Situation};
use crate::rules::Verdict;
use crate::service::{Effect, Row, Service};

/// Everything that a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who would receive.
    pub client: &'a ClientId,
    /// For which service.
    pub service: &'a ServiceId,
    /// What is known of the login.
    pub login: &'a Login,
    /// What the client asks for.
    pub demand: Demand<'a>,
}

/// What a client asks for beyond the service's own policy.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// The assurance it asks for.
    pub acr: &'a AcrRequest,
    /// The oldest login it accepts, in seconds.
    pub max_age: Option<u64>,
}

impl Demand<'_> {
    /// No demand: only the service's own policy counts.
    pub const NONE: Demand<'static> =
        Demand { acr: &AcrRequest { essential: false, values: Vec::new(), old: Vec::new() }, max_age: None };
}

/// Proof that a login was permitted. Tokens are minted from nothing less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    client: ClientId,
    service: ServiceId,
    provider: ProviderId,
    verdict: Arc<Verdict>,
    policy_version: Arc<str>,
    asked: Assurance,
    reached: Assurance,
    stated: Assurance,
    age: Duration,
}

impl Permit {
    /// Who receives.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        &self.client
    }

    /// For which service.
    #[must_use]
    pub fn service(&self) -> &ServiceId {
        &self.service
    }

    /// Who vouches.
    #[must_use]
    pub fn provider(&self) -> &ProviderId {
        &self.provider
    }

    /// The rules that permitted it.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        &self.verdict.rules
    }

    /// The bundle that decided.
    #[must_use]
    pub fn policy_version(&self) -> &str {
        &self.policy_version
    }

    /// The least assurance that would have done.
    #[must_use]
    pub fn asked(&self) -> Assurance {
        self.asked
    }

    /// What the login reached.
    #[must_use]
    pub fn reached(&self) -> Assurance {
        self.reached
    }

    /// What to state to the client as `acr`.
    #[must_use]
    pub fn stated(&self) -> Assurance {
        self.stated
    }

    /// How long ago the person authenticated.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.age
    }
}

/// Proof that a client may act for itself at a service. Its tokens are minted from nothing less.
#[derive(Debug, Clone, Copy)]
pub struct BackEndPermit<'a> {
    pub(crate) service: &'a Service,
    pub(crate) scopes: &'a [String],
}

impl<'a> BackEndPermit<'a> {
    /// For which service.
    #[must_use]
    pub fn service(&self) -> &'a Service {
        self.service
    }

    /// What it may do there.
    #[must_use]
    pub fn scopes(&self) -> &'a [String] {
        self.scopes
    }
}

/// Why a login is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as a person and a client are told it.
    pub failure: Failure,
    /// The rules that decided, or the row that came closest.
    pub rules: Vec<String>,
    /// What would have done, where the login fell short of it: the least assurance, and the oldest login.
    pub needed: Option<(Assurance, Option<Duration>)>,
}

impl Refusal {
    /// A refusal by one rule that is in no document.
    #[must_use]
    pub fn by(failure: Failure, rule: &str) -> Self {
        Self { failure, rules: vec![rule.to_owned()], needed: None }
    }
}

/// Turns a verdict on one service's rules into a permit or a refusal.
/// Called through [`PolicySet::decide`](crate::set::PolicySet::decide).
pub(crate) fn settle(
    service: &Service,
    facts: &Facts<'_>,
    at: &Situation<'_>,
    verdict: Arc<Verdict>,
    version: &Arc<str>,
) -> Result<Permit, Refusal> {
    if !verdict.allowed {
        return Err(explain(service, at, &verdict));
    }
    let row = service.allows().find(|row| verdict.rules.contains(&row.id));
    let asked = row.map_or(Assurance::LEAST, Row::assurance);
    let demand = facts.demand;
    let short = |failure, rule| Refusal {
        needed: Some((
            demand.acr.values.first().map_or(asked, |wanted| wanted.join(asked)),
            row.and_then(Row::max_age),
        )),
        ..Refusal::by(failure, rule)
    };
    if !demand.acr.is_satisfied_by(at.assurance) {
        return Err(short(Failure::AssuranceTooLow, "request-acr"));
    }
    if demand.max_age.is_some_and(|most| at.age.as_secs() > most) {
        return Err(short(Failure::NotFresh, "request-max-age"));
    }
    Ok(Permit {
        client: facts.client.clone(),
        service: facts.service.clone(),
        provider: at.provider.clone(),
        verdict,
        policy_version: Arc::clone(version),
        asked,
        reached: at.assurance,
        stated: demand.acr.stated(at.assurance),
        age: at.age,
    })
}

/// Puts a refusal in words: a forbid, a provider that nobody accepts, or the row that came closest.
fn explain(service: &Service, at: &Situation<'_>, verdict: &Verdict) -> Refusal {
    if verdict.errors || !verdict.rules.is_empty() {
        return Refusal { failure: Failure::PolicyRefused, rules: verdict.rules.clone(), needed: None };
    }
    let Some((row, missing)) = nearest_row(service, at) else {
        return Refusal::by(Failure::ProviderNotAccepted, "default-deny");
    };
    // A row that holds and yet did not let in: raw Cedar is all that could say so.
    Refusal {
        failure: worst(&missing).unwrap_or(Failure::PolicyRefused),
        rules: vec![row.id.clone()],
        needed: Some((row.assurance(), row.max_age())),
    }
}

/// The row for this provider that came closest to letting a login in, with the conditions that it still lacks.
pub(crate) fn nearest_row<'s>(service: &'s Service, at: &Situation<'_>) -> Option<(&'s Row, Vec<&'s Condition>)> {
    let about = |row: &&Row| row.effect == Effect::Allow && row.providers().any(|provider| provider == at.provider);
    let missing = |row: &'s Row| row.conditions.iter().filter(|condition| condition.holds(at) != Some(true)).collect();
    let rows = service.rows.iter().filter(about).map(|row| (row, missing(row)));
    // Of rows that are equally near, the one that the person can do something about.
    rows.min_by_key(|(_, missing): &(_, Vec<&Condition>)| (missing.len(), Reverse(worst(missing).map(rank))))
}

/// The missing condition that a person can change least.
fn worst(missing: &[&Condition]) -> Option<Failure> {
    missing.iter().map(|condition| condition.failure()).min_by_key(|failure| rank(*failure))
}

/// What is said first when several conditions are missing: what the person can change least.
fn rank(failure: Failure) -> u8 {
    match failure {
        Failure::PolicyRefused => 0,
        Failure::NotEligible => 1,
        Failure::NotOpen => 2,
        Failure::AssuranceTooLow => 3,
        _ => 4,
    }
}
