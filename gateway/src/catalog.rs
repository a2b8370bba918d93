//! The active bundle: clients, services, providers and words, read from a folder, checked as a whole, indexed once.
//!
//! A catalog is an immutable snapshot. A login holds the one it began its step with; a new one is swapped in whole, and
//! a folder that cannot be read as a whole changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use adapters::Adapter;
use adapters::registry::{Ports, Secrets, Settings};
use certs::client_cert::distinguished_name;
use certs::jwe::KeyManagement;
use certs::key::KeySet;
use gateway_core::client::{Client, ClientAuth, Encryption, KeyManagementAlg, KeySource, SigningAlg, SubjectType};
use gateway_core::credential::CertificateName;
use gateway_core::discovery::Verified;
use gateway_core::document::{Problem, Problems};
use gateway_core::ids::{ClientId, EntityId, ProviderId};
use gateway_core::jurisdiction::Jurisdiction;
use gateway_core::registration;
use policies::service::TokenFormat;
use policies::set::{Document, Parts};
use policies::vocabulary::Vocabulary;
use policies::{PolicySet, Provider};
use serde_json::Value;
use url::Url;

use crate::admission::Admission;
use crate::authority::Authority;
use crate::bundle::Bundle;
use crate::federation::{Federation, Subordinate};

mod secrets;

/// A client with its inline keys parsed.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The client.
    pub client: Client,
    /// Its keys, when they are written in its document.
    pub keys: Option<Arc<KeySet>>,
    /// The file that it was read from.
    pub file: String,
}

/// What the bundle says, checked but not yet connected to anything.
#[derive(Debug)]
pub struct Catalog {
    clients: HashMap<ClientId, Registered>,
    admissions: HashMap<ClientId, Admission>,
    policies: PolicySet,
    settings: BTreeMap<ProviderId, Settings>,
    secrets: HashMap<ProviderId, Secrets>,
    authorities: BTreeMap<String, Authority>,
    federations: BTreeMap<ProviderId, Federation>,
    subordinates: BTreeMap<EntityId, Subordinate>,
}

impl Catalog {
    /// Checks a bundle as a whole. Its providers' secrets are files in the folder `secrets`.
    ///
    /// # Errors
    /// Every problem of every document.
    pub fn compile(bundle: &Bundle, secrets: &Path) -> Result<Self, Problems> {
        Self::read(bundle, Some(secrets))
    }

