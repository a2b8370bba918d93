//! Why: which rows decided about a case, what would have to change, and whether the examples of a bundle hold.

use std::collections::BTreeMap;

use gateway_core::assertion::Assertion;
use gateway_core::circumstances::{Login, Place};
use gateway_core::claims::ClaimsRequest;
use gateway_core::document::{Problem, Problems};
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ServiceId};
use serde::Serialize;

use crate::case::{Case, Example};
use crate::decide::{Demand, Facts, Permit, Refusal, nearest_row};
use crate::release::{ReleaseError, Released};
use crate::service::{Effect, Service};
use crate::set::PolicySet;

/// A case, decided as a sign-in would be when everything is asked for and agreed to.
#[derive(Debug)]
pub struct Outcome {
    /// The decision.
    pub decision: Result<Permit, Refusal>,
    /// What goes out, when it may.
    pub released: Result<Vec<Released>, ReleaseError>,
}

impl Outcome {
    /// Nothing, or why the sign-in ends.
    ///
    /// # Errors
    /// The failure that a person would be shown.
    pub fn failure(&self) -> Result<(), Failure> {
        match (&self.decision, &self.released) {
            (Err(refusal), _) => Err(refusal.failure),
            (Ok(_), Err(error)) => Err(error.failure()),
            (Ok(_), Ok(_)) => Ok(()),
        }
    }

    /// The names of the claims that go out, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.released.iter().flatten().map(|released| released.claim().to_string()).collect();
        names.sort();
        names
    }
}

/// What is found out about a case, for people and for tools.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The service.
    pub service: ServiceId,
    /// The version that decided.
    pub policy_version: String,
    /// `permit`, or the code of the failure.
    pub outcome: String,
    /// The rules that decided, or the row that came closest.
    pub decided_by: Vec<String>,
    /// Every row, condition by condition.
    pub rows: Vec<RowReport>,
    /// What would have to change for another outcome.
    pub change: Vec<String>,
    /// What goes out: claim, and from where.
    pub released: BTreeMap<String, Provenance>,
}

/// Where a released claim comes from.
#[derive(Debug, Serialize)]
pub struct Provenance {
    /// The row.
    pub row: String,
    /// Its expression.
    pub from: String,
    /// The legal instrument and filing under which it crosses the border, if it does.
    pub cover: Option<(String, String)>,
}

/// One row of the document.
#[derive(Debug, Serialize)]
pub struct RowReport {
    /// Its name.
    pub id: String,
    /// Whether all its conditions hold.
    pub holds: bool,
    /// Its conditions.
    pub conditions: Vec<ConditionReport>,
}

/// One condition of a row.
#[derive(Debug, Serialize)]
pub struct ConditionReport {
    /// What it asks.
    pub asks: String,
    /// What is the case.
    pub found: String,
    /// Whether it holds; nothing when that cannot be judged.
    pub holds: Option<bool>,
}

impl ReleaseError {
    /// What a person and a client are told.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Missing(_) | Self::Failed(_) => Failure::ClaimMissing,
            Self::NotCovered(_) => Failure::NoInstrument,
            Self::Unknown(_) => Failure::PolicyRefused,
        }
    }
}

/// A request for everything that a service could be given.
#[must_use]
pub fn everything(service: &Service) -> ClaimsRequest {
    let names = service.release.iter().map(|row| (row.claim.to_string(), false));
    ClaimsRequest { userinfo: names.collect(), ..ClaimsRequest::default() }
}

impl PolicySet {
    /// Decides a case of a service, as a sign-in would.
    #[must_use]
    pub fn run(&self, service: &Service, case: &Case) -> Outcome {
        let refused = |refusal| Outcome { decision: Err(refusal), released: Ok(Vec::new()) };
        let unknown = |rule| refused(Refusal::by(Failure::PolicyRefused, rule));
        let Some(client) = case.client.as_ref().or(service.clients.first()) else { return unknown("client-exists") };
        let provider = self.provider(&case.provider);
        let Some(assertion) = provider.and_then(|provider| case.assertion(provider.jurisdiction)) else {
            return unknown("provider-exists");
        };
        let login = match self.case_login(client, &assertion, case) {
            Ok(login) => login,
            Err(refusal) => return refused(refusal),
        };
        let facts = Facts { client, service: &service.id, login: &login, demand: Demand::NONE };
        match self.decide(&facts) {
            Err(refusal) => refused(refusal),
            Ok(permit) => {
                let released = self.release(client, &service.id, &assertion, &everything(service), case.at.date());
                Outcome { decision: Ok(permit), released }
            }
        }
    }

    /// Explains what becomes of a case.
    #[must_use]
    pub fn explain(&self, service: &Service, case: &Case) -> Explanation {
        let outcome = self.run(service, case);
        let (rows, change) = self.rows(service, case, &outcome);
        let provenance = |released: &Released| Provenance {
            row: released.row.id.clone(),
            from: released.row.from.source().to_owned(),
            cover: released.cover.as_ref().map(|cover| (cover.instrument.clone(), cover.filing.clone())),
        };
        Explanation {
            service: service.id.clone(),
            policy_version: self.version().to_owned(),
            outcome: outcome.failure().map_or_else(|failure| failure.code().to_owned(), |()| "permit".to_owned()),
            decided_by: match &outcome.decision {
                Ok(permit) => permit.rules().to_vec(),
                Err(refusal) => refusal.rules.clone(),
            },
            rows,
            change,
            released: outcome.released.iter().flatten().map(|r| (r.claim().to_string(), provenance(r))).collect(),
        }
    }

