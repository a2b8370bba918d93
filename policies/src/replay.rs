//! Replay: what recorded decisions would be under another policy. Records hold no personal data, and none is needed.

use std::collections::BTreeMap;

use gateway_core::audit::{Decision, Origin};
use gateway_core::ids::{ProviderId, ServiceId};
use gateway_core::time::Date;
use serde::Serialize;

use crate::decide::{Demand, Facts};
use crate::set::PolicySet;

/// The outcomes of a login that was let in, and for which no release could be put together.
const RELEASE: [&str; 2] = ["CB-405", "CB-408"];

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
    /// How many would be let in, and be given less.
    pub less_released: usize,
    /// The first such decision, as it was recorded.
    pub example: Decision,
    /// What that one would be: `permit`, or the code of the failure.
    pub example_now: String,
    /// By which rules.
    pub example_rules: Vec<String>,
}

/// Puts recorded decisions, each with what went out, to another policy as it would be on a day.
#[must_use]
pub fn replay<'a>(
    decisions: impl Iterator<Item = (&'a Decision, &'a [Origin])>,
    draft: &PolicySet,
    today: Date,
) -> Summary {
    let mut summary = Summary::default();
    let mut groups: BTreeMap<(ServiceId, ProviderId), Group> = BTreeMap::new();
    for (decision, released) in decisions {
        summary.replayed += 1;
        let demand = Demand { acr: &decision.asked_acr, max_age: decision.asked_max_age };
        let facts = Facts { client: &decision.client, service: &decision.service, login: &decision.login, demand };
        let (now, rules) = match draft.decide(&facts) {
            Ok(permit) => ("permit".to_owned(), permit.rules().to_vec()),
            Err(refusal) => (refusal.failure.code().to_owned(), refusal.rules),
        };
        let parties = (&decision.client, &decision.service, &decision.login.provider);
        let stands = |origin: &Origin| draft.still_releases(parties, &origin.claim, &origin.rule, today);
        let less = now == "permit" && !released.iter().all(stands);
        // A release that could not be put together was no refusal by the decision.
        let was = if RELEASE.contains(&decision.outcome.as_str()) { "permit" } else { decision.outcome.as_str() };
        if now == was && !less {
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
            less_released: 0,
            example: decision.clone(),
            example_now: now.clone(),
            example_rules: rules,
        });
        match (was, now.as_str()) {
            ("permit", "permit") => group.less_released += 1,
            ("permit", _) => group.now_refused += 1,
            (_, "permit") => group.now_permitted += 1,
            _ => group.other_reason += 1,
        }
    }
    summary.groups = groups.into_values().collect();
    summary.groups.sort_by_key(|group| {
        std::cmp::Reverse(group.now_refused + group.now_permitted + group.other_reason + group.less_released)
    });
    summary
}