    fn read(bundle: &Bundle, secrets: Option<&Path>) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let mut parts = CatalogParts::read(bundle, secrets, &mut problems);
        let authorities = each(bundle, "authorities", Authority::from_document, |one| one.id.clone(), &mut problems);
        let federations = each(bundle, "federations", Federation::from_document, |one| one.id.clone(), &mut problems);
        let subordinates =
            each(bundle, "subordinates", Subordinate::from_document, |one| one.entity.clone(), &mut problems);
        problems.extend(misplaced(&parts, &federations));
        let policies = collect(parts.policies(bundle), &mut problems);
        problems.sort();
        let CatalogParts { clients, admissions, settings, secrets, .. } = parts;
        match policies {
            Some(policies) if problems.is_empty() => {
                Ok(Self { clients, admissions, policies, settings, secrets, authorities, federations, subordinates })
            }
            _ => Err(problems),
        }
    }

    /// An authority that may say that two accounts are one person's.
    #[must_use]
    pub fn authority(&self, id: &str) -> Option<&Authority> {
        self.authorities.get(id)
    }

    /// A federation that is believed.
    #[must_use]
    pub fn federation(&self, id: &ProviderId) -> Option<&Federation> {
        self.federations.get(id)
    }

    /// Every federation that is believed.
    pub fn federations(&self) -> impl Iterator<Item = &Federation> {
        self.federations.values()
    }

    /// Every entity that we vouch for.
    pub fn subordinates(&self) -> impl Iterator<Item = &Subordinate> {
        self.subordinates.values()
    }

    /// Where providers send browsers back that are found through a federation, and know us by it alone.
    #[must_use]
    pub fn federated_callbacks(&self, issuer: &str) -> Vec<String> {
        let federated = self.settings.iter().filter(|(_, settings)| settings.federation().is_some());
        federated.map(|(id, _)| format!("{issuer}/callback/{id}")).collect()
    }

    /// Whether we are somebody in a federation.
    #[must_use]
    pub fn is_federated(&self) -> bool {
        !self.federations.is_empty() || !self.subordinates.is_empty()
    }

    /// A client.
    #[must_use]
    pub fn client(&self, id: &ClientId) -> Option<&Registered> {
        self.clients.get(id)
    }

    /// Every client.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values().map(|registered| &registered.client)
    }

    /// The document under which a client that registered itself did so.
    #[must_use]
    pub fn admission(&self, client: &ClientId) -> Option<&Admission> {
        self.admissions.get(client.in_policy())
    }

    /// Every document under which portals register themselves.
    pub fn admissions(&self) -> impl Iterator<Item = &Admission> {
        self.admissions.values()
    }

    /// Trust policy.
    #[must_use]
    pub fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Every provider's kind and addresses.
    pub fn providers(&self) -> impl Iterator<Item = (&ProviderId, &Settings)> {
        self.settings.iter()
    }

    /// The algorithms that anything has to be signed with.
    #[must_use]
    pub fn algorithms(&self) -> Vec<SigningAlg> {
        let tokens = self.policies.services().filter_map(|service| match service.access_token {
            TokenFormat::Jwt(alg) => Some(alg),
            TokenFormat::Opaque => None,
        });
        // Whoever registers may ask for any that its profile allows, and its key is to be there then.
        let joining = self.admissions().flat_map(|admission| {
            let fapi = admission.template.profile.is_fapi();
            SigningAlg::ALL.into_iter().filter(move |alg| !fapi || *alg != SigningAlg::RS256)
        });
        self.clients().flat_map(|client| client.signed.algorithms()).chain(tokens).chain(joining).collect()
    }

    /// The kinds of `sub` that clients have, for the discovery document.
    #[must_use]
    pub fn subject_types(&self) -> Vec<SubjectType> {
        let templates = self.admissions().map(|admission| &admission.template);
        let public = self.clients().chain(templates).any(|client| client.sector.is_public());
        [SubjectType::Pairwise].into_iter().chain(public.then_some(SubjectType::Public)).collect()
    }

    /// Every address the gateway may call.
    #[must_use]
    pub fn addresses(&self) -> Vec<Url> {
        let called = |(name, _): &(&str, &str)| CALLED.contains(name);
        let clients = self.clients().flat_map(Client::addresses).filter(called).map(|(_, address)| address);
        // Whoever registers, registers addresses of these.
        let joining = self.admissions().flat_map(|admission| admission.terms.origins.iter().map(String::as_str));
        let federated = self.federations().flat_map(|known| known.anchor.origins.iter().map(String::as_str));
        let clients = clients.chain(joining).chain(federated).filter_map(|address| Url::parse(address).ok());
        self.settings.values().flat_map(Settings::hosts).chain(clients).collect()
    }

    /// Opens an adapter for every provider. Callbacks are `{issuer}/callback/{provider}`, one for each.
    ///
    /// # Errors
    /// The providers whose secrets cannot be used.
    pub fn open_adapters(
        &self,
        issuer: &str,
        ports: &Ports,
    ) -> Result<HashMap<ProviderId, Arc<dyn Adapter>>, Problems> {
        let none = Secrets::default();
        let (mut adapters, mut problems) = (HashMap::new(), Problems::new());
        for (id, settings) in &self.settings {
            let callback = Url::parse(&format!("{issuer}/callback/{id}")).map_err(|error| error.to_string());
            let secrets = self.secrets.get(id).unwrap_or(&none);
            let federation = settings.federation().and_then(|named| self.federation(named));
            let anchor = federation.map(|federation| &federation.anchor);
            match callback.and_then(|callback| settings.clone().open(callback, secrets, anchor, ports)) {
                Ok(adapter) => {
                    adapters.insert(id.clone(), adapter);
                }
                Err(reason) => problems.push(Problem { file: format!("providers/{id}"), line: 1, reason }),
            }
        }
        if problems.is_empty() { Ok(adapters) } else { Err(problems) }
    }

    /// What can be told of how claims were checked, for the discovery document.
    #[must_use]
    pub fn verified(&self) -> Verified {
        let checked: Vec<_> = self.policies.providers().filter_map(|provider| provider.verification.as_ref()).collect();
        let rows = self.policies.services().flat_map(|service| &service.release);
        let rows = rows.filter(|row| checked.iter().any(|checked| checked.covers(row)));
        let claims: BTreeSet<String> = rows.map(|row| row.claim.to_string()).collect();
        let trust_frameworks: BTreeSet<String> =
            checked.iter().map(|checked| checked.trust_framework.clone()).collect();
        Verified { trust_frameworks: trust_frameworks.into_iter().collect(), claims: claims.into_iter().collect() }
    }

    /// The services that read what a request says of its matter, for the discovery document.
    #[must_use]
    pub fn detail_types(&self) -> Vec<String> {
        let services = self.policies.services().filter(|service| !service.details.is_empty());
        let mut types: Vec<String> = services.map(|service| service.resource.to_string()).collect();
        types.sort();
        types
    }

    /// Every claim that some service may be released, for the discovery document.
    #[must_use]
    pub fn claim_names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            ["sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "amr", "nonce"].map(str::to_owned).to_vec();
        let released = self.policies.services().flat_map(|service| &service.release);
        let mut more: Vec<String> = released.map(|row| row.claim.to_string()).collect();
        more.sort();
        more.dedup();
        names.extend(more);
        names
    }
}