    fn case_login(&self, client: &ClientId, assertion: &Assertion, case: &Case) -> Result<Login, Refusal> {
        let at_client = self.client(client).map_or(Place::Browser, |client| client.place);
        let signed_in = (case.age(), case.signed_in_at.unwrap_or(at_client));
        self.login(assertion, signed_in, (case.at.week_minute(), case.at.date()))
    }

    fn rows(&self, service: &Service, case: &Case, outcome: &Outcome) -> (Vec<RowReport>, Vec<String>) {
        let mut change = Vec::new();
        if let (Ok(_), Err(error)) = (&outcome.decision, &outcome.released) {
            change.push(error.to_string());
        }
        let client = case.client.as_ref().or(service.clients.first());
        let assertion = self.provider(&case.provider).and_then(|provider| case.assertion(provider.jurisdiction));
        let login = client.zip(assertion).and_then(|(client, a)| self.case_login(client, &a, case).ok());
        let facts = client.zip(login.as_ref());
        let facts = facts.map(|(client, login)| Facts { client, service: &service.id, login, demand: Demand::NONE });
        let Some((_, at)) = facts.as_ref().and_then(|facts| self.judged(facts)) else {
            if let Err(refusal) = &outcome.decision {
                change.push(format!("{}: {}", refusal.rules.join(", "), hint(&refusal.rules)));
            }
            return (Vec::new(), change);
        };
        let rows = service.rows.iter().map(|row| {
            let conditions = row.conditions.iter().map(|condition| ConditionReport {
                asks: condition.to_string(),
                found: condition.found(&at),
                holds: condition.holds(&at),
            });
            let conditions: Vec<ConditionReport> = conditions.collect();
            let unknown = row.effect == Effect::Forbid;
            let holds = conditions.iter().all(|condition| condition.holds.unwrap_or(unknown));
            RowReport { id: row.id.clone(), holds, conditions }
        });
        let rows: Vec<RowReport> = rows.collect();
        if outcome.decision.is_err() {
            change.extend(needed(service, &rows, &at, outcome));
        }
        (rows, change)
    }

    /// Runs every example of every service, and says what does not hold. A service without an example that is let in and
    /// one that is kept out has a problem as well.
    #[must_use]
    pub fn test(&self) -> Problems {
        let mut problems = Problems::new();
        for service in self.services() {
            let file = self.file(&service.id).to_owned();
            for (kind, present) in [
                ("is let in", service.examples.iter().any(|example| example.expect.is_ok())),
                ("is kept out", service.examples.iter().any(|example| example.expect.is_err())),
            ] {
                if !present {
                    let reason = format!("{} needs an [[example]] of somebody who {kind}", service.id);
                    problems.push(Problem { file: file.clone(), line: 1, reason });
                }
            }
            for example in &service.examples {
                if let Err(reason) = self.check(service, example) {
                    problems.push(Problem { file: file.clone(), line: example.line, reason });
                }
            }
        }
        problems.sort();
        problems
    }

    fn check(&self, service: &Service, example: &Example) -> Result<(), String> {
        let outcome = self.run(service, &example.case);
        let word = |failure: Result<(), Failure>| failure.map_or_else(Failure::code, |()| "permit");
        let found = outcome.failure();
        if found != example.expect {
            let change = self.explain(service, &example.case).change.join("; ");
            let (expected, found) = (word(example.expect), word(found));
            return Err(format!("{}: expected {expected}, but it is {found} ({change})", example.about));
        }
        match &example.released {
            Some(expected) if found.is_ok() && *expected != outcome.names() => Err(format!(
                "{}: expected to go out: {}; but these do: {}",
                example.about,
                expected.join(", "),
                outcome.names().join(", ")
            )),
            _ => Ok(()),
        }
    }
}

/// What would have to change for a refused login to be let in.
fn needed(
    service: &Service,
    rows: &[RowReport],
    at: &crate::condition::Situation<'_>,
    outcome: &Outcome,
) -> Vec<String> {
    let forbidding = rows
        .iter()
        .filter(|row| row.holds && service.rows.iter().any(|r| r.id == row.id && r.effect == Effect::Forbid));
    let mut change: Vec<String> = forbidding
        .map(|row| {
            let asks: Vec<&str> = row.conditions.iter().map(|condition| condition.asks.as_str()).collect();
            format!("{} must not hold, that is not: {}", row.id, asks.join(" and "))
        })
        .collect();
    match nearest_row(service, at) {
        Some((row, missing)) => change.extend(
            missing.iter().map(|condition| format!("{} needs: {condition}; found: {}", row.id, condition.found(at))),
        ),
        None => change.push(format!("no row lets anybody in with {}", at.provider)),
    }
    if change.is_empty() {
        let rules = outcome.decision.as_ref().err().map(|refusal| refusal.rules.join(", ")).unwrap_or_default();
        change.push(format!("every row is content; the document's own Cedar keeps it out: {rules}"));
    }
    change
}

/// What an administrator can do about a rule that stands in no document.
fn hint(rules: &[String]) -> &'static str {
    match rules.first().map(String::as_str) {
        Some("acr-in-provider-table") => "the provider's words are in no [[assurance]] row of its document",
        Some("client-offers-service") => "the service's clients do not list this one",
        Some("client-exists") => "the bundle has no document of this client",
        Some("provider-exists") => "the bundle has no document of this provider",
        Some("regional-hop") => {
            "data does not go from one region to the other unless the service says regional_hop = true"
        }
        Some("population-known" | "capacity-known") => {
            "the [person] table of the provider's document gives no word that policy knows for what the provider said"
        }
        _ => "a rule outside the document",
    }
}
