//! The one decision function: facts of a login in, a permit or a refusal with its reasons out.

use std::time::Duration;

use gateway_core::assurance::Assurance;
use gateway_core::authorize::AcrRequest;
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::jurisdiction::Jurisdiction;

use crate::rules::Rules;
use crate::service::{Allow, Service};

/// Everything a decision depends on.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Who would receive.
    pub client: &'a ClientId,
    /// For which service.
    pub service: &'a ServiceId,
    /// Who vouches.
    pub provider: &'a ProviderId,
    /// Where the provider stands.
    pub jurisdiction: Jurisdiction,
    /// What the login reached.
    pub assurance: Assurance,
    /// How long ago it was.
    pub age: Duration,
    /// Whether the provider said when it was.
    pub time_stated: bool,
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

/// Proof that a login was permitted. Tokens are minted from nothing less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    client: ClientId,
    service: ServiceId,
    provider: ProviderId,
    rules: Vec<String>,
    policy_version: String,
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
        &self.rules
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

/// Why a login is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, as a person and a client are told it.
    pub failure: Failure,
    /// The rules that decided, or the rows that came closest.
    pub rules: Vec<String>,
}

/// Decides over one service's rules. Called through [`PolicySet::decide`](crate::set::PolicySet::decide).
pub(crate) fn decide(service: &Service, rules: &Rules, version: &str, facts: &Facts<'_>) -> Result<Permit, Refusal> {
    if !service.clients.contains(facts.client) {
        return Err(Refusal { failure: Failure::PolicyRefused, rules: vec!["client-offers-service".to_owned()] });
    }
    let verdict = rules.apply(facts);
    if !verdict.allowed {
        return Err(explain(service, facts, verdict));
    }
    if !facts.demand.acr.is_satisfied_by(facts.assurance) {
        return Err(Refusal { failure: Failure::AssuranceTooLow, rules: vec!["request-acr".to_owned()] });
    }
    if facts.demand.max_age.is_some_and(|most| facts.age.as_secs() > most) {
        return Err(Refusal { failure: Failure::NotFresh, rules: vec!["request-max-age".to_owned()] });
    }
    let asked = service.allow.iter().find(|row| verdict.rules.contains(&row.id)).map(|row| row.assurance);
    Ok(Permit {
        client: facts.client.clone(),
        service: facts.service.clone(),
        provider: facts.provider.clone(),
        rules: verdict.rules,
        policy_version: version.to_owned(),
        asked: asked.unwrap_or(Assurance::LEAST),
        reached: facts.assurance,
        stated: facts.demand.acr.stated(facts.assurance),
        age: facts.age,
    })
}

/// Puts a refusal in words: a forbid, a provider nobody accepts, too little assurance, or too long ago.
fn explain(service: &Service, facts: &Facts<'_>, verdict: crate::rules::Verdict) -> Refusal {
    if verdict.errors || !verdict.rules.is_empty() {
        return Refusal { failure: Failure::PolicyRefused, rules: verdict.rules };
    }
    let rows: Vec<&Allow> = service.allow.iter().filter(|row| row.providers.contains(facts.provider)).collect();
    let ids = |rows: &[&Allow]| rows.iter().map(|row| row.id.clone()).collect();
    if rows.is_empty() {
        return Refusal { failure: Failure::ProviderNotAccepted, rules: vec!["default-deny".to_owned()] };
    }
    let sure: Vec<&Allow> = rows.iter().copied().filter(|row| facts.assurance.meets(row.assurance)).collect();
    if sure.is_empty() {
        return Refusal { failure: Failure::AssuranceTooLow, rules: ids(&rows) };
    }
    Refusal { failure: Failure::NotFresh, rules: ids(&sure) }
}