/// Whether a bundle is sound by itself, whatever the files are that it names.
#[must_use]
pub fn sound(bundle: &Bundle) -> bool {
    Catalog::read(bundle, None).is_ok()
}

/// Compiles the policies of a bundle alone, without anybody's secrets: for whoever proves or explains them elsewhere.
///
/// # Errors
/// Every problem of every document.
pub fn policies(bundle: &Bundle) -> Result<PolicySet, Problems> {
    let mut problems = Problems::new();
    let policies = collect(CatalogParts::read(bundle, None, &mut problems).policies(bundle), &mut problems);
    problems.sort();
    match policies {
        Some(policies) if problems.is_empty() => Ok(policies),
        _ => Err(problems),
    }
}

/// What is read before policies can be compiled.
#[derive(Default)]
struct CatalogParts {
    vocabulary: Vocabulary,
    providers: Vec<Provider>,
    clients: HashMap<ClientId, Registered>,
    admissions: HashMap<ClientId, Admission>,
    settings: BTreeMap<ProviderId, Settings>,
    secrets: HashMap<ProviderId, Secrets>,
}

impl CatalogParts {
    fn read(bundle: &Bundle, secrets: Option<&Path>, problems: &mut Problems) -> Self {
        let mut parts = Self::default();
        for document in bundle.of("vocabulary") {
            collect(parts.vocabulary.add_document(&document.file, &document.text), problems);
        }
        let unknown = parts.vocabulary.unknown_retiring();
        problems.extend(unknown.map(|reason| Problem { file: "vocabulary".to_owned(), line: 1, reason }));
        for document in bundle.of("providers") {
            let read = Provider::from_document(&document.file, &document.text, Settings::read);
            let Some((provider, adapter)) = collect(read, problems) else { continue };
            for name in adapter.secret_files().into_iter().filter(|name| !secrets::is_plain(name)) {
                let reason = format!("{name:?} is not the plain name of a file in the folder of secrets");
                problems.push(document.problem(&reason));
            }
            if let Some(folder) = secrets {
                let own = secrets::read(&document, folder, &adapter, problems);
                if let Err(reason) = adapter.check(&own) {
                    problems.push(document.problem(&reason));
                }
                parts.secrets.insert(provider.id.clone(), own);
            }
            if parts.settings.insert(provider.id.clone(), adapter).is_some() {
                problems.push(twice(&document, provider.id.as_str()));
            }
            parts.providers.push(provider);
        }
        parts.read_clients(&bundle.of("clients"), problems);
        parts
    }

