//! The policy set: every service, provider and recipient of a bundle, compiled and indexed once, immutable after.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cel::Context;
use gateway_core::assertion::Assertion;
use gateway_core::circumstances::{Capacity, DataClass, Login, Person, Place, WeekMinute};
use gateway_core::claims::ClaimsRequest;
use gateway_core::client::{Client, Filing};
use gateway_core::consent::Cover;
use gateway_core::document::{Problem, Problems};
use gateway_core::error::Failure;
use gateway_core::ids::{ClientId, ProviderId, ServiceId};
use gateway_core::jurisdiction::Crossing;
use gateway_core::time::Date;

use crate::condition::Situation;
use crate::decide::{BackEndPermit, Facts, Permit, Refusal, settle};
use crate::expression::Scope;
use crate::instrument::Instrument;
use crate::provider::{AssuranceRow, Provider};
use crate::release::{Gate, ReleaseError, Released, Requested, release, wanted};
use crate::rules::{Index, Rules};
use crate::service::{Groups, Service, group_from_document};
use crate::vocabulary::Vocabulary;

/// A document, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name, for messages.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// What a policy set is compiled from. Clients, providers and words have been read already: others need them as well.
#[derive(Debug, Default)]
pub struct Parts<'a> {
    /// The bundle's version.
    pub version: String,
    /// Services.
    pub services: &'a [Document],
    /// Release rows that services share.
    pub groups: &'a [Document],
    /// Legal instruments.
    pub instruments: &'a [Document],
    /// Clients.
    pub clients: Vec<&'a Client>,
    /// Providers.
    pub providers: Vec<Provider>,
    /// Words.
    pub vocabulary: Vocabulary,
}

/// A client, as policy sees it.
#[derive(Debug)]
pub(crate) struct Recipient {
    index: Index,
    pub(crate) client: Client,
    services: Vec<ServiceId>,
}

/// A service with its rules.
#[derive(Debug)]
struct Entry {
    file: String,
    service: Service,
    rules: Rules,
}

/// Everything that trust rests on, in one snapshot.
pub struct PolicySet {
    version: Arc<str>,
    services: HashMap<ServiceId, Entry>,
    by_resource: HashMap<String, ServiceId>,
    pub(crate) providers: BTreeMap<ProviderId, (Index, Provider)>,
    pub(crate) recipients: HashMap<ClientId, Recipient>,
    pub(crate) instruments: BTreeMap<String, Instrument>,
    vocabulary: Vocabulary,
    root: Context<'static, 'static>,
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicySet({}, {} services)", self.version, self.services.len())
    }
}

impl PolicySet {
    /// Compiles service documents against everything else in the same bundle.
    ///
    /// # Errors
    /// Every problem of every document; nothing is compiled in part.
    pub fn compile(parts: Parts<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut instruments = BTreeMap::new();
        for document in parts.instruments {
            let Some(instrument) = collect(Instrument::from_document(&document.file, &document.text), &mut problems)
            else {
                continue;
            };
            insert_once(&mut instruments, instrument.id.clone(), instrument, document, &mut problems);
        }
        let mut groups = Groups::new();
        for document in parts.groups {
            let read = group_from_document(&document.file, &document.text, &parts.vocabulary);
            let Some((name, rows)) = collect(read, &mut problems) else { continue };
            insert_once(&mut groups, name, rows, document, &mut problems);
        }
        let providers = parts.providers.into_iter().enumerate();
        let providers = providers.map(|(index, provider)| (provider.id.clone(), (index, provider))).collect();
        let recipients = parts.clients.into_iter().enumerate();
        let recipients = recipients
            .map(|(index, client)| {
                (client.id.clone(), Recipient { index, client: client.clone(), services: Vec::new() })
            })
            .collect();
        let root = parts.vocabulary.functions();
        let mut set = Self {
            version: parts.version.into(),
            services: HashMap::with_capacity(parts.services.len()),
            by_resource: HashMap::with_capacity(parts.services.len()),
            providers,
            recipients,
            instruments,
            vocabulary: parts.vocabulary,
            root,
        };
        for document in parts.services {
            match Service::from_document(&document.file, &document.text, &set.vocabulary, &groups) {
                Ok(service) => set.add(document, service, &mut problems),
                Err(found) => problems.extend(found),
            }
        }
        // A document with a problem of its own is none that another could name.
        let sound = if problems.is_empty() { parts.services } else { &[] };
        for document in sound {
            let entry = set.services.values().find(|entry| entry.file == document.file);
            let unknown = entry.and_then(|entry| set.unknown_source(&entry.service));
            problems.extend(unknown.map(|reason| document.problem(&reason)));
        }
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }

