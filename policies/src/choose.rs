//! Which providers can serve a request, and what to ask them for: the decision function, asked before anybody signed in.

use std::time::Duration;

use gateway_core::assurance::Assurance;
use gateway_core::circumstances::{AgeLimit, Capacity, Login, Person, Population, WeekMinute};
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};

use crate::condition::Condition;
use crate::decide::{Demand, Facts};
use crate::provider::Provider;
use crate::service::{Row, Traits};
use crate::set::PolicySet;

/// A trusted provider, and whether it can serve a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which provider.
    pub provider: ProviderId,
    /// Nothing, or why it cannot.
    pub fit: Result<(), Failure>,
}

/// What to ask a provider for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The least assurance.
    pub assurance: Assurance,
    /// The oldest acceptable login.
    pub max_age: Option<Duration>,
}

impl PolicySet {
    /// The providers a service trusts, each with whether it could serve this request.
    #[must_use]
    pub fn candidates(
        &self,
        client: &ClientId,
        service: &ServiceId,
        demand: Demand<'_>,
        at: WeekMinute,
    ) -> Vec<Candidate> {
        let Some(document) = self.service(service) else { return Vec::new() };
        let fit = |id: &&ProviderId| self.fit(client, service, id, demand, at);
        let known = document.trusted().into_iter().filter(|id| self.provider(id).is_some());
        known.map(|id| Candidate { provider: id.clone(), fit: fit(&id) }).collect()
    }

    /// Whether a provider could serve a request: logins of people for whom a row is meant, made now, are put to the same
    /// decision function, strongest first.
    ///
    /// # Errors
    /// Why it could not: the reason that a person can most likely do something about.
    pub fn fit(
        &self,
        client: &ClientId,
        service: &ServiceId,
        provider: &ProviderId,
        demand: Demand<'_>,
        at: WeekMinute,
    ) -> Result<(), Failure> {
        let provider = self.provider(provider).ok_or(Failure::ProviderNotAccepted)?;
        let document = self.service(service).ok_or(Failure::PolicyRefused)?;
        let signed_in_at = self.client(client).ok_or(Failure::PolicyRefused)?.place;
        let (traits, mut refusals) = (document.traits(), Vec::new());
        for row in document.allows().filter(|row| row.providers().any(|id| *id == provider.id)) {
            for (person, words) in people_for(row, provider, traits)
                .into_iter()
                .flat_map(|p| provider.table.iter().rev().map(move |w| (p, w)))
            {
                let login = Login {
                    provider: provider.id.clone(),
                    acr: words.acr.clone(),
                    amr: words.amr_any.first().cloned().into_iter().collect(),
                    age: 0,
                    time_stated: true,
                    person,
                    at,
                    signed_in_at,
                };
                match self.decide(&Facts { client, service, login: &login, demand }) {
                    Ok(_) => return Ok(()),
                    Err(refused) => refusals.push(refused.failure),
                }
            }
        }
        let hopeful = |failure: &Failure| match failure {
            Failure::NotFresh => 4,
            Failure::AssuranceTooLow => 3,
            Failure::NotOpen => 2,
            Failure::NotEligible => 1,
            _ => 0,
        };
        Err(refusals.into_iter().max_by_key(hopeful).unwrap_or(Failure::ProviderNotAccepted))
    }

    /// What to ask `provider` for: the first row that accepts it and that it can meet, raised to what the client asks for
    /// when the provider can meet that as well. After a login that fell short, the most demanding of those rows.
    #[must_use]
    pub fn ask(&self, service: &ServiceId, provider: &ProviderId, demand: Demand<'_>, fell_short: bool) -> Option<Ask> {
        let (service, provider) = (self.service(service)?, self.provider(provider)?);
        let reachable = |needed: Assurance| provider.rows_meeting(needed).next().is_some();
        let accepts = |row: &&Row| row.providers().any(|id| *id == provider.id) && reachable(row.assurance());
        let mut rows = service.allows().filter(accepts);
        let row = if fell_short {
            rows.max_by_key(|row| (row.assurance().identity, row.assurance().authentication))
        } else {
            rows.next()
        }?;
        let least = row.assurance();
        let raised = demand.acr.values.iter().map(|wanted| wanted.join(least)).find(|needed| reachable(*needed));
        let asked_age = demand.max_age.map(Duration::from_secs);
        let max_age = [row.max_age(), asked_age].into_iter().flatten().min();
        Some(Ask { assurance: raised.unwrap_or(least), max_age })
    }
}

/// People of a provider for whom a row is meant, as far as rows can tell people apart: an adult first, and then every age,
/// because a forbid row may keep some ages out. Of people whom no row of the service tells apart, one is enough.
fn people_for(row: &Row, provider: &Provider, traits: Traits) -> Vec<Person> {
    let mut populations = provider.person.populations.clone();
    let mut capacities = vec![Capacity::Own, Capacity::LegalPerson];
    let adult = AgeLimit::reached_at(30);
    let mut ages: Vec<AgeLimit> =
        std::iter::once(adult).chain(AgeLimit::ALL.into_iter().filter(|age| *age != adult)).collect();
    for condition in &row.conditions {
        match condition {
            Condition::Populations(wanted) => populations.retain(|population| wanted.contains(population)),
            Condition::AgeFrom(limit) => ages.retain(|age| age >= limit),
            Condition::AgeBelow(limit) => ages.retain(|age| age < limit),
            Condition::Capacities(wanted) => capacities.retain(|capacity| match capacity {
                Capacity::Own => wanted.iter().any(|wanted| *wanted != Capacity::LegalPerson),
                other => wanted.contains(other),
            }),
            _ => {}
        }
    }
    ages.truncate(if traits.age { ages.len() } else { 1 });
    populations.truncate(if traits.place { populations.len() } else { 1 });
    capacities.truncate(if traits.capacity { capacities.len() } else { 1 });
    let populations: Vec<Option<Population>> =
        if populations.is_empty() { vec![None] } else { populations.into_iter().map(Some).collect() };
    let mut people = Vec::new();
    for age in ages {
        for population in &populations {
            let with = |capacity: &Capacity| Person { population: *population, age: Some(age), capacity: *capacity };
            people.extend(capacities.iter().map(with));
        }
    }
    people
}