    fn policies(&mut self, bundle: &Bundle) -> Result<PolicySet, Problems> {
        let (services, groups, instruments) = (bundle.of("services"), bundle.of("groups"), bundle.of("instruments"));
        let templates = self.admissions.values().map(|admission| &admission.template);
        let clients = self.clients.values().map(|registered| &registered.client);
        let mut clients: Vec<&Client> = clients.chain(templates).collect();
        clients.sort_by(|a, b| a.id.cmp(&b.id));
        let set = PolicySet::compile(Parts {
            version: bundle.version(),
            services: &services,
            groups: &groups,
            instruments: &instruments,
            clients,
            providers: std::mem::take(&mut self.providers),
            vocabulary: std::mem::take(&mut self.vocabulary),
        })?;
        let clients = self.clients.values().map(|registered| (registered.file.as_str(), &registered.client));
        let admissions = self.admissions.values();
        let admissions = admissions.map(|admission| (admission.document.file.as_str(), &admission.template));
        let mut digests: Vec<&str> = self.admissions.values().flat_map(Admission::digests).collect();
        digests.sort_unstable();
        let twice = digests.windows(2).any(|pair| pair.first() == pair.last());
        let reason = "initial_access_token_sha256: a token is for one document, and another has it as well".to_owned();
        let twice = twice.then(|| Problem { file: "clients".to_owned(), line: 1, reason });
        let problems: Problems =
            clients.chain(admissions).filter_map(|(file, client)| misfit(file, client, &set)).chain(twice).collect();
        if problems.is_empty() { Ok(set) } else { Err(problems) }
    }
}

/// The keys that are written in a client's document: it needs those for all that it registered.
fn read_inline(client: &Client, json: &str, document: &Document, problems: &mut Problems) -> Option<Arc<KeySet>> {
    let Ok(keys) = KeySet::parse(json.as_bytes()) else {
        problems.push(document.problem("jwks: is no JWK Set"));
        return None;
    };
    let signs = client.auth.is_by_key() || client.profile.requires_signed_messages();
    if signs && keys.is_empty() {
        problems.push(document.problem("jwks: holds no key that can verify a signature"));
    }
    for encryption in [client.encrypted.id_token, client.encrypted.userinfo].into_iter().flatten() {
        if recipient(&keys, encryption).is_none() {
            problems.push(document.problem(&format!("jwks: holds no key to encrypt to with {}", encryption.alg)));
        }
    }
    Some(Arc::new(keys))
}

/// The addresses of clients that we call ourselves.
const CALLED: [&str; 6] = [
    "backchannel_client_notification_endpoint",
    "jwks_uri",
    "sector_identifier_uri",
    "backchannel_logout_uri",
    "request_uris",
    "logo_uri",
];

/// The key to which something is encrypted, and how.
#[must_use]
pub fn recipient(keys: &KeySet, encryption: Encryption) -> Option<(KeyManagement, &Value)> {
    let (management, kty) = match encryption.alg {
        KeyManagementAlg::EcdhEs => (KeyManagement::EcdhEs, "EC"),
        KeyManagementAlg::RsaOaep256 => (KeyManagement::RsaOaep256, "RSA"),
    };
    keys.encrypting(management.name(), kty).map(|key| (management, key))
}

/// What a client's document says that does not fit the rest of the bundle.
fn misfit(file: &str, client: &Client, set: &PolicySet) -> Option<Problem> {
    let problem = |reason| Some(Problem { file: file.to_owned(), line: 1, reason });
    let trial = client.registration.iter().flat_map(|terms| &terms.trial_services).map(|id| ("trial_services", id));
    let mut named = client.default_service.iter().map(|id| ("default_service", id)).chain(trial);
    let offered = |id| set.service(id).is_some_and(|service| service.is_offered_by(&client.id));
    if let Some((field, service)) = named.find(|(_, id)| !offered(id)) {
        let id = &client.id;
        return problem(format!("{field}: {service} is not a service that lists {id} among its clients"));
    }
    let unknown = client.filings.iter().find(|filing| set.instrument(&filing.instrument).is_none())?;
    problem(format!("filing: {} is not an instrument of this bundle", unknown.instrument))
}

fn collect<T>(read: Result<T, Problems>, problems: &mut Problems) -> Option<T> {
    read.map_err(|found| problems.extend(found)).ok()
}

