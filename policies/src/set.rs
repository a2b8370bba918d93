//! The policy set: every service and provider of a bundle, compiled and indexed once, immutable after.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gateway_core::assurance::Assurance;
use gateway_core::document::{Problem, Problems};
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};

use crate::decide::{Demand, Facts, Permit, Refusal, decide};
use crate::provider::Provider;
use crate::rules::Rules;
use crate::service::{Allow, Service};
use crate::vocabulary::Vocabulary;

/// A document, as it was found.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its name, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Everything that trust rests on, in one snapshot.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    version: String,
    services: HashMap<ServiceId, (Service, Rules)>,
    by_resource: HashMap<String, ServiceId>,
    providers: BTreeMap<ProviderId, Provider>,
    vocabulary: Vocabulary,
}

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
    /// Compiles service documents against the providers and words of the same bundle.
    ///
    /// # Errors
    /// Every problem of every document; nothing is compiled in part.
    pub fn compile(
        version: String,
        services: &[Document],
        providers: Vec<Provider>,
        vocabulary: Vocabulary,
    ) -> Result<Self, Problems> {
        let providers = providers.into_iter().map(|provider| (provider.id.clone(), provider)).collect();
        let mut set = Self { version, providers, vocabulary, ..Self::default() };
        let mut problems = Problems::new();
        for document in services {
            match Service::from_document(&document.file, &document.text, &set.vocabulary) {
                Ok(service) => set.add(&document.file, service, &mut problems),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }

    fn add(&mut self, file: &str, service: Service, problems: &mut Problems) {
        let mut reasons = Vec::new();
        let named = service.forbid.iter().flat_map(|row| &row.providers);
        let named = named.chain(service.link.iter().map(|link| &link.provider));
        let unknown = service.trusted().into_iter().chain(named);
        for provider in unknown.filter(|id| !self.providers.contains_key(*id)) {
            reasons.push(format!("{provider} is not a provider of this bundle"));
        }
        if self.services.contains_key(&service.id) {
            reasons.push(format!("{} is described by another document as well", service.id));
        }
        if self.by_resource.contains_key(service.resource.as_str()) {
            reasons.push(format!("{} is the resource of another service as well", service.resource));
        }
        match Rules::compile(&service) {
            Ok(rules) if reasons.is_empty() => {
                self.by_resource.insert(service.resource.as_str().to_owned(), service.id.clone());
                self.services.insert(service.id.clone(), (service, rules));
            }
            Ok(_) => {}
            Err(found) => reasons.extend(found),
        }
        problems.extend(reasons.into_iter().map(|reason| Problem { file: file.to_owned(), line: 1, reason }));
    }

    /// The version of the bundle.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// One service.
    #[must_use]
    pub fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.services.get(id).map(|(service, _)| service)
    }

    /// Every service, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().map(|(service, _)| service)
    }

    /// The service with this `resource`, when this client offers it.
    #[must_use]
    pub fn service_at(&self, client: &ClientId, resource: &str) -> Option<&Service> {
        let id = self.by_resource.get(resource)?;
        self.service(id).filter(|service| service.clients.contains(client))
    }

    /// One provider.
    #[must_use]
    pub fn provider(&self, id: &ProviderId) -> Option<&Provider> {
        self.providers.get(id)
    }

    /// Every provider, by id.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.providers.values()
    }

    /// The words of the bundle.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// **The** decision: may this login serve this client and service?
    ///
    /// # Errors
    /// A [`Refusal`] with its rules. A service or provider that the bundle does not have is refused.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Permit, Refusal> {
        let unknown = |rule: &str| Refusal { failure: Failure::PolicyRefused, rules: vec![rule.to_owned()] };
        let (service, rules) = self.services.get(facts.service).ok_or_else(|| unknown("service-exists"))?;
        if !self.providers.contains_key(facts.provider) {
            return Err(unknown("provider-exists"));
        }
        decide(service, rules, &self.version, facts)
    }

    /// The providers a service trusts, each with whether it could serve this request.
    #[must_use]
    pub fn candidates(&self, client: &ClientId, service: &ServiceId, demand: Demand<'_>) -> Vec<Candidate> {
        let Some(document) = self.service(service) else { return Vec::new() };
        let fit = |id: &&ProviderId| self.fit(client, service, id, demand);
        let known = document.trusted().into_iter().filter(|id| self.providers.contains_key(*id));
        known.map(|id| Candidate { provider: id.clone(), fit: fit(&id) }).collect()
    }

    /// Whether a provider could serve a request: its logins, made now, are put to the same decision function, strongest
    /// first.
    ///
    /// # Errors
    /// Why it could not.
    pub fn fit(
        &self,
        client: &ClientId,
        service: &ServiceId,
        provider: &ProviderId,
        demand: Demand<'_>,
    ) -> Result<(), Failure> {
        let provider = self.provider(provider).ok_or(Failure::ProviderNotAccepted)?;
        let mut refusal = Failure::AssuranceTooLow;
        for row in provider.table.iter().rev() {
            let facts = Facts {
                client,
                service,
                provider: &provider.id,
                jurisdiction: provider.jurisdiction,
                assurance: row.assurance,
                age: Duration::ZERO,
                time_stated: true,
                demand,
            };
            match self.decide(&facts) {
                Ok(_) => return Ok(()),
                Err(refused) => refusal = refused.failure,
            }
        }
        Err(refusal)
    }

    /// What to ask `provider` for: the first row that accepts it and that it can meet, raised to what the client asks
    /// for when the provider can meet that as well.
    #[must_use]
    pub fn ask(&self, service: &ServiceId, provider: &ProviderId, demand: Demand<'_>) -> Option<Ask> {
        let (service, provider) = (self.service(service)?, self.provider(provider)?);
        let reachable = |needed: Assurance| provider.rows_meeting(needed).next().is_some();
        let accepts = |row: &&Allow| row.providers.contains(&provider.id) && reachable(row.assurance);
        let row = service.allow.iter().find(accepts)?;
        let raised =
            demand.acr.values.iter().map(|wanted| wanted.join(row.assurance)).find(|needed| reachable(*needed));
        let asked_age = demand.max_age.map(Duration::from_secs);
        let max_age = [row.max_age, asked_age].into_iter().flatten().min();
        Some(Ask { assurance: raised.unwrap_or(row.assurance), max_age })
    }
}

#[cfg(test)]
#[path = "set_tests.rs"]
pub(crate) mod tests;