    fn add(&mut self, document: &Document, service: Service, problems: &mut Problems) {
        let mut reasons = self.unknown_names(&service);
        if self.services.contains_key(&service.id) {
            reasons.push(format!("{} is described by another document as well", service.id));
        }
        if self.by_resource.contains_key(service.resource.as_str()) {
            reasons.push(format!("{} is the resource of another service as well", service.resource));
        }
        match Rules::compile(&service) {
            Ok(rules) if reasons.is_empty() => {
                self.by_resource.insert(service.resource.as_str().to_owned(), service.id.clone());
                for client in &service.clients {
                    if let Some(recipient) = self.recipients.get_mut(client) {
                        recipient.services.push(service.id.clone());
                    }
                }
                let entry = Entry { file: document.file.clone(), service, rules };
                self.services.insert(entry.service.id.clone(), entry);
            }
            Ok(_) => {}
            Err(found) => reasons.extend(found),
        }
        problems.extend(reasons.into_iter().map(|reason| document.problem(&reason)));
    }

    /// The version of the bundle.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// One service.
    #[must_use]
    pub fn service(&self, id: &ServiceId) -> Option<&Service> {
        self.services.get(id).map(|entry| &entry.service)
    }

    /// The file that a service was read from.
    #[must_use]
    pub fn file(&self, id: &ServiceId) -> &str {
        self.services.get(id).map_or("", |entry| &entry.file)
    }