/// Whoever is to be found through a federation that is not there, or that does not speak for where they stand.
fn misplaced(parts: &CatalogParts, federations: &BTreeMap<ProviderId, Federation>) -> Vec<Problem> {
    let wrong = |named: &ProviderId, stands: Jurisdiction| match federations.get(named) {
        None => Some(format!("the federation {named} is not in this bundle")),
        Some(known) if known.jurisdictions.contains(&stands) => None,
        Some(_) => Some(format!("the federation {named} does not speak for {stands}")),
    };
    let portals = parts.admissions.values().filter_map(|admission| {
        let named = &admission.terms.federation.as_ref()?.federation;
        Some(admission.document.problem(&wrong(named, admission.template.jurisdiction)?))
    });
    let providers = parts.providers.iter().filter_map(|provider| {
        let reason = wrong(parts.settings.get(&provider.id)?.federation()?, provider.jurisdiction)?;
        Some(Problem { file: format!("providers/{}", provider.id), line: 1, reason })
    });
    portals.chain(providers).collect()
}

/// Every document of a kind, by its name.
fn each<K: Ord, T>(
    bundle: &Bundle,
    kind: &str,
    read: impl Fn(&str, &str) -> Result<T, Problems>,
    name: impl Fn(&T) -> K,
    problems: &mut Problems,
) -> BTreeMap<K, T> {
    let mut all = BTreeMap::new();
    for document in bundle.of(kind) {
        let Some(one) = collect(read(&document.file, &document.text), problems) else { continue };
        if all.insert(name(&one), one).is_some() {
            problems.push(twice(&document, "what this document is about"));
        }
    }
    all
}

fn twice(document: &Document, id: &str) -> Problem {
    document.problem(&format!("{id} is described by another document as well"))
}

impl CatalogParts {
    fn read_clients(&mut self, documents: &[Document], problems: &mut Problems) {
        for document in documents {
            let Some(client) = collect(Client::from_document(&document.file, &document.text), problems) else {
                continue;
            };
            if client.id.registered_itself() {
                problems.push(document.problem("client_id: this form belongs to clients that register themselves"));
            }
            if self.clients.contains_key(&client.id) || self.admissions.contains_key(&client.id) {
                problems.push(twice(document, client.id.as_str()));
            }
            match client.registration.clone() {
                None => {
                    if client.pages.policy.is_none() && !client.filings.is_empty() {
                        let reason =
                            "policy_uri: people whose data crosses a border are shown the recipient's privacy notice";
                        problems.push(document.problem(reason));
                    }
                    let registered = register(client, document, problems);
                    self.clients.insert(registered.client.id.clone(), registered);
                }
                Some(terms) => {
                    let foreign =
                        client.addresses().find(|(_, address)| !registration::is_within(address, &terms.origins));
                    if let Some((name, _)) = foreign {
                        problems.push(document.problem(&format!("{name}: is none of the origins of its registration")));
                    }
                    let keys =
                        terms.software_statements.as_ref().map(|vouching| KeySet::parse(vouching.jwks.as_bytes()));
                    if keys.as_ref().is_some_and(|keys| !keys.as_ref().is_ok_and(|keys| !keys.is_empty())) {
                        problems.push(document.problem("software_statement_jwks: holds no key"));
                    }
                    let statements = keys.and_then(Result::ok).map(Arc::new);
                    let admission =
                        Admission { template: client.clone(), terms, document: document.clone(), statements };
                    self.admissions.insert(client.id, admission);
                }
            }
        }
    }
}

/// A client with its inline keys; they have to serve for all that it registered.
pub(crate) fn register(client: Client, document: &Document, problems: &mut Problems) -> Registered {
    let keys = match &client.keys {
        Some(KeySource::Inline(json)) => read_inline(&client, json, document, problems),
        _ => None,
    };
    if let ClientAuth::TlsCertified(CertificateName::Subject(name)) = &client.auth
        && distinguished_name(name).is_none()
    {
        problems.push(document.problem("tls_client_auth_subject_dn: is no distinguished name as RFC 4514 writes it"));
    }
    Registered { client, keys, file: document.file.clone() }
}
