//! Replay: what recorded decisions would be under another policy. Records hold no personal data, and none is needed.

use std::collections::BTreeMap;

use gateway_core::audit::Decision;
use gateway_core::ids::{ProviderId, ServiceId};
use serde::Serialize;

use crate::decide::{Demand, Facts};
use crate::set::PolicySet;

/// What a replay found.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// How many decisions were replayed.
    pub replayed: usize,
    /// How many would be another.
    pub changed: usize,
    /// The changes, by service and provider.
    pub groups: Vec<Group>,
}

/// The changes at one service with one provider.
#[derive(Debug, Serialize)]
pub struct Group {
    /// The service.
    pub service: ServiceId,
    /// The provider.
    pub provider: ProviderId,
    /// How many were let in and would be refused.
    pub now_refused: usize,
    /// How many were refused and would be let in.
    pub now_permitted: usize,
    /// How many would be refused for another reason.
    pub other_reason: usize,
    /// The first such decision, as it was recorded.
    pub example: Decision,
    /// What that one would be: `permit`, or the code of the failure.
    pub example_now: String,
    /// By which rules.
    pub example_rules: Vec<String>,
}

/// Puts recorded decisions to another policy.
#[must_use]
pub fn replay<'a>(decisions: impl Iterator<Item = &'a Decision>, draft: &PolicySet) -> Summary {
    let mut summary = Summary::default();
    let mut groups: BTreeMap<(ServiceId, ProviderId), Group> = BTreeMap::new();
    for decision in decisions {
        summary.replayed += 1;
        let demand = Demand { acr: &decision.asked_acr, max_age: decision.asked_max_age };
        let facts = Facts { client: &decision.client, service: &decision.service, login: &decision.login, demand };
        let (now, rules) = match draft.decide(&facts) {
            Ok(permit) => ("permit".to_owned(), permit.rules().to_vec()),
            Err(refusal) => (refusal.failure.code().to_owned(), refusal.rules),
        };
        if now == decision.outcome {
            continue;
        }
        summary.changed += 1;
        let key = (decision.service.clone(), decision.login.provider.clone());
        let group = groups.entry(key).or_insert_with(|| Group {
            service: decision.service.clone(),
            provider: decision.login.provider.clone(),
            now_refused: 0,
            now_permitted: 0,
            other_reason: 0,
            example: decision.clone(),
            example_now: now.clone(),
            example_rules: rules,
        });
        match (decision.outcome.as_str(), now.as_str()) {
            ("permit", _) => group.now_refused += 1,
            (_, "permit") => group.now_permitted += 1,
            _ => group.other_reason += 1,
        }
    }
    summary.groups = groups.into_values().collect();
    summary.groups.sort_by_key(|group| std::cmp::Reverse(group.now_refused + group.now_permitted + group.other_reason));
    summary
}