    /// Every service, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().map(|entry| &entry.service)
    }

    /// The services that a client offers.
    pub fn services_of(&self, client: &ClientId) -> impl Iterator<Item = &Service> {
        let ids =
            self.recipients.get(client.in_policy()).map(|recipient| recipient.services.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| self.service(id))
    }

    /// The service with this `resource`, when this client offers it.
    #[must_use]
    pub fn service_at(&self, client: &ClientId, resource: &str) -> Option<&Service> {
        let id = self.by_resource.get(resource)?;
        self.service(id).filter(|service| service.is_offered_by(client))
    }

    /// The service with this `resource`, whoever may use it.
    #[must_use]
    pub fn service_of(&self, resource: &str) -> Option<&Service> {
        self.service(self.by_resource.get(resource)?)
    }

    /// The decision for a client that acts for itself: may it, at this service, and with which scopes?
    ///
    /// # Errors
    /// A [`Refusal`]. Whatever the bundle does not have is refused.
    pub fn decide_back_end(&self, client: &ClientId, service: &ServiceId) -> Result<BackEndPermit<'_>, Refusal> {
        let refused = |rule: &str| Refusal::by(Failure::PolicyRefused, rule);
        let entry = self.services.get(service).ok_or_else(|| refused("service-exists"))?;
        let mut rows = entry.service.back_ends.iter();
        let row = rows.find(|row| row.client.as_str() == client.in_policy()).ok_or_else(|| refused("back-end"))?;
        Ok(BackEndPermit { service: &entry.service, scopes: &row.scopes })
    }

    /// One provider.
    #[must_use]
    pub fn provider(&self, id: &ProviderId) -> Option<&Provider> {
        self.providers.get(id).map(|(_, provider)| provider)
    }

    /// Every provider, by id.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.providers.values().map(|(_, provider)| provider)
    }

    /// One legal instrument.
    #[must_use]
    pub fn instrument(&self, id: &str) -> Option<&Instrument> {
        self.instruments.get(id)
    }

    /// Every legal instrument, by code.
    pub fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        self.instruments.values()
    }

    /// The words of the bundle.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// What policy may know of a login: the person in general terms, and the provider's own words.
    ///
    /// # Errors
    /// A [`Refusal`] when the provider says something of the person that no policy knows.
    pub fn login(
        &self,
        assertion: &Assertion,
        (age, signed_in_at): (Duration, Place),
        (at, today): (WeekMinute, Date),
    ) -> Result<Login, Refusal> {
        let provider = self.provider(&assertion.provider);
        let provider = provider.ok_or_else(|| Refusal::by(Failure::PolicyRefused, "provider-exists"))?;
        let person = provider.person.person(&Scope::new(&self.root, assertion, today));
        Ok(Login {
            provider: assertion.provider.clone(),
            acr: assertion.acr.clone(),
            amr: assertion.amr.clone(),
            age: age.as_secs(),
            time_stated: assertion.time_stated,
            person: person.map_err(|rule| Refusal::by(Failure::PolicyRefused, rule))?,
            at,
            signed_in_at,
        })
    }

    /// **The** decision: may this login serve this client and service?
    ///
    /// # Errors
    /// A [`Refusal`] with its rules. Whatever the bundle does not have is refused.
    pub fn decide(&self, facts: &Facts<'_>) -> Result<Permit, Refusal> {
        let (entry, at, provider, client) = self.situation(facts)?;
        let verdict = entry.rules.apply(&at, provider, client);
        settle(&entry.service, facts, &at, verdict, &self.version)
    }

    /// The situation that a service's rows are judged on, after the rules that no document can change.
    fn situation<'a>(&'a self, facts: &Facts<'a>) -> Result<(&'a Entry, Situation<'a>, Index, Index), Refusal> {
        let unknown = |rule: &str| Refusal::by(Failure::PolicyRefused, rule);
        let login = facts.login;
        let entry = self.services.get(facts.service).ok_or_else(|| unknown("service-exists"))?;
        let (provider_index, provider) =
            self.providers.get(&login.provider).ok_or_else(|| unknown("provider-exists"))?;
        let recipient = self.recipients.get(facts.client.in_policy()).ok_or_else(|| unknown("client-exists"))?;
        if !entry.service.is_offered_by(facts.client) {
            return Err(unknown("client-offers-service"));
        }
        let crossing = Crossing::between(provider.jurisdiction, recipient.client.jurisdiction);
        if crossing.is_some_and(Crossing::is_between_regions) && !entry.service.regional_hop {
            return Err(unknown("regional-hop"));
        }
        let meaning = provider.translate(login.acr.as_deref(), &login.amr);
        let meaning = meaning.ok_or_else(|| Refusal::by(Failure::AssuranceTooLow, "acr-in-provider-table"))?;
        let person = match login.person.capacity {
            Capacity::Own if recipient.client.staff_assisted => Person { capacity: Capacity::Assisted, ..login.person },
            _ => login.person,
        };
        let at = Situation {
            provider: &login.provider,
            client: &recipient.client.id,
            from: provider.jurisdiction,
            to: recipient.client.jurisdiction,
            place: recipient.client.place,
            person,
            at: login.at,
            assurance: meaning.assurance,
            age: Duration::from_secs(login.age),
            time_stated: login.time_stated,
            signed_in_at: login.signed_in_at,
        };
        Ok((entry, at, *provider_index, recipient.index))
    }

    /// What the rows of a service make of a login, for an explanation; nothing when a rule outside them refuses.
    pub(crate) fn judged<'a>(&'a self, facts: &Facts<'a>) -> Option<(&'a Service, Situation<'a>)> {
        self.situation(facts).ok().map(|(entry, at, ..)| (&entry.service, at))
    }

    /// What a provider's words mean by its table; nothing, when the table does not have them.
    #[must_use]
    pub fn meaning(&self, provider: &ProviderId, acr: Option<&str>, amr: &[String]) -> Option<&AssuranceRow> {
        self.provider(provider)?.translate(acr, amr)
    }

    /// Puts together what a service is given: what the client asked for, the document permits, and the law lets cross.
    ///
    /// # Errors
    /// [`ReleaseError`].
    pub fn release(
        &self,
        client: &ClientId,
        service: &ServiceId,
        assertion: &Assertion,
        asked: &ClaimsRequest,
        today: Date,
    ) -> Result<Vec<Released>, ReleaseError> {
        let service = self.service(service).ok_or(ReleaseError::Unknown("the service"))?;
        let recipient = self.recipients.get(client.in_policy()).ok_or(ReleaseError::Unknown("the client"))?;
        let provider = self.provider(&assertion.provider).ok_or(ReleaseError::Unknown("the provider"))?;
        let residence = provider.person.population(&Scope::new(&self.root, assertion, today)).unwrap_or_default();
        let scope = Scope::new(&self.root, assertion, today).of_resident(residence);
        let (checked, yes_no) = (provider.verification.as_ref(), recipient.client.verification_only);
        let ask = Requested { claims: asked, checked, yes_no, today };
        let Some(crossing) = Crossing::between(provider.jurisdiction, recipient.client.jurisdiction) else {
            return release(service, &scope, ask, &Gate::Open);
        };
        let covered = |class| self.cover(service, &recipient.client, crossing, class, today).map(Arc::new);
        release(service, &scope, ask, &Gate::Border(&covered))
    }

    /// What lets data of a class cross a border to a client of a service: the first instrument that the service names, that
    /// covers it, and that is filed for this client.
    pub(crate) fn cover(
        &self,
        service: &Service,
        client: &Client,
        crossing: Crossing,
        class: DataClass,
        today: Date,
    ) -> Option<Cover> {
        let registered = client.registered_in?;
        service.instruments.iter().find_map(|id| {
            let instrument = self.instruments.get(id)?;
            let covers = |filing: &&Filing| instrument.covers(crossing, class, registered, filing, today);
            let filing = client.filings.iter().find(covers)?;
            Some(Cover { instrument: id.clone(), filing: filing.number.clone() })
        })
    }

    /// One client, or the document of one that registered itself.
    #[must_use]
    pub fn client(&self, id: &ClientId) -> Option<&Client> {
        self.recipients.get(id.in_policy()).map(|recipient| &recipient.client)
    }

    /// Every client, in no order.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.recipients.values().map(|recipient| &recipient.client)
    }

    /// The claims of a provider that have to be known for this request: what the decision looks at and what a release
    /// would read, and no more.
    #[must_use]
    pub fn needed(
        &self,
        (client, service, provider): (&ClientId, &ServiceId, &ProviderId),
        claims: &ClaimsRequest,
        today: Date,
    ) -> Vec<String> {
        let (Some(client), Some(service), Some(provider)) =
            (self.client(client), self.service(service), self.provider(provider))
        else {
            return Vec::new();
        };
        let mut needed: BTreeSet<String> = provider.person.needed(service);
        let (checked, yes_no) = (provider.verification.as_ref(), client.verification_only);
        let wanted = wanted(service, Requested { claims, checked, yes_no, today });
        needed.extend(wanted.flat_map(|row| row.from.claims().iter().cloned()));
        needed.into_iter().collect()
    }
}

impl Document {
    /// Something that is wrong with it as a whole.
    #[must_use]
    pub fn problem(&self, reason: &str) -> Problem {
        Problem { file: self.file.clone(), line: 1, reason: reason.to_owned() }
    }
}

fn collect<T>(read: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    read.map_err(|found| problems.extend(found)).ok()
}

fn insert_once<T>(
    into: &mut BTreeMap<String, T>,
    name: String,
    value: T,
    document: &Document,
    problems: &mut Problems,
) {
    if into.contains_key(&name) {
        problems.push(document.problem(&format!("{name} is described by another document as well")));
    }
    into.insert(name, value);
}

#[cfg(test)]
#[path = "set_tests.rs"]
pub(crate) mod tests;
